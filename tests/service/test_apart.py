"""The process in which uploaded files are prepared: what it comes to, and what it may not do (A128)."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kit.seccomp import refusing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.errors import MalformedArtifact
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing
from sealwright.formats.registry import detached
from sealwright.service import apart
from sealwright.service.apart import prepared_apart
from sealwright.service.shutin import ADD, CREATE, RESTRICT, landlock_version
from sealwright.signing.items import Item, item_of
from sealwright.signing.preparing import differences

WORKER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from sealwright.service.prepareworker import bound
bound(sys.argv[1], os.path.dirname(sys.argv[2]), 2)
"""
TRIES = """
import socket, subprocess
def tried(what):
    try:
        what()
    except OSError:
        return "no"
    return "yes"
answers = [
    tried(lambda: open(sys.argv[2]).read()),
    tried(lambda: open({pin!r}).read()),
    tried(lambda: open("/etc/passwd").read()),
    tried(lambda: os.listdir("/etc")),
    tried(lambda: subprocess.run(["/bin/true"])),
    tried(lambda: socket.create_connection(("127.0.0.1", {port}))),
    tried(lambda: os.kill(os.getppid(), 0)),
]
sys.stdout.write("-" + " ".join(answers))
"""


def asked_for(path: Path) -> Item:
    return item_of(detached().prepare(str(path), (HashName.SHA256, HashName.SHA512), Claims(), None))


def made(tmp_path: Path, data: bytes = b"firmware") -> Path:
    path = tmp_path / "drive.bin"
    path.write_bytes(data)
    return path


def test_it_comes_to_what_its_file_is(tmp_path: Path) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    assert differences(item, prepared_apart(str(path), item, 8)) == []
    path.write_bytes(b"FIRMWARE")
    differs = differences(item, prepared_apart(str(path), item, 8))
    assert [one.what for one in differs] == ["artifact"]


def test_it_prepares_formats_whose_signature_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "update.ps1"
    path.write_text("Write-Output 1\r\n")
    prepared = embedded_format("powershell").prepare(str(path), (HashName.SHA256,), Claims(), Existing.REFUSE, None)
    item = item_of(prepared._replace(name="signed.ps1"))
    assert differences(item, prepared_apart(str(path), item, 16)) == []
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedArtifact):
        prepared_apart(str(path), item, 3)


@pytest.mark.parametrize(
    "what",
    [
        "import os; os.abort()",
        "sys.stdout.write('+{}')",
        "b = b'+' + bytes(1 << 20)\nwhile True: sys.stdout.buffer.write(b)",
        "while True: pass",
        "bytes(4 << 30)",
        "open('file', 'wb').write(b'x')",
        "import os; [os.open('/dev/null', 0) for _ in range(100)]",
    ],
)
def test_one_that_ends_otherwise_came_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    assert prepared_apart(str(path), item, 8).line == item.line
    monkeypatch.setattr(apart, "BEGIN", WORKER + what)
    with pytest.raises(MalformedArtifact, match="gave no answer"):
        prepared_apart(str(path), item, 8)


def test_it_has_nothing_of_the_services_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setattr(apart, "BEGIN", "import os, sys; sys.stdout.write('-' + ' '.join(os.environ))")
    with pytest.raises(MalformedArtifact) as told:
        prepared_apart(str(path), item, 8)
    assert set(told.value.what.split()) <= {"LC_ALL", "LC_CTYPE"}


def test_it_reads_nothing_but_its_file_and_has_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the kernel's version of Landlock goes; the program is the same without the bounds, and there all of it is done."""
    (tmp_path / "spool").mkdir()
    path = made(tmp_path / "spool")
    (tmp_path / "release.pin").write_text("1234")
    item, version = asked_for(path), landlock_version()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        tries = TRIES.format(pin=str(tmp_path / "release.pin"), port=listening.getsockname()[1])
        monkeypatch.setattr(apart, "BEGIN", "import os, sys\n" + tries)
        assert _answers(path, item) == ["yes"] * 7
        monkeypatch.setattr(apart, "BEGIN", WORKER + tries)
        files = "no" if version else "yes"
        others = ["no" if version >= 4 else "yes", "no" if version >= 6 else "yes"]
        assert _answers(path, item) == ["yes", *[files] * 4, *others]


def _answers(path: Path, item: Item) -> list[str]:
    with pytest.raises(MalformedArtifact) as told:
        prepared_apart(str(path), item, 8)
    return told.value.what.split()


OPENS = """
import sys
from sealwright.errors import SealwrightError
from sealwright.service.spool import Spool, Uploading
try:
    Spool.open(Uploading(sys.argv[1], 1, 1)).close()
    print("opened")
except SealwrightError as cause:
    print(cause)
"""
SHUTS_IN = "import sys; from sealwright.service.shutin import shut_in; shut_in([sys.prefix]); print('shut in')"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errno.ENOSYS, "opened"),  # as a kernel without it answers
        (errno.EOPNOTSUPP, "opened"),
        (errno.EPERM, "shut in by Landlock, which a filter of system calls refuses (Operation not permitted)"),
        (errno.EACCES, "Allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"),
    ],
)
def test_no_file_is_taken_where_a_filter_of_system_calls_refuses_landlock(
    tmp_path: Path, error: int, said: str
) -> None:
    program = [sys.executable, "-c", OPENS, str(tmp_path / "spool")]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "opened\n"
    told = subprocess.run([*refusing(error, CREATE), *program], capture_output=True, text=True, check=True).stdout
    assert said in told


@pytest.mark.parametrize("call", [ADD, RESTRICT])
def test_a_process_that_cannot_be_shut_in_prepares_nothing(call: int) -> None:
    program = [sys.executable, "-c", SHUTS_IN]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout == "shut in\n"
    if landlock_version():
        done = subprocess.run([*refusing(errno.EPERM, call), *program], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
