"""The portable folder with a Windows Python, under Wine: `sealwright.cmd` as a person types it into cmd.exe."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from kit.bundles import Bundle, Delivery, other_value, replace
from kit.openssl import cms_verify
from kit.wine import cmd, on_windows, windows_python
from sealwright.cli.main import COMMANDS, main
from sealwright.log.journal import end_of
from sealwright.plant.recordexport import Wanted, kept


def sealwright(bundle: Bundle, folder: Path, *words: str) -> tuple[int, str]:
    """In a folder, with Python in PATH."""
    launcher = on_windows(bundle.folder / "portable" / "sealwright.cmd")
    return cmd(folder, launcher, *words, search=windows_python())


def trusting(delivery: Delivery) -> tuple[str, ...]:
    fingerprint = hashlib.sha256(delivery.trust.read_bytes()).hexdigest()
    return "--trust", on_windows(delivery.trust), "--trust-fingerprint", fingerprint


def altered_content(folder: Path) -> None:
    replace(folder / "drive.bin", (folder / "drive.bin").read_bytes() + b"x")


def altered_signature(folder: Path) -> None:
    other_value(folder / "drive.bin.p7s")


def signed_by_another(folder: Path) -> None:
    assert main(["init", str(folder / "other")]) == 0
    assert main(["sign", str(folder / "drive.bin"), "--home", str(folder / "other"), "--replace"]) == 0


def test_files_are_judged_on_windows(bundle: Bundle, delivery: Delivery, tmp_path: Path) -> None:
    """One command for all, because each start of Wine takes a second."""
    alterations = (altered_content, altered_signature, signed_by_another)
    for alter in alterations:
        shutil.copytree(delivery.file.parent, tmp_path / alter.__name__, ignore=shutil.ignore_patterns("home"))
    paths = [f"{alter.__name__}\\drive.bin" for alter in alterations]
    code, said = sealwright(bundle, tmp_path, "verify", *paths, *trusting(delivery))
    assert (code, said.count("INSTALL: allowed\n")) == (0, 3), said
    for alter in alterations:
        alter(tmp_path / alter.__name__)
    code, said = sealwright(bundle, tmp_path, "verify", *paths, "--quiet", *trusting(delivery))
    assert code == 1
    assert [line.partition(": ")[0] for line in said.splitlines()] == paths
    assert said.count("DO NOT INSTALL") == 3


def test_a_folder_named_with_backslashes_is_judged_and_remembered(
    bundle: Bundle, delivery: Delivery, tmp_path: Path
) -> None:
    """The newer one is accepted and remembered, so the older one is refused, which without memory is allowed."""
    for generation in ("1", "2"):
        tree = tmp_path / generation / "project"
        (tree / "sub").mkdir(parents=True)
        (tree / "sub" / "main.st").write_text(f"program {generation}")
        words = ["--product", "line 3", "--generation", generation]
        assert main(["sign", str(tree), "--home", str(delivery.trust.parent), *words]) == 0
    (tmp_path / "state").mkdir()
    remembering = ("--state", "state", *trusting(delivery))
    assert sealwright(bundle, tmp_path, "verify", "1\\project", *trusting(delivery))[0] == 0
    assert sealwright(bundle, tmp_path, "verify", on_windows(tmp_path / "2" / "project"), *remembering)[0] == 0
    code, said = sealwright(bundle, tmp_path, "verify", "1\\project", *remembering)
    assert code == 1, said
    (tmp_path / "2" / "project" / "sub" / "more.st").write_text("")
    code, said = sealwright(bundle, tmp_path, "verify", "2\\project", *remembering)
    assert (code, "there is a file that was not signed" in said) == (1, True), said


def test_a_trust_file_is_believed_by_its_fingerprint_alone(bundle: Bundle, delivery: Delivery) -> None:
    """Windows keeps owners in a way that we do not read."""
    folder = delivery.file.parent
    code, said = sealwright(bundle, folder, "verify", "drive.bin", "--trust", "home\\trust.toml")
    assert (code, "--trust-fingerprint" in said) == (1, True), said


def test_every_command_is_there(bundle: Bundle, tmp_path: Path) -> None:
    code, said = sealwright(bundle, tmp_path, "--help")
    assert code == 0
    assert all(f"  {name} " in said for name in COMMANDS)


def test_a_python_in_the_current_folder_is_not_started(bundle: Bundle, tmp_path: Path) -> None:
    """A stick may hold anything; what is started comes from PATH, or from the folder python of the bundle."""
    for name in ("python.exe", "py.exe", "python.bat", "py.cmd"):
        (tmp_path / name).write_text("@echo started\r\n")
    launcher = on_windows(bundle.folder / "portable" / "sealwright.cmd")
    code, said = cmd(tmp_path, launcher, "--version")
    assert (code, "Python 3.11 or newer is needed" in said) == (2, True), said
    code, said = sealwright(bundle, tmp_path, "--version")
    assert (code, said) == (0, "sealwright 0.1.0\n")


def test_an_interpreter_carried_in_the_folder_is_used(bundle: Bundle, tmp_path: Path) -> None:
    carried = bundle.carried(tmp_path)
    shutil.copytree(windows_python(), carried.folder / "portable" / "python")
    code, said = cmd(tmp_path, on_windows(carried.folder / "portable" / "sealwright.cmd"), "--version")
    assert (code, said) == (0, "sealwright 0.1.0\n")


def test_what_is_signed_on_windows_is_checked_elsewhere(bundle: Bundle, tmp_path: Path) -> None:
    """With a development key; its journal is one that is read here."""
    (tmp_path / "recipe.csv").write_bytes(b"a;b\r\n1;2\r\n")
    code, said = sealwright(bundle, tmp_path, "init", "home")
    assert code == 0, said
    code, said = sealwright(bundle, tmp_path, "sign", "recipe.csv", "--home", "home")
    assert code == 0, said
    accepted, said = cms_verify(tmp_path / "recipe.csv.p7s", tmp_path / "recipe.csv", tmp_path / "home" / "ca.pem")
    assert accepted, said
    assert b"\r" not in (tmp_path / "home" / "journal" / "journal.jsonl").read_bytes()
    assert end_of(str(tmp_path / "home" / "journal" / "journal.jsonl"))[0] > 2
    assert main(["verify", str(tmp_path / "recipe.csv"), "--trust", str(tmp_path / "home" / "trust.toml")]) == 0


def test_a_device_is_loaded_and_read_back_on_windows(bundle: Bundle, delivery: Delivery, tmp_path: Path) -> None:
    """The vendor's program is a Python that copies; it is meant by its digest, as nothing says who may change it."""
    for name in ("private", "records"):
        (tmp_path / name).mkdir()
    python, script, back = windows_python() / "python.exe", tmp_path / "load.py", tmp_path / "back.bin"
    script.write_text("import shutil, sys\nshutil.copy(sys.argv[1], sys.argv[2])\n")
    shutil.copy(delivery.file, tmp_path)
    shutil.copy(delivery.file.with_name("drive.bin.p7s"), tmp_path)
    words = ["handover", "install", "drive.bin", *trusting(delivery), "--serial", "4711", "--person", "p-17"]
    words += ["--private", "private", "--record", "records", "--read-back", "back.bin"]
    tool = ["--tool", on_windows(python), on_windows(script), "{file}", on_windows(back)]
    code, said = sealwright(bundle, tmp_path, *words, *tool)
    assert (code, "this system does not say who may write there" in said, back.exists()) == (1, True, False), said
    digest = hashlib.sha256(python.read_bytes()).hexdigest()
    code, said = sealwright(bundle, tmp_path, *words, "--tool-digest", digest, *tool)
    assert (code, "back.bin: the device gave back exactly what was signed" in said) == (0, True), said
    assert back.read_bytes() == delivery.file.read_bytes()
    assert list((tmp_path / "private").iterdir()) == []
    back.write_bytes(back.read_bytes()[:-1] + b"x")
    comparing = ["handover", "compare", "drive.bin", "back.bin", *trusting(delivery), "--serial", "4711"]
    code, said = sealwright(bundle, tmp_path, *comparing, "--private", "private", "--record", "records")
    assert (code, "at 0x1f3f the device has 78, and 65 was signed" in said) == (1, True), said
    altered_content(tmp_path)
    code, said = sealwright(bundle, tmp_path, *words, "--tool-digest", digest, *tool)
    assert (code, "NOT HANDED OVER: the file was changed" in said) == (1, True), said
    every = [one.record.facts.installation for one in kept(str(tmp_path / "records"), Wanted()) if one.record]
    stages = [one.stage.value for one in every if one is not None]
    assert stages == ["begun", "done", "compared", "refused"]  # written there, read here


def install(bundle: Bundle, folder: Path, *words: str, python: Path | None) -> tuple[int, str]:
    """`install.cmd` typed in a folder."""
    return cmd(folder, on_windows(bundle.folder / "install.cmd"), *words, search=python)


def test_the_installer_says_how_it_is_used_and_touches_nothing_that_is_there(bundle: Bundle, tmp_path: Path) -> None:
    code, said = install(bundle, tmp_path, python=windows_python())
    assert (code, "usage: install.cmd FOLDER" in said) == (2, True), said
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept.txt").write_text("kept")
    code, said = install(bundle, tmp_path, "there", python=windows_python())
    assert (code, "is already there; name a folder that is not" in said) == (2, True), said
    assert (tmp_path / "there" / "kept.txt").read_text() == "kept"


def test_the_installer_without_python_says_which_one_is_needed(bundle: Bundle, tmp_path: Path) -> None:
    code, said = install(bundle, tmp_path, "new", python=None)
    assert (code, "Python 3.11 to 3.14, 64 bits, is needed" in said) == (2, True), said
    assert not (tmp_path / "new").exists()


def test_an_installation_that_cannot_be_finished_leaves_nothing(bundle: Bundle, tmp_path: Path) -> None:
    """The embeddable Python has no venv: what makes the folder fails, which is as far as Wine goes."""
    code, said = install(bundle, tmp_path, "new", python=windows_python())
    assert (code, "nothing was installed" in said) == (1, True), said
    assert "No module named venv" in said
    assert not (tmp_path / "new").exists()
