"""The process in which the service prepares an uploaded file: parsers of formats meet a stranger's bytes here, and no key is near (A128).

    python -I -X utf8 -c BEGIN ROOT FILE LAST < item > answer

It is started by `apart.py`, with an empty environment, and bounds itself before it reads anything: memory, processor time, open files,
no file written, no core dump; by Landlock it reads nothing but Python, Sealwright and its own folder, and has no network (`shutin.py`). The answer is `+` and the item as it came out, or `-` and why nothing did, in one line.
"""

from __future__ import annotations

import os
import sys

from sealwright.service.shutin import shut_in

MEMORY_BYTES = 2 << 30
OPEN_FILES = 64
SYSTEM = ("/usr", "/lib", "/lib64")


def main() -> None:
    """Answer one question. Arguments: the root of the package, the file, seconds of processor time."""
    bound(sys.argv[1], os.path.dirname(sys.argv[2]), int(sys.argv[3]))  # before anything of the formats is imported
    from sealwright.errors import SealwrightError
    from sealwright.signing.preparing import MAX_ITEM_BYTES, item_bytes, prepared_again, read_item

    try:
        item = read_item(sys.stdin.buffer.read(MAX_ITEM_BYTES), "item")
        answer = b"+" + item_bytes(prepared_again(sys.argv[2], item))
    except SealwrightError as cause:
        answer = b"-" + cause.what.encode(errors="replace")
    except (MemoryError, RecursionError) as cause:
        answer = b"-" + type(cause).__name__.encode()
    sys.stdout.buffer.write(answer)


def bound(root: str, folder: str, seconds: int) -> None:
    """Limit this process, for good. root: of the package; folder: with the file; seconds: of processor time."""
    import resource  # not on every system

    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    shut_in([root, folder, *SYSTEM, *dict.fromkeys((sys.prefix, sys.base_prefix, *sys.path[1:]))])
