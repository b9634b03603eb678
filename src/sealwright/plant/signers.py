"""Who signed a file, as the file itself says it: no trust file, no keys, no network. Never a word on whether to trust it.

1. The envelopes are found and the delivered bytes digested as `verify` does it (`formats/registry.py`).
2. Each signature has a `State`. INTACT says that the bytes are those that were signed and that the signature verifies with the
   certificate carried beside it. Anybody can make such a certificate, with any name in it: that is no trust.
3. What is too weak to count (SHA-1, MD5, RSA below 2048 bits, ROCA) is WEAK, whether it holds or not, and says whose it is.
4. Bare signatures (kernel modules, MCUboot, FIT, ESP32, IMA) often carry no certificate: BARE, with the name or key hash that
   the file gives. Their content is compared where the file says its digest; the signature value needs the key.
5. What begins with the first line of a record, a trust file or another statement of ours is one, and is no artifact: its signature has
   to be of that kind (RULES 1), which is then its format.
6. A timestamp is checked against the signature and with its own certificate; whose word on time counts is not asked here either.

    seen = look("drive.bin")
    for one in seen.signatures: print(one.state, one.subject, one.not_after)
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.source import OpenArtifact
from sealwright.envelope.algorithms import PublicKey, algorithm_for, key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.cms import BrokenSigner, Signer, check_signer
from sealwright.envelope.kinds import BACKUP, CEREMONY, DENY, LOSS, RECORD, TRANSCRIPT, TRUST
from sealwright.envelope.tsp import check_token, read_token
from sealwright.errors import SealwrightError, UnknownSigner
from sealwright.findings import Finding, Severity, reject
from sealwright.formats.detached import NAME as DETACHED
from sealwright.formats.format import Candidate, Found, Search, Slot
from sealwright.formats.registry import find
from sealwright.formats.sidecar import own_late_tokens
from sealwright.plant.officers import SIGNED_BY_OFFICERS, officers_candidates
from sealwright.trust.certificate import display_name, weak_hash

MAX_CHAIN = 8
_WEAK = "SW-ALGORITHM-WEAK"
# what says that bytes could not be made sense of, not that they are other bytes than were signed
_UNREAD = frozenset(
    ("SW-SIGNATURE-MALFORMED", "SW-ARTIFACT-MALFORMED", "SW-LIMIT", "SW-FILE-UNREADABLE", "SW-FILE-CHANGING")
)
_MISSING = "SW-SIGNATURE-MISSING"
_PART = "SW-PART-UNSIGNED"
# statements that lie about by themselves; those about something beside them are formats of their own
STATEMENTS = frozenset(kind.name for kind in (RECORD, TRUST, DENY, CEREMONY, TRANSCRIPT, BACKUP, LOSS))
_FIRST_LINE = re.compile(rb"# sealwright ([a-z]{1,16}) 1\n")


class State(StrEnum):
    """What a signature, or a file by the most telling of its signatures, is worth before anybody is trusted."""

    BROKEN = "broken"
    UNREADABLE = "unreadable"
    INTACT = "intact"
    BARE = "bare"
    WEAK = "weak"
    UNSIGNED = "unsigned"


_TELLING = list(State)


class CertificateSeen(NamedTuple):
    """A carried certificate. certificate: of its TBSCertificate, as rules and denials name it; key: None where it cannot be read.

    subject, issuer: escaped for the screen; weakness: why it is too weak to count, "" where it is not; by_itself: whether subject
    and issuer are one name; der: as it came.
    """

    subject: str
    issuer: str
    certificate: Digest
    key: Digest | None
    not_before: datetime
    not_after: datetime
    weakness: str
    by_itself: bool
    der: bytes


class StampSeen(NamedTuple):
    """A timestamp of a signature. authority: the subject of its certificate, time: what it says; problem: why it proves nothing, or "".

    chain: the authority's certificate and those above it that came with the token; bound: whether the token names it by more than
    SHA-1, without which only a pinned key counts.
    """

    authority: str
    time: datetime | None
    problem: str
    chain: tuple[CertificateSeen, ...] = ()
    bound: bool = False


class SignatureSeen(NamedTuple):
    """One signature as it is carried.

    source: the file it is in; chain: the signer's certificate and those above it that came with it, each checked to have issued
    the one before; () where none came. called: the signer by the name or key hash that a bare signature gives; algorithm: "" where
    it is not known; weakness: why it is too weak, or ""; claimed: when the signer says it was made; claims: from signed bytes, and
    of a broken signature none; why: what is wrong, most telling first.
    """

    format: str
    slot: Slot
    kind: str
    source: str
    state: State
    chain: tuple[CertificateSeen, ...]
    called: str
    algorithm: str
    weakness: str
    stamps: tuple[StampSeen, ...]
    claimed: datetime | None
    claims: Claims
    why: tuple[Finding, ...]

    @property
    def signer(self) -> CertificateSeen | None:
        """The signer's certificate, where it came with the signature."""
        return self.chain[0] if self.chain else None

    @property
    def subject(self) -> str:
        """Who signed it: the certificate's subject, or what a bare signature calls its signer; "" where nothing is said."""
        return self.chain[0].subject if self.chain else self.called

    @property
    def issuer(self) -> str:
        """Who issued the signer's certificate, or ""."""
        return self.chain[0].issuer if self.chain else ""

    @property
    def not_after(self) -> datetime | None:
        """When the signer's certificate ends."""
        return self.chain[0].not_after if self.chain else None

    @property
    def stamp(self) -> StampSeen | None:
        """The earliest timestamp that is in order."""
        good = [one for one in self.stamps if not one.problem and one.time is not None]
        return min(good, key=lambda one: cast("datetime", one.time), default=None)


class FileSeen(NamedTuple):
    """A file or signed folder. digest: of all bytes of a file, None for a folder or what cannot be read; why: beside the signatures' own."""

    path: str
    size: int
    digest: Digest | None
    state: State
    signatures: tuple[SignatureSeen, ...]
    why: tuple[Finding, ...]


def look(path: str, search: Search | None = None) -> FileSeen:
    """Everything that signs a file, or a folder by its manifest. What cannot be read is UNREADABLE with the reason, never an error.

    search: as for `find`; where it holds the artifact open, that is read and left open.
    """
    search = search or Search()
    try:
        found, digest = _found(path, search)
    except SealwrightError as cause:
        about = cause.subject.rpartition("/")[2] or path
        return FileSeen(path, 0, None, State.UNREADABLE, (), (reject(cause.code, about, found=cause.what),))
    candidates = own_late_tokens(found.candidates)
    signatures = tuple(one for candidate in candidates for one in _signatures(candidate))
    why = tuple(one for one in found.findings if one.code != _MISSING)
    states = [one.state for one in signatures]
    if why and signatures:
        states.append(State.BROKEN)
    state = min(states, key=_TELLING.index, default=State.UNREADABLE if why else State.UNSIGNED)
    return FileSeen(path, found.size, digest, state, signatures, why)


def _found(path: str, search: Search) -> tuple[Found, Digest | None]:
    if search.source is None and search.beside is None and os.path.isdir(path):
        return find(path, search), None
    with search.opened(path) as source:
        search = search.of(source)
        found = find(path, search)
        if found.candidates or not search.alone:
            found = _as_statement(found, source, search)
        return found, whole_digest(source)


def _as_statement(found: Found, source: OpenArtifact, search: Search) -> Found:
    """What signs a statement of ours, judged as that; officers' signatures have names of their own."""
    first = _FIRST_LINE.match(source.read_at(0, 64))
    kind = first[1].decode() if first is not None else ""
    if kind not in STATEMENTS:
        return found
    every = found.candidates
    if kind in SIGNED_BY_OFFICERS:
        every += tuple(officers_candidates(found.path, search))
    candidates = (one._replace(format=kind, kind=kind) if one.format == DETACHED else one for one in every)
    return found._replace(candidates=tuple(candidates))


def whole_digest(source: OpenArtifact) -> Digest:
    """SHA-256 of all bytes, by which copies of one file are known. Raises what `OpenArtifact.digests` raises."""
    return source.digests((HashName.SHA256,))[HashName.SHA256]


def _signatures(candidate: Candidate) -> Iterator[SignatureSeen]:
    if candidate.envelope is None:
        yield _seen(candidate, _state_of(candidate.findings), candidate.findings)
        return
    bag = candidate.envelope.certificates
    for signer in candidate.envelope.signers:
        if isinstance(signer, Signer):
            yield _readable(candidate, signer, bag)
        elif isinstance(signer.reason, UnknownSigner):
            yield _bare(candidate, signer)
        else:
            yield _broken(candidate, signer, bag)


def _readable(candidate: Candidate, signer: Signer, bag: tuple[bytes, ...]) -> SignatureSeen:
    """A signature whose key came with it: whether it holds can be said."""
    chain = chain_of(signer.certificate, bag)
    why = [one for one in candidate.findings if one.severity is Severity.REJECT]
    try:
        check_signer(signer, candidate.digests, candidate.kind, candidate.source)
    except SealwrightError as cause:
        why.insert(0, reject(cause.code, candidate.source, found=cause.what))
    weakness = _weakness(chain)
    state = State.BROKEN if why else State.WEAK if weakness else State.INTACT
    seen = _seen(candidate, state, tuple(why), chain=chain)
    stamps = tuple(_stamp(token, signer.signature) for token in (*signer.tokens, *candidate.late_tokens))
    return seen._replace(algorithm=signer.algorithm.name, weakness=weakness, stamps=stamps, claimed=signer.claimed_time)


def _bare(candidate: Candidate, signer: BrokenSigner) -> SignatureSeen:
    """A signature without the signer's certificate. That a FIT's parts are nobody's follows from that, and is no second thing."""
    why = [one for one in candidate.findings if one.severity is Severity.REJECT and one.code != _PART]
    said = signer.digest
    delivered = candidate.digests.get(said.algorithm) if said is not None else None
    if said is not None and delivered is not None and delivered != said:
        why.append(reject("SW-FILE-CHANGED", candidate.name, found=f"signed was {said}, delivered is {delivered}"))
    return _seen(candidate, _state_of(why) if why else State.BARE, tuple(why), called=display(signer.called))


def _broken(candidate: Candidate, signer: BrokenSigner, bag: tuple[bytes, ...]) -> SignatureSeen:
    """A SignerInfo that cannot be used: too weak, or not as its standard says. Its certificate is named all the same."""
    chain = chain_of(signer.certificate, bag) if signer.certificate else ()
    why = (reject(signer.reason.code, candidate.source, found=signer.reason.what), *candidate.findings)
    weakness = signer.reason.what if signer.reason.code == _WEAK else _weakness(chain)
    state = State.WEAK if weakness else _state_of(why)
    called = "" if chain else display(signer.called)
    return _seen(candidate, state, why, chain=chain, called=called)._replace(weakness=weakness)


def _seen(
    candidate: Candidate,
    state: State,
    why: Sequence[Finding],
    *,
    chain: tuple[CertificateSeen, ...] = (),
    called: str = "",
) -> SignatureSeen:
    holds = state in (State.INTACT, State.BARE)
    weak = next((one.found for one in why if one.code == _WEAK), "")
    return SignatureSeen(
        format=candidate.format,
        slot=candidate.slot,
        kind=candidate.kind,
        source=candidate.source,
        state=state,
        chain=chain,
        called=called,
        algorithm="",
        weakness=weak,
        stamps=(),
        claimed=None,
        claims=candidate.claims if holds else Claims(),
        why=tuple(why),
    )


def _state_of(why: Sequence[Finding]) -> State:
    codes = [one.code for one in why if one.severity is Severity.REJECT]
    if codes[:1] == [_WEAK]:
        return State.WEAK
    return State.UNREADABLE if not codes or codes[0] in _UNREAD else State.BROKEN


def _weakness(chain: Sequence[CertificateSeen]) -> str:
    """Why a chain is too weak for the topmost of it to be an anchor: whose key, or whose certificate below it."""
    return next((f"{one.subject}: {one.weakness}" for one in chain if one.weakness), "")


def _stamp(token: bytes, signature: bytes) -> StampSeen:
    try:
        read = read_token(token, "timestamp")
    except SealwrightError as cause:
        return StampSeen("", None, cause.what)
    chain = chain_of(read.certificate, read.certificates)
    authority = chain[0].subject if chain else ""
    try:
        check_token(read, signature)
    except SealwrightError as cause:
        return StampSeen(authority, read.gen_time, cause.what, chain)
    return StampSeen(authority, read.gen_time, "", chain, read.binds_certificate)


@lru_cache(maxsize=512)
def chain_of(leaf: bytes, bag: tuple[bytes, ...]) -> tuple[CertificateSeen, ...]:
    """A certificate and those above it in a bag, in DER, as far as each verifies the one before; the root too, if it came.

    () where the certificate itself cannot be read. Of the topmost only the key is weighed: nobody asks who signed an anchor.
    What was signed with a broken hash stands below whoever has its issuer's name, because no signature of it proves anything.
    """
    chain = [loaded] if (loaded := _loaded(leaf)) is not None else []
    others = [one for der in dict.fromkeys(bag) if der != leaf and (one := _loaded(der)) is not None]
    while chain and len(chain) < MAX_CHAIN and chain[-1].subject != chain[-1].issuer:
        above = next((one for one in others if one not in chain and _issued(one, chain[-1])), None)
        if above is None:
            break
        chain.append(above)
    return tuple(
        _certificate(one, is_anchor=at == len(chain) - 1 and _may_end(one, at)) for at, one in enumerate(chain)
    )


def _may_end(certificate: x509.Certificate, place: int) -> bool:
    """Whether a chain can end here: a signer's own certificate is judged by its issuer, unless it has none."""
    return place > 0 or certificate.subject == certificate.issuer


def _loaded(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        display_name(certificate.subject), display_name(certificate.issuer)
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except UNREADABLE:
        return None
    return certificate


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if weak_hash(certificate):
        return certificate.issuer == issuer.subject
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _certificate(certificate: x509.Certificate, *, is_anchor: bool) -> CertificateSeen:
    key, weakness = None, ""
    try:
        public = certificate.public_key()
        key = key_digest(cast("PublicKey", public))
        algorithm_for(public, subject="certificate")
    except (*UNREADABLE, SealwrightError) as cause:
        weakness = cause.what if isinstance(cause, SealwrightError) else "its key cannot be read"
    if not weakness and not is_anchor and (found := weak_hash(certificate)):
        weakness = f"signed with {found}"
    return CertificateSeen(
        subject=display_name(certificate.subject),
        issuer=display_name(certificate.issuer),
        certificate=Digest.of(certificate.tbs_certificate_bytes),
        key=key,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        weakness=weakness,
        by_itself=certificate.subject == certificate.issuer,
        der=certificate.public_bytes(Encoding.DER),
    )
