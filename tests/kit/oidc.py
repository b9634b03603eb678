"""A CI system's issuer: real tokens of any head and body, its key set, and an HTTPS server on this machine that gives it or misbehaves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from joserfc.jwk import ECKey, OKPKey, RSAKey

from kit.people import AUDIENCE, GITHUB, SAID, SUBJECT
from kit.pki import NOW, Pki
from kit.tls import pem_files, server_certificate
from sealwright.service.oidc import Algorithm, KeySet, TokenIssuer, parse_keys
from sealwright.service.replay import MAX_USES, StoredReplay
from sealwright.store.engine import open_store

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ALL = frozenset(Algorithm)


def b64(data: bytes) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unb64(part: bytes) -> bytes:
    """Back again."""
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def segment(value: Mapping[str, Any] | str | bytes) -> bytes:
    """A head or body; a text as it stands."""
    if isinstance(value, Mapping):
        value = json.dumps(value)
    return b64(value.encode() if isinstance(value, str) else value)


def sign(private: Private, algorithm: str, data: bytes) -> bytes:
    """A signature of that algorithm; also for those that a key should not be used with."""
    hashed = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}.get(
        algorithm[2:], hashes.SHA256()
    )
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    if isinstance(private, ec.EllipticCurvePrivateKey):
        size = (private.key_size + 7) // 8
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashed)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    pss = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
    return private.sign(data, pss if algorithm.startswith("PS") else padding.PKCS1v15(), hashed)


def mirrored(signature: bytes) -> bytes:
    """The other signature of P-256 over the same octets."""
    r, s = signature[:32], int.from_bytes(signature[32:], "big")
    assert decode_dss_signature(encode_dss_signature(1, s)) == (1, s)
    return r + (ORDER_P256 - s).to_bytes(32, "big")


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of an issuer."""
    return rsa.generate_private_key(65537, bits)


@dataclass
class CiIssuer:
    """kid -> key; `only`: the algorithm that its key set says for each."""

    keys: dict[str, Private] = field(default_factory=lambda: {"rsa-1": rsa_key()})
    issuer: str = GITHUB
    at: datetime = NOW
    count: int = 0

    def body(self, **changes: Any) -> dict[str, Any]:
        """What its tokens say; None takes a claim away."""
        self.count += 1
        at = int(self.at.timestamp())
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": SUBJECT,
            "iat": at,
            "nbf": at - 600,
            "exp": at + 300,
            "jti": f"token-{self.count}",
            **SAID,
            **changes,
        }
        return {name: value for name, value in said.items() if value is not None}

    def token(
        self, kid: str = "rsa-1", algorithm: str = "RS256", head: Mapping[str, Any] | None = None, **claims: Any
    ) -> bytes:
        """A signed token. head: beside or instead of the usual one."""
        return self.signed(
            segment({"alg": algorithm, "kid": kid, "typ": "JWT", **(head or {})}),
            segment(self.body(**claims)),
            kid,
            algorithm,
        )

    def signed(self, head: bytes, body: bytes, kid: str = "rsa-1", algorithm: str = "RS256") -> bytes:
        """Two encoded parts with their signature."""
        data = head + b"." + body
        return data + b"." + b64(sign(self.keys[kid], algorithm, data))

    def by_secret(self, secret: bytes, algorithm: str = "HS256", kid: str = "rsa-1", **claims: Any) -> bytes:
        """A token with a MAC, as if a public key were a secret."""
        data = segment({"alg": algorithm, "kid": kid, "typ": "JWT"}) + b"." + segment(self.body(**claims))
        return data + b"." + b64(hmac.new(secret, data, getattr(hashlib, "sha" + algorithm[2:])).digest())

    def jwks(self, **more: Any) -> dict[str, Any]:
        """Its key set."""
        return {"keys": [public_jwk(key, kid=kid, **more) for kid, key in self.keys.items()]}

    @property
    def key_set(self) -> KeySet:
        """As the service reads it."""
        return parse_keys(json.dumps(self.jwks()).encode(), "keys")

    def trusted(self, algorithms: frozenset[Algorithm] = ALL, **how: Any) -> TokenIssuer:
        """As a service is told of it."""
        return TokenIssuer(self.issuer, AUDIENCE, f"{self.issuer}/jwks", algorithms, **how)


def fresh_replay(folder: Path, began: datetime, most: int = MAX_USES) -> StoredReplay:
    """The uses of a service that began then, in a database of its own."""
    return StoredReplay.open(open_store(f"sqlite:///{folder}/uses-{secrets.token_hex(8)}.db"), began, most)


def public_jwk(key: Private, **members: Any) -> dict[str, Any]:
    """A public key as key sets have it."""
    made: RSAKey | ECKey | OKPKey
    if isinstance(key, rsa.RSAPrivateKey):
        made = RSAKey.import_key(key.public_key())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        made = ECKey.import_key(key.public_key())
    else:
        made = OKPKey.import_key(key.public_key())
    return {**made.as_dict(private=False), "use": "sig", **members}


@dataclass
class KeyServer:
    """What the server says next: `mode` is "keys" or a way to misbehave; asked: the paths so far."""

    port: int
    ca_file: str
    data: bytes
    mode: str = "keys"
    asked: list[str] = field(default_factory=list)

    def trusted(self, **how: Any) -> TokenIssuer:
        """The issuer whose keys are here."""
        how = {"algorithms": ALL, "ca_file": self.ca_file, "keys_url": f"https://localhost:{self.port}/jwks", **how}
        return TokenIssuer(how.pop("issuer", GITHUB), AUDIENCE, **how)


@contextmanager
def serving(issuer: CiIssuer, folder: Path) -> Iterator[KeyServer]:
    """Its key set over TLS on localhost, by an authority of its own."""
    pki = Pki.make("Forge", at=datetime.now(UTC) - timedelta(days=1))
    certificate, key = pem_files(server_certificate(pki), folder, "issuer")
    ca_file = folder / "issuer-ca.pem"
    ca_file.write_text(pki.root.pem)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            data, status, headers = served.data, 200, {}
            match served.mode:
                case "redirect":
                    status, headers = 302, {"Location": f"https://localhost:{served.port}/elsewhere"}
                case "error":
                    status = 500
                case "long":
                    data = b" " * (1 << 20)
                case "gzip":
                    headers = {"Content-Encoding": "gzip"}
                case "slow":
                    time.sleep(3)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if served.mode != "endless":
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                while served.mode == "endless":
                    self.wfile.write(b" " * 4096)
            except OSError:
                return  # the client had enough

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    served = KeyServer(server.server_address[1], str(ca_file), json.dumps(issuer.jwks()).encode())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
