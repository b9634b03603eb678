"""A signing service as the place where `sign` signs (`signing/place.py`).

    place = ServicePlace(client, reason="line 3")

The service is believed nothing that can be checked: the signed attributes are built here from certificate, digest and time, every value is
verified with the certificate's key, the log's proof must be of this very signature, and a timestamp of this very value. Who is asked for
timestamps is the service itself, where it has an authority, unless `sign` was told another or none.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, cast

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import (
    ALGORITHMS,
    PublicKey,
    SignatureAlgorithm,
    check_digest_signature,
    check_signature,
)
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.cms_write import SigningCertificate, signing_certificate
from sealwright.envelope.construct import asked_of_key, attributes_of, built
from sealwright.envelope.kinds import KINDS, ContentKind
from sealwright.envelope.tobesigned import Kind
from sealwright.envelope.tsp import read_response, read_token, timestamp_request
from sealwright.errors import (
    BadSignature,
    RequestRefused,
    SealwrightError,
    ServiceRefused,
    ServiceUnavailable,
    StillWaiting,
    UsageError,
)
from sealwright.findings import Finding
from sealwright.formats.format import Prepared, Sealed
from sealwright.keys.pin import Pin
from sealwright.log.entry import read_entry
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.log.proof import read_proof
from sealwright.pki.timestamppool import Pool, Stamp
from sealwright.service.client import POLL_S, STRANGE, TIMESTAMPS, Client
from sealwright.service.fileupload import Files
from sealwright.service.wire import StandingRequest, WireKey
from sealwright.signing.items import Item, item_of
from sealwright.signing.pending import Pending
from sealwright.signing.pipeline import Made
from sealwright.signing.stamps import LOCAL, NONE, Missing, NoStamper, PoolStamper, Stamper
from sealwright.trust.certificate import display_name

RESTART_S = 2.0
SERVICE = "service"


class Origin(Protocol):
    """Where what is asked for comes from."""

    def statement(self, artifacts: Sequence[Prepared]) -> bytes:
        """Its build provenance."""
        ...

    def word(self, key: str, items: Sequence[Item], provenance: bytes) -> str:
        """The same for the same run and the same artifacts, "" for a new one."""
        ...


class ServicePlace:
    """A service as the place where `sign` signs (`signing/place.py`). said: gets a line when approvals are waited for.

    emergency: it cannot wait for what is usual; files: whether they are uploaded; wait_s: how long signatures may take, approvals and all;
    watched: gets each answer on the way; origin: what a CI job says of its run, None for a person.
    """

    stamps_later = False

    def __init__(
        self,
        client: Client,
        *,
        reason: str = "",
        emergency: bool = False,
        files: Files = Files.STAY,
        wait_s: float = 3600,
        said: Callable[[StandingRequest], None] = lambda _: None,
        watched: Callable[[StandingRequest], None] = lambda _: None,
        origin: Origin | None = None,
    ) -> None:
        self.client = client
        self.timestamp: tuple[str, ...] = (NONE,)  # until it is opened: the service says whether it has an authority
        self.watched = watched
        self.origin = origin
        self.reason = reason
        self.emergency = emergency
        self.files = files
        self.wait_s = wait_s
        self.said = said

    def open(self, wanted: str | None, kind: ContentKind, form: str, pin: Pin | None) -> OpenService:
        """The key of that name, else the first that signs the kind."""
        if pin is not None:
            raise UsageError("--pin-file", "the service has its own", "Leave it out.")
        served = self.client.served()
        self.timestamp = (SERVICE,) if served.timestamps else (NONE,)
        keys = [ServiceKey(self, one) for one in served.keys]
        named = [one for one in keys if one.name == wanted] if wanted is not None else keys
        for key in named:
            if key.signs(kind):
                return OpenService(key)
        known = ", ".join(one.name for one in keys) or "none"
        raise UsageError(
            f"key {wanted}" if wanted else self.client.url,
            f"there is no key for {form or kind.name} in service",
            f"In service for you: {known}.",
        )


class ServiceKey:
    """A key behind a service."""

    def __init__(self, place: ServicePlace, told: WireKey) -> None:
        self.place = place
        self.told = told
        self.name, self.provenance = told.name, told.provenance
        found = next((one for one in ALGORITHMS if one.name == told.algorithm), None)
        try:
            if found is None:
                raise ValueError(f"an algorithm {told.algorithm[:80]}")
            self.algorithm: SignatureAlgorithm = found
            loaded = x509.load_der_x509_certificate(told.certificate)
            self.certificate: SigningCertificate = signing_certificate(told.certificate, tuple(told.chain), found)
            self._public = cast("PublicKey", loaded.public_key())
        except UNREADABLE as cause:
            raise place.client.strange(f"with a key that cannot be: {cause}"[:200]) from cause
        self.subject = display_name(loaded.subject)
        self.end = loaded.not_valid_after_utc

    def signs(self, kind: ContentKind) -> bool:
        """Whether it is enrolled for the kind's construction, and the kind's verifiers read its signatures."""
        return self.told.construction == kind.construction.value and self.algorithm.scheme in kind.schemes

    def sign(self, batch: Sequence[Prepared], now: datetime) -> list[Made]:  # noqa: ARG002 - the service's clock counts
        """Ask, wait for approvals, and believe nothing that can be checked."""
        client = self.place.client
        items, origin = [item_of(prepared) for prepared in batch], self.place.origin
        provenance = b"" if origin is None else origin.statement(batch)
        standing = client.ask(
            self.name,
            items,
            reason=self.place.reason,
            emergency=self.place.emergency,
            provenance=provenance,
            word="" if origin is None else origin.word(self.name, items, provenance),
        )
        if origin is not None and standing.state == "failed":  # when the same run asked before
            standing = client.attempt(standing.id)
        until = time.monotonic() + self.place.wait_s
        if standing.state == "waiting":
            self.place.said(standing)
            if self.place.files is Files.UPLOADED:
                for number, prepared in enumerate(batch):
                    standing = client.upload(standing.id, number, prepared.path)
        while standing.state in ("waiting", "signing"):
            left = until - time.monotonic()
            if left <= 0:
                raise StillWaiting(
                    client.url, f"request {standing.id} is still {standing.state}", "Nothing was written; ask again."
                )
            self.place.watched(standing)
            try:
                standing = client.standing(standing.id, wait_s=max(1, min(POLL_S, int(left))))
            except ServiceUnavailable:
                if time.monotonic() + RESTART_S > until:
                    raise
                time.sleep(RESTART_S)  # it may be starting again, and the request is recorded
        if standing.state != "signed":
            why = f"request {standing.id} is {standing.state}" + (f": {standing.problem}" if standing.problem else "")
            raise ServiceRefused(client.url, why[:500], "Ask again where you need the signatures.")
        values, proofs = client.signatures(standing.id), client.proofs(standing.id)
        return [
            self._checked(prepared, values.get(number), proofs.get(number, b""), standing.id)
            for number, prepared in enumerate(batch)
        ]

    def sealed(self, made: Made, tokens: Sequence[bytes] = ()) -> Sealed:
        """A signature as its verifiers read it."""
        kind, content = KINDS[made.prepared.kind], made.prepared.content
        envelope = built(self.certificate, kind, made.attributes, made.value, tokens, content)
        return Sealed(envelope, made.value, self.certificate.der, self.algorithm)

    def _checked(self, prepared: Prepared, answer: tuple[bytes, datetime] | None, proof: bytes, request: str) -> Made:
        """A signature that holds over what was prepared here, and the proof of this very one; BadSignature."""
        if answer is None:
            raise self.place.client.strange("without a signature for what was asked")
        value, time_ = answer
        kind, subject = KINDS[prepared.kind], self.place.client.url
        digest = prepared.digests[kind.digest_name(self.algorithm)]
        attributes = attributes_of(self.certificate, kind, digest, time_, prepared.name)
        asked = asked_of_key(self.certificate, kind, digest, attributes)
        if asked.kind is Kind.DIGEST:
            check_digest_signature(
                self._public, self.algorithm, value, Digest(self.algorithm.digest, asked.data), subject=subject
            )
        else:
            check_signature(self._public, self.algorithm, value, asked.data, subject=subject)
        _check_proof(proof, value, subject)
        return Made(prepared, attributes, value, request, proof)


def _check_proof(data: bytes, value: bytes, subject: str) -> None:
    """The proof's entry is of this signature, and leads to its checkpoint; whose checkpoint that is, verifiers judge."""
    try:
        proof = read_proof(data, subject)
        entry = read_entry(proof.entry)
        checkpoint = proof.checkpoint
        if root_of(leaf_hash(proof.entry), proof.leaf, checkpoint.size, proof.hashes) != checkpoint.root:
            raise ValueError("it leads to another root")
        if entry.signature != Digest.of(value):
            raise ValueError("it is of another signature")
    except (ValueError, SealwrightError) as cause:
        raise BadSignature(
            subject, f"its proof that the log has the signature does not hold: {cause}", STRANGE
        ) from cause


class OpenService:
    """A service with one of its keys."""

    proofs = True

    def __init__(self, key: ServiceKey) -> None:
        self.key = key

    def stamper(
        self, wanted: Sequence[str], *, number: int, missing: Missing, clock: Callable[[], datetime]
    ) -> Stamper:
        """The service's own authority, or others by their URLs; there is no home whose own one could stamp, nor one that remembers what is to come."""
        del clock
        names = tuple(wanted)
        if missing is Missing.LATER or names == (LOCAL,):
            raise UsageError(
                "--timestamp",
                "behind a service there is no home for it",
                "Name authorities with --timestamp URL, or none.",
            )
        if names == (NONE,):
            return NoStamper()
        if names != (SERVICE,):
            return PoolStamper(Pool(names), number, missing)
        if number > 1:
            raise UsageError("--timestamps", "the service has one authority", "Name several with --timestamp.")
        return ServiceStamper(self.key.place.client)

    def strangers(self, stamps: Iterable[Stamp], now: datetime) -> Mapping[bytes, Finding]:
        """Nobody's trust file is asked here."""
        del stamps, now
        return {}

    def defer(self, items: Sequence[Pending]) -> None:
        """Nothing is ever to come."""
        if items:
            raise RequestRefused("timestamps", "behind a service none can come later", "Stamp at once.")

    def forget(self, item: Pending) -> None:
        """Nothing was kept."""
        del item

    def close(self) -> None:
        """The client is closed by who opened it."""


class ServiceStamper:
    """The timestamp authority of a service; each answer is checked before it is used, as any other authority's."""

    wanted = 1

    def __init__(self, client: Client) -> None:
        self._client = client

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        """As `Stamper` says; ServiceUnavailable, or what the answer is not."""
        return [(self._stamp(one),) for one in imprints]

    def _stamp(self, imprint: Digest) -> Stamp:
        nonce, name = secrets.randbits(63), f"{self._client.url}{TIMESTAMPS}"
        token = read_response(self._client.timestamp(timestamp_request(imprint, nonce)), imprint, nonce, name)
        read = read_token(token, name)
        return Stamp(token, read.gen_time, name, read.certificate)

    def close(self) -> None:
        """The client is closed by who opened it."""
