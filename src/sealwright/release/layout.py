"""Where things lie in a release repository: the names of its TUF targets, the same on a server, in a bucket and on a stick.

    drives/vx-200/channels.json                     which release each channel offers; the one target that changes
    drives/vx-200/1.4.2.manifest                    over the folder 1.4.2, with product, version, generation, hardware
    drives/vx-200/1.4.2.manifest.p7s                the maker's signature
    drives/vx-200/1.4.2.manifest.tlog-proof         …and whatever else lies beside it: `.tsr`, `.ers`, `.pq.p7s`
    drives/vx-200/1.4.2.plant.manifest(.p7s)        a plant's acceptance, where the plant's repository has it
    drives/vx-200/1.4.2/release.toml                the release's files

`drives` is the product line, to whose TUF role the targets below it are delegated; `vx-200` names the product there, `1.4.2` the version.
Taken out of the repository into one folder, the files of a release are what `verify FOLDER` judges.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sealwright.artifact.names import check_name, display
from sealwright.errors import UsageError

CHANNELS = "channels.json"
MANIFEST = ".manifest"
PLANT = f".plant{MANIFEST}"
_MEMBER = re.compile(r"[A-Za-z0-9_+,=@.-]+(?:/[A-Za-z0-9_+,=@.-]+)*")
_PART = re.compile(r"[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ProductPath:
    """line: of the product, a TUF role too; name: of the product in it. Both 1 to 64 of a-z, 0-9, `.`, `_`, `+`, `-`."""

    line: str
    name: str

    def __str__(self) -> str:
        return f"{self.line}/{self.name}"

    @property
    def channels(self) -> str:
        """The target that says what each channel offers."""
        return f"{self}/{CHANNELS}"

    def release(self, version: str) -> str:
        """The release's folder, without a slash at its end; UsageError for a version that can be no name."""
        return f"{self}/{checked_part(version, 'version')}"

    def manifest(self, version: str) -> str:
        """The target that is the release's manifest; what lies beside it begins so too."""
        return f"{self.release(version)}{MANIFEST}"

    def member(self, version: str, name: bytes) -> str:
        """The target of a release's file; UsageError for a name that is written differently in a URL."""
        text = name.decode("utf-8", "surrogateescape")
        if not _MEMBER.fullmatch(text):
            raise UsageError(
                display(name),
                "a release's file has a name that URLs write differently",
                "Rename it: letters, digits and `_`, `+`, `,`, `=`, `@`, `.`, `-`.",
            )
        return f"{self.release(version)}/{text}"


def product_path(text: str) -> ProductPath:
    """Read `LINE/NAME`; UsageError for anything else."""
    line, slash, name = text.partition("/")
    if not slash:
        raise UsageError(display(text[:100]), "it is no LINE/NAME", "Write it like drives/vx-200.")
    return ProductPath(checked_part(line, "product line"), checked_part(name, "product's name"))


def checked_part(text: str, what: str) -> str:
    """A text that is one part of a target's name, on every system; UsageError naming what it was to be."""
    beside = f"{MANIFEST}." in f"{text}." or f"{text}{MANIFEST}".endswith(
        PLANT
    )  # what lies beside another release is called so
    if not _PART.fullmatch(text) or ".." in text or beside:
        raise UsageError(
            display(text[:100]),
            f"it can be no {what} in a repository",
            "Use 1 to 64 lower-case letters, digits and `.`, `_`, `+`, `-` between them.",
        )
    check_name(text.encode(), what)
    return text
