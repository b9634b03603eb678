"""When a signature is proved to have existed: RFC 3161 tokens, each judged alone (RULES 4).

1. The token imprints the signature value, and its own signature verifies (RFC 3161 section 2.4.2).
2. Its certificate's path ends at an authority of the trust file at genTime; where a key is pinned it is that key.
   A token that binds its certificate only by SHA-1 counts only from an authority pinned by key.
3. Its algorithms were not withdrawn (`[[algorithm]]`) before it is proved to have existed, by an evidence record or today.
   After that certificate's end it counts while genTime is not after the authority's `last_token`.
4. The authority was not revoked in a way that reaches back (RFC 3161 section 4), and nothing of it is denied. Where the trust
   file wants lists of its issuer, they must say so; a token that no list speaks of counts only where no better one does.
A bad token is a finding and never improves a verdict; proved is the earliest genTime + accuracy of those that hold, or the
time by which a log's witnesses had seen the signature (`logproofs.py`), if that is earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import Token, check_token, read_token
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, undecided, warning
from sealwright.trust.ageing import path_names, withdrawn
from sealwright.trust.certificate import load_certificate, spki_digest
from sealwright.trust.ground import MAX_STANDINGS, By, Ground, StampStanding
from sealwright.trust.model import TimestampAuthority
from sealwright.trust.path import NoPath, Path, Strictness
from sealwright.trust.times import Seen
from sealwright.trust.verdict import Purpose

TIME_STAMPING = "1.3.6.1.5.5.7.3.8"


class Proof(NamedTuple):
    """latest: the signature existed by then; by: who says so, for people; seen: what is past by now, of all proofs that hold."""

    latest: datetime
    by: str
    seen: tuple[Seen, ...]


def prove(
    tokens: tuple[bytes, ...],
    signature: bytes,
    source: str,
    ground: Ground,
    protected: Callable[[bytes], datetime | None] = lambda _: None,
    others: Sequence[Proof] = (),
) -> tuple[Proof | None, tuple[Finding, ...]]:
    """The best proof among the tokens and those of other kinds, and a warning for each token that does not count.

    protected: when an evidence record proves that a token existed, None where none does.
    """
    sure: list[Proof] = [*others]
    doubtful: list[tuple[Proof, Finding]] = []
    findings: list[Finding] = []
    for number, data in enumerate(tokens, 1):
        name = f"timestamp {number} of {source}"
        try:
            token = read_token(data, name)
            check_token(token, signature)
            kept = protected(data)
            by = By(ground.judgement.judged) if kept is None else By(kept, protected=True)
            proof, unknown = judge_token(token, name, ground, by)
            if unknown:
                doubtful.append((proof, _doubt(name, unknown, ground)))
            else:
                sure.append(proof)
        except SealwrightError as cause:
            findings.append(warning("SW-TIMESTAMP-REFUSED", name, found=cause.what))
        except TokenRefused as refusal:
            findings.append(warning("SW-TIMESTAMP-REFUSED", name, found=str(refusal)))
    if doubtful and not sure:
        proof, doubt = min(doubtful, key=lambda one: one[0].latest)
        return proof, (*findings, doubt)
    if not sure:
        return None, tuple(findings)
    best = min(sure, key=lambda proof: proof.latest)
    return best._replace(seen=tuple(seen for proof in sure for seen in proof.seen)), tuple(findings)


def known_authority(data: bytes, name: str, ground: Ground) -> str:
    """Why a token of this authority would count for nothing with this trust file; "" where it would count."""
    try:
        judge_token(read_token(data, name), name, ground, By(ground.judgement.judged))
    except SealwrightError as cause:
        return cause.what
    except TokenRefused as refusal:
        return str(refusal)
    return ""


def _doubt(name: str, why: str, ground: Ground) -> Finding:
    found = undecided("SW-REVOCATION-UNKNOWN", name, found=why)
    return warning(found.code, name, found=why) if ground.purpose is Purpose.RUN else found


class TokenRefused(Exception):
    """Why one token does not count."""


def judge_token(token: Token, name: str, ground: Ground, by: By) -> tuple[Proof, str]:
    """The proof, and why it is not known whether its authority was revoked. TokenRefused where it does not count by then."""
    question = (token.certificate, token.certificates, token.gen_time, token.binds_certificate, by)
    standing = ground.stamps.get(question)
    if standing is None:
        if len(ground.stamps) >= MAX_STANDINGS:
            ground.stamps.clear()
        standing = ground.stamps[question] = _standing(token, load_certificate(token.certificate, name), ground, by)
    if standing.refused:
        raise TokenRefused(standing.refused)
    if ground.trust.algorithms:
        names = {
            token.imprint.algorithm.value,
            token.signer.digest.algorithm.value,
            token.signer.algorithm.digest.value,
        }
        if (gone := withdrawn(names, by.when, ground.trust.algorithms)) is not None:
            raise TokenRefused(f"it rests on {gone.name}, which counts until {gone.until:%Y-%m-%d}")
    past = Seen(token.gen_time - token.accuracy, standing.party)
    told = f"the timestamp authority {standing.authority}"
    return Proof(token.gen_time + token.accuracy, told, (past,)), standing.unknown


def _standing(token: Token, leaf: x509.Certificate, ground: Ground, by: By) -> StampStanding:
    why = elsewhere = "its authority is not in the trust file"
    for authority in ground.trust.authorities:
        if authority.key is not None and spki_digest(leaf) != authority.key:
            continue
        if authority.key is None and not token.binds_certificate:
            why = "it binds its certificate by SHA-1 only, and the trust file does not pin this authority's key"
            continue
        path = ground.path(leaf, token.certificates, (authority.anchor,), token.gen_time, Strictness.FOREIGN)
        if isinstance(path, NoPath):
            why = path.reason if why == elsewhere else why  # what its own authority lacks says more
            elsewhere = path.reason
            continue
        problem = _problem(token, authority=authority, path=path, ground=ground, by=by)
        known_by = by.when if by.protected else None
        revoked, unknown = ground.authority_revocation(path, token.gen_time, known_by)
        if not problem and not revoked:
            return StampStanding(authority.name, "", unknown, f"authority under {Digest.of(authority.anchor)}")
        why = problem or revoked
    return StampStanding("", why)


def _problem(token: Token, authority: TimestampAuthority, path: Path, ground: Ground, by: By) -> str:
    if path.findings:
        return path.findings[0].sentence
    if TIME_STAMPING not in path.purposes:
        return "its authority's certificates do not allow timestamps"
    last = authority.last_token
    if ground.judgement.judged > path.facts[0].not_after and last is not None and token.gen_time > last:
        return f"it was made after {last:%Y-%m-%d}, the last token the trust file accepts of this authority"
    vouched = last is not None and token.gen_time <= last
    if by.strict and by.when > path.valid_until and not vouched:
        return f"its authority's certificate ended on {path.valid_until:%Y-%m-%d}"
    if ground.trust.algorithms:
        gone = withdrawn(path_names(path.certificates), by.when, ground.trust.algorithms)
        if gone is not None:
            return f"its authority's certificates rest on {gone.name}, which counts until {gone.until:%Y-%m-%d}"
    denied, _ = ground.denied_in(path, None)
    if denied is not None:
        return f"the trust file denies its certificate ({denied.reason or 'no reason given'})"
    return ""
