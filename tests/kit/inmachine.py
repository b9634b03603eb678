"""What runs inside the emulated machine (`machine.py`): one task a boot, TASK:ARGUMENT, told on the serial line.

install:17    a round of the agent's command; at the 17th call that changes the disk it says `point`, and goes on
count:        the same, and how many such calls there are
after:        what the boot found, what the agent made of it, and what its next round did; one line of JSON
round:        what interrupted rounds left is finished, and a round; the next boot does the same where it asks for one
commands:     the command lines of `commands.json`, what each said and how it ended; one line of JSON each
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from kit.powercut import Meter

POINT = "machine: the point is reached"
SAID = "machine: said "
COMMANDS = "commands.json"


def contents(version: str) -> dict[str, bytes]:
    """The files of a release, which tell it from every other."""
    return {
        "boot.bin": f"{version}\n".encode(),
        **{f"application/part{n}": f"{version} {n}\n".encode() * 4000 for n in range(4)},
        "application/common": b"the same in all\n" * 100,
    }


def main() -> int:
    """The task that the kernel's command line names."""
    task, _, argument = os.environ["MACHINE_TASK"].partition(":")
    return _TASKS[task](Path(os.environ["MACHINE_AT"]), argument)


def _install(at: Path, point: str) -> int:
    Meter(at, int(point), lambda: _line(POINT)).install()
    return _command(at)


def _count(at: Path, _: str) -> int:
    meter = Meter(at, -1, lambda: None)
    meter.install()
    code = _command(at)
    _say({"points": meter.count})
    return code


def _command(at: Path) -> int:
    from sealwright.cli.main import main as command

    return command(["agent", "install", "--yes", "--config", str(at / "device" / "agent.toml")])


def _after(at: Path, _: str) -> int:
    """Before the agent starts there must be a release that works; after it, one that everything agrees on."""
    from sealwright.device.agent import agent_at
    from sealwright.device.agentconfig import load_config
    from sealwright.device.agentstate import parse_state
    from sealwright.device.round import Doing
    from sealwright.trust.state import read_state

    state = at / "device" / "state"
    found = _whole(state / "current")
    pending = parse_state((state / "agent.json").read_bytes(), "agent.json").pending
    said = {"found": found, "step": pending.step.value if pending is not None else ""}
    with agent_at(load_config(str(at / "device" / "agent.toml"))) as agent:
        installed = agent.state.installed
        said["went"] = str(agent.recovered or "")
        said["recovered"] = _whole(state / "current")
        said["state"] = installed.release.version if installed is not None else ""
        said["flash"] = (at / "flash").read_text().strip()
        said["trouble"] = agent.state.trouble
        said["generation"] = str(read_state(str(state / "memory")).generations.get(agent.config.product, 0))
        said["outcome"] = agent.round(Doing.NOW, lambda *_: True).outcome.value
    said["ended"] = _whole(state / "current")
    _say(said)
    return 0


def _whole(link: Path) -> str:
    """The version that a link leads to, where every byte of it is there; what is wrong, else."""
    if not link.is_symlink():
        return "none"
    version = link.readlink().name
    for name, data in contents(version).items():
        if not (link / name).is_file() or (link / name).read_bytes() != data:
            return f"{version} with another {name}"
    return version


def _round(at: Path, _: str) -> int:
    code = _command(at)
    state = at / "device" / "state"
    _say({"code": code, "current": _whole(state / "current"), "flash": (at / "flash").read_text().strip()})
    return code


def _commands(at: Path, _: str) -> int:
    from sealwright.cli.main import main as command

    for words in json.loads((at / COMMANDS).read_text()):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = command(words)
            except SystemExit as leaving:  # argparse
                code = int(leaving.code or 0)
        _say({"code": code, "out": out.getvalue(), "err": err.getvalue()})
    return 0


def _say(said: object) -> None:
    _line(SAID + json.dumps(said))


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


_TASKS: dict[str, Callable[[Path, str], int]] = {
    "install": _install,
    "count": _count,
    "after": _after,
    "round": _round,
    "commands": _commands,
}
