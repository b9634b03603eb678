"""Names of tree members, as bytes with `/` between parts, and which of them a manifest may hold (A033, A049, A068, A076).

A name is UTF-8 without control characters, relative, without empty, `.` or `..` parts, also when read as Windows does (`\\`
is a separator, `X:` a drive). Names of one folder must stay different under NFC, case folding and Windows' rules: it
drops trailing dots and spaces, takes `name:stream` for `name` and `con.txt` for a device.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from sealwright.errors import MalformedArtifact

MAX_NAME_BYTES = 4096
MAX_PART_BYTES = 255
MAX_DEPTH = 128
PLAIN_NAME = rb"[A-Za-z0-9_+,=@ -][A-Za-z0-9_+,=@. -]*+(?:/[A-Za-z0-9_+,=@-][A-Za-z0-9_+,=@. -]*+)*+"
_PLAIN = re.compile(PLAIN_NAME)
_DEVICES = frozenset(
    name.encode()
    for name in [
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(n + i for n in ("com", "lpt") for i in "123456789¹²³"),
    ]
)
_SIMPLE = re.compile(rb"[A-Za-z0-9_+,=@.-]*[A-Za-z0-9_+,=@-]")
_SIMPLE_PARTS = re.compile(rb"(?:[A-Za-z0-9_+,=@.-]++(?<!\.)\0)*+")
_MAYBE_DEVICE = re.compile(rb"\0(?:con|prn|aux|nul|com|lpt)")
_DRIVE = re.compile(r"[A-Za-z]:")
_SHOWN_AS_CODE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_NEXT = "Rename it; a manifest must mean the same on every system."


def check_name(name: bytes, subject: str) -> None:
    """MalformedArtifact naming the subject if a name is not one that a manifest may hold."""
    if len(name) <= MAX_PART_BYTES and _PLAIN.fullmatch(name) and name != b"-":
        return
    shown = display(name)
    try:
        text = name.decode()
    except UnicodeDecodeError as cause:
        raise MalformedArtifact(subject, f"the name {shown} is not UTF-8", _NEXT) from cause
    problem = _problem(name, text)
    if problem:
        raise MalformedArtifact(subject, f"the name {shown} {problem}", _NEXT)


def check_distinct(names: Iterable[bytes], subject: str) -> None:
    """MalformedArtifact if two names would be one file, folder or device on some system.

    names: files, links and empty folders of one tree, sorted as bytes, so that each folder's members come together; only
    the folders on the way to the current name are remembered.
    """
    open_folders: list[tuple[bytes, list[bytes]]] = [(b"", [])]
    current = b""
    for name in names:
        folder, _, part = name.rpartition(b"/")
        if folder != current:
            _enter(open_folders, folder, subject)
            current = folder
        open_folders[-1][1].append(part)
    _enter(open_folders, b"", subject)
    _check_apart(b"", open_folders[0][1], _simple(open_folders[0][1]), subject)


def check_members(prefix: bytes, parts: Sequence[bytes], subject: str) -> None:
    """The same two checks for all members of one folder, in any order. prefix: the folder's name with `/`, b"" for the root."""
    if not parts:
        return
    simple = _simple(parts)
    if simple is None or len(prefix) + max(map(len, parts)) > MAX_PART_BYTES or (not prefix and b"-" in parts):
        for part in parts:
            check_name(prefix + part, subject)
    _check_apart(prefix, parts, simple, subject)


def usable_members(prefix: bytes, parts: Sequence[bytes], subject: str) -> tuple[list[bytes], list[MalformedArtifact]]:
    """The members of one folder that `check_members` has nothing against, sorted, and what it has against each of the others.

    Of two that would be one file on some system the first in order stays.
    """
    try:
        check_members(prefix, parts, subject)
    except MalformedArtifact:
        pass
    else:
        return sorted(parts), []
    good: list[bytes] = []
    problems: list[MalformedArtifact] = []
    members: dict[bytes, bytes] = {}
    for part in sorted(parts):
        try:
            check_name(prefix + part, display(prefix + part))
            _take(members, part, prefix + part, display(prefix + part))
        except MalformedArtifact as cause:
            problems.append(cause)
        else:
            good.append(part)
    return good, problems


def _enter(open_folders: list[tuple[bytes, list[bytes]]], folder: bytes, subject: str) -> None:
    """Check and leave the folders that are done, and take the parts of the way to the next one as members of their parents."""
    parts = folder.split(b"/") if folder else []
    depth = 0
    while depth < len(parts) and depth + 1 < len(open_folders) and open_folders[depth + 1][0] == parts[depth]:
        depth += 1
    while len(open_folders) > depth + 1:
        prefix = b"".join(part + b"/" for part, _ in open_folders[1:])
        _, members = open_folders.pop()
        _check_apart(prefix, members, _simple(members), subject)
    for part in parts[depth:]:
        open_folders[-1][1].append(part)
        open_folders.append((part, []))


def _simple(parts: Sequence[bytes]) -> bytes | None:
    """The parts in lower case, each before a zero, where that is all that systems make of them."""
    joined = b"\0".join(parts) + b"\0"
    return joined.lower() if _SIMPLE_PARTS.fullmatch(joined) else None


def _check_apart(prefix: bytes, parts: Sequence[bytes], simple: bytes | None, subject: str) -> None:
    """A folder's members are no devices and stay different; all at once where they are simple, else one by one."""
    if (
        simple is not None
        and not _MAYBE_DEVICE.search(b"\0" + simple)
        and len(set(simple.split(b"\0"))) == len(parts) + 1
    ):
        return
    members: dict[bytes, bytes] = {}
    for part in sorted(parts):
        _take(members, part, prefix + part, subject)


def _take(members: dict[bytes, bytes], part: bytes, name: bytes, subject: str) -> None:
    for folded, meant in _readings(part):
        if folded.partition(b".")[0].rstrip(b" ") in _DEVICES:
            raise MalformedArtifact(subject, f"the name {display(name)} is a device on Windows", _NEXT)
        other = members.setdefault(folded, meant)
        if other != meant:
            raise MalformedArtifact(
                subject, f"{display(name)} and {display(other)} are one name on some systems", _NEXT
            )


def display(name: bytes | str) -> str:
    """A name as it may be shown: control, format and direction characters are written as escapes."""
    text = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in _SHOWN_AS_CODE else c for c in text)


def _problem(name: bytes, text: str) -> str:
    parts = text.split("/")
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in text):
        return "has control characters"
    if not text or text.startswith(("/", "\\")) or _DRIVE.match(text):
        return "is not relative"
    if any(piece in ("", ".", "..") for part in parts for piece in (part, *part.split("\\"))):
        return "has an empty, `.` or `..` part"
    if (
        len(name) > MAX_NAME_BYTES
        or len(parts) > MAX_DEPTH
        or any(len(part.encode()) > MAX_PART_BYTES for part in parts)
    ):
        return f"is longer than {MAX_PART_BYTES} bytes a part, {MAX_NAME_BYTES} in all or {MAX_DEPTH} folders"
    return "means standard input to sha256sum" if text == "-" else ""


def _readings(part: bytes) -> Sequence[tuple[bytes, bytes]]:
    """How systems may read one part: itself folded, and what Windows takes for it before `\\` or `:`."""
    if _SIMPLE.fullmatch(part):
        return ((part.lower(), part),)
    text = part.decode()
    readings = [(_folded(text), part)]
    for separator in "\\:":
        head, found, _ = text.partition(separator)
        if found:
            readings.append((_folded(head), (head + found).encode()))
    return readings


def _folded(text: str) -> bytes:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).rstrip(". ") or text
    return folded.encode()


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
