"""Hash-pinned requirements, as pip reads them with `--require-hashes`.

    name==version ; marker \\
        --hash=sha256:... \\
        --hash=sha256:...

`requirements/base.txt` pins every file of a release on the index; the bundle's own `requirements.txt` pins the files it carries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bundling.refused import BundleRefused

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+?))?"
    r"(?P<hashes>(?:\s+--hash=sha256:[0-9a-f]{64})+)"
)


@dataclass(frozen=True, slots=True)
class Pin:
    """One requirement: name as PEP 503 writes it, version, marker ("" for none), SHA-256 of each file allowed, in hex."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]


def normal(name: str) -> str:
    """A project's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parsed(text: str, subject: str) -> tuple[Pin, ...]:
    """Every requirement of a file; BundleRefused for a line that is no pin with hashes."""
    pins = []
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if (found := _PIN.fullmatch(line.strip())) is None:
            raise BundleRefused(subject, f"{line[:60]!r} is not pinned by version and hash", "Pin it.")
        hashes = frozenset(re.findall(r"[0-9a-f]{64}", found["hashes"]))
        pins.append(Pin(normal(found["name"]), found["version"], found["marker"] or "", hashes))
    return tuple(pins)


def written(pins: Iterable[Pin]) -> str:
    """The text of a requirements file, sorted."""
    lines = []
    for pin in sorted(pins, key=lambda pin: pin.name):
        marker = f" ; {pin.marker}" if pin.marker else ""
        hashes = "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(pin.hashes))
        lines.append(f"{pin.name}=={pin.version}{marker}{hashes}\n")
    return "".join(lines)
