"""Build provenance as a builder makes it: statements of any content, signed by OpenSSL through the script of docs/ci."""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealwright.artifact.digest import Digest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "docs" / "ci" / "examples" / "attest.sh"
BUILDER = "https://ci.acme.example/workflows/release"
BUILD_TYPE = "https://actions.github.io/buildtypes/workflow/v1"
REPOSITORY, REF = "https://github.com/acme/fw", "refs/tags/v1"
DEMANDING = f"""
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve"], resource);
@id("test-alone") permit (principal, action == Action::"sign", resource) when {{ resource.environment == Environment::"test" }};
@id("development-by-our-builder") permit (principal, action == Action::"sign", resource) when {{
  resource.environment == Environment::"development" && context.provenance_verified &&
  context.builder == "{BUILDER}" && context.build_type == "{BUILD_TYPE}" &&
  context.source == "{REPOSITORY}" && context.source_ref == "{REF}" }};
@id("production-by-two") permit (principal, action == Action::"sign", resource) when {{
  resource.environment == Environment::"production" && context.approvals >= 2 }};
@id("production-from-our-builder")
@advice("Have it built by the release workflow.")
forbid (principal, action == Action::"sign", resource) when {{ resource.environment == Environment::"production" }}
unless {{ context.builder == "{BUILDER}" }};
"""


def subject(data: bytes, name: str = "drive.bin") -> dict[str, Any]:
    """What was built."""
    return {"name": name, "digest": {"sha256": Digest.of(data).value.hex()}}


def statement(*subjects: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A statement of the release workflow. changes: `type`, `predicate_type`, `builder`, `build_type`, `repository`, `ref`."""
    workflow = {
        "repository": changes.get("repository", REPOSITORY),
        "ref": changes.get("ref", REF),
        "path": ".github/workflows/release.yml",
    }
    return {
        "_type": changes.get("type", "https://in-toto.io/Statement/v1"),
        "subject": list(subjects),
        "predicateType": changes.get("predicate_type", "https://slsa.dev/provenance/v1"),
        "predicate": {
            "buildDefinition": {
                "buildType": changes.get("build_type", BUILD_TYPE),
                "externalParameters": {"workflow": workflow},
                "resolvedDependencies": [{"uri": "git+https://github.com/acme/fw@refs/tags/v1"}],
            },
            "runDetails": {
                "builder": {"id": changes.get("builder", BUILDER)},
                "metadata": {"invocationId": "https://github.com/acme/fw/actions/runs/7/attempts/1"},
            },
        },
    }


def encoded(made: dict[str, Any] | str | bytes) -> bytes:
    """The octets of a statement; a text as it stands."""
    if isinstance(made, bytes):
        return made
    return (made if isinstance(made, str) else json.dumps(made)).encode()


@dataclass(frozen=True, slots=True)
class BuilderKey:
    """A key of OpenSSL's, in a folder of its own."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *kind: str) -> BuilderKey:
        """kind: as `openssl genpkey` wants it, P-256 if nothing is said."""
        folder.mkdir(parents=True)
        wanted = kind or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        subprocess.run(["openssl", "genpkey", *wanted, "-out", folder / "key.pem"], check=True, capture_output=True)
        return cls(folder)

    @property
    def public(self) -> str:
        """Its public half in PEM."""
        command = ["openssl", "pkey", "-in", self.folder / "key.pem", "-pubout"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def signed(self, made: dict[str, Any] | str | bytes) -> bytes:
        """An envelope, by the script that the page on provenance shows."""
        path = self.folder / "statement.json"
        path.write_bytes(encoded(made))
        return subprocess.run([SCRIPT, path, self.folder / "key.pem"], check=True, capture_output=True).stdout

    def signed_whole(self, made: dict[str, Any]) -> bytes:
        """The same by a key that hashes nothing itself (Ed25519)."""
        data = encoded(made)
        (self.folder / "signed").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(data), data))
        command = [
            "openssl",
            "pkeyutl",
            "-sign",
            "-rawin",
            "-inkey",
            self.folder / "key.pem",
            "-in",
            self.folder / "signed",
        ]
        value = base64.b64encode(subprocess.run(command, check=True, capture_output=True).stdout).decode()
        named = {"payloadType": "application/vnd.in-toto+json", "payload": base64.b64encode(data).decode()}
        return json.dumps({**named, "signatures": [{"sig": value}]}).encode()

    def settings(self, name: str = "release", **more: str) -> str:
        """Its table in the settings of policies. more: other lines, or other values of these."""
        lines = {"id": f'"{BUILDER}"', "build_types": f'["{BUILD_TYPE}"]', **more}
        return "\n".join(
            [
                f"[builder.{name}]",
                *(f"{key} = {value}" for key, value in lines.items()),
                "key = '''",
                self.public + "'''\n",
            ]
        )


def with_payload(envelope: bytes, made: dict[str, Any]) -> bytes:
    """An envelope whose payload was exchanged."""
    named = json.loads(envelope)
    return json.dumps({**named, "payload": base64.b64encode(encoded(made)).decode()}).encode()
