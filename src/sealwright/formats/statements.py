"""The plant's statements beside an artifact: `NAME.plant.manifest` and `NAME.received.manifest`, each with its signatures (RULES 1).

1. Each is read in its one form, and must be about the file or folder of this name: an acceptance's digest is that of the
   delivered bytes, a receiving record's list is compared with them file by file.
2. Whatever else it lists must lie here as it is listed: signatures, reports, evidence. A signature that is another one is a
   finding, so that an acceptance of one maker's signature never serves for another.
3. Each signature is a candidate of its own. Of a receiving record everybody signs whom it names: the first in `RECORD.p7s`, every
   other in `RECORD.ID.p7s`; one that is not there is a candidate that never counts.
Which of them a rule asks for, and whether the place fits, is judged later (`trust/rules.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from sealwright.artifact.acceptance import MAX_BYTES as MAX_ACCEPTANCE_BYTES
from sealwright.artifact.acceptance import Acceptance, parse_acceptance
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.hashing import hash_tree
from sealwright.artifact.manifest import Over
from sealwright.artifact.names import display
from sealwright.artifact.receiving import MAX_BYTES as MAX_RECORD_BYTES
from sealwright.artifact.receiving import Receiving, parse_receiving
from sealwright.artifact.source import open_artifact, read_file_or_none
from sealwright.artifact.sums import FileEntry
from sealwright.artifact.tree import compare_tree
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.findings import Finding, reject
from sealwright.formats.archive import ArchiveObject, small_object
from sealwright.formats.format import ACCEPTANCE, RECEIVING, Candidate, Coverage, Found, Prepared, Search, Slot
from sealwright.formats.sidecar import (
    ACCEPTANCE_SUFFIX,
    MANIFEST_LINE,
    RECEIVING_SUFFIX,
    Sidecar,
    read_late_tokens,
    read_sidecar,
)


class _Compared(NamedTuple):
    """What was found out about a statement before its signatures. bound: the signatures it lists, as they lie here."""

    findings: tuple[Finding, ...] = ()
    bound: tuple[ArchiveObject, ...] = ()
    contents: tuple[Digest, ...] = ()
    size: int = 0


def find_acceptance(path: str, about: str, search: Search) -> Found | None:
    """The acceptance beside a file or folder; None where there is none. about: the format that speaks for the artifact."""
    lies = path + ACCEPTANCE_SUFFIX
    name = os.path.basename(lies)
    try:
        data = read_file_or_none(lies, MAX_ACCEPTANCE_BYTES)
        if data is None or _is_of_another(data, path + ".plant"):
            return None
        acceptance = parse_acceptance(data, name)
    except SealwrightError as cause:
        return _unreadable(path, ACCEPTANCE, name, reject(cause.code, name, found=cause.what))
    try:
        compared = _accepted(path, acceptance, name, search)
    except SealwrightError as cause:
        compared = _Compared((reject(cause.code, os.path.basename(cause.subject), found=cause.what),))
    sidecar = _sidecar(f"{lies}.p7s", acceptance.person)
    return _found(path, data, acceptance, about, compared, (sidecar,), search)


def find_receiving(path: str, about: str, search: Search) -> Found | None:
    """The receiving record beside a file or folder, with one candidate for each person it names; None where there is none."""
    lies = path + RECEIVING_SUFFIX
    name = os.path.basename(lies)
    try:
        data = read_file_or_none(lies, MAX_RECORD_BYTES)
        if data is None or _is_of_another(data, path + ".received"):
            return None
        record = parse_receiving(data, name)
    except SealwrightError as cause:
        return _unreadable(path, RECEIVING, name, reject(cause.code, name, found=cause.what))
    try:
        compared = _received(path, record, name, search)
    except SealwrightError as cause:
        compared = _Compared((reject(cause.code, os.path.basename(cause.subject), found=cause.what),))
    sidecars = tuple(_sidecar(path + record.signature_suffix(person), person) for person in record.persons)
    return _found(path, data, record, about, compared, sidecars, search)


def check_statement(prepared: Prepared) -> None:
    """MalformedArtifact where the text of a `Prepared` is no statement of its kind, or claims something else than it says."""
    text = prepared.content or b""
    claims = Claims()
    if prepared.kind == ACCEPTANCE:
        parse_acceptance(text, prepared.path)
    else:
        claims = parse_receiving(text, prepared.path).contents.claims
    if claims != prepared.claims:
        raise MalformedArtifact(
            prepared.path, "its statement claims something else than was asked for", "Make it again."
        )


def _is_of_another(data: bytes, path: str) -> bool:
    """Whether a text is the manifest of a file whose name ends as ours do."""
    return data.startswith(MANIFEST_LINE) and os.path.lexists(path)


def _accepted(path: str, acceptance: Acceptance, name: str, search: Search) -> _Compared:
    findings: list[Finding] = []
    folder, called = os.path.dirname(path), os.fsencode(os.path.basename(path))
    kind = Over.TREE if search.source is None and os.path.isdir(path) else Over.FILE
    if acceptance.name != called or acceptance.over is not kind:
        findings.append(
            _other(name, f"the {acceptance.over} {display(acceptance.name)}", f"the {kind} {display(called)}")
        )
    size = 0
    contents: tuple[Digest, ...] = ()
    if acceptance.artifact is not None and kind is Over.FILE:
        with search.opened(path) as source:
            wanted = {acceptance.algorithm, *(digest.algorithm for digest in search.watched)}
            digests = source.digests(wanted, search.progress)
            size, contents = source.size, tuple(digests.values())
        if digests[acceptance.algorithm].value != acceptance.artifact:
            findings.append(_other(name, acceptance.artifact.hex(), digests[acceptance.algorithm].value.hex()))
    bound, differing = _as_listed(folder, acceptance.signed_by, acceptance.algorithm)
    findings += [
        reject("SW-ACCEPTANCE-OTHER-SIGNATURE", name, display(one.name), "another one" if there else "none")
        for one, there in differing
    ]
    beside = {*acceptance.beside}
    reports = [FileEntry(one.name, one.digest) for one in acceptance.reports if one.name in beside]
    findings += _attached(folder, "", reports, acceptance.algorithm, name)
    return _Compared(tuple(findings), bound, contents, size)


def _other(name: str, wanted: str, found: str) -> Finding:
    return reject("SW-ACCEPTANCE-OTHER-FILE", name, wanted, found)


def _received(path: str, record: Receiving, name: str, search: Search) -> _Compared:
    findings: list[Finding] = []
    called = os.fsencode(os.path.basename(path))
    kind = Over.TREE if search.source is None and os.path.isdir(path) else Over.FILE
    contents = record.contents
    size = contents.total_bytes
    digests: tuple[Digest, ...] = ()
    if record.name != called or contents.over is not kind:
        wanted, found = f"the {contents.over} {display(record.name)}", f"the {kind} {display(called)}"
        findings.append(reject("SW-RECEIVING-OTHER-FILE", name, wanted, found))
    elif kind is Over.TREE:
        findings += compare_tree(path, contents, search.progress)
        digests = _watched_members(path, search)
    else:
        with search.opened(path) as source:
            wanted_digests = {record.algorithm, *(digest.algorithm for digest in search.watched)}
            known = source.digests(wanted_digests, search.progress)
            digests = tuple(known.values())
            if known[record.algorithm].value != contents.files[0].digest or source.size != size:
                listed, here = contents.files[0].digest.hex(), known[record.algorithm].value.hex()
                findings.append(reject("SW-RECEIVING-OTHER-FILE", name, listed, here))
            size = source.size
    folder = os.fsdecode(record.folder)
    entries = [FileEntry(one.name, one.digest) for one in record.evidence]
    findings += _attached(os.path.join(os.path.dirname(path), folder), f"{folder}/", entries, record.algorithm, name)
    return _Compared(tuple(findings), (), digests, size)


def _watched_members(path: str, search: Search) -> tuple[Digest, ...]:
    """The watched digests that some file of a folder has."""
    found: list[Digest] = []
    for algorithm in dict.fromkeys(digest.algorithm for digest in search.watched):
        present = {*hash_tree(path, algorithm, search.progress).results.digests()}
        found += [digest for digest in search.watched if digest.algorithm is algorithm and digest.value in present]
    return tuple(found)


def _as_listed(
    folder: str, entries: Iterable[FileEntry], algorithm: HashName
) -> tuple[tuple[ArchiveObject, ...], list[tuple[FileEntry, bool]]]:
    """The listed files that lie here with the listed digest, and those that do not: (entry, whether another one is there)."""
    same: list[ArchiveObject] = []
    differing: list[tuple[FileEntry, bool]] = []
    for entry in entries:
        path = os.path.join(folder, os.fsdecode(entry.name))
        if not os.path.lexists(path):
            differing.append((entry, False))
            continue
        found = small_object(path, (algorithm,))
        if found.digests[algorithm].value == entry.digest:
            same.append(found)
        else:
            differing.append((entry, True))
    return tuple(same), differing


def _attached(folder: str, shown: str, entries: Iterable[FileEntry], algorithm: HashName, name: str) -> list[Finding]:
    """What is wrong with reports and evidence. shown: how their folder is named to people."""
    findings = []
    for entry in entries:
        path, called = os.path.join(folder, os.fsdecode(entry.name)), shown + display(entry.name)
        if not os.path.lexists(path):
            findings.append(reject("SW-ATTACHMENT-MISSING", called, found=name))
            continue
        with open_artifact(path) as source:
            digest = source.digests((algorithm,))[algorithm]
        if digest.value != entry.digest:
            findings.append(reject("SW-ATTACHMENT-CHANGED", called, entry.digest.hex(), digest.value.hex()))
    return findings


def _sidecar(path: str, person: str) -> Sidecar:
    try:
        found = read_sidecar(path, Slot.PLANT)
    except SealwrightError as cause:
        refusal = reject(cause.code, os.path.basename(path), found=cause.what)
        return Sidecar(path, Slot.PLANT, None, (refusal,))
    if found is not None:
        return found
    missing = reject("SW-STATEMENT-UNSIGNED", os.path.basename(path), wanted=person)
    return Sidecar(path, Slot.PLANT, None, (missing,))


def _found(
    path: str,
    data: bytes,
    statement: Acceptance | Receiving,
    about: str,
    compared: _Compared,
    sidecars: tuple[Sidecar, ...],
    search: Search,
) -> Found:
    accepts = isinstance(statement, Acceptance)
    kind, suffix = (ACCEPTANCE, ACCEPTANCE_SUFFIX) if accepts else (RECEIVING, RECEIVING_SUFFIX)
    tokens, token_findings = read_late_tokens(path + suffix, search._replace(beside=None))
    wanted = {HashName.SHA256}.union(*(sidecar.algorithms for sidecar in sidecars))
    digests = {name: Digest.of(data, name) for name in wanted}
    candidates = tuple(
        Candidate(
            source=os.path.basename(sidecar.path),
            slot=Slot.PLANT,
            format=kind,
            kind=kind,
            envelope=sidecar.envelope,
            digests=digests,
            artifact=Digest.of(data),
            claims=Claims() if isinstance(statement, Acceptance) else statement.contents.claims,
            coverage=Coverage.whole(compared.size),
            late_tokens=tokens,
            findings=compared.findings + sidecar.findings + token_findings,
            contents=compared.contents,
            name=os.path.basename(path) + suffix,
            lists=statement.algorithm,
            statement=statement,
            bound=compared.bound,
            about=about,
        )
        for sidecar in sidecars
    )
    artifact = next((one for one in compared.contents if one.algorithm is HashName.SHA256), Digest.of(data))
    return Found(path, compared.size, candidates, artifact)


def _unreadable(path: str, kind: str, name: str, finding: Finding) -> Found:
    """A statement that says nothing: one candidate that never counts, with the reason."""
    broken = Candidate(name, Slot.PLANT, kind, kind, None, {}, None, findings=(finding,))
    return Found(path, 0, (broken,), None)
