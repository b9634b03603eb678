"""Prepares a file in a process of its own, which has no key, no environment, and bounded memory and time (`prepareworker.py`).

    found = prepared_apart("/spool/upload-5e/drive.bin", item, size_bytes)

A process that is killed, takes too long or answers something else came to nothing, and that is what is said.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from typing import IO, cast

import sealwright
from sealwright.artifact.names import display
from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.signing.items import Item
from sealwright.signing.preparing import MAX_ITEM_BYTES, item_bytes, read_item

LEAST_S = 30
BYTES_A_S = 20_000_000
BEGIN = "import sys; sys.path.insert(0, sys.argv[1]); from sealwright.service.prepareworker import main; main()"
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(sealwright.__file__)))
_ASK = "Ask whoever uploaded it for the file that was asked for."


def prepared_apart(path: str, item: Item, size_bytes: int) -> Item:
    """What the item's format makes of a file; MalformedArtifact where it makes nothing of it, or not in time."""
    name = display(os.path.basename(path))
    seconds = LEAST_S + size_bytes // BYTES_A_S
    with tempfile.TemporaryFile(dir=os.path.dirname(path)) as question:
        question.write(item_bytes(item))
        question.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", BEGIN, _ROOT, path, str(seconds)],
            cwd=os.path.dirname(path),
            env={"LC_ALL": "C.UTF-8"},
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        with cast("IO[bytes]", process.stdout) as pipe:
            answer = _answer(pipe.fileno(), time.monotonic() + 2 * seconds)
    finally:
        with suppress(OSError):  # what it may have started ends with it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if answer.startswith(b"-"):
        raise MalformedArtifact(name, display(answer[1:500].decode(errors="replace")), _ASK)
    try:
        if not answer.startswith(b"+"):
            raise ValueError("no answer")
        return read_item(answer[1:], name)
    except (ValueError, SealwrightError) as cause:
        what = "the process that prepared it gave no answer in its time and memory"
        raise MalformedArtifact(name, what, _ASK) from cause


def _answer(pipe: int, until: float) -> bytes:
    """What comes until its end; b"" where that does not come in time, or too much comes before."""
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(max(0.0, until - time.monotonic())):
            part = os.read(pipe, MAX_ITEM_BYTES)
            if not part:
                return bytes(answer)
            answer += part
            if len(answer) > MAX_ITEM_BYTES + 1:
                break
    return b""
