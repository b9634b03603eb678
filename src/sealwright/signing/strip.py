"""Taking signatures out of a file again. No key is used and nothing is recorded: the signatures stay valid for their file."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sealwright.artifact.output import Output, Replace, permissions_of, refuse_itself, write_batch
from sealwright.artifact.source import open_artifact
from sealwright.formats.embedded import recognise, recognised, signed_beside
from sealwright.formats.format import EmbeddedFormat, Search

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout


def strip(path: str, target: str, replace: Replace = Replace.NO, layouts: Collection[Layout] = ()) -> None:
    """Write the file without the signatures inside it. layouts: what it may be described by.

    Raises UsageError where it is of no such format or has none, OutputRefused where the target cannot be written.
    """
    form = _signed_as(path, layouts)
    refuse_itself(path, target)
    write_batch([Output(target, form.strip(path), permissions_of(path))], replace=replace)


def _signed_as(path: str, layouts: Collection[Layout]) -> EmbeddedFormat:
    """The format with a signature inside, else one whose signature lies beside; UsageError for neither."""
    with open_artifact(path) as source:
        inside = recognise(source, layouts)
    beside = signed_beside(path, Search()) if inside is None else ()
    return inside or next(iter(beside), None) or recognised(path, layouts)
