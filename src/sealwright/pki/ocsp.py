"""An OCSP responder without its sockets: which status a certificate has, said in signed answers (RFC 6960, RFC 5019).

1. A responder certificate that the authority delegated (id-kp-OCSPSigning) signs; the authority's own key never does unless
   that is asked for by name, so that it can stay offline. One responder answers for several authorities, each with its own.
2. All certificates of one request are of one authority that is served here, else the answer is `unauthorized`: nobody here
   could sign for the others.
3. `good` is said only of what the source knows. A serial that the authority never issued, where the source can know that,
   is `revoked` with id-pkix-ocsp-extended-revoke (RFC 6960 section 2.2): whoever shows such a certificate has forged it, and
   `unknown` would make careless clients go on. Where the source does not know all that was issued, it is `unknown`.
4. An answer with a nonce is signed for that request and never kept. One without is signed once, kept and given out again until
   half of its time is over (RFC 5019), and dropped at once when the certificate's status is another.
5. No answer outlives its responder's certificate or what it was made from.

answer = Responder([Served(issuer, source, delegated(issuer, certificate, key, now))]).respond(request, now)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from hashlib import sha1
from typing import Protocol

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.envelope import ocsp as wire
from sealwright.envelope.ocsp import CertificateId, ResponseStatus
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, SealwrightError
from sealwright.pki.ocspsigner import OcspSigner, issuer_ids

DEFAULT_LIFETIME = timedelta(hours=24)
MIN_KEPT = timedelta(seconds=60)
MAX_KEPT_ANSWERS = 10_000
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_HOLD = 6
_REASONS = {
    x509.ReasonFlags.unspecified: None,  # RFC 5280 section 5.3.1: rather absent
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.certificate_hold: _HOLD,
    x509.ReasonFlags.remove_from_crl: 8,
    x509.ReasonFlags.privilege_withdrawn: 9,
    x509.ReasonFlags.aa_compromise: 10,
}


class State(Enum):
    """What a source knows of a serial. UNKNOWN: it cannot tell; NEVER_ISSUED: it knows that there is no such certificate."""

    GOOD = auto()
    REVOKED = auto()
    UNKNOWN = auto()
    NEVER_ISSUED = auto()


@dataclass(frozen=True, slots=True)
class Status:
    """time, reason, invalid: of REVOKED only. On hold is REVOKED with the reason certificate_hold."""

    state: State
    time: datetime = _NEVER
    reason: x509.ReasonFlags | None = None
    invalid: datetime | None = None


GOOD = Status(State.GOOD)
UNKNOWN = Status(State.UNKNOWN)
NEVER_ISSUED = Status(State.NEVER_ISSUED)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a source says is as of `since` and good until `until` (None: it is always up to date).

    keeps_ended: certificates that ended since then are still answered for; None where they are forgotten.
    """

    since: datetime
    until: datetime | None
    keeps_ended: datetime | None


class StatusSource(Protocol):
    """What is known of one authority's certificates."""

    def refresh(self, now: datetime) -> Knowledge:
        """Notice what changed; called before each answer, so it must cost next to nothing. SealwrightError: ask later."""
        ...

    def status(self, serial: int) -> Status:
        """The status of a serial, as of the last refresh."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """One authority: its certificate (DER), what is known of its certificates, who signs, and why that one must not any more."""

    issuer: bytes
    source: StatusSource
    signer: OcspSigner
    standing: Callable[[datetime], str] = lambda _: ""


@dataclass(frozen=True, slots=True)
class Fresh:
    """When an answer without nonce was made and until when it counts, for HTTP's caches (RFC 5019 section 6.2)."""

    this_update: datetime
    next_update: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class Answer:
    """body: an OCSPResponse in DER; fresh: None where it must not be cached; why: of an error, for the operator."""

    body: bytes
    status: ResponseStatus
    fresh: Fresh | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """An answer that lacks its signature only. keep: under which CertID it may be kept, with the status it says."""

    signer: OcspSigner
    data: bytes
    this_update: datetime
    next_update: datetime
    keep: tuple[bytes, Status] | None

    @property
    def to_be_signed(self) -> ToBeSigned:
        """For the signer's key."""
        algorithm = self.signer.key.info.algorithm
        if algorithm.signs_message:
            return ToBeSigned(Kind.MESSAGE, self.data, algorithm)
        return ToBeSigned(Kind.DIGEST, Digest.of(self.data, algorithm.digest).value, algorithm)


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    status: Status
    made: datetime
    until: datetime


class Responder:
    """Answers for its authorities; used by one thread. What `plan` leaves unsigned may be signed in another one."""

    def __init__(self, served: Sequence[Served], lifetime: timedelta = DEFAULT_LIFETIME) -> None:
        self.lifetime = lifetime
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self.served = tuple(served)
        self._served = {id_: one for one in served for id_ in issuer_ids(one.issuer)}

    def respond(self, request: bytes, now: datetime) -> Answer:
        """The answer to a request, signed where it deserves one; never an exception for what the request or the key does."""
        planned = self.plan(request, now)
        if isinstance(planned, Answer):
            return planned
        try:
            value = planned.signer.key.sign([planned.to_be_signed])[0]
        except SealwrightError as cause:
            return failed(cause)
        return self.finish(planned, value)

    def plan(self, request: bytes, now: datetime) -> Answer | Unsigned:
        """An error or a kept answer at once, else one that is to be signed."""
        try:
            read = wire.read_request(request)
        except SealwrightError as cause:
            return _error(ResponseStatus.MALFORMED_REQUEST, cause.what)
        served = self._authority(read.certificates)
        if served is None:
            return _error(ResponseStatus.UNAUTHORIZED, "certificates of an issuer that is not served here")
        try:
            known = served.source.refresh(now)
            if why := served.standing(now):
                return _error(ResponseStatus.INTERNAL_ERROR, f"the responder must not answer: {why}")
            statuses = [served.source.status(one.serial) for one in read.certificates]
        except SealwrightError as cause:
            return failed(cause)
        single = len(statuses) == 1 and not read.nonce
        if single and (kept := self._kept_for(read.certificates[0].encoded, statuses[0], now)):
            return kept
        return self._unsigned(served, read, statuses, known, now)

    def finish(self, unsigned: Unsigned, value: bytes) -> Answer:
        """The answer with its signature value; kept where it may be."""
        signer = unsigned.signer
        identifier = wire.signature_identifier(signer.key.info.algorithm)
        body = wire.basic_response(unsigned.data, identifier, value, signer.certificates)
        if unsigned.keep is None:
            return Answer(body, ResponseStatus.SUCCESSFUL)
        made, end = unsigned.this_update, unsigned.next_update
        etag = sha1(body, usedforsecurity=False).hexdigest()
        answer = Answer(body, ResponseStatus.SUCCESSFUL, Fresh(made, end, etag))
        encoded, status = unsigned.keep
        self._kept[encoded] = _Kept(answer, status, made, min(end, made + max((end - made) / 2, MIN_KEPT)))
        self._kept.move_to_end(encoded)
        if len(self._kept) > MAX_KEPT_ANSWERS:
            self._kept.popitem(last=False)
        return answer

    def _authority(self, certificates: Sequence[CertificateId]) -> Served | None:
        found = [self._served.get((one.algorithm, one.name_hash, one.key_hash)) for one in certificates]
        return found[0] if all(one is found[0] for one in found) else None

    def _kept_for(self, encoded: bytes, status: Status, now: datetime) -> Answer | None:
        kept = self._kept.get(encoded)
        if kept is None:
            return None
        if kept.status != status or not kept.made <= now < kept.until:
            del self._kept[encoded]
            return None
        self._kept.move_to_end(encoded)
        return kept.answer

    def _unsigned(
        self, served: Served, read: wire.OcspRequest, statuses: Sequence[Status], known: Knowledge, now: datetime
    ) -> Answer | Unsigned:
        signer = served.signer
        now = now.astimezone(UTC).replace(microsecond=0)
        if not signer.not_before <= now < signer.not_after:
            return _error(
                ResponseStatus.INTERNAL_ERROR, f"the responder's certificate ended on {signer.not_after:%Y-%m-%d %H:%M}"
            )
        end = min(now + self.lifetime, signer.not_after, known.until or signer.not_after)
        if end <= now:
            return _error(ResponseStatus.TRY_LATER, f"what it is answered from ended on {end:%Y-%m-%d %H:%M}")
        since = min(known.since.astimezone(UTC).replace(microsecond=0), now)
        singles = [
            _single(one, status, since, end, known.keeps_ended)
            for one, status in zip(read.certificates, statuses, strict=True)
        ]
        extensions = [wire.nonce_echo(read.nonce)] if read.nonce else []
        if NEVER_ISSUED in statuses:
            extensions.append(wire.extended_revoke())
        data = wire.response_data(signer.key_hash, now, singles, extensions)
        keeps = len(statuses) == 1 and not read.nonce and statuses[0].state in (State.GOOD, State.REVOKED)
        return Unsigned(signer, data, now, end, (read.certificates[0].encoded, statuses[0]) if keeps else None)


def failed(cause: SealwrightError) -> Answer:
    """The OCSP error for an error of ours: a key that must not be used stays so, anything else may be mended."""
    mended = not isinstance(cause, KeyRefused)
    return _error(ResponseStatus.TRY_LATER if mended else ResponseStatus.INTERNAL_ERROR, str(cause))


def busy() -> Answer:
    """The OCSP error for more requests than can be signed."""
    return _error(ResponseStatus.TRY_LATER, "more requests wait than can be signed")


def _error(status: ResponseStatus, why: str) -> Answer:
    return Answer(wire.error_response(status), status, why=why)


def _single(one: CertificateId, status: Status, since: datetime, end: datetime, keeps_ended: datetime | None) -> bytes:
    extensions = []
    match status.state:
        case State.GOOD:
            word = wire.GOOD
        case State.UNKNOWN:
            word = wire.UNKNOWN
        case State.NEVER_ISSUED:
            word = wire.revoked(_NEVER, _HOLD)
        case State.REVOKED:
            word = wire.revoked(status.time, _REASONS[status.reason] if status.reason is not None else None)
            if status.invalid is not None:
                extensions.append(wire.invalidity_date(status.invalid))
    if keeps_ended is not None and status.state in (State.GOOD, State.REVOKED):
        extensions.append(wire.archive_cutoff(keeps_ended))
    return wire.single_response(one.encoded, word, since, end, extensions)
