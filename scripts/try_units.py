"""The units of deploy/ under a real systemd: the signing service and its backup run as they are shipped, are killed, stopped and reloaded, and what they may not do is tried.

    scripts/try_units.py        as root, on Debian 12; some two minutes

In a machine of its own (`tests/kit/systemdmachine.py`): PostgreSQL by Debian's own unit and its socket, a key in SoftHSM with two workers, PINs and
the TLS key handed over by systemd, files uploaded. One line for each thing that was seen; ends with 1 at the first that is not as it should be.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.doors import ask_body, get, post, told
from kit.killable import add_key
from kit.openssl import cms_verify
from kit.signingservice import House, house
from kit.systemdmachine import Machine, machine
from kit.tokens import PIN, make_token
from kit.waiting import command

SOURCE = Path(__file__).resolve().parent.parent
POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"read", Action::"prepare"], resource);
@id("development-alone") permit (principal, action == Action::"sign", resource)
when { resource.environment == Environment::"development" && resource.product != "door" };
@id("doors-are-uploaded") permit (principal, action == Action::"sign", resource)
when { resource.product == "door" && context.uploaded };
"""
SIGNING, BACKUP, TIMER = "sealwright-signing.service", "sealwright-backup.service", "sealwright-backup.timer"
STATE = "/var/lib/sealwright"
LONG_S = 90.0
PROBE = """
import ctypes, json, os, socket
from sealwright.service.shutin import landlock_version
def done(what):
    try:
        what()
    except OSError:
        return False
    return True
print(json.dumps({
    "write its state": done(lambda: open("/var/lib/sealwright/probe", "w").close()),
    "ask PostgreSQL's socket": done(lambda: socket.socket(socket.AF_UNIX).connect("/run/postgresql/.s.PGSQL.5432")),
    "shut its children in by Landlock": landlock_version() > 0,
    "write /etc": done(lambda: open("/etc/sealwright/probe", "w").close()),
    "write /usr": done(lambda: open("/usr/probe", "w").close()),
    "write /run": done(lambda: open("/run/probe", "w").close()),
    "read root's credentials": done(lambda: open("/etc/sealwright/credentials/release-pin").close()),
    "list /root": done(lambda: os.listdir("/root")),
    "see /tmp of others": os.path.exists("/tmp/somebody"),
    "see processes of others": os.path.exists("/proc/1"),
    "open a device": done(lambda: open("/dev/trial").close()),
    "mount": ctypes.CDLL(None).mount(b"tmpfs", b"/mnt", b"tmpfs", 0, None) == 0,
    "make a user namespace": ctypes.CDLL(None).unshare(0x10000000) == 0,
    "speak netlink": done(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "map memory to write and execute": ctypes.CDLL(None, use_errno=True).mmap(None, 4096, 7, 34, -1, 0) != -1,
}))
"""
MAY = {"write its state", "ask PostgreSQL's socket", "shut its children in by Landlock"}


class Wrong(Exception):
    """Something is not as it should be."""


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="sealwright-units-"))
    try:
        made, token = _house(folder)
        with machine(folder / "machine") as trial:
            _install(trial, made, token)
            for look in (starts, signs, prepares_uploads, may_do, reloads, killed, stands_still, stops, backs_up):
                began = time.monotonic()
                sys.stdout.write(f"{look(trial, made, folder)} ({time.monotonic() - began:.1f} s)\n")
                sys.stdout.flush()
    except (Wrong, AssertionError) as cause:
        sys.stdout.write(f"NOT AS IT SHOULD BE: {cause}\n")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def starts(trial: Machine, made: House, _: Path) -> str:
    """systemd waits until the service says that it is ready."""
    done = trial.run("systemctl", "start", SIGNING, code=None)
    _must(trial.shown(SIGNING, "ActiveState") == "active", done + trial.journal(SIGNING))
    health = told(made, None, get("/health"))
    _must(health.status == 200, (health, trial.journal(SIGNING)))
    return f"started, ready and answering as user {trial.shown(SIGNING, 'User')}"


def signs(trial: Machine, made: House, folder: Path) -> str:
    """By the key in the token, whose worker is a process of the unit."""
    path = folder / "drive.bin"
    path.write_bytes(os.urandom(1000))
    words = ("--product", "drive", "--environment", "development", "--key", "line", "--replace")
    command(made, "max", "sign", path, *words)
    good, said = cms_verify(Path(f"{path}.manifest.p7s"), Path(f"{path}.manifest"), made.folder / "home" / "ca.pem")
    _must(good, said)
    tasks = trial.run("systemctl", "status", "--no-pager", SIGNING)
    _must("pkcs11_worker" in tasks, tasks)
    return "signed by the key in the token, and OpenSSL verified it"


def prepares_uploads(_: Machine, made: House, folder: Path) -> str:
    """In a process that is shut in, below the unit's own bounds."""
    path = folder / "door.bin"
    path.write_bytes(os.urandom(3 << 20))
    said = command(made, "max", "sign", path, "--product", "door", "--environment", "development", "--upload")
    _must("signed" in said, said)
    return "prepared an uploaded file and signed it"


def may_do(trial: Machine, _: House, __: Path) -> str:
    """A program under the very bounds of the unit; without them it can do all of it."""
    probe = "\n".join(
        line
        for line in (SOURCE / "deploy" / SIGNING).read_text().splitlines()
        if not line.startswith(("Type=", "NotifyAccess=", "WatchdogSec=", "Restart", "ExecReload="))
    )
    probe = probe.replace("ExecStart=/opt/sealwright/bin/sealwright serve signing /etc/sealwright/service.toml",
                          "Type=oneshot\nExecStart=/opt/sealwright/bin/python3 /etc/sealwright/probe.py")  # fmt: skip
    (trial.root / "etc/systemd/system/probe.service").write_text(probe)
    (trial.root / "etc/sealwright/probe.py").write_text(PROBE)
    (trial.root / "tmp/somebody").touch()
    trial.run("mknod", "-m", "666", "/dev/trial", "c", "1", "3")
    trial.run("systemctl", "daemon-reload")
    trial.run("systemctl", "start", "probe.service", code=None)
    lines = [line for line in trial.journal("probe.service").splitlines() if line.startswith("{")]
    _must(lines, trial.journal("probe.service"))
    tried = json.loads(lines[-1])
    found = {name for name, done in tried.items() if done}
    _must(found == MAY, f"it can {', '.join(sorted(found))}; wanted: {', '.join(sorted(MAY))}")
    unbound = json.loads(trial.run("/opt/sealwright/bin/python3", "/etc/sealwright/probe.py"))
    _must(all(unbound.values()), f"without bounds: {unbound}")
    return f"can {', '.join(sorted(MAY))}; {len(tried) - len(MAY)} other things are refused, which root can do"


def reloads(trial: Machine, _: House, __: Path) -> str:
    """SIGHUP."""
    rules = trial.root / "etc/sealwright/policies/rules.cedar"
    stricter = (
        '@id("no-gates") forbid (principal, action == Action::"sign", resource) when { resource.product == "gate" };'
    )
    rules.write_text(POLICY + stricter)
    trial.run("systemctl", "reload", SIGNING)
    _until(lambda: '"edition": 2' in trial.journal(SIGNING))
    return "reloaded stricter policies, which count"


def killed(trial: Machine, made: House, folder: Path) -> str:
    """kill -9 of the service."""
    before = trial.shown(SIGNING, "MainPID")
    trial.run("kill", "-9", before)
    _until(lambda: trial.shown(SIGNING, "NRestarts") == "1" and trial.shown(SIGNING, "ActiveState") == "active")
    _must(trial.shown(SIGNING, "MainPID") != before, f"process {before} is not dead")
    signs(trial, made, folder)
    return "started again by itself after kill -9, and signed"


def stands_still(trial: Machine, made: House, folder: Path) -> str:
    """SIGSTOP: the watchdog sees that its event loop stands still."""
    trial.run("kill", "-STOP", trial.shown(SIGNING, "MainPID"))
    _until(lambda: trial.shown(SIGNING, "NRestarts") == "2" and trial.shown(SIGNING, "ActiveState") == "active")
    signs(trial, made, folder)
    return "started again by the watchdog after it stood still, and signed"


def stops(trial: Machine, made: House, _: Path) -> str:
    """While many signatures are being made: who asked for them gets them."""
    answers = []
    body = ask_body(*(f"{number}.bin" for number in range(2000)), environment="development", wait_s=50)
    asking = threading.Thread(target=lambda: answers.append(told(made, "max", post("/v1/requests", body))))
    asking.start()
    _until(
        lambda: any(
            one["state"] == "signing" for one in told(made, "max", get("/v1/requests?state=signing")).json["requests"]
        )
    )
    trial.run("systemctl", "stop", SIGNING)
    asking.join()
    _must([one.status for one in answers] == [201], answers[0].head)
    _must(len(answers[0].json["signatures"]) == 2000, "not all were answered")
    _must(trial.shown(SIGNING, "Result") == "success", trial.journal(SIGNING))
    _must(trial.shown(SIGNING, "ExecMainStatus") == "0", trial.journal(SIGNING))
    return "stopped while it signed 2,000 artifacts, after all of them were answered"


def backs_up(trial: Machine, _: House, __: Path) -> str:
    """While it serves, by the timer's unit."""
    trial.run("systemctl", "start", SIGNING)
    done = trial.run("systemctl", "start", BACKUP, code=None)
    _must(trial.shown(BACKUP, "Result") == "success", done + trial.journal(BACKUP))
    (found,) = trial.run("ls", "/var/backups/sealwright").split()
    trial.run("sh", "-c", f"cd /var/backups/sealwright/{found} && sha256sum --quiet -c backup.txt")
    trial.run("systemctl", "start", TIMER)
    _must(BACKUP in trial.run("systemctl", "list-timers", "--no-pager"), "systemd does not wait for the timer")
    trial.run("systemctl", "stop", SIGNING)
    return "backed up while it served, and sha256sum checks the backup"


def _must(holds: object, told: object) -> None:
    if not holds:
        raise Wrong(told)


def _until(seen: Callable[[], object]) -> None:
    until = time.monotonic() + LONG_S
    while not seen():
        _must(time.monotonic() < until, "it did not come in time")
        time.sleep(0.3)


def _house(folder: Path) -> tuple[House, Path]:
    """What a service needs, and the folder of its token."""
    token = folder / "token"
    os.environ["SOFTHSM2_CONF"] = str(make_token(token, "units"))
    made = house(folder / "house", POLICY)
    add_key(made, "line", "pkcs11:token=units;object=line", PIN, workers=2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        made.address = f"https://127.0.0.1:{free.getsockname()[1]}"
    text = made.configuration.read_text()
    for old, new in (
        ("127.0.0.1:0", made.address.removeprefix("https://")),
        ('"home"', f'"{STATE}/home"'),
        ('"head"', f'"{STATE}/head"'),
        ("sqlite:///service.db", "postgresql://sealwright@/sealwright?host=/run/postgresql"),
        ('"server.key"', '"credential:tls-key"'),
        ('"line.pin"', '"credential:release-pin"'),
    ):
        _must(old in text, old)
        text = text.replace(old, new)
    text = text.replace("head = ", f'pins = "{STATE}/pins"\nhead = ')
    made.configuration.write_text(text + f'[upload]\nspool = "{STATE}/spool"\nlargest_mib = 16\n')
    return made, token


def _install(trial: Machine, made: House, token: Path) -> None:
    """As docs/operating.md says it."""
    etc, state = trial.root / "etc/sealwright", trial.root / STATE[1:]
    (etc / "credentials").mkdir(parents=True)
    (etc / "credentials").chmod(0o700)
    for name in ("service.toml", "people.toml", "server.pem", "clients.pem", "root.crl", "ca.crl"):
        shutil.copy(made.folder / name, etc)
    shutil.copytree(made.folder / "policies", etc / "policies")
    (etc / "softhsm2.conf").write_text((token / "softhsm2.conf").read_text().replace(str(token), f"{STATE}/token"))
    for name, data in (
        ("release-pin", PIN.encode()),
        ("log-pin", b""),
        ("tls-key", (made.folder / "server.key").read_bytes()),
    ):
        (etc / "credentials" / name).write_bytes(data)
    state.mkdir(mode=0o700)
    shutil.copytree(made.folder / "home", state / "home")
    shutil.copytree(token, state / "token")
    trial.run("chown", "-R", "sealwright:sealwright", STATE)
    trial.run("install", "-d", "-m", "0700", "-o", "sealwright", "/var/backups/sealwright")
    units = trial.root / "etc/systemd/system"
    for name in (SIGNING, BACKUP, TIMER):
        shutil.copy(SOURCE / "deploy" / name, units)
        (units / f"{name}.d").mkdir()
        if name != TIMER:
            (units / f"{name}.d" / "token.conf").write_text(
                "[Service]\nEnvironment=SOFTHSM2_CONF=/etc/sealwright/softhsm2.conf\n"
            )
    trial.run("systemctl", "daemon-reload")
    version = max(one.name for one in Path("/usr/lib/postgresql").iterdir())
    trial.run("pg_createcluster", version, "units", "--port", "5432")
    trial.run("systemctl", "start", f"postgresql@{version}-units")
    as_postgres = ("runuser", "-u", "postgres", "--")
    trial.run(*as_postgres, "createuser", "sealwright")
    trial.run(*as_postgres, "createdb", "-O", "sealwright", "sealwright")


if __name__ == "__main__":
    sys.exit(main())
