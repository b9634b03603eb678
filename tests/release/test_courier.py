"""A courier crosses the gap: packed, unpacked, and refused where it is foreign, old, altered or not whole; by the command line."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from kit.gap import NOW, Gap, copy_gap, make_gap, run
from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedArtifact
from sealwright.release.courier import Courier, courier_text, parse_courier


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    make_gap(folder)
    return folder


@pytest.fixture
def gap(made: Path, tmp_path: Path) -> Gap:
    return copy_gap(made, tmp_path)


def test_a_slice_of_the_repository_crosses_on_a_stick(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap.pack(None, "--trust-file", gap.home / "trust.toml") == 0
    capsys.readouterr()
    assert gap.unpack(None, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parts"] == ["repository", "trust"]
    assert said["targets"] == 4
    mirror = gap.into / "repository"
    assert {path.name.split(".", 1)[1] for path in (mirror / "targets").rglob("*") if path.is_file()} == {
        "channels.json",
        "1.4.2.manifest",
        "1.4.2.manifest.p7s",
        "app.bin",
    }
    assert (mirror / "metadata" / "timestamp.json").read_bytes() == (
        gap.repo.folder / "metadata" / "timestamp.json"
    ).read_bytes()
    trust = Path(said["folder"]) / said["courier"] / "trust"
    assert (trust / "trust.toml.officer.p7s").is_file()
    assert run("verify", Path(said["folder"]) / said["courier"], "--trust", gap.home / "trust.toml") == 0


def test_a_courier_crosses_as_one_file_that_tar_reads(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    path = gap.folder / "out.courier"
    assert gap.pack(path) == 0
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert any(name.endswith(".manifest.p7s") for name in names)
    assert gap.unpack(path) == 0
    assert (gap.into / "repository" / "metadata" / "timestamp.json").is_file()
    assert [name for name in os.listdir(gap.folder) if name.startswith(".")] == []
    capsys.readouterr()


def test_a_second_time_it_was_taken_over_before(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap.pack() == 0
    assert gap.unpack() == 0
    assert gap.unpack() == 1
    assert "taken over before" in capsys.readouterr().err


def test_a_courier_for_another_place_is_refused(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap.pack() == 0
    assert gap.unpack(receiver="suedhof") == 1
    assert "not for suedhof" in capsys.readouterr().err
    assert os.listdir(gap.into / "couriers") == []
    assert gap.unpack() == 0


def test_an_older_courier_is_refused_after_a_newer_one(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = gap.folder / "old", gap.folder / "new"
    for folder, number in ((old, 41), (new, 42)):
        folder.mkdir()
        assert gap.pack(folder, "--number", number) == 0
    assert gap.unpack(new) == 0
    assert gap.unpack(old) == 1
    assert "41" in capsys.readouterr().err
    shutil.rmtree(gap.folder / "state")
    (gap.folder / "state").mkdir()
    assert gap.unpack(old) == 0


def _altered_file(courier: Path) -> None:
    path = next((courier / "repository" / "targets").rglob("*.app.bin"))
    path.write_bytes(path.read_bytes().replace(b"application", b"APPLICATION", 1))


def _file_and_manifest(courier: Path) -> None:
    path = next((courier / "repository" / "targets").rglob("*.app.bin"))
    old = Digest.of(path.read_bytes()).value.hex()
    path.write_bytes(path.read_bytes().replace(b"application", b"APPLICATION", 1))
    manifest = courier.with_name(courier.name + ".manifest")
    manifest.write_text(manifest.read_text().replace(f"{old}  ", f"{Digest.of(path.read_bytes()).value.hex()}  ", 1))


def _signature(courier: Path) -> None:
    path = courier.with_name(courier.name + ".manifest.p7s")
    digest = Digest.of(path.with_suffix("").read_bytes()).value
    assert digest in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(digest, bytes([digest[0] ^ 1]) + digest[1:]))


def _no_signature(courier: Path) -> None:
    courier.with_name(courier.name + ".manifest.p7s").unlink()


def _missing(courier: Path) -> None:
    next((courier / "repository" / "targets").rglob("*.app.bin")).unlink()


def _link(courier: Path) -> None:
    path = next((courier / "repository" / "targets").rglob("*.app.bin"))
    path.rename(courier.parent / "elsewhere")
    path.symlink_to(courier.parent / "elsewhere")


def _linked_folder(courier: Path) -> None:
    (courier / "repository").rename(courier.parent / "elsewhere")
    (courier / "repository").symlink_to(courier.parent / "elsewhere")


def _renamed(courier: Path) -> None:
    for path in list(courier.parent.iterdir()):
        path.rename(path.with_name(path.name.replace("courier-acme-", "courier-acme-9")))


def _other_sender(courier: Path) -> None:
    for path in list(courier.parent.iterdir()):
        path.rename(path.with_name(path.name.replace("courier-acme-", "courier-zeta-")))


def _fifo(courier: Path) -> None:
    path = next((courier / "repository" / "targets").rglob("*.app.bin"))
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "attack",
    [
        _altered_file, _file_and_manifest, _signature, _no_signature, _missing, _link, _linked_folder, _renamed,
        _other_sender, _fifo,
    ],
)  # fmt: skip
def test_a_courier_that_was_touched_is_refused_and_nothing_of_it_is_written(
    gap: Gap, attack: Callable[[Path], None]
) -> None:
    assert gap.pack() == 0
    shutil.copytree(gap.stick, gap.folder / "twin")
    attack(gap.courier())
    assert gap.unpack() == 1
    assert os.listdir(gap.into / "couriers") == []
    assert not (gap.into / "repository").exists()
    assert gap.unpack(gap.folder / "twin") == 0


def test_a_file_that_nobody_listed_is_left_behind(gap: Gap) -> None:
    assert gap.pack() == 0
    (gap.courier() / "repository" / "autorun.inf").write_text("[autorun]")
    assert gap.unpack() == 0
    assert not list(gap.into.rglob("autorun.inf"))


def test_a_courier_of_another_key_is_refused(gap: Gap) -> None:
    assert run("init", gap.folder / "thief") == 0
    out = gap.folder / "theirs"
    out.mkdir()
    words = ("--from", "acme", "--to", "nordhof", "--file", gap.home / "ca.pem")
    assert run("courier", "pack", out, *words, "--home", gap.folder / "thief") == 0
    assert gap.unpack(out) == 1
    ours = gap.folder / "ours"
    ours.mkdir()
    assert run("courier", "pack", ours, *words, "--home", gap.home) == 0
    assert gap.unpack(ours) == 0


def test_a_repository_that_lies_about_a_target_is_refused_though_the_courier_is_signed(gap: Gap) -> None:
    path = next((gap.repo.folder / "targets").rglob("*.app.bin"))
    good = path.read_bytes()
    path.write_bytes(b"another application")
    assert gap.pack() == 0
    assert gap.unpack() == 1
    path.write_bytes(good)
    assert gap.pack(None, "--number", "99999999999999") == 0
    (newest,) = gap.stick.glob("courier-acme-99999999999999")
    assert gap.unpack(newest) == 0


def test_a_repository_older_than_one_seen_is_refused(gap: Gap) -> None:
    assert gap.pack() == 0
    state = json.dumps({"floor": "", "generations": {}, "trust": {}, "lists": {}})
    (gap.folder / "state" / "state.json").write_text(state)
    assert gap.unpack() == 0
    seen = json.loads((gap.folder / "state" / "state.json").read_text())
    (name,) = [one for one in seen["lists"] if one.startswith("tuf timestamp ")]
    seen["lists"][name] += 1
    (gap.folder / "state" / "state.json").write_text(json.dumps(seen))
    again = gap.folder / "again"
    again.mkdir()
    assert gap.pack(again, "--number", 99999999999999) == 0
    assert gap.unpack(again) == 1


def test_an_answer_is_wanted_and_good_once(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    assert gap.pack() == 0
    assert gap.unpack(None, "--answered") == 1
    assert run("courier", "ask", "--state", gap.folder / "state") == 0
    nonce = capsys.readouterr().out.split()[-1]
    for name, number, code in (("one", 99999999999998, 0), ("two", 99999999999999, 1)):
        (gap.folder / name).mkdir()
        assert gap.pack(gap.folder / name, "--number", number, "--answer", nonce) == 0
        assert gap.unpack(gap.folder / name, "--answered") == code


def test_one_that_ended_is_refused(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gap.pack(None, "--days", 1) == 0
    import sealwright.release.courierunpack as unpacking

    real = unpacking.parse_courier

    def ended(data: bytes, subject: str) -> Courier:
        found = real(data, subject)
        return Courier(found.sender, found.number, found.made, NOW - timedelta(days=1), found.to)

    with monkeypatch.context() as patched:
        patched.setattr(unpacking, "parse_courier", ended)
        assert gap.unpack() == 1
    assert gap.unpack() == 0


def test_too_much_is_refused_before_it_is_copied(gap: Gap) -> None:
    assert gap.pack() == 0
    assert gap.unpack(None, "--max-bytes", 1000) == 1
    assert gap.unpack() == 0


def test_withdrawn_releases_and_other_products_are_not_carried(gap: Gap) -> None:
    assert gap.pack() == 0
    carried = b"".join(
        path.read_bytes() for path in (gap.courier() / "repository" / "targets").rglob("*") if path.is_file()
    )
    assert b"withdrawn application" not in carried
    assert b"application" in carried
    assert gap.pack(gap.folder, "--channel", "production", "--number", "7") == 0
    assert not list((gap.folder / "courier-acme-7").rglob("*.app.bin"))


def test_a_full_medium_carries_no_courier(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    import sealwright.release.courierpack as packing

    real = packing._Folder.add

    def full(self: packing._Folder, name: bytes, source: int, size: int) -> tuple[int, Digest]:
        if name.endswith(b".app.bin"):
            raise OSError(28, "No space left on device")
        return real(self, name, source, size)

    with monkeypatch.context() as patched:
        patched.setattr(packing._Folder, "add", full)
        assert gap.pack() == 1
    assert os.listdir(gap.stick) == []
    assert gap.pack() == 0


GOOD = Courier("acme", 42, NOW, NOW + timedelta(days=30), ("nordhof", "suedhof"), ("5feceb66ffc86f38",))


def test_what_a_courier_says_of_itself_is_read_as_it_was_written() -> None:
    assert parse_courier(courier_text(GOOD), "courier.toml") == GOOD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("courier 1", "courier 2"),
        ('"acme"', '"../acme"'),
        ("number = 42", "number = 0"),
        ('"nordhof", "suedhof"', '"suedhof", "nordhof"'),
        ('"nordhof", "suedhof"', ""),
        ('"5feceb66ffc86f38"', '"5f"'),
        ("number = 42", "number = 42\nextra = 1"),
    ],
)
def test_anything_else_is_refused(old: str, new: str) -> None:
    text = courier_text(GOOD).decode()
    assert old in text
    with pytest.raises(MalformedArtifact):
        parse_courier(text.replace(old, new, 1).encode(), "courier.toml")
