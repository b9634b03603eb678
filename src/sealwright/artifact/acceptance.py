"""The acceptance: the plant's word, beside the maker's signature, that it tested a file or folder and where it may be used.

    # sealwright acceptance 1 sha256                     drive.bin.plant.manifest, signed by drive.bin.plant.manifest.p7s
    #! artifact drive.bin
    #! over file
    #! accepted 2026-11-26T02:00:00Z
    #! person p-17
    #! line line-3                                       where it may be used; none: anywhere
    #! hardware drive-x
    #! not-before 2026-12-01T00:00:00Z
    #! until 2027-12-01T00:00:00Z
    #! report 9f86d081…0f00a08 FAT%20report.pdf          bound by its digest; it is listed below too where it lies beside
    #! note sha256:2cf24dba…                             free text, as a salted digest
    5891b5b5…be03  drive.bin
    e3b0c442…b855  drive.bin.p7s                         the maker's signature that was good on that day

`sha256sum -c` checks it in the folder where it lies. Of a folder its manifest is listed with the manifest's signature, which
list the files in turn. Whose signature it is says the person id; names of people stand in the trust file or nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Over
from sealwright.artifact.names import check_distinct, check_name, display
from sealwright.artifact.statement import (
    at_most,
    check_size,
    field,
    person_of,
    sorted_texts,
    time_field,
)
from sealwright.artifact.sums import FileEntry, Lines, encoded_name, sum_lines, time_text
from sealwright.errors import MalformedArtifact

FIRST = b"# sealwright acceptance 1 "
SUFFIX = ".plant.manifest"
MAX_BYTES = 1 << 20
MAX_SCOPE = 100
MAX_REPORTS = 50
MAX_SIGNATURES = 20
_NEXT = "Have it accepted again, with `sealwright accept`."


@dataclass(frozen=True, slots=True)
class Report:
    """A test report, bound by the digest of the acceptance's algorithm. name: of the file, without a folder."""

    name: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What the plant accepted. name: of the file or folder, without its own folder; over: FILE or TREE.

    artifact: digest octets of the file, None for a folder; signed_by: what signs it, by name (of a folder its manifest too); empty
    only where the signature is in the file. reports: every one, by name; beside: the names of those that lie beside and are listed.
    lines, hardware: where it may be used, sorted, () for anywhere. Times are aware, whole seconds.
    """

    algorithm: HashName
    name: bytes
    over: Over
    artifact: bytes | None
    signed_by: tuple[FileEntry, ...]
    accepted: datetime
    person: str
    lines: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    not_before: datetime | None = None
    until: datetime | None = None
    reports: tuple[Report, ...] = ()
    beside: tuple[bytes, ...] = ()
    note: Digest | None = None

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """The sum lines: artifact, signatures and the reports that lie beside, sorted by name."""
        reports = {report.name: report for report in self.reports}
        listed = [*self.signed_by, *(FileEntry(name, reports[name].digest) for name in self.beside)]
        if self.artifact is not None:
            listed.append(FileEntry(self.name, self.artifact))
        return tuple(sorted(listed))


def acceptance_bytes(acceptance: Acceptance) -> bytes:
    """The canonical text, read again before it leaves; MalformedArtifact for what no reader would take."""
    text = _text(acceptance)
    parse_acceptance(text, display(acceptance.name))
    return text


def parse_acceptance(data: bytes, subject: str) -> Acceptance:
    """Read an acceptance; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 1 MiB."""
    check_size(data, MAX_BYTES, subject)
    lines = Lines(data, subject, _NEXT)
    algorithm = lines.first(FIRST)
    name = lines.one(b"#! artifact ", lines.name)
    over = lines.one(b"#! over ", lambda text: _over(lines, text))
    accepted = lines.one(b"#! accepted ", lines.time)
    person = lines.one(b"#! person ", lambda text: person_of(lines, text))
    scope = sorted_texts(lines, b"#! line ", MAX_SCOPE)
    hardware = sorted_texts(lines, b"#! hardware ", MAX_SCOPE)
    not_before = lines.one_or_none(b"#! not-before ", lines.time)
    until = lines.one_or_none(b"#! until ", lines.time)
    reports = at_most(lines.group(b"#! report ", lambda text: _report(lines, text, algorithm)), MAX_REPORTS, lines)
    note = lines.one_or_none(b"#! note ", lambda text: _note(lines, text))
    if not_before is not None and until is not None and until <= not_before:
        raise lines.wrong("`until` is not after `not-before`")
    if b"/" in name:
        raise lines.wrong("an artifact has a name without a folder")
    found = lines.sums(algorithm.size * 2)
    artifact, signed_by, beside = _sorted_out(lines, name, over, reports, found)
    acceptance = Acceptance(
        algorithm,
        name,
        over,
        artifact,
        signed_by,
        accepted,
        person,
        scope,
        hardware,
        not_before,
        until,
        reports,
        beside,
        note,
    )
    if _text(acceptance) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return acceptance


def _text(acceptance: Acceptance) -> bytes:
    out = [FIRST, acceptance.algorithm.value.encode(), b"\n"]
    out += field("artifact", encoded_name(acceptance.name))
    out += field("over", acceptance.over.value.encode())
    out += field("accepted", time_text(acceptance.accepted))
    out += field("person", encoded_name(acceptance.person.encode()))
    for line in acceptance.lines:
        out += field("line", encoded_name(line.encode()))
    for hardware in acceptance.hardware:
        out += field("hardware", encoded_name(hardware.encode()))
    out += time_field("not-before", acceptance.not_before)
    out += time_field("until", acceptance.until)
    for report in acceptance.reports:
        out += field("report", report.digest.hex().encode() + b" " + encoded_name(report.name))
    if acceptance.note is not None:
        out += field("note", str(acceptance.note).encode())
    return b"".join(out) + sum_lines(acceptance.files)


def _sorted_out(
    lines: Lines, name: bytes, over: Over, reports: tuple[Report, ...], found: tuple[FileEntry, ...]
) -> tuple[bytes | None, tuple[FileEntry, ...], tuple[bytes, ...]]:
    """What each sum line is: the artifact, a report or a signature; no line is anything else."""
    bound = {report.name: report.digest for report in reports}
    if len(bound) != len(reports) or name in bound or list(bound) != sorted(bound):
        raise lines.wrong("the reports are not sorted by name, or one is named twice")
    artifact, signed_by, beside = None, [], []
    for entry in found:
        if entry.name == name and over is Over.FILE:
            artifact = entry.digest
        elif entry.name in bound:
            if entry.digest != bound[entry.name]:
                raise lines.wrong(f"the report {display(entry.name)} has two digests")
            beside.append(entry.name)
        elif entry.name.startswith(name + b".") and b"/" not in entry.name:
            signed_by.append(entry)
        else:
            raise lines.wrong(f"{display(entry.name)} is neither the artifact nor its signature nor a report")
    if over is Over.FILE and artifact is None:
        raise lines.wrong("the artifact is not listed")
    if over is Over.TREE and not signed_by:
        raise lines.wrong("what lists the folder's files is not listed")
    if len(signed_by) > MAX_SIGNATURES:
        raise lines.wrong(f"more than {MAX_SIGNATURES} signatures")
    check_distinct(sorted({name, *bound, *(entry.name for entry in found)}), lines.subject)
    return artifact, tuple(signed_by), tuple(beside)


def _over(lines: Lines, text: bytes) -> Over:
    if text not in (b"file", b"tree"):
        raise lines.wrong("`#! over file` or `tree` is wanted here")
    return Over(text.decode())


def _report(lines: Lines, text: bytes, algorithm: HashName) -> Report:
    digest, _, name = text.partition(b" ")
    if len(digest) != algorithm.size * 2 or not _is_lower_hex(digest):
        raise lines.wrong("a report wants its digest by the algorithm in line 1 and its name")
    report = Report(lines.name(name), bytes.fromhex(digest.decode()))
    if b"/" in report.name:
        raise lines.wrong("a report has a name without a folder")
    check_name(report.name, lines.subject)
    return report


def _note(lines: Lines, text: bytes) -> Digest:
    try:
        return Digest.parse(text.decode("ascii"))
    except (ValueError, UnicodeDecodeError) as cause:
        raise lines.wrong("a note is the digest of a text") from cause


def _is_lower_hex(text: bytes) -> bool:
    return not set(text) - set(b"0123456789abcdef")
