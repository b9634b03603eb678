"""What the channels offer to each device, by the `channels.json` of each product in one folder (`release/channels.py`).

    offers = Offers("channels")
    offers.current.wanted("VX-200 drive", 6, "production", "gw-17", "line-1")       # 7: it is behind

A copy of the repository's `channels.json` lies there, one for each product, under any name that ends in `.json`. It only tells who is behind:
what a device installs it decides by the repository's own signatures. A folder with a file that is none leaves the last good one in force.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from sealwright.artifact.source import read_file
from sealwright.errors import MalformedConfiguration, SealwrightError, Unreadable
from sealwright.release.channels import Channels, Withdrawn, parse_channels
from sealwright.service.server import Log, no_log

SUFFIX = ".json"
MAX_FILES = 1000
MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Offered:
    """All channels at one moment, by their product."""

    channels: Mapping[str, Channels]

    def wanted(self, product: str, generation: int, channel: str, device: str, group: str) -> int:
        """The generation that a device is behind of, 0 where it is not behind."""
        of_product = self.channels.get(product)
        if of_product is None or not any(one.release.generation > generation for one in of_product.offers):
            return 0
        offered = of_product.offered(channel, device, group)
        return offered.generation if offered is not None and offered.generation > generation else 0

    @property
    def withdrawn(self) -> Mapping[str, tuple[str, Withdrawn]]:
        """Product and withdrawal of each withdrawn manifest."""
        return {
            str(withdrawn.release.manifest): (product, withdrawn)
            for product, channels in self.channels.items()
            for withdrawn in channels.withdrawn
        }


@dataclass(frozen=True, slots=True)
class KnownOffers:
    """Channels that somebody has read already."""

    current: Offered


class Offers:
    """The folder, read again where one of its files is another one. folder: "" for none."""

    def __init__(self, folder: str, log: Log = no_log) -> None:
        self._folder = folder
        self._log = log
        self._seen: tuple[tuple[str, int, int, int], ...] = ()
        self._offered = Offered({})
        if folder:
            self._seen = self._listed()
            self._offered = self._read()

    @property
    def current(self) -> Offered:
        """As last read."""
        return self._offered

    def refresh(self) -> bool:
        """Read the folder again; whether it says something else than before."""
        if not self._folder:
            return False
        try:
            seen = self._listed()
            if seen == self._seen:
                return False
            self._seen, before = seen, self._offered
            self._offered = self._read()
        except SealwrightError as cause:
            self._log({"event": "channels-refused", "code": cause.code, "why": str(cause)[:500]})
            return False
        return self._offered != before

    def _listed(self) -> tuple[tuple[str, int, int, int], ...]:
        try:
            with os.scandir(self._folder) as entries:
                found = [(one.path, one.stat()) for one in entries if one.name.endswith(SUFFIX)]
        except OSError as cause:
            raise Unreadable(self._folder, f"it cannot be listed ({cause.strerror})", "Check `channels`.") from cause
        if len(found) > MAX_FILES:
            raise MalformedConfiguration(
                self._folder, f"it holds more than {MAX_FILES} files", "Keep one for each product."
            )
        return tuple(sorted((path, one.st_ino, one.st_size, one.st_mtime_ns) for path, one in found))

    def _read(self) -> Offered:
        found: dict[str, Channels] = {}
        for path, *_ in self._seen:
            channels = parse_channels(read_file(path, MAX_BYTES), path)
            if channels.product in found:
                raise MalformedConfiguration(
                    path, f"another file has the channels of {channels.product}", "Keep the newest."
                )
            found[channels.product] = channels
        return Offered(found)
