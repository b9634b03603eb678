"""The same prepared again, from another copy, and what differs: for whoever does not believe a requester's `Prepared` (RULES 2).

    found = prepared_again("my/drive.bin", item)
    for one in differences(item, found): ...

What is compared is everything that an item binds but the name of the file that the requester had. A format may be asked in several
ways (what becomes of signatures that are inside already, claims that are read or written): an item does not say in which, so those
ways are tried until one comes to the same.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.manifest import Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.errors import LimitExceeded, SealwrightError, UsageError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Prepared
from sealwright.formats.layouttext import Layout
from sealwright.formats.registry import detached, manifest, plain_folder
from sealwright.log.canonical import Field, read_canonical
from sealwright.signing.changes import contents
from sealwright.signing.items import BESIDE, MAX_CONTENT_BYTES, MAX_LINE_BYTES, Item, item_of, prepared_of

MAX_TOLD = 20
MAX_ITEM_BYTES = MAX_CONTENT_BYTES + MAX_LINE_BYTES + 1
NOTHING = "-"


class Difference(NamedTuple):
    """What is not the same. what: a field of the item, or a file that its manifest lists; `NOTHING` where one side has none."""

    what: str
    wanted: str
    found: str


def prepared_again(path: str, item: Item, layouts: Collection[Layout] = ()) -> Item:
    """What that format makes of a file or folder, asked as for the item. layouts: by which a file of the format `layout` is read.

    Raises what the format refuses, UsageError for a layout that is not there.
    """
    wanted = prepared_of(item, display(os.path.basename(path)))
    fitting = [one for one in layouts if one.text_digest == wanted.layout]
    if wanted.layout is not None and not fitting:
        raise UsageError(display(path), f"it is described by the layout {wanted.layout}", "Name that with --layout.")
    made: Item | None = None
    refused: SealwrightError | None = None
    for existing, claims in _ways(wanted):
        try:
            found = item_of(_prepared(path, wanted, existing, claims, fitting))
        except SealwrightError as cause:
            refused = refused or cause
            continue
        made = made or found
        if not differences(item, found):
            return found
        if existing is Existing.REFUSE and _fields(found)["artifact"] != _fields(item)["artifact"]:
            break  # no signature is inside, so that the other ways come to the same digest
    if made is None:
        raise refused or UsageError(display(path), f"the format {wanted.format} makes nothing of it", "Check the file.")
    return made


def differences(wanted: Item, found: Item) -> list[Difference]:
    """What of them is not the same, files of a manifest first; [] where all of it is."""
    ours, theirs = _fields(wanted), _fields(found)
    names = sorted((ours.keys() | theirs.keys()) - {"file"})
    told = [
        Difference(name, _said(ours.get(name)), _said(theirs.get(name)))
        for name in names
        if ours.get(name) != theirs.get(name)
    ]
    return [*_listed(wanted, found), *told][:MAX_TOLD] if told or wanted.content != found.content else []


def why_not_uploaded(prepared: Prepared, largest_bytes: int) -> str:
    """Why a service could not prepare a file of it by itself, one clause; "" where it could."""
    if largest_bytes < 0:
        return "this service takes no files"
    if prepared.layout is not None:
        return "it is read by a layout, which the service does not have"
    if prepared.format == "manifest" and parse_manifest(prepared.content or b"", prepared.path).over is not Over.FILE:
        return "it is a folder, and files are taken one by one"
    if prepared.size > largest_bytes:
        return f"{prepared.size} bytes, and the service takes {largest_bytes}"
    return ""


def _prepared(path: str, wanted: Prepared, existing: Existing, claims: Claims, layouts: Collection[Layout]) -> Prepared:
    if os.path.isdir(path) and wanted.format == "manifest":
        path = plain_folder(path)
    if wanted.format == "manifest":
        return manifest().prepare(path, tuple(wanted.digests), claims, None)
    if wanted.format == "detached":
        return detached().prepare(path, tuple(wanted.digests), claims, None)
    if os.path.isdir(path):
        raise UsageError(display(path), f"a folder is no file of the format {wanted.format}", "Name the file.")
    form = embedded_format(wanted.format, layouts)
    return form.prepare(path, tuple(wanted.digests), claims, existing, None)._replace(name=wanted.name)


def _ways(wanted: Prepared) -> Iterator[tuple[Existing, Claims]]:
    if wanted.format in BESIDE:
        yield Existing.REFUSE, wanted.claims
        return
    for existing in Existing:
        yield existing, Claims()
        if wanted.claims:
            yield existing, wanted.claims


def _fields(item: Item) -> Mapping[str, Field]:
    return read_canonical(item.line)


def _said(value: Field | None) -> str:
    if value is None:
        return NOTHING
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _listed(wanted: Item, found: Item) -> list[Difference]:
    """The files of a manifest that differ; [] where it is none, or they are the same."""
    if _fields(wanted).get("format") != "manifest":
        return []
    ours, theirs = contents([wanted]), contents([found])
    told = []
    for name in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None or one.digest != other.digest:
            pair = (NOTHING if one is None else one.digest, NOTHING if other is None else other.digest)
            told.append(Difference(name, *pair))
    return told


def read_item(data: bytes, subject: str) -> Item:
    """An item as `item_bytes` wrote it; LimitExceeded or RequestRefused where it is none."""
    line, found, content = data.partition(b"\n")
    if not found:
        raise LimitExceeded(subject, "no whole line came", "Ask again.")
    item = Item(line, content if "content" in read_canonical(line) else None)
    prepared_of(item, subject)
    return item


def item_bytes(item: Item) -> bytes:
    """An item for a pipe: its line, a line feed, its content."""
    return item.line + b"\n" + (item.content or b"")
