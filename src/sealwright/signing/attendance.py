"""Who attends a key ceremony, and that what they signed is good for one run alone (`ceremonyplan.py` has the plan).

1. `begin` gives a nonce and writes it into the book beside the plan; a run strikes it out before it makes anything.
2. An officer or witness signs the plan's digest and the nonce on their own machine (kind `ceremony`). Their home notes for which
   plan a nonce was, and signs it for no other one.
3. A home signs one transcript for a nonce (`transcript.py`). So two runs of one nonce, on two machines that know nothing of each
   other, end up with two transcripts of which no officer signs both.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import write_atomic
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.errors import CeremonyRefused, LimitExceeded, SealwrightError, UsageError
from sealwright.keys.pin import Pin
from sealwright.log.canonical import time_text
from sealwright.log.journal import Entry, EntryType, Journal, read_history
from sealwright.signing.ceremonyplan import Plan
from sealwright.signing.home import JOURNAL, EnrolledKey, Home, KeyPurpose
from sealwright.signing.init import signed_text
from sealwright.trust.history import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, persons_of
from sealwright.trust.model import Quorum
from sealwright.trust.toml import toml_text
from sealwright.trust.trustfile import officer_key_digest

FIRST_LINE = "# sealwright attendance 1"
KIND = "ceremony"
OFFICER, WITNESS = "officer", "witness"
NONCE_BYTES = 32
HOLDS = timedelta(hours=24)
AHEAD = timedelta(minutes=15)


class Present(NamedTuple):
    """Somebody who attended. key: by which they signed; time: when, as they say; role: officer or witness."""

    person: str
    key: Digest
    time: datetime
    role: str = OFFICER


def new_nonce() -> str:
    """The nonce of one ceremony, in hexadecimal."""
    return secrets.token_hex(NONCE_BYTES)


def check_nonce(text: str) -> str:
    """The same, typed in; UsageError where it is none."""
    nonce = text.strip().lower()
    if not re.fullmatch(f"[0-9a-f]{{{2 * NONCE_BYTES}}}", nonce):
        raise UsageError(
            f"nonce {text[:80]}",
            f"it is not {2 * NONCE_BYTES} hexadecimal digits",
            "Copy it as `sealwright ca ceremony begin PLAN` showed it.",
        )
    return nonce


def statement(plan: Plan, nonce: str) -> bytes:
    """What whoever attends signs."""
    return toml_text(FIRST_LINE, {"plan": str(plan.digest), "nonce": nonce}).encode()


def officer_key(plan: Plan, home: Home, person: str, subject: str) -> EnrolledKey:
    """The key by which a person signs as an officer or witness of a plan; UsageError where the home has none of theirs."""
    for enrolled in home.keys:
        if enrolled.purpose not in (KeyPurpose.TRUST, KeyPurpose.APPROVAL):
            continue
        own = enrolled.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if any(key.person == person and key.spki == own for key in plan.people):
            return enrolled
    raise UsageError(
        subject,
        f"no key of {home.folder} is {person}'s in [officers] or [witnesses]",
        "They are: " + ", ".join(sorted({key.person for key in plan.people})) + ". Name yourself with --person.",
    )


def attend(plan: Plan, nonce: str, home: Home, person: str, out: str, now: datetime, pin: Pin | None = None) -> None:
    """Sign, as an officer or witness of a plan, that one attends the ceremony with this nonce.

    CeremonyRefused where this home has signed the nonce for another plan.
    """
    nonce = check_nonce(nonce)
    enrolled = officer_key(plan, home, person, plan.path)
    note(home, EntryType.ATTENDED, nonce, "plan", plan.digest, now)
    envelope = signed_text(statement(plan, nonce), KIND, os.path.basename(out), home, enrolled, now, pin)
    write_atomic(out, envelope)


def note(home: Home, kind: EntryType, nonce: str, what: str, digest: Digest, now: datetime) -> None:
    """Note in a person's own home, before it signs, which plan or transcript a nonce was signed for; CeremonyRefused for a second.

    kind: ATTENDED or TRANSCRIPT; what: "plan" or "transcript".
    """
    with Journal.open(home.path(JOURNAL)) as journal:
        for entry in read_history(home.path(JOURNAL)):
            if entry.type is not kind or entry.fields.get("nonce") != nonce:
                continue
            if entry.fields.get(what) == str(digest):
                return
            raise CeremonyRefused(
                f"nonce {nonce[:16]}…",
                f"on {entry.fields.get('time')} this home signed another {what} of it, {entry.fields.get(what)}",
                "One ceremony has one plan, one nonce and one transcript: ask who made the other one.",
            )
        journal.append([Entry(kind, {"nonce": nonce, what: str(digest), "time": time_text(now)})])


def signers_of(data: bytes, text: bytes, kind: str, subject: str) -> dict[Digest, datetime | None]:
    """Whose signatures of one file hold over these very bytes, and when each says it was made; the first error where none does."""
    digests = {name: Digest.of(text, name) for name in HashName}
    found: dict[Digest, datetime | None] = {}
    failed: SealwrightError | None = None
    for signer in read_envelope(data, Profile.OURS, subject).signers:
        try:
            if not isinstance(signer, Signer):
                raise signer.reason
            check_signer(signer, digests, kind, subject)
            found[key_digest(signer.key)] = signer.claimed_time
        except SealwrightError as cause:
            failed = failed or cause
    if not found:
        raise failed or CeremonyRefused(subject, "there is no signature in it", "Have it signed again.")
    return found


def attended(plan: Plan, nonce: str, files: Sequence[tuple[str, bytes]], now: datetime) -> tuple[Present, ...]:
    """Who attends: files of `attend`, by name. CeremonyRefused where one is not of this plan, nonce and day, or too few attend."""
    if len(files) > MAX_SIGNATURES:
        raise LimitExceeded("attendance", f"{len(files)} files", f"At most {MAX_SIGNATURES} are read.")
    persons = {officer_key_digest(key.spki): key.person for key in plan.people}
    watching = {key.person for key in plan.witnesses.keys}
    present: dict[Digest, Present] = {}
    for name, data in files:
        try:
            signers = signers_of(data, statement(plan, nonce), KIND, name)
        except CeremonyRefused:
            raise
        except SealwrightError as cause:
            raise CeremonyRefused(
                name,
                f"it is no attendance of this plan and nonce ({cause.what})",
                "Compare the plan's words and the nonce, then attend again: sealwright ca ceremony attend",
            ) from cause
        for key, time in signers.items():
            if key not in persons:
                raise CeremonyRefused(
                    name, f"{key} is the key of no officer or witness of the plan", "Leave this file out."
                )
            if time is None or not now - HOLDS <= time <= now + AHEAD:
                when = "without a time" if time is None else f"on {time:%Y-%m-%d %H:%M} UTC"
                raise CeremonyRefused(
                    name,
                    f"{persons[key]} signed {when}, and it is {now:%Y-%m-%d %H:%M} UTC",
                    "Begin again with a new nonce, and look at both clocks.",
                )
            role = WITNESS if persons[key] in watching else OFFICER
            present.setdefault(key, Present(persons[key], key, time, role))
    for role, quorum in ((OFFICER, plan.officers), (WITNESS, plan.witnesses)):
        _enough(role, quorum, frozenset(present))
    return tuple(sorted(present.values(), key=lambda one: (one.person, str(one.key))))


def read_attendance(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """The files, bounded."""
    return [(path, read_file(path, MAX_SIGNATURE_BYTES)) for path in paths]


def _enough(role: str, quorum: Quorum, keys: frozenset[Digest]) -> None:
    who = persons_of(quorum, keys)
    if len(who) < quorum.threshold:
        people = role if quorum.threshold == 1 else "witnesses" if role == WITNESS else f"{role}s"
        raise CeremonyRefused(
            "attendance",
            f"{quorum.threshold} {people} must attend, and here is {', '.join(sorted(who)) or 'none of them'}",
            f"Add the file of each {role} with --attendance.",
        )
