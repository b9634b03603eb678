"""`sealwright receive` as people type it: what it writes and says, who has yet to sign, and that a refusal leaves nothing."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
from sealwright.artifact.receiving import Grade, parse_receiving
from sealwright.cli.main import main

Run = Callable[..., tuple[int, str, str]]


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
    """The home of another person, on another machine."""
    shutil.copytree(made / "other", tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpg]:
    vendor = Gpg(tmp_path_factory.mktemp("vendor") / "gnupg")
    vendor.key("ACME Release")
    vendor.key("other")
    yield vendor
    vendor.close()


def test_a_compared_file_gets_a_record_that_openssl_and_sha256sum_check(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    mail = tmp_path / "confirmation.eml"
    mail.write_text("Subject: digest of drive.bin\n")
    code, out, _ = run(*compared(file, sums(tmp_path, file), home), "--evidence", mail, "--version", "2.4")
    assert code == 0
    assert "sha256 agrees with what came by mail of ACME support" in out
    assert "The maker did not sign it" in out
    record = record_of(file)
    assert anyone_agrees(record, home / "ca.pem")
    said = parse_receiving(record.read_bytes(), record.name)
    assert (said.grade, said.source, said.persons) == (Grade.COMPARED, SOURCE, ("release-engineer",))
    assert [(one.kind, one.name) for one in said.evidence] == [
        ("digest-list", b"SHA256SUMS"),
        ("mail", b"confirmation.eml"),
    ]
    assert said.contents.claims.version == "2.4"
    assert file.read_bytes() == CONTENT
    for altered in (file, tmp_path / "in" / "drive.bin.received" / "confirmation.eml", record, Path(f"{record}.p7s")):
        kept = altered.read_bytes()
        spoil(altered)
        assert not anyone_agrees(record, home / "ca.pem"), altered
        altered.write_bytes(kept)
    assert anyone_agrees(record, home / "ca.pem")


def test_a_digest_that_was_told_by_telephone_is_enough(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    listed = sums(tmp_path, file).read_text().split()[0]
    code, _, _ = run(*compared(file, f"sha256:{listed.upper()}", home))
    assert code == 0
    assert not (tmp_path / "in" / "drive.bin.received").exists()
    assert anyone_agrees(record_of(file), home / "ca.pem")


def test_receiving_the_same_file_again_says_who_received_it_when(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    words = compared(file, sums(tmp_path, file), home)
    assert run(*words)[0] == 0
    before = everything(tmp_path / "in")
    code, _, err = run(*words)
    assert code == 1
    assert "it was received already, on 20" in err
    assert "UTC by release-engineer, as compared" in err
    file.write_bytes(b"another one")
    code, _, err = run(*compared(file, sums(tmp_path, file), home))
    assert code == 1
    assert "something else of this name was received on 20" in err
    file.write_bytes(CONTENT)
    assert everything(tmp_path / "in") == before


def test_what_cannot_be_compared_waits_for_a_second_person(run: Run, home: Path, other: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    code, out, _ = run(*uncompared(file, home))
    record = record_of(file)
    assert code == 3
    assert f"WAITS for p-4. Next, on a machine of theirs: sealwright receive --sign {record} --person p-4" in out
    assert anyone_agrees(record, home / "ca.pem")
    assert "UTC by release-engineer, as uncompared; p-4 has yet to sign" in run(*uncompared(file, home))[2]
    # everything is carried to the other person's machine
    stick = tmp_path / "stick"
    shutil.copytree(tmp_path / "in", stick)
    carried = record_of(stick / "drive.bin")
    code, out, err = run("receive", "--sign", carried, "--person", "p-4", "--home", other, "--yes")
    assert (code, err) == (0, "")
    assert "Everybody whom it names has signed." in out
    assert anyone_agrees(carried, other / "ca.pem", ".p-4.p7s")
    assert anyone_agrees(carried, home / "ca.pem")
    assert "p-4 signed it already" in run("receive", "--sign", carried, "--person", "p-4", "--home", other, "--yes")[2]


def test_the_second_person_sees_what_is_signed_and_may_say_no(
    run: Run, home: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    run(*uncompared(file, home))
    words = ["receive", "--sign", file, "--person", "p-4", "--home", other]
    before = everything(tmp_path / "in")
    for answer in ("", "\n", "n\n", "yessir\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert re.search(r"grade +uncompared\n", err)
        assert "ACME is out of business" in err
        assert "in the name of release-engineer, by CN=signing home release,OU=DEVELOPMENT ONLY, key sha256:" in err
        assert f"{hashlib.sha256(CONTENT).hexdigest()}  drive.bin" in err
        assert "not signed; nothing was written" in err
    assert everything(tmp_path / "in") == before
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run(*words)[0] == 0


@pytest.mark.parametrize(
    ("person", "whose", "alter", "words"),
    [
        ("p-4", "home", "", "signed with this very key, and two persons have two"),
        ("release-engineer", "other", "", "it does not wait for release-engineer; it waits for p-4"),
        ("p-99", "other", "", "it does not wait for p-99"),
        ("../p", "other", "", "it does not wait for ../p"),
        ("p-4", "other", "drive.bin", "and the record says"),
        ("p-4", "other", "drive.bin.received/mail.eml", "and the record says"),
        ("p-4", "other", "drive.bin.received.manifest.p7s", "its first signature does not hold"),
        ("p-4", "other", "drive.bin.received.manifest", "canonical|first signature|wanted|not"),
    ],
)
def test_a_second_person_signs_only_what_is_whole_and_waits(
    person: str, whose: str, alter: str, words: str, run: Run, home: Path, other: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    mail = tmp_path / "mail.eml"
    mail.write_text("no digest is known\n")
    run(*uncompared(file, home, "--evidence", mail))
    if alter:
        spoil(tmp_path / "in" / alter)
    before = everything(tmp_path / "in")
    signing = {"home": home, "other": other}[whose]
    code, _, err = run("receive", "--sign", record_of(file), "--person", person, "--home", signing, "--yes")
    assert code == 1
    assert re.search(words, err), err
    assert everything(tmp_path / "in") == before


def old(file: Path, signature: Path, key: Path, home: Path) -> list[str | Path]:
    return ["receive", file, "--grade", "old-signature", "--source", SOURCE, "--old-signature", signature, "--old-key", key,
            "--person", "release-engineer", "--home", home]  # fmt: skip


@pytest.mark.parametrize("program", ["gpg", "minisign", "openssl"])
def test_an_old_signature_is_recorded_with_program_and_key(
    program: str, gpg: Gpg, run: Run, home: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    if program == "gpg":
        signature, key, wrong = (
            gpg.sign(file, "ACME Release"), gpg.export("ACME Release", tmp_path / "acme.asc", "--armor"), gpg.export("other", tmp_path / "b"),
        )  # fmt: skip
        tool = "gpgv (GnuPG)"
    elif program == "minisign":
        vendor = Minisign(tmp_path, "acme")
        signature, key, wrong, tool = vendor.sign(file), vendor.public, Minisign(tmp_path, "b").public, "minisign 0."
    else:
        private, key = openssl_key(tmp_path, "acme", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        _, wrong = openssl_key(tmp_path, "b", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
        signature, tool = openssl_sign(file, private, "sha256"), "OpenSSL 3"
    signature = signature.rename(tmp_path / signature.name)
    for bad in (old(file, signature, wrong, home), old(delivered(tmp_path, b"altered"), signature, key, home)):
        code, _, err = run(*bad)
        assert code == 1, err
        assert everything(tmp_path / "in") == {"drive.bin": file.read_bytes()}
    delivered(tmp_path)
    code, out, _ = run(*old(file, signature, key, home))
    assert code == 0
    assert f"checked by {tool}" in out
    said = parse_receiving(record_of(file).read_bytes(), "record")
    assert said.old_signature is not None
    assert said.old_signature.tool.startswith(tool)
    assert {(one.kind, one.name) for one in said.evidence} == {
        ("signature", signature.name.encode()),
        ("key", key.name.encode()),
    }
    assert anyone_agrees(record_of(file), home / "ca.pem")


@pytest.mark.parametrize("program", ["gpg", "minisign", "openssl"])
def test_a_signed_list_of_digests_speaks_for_its_files(
    program: str, gpg: Gpg, run: Run, home: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    listed = sums(tmp_path, file)
    if program == "gpg":
        signature, key = gpg.sign(listed, "ACME Release"), gpg.export("ACME Release", tmp_path / "acme.asc", "--armor")
    elif program == "minisign":
        vendor = Minisign(tmp_path, "acme")
        signature, key = vendor.sign(listed), vendor.public
    else:
        private, key = openssl_key(tmp_path, "acme", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        signature = openssl_sign(listed, private, "sha256")
    words = ["receive", file, "--grade", "old-signature", "--source", SOURCE, "--compare", listed, "--channel", SOURCE,
             "--list-signature", signature, "--old-key", key, "--home", home]  # fmt: skip
    good = listed.read_bytes()
    listed.write_bytes(good + b"# altered\n")
    assert "it does not hold for this file" in run(*words)[2]
    listed.write_bytes(good)
    delivered(tmp_path, b"altered")
    assert "Do not install it" in run(*words)[2]
    assert everything(tmp_path / "in") == {"drive.bin": b"altered"}
    delivered(tmp_path)
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "over the list SHA256SUMS" in out
    said = parse_receiving(record_of(file).read_bytes(), "record")
    assert [one.kind for one in said.evidence] == [kind for _, kind in sorted(
        [("SHA256SUMS", "digest-list"), (signature.name, "signature"), (key.name, "key")])]  # fmt: skip
    assert anyone_agrees(record_of(file), home / "ca.pem")


def test_a_signed_list_of_weak_digests_gives_no_grade(gpg: Gpg, run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    listed = tmp_path / "MD5SUMS"
    listed.write_text(f"{hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()}  drive.bin\n")
    words = ["receive", file, "--source", SOURCE, "--compare", listed, "--channel", SOURCE, "--list-signature",
             gpg.sign(listed, "ACME Release"), "--old-key", gpg.export("ACME Release", tmp_path / "acme.gpg"), "--home", home]  # fmt: skip
    code, _, err = run(*words, "--grade", "old-signature")
    assert (code, "only md5 agreed" in err) == (1, True)
    code, _, err = run(*words, "--grade", "old-signature", "--old-signature", words[9])
    assert (code, "one signature is checked" in err) == (2, True)
    people = ["--person", "release-engineer", "--person", "p-4", "--reason", "the vendor has no other"]
    assert run(*words, "--grade", "uncompared", *people)[0] == 3


def test_a_weak_old_signature_gives_no_grade_but_may_be_recorded(
    gpg: Gpg, run: Run, home: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    signature = gpg.sign(file, "ACME Release", "--digest-algo", "SHA1").rename(tmp_path / "drive.asc")
    key = gpg.export("ACME Release", tmp_path / "acme.gpg")
    code, _, err = run(*old(file, signature, key, home))
    assert code == 1
    assert "it holds, but made with SHA-1" in err
    assert "receive the file as uncompared" in err
    code, out, _ = run(*uncompared(file, home, "--old-signature", signature, "--old-key", key))
    assert code == 3
    assert "it stands for little: made with SHA-1" in out
    said = parse_receiving(record_of(file).read_bytes(), "record")
    assert said.old_signature is not None
    assert said.old_signature.weaknesses == ("made with SHA-1",)
    assert "ACME Release" in said.old_signature.signer


def test_what_runs_already_is_found_in_use_and_a_whole_folder_is_listed(run: Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "hmi"
    (folder / "screens").mkdir(parents=True)
    (folder / "hmi.exe").write_bytes(b"program")
    (folder / "screens" / "one").write_bytes(b"screen")
    code, _, _ = run("receive", f"{folder}/", "--grade", "found-in-use", "--person", "release-engineer", "--home", home)
    assert code == 0
    assert anyone_agrees(record_of(folder), home / "ca.pem")
    said = parse_receiving(record_of(folder).read_bytes(), "record")
    assert said.source == "unknown"
    assert [entry.name for entry in said.files] == [b"hmi/hmi.exe", b"hmi/screens/one"]


@pytest.mark.parametrize("shape", ["{name}", "./{name}", "hmi/{name}", "C:\\Users\\ot\\hmi\\{windows}"])
def test_every_file_of_a_folder_is_compared(shape: str, run: Run, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "hmi"
    (folder / "screens").mkdir(parents=True)
    listed = tmp_path / "LIST"
    lines = []
    for name in ("hmi.exe", "screens/one"):
        (folder / name).write_bytes(name.encode())
        said = shape.format(name=name, windows=name.replace("/", "\\"))
        lines.append(f"SHA512 ({said}) = {hashlib.sha512(name.encode()).hexdigest()}\n")
    listed.write_text("".join(lines))
    assert run(*compared(folder, listed, home))[0] == 0
    assert anyone_agrees(record_of(folder), home / "ca.pem")
    shutil.rmtree(tmp_path / "in" / "hmi.received")
    for path in (tmp_path / "in").glob("hmi.received*"):
        path.unlink()
    before = everything(tmp_path / "in")
    listed.write_text(lines[0])
    assert "none of them for screens/one" in run(*compared(folder, listed, home))[2]
    listed.write_text("".join([*lines, f"SHA512 (hmi/third) = {'0' * 128}\n"]))
    assert "1 files that" in run(*compared(folder, listed, home))[2]
    listed.write_text("".join([lines[0], lines[1][:-10] + "0" * 9 + "\n"]))
    assert "Do not install it" in run(*compared(folder, listed, home))[2]
    inside = shutil.copy(listed, folder / "LIST")
    assert "it came inside what it is about" in run(*compared(folder, inside, home))[2]
    (folder / "LIST").unlink()
    assert everything(tmp_path / "in") == before


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--grade", "compared"], 1, "nothing is given to compare with"),
        (["--grade", "old-signature"], 1, "no signature is given"),
        (["--grade", "uncompared"], 1, "it wants two persons and a reason"),
        (["--grade", "uncompared", "--person", "p-4"], 1, "it wants two persons and a reason"),
        (["--grade", "uncompared", "--person", "release-engineer", "--reason", "x"], 2, "somebody twice"),
        (["--grade", "found-in-use", "--person", "../../x"], 2, "is no id"),
        (["--grade", "compared", "--compare", "sha256:00", "--channel", CHANNEL], 2, "64 digits"),
        (["--grade", "compared", "--compare", "SUMS"], 2, "by which way it came is not said"),
        (["--grade", "compared", "--channel", CHANNEL], 2, "there is nothing that came by it"),
        (["--grade", "compared", "--compare", "SUMS", "--channel", "HTTPS://acme.example:443/sums"], 1, "where the file came from"),
        (["--grade", "compared", "--compare", "SUMS", "--channel", SOURCE], 1, "where the file came from"),
        (["--grade", "old-signature", "--old-signature", "x"], 2, "Give --old-key as well"),
        (["--grade", "found-in-use", "--reason", "a\nb"], 2, "is not readable"),
        (["--grade", "found-in-use", "--evidence", "nowhere"], 1, "there is no such file"),
        (["--grade", "found-in-use", "--evidence", "EMPTY"], 1, "it is empty, and proves nothing"),
        (["--grade", "found-in-use", "--evidence", "A/x", "--evidence", "B/x"], 1, "two different files of evidence"),
        (["--grade", "found-in-use", "--evidence", "A/x", "--evidence", "B/X"], 1, "are one name on some systems"),
        (["--grade", "found-in-use", "--evidence", "CON.txt"], 1, "is a device on Windows"),
        (["--grade", "found-in-use", "--evidence", "/dev/zero"], 1, "not a regular file"),
        ([], 2, "--grade"),
    ],
)  # fmt: skip
def test_whatever_is_refused_leaves_nothing_behind(
    change: list[str], code: int, words: str, run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    monkeypatch.chdir(tmp_path)
    sums(tmp_path, file).rename(tmp_path / "SUMS")
    (tmp_path / "EMPTY").touch()
    (tmp_path / "CON.txt").write_text("x")
    for name in ("A/x", "B/x", "B/X"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    before = everything(tmp_path)
    ended, _, err = run("receive", file, "--source", SOURCE, "--person", "release-engineer", "--home", home, *change)
    assert (ended, words in err) == (code, True), err
    assert everything(tmp_path) == before


def test_programs_read_the_answer_as_one_object(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    code, out, _ = run(*uncompared(file, home), "--compare", "md5:" + "0" * 32, "--channel", CHANNEL, "--json")
    assert code == 1
    (line,) = out.splitlines()
    assert json.loads(line)["error"]["code"] == "SW-RECEIVING-DIFFERS"
    code, out, _ = run(*uncompared(file, home), "--json")
    (line,) = out.splitlines()
    said = json.loads(line)
    assert code == 3
    assert (said["outcome"], said["missing"], said["persons"]) == ("waiting", ["p-4"], ["release-engineer", "p-4"])
    assert said["outputs"][-1].endswith("drive.bin.received.manifest.p7s")


def test_timestamps_may_come_later(run: Run, home: Path, other: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    words = [*compared(file, sums(tmp_path, file), home), "--timestamp", "http://127.0.0.1:9/"]
    code, _, err = run(*words)
    assert (code, "no timestamp came" in err) == (1, True), err
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}
    assert not list((home / "pending").glob("*.json"))
    code, out, _ = run(*words, "--timestamp-later")
    assert (code, "PENDING: 1 timestamp(s) still to come" in out) == (3, True)
    assert anyone_agrees(record_of(file), home / "ca.pem")
    assert len(list((home / "pending").glob("*.json"))) == 1
    code, out, err = run("stamp", "--home", home, "--all", "--timestamp", "local")
    assert code == 0, (out, err)
    assert Path(f"{record_of(file)}.tsr").exists()
    assert not list((home / "pending").glob("*.json"))


def test_a_name_too_long_for_its_record_is_told_before_a_key_is_used(run: Run, home: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    long = tmp_path / "in" / ("x" * 200)
    long.write_bytes(CONTENT)
    before = everything(home)
    code, _, err = run("receive", long, "--grade", "found-in-use", "--person", "p-17", "--home", home)
    assert (code, "too long for that of its record" in err) == (2, True)
    assert everything(home) == before
    fits = long.rename(tmp_path / "in" / ("x" * 160))
    assert run("receive", fits, "--grade", "found-in-use", "--person", "p" * 64, "--home", home)[0] == 0


CRASH = """
import os, sys
from sealwright.plant import receiving
kept = receiving.write_batch
def crash(outputs, **how):
    if sys.argv[1] == "before": os._exit(9)
    kept(outputs[:1], **how)
    os._exit(9)
receiving.write_batch = crash
from sealwright.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("when", ["before", "between"])
def test_a_crash_leaves_nothing_signed_and_the_same_command_goes_on(
    when: str, run: Run, home: Path, tmp_path: Path
) -> None:
    file = delivered(tmp_path)
    words = [str(one) for one in compared(file, sums(tmp_path, file), home)]
    died = subprocess.run([sys.executable, "-c", CRASH, when, *words], timeout=120, check=False, capture_output=True)
    assert died.returncode == 9, died.stderr
    assert not Path(f"{record_of(file)}.p7s").exists()
    assert (tmp_path / "in" / "drive.bin.received" / "SHA256SUMS").exists()
    # with other evidence it is told; with the same it goes on
    mail = tmp_path / "mail.eml"
    mail.write_text("x")
    code, _, err = run(*words, "--evidence", mail)
    assert code == 1
    assert "it is already there, and is not this evidence" in err
    assert run(*words)[0] == 0
    assert anyone_agrees(record_of(file), home / "ca.pem")


@pytest.mark.parametrize(
    "name", ["drive.bin.received.manifest", "drive.bin.received.manifest.p7s", "drive.bin.received"]
)
def test_nothing_that_is_there_is_written_over(name: str, run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    (tmp_path / "in" / name).write_text("somebody's own")
    before = everything(tmp_path / "in")
    code, _, err = run(*compared(file, sums(tmp_path, file), home))
    assert code == 1, err
    assert everything(tmp_path / "in") == before


def test_a_folder_that_is_there_is_no_evidence_of_a_record_without_any(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    (tmp_path / "in" / "drive.bin.received").mkdir()
    words = compared(file, f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", home)
    assert run(*words)[0] == 1
    (tmp_path / "in" / "drive.bin.received").rmdir()
    assert run(*words)[0] == 0


def test_a_link_in_the_place_of_an_output_is_not_followed(run: Run, home: Path, tmp_path: Path) -> None:
    file = delivered(tmp_path)
    target = tmp_path / "target"
    for name in ("drive.bin.received.manifest", "drive.bin.received.manifest.p7s", "drive.bin.received"):
        (tmp_path / "in" / name).symlink_to(target)
        code, _, _ = run(*compared(file, sums(tmp_path, file), home))
        assert code == 1
        assert not target.exists()
        (tmp_path / "in" / name).unlink()
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}


def test_a_missing_program_is_named_with_its_package(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = delivered(tmp_path)
    vendor = Minisign(tmp_path, "acme")
    signature = vendor.sign(file).rename(tmp_path / "drive.minisig")
    monkeypatch.setattr("sealwright.plant.tools.PLACES", str(tmp_path))
    code, _, err = run(*old(file, signature, vendor.public, home))
    assert code == 1
    assert "apt-get install minisign" in err
    assert everything(tmp_path / "in") == {"drive.bin": CONTENT}
