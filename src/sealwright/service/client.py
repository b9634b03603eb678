"""A client of the signing service: what a person or a build system asks it.

    with Client(Address("https://sign.acme.example", "me.pem", "me.key", "ca.pem")) as client:
        standing = client.ask("release", items)
        client.approve(standing.id, approval)

What `sign` does with it, and what it believes, is in `serviceplace.py`. Asking is said with a word of its own, so that a request whose
answer was lost is asked again and not made twice.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TypeVar

import httpx
import msgspec

from sealwright.errors import (
    SealwrightError,
    ServiceRefused,
    ServiceUnavailable,
    UsageError,
)
from sealwright.log.canonical import read_time
from sealwright.log.entryfields import Outcome
from sealwright.pki.timestamp import REQUEST_TYPE
from sealwright.service.citokens import TokenSource
from sealwright.service.fileupload import file_upload
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
    WireProvenance,
)
from sealwright.service.wire import Requests as Page
from sealwright.signing.approval import Approval
from sealwright.signing.items import Item

ANSWER_S = 90.0
MAX_ANSWER = 256 << 20
POLL_S = 50
TIMESTAMPS = "/v1/timestamps"
TRIES = 3
_AGAIN = "Ask again in a moment; nothing is signed twice."
_Body = TypeVar("_Body")
STRANGE = "Stop, and tell the operator of the service: it answers what it must not."


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

    def served(self) -> Keys:
        """The keys that the caller may ask for, and what else is offered."""
        return self._get("/v1/keys", Keys)

    def signatures(self, id_: str) -> dict[int, tuple[bytes, datetime]]:
        """Values and the times in their attributes, by item."""
        found: dict[int, tuple[bytes, datetime]] = {}
        first: int | None = 0
        while first is not None:
            page = self._get(f"/v1/requests/{id_}/signatures?first={first}", Signatures)
            try:
                found |= {one.item: (one.value, read_time(one.time)) for one in page.signatures}
            except ValueError as cause:
                raise self.strange("a time that is none") from cause
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

    def timestamp(self, query: bytes) -> bytes:
        """The answer of the service's timestamp authority to a query (RFC 3161), not yet checked."""
        headers = {"content-type": REQUEST_TYPE}
        status, data = self._answered("POST", TIMESTAMPS, query, headers)
        if status >= 300:
            raise self._refused(status, data)
        return data

    def look(self, path: str, kind: type[_Body]) -> _Body:
        """What a resource that is only read says, such as a page of a fleet's service (`fleetwire.py`). path: with its query."""
        return self._get(path, kind)

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
        status, data = self._answered(method, path, body, headers)
        if status >= 300:
            raise self._refused(status, data)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            raise self.strange(f"{status} and no JSON of a signing service") from cause

    def _answered(
        self, method: str, path: str, body: bytes | Iterable[bytes], headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Status and body; ServiceUnavailable where nothing came."""
        sent = {**headers, **self._authorization(method, path)}
        try:
            with self._http.stream(method, self.url + path, content=body or None, headers=sent) as answer:
                data = b""
                for block in answer.iter_bytes():
                    data += block
                    if len(data) > MAX_ANSWER:
                        raise self.strange("without end")
        except (httpx.HTTPError, ssl.SSLError) as cause:
            raise ServiceUnavailable(self.url, f"{type(cause).__name__}: {cause}"[:300], _AGAIN) from cause
        return answer.status_code, data

    def _refused(self, status: int, data: bytes) -> SealwrightError:
        """The error for a problem."""
        try:
            problem = msgspec.json.decode(data, type=Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self.strange(f"{status} and no JSON of a signing service")
        told = f"{problem.detail} ({problem.code})"[:500]
        if problem.status in (500, 502, 503, 504):
            return ServiceUnavailable(self.url, told, problem.next_step[:300] or _AGAIN)
        return ServiceRefused(self.url, told, problem.next_step[:300] or "Ask its operator.")

    def _authorization(self, method: str, path: str) -> dict[str, str]:
        """The ticket of a request, else a new token, where no certificate says who asks."""
        if self._tokens is None:
            return {}
        if path == TIMESTAMPS:
            ticket = next(reversed(self._tickets.values()), None)
        else:
            asked = path.partition("?")[0].removesuffix("/signatures").removesuffix("/proofs")
            ticket = self._tickets.get(asked) if method == "GET" else None
        return {"authorization": f"Bearer {ticket or self._tokens.next()}"}

    def strange(self, what: str) -> ServiceUnavailable:
        """The error for an answer that no signing service gives."""
        return ServiceUnavailable(self.url, f"it answers {what}", STRANGE)
