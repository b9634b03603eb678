"""Manifests of JAR archives and the files that sign them: sections of attributes, lines of at most 72 octets.

    Manifest-Version: 1.0                 the main section
    <empty line>
    Name: data/x.bin                      one section for each member
    SHA-256-Digest: VS8MyCfzGg9drou0kvxFYeMfFb4HP69xcmQGnErAVcQ=

A line that begins with a space continues the one before. Read strictly: an attribute or a name twice, a line that no rule explains,
or a last line that does not end is refused. Source: JAR File Specification (Java SE 17), "Name-Value pairs and Sections".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import LimitExceeded, MalformedArtifact

MAX_BYTES = 32 << 20
MAX_LINES = 600_000
MAX_ATTRIBUTES = 4096
MAX_SECTIONS = 65_534
LINE_BYTES = 72
DIGESTS = {"SHA-256": HashName.SHA256, "SHA-384": HashName.SHA384, "SHA-512": HashName.SHA512}
NAMES = {name: text for text, name in DIGESTS.items()}
_ATTRIBUTE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,69}): (.*)", re.DOTALL)
Attributes = dict[str, str]


class Manifest(NamedTuple):
    """main, sections: attributes by name as written, sections by the name of their member; parts: the octets of each section,
    the main one first under the name "", each with the empty line that ends it."""

    main: Attributes
    sections: dict[str, Attributes]
    parts: dict[str, bytes]


def read_manifest(data: bytes, subject: str, first: str = "Manifest-Version", *, most: int = MAX_SECTIONS) -> Manifest:
    """Read a whole one; MalformedArtifact with the line, LimitExceeded out of bounds. first: the attribute it begins with.

    most: how many members there can be to name.
    """
    if len(data) > MAX_BYTES or (count := data.count(b"\n")) > MAX_LINES:
        what = f"a manifest of {len(data)} bytes" if len(data) > MAX_BYTES else f"a manifest of {count} lines"
        raise LimitExceeded(subject, what, f"At most {MAX_BYTES} bytes and {MAX_LINES} lines are read.")
    main: Attributes | None = None
    sections: dict[str, Attributes] = {}
    parts: dict[str, bytes] = {}
    lines = data.split(b"\n")
    if lines.pop():
        raise _wrong(subject, len(lines) + 1, "the last line does not end")
    at = start = 0
    number = 0
    while number < len(lines):
        begun, block = number, []
        while number < len(lines) and lines[number] not in (b"", b"\r"):
            block.append(lines[number].removesuffix(b"\r"))
            at += len(lines[number]) + 1
            number += 1
        while number < len(lines) and lines[number] in (b"", b"\r"):
            at += len(lines[number]) + 1
            number += 1
        attributes = _attributes(block, begun + 1, subject)
        if main is None:
            if next(iter(attributes), "") != first:
                raise _wrong(subject, 1, f"it does not begin with {first}")
            main, name = attributes, ""
        else:
            name = attributes.pop("Name", "") if next(iter(attributes), "") == "Name" else ""
            if len(sections) >= most:
                raise _wrong(subject, begun + 1, f"more sections than the {most} members there are")
            if not name or name in sections:
                raise _wrong(subject, begun + 1, f"a section without a name, or a second one for {name}")
            sections[name] = attributes
        parts[name] = data[start:at]
        start = at
    if main is None:
        raise _wrong(subject, 1, "it is empty")
    return Manifest(main, sections, parts)


def section(attributes: Iterable[tuple[str, str]]) -> bytes:
    """A section with the empty line that ends it."""
    out = []
    for key, value in attributes:
        line = f"{key}: {value}".encode()
        out.append(line[:LINE_BYTES])
        out += [b" " + line[at : at + LINE_BYTES - 1] for at in range(LINE_BYTES, len(line), LINE_BYTES - 1)]
    return b"".join(line + b"\r\n" for line in out) + b"\r\n"


def digests(attributes: Attributes, subject: str, name: str, suffix: str = "-Digest") -> list[Digest]:
    """The SHA-2 digests among attributes; others count for nothing. MalformedArtifact where one is no digest."""
    found, lower = [], {key.lower(): value for key, value in attributes.items()}
    for text, algorithm in DIGESTS.items():
        value = lower.get((text + suffix).lower())
        if value is None:
            continue
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as cause:
            raise MalformedArtifact(subject, f"the digest of {name} is not base64", _NEXT) from cause
        if len(raw) != algorithm.size:
            raise MalformedArtifact(subject, f"the {algorithm} digest of {name} has {len(raw)} bytes", _NEXT)
        found.append(Digest(algorithm, raw))
    return found


def is_digest(key: str) -> bool:
    """Whether an attribute is a digest of its member, by whatever algorithm."""
    return key.lower().endswith("-digest")


def _attributes(lines: list[bytes], first: int, subject: str) -> Attributes:
    found: Attributes = {}
    joined: list[tuple[int, bytearray]] = []
    for number, line in enumerate(lines, first):
        if line.startswith(b" "):
            if not joined:
                raise _wrong(subject, number, "it continues nothing")
            joined[-1][1].extend(line[1:])
        else:
            joined.append((number, bytearray(line)))
    if len(joined) > MAX_ATTRIBUTES:
        raise LimitExceeded(subject, f"{len(joined)} attributes in a section", f"At most {MAX_ATTRIBUTES} are read.")
    names: set[str] = set()
    for number, raw in joined:
        try:
            match = _ATTRIBUTE.fullmatch(raw.decode())
        except UnicodeDecodeError as cause:
            raise _wrong(subject, number, "it is not UTF-8") from cause
        if match is None or "\r" in match[2] or "\0" in match[2]:
            raise _wrong(subject, number, "it is no `Name: value`")
        if match[1].lower() in names:
            raise _wrong(subject, number, f"a second {match[1]}")
        names.add(match[1].lower())
        found[match[1]] = match[2]
    return found


_NEXT = "Ask its maker for the archive again."


def _wrong(subject: str, line: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(subject, f"line {line} of its manifest: {what}", _NEXT)
