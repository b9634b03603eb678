"""Logs that our writer writes, for tests: signers with keys in memory, entries of every type, databases of both kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope.verifierkey import NoteType, VerifierKey, key_id, parse_verifier_key
from sealwright.log import entries as types
from sealwright.log.entry import SignatureEntry
from sealwright.log.reader import LogReader
from sealwright.log.writer import LogWriter
from sealwright.store.engine import Store, open_store

ORIGIN = "log.acme.example/1"
AT = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)


@dataclass(frozen=True)
class SoftSigner:
    """A log or witness with its key in memory."""

    key: VerifierKey
    private: Ed25519PrivateKey

    @classmethod
    def make(cls, name: str = ORIGIN, kind: NoteType = NoteType.LOG, seed: bytes | None = None) -> SoftSigner:
        """A new one, or the one of a seed of 32 bytes."""
        private = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
        raw = private.public_key().public_bytes_raw()
        return cls(parse_verifier_key(str(VerifierKey(name, key_id(name, kind, raw), kind, raw)), kind), private)

    def sign(self, message: bytes) -> bytes:
        """Ed25519."""
        return self.private.sign(message)


def digest(number: int | str) -> Digest:
    """A digest of something of that number."""
    return Digest(Digest.of(b"").algorithm, sha256(str(number).encode()).digest())


def signature_entry(number: int) -> SignatureEntry:
    """The entry of one signature, as long as real ones are."""
    return SignatureEntry(
        format="detached",
        kind="",
        artifact=digest(f"artifact {number}"),
        signature=digest(f"signature {number}"),
        key=digest("key"),
        certificate=digest("certificate"),
        construction="cms-attributes",
        policy=digest("policy"),
        private=digest(f"private {number}"),
        claims=Claims("VX-200 drive", f"4.2.{number}", number, ("VX-200",), "production"),
    )


def every_entry() -> list[types.AnyEntry]:
    """One of each type, with every field."""
    request, private, policy = "0f" * 16, digest("private"), digest("policy")
    two = (digest("approval 1"), digest("approval 2"))
    about: dict[str, Any] = {"time": AT, "request": request}
    signing: dict[str, Any] = {
        "artifact": digest("artifact"),
        "key": digest("key"),
        "construction": "digest:mcuboot",
        "policy": policy,
    }
    return [
        signature_entry(7),
        types.Request(
            **about,
            asked=digest("asked"),
            prepared=digest("prepared"),
            count=2,
            format="mcuboot",
            **signing,
            expires=AT,
            claimed=types.Claimed.SIGNED,
            claims=Claims("drive", "1", 7, ("a", "b"), "production"),
            private=private,
        ),
        types.Approval(
            **about, asked=digest("asked"), scheme=types.Scheme.WEBAUTHN, approval=two[0], key=digest("approver"),
            policy=policy, private=private,
        ),
        types.Prepare(
            **about, asked=digest("asked"), prepared=digest("prepared"), count=2, scheme=types.Scheme.CMS, approval=two[0],
            key=digest("builder"), policy=policy, private=private,
        ),
        types.Upload(
            **about, item=1, artifact=digest("artifact"), result=types.Result.SAME, policy=policy, private=private,
        ),
        types.Withdrawn(**about, private=private),
        types.Expired(**about),
        types.Refusal(
            **about, stage=types.Stage.SIGN, code="SW-KEY-REFUSED", policy=policy, rules=("production.cedar:12 two",),
            private=private,
        ),
        types.Emergency(**about, approvals=two, policy=policy, until=AT, private=private),
        types.Intent(**about, attempt=1, certificate=digest("certificate"), **signing),
        types.Used(**about, attempt=1, approvals=two, prepares=two[:1], private=private),
        types.FollowUp(**about, outcome=types.Outcome.CONFIRMED, approvals=two, private=private),
        types.Alarm(**about, of=types.RateOf.KEY, per=types.RatePer.HOUR, above=40, since=AT, count=41, key=digest("key")),
        types.PolicyChange(time=AT, policy=policy, edition=2, previous=digest("old"), change=digest("change"), approvals=two, private=private),
        types.KeyChange(
            time=AT, event=types.KeyEvent.ENROLLED, key=digest("key"), algorithm="ecdsa-sha256",
            construction="cms-attributes", purpose="artifact", provenance="hardware-attested", approvals=two,
            private=private,
        ),
        types.CertificateChange(
            time=AT, event=types.CertificateEvent.REVOKED, certificate=digest("certificate"), key=digest("key"),
            reason="keyCompromise", approvals=two, private=private,
        ),
        types.Start(time=AT, replica="ab" * 8, version="0.1.0", policy=policy, edition=2, size=9, unfinished=(request,)),
    ]  # fmt: skip


@contextmanager
def written(url: str, signer: SoftSigner, entries: Sequence[bytes]) -> Iterator[LogReader]:
    """A log with these entries."""
    with opened(url) as store:
        with LogWriter.open(store, signer) as writer:
            for start in range(0, len(entries), 1000):
                writer.append(entries[start : start + 1000]).result()
        yield LogReader(store)


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """A store that is closed again."""
    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def sqlite_url(folder: Path) -> str:
    """A database in a folder."""
    return f"sqlite:///{folder}/log.db"
