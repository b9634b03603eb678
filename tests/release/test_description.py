"""`release.toml` is read whole or refused, and every file of a release belongs to one part of it."""

from __future__ import annotations

import pytest

from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.release.description import (
    Component,
    Document,
    DocumentKind,
    Requirement,
    check_complete,
    parse_description,
)

GOOD = b"""# sealwright release 1
enforces = 5
[[requires]]
product = "VX-200 bootloader"
generation = 4
[[component]]
name = "boot"
path = "boot.bin"
[[component]]
name = "application"
path = "application"
[[document]]
kind = "sbom"
path = "documents/sbom.json"
"""
FILES = [b"release.toml", b"boot.bin", b"application/a", b"application/lib/b", b"documents/sbom.json"]


def test_a_description_says_parts_requirements_and_the_floor_that_it_enforces() -> None:
    found = parse_description(GOOD, "release.toml")
    assert (found.enforces, found.requires) == (5, (Requirement("VX-200 bootloader", 4),))
    assert found.components == (Component("boot", b"boot.bin"), Component("application", b"application"))
    assert found.documents == (Document(DocumentKind.SBOM, b"documents/sbom.json"),)
    check_complete(found, FILES, "1.4.2")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"release 1", b"release 2", "first line"),
        (b"enforces", b"enforce", "did you mean"),
        (b"enforces = 5", b"enforces = 0", "from 1"),
        (b'"boot"', b'"application"', "of a name of its own"),
        (b'"boot"', b'"../boot"', "lower-case"),
        (b'"boot.bin"', b'"application/boot.bin"', "no other part"),
        (b'"boot.bin"', b'"/etc/passwd"', "relative"),
        (b'"boot.bin"', b'"release.toml"', "another file"),
        (b'"sbom"', b'"virus"', "one of"),
        (b"generation = 4", b"generation = -4", "whole number"),
    ],
)
def test_what_a_description_may_not_say_is_refused_by_name(old: bytes, new: bytes, says: str) -> None:
    parse_description(GOOD, "release.toml")
    with pytest.raises(MalformedArtifact, match=says):
        parse_description(GOOD.replace(old, new, 1), "release.toml")


def test_a_release_without_a_component_is_refused() -> None:
    with pytest.raises(MalformedArtifact, match="installs nothing"):
        parse_description(b"# sealwright release 1\n", "release.toml")


def test_a_long_description_is_refused_unread() -> None:
    with pytest.raises(LimitExceeded):
        parse_description(GOOD + b"#" * (256 << 10), "release.toml")


def test_a_file_of_no_part_and_a_part_without_a_file_are_refused() -> None:
    found = parse_description(GOOD, "release.toml")
    with pytest.raises(MalformedArtifact, match="stray"):
        check_complete(found, [*FILES, b"stray"], "1.4.2")
    with pytest.raises(MalformedArtifact, match=r"boot\.bin"):
        check_complete(found, [name for name in FILES if name != b"boot.bin"], "1.4.2")
    with pytest.raises(MalformedArtifact, match="application-old"):
        check_complete(found, [*FILES, b"application-old/a"], "1.4.2")
