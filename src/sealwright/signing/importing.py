"""Taking in a private key that exists: out of a file into the token, TPM or folder where the home keeps its keys (DESIGN, adoption).

1. The file is read, never altered. A weak or published key is refused, and one that is enrolled already (A010).
2. The certificate is found first: one that a PKI issued, the file's own (PKCS#12), or one that the home's authority issues.
3. The key goes into the backend so that it cannot be read there; what it says is checked, and it signs once: the signature
   must verify with the file's public half. If anything fails the key is taken out of the backend again.
4. The journal tells who held which copies until when, before home.toml names the key. A key that once lived outside is
   `hardware-imported` for ever: production accepts it only where a trust file names it, with a reason and a review date.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import PublicKey, SignatureAlgorithm, key_digest
from sealwright.envelope.kinds import Construction, least_rsa_bits
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, SealwrightError, UsageError
from sealwright.keys.backends import destroy_key, import_key, open_key
from sealwright.keys.key import KeyInfo, Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.private import PrivateFile, read_private_key
from sealwright.keys.uri import parse_pkcs11, scheme_of
from sealwright.log.canonical import Field, time_text
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.pki.knownkeys import KnownKeys
from sealwright.pki.weakkeys import check_key
from sealwright.signing.enrol import (
    algorithm_of,
    certify,
    check_name,
    check_new,
    key_beside,
    profile_for,
    read_certificates,
    record,
    relative_uri,
)
from sealwright.signing.home import JOURNAL, EnrolledKey, Home, KeyPurpose
from sealwright.signing.issuing import authority_of
from sealwright.signing.keyuse import KeyUse, uses_of
from sealwright.signing.privatepart import check_person, keep_text, told
from sealwright.trust.certificate import load_certificate, public_key
from sealwright.trust.toml import Toml, toml_text

REVIEW_AFTER = timedelta(days=365)
MAX_COPIES = 50
MAX_COPY_TEXT = 200
_TRIAL = b"sealwright key import: one signature to try the key\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person says of the key. copies: one text each, "laptop of Eva, until 2026-12-01"; person: a register id."""

    construction: Construction = Construction.CMS_ATTRIBUTES
    certificate: str = ""
    copies: tuple[str, ...] = ()
    person: str = ""
    known: tuple[KnownKeys, ...] = ()


class Imported(NamedTuple):
    """info: as the backend reports it; enrolled: None where no home was named."""

    info: KeyInfo
    source: PrivateFile
    enrolled: EnrolledKey | None


def import_into_home(
    home: Home, name: str, path: str, where: str, passwords: tuple[Pin | None, Pin | None], asked: Asked, now: datetime
) -> Imported:
    """Import and enrol. where: key string of a token or "" for where the home's authority has its key; now: aware.

    passwords: of the file, and the PIN of the token. Raises UsageError, KeyRefused, KeyUnavailable, WeakAlgorithm.
    """
    check_name(home, name)
    _check_said(asked)
    password, pin = passwords
    source = read_private_key(path, password)
    check_new(home, source.public, asked.construction, path, asked.known)
    given = _certificate_of(source, asked.certificate, path)
    profile = profile_for(asked.construction)
    above = authority_of(home, None, profile, now) if given is None or not where else None
    uri = _named(where, name) if where or above is None else key_beside(home, above, name)
    info = _into(uri, source, pin)
    try:
        if given is None:
            certificate, chain = certify(home, name, info, profile, asked.construction, pin, now)
        else:
            certificate, chain = given
        enrolled = EnrolledKey(
            name=name,
            uri=relative_uri(home, info.uri),
            purpose=KeyPurpose.ARTIFACT,
            construction=asked.construction,
            algorithm=algorithm_of(info.algorithm, asked.construction),
            provenance=info.provenance,
            certificate=certificate,
            chain=chain,
        )
        record(home, enrolled, _said(home, source, asked, now))
    except BaseException:
        with suppress(SealwrightError):
            destroy_key(info.uri, pin)
        raise
    return Imported(info, source, enrolled)


def import_into_token(
    name: str, path: str, where: str, passwords: tuple[Pin | None, Pin | None], asked: Asked
) -> Imported:
    """Import into a token or TPM without a home: nothing records it."""
    password, pin = passwords
    source = read_private_key(path, password)
    check_key(source.public, subject=path, least_rsa_bits=least_rsa_bits(asked.construction), known=asked.known)
    return Imported(_into(_named(where, name), source, pin), source, None)


def record_destroyed(home: Home, key: EnrolledKey, copy: str, said: tuple[str, str], now: datetime) -> tuple[str, ...]:
    """Record that a copy is destroyed; the copies that are left. said: how, and who. UsageError for a copy that nobody named."""
    use = uses_of(home.path(JOURNAL)).get(str(key_digest(key.public_key)), KeyUse())
    left = {told(home, one): one for one in use.left}
    if copy not in left:
        names = "; ".join(left) or "none"
        raise UsageError(f"--copy {copy}", f"no such copy of {key.name} is outstanding", f"Outstanding: {names}.")
    how, person = said
    check_person(person)
    fields: dict[str, Field] = {
        "name": key.name,
        "key": str(key_digest(key.public_key)),
        "destroyed": left[copy],
        "how": str(keep_text(home, how, "--how")) if how else "",
        "person": person,
        "time": time_text(now),
    }
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append([Entry(EntryType.KEY, fields)])
    return tuple(one for one in left if one != copy)


def evidence_text(info: KeyInfo, reason: str, now: datetime) -> str:
    """The entry that a production trust file needs for an imported key, "" for a development key (none would be accepted)."""
    if info.provenance is not Provenance.HARDWARE_IMPORTED:
        return ""
    entry: dict[str, Toml] = {
        "key": str(key_digest(info.public_key)),
        "provenance": info.provenance.value,
        "reason": reason,
        "review": (now.astimezone(UTC) + REVIEW_AFTER).replace(hour=0, minute=0, second=0, microsecond=0),
    }
    return toml_text("", {"evidence": [entry]}).strip() + "\n"


def _into(uri: str, source: PrivateFile, pin: Pin | None) -> KeyInfo:
    """Into the backend, and one signature tried; taken out again where it does not verify."""
    encrypted = pin if scheme_of(uri) != "file" else None  # a home's development keys have no passphrase of their own
    info = import_key(uri, source.key, encrypted)
    try:
        if key_digest(info.public_key) != key_digest(source.public):
            raise KeyRefused(uri, "the backend reports another public key than the file's", "Have the token checked.")
        _try(info, source.public, encrypted)
    except BaseException:
        with suppress(SealwrightError):
            destroy_key(info.uri, pin)
        raise
    return info


def _try(info: KeyInfo, public: PublicKey, pin: Pin | None) -> None:
    """The key opened anew signs once; every backend verifies a value with the expected public key before it gives it."""
    # a short RSA key of burnt-in boards opens as what boards read
    with closing(open_key(info.uri, pin, expected=public, construction=Construction.MCUBOOT)) as key:
        key.sign([_asked_of(info.algorithm)])


def _asked_of(algorithm: SignatureAlgorithm) -> ToBeSigned:
    if algorithm.signs_message:
        return ToBeSigned(Kind.MESSAGE, _TRIAL, algorithm)
    return ToBeSigned(Kind.DIGEST, Digest.of(_TRIAL, algorithm.digest).value, algorithm)


def _named(where: str, name: str) -> str:
    """The key string of the new key in a token, TPM or folder."""
    from dataclasses import replace

    if scheme_of(where) != "pkcs11":
        return where
    parsed = parse_pkcs11(where)
    if parsed.id is not None:
        raise UsageError(where, "a new key gets an id of its own", "Leave out id=.")
    return str(replace(parsed, label=parsed.label or name))


def _certificate_of(source: PrivateFile, path: str, file: str) -> tuple[bytes, tuple[bytes, ...]] | None:
    """The named certificate, else the one in the PKCS#12, else None; KeyRefused where it is another key's."""
    if path:
        leaf, chain = read_certificates(path)
    elif source.certificates:
        leaf, path = source.certificates[0], file
        loaded = [load_certificate(der, file) for der in source.certificates[1:]]
        chain = tuple(one.public_bytes(Encoding.DER) for one in _ordered(load_certificate(leaf, file), loaded))
    else:
        return None
    if key_digest(public_key(load_certificate(leaf, path))) != key_digest(source.public):
        raise KeyRefused(path, "the certificate is of another key", "Name the key's own certificate.")
    return leaf, chain


def _ordered(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Upwards from the leaf, without the root; PKCS#12 keeps no order."""
    chain: list[x509.Certificate] = []
    below = leaf
    for _ in others:
        above = next((one for one in others if one.subject == below.issuer and one.subject != one.issuer), None)
        if above is None or above in chain:
            break
        chain.append(above)
        below = above
    return chain


def _check_said(asked: Asked) -> None:
    if len(asked.copies) > MAX_COPIES:
        raise UsageError("--copies", f"more than {MAX_COPIES} are given", "Name places together.")
    if len(set(asked.copies)) != len(asked.copies):
        raise UsageError(
            "--copies", "one is given twice", "Tell them apart: each is recorded as destroyed by its text."
        )
    check_person(asked.person)
    for text in asked.copies:
        if len(text) > MAX_COPY_TEXT or not text.isprintable():
            raise UsageError(
                "--copies",
                f"{text[:40]!r} is longer than {MAX_COPY_TEXT} characters or not printable",
                "Write it shorter.",
            )


def _said(home: Home, source: PrivateFile, asked: Asked, now: datetime) -> dict[str, Field]:
    said: dict[str, Field] = {
        "time": time_text(now),
        "imported": source.form,
        "copies": tuple(str(keep_text(home, copy, "--copies")) for copy in asked.copies),
    }
    if asked.person:
        said["person"] = asked.person
    if source.others_read:
        said["exposed"] = "others could read the file"
    return said
