"""OCSP for tests: responder certificates, requests of every shape, a source that is a table, and the openssl program as client.

world = OcspWorld.make()
answer = world.responder().respond(world.request(world.good), NOW)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from kit.openssl import run
from kit.pki import DAY, HOUR, NOW, Pki, Signer, soft_key
from sealwright.envelope.asn1 import der
from sealwright.keys.key import KeyKind, OpenKey
from sealwright.pki.external_key import external_key, signature_hash, signature_padding
from sealwright.pki.ocsp import (
    GOOD,
    NEVER_ISSUED,
    Knowledge,
    Responder,
    Served,
    State,
    Status,
)
from sealwright.pki.ocspsigner import OcspSigner, delegated

Reason = x509.ReasonFlags
NONCE = "1.3.6.1.5.5.7.48.1.2"
DIGESTS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1", "sha384": "2.16.840.1.101.3.4.2.2"}


@dataclass
class Table:
    """A source: statuses by serial, and what it says of every other serial."""

    statuses: dict[int, Status] = field(default_factory=dict)
    others: Status = NEVER_ISSUED
    until: datetime | None = None
    since: datetime | None = None
    keeps_ended: datetime | None = NOW - 30 * DAY

    def refresh(self, now: datetime) -> Knowledge:
        """Always up to date, unless told otherwise."""
        return Knowledge(self.since or now, self.until, self.keeps_ended)

    def status(self, serial: int) -> Status:
        """The table's word."""
        return self.statuses.get(serial, self.others)

    def revoke(
        self, signer: Signer, time: datetime, reason: Reason | None = None, invalid: datetime | None = None
    ) -> None:
        """From now on it is revoked."""
        self.statuses[signer.x509.serial_number] = Status(State.REVOKED, time, reason, invalid)


def responder_certificate(
    pki: Pki,
    key: OpenKey,
    *,
    at: datetime = NOW - DAY,
    days: int = 90,
    purposes: Sequence[x509.ObjectIdentifier] = (ExtendedKeyUsageOID.OCSP_SIGNING,),
    signs: bool = True,
) -> bytes:
    """A delegated responder's certificate, as any authority would issue it."""
    above = pki.intermediate
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string("CN=ocsp,O=ACME"))
        .issuer_name(above.x509.subject)
        .public_key(key.info.public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at)
        .not_valid_after(at + days * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(signs, not signs, False, False, False, False, False, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.info.public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                above.x509.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .add_extension(x509.OCSPNoCheck(), critical=False)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(purposes)), critical=False)
    signed = builder.sign(
        external_key(above.key),
        signature_hash(above.key),  # type: ignore[arg-type]
        rsa_padding=signature_padding(above.key),
    )
    return signed.public_bytes(Encoding.DER)


@dataclass
class OcspWorld:
    """An authority with a good, a revoked and a held certificate, one that nobody issued, and its responder."""

    pki: Pki
    table: Table
    good: Signer
    lost: Signer
    held: Signer
    signer: OcspSigner

    @classmethod
    def make(cls, name: str = "ACME", kind: KeyKind = KeyKind.P256, at: datetime = NOW) -> OcspWorld:
        """All of it, as it stands at a time."""
        pki = Pki.make(name, at=at - 30 * DAY)
        good, lost, held = (pki.leaf(who, at=at - 10 * DAY) for who in ("good", "lost", "held"))
        table = Table({good.x509.serial_number: GOOD}, keeps_ended=at - 30 * DAY)
        table.revoke(lost, at - DAY, Reason.key_compromise, at - 5 * DAY)
        table.revoke(held, at - HOUR, Reason.certificate_hold)
        key = soft_key(kind)
        certificate = responder_certificate(pki, key, at=at - DAY)
        return cls(pki, table, good, lost, held, delegated(pki.intermediate.certificate, certificate, key, at))

    @property
    def served(self) -> Served:
        """For a responder."""
        return Served(self.pki.intermediate.certificate, self.table, self.signer)

    def responder(self, **how: timedelta) -> Responder:
        """One that serves this authority alone."""
        return Responder([self.served], **how)

    def request(self, *who: Signer | int, nonce: bytes | None = None, hashed: str = "sha1") -> bytes:
        """A request for certificates or serials. nonce: its octets."""
        extensions = [] if nonce is None else [extension(NONCE, der(4, nonce))]
        return ocsp_request([self.certificate_id(one, hashed) for one in who], extensions)

    def certificate_id(self, who: Signer | int, hashed: str = "sha1") -> bytes:
        """The CertID of one certificate, or of a serial."""
        above = self.pki.intermediate.x509
        serial = who if isinstance(who, int) else who.x509.serial_number
        bits = above.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        name = above.subject.public_bytes()
        return certificate_id(DIGESTS[hashed], sha(name, hashed), sha(bits, hashed), serial)


def certificate_id(algorithm: str, name: bytes, key: bytes, serial: int) -> bytes:
    """A CertID from its parts."""
    digest = der(0x30, asn1.encode_der(x509.ObjectIdentifier(algorithm)) + b"\x05\x00")
    return der(0x30, digest + der(4, name) + der(4, key) + asn1.encode_der(serial))


def ocsp_request(ids: Sequence[bytes], extensions: Sequence[bytes] = (), single: Sequence[bytes] = ()) -> bytes:
    """An OCSPRequest. single: extensions of each certificate asked for."""
    own = der(0xA0, der(0x30, b"".join(single))) if single else b""
    more = der(0xA2, der(0x30, b"".join(extensions))) if extensions else b""
    return der(0x30, der(0x30, der(0x30, b"".join(der(0x30, one + own) for one in ids)) + more))


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    """An Extension; critical: how it is written."""
    return der(0x30, asn1.encode_der(x509.ObjectIdentifier(oid)) + critical + der(4, value))


def sha(data: bytes, name: str) -> bytes:
    """A digest by its name."""
    return hashlib.new(name, data).digest()


def single(answer: bytes) -> ocsp.OCSPSingleResponse:
    """The first status in an answer, read by `cryptography`, which reads no errors."""
    return next(iter(ocsp.load_der_ocsp_response(answer).responses))


def openssl_says(
    folder: Path,
    world: OcspWorld,
    who: Signer | str,
    answer: bytes,
    *options: str,
    asked: bytes | None = None,
    at: datetime = NOW,
) -> tuple[bool, str]:
    """`openssl ocsp -respin` with the authority's certificates as anchors; who: a certificate, or a serial as text."""
    (folder / "ca.pem").write_text(world.pki.root.pem + world.pki.intermediate.pem)
    (folder / "issuer.pem").write_text(world.pki.intermediate.pem)
    (folder / "answer.der").write_bytes(answer)
    command: list[str | Path] = ["openssl", "ocsp", "-issuer", folder / "issuer.pem", "-CAfile", folder / "ca.pem"]
    command += ["-respin", folder / "answer.der", "-attime", str(int(at.timestamp())), *options]
    if asked is not None:
        (folder / "request.der").write_bytes(asked)
        command += ["-reqin", folder / "request.der"]
    elif isinstance(who, str):
        command += ["-serial", who, "-no_nonce"]
    else:
        (folder / "who.pem").write_text(who.pem)
        command += ["-cert", folder / "who.pem", "-no_nonce"]
    done, words = run(command)
    return done and "Response verify OK" in words, words
