"""Installation records before OpenSSL, signed with a station's key in a file, a token and a TPM: good, altered, and of another station."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.alter import flip
from kit.house import MAKES, Backend, House
from kit.openssl import cms_verify
from sealwright.cli.main import main
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.keys.key import KeyKind
from sealwright.plant import stationkey

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS)
CASES = [(backend, kind) for backend in Backend for kind in KINDS if kind in MAKES[backend]]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> dict[str, House]:
    """One of each backend, and a stranger's."""
    made = {}
    for name, backend in [*((backend.name, backend) for backend in Backend), ("stranger", Backend.FILE)]:
        made[name] = House.make(tmp_path_factory.mktemp(name), backend)
    return made


def test_a_wrong_pin_is_given_to_the_token_once(
    houses: dict[str, House], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens lock after a few. Nothing is installed meanwhile; the twin is the right PIN."""
    house = houses[Backend.TOKEN.name]
    station_key = house.maker("record", KeyKind.P256)
    opened = []
    true = stationkey.Pipeline

    def counted(*words: object) -> object:
        opened.append(words)
        return true(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(stationkey, "Pipeline", counted)
    (tmp_path / "records").mkdir()
    drive, wrong = tmp_path / "drive.bin", tmp_path / "pin"
    drive.write_bytes(b"firmware")
    wrong.write_text("000000\n")
    wrong.chmod(0o600)
    assert main(["sign", str(drive), "--home", str(house.home), *house.pin]) == 0
    words = [
        "verify",
        *[str(drive)] * 3,
        "--trust",
        str(house.home / "trust.toml"),
        "--record",
        str(tmp_path / "records"),
    ]
    words += ["--station-home", str(house.home), "--station-key", station_key.name, "--json"]
    for pin, code, times in (([*house.pin], 0, 3), (["--pin-file", str(wrong)], 1, 1)):
        capsys.readouterr()
        opened.clear()
        assert main([*words, *pin]) == code
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [one["exit_code"] for one in told] == [code] * 3
        assert len(opened) == times


@pytest.mark.parametrize(("backend", "kind"), CASES, ids=lambda one: str(one))
def test_openssl_and_we_agree_on_a_record(
    backend: Backend, kind: KeyKind, houses: dict[str, House], tmp_path: Path
) -> None:
    house, stranger = houses[backend.name], houses["stranger"]
    station = house.maker("record", kind)
    drive, records = tmp_path / "drive.bin", tmp_path / "records"
    drive.write_bytes(b"firmware")
    records.mkdir()
    trust = str(house.home / "trust.toml")
    key = ["--station-home", str(house.home), "--station-key", station.name, *house.pin]
    assert (
        main(["verify", str(drive), "--trust", trust, "--record", str(records), *key]) == 1
    )  # it is not signed: recorded too
    text = records / "000000" / "000000001" / "record.txt"
    sealed = text.with_name("record.txt.p7s")

    def both(root: Path, pin: Path) -> tuple[bool, bool, bool]:
        """OpenSSL under a root, we by the pinned certificate, we by the house's trust file."""
        known = str(house.home / "trust.toml") if root == station.root_pem else str(stranger.home / "trust.toml")
        return (
            cms_verify(sealed, text, root)[0],
            main(["record", "check", str(records), "--key", str(pin)]) == 0,
            main(["record", "check", str(records), "--trust", known]) == 0,
        )

    good, envelope = text.read_bytes(), sealed.read_bytes()
    assert both(station.root_pem, station.certificate_pem) == (True, True, True)
    text.write_bytes(good.replace(b"# outcome rejected", b"# outcome trusted"))
    assert both(station.root_pem, station.certificate_pem) == (False, False, False)
    text.write_bytes(good)
    (signer,) = (one for one in read_envelope(envelope, Profile.OURS, "it").signers if isinstance(one, Signer))
    sealed.write_bytes(flip(envelope, envelope.index(signer.signature) + 20))
    assert both(station.root_pem, station.certificate_pem) == (False, False, False)
    sealed.write_bytes(envelope)
    other = stranger.maker("record", KeyKind.P256)
    assert both(other.root_pem, other.certificate_pem) == (False, False, False)
    assert both(station.root_pem, station.certificate_pem) == (True, True, True)
