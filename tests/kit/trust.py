"""Trust files for tests: a whole one by default, any part replaced by name; and the judgement in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.pki import DAY, NOW, Pki, Signer, p7s, person_key
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import FIRST_LINE, parse_trust
from sealwright.trust.verdict import Verdict
from sealwright.trust.verify import Request, verify_paths

OFFICER = person_key()
RECOVERY = person_key()
RULE: dict[str, Toml] = {
    "name": "firmware",
    "environment": "production",
    "contact": "security@plant.example",
    "signer": [{"anchors": ["root"], "purposes": ["updatePackageSigning"]}],
}


def public_pem(signer: Signer) -> str:
    """The public key in PEM."""
    return signer.key.info.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def person(name: str, *keys: Signer, organisation: str = "ACME") -> dict[str, Toml]:
    """A register entry."""
    entry: dict[str, Toml] = {"id": name, "organisation": organisation}
    return entry | ({"keys": [key.key_digest for key in keys]} if keys else {})


def quorum(threshold: int, **keys: Signer) -> dict[str, Toml]:
    """An [officers] or [recovery] section."""
    return {"threshold": threshold, "key": [{"person": name, "key": public_pem(key)} for name, key in keys.items()]}


def trust_parts(pki: Pki, **changes: Toml) -> dict[str, Toml]:
    """The parts of a production trust file; a part given as None is left out."""
    parts: dict[str, Toml] = {
        "id": "plant-7",
        "version": 1,
        "issued": NOW - 5 * DAY,
        "expires": NOW + 300 * DAY,
        "person": [person("olga", OFFICER), person("rolf", RECOVERY)],
        "officers": quorum(1, olga=OFFICER),
        "recovery": quorum(1, rolf=RECOVERY),
        "anchor": [{"name": "root", "environment": "production", "certificate": pki.root.pem}],
        "authority": [{"name": "timestamps", "anchor": pki.root.pem}],
        "rule": [RULE],
    }
    parts |= changes
    return {name: part for name, part in parts.items() if part is not None}


def trust_bytes(parts: Mapping[str, Toml]) -> bytes:
    """The file."""
    return toml_text(FIRST_LINE, parts).encode()


def write_trust(folder: Path, parts: Mapping[str, Toml], name: str = "trust.toml", **signers: Signer) -> Path:
    """A trust file with its officers' signatures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    data = trust_bytes(parts)
    path.write_bytes(data)
    for who, signer in signers.items():
        (folder / f"{name}.{who}.p7s").write_bytes(p7s(signer, data, kind="trust"))
    return path


def believed(pki: Pki, *, crls: Sequence[bytes] = (), denied: Sequence[Denied] = (), **changes: Toml) -> Believed:
    """A trust file that is believed, with what lies beside it."""
    trust = parse_trust(trust_bytes(trust_parts(pki, **changes)), "trust.toml")
    every = (*trust.denied, *denied)
    return Believed(trust, "the test says so", (), tuple(crls), every, certificates=trust.certificates)


def knowing(*signers: Signer) -> list[Toml]:
    """[[certificate]] sections for signers whose signatures carry none, with the authorities above them."""
    every = dict.fromkeys(der for signer in signers for der in (signer.certificate, *signer.chain))
    loaded = [x509.load_der_x509_certificate(der) for der in every]
    return [{"certificate": one.public_bytes(Encoding.PEM).decode()} for one in loaded]


def judge(path: Path, trust: Believed, at: datetime = NOW, **request: object) -> Verdict:
    """The verdict on one path with the clock at a time."""
    (verdict,) = verify_paths([str(path)], trust, Request(clock=at, **request))  # type: ignore[arg-type]
    return verdict


def new_state(folder: Path) -> str:
    """A verifier's memory as it is set up: an empty folder."""
    state = folder / "state"
    state.mkdir()
    return str(state)


def codes(verdict: Verdict) -> list[str]:
    """The codes of what refused or left open."""
    return [f.code for f in verdict.findings if f.severity in ("reject", "undecided")]


def signed_file(
    folder: Path, signer: Signer, data: bytes = b"firmware\n" * 100, name: str = "drive.bin", **how: object
) -> Path:
    """A file with its maker's signature beside it."""
    path = folder / name
    path.write_bytes(data)
    (folder / f"{name}.p7s").write_bytes(p7s(signer, data, **how))  # type: ignore[arg-type]
    return path
