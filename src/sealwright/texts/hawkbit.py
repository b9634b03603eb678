"""What is said of devices that ask by hawkBit's device interface."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "serve.hawkbit": "hawkBit's device interface for {tenant} at {address}",
    "serve.hawkbit-offers": "{releases} releases of {products} products; the repository's metadata counts until {until}",
    "updater.added": "{device}: is offered what {channel} offers of {path}",
    "updater.again": "{device}: {number} that failed are offered again where their channel offers them",
    "updater.removed": "{device}: removed; it is not known from now on",
    "updater.unsigned": "What these devices told; none of it is signed",
    "updater.line": "{device}  {group}  {plant}  {updater}  {path}  {channel}  {standing}",
    "updater.never": "never asked",
    "updater.nothing": "last asked {polled}, nothing offered yet",
    "updater.offered": "offered {version} (generation {generation})",
    "updater.told": "{state}: {version} (generation {generation}), told {time}",
}
