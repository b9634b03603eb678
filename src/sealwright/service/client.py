"""A client of the signing service: what a person or a build system asks it, and the service as the place where `sign` signs.

    with Client(Address("https://sign.acme.example", "me.pem", "me.key", "ca.pem")) as client:
        standing = client.ask("release", items)
        client.approve(standing.id, approval)

The client believes the service nothing that it can check (`ServicePlace`): it builds the signed attributes itself from certificate,
digest and time, verifies every value with the certificate's key, and sees that the log's proof is of this very signature. Asking is
said with a word of its own, so that a request whose answer was lost is asked again and not made twice.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, TypeVar, cast

import httpx
import msgspec
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
from sealwright.log.canonical import read_time
from sealwright.log.entry import read_entry
from sealwright.log.entryfields import Outcome
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.log.proof import read_proof
from sealwright.pki.timestamppool import Pool, Stamp
from sealwright.service.citokens import TokenSource
from sealwright.service.fileupload import Files, file_upload
from sealwright.service.wire import (
    Ask,
    Challenge,
    GivenApproval,
    GivenFollowUp,
    Items,
    Keys,
    Previous,
    Problem,
    Proofs,
    Signatures,
    StandingRequest,
    WireCredential,
    WireItem,
    WireKey,
    WireProvenance,
)
from sealwright.service.wire import Requests as Page
from sealwright.signing.approval import Approval
from sealwright.signing.items import Item, item_of
from sealwright.signing.pending import Pending
from sealwright.signing.pipeline import Made
from sealwright.signing.stamps import NONE, Missing, NoStamper, PoolStamper, Stamper
from sealwright.trust.certificate import display_name

ANSWER_S = 90.0
MAX_ANSWER = 256 << 20
POLL_S = 50
TRIES = 3
RESTART_S = 2.0
_AGAIN = "Ask again in a moment; nothing is signed twice."
_Body = TypeVar("_Body")
_STRANGE = "Stop, and tell the operator of the service: it answers what it must not."


@dataclass(frozen=True, slots=True)
class Address:
    """url: https; certificate, key: of the client, PEM files, "" where it shows tokens; ca_file: the only authorities for the service, PEM."""

    url: str
    certificate: str
    key: str
    ca_file: str


class Client:
    """A connection to a service, of one thread. To be closed. tokens: of a CI system, in place of a certificate."""

    def __init__(self, address: Address, tokens: TokenSource | None = None) -> None:
        if not address.url.startswith("https://"):
            raise UsageError(address.url[:80], "a signing service speaks HTTPS", "Write https://HOST:PORT.")
        self.url = address.url.rstrip("/")
        try:
            context = ssl.create_default_context(cafile=address.ca_file)
            if tokens is None:
                context.load_cert_chain(address.certificate, address.key)
        except (OSError, ssl.SSLError) as cause:
            raise UsageError(
                self.url, f"its certificates cannot be read ({cause})", "Check --service-ca, --client and --client-key."
            ) from cause
        self._tokens = tokens
        self._tickets: dict[str, str] = {}  # by the path of the request that each reads
        self._http = httpx.Client(verify=context, trust_env=False, follow_redirects=False, timeout=ANSWER_S)

    def ask(
        self,
        key: str,
        items: Sequence[Item],
        *,
        reason: str = "",
        emergency: bool = False,
        provenance: bytes = b"",
        word: str = "",
        wait_s: int = POLL_S,
    ) -> StandingRequest:
        """Ask for signatures, and wait so long for them; asked again by the same word where no answer came. word: one's own, "" for a new one."""
        lines = [WireItem(one.line.decode(), one.content) for one in items]
        body = msgspec.json.encode(Ask(key, lines, reason, emergency, provenance or None, wait_s=wait_s))
        headers = {"idempotency-key": word or secrets.token_hex(16)}
        for left in range(TRIES - 1, -1, -1):
            try:
                asked = self._post("/v1/requests", body, StandingRequest, headers)
            except ServiceUnavailable:
                if not left or (self._tokens is not None and not self._tokens.has_more()):
                    raise
                time.sleep(1)
            else:
                if asked.ticket:
                    self._tickets[f"/v1/requests/{asked.id}"] = asked.ticket
                return asked
        raise AssertionError("the loop ends by itself")

    def standing(self, id_: str, wait_s: int = 0) -> StandingRequest:
        """How a request stands, after waiting so long for it to be signed or over."""
        return self._get(f"/v1/requests/{id_}?wait_s={wait_s}", StandingRequest)

    def listed(self, state: str = "waiting", after: int = 0) -> Page:
        """A page of the requests that the caller may see."""
        return self._get(f"/v1/requests?state={state}&after={after}", Page)

    def items(self, id_: str) -> list[Item]:
        """Everything that a request asks to sign."""
        found: list[Item] = []
        first: int | None = 0
        while first is not None:
            page = self._get(f"/v1/requests/{id_}/items?first={first}", Items)
            found += [Item(one.line.encode(), one.content) for one in page.items]
            first = page.next
        return found

    def approve(self, id_: str, approval: Approval) -> StandingRequest:
        """Hand an approval in."""
        body = msgspec.json.encode(GivenApproval(approval.scheme.value, approval.proof))
        return self._post(f"/v1/requests/{id_}/approvals", body, StandingRequest)

    def prepare(self, id_: str, word: Approval) -> StandingRequest:
        """Hand in what was signed over an own copy that came to the same (`signing/preparers.py`)."""
        body = msgspec.json.encode(GivenApproval(word.scheme.value, word.proof))
        return self._post(f"/v1/requests/{id_}/prepares", body, StandingRequest)

    def upload(self, id_: str, number: int, path: str) -> StandingRequest:
        """Upload the file of an item, for the service to prepare it itself; ServiceRefused where it comes to something else."""
        with file_upload(path) as file:
            return self._told("PUT", f"/v1/requests/{id_}/files/{number}", file.blocks, StandingRequest, file.headers)

    def credentials(self, id_: str) -> list[WireCredential]:
        """The authenticators' credentials by which the caller approves; the challenge is computed from the request that was shown."""
        return self._get(f"/v1/requests/{id_}/challenge", Challenge).credentials

    def previous(self, id_: str) -> StandingRequest | None:
        """The release before a request, None where the service knows of none."""
        return self._get(f"/v1/requests/{id_}/previous", Previous).request

    def owed(self) -> list[StandingRequest]:
        """The emergencies that nobody has settled, of those that the caller may see; the oldest hundred."""
        return self._get("/v1/follow-ups", Page).requests

    def follow_up(self, id_: str, outcome: Outcome, word: Approval) -> StandingRequest:
        """Hand an officer's word on an emergency in."""
        body = msgspec.json.encode(GivenFollowUp(outcome.value, word.scheme.value, word.proof))
        return self._post(f"/v1/requests/{id_}/follow-ups", body, StandingRequest)

    def attempt(self, id_: str) -> StandingRequest:
        """Have signed again what failed."""
        return self._post(f"/v1/requests/{id_}/attempts", b"{}", StandingRequest)

    def provenance(self, id_: str) -> WireProvenance:
        """The build provenance that came with a request that names one."""
        return self._get(f"/v1/requests/{id_}/provenance", WireProvenance)

    def withdraw(self, id_: str) -> StandingRequest:
        """Take a request back."""
        return self._post(f"/v1/requests/{id_}/withdrawal", b"{}", StandingRequest)

    def served(self) -> list[WireKey]:
        """The keys that the caller may ask for."""
        return self._get("/v1/keys", Keys).keys

    def signatures(self, id_: str) -> dict[int, tuple[bytes, datetime]]:
        """Values and the times in their attributes, by item."""
        found: dict[int, tuple[bytes, datetime]] = {}
        first: int | None = 0
        while first is not None:
            page = self._get(f"/v1/requests/{id_}/signatures?first={first}", Signatures)
            try:
                found |= {one.item: (one.value, read_time(one.time)) for one in page.signatures}
            except ValueError as cause:
                raise self._strange("a time that is none") from cause
            first = page.next
        return found

    def proofs(self, id_: str) -> dict[int, bytes]:
        """The log's proofs, by item."""
        found: dict[int, bytes] = {}
        first: int | None = 0
        while first is not None:
            page = self._get(f"/v1/requests/{id_}/proofs?first={first}", Proofs)
            found |= page.proofs
            first = page.next
        return found

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, path: str, kind: type[_Body]) -> _Body:
        return self._told("GET", path, b"", kind, {})

    def _post(self, path: str, body: bytes, kind: type[_Body], headers: Mapping[str, str] | None = None) -> _Body:
        return self._told("POST", path, body, kind, {"content-type": "application/json", **(headers or {})})

    def _told(
        self, method: str, path: str, body: bytes | Iterable[bytes], kind: type[_Body], headers: Mapping[str, str]
    ) -> _Body:
        sent = {**headers, **self._authorization(method, path)}
        try:
            with self._http.stream(method, self.url + path, content=body or None, headers=sent) as answer:
                data = b""
                for block in answer.iter_bytes():
                    data += block
                    if len(data) > MAX_ANSWER:
                        raise self._strange("without end")
        except (httpx.HTTPError, ssl.SSLError) as cause:
            raise ServiceUnavailable(self.url, f"{type(cause).__name__}: {cause}"[:300], _AGAIN) from cause
        try:
            if answer.status_code < 300:
                return msgspec.json.decode(data, type=kind)
            problem = msgspec.json.decode(data, type=Problem)
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            raise self._strange(f"{answer.status_code} and no JSON of a signing service") from cause
        told = f"{problem.detail} ({problem.code})"[:500]
        if problem.status in (500, 502, 503, 504):
            raise ServiceUnavailable(self.url, told, problem.next_step[:300] or _AGAIN)
        raise ServiceRefused(self.url, told, problem.next_step[:300] or "Ask its operator.")

    def _authorization(self, method: str, path: str) -> dict[str, str]:
        """The ticket of a request, else a new token, where no certificate says who asks."""
        if self._tokens is None:
            return {}
        asked = path.partition("?")[0].removesuffix("/signatures").removesuffix("/proofs")
        ticket = self._tickets.get(asked) if method == "GET" else None
        return {"authorization": f"Bearer {ticket or self._tokens.next()}"}

    def _strange(self, what: str) -> ServiceUnavailable:
        return ServiceUnavailable(self.url, f"it answers {what}", _STRANGE)


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

    emergency: it cannot wait for what is usual; files: whether they are uploaded; wait_s: how long signatures may take, approvals and all; watched: gets each answer on the
    way; origin: what a CI job says of its run, None for a person.
    """

    timestamp = (NONE,)
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
        keys = [ServiceKey(self, one) for one in self.client.served()]
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
            raise place.client._strange(f"with a key that cannot be: {cause}"[:200]) from cause
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
            raise self.place.client._strange("without a signature for what was asked")
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
            subject, f"its proof that the log has the signature does not hold: {cause}", _STRANGE
        ) from cause


class OpenService:
    """A service with one of its keys."""

    proofs = True

    def __init__(self, key: ServiceKey) -> None:
        self.key = key

    def stamper(
        self, wanted: Sequence[str], *, number: int, missing: Missing, clock: Callable[[], datetime]
    ) -> Stamper:
        """Authorities by their URLs; there is no home whose own one could stamp, nor one that remembers what is to come."""
        del clock
        if missing is Missing.LATER or tuple(wanted) == ("local",):
            raise UsageError(
                "--timestamp",
                "behind a service there is no home for it",
                "Name authorities with --timestamp URL, or none.",
            )
        return NoStamper() if tuple(wanted) == (NONE,) else PoolStamper(Pool(tuple(wanted)), number, missing)

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
