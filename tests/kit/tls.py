"""Certificates of our own profiles as the files that TLS servers and clients read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.pki import CLAIMED, Pki, Signer, soft_key
from sealwright.keys.key import KeyKind
from sealwright.pki.authority import Issuer, Subject, Terms, issue
from sealwright.pki.profiles import TLS_CLIENT, TLS_SERVER, Profile


def server_certificate(pki: Pki) -> Signer:
    """Of a server on this machine, valid now."""
    key = soft_key()
    issuer = Issuer(pki.intermediate.key, pki.intermediate.certificate)
    terms = Terms(hosts=("localhost", "127.0.0.1"))
    at = datetime.now(UTC) - timedelta(hours=1)
    der = issue(TLS_SERVER, Subject("server", "ACME"), key.info.public_key, issuer, at, CLAIMED, terms=terms)
    return Signer(der, (pki.intermediate.certificate,), key)


def client_certificate(pki: Pki, name: str, profile: Profile = TLS_CLIENT, kind: KeyKind = KeyKind.P256) -> Signer:
    """Of somebody who asks, valid now."""
    return pki.leaf(name, profile=profile, kind=kind, at=datetime.now(UTC) - timedelta(hours=1))


def pem_files(signer: Signer, folder: Path, name: str) -> tuple[str, str]:
    """The chain and the key, each in a file."""
    private = signer.key._private
    assert private is not None
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain.write_text(signer.pem + "".join(Signer(der, (), signer.key).pem for der in signer.chain))
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    return str(chain), str(key)
