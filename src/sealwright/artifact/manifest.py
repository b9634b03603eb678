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

import re
from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from operator import lt
from typing import NamedTuple, TypeVar

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.names import MAX_PART_BYTES, PLAIN_NAME, check_distinct, check_name, display
from sealwright.errors import LimitExceeded, MalformedArtifact

T = TypeVar("T")
MAX_BYTES = 512 << 20
MAX_LINE_BYTES = 8192
MAX_FILES = 4_000_000
AT_ONCE = 50_000  # lines made together, and the bytes of lines read together: more would only take memory
RUN_BYTES = 1 << 20
MAX_TEXT = 200
MAX_COMMENTS = 100
MAX_NUMBER = 2**63 - 1
FIRST = b"# sealwright manifest 1 "
_KEEP = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@+,=:()[]!$&'*;<>?^`{|}\"")
_WITH_BACKSLASH = re.compile(rb"^.*\\.*$", re.MULTILINE)
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")
_NEXT = "Fetch the manifest again from its signer."


class Over(StrEnum):
    """What a manifest lists: a TREE's files, one FILE with its claims, or the LIST (a tree's large manifest)."""

    TREE = "tree"
    FILE = "file"
    LIST = "list"


class FileEntry(NamedTuple):
    """One regular file: raw name, digest octets. A named tuple, because a tree may have millions."""

    name: bytes
    digest: bytes


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
    out += f"#! over {manifest.over}\n".encode()
    for name, text in _claim_lines(manifest.claims):
        out += b"#! claim " + name + b" " + _encoded(text.encode()) + b"\n"
    out += f"#! files {len(manifest.files)}\n#! bytes {manifest.total_bytes}\n".encode()
    for executable in manifest.executables:
        out += b"#! executable " + _encoded(executable) + b"\n"
    for folder in manifest.folders:
        out += b"#! folder " + _encoded(folder) + b"\n"
    for link in manifest.links:
        out += b"#! link " + _encoded(link.name) + b" -> " + _encoded(link.target) + b"\n"
    for start in range(0, len(manifest.files), AT_ONCE):
        out += _sum_lines(manifest.files[start : start + AT_ONCE])
    return bytes(out)


def parse_manifest(data: bytes, subject: str) -> Manifest:
    """Read a manifest; MalformedArtifact naming the line for anything but the canonical form, LimitExceeded above 512 MiB."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a manifest of {len(data)} bytes", f"At most {MAX_BYTES} bytes are read.")
    if data.startswith(b"\xef\xbb\xbf") or b"\r" in data[:MAX_LINE_BYTES]:
        raise MalformedArtifact(subject, "it has a byte-order mark or CR LF line ends", "Copy it in binary mode.")
    manifest = _Reader(data, subject).manifest()
    others = [*manifest.folders, *(link.name for link in manifest.links)]
    check_distinct(sorted([*(entry.name for entry in manifest.files), *others]), subject)
    if len(data) <= MAX_LINE_BYTES * 128 and manifest_bytes(manifest) != data:
        raise MalformedArtifact(subject, "it is not in canonical form", _NEXT)
    return manifest


class _Reader:
    """Reads line by line, and plain sum lines in runs; keeps the number of the line for errors."""

    def __init__(self, data: bytes, subject: str) -> None:
        self.data = data
        self.subject = subject
        self.number = 0
        self.line = b""
        self.at = 0  # where the next line begins

    def manifest(self) -> Manifest:
        """Each group in its fixed order."""
        self._next()
        algorithm = self._first()
        self._next()
        comments = tuple(self._group(b"# ", self._comment))
        over = self._over()
        claims = self._claims()
        count = self._counted(b"files")
        total = self._counted(b"bytes")
        executables = tuple(self._group(b"#! executable ", self._name))
        folders = tuple(self._group(b"#! folder ", self._name))
        links = tuple(self._group(b"#! link ", self._link))
        for group in (executables, folders, tuple(link.name for link in links)):
            if any(one >= other for one, other in pairwise(group)):
                raise self._wrong("the `#!` lines are not sorted or repeat a name")
        files = self._files(algorithm.size * 2)
        if len(files) != count:
            raise self._wrong(f"it lists {len(files)} files, its own count says {count}")
        if not files or (over is not Over.TREE and len(files) != 1):
            raise self._wrong("it lists no file" if not files else f"over {over} it must list one file")
        self._check_members(files, executables, folders, links)
        return Manifest(algorithm, over, claims, files, executables, folders, links, total, comments)

    def _next(self) -> None:
        """Take the next line; an empty one after the last."""
        self.number += 1
        if self.at >= len(self.data):
            self.line = b""
            return
        end = self.data.find(b"\n", self.at, self.at + MAX_LINE_BYTES)
        if end < 0:
            raise self._wrong(f"the line does not end within {MAX_LINE_BYTES} bytes, or the final line feed is missing")
        self.line = self.data[self.at : end]
        self.at = end + 1

    def _wrong(self, what: str) -> MalformedArtifact:
        return MalformedArtifact(self.subject, f"line {self.number}: {what}", _NEXT)

    def _first(self) -> HashName:
        name = self.line.removeprefix(FIRST)
        if name == self.line or name not in (b"sha256", b"sha384", b"sha512"):
            raise self._wrong("it does not begin `# sealwright manifest 1` and sha256, sha384 or sha512")
        return HashName(name.decode())

    def _comment(self, text: bytes) -> bytes:
        if b"  " in self.line or not text.isascii() or not text.decode("ascii").isprintable():
            raise self._wrong("a comment holds two spaces or characters that are not printable ASCII")
        return text

    def _group(self, prefix: bytes, read: Callable[[bytes], T]) -> Iterator[T]:
        while self.line.startswith(prefix):
            yield read(self.line.removeprefix(prefix))
            self._next()

    def _over(self) -> Over:
        text = self.line.removeprefix(b"#! over ")
        if text == self.line or text not in (b"tree", b"file", b"list"):
            raise self._wrong("`#! over tree`, `file` or `list` is wanted here")
        self._next()
        return Over(text.decode())

    def _claims(self) -> Claims:
        found: dict[str, list[str]] = {}
        rank = -1
        order = ("product", "version", "generation", "hardware", "environment")
        while self.line.startswith(b"#! claim "):
            name, _, text = self.line.removeprefix(b"#! claim ").partition(b" ")
            if name.decode("latin-1") not in order:
                raise self._wrong(f"unknown claim {display(name[:40])}")
            key = name.decode()
            if order.index(key) < rank or (key != "hardware" and key in found):
                raise self._wrong(f"the claim {key} is repeated or out of order")
            rank = order.index(key)
            found.setdefault(key, []).append(self._text(text))
            self._next()
        generation = found.get("generation")
        number = self._number(generation[0].encode()) if generation else None
        one = {key: values[0] for key, values in found.items()}
        return Claims(
            one.get("product"), one.get("version"), number, tuple(found.get("hardware", ())), one.get("environment")
        )

    def _text(self, encoded: bytes) -> str:
        try:
            text = self._decoded(encoded).decode()
        except UnicodeDecodeError as cause:
            raise self._wrong("a claim is not UTF-8") from cause
        if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
            raise self._wrong(f"a claim is empty, longer than {MAX_TEXT} characters or not printable")
        return text

    def _counted(self, what: bytes) -> int:
        text = self.line.removeprefix(b"#! " + what + b" ")
        if text == self.line:
            raise self._wrong(f"`#! {what.decode()} N` is wanted here")
        number = self._number(text)
        self._next()
        return number

    def _number(self, text: bytes) -> int:
        if not _NUMBER.fullmatch(text) or int(text) > MAX_NUMBER:
            raise self._wrong(f"{display(text[:40])} is not a number from 0 to {MAX_NUMBER}")
        return int(text)

    def _name(self, encoded: bytes) -> bytes:
        name = self._decoded(encoded)
        check_name(name, f"{self.subject} line {self.number}")
        return name

    def _link(self, encoded: bytes) -> Link:
        name, arrow, target = encoded.partition(b" -> ")
        if not arrow:
            raise self._wrong("a link wants `NAME -> TARGET`")
        link = Link(self._name(name), self._decoded(target))
        check_target(link, f"{self.subject} line {self.number}")
        return link

    def _decoded(self, encoded: bytes) -> bytes:
        if encoded.isalnum() and encoded.isascii():
            return encoded
        name = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), encoded)
        if _encoded(name) != encoded or not name:
            raise self._wrong("a name or text is not percent-encoded in the one canonical way")
        return name

    def _files(self, hex_digits: int) -> tuple[FileEntry, ...]:
        """The sum lines: run by run where all lines of a run are plain and sorted, else one by one."""
        plain = re.compile(rb"^([0-9a-f]{%d})  (%b)$" % (hex_digits, PLAIN_NAME), re.MULTILINE)
        files: list[FileEntry] = []
        last = b""
        while self.line or self._more():
            start = self.at - len(self.line) - 1
            end = max(self.data.rfind(b"\n", start, start + RUN_BYTES) + 1, self.at)
            run = plain.findall(self.data, start, end)
            if _is_whole_and_sorted([name for _, name in run], end - start - len(run) * (hex_digits + 3), last):
                files += [FileEntry(name, unhexlify(digest)) for digest, name in run]
                self.number += len(run) - 1
                self.at = end
                self._next()
            while self.line and self.at <= end:
                entry = self._file(hex_digits)
                if entry.name <= last:
                    raise self._wrong("the files are not sorted by name, or one is listed twice")
                last = entry.name
                files.append(entry)
                self._next()
            last = files[-1].name
            if len(files) > MAX_FILES:
                raise LimitExceeded(self.subject, f"more than {MAX_FILES} files", "Split the tree.")
        return tuple(files)

    def _more(self) -> bool:
        if self.number <= self.data.count(b"\n"):
            raise self._wrong("an empty line")
        return False

    def _file(self, hex_digits: int) -> FileEntry:
        line = self.line
        escaped = line.startswith(b"\\")
        if escaped:
            line = line[1:]
        digest, gap, name = line[:hex_digits], line[hex_digits : hex_digits + 2], line[hex_digits + 2 :]
        if line.startswith(b"#!"):
            raise self._wrong(f"unknown or misplaced line {display(line[:40])}")
        if gap != b"  " or not _is_hex(digest):
            raise self._wrong("wanted is a lower-case digest of the algorithm in line 1, two spaces and a name")
        if escaped != (b"\\" in name):
            raise self._wrong("a line begins with a backslash exactly where its name is escaped")
        if escaped:
            plain = name.replace(b"\\\\", b"\0")
            if b"\\" in plain or b"\0" in name:
                raise self._wrong("only a backslash is escaped in a name")
            name = plain.replace(b"\0", b"\\")
        check_name(name, f"{self.subject} line {self.number}")
        return FileEntry(name, bytes.fromhex(digest.decode()))

    def _check_members(
        self,
        files: tuple[FileEntry, ...],
        executables: tuple[bytes, ...],
        folders: tuple[bytes, ...],
        links: tuple[Link, ...],
    ) -> None:
        """Executables are listed files; no name is at once a file, link, folder or the folder of another."""
        if not (executables or folders or links):
            return
        names = {entry.name for entry in files}
        if not names.issuperset(executables):
            raise self._wrong("an executable is not among the files")
        for other in (*folders, *(link.name for link in links)):
            if other in names:
                raise self._wrong(f"{display(other)} is listed twice")
            names.add(other)


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


def _claim_lines(claims: Claims) -> Iterator[tuple[bytes, str]]:
    if claims.product is not None:
        yield b"product", claims.product
    if claims.version is not None:
        yield b"version", claims.version
    if claims.generation is not None:
        yield b"generation", str(claims.generation)
    for hardware in claims.hardware:
        yield b"hardware", hardware
    if claims.environment is not None:
        yield b"environment", claims.environment


def _sum_lines(files: Sequence[FileEntry]) -> bytes:
    lines = b"".join([hexlify(digest) + b"  " + name + b"\n" for name, digest in files])
    if b"\\" in lines:
        lines = _WITH_BACKSLASH.sub(lambda line: b"\\" + line[0].replace(b"\\", b"\\\\"), lines)
    return lines


def _is_whole_and_sorted(names: Sequence[bytes], size: int, last: bytes) -> bool:
    """Whether plain names are all that a run of lines lists (size: their bytes together) and come in order after the last."""
    return (
        sum(map(len, names)) == size
        and all(map(lt, (last, *names), names))
        and b"-" not in names
        and max(map(len, names)) <= MAX_PART_BYTES
    )


def _encoded(name: bytes) -> bytes:
    if name.isalnum() and name.isascii():
        return name
    return b"".join(bytes((octet,)) if octet in _KEEP else b"%%%02X" % octet for octet in name)


_HEX = re.compile(rb"[0-9a-f]+")


def _is_hex(text: bytes) -> bool:
    return len(text) % 2 == 0 and len(text) >= 64 and _HEX.fullmatch(text) is not None
