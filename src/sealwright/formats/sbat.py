"""The `.sbat` section of an EFI program: which components it is made of, each with a generation of its own.

    sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
    grub,5,Free Software Foundation,grub,2.06,https://www.gnu.org/software/grub/
    grub.acme,2,Acme,grub2,2.06-13,https://acme.example/grub

Source: shim, SBAT.md and its reader. A line is `component,generation,vendor,package,version,url`, none of them empty; zero
bytes fill the section. Shim refuses a program if any component is below the minimum kept for its name. The later a line,
the closer it is to who built this program, so the last one names the product; `sbat` is the version of the format itself.

Shim reads a generation as 16 bits after C's atoi, passes over a seventh column and compares every line of a name. What
another reader could take differently is refused: signs, leading zeros, more columns, one name twice, bytes behind the text.
"""

from __future__ import annotations

import re

from sealwright.artifact.claims import Claims
from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.formats.format import Component

FORMAT_ITSELF = "sbat"
COLUMNS = 6
MAX_COMPONENTS = 64
MAX_TEXT = 200
MAX_GENERATION = 0xFFFF
_NUMBER = re.compile(r"0|[1-9][0-9]{0,4}")
_MARK = b"\xef\xbb\xbf"


def read_sbat(data: bytes, offset: int, subject: str) -> tuple[Component, ...]:
    """The components in their order. data: the section as it is on disk; offset: of its first byte in the file.

    Raises MalformedArtifact with the offset of the line, LimitExceeded for more than 64 of them.
    """
    text = data.rstrip(b"\0")
    if b"\0" in text:
        raise _wrong(subject, offset + text.index(b"\0"), "the .sbat section goes on behind a zero byte")
    found: dict[str, Component] = {}
    at = len(_MARK) if text.startswith(_MARK) else 0
    for raw in text[at:].replace(b"\r", b"\n").split(b"\n"):
        if raw:
            one = _component(raw, offset + at, subject)
            if one.name in found:
                raise _wrong(subject, offset + at, f"the component {one.name} is there twice")
            if len(found) == MAX_COMPONENTS:
                raise LimitExceeded(subject, f"more than {MAX_COMPONENTS} components", "Ask its maker for fewer.")
            found[one.name] = one
        at += len(raw) + 1
    return tuple(found.values())


def product_of(components: tuple[Component, ...]) -> Claims:
    """What the program says it is: its last component; nothing where there is none but the format's own line."""
    named = [one for one in components if one.name != FORMAT_ITSELF]
    return Claims(named[-1].name, named[-1].version, named[-1].generation) if named else Claims()


def _component(raw: bytes, at: int, subject: str) -> Component:
    try:
        columns = raw.decode().split(",")
    except UnicodeDecodeError as cause:
        raise _wrong(subject, at + cause.start, "a line of the .sbat section is not UTF-8") from cause
    if len(columns) != COLUMNS:
        raise _wrong(subject, at, f"a line of the .sbat section has {len(columns)} columns, not {COLUMNS}")
    if not all(0 < len(one) <= MAX_TEXT and one.strip() == one and one.isprintable() for one in columns):
        raise _wrong(subject, at, "a column of the .sbat section is empty, too long or not printable")
    name, number, _, _, version, _ = columns
    if not _NUMBER.fullmatch(number) or int(number) > MAX_GENERATION:
        raise _wrong(subject, at, f"the generation {number} is no number from 0 to {MAX_GENERATION}")
    return Component(name, int(number), version)


def _wrong(subject: str, at: int, what: str) -> MalformedArtifact:
    return MalformedArtifact(subject, f"at byte {at}: {what}", "Ask its maker for the file again.")
