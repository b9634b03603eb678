"""A program that becomes another one by a filter of system calls (seccomp), as units of systemd and containers have: some calls are refused.

[*refusing(Errno.EPERM, 444), "python3", "-c", "..."]

The filter looks at the number of the call alone, which is the same on every architecture for those that came after 2019.
"""

from __future__ import annotations

import sys

PROGRAM = """
import ctypes, os, struct, sys
error, calls, rest = int(sys.argv[1]), [int(one) for one in sys.argv[2].split(",")], sys.argv[3:]
load, equal, answer = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0)]
for left, call in zip(range(len(calls), 0, -1), calls):
    steps.append((equal, left, 0, call))
steps += [(answer, 0, 0, 0x7FFF0000), (answer, 0, 0, 0x00050000 | error)]
data = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in steps))
given = struct.pack("@HP", len(steps), ctypes.addressof(data))
kernel = ctypes.CDLL(None, use_errno=True)
assert kernel.prctl(38, 1, 0, 0, 0) == 0
assert kernel.prctl(22, 2, ctypes.c_char_p(given), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(rest[0], rest)
"""


def refusing(error: int, *calls: int) -> list[str]:
    """The words before a program's own. error: what is answered; calls: their numbers."""
    return [sys.executable, "-c", PROGRAM, str(error), ",".join(map(str, calls))]
