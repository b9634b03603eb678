"""The register under a crowd, on a full disk and under kill -9: no serial twice, nothing lost, every gap shown."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.openssl import run
from sealwright.cli.main import main
from sealwright.errors import JournalError, KeyRefused
from sealwright.keys.key import Provenance
from sealwright.log.journal import EntryType, Recorded, read_journal
from sealwright.pki.authority import Subject, Terms
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.signing.home import REGISTER, open_home
from sealwright.signing.issued import Inventory, read_register
from sealwright.signing.issuing import authority_of, opened
from sealwright.signing.register import Order

PROGRAM = (sys.executable, "-m", "sealwright")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home)]) == 0
    for number in range(20):
        ask = [
            "openssl",
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-subj",
            f"/CN=line {number}",
        ]
        done, words = run([*ask, "-keyout", home.parent / "key", "-out", home.parent / f"{number}.csr"])
        assert done, words
    return home


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(made_home, tmp_path / "home")
    for number in range(20):
        shutil.copy(made_home.parent / f"{number}.csr", tmp_path)
    return tmp_path / "home"


def asked(home: Path, number: int) -> tuple[str, ...]:
    folder = home.parent
    return ("cert", "issue", str(folder / f"{number}.csr"), "--home", str(home), "--profile", "code-signer",
            "--provenance", "development", "--out", str(folder / f"{number}.pem"))  # fmt: skip


def serial_of(path: Path) -> int:
    return x509.load_pem_x509_certificates(path.read_bytes())[0].serial_number


def entries(home: Path) -> list[Recorded]:
    """Every entry; the chain of hashes is checked on the way."""
    return list(read_journal(str(home / REGISTER)))


def recorded(home: Path) -> Inventory:
    return read_register(str(home / REGISTER))


def serials(home: Path) -> Counter[str]:
    """How often each serial was taken, by the entries that were written before anything was signed."""
    return Counter(str(entry.fields["serial"]) for entry in entries(home) if entry.type is EntryType.ISSUING)


def once(home: Path) -> bool:
    return set(serials(home).values()) == {1}


# Ten at once -----------------------------------------------------------------------------------------------------------------------


def test_ten_processes_that_issue_at_once_never_give_one_serial_twice(home: Path) -> None:
    assert main(list(asked(home, 0))) == 0
    before = len(recorded(home).issued)
    at_work = [subprocess.Popen([*PROGRAM, *asked(home, n)], stderr=subprocess.PIPE) for n in range(1, 11)]
    said = [(one.communicate(timeout=120)[1], one.returncode) for one in at_work]
    assert [code for _, code in said] == [0] * 10, said
    inventory = recorded(home)
    assert len(inventory.issued) == before + 10
    assert not inventory.unfinished
    assert once(home)
    given = {serial_of(home.parent / f"{n}.pem") for n in range(11)}
    assert len(given) == 11
    assert given <= {serial for _, serial in inventory.issued}


def test_ten_processes_that_want_one_key_certified_get_one_certificate(home: Path) -> None:
    before = len(recorded(home).issued)
    wanted = [(*asked(home, 0)[:-1], str(home.parent / f"own-{n}.pem")) for n in range(10)]
    at_work = [subprocess.Popen([*PROGRAM, *words], stderr=subprocess.DEVNULL) for words in wanted]
    codes = sorted(one.wait(timeout=120) for one in at_work)
    assert codes == [0] + [1] * 9
    assert len(recorded(home).issued) == before + 1
    assert len(list(home.parent.glob("own-*.pem"))) == 1


# A full disk -----------------------------------------------------------------------------------------------------------------------

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from sealwright.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


def test_whatever_octet_the_disk_is_full_at_nothing_is_issued_unrecorded(home: Path) -> None:
    """Room for every possible part of the two lines; RLIMIT_FSIZE stands for a quota, the next test has a full disk."""
    size = (home / REGISTER / "journal.jsonl").stat().st_size
    assert main(list(asked(home, 0))) == 0
    lines = (home / REGISTER / "journal.jsonl").read_bytes()[size:].splitlines(keepends=True)
    issuing, both = len(lines[0]), sum(map(len, lines))
    assert len(lines) == 2
    size += both
    known, number = len(recorded(home).issued), 1
    for room in (0, 1, issuing // 2, issuing - 1, issuing, issuing + 1, both - 200, both + 200):
        start = (home / REGISTER / "journal.jsonl").stat().st_size
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(start + room), *asked(home, number)],
            capture_output=True,
            text=True,
            check=False,
        )
        inventory, out = recorded(home), home.parent / f"{number}.pem"
        if room > both:
            assert done.returncode == 0, done.stderr
            assert len(inventory.issued) == known + 1
            assert serial_of(out) in {serial for _, serial in inventory.issued}
        else:
            assert done.returncode == 1
            assert "sealwright:" in done.stderr
            assert "Traceback" not in done.stderr
            assert not out.exists()
            assert len(inventory.issued) == known
        assert main(["cert", "hold", "line 0", "--home", str(home)]) == 0, "with room again, the next command goes on"
        assert main(["cert", "release", "line 0", "--home", str(home)]) == 0
        assert once(home)
        number += 1
    gaps = len(recorded(home).unfinished)
    assert gaps >= 2, "the serials that were on disk before the disk was full are burnt"
    assert main(list(asked(home, 1))) == 0, "and who asked gets a certificate with another one"
    assert len(recorded(home).unfinished) == gaps
    assert once(home)


FULL = """
cp -a "$0" "$0.copy" && mount -t tmpfs -o size=1m tmpfs "$0" && cp -a "$0.copy/." "$0" && cd "$0/.." || exit 9
issue() {
    "$PY" -m sealwright cert issue "$1.csr" --home "$0" --profile code-signer --provenance development --out "$1.pem" \
        >/dev/null 2>"$1.err"
    echo "$1 $?"
}
issue 0
dd if=/dev/zero of="$0/filler" bs=512 2>/dev/null
for n in 1 2 3 4 5 6; do issue $n; done
rm "$0/filler"
issue 7
cp "$0/register/journal.jsonl" register.jsonl
"""


def test_a_disk_that_is_full_in_earnest_issues_nothing_until_there_is_room(home: Path, tmp_path: Path) -> None:
    """A file system of 1 MiB that only these processes see, filled to its last block: what is left of the register's own block
    is full somewhere in the lines of one of the next certificates."""
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", FULL, str(home)],
        capture_output=True, text=True, timeout=200, check=False, env=os.environ | {"PY": sys.executable},
    )  # fmt: skip
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert len(codes) == 8, done.stderr
    assert codes["0"] == codes["7"] == "0"
    refused = [number for number, code in codes.items() if code == "1"]
    assert refused, "the disk was full while a serial was written"
    (home / REGISTER / "journal.jsonl").write_bytes((tmp_path / "register.jsonl").read_bytes())
    assert once(home)
    known = {serial for _, serial in recorded(home).issued}
    for number, code in codes.items():
        path = tmp_path / f"{number}.pem"
        assert path.exists() is (code == "0")
        assert code != "0" or serial_of(path) in known
    said = [(tmp_path / f"{number}.err").read_text() for number in refused]
    assert "writing it failed (No space left on device)" in said[0]
    assert all("No space left on device" in one and "Nothing is signed" in one for one in said)


# kill -9 ---------------------------------------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
step, at = sys.argv[1], int(sys.argv[2])
def die(): os.kill(os.getpid(), signal.SIGKILL)
from sealwright.log import journal
from sealwright.pki import authority
from sealwright.signing import register
from sealwright.cli import certchange
from sealwright.artifact import output
seen = 0
def counted(call):
    def one(*args, **named):
        global seen
        seen += 1
        if seen == at and step.startswith("before"): die()
        answer = call(*args, **named)
        if seen == at and step.startswith("after"): die()
        return answer
    return one
if step.endswith("write"): os.write = counted(os.write)
elif step.endswith("sync"): os.fdatasync = counted(os.fdatasync)
elif step.endswith("signature"): register.issue = counted(register.issue)
elif step.endswith("file"): output.write_atomic = counted(output.write_atomic)
elif step == "half a line":
    write = os.write
    def half(descriptor, data):
        global seen
        seen += 1
        if seen == at:
            write(descriptor, bytes(data)[:len(data) // 2]); os.fsync(descriptor); die()
        return write(descriptor, data)
    os.write = half
from sealwright.cli.main import main
sys.exit(main(sys.argv[3:]))
"""
# step, its count, whether the serial is on disk then, and the certificate
STEPS = [
    ("before write", 1, False, False),
    ("half a line", 1, False, False),
    ("after write", 1, True, False),
    ("before sync", 1, True, False),
    ("after sync", 1, True, False),
    ("before signature", 1, True, False),
    ("after signature", 1, True, False),
    ("before write", 2, True, False),
    ("half a line", 2, True, False),
    ("after write", 2, True, True),
    ("after sync", 2, True, True),
    ("before file", 1, True, True),
]


def killed(home: Path, step: str, at: int, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, step, str(at), *asked(home, number)], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (home.parent / f"{number}.pem").exists()


@pytest.mark.parametrize(("step", "at", "serial", "certificate"), STEPS, ids=lambda one: str(one))
def test_a_kill_at_any_step_loses_nothing_uses_no_serial_twice_and_shows_the_gap(
    home: Path, capsys: pytest.CaptureFixture[str], step: str, at: int, serial: bool, certificate: bool
) -> None:
    assert main(list(asked(home, 0))) == 0
    before, given = recorded(home), serial_of(home.parent / "0.pem")
    killed(home, step, at, 1)
    after = recorded(home)
    assert before.issued.items() <= after.issued.items(), "nothing that was given out is lost"
    assert len(after.issued) == len(before.issued) + certificate
    assert len(after.unfinished) == (serial and not certificate)
    capsys.readouterr()
    assert main(["cert", "list", "--home", str(home), "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    begun = [one for one in shown if one["standing"] == "begun"]
    assert [one["serial"] for one in begun] == [str(one["serial"]) for one in after.unfinished.values()]
    assert all(one["subject"] == "line 1" and one["profile"] == "code-signer" for one in begun)
    assert main(["doctor", "--home", str(home), "--json"]) in (0, 1)
    doctor = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = next(line["found"] for line in doctor if line["check"] == "register")
    assert ("begun and not given out" in found) is bool(begun)
    code = main(list(asked(home, 1)))
    if certificate:
        assert code == 1, "the key has its certificate: it is in the register, and is not made twice"
        capsys.readouterr()
        assert main(["cert", "show", "line 1", "--home", str(home), "--pem"]) == 0
        (home.parent / "1.pem").write_text(capsys.readouterr().out)
    else:
        assert code == 0
    known = recorded(home)
    assert serial_of(home.parent / "1.pem") in {one for _, one in known.issued}
    assert once(home)
    assert given in {one for _, one in known.issued}
    assert len(known.unfinished) == len(after.unfinished), "the gap stays on record"
    holds, words = run(
        ["openssl", "verify", "-CAfile", home / "ca.pem", "-untrusted", home.parent / "1.pem", home.parent / "1.pem"]
    )
    assert holds, words


def test_a_serial_that_a_crash_burnt_is_not_given_to_anybody_who_names_it(home: Path) -> None:
    killed(home, "after sync", 1, 1)
    (burnt,) = (int(str(one["serial"]), 16) for one in recorded(home).unfinished.values())
    opened_home = open_home(str(home))
    public = x509.load_pem_x509_csr((home.parent / "2.csr").read_bytes()).public_key()
    named = Order(CODE_SIGNER, Subject("line 2"), public, Provenance.DEVELOPMENT, terms=Terms(serial=burnt))  # type: ignore[arg-type]
    with opened(opened_home, authority_of(opened_home, None, CODE_SIGNER, NOW), None) as (register, issuer):
        with pytest.raises(KeyRefused, match="was used before"):
            register.issue(named, issuer, NOW)
        assert register.issue(replace(named, terms=Terms(serial=burnt + 1)), issuer, NOW)


def test_a_crowd_that_is_killed_at_random_leaves_a_whole_chain_and_no_serial_twice(home: Path) -> None:
    for round_ in range(3):
        at_work = [subprocess.Popen([*PROGRAM, *asked(home, n)], stderr=subprocess.DEVNULL) for n in range(6)]
        try:
            at_work[0].wait(timeout=0.25 + round_ * 0.15)
        except subprocess.TimeoutExpired:
            pass
        for one in at_work:
            one.kill()
            one.wait()
        assert once(home)
    for number in range(6):
        assert main(list(asked(home, number))) in (0, 1)
    inventory = recorded(home)
    names = {one.x509.subject.rfc4514_string() for one in inventory.issued.values()}
    assert all(any(f"CN=line {n}" in name for name in names) for n in range(6))
    assert once(home)
    for number in range(6):
        path = home.parent / f"{number}.pem"
        assert not path.exists() or serial_of(path) in {serial for _, serial in inventory.issued}


# The chain -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["altered", "removed", "swapped", "twice"])
def test_a_register_whose_lines_are_not_what_they_were_issues_nothing_more(home: Path, what: str) -> None:
    for number in (0, 1):
        assert main(list(asked(home, number))) == 0
    path = home / REGISTER / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    middle = len(lines) - 3
    match what:
        case "altered":
            lines[middle] = (
                lines[middle].replace(b"line 0", b"line 9")
                if b"line 0" in lines[middle]
                else lines[middle].replace(b"A", b"B", 1)
            )
        case "removed":
            del lines[middle]
        case "swapped":
            lines[middle], lines[middle - 1] = lines[middle - 1], lines[middle]
        case _:
            lines.insert(middle, lines[middle])
    path.write_bytes(b"".join(lines))
    assert main(list(asked(home, 2))) == 1
    assert not (home.parent / "2.pem").exists()
    with pytest.raises(JournalError):
        entries(home)


def test_a_certificate_with_a_serial_of_before_is_no_entry_of_a_register(home: Path) -> None:
    """Somebody who can write the file and works out the hashes anew still cannot add one serial a second time."""
    opened_home = open_home(str(home))
    authority = authority_of(opened_home, None, CODE_SIGNER, NOW)
    public = x509.load_pem_x509_csr((home.parent / "0.csr").read_bytes()).public_key()
    with opened(opened_home, authority, None) as (register, issuer):
        order = Order(CODE_SIGNER, Subject("line 0"), public, Provenance.DEVELOPMENT)  # type: ignore[arg-type]
        one = register.issue(order, issuer, NOW)
        with pytest.raises(JournalError, match="does not fit"):
            register.adopt(one.certificate, one.issuer, one.profile, NOW)
