"""`accept` as the plant's engineer types it: the maker's signature first, then the plant's, which openssl and sha256sum check too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.openssl import cms_verify, sums
from kit.statements import receiving_of
from sealwright.artifact.acceptance import parse_acceptance
from sealwright.artifact.digest import Digest
from sealwright.artifact.output import OLD
from sealwright.artifact.receiving import receiving_bytes
from sealwright.cli.main import main
from sealwright.formats.format import Coverage, Prepared
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.stamps import utc_now

Run = Callable[..., tuple[int, str, str]]
RULE = ["drive firmware", "--environment", "development", "--anchor", "acme", "--purpose", "updatePackageSigning"]
PLANT = ["--plant", "root", "--plant-person", "release-engineer"]


@dataclass(frozen=True)
class Site:
    """A maker's home, a store's and a plant's; the plant's trust file knows them all."""

    maker: Path
    store: Path
    plant: Path

    @property
    def trust(self) -> Path:
        return self.plant / "trust.toml"

    def signed(self, path: Path) -> Path:
        assert main(["sign", str(path), "--home", str(self.maker), "--timestamp", "none"]) == 0
        return path

    def received(self, path: Path) -> Path:
        """A record by the store's person, signed through the store's home."""
        record = receiving_of(path, persons=("store-1",))
        text = receiving_bytes(record)
        home = open_home(str(self.store))
        key = home.key(None, KeyPurpose.ARTIFACT)
        name = key.algorithm.digest
        prepared = Prepared(
            "receiving", "receiving", f"{path}.received.manifest", {name: Digest.of(text, name)}, text, len(text),
            Coverage.whole(len(text)), record.contents.claims,
        )  # fmt: skip
        with Pipeline(home, key, None) as pipeline:
            (made,) = pipeline.sign([prepared], utc_now())
            path.with_name(f"{path.name}.received.manifest").write_bytes(text)
            path.with_name(f"{path.name}.received.manifest.p7s").write_bytes(pipeline.sealed(made).envelope)
        return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder / "maker", folder / "store", folder / "plant")
    for home in (site.maker, site.store, site.plant):
        assert main(["init", str(home)]) == 0
    trust = str(site.trust)
    release = "certificates/release.pem"
    for words in (
        ["trust", "new", "--next", trust],
        ["trust", "add", trust, "anchor", str(site.maker / "ca.pem"), "--name", "acme", "--environment", "development"],
        ["trust", "add", trust, "anchor", str(site.store / "ca.pem"), "--name", "store", "--environment", "development"],
        ["trust", "add", trust, "person", "acme-1", "--organisation", "ACME", "--certificate", str(site.maker / release)],
        ["trust", "add", trust, "person", "store-1", "--organisation", "Store", "--certificate", str(site.store / release)],
        ["trust", "add", trust, "rule", *RULE, *PLANT, "--plant", "store", "--plant-person", "store-1", "--grade", "compared"],
        ["trust", "sign", trust, "--home", str(site.plant), "--person", "officer"],
    ):  # fmt: skip
        assert main(words) == 0, words
    return site


def accept(run: Run, site: Site, *words: str | Path) -> tuple[int, str, str]:
    return run("accept", *words, "--home", site.plant, "--trust", site.trust, "--timestamp", "none")


def verify(run: Run, site: Site, *words: str | Path) -> int:
    return run("verify", *words, "--trust", site.trust)[0]


@pytest.fixture
def drive(tmp_path: Path, site: Site) -> Path:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware\n" * 40)
    return site.signed(path)


def test_what_the_maker_signed_is_accepted_and_others_agree(run: Run, site: Site, drive: Path) -> None:
    (drive.parent / "FAT.pdf").write_bytes(b"all tests passed")
    assert verify(run, site, drive) == 1
    code, said, _ = accept(run, site, drive, "--line", "line-3", "--report", drive.parent / "FAT.pdf")
    assert code == 0
    assert "for line-3; test reports: 1" in said
    text = drive.with_name("drive.bin.plant.manifest")
    signature = text.with_name(f"{text.name}.p7s")
    acceptance = parse_acceptance(text.read_bytes(), "a")
    assert (acceptance.person, acceptance.lines, acceptance.beside) == ("release-engineer", ("line-3",), (b"FAT.pdf",))
    assert verify(run, site, drive, "--line", "line-3") == 0
    assert verify(run, site, drive) == 3
    assert verify(run, site, drive, "--line", "line-4") == 1
    assert cms_verify(signature, text, site.plant / "ca.pem")[0]
    assert sums(text, drive.parent) == (True, "")
    # another key
    assert not cms_verify(signature, text, site.maker / "ca.pem")[0]
    # altered text, signature, content
    good = text.read_bytes()
    text.write_bytes(good.replace(b"line-3", b"line-4"))
    assert not cms_verify(signature, text, site.plant / "ca.pem")[0]
    assert verify(run, site, drive, "--line", "line-4") == 1
    text.write_bytes(good)
    (drive.parent / "FAT.pdf").write_bytes(b"one test failed")
    assert not sums(text, drive.parent)[0]
    assert verify(run, site, drive, "--line", "line-3") == 1


def test_a_station_of_one_line_allows_what_was_accepted_for_it(
    run: Run, site: Site, drive: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert accept(run, site, drive, "--line", "line-3")[0] == 0
    state, clean = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("clean")
    words = ["station", "--once", drive.parent, "--trust", site.trust, "--state", state]
    code, said, _ = run(*words, "--line", "line-3", "--write", clean)
    assert (code, "ALLOWED      drive.bin" in said) == (0, True), said
    assert sums(clean / "sealwright-checked.txt", clean) == (True, "")
    assert run(*words, "--line", "line-4")[0] == 1
    assert run(*words)[0] == 3


def test_a_station_hands_on_what_was_received_with_its_evidence_and_nothing_else(
    run: Run, site: Site, tmp_path: Path
) -> None:
    medium = tmp_path / "medium"
    (medium / "project").mkdir(parents=True)
    (medium / "project" / "a.st").write_bytes(b"VAR")
    (medium / "old.bin").write_bytes(b"unsigned")
    for name in ("old.bin", "project"):
        assert accept(run, site, site.received(medium / name))[0] == 0
    (tmp_path / "state").mkdir()
    words = ["station", "--once", medium, "--trust", site.trust, "--state", tmp_path / "state"]
    for turn in range(3):  # what is judged before its evidence is there would be refused now and then
        clean = tmp_path / f"clean-{turn}"
        clean.mkdir()
        code, said, _ = run(*words, "--write", clean)
        assert (code, said.count("ALLOWED      ")) == (0, 3), said
        assert [verify(run, site, clean / name) for name in ("old.bin", "project")] == [0, 0]
    assert {one.name for one in clean.rglob("*.eml")} == {"mail.eml"}
    assert (clean / "project.received" / "mail.eml").exists()
    (medium / "old.bin.received" / "evil.exe").write_bytes(b"MZ")
    (tmp_path / "after").mkdir()
    code, said, _ = run(*words, "--write", tmp_path / "after")
    assert (code, "DO NOT USE   old.bin.received/evil.exe" in said) == (1, True), said
    assert not list((tmp_path / "after").rglob("evil.exe"))
    (medium / "project.received" / "mail.eml").write_bytes(b"Somebody else wrote this")
    code, said, _ = run(*words)
    assert (code, "DO NOT USE   project:" in said, "DO NOT USE   project.received/mail.eml" in said) == (1, True, True)


def test_folders_and_many_paths_are_accepted_each_by_itself(run: Run, site: Site, drive: Path) -> None:
    folder = drive.parent / "project"
    folder.mkdir()
    (folder / "a.st").write_bytes(b"VAR")
    site.signed(folder)
    loose = drive.parent / "loose.bin"
    loose.write_bytes(b"nobody signed this")
    code, said, complaints = accept(run, site, drive, folder, loose, "--json")
    assert code == 1
    answers = [json.loads(one) for one in said.splitlines() if one.startswith("{")]
    assert [one["outcome"] for one in answers] == ["accepted", "accepted", "not-accepted"]
    assert answers[1]["outputs"] == [f"{folder}.plant.manifest", f"{folder}.plant.manifest.p7s"]
    assert answers[0]["accepted"]["person"] == "release-engineer"
    assert "NOT ACCEPTED" in complaints
    assert not (drive.parent / "loose.bin.plant.manifest").exists()
    assert verify(run, site, drive, folder) == 0
    assert sums(drive.parent / "project.plant.manifest", drive.parent) == (True, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"another"), "is not the one that was signed"),
        (lambda path: path.with_name("drive.bin.p7s").unlink(), "no signature of its maker"),
        (lambda path: path.with_name("drive.bin.plant").write_bytes(b"x"), "lies beside it"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_what_the_maker_did_not_sign_is_not_accepted(
    run: Run, site: Site, drive: Path, change: Callable[[Path], object], words: str
) -> None:
    twin = drive.with_name("twin.bin")
    for name in ("drive.bin", "drive.bin.p7s"):
        shutil.copy(drive.with_name(name), twin.with_name(name.replace("drive", "twin")))
    change(drive)
    code, _, complaints = accept(run, site, drive, twin)
    assert code == 1
    assert words in complaints
    assert not drive.with_name("drive.bin.plant.manifest").exists()
    assert twin.with_name("twin.bin.plant.manifest.p7s").exists()


def test_a_receiving_record_is_accepted_in_place_of_a_makers_signature(run: Run, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(b"the maker never signed this")
    assert accept(run, site, path)[0] == 1
    site.received(path)
    assert verify(run, site, path) == 1
    assert accept(run, site, path)[0] == 0
    assert verify(run, site, path) == 0
    code, said, _ = run("verify", path, "--trust", site.trust, "--json")
    told = json.loads(said)
    assert code == 0
    assert (told["received"]["grade"], told["received"]["persons"]) == ("compared", ["store-1"])
    assert (len(told["received"]["evidence"]), told["accepted"]["person"]) == (1, "release-engineer")
    assert [one["statement"] for one in told["signers"]] == ["receiving", "acceptance"]
    plain = run("verify", path, "--trust", site.trust)[1]
    assert "Not signed by its maker" in plain
    assert "as maker" not in plain


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--person", "eva"], "maps it to release-engineer, not to eva"),
        (["--hardware", "cpu-9"], "not for cpu-9"),
        (["--until", "2020-01-01T00:00:00Z"], "is past"),
        (["--line", " "], "empty"),
        (["--line", "a", "--line", "a"], "said twice"),
        (["--report", "nothing.pdf"], "no such file"),
        (["--not-before", "2400-01-02T00:00:00Z", "--until", "2400-01-01T00:00:00Z"], "not after"),
    ],
)
def test_a_scope_that_cannot_be_is_refused_before_anything_is_signed(
    run: Run, site: Site, drive: Path, words: list[str], complaint: str
) -> None:
    code, _, complaints = accept(run, site, drive, *words)
    assert code in (1, 2)
    assert complaint in complaints
    assert not drive.with_name("drive.bin.plant.manifest").exists()
    assert accept(run, site, drive, "--person", "release-engineer")[0] == 0


def test_who_may_not_sign_for_the_plant_is_told(run: Run, site: Site, drive: Path) -> None:
    code, _, complaints = run("accept", drive, "--home", site.maker, "--trust", site.trust, "--timestamp", "none")
    assert code == 1
    assert "lets others sign for the plant, not acme-1" in complaints
    assert accept(run, site, drive)[0] == 0


def test_a_key_that_no_rule_would_take_signs_nothing(run: Run, site: Site, drive: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    assert run("init", stranger)[0] == 0
    code, _, complaints = run("accept", drive, "--home", stranger, "--trust", site.trust, "--timestamp", "none")
    assert code == 1
    assert "anchor" in complaints
    assert not drive.with_name("drive.bin.plant.manifest").exists()
    assert accept(run, site, drive)[0] == 0
    assert verify(run, site, drive) == 0


def test_it_is_accepted_again_only_where_that_is_said(run: Run, site: Site, drive: Path) -> None:
    assert accept(run, site, drive, "--line", "line-3")[0] == 0
    assert accept(run, site, drive, "--line", "line-4")[0] == 1
    assert verify(run, site, drive, "--line", "line-3") == 0
    assert accept(run, site, drive, "--line", "line-4", "--replace")[0] == 0
    assert verify(run, site, drive, "--line", "line-4") == 0
    assert {one.name for one in drive.parent.iterdir()} == {
        "drive.bin", "drive.bin.p7s", "drive.bin.plant.manifest", "drive.bin.plant.manifest.p7s"
    }  # fmt: skip


def test_between_the_two_files_of_a_new_acceptance_the_old_one_is_never_lost(run: Run, site: Site, drive: Path) -> None:
    assert accept(run, site, drive, "--line", "line-3")[0] == 0
    text = drive.with_name("drive.bin.plant.manifest")
    shutil.copy(text, f"{text}{OLD}")
    shutil.copy(f"{text}.p7s", f"{text}.p7s{OLD}")
    text.write_bytes(text.read_bytes().replace(b"line-3", b"line-5"))  # as a crash leaves it: one of the two is new
    assert verify(run, site, drive, "--line", "line-5") == 1
    assert accept(run, site, drive, "--line", "line-4")[0] == 1  # the old pair is put back, and is there
    assert verify(run, site, drive, "--line", "line-3") == 0


def test_acceptances_are_stamped_and_kept_like_every_signature(run: Run, site: Site, drive: Path) -> None:
    assert accept(run, site, drive)[0] == 0
    signature = drive.with_name("drive.bin.plant.manifest.p7s")
    code, _, _ = run("stamp", drive, "--home", site.plant, "--timestamp", "local", "--signature", signature)
    assert code == 0
    assert drive.with_name("drive.bin.plant.manifest.tsr").exists()
    assert run("renew-proofs", drive, "--home", site.plant, "--trust", site.trust, "--all")[0] == 0
    code, said, _ = run("verify", drive, "--trust", site.trust, "--json")
    assert "SW-EVIDENCE-HOLDS" in [one["code"] for one in json.loads(said)["findings"]]
    assert verify(run, site, drive.parent, "--recursive") == 0
    signature.unlink()
    assert verify(run, site, drive) == 1


def test_inspect_shows_both_statements_and_never_judges(run: Run, site: Site, drive: Path) -> None:
    assert accept(run, site, drive, "--line", "line-3")[0] == 0
    code, said, _ = run("inspect", f"{drive}.plant.manifest")
    assert code == 0
    assert "acceptance by a plant" in said
    assert "line-3" in said
    old = drive.with_name("old.bin")
    old.write_bytes(b"unsigned")
    site.received(old)
    code, said, _ = run("inspect", f"{old}.received.manifest", old)
    assert code == 0
    for words in ("receiving record", "compared", "telephone", "mail.eml", "old.bin.received.manifest.p7s"):
        assert words in said


def test_a_rule_for_records_is_written_and_read_aloud(run: Run, site: Site, tmp_path: Path) -> None:
    draft = tmp_path / "trust.toml"
    shutil.copy(site.trust, draft)
    shutil.copytree(site.plant / "trust.history", tmp_path / "trust.history")
    for signature in site.plant.glob("trust.toml.*.p7s"):
        shutil.copy(signature, tmp_path)
    assert run("trust", "new", "--next", draft)[0] == 0
    words = ["trust", "add", draft, "rule", "old firmware", *RULE[1:], "--plant", "root", "--plant-count", "0"]
    code, _, complaints = run(*words)
    assert code != 0
    assert "grades" in complaints
    code, said, _ = run(*words, "--grade", "compared", "--grade", "uncompared")
    assert code == 0
    assert "a receiving record (compared or uncompared) by one signer as plant under root" in said
    assert "signed by one signer as maker under acme;" in said
    never = [
        *words[:3],
        "rule",
        "vendor who never signs",
        "--environment",
        "development",
        "--plant",
        "root",
        "--plant-count",
        "0",
    ]
    assert run(*never, "--purpose", "codeSigning", "--grade", "compared")[0] != 0  # a purpose, and of nobody
    code, said, _ = run(*never, "--grade", "compared")
    assert code == 0
    assert "any product for development: signed by no maker; in place of" in said


def test_the_proofs_of_a_received_folder_are_renewed_beside_its_record(run: Run, site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.st").write_bytes(b"VAR")
    site.received(folder)
    assert accept(run, site, folder)[0] == 0
    said = run("renew-proofs", tmp_path, "--home", site.plant, "--trust", site.trust, "--all")
    assert said[0] == 0, said
    assert (tmp_path / "project.received.manifest.ers").exists()
    code, said, _ = run("verify", folder, "--trust", site.trust, "--json")
    assert (code, "SW-EVIDENCE-HOLDS" in said) == (0, True)
    assert run("renew-proofs", tmp_path, "--trust", site.trust, "--status")[0] == 0
    (tmp_path / "project.received.manifest.ers").write_bytes(b"0garbage")
    code, said, _ = run("verify", folder, "--trust", site.trust, "--json")
    assert (code, "SW-EVIDENCE-REFUSED" in said) == (0, True)
