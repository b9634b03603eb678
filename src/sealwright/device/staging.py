"""The staging folder, which the fetch process fills and the agent copies from: what is in it under which name.

staged/9f86d0…/1.4.2.manifest           the folder is named by the manifest's digest
staged/9f86d0…/1.4.2.manifest.p7s       …and what lies beside it
staged/9f86d0…/5891b5…                  each file by the digest that the manifest lists
"""

from __future__ import annotations

from collections.abc import Iterator

from sealwright.release.layout import MANIFEST

STAGED = "staged"
LIST = ".list"
ACCEPTANCE = ".plant.manifest"
MAX_BESIDE_BYTES = 8 << 20
MAX_MANIFEST_BYTES = 64 << 20
_SIGNED = (".p7s", ".tsr", ".tlog-proof", ".ers", ".pq.p7s", ".pq.tlog-proof")
_PLANT_SIGNED = (".plant.p7s", ".plant.tlog-proof")


def beside_suffixes() -> Iterator[str]:
    """What may lie beside a manifest, behind the version: its signatures and proofs, and the plant's acceptance with its own."""
    yield from maker_suffixes()
    yield from plant_suffixes()


def maker_suffixes() -> Iterator[str]:
    """The maker's part of it."""
    yield from (MANIFEST + suffix for suffix in _SIGNED)


def plant_suffixes() -> Iterator[str]:
    """The plant's."""
    yield from (MANIFEST + suffix for suffix in _PLANT_SIGNED)
    yield ACCEPTANCE
    yield from (ACCEPTANCE + suffix for suffix in (*_SIGNED, *_PLANT_SIGNED))
