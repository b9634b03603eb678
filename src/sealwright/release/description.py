"""`release.toml`: what a release consists of. It lies in the release's folder, and the manifest over the folder binds it with the rest.

    # sealwright release 1
    enforces = 5                         # below this generation nothing is installed any more once this release has proved itself

    [[requires]]                         # what has to be installed before
    product = "VX-200 bootloader"
    generation = 4

    [[component]]                        # installed in this order, each by the installer of that name on the device
    name = "application"
    path = "application"                 # a file or folder of the release

    [[document]]                         # what nobody installs
    kind = "sbom"
    path = "documents/sbom.cdx.json"

Product, version, generation, hardware and environment are claims of the manifest and stand nowhere else. Every file of the folder
but this one belongs to exactly one component or document, so that nothing lies in a release that nobody answers for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from sealwright.artifact.names import check_name, display
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.errors import MalformedArtifact

NAME = "release.toml"
FIRST_LINE = "# sealwright release 1"
MAX_BYTES = 256 << 10
MAX_PARTS = 500
_COMPLAINT = Complaint(MalformedArtifact, MAX_BYTES, "Correct it before the release is signed.")
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


class DocumentKind(StrEnum):
    """What a document of a release is: parts list, how it was built, a notice of holes, for people, the proof of a test."""

    SBOM = "sbom"
    PROVENANCE = "provenance"
    ADVISORY = "advisory"
    NOTES = "notes"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Requirement:
    """That a product is installed, in at least this generation."""

    product: str
    generation: int


@dataclass(frozen=True, slots=True)
class Component:
    """What one installer of a device takes. path: a file or folder of the release."""

    name: str
    path: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """What is shown and kept. path: a file or folder of the release."""

    kind: DocumentKind
    path: bytes


@dataclass(frozen=True, slots=True)
class Description:
    """A release's parts. enforces: 0 where it raises no floor; components in the order of their installation."""

    enforces: int
    requires: tuple[Requirement, ...]
    components: tuple[Component, ...]
    documents: tuple[Document, ...]

    @property
    def parts(self) -> tuple[Component | Document, ...]:
        """Components first."""
        return (*self.components, *self.documents)


def parse_description(data: bytes, subject: str) -> Description:
    """Read a description; MalformedArtifact naming section, key and what is wanted, LimitExceeded above 256 KiB."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    description = Description(
        enforces=top.number("enforces", 1, 0),
        requires=cast("tuple[Requirement, ...]", top.each("requires", _requirement)),
        components=cast("tuple[Component, ...]", top.each("component", _component)),
        documents=cast("tuple[Document, ...]", top.each("document", _document)),
    )
    top.done()
    if not description.components:
        raise top.wrong("component", "there at least once: a release without one installs nothing")
    if len(description.parts) > MAX_PARTS:
        raise top.wrong("component", f"there at most {MAX_PARTS} times, documents counted")
    _check_different(description, top)
    return description


def check_complete(description: Description, names: Iterable[bytes], subject: str) -> None:
    """MalformedArtifact where a file belongs to no part, or a part has no file. names: the release's files, `release.toml` among them."""
    listed = [name for name in names if name != NAME.encode()]
    paths = [part.path for part in description.parts]
    of = [next((path for path in paths if belongs(name, path)), None) for name in listed]
    for name, path in zip(listed, of, strict=True):
        if path is None:
            raise MalformedArtifact(
                subject,
                f"{display(name)} belongs to no component and no document of {NAME}",
                "Name it there, or take it out of the folder.",
            )
    for path in paths:
        if path not in of:
            raise MalformedArtifact(subject, f"{NAME} names {display(path)}, which is not there", "Correct its path.")


def belongs(name: bytes, path: bytes) -> bool:
    """Whether a file of the release is that of a part, or lies in its folder."""
    return name == path or name.startswith(path + b"/")


def _requirement(section: Section) -> Requirement:
    return Requirement(section.name("product"), section.number("generation", 0))


def _component(section: Section) -> Component:
    name = section.text("name")
    if not _COMPONENT.fullmatch(name):
        raise section.wrong("name", "1 to 64 lower-case letters, digits and hyphens")
    return Component(name, _path(section))


def _document(section: Section) -> Document:
    return Document(DocumentKind(section.word("kind", tuple(DocumentKind))), _path(section))


def _path(section: Section) -> bytes:
    path = section.text("path").encode()
    check_name(path, f"{section.subject}: {section.where}")
    if path == NAME.encode():
        raise section.wrong("path", "another file than the description itself")
    return path


def _check_different(description: Description, top: Section) -> None:
    names = [component.name for component in description.components]
    paths = sorted(part.path for part in description.parts)
    products = [one.product for one in description.requires]
    if len(set(names)) != len(names):
        raise top.wrong("component", "of a name of its own each")
    if len(set(products)) != len(products):
        raise top.wrong("requires", "one for each product")
    if any(belongs(other, path) for path in paths for other in paths if other is not path):
        raise top.wrong("path", "of files that no other part has")
