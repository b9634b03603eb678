"""Whether an evidence record holds, and what it proves for a signature (RFC 4998 sections 4.3 and 5.3, RULES 1 and 4).

1. The record is read, bounded; every timestamp in it is a token whose own signature holds, over its hash tree's root.
2. Within a chain each timestamp is over the one before; they are in the order of their times.
3. Each counted when the next was made: its authority is in the trust file, its path had not ended (or `last_token` vouches for
   it), was not revoked in a way that reaches it, and no algorithm of it was withdrawn by then. The last one counts now.
4. An object is protected from the link that brought it in, if every later chain is over it again (hash-tree renewal).
5. Certificates and revocation lists in the record count only if they are objects too.
A record of which one point fails proves nothing: it is a finding, and the signature is judged as if it were not there.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.cms import Signer
from sealwright.envelope.ers import Record, follows, hashes_of, introduced
from sealwright.envelope.tsp import Token, check_own, read_token
from sealwright.errors import SealwrightError
from sealwright.findings import Finding, note, warning
from sealwright.formats.archive import Archive, ArchiveObject
from sealwright.formats.format import Candidate
from sealwright.formats.known import BESIDE, EMBEDDED
from sealwright.trust.ground import By, Ground, KeptList
from sealwright.trust.timestamps import Proof, TokenRefused, judge_token
from sealwright.trust.verdict import Purpose


class Protected(NamedTuple):
    """A data object and since when it is proved to exist."""

    object: ArchiveObject
    proof: Proof


class Followed(NamedTuple):
    """What each link of a record proves, and what its timestamp is over."""

    proofs: tuple[Proof, ...]
    imprints: tuple[bytes, ...]


class Evidence(NamedTuple):
    """A record that holds. links: what each timestamp of it proves; content: None where it is not over these bytes."""

    name: str
    links: tuple[Proof, ...]
    content: Protected | None
    companions: tuple[Protected, ...]
    certificates: tuple[bytes, ...]
    lists: tuple[KeptList, ...]
    tree: bool

    def proves(self, candidate: Candidate, signature: bytes) -> Proof | None:
        """Since when signature and content both exist, None where one of them is not protected."""
        parts = (self._content(candidate), self.holding(candidate, signature))
        found = [part.proof for part in parts if part is not None]
        return max(found, key=lambda proof: proof.latest) if len(found) == len(parts) else None

    def is_over(self, candidate: Candidate) -> bool:
        """Whether it proves something for a signature of a candidate."""
        signers = candidate.envelope.signers if candidate.envelope is not None else ()
        return any(isinstance(one, Signer) and self.proves(candidate, one.signature) is not None for one in signers)

    def holding(self, candidate: Candidate, value: bytes) -> Protected | None:
        """The object in which a signature value or a token of a candidate stands."""
        if candidate.format in EMBEDDED and candidate.format not in BESIDE:
            return self.content  # it was found in these very bytes
        held = [one for one in self.companions if one.object.holds(value)]
        return min(held, key=lambda one: one.proof.latest, default=None)

    def _content(self, candidate: Candidate) -> Protected | None:
        """What the signature is over; of a manifest beside a file both."""
        if candidate.lists is None:
            return self.content if not self.tree else None
        signed = [one for one in (self.content, *self.companions) if one is not None and _is(one, candidate.artifact)]
        if not signed or self.tree:
            return signed[0] if signed else None
        parts = (signed[0], self.content)
        both = [part for part in parts if part is not None]
        return max(both, key=lambda one: one.proof.latest) if len(both) == len(parts) else None


def _is(protected: Protected, digest: Digest | None) -> bool:
    return protected.object.digests[HashName.SHA256] == digest


def weigh(archive: Archive, ground: Ground) -> tuple[Evidence | None, tuple[Finding, ...]]:
    """What a record proves here, or a warning that says why it proves nothing."""
    if archive.record is None and not archive.problem:
        return None, ()
    if archive.record is None:
        return None, (warning("SW-EVIDENCE-REFUSED", archive.name, found=archive.problem),)
    try:
        followed = follow(archive.record, archive.name, ground)
    except SealwrightError as cause:
        return None, (warning("SW-EVIDENCE-REFUSED", archive.name, found=cause.what),)
    except TokenRefused as refusal:
        return None, (warning("SW-EVIDENCE-REFUSED", archive.name, found=str(refusal)),)
    evidence = _evidence(archive, archive.record, followed)
    if evidence.content is None:
        what = f"it is not over {archive.content.name}"
        return None, (warning("SW-EVIDENCE-REFUSED", archive.name, found=what),)
    shown = "; ".join(
        f"{one.latest:%Y-%m-%d} {one.by.removeprefix('the timestamp authority ')}" for one in evidence.links
    )
    return evidence, (note("SW-EVIDENCE-HOLDS", archive.name, f"{evidence.links[0].latest:%Y-%m-%d}", shown),)


def follow(record: Record, name: str, ground: Ground) -> Followed:
    """Steps 1 to 3. Raises TokenRefused or a SealwrightError where one does not hold."""
    tokens = tokens_of(record, name)
    if problem := follows(record, [token.imprint.value for token in tokens]):
        raise TokenRefused(problem)
    proofs = []
    for place, token in enumerate(tokens):
        later = tokens[place + 1] if place + 1 < len(tokens) else None
        if later is not None and later.gen_time < token.gen_time:
            raise TokenRefused(f"archive timestamp {place + 2} is older than the one before it")
        by = max(ground.judgement.judged, _latest(token)) if later is None else _latest(later)
        try:
            proof, unknown = judge_token(token, name, ground, By(by, protected=True, strict=True))
        except TokenRefused as refusal:
            when = "now" if later is None else f"when the next one was made ({later.gen_time:%Y-%m-%d})"
            what = f"archive timestamp {place + 1} of {token.gen_time:%Y-%m-%d} does not count {when}: {refusal}"
            raise TokenRefused(what) from refusal
        if unknown and ground.purpose is not Purpose.RUN:
            raise TokenRefused(f"archive timestamp {place + 1} of {token.gen_time:%Y-%m-%d}: {unknown}")
        proofs.append(proof)
    return Followed(tuple(proofs), tuple(token.imprint.value for token in tokens))


def tokens_of(record: Record, name: str) -> tuple[Token, ...]:
    """The timestamps, each with its own signature checked and of the digest of its link."""
    tokens = []
    for place, link in enumerate(record.links, 1):
        subject = f"archive timestamp {place} of {name}"
        token = read_token(link.token, subject)
        check_own(token, subject)
        if token.imprint.algorithm is not link.digest:
            raise TokenRefused(
                f"archive timestamp {place} is over {token.imprint.algorithm}, its tree of {link.digest}"
            )
        tokens.append(token)
    return tuple(tokens)


def _latest(token: Token) -> datetime:
    return token.gen_time + token.accuracy


def _evidence(archive: Archive, record: Record, followed: Followed) -> Evidence:
    """Steps 4 and 5."""
    links, imprints = followed

    def protected(one: ArchiveObject) -> Protected | None:
        place = introduced(record, imprints, hashes_of(one.digests))
        return None if place is None else Protected(one, links[place])

    def since(data: bytes) -> Proof | None:
        place = introduced(record, imprints, lambda name: Digest.of(data, name).value)
        return None if place is None else links[place]

    companions = tuple(found for one in archive.companions if (found := protected(one)) is not None)
    lists = [(crl, since(crl)) for crl in record.crls]
    return Evidence(
        name=archive.name,
        links=links,
        content=protected(archive.content),
        companions=companions,
        certificates=tuple(one for one in record.certificates if since(one) is not None),
        lists=tuple(KeptList(crl, proof.latest) for crl, proof in lists if proof is not None),
        tree=archive.tree,
    )
