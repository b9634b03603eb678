"""The receiving record: written beside what was received, and signed by each person it names (artifact/receiving.py has its text).

    drive.bin                             what came
    drive.bin.received/                   the evidence: mails, pages, digest lists, old signatures and their keys
    drive.bin.received.manifest           the record; `sha256sum -c` checks it
    drive.bin.received.manifest.p7s       the first person's signature, made with the record
    drive.bin.received.manifest.ID.p7s    each other person's, made later, on a machine of theirs

Signed first (intent and result are then in the journal), then evidence, record and signature get their names, in this order; what a crash
leaves in between has no signature, and the next receiving goes on with it. Nothing that is there is ever written over.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.folders import alone_in
from sealwright.artifact.manifest import Over
from sealwright.artifact.names import display
from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.progress import Progress
from sealwright.artifact.receiving import FIRST, FOLDER_SUFFIX, MAX_BYTES, SUFFIX, Receiving, parse_receiving
from sealwright.artifact.source import open_artifact, read_file, read_file_or_none
from sealwright.artifact.tree import compare_tree
from sealwright.envelope.algorithms import PublicKey, key_digest
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import RECEIVING
from sealwright.errors import DiffersFromSource, OutputRefused, ReceivingRefused, SealwrightError
from sealwright.findings import Severity
from sealwright.formats.format import Coverage, Prepared
from sealwright.formats.manifest import MAX_SMALL_BYTES
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES
from sealwright.keys.pin import Pin
from sealwright.plant.evidence import MAX_FILE_BYTES, check_free, take_back, write_evidence
from sealwright.plant.inspection import Inspected, artifact_path, names_of
from sealwright.signing.home import TRUST, EnrolledKey, Home, KeyPurpose
from sealwright.signing.pending import Pending, take_away
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.stamps import Missing, open_stamper, utc_now
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.trustfile import MAX_BYTES as MAX_TRUST_BYTES
from sealwright.trust.trustfile import parse_trust

_NOT_WRITTEN = "Nothing was written. Look at what is there, who may write there, and how much room there is."


@dataclass(frozen=True, slots=True)
class SignWith:
    """home, key (name or key string, None for the home's first), pin; timestamp, later: as of `sign`, None for the home's choice."""

    home: Home
    key: str | None = None
    pin: Pin | None = None
    timestamp: str | tuple[str, ...] | None = None
    later: bool | None = None
    clock: Callable[[], datetime] = utc_now

    @property
    def enrolled(self) -> EnrolledKey:
        """The key that signs."""
        return self.home.key(self.key, KeyPurpose.ARTIFACT, RECEIVING, "a receiving record")

    @property
    def holder(self) -> str:
        """The person to whom the home's trust file maps that key; "" where it says nobody or several, or cannot be read."""
        try:
            data = read_file_or_none(self.home.path(TRUST), MAX_TRUST_BYTES)
            found = parse_trust(data, TRUST).persons if data is not None else ()
        except SealwrightError:
            return ""  # whoever uses that file is told; a record is signed without it
        key = self.enrolled.digest
        persons = [one.id for one in found if key in one.keys]
        return persons[0] if len(persons) == 1 else ""


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature of a record. outputs: the files written, the signature last; missing: the persons who have yet to sign.

    stamped: when a timestamp proves that it was there, None without one; pending: how many are still to come (`sealwright stamp`).
    """

    path: str
    record: Receiving
    outputs: tuple[str, ...]
    person: str
    subject: str
    provenance: str
    missing: tuple[str, ...]
    stamped: datetime | None
    pending: int = 0


class _Made(NamedTuple):
    """A signature that has no name yet. waiting: what the home remembers of it, where timestamps are still to come."""

    envelope: bytes
    signed: Signed
    waiting: tuple[Pending, ...]


def refuse_received(path: str, progress: Progress | None = None) -> None:
    """ReceivingRefused where a file has a signed record already: it says who received it when, and whether it is still that file."""
    artifact = artifact_path(path)
    where = artifact + SUFFIX
    if not os.path.lexists(where + ".p7s"):
        return
    record = read_record(where)
    missing = _missing(where, record)
    signed = names_of([one for one in record.persons if one not in missing])
    when = f"on {record.received:%Y-%m-%d %H:%M} UTC by {signed}, as {record.grade.value}"
    try:
        check_delivered(where, record, progress)
    except SealwrightError as cause:
        raise ReceivingRefused(
            path,
            f"something else of this name was received {when} ({cause.what})",
            "Find out which of them is right, and put the other one with its record into another folder.",
        ) from cause
    if missing:
        raise ReceivingRefused(
            path,
            f"it was received already, {when}; {names_of(missing)} has yet to sign",
            f"sealwright receive --sign {display(where)} --person {missing[0]} --home THEIR-HOME",
        )
    raise ReceivingRefused(
        path,
        f"it was received already, {when}",
        f"Nothing is to be done; `sealwright verify {display(path)}` judges it.",
    )


def receive(inspected: Inspected, sign: SignWith) -> Signed:
    """Sign the record as its first person, and write everything; or nothing, where it raises."""
    record, where = inspected.record, inspected.path + SUFFIX
    target = inspected.path + record.signature_suffix(record.persons[0])
    folder = inspected.path + FOLDER_SUFFIX
    _refuse_what_is_there(inspected, target)
    made = _sign(where, target, record, inspected.text, record.persons[0], sign)
    with _or_nothing(sign.home, made), alone_in(os.path.dirname(where)):
        left = _refuse_what_is_there(inspected, target)
        new = bool(inspected.kept) and write_evidence(folder, inspected.kept)
        try:
            if left:
                write_batch([Output(where, inspected.text)], replace=Replace.YES)
            write_batch([*(() if left else (Output(where, inspected.text),)), Output(target, made.envelope)])
        except BaseException:
            if new and not os.path.lexists(where):
                take_back(folder, inspected.kept)
            raise
    outputs = (*(os.path.join(folder, one.name) for one in inspected.kept), where, target)
    return replace(made.signed, outputs=outputs, missing=record.persons[1:])


def _refuse_what_is_there(inspected: Inspected, target: str) -> bool:
    """OutputRefused where something has a name that is wanted. True where a record lies there that a crash left unsigned."""
    _refuse_taken(target)
    folder, where = inspected.path + FOLDER_SUFFIX, inspected.path + SUFFIX
    if inspected.kept:
        check_free(folder, inspected.kept)
    else:
        _refuse_taken(folder)
    left = _left_by_a_crash(where)
    if not left:
        _refuse_taken(where)
    return left


@contextmanager
def _or_nothing(home: Home, made: _Made) -> Iterator[None]:
    """What is not written is not remembered either; what is in the way is told without words of other commands."""
    try:
        yield
    except BaseException as cause:
        take_away(home.folder, made.waiting)
        if isinstance(cause, OutputRefused):
            raise OutputRefused(cause.subject, cause.what, _NOT_WRITTEN) from cause
        raise


def read_record(path: str) -> Receiving:
    """A record that lies under the name it must have. MalformedArtifact, UsageError or ReceivingRefused where it is none."""
    return _parsed(read_file(path, MAX_BYTES), path)


def _parsed(text: bytes, path: str) -> Receiving:
    record = parse_receiving(text, path)
    if os.path.basename(path) != os.fsdecode(record.name) + SUFFIX:
        raise ReceivingRefused(
            path,
            f"it is the record of {display(record.name)}, and that one's name is another",
            "Give it its name back; it lies beside what was received.",
        )
    return record


def check_delivered(path: str, record: Receiving, progress: Progress | None = None) -> None:
    """Everything that a record lists is there and is what it says; DiffersFromSource naming the first that is not."""
    folder = os.path.dirname(path)
    artifact = os.path.join(folder, os.fsdecode(record.name))
    if record.contents.over is Over.TREE:
        findings = compare_tree(artifact, record.contents, progress)
        bad = next((one for one in findings if one.severity is Severity.REJECT), None)
        if bad is not None:
            raise DiffersFromSource(artifact, f"{bad.subject}: {bad.sentence}", "Fetch what was received again.")
    else:
        with open_artifact(artifact) as source:
            found = source.digests((record.algorithm,), progress)[record.algorithm]
        _check_digest(artifact, found, record.contents.files[0].digest)
    evidence = os.path.join(folder, os.fsdecode(record.folder))
    listed = {os.fsdecode(one.name) for one in record.evidence}
    if os.path.isdir(evidence) and (more := sorted({*os.listdir(evidence)} - listed)):
        raise DiffersFromSource(
            evidence,
            f"{display(more[0])} lies there, and the record does not list it",
            "Put it elsewhere; nobody signed it.",
        )
    for one in record.evidence:
        kept = os.path.join(evidence, os.fsdecode(one.name))
        _check_digest(kept, Digest.of(read_file(kept, MAX_FILE_BYTES), record.algorithm), one.digest)


@dataclass(frozen=True, slots=True)
class ToSign:
    """A record that a further person is shown and then signs: the very bytes that were read once.

    first: the key that signed for the first person; first_subject: what its certificate calls it. Whose it is, `verify` judges.
    """

    path: str
    person: str
    text: bytes
    record: Receiving
    first: PublicKey
    first_subject: str


def read_to_sign(path: str, person: str, progress: Progress | None = None) -> ToSign:
    """A record that is whole, signed by its first person, and waits for this one. path: of the record, or of what it is about.

    Raises ReceivingRefused, DiffersFromSource, or what reading raises.
    """
    path = path if path.endswith(SUFFIX) else path.rstrip("/") + SUFFIX
    text = read_file(path, MAX_BYTES)
    record = _parsed(text, path)
    if person not in record.persons[1:]:
        waiting = names_of(_missing(path, record)) or "nobody"
        raise ReceivingRefused(
            path,
            f"it does not wait for {display(person[:70])}; it waits for {waiting}",
            "Who signs is named when the file is received (--person).",
        )
    target = _signature(path, record, person)
    if os.path.lexists(target):
        raise ReceivingRefused(path, f"{person} signed it already ({target})", "Nothing is to be done.")
    check_delivered(path, record, progress)
    first = _first_signer(path, text, record)
    subject = display_name(load_certificate(first.certificate, path).subject)
    return ToSign(path, person, text, record, first.key, subject)


def sign_record(shown: ToSign, sign: SignWith) -> Signed:
    """Add a further person's signature; by another key than the first one's."""
    if key_digest(shown.first) == sign.enrolled.digest:
        raise ReceivingRefused(
            shown.path,
            f"{shown.record.persons[0]} signed with this very key, and two persons have two",
            "Sign with a key of your own: --home or --key.",
        )
    target = _signature(shown.path, shown.record, shown.person)
    _refuse_taken(target)
    made = _sign(shown.path, target, shown.record, shown.text, shown.person, sign)
    with _or_nothing(sign.home, made):
        write_batch([Output(target, made.envelope)])
    return replace(made.signed, outputs=(target,), missing=_missing(shown.path, shown.record))


def _refuse_taken(path: str) -> None:
    if os.path.lexists(path):
        raise OutputRefused(path, "it is already there", _NOT_WRITTEN)


def _first_signer(path: str, text: bytes, record: Receiving) -> Signer:
    """The signer of the first person's file, whose signature of the record holds; ReceivingRefused where none does."""
    name = _signature(path, record, record.persons[0])
    data = read_file_or_none(name, MAX_ENVELOPE_BYTES)
    if data is None:
        raise ReceivingRefused(path, f"{record.persons[0]} has not signed it", "Have the first person sign first.")
    try:
        (signer,) = (one for one in read_envelope(data, Profile.OURS, name).signers if isinstance(one, Signer))
        check_signer(signer, {one: Digest.of(text, one) for one in HashName}, RECEIVING.name, name)
    except (SealwrightError, ValueError) as cause:
        why = cause.what if isinstance(cause, SealwrightError) else "it has not one signer that is read"
        raise ReceivingRefused(
            path, f"its first signature does not hold ({why})", "Fetch record and signature again."
        ) from cause
    return signer


def _sign(where: str, target: str, record: Receiving, text: bytes, person: str, sign: SignWith) -> _Made:
    """The signature with its timestamps, recorded in the home's journal; what is still to come is durable there. target: its path."""
    enrolled = sign.enrolled
    digests = {enrolled.algorithm.digest: Digest.of(text, enrolled.algorithm.digest)}
    prepared = Prepared(
        format=RECEIVING.name,
        kind=RECEIVING.name,
        path=where,
        digests=digests,
        content=text if len(text) <= MAX_SMALL_BYTES else None,
        size=len(text),
        coverage=Coverage.whole(len(text)),
        claims=record.contents.claims,
        name=os.path.basename(where),
    )
    wanted = sign.timestamp if sign.timestamp is not None else sign.home.timestamp
    later = sign.home.stamps_later if sign.later is None else sign.later
    missing = Missing.LATER if later else Missing.REFUSE
    with (
        Pipeline(sign.home, enrolled, sign.pin) as pipeline,
        closing(
            open_stamper(wanted, sign.home, sign.pin, pipeline.journal, missing=missing, clock=sign.clock)
        ) as stamper,
    ):
        now = sign.clock()
        (made,) = pipeline.sign([prepared], now)
        (stamps,) = stamper.stamp([Digest.of(made.value)])
        to_come = stamper.wanted - len(stamps)
        waiting = Pending(
            target=os.path.abspath(where),
            file=os.path.abspath(target),
            artifact=pipeline.artifact(prepared),
            signature=Digest.of(made.value),
            end=pipeline.end,
            since=now,
            missing=to_come,
        )
        pipeline.defer([waiting] if to_come else [])
        return _Made(
            envelope=pipeline.sealed(made, [stamp.token for stamp in stamps]).envelope,
            signed=Signed(
                path=where,
                record=record,
                outputs=(),
                person=person,
                subject=pipeline.subject,
                provenance=enrolled.provenance.value,
                missing=(),
                stamped=min((stamp.gen_time for stamp in stamps), default=None),
                pending=to_come,
            ),
            waiting=(waiting,) if to_come else (),
        )


def _signature(path: str, record: Receiving, person: str) -> str:
    """Where a person's signature lies. path: of the record."""
    return path.removesuffix(SUFFIX) + record.signature_suffix(person)


def _missing(path: str, record: Receiving) -> tuple[str, ...]:
    """The persons whose signature is not there."""
    return tuple(one for one in record.persons if not os.path.lexists(_signature(path, record, one)))


def _left_by_a_crash(where: str) -> bool:
    """Whether a record lies there that nobody signed; OutputRefused for every other file of this name."""
    if os.path.islink(where) or not os.path.isfile(where):
        return False
    if not read_file(where, MAX_BYTES).startswith(FIRST) or glob.glob(f"{glob.escape(where)}.*"):
        raise OutputRefused(
            where, "it is already there, and is not what an interrupted receiving left", "Move it to another folder."
        )
    return True


def _check_digest(path: str, found: Digest, wanted: bytes) -> None:
    if found.value != wanted:
        raise DiffersFromSource(
            path, f"its digest is {found.value.hex()}, and the record says {wanted.hex()}", "Fetch it again."
        )
