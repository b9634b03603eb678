"""Secure Boot variables: lists and updates as efitools write them, and everything that firmware could read differently."""

from __future__ import annotations

import json
import shutil
import struct
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.mutate import flips, truncations
from kit.openssl import run
from kit.ovmf import HELLO
from sealwright.cli.main import main
from sealwright.envelope.bare import content_info
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError
from sealwright.formats.efi_variable import (
    SHA256,
    X509,
    X509_SHA256,
    Entry,
    certificate_entry,
    lists_of,
    read_lists,
    read_update,
    signed_for,
    to_be_signed,
)
from sealwright.trust.certificate import tbs_digest

OWNER = uuid.UUID("11111111-2222-3333-4444-555555555555")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("boot") / "home"
    assert main(["init", str(home), "--algorithm", "rsa3072"]) == 0
    for name in ("pk", "kek"):
        assert main(["key", "enrol", "uefi-variable", "--home", str(home), "--name", name]) == 0
    return home


def listed(home: Path, folder: Path, *what: str) -> Path:
    path = folder / "x.esl"
    words = ["secure-boot", "list", *what, "--owner", str(OWNER), "--out", str(path), "--replace"]
    assert main(words) == 0
    return path


def update(home: Path, folder: Path, variable: str = "db", *options: str, key: str = "kek") -> Path:
    lists = listed(home, folder, "--certificate", str(home / "certificates" / "release.pem"))
    path = folder / "x.auth"
    words = ["secure-boot", "sign", str(lists), "--variable", variable, "--home", str(home), "--key", key]
    assert main([*words, "--out", str(path), "--replace", "--time", "2026-01-01T00:00:00Z", *options]) == 0
    return path


def test_a_list_is_byte_for_byte_that_of_efitools(home: Path, tmp_path: Path) -> None:
    certificate = home / "certificates" / "pk.pem"
    lone = tmp_path / "lone.pem"
    lone.write_text(certificate.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n")
    made, words = run(["cert-to-efi-sig-list", "-g", str(OWNER), lone, tmp_path / "theirs.esl"])
    assert made, words
    assert (
        listed(home, tmp_path, "--certificate", str(certificate)).read_bytes() == (tmp_path / "theirs.esl").read_bytes()
    )
    made, words = run(["cert-to-efi-hash-list", "-g", str(OWNER), "-s", "256", lone, tmp_path / "digest.esl"])
    assert made, words
    digest = listed(home, tmp_path, "--certificate-digest", str(certificate)).read_bytes()
    assert digest == (tmp_path / "digest.esl").read_bytes()
    made, words = run(["hash-to-efi-sig-list", HELLO, tmp_path / "hash.esl"])
    assert made, words
    (theirs,) = read_lists((tmp_path / "hash.esl").read_bytes(), "hash.esl")
    (ours,) = read_lists(listed(home, tmp_path, "--hash", str(HELLO)).read_bytes(), "x.esl")
    assert (ours.type, ours.data) == (theirs.type, theirs.data) == (SHA256, theirs.data)


@pytest.mark.parametrize("options", [[], ["-a"]], ids=["replaces", "appends"])
@pytest.mark.parametrize("variable", ["PK", "KEK", "db", "dbx"])
def test_what_is_signed_is_byte_for_byte_that_of_efitools(
    home: Path, tmp_path: Path, variable: str, options: list[str]
) -> None:
    lists = listed(home, tmp_path, "--certificate", str(home / "certificates" / "release.pem"))
    made, words = run(
        ["sign-efi-sig-list", *options, "-t", "2026-01-01 00:00:00", "-o", variable, lists, tmp_path / "tosign"]
    )
    assert made, words
    ours = to_be_signed(variable, lists.read_bytes(), WHEN, append=bool(options))
    assert (tmp_path / "tosign").read_bytes() == ours


def test_openssl_agrees_on_the_signature(home: Path, tmp_path: Path) -> None:
    path = update(home, tmp_path)
    found = read_update(path.read_bytes(), "x.auth")
    signed = to_be_signed("db", found.data, found.time, append=False)
    wrapped, kek = tmp_path / "wrapped.p7", home / "certificates" / "kek.pem"
    wrapped.write_bytes(content_info(found.signature))
    for content, good in ((signed, True), (signed[:-1] + b"\0", False)):
        (tmp_path / "content").write_bytes(content)
        accepted, words = run(
            ["openssl", "cms", "-verify", "-inform", "DER", "-in", wrapped, "-content", tmp_path / "content", "-binary",
             "-CAfile", kek, "-partial_chain", "-purpose", "any", "-no_check_time", "-out", "/dev/null"]
        )  # fmt: skip
        assert accepted is good, words


def test_an_update_holds_for_its_variable_alone(home: Path, tmp_path: Path) -> None:
    for variable, options in (("db", ()), ("db", ("--append",)), ("dbx", ("--append",)), ("KEK", ())):
        path = update(home, tmp_path, variable, *options)
        held, _ = signed_for(read_update(path.read_bytes(), "x.auth"), "x.auth")
        assert held == (variable, bool(options))


def test_no_changed_byte_holds(home: Path, tmp_path: Path) -> None:
    data = update(home, tmp_path).read_bytes()

    def held(data: bytes) -> object:
        try:
            return signed_for(read_update(data, "x.auth"), "x.auth")[0]
        except SealwrightError:
            return None

    assert held(data) == ("db", False)
    certificate = range(data.index(b"\xa0\x82", 40), len(data))
    for at, bad in flips(data, step=5):
        # a changed certificate that still has this key still verifies: who it is, the firmware asks its own lists
        assert held(bad) is None or at in certificate, at
    for bad in truncations(data, step=11):
        assert held(bad) is None


def lists() -> bytes:
    return lists_of([Entry(SHA256, OWNER, bytes(32)), Entry(SHA256, OWNER, bytes([1]) * 32)])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d[:27], "cut off"),
        (lambda d: d[:-1], "a list of 124 bytes"),
        (lambda d: d[:16] + struct.pack("<I", 0xFFFF_FFFF) + d[20:], "a list of 4294967295"),
        (lambda d: d[:16] + struct.pack("<I", 28) + d[20:], "a list of 28 bytes"),
        (lambda d: d[:20] + struct.pack("<I", 4) + d[24:], "a header of 4"),
        (lambda d: d[:24] + struct.pack("<I", 16) + d[28:], "entries of 16"),
        (lambda d: d[:24] + struct.pack("<I", 96) + d[28:], "digest of 80 bytes"),
        (lambda d: X509.bytes_le + d[16:], "no certificate in DER"),
        (lambda d: X509_SHA256.bytes_le + d[16:], "digest of 32 bytes"),
        (lambda d: d + b"\0", "cut off"),
        (lambda d: b"", "no entry"),
    ],
)
def test_lists_that_firmware_could_read_differently_are_refused(change: Callable[[bytes], bytes], why: str) -> None:
    assert len(read_lists(lists(), "x.esl")) == 2
    with pytest.raises(MalformedArtifact, match=why):
        read_lists(change(lists()), "x.esl")
    with pytest.raises(LimitExceeded):
        read_lists(bytes(2 << 20), "x.esl")
    with pytest.raises(MalformedArtifact, match="no certificate in PEM or DER"):
        certificate_entry(b"hello", OWNER, "x")


def test_what_a_list_refuses_is_shown(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = home / "certificates" / "release.pem"
    digest = tbs_digest(x509.load_pem_x509_certificate(certificate.read_bytes()))
    path = listed(home, tmp_path, "--certificate-digest", str(certificate), "--certificate", str(certificate))
    capsys.readouterr()
    assert main(["secure-boot", "show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["certificate"] for entry in shown] == [str(digest)] * 2
    data = bytearray(listed(home, tmp_path, "--certificate-digest", str(certificate)).read_bytes())
    data[-16:-12] = struct.pack("<HBB", 2026, 11, 24)
    path.write_bytes(bytes(data))
    assert main(["secure-boot", "show", str(path)]) == 0
    assert f"whatever the certificate {digest} signed, from 2026-11-24" in capsys.readouterr().out


@pytest.mark.parametrize("at", [7, 8, 12, 14, 15, 2, 3])
def test_a_time_that_firmware_refuses_is_refused(home: Path, tmp_path: Path, at: int) -> None:
    data = bytearray(update(home, tmp_path).read_bytes())
    assert read_update(bytes(data), "x.auth").time == WHEN
    data[at] = 99
    with pytest.raises(MalformedArtifact, match="its time"):
        read_update(bytes(data), "x.auth")


def test_what_no_firmware_takes_or_no_plant_should_is_not_signed(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release, kek = (str(home / "certificates" / f"{name}.pem") for name in ("release", "kek"))

    def refused(variable: str, lists: Path, *options: str) -> str:
        capsys.readouterr()
        words = ["secure-boot", "sign", str(lists), "--variable", variable, "--home", str(home), "--key", "pk"]
        assert main([*words, "--out", str(tmp_path / "no.auth"), *options]) in (1, 2)
        assert not (tmp_path / "no.auth").exists()
        return capsys.readouterr().err

    one = Path(shutil.copy(listed(home, tmp_path, "--certificate", release), tmp_path / "one.esl"))
    two = Path(
        shutil.copy(listed(home, tmp_path, "--certificate", release, "--certificate", kek), tmp_path / "two.esl")
    )
    hashes = Path(shutil.copy(listed(home, tmp_path, "--hash", "ab" * 32), tmp_path / "hashes.esl"))
    assert main(["secure-boot", "sign", str(one), "--variable", "PK", "--home", str(home), "--key", "pk", "--out",
                 str(tmp_path / "pk.auth")]) == 0  # fmt: skip
    assert "exactly one certificate" in refused("PK", two)
    assert "exactly one certificate" in refused("PK", one, "--append")
    assert "certificates alone" in refused("KEK", hashes)
    digests = Path(shutil.copy(listed(home, tmp_path, "--certificate-digest", release), tmp_path / "digests.esl"))
    assert "can only be refused" in refused("db", digests)
    assert "enrolled for cms-attributes" in refused("db", one, "--key", "release")
    made, words = run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp_path / "k", "-out", tmp_path / "test.pem",
         "-subj", "/CN=DO NOT TRUST - AMI Test PK", "-days", "10"]
    )  # fmt: skip
    assert made, words
    example = listed(home, tmp_path, "--certificate", str(tmp_path / "test.pem"))
    assert "PKfail" in refused("PK", example)
    text = tmp_path / "text.esl"
    text.write_text("hello")
    assert "cut off" in refused("db", text)


def test_show_says_what_is_in_it(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = update(home, tmp_path, "db", "--append")
    capsys.readouterr()
    assert main(["secure-boot", "show", str(path)]) == 0
    assert "appends to db; signed by CN=signing home kek" in capsys.readouterr().out
    assert main(["secure-boot", "show", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["variable"], shown["append"], shown["judged"]) == ("db", True, False)
    assert shown["entries"][0]["owner"] == str(OWNER)
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    assert main(["secure-boot", "show", str(path)]) == 0
    assert "holds for no variable" in capsys.readouterr().out
    assert main(["secure-boot", "show", str(listed(home, tmp_path, "--hash", str(HELLO)))]) == 0
    assert "image sha256:" in capsys.readouterr().out
