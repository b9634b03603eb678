"""A large PE program: `verify` and `sign` against `openssl dgst -sha256` of the same bytes, and against `osslsigncode verify`.

What each program takes for a program of 1 MiB is its start-up, and is taken off. Rounds in turn, ratio of each round, median.
Usage: pe.py [MiB [rounds]]
"""

from __future__ import annotations

import os
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sealwright.keys.key import KeyKind
from sealwright.signing.init import InitOptions, init_home

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
PE_AT, HEADERS = 0x40, 0x180


def program(path: Path, size: int) -> None:
    """A PE32+ program of one section."""
    header = struct.pack("<2s58xI", b"MZ", PE_AT) + b"PE\0\0" + struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, 240, 0x22)
    header += struct.pack("<HBBIIIII", 0x20B, 14, 0, size, 0, 0, 0x1000, 0x1000)
    header += struct.pack("<QIIHHHHHHIIIIHHQQQQII", 0x40_0000, 0x1000, 0x20, *[0] * 7, size + 0x1000, HEADERS, 0, 10,
                          *[0] * 6, 16)  # fmt: skip
    header += bytes(128) + struct.pack("<8sIIIIIIHHI", b".text", size, 0x1000, size, HEADERS, 0, 0, 0, 0, 0x6000_0020)
    path.write_bytes(header.ljust(HEADERS, b"\0") + os.urandom(1 << 20) * (size >> 20))


def timed(command: Sequence[str | Path]) -> float:
    """Wall seconds of a command that must succeed."""
    started = time.perf_counter()
    subprocess.run([str(word) for word in command], capture_output=True, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print seconds, ratios and memory."""
    mebibytes, rounds = ([int(text) for text in sys.argv[1:3]] + [64, 9][len(sys.argv) - 1 :])[:2]
    with tempfile.TemporaryDirectory(prefix="pe-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        home, files = folder / "home", {"large": folder / "large.efi", "small": folder / "small.efi"}
        init_home(str(home), InitOptions(datetime.now(UTC), "Bench", kind=KeyKind.RSA3072))
        for which, size in (("large", mebibytes << 20), ("small", 1 << 20)):
            program(files[which], size)
        times: dict[tuple[str, str], list[float]] = {}
        for turn in range(rounds + 1):
            for which, plain in files.items():
                signed = folder / f"{which}.signed"
                signed.unlink(missing_ok=True)
                commands = {
                    "openssl dgst": ["openssl", "dgst", "-sha256", plain],
                    "sign": [SEALWRIGHT, "sign", plain, "--home", home, "--format", "pe", "--out", signed],
                    "verify": [SEALWRIGHT, "verify", signed, "--trust", home / "trust.toml"],
                    "osslsigncode": ["osslsigncode", "verify", "-CAfile", home / "ca.pem", "-TSA-CAfile", home / "ca.pem", "-in", signed],
                }  # fmt: skip
                for what, command in commands.items():
                    seconds = timed(command)
                    if turn:  # the first round warms the page cache
                        times.setdefault((what, which), []).append(seconds)
        digest = [a - b for a, b in zip(times["openssl dgst", "large"], times["openssl dgst", "small"], strict=True)]
        for what, wanted in (("verify", 1.3), ("sign", 2.5), ("osslsigncode", 0.0)):
            own = [a - b for a, b in zip(times[what, "large"], times[what, "small"], strict=True)]
            ratio = statistics.median(a / b for a, b in zip(own, digest, strict=True))
            start = statistics.median(times[what, "small"])
            goal = f", wanted <= {wanted}" if wanted else ""
            print(
                f"{what}: {statistics.median(own):.3f} s beyond its start of {start:.3f} s, {ratio:.2f} x openssl dgst{goal}"
            )
        behind = statistics.median(times["verify", "large"]) - statistics.median(times["osslsigncode", "large"])
        print(f"verify is {behind:.3f} s behind osslsigncode, wanted <= 0.15 s")
        print(f"most memory of a child: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main()
