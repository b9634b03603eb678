"""Proofs renewed before they age: evidence records (RFC 4998) for signed artifacts, many with one timestamp.

1. Each artifact is verified as it lies there, for RUN: a tree with all its files. What is not trusted gets no record.
2. Its proofs age when the first of this happens: the path of the last archive timestamp's authority ends, or an algorithm of it
   counts no longer; without a record, the same of each signature's timestamp, or of a signature without one its certificate.
3. What ages within the horizon is renewed: a first record, a timestamp over the last one (the digest still counts), or a new
   chain over all objects with a digest that counts longer. What joined the group since comes in beside it.
4. With each renewal come the certificates and revocation lists that judge what is renewed, so that they are there later. A list
   that is not fresh any more is kept too, because it may name somebody, and is told; one that its issuer did not sign is told, and not kept.
5. One hash tree a digest, one timestamp for it. Each record is read again and followed as `verify` will, and must contain the
   one before it, which must lie there unchanged; only then it is written. No signed file is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import Output, Pair, Replace, refuse_taken, write_pairs
from sealwright.artifact.source import open_artifact, read_file_or_none
from sealwright.envelope.ers import (
    MAX_BYTES,
    HashTree,
    Link,
    Record,
    batch,
    contains,
    hashes_of,
    introduced,
    new_link,
    read_record,
    record_bytes,
    renewed_hash,
)
from sealwright.envelope.tsp import read_token
from sealwright.errors import (
    ChangedWhileRead,
    LimitExceeded,
    MalformedEnvelope,
    OutputRefused,
    SealwrightError,
    UsageError,
)
from sealwright.findings import Severity
from sealwright.formats.archive import Archive, ArchiveObject, record_path
from sealwright.formats.format import Candidate, Found
from sealwright.formats.sidecar import EVIDENCE_SUFFIX, MANIFEST_SUFFIX, RECEIVING_SUFFIX, is_beside
from sealwright.trust.belief import Believed
from sealwright.trust.evidence import follow, weigh
from sealwright.trust.ground import Ground
from sealwright.trust.lasting import (
    Material,
    end_of_sums,
    end_of_token,
    end_of_unrecorded,
    material_for,
    signatures_of,
    stale_lists,
    tokens_of_signature,
)
from sealwright.trust.timestamps import TokenRefused
from sealwright.trust.verdict import Outcome, Purpose
from sealwright.trust.verify import Request, Verifier

BATCH = 10_000
LISTS_A_TREE = (MANIFEST_SUFFIX, RECEIVING_SUFFIX)
Stamp = Callable[[Digest], bytes]


class Action(StrEnum):
    """What a renewal does, or why there is none."""

    FIRST = "first record"
    TIMESTAMP = "timestamp renewal"
    HASH_TREE = "hash-tree renewal"
    NONE = "none"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Proofs:
    """What proves an artifact's signatures, and until when. ages: None where nothing ages, or it is a problem; why: one clause.

    links: archive timestamps; needs: what a renewal would do, decided for the horizon that was asked about.
    """

    path: str
    record: str
    ages: datetime | None
    why: str
    links: int
    needs: Action
    tree: bool = False


@dataclass(frozen=True, slots=True)
class Renewed:
    """An artifact whose record was written. stamped: the time in the new timestamp; stale: issuers of kept lists that are not fresh;
    refused: lists that no record keeps, a sentence each."""

    path: str
    record: str
    action: Action
    stamped: datetime
    digest: HashName
    links: int
    ages: datetime | None
    tree: bool
    stale: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotRenewed:
    """An artifact whose record was not written, and why; what was there is still there."""

    path: str
    error: SealwrightError


class _Plan(NamedTuple):
    """One record to be made. hashes: of the new first list; chains: of the old record, with the new chain's beginning."""

    proofs: Proofs
    archive: Archive
    digest: HashName
    hashes: tuple[bytes, ...]
    certificates: tuple[bytes, ...]
    lists: tuple[bytes, ...]
    stale: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is asked. horizon: what ages by then is renewed, None: everything; digest: at least this one, None: as it is."""

    believed: Believed
    now: datetime
    horizon: datetime | None
    digest: HashName | None = None


def signed_artifacts(paths: Iterable[str]) -> Iterator[str]:
    """Files, and folders that have a manifest or a receiving record, each once; other folders are looked through. A link is not followed."""
    for path in paths:
        if not os.path.isdir(path) or os.path.lexists(record_path(path).removesuffix(".ers")):
            yield path
            continue
        for folder, folders, names in os.walk(path):
            present, inside = {*names}, [*folders]
            trees = sorted(one for one in folders if _is_listed(one, present, inside))
            folders[:] = sorted(one for one in folders if one not in trees)
            yield from (os.path.join(folder, one) for one in trees)
            for name in sorted(names):
                if not is_beside(folder, name, present, inside):
                    yield os.path.join(folder, name)


def _is_listed(name: str, files: Collection[str], folders: Collection[str]) -> bool:
    """Whether a manifest or record lists a folder. What has the name of the manifest of a folder of evidence is the record of something else."""
    stem = name.removesuffix(EVIDENCE_SUFFIX)
    if stem != name and (stem in files or stem in folders):
        return False
    return any(f"{name}{suffix}" in files for suffix in LISTS_A_TREE)


def status(paths: Iterable[str], asked: Renewal) -> Iterator[Proofs]:
    """What ages when, of each signed artifact; unsigned files below a folder are passed over."""
    for proofs, _ in _looked_at(paths, asked):
        yield proofs


def renew(paths: Iterable[str], asked: Renewal, stamp: Stamp) -> Iterator[Proofs | Renewed | NotRenewed]:
    """Renew what ages within the horizon; `Proofs` for what does not. Raises where no timestamp comes: then nothing of its batch was written."""
    plans: list[_Plan] = []
    for proofs, plan in _looked_at(paths, asked):
        if plan is None:
            yield proofs
            continue
        plans.append(plan)
        if len(plans) == BATCH:
            yield from _renewed(plans, asked, stamp)
            plans = []
    yield from _renewed(plans, asked, stamp)


def _looked_at(paths: Iterable[str], asked: Renewal) -> Iterator[tuple[Proofs, _Plan | None]]:
    request = Request(clock=asked.now, purpose=Purpose.RUN)
    verifier = Verifier(asked.believed, request)
    given = list(paths)
    for path in signed_artifacts(given):
        try:
            found, judged, verdict = verifier.examine(path)
        except SealwrightError as cause:
            yield Proofs(path, record_path(path), None, cause.what, 0, Action.PROBLEM), None
            continue
        if not found.candidates and path not in given:
            continue
        if found.archive is None:
            why = "it stands for another artifact: name that one"
            yield Proofs(path, record_path(path), None, why, 0, Action.PROBLEM), None
            continue
        if (around := _tree_around(path)) is not None:
            why = f"it lies in the signed folder {around}, where a record would be a file too many: renew that folder"
            yield Proofs(path, record_path(path), None, why, 0, Action.PROBLEM), None
            continue
        if verdict.outcome is not Outcome.TRUSTED:
            grave = (Severity.REJECT, Severity.UNDECIDED)
            why = next((one.sentence for one in verdict.findings if one.severity in grave), "it is not trusted")
            yield Proofs(path, record_path(path), None, why, 0, Action.PROBLEM), None
            continue
        counted = [entry.candidate for entry in judged if entry.seen.accepted]
        try:
            yield _planned(found, found.archive, counted, verifier.ground, asked)
        except UsageError:
            raise
        except SealwrightError as cause:
            yield Proofs(path, record_path(path), None, cause.what, 0, Action.PROBLEM), None


def _tree_around(path: str) -> str | None:
    """The nearest folder around a record that has a manifest of its own."""
    folder = os.path.dirname(os.path.abspath(record_path(path)))
    while (above := os.path.dirname(folder)) != folder:
        if any(os.path.lexists(folder + suffix) for suffix in LISTS_A_TREE):
            return folder
        folder = above
    return None


def _planned(
    found: Found, archive: Archive, counted: Sequence[Candidate], ground: Ground, asked: Renewal
) -> tuple[Proofs, _Plan | None]:
    record = archive.record
    about = Proofs(
        found.path, record_path(found.path), None, "", len(record.links) if record else 0, Action.NONE, archive.tree
    )
    evidence, findings = weigh(archive, ground)
    if archive.problem or (record is not None and evidence is None):
        return replace(about, why=findings[0].found if findings else archive.problem, needs=Action.PROBLEM), None
    signatures = signatures_of([one for one in found.candidates if one in counted])
    last = read_token(record.links[-1].token, archive.name) if record is not None else None
    ends = [end_of_unrecorded(signatures, evidence, ground)]
    ends.append(end_of_token(last, ground, "the last archive timestamp") if last is not None else None)
    end = min((one for one in ends if one is not None), default=None)
    about = replace(about, ages=end.at if end else None, why=end.why if end else "nothing of it ages")
    if asked.horizon is not None and (end is None or end.at > asked.horizon):
        if archive.tree and (sums := end_of_sums(found, ground)) is not None and sums.at <= asked.horizon:
            return replace(about, ages=sums.at, why=sums.why, needs=Action.PROBLEM), None
        return about, None
    digest = _digest_for(record, asked, ground)
    tokens = [last] if last is not None else [token for one in signatures for token in tokens_of_signature(one)]
    wanted = material_for(signatures, tokens, ground)
    material = _new_material(wanted, archive)
    archive = _with_digest(found.path, archive, digest)
    proofs = replace(about, needs=_action(record, digest))
    stale, refused = stale_lists(wanted, ground), tuple(dict.fromkeys(one.sentence for one in ground.crl_findings))
    return proofs, _Plan(proofs, archive, digest, _hashes(archive, digest, material), *material, stale, refused)


def _action(record: Record | None, digest: HashName) -> Action:
    if record is None:
        return Action.FIRST
    return Action.TIMESTAMP if record.chains[-1][0].digest is digest else Action.HASH_TREE


def _new_material(found: Material, archive: Archive) -> Material:
    """What neither the record nor a signature file holds already; what stands in those is protected with them."""
    record = archive.record
    held = {*record.certificates, *record.crls} if record is not None else set()
    return Material(
        tuple(one for one in found.certificates if one not in held and not _carried(one, archive)),
        tuple(one for one in found.lists if one not in held),
    )


def _hashes(archive: Archive, digest: HashName, material: Material) -> tuple[bytes, ...]:
    """The first list of the new link: all objects, or after the last timestamp only those that are new."""
    record, objects = archive.record, (archive.content, *archive.companions)
    added = [Digest.of(one, digest).value for one in (*material.certificates, *material.lists)]
    if record is None:
        return (*(one.digests[digest].value for one in objects), *added)
    if _action(record, digest) is Action.TIMESTAMP:
        imprints = [read_token(link.token, archive.name).imprint.value for link in record.links]
        new = [one for one in objects if introduced(record, imprints, hashes_of(one.digests)) is None]
        last = Digest.of(record.links[-1].token, digest).value
        return (last, *(one.digests[digest].value for one in new), *added)
    kept = [Digest.of(one, digest).value for one in (*record.certificates, *record.crls)]
    plain = [*(one.digests[digest].value for one in objects), *kept, *added]
    return tuple(renewed_hash(one, record.chains, digest) for one in plain)


def _with_digest(path: str, archive: Archive, digest: HashName) -> Archive:
    """The same objects, each with a digest that its record did not use so far."""
    folder = os.path.dirname(record_path(path))
    content, *companions = (_hashed(folder, one, digest) for one in (archive.content, *archive.companions))
    return archive._replace(content=content, companions=tuple(companions))


def _hashed(folder: str, known: ArchiveObject, digest: HashName) -> ArchiveObject:
    """ChangedWhileRead where the file is not the object any more."""
    if digest in known.digests:
        return known
    with open_artifact(os.path.join(folder, known.name)) as source:
        digests = source.digests((HashName.SHA256, digest))
    if digests[HashName.SHA256] != known.digests[HashName.SHA256]:
        raise ChangedWhileRead(known.name, "it changed while its proofs were renewed", "Try again later.")
    return known._replace(digests={**known.digests, **digests})


def _carried(certificate: bytes, archive: Archive) -> bool:
    """Whether a certificate stands in a signature file already, and is protected with it."""
    return any(one.data is not None and certificate in one.data for one in archive.companions)


def _digest_for(record: Record | None, asked: Renewal, ground: Ground) -> HashName:
    """The digest of the next link: the record's own while it counts beyond the horizon, else the first that counts longest."""
    order = tuple(HashName)
    ends = {one.name: one.until for one in ground.trust.algorithms}
    until = asked.horizon or asked.now + timedelta(days=365)
    least = order.index(asked.digest) if asked.digest is not None else 0
    if record is not None:
        least = max(least, order.index(record.chains[-1][0].digest))
    lasting = [name for name in order[least:] if name.value not in ends or ends[name.value] > until]
    if lasting:
        return lasting[0]
    best = max(order[least:], key=lambda name: ends[name.value])
    if ends[best.value] < asked.now:
        raise UsageError("--digest", f"{best} counts no longer, by the trust file", "Bring a newer trust file.")
    return best


def _renewed(plans: Sequence[_Plan], asked: Renewal, stamp: Stamp) -> Iterator[Renewed | NotRenewed]:
    """One timestamp for all plans of a digest; each record is checked before it is written."""
    for name in dict.fromkeys(plan.digest for plan in plans):
        some = [plan for plan in plans if plan.digest is name]
        tree = batch([plan.hashes for plan in some], name)
        token = stamp(tree.root)
        if read_token(token, "timestamp").imprint != tree.root:
            raise MalformedEnvelope("timestamp", "it is over something else", "Ask the authority again.")
        made = [(plan, _made_record(plan, reduced, token)) for plan, reduced in zip(some, tree.trees, strict=True)]
        yield from _written(made, asked)


def _made_record(plan: _Plan, tree: HashTree, token: bytes) -> bytes:
    link = new_link(plan.digest, tree, token)
    old = plan.archive.record
    chains: list[tuple[Link, ...]] = [*old.chains] if old is not None else []
    if old is not None and plan.proofs.needs is Action.TIMESTAMP:
        chains[-1] = (*chains[-1], link)
    else:
        chains.append((link,))
    if old is None:
        return record_bytes(chains, plan.certificates, plan.lists)
    return record_bytes(chains, (*old.certificates, *plan.certificates), (*old.crls, *plan.lists), old.others)


def _written(made: Sequence[tuple[_Plan, bytes]], asked: Renewal) -> Iterator[Renewed | NotRenewed]:
    ground = Verifier(asked.believed, Request(clock=asked.now, purpose=Purpose.RUN)).ground
    ready: list[tuple[_Plan, Record]] = []
    for plan, data in made:
        try:
            ready.append((plan, _checked(plan, data, ground, asked)))
        except SealwrightError as cause:
            yield NotRenewed(plan.proofs.path, cause)
    for folder in dict.fromkeys(os.path.dirname(plan.proofs.record) for plan, _ in ready):
        some = [one for one in ready if os.path.dirname(one[0].proofs.record) == folder]
        pairs = [Pair((Output(plan.proofs.record, record.encoded),)) for plan, record in some]
        try:
            refusals = write_pairs(pairs, replace=Replace.YES)
        except OutputRefused as cause:  # of this folder; the others are written
            refusals = [cause] * len(some)
        for (plan, record), refused in zip(some, refusals, strict=True):
            yield _answer(plan, record, ground) if refused is None else NotRenewed(plan.proofs.path, refused)


def _answer(plan: _Plan, record: Record, ground: Ground) -> Renewed:
    token = read_token(record.links[-1].token, plan.archive.name)
    return Renewed(
        path=plan.proofs.path,
        record=plan.proofs.record,
        action=plan.proofs.needs,
        stamped=token.gen_time,
        digest=plan.digest,
        links=len(record.links),
        ages=end_of_token(token, ground, "").at,
        tree=plan.archive.tree,
        stale=plan.stale,
        refused=plan.refused,
    )


def _checked(plan: _Plan, data: bytes, ground: Ground, asked: Renewal) -> Record:
    """The new record as `verify` will read it; a SealwrightError where it would not count, or another one lies there by now.

    One that would last no longer than what is due is refused too: else each run would add a link and nothing would be won.
    """
    name, old = plan.archive.name, plan.archive.record
    if len(data) > MAX_BYTES:
        raise LimitExceeded(
            name, f"a record of {len(data)} bytes", "Remove large revocation lists from trust.d, then try again."
        )
    record = read_record(data, name)
    if old is not None and not contains(record, old):
        raise MalformedEnvelope(
            name, "the new record would not contain the old one", "Keep the old one and report this."
        )
    refuse_taken(plan.proofs.record, Replace.YES)
    if read_file_or_none(plan.proofs.record, MAX_BYTES) != (old.encoded if old is not None else None):
        raise ChangedWhileRead(name, "another record lies there by now", "Try again.")
    try:
        follow(record, name, ground)
    except TokenRefused as refusal:
        raise MalformedEnvelope(
            name,
            f"the new record would prove nothing: {refusal}",
            "Put the authority into the trust file, or name another one.",
        ) from refusal
    lasts = end_of_token(read_token(record.links[-1].token, name), ground, "the new timestamp")
    if asked.horizon is not None and plan.proofs.ages is not None and lasts.at <= plan.proofs.ages:
        raise MalformedEnvelope(
            name,
            f"it would last no longer than now ({lasts.why}, {lasts.at:%Y-%m-%d})",
            "Name an authority whose certificate and algorithms last longer, or renew with --all.",
        )
    evidence, _ = weigh(plan.archive._replace(record=record, problem=""), ground)
    if evidence is None or evidence.content is None:
        raise MalformedEnvelope(name, "the new record is not over the file", "Try again when nobody writes to it.")
    return record
