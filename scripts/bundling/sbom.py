"""The parts list of a bundle: CycloneDX 1.6 JSON, and valid, or there is no bundle.

One component for each project, with the licence, what it depends on, and one file component for each of its wheels with that
wheel's SHA-256. What a wheel says it carries compiled in (PEP 770: cryptography lists OpenSSL and its Rust crates) is listed below
it. Serial number and time follow from the commit, so two builds write the same bytes.
"""

from __future__ import annotations

import email
import json
import uuid
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement

from bundling.pins import normal
from bundling.refused import BundleRefused
from bundling.source import Source
from bundling.wheels import PYTHONS, Wheel, member

_SPDX = {"Apache Software License": "Apache-2.0", "Apache License, Version 2.0": "Apache-2.0"}
_OPERATING_SYSTEMS = ({"sys_platform": "linux", "os_name": "posix"}, {"sys_platform": "win32", "os_name": "nt"})


def text(source: Source, wheels: Sequence[Wheel]) -> str:
    """The document; BundleRefused, naming the place, if it breaks the schema."""
    projects = {name: list(group) for name, group in groupby(sorted(wheels, key=_order), key=lambda wheel: wheel.name)}
    components = {name: _component(group) for name, group in projects.items()}
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"sealwright {source.version} {source.commit}"),
        components=[component for name, component in components.items() if name != "sealwright"],
    )
    bom.metadata.timestamp = datetime.fromtimestamp(source.epoch, UTC)
    bom.metadata.component = components["sealwright"]
    bom.metadata.properties.add(Property(name="sealwright:commit", value=source.commit))
    for name, group in projects.items():
        wanted = {need for wheel in group for need in _needs(wheel)}
        bom.register_dependency(components[name], [components[need] for need in sorted(wanted)])
    written: str = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(written)) is not None:
        raise BundleRefused(
            "sbom.cdx.json", f"it is not valid CycloneDX: {wrong.data}", "Mend scripts/bundling/sbom.py."
        )
    return written


def _component(wheels: Sequence[Wheel]) -> Component:
    """One project with its wheels."""
    first = wheels[0]
    metadata = email.message_from_bytes(member(first, "METADATA"))
    stated = metadata["License-Expression"] or metadata["License"] or "UNKNOWN"
    purl = PackageURL("pypi", name=first.name, version=first.version)
    return Component(
        type=ComponentType.APPLICATION if first.name == "sealwright" else ComponentType.LIBRARY,
        name=first.name,
        version=first.version,
        bom_ref=str(purl),
        purl=purl,
        description=metadata["Summary"],
        licenses=[LicenseFactory().make_from_string(_SPDX.get(stated, stated))],
        hashes=[_hash(wheel) for wheel in wheels],
        components=[*(_file(wheel) for wheel in wheels), *_carried(wheels)],
    )


def _file(wheel: Wheel) -> Component:
    purl = PackageURL("pypi", name=wheel.name, version=wheel.version, qualifiers={"file_name": wheel.path.name})
    return Component(type=ComponentType.FILE, name=wheel.path.name, bom_ref=str(purl), purl=purl, hashes=[_hash(wheel)])


def _hash(wheel: Wheel) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)


def _carried(wheels: Iterable[Wheel]) -> list[Component]:
    """What the wheels' own parts lists name, each part once."""
    parts: dict[str, Component] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel.path) as archive:
            lists = [name for name in archive.namelist() if ".dist-info/sboms/" in name and name.endswith(".json")]
            for name in sorted(lists):
                for part in json.loads(archive.read(name)).get("components", ()):
                    purl = PackageURL.from_string(part["purl"])._replace(qualifiers={}, subpath=None)
                    parts[str(purl)] = Component(
                        type=ComponentType.LIBRARY,
                        name=part["name"],
                        version=part["version"],
                        bom_ref=f"{wheel.name}:{purl}",
                        purl=purl,
                        licenses=[
                            LicenseFactory().make_from_string(licence.get("expression") or licence["license"]["id"])
                            for licence in part.get("licenses", ())
                        ],
                    )
    return [parts[purl] for purl in sorted(parts)]


def _needs(wheel: Wheel) -> set[str]:
    """The projects it needs on any system and Python the bundle is for, without extras."""
    stated = email.message_from_bytes(member(wheel, "METADATA")).get_all("Requires-Dist") or []
    places = [
        {**system, "python_version": f"{a}.{b}", "python_full_version": f"{a}.{b}.0", "extra": ""}
        | {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
        for system in _OPERATING_SYSTEMS
        for a, b in PYTHONS
    ]
    needs = [Requirement(line) for line in stated]
    return {
        normal(need.name)
        for need in needs
        if need.marker is None or any(need.marker.evaluate(place) for place in places)
    }


def _order(wheel: Wheel) -> tuple[str, str]:
    return wheel.name, wheel.path.name
