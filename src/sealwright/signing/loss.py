"""The loss record: officers state that a home came out of a backup and that nobody can say what it signed afterwards.

    # sealwright loss 1
    home = "4f1d2a…"                      # id of the journal that it closes (log/ends.py)
    backup = "sha256:…"                   # the statement of the backup that was restored
    checkpoint = "sealwright-home 1 …"    # its ends: what is known
    known = "…"                           # the newest checkpoint known outside, or ""
    uncertain = "from entry 129 of the old journal to unknown"
    reason = "server burnt on 3 May, last backup of 1 May"
    time = 2026-05-04T09:00:00Z

Each officer signs it as a file of its own, `FILE.PERSON.p7s`, of the kind `loss`. It needs the officers' threshold of the home's
trust file, and at least two persons: where there is one officer alone, a person of [recovery] is the second.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file
from sealwright.envelope.kinds import LOSS
from sealwright.errors import MalformedTrust, TrustRefused, UsageError
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.pin import Pin
from sealwright.log.ends import MAIN, Ends, parse_ends
from sealwright.log.journal import LOCKED
from sealwright.signing.home import JOURNAL, TRUST, EnrolledKey, Home, KeyPurpose
from sealwright.signing.init import trust_keys
from sealwright.signing.pipeline import Pipeline
from sealwright.trust.history import SignedText, persons_of, reached, read_signed, signing_keys, with_kept
from sealwright.trust.model import TrustFile
from sealwright.trust.toml import toml_text
from sealwright.trust.trustfile import MAX_BYTES, parse_trust

FIRST_LINE = "# sealwright loss 1"
LEAST_PERSONS = 2
MAX_REASON = 1000
MAX_RECORD_BYTES = 64 * 1024
_PERSON = re.compile(r"[^\x00-\x1f\x7f/\\]{1,100}")
_OWN = os.path.join("loss", JOURNAL)


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss record. ends: what is known, of the backup; known: the newest checkpoint known outside, if any; persons: who signed."""

    home: str
    backup: str
    ends: Ends
    known: Ends | None
    reason: str
    time: datetime
    persons: frozenset[str] = frozenset()


def loss_text(loss: Loss) -> bytes:
    """The record as officers read and sign it."""
    first = loss.ends.journals[MAIN].count + 1
    to = "unknown"
    if loss.known is not None:
        to = f"unknown, at least to entry {loss.known.journals[MAIN].count}"
    text = toml_text(
        FIRST_LINE,
        {
            "home": loss.home,
            "backup": loss.backup,
            "checkpoint": loss.ends.line,
            "known": loss.known.line if loss.known is not None else "",
            "uncertain": f"from entry {first} of the old journal to {to}",
            "reason": loss.reason,
            "time": loss.time.astimezone(UTC).replace(microsecond=0),
        },
    )
    return text.encode()


def parse_loss(data: bytes, path: str) -> Loss:
    """Read a record; MalformedTrust where it is none, or says something beside what it was made to say."""
    try:
        if len(data) > MAX_RECORD_BYTES:
            raise ValueError(f"{len(data)} bytes")
        value = tomllib.loads(data.decode())
        known = parse_ends(value["known"]) if value["known"] else None
        loss = Loss(
            value["home"], value["backup"], parse_ends(value["checkpoint"]), known, value["reason"], value["time"]
        )
        if loss_text(loss) != data:
            raise ValueError("it is not written as this program writes it")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, UsageError, RecursionError) as cause:
        raise MalformedTrust(
            path,
            f"it is no loss record ({type(cause).__name__}: {cause})"[:200],
            "Write one with `sealwright home loss`.",
        ) from cause
    return loss


def write_loss(path: str, backup: str, ends: Ends, reason: str, now: datetime, known: Ends | None) -> Loss:
    """Write a record for a locked home, for its officers to sign. UsageError for a reason that says nothing."""
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise UsageError(
            "--reason", f"one line of at most {MAX_REASON} characters is wanted", "Say what happened and when."
        )
    if known is not None and known.id != ends.id:
        raise UsageError("--checkpoint", "it is of another home or journal", "Compare their ids.")
    loss = Loss(ends.id, backup, ends, known, reason, now)
    write_atomic(path, loss_text(loss))
    return loss


def sign_loss(path: str, home: Home, person: str, now: datetime, pin: Pin | None) -> str:
    """Sign a record as a person, with a key of a home of theirs; the signature's path.

    A locked home, whose journal takes nothing, keeps the signature's record in a journal of its own (HOME/loss/journal).
    """
    text = read_file(path, MAX_RECORD_BYTES)
    parse_loss(text, path)
    enrolled = loss_key(home, person)
    digests = {enrolled.algorithm.digest: Digest.of(text, enrolled.algorithm.digest)}
    prepared = Prepared("loss", "loss", path, digests, None, len(text), Coverage.whole(len(text)), Claims())
    journal = JOURNAL
    if os.path.lexists(home.path(LOCKED)):
        journal = _OWN
        os.makedirs(home.path("loss"), mode=0o700, exist_ok=True)
    with Pipeline(home, enrolled, pin, journal) as pipeline:
        (made,) = pipeline.sign([prepared], now)
        target = f"{path}.{person}.p7s"
        write_atomic(target, pipeline.sealed(made).envelope, replace=Replace.YES)
    return target


def loss_key(home: Home, person: str) -> EnrolledKey:
    """The officer's key of a home. Where its trust file names several, the one of that person."""
    if not _PERSON.fullmatch(person) or person in (".", ".."):
        raise UsageError("--person", "it is no person's id", "Give the id that the trust file has.")
    keys = trust_keys(home)
    path = home.path(TRUST)
    if os.path.exists(path):
        trust = parse_trust(read_file(path, MAX_BYTES), path)
        theirs = [one.spki for one in (*trust.officers.keys, *trust.recovery.keys) if one.person == person]
        for key in keys:
            if key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) in theirs:
                return key
    officers = [key for key in keys if key.purpose is KeyPurpose.TRUST]
    if (
        len(officers) == 1
    ):  # an officer's own home, whose trust file is another one: whose key it is, the record's readers say
        return officers[0]
    raise UsageError(home.folder, f"it has no key of the officer {person}", "Name the home where that key is enrolled.")


def check_loss(signed: SignedText, folder: str, backup: str, ends: Ends) -> Loss:
    """A record that is about this restored home and signed by enough; TrustRefused otherwise."""
    loss = parse_loss(signed.text, signed.path)
    if (loss.home, loss.backup, loss.ends) != (ends.id, backup, ends):
        raise TrustRefused(
            signed.path,
            "it is about another home or another backup",
            "Write one for this home with `sealwright home loss`.",
        )
    path = os.path.join(folder, TRUST)
    beside = read_signed(path)
    trust = parse_trust(beside.text, path)
    if not reached(trust.officers, signing_keys(with_kept(beside, trust.version))):
        raise TrustRefused(
            path,
            "its officers did not sign it, so it names none",
            "Put the plants' trust file with its signatures there.",
        )
    persons = signers_of(signed, trust)
    keys = signing_keys(signed, LOSS.name)
    officers = persons_of(trust.officers, keys)
    if not reached(trust.officers, keys) or len(persons) < LEAST_PERSONS:
        names = ", ".join(sorted(persons)) or "nobody"
        raise TrustRefused(
            signed.path,
            f"its officers ({trust.officers.threshold} of them) and at least {LEAST_PERSONS} persons must sign it; signed has {names}"
            + ("" if officers else ", no officer among them"),
            "Have it signed: sealwright home loss --sign FILE --home THEIR-HOME --person ID",
        )
    return Loss(loss.home, loss.backup, loss.ends, loss.known, loss.reason, loss.time, persons)


def signers_of(signed: SignedText, trust: TrustFile) -> frozenset[str]:
    """The officers and persons of [recovery] who signed."""
    keys = signing_keys(signed, LOSS.name)
    return persons_of(trust.officers, keys) | persons_of(trust.recovery, keys)


def read_loss(path: str) -> SignedText:
    """A record with the signatures beside it."""
    return read_signed(path)
