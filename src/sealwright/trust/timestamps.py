"""When a signature is proved to have existed: RFC 3161 tokens, each judged alone (RULES 4).

1. The token imprints the signature value, and its own signature verifies (RFC 3161 section 2.4.2).
2. Its certificate's path ends at an authority of the trust file at genTime; where a key is pinned it is that key.
   A token that binds its certificate only by SHA-1 counts only from an authority pinned by key.
3. After that certificate's end it counts while genTime is not after the authority's `last_token`.
4. The authority was not revoked in a way that reaches back (RFC 3161 section 4), and nothing of it is denied. Where the trust
   file wants lists of its issuer, they must say so; a token that no list speaks of counts only where no better one does.
A bad token is a finding and never improves a verdict; proved is the earliest genTime + accuracy of those that hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from sealwright.envelope.tsp import Token, check_token, read_token
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, undecided, warning
from sealwright.trust.certificate import load_certificate, spki_digest
from sealwright.trust.ground import MAX_STANDINGS, Ground, StampStanding
from sealwright.trust.model import TimestampAuthority
from sealwright.trust.path import NoPath, Path, Strictness
from sealwright.trust.verdict import Purpose

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"


@dataclass(frozen=True, slots=True)
class Proof:
    """latest: genTime + accuracy (the signature existed by then); earliest: genTime - accuracy (moves the floor)."""

    latest: datetime
    earliest: datetime
    authority: str


def prove(
    tokens: tuple[bytes, ...], signature: bytes, source: str, ground: Ground
) -> tuple[Proof | None, tuple[Finding, ...]]:
    """The best proof among the tokens, and a warning for each token that does not count."""
    sure: list[Proof] = []
    doubtful: list[tuple[Proof, Finding]] = []
    findings: list[Finding] = []
    for number, data in enumerate(tokens, 1):
        name = f"timestamp {number} of {source}"
        try:
            token = read_token(data, name)
            check_token(token, signature)
            proof, unknown = _judge(token, name, ground)
            if unknown:
                doubtful.append((proof, _doubt(name, unknown, ground)))
            else:
                sure.append(proof)
        except SealwrightError as cause:
            findings.append(warning("SW-TIMESTAMP-REFUSED", name, found=cause.what))
        except _Refused as refusal:
            findings.append(warning("SW-TIMESTAMP-REFUSED", name, found=str(refusal)))
    if doubtful and not sure:
        proof, doubt = min(doubtful, key=lambda one: one[0].latest)
        return proof, (*findings, doubt)
    return min(sure, key=lambda proof: proof.latest, default=None), tuple(findings)


def _doubt(name: str, why: str, ground: Ground) -> Finding:
    found = undecided("SW-REVOCATION-UNKNOWN", name, found=why)
    return warning(found.code, name, found=why) if ground.purpose is Purpose.RUN else found


class _Refused(Exception):
    """Why one token does not count."""


def _judge(token: Token, name: str, ground: Ground) -> tuple[Proof, str]:
    """The proof, and why it is not known whether its authority was revoked."""
    question = (token.certificate, token.certificates, token.gen_time, token.binds_certificate)
    standing = ground.stamps.get(question)
    if standing is None:
        if len(ground.stamps) >= MAX_STANDINGS:
            ground.stamps.clear()
        standing = ground.stamps[question] = _standing(token, load_certificate(token.certificate, name), ground)
    if standing.refused:
        raise _Refused(standing.refused)
    proof = Proof(token.gen_time + token.accuracy, token.gen_time - token.accuracy, standing.authority)
    return proof, standing.unknown


def _standing(token: Token, leaf: x509.Certificate, ground: Ground) -> StampStanding:
    why = "its authority is not in the trust file"
    for authority in ground.trust.authorities:
        if authority.key is not None and spki_digest(leaf) != authority.key:
            continue
        if authority.key is None and not token.binds_certificate:
            why = "it binds its certificate by SHA-1 only, and the trust file does not pin this authority's key"
            continue
        path = ground.path(leaf, token.certificates, (authority.anchor,), token.gen_time, Strictness.FOREIGN)
        if isinstance(path, NoPath):
            why = path.reason
            continue
        problem = _problem(token, leaf_end=path.facts[0].not_after, authority=authority, path=path, ground=ground)
        revoked, unknown = ground.authority_revocation(path, token.gen_time)
        if not problem and not revoked:
            return StampStanding(authority.name, "", unknown)
        why = problem or revoked
    return StampStanding("", why)


def _problem(token: Token, leaf_end: datetime, authority: TimestampAuthority, path: Path, ground: Ground) -> str:
    if path.findings:
        return path.findings[0].sentence
    if TIME_STAMPING not in path.purposes:
        return "its authority's certificates do not allow timestamps"
    if (
        ground.judgement.judged > leaf_end
        and authority.last_token is not None
        and token.gen_time > authority.last_token
    ):
        return f"it was made after {authority.last_token:%Y-%m-%d}, the last token the trust file accepts of this authority"
    denied, _ = ground.denied_in(path, None)
    if denied is not None:
        return f"the trust file denies its certificate ({denied.reason or 'no reason given'})"
    return ""
