"""`sealwright release` from the command line: what it says, its JSON and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.repository import TITLE, home_in, make_home, release, repository
from sealwright.signing.home import Home

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_in(tmp_path)


def objects(said: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in said.splitlines()]


def folder_in(path: Path, extra: dict[str, bytes] | None = None) -> Path:
    (path / "application").mkdir(parents=True)
    (path / "application/fw.bin").write_bytes(b"firmware")
    for name, data in (extra or {}).items():
        (path / name).write_bytes(data)
    (path / "release.toml").write_text(
        '# sealwright release 1\n[[component]]\nname = "application"\npath = "application"\n'
    )
    return path


def create(run: Run, home: Home, path: Path, *more: str) -> tuple[int, str, str]:
    return run(
        "release", "create", path, "--home", home.folder, "--product", TITLE, "--generation", 7,
        "--environment", "development", *more,
    )  # fmt: skip


def test_a_release_is_checked_and_signed(tmp_path: Path, home: Home, run: Run) -> None:
    path = folder_in(tmp_path / "1.4.2")
    code, said, _ = create(run, home, path, "--dry-run", "--json")
    assert (code, objects(said)[0]["outcome"]) == (0, "could-be-signed")
    assert not Path(f"{path}.manifest").exists()
    code, said, _ = create(run, home, path, "--json")
    assert (code, objects(said)[0]["claims"]["version"]) == (0, "1.4.2")  # type: ignore[index]


@pytest.mark.parametrize(
    ("extra", "code", "words"),
    [
        ({"stray.txt": b"x"}, 1, "belongs to no component"),
        ({"application/tls.key": b"x"}, 1, "key store by its name"),
    ],
)
def test_an_incomplete_release_and_one_with_a_key_are_not_signed(
    tmp_path: Path, home: Home, run: Run, extra: dict[str, bytes], code: int, words: str
) -> None:
    assert create(run, home, folder_in(tmp_path / "good" / "1.4.2"))[0] == 0
    path = folder_in(tmp_path / "1.4.2", extra)
    found, _, said = create(run, home, path)
    assert found == code
    assert words in said
    assert not Path(f"{path}.manifest").exists()


def test_a_key_that_belongs_there_is_let_through_with_a_reason(tmp_path: Path, home: Home, run: Run) -> None:
    path = folder_in(tmp_path / "1.4.2", {"application/demo.key": b"x"})
    assert create(run, home, path, "--allow", "application/demo.key=")[0] == 2
    assert create(run, home, path, "--allow", "application/other.key=why")[0] == 2
    assert create(run, home, path, "--allow", "application/demo.key=test vector")[0] == 0


def test_a_home_or_a_service_is_named(tmp_path: Path, run: Run) -> None:
    path = folder_in(tmp_path / "1.4.2")
    code, _, said = run("release", "create", path, "--product", TITLE, "--generation", 7)
    assert code == 2
    assert "--service" in said


def test_two_people_begin_a_repository(tmp_path: Path, home: Home, run: Run) -> None:
    eva = make_home(tmp_path / "eva", ("eva",))
    desk, theirs = tmp_path / "desk", eva.path("certificates", "eva.pem")
    code, said, _ = run(
        "release", "init", desk, "--home", home.folder, "--root", "repo-root", "--root", theirs,
        "--root-threshold", 2, "--targets", "repo-targets", "--online", "repo-online", "--line", "drives", "--json",
    )  # fmt: skip
    assert code == 3
    assert {str(one["role"]): one["missing"] for one in objects(said)} == {"root": 1, "targets": 0, "drives": 0}
    code, _, said = run("release", "publish", desk, "--home", home.folder)
    assert code == 1
    assert "1 more of its keys must sign it" in said
    code, said, _ = run("release", "sign", desk, "--home", eva.folder)
    assert (code, "signed by enough (2)" in said) == (0, True)
    code, said, _ = run("release", "publish", desk, "--home", home.folder, "--json")
    assert (code, objects(said)[0]["outcome"], objects(said)[0]["timestamp"]) == (0, "published", 1)
    assert str(objects(said)[0]["root"]).startswith("sha256:")
    code, _, said = run("release", "sign", desk, "--home", eva.folder)
    assert (code, "nothing is staged" in said) == (2, True)


def test_offers_withdrawals_and_ends_are_shown(tmp_path: Path, home: Home, run: Run) -> None:
    desk = repository(tmp_path, home, ("1.4.2", 7)).folder
    drive = ("drives/vx-200", "1.4.2")
    code, said, _ = run(
        "release", "promote", desk, *drive, "--channel", "pilot", "--percent", 10, "--group", "line-1", "--json"
    )
    assert (code, objects(said)[0]["percent"], objects(said)[0]["groups"]) == (0, 10, ["line-1"])
    assert run("release", "promote", desk, "drives/vx-200", "9.9", "--channel", "pilot")[0] == 2
    assert run("release", "promote", desk, "drives/other", "1.4.2", "--channel", "pilot")[0] == 2
    assert run("release", "promote", desk, *drive, "--channel", "Pilot!")[0] == 1
    code, said, _ = run("release", "status", desk)
    assert (code, "pilot: 1.4.2 (generation 7) to 10 percent of line-1" in said) == (0, True)
    code, said, _ = run("release", "withdraw", desk, *drive, "--advisory", "CVE-1")
    assert (code, "trust add deny.toml deny artifact sha256:" in said) == (0, True)
    code, said, _ = run("release", "status", desk, "--within", "8d", "--json")
    assert code == 1
    (product,) = (one for one in objects(said) if one.get("kind") == "product")
    assert (product["offers"], product["releases"]) == ([], ["1.4.2"])
    assert [one["missing"] for one in objects(said) if "missing" in one] == [1]
    code, said, _ = run("release", "refresh", desk, "--home", home.folder, "--json")
    assert (code, objects(said)[0]["roles"]) == (0, [])


def test_the_deny_entry_that_is_printed_stops_the_release(tmp_path: Path, home: Home, run: Run) -> None:
    desk, made = repository(tmp_path, home, ("1.4.2", 7)).folder, tmp_path / "releases/1.4.2"
    trust = tmp_path / "home/trust.toml"
    assert run("verify", made, "--trust", trust)[0] == 0
    _, said, _ = run("release", "withdraw", desk, "drives/vx-200", "1.4.2", "--advisory", "CVE-1")
    (digest,) = {word for word in said.split() if word.startswith("sha256:")}
    deny = tmp_path / "home/deny.toml"
    assert run("trust", "new", deny, "--for", trust)[0] == 0
    assert run("trust", "add", deny, "deny", "artifact", digest, "--reason", "CVE-1")[0] == 0
    assert run("trust", "sign", deny, "--home", home.folder, "--person", "officer")[0] == 0
    code, said, _ = run("verify", made, "--trust", trust)
    assert (code, "CVE-1" in said) == (1, True)


def test_a_release_is_compared_with_the_last_accepted_one(tmp_path: Path, home: Home, run: Run) -> None:
    folder = tmp_path / "releases"
    first = release(folder, home, "1.4.2", 7, {"application/fw.bin": b"1", "application/old": b"o"})
    code, said, _ = run("release", "accept", first, "--home", home.folder, "--trust", "none", "--dry-run")
    assert (code, "no release of it was accepted before" in said) == (0, True)
    Path(f"{first}.plant.manifest").write_text("an acceptance")
    second = release(folder, home, "1.4.3", 8, {"application/fw.bin": b"2", "application/new": b"n"})
    code, said, _ = run("release", "accept", second, "--home", home.folder, "--trust", "none", "--dry-run")
    assert code == 0
    for words in (
        "version: 1.4.2 -> 1.4.3",
        "changed   application/fw.bin",
        "added     application/new",
        "removed   application/old",
    ):
        assert words in said
    Path(f"{second}.plant.manifest").write_text("an acceptance")
    code, said, _ = run("release", "accept", first, "--home", home.folder, "--trust", "none", "--dry-run", "--json")
    assert objects(said)[0]["back"] == "generation 7 after 8"


def test_a_folder_that_is_no_desk_is_told(tmp_path: Path, run: Run) -> None:
    code, _, said = run("release", "status", tmp_path)
    assert (code, "it is no staging folder" in said) == (2, True)
