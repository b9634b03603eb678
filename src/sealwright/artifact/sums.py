"""Lines of a text that `sha256sum -c` checks, read one after another: `#!` lines that say more, then sum lines (RULES 1).

    lines = Lines(data, "drive.bin.manifest")
    algorithm = lines.first(b"# sealwright manifest 1 ")
    links = tuple(lines.group(b"#! link ", link_of))
    files = lines.sums(algorithm.size * 2)

Every one of our texts is made of these, so that a name or a digest is written in one way only: texts and names in `#!` lines
percent-encoded, so that no `#` line holds two spaces; lower-case hex; in sum lines a backslash is escaped as coreutils does.
"""

from __future__ import annotations

import re
from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from operator import lt
from typing import NamedTuple, TypeVar

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.names import MAX_PART_BYTES, PLAIN_NAME, check_name, display
from sealwright.errors import LimitExceeded, MalformedArtifact

T = TypeVar("T")
MAX_LINE_BYTES = 8192
MAX_FILES = 4_000_000
AT_ONCE = 50_000  # lines made together, and the bytes of lines read together: more would only take memory
RUN_BYTES = 1 << 20
MAX_TEXT = 200
MAX_NUMBER = 2**63 - 1
_KEEP = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/@+,=:()[]!$&'*;<>?^`{|}\"")
_WITH_BACKSLASH = re.compile(rb"^.*\\.*$", re.MULTILINE)
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,18}")
_HEX = re.compile(rb"[0-9a-f]+")
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_TIMES = re.compile(rb"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class FileEntry(NamedTuple):
    """One regular file: raw name, digest octets. A named tuple, because a tree may have millions."""

    name: bytes
    digest: bytes


class Lines:
    """Reads line by line, and plain sum lines in runs; keeps the number of the line for errors."""

    def __init__(self, data: bytes, subject: str, next_step: str) -> None:
        """MalformedArtifact for a text in another coding of lines; the first line is taken."""
        if data.startswith(b"\xef\xbb\xbf") or b"\r" in data[:MAX_LINE_BYTES]:
            raise MalformedArtifact(subject, "it has a byte-order mark or CR LF line ends", "Copy it in binary mode.")
        self.data = data
        self.subject = subject
        self.next_step = next_step
        self.number = 0
        self.line = b""
        self.at = 0  # where the next line begins
        self.next()

    def next(self) -> None:
        """Take the next line; an empty one after the last."""
        self.number += 1
        if self.at >= len(self.data):
            self.line = b""
            return
        end = self.data.find(b"\n", self.at, self.at + MAX_LINE_BYTES)
        if end < 0:
            raise self.wrong(f"the line does not end within {MAX_LINE_BYTES} bytes, or the final line feed is missing")
        self.line = self.data[self.at : end]
        self.at = end + 1

    def wrong(self, what: str) -> MalformedArtifact:
        """What is wrong with the line."""
        return MalformedArtifact(self.subject, f"line {self.number}: {what}", self.next_step)

    def first(self, beginning: bytes) -> HashName:
        """The digest that the first line names after what it begins with."""
        name = self.line.removeprefix(beginning)
        if name == self.line or name not in (b"sha256", b"sha384", b"sha512"):
            raise self.wrong(f"it does not begin `{beginning.decode().strip()}` and sha256, sha384 or sha512")
        self.next()
        return HashName(name.decode())

    def group(self, prefix: bytes, read: Callable[[bytes], T]) -> Iterator[T]:
        """What each of the following lines with a prefix says after it."""
        while self.line.startswith(prefix):
            yield read(self.line.removeprefix(prefix))
            self.next()

    def one(self, prefix: bytes, read: Callable[[bytes], T]) -> T:
        """What the one line with a prefix says, which must be here."""
        text = self.line.removeprefix(prefix)
        if text == self.line:
            raise self.wrong(f"`{prefix.decode().strip()} …` is wanted here")
        value = read(text)
        self.next()
        return value

    def one_or_none(self, prefix: bytes, read: Callable[[bytes], T]) -> T | None:
        """The same for a line that may be missing."""
        return self.one(prefix, read) if self.line.startswith(prefix) else None

    def claims(self) -> Claims:
        """The `#! claim` lines, in their order."""
        found: dict[str, list[str]] = {}
        rank = -1
        order = ("product", "version", "generation", "hardware", "environment")
        while self.line.startswith(b"#! claim "):
            name, _, text = self.line.removeprefix(b"#! claim ").partition(b" ")
            if name.decode("latin-1") not in order:
                raise self.wrong(f"unknown claim {display(name[:40])}")
            key = name.decode()
            if order.index(key) < rank or (key != "hardware" and key in found):
                raise self.wrong(f"the claim {key} is repeated or out of order")
            rank = order.index(key)
            found.setdefault(key, []).append(self.text(text))
            self.next()
        generation = found.get("generation")
        number = self.as_number(generation[0].encode()) if generation else None
        one = {key: values[0] for key, values in found.items()}
        return Claims(
            one.get("product"), one.get("version"), number, tuple(found.get("hardware", ())), one.get("environment")
        )

    def text(self, encoded: bytes, most: int = MAX_TEXT) -> str:
        """A printable text of 1 to 200 characters, or to as many as are said."""
        try:
            text = self.decoded(encoded).decode()
        except UnicodeDecodeError as cause:
            raise self.wrong("a text is not UTF-8") from cause
        if not text.strip() or len(text) > most or not text.isprintable():
            raise self.wrong(f"a text is empty, longer than {most} characters or not printable")
        return text

    def as_number(self, text: bytes) -> int:
        """A number in decimal digits."""
        if not _NUMBER.fullmatch(text) or int(text) > MAX_NUMBER:
            raise self.wrong(f"{display(text[:40])} is not a number from 0 to {MAX_NUMBER}")
        return int(text)

    def time(self, text: bytes) -> datetime:
        """A moment in UTC, to the second: `2026-11-26T02:00:00Z`."""
        try:
            if not _TIMES.fullmatch(text):
                raise ValueError
            return datetime.strptime(text.decode(), _TIME).replace(tzinfo=UTC)
        except ValueError as cause:
            raise self.wrong(f"{display(text[:40])} is not a time like 2026-11-26T02:00:00Z") from cause

    def name(self, encoded: bytes) -> bytes:
        """A name as a manifest may hold it."""
        name = self.decoded(encoded)
        check_name(name, f"{self.subject} line {self.number}")
        return name

    def decoded(self, encoded: bytes) -> bytes:
        """What was percent-encoded in the one way there is."""
        if encoded.isalnum() and encoded.isascii():
            return encoded
        name = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes.fromhex(match[1].decode()), encoded)
        if encoded_name(name) != encoded or not name:
            raise self.wrong("a name or text is not percent-encoded in the one canonical way")
        return name

    def sums(self, hex_digits: int) -> tuple[FileEntry, ...]:
        """The sum lines to the end: run by run where all lines of a run are plain and sorted, else one by one."""
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
                self.next()
            while self.line and self.at <= end:
                entry = self._file(hex_digits)
                if entry.name <= last:
                    raise self.wrong("the files are not sorted by name, or one is listed twice")
                last = entry.name
                files.append(entry)
                self.next()
            last = files[-1].name
            if len(files) > MAX_FILES:
                raise LimitExceeded(self.subject, f"more than {MAX_FILES} files", "Split the tree.")
        return tuple(files)

    def _more(self) -> bool:
        if self.number <= self.data.count(b"\n"):
            raise self.wrong("an empty line")
        return False

    def _file(self, hex_digits: int) -> FileEntry:
        line = self.line
        escaped = line.startswith(b"\\")
        if escaped:
            line = line[1:]
        digest, gap, name = line[:hex_digits], line[hex_digits : hex_digits + 2], line[hex_digits + 2 :]
        if line.startswith(b"#!"):
            raise self.wrong(f"unknown or misplaced line {display(line[:40])}")
        if gap != b"  " or not is_hex(digest):
            raise self.wrong("wanted is a lower-case digest of the algorithm in line 1, two spaces and a name")
        if escaped != (b"\\" in name):
            raise self.wrong("a line begins with a backslash exactly where its name is escaped")
        if escaped:
            plain = name.replace(b"\\\\", b"\0")
            if b"\\" in plain or b"\0" in name:
                raise self.wrong("only a backslash is escaped in a name")
            name = plain.replace(b"\0", b"\\")
        check_name(name, f"{self.subject} line {self.number}")
        return FileEntry(name, bytes.fromhex(digest.decode()))


def claim_lines(claims: Claims) -> Iterator[bytes]:
    """The `#! claim` lines of what is claimed."""
    for name, text in _claimed(claims):
        yield b"#! claim " + name + b" " + encoded_name(text.encode()) + b"\n"


def _claimed(claims: Claims) -> Iterator[tuple[bytes, str]]:
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


def sum_lines(files: Sequence[FileEntry]) -> bytes:
    """The lines that coreutils check, in the order given."""
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


def encoded_name(name: bytes) -> bytes:
    """A name or text as it stands in a `#!` line."""
    if name.isalnum() and name.isascii():
        return name
    return b"".join(bytes((octet,)) if octet in _KEEP else b"%%%02X" % octet for octet in name)


def time_text(moment: datetime) -> bytes:
    """A moment as it stands in a `#!` line; what is smaller than a second is left out."""
    return moment.astimezone(UTC).strftime(_TIME).encode()


def is_hex(text: bytes) -> bool:
    """Whether it is lower-case hex of at least 32 octets."""
    return len(text) % 2 == 0 and len(text) >= 64 and _HEX.fullmatch(text) is not None
