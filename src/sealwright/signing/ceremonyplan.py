"""What a key ceremony will do and who must attend it, as a text that people review before (issue 5).

    # sealwright ceremony 1
    title = "ACME signing"           the new home
    organisation = "ACME GmbH"       named in every certificate
    root = "ACME root 2026"          common names of the authorities; the last intermediate certifies all that is below
    intermediates = ["ACME signing CA 2026"]
    keys = "pkcs11:token=ca"         where keys are made; "files" for development keys
    algorithm = "p256"
    steps = ["root", "intermediate", "timestamp", "ocsp", "device-key", "cross-sign", "revocation-lists"]
    accept_single_copy = "reason"    only of a plan with a device-key of which there is no second copy
    [officers]                       threshold and [[officers.key]], as in trust files
    [witnesses]                      the same of people who are no officers: they attend and sign the transcript too
    [[cross_sign]]                   name and certificate of another root that the new one vouches for

1. An officer attends by signing this plan's digest and the nonce of the day, on their own machine (kind `ceremony`). Where the
   plan changed by one byte, or the nonce is another day's, the signature counts for nobody.
   What one makes of it is in `attendance.py`.
2. What devices have burnt in can be replaced by nobody: a plan with a device-key wants a second copy that was seen to sign, or a
   reason why one copy is enough, which everybody who attends has signed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.kinds import KINDS, Construction
from sealwright.errors import MalformedTrust, SealwrightError
from sealwright.keys.key import KeyKind
from sealwright.keys.uri import parse_pkcs11
from sealwright.pki.profiles import (
    DEVICE_CODE_SIGNER,
    INTERMEDIATE,
    OCSP_RESPONDER,
    ROOT,
    TIMESTAMP_AUTHORITY,
    Profile,
)
from sealwright.trust.certificate import load_certificate
from sealwright.trust.model import OfficerKey, Quorum
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import quorum

FIRST_LINE = "# sealwright ceremony 1"
FILES = "files"
DEVICE = "device-key"
LISTS = "revocation-lists"
CROSS = "cross-sign"
ROOT_STEP, INTERMEDIATE_STEP, TIMESTAMP_STEP, OCSP_STEP = "root", "intermediate", "timestamp", "ocsp"
OPTIONAL = (TIMESTAMP_STEP, OCSP_STEP, DEVICE, CROSS)
_PROFILES: dict[str, Profile] = {
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
# what the chips make; the backend itself refuses others, but only when its step has come
TPM_KINDS = ("p256", "p384", "rsa3072")
MAX_BYTES = 1 << 16
MAX_NAME = 64
MAX_TITLE = 40  # " timestamp authority" still fits into a common name
MAX_INTERMEDIATES = 8
MAX_CROSSED = 8
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_PERSON = re.compile(r"[\w@+][\w.@+-]{0,63}")
_COMPLAINT = Complaint(
    MalformedTrust, MAX_BYTES, "Correct the plan; attendance signed before is of the plan as it was."
)
_COMMENTS = """
#
# The plan of a key ceremony. Review it like code: whoever attends signs the digest of these very bytes.
# Steps are done in this order. What they make is named in a transcript, which the officers sign afterwards."""


class OtherRoot(NamedTuple):
    """A root of somebody else, or of the past, that the new one vouches for. certificate: DER."""

    name: str
    certificate: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """A ceremony's plan. text: the bytes it was read from, once; path: what they were called; digest: of the bytes.

    token: key string of a token, "" for development keys in files; witnesses: none has the threshold 0.

    device_key: key string of a device key that was made before, "" where the ceremony makes it; accept_single_copy: the reason,
    or "" where a second copy must be shown.
    """

    path: str
    text: bytes = field(repr=False)
    digest: Digest
    title: str
    organisation: str
    root: str
    intermediates: tuple[str, ...]
    token: str
    kind: KeyKind
    steps: tuple[str, ...]
    officers: Quorum
    witnesses: Quorum
    device_kind: KeyKind
    others: tuple[OtherRoot, ...] = ()
    device_format: str = "file"
    device_key: str = ""
    accept_single_copy: str = ""

    @property
    def authorities(self) -> tuple[str, ...]:
        """The steps that make the root and each intermediate."""
        return (ROOT_STEP, *intermediate_steps(len(self.intermediates)))

    @property
    def making(self) -> tuple[tuple[int, str], ...]:
        """The steps that certify a key of the new home, with their numbers."""
        return tuple((number, step) for number, step in enumerate(self.steps, 1) if step not in (CROSS, LISTS))

    @property
    def people(self) -> tuple[OfficerKey, ...]:
        """Officers and witnesses."""
        return (*self.officers.keys, *self.witnesses.keys)

    def kind_of(self, step: str) -> KeyKind:
        """The kind of key that a step makes."""
        return self.device_kind if step == DEVICE else self.kind

    def name_of(self, step: str) -> str:
        """The common name that a step certifies."""
        names = {
            ROOT_STEP: self.root,
            **dict(zip(self.authorities[1:], self.intermediates, strict=True)),
            TIMESTAMP_STEP: f"{self.title} timestamp authority",
            OCSP_STEP: f"{self.title} OCSP responder",
            DEVICE: f"{self.title} device key",
        }
        return names[step]

    def construction_of(self, step: str) -> Construction:
        """The one way in which the key of a step signs."""
        if profile_of(step).is_authority:
            return Construction.CERTIFICATE
        return KINDS[self.device_format].construction if step == DEVICE else Construction.CMS_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class Draft:
    """What a plan is written from. officers, witnesses: (person, public key in PEM); steps: of `OPTIONAL`.

    cross_sign: (name, certificate in PEM) of other roots; their step comes with them.
    """

    title: str
    organisation: str
    root: str
    intermediates: Sequence[str]
    officers: Sequence[tuple[str, str]]
    threshold: int
    keys: str = FILES
    algorithm: str = KeyKind.P256.value
    steps: Sequence[str] = ()
    witnesses: Sequence[tuple[str, str]] = ()
    witness_threshold: int = 0
    cross_sign: Sequence[tuple[str, str]] = ()
    device_format: str = ""
    device_algorithm: str = ""
    device_key: str = ""
    accept_single_copy: str = ""


def plan_text(draft: Draft) -> str:
    """The plan's text, which parses; MalformedTrust where what it is made of makes no plan."""
    wanted = {*draft.steps, *([CROSS] if draft.cross_sign else [])}
    top: dict[str, Toml] = {
        "title": draft.title,
        "organisation": draft.organisation,
        "root": draft.root,
        "intermediates": list(draft.intermediates),
        "keys": draft.keys,
        "algorithm": draft.algorithm,
        "steps": list(_ordered(wanted, len(draft.intermediates))),
    }
    for name in ("device_format", "device_algorithm", "device_key", "accept_single_copy"):
        if value := getattr(draft, name):
            top[name] = value
    top["officers"] = _quorum_table(draft.threshold, draft.officers)
    if draft.witnesses:
        top["witnesses"] = _quorum_table(draft.witness_threshold or len(draft.witnesses), draft.witnesses)
    if draft.cross_sign:
        top["cross_sign"] = [{"name": name, "certificate": pem} for name, pem in draft.cross_sign]
    text = toml_text(FIRST_LINE + _COMMENTS, top)
    parse_plan(text.encode(), "plan")
    return text


def _quorum_table(threshold: int, people: Sequence[tuple[str, str]]) -> Toml:
    keys: list[Toml] = [{"person": person, "key": pem} for person, pem in people]
    return {"threshold": threshold, "key": keys}


def intermediate_steps(count: int) -> tuple[str, ...]:
    """`intermediate`, `intermediate-2`, ..."""
    return (INTERMEDIATE_STEP, *(f"{INTERMEDIATE_STEP}-{number}" for number in range(2, count + 1)))


def _ordered(steps: Collection[str], intermediates: int) -> tuple[str, ...]:
    """Those of the steps that may be left out, in their order, with those that may not."""
    some = (step for step in OPTIONAL if step in steps)
    return (ROOT_STEP, *intermediate_steps(intermediates), *some, LISTS)


def profile_of(step: str) -> Profile:
    """What a step's certificate is."""
    return _PROFILES[INTERMEDIATE_STEP if step.startswith(INTERMEDIATE_STEP) else step]


def read_plan(path: str) -> Plan:
    """The plan in a file; MalformedTrust, LimitExceeded or Unreadable."""
    return parse_plan(read_file(path, MAX_BYTES), path)


def parse_plan(data: bytes, subject: str) -> Plan:
    """A plan, strictly: every key is known, the steps stand in their order, enough distinct persons can attend."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    intermediates = _intermediates(top)
    steps, others = top.texts("steps"), _others(top)
    if steps != _ordered(steps, len(intermediates)) or (CROSS in steps) != bool(others):
        every = ", ".join(_ordered(OPTIONAL, len(intermediates)))
        wanted = f"in this order, without what of {', '.join(OPTIONAL)} is not done: {every}"
        raise top.wrong("steps", f"{wanted}; {CROSS} where there is a [[cross_sign]], and only there")
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
        path=subject,
        text=data,
        digest=Digest.of(data),
        title=_name(top, "title", MAX_TITLE),
        organisation=_name(top, "organisation", MAX_NAME),
        root=_name(top, "root", MAX_NAME),
        intermediates=intermediates,
        token="" if keys == FILES else keys,
        kind=KeyKind(algorithm),
        steps=steps,
        officers=quorum(top.table("officers")),
        witnesses=quorum(top.table("witnesses")) if top.has("witnesses") else Quorum(0, ()),
        others=others,
        device_kind=KeyKind(top.word("device_algorithm", DEVICE_KINDS, algorithm)),
        device_format=top.word("device_format", DEVICE_FORMATS, "file"),
        device_key=device_key,
        accept_single_copy=top.text("accept_single_copy", ""),
    )
    top.done()
    _check_people(plan, top)
    made_here = {algorithm} | ({plan.device_kind.value} if has_device and not device_key else set())
    if keys.startswith("tpm:") and not made_here <= set(TPM_KINDS):
        raise top.wrong("algorithm", "one that a TPM makes: " + ", ".join(TPM_KINDS))
    for _, step in plan.making:
        algorithm_of = plan.kind_of(step).algorithm
        schemes = KINDS[plan.device_format].schemes if step == DEVICE else profile_of(step).schemes
        if algorithm_of.scheme not in schemes:
            raise top.wrong(
                "device_algorithm" if step == DEVICE else "algorithm",
                f"one that verifiers of a {step} read: " + ", ".join(sorted(schemes)),
            )
    return plan


def _intermediates(top: Section) -> tuple[str, ...]:
    """Different names, none of them the root's, which is read here too."""
    names = top.texts("intermediates")
    if not 1 <= len(names) <= MAX_INTERMEDIATES:
        raise top.wrong("intermediates", f"a list of 1 to {MAX_INTERMEDIATES} names")
    if any(len(name) > MAX_NAME or name != name.strip() for name in names):
        raise top.wrong("intermediates", f"names of at most {MAX_NAME} characters, as certificates have them")
    if top.left.get("root") in names:
        raise top.wrong("intermediates", "other names than the root's")
    return names


def _others(top: Section) -> tuple[OtherRoot, ...]:
    found = []
    for one in top.tables("cross_sign"):
        name, pem = one.name("name"), one.raw("certificate") or ""
        try:
            (loaded,) = x509.load_pem_x509_certificates(pem.encode())
            load_certificate(loaded.public_bytes(Encoding.DER), name)
        except (*UNREADABLE, SealwrightError) as cause:
            raise one.wrong("certificate", "one certificate in PEM (BEGIN CERTIFICATE)") from cause
        found.append(OtherRoot(name, loaded.public_bytes(Encoding.DER)))
        one.done()
    different = len({one.name for one in found}) == len({one.certificate for one in found}) == len(found)
    if len(found) > MAX_CROSSED or not different:
        raise top.wrong("cross_sign", f"at most {MAX_CROSSED} roots, each named once and there once")
    if not all(_FILE_NAME.fullmatch(one.name) for one in found):
        raise top.wrong("cross_sign", "roots named like file names, of a-z, 0-9, dot and dash")
    return tuple(found)


def _check_people(plan: Plan, top: Section) -> None:
    """One person has one name and one part: nobody counts twice, or watches themselves."""
    officers, witnesses = ({key.person for key in side.keys} for side in (plan.officers, plan.witnesses))
    for person in officers | witnesses:
        if not _PERSON.fullmatch(person):
            raise top.wrong("officers", f"persons named like file names, not {person!r}")
    if len({person.casefold() for person in officers | witnesses}) != len(officers) + len(witnesses):
        raise top.wrong(
            "officers", "different persons, whose names differ in more than capitals; a witness is no officer"
        )
    if len({key.spki for key in plan.people}) != len(plan.people):
        raise top.wrong("witnesses", "people with keys of their own")


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
