"""Shuts a process in by Landlock (Linux, landlock(7)): it reads the folders that are named, and nothing else; it writes, starts and calls nothing.

    shut_in([sys.prefix, "/usr", "/spool/upload-5e"])

What is open already stays open. A kernel without Landlock (before 5.13, or where it is turned off) shuts nobody in; one with an older
version of it refuses less: network and signals are refused from versions 4 and 6 on. A filter of system calls that refuses Landlock where
the kernel has it is an error: systemd's `@system-service` does, and nobody would notice.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence
from contextlib import suppress

CREATE, ADD, RESTRICT = 444, 445, 446  # the same on every architecture
_ASKS_VERSION, _BENEATH = 1, 1
_NO_NEW_PRIVILEGES = 38
_NONE = frozenset((errno.ENOSYS, errno.EOPNOTSUPP))  # not built, and turned off
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many rights on files a version knows; 16 from version 5 on
_NETWORK, _SCOPES = 0b11, 0b11


def landlock_version() -> int:
    """Of this kernel, 0 where it has none. OSError where something else than the kernel refuses it."""
    found = int(ctypes.CDLL(None, use_errno=True).syscall(CREATE, None, 0, _ASKS_VERSION))
    return 0 if found < 0 and ctypes.get_errno() in _NONE else _done(found)


def shut_in(folders: Sequence[str]) -> None:
    """From here on this process and its children read beneath these folders alone. OSError where Landlock is there and is refused."""
    version = landlock_version()
    if version == 0:
        return
    kernel = ctypes.CDLL(None, use_errno=True)
    handled = [(1 << _RIGHTS.get(version, 16)) - 1, _NETWORK, _SCOPES][: 1 + (version >= 4) + (version >= 6)]
    attributes = struct.pack(f"={len(handled)}Q", *handled)
    rules = _done(kernel.syscall(CREATE, attributes, len(attributes), 0))
    for folder in folders:
        with suppress(FileNotFoundError):
            beneath = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            rule = struct.pack("=Qi", _READ_FILE | _READ_FOLDER, beneath)
            _done(kernel.syscall(ADD, rules, _BENEATH, rule, 0))
            os.close(beneath)
    _done(kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _done(kernel.syscall(RESTRICT, rules, 0))
    os.close(rules)


def _done(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "Landlock")
    return answer
