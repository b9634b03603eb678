"""Certificate paths: the search is ours and bounded, the judgement is OpenSSL's (RULES 3).

1. By names alone, from the anchors outward: a certificate whose issuer name leads nowhere is dropped before any cryptography.
2. Depth-first from the leaf, fitting key identifier and shortest way first; at most 8 certificates, 64 signature checks, 500
   partial paths and 16 chains, because OpenSSL alone never goes back and one decoy in the bag would hide a good chain.
   Where only one certificate can be the issuer of each, nothing is searched: OpenSSL's is the one check of the signatures, and
   only if it refuses, or a hash is broken, is the search made after all, for the reason that it gives.
3. Each chain goes to an X509Store that holds only its own anchor, at the given time in UTC, without CRLs; X509_STRICT
   for certificates of our own profiles. Where expiry is ignored, as firmware does, each of them must only have begun. Where an authority demands a certificate policy, `policies.py` looks for it.
   The first chain accepted wins; else the last refusal is the answer.
4. On the accepted chain: what OpenSSL does not check (`certificate.py`).
Nothing is ever fetched (A111).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from sealwright.errors import SealwrightError
from sealwright.findings import Finding
from sealwright.trust.certificate import (
    Facts,
    chain_findings,
    display_name,
    facts,
    load_certificate,
    purposes_of,
    spki_bytes,
    weak_hash,
)

if TYPE_CHECKING:
    from OpenSSL import crypto

MAX_DEPTH = 8
MAX_CHECKS = 64
MAX_PARTIAL = 500
MAX_CHAINS = 16
MAX_BAG = 32
_EXPIRED = 10
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, for which pyOpenSSL has no name
_FOR_EVER = datetime.max.replace(tzinfo=UTC)
_POLICY_DEMANDS = (ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.POLICY_MAPPINGS)


class Strictness(Enum):
    """OURS adds X509_STRICT; FOREIGN is for makers' and authorities' own PKIs."""

    OURS = auto()
    FOREIGN = auto()


class Expiry(Enum):
    """Whether certificates that have ended end a path; IGNORED is for what devices judge that have no clock they could believe."""

    COUNTS = auto()
    IGNORED = auto()


@dataclass(frozen=True, slots=True)
class Path:
    """certificates: leaf to anchor; valid from..until: all of them are in date, as far as it counts; findings: refusals of step 4.

    purposes: what every certificate of it allows; facts: of each certificate.
    """

    certificates: tuple[x509.Certificate, ...]
    anchor_der: bytes
    valid_from: datetime
    valid_until: datetime
    findings: tuple[Finding, ...]
    purposes: frozenset[str]
    facts: tuple[Facts, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """reason: one clause for people; expired: whether only the time is wrong."""

    reason: str
    expired: bool = False


Key = tuple[x509.Certificate, tuple[bytes, ...], tuple[bytes, ...], Strictness, Expiry]


@dataclass(slots=True)
class PathCache:
    """Answers for one call of verify: a path while the time stays within its certificates' dates, a refusal at its time."""

    paths: dict[Key, Path] = field(default_factory=dict)
    refusals: dict[tuple[Key, datetime], NoPath] = field(default_factory=dict)

    def find(
        self,
        leaf: x509.Certificate,
        intermediates: Sequence[x509.Certificate],
        bag: Sequence[bytes],
        anchors: Sequence[bytes],
        at: datetime,
        strictness: Strictness,
        expiry: Expiry = Expiry.COUNTS,
    ) -> Path | NoPath:
        """The path of a leaf to one of the anchors (DER) at a time; intermediates are looked at before the bag (DER)."""
        key = (leaf, tuple(bag), tuple(anchors), strictness, expiry)
        known = self.paths.get(key)
        if known is not None and known.valid_from <= at <= known.valid_until:
            return known
        if (refusal := self.refusals.get((key, at))) is not None:
            return refusal
        trusted = [load_certificate(der, "anchor") for der in anchors]
        found = find_path(leaf, [*intermediates, *_readable(bag)], trusted, at, strictness, expiry)
        if isinstance(found, Path):
            self.paths[key] = found
        else:
            self.refusals[key, at] = found
        return found


def find_path(
    leaf: x509.Certificate,
    bag: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    at: datetime,
    strictness: Strictness,
    expiry: Expiry = Expiry.COUNTS,
) -> Path | NoPath:
    """Search and judge. at: aware; bag: candidates for issuers in order of preference."""
    search = _Search(list(dict.fromkeys(bag)), list(dict.fromkeys(anchors)))
    straight = search.straight(leaf)
    if straight and not any(weak_hash(one) for one in straight[:-1]) and not _refused(straight, at, strictness, expiry):
        return _path(straight, expiry)
    refusal = None
    for chain in islice(search.walk([leaf]), MAX_CHAINS):
        refusal = _refused(chain, at, strictness, expiry)
        if refusal is None:
            return _path(chain, expiry)
    return refusal or NoPath(search.obstacle or "no certificate in it leads to an anchor of the trust file")


def _refused(chain: list[x509.Certificate], at: datetime, strictness: Strictness, expiry: Expiry) -> NoPath | None:
    return _judge(chain, at, strictness, expiry) or _policies(chain)


def _path(chain: list[x509.Certificate], expiry: Expiry) -> Path:
    """An accepted chain, with what is to be said of it."""
    return Path(
        certificates=tuple(chain),
        anchor_der=chain[-1].public_bytes(Encoding.DER),
        valid_from=max(one.not_valid_before_utc for one in chain),
        valid_until=(min(one.not_valid_after_utc for one in chain) if expiry is Expiry.COUNTS else _FOR_EVER),
        findings=chain_findings(chain),
        purposes=purposes_of(tuple(chain)),
        facts=tuple(facts(one) for one in chain),
    )


def _readable(bag: Sequence[bytes]) -> list[x509.Certificate]:
    """The certificates of the bag that can be read; one that cannot leads nowhere."""
    readable = []
    for der in bag[:MAX_BAG]:
        try:
            readable.append(load_certificate(der, "certificate"))
        except SealwrightError:
            continue
    return readable


def _judge(chain: list[x509.Certificate], at: datetime, strictness: Strictness, expiry: Expiry) -> NoPath | None:
    from OpenSSL import crypto  # 17 ms that a file without a path need not pay

    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    if expiry is Expiry.IGNORED:
        early = next((one for one in chain if at < one.not_valid_before_utc), None)
        if early is not None:
            return NoPath(f"certificate is not yet valid ({display_name(early.subject)})")
        flags |= _NO_CHECK_TIME
    if strictness is Strictness.OURS:
        flags |= crypto.X509StoreFlags.X509_STRICT
    try:
        every = [_for_openssl(one) for one in chain]
        store = crypto.X509Store()
        store.add_cert(every[-1])
        store.set_flags(flags)
        store.set_time(at.astimezone(UTC))  # the wall-clock fields count, whatever the zone says
        crypto.X509StoreContext(store, every[0], every[1:-1]).verify_certificate()
    except crypto.X509StoreContextError as cause:
        code, depth, text = cause.errors
        name = display_name(chain[min(int(depth), len(chain) - 1)].subject)
        return NoPath(f"{text} ({name})", code == _EXPIRED)
    except crypto.Error as cause:
        return NoPath(f"OpenSSL could not judge it: {cause}"[:200])
    return None


@lru_cache(maxsize=128)
def _for_openssl(certificate: x509.Certificate) -> crypto.X509:
    """Its own form of a certificate, which is encoded and parsed again for it: the half of a judgement, done once."""
    from OpenSSL import crypto  # as above

    return crypto.X509.from_cryptography(certificate)


def _policies(chain: list[x509.Certificate]) -> NoPath | None:
    """A refusal where an authority demands a policy that the path does not keep."""
    if not any(extension.oid in _POLICY_DEMANDS for one in chain[1:-1] for extension in one.extensions) and not any(
        extension.oid == ExtensionOID.POLICY_CONSTRAINTS for extension in chain[0].extensions
    ):
        return None
    from sealwright.trust.policies import policy_problem  # few makers use them; the others need not pay its start

    problem = policy_problem(chain)
    return NoPath(problem) if problem else None


class _Search:
    """The bounded depth-first search of steps 1 and 2. obstacle: what stood in the way, one clause, or ""."""

    def __init__(self, bag: list[x509.Certificate], anchors: list[x509.Certificate]) -> None:
        self.trusted = set(anchors)
        self.steps = _steps(bag, anchors)
        self.by_name: dict[x509.Name, list[x509.Certificate]] = {}
        for one in [*anchors, *bag]:
            if one in self.trusted or one.issuer in self.steps:
                self.by_name.setdefault(one.subject, []).append(one)
        self.checked: dict[tuple[x509.Certificate, bytes], bool] = {}
        self.partial = 0
        self.obstacle = ""

    def straight(self, leaf: x509.Certificate) -> list[x509.Certificate]:
        """The only chain that names allow, its signatures not checked; empty where there is none or a choice."""
        path = [leaf]
        while path[-1] not in self.trusted:
            issuers = self.by_name.get(path[-1].issuer, ())
            if len(issuers) != 1 or len(path) >= MAX_DEPTH or _looped(path, issuers[0]):
                return []
            path.append(issuers[0])
        return path

    def walk(self, path: list[x509.Certificate]) -> Iterator[list[x509.Certificate]]:
        """Chains that begin with the path, the most promising first."""
        last = path[-1]
        if last in self.trusted:
            yield path
            return
        self.partial += 1
        if len(path) >= MAX_DEPTH or self.partial > MAX_PARTIAL:
            return
        wanted = _authority_key(last)
        issuers = sorted(
            self.by_name.get(last.issuer, ()),
            key=lambda one: (
                one not in self.trusted,
                wanted is not None and _subject_key(one) != wanted,
                self.steps.get(one.issuer, MAX_DEPTH),
            ),
        )
        for issuer in issuers:
            if not _looped(path, issuer) and self._signed(last, issuer):
                yield from self.walk([*path, issuer])

    def _signed(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        question = (certificate, spki_bytes(issuer))
        if question not in self.checked:
            if len(self.checked) >= MAX_CHECKS:
                self.obstacle = f"more than {MAX_CHECKS} certificates claim to be issuers on its way"
                return False
            try:
                certificate.verify_directly_issued_by(issuer)
                self.checked[question] = True
            except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
                self.checked[question] = False
                if hash_name := weak_hash(certificate):
                    self.obstacle = f"the certificate of {display_name(certificate.subject)} is signed with {hash_name}"
        return self.checked[question]


def _steps(bag: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]) -> dict[x509.Name, int]:
    """Fewest steps, by names alone, from an issuer's name to an anchor; a name that is missing leads nowhere."""
    subjects: dict[x509.Name, set[x509.Name]] = {}
    for one in bag:
        subjects.setdefault(one.issuer, set()).add(one.subject)
    steps = {one.subject: 0 for one in anchors}
    edge = set(steps)
    for distance in range(1, MAX_DEPTH):
        edge = {name for issuer in edge for name in subjects.get(issuer, ()) if name not in steps}
        steps.update(dict.fromkeys(edge, distance))
    return steps


def _looped(path: Sequence[x509.Certificate], issuer: x509.Certificate) -> bool:
    return any(one.subject == issuer.subject and spki_bytes(one) == spki_bytes(issuer) for one in path)


def _subject_key(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _authority_key(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


def links(path: Path) -> Iterator[tuple[x509.Certificate, x509.Certificate, bytes]]:
    """Each certificate below the anchor with its issuer on the path and that issuer's name in DER."""
    for (certificate, issuer), known in zip(pairwise(path.certificates), path.facts, strict=False):
        yield certificate, issuer, known.issuer
