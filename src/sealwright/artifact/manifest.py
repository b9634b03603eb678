"""The manifest: text that `sha256sum -c` checks from inside the tree, with what sums cannot say in `#!` lines (RULES 1).

    # sealwright manifest 1 sha256
    #! over tree
    #! claim product line-3%20drive
    #! claim generation 7
    #! files 2
    #! bytes 4711
    #! executable bin/start
    #! folder logs
    #! link current -> releases/7
    5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03  bin/start
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty.cfg

There is one canonical form: UTF-8, LF, a final LF; lines in this order, each group sorted by raw bytes; lower-case hex;
texts and names in `#!` lines percent-encoded, so that no `#` line holds two spaces. In sum lines a backslash is escaped as
coreutils does. `# ` lines right after the first are comments, kept and signed; unknown `#!` lines refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.names import check_distinct, display
from sealwright.artifact.sums import (
    AT_ONCE,
    MAX_LINE_BYTES,
    FileEntry,
    Lines,
    claim_lines,
    encoded_name,
    sum_lines,
)
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_BYTES = 512 << 20
MAX_COMMENTS = 100
FIRST = b"# sealwright manifest 1 "
_NEXT = "Fetch the manifest again from its signer."


class Over(StrEnum):
    """What a manifest lists: a TREE's files, one FILE with its claims, or the LIST (a tree's large manifest)."""

    TREE = "tree"
    FILE = "file"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Link:
    """One symbolic link inside the tree; target is relative to the link's folder and stays inside."""

    name: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every tuple is sorted by raw name bytes. executables: regular files with the owner's execute bit; folders: empty ones."""

    algorithm: HashName
    over: Over
    claims: Claims
    files: tuple[FileEntry, ...]
    executables: tuple[bytes, ...] = ()
    folders: tuple[bytes, ...] = ()
    links: tuple[Link, ...] = ()
    total_bytes: int = 0
    comments: tuple[bytes, ...] = ()


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical text of a manifest whose names were checked."""
    out = bytearray(FIRST + manifest.algorithm.value.encode() + b"\n")
    for comment in manifest.comments:
        out += b"# " + comment + b"\n"
    out += contents_lines(manifest)
    for start in range(0, len(manifest.files), AT_ONCE):
        out += sum_lines(manifest.files[start : start + AT_ONCE])
    return bytes(out)


def contents_lines(manifest: Manifest) -> bytes:
    """The `#!` lines: what is listed, what is claimed, and what sums cannot say."""
    out = bytearray(f"#! over {manifest.over}\n".encode())
    out += b"".join(claim_lines(manifest.claims))
    out += f"#! files {len(manifest.files)}\n#! bytes {manifest.total_bytes}\n".encode()
    for executable in manifest.executables:
        out += b"#! executable " + encoded_name(executable) + b"\n"
    for folder in manifest.folders:
        out += b"#! folder " + encoded_name(folder) + b"\n"
    for link in manifest.links:
        out += b"#! link " + encoded_name(link.name) + b" -> " + encoded_name(link.target) + b"\n"
    return bytes(out)


def parse_manifest(data: bytes, subject: str) -> Manifest:
    """Read a manifest; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 512 MiB."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a manifest of {len(data)} bytes", f"At most {MAX_BYTES} bytes are read.")
    lines = Lines(data, subject, _NEXT)
    algorithm = lines.first(FIRST)
    comments = tuple(lines.group(b"# ", lambda text: _comment(lines, text)))
    contents = Contents.read(lines)
    manifest = contents.listing(lines, algorithm, lines.sums(algorithm.size * 2), comments)
    if len(data) <= MAX_LINE_BYTES * 128 and manifest_bytes(manifest) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return manifest


@dataclass(frozen=True, slots=True)
class Contents:
    """The `#!` lines of a manifest, read; the files come after them. count: of files."""

    over: Over
    claims: Claims
    count: int
    total_bytes: int
    executables: tuple[bytes, ...]
    folders: tuple[bytes, ...]
    links: tuple[Link, ...]

    @classmethod
    def read(cls, lines: Lines) -> Contents:
        """Each group in its fixed order."""
        contents = cls(
            over=lines.one(b"#! over ", lambda text: _over(lines, text)),
            claims=lines.claims(),
            count=lines.one(b"#! files ", lines.as_number),
            total_bytes=lines.one(b"#! bytes ", lines.as_number),
            executables=tuple(lines.group(b"#! executable ", lines.name)),
            folders=tuple(lines.group(b"#! folder ", lines.name)),
            links=tuple(lines.group(b"#! link ", lambda text: _link(lines, text))),
        )
        for group in (contents.executables, contents.folders, tuple(link.name for link in contents.links)):
            if any(one >= other for one, other in pairwise(group)):
                raise lines.wrong("the `#!` lines are not sorted or repeat a name")
        return contents

    def listing(
        self, lines: Lines, algorithm: HashName, files: tuple[FileEntry, ...], comments: tuple[bytes, ...] = ()
    ) -> Manifest:
        """The manifest with the files that the lines list; MalformedArtifact where they do not fit together."""
        if len(files) != self.count:
            raise lines.wrong(f"it lists {len(files)} files, its own count says {self.count}")
        if not files or (self.over is not Over.TREE and len(files) != 1):
            raise lines.wrong("it lists no file" if not files else f"over {self.over} it must list one file")
        self._check_members(lines, files)
        others = [*self.folders, *(link.name for link in self.links)]
        check_distinct(sorted([*(entry.name for entry in files), *others]), lines.subject)
        return Manifest(
            algorithm,
            self.over,
            self.claims,
            files,
            self.executables,
            self.folders,
            self.links,
            self.total_bytes,
            comments,
        )

    def _check_members(self, lines: Lines, files: tuple[FileEntry, ...]) -> None:
        """Executables are listed files; no name is at once a file, link, folder or the folder of another."""
        if not (self.executables or self.folders or self.links):
            return
        names = {entry.name for entry in files}
        if not names.issuperset(self.executables):
            raise lines.wrong("an executable is not among the files")
        for other in (*self.folders, *(link.name for link in self.links)):
            if other in names:
                raise lines.wrong(f"{display(other)} is listed twice")
            names.add(other)


def _comment(lines: Lines, text: bytes) -> bytes:
    if b"  " in lines.line or not text.isascii() or not text.decode("ascii").isprintable():
        raise lines.wrong("a comment holds two spaces or characters that are not printable ASCII")
    return text


def _over(lines: Lines, text: bytes) -> Over:
    if text not in (b"tree", b"file", b"list"):
        raise lines.wrong("`#! over tree`, `file` or `list` is wanted here")
    return Over(text.decode())


def _link(lines: Lines, encoded: bytes) -> Link:
    name, arrow, target = encoded.partition(b" -> ")
    if not arrow:
        raise lines.wrong("a link wants `NAME -> TARGET`")
    link = Link(lines.name(name), lines.decoded(target))
    check_target(link, f"{lines.subject} line {lines.number}")
    return link


def check_target(link: Link, subject: str) -> None:
    """MalformedArtifact if a link's target is not relative, printable and inside the tree, whatever other links there are (A069)."""
    target = link.target
    try:
        text = target.decode()
    except UnicodeDecodeError as cause:
        raise MalformedArtifact(
            subject, f"the link {display(link.name)} has a target that is not UTF-8", _LINK
        ) from cause
    if (
        not text
        or text.startswith(("/", "\\"))
        or "\\" in text
        or ":" in text
        or not text.isprintable()
        or len(target) > MAX_LINE_BYTES // 3
    ):
        raise MalformedArtifact(
            subject, f"the link {display(link.name)} has a target that is not relative and printable", _LINK
        )
    steps = [part for part in text.split("/") if part not in ("", ".")]
    up = next((at for at, part in enumerate(steps) if part != ".."), len(steps))
    if ".." in steps[up:]:
        # what lies before it may be a link too, and then it leads to where that one points, not to where its name stands
        raise MalformedArtifact(subject, f"the link {display(link.name)} goes up again after a name", _LINK)
    if up > link.name.count(b"/"):
        raise MalformedArtifact(subject, f"the link {display(link.name)} leaves the tree", _LINK)


_LINK = "Remove the link, or replace it by the file it points to."
