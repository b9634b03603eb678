"""A system that is not POSIX, played on this one: its modules and calls taken away, and `sys.platform` of Windows.

`test_bundle_windows.py` asks a Windows Python; this shows which module or call is missing where that one only fails.
"""

from __future__ import annotations

import hashlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sealwright
from kit.bundles import Delivery, other_value
from sealwright.cli.main import COMMANDS, main

# subprocess and threading are loaded first, because those of Windows need nothing of what is taken away
ELSEWHERE = """
import os, subprocess, sys, threading
for name in ("fcntl", "grp", "pwd", "pty", "resource", "spwd", "syslog", "termios", "tty", "_posixshmem", "_posixsubprocess"):
    sys.modules[name] = None
for name in ("fork", "pread", "preadv", "readv", "writev", "pipe2", "geteuid", "getuid", "getgid", "getegid", "getgroups", "fchmod",
             "fchown", "chown", "lchown", "memfd_create", "copy_file_range", "sched_getaffinity", "statvfs", "sync", "sendfile",
             "posix_fadvise", "posix_fallocate", "mkfifo", "mknod", "killpg", "setsid", "uname", "getxattr", "setxattr",
             "listxattr", "O_NOFOLLOW", "O_CLOEXEC", "O_DIRECTORY", "O_NONBLOCK", "O_DIRECT", "O_SYNC", "O_DSYNC", "O_TMPFILE"):
    if hasattr(os, name):
        delattr(os, name)
os.supports_dir_fd = os.supports_fd = os.supports_follow_symlinks = frozenset()
sys.platform = "win32"
"""
COMMAND = ELSEWHERE + "from sealwright.cli.main import main; sys.exit(main())"
IMPORTS = ELSEWHERE + "from importlib import import_module\nfor name in sys.argv[1:]: import_module(name)"
# what needs the packages of an extra, and is imported only behind a question for them
OF_EXTRAS = (
    "sealwright.cli.stationscreen",
    "sealwright.cli.policylines",
    *(
        f"sealwright.log.{name}"
        for name in ("export", "following", "latest", "reader", "tables", "whole", "witness", "writer")
    ),
)
ROOMS = ("artifact", "envelope", "formats", "trust", "log", "pki", "texts", "plant", "cli")


def elsewhere(program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)


def verified(delivery: Delivery, *paths: Path) -> tuple[int, str, str]:
    fingerprint = hashlib.sha256(delivery.trust.read_bytes()).hexdigest()
    words: list[str | Path] = ["verify", *paths, "--trust", delivery.trust, "--trust-fingerprint", fingerprint]
    done = elsewhere(COMMAND, *words)
    return done.returncode, done.stdout.partition("\n")[0], done.stderr


def test_the_portable_rooms_and_every_command_can_be_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(sealwright.__path__, "sealwright.")]
    wanted = [name for name in names if name.split(".")[1] in ROOMS and name not in OF_EXTRAS]
    assert len(wanted) > 100
    done = elsewhere(IMPORTS, *wanted)
    assert done.returncode == 0, done.stderr


def test_every_command_explains_itself() -> None:
    program = ELSEWHERE + (
        "from sealwright.cli.main import main\nfor name in sys.argv[1:]:\n try: main([name, '--help'])\n except SystemExit: pass"
    )
    done = elsewhere(program, *COMMANDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("usage: sealwright") == len(COMMANDS)


def test_a_signed_file_is_allowed_and_an_altered_one_refused(delivery: Delivery, tmp_path: Path) -> None:
    assert verified(delivery, delivery.file) == (0, "INSTALL: allowed", "")
    copy = tmp_path / "drive.bin"
    copy.write_bytes(delivery.file.read_bytes() + b"x")
    (tmp_path / "drive.bin.p7s").write_bytes(delivery.file.with_name("drive.bin.p7s").read_bytes())
    assert verified(delivery, copy) == (1, "DO NOT INSTALL: the file was changed", "")
    copy.write_bytes(delivery.file.read_bytes())
    other_value(tmp_path / "drive.bin.p7s")
    assert verified(delivery, copy)[0] == 1


@pytest.mark.parametrize("count", [3, 100])
def test_a_folder_is_allowed_until_something_is_added(count: int, delivery: Delivery, tmp_path: Path) -> None:
    """A few files and many, which are hashed in other ways where there is fork(2)."""
    tree = tmp_path / "project"
    for number in range(count):
        file = tree / f"part-{number % 3}" / f"{number}.st"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"program {number}")
    assert main(["sign", str(tree), "--home", str(delivery.trust.parent), "--product", "line 3"]) == 0
    assert verified(delivery, tree) == (0, "INSTALL: allowed", "")
    (tree / "part-1" / "more.st").write_text("x")
    assert verified(delivery, tree) == (1, "DO NOT INSTALL: there is a file that was not signed", "")
