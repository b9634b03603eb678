"""What a ceremony's transcript says of the machine that it ran on: a hint for people, as the machine itself tells it.

Nothing here is proof: a machine that was tampered with says what it likes. It is there so that officers notice the laptop with
a network before the first key is made, and so that the record says which machine it was.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from typing import NamedTuple

from sealwright.artifact.names import display

INTERFACES = "/sys/class/net"
MAX_INTERFACES = 32
_LOOPBACK = "lo"
_UP = 0x1  # IFF_UP, netdevice(7)


class Host(NamedTuple):
    """name: of the machine; system: release and kernel; interfaces: of networks, that are up; beside the loopback."""

    name: str
    system: str
    interfaces: tuple[str, ...] = ()

    @property
    def offline(self) -> bool:
        """Whether no network was up."""
        return not self.interfaces


def this_host(interfaces: str = INTERFACES) -> Host:
    """This machine. interfaces: where Linux shows them."""
    up = _linux(interfaces) if os.path.isdir(interfaces) else _named()
    return Host(_shown(platform.node()), _shown(_system()), up[:MAX_INTERFACES])


def _system() -> str:
    try:
        release: Mapping[str, str] = platform.freedesktop_os_release()
    except OSError:
        release = {}
    return f"{release.get('PRETTY_NAME', platform.system())}, {platform.system()} {platform.release()}"


def _linux(folder: str) -> tuple[str, ...]:
    """An interface counts as up unless the kernel says that it is down; one that cannot be read counts as up."""
    return tuple(_shown(name) for name in sorted(os.listdir(folder)) if name != _LOOPBACK and _is_up(folder, name))


def _is_up(folder: str, name: str) -> bool:
    try:
        with open(os.path.join(folder, name, "flags"), encoding="ascii") as flags:
            return bool(int(flags.read(20), 16) & _UP)
    except NotADirectoryError:
        return False  # such as bonding_masters, which is no interface
    except (OSError, ValueError):
        return True


def _named() -> tuple[str, ...]:
    """Elsewhere only the names are known, and whether one is up is not."""
    return tuple(_shown(name) for _, name in socket.if_nameindex() if not name.startswith(_LOOPBACK))


def _shown(text: str) -> str:
    return display(text)[:100] or "unknown"
