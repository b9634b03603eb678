"""Whether the record of a key ceremony holds: alone, with other records of the same nonce, and with the home it tells of.

1. Enough officers of the plan signed exactly its bytes, and enough witnesses; the plan is the one it names; what the plan decides is as
   the plan says.
2. Nobody sees another record of its nonce: none that is named beside it, none that lies in the same folder, and not the one in the home.
3. The home's register was opened by a ceremony of this plan, nonce, time, program and form of record, and closed with the digest of this
   very record: so each of its lines is as it was written. What else the home has is compared line by line, and named where it differs:
   certificates, keys, serials, dates, provenance, algorithms, lists, the anchor, and the attendance that is kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import CeremonyRefused, SealwrightError
from sealwright.signing.attendance import attended, read_attendance
from sealwright.signing.ceremonyplan import Plan
from sealwright.signing.home import ANCHORS, CEREMONY, REGISTER, Home
from sealwright.signing.home import MAX_BYTES as MAX_HOME_BYTES
from sealwright.signing.issued import Inventory, Issued, common_name, read_register
from sealwright.signing.transcript import (
    FILE,
    FIRST_LINE,
    KIND,
    MAX_BYTES,
    NEXT,
    Crossed,
    Made,
    Transcript,
    check_follows,
    parse_transcript,
    register_id,
)
from sealwright.trust.history import SignedText, persons_of, reached, read_signed, signing_keys

MAX_BESIDE = 1000


class Checked(NamedTuple):
    """A record that holds. signed: the officers and witnesses whose signatures do; later: authorities of the home that it does not
    tell of."""

    transcript: Transcript
    signed: tuple[str, ...]
    later: tuple[str, ...] = ()


def check_transcript(path: str, plan: Plan, home: Home | None, others: Sequence[str] = ()) -> Checked:
    """Whether a record holds (1 to 3), with its signatures beside it; CeremonyRefused where it does not.

    others: further records that are known, of this ceremony or another one.
    """
    signed = read_signed(path)
    transcript = parse_transcript(signed.text, path)
    check_follows(transcript, plan, path)
    keys = signing_keys(signed, KIND)
    for quorum, who in ((plan.officers, "officers"), (plan.witnesses, "witnesses")):
        if not reached(quorum, keys):
            told = ", ".join(sorted(persons_of(quorum, keys))) or "none of them"
            raise CeremonyRefused(
                path,
                f"{quorum.threshold} {who} of the plan must sign it, signed has {told}" + _which_fail(signed, plan),
                f"Have the others sign these very bytes: sealwright ca ceremony sign {path}",
            )
    for other in (*others, *_beside(path), *([home.path(CEREMONY, FILE)] if home is not None else [])):
        _is_the_only_one(path, signed.text, transcript, other)
    persons = sorted(persons_of(plan.officers, keys) | persons_of(plan.witnesses, keys))
    later = _is_of(transcript, Digest.of(signed.text), plan, home) if home is not None else ()
    return Checked(transcript, tuple(persons), later)


def _beside(path: str) -> Iterator[str]:
    """The other records in the same folder, whatever they are called."""
    folder = os.path.dirname(path) or "."
    try:
        names = sorted(name for name in os.listdir(folder) if not name.endswith(".p7s"))
    except OSError:
        return  # what nobody can list, nobody sees
    for name in names[:MAX_BESIDE]:
        if _is_record(other := os.path.join(folder, name)):
            yield other


def _is_record(path: str) -> bool:
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MAX_BYTES:
            return False
        with open(path, "rb") as lines:
            return lines.readline(len(FIRST_LINE) + 2).strip() == FIRST_LINE.encode()
    except OSError:
        return False


def _is_the_only_one(path: str, text: bytes, transcript: Transcript, other: str) -> None:
    data = read_file_or_none(other, MAX_BYTES)
    if data is None or data == text:
        return
    try:
        beside = parse_transcript(data, other)
    except SealwrightError as cause:
        raise CeremonyRefused(other, f"it lies beside {path} and cannot be read ({cause.what})", NEXT) from cause
    if beside.nonce == transcript.nonce:
        raise CeremonyRefused(
            path,
            f"{other} is another transcript of the same nonce (register {beside.register}, and here {transcript.register})",
            "One attendance is good for one ceremony: use neither root before the officers have found out who made two.",
        )


def _which_fail(signed: SignedText, plan: Plan) -> str:
    """The signature files that count for nobody, for the error."""
    failing = [
        name
        for name, data in signed.signatures.items()
        if not persons_of(plan.officers, signing_keys(SignedText(signed.path, signed.text, {name: data}), KIND))
    ]
    return f" ({', '.join(failing)} counts for nobody)" if failing else ""


def _is_of(transcript: Transcript, digest: Digest, plan: Plan, home: Home) -> tuple[str, ...]:
    """The home is the one that the record tells of; the authorities that were certified there beside it."""
    inventory = read_register(home.path(REGISTER))
    issued = {Digest.of(one.certificate): one for one in inventory.issued.values()}
    certified: list[Made | Crossed] = [*transcript.made, *transcript.crossed]
    for told in certified:
        _same_certificate(told, issued.get(told.certificate), plan, home)
    for made in transcript.made:
        _same_key(made, home)
    if _anchors(home) != [transcript.made[0].certificate]:
        raise CeremonyRefused(home.path(ANCHORS), "it is not the root that the ceremony made, alone", NEXT)
    by = {made.step: made.key for made in transcript.made}
    for first in transcript.lists:
        listed = inventory.crls.get(first.crl)
        if listed is None or (listed.issuer, listed.number, listed.next_update) != (
            by[first.authority],
            first.number,
            first.until,
        ):
            raise CeremonyRefused(
                home.folder, f"its register does not have the revocation list of {first.authority}, {first.crl}", NEXT
            )
    folder = home.path(CEREMONY)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    kept = [os.path.join(folder, name) for name in names if name.startswith("attendance.")]
    if attended(plan, transcript.nonce, read_attendance(kept), transcript.time) != transcript.present:
        raise CeremonyRefused(folder, "the attendance kept there is not of those whom the transcript names", NEXT)
    _same_ceremony(transcript, digest, inventory, home)
    told_of = {one.certificate for one in certified}
    others = [one for number, one in issued.items() if number not in told_of and _is_authority(one.x509)]
    return tuple(f"{one.name}, serial {one.serial:x}, {one.at:%Y-%m-%d}" for one in others)


def _same_certificate(told: Made | Crossed, one: Issued | None, plan: Plan, home: Home) -> None:
    which = f"step {told.number} ({told.step})" if isinstance(told, Made) else f"the root {told.root}"
    if one is None or (one.key, one.serial) != (told.key, told.serial):
        raise CeremonyRefused(
            home.folder, f"its register does not have the certificate of {which}, {told.certificate}", NEXT
        )
    wrong = ""
    if (display(one.name), one.x509.not_valid_after_utc) != (told.subject, told.until):
        wrong = f"it names {one.name} until {one.x509.not_valid_after_utc:%Y-%m-%d %H:%M:%S}"
    elif isinstance(told, Made) and plan.name_of(told.step) != common_name(one.x509):
        wrong = f"it is of {one.name}, not as the plan says"
    elif isinstance(told, Made) and one.provenance != told.provenance:
        wrong = f"the provenance of its key is {one.provenance}, and the transcript says {told.provenance}"
    if wrong:
        raise CeremonyRefused(home.folder, f"the certificate of {which} is another one: {wrong}", NEXT)


def _same_key(made: Made, home: Home) -> None:
    """The key as home.toml has it, which may have been renewed since, or gone to another medium."""
    for enrolled in home.keys:
        if enrolled.digest != made.key:
            continue
        found = (enrolled.algorithm.name, enrolled.construction.value, enrolled.provenance.value)
        if found != (made.algorithm, made.construction, made.provenance):
            raise CeremonyRefused(
                home.folder,
                f"its key {enrolled.name} is {', '.join(found)}, and the transcript says "
                f"{made.algorithm}, {made.construction}, {made.provenance}",
                NEXT,
            )
        return


def _same_ceremony(transcript: Transcript, digest: Digest, inventory: Inventory, home: Home) -> None:
    opened = inventory.ceremony
    if opened is None:
        raise CeremonyRefused(home.folder, "no ceremony opened its register", NEXT)
    pairs = (
        ("plan", opened.plan, transcript.plan),
        ("nonce", opened.nonce, transcript.nonce),
        ("time", opened.at, transcript.time),
        ("version of the program", opened.version, transcript.version),
        ("form of the record", opened.form, FIRST_LINE),
        ("register", register_id(home.folder), transcript.register),
        ("digest of the transcript", opened.record, digest),
    )
    for name, found, told in pairs:
        if found != told:
            raise CeremonyRefused(
                home.folder, f"its register and the transcript do not agree: {name} is {found}, and there {told}", NEXT
            )


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _anchors(home: Home) -> list[Digest]:
    try:
        found = x509.load_pem_x509_certificates(read_file(home.path(ANCHORS), MAX_HOME_BYTES))
    except UNREADABLE as cause:
        raise CeremonyRefused(home.path(ANCHORS), "there is no certificate in it", NEXT) from cause
    return [Digest.of(one.public_bytes(Encoding.DER)) for one in found]
