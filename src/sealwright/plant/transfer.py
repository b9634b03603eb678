"""A share that holds verified copies and nothing else, for engineering stations behind it (A150, A154).

    share/index.html                    what there is, with product, version, generation and digest
    share/6-5891b5b522d5/6/…            one folder for each artifact, named by it and its digest; everything beside it lies there too
    share/6-5891b5b522d5/SHA256SUMS     for `sha256sum -c`

1. Each run judges first what is there already, by the trust file of now: what is refused or cannot be decided any more is taken off.
2. What is new comes from the private copy that was judged, is written into a folder without a name of its own, made durable, and gets its
   name by one rename: whoever reads the share sees all of it or nothing.
3. Only an empty folder, or one with an index of ours, is used, where nobody but the caller and root may write. What lies there that we did not
   make is told and left alone, and stands in no index.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from sealwright.artifact.folders import sync_folder
from sealwright.artifact.names import display
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.source import read_file_or_none
from sealwright.artifact.walk import LEFTOVERS
from sealwright.errors import HandoverRefused, OutputRefused
from sealwright.findings import reject
from sealwright.plant.intakecopy import Taken
from sealwright.plant.privatecopy import Copy
from sealwright.trust.place import unsafe_because
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Verifier

INDEX, SUMS = "index.html", "SHA256SUMS"
MARK = "<!-- sealwright share 1 -->"
MAX_INDEX_BYTES = 16 << 20
_UNFINISHED, _GONE = ".sealwright-new-", ".sealwright-gone-"
_DIGITS = 12
_ENTRY = re.compile(rf"(?s)(.+)-([0-9a-f]{{{_DIGITS}}})")
_BLOCK = 1 << 20


class Entry(NamedTuple):
    """One artifact of the share, as it was judged now. folder: its folder's name."""

    folder: str
    verdict: Verdict


class Found(NamedTuple):
    """What was on a share. gone: what was taken off; strange: names that we did not make."""

    there: tuple[Entry, ...]
    gone: tuple[Entry, ...]
    strange: tuple[str, ...]


def refresh(share: str, verifier: Verifier) -> Found:
    """Judge everything on the share, and take off what may not be there any more. Raises HandoverRefused for a folder that is no share."""
    _check_share(share)
    there, gone, strange = [], [], []
    for name in sorted(os.listdir(share)):
        if name.startswith((_UNFINISHED, _GONE)):  # of a run that was cut off
            shutil.rmtree(os.path.join(share, name), ignore_errors=True)
        elif (found := _ENTRY.fullmatch(name)) and os.path.isfile(os.path.join(share, name, SUMS)):
            entry = Entry(name, verifier.verify(os.path.join(share, name, found[1])))
            if entry.verdict.outcome is Outcome.TRUSTED and name == folder_of(entry.verdict):
                there.append(entry)
            else:
                _take_off(share, name)
                gone.append(entry)
        elif name != INDEX and os.fsencode(name) not in LEFTOVERS:
            strange.append(name)
    return Found(tuple(there), tuple(gone), tuple(strange))


def folder_of(verdict: Verdict) -> str:
    """The name of an artifact's folder on a share."""
    if verdict.artifact is None:
        raise HandoverRefused(display(verdict.path), "nothing of it could be read", "Fetch it again.")
    return f"{os.path.basename(verdict.path)}-{verdict.artifact.value.hex()[:_DIGITS]}"


def carried(copy: Copy, verdict: Verdict) -> Verdict:
    """The verdict, refused where something of it does not get onto a share or stick: a link, an empty folder."""
    return verdict.with_findings(tuple(reject("SW-HANDOVER-NOT-CARRIED", display(name)) for name in copy.others))


def put(share: str, copy: Copy, verdict: Verdict) -> Entry:
    """A judged copy on the share, whole and durable. Raises OutputRefused where it cannot be written, HandoverRefused where the copy changed."""
    name = folder_of(verdict)
    building = os.path.join(share, _UNFINISHED + secrets.token_hex(4))
    try:
        os.mkdir(building, 0o755)
        files = copy.along_with(verdict)
        for one in files:
            _copy(copy, one, building)
        write_atomic(os.path.join(building, SUMS), b"".join(_sums(files)))
        for folder, _, _ in os.walk(building):
            sync_folder(folder)
        os.rename(building, os.path.join(share, name))
        sync_folder(share)
    except OSError as cause:
        what = cause.strerror or "it cannot be written"
        raise OutputRefused(share, what, "Make room on the share; nothing of it was put there.") from cause
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Entry(name, verdict)


def write_index(share: str, entries: Iterable[Entry]) -> None:
    """The page of what there is."""
    write_atomic(os.path.join(share, INDEX), _page(sorted(entries)).encode(), replace=Replace.YES)


def _check_share(share: str) -> None:
    if not os.path.isdir(share) or os.path.islink(share):
        raise HandoverRefused(display(share), "it is no folder", "Make it, or mount the share.")
    if why := unsafe_because(share):
        raise HandoverRefused(display(share), why, "Only the account of the transfer station may write there.")
    try:
        names = [name for name in os.listdir(share) if os.fsencode(name) not in LEFTOVERS]
    except OSError as cause:
        what = cause.strerror or "it cannot be read"
        raise HandoverRefused(display(share), what, "Let this account read and write there.") from cause
    index = read_file_or_none(os.path.join(share, INDEX), MAX_INDEX_BYTES)
    if names and not (index or b"").startswith(MARK.encode()):
        raise HandoverRefused(
            display(share), f"it is not empty and no share of ours ({display(names[0])})", "Name an empty folder."
        )


def _take_off(share: str, name: str) -> None:
    """It has no name there any more before anything of it is removed."""
    gone = os.path.join(share, _GONE + secrets.token_hex(4))
    try:
        os.rename(os.path.join(share, name), gone)
        sync_folder(share)
    except OSError as cause:
        what = f"{display(name)} cannot be taken off ({cause.strerror})"
        raise HandoverRefused(display(share), what, "Remove it by hand, now.") from cause
    shutil.rmtree(gone, ignore_errors=True)


def _copy(copy: Copy, one: Taken, building: str) -> None:
    target = os.path.join(building, *os.fsdecode(one.name).split("/"))
    os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
    state = hashlib.sha256()
    with open(copy.inside(one.name), "rb") as source, open(target, "xb") as out:
        while block := source.read(_BLOCK):
            state.update(block)
            out.write(block)
        mode = 0o755 if os.fstat(source.fileno()).st_mode & 0o100 else 0o644
        out.flush()
        os.fsync(out.fileno())
    os.chmod(target, mode)
    if state.digest() != one.digest.value:
        raise HandoverRefused(
            display(one.name), "its private copy is not what was judged any more", "Tell who looks after this station."
        )


def _sums(taken: Sequence[Taken]) -> Iterator[bytes]:
    for one in taken:
        escaped = one.name.replace(b"\\", b"\\\\")
        mark = b"\\" if escaped != one.name else b""
        yield mark + one.digest.value.hex().encode() + b"  " + escaped + b"\n"


def _page(entries: Sequence[Entry]) -> str:
    rows = "".join(_row(one) for one in entries)
    heads = "".join(f"<th>{head}</th>" for head in ("artifact", "product", "version", "generation", "digest"))
    return (
        f'{MARK}\n<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Checked releases</title></head><body>\n'
        f"<h1>Checked releases</h1>\n<table>\n<tr>{heads}</tr>\n{rows}</table>\n</body></html>\n"
    )


def _row(one: Entry) -> str:
    claims, name = one.verdict.claims, os.path.basename(one.verdict.path)
    link = f'<a href="{html.escape(quote(one.folder))}/">{html.escape(display(name))}</a>'
    said = (claims.product or "", claims.version or "", "" if claims.generation is None else str(claims.generation))
    cells = (link, *(html.escape(display(text)) for text in (*said, str(one.verdict.artifact))))
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
