"""What `receive` writes, as `verify` judges it: trusted where a rule lists the grade, refused everywhere else, never the maker's."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.receiving import compared, delivered, record_of, spoil, sums, uncompared
from kit.vendors import Minisign
from sealwright.cli.main import main

Run = Callable[..., tuple[int, str, str]]
FIRST, SECOND = "release-engineer", "p-4"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons' homes, and trust files that know both and take some grades."""
    folder = tmp_path_factory.mktemp("homes")
    home, other = folder / "home", folder / "other"
    for name in (home, other):
        assert main(["init", str(name)]) == 0
    for name, grades in (
        ("none", []),
        ("compared", ["compared"]),
        ("most", ["compared", "old-signature", "uncompared"]),
    ):
        shutil.copytree(home, folder / name)
        trust = str(folder / name / "trust.toml")
        rule = [
            "trust",
            "add",
            trust,
            "rule",
            "received",
            "--environment",
            "development",
            "--anchor",
            "root",
            "--fresh-for",
            "400d",
        ]
        plant = ["--plant", "root", "--plant", "other", "--plant-count", "0"] if grades else []
        for words in (
            ["trust", "new", "--next", trust],
            ["trust", "remove", trust, "rule", "everything of this house"],
            ["trust", "add", trust, "anchor", str(other / "ca.pem"), "--name", "other", "--environment", "development"],
            ["trust", "add", trust, "person", SECOND, "--organisation", "plant", "--certificate", str(other / "certificates" / "release.pem")],
            [*rule, *plant, *(word for grade in grades for word in ("--grade", grade))],
            ["trust", "sign", trust, "--home", str(folder / name), "--person", "officer"],
        ):  # fmt: skip
            assert main(words) == 0, words
    return folder


@pytest.fixture
def verified(run: Run, made: Path) -> Callable[[Path, str], tuple[int, str]]:
    """Exit code and words of `verify` under one of the trust files; in no words a maker signed it."""

    def call(path: Path, trust: str) -> tuple[int, str]:
        code, out, _ = run("verify", path, "--trust", made / trust / "trust.toml", "--details")
        assert not re.search(r"signed by (its|the) maker", out.lower().replace("not signed by its maker", "")), out
        machine = json.loads(run("verify", path, "--trust", made / trust / "trust.toml", "--json")[1])
        assert machine["exit_code"] == code
        assert all(one["slot"] != "maker" for one in machine["signers"])
        return code, out

    return call


Verified = Callable[[Path, str], tuple[int, str]]


def test_a_compared_file_is_trusted_where_a_rule_lists_the_grade_and_nowhere_else(
    run: Run, made: Path, verified: Verified, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    assert verified(file, "compared")[0] == 1
    assert run(*compared(file, sums(tmp_path, file), made / "home", FIRST))[0] == 0
    code, out = verified(file, "compared")
    assert code == 0, out
    assert "not signed by its maker" in out.lower()
    assert verified(file, "most")[0] == 0
    assert verified(file, "none")[0] == 1
    for altered in (
        file, record_of(file), Path(f"{record_of(file)}.p7s"), tmp_path / "in" / "drive.bin.received" / "SHA256SUMS",
    ):  # fmt: skip
        kept = altered.read_bytes()
        spoil(altered)
        assert verified(file, "compared")[0] == 1, altered
        altered.write_bytes(kept)
    assert verified(file, "compared")[0] == 0


def test_an_uncompared_file_waits_for_its_second_person(
    run: Run, made: Path, verified: Verified, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    words = uncompared(file, made / "home")
    assert run(*words)[0] == 3
    code, out = verified(file, "most")
    assert (code, "the signature of p-4 is not here" in out) == (1, True)
    signing = ["receive", "--sign", record_of(file), "--person", SECOND, "--yes", "--home"]
    assert run(*signing, made / "home")[0] == 1
    assert run(*signing, made / "other")[0] == 0
    assert verified(file, "most")[0] == 0
    assert verified(file, "compared")[0] == 1
    assert verified(file, "none")[0] == 1
    # the second signature is worth nothing under the first one's name, nor twice
    second = Path(f"{record_of(file)}.{SECOND}.p7s")
    shutil.copy(f"{record_of(file)}.p7s", second)
    assert verified(file, "most")[0] == 1


def test_an_old_signature_counts_as_that(run: Run, made: Path, verified: Verified, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    vendor = Minisign(tmp_path, "acme")
    signature = vendor.sign(file).rename(tmp_path / "drive.minisig")
    words = ["receive", file, "--grade", "old-signature", "--source", "ACME", "--old-signature", signature]
    assert run(*words, "--old-key", vendor.public, "--person", FIRST, "--home", made / "home")[0] == 0
    assert verified(file, "most")[0] == 0
    assert verified(file, "compared")[0] == 1


def test_a_whole_folder_is_trusted_by_its_record(run: Run, made: Path, verified: Verified, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "hmi"
    (folder / "screens").mkdir(parents=True)
    (folder / "hmi.exe").write_bytes(b"program")
    (folder / "screens" / "one").write_bytes(b"screen")
    listed = sums(tmp_path, folder / "hmi.exe")
    listed.write_text(listed.read_text() + sums(tmp_path / "in", folder / "screens" / "one").read_text().replace("  one", "  screens/one"))  # fmt: skip
    (tmp_path / "in" / "SHA256SUMS").unlink()
    assert run(*compared(folder, listed, made / "home", FIRST))[0] == 0
    assert verified(folder, "compared")[0] == 0
    (folder / "extra").write_bytes(b"x")
    assert verified(folder, "compared")[0] == 1


def test_the_holder_of_the_key_signs_unless_another_person_is_named(run: Run, made: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), made / "home", "p-17")
    at = words.index("--person")
    code, _, err = run(*words[:at], *words[at + 2 :])
    assert (code, err) == (0, "")
    assert f"#! person {FIRST}\n" in record_of(file).read_text()
    for path in (record_of(file), Path(f"{record_of(file)}.p7s")):
        path.unlink()
    code, _, err = run(*words)
    assert (code, "that this key is release-engineer's" in err) == (0, True)


def test_a_home_made_for_a_person_signs_records_in_that_name_and_warns_of_nothing(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "anna", "--person", "p-17")[0] == 0
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), tmp_path / "anna", "p-17")
    at = words.index("--person")
    code, _, err = run(*words[:at], *words[at + 2 :])
    assert (code, err) == (0, "")
    assert "#! person p-17\n" in record_of(file).read_text()
    for path in (record_of(file), Path(f"{record_of(file)}.p7s")):
        path.unlink()
    assert run(*words)[::2] == (0, "")


@pytest.mark.parametrize("person", ["Anna Huber", "", "../p-17", "officer", "Recovery", "p" * 65])
def test_no_home_is_made_for_what_is_no_persons_id_or_another_keys(run: Run, tmp_path: Path, person: str) -> None:
    assert run("init", tmp_path / "twin", "--person", "p-17")[0] == 0
    code, _, err = run("init", tmp_path / "home", "--person", person)
    assert (code, "--person" in err) == (2, True)
    assert not (tmp_path / "home").exists()


def test_a_home_whose_trust_file_is_being_changed_receives_all_the_same(run: Run, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "home", tmp_path / "home")
    trust = tmp_path / "home" / "trust.toml"
    trust.write_text(trust.read_text() + "[[rule")
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), tmp_path / "home")
    at = words.index("--person")
    assert run(*words[:at], *words[at + 2 :])[0] == 2
    code, _, err = run(*words)
    assert (code, err) == (0, "")
