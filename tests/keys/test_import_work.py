"""A key file says how often its passphrase is hashed; one that would take minutes or hours is refused at once."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asn1crypto import pkcs12

from sealwright.errors import KeyRefused
from sealwright.keys.pin import Pin
from sealwright.keys.private import MAX_ROUNDS, read_private_key

PASSWORD = "a passphrase"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "plain.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path], check=True
    )
    return path


def secret(folder: Path) -> Pin:
    path = folder / "password"
    path.write_text(PASSWORD)
    path.chmod(0o600)
    return Pin.from_file(str(path))


@pytest.mark.parametrize(
    "how",
    [
        [
            "pkcs8",
            "-topk8",
            "-v2",
            "aes256",
            "-iter",
            "ROUNDS",
            "-in",
            "PLAIN",
            "-passout",
            f"pass:{PASSWORD}",
            "-outform",
            "DER",
        ],
        ["pkcs8", "-topk8", "-v2", "aes256", "-iter", "ROUNDS", "-in", "PLAIN", "-passout", f"pass:{PASSWORD}"],
    ],
    ids=["der", "pem"],
)
def test_a_passphrase_is_not_hashed_for_minutes(how: list[str], plain: Path, tmp_path: Path) -> None:
    for rounds, accepted in ((2049, True), (MAX_ROUNDS + 1, False)):
        path = tmp_path / f"key-{rounds}"
        words = [{"ROUNDS": str(rounds), "PLAIN": str(plain)}.get(word, word) for word in how]
        subprocess.run(["openssl", *words, "-out", path], check=True)
        if accepted:
            assert read_private_key(str(path), secret(tmp_path)).form.endswith("encrypted")
            continue
        with pytest.raises(KeyRefused, match="hashed 10,000,001 times"):
            read_private_key(str(path), secret(tmp_path))


def test_a_pkcs12_file_that_hashes_for_hours_is_refused(plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "key.p12"
    certificate = tmp_path / "own.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-new", "-key", plain, "-subj", "/CN=x", "-out", certificate], check=True
    )
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-inkey", plain, "-in", certificate, "-iter", "2049", "-maciter", "-passout",
         f"pass:{PASSWORD}", "-out", path], check=True, capture_output=True,
    )  # fmt: skip
    assert read_private_key(str(path), secret(tmp_path)).form == "PKCS#12"
    grown = pkcs12.Pfx.load(path.read_bytes())
    grown["mac_data"]["iterations"] = 2**31 - 1
    path.write_bytes(grown.dump(force=True))
    with pytest.raises(KeyRefused, match="hashed 2,147,483,647 times"):
        read_private_key(str(path), secret(tmp_path))
