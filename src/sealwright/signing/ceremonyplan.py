"""What a key ceremony will do and who must attend it, as a text that people review before (issue 5).

    # sealwright ceremony 1
    title = "ACME signing"           the new home
    organisation = "ACME GmbH"       named in every certificate
    root = "ACME root 2026"          common names of both authorities
    intermediate = "ACME signing CA 2026"
    keys = "pkcs11:token=ca"         where keys are made; "files" for development keys
    algorithm = "p256"
    steps = ["root", "intermediate", "timestamp", "ocsp", "device-key", "revocation-lists"]
    accept_single_copy = "reason"    only of a plan with a device-key of which there is no second copy
    [officers]                       threshold and [[officers.key]], as in trust files

1. An officer attends by signing this plan's digest and the nonce of the day, on their own machine (kind `ceremony`). Where the
   plan changed by one byte, or the nonce is another day's, the signature counts for nobody.
2. What devices have burnt in can be replaced by nobody: a plan with a device-key wants a second copy that was seen to sign, or a
   reason why one copy is enough, which everybody who attends has signed.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import write_atomic
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Profile as EnvelopeProfile
from sealwright.envelope.cms import Signer, check_signer, read_envelope
from sealwright.envelope.kinds import KINDS, Construction
from sealwright.errors import CeremonyRefused, LimitExceeded, MalformedTrust, SealwrightError, UsageError
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_pkcs11
from sealwright.pki.profiles import (
    DEVICE_CODE_SIGNER,
    INTERMEDIATE,
    OCSP_RESPONDER,
    ROOT,
    TIMESTAMP_AUTHORITY,
    Profile,
)
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.init import signed_text
from sealwright.trust.history import MAX_SIGNATURE_BYTES, MAX_SIGNATURES, persons_of
from sealwright.trust.model import Quorum
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import officer_key_digest, quorum

FIRST_LINE = "# sealwright ceremony 1"
ATTENDANCE_LINE = "# sealwright attendance 1"
KIND = "ceremony"
FILES = "files"
DEVICE = "device-key"
LISTS = "revocation-lists"
ROOT_STEP, INTERMEDIATE_STEP, TIMESTAMP_STEP, OCSP_STEP = "root", "intermediate", "timestamp", "ocsp"
STEPS = (ROOT_STEP, INTERMEDIATE_STEP, TIMESTAMP_STEP, OCSP_STEP, DEVICE, LISTS)
_ALWAYS = (ROOT_STEP, INTERMEDIATE_STEP, LISTS)
PROFILE_OF: dict[str, Profile] = {
    ROOT_STEP: ROOT,
    INTERMEDIATE_STEP: INTERMEDIATE,
    TIMESTAMP_STEP: TIMESTAMP_AUTHORITY,
    OCSP_STEP: OCSP_RESPONDER,
    DEVICE: DEVICE_CODE_SIGNER,
}
KEY_KINDS = ("p256", "p384", "p521", "rsa3072", "rsa4096", "ed25519")
DEVICE_KINDS = (*KEY_KINDS, "rsa3072-pss", "rsa4096-pss")
# what checks the device's key: anything that reads our CMS, or a boot loader that reads bare signatures
DEVICE_FORMATS = ("file", "mcuboot", "fit", "esp32")
MAX_BYTES = 1 << 16
MAX_NAME = 64
MAX_TITLE = 40  # " timestamp authority" still fits into a common name
NONCE_BYTES = 32
HOLDS = timedelta(hours=24)
AHEAD = timedelta(minutes=15)
_PERSON = re.compile(r"[\w@+][\w.@+-]{0,63}")
_COMPLAINT = Complaint(
    MalformedTrust, MAX_BYTES, "Correct the plan; attendance signed before is of the plan as it was."
)
_COMMENTS = """
#
# The plan of a key ceremony. Review it like code: whoever attends signs the digest of these very bytes.
# Steps are done in this order. What they make is named in a transcript, which the officers sign afterwards."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A ceremony's plan. digest: of its bytes; token: key string of a token, "" for development keys in files.

    device_key: key string of a device key that was made before, "" where the ceremony makes it; accept_single_copy: the reason,
    or "" where a second copy must be shown.
    """

    digest: Digest
    title: str
    organisation: str
    root: str
    intermediate: str
    token: str
    kind: KeyKind
    steps: tuple[str, ...]
    officers: Quorum
    device_kind: KeyKind
    device_format: str = "file"
    device_key: str = ""
    accept_single_copy: str = ""

    def kind_of(self, step: str) -> KeyKind:
        """The kind of key that a step makes."""
        return self.device_kind if step == DEVICE else self.kind

    def name_of(self, step: str) -> str:
        """The common name that a step certifies."""
        names = {
            ROOT_STEP: self.root,
            INTERMEDIATE_STEP: self.intermediate,
            TIMESTAMP_STEP: f"{self.title} timestamp authority",
            OCSP_STEP: f"{self.title} OCSP responder",
            DEVICE: f"{self.title} device key",
        }
        return names[step]

    def construction_of(self, step: str) -> Construction:
        """The one way in which the key of a step signs."""
        if PROFILE_OF[step].is_authority:
            return Construction.CERTIFICATE
        return KINDS[self.device_format].construction if step == DEVICE else Construction.CMS_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class Draft:
    """What a plan is written from. officers: (person, public key in PEM)."""

    title: str
    organisation: str
    root: str
    intermediate: str
    officers: Sequence[tuple[str, str]]
    threshold: int
    keys: str = FILES
    algorithm: str = KeyKind.P256.value
    steps: Sequence[str] = _ALWAYS
    device_format: str = ""
    device_algorithm: str = ""
    device_key: str = ""
    accept_single_copy: str = ""


class Present(NamedTuple):
    """An officer who attended. key: by which they signed; time: when, as they say."""

    person: str
    key: Digest
    time: datetime


def plan_text(draft: Draft) -> str:
    """The plan's text, which parses; MalformedTrust where what it is made of makes no plan."""
    top: dict[str, Toml] = {
        "title": draft.title,
        "organisation": draft.organisation,
        "root": draft.root,
        "intermediate": draft.intermediate,
        "keys": draft.keys,
        "algorithm": draft.algorithm,
        "steps": list(draft.steps),
    }
    for name in ("device_format", "device_algorithm", "device_key", "accept_single_copy"):
        if value := getattr(draft, name):
            top[name] = value
    keys: list[Toml] = [{"person": person, "key": pem} for person, pem in draft.officers]
    top["officers"] = {"threshold": draft.threshold, "key": keys}
    text = toml_text(FIRST_LINE + _COMMENTS, top)
    parse_plan(text.encode(), "plan")
    return text


def read_plan(path: str) -> Plan:
    """The plan in a file; MalformedTrust, LimitExceeded or Unreadable."""
    return parse_plan(read_file(path, MAX_BYTES), path)


def parse_plan(data: bytes, subject: str) -> Plan:
    """A plan, strictly: every key is known, the steps stand in their order, enough distinct persons can attend."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    steps = top.texts("steps")
    if steps != tuple(step for step in STEPS if step in (*steps, *_ALWAYS)):
        raise top.wrong("steps", "some of these in this order, with the first two and the last: " + ", ".join(STEPS))
    keys = top.text("keys")
    if keys != FILES and not keys.startswith(("pkcs11:", "tpm:")):
        raise top.wrong("keys", f'"{FILES}" or the key string of a token or TPM')
    if "pin-value" in keys.lower():
        raise top.wrong("keys", "a key string without a PIN in it")
    if keys.startswith("pkcs11:") and not _names_a_token(keys):
        raise top.wrong("keys", "the key string of a token, without an object in it")
    algorithm = top.word("algorithm", KEY_KINDS, KeyKind.P256.value)
    has_device = DEVICE in steps
    if not has_device:
        for key in ("device_format", "device_algorithm", "device_key", "accept_single_copy"):
            if top.has(key):
                raise top.wrong(key, f"left out where no step is {DEVICE}")
    device_key = top.text("device_key", "")
    if device_key and (not device_key.startswith(("file:", "pkcs11:", "tpm:")) or "pin-value" in device_key.lower()):
        raise top.wrong("device_key", "a key string without a PIN in it")
    plan = Plan(
        digest=Digest.of(data),
        title=_name(top, "title", MAX_TITLE),
        organisation=_name(top, "organisation", MAX_NAME),
        root=_name(top, "root", MAX_NAME),
        intermediate=_name(top, "intermediate", MAX_NAME),
        token="" if keys == FILES else keys,
        kind=KeyKind(algorithm),
        steps=steps,
        officers=quorum(top.table("officers")),
        device_kind=KeyKind(top.word("device_algorithm", DEVICE_KINDS, algorithm)),
        device_format=top.word("device_format", DEVICE_FORMATS, "file"),
        device_key=device_key,
        accept_single_copy=top.text("accept_single_copy", ""),
    )
    top.done()
    if plan.root == plan.intermediate:
        raise top.wrong("intermediate", "another name than the root's")
    for person in {key.person for key in plan.officers.keys}:
        if not _PERSON.fullmatch(person):
            raise top.wrong("officers", f"persons named like file names, not {person!r}")
    for step in steps[:-1]:
        algorithm_of = plan.kind_of(step).algorithm
        schemes = KINDS[plan.device_format].schemes if step == DEVICE else PROFILE_OF[step].schemes
        if algorithm_of.scheme not in schemes:
            raise top.wrong(
                "device_algorithm" if step == DEVICE else "algorithm",
                f"one that verifiers of a {step} read: " + ", ".join(sorted(schemes)),
            )
    return plan


def _names_a_token(keys: str) -> bool:
    try:
        uri = parse_pkcs11(keys)
    except SealwrightError:
        return False
    return bool(uri.token or uri.serial) and not uri.label and uri.id is None


def _name(top: Section, key: str, most: int) -> str:
    text = top.name(key)
    if len(text) > most:
        raise top.wrong(key, f"a text of at most {most} characters, as certificates have it")
    return text


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
    return toml_text(ATTENDANCE_LINE, {"plan": str(plan.digest), "nonce": nonce}).encode()


def officer_key(plan: Plan, home: Home, person: str, subject: str) -> EnrolledKey:
    """The key by which a person signs as an officer of a plan; UsageError where the home has none of theirs."""
    for enrolled in home.keys:
        if enrolled.purpose not in (KeyPurpose.TRUST, KeyPurpose.APPROVAL):
            continue
        own = enrolled.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if any(key.person == person and key.spki == own for key in plan.officers.keys):
            return enrolled
    raise UsageError(
        subject,
        f"no key of {home.folder} is {person}'s in [officers]",
        "Officers: " + ", ".join(sorted({key.person for key in plan.officers.keys})) + ". Name yourself with --person.",
    )


def attend(path: str, nonce: str, home: Home, person: str, out: str, now: datetime, pin: Pin | None = None) -> Plan:
    """Sign, as an officer of the plan in `path`, that one attends the ceremony with this nonce; the plan that was signed."""
    plan, nonce = read_plan(path), check_nonce(nonce)
    enrolled = officer_key(plan, home, person, path)
    envelope = signed_text(statement(plan, nonce), KIND, os.path.basename(out), home, enrolled, now, pin)
    write_atomic(out, envelope)
    return plan


def signers_of(data: bytes, text: bytes, kind: str, subject: str) -> dict[Digest, datetime | None]:
    """Whose signatures of one file hold over these very bytes, and when each says it was made; the first error where none does."""
    digests = {name: Digest.of(text, name) for name in HashName}
    found: dict[Digest, datetime | None] = {}
    failed: SealwrightError | None = None
    for signer in read_envelope(data, EnvelopeProfile.OURS, subject).signers:
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
    persons = {officer_key_digest(key.spki): key.person for key in plan.officers.keys}
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
                raise CeremonyRefused(name, f"{key} is the key of no officer of the plan", "Leave this file out.")
            if time is None or not now - HOLDS <= time <= now + AHEAD:
                when = "without a time" if time is None else f"on {time:%Y-%m-%d %H:%M} UTC"
                raise CeremonyRefused(
                    name,
                    f"{persons[key]} signed {when}, and it is {now:%Y-%m-%d %H:%M} UTC",
                    "Begin again with a new nonce, and look at both clocks.",
                )
            present.setdefault(key, Present(persons[key], key, time))
    who = persons_of(plan.officers, frozenset(present))
    if len(who) < plan.officers.threshold:
        raise CeremonyRefused(
            "attendance",
            f"{plan.officers.threshold} officers must attend, and here is {', '.join(sorted(who)) or 'none of them'}",
            "Add the file of each officer with --attendance.",
        )
    return tuple(sorted(present.values(), key=lambda one: (one.person, str(one.key))))


def read_attendance(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """The files, bounded."""
    return [(path, read_file(path, MAX_SIGNATURE_BYTES)) for path in paths]
