"""Making a signing home: keys, certificates and a trust file that its own officer has signed.

Six keys, each with one purpose: root and intermediate (certificates), release (artifacts), timestamp, officer (trust file)
and recovery (replaces officers, nothing else). Without a token all of them are development keys in files: good for trying,
said so in every certificate, and accepted by no production rule. With a token they live in it, and the trust file is for
production; that the officer's and the recovery key lie in the same token is convenient and no separation of duties.

The home is built beside its place and renamed, so that it is there whole or not at all; keys made in a token remain.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import new_folder
from sealwright.artifact.names import display
from sealwright.artifact.output import Output, Replace, write_atomic, write_batch
from sealwright.artifact.source import read_file
from sealwright.artifact.statement import is_person
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.kinds import Construction
from sealwright.errors import UsageError
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyInfo, KeyKind, OpenKey
from sealwright.keys.pin import Pin
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, PERSON, ROOT, TIMESTAMP_AUTHORITY, Profile
from sealwright.signing.home import (
    ANCHORS,
    FILE,
    JOURNAL,
    REGISTER,
    TRUST,
    EnrolledKey,
    Home,
    KeyPurpose,
    certificates_text,
    home_text,
)
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.register import Order, Register
from sealwright.trust.belief import DENY_LINE, parse_deny
from sealwright.trust.history import KIND as TRUST_KIND
from sealwright.trust.history import previous_of
from sealwright.trust.model import OfficerKey
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import FIRST_LINE, MAX_BYTES, parse_trust

DEFAULT_TITLE = "signing home"
TRUST_DAYS = 400
OFFICER = "officer"
RECOVERY = "recovery"
ENGINEER = "release-engineer"
# where Debian and its kin have them; an entry runs nothing that is not signed
INTERPRETERS = {"sh": "/bin/sh", "bash": "/bin/bash", "python": "/usr/bin/python3"}


@dataclass(frozen=True, slots=True)
class InitOptions:
    """token: a key string `pkcs11:token=…` or `tpm:FOLDER` for every key, None for development keys in files.

    now: the time, aware; kind: of every key; title and organisation: as certificates name them; person: whose the release key is,
    by the id that trust files and records have.
    """

    now: datetime
    title: str = DEFAULT_TITLE
    organisation: str = ""
    token: str | None = None
    kind: KeyKind = KeyKind.P256
    pin: Pin | None = None
    timestamp: tuple[str, ...] = ("local",)
    person: str = ENGINEER


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    purpose: KeyPurpose
    profile: Profile
    common_name: str
    issuer: str


_PLANS = (
    _Plan("root", KeyPurpose.CERTIFICATES, ROOT, "root", "root"),
    _Plan("intermediate", KeyPurpose.CERTIFICATES, INTERMEDIATE, "signing CA", "root"),
    _Plan("release", KeyPurpose.ARTIFACT, CODE_SIGNER, "release", "intermediate"),
    _Plan("timestamp", KeyPurpose.TIMESTAMP, TIMESTAMP_AUTHORITY, "timestamp authority", "intermediate"),
    _Plan(OFFICER, KeyPurpose.TRUST, PERSON, "trust officer", OFFICER),
    _Plan(RECOVERY, KeyPurpose.RECOVERY, PERSON, "recovery", RECOVERY),
)


def init_home(folder: str, options: InitOptions) -> Home:
    """Make a home in a new or empty folder; UsageError if something lies there, one stands in it or `person` is no id, KeyUnavailable
    or OutputRefused on the way."""
    _check_person(options.person)
    with new_folder(folder) as building:
        os.makedirs(os.path.join(building, "certificates"))
        os.makedirs(os.path.join(building, "keys"), mode=0o700)
        home = _build(building, options)
    return replace(home, folder=folder)


def _check_person(person: str) -> None:
    if not is_person(person):
        raise UsageError(
            "--person", f"{display(person[:70])} is no id", "Write 1 to 64 letters, digits and `_.@+-`, as in p-17."
        )
    if person.casefold() in (OFFICER, RECOVERY):
        raise UsageError(
            "--person",
            f"{person} is whose the home's key for trust files is",
            "Give the id that the plant's trust file has for whoever signs.",
        )


def sign_trust(
    path: str, home: Home, person: str, now: datetime, pin: Pin | None = None, *, kind: str = TRUST_KIND
) -> str:
    """Sign a trust file (or deny list, kind "deny") as one of its officers; the signature's path. Other officers' files stay.

    MalformedTrust for what is none, UsageError where the key is not that officer's; of a deny list that is known where its
    trust file lies beside it.
    """
    text = read_file(path, MAX_BYTES)
    if kind == TRUST_KIND:
        enrolled = _officer_key(_listed(text, path), path, home, person)
    else:
        enrolled = _deny_key(text, path, home, person)
    target = f"{path}.{person}.p7s"
    write_atomic(target, signed_text(text, kind, path, home, enrolled, now, pin), replace=Replace.YES)
    return target


def signed_text(
    text: bytes, kind: str, path: str, home: Home, enrolled: EnrolledKey, now: datetime, pin: Pin | None
) -> bytes:
    """The detached signature of a person's key over a text of a kind of its own. path: what the text is called."""
    digests = {enrolled.algorithm.digest: Digest.of(text, enrolled.algorithm.digest)}
    prepared = Prepared(kind, kind, path, digests, None, len(text), Coverage.whole(len(text)), Claims())
    with Pipeline(home, enrolled, pin) as pipeline:
        (made,) = pipeline.sign([prepared], now)
        return pipeline.sealed(made).envelope


def trust_keys(home: Home) -> tuple[EnrolledKey, ...]:
    """The keys of a home that may sign trust files: an officer's, and a sealed one that may replace officers."""
    return tuple(key for key in home.keys if key.purpose in (KeyPurpose.TRUST, KeyPurpose.RECOVERY))


def signing_key_of(path: str, home: Home, person: str) -> EnrolledKey:
    """The key by which a person signs a trust file or deny list; UsageError where the home has none of theirs."""
    text = read_file(path, MAX_BYTES)
    if text.startswith(DENY_LINE.encode()):
        return _deny_key(text, path, home, person)
    return _officer_key(_listed(text, path), path, home, person)


def _listed(text: bytes, path: str) -> tuple[OfficerKey, ...]:
    """Whose signature can count: officers and sealed keys of this version, and of the one before, who let it follow theirs."""
    trust = parse_trust(text, path)
    before = previous_of(path, trust)
    sides = (trust,) if before is None else (trust, before)
    return tuple(key for side in sides for key in (*side.officers.keys, *side.recovery.keys))


def _deny_key(text: bytes, path: str, home: Home, person: str) -> EnrolledKey:
    deny = parse_deny(text, path)
    beside = os.path.join(os.path.dirname(path), TRUST)
    if not os.path.exists(beside):
        return home.key(None, KeyPurpose.TRUST)
    trust = parse_trust(read_file(beside, MAX_BYTES), beside)
    if deny.trust != trust.id:
        raise UsageError(
            path,
            f"it is for the trust file {deny.trust}, and beside it lies {trust.id}",
            f'Write `trust = "{trust.id}"`.',
        )
    return _officer_key(trust.officers.keys, path, home, person)


def _officer_key(listed: Sequence[OfficerKey], path: str, home: Home, person: str) -> EnrolledKey:
    for enrolled in trust_keys(home):
        own = enrolled.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if any(key.person == person and key.spki == own for key in listed):
            return enrolled
    raise UsageError(
        path,
        f"the key of this home is not {person}'s key in [officers], nor in those of the version before",
        "Name the person whose key it is with --person.",
    )


def _build(folder: str, options: InitOptions) -> Home:
    infos: dict[str, KeyInfo] = {}
    made: dict[str, EnrolledKey] = {}
    with Register.open(os.path.join(folder, REGISTER)) as register:
        for plan in _PLANS:
            uri = _uri(folder, plan.name, options)
            infos[plan.name] = create_key(uri, options.kind, options.pin if options.token else None)
            # two keys at most are open at once: a TPM without a resource manager has three slots
            with (
                closing(_opened(infos[plan.name], options)) as key,
                closing(_opened(infos[plan.issuer], options)) as above,
            ):
                made[plan.name] = _certified(folder, plan, key, above, made, options, register)
    home = Home(folder, options.title, options.timestamp, tuple(made[plan.name] for plan in _PLANS))
    outputs = [
        Output(home.path("certificates", f"{key.name}.pem"), certificates_text(key).encode()) for key in home.keys
    ]
    outputs += [
        Output(home.path(ANCHORS), certificates_text(replace(made["root"], chain=())).encode()),
        Output(home.path(TRUST), trust_text(home, options).encode()),
        Output(home.path(FILE), home_text(home).encode()),
    ]
    write_batch(outputs)
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append(list(enrolments(home)))
    sign_trust(home.path(TRUST), home, OFFICER, options.now, options.pin)
    return home


def _opened(info: KeyInfo, options: InitOptions) -> OpenKey:
    return open_key(info.uri, options.pin, algorithm=options.kind.algorithm, expected=info.public_key)


def _uri(folder: str, name: str, options: InitOptions) -> str:
    if options.token is None:
        return f"file:{os.path.join(folder, 'keys', name + '.pem')}"
    if options.token.startswith("tpm:"):
        return f"tpm:{os.path.join(folder, 'keys', name + '.tss')}"
    body, question, query = options.token.partition("?")
    return f"{body};object={name}{question}{query}"


def _certified(
    folder: str,
    plan: _Plan,
    key: OpenKey,
    issuing: OpenKey,
    made: dict[str, EnrolledKey],
    options: InitOptions,
    register: Register,
) -> EnrolledKey:
    subject = Subject(f"{options.title} {plan.common_name}", options.organisation)
    above = made.get(plan.issuer)
    issuer = Issuer(issuing, above.certificate if above is not None else None)
    public, provenance = key.info.public_key, key.info.provenance
    if above is None and plan.purpose is not KeyPurpose.CERTIFICATES:  # an officer's only carries the key
        certificate = issue(plan.profile, subject, public, issuer, options.now, provenance)
    else:
        order = Order(plan.profile, subject, public, provenance)
        certificate = register.issue(order, issuer, options.now).certificate
    self_signed = above is None
    chain = () if self_signed or above is None or plan.issuer == "root" else (above.certificate, *above.chain)
    uri = key.info.uri
    for scheme in ("file:", "tpm:"):
        if uri.startswith(scheme):
            uri = scheme + os.path.relpath(uri.removeprefix(scheme), folder)
    return EnrolledKey(
        name=plan.name,
        uri=uri,
        purpose=plan.purpose,
        construction=Construction.CERTIFICATE
        if plan.purpose is KeyPurpose.CERTIFICATES
        else Construction.CMS_ATTRIBUTES,
        algorithm=key.info.algorithm,
        provenance=key.info.provenance,
        certificate=certificate,
        chain=chain,
    )


def trust_text(home: Home, options: InitOptions) -> str:
    """The first trust file of a home: one rule, for anything that its release key signs."""
    keys = {key.name: key for key in home.keys}
    environment = "development" if home.development else "production"
    organisation = options.organisation or options.title
    persons: list[Toml] = [
        {"id": OFFICER, "organisation": organisation, "roles": ["trust officer"], "keys": [_digest(keys[OFFICER])]},
        {"id": RECOVERY, "organisation": organisation, "roles": ["recovery"], "keys": [_digest(keys[RECOVERY])]},
        {
            "id": options.person,
            "organisation": organisation,
            "roles": ["release engineer"],
            "keys": [_digest(keys["release"])],
        },
    ]
    return toml_text(
        FIRST_LINE,
        {
            "id": f"{secrets.token_hex(8)}",
            "title": options.title,
            "version": 1,
            "issued": options.now.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=5),
            "expires": options.now.astimezone(UTC).replace(microsecond=0) + timedelta(days=TRUST_DAYS),
            "person": persons,
            "officers": {"threshold": 1, "key": [{"person": OFFICER, "key": _public_pem(keys[OFFICER])}]},
            "recovery": {"threshold": 1, "key": [{"person": RECOVERY, "key": _public_pem(keys[RECOVERY])}]},
            "anchor": [{"name": "root", "environment": environment, "certificate": _pem(keys["root"])}],
            "authority": [{"name": "local timestamps", "anchor": _pem(keys["root"])}],
            "rule": [
                {
                    "name": "everything of this house",
                    "environment": environment,
                    "timestamp": "optional",
                    "fresh_for": f"{TRUST_DAYS}d",
                    "contact": f"the release engineer of {organisation}",
                    "signer": [{"slot": "maker", "anchors": ["root"], "purposes": ["updatePackageSigning"]}],
                }
            ],
            "interpreter": [{"kind": kind, "path": path} for kind, path in INTERPRETERS.items()],
        },
    )


def enrolments(home: Home) -> Iterator[Entry]:
    """What the journal of a new home begins with."""
    for key in home.keys:
        yield Entry(
            EntryType.KEY,
            {
                "name": key.name,
                "key": _digest(key),
                "purpose": key.purpose.value,
                "construction": key.construction.value,
                "provenance": key.provenance.value,
            },
        )
        yield Entry(EntryType.CERTIFICATE, {"name": key.name, "certificate": str(Digest.of(key.certificate))})


def _digest(key: EnrolledKey) -> str:
    return str(key_digest(key.public_key))


def _pem(key: EnrolledKey) -> str:
    return x509.load_der_x509_certificate(key.certificate).public_bytes(Encoding.PEM).decode()


def _public_pem(key: EnrolledKey) -> str:
    return key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
