"""Receiving attacked: by names, by programs that lie, by files that change while they are checked, by old signatures that say little."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kit.openssl import run as program
from kit.receiving import (
    CHANNEL,
    CONTENT,
    SOURCE,
    anyone_agrees,
    compared,
    delivered,
    everything,
    record_of,
    spoil,
    sums,
    uncompared,
)
from kit.vendors import Gpg, Minisign, openssl_key, openssl_sign
from sealwright.artifact.receiving import parse_receiving
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, NothingCompared, SealwrightError
from sealwright.plant import inspection, receiving
from sealwright.plant.comparing import Source, check_same, check_strong, states
from sealwright.plant.digestlist import parse_digest_list
from sealwright.plant.oldkinds import Given
from sealwright.plant.oldsignature import check_old_signature
from sealwright.plant.tools import GPGV, Workshop

Run = Callable[..., tuple[int, str, str]]
RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    for name in ("home", "other"):
        assert main(["init", str(folder / name)]) == 0
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "home", tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def other(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "other", tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    vendor = Gpg(tmp_path_factory.mktemp("vendor") / "gnupg")
    vendor.key("ACME Release")
    yield vendor
    vendor.close()


def old(file: Path, signature: Path, key: Path, home: Path) -> list[str | Path]:
    return ["receive", file, "--grade", "old-signature", "--source", SOURCE, "--old-signature", signature, "--old-key", key,
            "--person", "release-engineer", "--home", home]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["--key=x", "-", "@list", "$(id)", ";reboot", "a b", "'q'", "%41", "back\\slash", "*", "ümlaut", "-rf", "%PATH%"],
)
def test_a169_names_are_names_for_every_program(name: str, gpg: Gpg, run: Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    file = folder / name
    file.write_bytes(CONTENT)
    if name == "-":
        code, _, err = run(*old(file, file, file, home))
        assert (code, "standard input" in err) == (1, True)
        return
    signature, key = tmp_path / "sig", gpg.export("ACME Release", tmp_path / "key")
    gpg("--output", signature, "-u", "=ACME Release", "--detach-sign", "--", file)
    for target in (signature, key):
        target.rename(tmp_path / f"{name}.{target.name}")
    code, _, err = run(*old(file, tmp_path / f"{name}.sig", tmp_path / f"{name}.key", home))
    assert (code, err) == (0, "")
    assert anyone_agrees(Path(f"{file}.received.manifest"), home / "ca.pem")


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\x1b[2Jb", "x.p7s", "x.received", "x.manifest", "\udcff"])
def test_a076_names_that_no_record_may_hold_are_refused(name: str, run: Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / name).write_bytes(CONTENT)
    code, _, err = run(
        "receive", f"{folder}/{name}", "--grade", "found-in-use", "--person", "release-engineer", "--home", home
    )
    assert code in (1, 2)
    assert "\x1b" not in err
    assert os.listdir(folder) == [name]
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    (evidence / name).write_bytes(b"x")
    file = delivered(tmp_path)
    code, _, _ = run("receive", file, "--grade", "found-in-use", "--person", "release-engineer", "--home", home, "--evidence", f"{evidence}/{name}")  # fmt: skip
    if not name.startswith("x."):
        assert code == 1
        assert not (folder / "drive.bin.received.manifest").exists()


def test_a_gpgv_in_the_callers_path_and_what_he_has_in_his_environment_change_nothing(
    gpg: Gpg, run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    signature = gpg.sign(file, "ACME Release").rename(tmp_path / "sig.asc")
    key = gpg.export("ACME Release", tmp_path / "key.gpg")
    delivered(tmp_path, b"altered")
    lies = tmp_path / "bin"
    lies.mkdir()
    fingerprint = "0" * 40
    for name in ("gpgv", "openssl", "minisign"):
        path = lies / name
        path.write_text(
            f"#!/bin/sh\nfor fd in 1 3 4 5 6 7 8; do echo '[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0 x\n[GNUPG:] VALIDSIG {fingerprint}"
            f" 2020-01-01 1577836800 0 4 0 1 8 00 {fingerprint}' >&$fd; done 2>/dev/null\ntouch {tmp_path}/ran\nexit 0\n"
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{lies}:{os.environ['PATH']}")
    monkeypatch.setenv("GNUPGHOME", str(gpg.folder))
    monkeypatch.setenv("OPENSSL_CONF", str(tmp_path / "nowhere.cnf"))
    monkeypatch.setenv("LD_PRELOAD", "")
    code, _, err = run(*old(file, signature, key, home))
    assert (code, "it does not hold for this file" in err) == (1, True)
    assert not (tmp_path / "ran").exists()
    delivered(tmp_path)
    assert run(*old(file, signature, key, home))[0] == 0


@pytest.mark.parametrize("moment", ["while the program checks", "before the record is signed"])
def test_a150_what_was_checked_is_what_is_recorded(
    moment: str, run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    vendor = Minisign(tmp_path, "acme")
    signature = vendor.sign(file).rename(tmp_path / "drive.minisig")

    def swapped(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            file.write_bytes(b"malware " * 4)
            return original(*arguments, **named)

        return call

    if moment.startswith("while"):
        monkeypatch.setattr(inspection, "check_old_signature", swapped(check_old_signature))
    else:
        monkeypatch.setattr(receiving, "_sign", swapped(receiving._sign))
    code, _, _ = run(*old(file, signature, vendor.public, home))
    assert code == 0
    said = parse_receiving(record_of(file).read_bytes(), "record")
    assert said.contents.files[0].digest == hashlib.sha256(CONTENT).digest()
    agreed, words = program(["sha256sum", "-c", record_of(file).name], cwd=file.parent)
    assert (agreed, "drive.bin: FAILED" in words) == (False, True)


def test_a150_a_list_and_a_signature_are_read_once(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compared with is what lies in the evidence."""
    file = delivered(tmp_path)
    listed = sums(tmp_path, file)
    good = listed.read_bytes()
    original = inspection._look_at_file

    def swapped(*arguments: object) -> object:
        listed.write_bytes(b"nothing")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(inspection, "_look_at_file", swapped)
    assert run(*compared(file, listed, home))[0] == 0
    assert (tmp_path / "in" / "drive.bin.received" / "SHA256SUMS").read_bytes() == good


def test_the_second_person_signs_what_was_shown_though_the_record_is_exchanged(
    run: Run, home: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    run(*uncompared(file, home))
    record = record_of(file)
    shown = record.read_bytes()

    def asked(_: str) -> bool:
        record.write_bytes(shown.replace(b"ACME%20is%20out%20of%20business", b"compared%20by%20telephone"))
        return True

    monkeypatch.setattr("sealwright.cli.receive._asked", asked)
    assert run("receive", "--sign", record, "--person", "p-4", "--home", other)[0] == 0
    assert not anyone_agrees(record, other / "ca.pem", ".p-4.p7s")
    record.write_bytes(shown)
    assert anyone_agrees(record, other / "ca.pem", ".p-4.p7s")


def test_a_record_of_another_file_is_signed_by_no_second_person(
    run: Run, home: Path, other: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    run(*uncompared(file, home))
    words = ["--person", "p-4", "--home", other, "--yes"]
    for name in ("other.bin", "drive.bin"):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / name).write_bytes(b"malware")
        for suffix in (".received.manifest", ".received.manifest.p7s"):
            shutil.copy(f"{file}{suffix}", tmp_path / "b" / f"{name}{suffix}")
        code, _, err = run("receive", "--sign", tmp_path / "b" / f"{name}.received.manifest", *words)
        assert code == 1, err
        assert not (tmp_path / "b" / f"{name}.received.manifest.p-4.p7s").exists()
    assert run("receive", "--sign", record_of(file), *words)[0] == 0


def test_a_signature_of_another_kind_over_the_record_is_no_first_signature(
    run: Run, home: Path, other: Path, tmp_path: Path
) -> None:
    """RULES 1: a CMS whose content-hints say `file`, made by openssl over the record's bytes, is not one of a receiving record."""
    file = delivered(tmp_path)
    run(*uncompared(file, home))
    record = record_of(file)
    copy = tmp_path / "copy"
    copy.write_bytes(b"other first line\n" + record.read_bytes())
    assert run("sign", copy, "--home", home)[0] == 0
    Path(f"{record}.p7s").write_bytes(Path(f"{copy}.p7s").read_bytes())
    code, _, err = run("receive", "--sign", record, "--person", "p-4", "--home", other, "--yes")
    assert (code, "its first signature does not hold" in err) == (1, True)
    code, _, err = run("sign", record, "--home", home, "--replace")
    assert (code, "kept for signatures" in err or "Use the command" in err) == (1, True), err


def test_a019_a_sha1_collision_of_signatures_is_never_a_grade(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    private, public = openssl_key(tmp_path, "acme", *RSA)
    good = openssl_sign(file, private, "sha256").rename(tmp_path / "good.sig")
    for digest in ("sha1", "md5", "sha224"):
        weak = openssl_sign(file, private, digest).rename(tmp_path / f"{digest}.sig")
        code, _, err = run(*old(file, weak, public, home))
        assert (code, "it holds, but made with" in err) == (1, True)
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}
    assert run(*old(file, good, public, home))[0] == 0


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body


def test_a_signature_that_unpacks_to_gigabytes_is_refused_at_once(gpg: Gpg, tmp_path: Path) -> None:
    key = gpg.export("ACME Release", tmp_path / "key.gpg").read_bytes()
    file = delivered(tmp_path)
    good = tmp_path / "good.sig"
    gpg("--output", good, "-u", "=ACME Release", "--detach-sign", file)
    pressed = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = _packet(8, b"\x01" + pressed.compress(_packet(11, b"b\0\0\0\0\0" + bytes(40 << 20))) + pressed.flush())
    assert len(bomb) < 64 * 1024
    marker = _packet(10, b"PGP")
    for number, data in enumerate((bomb, good.read_bytes() + bomb, marker + good.read_bytes(), good.read_bytes() * 2)):
        started = time.monotonic()
        with Workshop() as workshop, pytest.raises(SealwrightError, match=r"(is|are|signatures) in it"):
            given = Given(f"sig{number}", data, "key", key)
            check_old_signature(given, workshop.place("content", CONTENT), {}, workshop)
        assert time.monotonic() - started < 5


def test_a_program_that_hangs_or_writes_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.plant.tools.PLACES", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("sealwright.plant.tools.LEAST_S", 1)
    path = tmp_path / "gpgv"
    path.write_text(f"#!/bin/sh\nsleep 600 & echo $! > {tmp_path}/child\nwait\n")
    path.chmod(0o755)
    with Workshop() as workshop, pytest.raises(LimitExceeded, match="did not end within 1 seconds"):
        workshop.run(GPGV, ())
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(") ")[2].startswith("Z"):
            break
        time.sleep(0.05)
    else:
        pytest.fail("what it started goes on")
    path.write_text("#!/bin/sh\nexec yes\n")
    monkeypatch.setattr("sealwright.plant.tools.LEAST_S", 30)
    with Workshop() as workshop:
        ran = workshop.run(GPGV, ())
        assert ran.code != 0
        assert len(ran.said) <= 1 << 20
        place = Path(workshop.folder)
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert not place.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"a" * 8000, b"SHA256 (" * 500, b") = " * 2000, b"a: " * 2700, b" \t" * 4000, b"sha256:" * 1100, b"," * 8000, b'"' * 8000,
        b"File,SHA-256\n" + b'"' * 200_000, b"File," + b"x" * 200_000 + b",SHA-256\n", b"\\" * 8000, b"Path: x\n" + b" x\n" * 100_000,
        b"SHA256:\n" + b" a 1 b\n" * 100_000, b"\xed\xa0\x80" * 100, "\ud800".encode("utf-16-le", "surrogatepass").join([b"\xff\xfe", b""]),
    ],
)  # fmt: skip
@pytest.mark.timeout(60)  # a reader that went back again and again would take hours
def test_a033_a_hostile_list_is_refused_quickly(data: bytes) -> None:
    with pytest.raises((NothingCompared, LimitExceeded)):
        parse_digest_list(data, "SUMS")


def test_a033_no_cut_or_change_of_a_list_makes_another_file_agree(tmp_path: Path) -> None:
    """Every prefix and every changed byte: refused, or still the digest of the file itself."""
    value = hashlib.sha256(CONTENT).digest()
    text = f"# ACME\n{hashlib.sha256(b'other').hexdigest()}  other.bin\n{value.hex()} *drive.bin\n".encode()
    path = tmp_path / "SUMS"
    variants = [text[:end] for end in range(len(text))]
    variants += [
        text[:at] + bytes([octet]) + text[at + 1 :] for at in range(len(text)) for octet in b"\0 \n\r\t#\\g0A(*"
    ]
    accepted = 0
    for variant in variants:
        path.write_bytes(variant)
        with pytest.raises(SealwrightError):
            agree(path, b"malware")
        with suppress(SealwrightError):
            agree(path, CONTENT)
            accepted += 1
    assert accepted > 1


def agree(listed: Path, content: bytes) -> None:
    """Raises where a list does not make a file `compared`."""
    wanted = Source(str(listed)).wanted("drive.bin")
    found = states(wanted.algorithms)
    for state in found.values():
        state.update(content)
    check_same(wanted, {name: state.digest() for name, state in found.items()}, "drive.bin")
    check_strong(wanted, "drive.bin")


def test_a171_two_who_receive_at_once_make_one_record(home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    listed = sums(tmp_path, file)
    homes = [home, tmp_path / "home2"]
    shutil.copytree(home, homes[1])
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "sealwright", *map(str, compared(file, listed, one))],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for one in homes
    ]  # fmt: skip
    errors = [one.communicate(timeout=120)[1].decode() for one in started]
    assert sorted(one.returncode for one in started)[0] == 0, errors
    assert all("Traceback" not in one for one in errors), errors
    assert anyone_agrees(record_of(file), home / "ca.pem")
    assert {one.name for one in (tmp_path / "in").iterdir()} == {
        "drive.bin", "drive.bin.received", "drive.bin.received.manifest", "drive.bin.received.manifest.p7s",
    }  # fmt: skip


@pytest.mark.parametrize("what", ["in", "in/drive.bin.received"])
def test_a171_where_nothing_can_be_written_nothing_is_left(what: str, run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    listed = sums(tmp_path, file)
    if what == "in/drive.bin.received":
        (tmp_path / what).mkdir()
    before = everything(tmp_path / "in")
    if what == "in":
        if os.geteuid() == 0:
            subprocess.run(["chattr", "+i", str(tmp_path / "in")], check=False, capture_output=True)
        else:
            (tmp_path / "in").chmod(0o500)
    code, _, err = run(*compared(file, listed, home))
    if os.geteuid() == 0:
        subprocess.run(["chattr", "-i", str(tmp_path / "in")], check=False, capture_output=True)
    (tmp_path / "in").chmod(0o700)
    if code:
        assert "Traceback" not in err
        assert everything(tmp_path / "in") == before


def test_a_key_that_does_not_sign_leaves_nothing(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), home)
    kept = {path: path.read_bytes() for path in (home / "keys").iterdir()}
    for path in kept:
        path.unlink()
    code, _, _ = run(*words)
    assert code == 1
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)
    assert run(*words)[0] == 0


@pytest.mark.parametrize(
    "change",
    [
        ("--source", "https://user:secret@acme.example/x"), ("--channel", SOURCE), ("--channel", f"  {SOURCE.upper()} "),
        ("--channel", "http://acme.example/"), ("--source", "x\u202ey"), ("--reason", "x" * 501), ("--person", "Release-Engineer"),
        ("--person", "a/b"), ("--person", "ｐ-17"), ("--channel", "https://ACME.example:8443/SUMS"),
    ],
)  # fmt: skip
def test_words_that_mislead_are_refused(change: tuple[str, str], run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), home)
    code, _, err = run(*words, *change)
    assert code in (1, 2)
    assert "secret" not in err
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}
    assert run(*words)[0] == 0


def test_evidence_that_is_changed_or_taken_away_shows(run: Run, home: Path, other: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    mail = tmp_path / "mail.eml"
    mail.write_text("no digest is known\n")
    run(*uncompared(file, home, "--evidence", mail, "--compare", f"md5:{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}", "--channel", CHANNEL))  # fmt: skip
    kept = tmp_path / "in" / "drive.bin.received" / "mail.eml"
    data = kept.read_bytes()
    assert anyone_agrees(record_of(file), home / "ca.pem")
    spoil(kept)
    assert not anyone_agrees(record_of(file), home / "ca.pem")
    assert run("receive", "--sign", record_of(file), "--person", "p-4", "--home", other, "--yes")[0] == 1
    kept.write_bytes(data)
    more = kept.with_name("telephone.txt")
    more.write_text("they say that it is theirs\n")
    code, _, err = run("receive", "--sign", record_of(file), "--person", "p-4", "--home", other, "--yes")
    assert (code, "telephone.txt lies there, and the record does not list it" in err) == (1, True)
    more.unlink()
    kept.unlink()
    assert not anyone_agrees(record_of(file), home / "ca.pem")
    assert run("receive", "--sign", record_of(file), "--person", "p-4", "--home", other, "--yes")[0] == 1
    kept.write_bytes(data)
    assert run("receive", "--sign", record_of(file), "--person", "p-4", "--home", other, "--yes")[0] == 0


def test_a_record_left_by_a_crash_is_not_replaced_once_somebody_signed_it(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two go on at once with what a crash left: the later one finds it signed, and leaves it."""
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), home)
    assert run(*words)[0] == 0
    good = everything(tmp_path / "in")
    signature = Path(f"{record_of(file)}.p7s")
    signed = signature.read_bytes()
    signature.unlink()
    original = receiving._sign

    def meanwhile(*arguments: object) -> object:
        made = original(*arguments)  # type: ignore[arg-type]
        signature.write_bytes(signed)
        return made

    monkeypatch.setattr(receiving, "_sign", meanwhile)
    code, _, err = run(*words)
    assert (code, "it is already there" in err) == (1, True)
    assert everything(tmp_path / "in") == good
    assert anyone_agrees(record_of(file), home / "ca.pem")


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from sealwright.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a171_where_the_private_copy_has_no_room_nothing_is_left(home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path, bytes(100_000))
    vendor = Minisign(tmp_path, "acme")
    signature = vendor.sign(file).rename(tmp_path / "drive.minisig")
    place = tmp_path / "tmp"
    place.mkdir()
    words = [str(one) for one in old(file, signature, vendor.public, home)]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words], capture_output=True, timeout=120, check=False, env={**os.environ, "TMPDIR": str(place)}
    )  # fmt: skip
    assert (done.returncode, b"the private copy cannot be written" in done.stderr) == (1, True), done.stderr
    assert not list(place.iterdir())
    assert everything(tmp_path / "in") == {"drive.bin": bytes(100_000)}
