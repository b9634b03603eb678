"""The permit: persons named for it let one device do, for some hours, what its trust file refuses.

    # sealwright permit 1 sha256                 VX-200-6.permit, signed by VX-200-6.permit.p-17.p7s
    #! kind break-glass
    #! trust 4f1d2a90c3b85e67                    the trust file's id: a permit of another plant is none here
    #! device pump-4711                          exactly one
    #! product VX-200%20drive                    left out for what claims none
    #! excuse generation
    #! excuse plant-signature
    #! from 2026-11-26T02:00:00Z
    #! until 2026-11-26T10:00:00Z
    #! person p-17                               who signs it, each in a file of their own; every one has to
    #! nonce 5b1f…                               32 digits: each permit is used once for each artifact
    #! reason sha256:2cf24dba…                   of PERMIT.reason, whose first line is a salt
    5891b5b5…be03  6.manifest                    a release by its manifest, a file by itself

`sha256sum -c` checks the artifacts and `sha256sum PERMIT.reason` the reason. What a kind may excuse is a closed list: an altered file, a
denial and a maker's missing signature are in none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.statement import check_size, field, is_person, person_of, sorted_texts, time_field
from sealwright.artifact.sums import FileEntry, Lines, encoded_name, sum_lines
from sealwright.errors import MalformedArtifact

FIRST = b"# sealwright permit 1 "
SUFFIX = ".permit"
MAX_BYTES = 64 * 1024
MAX_ARTIFACTS = 20
MAX_PERSONS = 8
LONGEST = timedelta(days=7)
NONCE_DIGITS = 32
_NEXT = "Have a new permit written, with `sealwright permit ask`."
_NONCE = re.compile(rb"[0-9a-f]{32}")


class Excuse(StrEnum):
    """What a permit stands in for: a generation that is high enough, the plant's acceptance, a trust file that is fresh."""

    GENERATION = "generation"
    PLANT_SIGNATURE = "plant-signature"
    STALE_TRUST = "stale-trust"


class PermitKind(StrEnum):
    """Why it is given: an approved downgrade, a technician's hours at a device, an emergency without network, an old backup put back."""

    BREAK_GLASS = "break-glass"
    DOWNGRADE = "downgrade"
    RESTORE = "restore"
    UNLOCK = "unlock"

    @property
    def excuses(self) -> frozenset[Excuse]:
        """All that a permit of the kind may excuse."""
        return _EXCUSES[self]

    @property
    def owes_follow_up(self) -> bool:
        """Whether two others have to look at it once it was used."""
        return self is PermitKind.BREAK_GLASS


_EXCUSES = {
    PermitKind.BREAK_GLASS: frozenset(Excuse),
    PermitKind.DOWNGRADE: frozenset((Excuse.GENERATION,)),
    PermitKind.RESTORE: frozenset((Excuse.GENERATION, Excuse.PLANT_SIGNATURE)),
    PermitKind.UNLOCK: frozenset((Excuse.PLANT_SIGNATURE,)),
}


@dataclass(frozen=True, slots=True)
class Permit:
    """One permit. trust: id of the trust file; product: "" for none; excuses, persons, artifacts: sorted, at least one of each.

    begins, until: aware, whole seconds, at most `LONGEST` apart; nonce: 32 digits; reason: digest of the salted text beside it.
    """

    algorithm: HashName
    kind: PermitKind
    trust: str
    device: str
    product: str
    excuses: tuple[Excuse, ...]
    begins: datetime
    until: datetime
    persons: tuple[str, ...]
    nonce: str
    reason: Digest
    artifacts: tuple[FileEntry, ...]

    def names(self, artifact: Digest) -> bool:
        """Whether it is about an artifact."""
        return artifact.algorithm is self.algorithm and any(one.digest == artifact.value for one in self.artifacts)


def permit_bytes(permit: Permit) -> bytes:
    """The canonical text, read again before it leaves; MalformedArtifact for what no reader would take."""
    text = _text(permit)
    parse_permit(text, "permit")
    return text


def parse_permit(data: bytes, subject: str) -> Permit:
    """Read a permit; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 64 KiB."""
    check_size(data, MAX_BYTES, subject)
    lines = Lines(data, subject, _NEXT)
    algorithm = lines.first(FIRST)
    kind = lines.one(b"#! kind ", lambda text: _kind(lines, text))
    trust = lines.one(b"#! trust ", lines.text)
    device = lines.one(b"#! device ", lambda text: device_of(lines, text))
    product = lines.one_or_none(b"#! product ", lines.text)
    excuses = tuple(_excuse(lines, kind, text) for text in sorted_texts(lines, b"#! excuse ", len(Excuse)))
    begins = lines.one(b"#! from ", lines.time)
    until = lines.one(b"#! until ", lines.time)
    persons = persons_of(lines, MAX_PERSONS)
    nonce = lines.one(b"#! nonce ", lambda text: _nonce(lines, text))
    reason = lines.one(b"#! reason ", lambda text: digest_of(lines, text))
    if not excuses:
        raise lines.wrong("a permit that excuses nothing is none")
    if not begins < until <= begins + LONGEST:
        raise lines.wrong(f"`until` is not within {LONGEST.days} days after `from`")
    artifacts = lines.sums(algorithm.size * 2)
    if not 0 < len(artifacts) <= MAX_ARTIFACTS:
        raise lines.wrong(f"a permit is about 1 to {MAX_ARTIFACTS} artifacts")
    permit = Permit(
        algorithm, kind, trust, device, product or "", excuses, begins, until, persons, nonce, reason, artifacts
    )
    if _text(permit) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return permit


def persons_of(lines: Lines, most: int) -> tuple[str, ...]:
    """The persons who sign a statement, sorted, each once, at least one."""
    persons = sorted_texts(lines, b"#! person ", most)
    for person in persons:
        if not is_person(person):
            raise lines.wrong(f"{display(person[:70])} is no person id: 1 to 64 letters, digits and `_.@+-`")
    if not persons:
        raise lines.wrong("`#! person …` is wanted here: nobody signs it")
    return persons


def device_of(lines: Lines, text: bytes) -> str:
    """A device's id or serial number, of the form that persons' ids have."""
    try:
        return person_of(lines, text)
    except MalformedArtifact as cause:
        raise lines.wrong("a device is 1 to 64 letters, digits and `_.@+-`") from cause


def digest_of(lines: Lines, text: bytes) -> Digest:
    """The digest of a text that lies beside."""
    try:
        return Digest.parse(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("wanted is the digest of a text, such as sha256:…") from cause


def signature_name(name: str, person: str) -> str:
    """The file with a person's signature of a statement; name: of the statement's file."""
    return f"{name}.{person}.p7s"


def _kind(lines: Lines, text: bytes) -> PermitKind:
    try:
        return PermitKind(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("`#! kind` is one of " + ", ".join(PermitKind)) from cause


def _excuse(lines: Lines, kind: PermitKind, text: str) -> Excuse:
    if text not in {one.value for one in kind.excuses}:
        raise lines.wrong(
            f"a permit of the kind {kind} excuses {' or '.join(sorted(kind.excuses))}, not {display(text)}"
        )
    return Excuse(text)


def _nonce(lines: Lines, text: bytes) -> str:
    if not _NONCE.fullmatch(text):
        raise lines.wrong(f"a nonce is {NONCE_DIGITS} lower-case hexadecimal digits")
    return text.decode()


def _text(permit: Permit) -> bytes:
    out = [FIRST, permit.algorithm.value.encode(), b"\n"]
    out += field("kind", permit.kind.value.encode())
    out += field("trust", encoded_name(permit.trust.encode()))
    out += field("device", encoded_name(permit.device.encode()))
    out += field("product", encoded_name(permit.product.encode())) if permit.product else []
    for excuse in permit.excuses:
        out += field("excuse", excuse.value.encode())
    out += time_field("from", permit.begins)
    out += time_field("until", permit.until)
    for person in permit.persons:
        out += field("person", encoded_name(person.encode()))
    out += field("nonce", permit.nonce.encode())
    out += field("reason", str(permit.reason).encode())
    return b"".join(out) + sum_lines(permit.artifacts)
