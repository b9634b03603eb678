"""What a script is: for which interpreter, and whether people and interpreters read the same text.

The kind is that of the first line (`#!`), of a line `sealwright-run: kind = ...` in a comment, or of the name's ending; where
several speak they must agree. Refused is what makes a text run as something else than it shows: characters that turn or hide text (CVE-2021-42574), a byte order mark or
carriage return that a shell takes for part of a command, a declared encoding other than UTF-8, options in the first line,
which would be dropped.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from sealwright.device.marked import said_kind
from sealwright.findings import Finding, reject

MAX_BYTES = 16 << 20
_KINDS_OF_ENDING: dict[str, tuple[str, ...]] = {
    ".sh": ("sh", "bash"),
    ".bash": ("bash",),
    ".py": ("python",),
    ".ps1": ("powershell",),
    ".js": ("node",),
    ".cjs": ("node",),
    ".yml": ("ansible",),
    ".yaml": ("ansible",),
    ".sql": ("sql",),
}
FIRST_LINES = {
    "sh": "#!/bin/sh",
    "bash": "#!/bin/bash",
    "python": "#!/usr/bin/python3",
    "powershell": "# sealwright-run: kind = powershell",
    "node": "// sealwright-run: kind = node",
    "ansible": "# sealwright-run: kind = ansible",
    "sql": "-- sealwright-run: kind = sql",
}
_KIND_OF_PROGRAM = (
    ("sh", re.compile(r"sh|dash|ash")),
    ("bash", re.compile(r"bash")),
    ("python", re.compile(r"python(3(\.\d+)?)?")),
    ("powershell", re.compile(r"pwsh|powershell")),
    ("node", re.compile(r"node|nodejs")),
    ("ansible", re.compile(r"ansible-playbook")),
    ("sql", re.compile(r"psql|sqlite3|mariadb|mysql")),
)
_SHELLS = ("sh", "bash")
_PLAIN = frozenset("\t\n\r\f")
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2028\u2029")
_COOKIE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_CODINGS = ("utf-8", "utf8", "ascii", "us-ascii")


class Script(NamedTuple):
    """kind: of interpreter; text: without byte order mark, line ends as they are."""

    kind: str
    text: str

    @property
    def has_first_line(self) -> bool:
        """Whether `#!` says the kind."""
        return self.text.startswith("#!")


def read_script(path: str, data: bytes) -> tuple[Script | None, tuple[Finding, ...]]:
    """What the bytes of a file are to an interpreter, or None; the findings refuse it."""
    name = os.path.basename(path)
    try:
        text = _decoded(data)
    except UnicodeDecodeError as cause:
        return None, (_text(name, f"byte {cause.start} is not {cause.encoding.upper()}"),)
    kind, finding = _kind(name, text)
    if kind is None:
        return None, (finding,) if finding is not None else ()
    script = Script(kind, text)
    return script, tuple(_problems(name, script, data))


def _decoded(data: bytes) -> str:
    """UTF-8, or UTF-16 where a byte order mark says so, as PowerShell writes it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _kind(name: str, text: str) -> tuple[str | None, Finding | None]:
    possible = _KINDS_OF_ENDING.get(os.path.splitext(name)[1].lower(), ())
    program, options = _first_line(text)
    if not program:
        said = said_kind(text)
        if said is not None and (not possible or said in possible):
            return said, None
        return (possible[0], None) if possible else (None, reject("SW-RUN-KIND", name))
    kind = next((kind for kind, called in _KIND_OF_PROGRAM if called.fullmatch(program)), None)
    if options:
        said = f"{program} with the options {options}, which would not be passed"
        return None, reject("SW-RUN-INTERPRETER-OTHER", name, found=said)
    if kind is None or (possible and kind not in possible):
        return None, reject("SW-RUN-INTERPRETER-OTHER", name, " or ".join(possible), program)
    return kind, None


def _first_line(text: str) -> tuple[str, str]:
    """The program that `#!` names and the options behind it; empty where there is none."""
    if not text.startswith("#!"):
        return "", ""
    words = text[2:].partition("\n")[0].split()
    if words and os.path.basename(words[0]) == "env":
        words = words[1:]
    return (os.path.basename(words[0]) or "?", " ".join(words[1:])) if words else ("?", "")


def _problems(name: str, script: Script, data: bytes) -> Iterator[Finding]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")) and script.kind in _SHELLS:
        yield _text(name, f"it begins with a byte order mark, which {script.kind} takes for part of the first command")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and script.kind != "powershell":
        yield _text(name, f"it is UTF-16, which {script.kind} does not read")
    lines = script.text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.isascii() and line.isprintable():
            continue
        ended = line.endswith("\r") and number < len(lines)
        if ended and script.kind in _SHELLS:
            yield _text(
                name, f"line {number} ends with a carriage return (CRLF), which {script.kind} takes for part of it"
            )
            return
        for column, character in enumerate(line[:-1] if ended else line, 1):
            if _hides(character):
                yield _text(name, f"line {number}, column {column}: {_called(character)}")
                return
    if script.kind == "python":
        for line in lines[:2]:
            cookie = _COOKIE.match(line)
            if cookie and cookie[1].lower().replace("_", "-") not in _CODINGS:
                yield _text(name, f"it declares the encoding {cookie[1]}")


def _hides(character: str) -> bool:
    """Whether what people see differs from what is there: controls, direction and width without shape."""
    if character in _PLAIN:
        return character == "\r"
    return unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn") or character in _BLANK


def _called(character: str) -> str:
    known = unicodedata.name(character, "a control character")
    return f"a character that is not seen, U+{ord(character):04X} ({known.lower()})"


def _text(name: str, found: str) -> Finding:
    return reject("SW-RUN-TEXT", name, found=found)
