"""The receiving record: what a plant knows about a file or folder that came unsigned, in place of a maker's signature.

    # sealwright receiving 1 sha256                      drive.bin.received.manifest, signed by drive.bin.received.manifest.p7s
    #! artifact drive.bin
    #! grade compared
    #! source https://vendor.example/downloads
    #! received 2026-11-26T02:00:00Z
    #! person p-17                                       who signs it: the first drive.bin.received.manifest.p7s,
    #! person p-4                                        every other one drive.bin.received.manifest.p-4.p7s
    #! compared md5 0cc175b9…                            what the second channel said, and
    #! channel telephone%20call%20with%20vendor          which that was
    #! checked-by gpgv%202.2.40                          the old signature: tool, key, signer, what it said, its weaknesses
    #! checked-key 0123…CDEF
    #! checked-signer ACME%20Release
    #! checked-verdict good
    #! weakness SHA-1
    #! reason no%20second%20channel%20exists
    #! evidence mail 2311 confirmation.eml               kind, bytes, name of a file in drive.bin.received/
    #! over file                                         from here as in a manifest: claims, links, empty folders, …
    #! claim product line-3%20drive
    #! files 1
    #! bytes 4711
    5891b5b5…be03  drive.bin
    e3b0c442…b855  drive.bin.received/confirmation.eml

`sha256sum -c` checks it in the folder where it lies. Of a folder every file is listed, as `NAME/...`. What it claims is the plant's
word. Grades: `compared` (an independent second channel agreed), `old-signature` (checked by the named tool with the named key),
`uncompared` (two persons and a reason), `found-in-use` (origin unknown; changes from now on show).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from sealwright.artifact.digest import HashName
from sealwright.artifact.grade import Grade as Grade
from sealwright.artifact.manifest import Contents, Manifest, Over, contents_lines
from sealwright.artifact.names import check_distinct, display
from sealwright.artifact.statement import at_most, check_size, field, long_text, person_of, sorted_texts
from sealwright.artifact.sums import FileEntry, Lines, encoded_name, sum_lines, time_text
from sealwright.errors import MalformedArtifact

FIRST = b"# sealwright receiving 1 "
SUFFIX = ".received.manifest"
FOLDER_SUFFIX = ".received"
MAX_BYTES = 64 << 20
MAX_BYTES_OF_A_FILE = 1 << 20
MAX_PERSONS = 8
MAX_EVIDENCE = 200
MAX_WEAKNESSES = 20
_KIND = re.compile(rb"[a-z][a-z0-9-]{0,31}")
_ALGORITHM = re.compile(rb"[a-z0-9][a-z0-9./-]{0,31}")
_VALUE = re.compile(rb"(?:[0-9a-f]{2}){1,128}")
_NEXT = "Have the record made again by those who received it."


@dataclass(frozen=True, slots=True)
class Evidence:
    """A file that is kept. kind: a word (`mail`, `web-page`, `signature`, …); name: in the folder `NAME.received`; digest: octets."""

    kind: str
    name: bytes
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a second channel said: digest algorithm as its publisher calls it, in lower case (`md5`, `crc32`), octets, channel."""

    algorithm: str
    value: bytes
    channel: str


@dataclass(frozen=True, slots=True)
class OldSignature:
    """A check of a signature that does not count by itself. tool: with its version; key: fingerprint; verdict: what the tool said."""

    tool: str
    key: str
    signer: str
    verdict: str
    weaknesses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receiving:
    """A receiving record. name: of the file or folder, without its own folder; source: URL or vendor; persons: ids, in order.

    contents: what was received, as its manifest would say it (over FILE or TREE, claims of the plant). evidence: sorted by name.
    Every person signs: the first `RECORD.p7s`, each other `RECORD.ID.p7s`.
    """

    name: bytes
    grade: Grade
    source: str
    received: datetime
    persons: tuple[str, ...]
    contents: Manifest
    evidence: tuple[Evidence, ...] = ()
    comparison: Comparison | None = None
    old_signature: OldSignature | None = None
    reason: str = ""

    @property
    def algorithm(self) -> HashName:
        """The digest of its sum lines."""
        return self.contents.algorithm

    @property
    def folder(self) -> bytes:
        """The name of the folder with the evidence."""
        return self.name + FOLDER_SUFFIX.encode()

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The sum lines: what was received and the evidence, sorted by name."""
        before = self.name + b"/" if self.contents.over is Over.TREE else b""
        listed = [FileEntry(before + entry.name, entry.digest) for entry in self.contents.files]
        listed += [FileEntry(self.folder + b"/" + one.name, one.digest) for one in self.evidence]
        return tuple(sorted(listed))

    def signature_suffix(self, person: str) -> str:
        """What the name of a person's signature adds to the artifact's name; ValueError for somebody whom it does not name."""
        return f"{SUFFIX}.p7s" if self.persons.index(person) == 0 else f"{SUFFIX}.{person}.p7s"


def receiving_bytes(record: Receiving) -> bytes:
    """The canonical text, read again before it leaves; MalformedArtifact or LimitExceeded for what no reader would take."""
    text = _text(record)
    parse_receiving(text, display(record.name))
    return text


def parse_receiving(data: bytes, subject: str) -> Receiving:
    """Read a record; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 64 MiB."""
    check_size(data, MAX_BYTES, subject)
    lines = Lines(data, subject, _NEXT)
    algorithm = lines.first(FIRST)
    name = lines.one(b"#! artifact ", lines.name)
    grade = lines.one(b"#! grade ", lambda text: _grade(lines, text))
    source = lines.one(b"#! source ", lambda text: long_text(lines, text))
    received = lines.one(b"#! received ", lines.time)
    persons = at_most(lines.group(b"#! person ", lambda text: person_of(lines, text)), MAX_PERSONS, lines)
    comparison = lines.one_or_none(b"#! compared ", lambda text: _compared(lines, text))
    if comparison is not None:
        comparison = replace(comparison, channel=lines.one(b"#! channel ", lambda text: long_text(lines, text)))
    tool = lines.one_or_none(b"#! checked-by ", lines.text)
    old_signature = _old_signature(lines, tool) if tool is not None else None
    reason = lines.one_or_none(b"#! reason ", lambda text: long_text(lines, text)) or ""
    noted = at_most(lines.group(b"#! evidence ", lambda text: _evidence(lines, text)), MAX_EVIDENCE, lines)
    contents = Contents.read(lines)
    if contents.over is Over.FILE:
        check_size(data, MAX_BYTES_OF_A_FILE, subject)
    found = lines.sums(algorithm.size * 2)
    evidence, files = _apart(lines, name, contents.over, noted, found)
    record = Receiving(
        name,
        grade,
        source,
        received,
        persons,
        contents.listing(lines, algorithm, files),
        evidence,
        comparison,
        old_signature,
        reason,
    )
    if (problem := _unfounded(record)) is not None:
        raise MalformedArtifact(subject, problem, _NEXT)
    if _text(record) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return record


def _unfounded(record: Receiving) -> str | None:
    """Why a record does not say what its grade means."""
    compared, contents = record.comparison, record.contents
    if not 1 <= len(set(record.persons)) == len(record.persons):
        return "it names nobody, or somebody twice"
    if (
        compared is not None
        and (contents.over, compared.algorithm) == (Over.FILE, record.algorithm.value)
        and compared.value != contents.files[0].digest
    ):
        return "what the second channel said is the digest of another file"
    match record.grade:
        case Grade.COMPARED if record.comparison is None:
            return "its grade is `compared`, and it does not say what with"
        case Grade.OLD_SIGNATURE if record.old_signature is None:
            return "its grade is `old-signature`, and it does not say who checked which"
        case Grade.UNCOMPARED if len(record.persons) < 2 or not record.reason:
            return "its grade is `uncompared`, which wants two persons and a reason"
    return None


def _text(record: Receiving) -> bytes:
    out = [FIRST, record.algorithm.value.encode(), b"\n"]
    out += field("artifact", encoded_name(record.name))
    out += field("grade", record.grade.value.encode())
    out += field("source", encoded_name(record.source.encode()))
    out += field("received", time_text(record.received))
    out += _texts("person", record.persons)
    if (compared := record.comparison) is not None:
        out += field("compared", f"{compared.algorithm} {compared.value.hex()}".encode())
        out += _texts("channel", [compared.channel])
    if (old := record.old_signature) is not None:
        out += _texts("checked-by", [old.tool])
        out += _texts("checked-key", [old.key])
        out += _texts("checked-signer", [old.signer])
        out += _texts("checked-verdict", [old.verdict])
        out += _texts("weakness", old.weaknesses)
    out += _texts("reason", [record.reason] if record.reason else [])
    for one in record.evidence:
        out += field("evidence", f"{one.kind} {one.size} ".encode() + encoded_name(one.name))
    return b"".join(out) + contents_lines(record.contents) + sum_lines(record.files)


def _texts(name: str, texts: Iterable[str]) -> list[bytes]:
    return [part for text in texts for part in field(name, encoded_name(text.encode()))]


def _apart(
    lines: Lines, name: bytes, over: Over, noted: tuple[Evidence, ...], found: tuple[FileEntry, ...]
) -> tuple[tuple[Evidence, ...], tuple[FileEntry, ...]]:
    """The evidence with its digests, and what was received, by its names in a manifest; no line is anything else."""
    if over is Over.LIST or b"/" in name:
        raise lines.wrong("a record is over a file or a folder, by its name without a folder")
    if [one.name for one in noted] != sorted({one.name for one in noted}):
        raise lines.wrong("the pieces of evidence are not sorted by name, or one is named twice")
    kept, inside = name + FOLDER_SUFFIX.encode() + b"/", name + b"/"
    digests: dict[bytes, bytes] = {}
    files: list[FileEntry] = []
    for entry in found:
        if entry.name.startswith(kept):
            digests[entry.name.removeprefix(kept)] = entry.digest
        elif over is Over.FILE and entry.name == name:
            files.append(entry)
        elif over is Over.TREE and entry.name.startswith(inside):
            files.append(FileEntry(entry.name.removeprefix(inside), entry.digest))
        else:
            raise lines.wrong(f"{display(entry.name)} is neither what was received nor evidence")
    if digests.keys() != {one.name for one in noted}:
        raise lines.wrong("the evidence that it names is not the evidence that it lists")
    check_distinct(sorted(digests), lines.subject)
    return tuple(replace(one, digest=digests[one.name]) for one in noted), tuple(files)


def _grade(lines: Lines, text: bytes) -> Grade:
    try:
        return Grade(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("a grade is one of " + ", ".join(Grade)) from cause


def _compared(lines: Lines, text: bytes) -> Comparison:
    algorithm, _, value = text.partition(b" ")
    if not _ALGORITHM.fullmatch(algorithm) or not _VALUE.fullmatch(value):
        raise lines.wrong("wanted is the name of a digest algorithm and its value in lower-case hex")
    return Comparison(algorithm.decode(), bytes.fromhex(value.decode()), "")


def _old_signature(lines: Lines, tool: str) -> OldSignature:
    return OldSignature(
        tool,
        key=lines.one(b"#! checked-key ", lines.text),
        signer=lines.one(b"#! checked-signer ", lines.text),
        verdict=lines.one(b"#! checked-verdict ", lines.text),
        weaknesses=sorted_texts(lines, b"#! weakness ", MAX_WEAKNESSES),
    )


def _evidence(lines: Lines, text: bytes) -> Evidence:
    kind, _, rest = text.partition(b" ")
    size, _, name = rest.partition(b" ")
    if not _KIND.fullmatch(kind):
        raise lines.wrong("evidence is of a kind: a word in lower case")
    evidence = Evidence(kind.decode(), lines.name(name), b"", lines.as_number(size))
    if b"/" in evidence.name:
        raise lines.wrong("evidence has a name without a folder")
    return evidence
