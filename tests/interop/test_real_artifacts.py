"""Real firmware and a real project's shapes: what we say of them, OpenSSL and coreutils say too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import sealwright
from kit.mutate import twin
from kit.openssl import cms_verify, sums, ts_verify
from kit.samples import SAMPLES, Sample, project
from sealwright.cli.main import main
from sealwright.envelope.cms import Profile, Signer, read_envelope


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes") / "home"
    assert main(["init", str(folder)]) == 0
    return folder


def altered(path: Path, folder: Path, change: str) -> Path:
    """A copy under the same name in `folder`, changed in one way, with everything that was signed for the original beside it."""
    folder.mkdir()
    data = bytearray(path.read_bytes())
    if change == "appended":
        data += b"\x00"
    elif change == "cut short":
        del data[-1]
    else:
        data[{"first byte": 0, "middle byte": len(data) // 2, "last byte": -1}[change]] ^= 0x01
    (folder / path.name).write_bytes(data)
    shutil.copy(f"{path}.p7s", folder)
    return folder / path.name


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_real_firmware_is_accepted_by_both_and_each_alteration_refused_by_both(
    sample: Sample, home: Path, tmp_path: Path
) -> None:
    firmware = sample.copy_to(tmp_path)
    assert sealwright.sign(str(firmware), str(home)).outputs == (f"{firmware}.p7s",)

    def ours(path: Path) -> tuple[bool, str]:
        verdict = sealwright.verify(str(path), str(home / "trust.toml"))
        return verdict.outcome == "trusted", " ".join(finding.code for finding in verdict.findings)

    def openssl(path: Path) -> tuple[bool, str]:
        return cms_verify(Path(f"{path}.p7s"), path, home / "ca.pem")

    for change in ("first byte", "middle byte", "last byte", "appended", "cut short"):
        bad = altered(firmware, tmp_path / change, change)
        assert "SW-FILE-CHANGED" in twin(ours, firmware, bad), change
        twin(openssl, firmware, bad)


def test_the_timestamp_of_real_firmware_is_one_for_openssl(home: Path, tmp_path: Path) -> None:
    firmware = SAMPLES[0].copy_to(tmp_path)
    sealwright.sign(str(firmware), str(home))
    (signer,) = read_envelope(Path(f"{firmware}.p7s").read_bytes(), Profile.OURS, "firmware").signers
    assert isinstance(signer, Signer)
    (token,) = signer.tokens
    (tmp_path / "token.der").write_bytes(token)
    (tmp_path / "value").write_bytes(signer.signature)
    (tmp_path / "other value").write_bytes(signer.signature + b"\x00")
    twin(
        lambda value: ts_verify(tmp_path / "token.der", value, home / "ca.pem"),
        tmp_path / "value",
        tmp_path / "other value",
    )


def test_a_project_is_a_manifest_that_sha256sum_checks(home: Path, tmp_path: Path) -> None:
    good = project(tmp_path)
    sealwright.sign(str(good), str(home))
    manifest = Path(f"{good}.manifest")
    shutil.copytree(tmp_path, tmp_path / "stick")
    bad = tmp_path / "stick" / good.name
    (bad / "hmi/flows.json").write_text("[]\n")
    verdicts = {path: sealwright.verify(str(path), str(home / "trust.toml")) for path in (good, bad)}
    assert [verdict.outcome for verdict in verdicts.values()] == ["trusted", "rejected"]
    assert "flows.json" in twin(lambda tree: sums(manifest, tree), good, bad)
    assert cms_verify(Path(f"{manifest}.p7s"), manifest, home / "ca.pem")[0]
