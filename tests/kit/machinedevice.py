"""A device for the emulated machine: one release installed, the next one offered in a folder on its disk.

device = MachineDevice.made(folder)                          # its tree is `folder`; a fresh disk of it: device.disk(image)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kit.agents import Maker, Site, program, site
from kit.inmachine import SAID, contents
from kit.machine import Ran, ext4_disk

OLD, NEW = "1.0.0", "1.1.0"
AT_ONCE = ("/bin/busybox", "reboot", "-f")  # without a sync, and without an end of the agent
ORDERLY = ("/bin/busybox", "touch", "/tmp/reboot")  # after the agent has ended
_DESCRIPTION = (
    "# sealwright release 1\nenforces = 1\n"
    "[[component]]\nname = 'boot'\npath = 'boot.bin'\n"
    "[[component]]\nname = 'application'\npath = 'application'\n"
)


@dataclass(frozen=True, slots=True)
class MachineDevice:
    """tree: what its disk holds."""

    tree: Path
    site: Site

    @classmethod
    def made(cls, tree: Path, *, restart: tuple[str, ...] = (), health: str = "") -> MachineDevice:
        """restart: a command that starts the device again, after which health is looked at; health: a shell command, where not that the
        flash has what `current` has. The flash is written by an installer, durably."""
        maker = Maker.at(tree / "maker")
        flash, current = tree / "flash", tree / "device" / "state" / "current"
        write = program(tree / "write", f'cp "$1" {flash}.new && sync {flash}.new && mv {flash}.new {flash} && sync')
        undo = program(tree / "undo", f"echo {OLD} > {flash}.new && sync {flash}.new && mv {flash}.new {flash} && sync")
        healthy = program(tree / "healthy", health or f'test "$(cat {flash})" = "$(cat {current}/boot.bin)"')
        installers = (
            f"[[installer]]\ncomponent = 'boot'\nkind = 'exec'\ninstall = ['{write}', '{{file}}']\nundo = ['{undo}']\n"
            "[[installer]]\ncomponent = 'application'\nkind = 'folder'\n"
        )
        looked = f"[health]\ncommand = ['{healthy}']\ntries = 1\n"
        device = site(tree / "device", maker, installers=installers)
        first, second = (
            maker.release(version, number, files=contents(version), description=_DESCRIPTION)
            for number, version in ((1, OLD), (2, NEW))
        )
        maker.offer(first)
        assert device.install() == "installed"
        maker.offer(second)
        again = f"[restart]\ncommand = {list(restart)}\nafter = 'reboot'\n" if restart else ""
        device.path.write_text(device.path.read_text() + again + looked)
        return cls(tree, device)

    def disk(self, image: Path) -> Path:
        """A new disk with it."""
        return ext4_disk(image, self.tree, megabytes=160)


def said(ran: Ran) -> list[dict[str, str]]:
    """What a task told in JSON, boot by boot or command by command."""
    return [json.loads(line.partition(SAID)[2]) for line in ran.words.splitlines() if SAID in line]
