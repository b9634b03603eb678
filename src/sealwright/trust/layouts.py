"""`[[layout]]` of the trust file: the makers' headers that a verifier reads, each by the digest of its text.

    [[layout]]
    name = "acme-boot"                   # as the text itself says, and in rules as `layout:acme-boot`
    digest = "sha256:..."                # of the text
    text = '''
    # sealwright layout 1
    ...'''                               # or a file in `trust.d/`, whatever its name

No other layout counts: a description decides what is hashed, so nobody but the officers chooses it (A089, A108).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Section
from sealwright.errors import MalformedTrust, SealwrightError

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout

FAMILY = "layout"


class NamedLayout(NamedTuple):
    """digest: of its text; layout: as read, None where the text lies in `trust.d`."""

    name: str
    digest: Digest
    layout: Layout | None


def named_layout(section: Section) -> NamedLayout:
    """One `[[layout]]`; MalformedTrust where the text is none, or not the one that is named."""
    name, digest = section.name("name"), section.digest("digest")
    text = section.raw("text")
    return NamedLayout(name, digest, None if text is None else _read(name, digest, text.encode(), section))


def layouts_in(named: Iterable[NamedLayout], files: Iterable[tuple[str, bytes]]) -> tuple[Layout, ...]:
    """Every layout that a trust file names. files: paths and contents in `trust.d`; those nobody named are passed over.

    MalformedTrust where one is in neither, or where every file of one would be of another too.
    """
    texts = {Digest.of(data): (path, data) for path, data in files}
    found: list[Layout] = []
    for one in named:
        if one.layout is not None:
            found.append(one.layout)
            continue
        if one.digest not in texts:
            what = f"[[layout]] {one.name}: no file in trust.d has its digest {one.digest}"
            raise MalformedTrust("trust file", what, "Put the .layout file that it names into trust.d beside it.")
        path, data = texts[one.digest]
        found.append(_read(one.name, one.digest, data, Section({}, f"[[layout]] {one.name}", path)))
    for number, layout in enumerate(found):
        for other in found[:number]:
            if layout.magic_bytes <= other.magic_bytes or other.magic_bytes <= layout.magic_bytes:
                what = f"[[layout]] {layout.name}: its magic is that of {other.name}, or part of it"
                raise MalformedTrust("trust file", what, "Name more of the magic, so that each file is of one layout.")
    return tuple(found)


def family(format_name: str) -> str:
    """What comes before a layout's name in the name of its format: rules may name it for all of them."""
    return format_name.partition(":")[0]


def _read(name: str, digest: Digest, data: bytes, section: Section) -> Layout:
    from sealwright.formats.layouttext import parse_layout  # few trust files name any (start-up time)

    if Digest.of(data) != digest:
        raise section.wrong("digest", f"that of the text, {Digest.of(data)}")
    try:
        found = parse_layout(data, section.where)
    except SealwrightError as cause:
        raise MalformedTrust(section.subject, f"{section.where}: {cause.what}", cause.next_step) from cause
    if found.name != name:
        raise section.wrong("name", f"the name in its text, {found.name}")
    return found
