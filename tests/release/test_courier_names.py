"""Names in couriers that some systems read as others: in both Unicode forms, in two cases, as devices, and ones that a medium cannot have."""

from __future__ import annotations

import os
import resource
import unicodedata
from pathlib import Path

import pytest

from kit.gap import Gap, copy_gap, make_gap
from sealwright.release import courierpack

COMPOSED = "Gerät-ü.bin"
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)
# two files that are one on some system, and single names that mean something else there
PAIRS = {
    "two Unicode forms": (COMPOSED, DECOMPOSED),
    "two cases": ("App.bin", "app.bin"),
    "a case of another length": ("STRASSE.bin", "straße.bin"),
    "the Kelvin sign": ("K.bin", "k.bin"),
    "a dot at the end": ("app.bin", "app.bin."),
    "a blank at the end": ("app.bin", "app.bin "),
    "a stream of another": ("app.bin", "app.bin:hidden"),
}
NAMES = {
    "a device": "NUL.bin",
    "no UTF-8": os.fsdecode(b"a\xff.bin"),
    "a line break": "a\nb.bin",
    "a line separator": "a\u2028b.bin",
    "a folder above, on Windows": "..\\a.bin",
}
ODD = {
    "composed": COMPOSED,
    "decomposed": DECOMPOSED,
    "right to left": "a\u202enib.exe",
    "no width": "a\u200bb.bin",
    "a wide slash": "a\uff0fb.bin",
    "beyond the first plane": "\U0001f512.bin",
    "one letter from two alphabets": "а-a.bin",
    "a colon": "C:a.bin",
    "as long as it goes": "ü" * 125 + ".bin",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gap")
    make_gap(folder)
    return folder


@pytest.fixture
def gap(made: Path, tmp_path: Path) -> Gap:
    (tmp_path / "gap").mkdir()
    return copy_gap(made, tmp_path / "gap")


@pytest.fixture(params=["folder", "file"])
def out(gap: Gap, request: pytest.FixtureRequest) -> Path:
    """Both forms of a courier."""
    return gap.stick if request.param == "folder" else gap.stick / "a.courier"


def carried(gap: Gap, *names: str) -> Path:
    folder = gap.folder / "carried"
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"file %d" % number)
    return folder


def test_odd_names_cross_as_they_are_byte_for_byte(gap: Gap, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = carried(gap, *(name for kind, name in ODD.items() if kind != "decomposed"))
    assert gap.pack(out, "--file", folder) == 0
    assert gap.unpack(out) == 0
    (there,) = (gap.into / "couriers").glob("*/*/files/carried")
    assert {os.fsencode(one): (there / one).read_bytes() for one in os.listdir(there)} == {
        os.fsencode(one): (folder / one).read_bytes() for one in os.listdir(folder)
    }
    capsys.readouterr()


def test_a_decomposed_name_stays_decomposed(gap: Gap, out: Path) -> None:
    assert gap.pack(out, "--file", carried(gap, DECOMPOSED)) == 0
    assert gap.unpack(out) == 0
    (there,) = (gap.into / "couriers").glob("*/*/files/carried")
    assert os.listdir(there) == [DECOMPOSED]


@pytest.mark.parametrize("kind", [*PAIRS, *NAMES])
def test_a_name_that_is_another_elsewhere_is_neither_packed_nor_unpacked(
    gap: Gap, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = PAIRS.get(kind) or (NAMES[kind],)
    plain = [f"plain{number}.bin" for number in range(len(names))]
    folder = carried(gap, *names)
    assert gap.pack(None, "--file", folder, "--number", 41) == 1
    assert os.listdir(gap.stick) == []
    for old, new in zip(names, plain, strict=True):
        (folder / old).rename(folder / new)
    assert gap.pack(None, "--file", folder, "--number", 42) == 0
    manifest = gap.courier().with_suffix(".manifest")
    good = manifest.read_bytes()
    for old, new in zip(plain, names, strict=True):
        rename_in(gap.courier(), manifest, old, new)
    capsys.readouterr()
    assert gap.unpack() == 1
    said = capsys.readouterr().err
    assert "name" in said, said
    assert os.listdir(gap.into / "couriers") == []
    manifest.write_bytes(good)
    for old, new in zip(names, plain, strict=True):
        path = gap.courier() / "files" / "carried" / old
        path.rename(path.with_name(new))
    assert gap.unpack() == 0


def rename_in(courier: Path, manifest: Path, old: str, new: str) -> None:
    """A file of a courier under another name, as its manifest lists it, in the order that one must have."""
    path = courier / "files" / "carried" / old
    path.rename(path.with_name(new))
    text = manifest.read_bytes().replace(b"/carried/" + os.fsencode(old), b"/carried/" + os.fsencode(new))
    lines = text.splitlines(keepends=True)
    heads = [line for line in lines if line.startswith(b"#")]
    files = [line for line in lines if not line.startswith(b"#")]
    manifest.write_bytes(b"".join(heads + sorted(files, key=lambda line: line.split(b"  ", 1)[-1])))


def test_a_courier_whose_names_came_over_in_another_form_is_refused(gap: Gap) -> None:
    """As a medium may do that knows one form alone."""
    assert gap.pack(None, "--file", carried(gap, COMPOSED)) == 0
    (path,) = (one for one in gap.courier().rglob("*") if one.name == COMPOSED)
    path.rename(path.with_name(DECOMPOSED))
    assert gap.unpack() == 1
    path.with_name(DECOMPOSED).rename(path)
    assert gap.unpack() == 0


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_medium_whose_files_end_too_early_is_told_with_a_way_out(
    gap: Gap, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of the process stands for that of FAT; scripts/soak_machine.py has a real one."""
    large = carried(gap, "large")
    (large / "large").write_bytes(bytes(90_000))
    out = gap.stick if form == "folder" else gap.stick / "a.courier"
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        assert gap.pack(out, "--file", large) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "FAT ends at 4 GiB" in capsys.readouterr().err
    assert os.listdir(gap.stick) == []
    assert gap.pack(out, "--file", large) == 0


def test_a_name_that_the_medium_cannot_have_is_told_with_a_way_out(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true = os.open

    def as_fat(path: str | bytes, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT and b":" in os.fsencode(path):
            raise OSError(22, "Invalid argument", path)
        return true(path, flags, mode, dir_fd=dir_fd)

    folder = carried(gap, "a:b.bin")
    with monkeypatch.context() as patched:
        patched.setattr(courierpack.os, "open", as_fat)
        assert gap.pack(None, "--file", folder, "--number", 41) == 1
        said = capsys.readouterr().err
        assert os.listdir(gap.stick) == []
        assert gap.pack(gap.stick / "a.courier", "--file", folder, "--number", 42) == 0
    assert "no files of that name" in said
    assert ".courier" in said
    assert gap.unpack(gap.stick / "a.courier") == 0


def test_a_receivers_folder_that_is_made_on_the_way_is_checked_like_one_that_is_there(gap: Gap) -> None:
    assert gap.pack() == 0
    open_to_all = gap.folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    gap.into.rmdir()
    gap.into.symlink_to(open_to_all / "transfer")
    assert gap.unpack() == 1
    assert os.listdir(open_to_all) == []
    open_to_all.chmod(0o755)
    (open_to_all / "transfer").mkdir()
    assert gap.unpack() == 0
