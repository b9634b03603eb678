"""Where what a home signed was released: recorded by whoever ships it, told when the key is lost, erasable as far as it is words."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.boards import FIRMWARE
from kit.efi import tiny
from kit.openssl import run as program
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import JournalError, SealwrightError
from sealwright.log.journal import EntryType, Journal, Recorded, read_journal
from sealwright.signing.compromise import signatures_since
from sealwright.signing.home import open_home
from sealwright.signing.released import Artifact, Where, identify, place_of, record, releases_of

Say = Callable[..., tuple[int, list[dict[str, object]], str]]
PORTAL = "customer portal, Grüße an Wels"
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, and what it signed in every way in which a signature may stand: beside, inside, over a tree, bare."""
    folder = tmp_path_factory.mktemp("made")
    home = folder / "home"
    assert main(["init", str(home)]) == 0
    for form in ("pe", "mcuboot", "kmod"):
        assert main(["key", "enrol", form, "--home", str(home)]) == 0
    (folder / "drive.bin").write_bytes(b"firmware")
    (folder / "claimed.bin").write_bytes(b"firmware with claims")
    (folder / "project" / "sub").mkdir(parents=True)
    (folder / "project" / "sub" / "a.st").write_text("x := 1;")
    (folder / "plain.efi").write_bytes(tiny())
    (folder / "fw.bin").write_bytes(FIRMWARE)
    (folder / "unsigned.bin").write_bytes(b"nobody signed it")
    for words in (
        ["drive.bin"],
        ["claimed.bin", "--product", "pump", "--version", "2", "--generation", "2"],
        ["project"],
        ["plain.efi", "--format", "pe", "--key", "pe", "--out", "signed.efi"],
        ["fw.bin", "--format", "mcuboot", "--key", "mcuboot", "--version", "1.0.0", "--out", "signed.img"],
    ):
        named = [
            str(folder / word) if (folder / word).exists() or word.startswith("signed") else word for word in words
        ]
        assert main(["sign", *named, "--home", str(home)]) == 0
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def say(place: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """A command on the home: exit code, objects, complaint."""

    def run(*words: str | Path) -> tuple[int, list[dict[str, object]], str]:
        capsys.readouterr()
        code = main([*map(str, words), "--home", str(place / "home"), "--json"])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def published(place: Path) -> list[Recorded]:
    return [one for one in read_journal(str(place / "home" / "journal")) if one.type is EntryType.PUBLISHED]


@pytest.mark.parametrize("name", ["drive.bin", "claimed.bin", "project", "signed.efi", "signed.img"])
def test_an_artifact_is_known_by_the_signature_of_this_home_in_whatever_way_it_is_signed(
    place: Path, say: Say, name: str
) -> None:
    code, (one,), _ = say("released", place / name, "--to", PORTAL, "--channel", "production")
    assert code == 0
    _, affected, _ = say("cert", "signed", {"signed.efi": "pe", "signed.img": "mcuboot"}.get(name, "release"))
    (hit,) = [each for each in affected if each["released"]]
    assert hit["signed"] == one["artifact"]
    assert hit["released"] == [{"to": PORTAL, "channel": "production", "at": one["at"]}]
    (entry,) = published(place)
    assert entry.fields["artifact"] == one["artifact"]
    if name != "project":
        (file, _) = subprocess.run(
            ["sha256sum", place / name], capture_output=True, text=True, check=True
        ).stdout.split()
        assert entry.fields["file"] == one["file"] == f"sha256:{file}"
    assert say("released", str(one["artifact"]), "--to", "by its digest")[0] == 0


def test_what_this_home_never_signed_is_refused_unless_it_is_said_plainly(place: Path, say: Say) -> None:
    other = place / "other"
    assert main(["init", str(place / "house-2")]) == 0
    shutil.copytree(place / "project", other)
    (other / "sub" / "a.st").write_text("x := 2;")
    for path in (other, place / "fw.bin"):
        assert main(["sign", str(path), "--home", str(place / "house-2")]) == 0
    unknown = "sha256:" + "1" * 64
    assert say("released", place / "drive.bin", "--to", PORTAL)[0] == 0
    for what in (place / "unsigned.bin", place / "fw.bin", other, unknown):
        code, _, complaint = say("released", what, "--to", PORTAL)
        assert code == 2
        assert "this home has no signature of it" in complaint
        assert "--signed-elsewhere" in complaint
        code, _, complaint = say("released", place / "drive.bin", what, "--to", PORTAL)
        assert code == 2
    assert len(published(place)) == 1, "nothing of a command is recorded where one of its paths is refused"
    for what, here in ((place / "unsigned.bin", False), (unknown, False), (place / "drive.bin", True)):
        code, (one,), _ = say("released", what, "--to", PORTAL, "--signed-elsewhere")
        assert (code, one["signed_here"]) == (0, here)
    assert [entry.fields.get("signed") for entry in published(place)] == [None, "elsewhere", "elsewhere", None]
    code, _, complaint = say("released", other, "--to", PORTAL, "--signed-elsewhere")
    assert code == 2
    assert "Name its manifest" in complaint


def test_a_file_that_was_changed_since_it_was_signed_is_not_what_was_signed(place: Path, say: Say) -> None:
    assert say("released", place / "claimed.bin", "--to", PORTAL)[0] == 0
    for name in ("drive.bin", "signed.efi", "signed.img"):
        path = place / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2 if name != "signed.img" else 600] ^= 1
        path.write_bytes(data)
        code, _, complaint = say("released", path, "--to", PORTAL)
        assert code in (1, 2), name
        assert name in complaint
    assert len(published(place)) == 1


def test_the_journal_has_no_word_of_where_and_the_words_can_be_erased(place: Path, say: Say) -> None:
    for _ in range(2):
        assert say("released", place / "drive.bin", place / "project", "--to", PORTAL)[0] == 0
    first, second, third, _ = published(place)
    assert first.fields["place"] == second.fields["place"] != third.fields["place"], "a salt for each time it is said"
    journal = (place / "home" / "journal" / "journal.jsonl").read_text()
    assert "portal" not in journal
    assert "Wels" not in journal
    files = sorted((place / "home" / "private").iterdir())
    assert len(files) == 2
    for path in files:
        assert path.stat().st_mode & 0o777 == 0o600
        assert PORTAL in path.read_text()
        _, said = program(["sha256sum", path])
        assert said.startswith(path.stem)
    assert {f"sha256:{path.stem}" for path in files} == {first.fields["place"], third.fields["place"]}
    Path(place / "home" / "private" / f"{str(first.fields['place'])[7:]}.json").unlink()
    _, every, _ = say("released")
    assert [one["to"] for one in every] == [None, None, PORTAL, PORTAL]
    assert len(published(place)) == 4, "that it was released stays on record"
    assert main(["doctor", "--home", str(place / "home")]) in (0, 1)


@pytest.mark.parametrize(
    "change", [lambda data: data.replace(b"Wels", b"Linz"), lambda _: b"{}", lambda data: data + b" "]
)
def test_words_that_were_changed_are_not_told(place: Path, say: Say, change: Callable[[bytes], bytes]) -> None:
    assert say("released", place / "drive.bin", "--to", PORTAL)[0] == 0
    (path,) = (place / "home" / "private").iterdir()
    assert say("released")[0] == 0
    path.write_bytes(change(path.read_bytes()))
    for words in (["released"], ["cert", "signed", "release"]):
        code, _, complaint = say(*words)
        assert code == 1
        assert "not the text that the journal names" in complaint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", ""], "--to"), (["--to", " "], "is no text"), (["--to", "x" * 201], "is no text"), (["--to", "a\nb"], "is no text"),
        (["--to", "a\u202eb"], "is no text"), (["--to", "a\udcffb"], "is no text"), ([], "--to"),
        (["--to", "x", "--channel", "Production!"], "--channel"), (["--to", "x", "--channel", ""], None),
        (["--to", "x", "--at", "2999-01-01T00:00:00Z"], "in the future"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_records_nothing(place: Path, say: Say, words: list[str], said: str | None) -> None:
    code, _, complaint = say("released", place / "drive.bin", *words)
    assert code == (0 if said is None else 2)
    assert said is None or said in complaint
    assert len(published(place)) == (said is None)
    assert (place / "home" / "private").exists() is (said is None)


def test_without_a_path_it_lists_and_takes_no_other_option(
    place: Path, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say("released")[:2] == (0, [])
    assert main(["released", "--home", str(place / "home")]) == 0
    assert "no release is recorded" in capsys.readouterr().out
    for words in (["--to", "x"], ["--channel", "x"], ["--at", "2026-01-01T00:00:00Z"], ["--signed-elsewhere"]):
        assert say("released", *words)[0] == 2
    at = "2026-05-04T10:00:00Z"
    assert say("released", place / "drive.bin", "--to", "a stick", "--at", at)[0] == 0
    code, (one,), _ = say("released")
    assert (code, one["to"], one["at"], one["signed_here"]) == (0, "a stick", at, True)
    assert main(["released", "--home", str(place / "home")]) == 0
    assert "2026-05-04 10:00Z" in capsys.readouterr().out


def test_who_revokes_a_lost_key_is_told_where_what_it_signed_was_released(
    place: Path, say: Say, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say("released", place / "drive.bin", "--to", PORTAL, "--channel", "production")[0] == 0
    assert say("released", place / "drive.bin", "--to", "stick for the night shift")[0] == 0
    shutil.copytree(place / "home", place / "copy")
    words = ["cert", "revoke", "release", "--reason", "keyCompromise", "--compromised-since", "2026-05-03T00:00:00Z"]
    assert main([*words, "--home", str(place / "copy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if "detached" in line)
    assert "released to customer portal, Grüße an Wels (production) on " in lines[at + 1]
    assert "released to stick for the night shift on " in lines[at + 2]
    assert sum("no release recorded" in line for line in lines) == 2, "the tree and the file with claims"
    code, told, _ = say(*words)
    assert code == 0
    signed = {one["format"]: one for one in told if "signed" in one}
    assert [one["to"] for one in signed["detached"]["released"]] == [PORTAL, "stick for the night shift"]  # type: ignore[attr-defined]
    assert told[-1]["affected"] == 3


def test_a_key_that_is_not_revoked_is_asked_about_and_nothing_is_changed(place: Path, say: Say) -> None:
    assert say("released", place / "project", "--to", "update server")[0] == 0
    before = {path: path.read_bytes() for path in (place / "home").rglob("*") if path.is_file()}
    code, told, _ = say("cert", "signed", "release")
    assert code == 0
    assert [(one["product"], len(one["released"])) for one in told] == [(None, 0), ("pump", 0), (None, 1)]  # type: ignore[arg-type]
    assert all(one["signature"] for one in told)
    assert say("cert", "signed", "release", "--since", "2999-01-01T00:00:00Z")[1] == []
    assert before == {path: path.read_bytes() for path in (place / "home").rglob("*") if path.is_file()}


def test_what_may_have_been_signed_counts_too(place: Path) -> None:
    """An intent without a result: a crash between may have been behind the signature."""
    home = open_home(str(place / "home"))
    key = next(one for one in read_journal(home.path("journal")) if one.type is EntryType.INTENT).fields["key"]
    digest = Digest.parse(str(key))
    before = signatures_since(home, digest, NOW)
    with Journal.open(home.path("journal")) as journal:
        from sealwright.log.journal import Entry

        intent = {
            "request": "r1",
            "key": str(key),
            "artifact": "sha256:" + "2" * 64,
            "time": "2026-11-20T00:00:00Z",
            "format": "detached",
        }
        journal.append([Entry(EntryType.INTENT, intent)])
        journal.append([Entry(EntryType.INTENT, intent | {"request": "r2", "artifact": "sha256:" + "3" * 64})])
        journal.append([Entry(EntryType.REFUSAL, {"request": "r2", "code": "x"})])
    after = signatures_since(home, digest, NOW)
    assert len(after) == len(before) + 1
    (new,) = [one for one in after if one.signed.artifact == "sha256:" + "2" * 64]
    assert new.signed.signature == ""
    for where in ("2026-11-21T00:00:00+00:00", "2026-11-20T00:00:00+00:00"):
        hit = [one for one in signatures_since(home, digest, datetime.fromisoformat(where)) if not one.signed.signature]
        assert len(hit) == (where == "2026-11-20T00:00:00+00:00")


def test_a_power_cut_leaves_all_of_a_release_on_record_or_nothing_of_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_home(str(place / "home"))
    artifacts = identify(home, [str(place / "drive.bin"), str(place / "project")])
    with monkeypatch.context() as cut, pytest.raises(JournalError):
        cut.setattr(Journal, "append", _full)
        record(home, artifacts, Where(PORTAL, "", NOW), NOW)
    assert releases_of(home) == []
    assert len(list((place / "home" / "private").iterdir())) == 1, "words that nothing names"
    record(home, artifacts, Where(PORTAL, "", NOW), NOW)
    assert [place_of(home, one) for one in releases_of(home)] == [PORTAL, PORTAL]


def _full(*_: object) -> None:
    raise JournalError("journal", "the disk is full", "Make room.")


def test_a_backup_keeps_the_words_and_a_home_that_is_locked_records_nothing(
    place: Path, say: Say, tmp_path: Path
) -> None:
    assert say("key", "enrol", "backup", "--name", "backup")[0] == 0
    assert say("released", place / "drive.bin", "--to", PORTAL)[0] == 0
    code, _, complaint = say("home", "backup", "--out", tmp_path / "home.tar")
    assert code == 0, complaint
    ca = place / "home" / "ca.pem"
    assert main(["home", "restore", str(tmp_path / "home.tar"), "--to", str(tmp_path / "new"), "--ca", str(ca)]) == 0
    home = open_home(str(tmp_path / "new"))
    (one,) = releases_of(home)
    assert place_of(home, one) == PORTAL
    (kept,) = (tmp_path / "new" / "private").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    with pytest.raises(SealwrightError, match="restored from a backup"):
        record(home, [Artifact("x", Digest.of(b"x"), None, True)], Where("y", "", NOW), NOW)
    assert len(list((tmp_path / "new" / "private").iterdir())) == 1
