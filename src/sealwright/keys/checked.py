"""What every backend does around the private-key operation, so that none can forget it (RULES 2).

1. Length and algorithm of each to-be-signed are checked before the key is used.
2. Each value is verified with the enrolled public key before it leaves (A013).
3. An ECDSA nonce seen before for another message means a broken generator: the key stops (A012).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import Scheme, SignatureAlgorithm, check_digest_signature, check_signature
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import BadSignature, KeyRefused
from sealwright.keys.key import KeyInfo

REMEMBERED = 50_000


class SignatureCheck:
    """The checks of one open key; remembers the nonces it saw."""

    def __init__(self, info: KeyInfo) -> None:
        self.info = info
        self._nonces: OrderedDict[int, bytes] = OrderedDict()

    def before(self, batch: Sequence[ToBeSigned]) -> None:
        """KeyRefused for anything that is not exactly what this key signs."""
        for one in batch:
            check_request(one, self.info.algorithm, self.info.uri)

    def after(self, one: ToBeSigned, signature: bytes) -> None:
        """KeyRefused if a value does not verify, or repeats a nonce."""
        self.verify(one, signature)
        self.remember(one, signature)

    def verify(self, one: ToBeSigned, signature: bytes) -> None:
        """KeyRefused if a value does not verify; for several threads at once."""
        key, algorithm = self.info.public_key, self.info.algorithm
        try:
            if one.kind is Kind.DIGEST:
                digest = Digest(algorithm.digest, one.data)
                check_digest_signature(key, algorithm, signature, digest, subject=self.info.uri)
            else:
                check_signature(key, algorithm, signature, one.data, subject=self.info.uri)
        except BadSignature as cause:
            raise KeyRefused(
                self.info.uri,
                "it gave a signature that its own public key refuses; nothing was written",
                "Have the token checked; do not use this key.",
            ) from cause

    def remember(self, one: ToBeSigned, signature: bytes) -> None:
        """KeyRefused if a value repeats a nonce; for one thread."""
        if self.info.algorithm.scheme is Scheme.ECDSA:
            nonce = decode_dss_signature(signature)[0]
            if self._nonces.setdefault(nonce, one.data) != one.data:
                raise KeyRefused(
                    self.info.uri,
                    "it used one ECDSA nonce twice, which gives the private key away",
                    "Revoke this key and replace the token.",
                )
            if len(self._nonces) > REMEMBERED:
                self._nonces.popitem(last=False)


def check_request(one: ToBeSigned, algorithm: SignatureAlgorithm, subject: str) -> None:
    """KeyRefused unless the to-be-signed is of the key's algorithm and its data of the right kind and length."""
    wanted = Kind.MESSAGE if algorithm.signs_message else Kind.DIGEST
    fits = one.algorithm == algorithm and one.kind is wanted
    if not fits or (wanted is Kind.DIGEST and len(one.data) != algorithm.digest.size):
        raise KeyRefused(
            subject,
            f"it signs {algorithm.name} and nothing else; asked was {one.algorithm.name}, {one.kind}, {len(one.data)} bytes",
            "Use the key that is enrolled for this.",
        )
