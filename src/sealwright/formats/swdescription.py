"""sw-description, what a SWUpdate archive installs: libconfig or JSON, as far as a signature's judge needs it.

    software = { version = "1.2"; hardware-compatibility: [ "1.0" ];
                 images: ( { filename = "rootfs.img"; sha256 = "2c26b4..."; device = "/dev/mmcblk0p2"; } ); }

Every file that any part of it names must have its SHA-256 there: SWUpdate writes an image without one as it came, whoever sent it.
Files are not included (@include), names do not come twice in a group, and what libconfig or JSON do not say is refused.
Source: libconfig manual, "Configuration Files"; SWUpdate documentation, "sw-description".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_TEXT = 200
MAX_NUMBER = 40
Value = str | bool | float | int | list["Value"] | dict[str, "Value"]
_SKIP = re.compile(r"(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)+", re.DOTALL)
_WORD = re.compile(r"[A-Za-z*][-A-Za-z0-9_*]*")
_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9A-Fa-f]+L{0,2}|\d+\.\d*(?:[eE][-+]?\d+)?|\d+(?:[eE][-+]?\d+)|\d+L{0,2})")
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "\\": "\\", '"': '"'}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


class Description(NamedTuple):
    """files: the digest that each named file must have; claims: version and hardware, as it says them."""

    files: dict[str, Digest]
    claims: Claims


def read_description(data: bytes, subject: str) -> Description:
    """Read a whole sw-description. MalformedArtifact with the line, or naming the file that has no digest; LimitExceeded."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"a sw-description of {len(data)} bytes", f"At most {MAX_BYTES} are read.")
    try:
        text = data.decode()
    except UnicodeDecodeError as cause:
        raise _wrong(subject, f"byte {cause.start} is not UTF-8") from cause
    if "\0" in text:
        raise _wrong(subject, "there is a zero byte in it")
    top = _json(text, subject) if text.lstrip()[:1] == "{" else _Reader(text, subject).settings()
    software = top.get("software")
    if not isinstance(software, dict):
        raise _wrong(subject, "it has no `software`")
    files: dict[str, Digest] = {}
    for name, entry in _named_files(software, subject):
        digest = entry.get("sha256")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise MalformedArtifact(
                subject, f"{name} has no sha256 in sw-description", "Give each file its sha256; nothing else binds it."
            )
        found = Digest(HashName.SHA256, bytes.fromhex(digest))
        if files.setdefault(name, found) != found:
            raise _wrong(subject, f"{name} has two different digests")
    return Description(files, _claims(software, subject))


def _named_files(value: Value, subject: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Value]]]:
    """Every group that names a file of the archive."""
    if depth > MAX_DEPTH:
        raise _too_deep(subject)
    if isinstance(value, dict):
        if "filename" in value:
            name = value["filename"]
            if not isinstance(name, str):
                raise _wrong(subject, "a filename is no text")
            yield name, value
        for inner in value.values():
            yield from _named_files(inner, subject, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _named_files(inner, subject, depth + 1)


def _claims(software: dict[str, Value], subject: str) -> Claims:
    version, hardware = software.get("version"), software.get("hardware-compatibility", [])
    if version is not None and not _plain(version):
        raise _wrong(subject, "its version is not plain text")
    if not isinstance(hardware, list) or not all(_plain(one) for one in hardware):
        raise _wrong(subject, "its hardware-compatibility is no list of plain texts")
    return Claims(version=str(version) if version is not None else None, hardware=tuple(str(one) for one in hardware))


def _plain(value: Value) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable() and value == value.strip()


def _json(text: str, subject: str) -> dict[str, Value]:
    def once(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _wrong(subject, "a name is twice in an object")
        return found

    try:
        found: dict[str, Value] = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as cause:
        raise _wrong(subject, f"it is not JSON: {cause}"[:160]) from cause
    return found


class _Reader:
    """libconfig, read once from left to right."""

    def __init__(self, text: str, subject: str) -> None:
        self.text = text
        self.subject = subject
        self.at = 0
        self.depth = 0

    def settings(self, end: str = "") -> dict[str, Value]:
        """Settings up to a closing brace, or the end of the text."""
        found: dict[str, Value] = {}
        while not self._next(end):
            word = self._match(_WORD)
            if word is None:
                raise self._error("no name of a setting")
            if word[0] in found:
                raise self._error(f"{word[0]} is there twice")
            if self._peek() not in ("=", ":"):
                raise self._error(f"no = behind {word[0]}")
            self.at += 1
            found[word[0]] = self._value()
            if self._peek() in (";", ","):
                self.at += 1
        return found

    def _next(self, end: str) -> bool:
        """Whether the closing character comes, which is then passed."""
        found = self._peek()
        if found == end:
            self.at += len(end)
            return True
        if not found:
            raise self._error(f"no {end} before the end")
        return False

    def _value(self) -> Value:
        opening = self._peek()
        if opening in ("{", "(", "["):
            self.at += 1
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise _too_deep(self.subject)
            found = self.settings("}") if opening == "{" else self._several(")" if opening == "(" else "]")
            self.depth -= 1
            return found
        return self._scalar()

    def _several(self, end: str) -> list[Value]:
        found: list[Value] = []
        while not self._next(end):
            found.append(self._value())
            if self._peek() == ",":
                self.at += 1
            elif self._peek() != end:
                raise self._error(f"neither a comma nor {end}")
        return found

    def _scalar(self) -> Value:
        if self._peek() == '"':
            return self._string()
        if (number := self._match(_NUMBER)) is not None:
            text = number[0].rstrip("L")
            if len(text) > MAX_NUMBER:
                raise self._error(f"a number of {len(text)} digits")
            return (
                float(text)
                if set(text) & set(".eE") and "x" not in text.lower()
                else int(text, 0 if "x" in text.lower() else 10)
            )
        word = self._match(_WORD)
        if word is not None and word[0].lower() in ("true", "false"):
            return word[0].lower() == "true"
        raise self._error("no value")

    def _string(self) -> str:
        """A text; several in a row are one."""
        parts = []
        while self._peek() == '"':
            match = self._match(_STRING)
            if match is None:
                raise self._error("a text that does not end on its line")
            parts.append(_ESCAPE.sub(self._unescaped, match[1]))
        return "".join(parts)

    def _unescaped(self, match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x" and len(code) == 3:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise self._error(f"the escape \\{code}")
        return _ESCAPES[code]

    def _peek(self) -> str:
        """The next character that is neither space nor comment."""
        found = self.text[self.at : self.at + 1]
        if found.isspace() or found in ("/", "#"):
            skipped = _SKIP.match(self.text, self.at)
            if skipped is not None:
                self.at = skipped.end()
                return self.text[self.at : self.at + 1]
        return found

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self._peek()
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def _error(self, what: str) -> MalformedArtifact:
        line = self.text.count("\n", 0, self.at) + 1
        return _wrong(self.subject, f"line {line}: {what}")


def _too_deep(subject: str) -> LimitExceeded:
    return LimitExceeded(subject, f"groups more than {MAX_DEPTH} deep", "Make it flatter.")


def _wrong(subject: str, what: str) -> MalformedArtifact:
    return MalformedArtifact(subject, f"its sw-description cannot be read: {what}", "Ask its maker for it again.")
