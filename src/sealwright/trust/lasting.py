"""Until when proofs last, as far as it is known today, and what must be kept so that they can be judged later.

A timestamp lasts as long as its authority's path and its algorithms; a signature without one as long as its certificate. What
they end by is told in one clause, for whoever has to renew them (`signing/proofs.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.envelope.cms import Signer
from sealwright.envelope.tsp import Token, read_token
from sealwright.errors import SealwrightError
from sealwright.formats.format import Candidate, Found
from sealwright.trust.ageing import key_names, path_names
from sealwright.trust.certificate import display_name, load_certificate
from sealwright.trust.evidence import Evidence
from sealwright.trust.ground import Ground
from sealwright.trust.path import Path, Strictness
from sealwright.trust.verdict import Purpose

MAX_LIST_BYTES = 2 << 20
Signed = tuple[Candidate, Signer]


class End(NamedTuple):
    """When something stops to prove, and what it is."""

    at: datetime
    why: str


class Material(NamedTuple):
    """Certificates and revocation lists, DER."""

    certificates: tuple[bytes, ...]
    lists: tuple[bytes, ...]


def signatures_of(candidates: Sequence[Candidate]) -> list[Signed]:
    """Each readable signature with the candidate that it is in."""
    return [
        (candidate, signer)
        for candidate in candidates
        if candidate.envelope is not None
        for signer in candidate.envelope.signers
        if isinstance(signer, Signer)
    ]


def tokens_of_signature(signed: Signed) -> list[Token]:
    """Its timestamps that can be read."""
    candidate, signer = signed
    return [one for one in map(_readable, (*signer.tokens, *candidate.late_tokens)) if one is not None]


def end_of_unrecorded(signatures: Sequence[Signed], evidence: Evidence | None, ground: Ground) -> End | None:
    """When the first of those signatures stops to count that no record protects."""
    ends = [
        _end_with_tokens(one, ground)
        for one in signatures
        if evidence is None or evidence.proves(one[0], one[1].signature) is None
    ]
    return min(ends, default=None)


def _end_with_tokens(signed: Signed, ground: Ground) -> End:
    candidate, signer = signed
    some = [end_of_token(one, ground, f"the timestamp of {candidate.source}") for one in tokens_of_signature(signed)]
    bound = {signer.digest.algorithm.value, signer.algorithm.digest.value}
    proved = max(some, default=_end_of_signature(signer, candidate.source, ground))
    return min([proved, *_withdrawals(bound, ground, candidate.source)])


def end_of_token(token: Token, ground: Ground, what: str) -> End:
    """When a timestamp stops to count, as far as it is known today."""
    paths = _paths_of_token(token, ground)
    if not paths:
        return End(token.gen_time, f"{what}: its authority is not in the trust file")
    path = max(paths, key=lambda one: one.valid_until)
    names = {token.imprint.algorithm.value, token.signer.digest.algorithm.value, token.signer.algorithm.digest.value}
    ends = [End(path.valid_until, f"{what}: its authority's certificate ends")]
    ends += _withdrawals(names | path_names(path.certificates), ground, what)
    return min(ends)


def _end_of_signature(signer: Signer, source: str, ground: Ground) -> End:
    leaf = load_certificate(signer.certificate, source)
    names = {signer.digest.algorithm.value, signer.algorithm.digest.value} | key_names(signer.key)
    ends = [End(leaf.not_valid_after_utc, f"{source} has no timestamp, and its certificate ends")]
    return min([*ends, *_withdrawals(names, ground, source)])


def _withdrawals(names: Iterable[str], ground: Ground, what: str) -> list[End]:
    wanted = {*names}
    return [
        End(one.until, f"{what}: {one.name} counts until then") for one in ground.trust.algorithms if one.name in wanted
    ]


def end_of_sums(found: Found, ground: Ground) -> End | None:
    """When the sums by which a manifest binds a folder's files count no longer, which no record helps against."""
    listed = {candidate.lists.value for candidate in found.candidates if candidate.lists is not None}
    ends = [End(one.until, one.name) for one in ground.trust.algorithms if one.name in listed]
    if not ends:
        return None
    until, name = min(ends)
    return End(
        until,
        f"its manifest lists the files by {name}, which counts until {until:%Y-%m-%d}: sign the folder again before",
    )


def material_for(signatures: Sequence[Signed], tokens: Sequence[Token], ground: Ground) -> Material:
    """The certificates above signers and timestamps, and the newest list that each issuer among them signed.

    A list that has an issuer's name and not its signature is kept by no record; `ground.crl_findings` has it.
    """
    paths: list[Path] = []
    for candidate, signer in signatures:
        bag = candidate.envelope.certificates if candidate.envelope is not None else ()
        leaf = load_certificate(signer.certificate, "signer")
        for at in (ground.judgement.judged, leaf.not_valid_after_utc):
            path = ground.path(leaf, bag, ground.anchors, at, Strictness.FOREIGN)
            if isinstance(path, Path):
                paths.append(path)
                break
    paths += [path for token in tokens for path in _paths_of_token(token, ground)]
    certificates = dict.fromkeys(one for path in paths for one in path.certificates)
    newest = (ground.newest_list(one, MAX_LIST_BYTES) for one in certificates)
    lists = dict.fromkeys(der for der in newest if der is not None)
    return Material(tuple(one.public_bytes(Encoding.DER) for one in certificates), tuple(lists))


def stale_lists(material: Material, ground: Ground) -> tuple[str, ...]:
    """The issuers of kept lists that count as fresh no longer, by themselves or by the trust file: silence in them proves nothing."""
    return tuple(issuer for der in material.lists if (issuer := _stale(der, ground)))


def _stale(der: bytes, ground: Ground) -> str:
    crl = x509.load_der_x509_crl(der)
    ends, policy = crl.next_update_utc, ground.policies.get(crl.issuer.public_bytes())
    if policy is not None and (age := policy.max_age.get(Purpose.INSTALL.value)) is not None:
        ends = crl.last_update_utc + age
    return display_name(crl.issuer) if ends is None or ends < ground.judgement.judged else ""


def _paths_of_token(token: Token, ground: Ground) -> list[Path]:
    leaf = load_certificate(token.certificate, "timestamp")
    paths = (
        ground.path(leaf, token.certificates, (authority.anchor,), token.gen_time, Strictness.FOREIGN)
        for authority in ground.trust.authorities
    )
    return [path for path in paths if isinstance(path, Path)]


def _readable(data: bytes) -> Token | None:
    try:
        return read_token(data, "timestamp")
    except SealwrightError:
        return None
