"""A machine that systemd runs, made of this one's files: namespaces, an overlay over `/` whose changes are gone afterwards, and systemd as its first process.

    with machine(folder) as made:
        made.run("systemctl", "start", "sealwright-signing")

It wants root, Debian's systemd, overlayfs and a cgroup2 file system (mounted somewhere, controllers or not). It has this machine's network,
no unit of its /etc, and in /opt/sealwright the package of this source tree with the requirements of the tests' own environment.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
SOON_S = 60.0
BOOT = """
set -e
folder=$1 packages=$2 source=$3
root=$folder/root
mount --make-rprivate /
mkdir -p "$folder/changes" "$root"
mount -t tmpfs tmpfs "$folder/changes"
mkdir "$folder/changes/upper" "$folder/changes/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/changes/upper,workdir=$folder/changes/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/run/shared"
mount --bind "$folder/shared" "$root/run/shared"
rm -rf "$root"/etc/systemd/system/*
printf '[Unit]\\nDescription=Trial of units\\nRequires=basic.target\\nAfter=basic.target\\n' > "$root/etc/systemd/system/trial.target"
head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \\n' > "$root/etc/machine-id"
chroot "$root" useradd --system --home-dir /var/lib/sealwright --shell /usr/sbin/nologin sealwright
chroot "$root" /usr/bin/python3 -m venv --without-pip /opt/sealwright
there=$(echo "$root"/opt/sealwright/lib/python3.*/site-packages)
mkdir "$root/opt/sealwright/requirements"
mount --bind "$packages" "$root/opt/sealwright/requirements"
echo /opt/sealwright/requirements > "$there/requirements.pth"
cp -r "$source/src/sealwright" "$there/"
printf '#!/opt/sealwright/bin/python3\\nimport sys\\nfrom sealwright.cli.main import main\\nsys.exit(main())\\n' > "$root/opt/sealwright/bin/sealwright"
chmod 755 "$root/opt/sealwright/bin/sealwright"
cd "$root"
pivot_root . mnt  # a changed root alone has no user namespaces, and units want them
umount -l /mnt
mount --make-rshared /  # credentials are mounted by a process with mounts of its own
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=trial /lib/systemd/systemd --unit=trial.target --log-target=journal --show-status=no
"""


@dataclass
class Machine:
    """A running one. folder: outside; what lies in its `shared` is at /run/shared inside. process: of its systemd."""

    folder: Path
    process: int

    @property
    def root(self) -> Path:
        """Its files, seen from outside."""
        return Path(f"/proc/{self.process}/root")

    def run(self, *words: object, code: int | None = 0) -> str:
        """What a program says in it. code: how it must end, None where that is all the same."""
        enter = [
            "nsenter",
            "--target",
            self.process,
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--root",
            "--wd",
        ]
        done = subprocess.run(
            [*map(str, enter), *map(str, words)], capture_output=True, text=True, timeout=300, check=False
        )
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).strip()

    def journal(self, unit: str) -> str:
        """What a unit has said."""
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """One that is up, until the end of the block; nothing of it is left but `folder`."""
    (folder / "shared").mkdir(parents=True)
    (folder / "shared").chmod(0o755)
    wanted = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = subprocess.run([SYSTEM_PYTHON, "-c", wanted], capture_output=True, text=True, check=True).stdout.strip()
    assert python == f"{sys.version_info[0]}.{sys.version_info[1]}", f"the system's Python is {python}"
    packages = Path(sys.prefix) / "lib" / f"python{python}" / "site-packages"
    with _cgroup() as cgroup, (folder / "console").open("wb") as console:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
        outside = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {cgroup}/cgroup.procs && exec "$@"', "sh",
             *command, "sh", "-c", BOOT, "sh", str(folder), str(packages), str(SOURCE)],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        )  # fmt: skip
        try:
            made = Machine(folder, _systemd(outside, folder))
            _until_up(made)
            yield made
        finally:
            _end(outside)
    shutil.rmtree(folder / "changes", ignore_errors=True)


def _systemd(outside: subprocess.Popen[bytes], folder: Path) -> int:
    """The first process of the machine, once it is systemd."""
    until = time.monotonic() + SOON_S
    while time.monotonic() < until:
        assert outside.poll() is None, (folder / "console").read_text()
        with suppress(OSError, ValueError):
            found = int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text())
            if Path(f"/proc/{found}/comm").read_text().strip() == "systemd":
                return found
        time.sleep(0.1)
    raise AssertionError((folder / "console").read_text())


def _until_up(made: Machine) -> None:
    until = time.monotonic() + SOON_S
    while made.run("systemctl", "is-active", "trial.target", code=None).strip() != "active":
        assert time.monotonic() < until, made.run("systemctl", "--no-pager", "list-jobs", code=None)
        time.sleep(0.2)


def _end(outside: subprocess.Popen[bytes]) -> None:
    """The end of the first process of a PID namespace is the end of all of them."""
    with suppress(OSError, ValueError):
        os.kill(int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text()), signal.SIGKILL)
    outside.kill()
    outside.wait()


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A control group that is the root of the machine's."""
    lines = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    hierarchy = next(Path(one[1]) for one in lines if one[2] == "cgroup2")
    own = hierarchy / f"sealwright-trial-{secrets.token_hex(4)}"
    own.mkdir()
    try:
        yield own
    finally:
        until = time.monotonic() + SOON_S
        while "populated 1" in (own / "cgroup.events").read_text():
            assert time.monotonic() < until, "processes of the machine are left"
            time.sleep(0.1)
        for inner, _, _ in os.walk(own, topdown=False):
            os.rmdir(inner)
