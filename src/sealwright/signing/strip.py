"""Taking signatures out of a file again. No key is used and nothing is recorded: the signatures stay valid for their file."""

from __future__ import annotations

from sealwright.artifact.output import Output, Replace, permissions_of, refuse_itself, write_batch
from sealwright.formats.embedded import recognised


def strip(path: str, target: str, replace: Replace = Replace.NO) -> None:
    """Write the file without the signatures inside it.

    Raises UsageError where it is of no such format or has none, OutputRefused where the target cannot be written.
    """
    form = recognised(path)
    refuse_itself(path, target)
    write_batch([Output(target, form.strip(path), permissions_of(path))], replace=replace)
