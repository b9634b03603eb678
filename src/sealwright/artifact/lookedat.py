"""The follow-up of a permit: what others than its signers say of its use, once it is over.

    # sealwright permit-follow-up 1 sha256       VX-200-6.permit.follow-up, signed by VX-200-6.permit.follow-up.p-3.p7s
    #! trust 4f1d2a90c3b85e67
    #! outcome confirmed                         it was an emergency, and what was installed is right; or: disputed
    #! person p-3                                who looked at it; each signs in a file of their own
    #! person p-4
    9f86d081…0f00a08  VX-200-6.permit            the permit's text

A break-glass install stays red until two of those whom the trust file names for it have signed one. Source: the emergencies of a
signing service (`signing/followup.py`), which owe the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.permit import MAX_PERSONS, persons_of
from sealwright.artifact.statement import check_size, field
from sealwright.artifact.sums import FileEntry, Lines, encoded_name, sum_lines
from sealwright.errors import MalformedArtifact

FIRST = b"# sealwright permit-follow-up 1 "
SUFFIX = ".follow-up"
MAX_BYTES = 16 * 1024
LOOKERS = 2
_NEXT = "Have a new one written, with `sealwright permit follow-up`."


class LookedAt(StrEnum):
    """What became of it."""

    CONFIRMED = "confirmed"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True)
class PermitFollowUp:
    """One follow-up. trust: id of the trust file; persons: at least two, sorted; permit: the permit's file by name and digest."""

    algorithm: HashName
    trust: str
    outcome: LookedAt
    persons: tuple[str, ...]
    permit: FileEntry

    def is_of(self, text: bytes) -> bool:
        """Whether it is about the permit with this text."""
        return Digest.of(text, self.algorithm).value == self.permit.digest

    def names(self, permit: Digest) -> bool:
        """Whether it is about the permit with this digest of its text."""
        return permit == Digest(self.algorithm, self.permit.digest)


def follow_up_bytes(follow_up: PermitFollowUp) -> bytes:
    """The canonical text, read again before it leaves; MalformedArtifact for what no reader would take."""
    text = _text(follow_up)
    parse_follow_up(text, "follow-up")
    return text


def parse_follow_up(data: bytes, subject: str) -> PermitFollowUp:
    """Read a follow-up; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 16 KiB."""
    check_size(data, MAX_BYTES, subject)
    lines = Lines(data, subject, _NEXT)
    algorithm = lines.first(FIRST)
    trust = lines.one(b"#! trust ", lines.text)
    outcome = lines.one(b"#! outcome ", lambda text: _outcome(lines, text))
    persons = persons_of(lines, MAX_PERSONS)
    if len(persons) < LOOKERS:
        raise lines.wrong(f"{LOOKERS} different persons look at it")
    found = lines.sums(algorithm.size * 2)
    if len(found) != 1:
        raise lines.wrong("a follow-up is of exactly one permit")
    follow_up = PermitFollowUp(algorithm, trust, outcome, persons, found[0])
    if _text(follow_up) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return follow_up


def _outcome(lines: Lines, text: bytes) -> LookedAt:
    try:
        return LookedAt(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("`#! outcome` is confirmed or disputed") from cause


def _text(follow_up: PermitFollowUp) -> bytes:
    out = [FIRST, follow_up.algorithm.value.encode(), b"\n"]
    out += field("trust", encoded_name(follow_up.trust.encode()))
    out += field("outcome", follow_up.outcome.value.encode())
    for person in follow_up.persons:
        out += field("person", encoded_name(person.encode()))
    return b"".join(out) + sum_lines((follow_up.permit,))
