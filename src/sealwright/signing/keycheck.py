"""Every public key that a home, a trust file and the files given know of, judged by itself and against all others (A010).

What is read: PEM anywhere in a file (certificates, requests, public and private keys; so trust files too), DER of the same. A home
gives its enrolled certificates, its trust file with trust.d, and whatever certificates its register holds.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import MIN_RSA_BITS_TO_VERIFY, key_digest
from sealwright.errors import MalformedEnvelope, SealwrightError
from sealwright.pki.knownkeys import KnownKeys
from sealwright.pki.sharedfactors import shared_factors
from sealwright.pki.weakkeys import check_key
from sealwright.signing.home import ANCHORS, TRUST, Home

MAX_FILE_BYTES = 256 << 20
MAX_KEYS = 100_000
REGISTER = "register"
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{3,40})-----\s.{16,65536}?-----END \1-----", re.DOTALL)
_BASE64_CERTIFICATE = re.compile(rb"MII[A-Za-z0-9+/]{200,}={0,2}")
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


@dataclass(frozen=True, slots=True)
class KeyFound:
    """A public key and where. key: None where it cannot be read, and problem says why."""

    where: str
    key: object
    problem: str = ""


@dataclass(frozen=True, slots=True)
class KeyJudged:
    """One key, with every place it was found at. problems: empty for a good one; digest: "sha256:…", "" for none."""

    digest: str
    places: tuple[str, ...]
    problems: tuple[str, ...]
    partners: tuple[str, ...] = ()


def keys_of_file(path: str) -> Iterator[KeyFound]:
    """Every key of a file; MalformedEnvelope where there is none."""
    found = list(_keys(read_file(path, MAX_FILE_BYTES), path))
    if not found:
        raise MalformedEnvelope(path, "there is no certificate, request or key in it", "Name a file in PEM or DER.")
    yield from found


def keys_of_home(home: Home) -> Iterator[KeyFound]:
    """Every key that the home knows."""
    for enrolled in home.keys:
        for der in (enrolled.certificate, *enrolled.chain):
            yield from _keys(der, f"{home.folder}: {enrolled.name}")
    paths = [home.path(TRUST), home.path(ANCHORS)]
    for folder in ("trust.d", "certificates"):
        if os.path.isdir(home.path(folder)):
            names = sorted(os.listdir(home.path(folder)))
            paths += [home.path(folder, name) for name in names if name.endswith((".pem", ".crt", ".cer"))]
    for path in paths:
        if os.path.isfile(path):
            yield from _keys(read_file(path, MAX_FILE_BYTES), path)
    for folder, _, names in os.walk(home.path(REGISTER)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            data = read_file(path, MAX_FILE_BYTES)
            yield from _keys(data, path)
            for text in _BASE64_CERTIFICATE.findall(data):
                yield from _certificate_in(text, path)


def judge_keys(found: Sequence[KeyFound], known: Sequence[KnownKeys] = ()) -> list[KeyJudged]:
    """Each key once, in the order found: weak, published, or sharing a prime with another; keys of 2048 bits may be believed."""
    if len(found) > MAX_KEYS:
        raise MalformedEnvelope("keys", f"more than {MAX_KEYS:,} are given", "Check them in parts.")
    places: dict[str, list[str]] = {}
    keys: dict[str, object] = {}
    judged: list[KeyJudged] = []
    for one in found:
        if one.key is None:
            judged.append(KeyJudged("", (one.where,), (one.problem,)))
            continue
        digest = _digest(one.key)
        places.setdefault(digest, []).append(one.where)
        keys.setdefault(digest, one.key)
    moduli: dict[int, list[str]] = {}
    for digest, key in keys.items():
        if isinstance(key, rsa.RSAPublicKey):
            moduli.setdefault(key.public_numbers().n, []).append(digest)
    shared = shared_factors(moduli)
    for digest, key in keys.items():
        problems, partners = [], set[str]()
        try:
            check_key(key, subject=digest, least_rsa_bits=MIN_RSA_BITS_TO_VERIFY, known=known)
        except SealwrightError as cause:
            problems.append(cause.what)
        factor = shared.get(key.public_numbers().n, 0) if isinstance(key, rsa.RSAPublicKey) else 0
        if factor:
            problems.append(
                "its RSA modulus shares a prime with another key's, so that both private keys are found at once"
            )
            partners = {one for one in _partners(factor, moduli) if one != digest}
        judged.append(KeyJudged(digest, tuple(dict.fromkeys(places[digest])), tuple(problems), tuple(sorted(partners))))
    return judged


def _partners(factor: int, moduli: dict[int, list[str]]) -> set[str]:
    return {digest for modulus, digests in moduli.items() if modulus % factor == 0 for digest in digests}


def _digest(key: object) -> str:
    try:
        return str(key_digest(key))  # type: ignore[arg-type]
    except (AttributeError, *_UNREADABLE):
        return f"unreadable {id(key)}"


def _keys(data: bytes, where: str) -> Iterator[KeyFound]:
    blocks = list(_BLOCK.finditer(data))
    for number, match in enumerate(blocks, 1):
        place = where if len(blocks) == 1 else f"{where} ({number})"
        yield from _block(match[1].decode(), match[0] + b"\n", place)
    if not blocks:
        yield from _der(data, where)


def _block(kind: str, pem: bytes, where: str) -> Iterator[KeyFound]:
    try:
        if kind in ("CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"):
            yield _of_certificate(x509.load_pem_x509_certificate(pem), where)
        elif kind.endswith("CERTIFICATE REQUEST"):
            request = x509.load_pem_x509_csr(pem)
            yield _strict(request.public_key(), _spki_in(request.tbs_certrequest_bytes, request.public_key()), where)
        elif kind.endswith("PUBLIC KEY"):
            yield KeyFound(where, load_pem_public_key(pem))
        elif kind.endswith("PRIVATE KEY") and b"ENCRYPTED" not in pem[:200]:
            yield KeyFound(where, load_pem_private_key(pem, None).public_key())
    except _UNREADABLE as cause:
        yield KeyFound(where, None, f"it cannot be read: {cause}"[:160])


def _der(data: bytes, where: str) -> Iterator[KeyFound]:
    readers: tuple[Callable[[], KeyFound], ...] = (
        lambda: _of_certificate(x509.load_der_x509_certificate(data), where),
        lambda: KeyFound(where, x509.load_der_x509_csr(data).public_key()),
        lambda: KeyFound(where, load_der_public_key(data)),
        lambda: KeyFound(where, load_der_private_key(data, None).public_key()),
    )
    for read in readers:
        try:
            yield read()
            return
        except _UNREADABLE:
            continue


def _certificate_in(text: bytes, where: str) -> Iterator[KeyFound]:
    """A certificate in base64 inside a record; anything else that looks alike is none."""
    try:
        yield _of_certificate(x509.load_der_x509_certificate(base64.b64decode(text, validate=True)), where)
    except _UNREADABLE:
        return


def _of_certificate(certificate: x509.Certificate, where: str) -> KeyFound:
    key = certificate.public_key()
    return _strict(key, _spki_in(certificate.tbs_certificate_bytes, key), where)


def _spki_in(signed: bytes, key: object) -> bool:
    """Whether the signed octets hold the key in our own encoding."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) in signed  # type: ignore[attr-defined]


def _strict(key: object, ours: bool, where: str) -> KeyFound:
    return KeyFound(where, key) if ours else KeyFound(where, None, "its key is in an encoding that is not accepted")
