"""A large artifact of every format: `verify` and `sign` against `openssl dgst -sha256` of the same bytes, and against the real verifier.

What each program takes for an artifact of 1 MiB is its start-up, and is taken off. Rounds in turn; of each program the quickest round
counts, in seconds and in processor time, because other work on the machine only ever adds. Memory is the most that a process had.
Usage: formats.py [FORMAT,... [MiB [rounds]]]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
SIZES = {"pe": 64, "powershell": 12}
SIGNING = {"mcuboot": ["--version", "1.2.3"], "rauc-plain": ["--replace"], "rauc-verity": ["--replace"]}
NAMES = ("detached", "pe", "powershell", "jar", "kmod", "mcuboot", "fit", "rauc-plain", "rauc-verity", "swupdate")
VERIFY, SIGN, BEHIND_S, MEMORY_MIB = 1.3, 2.5, 0.15, 64


class Cost(NamedTuple):
    """Of one process and those it started: wall and processor seconds, and the most memory of one of them in KiB."""

    wall_s: float
    processor_s: float
    memory_kib: int


def cost(command: Sequence[str | Path]) -> Cost:
    """What a command that must succeed took. This process stays small, for a child begins with its parent's memory."""
    words = [str(word) for word in command]
    started = time.perf_counter()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)}\n{said.decode(errors='replace')}")
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss)


def best(costs: Sequence[Cost]) -> Cost:
    """The quickest round, each figure by itself; of memory the most."""
    return Cost(min(c.wall_s for c in costs), min(c.processor_s for c in costs), max(c.memory_kib for c in costs))


def commands(form: str, folder: Path, which: str) -> Mapping[str, list[str | Path]]:
    """What is run for one artifact, in this order."""
    home, plain = folder / "home", next(p for p in folder.glob(f"{which}.*") if p.suffix != ".p7s")
    key = (folder / "key").read_text()
    signed = folder / f"signed-{plain.name}"
    inside: list[str | Path] = (
        [] if form == "detached" else ["--format", form.partition("-")[0], "--out", signed, *SIGNING.get(form, ())]
    )
    result = plain if form == "detached" else signed
    judge = json.loads((folder / f"judge-{which}.json").read_text())
    return {
        "dgst": ["openssl", "dgst", "-sha256", plain],
        "sign": [SEALWRIGHT, "sign", plain, "--home", home, "--key", key, *inside],
        "dgst of the result": ["openssl", "dgst", "-sha256", result],
        "verify": [SEALWRIGHT, "verify", result, "--trust", home / "trust.toml"],
        "real verifier": [word.replace("SIGNED", str(result)) for word in judge],
    }


def measured(form: str, mebibytes: int, rounds: int) -> None:
    """Print one format's figures."""
    with tempfile.TemporaryDirectory(prefix="formats-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        cost([sys.executable, HERE / "artifacts.py", form, folder, str(mebibytes)])
        costs: dict[tuple[str, str], list[Cost]] = {}
        for turn in range(rounds + 1):
            for which in ("large", "small"):
                for old in (*folder.glob(f"signed-{which}.*"), *folder.glob(f"{which}.*.p7s")):
                    old.unlink()
                for what, command in commands(form, folder, which).items():
                    one = cost(command)
                    if turn:  # the first round warms the page cache
                        costs.setdefault((what, which), []).append(one)
        report(form, mebibytes, {key: best(found) for key, found in costs.items()})


def report(form: str, mebibytes: int, costs: Mapping[tuple[str, str], Cost]) -> None:
    """The figures in words."""

    def beyond(what: str) -> tuple[float, float]:
        large, small = costs[what, "large"], costs[what, "small"]
        return max(large.wall_s - small.wall_s, 1e-4), max(large.processor_s - small.processor_s, 1e-4)

    for what, peer, wanted in (("verify", "dgst of the result", VERIFY), ("sign", "dgst", SIGN)):
        (wall, processor), (peer_wall, peer_processor) = beyond(what), beyond(peer)
        start = costs[what, "small"].wall_s
        print(f"{form} {mebibytes} MiB {what}: {wall / peer_wall:.2f} x openssl dgst, of processor time {processor / peer_processor:.2f} x "
              f"(wanted <= {wanted}; {wall:.3f} s beyond {start:.3f} s, openssl {peer_wall:.3f} s)")  # fmt: skip
    verify, real = costs["verify", "large"], costs["real verifier", "large"]
    print(f"{form} {mebibytes} MiB verify is {verify.wall_s - real.wall_s:+.3f} s behind the real verifier's {real.wall_s:.3f} s "
          f"(wanted <= {BEHIND_S})")  # fmt: skip
    memory = max(costs[what, "large"].memory_kib for what in ("sign", "verify")) // 1024
    print(f"{form} {mebibytes} MiB memory: {memory} MiB (wanted <= {MEMORY_MIB})", flush=True)


def main() -> None:
    """Every format, or those that are named."""
    arguments = sys.argv[1:]
    names = arguments[0].split(",") if arguments else NAMES
    rounds = int(arguments[2]) if len(arguments) > 2 else 3
    for form in names:
        mebibytes = int(arguments[1]) if len(arguments) > 1 else 256
        measured(form, min(mebibytes, SIZES.get(form, mebibytes)), rounds)


if __name__ == "__main__":
    main()
