"""A repository that a device follows: where it answers, where the product lies in it, and from which root of the trust file it begins.

In agent.toml the maker's is described at the top, and the plant's own, where there is one, in a table of the same keys:

    repositories = ["https://updates.acme.example"]
    path = "drives/vx-200"

    [plant]
    repository = "nordhof"                         # its [[repository]] in the trust file
    repositories = ["https://acceptances.plant.example", "/media/plant"]
    path = "drives/vx-200"                         # the maker's where it is left out

Each of the two has its own root, its own copy of metadata and its own counters of what was seen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Section
from sealwright.errors import UsageError
from sealwright.release.layout import ProductPath, product_path

MAX_REPOSITORIES = 8
PLANT = "plant"


@dataclass(frozen=True, slots=True)
class Origin:
    """repository: its name in the trust file, "" for the one of `tuf_root`; repositories: copies of it, of which the first that answers
    counts; place: of the product in it; ca, root: paths of files, "" for none."""

    repository: str
    repositories: tuple[str, ...]
    place: ProductPath
    ca: str
    root: str


@dataclass(frozen=True, slots=True)
class Pinned:
    """A repository with the digest of its first root. folder: below that of the fetch process, "" for the maker's."""

    origin: Origin
    root: Digest
    folder: str


def maker_origin(top: Section) -> Origin:
    """The keys at the top of agent.toml; MalformedConfiguration naming what is wrong."""
    repository = top.name("repository") if top.has("repository") else ""
    return _origin(top, repository, _place(top))


def plant_origin(section: Section, maker: Origin) -> Origin:
    """The table `[plant]`; MalformedConfiguration naming what is wrong, also where it is the maker's repository again."""
    origin = _origin(section, section.name("repository"), _place(section) if section.has("path") else maker.place)
    if origin.repository == maker.repository:
        raise section.wrong("repository", "another one than the maker's")
    section.done()
    return origin


def absolute_path(section: Section, key: str) -> str:
    """A path from the root; MalformedConfiguration for any other."""
    value = section.text(key)
    if not os.path.isabs(value) or os.path.normpath(value) != value:
        raise section.wrong(key, "a path from the root, without `..` and without a slash at its end")
    return value


def _origin(section: Section, repository: str, place: ProductPath) -> Origin:
    return Origin(
        repository,
        _repositories(section),
        place,
        absolute_path(section, "ca") if section.has("ca") else "",
        absolute_path(section, "root") if section.has("root") else "",
    )


def _repositories(section: Section) -> tuple[str, ...]:
    found = section.texts("repositories")
    if not 1 <= len(found) <= MAX_REPOSITORIES:
        raise section.wrong("repositories", f"1 to {MAX_REPOSITORIES} of them")
    for one in found:
        scheme, separator, rest = one.partition("://")
        if separator and (scheme not in ("http", "https") or not rest or "@" in rest or "?" in rest or "#" in rest):
            raise section.wrong("repositories", "http:// or https:// addresses without a password, or folders")
        if not separator and not os.path.isabs(one):
            raise section.wrong("repositories", "addresses, or folders from the root")
    return tuple(one.rstrip("/") for one in found)


def _place(section: Section) -> ProductPath:
    try:
        return product_path(section.text("path"))
    except UsageError as cause:
        raise section.wrong("path", "LINE/NAME as the repository has it, such as drives/vx-200") from cause
