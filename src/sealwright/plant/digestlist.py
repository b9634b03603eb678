"""Digests as vendors publish them: the output of the usual programs, read whole or refused (A033, A076).

    coreutils    e3b0c4…  drive.bin      e3b0c4… *drive.bin      \\e3b0c4…  back\\\\slash.bin
    BSD          SHA256 (drive.bin) = e3b0c4…           openssl dgst     SHA2-256(drive.bin)= e3b0c4…
    bare         e3b0c4…      sha256:e3b0c4…      SHA256: e3b0c4…
    PowerShell   Get-FileHash as table, as list (Format-List) and as CSV (Export-Csv)
    certutil     SHA256 hash of drive.bin: / e3b0c4… / CertUtil: -hashfile command completed successfully.
    packages     `Filename: … / SHA256: …` and the lists of Debian (`SHA256:` and lines of hash, size, name)
    CSV          with a heading that names one column of names, and the columns of digests

UTF-8 with or without a byte-order mark, UTF-16 with one (PowerShell redirects to it), LF or CR LF. Empty lines and lines that begin
with `#` are passed over, as `sha256sum -c` does. Every other line must be understood: one that is not could be a second digest of the same file.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sealwright.artifact.names import display
from sealwright.errors import LimitExceeded, NothingCompared

MAX_BYTES = 4 << 20
MAX_LINE = 8192
MAX_SUMS = 100_000
BY_DIGITS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_DIGITS = {name: digits for digits, name in BY_DIGITS.items()}
_OTHERS = frozenset(
    (
        "sha224",
        "sha512224",
        "sha512256",
        "sha3224",
        "sha3256",
        "sha3384",
        "sha3512",
        "blake2b",
        "blake2s",
        "blake3",
        "ripemd160",
        "rmd160",
        "whirlpool",
        "sm3",
        "mactripledes",
    )
)
_ALIASES = {"sha2256": "sha256", "sha2384": "sha384", "sha2512": "sha512", "sha2224": "sha224", "sha": "sha1"}
_HEX = r"[0-9A-Fa-f]+"
_COREUTILS = re.compile(rf"[ \t]*(\\?)({_HEX})(?: [ *]|[ \t])(?=\S)(.+)")
_BSD = re.compile(rf"(\\?)([A-Za-z][A-Za-z0-9/-]*) ?\((.+)\) ?= ?({_HEX})")
_STDIN = re.compile(rf"\(stdin\)= ({_HEX})")
_BARE = re.compile(rf"[ \t]*({_HEX})[ \t]*")
_LABELLED = re.compile(rf"((?:sha|md)[0-9-]{{1,4}})[:=]({_HEX})", re.IGNORECASE)
_CERTUTIL = re.compile(r"([A-Za-z0-9]+)(?: hash of (?:file )?|-Hash von (?:Datei )?)(.+):")
_CERTUTIL_END = re.compile(r"CertUtil: .{1,200}")
_TABLE = re.compile(r"Algorithm +Hash +Path *")
_ROW = re.compile(rf"([A-Za-z0-9]+) +({_HEX}) +(\S.*)")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9 _.-]{0,40}?)[ \t]*:(?:[ \t]+(.*))?")
_SECTION_LINE = re.compile(rf"[ \t]+({_HEX})[ \t]+[0-9]+[ \t]+(?:[^ \t]+[ \t]+[^ \t]+[ \t]+)?([^ \t]+)")
_SECTIONS = {"checksumssha1": "sha1", "checksumssha256": "sha256", "checksumssha512": "sha512", "files": "md5"}
_NAMES = frozenset(("path", "filename", "file", "name"))
_HASHES = frozenset(("hash", "checksum", "digest"))
# what packages have digests of beside themselves
_OF_SOMETHING_ELSE = frozenset(("descriptionmd5",))
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{32,}(?![0-9A-Za-z])")
_GIVE_IT = "Copy the digest by hand, --compare sha256:HEX, and keep this file with --evidence."


class Sum(NamedTuple):
    """One digest. algorithm: `sha256`, ..., or another one's name; name: of the file as it stands there, None where there is none."""

    line: int
    algorithm: str
    value: bytes
    name: str | None


def parse_digest_list(data: bytes, subject: str) -> tuple[Sum, ...]:
    """Every digest in it, at least one. NothingCompared naming the line that is not understood, LimitExceeded above 4 MiB."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_BYTES} are read as a list of digests.")
    lines = [line.removesuffix("\r") for line in _text(data, subject).split("\n")]
    found = tuple(_Reader(lines, subject).sums())
    if not found:
        raise NothingCompared(
            subject, f"there is no digest in it ({len(data)} bytes)", "Ask the vendor for the list again."
        )
    return found


def _text(data: bytes, subject: str) -> str:
    """Bytes that are no UTF-8 stay as lone surrogates, since names have any; other encodings show by their byte-order mark."""
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        else:
            text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    except UnicodeDecodeError as cause:
        raise NothingCompared(subject, "it begins as UTF-16 and is none", _GIVE_IT) from cause
    if "\0" in text:
        raise NothingCompared(subject, "it is no text: it holds zero bytes", _GIVE_IT)
    head = text.lstrip()[:200].lower()
    if head.startswith(("<!doctype", "<html", "<?xml", "<head", "<table", "<body")):
        raise NothingCompared(subject, "it is a web page, not a list of digests", _GIVE_IT)
    if "-----BEGIN PGP" in text:
        raise NothingCompared(
            subject,
            "it is signed inside (PGP)",
            "Check that signature, and take out what is signed: gpgv --keyring KEYS --output LIST FILE",
        )
    return text


class _Reader:
    """Goes through the lines; some shapes take several."""

    def __init__(self, lines: Sequence[str], subject: str) -> None:
        self.lines = lines
        self.subject = subject
        self.at = 0

    def sums(self) -> Iterator[Sum]:
        """In the order of the lines."""
        for count, one in enumerate(self._all(), 1):
            if count > MAX_SUMS:
                raise LimitExceeded(
                    self.subject, f"more than {MAX_SUMS} digests", "Cut out the lines of this delivery."
                )
            yield one

    def _all(self) -> Iterator[Sum]:
        if (heading := self._heading()) is not None:
            yield from self._csv(heading)
            return
        while self.at < len(self.lines):
            line = self._next()
            if not line.strip() or line.startswith("#"):
                continue
            if _TABLE.fullmatch(line):
                yield from self._table()
            elif (found := _CERTUTIL.fullmatch(line)) and self._algorithm(found[1]):
                yield self._certutil(found)
            elif (one := self._single(line)) is not None:
                yield one
            elif _FIELD.fullmatch(line):
                self.at -= 1
                yield from self._fields()
            else:
                raise self._wrong(f"{display(line[:80])!r} is not understood")

    def _single(self, line: str) -> Sum | None:
        """A digest on a line of its own, with or without a name."""
        if found := _BARE.fullmatch(line):
            return self._sum(None, found[1], None)
        if found := _LABELLED.fullmatch(line):
            return self._sum(found[1], found[2], None)
        if found := _STDIN.fullmatch(line):
            return self._sum(None, found[1], None)
        if found := _BSD.fullmatch(line):
            name = self._unescaped(found[3]) if found[1] else found[3]
            return self._sum(found[2], found[4], None if name == "stdin" else name)
        # a short number in front is the size or a CRC of `cksum`, and is then said not to be a whole digest
        if (found := _COREUTILS.fullmatch(line)) and len(found[2]) >= 8:
            name = self._unescaped(found[3]) if found[1] else found[3]
            return self._sum(None, found[2], None if name == "-" else name)
        return None

    def _sum(self, algorithm: str | None, digits: str, name: str | None) -> Sum:
        """Raises NothingCompared where a digest is not as long as its algorithm makes it."""
        known = self._algorithm(algorithm) if algorithm is not None else BY_DIGITS.get(len(digits))
        if known is None and algorithm is not None:
            raise self._wrong(f"the algorithm {display(algorithm[:40])} is not known")
        if known is None or _DIGITS.get(known, len(digits)) != len(digits) or len(digits) % 2:
            raise self._wrong(
                f"a digest of {len(digits)} digits: it is cut off, or none of {known or 'the usual algorithms'}"
            )
        return Sum(self.at, known, bytes.fromhex(digits), name)

    def _algorithm(self, text: str) -> str | None:
        """The name as we write it, None for what is none."""
        plain = re.sub(r"[^a-z0-9]", "", text.lower()).removesuffix("sum")
        plain = _ALIASES.get(plain, plain)
        return plain if plain in _DIGITS or plain in _OTHERS else None

    def _unescaped(self, name: str) -> str:
        """As coreutils escapes: a backslash, line feed or carriage return."""
        if re.search(r"\\(?![\\nr])", name.replace("\\\\", "")):
            raise self._wrong("a name is escaped in another way than `sha256sum` does")
        return re.sub(r"\\([\\nr])", lambda found: {"\\": "\\", "n": "\n", "r": "\r"}[found[1]], name)

    def _certutil(self, head: re.Match[str]) -> Sum:
        """Three lines; older ones put spaces between the octets."""
        digits = self._next().replace(" ", "")
        if not re.fullmatch(_HEX, digits):
            raise self._wrong("behind the first line of certutil a digest is wanted")
        one = self._sum(head[1], digits, head[2])
        if not _CERTUTIL_END.fullmatch(self._next()):
            raise self._wrong("the last line of certutil is missing: it was cut off, or did not succeed")
        return one

    def _table(self) -> Iterator[Sum]:
        """The rows of Get-FileHash, up to an empty line. What does not fit on the screen is cut off there, and refused here."""
        if set(self._next()) - {"-", " "}:
            raise self._wrong("the line under the heading of Get-FileHash is missing")
        while self.at < len(self.lines) and self.lines[self.at].strip():
            row = _ROW.fullmatch(self._next().rstrip())
            if row is None or row[3].endswith(("...", "…")):
                raise self._wrong("a row of Get-FileHash is not whole; have it written with `| Format-List`")
            yield self._sum(row[1], row[2], row[3])

    def _next(self) -> str:
        if self.at >= len(self.lines):
            raise self._wrong("it ends too early")
        self.at += 1
        line = self.lines[self.at - 1]
        if len(line) > MAX_LINE or "\r" in line:
            raise self._wrong(f"it is longer than {MAX_LINE} characters, or a carriage return stands in it")
        return line

    def _fields(self) -> Iterator[Sum]:
        """`Key: value` lines up to an empty one: a file's name and its digests, in any order, or a section of a Debian list."""
        names: list[str] = []
        algorithms: list[str] = []
        sums: list[Sum] = []
        while self.at < len(self.lines) and self.lines[self.at].strip():
            line = self._next()
            found = _FIELD.fullmatch(line)
            if found is None:
                raise self._wrong(f"{display(line[:80])!r} is not understood")
            key, value = re.sub(r"[^a-z0-9]", "", found[1].lower()), (found[2] or "").strip()
            section = _SECTIONS.get(key) or (None if value else self._algorithm(key))
            if section and not value:
                yield from self._section(section)
            elif key in _NAMES:
                names.append(value + self._continued())
            elif key == "algorithm":
                algorithms.append(value)
            elif key in _HASHES or self._algorithm(key):
                digits = value + self._continued()
                if not re.fullmatch(_HEX, digits):
                    raise self._wrong(f"{display(found[1])} is no digest in hexadecimal")
                named = None if key in _HASHES else key
                sums.append(self._sum(named or (algorithms[-1] if algorithms else None), digits, None))
            elif _LONG_HEX.search(value + " " + self._continued()) and key not in _OF_SOMETHING_ELSE:
                raise self._wrong(f"{display(line[:80])!r} has a digest in it that is not understood")
        if len(names) > 1 and sums:
            raise self._wrong("several names, and it cannot be told whose the digests are")
        yield from (one._replace(name=names[0] if names else None) for one in sums)

    def _continued(self) -> str:
        """The rest of a value that goes on, indented, on the next lines."""
        rest = ""
        while self.at < len(self.lines) and self.lines[self.at][:1] in (" ", "\t") and self.lines[self.at].strip():
            if not rest and _LONG_HEX.search(self.lines[self.at]) and not _BARE.fullmatch(self.lines[self.at]):
                break  # an indented line with a digest and more is never passed over
            rest += self._next().strip()
        return rest

    def _section(self, algorithm: str) -> Iterator[Sum]:
        while self.at < len(self.lines) and self.lines[self.at][:1] in (" ", "\t"):
            found = _SECTION_LINE.fullmatch(self._next().rstrip())
            if found is None:
                raise self._wrong("wanted is a digest, a size and a name")
            yield self._sum(algorithm, found[1], found[2])

    def _heading(self) -> list[str] | None:
        """The columns of a CSV, where the first line that says something is the heading of one."""
        for number, line in enumerate(self.lines[:3]):
            if not line.strip() or line.startswith("#"):
                continue
            if len(line) > MAX_LINE or "\r" in line:
                return None  # and told when it is read
            columns = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in next(csv.reader([line]), [])]
            names, digests = _NAMES.intersection(columns), [one for one in columns if self._is_digest(one)]
            if len(columns) < 2 or not digests or not names:
                return None
            self.at = number + 1
            return columns
        return None

    def _is_digest(self, column: str) -> bool:
        return column in _HASHES or self._algorithm(column) is not None

    def _csv(self, columns: list[str]) -> Iterator[Sum]:
        """Rows on one line each, with as many cells as the heading."""
        if len(set(columns)) != len(columns) or len(_NAMES.intersection(columns)) != 1:
            raise self._wrong("the heading repeats a column, or names several for the file's name")
        (name,) = (columns.index(one) for one in _NAMES.intersection(columns))
        while self.at < len(self.lines):
            line = self._next()
            if not line.strip():
                continue
            try:
                (cells,) = csv.reader([line], strict=True)
            except (csv.Error, ValueError) as cause:
                raise self._wrong("the row is no CSV") from cause
            if len(cells) != len(columns):
                raise self._wrong(f"the row has {len(cells)} cells, the heading {len(columns)}")
            for column, cell in zip(columns, cells, strict=True):
                if not self._is_digest(column) or (column not in _HASHES and not cell):
                    continue
                if not re.fullmatch(_HEX, cell.strip()):
                    raise self._wrong(f"the column {column} has no digest in hexadecimal")
                said = cells[columns.index("algorithm")] if column in _HASHES and "algorithm" in columns else None
                yield self._sum(said if column in _HASHES else column, cell.strip(), cells[name])

    def _wrong(self, what: str) -> NothingCompared:
        return NothingCompared(self.subject, f"line {self.at}: {what}", _GIVE_IT)
