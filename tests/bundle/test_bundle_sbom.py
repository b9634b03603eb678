"""The parts list: valid CycloneDX, and true."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kit.bundles import Bundle

Part = dict[str, Any]


def parts(bundle: Bundle) -> tuple[Part, dict[str, Part]]:
    from cyclonedx.schema import SchemaVersion  # its grammars take seconds to load: not in every process that collects
    from cyclonedx.validation.json import JsonStrictValidator

    text = (bundle.folder / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert (
        JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace('"type": "library"', '"type": "libary"'))
        is not None
    )
    document: Part = json.loads(text)
    return document, {part["name"]: part for part in [document["metadata"]["component"], *document["components"]]}


def test_it_is_valid_and_lists_every_wheel_with_its_hash(bundle: Bundle) -> None:
    document, found = parts(bundle)
    assert document["specVersion"] == "1.6"
    files = {
        inner["name"]: inner["hashes"][0]["content"]
        for part in found.values()
        for inner in part["components"]
        if inner["type"] == "file"
    }
    wheels = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (bundle.folder / "wheels").glob("*.whl")
    }
    assert files == wheels
    for part in found.values():
        assert part["purl"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert {entry["content"] for entry in part["hashes"]} == {
            digest for name, digest in wheels.items() if digest in str(part)
        }


def test_it_says_what_depends_on_what_under_which_licence(bundle: Bundle) -> None:
    document, found = parts(bundle)
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert set(needs[found["sealwright"]["bom-ref"]]) == {
        found[name]["bom-ref"] for name in ("cryptography", "pyopenssl", "python-pkcs11", "argcomplete")
    }
    assert found["cffi"]["bom-ref"] in needs[found["cryptography"]["bom-ref"]]
    assert found["typing-extensions"]["bom-ref"] in needs[found["pyopenssl"]["bom-ref"]]
    licences = {name: json.dumps(part["licenses"]) for name, part in found.items()}
    assert "UNKNOWN" not in "".join(licences.values())
    assert "Apache-2.0" in licences["sealwright"]
    assert "Apache-2.0 OR BSD-3-Clause" in licences["cryptography"]


def test_what_is_compiled_in_is_listed_too(bundle: Bundle) -> None:
    """The OpenSSL of `cryptography` is what a notice of a flaw will name."""
    from cryptography.hazmat.backends.openssl import backend

    _, found = parts(bundle)
    inside = {part["name"]: part.get("version", "") for part in found["cryptography"]["components"]}
    assert f"OpenSSL {inside['openssl']} " in backend.openssl_version_text()
    assert "asn1" in inside
