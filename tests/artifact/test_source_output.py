"""Files are read once and whole, outputs are whole or absent."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sealwright.artifact.digest import HashName
from sealwright.artifact.output import (
    OLD,
    Output,
    Pair,
    Replace,
    replace_pairs,
    restore_pair,
    write_atomic,
    write_batch,
    write_pairs,
)
from sealwright.artifact.source import BLOCK, open_artifact, read_file, read_file_or_none
from sealwright.errors import ChangedWhileRead, LimitExceeded, OutputRefused, Unreadable


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_all_digests_come_from_one_pass(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    data = os.urandom(size)
    path.write_bytes(data)
    with open_artifact(path) as source:
        found = source.digests(list(HashName))
        assert {name.value: digest.value for name, digest in found.items()} == {
            name.value: hashlib.new(name.value, data).digest() for name in HashName
        }
        assert source.read(size) == data


@pytest.mark.parametrize("size", [10, 2 * BLOCK])
def test_a150_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * size)
    with open_artifact(path) as source:
        source.digests([HashName.SHA256])
    with open_artifact(path) as source:
        with path.open("ab") as other:
            other.write(b"y")
        with pytest.raises(ChangedWhileRead):
            source.digests([HashName.SHA256])
    with open_artifact(path) as source:
        os.utime(path, ns=(1, 1))
        with pytest.raises(ChangedWhileRead):
            source.read(size + 1)


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("x")
    assert read_file(tmp_path / "good", 10) == b"x"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("fifo", "folder", "dangling", "absent", "bad\0name"):
        with pytest.raises(Unreadable):
            read_file(f"{tmp_path}/{name}", 10)
    assert read_file_or_none(tmp_path / "absent", 10) is None
    with pytest.raises(Unreadable):
        read_file_or_none(tmp_path / "dangling", 10)
    with pytest.raises(Unreadable):
        open_artifact("/dev/zero")


def test_a_file_over_its_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 11)
    assert read_file(path, 11)
    with pytest.raises(LimitExceeded):
        read_file(path, 10)


def test_a073_a_huge_sparse_file_takes_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    code = (
        "import sys; from sealwright.artifact.source import open_artifact; from sealwright.artifact.digest import HashName\n"
        "open_artifact(sys.argv[1]).digests([HashName.SHA256]); print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, text=True).stdout
    assert int(said) < 64 * 1024


def test_a171_an_output_is_never_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write_atomic(str(path), b"one")
    with pytest.raises(OutputRefused, match="already there"):
        write_atomic(str(path), b"two")
    assert path.read_bytes() == b"one"
    write_atomic(str(path), b"two", replace=Replace.YES)
    assert path.read_bytes() == b"two"
    (tmp_path / "link").symlink_to("elsewhere")
    for replace in Replace:
        with pytest.raises(OutputRefused, match="symbolic link"):
            write_atomic(str(tmp_path / "link"), b"x", replace=replace)
    assert sorted(os.listdir(tmp_path)) == ["link", "out"]


def test_a171_a_failed_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    good = [Output(str(tmp_path / "a"), b"1"), Output(str(tmp_path / "b"), b"2", 0o600)]
    write_batch(good)
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    for name in ("a", "b"):
        (tmp_path / name).unlink()
    with pytest.raises(OutputRefused, match="folder does not exist"):
        write_batch([*good, Output(str(tmp_path / "no" / "c"), b"3")])
    assert os.listdir(tmp_path) == []


def refuses(_: str) -> None:
    raise ChangedWhileRead("b", "the signature is not found in what was written", "Sign it again.")


@pytest.mark.parametrize("replace", Replace)
def test_a_pair_that_its_check_refuses_keeps_no_other_from_being_written(tmp_path: Path, replace: Replace) -> None:
    names = [str(tmp_path / name) for name in ("a", "b", "c")]
    old = b"old" if replace is Replace.YES else None
    pairs = []
    for name in names:
        check = refuses if name.endswith("b") else None
        pairs.append(Pair((Output(name + ".tsr", b"new"), Output(name, b"new", check=check))))
    if old:
        for pair in pairs:
            for output in pair.outputs:
                Path(output.path).write_bytes(old)
    answers = replace_pairs(pairs) if replace is Replace.YES else write_pairs(pairs)
    assert [type(answer) for answer in answers] == [type(None), ChangedWhileRead, type(None)]
    kept = {} if old is None else {"b": old, "b.tsr": old}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept | dict.fromkeys(
        ("a", "a.tsr", "c", "c.tsr"), b"new"
    )
    with pytest.raises(ChangedWhileRead):
        write_batch([output for pair in pairs for output in pair.outputs], replace=Replace.YES)


def test_a171_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from sealwright.artifact.output import *\n"
        "from sealwright.errors import OutputRefused\n"
        "try: write_batch([Output(sys.argv[1]+'/a', b'x'*100), Output(sys.argv[1]+'/b', b'x'*5000)])\n"
        "except OutputRefused as refused: print(refused.what)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, preexec_fn=limited, check=True
    )
    assert "too large" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["replace", "fsync", "close"])
def test_a152_a_crash_at_any_step_leaves_the_old_state_or_the_new(tmp_path: Path, call: str) -> None:
    path = tmp_path / "out"
    path.write_bytes(b"old")
    for after in range(4):
        code = (
            "import os, sys; from sealwright.artifact.output import *\n"
            f"real, calls = os.{call}, []\n"
            "def crash(*a, **k):\n"
            f"    calls.append(1)\n    if len(calls) > {after}: os._exit(9)\n    return real(*a, **k)\n"
            f"os.{call} = crash\n"
            "write_batch([Output(sys.argv[1]+'/out', b'new'), Output(sys.argv[1]+'/out2', b'new')], replace=Replace.YES)"
        )
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert path.read_bytes() in (b"old", b"new")
        if (tmp_path / "out2").exists():
            assert path.read_bytes() == (tmp_path / "out2").read_bytes() == b"new"


PAIR = """
import os, sys
from sealwright.artifact.output import *
folder, call, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
real, calls = getattr(os, call), []
def crash(*a, **k):
    calls.append(1)
    if len(calls) > after: os._exit(9)
    return real(*a, **k)
setattr(os, call, crash)
replace_pairs([Pair((Output(folder + '/m', b'new'), Output(folder + '/m.p7s', b'new')))])
"""


@pytest.mark.parametrize("call", ["link", "replace", "unlink", "fsync", "open", "write"])
def test_a152_a_crash_while_a_pair_is_replaced_is_completed_or_undone(tmp_path: Path, call: str) -> None:
    names = [str(tmp_path / "m"), str(tmp_path / "m.p7s")]
    seen = set()
    for after in range(12):
        for name in names:
            Path(name).write_bytes(b"old")
        subprocess.run([sys.executable, "-c", PAIR, str(tmp_path), call, str(after)], check=False)
        restore_pair(names)
        states = {Path(name).read_bytes() for name in names}
        assert len(states) == 1, f"{call} {after}: {states}"
        seen |= states
        assert not list(tmp_path.glob(f"*{OLD}"))
    assert seen == {b"old", b"new"}


def test_a_pair_is_kept_under_a_name_that_nobody_gives_a_copy_of_his_own(tmp_path: Path) -> None:
    names = [str(tmp_path / "m"), str(tmp_path / "m.p7s")]
    for name in names:
        Path(name).write_bytes(b"2")
        Path(f"{name}.old").write_bytes(b"1")
    replace_pairs([Pair(tuple(Output(name, b"3") for name in names))])
    assert not restore_pair(names)
    assert [Path(name).read_bytes() for name in names] == [b"3", b"3"]
    assert [Path(f"{name}.old").read_bytes() for name in names] == [b"1", b"1"]
