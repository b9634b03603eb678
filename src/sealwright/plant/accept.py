"""The plant's acceptance of what a maker delivered: `NAME.plant.manifest` and its signature, beside the maker's.

1. The maker's signature must hold under the trust file, as `verify` judges it for an installation; of what the plant itself still
   owes, nothing is asked. A receiving record may stand in where the rule takes it.
2. The key's certificate counts today under the trust file, which maps it to a person, and the rule lets that person sign for the
   plant: what nobody would take is not signed.
3. What is listed is what was judged: the file as it was held open, and signature files that hold every signature that counted.
4. It is signed through the one pipeline, with an artifact key of the plant's home; manifest first, signature last (RULES 1).
The reports that lie beside are listed so that `sha256sum -c` checks them; others are bound by their digests alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.acceptance import Acceptance, Report, acceptance_bytes
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Over
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import open_artifact
from sealwright.artifact.sums import FileEntry
from sealwright.envelope.kinds import ACCEPTANCE
from sealwright.errors import AcceptanceRefused, ChangedWhileRead, UsageError
from sealwright.findings import Severity
from sealwright.formats.archive import ArchiveObject, signatures_of_record, small_object
from sealwright.formats.format import RECEIVING, Companion, Coverage, Prepared, Slot
from sealwright.formats.known import BESIDE
from sealwright.formats.registry import plain_folder
from sealwright.formats.sidecar import ACCEPTANCE_SUFFIX, MANIFEST_SUFFIX, RECEIVING_SUFFIX, SUFFIXES
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.place import HomePlace
from sealwright.signing.sign import NotSigned, Signed, SignOptions, sign_each
from sealwright.trust.belief import Believed
from sealwright.trust.model import Person, Rule
from sealwright.trust.signatures import Judged, worth_now
from sealwright.trust.statements import is_bound
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, Verifier


@dataclass(frozen=True, slots=True)
class Scope:
    """Where and until when something may be used, and what shows that it was tested. lines, hardware: () for anywhere.

    reports, note: paths of files; person: id, None for the one to whom the trust file maps the key.
    """

    lines: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    not_before: datetime | None = None
    until: datetime | None = None
    reports: tuple[str, ...] = ()
    note: str | None = None
    person: str | None = None


class _Judging(NamedTuple):
    """What one path is judged by. believed: the trust file as it is, of which the verifier asks the makers' part alone.

    person, anchor: who signs, and the name of the anchor under which.
    """

    verifier: Verifier
    believed: Believed
    person: Person
    anchor: str
    scope: Scope
    now: datetime
    progress: Progress | None


def accept_paths(
    paths: Iterable[str],
    home: Home,
    believed: Believed,
    scope: Scope,
    options: SignOptions,
    progress: Progress | None = None,
) -> Iterator[Signed | NotSigned]:
    """One answer a path, in order; `Signed.claims` are the maker's. Raises for what concerns them all: the home, the key, the person."""
    now = options.clock().replace(microsecond=0)
    _check_scope(scope, now)
    enrolled = home.key(options.key, KeyPurpose.ARTIFACT, ACCEPTANCE)
    verifier = Verifier(_asking_the_maker(believed), Request(clock=now))
    person, anchor = _signer(verifier, enrolled, scope.person)

    def prepare(path: str, algorithms: tuple[HashName, ...]) -> Prepared:
        (algorithm,) = algorithms
        target = plain_folder(path) if os.path.isdir(path) else path
        judging = _Judging(verifier, believed, person, anchor, scope, now, progress)
        return _prepared(target, _accepted(target, algorithm, judging), enrolled)

    yield from sign_each(paths, ACCEPTANCE, HomePlace(home), options, prepare)


def _asking_the_maker(believed: Believed) -> Believed:
    """The trust file as it is before the plant has signed anything: of the signers of its slot nothing is wanted yet."""
    rules = []
    for rule in believed.trust.rules:
        signers = tuple(replace(one, count=0) if one.slot is Slot.PLANT else one for one in rule.signers)
        rules.append(rule._replace(signers=signers))
    return replace(believed, trust=believed.trust._replace(rules=tuple(rules)))


def _check_scope(scope: Scope, now: datetime) -> None:
    for name, texts in (("line", scope.lines), ("hardware", scope.hardware)):
        if len(set(texts)) != len(texts) or any(not one.strip() for one in texts):
            raise UsageError(f"--{name}", "one is empty or said twice", "Say each once.")
    if scope.until is not None and scope.until <= now:
        raise UsageError("--until", f"{scope.until:%Y-%m-%d %H:%M} UTC is past", "Name a later time, or leave it out.")


def _signer(verifier: Verifier, enrolled: EnrolledKey, wanted: str | None) -> tuple[Person, str]:
    """The person and the anchor of a key; AcceptanceRefused where its signatures count for nobody today."""
    standing = worth_now(enrolled.certificate, enrolled.chain, verifier.ground)
    grave = (Severity.REJECT, Severity.UNDECIDED)
    why = next((one for one in standing.findings_of(f"key {enrolled.name}") if one.severity in grave), None)
    if why is not None or standing.anchor is None:
        said = why.sentence if why is not None else "its certificate ends at no anchor of the trust file"
        step = "Have the plant's authority written into the trust file, or sign with another key."
        raise AcceptanceRefused(f"key {enrolled.name}", said, step)
    known, person = standing.known, standing.person
    if person is None:
        raise AcceptanceRefused(
            f"key {enrolled.name}",
            "the trust file maps it to no person, so its signature would count for nobody",
            f"Have an officer add {known.key} to a [[person]]: sealwright trust add person.",
        )
    if wanted not in (None, person.id):
        raise AcceptanceRefused(
            f"key {enrolled.name}", f"the trust file maps it to {person.id}, not to {wanted}", "Sign with your own key."
        )
    return person, standing.anchor.name


def _accepted(
    path: str,
    algorithm: HashName,
    judging: _Judging,
) -> Acceptance:
    """Points 1 to 3 for one path."""
    verifier, scope, person = judging.verifier, judging.scope, judging.person
    if os.path.lexists(path + ".plant"):
        raise AcceptanceRefused(
            path, f"{path}.plant lies beside it, whose manifest would have the acceptance's name", "Move that file."
        )
    if os.path.isdir(path):
        _, judged, verdict = verifier.examine(path, judging.progress)
        artifact = None
    else:
        with open_artifact(path) as source:
            judged, verdict = verifier.examine_opened(source, judging.progress)
            artifact = source.digests((algorithm,))[algorithm].value
    _check_verdict(path, verdict, judging)
    listed = _signature_files(path, algorithm)
    reports = _reports(path, scope.reports, algorithm)
    acceptance = Acceptance(
        algorithm,
        os.fsencode(os.path.basename(path)),
        Over.FILE if artifact is not None else Over.TREE,
        artifact,
        tuple(sorted(FileEntry(os.fsencode(one.name), one.digests[algorithm].value) for one in listed)),
        judging.now,
        person.id,
        tuple(sorted(scope.lines)),
        tuple(sorted(scope.hardware)),
        scope.not_before,
        scope.until,
        tuple(report for report, _ in reports),
        tuple(report.name for report, beside in reports if beside),
        _note(scope.note),
    )
    _check_bound(path, acceptance, judged, listed)
    return acceptance


def _check_verdict(path: str, verdict: Verdict, judging: _Judging) -> None:
    person = judging.person
    if verdict.outcome is not Outcome.TRUSTED:
        grave = next(one for one in verdict.findings if one.severity in (Severity.REJECT, Severity.UNDECIDED))
        raise AcceptanceRefused(path, f"its maker's signature does not hold: {grave.sentence}", grave.next_step)
    rule = next(one for one in judging.believed.trust.rules if one.name == verdict.rule)
    if not any(one.slot is Slot.MAKER for one in rule.signers):
        raise AcceptanceRefused(
            path,
            f"the rule {rule.name} asks for no maker's signature, so there is none to accept",
            "Sign it as the plant: sealwright sign --as plant.",
        )
    if not _may_sign(rule, person, judging.anchor):
        raise AcceptanceRefused(
            path,
            f"the rule {rule.name} lets others sign for the plant, not {person.id} (under {judging.anchor})",
            "Ask one of them to accept it.",
        )
    for hardware in judging.scope.hardware:
        if hardware not in verdict.claims.hardware:
            named = ", ".join(verdict.claims.hardware) or "no hardware"
            raise AcceptanceRefused(
                path,
                f"its maker signed it for {named}, not for {hardware}",
                "Accept it for hardware that it is made for.",
            )


def _may_sign(rule: Rule, person: Person, anchor: str) -> bool:
    """Whether a rule takes a person's signature for the plant under an anchor; one that asks for none takes any."""
    plant = [one for one in rule.signers if one.slot is Slot.PLANT and one.count]
    return not plant or any(anchor in one.anchors and (not one.persons or person.id in one.persons) for one in plant)


def _signature_files(path: str, algorithm: HashName) -> list[ArchiveObject]:
    """The signature files beside an artifact, and the statements that they are over; what the plant signed itself is left out."""
    makers = [SUFFIXES[Slot.MAKER], SUFFIXES[Slot.PQ]]
    suffixes = [MANIFEST_SUFFIX, *(MANIFEST_SUFFIX + one for one in makers), RECEIVING_SUFFIX]
    if not os.path.isdir(path):
        suffixes += [*makers, *(ending for endings in BESIDE.values() for ending in endings)]
    wanted = [*(path + suffix for suffix in suffixes), *signatures_of_record(path)]
    return [small_object(one, (algorithm,)) for one in sorted({*wanted}) if os.path.isfile(one)]


def _reports(path: str, reports: Sequence[str], algorithm: HashName) -> list[tuple[Report, bool]]:
    """Each report with whether it lies beside the artifact, sorted by name."""
    folder, found = os.path.realpath(os.path.dirname(path) or "."), []
    for report in reports:
        with open_artifact(report) as source:
            digest = source.digests((algorithm,))[algorithm]
        beside = os.path.realpath(os.path.dirname(report) or ".") == folder
        found.append((Report(os.fsencode(os.path.basename(report)), digest.value), beside))
    return sorted(found)


def _note(path: str | None) -> Digest | None:
    if path is None:
        return None
    with open_artifact(path) as source:
        return source.digests((HashName.SHA256,))[HashName.SHA256]


def _check_bound(path: str, acceptance: Acceptance, judged: Sequence[Judged], listed: Sequence[ArchiveObject]) -> None:
    """Point 3: what counted is in what is listed, so that nothing was exchanged while it was looked at."""
    for entry in judged:
        of_maker = entry.seen.slot is not Slot.PLANT or entry.candidate.format == RECEIVING
        if entry.seen.accepted and of_maker and not is_bound(entry, acceptance, listed):
            raise ChangedWhileRead(path, f"{entry.seen.source} is another one now", "Accept it again.")


def _prepared(path: str, acceptance: Acceptance, enrolled: EnrolledKey) -> Prepared:
    text = acceptance_bytes(acceptance)
    digest = enrolled.algorithm.digest
    return Prepared(
        format=ACCEPTANCE.name,
        kind=ACCEPTANCE.name,
        path=path,
        digests={digest: Digest.of(text, digest)},
        content=text,
        size=len(text),
        coverage=Coverage.whole(len(text)),
        claims=Claims(),
        suffix=ACCEPTANCE_SUFFIX,
        companions=(Companion(ACCEPTANCE_SUFFIX, text),),
    )
