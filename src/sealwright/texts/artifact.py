"""Sentences about trees and files compared with a manifest."""

from __future__ import annotations

from sealwright.texts.text import Text

_COPY = "Copy the folder again from its source and verify it again."

TEXTS: dict[str, Text] = {
    "SW-TREE-FILE-CHANGED": Text("the file {subject} is not the one that was signed", _COPY, "a file was changed"),
    "SW-TREE-FILE-MISSING": Text("the file {subject} was signed and is missing", _COPY, "a file is missing"),
    "SW-TREE-FILE-EXTRA": Text(
        "the file {subject} is there and was not signed",
        "Find out where it comes from; do not just delete it.",
        "there is a file that was not signed",
    ),
    "SW-TREE-LINK-CHANGED": Text(
        "the link {subject} should point to {wanted} and points to {found}", _COPY, "a link was changed"
    ),
    "SW-TREE-MODE-CHANGED": Text(
        "the file {subject} should be {wanted} and is {found}", _COPY, "a file's mode was changed"
    ),
    "SW-TREE-FOLDER-MISSING": Text(
        "the empty folder {subject} was signed and is missing", _COPY, "a folder is missing"
    ),
    "SW-TREE-FOLDER-EXTRA": Text(
        "the empty folder {subject} is there and was not signed", _COPY, "there is a folder that was not signed"
    ),
    "SW-TREE-MORE": Text("{subject} has {found} more differences", _COPY, "many files differ"),
    "SW-TREE-LEFTOVER": Text(
        "{subject} is an operating system's leftover at the root of this medium and was left alone", "Nothing to do."
    ),
    "SW-TREE-MODES-NOT-KEPT": Text(
        "{subject} lies on a medium that keeps no execute bits, so they were not compared",
        "Nothing to do; contents were compared.",
    ),
}
