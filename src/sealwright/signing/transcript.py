"""The record of a key ceremony: what was made, before whom, one fact a line, and signed by the officers afterwards.

1. It is written with the home, in HOME/ceremony, beside the plan and the attendance: the home is there with its record or not at all.
2. An officer signs exactly its bytes (kind `transcript`), by the key that the plan names for them, and of one nonce no second record:
   the officer's own home remembers (HOME/ceremonies).
3. It holds where more than half of those who attended signed it, at least the plan's threshold, so that of one attendance two records
   never hold; the plan is the one it names, and its steps are the plan's. Where the home is at hand too, its register and journal must
   have every certificate, key and list as named, its anchor must be the root that is named, and the attendance kept there must be of those
   who are named. What only the token can tell (location, attributes, second copy) and the program's version stand on the officers' word.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.certified import UNREADABLE
from sealwright.errors import CeremonyRefused, MalformedTrust
from sealwright.keys.pin import Pin
from sealwright.log.canonical import Field, canonical_json, read_canonical, time_text
from sealwright.log.journal import EntryType, read_journal
from sealwright.signing.ceremonyplan import (
    LISTS,
    ROOT_STEP,
    Plan,
    Present,
    attended,
    check_nonce,
    officer_key,
    read_attendance,
    read_plan,
)
from sealwright.signing.home import ANCHORS, CEREMONY, JOURNAL, REGISTER, Home
from sealwright.signing.home import MAX_BYTES as MAX_HOME_BYTES
from sealwright.signing.init import signed_text
from sealwright.signing.issued import read_register
from sealwright.trust.history import SignedText, persons_of, read_signed, signing_keys
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import officer_key_digest

FIRST_LINE = "# sealwright transcript 1"
KIND = "transcript"
FOLDER = CEREMONY
FILE = "transcript.txt"
PLAN_FILE = "plan.txt"
SIGNED = "ceremonies"  # of an officer's own home
MAX_BYTES = 1 << 18
_COMPLAINT = Complaint(MalformedTrust, MAX_BYTES, "Use the transcript as the ceremony wrote it.")
_NEXT = "Do not use what it describes before the officers have looked at it together."


class Made(NamedTuple):
    """What one step made. key: SPKI digest; certificate: of its DER; location, attributes: as the key's backend checked them.

    second_copy: where another key was seen to sign that verifies with the same public key; "" for none.
    """

    number: int
    step: str
    subject: str
    key: Digest
    certificate: Digest
    serial: int
    until: datetime
    algorithm: str
    construction: str
    provenance: str
    location: str
    attributes: tuple[str, ...] = ()
    second_copy: str = ""


class FirstList(NamedTuple):
    """The first revocation list of an authority. authority: the key's name in the home; crl: of its DER."""

    authority: str
    number: int
    crl: Digest
    until: datetime


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the record says. version: of the program that did it; plan: the digest; accept_single_copy: the plan's reason, or ""."""

    version: str
    time: datetime
    title: str
    plan: Digest
    nonce: str
    threshold: int
    steps: tuple[str, ...]
    present: tuple[Present, ...]
    made: tuple[Made, ...]
    lists: tuple[FirstList, ...]
    accept_single_copy: str = ""


def transcript_text(transcript: Transcript) -> str:
    """The record's text."""
    top: dict[str, Toml] = {
        "version": transcript.version,
        "time": transcript.time,
        "title": transcript.title,
        "plan": str(transcript.plan),
        "nonce": transcript.nonce,
        "threshold": transcript.threshold,
        "steps": list(transcript.steps),
    }
    if transcript.accept_single_copy:
        top["accept_single_copy"] = transcript.accept_single_copy
    top["present"] = [{"person": one.person, "key": str(one.key), "time": one.time} for one in transcript.present]
    top["made"] = [_made_table(one) for one in transcript.made]
    top["list"] = [
        {"authority": one.authority, "number": one.number, "crl": str(one.crl), "until": one.until}
        for one in transcript.lists
    ]
    return toml_text(FIRST_LINE, top)


def _made_table(one: Made) -> dict[str, Toml]:
    table: dict[str, Toml] = {
        "number": one.number,
        "step": one.step,
        "subject": one.subject,
        "key": str(one.key),
        "certificate": str(one.certificate),
        "serial": f"{one.serial:x}",
        "until": one.until,
        "algorithm": one.algorithm,
        "construction": one.construction,
        "provenance": one.provenance,
        "location": one.location,
    }
    if one.attributes:
        table["attributes"] = list(one.attributes)
    return table | ({"second_copy": one.second_copy} if one.second_copy else {})


def parse_transcript(data: bytes, subject: str) -> Transcript:
    """A record, strictly; MalformedTrust where it is none."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    transcript = Transcript(
        version=top.text("version"),
        time=top.time("time"),
        title=top.name("title"),
        plan=top.digest("plan"),
        nonce=check_nonce(top.text("nonce")),
        threshold=top.number("threshold", 1),
        steps=top.texts("steps"),
        accept_single_copy=top.text("accept_single_copy", ""),
        present=cast("tuple[Present, ...]", top.each("present", _present)),
        made=cast("tuple[Made, ...]", top.each("made", _made)),
        lists=cast("tuple[FirstList, ...]", top.each("list", _list)),
    )
    top.done()
    return transcript


def _present(one: Section) -> Present:
    return Present(one.name("person"), one.digest("key"), one.time("time"))


def _made(one: Section) -> Made:
    try:
        serial = int(one.text("serial"), 16)
    except ValueError:
        raise one.wrong("serial", "a number in hexadecimal") from None
    return Made(
        number=one.number("number", 1),
        step=one.text("step"),
        subject=one.text("subject"),
        key=one.digest("key"),
        certificate=one.digest("certificate"),
        serial=serial,
        until=one.time("until"),
        algorithm=one.text("algorithm"),
        construction=one.text("construction"),
        provenance=one.text("provenance"),
        location=one.text("location"),
        attributes=one.listed("attributes"),
        second_copy=one.text("second_copy", ""),
    )


def _list(one: Section) -> FirstList:
    return FirstList(one.text("authority"), one.number("number", 1), one.digest("crl"), one.time("until"))


def sign_transcript(
    path: str, plan_path: str, home: Home, person: str, now: datetime, pin: Pin | None = None
) -> tuple[str, Transcript]:
    """Sign a record as an officer of its plan; the signature's path. CeremonyRefused where the plan is another one."""
    text = read_file(path, MAX_BYTES)
    transcript, plan = parse_transcript(text, path), read_plan(plan_path)
    _follows(transcript, plan, path)
    enrolled = officer_key(plan, home, person, plan_path)
    _use_up(home, transcript, text, path, now)
    target = f"{path}.{person}.p7s"
    write_atomic(target, signed_text(text, KIND, path, home, enrolled, now, pin), replace=Replace.YES)
    return target, transcript


def _use_up(home: Home, transcript: Transcript, text: bytes, path: str, now: datetime) -> None:
    """The officer's home remembers what was signed of this nonce; CeremonyRefused where that was another record."""
    memory = home.path(SIGNED, f"{transcript.nonce}.json")
    own: dict[str, Field] = {"transcript": str(Digest.of(text)), "time": time_text(now)}
    known = read_file_or_none(memory, MAX_BYTES)
    if known is None:
        os.makedirs(home.path(SIGNED), mode=0o700, exist_ok=True)
        write_atomic(memory, canonical_json(own))
        return
    try:
        before = read_canonical(known)
    except ValueError as cause:
        raise CeremonyRefused(memory, f"it is damaged ({cause})", "Find out who changed it before you sign.") from cause
    if before.get("transcript") != own["transcript"]:
        raise CeremonyRefused(
            path,
            f"this officer signed another transcript of the same nonce on {before.get('time')}: {before.get('transcript')}",
            "One attendance is good for one ceremony: two were run with it, and the other officers must know.",
        )


class Checked(NamedTuple):
    """A record that holds. signed: the officers whose signatures do; later: authorities of the home that it does not tell of."""

    transcript: Transcript
    signed: tuple[str, ...]
    later: tuple[str, ...] = ()


def check_transcript(path: str, plan_path: str, home: Home | None) -> Checked:
    """Whether a record holds (point 3), with its signatures beside it; CeremonyRefused where it does not."""
    signed = read_signed(path)
    transcript, plan = parse_transcript(signed.text, path), read_plan(plan_path)
    _follows(transcript, plan, path)
    came = {one.person for one in transcript.present}
    persons = tuple(sorted(persons_of(plan.officers, signing_keys(signed, KIND)) & came))
    wanted = max(plan.officers.threshold, len(came) // 2 + 1)
    if len(persons) < wanted:
        raise CeremonyRefused(
            path,
            f"{wanted} of the officers who attended ({', '.join(sorted(came))}) must sign it, signed has "
            + (", ".join(persons) or "none of them")
            + _which_fail(signed, plan),
            f"Have the others sign these very bytes: sealwright ca ceremony sign {path}",
        )
    return Checked(transcript, persons, _is_of(transcript, plan, home) if home is not None else ())


def refuse_twice(records: Sequence[tuple[str, Transcript]]) -> None:
    """CeremonyRefused if two different records are of one nonce: each attendance is good for one ceremony."""
    seen: dict[str, tuple[str, Transcript]] = {}
    for path, transcript in records:
        before, other = seen.setdefault(transcript.nonce, (path, transcript))
        if other != transcript:
            raise CeremonyRefused(path, f"it is of the same nonce as {before}, and tells of something else", _NEXT)


def _which_fail(signed: SignedText, plan: Plan) -> str:
    """The signature files that count for nobody, for the error."""
    failing = [
        name
        for name, data in signed.signatures.items()
        if not persons_of(plan.officers, signing_keys(SignedText(signed.path, signed.text, {name: data}), KIND))
    ]
    return f" ({', '.join(failing)} counts for nobody)" if failing else ""


def _follows(transcript: Transcript, plan: Plan, path: str) -> None:
    """The record is one of this plan: everything that the plan decides is as it says."""
    if transcript.plan != plan.digest:
        raise CeremonyRefused(
            path, f"it is of the plan {transcript.plan}, and this plan is {plan.digest}", "Name the plan that was run."
        )
    officers = {(key.person, officer_key_digest(key.spki)) for key in plan.officers.keys}
    present = {(one.person, one.key) for one in transcript.present}
    wanted = [(number, step, plan.kind_of(step).algorithm.name) for number, step in enumerate(plan.steps[:-1], 1)]
    made = [(one.number, one.step, one.algorithm) for one in transcript.made]
    copied = all(one.second_copy for one in transcript.made if one.step == "device-key") or plan.accept_single_copy
    problem = ""
    if (transcript.title, transcript.threshold) != (plan.title, plan.officers.threshold):
        problem = "its title or threshold is not the plan's"
    elif transcript.steps != plan.steps or made != wanted:
        problem = "its steps are not the plan's"
    elif transcript.accept_single_copy != plan.accept_single_copy or not copied:
        problem = "it does not say what became of the second copy as the plan wants it"
    elif not present <= officers or len({person for person, _ in present}) < plan.officers.threshold:
        problem = "those who attended are not enough officers of the plan"
    elif [one.authority for one in transcript.lists] != list(plan.steps[:2]) and LISTS in plan.steps:
        problem = "the first revocation lists are not those of both authorities"
    if problem:
        raise CeremonyRefused(path, problem, _NEXT)


def _is_of(transcript: Transcript, plan: Plan, home: Home) -> tuple[str, ...]:
    """The home is the one that the record tells of; the authorities that were certified there beside it."""
    register = home.path(REGISTER)
    issued = {Digest.of(one.certificate): one for one in read_register(register).issued.values()}
    enrolled = {
        str(entry.fields["key"]): entry.fields
        for entry in read_journal(home.path(JOURNAL))
        if entry.type is EntryType.KEY
    }
    for made in transcript.made:
        one = issued.get(made.certificate)
        if one is None or (one.key, one.serial) != (made.key, made.serial):
            raise CeremonyRefused(
                home.folder,
                f"its register does not have the certificate of step {made.number} ({made.step}), {made.certificate}",
                _NEXT,
            )
        known = enrolled.get(str(made.key), {})
        for what, said, found in (
            ("subject", made.subject, display(one.name)),
            ("until", made.until, one.x509.not_valid_after_utc),
            ("provenance", made.provenance, known.get("provenance")),
            ("construction", made.construction, known.get("construction")),
        ):
            if said != found:
                problem = f"step {made.number} ({made.step}) says {what} {said}, and the home has {found}"
                raise CeremonyRefused(home.folder, problem, _NEXT)
        if plan.name_of(made.step) not in [
            name.value for name in one.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        ]:
            raise CeremonyRefused(home.folder, f"step {made.number} certified {one.name}, not as the plan says", _NEXT)
        if made.step == ROOT_STEP and _anchors(home) != [made.certificate]:
            raise CeremonyRefused(home.path(ANCHORS), "it is not the root that the ceremony made, alone", _NEXT)
    keys = {made.step: str(made.key) for made in transcript.made}
    listed = {
        (
            str(entry.fields["crl"]),
            int(str(entry.fields["number"])),
            str(entry.fields["next"]),
            str(entry.fields["issuer"]),
        )
        for entry in read_journal(register)
        if entry.type is EntryType.LISTED
    }
    for first in transcript.lists:
        if (str(first.crl), first.number, time_text(first.until), keys.get(first.authority)) not in listed:
            raise CeremonyRefused(
                home.folder, f"its register does not have the revocation list of {first.authority}, {first.crl}", _NEXT
            )
    folder = home.path(FOLDER)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    kept = [os.path.join(folder, name) for name in names if name.startswith("attendance.")]
    if attended(plan, transcript.nonce, read_attendance(kept), transcript.time) != transcript.present:
        raise CeremonyRefused(folder, "the attendance kept there is not of those whom the transcript names", _NEXT)
    told = {made.certificate for made in transcript.made}
    others = [one for digest, one in issued.items() if digest not in told and _is_authority(one.x509)]
    return tuple(f"{one.name}, serial {one.serial:x}, {one.at:%Y-%m-%d}" for one in others)


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _anchors(home: Home) -> list[Digest]:
    try:
        found = x509.load_pem_x509_certificates(read_file(home.path(ANCHORS), MAX_HOME_BYTES))
    except UNREADABLE as cause:
        raise CeremonyRefused(home.path(ANCHORS), "there is no certificate in it", _NEXT) from cause
    return [Digest.of(one.public_bytes(Encoding.DER)) for one in found]


def facts(one: Made) -> Mapping[str, str]:
    """What a step made as officers compare it, by name."""
    found = {
        "certificate": str(one.certificate),
        "key": str(one.key),
        "serial": f"{one.serial:x}",
        "until": f"{one.until:%Y-%m-%d}",
        "algorithm": one.algorithm,
        "provenance": one.provenance,
        "location": "; ".join((one.location, *one.attributes)),
    }
    return found | ({"second copy": one.second_copy} if one.second_copy else {})
