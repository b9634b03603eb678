"""`audit keys`: a real OpenBao's audit log and counters that somebody read, against the log of a signing service (A133)."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.bao import Bao, bao
from kit.signingservice import House, house, log_key, running
from kit.writtenlogs import AT, SoftSigner, digest, signature_entry, sqlite_url, written
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.log.entries import Intent
from sealwright.log.export import export_log

Run = Callable[..., tuple[int, str, str]]
SIGNER = SoftSigner.make()
KEY = str(digest("key"))


@dataclass
class Served:
    """A service that signs with a key of OpenBao."""

    house: House
    server: Bao
    key: str

    def log(self, folder: Path) -> Path:
        """Its log as it is now."""
        database = f"sqlite:///{self.house.folder}/service.db"
        command("log", "export", "--database", database, "--out", folder / "export")
        return folder / "export"


def command(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with bao(tmp_path / "bao") as server:
        made = house(tmp_path / "house")
        uri = json.loads(command("key", "create", server.uri("release"), "--algorithm", "p256", "--json"))["uri"]
        home = made.folder / "home"
        command("key", "import-certificate", "--own-authority", "--home", home, "--name", "bao", "--key", uri)
        with made.configuration.open("a") as configuration:
            configuration.write('[[key]]\nname = "bao"\ntenant = "acme"\n')
        from sealwright.signing.home import KeyPurpose, open_home

        key = str(key_digest(open_home(str(home)).key("bao", KeyPurpose.ARTIFACT).public_key))
        with running(made):
            yield Served(made, server, key)


def test_a_key_used_behind_the_service_is_found_in_openbaos_audit_log(served: Served, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(5):
        (files / f"{number}.bin").write_bytes(b"%d" % number)
    certificate, key = served.house.identity("max")
    who = ["--service", served.house.address, "--service-ca", served.house.folder / "servers.pem"]
    who += ["--client", certificate, "--client-key", key]
    claims = ["--product", "drive", "--environment", "development"]
    command("sign", *sorted(files.glob("*.bin")), "--key", "bao", *claims, *who)
    audit = ["audit", "keys", served.log(tmp_path), "--log-key", log_key(served.house)]
    audit += ["--openbao", served.server.audit_log, "--transit", f"transit/release@1={served.key}"]
    said = command(*audit)
    assert "used 5 times (OpenBao); the log has 5 intents and 5 signatures" in said
    assert "every use is in the log" in said
    (tmp_path / "past.bin").write_bytes(b"past the log")
    command("sign", tmp_path / "past.bin", "--home", served.house.folder / "home", "--key", "bao")
    said = command(*audit, code=1)
    assert "was used 6 (OpenBao) times, and the log has 5 intents" in said
    served.server.call("POST", "transit/sign/release", {"batch_input": [{"input": "aGVsbG8="}] * 3, "key_version": 1})
    served.server.call(
        "POST", "transit/sign/release", {"input": "???"}, fine=(400,)
    )  # what gave no signature is no use
    found = [json.loads(line) for line in command(*audit, "--json", code=1).splitlines()]
    assert [one.get("code") for one in found] == [None, "SW-AUDIT-UNLOGGED-USE", None, None]
    assert found[2] == {"key": served.key, "uses": 9, "by": "OpenBao", "intents": 5, "signatures": 5}
    assert found[3]["wrong"] == 1
    assert "every use" in command(*audit, "--until", "2001-01-01T00:00:00Z")  # of that time there is nothing
    short = tmp_path / "short.log"
    lines = served.server.audit_log.read_bytes().splitlines(keepends=True)
    short.write_bytes(b"".join(line for line in lines if b"/sign/" not in line))
    audit[audit.index("--openbao") + 1] = short
    assert "the count is of another key or time, or was cut" in command(*audit, code=1)
    for wrong in (lines[0] + lines[1][:-5], b"nonsense\n", b"[]\n", b'{"time":"x"}\n', b"[" * 100_000 + b"\n"):
        short.write_bytes(wrong)
        command(*audit, code=1)
    shutil.copy(served.server.audit_log, short)
    command(*audit, code=1)


# counters that somebody read, of a log with known numbers


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten intents of a key, eight of which were followed by a signature, and one of another key."""
    folder = tmp_path_factory.mktemp("log")
    entries = []
    for number in range(10):
        entries.append(intent(digest("key")))
        entries += [signature_entry(number).encoded()] * (number < 8)
    entries.append(intent(digest("another key")))
    with written(sqlite_url(folder), SIGNER, entries) as log:
        export_log(log, str(folder / "export"))
    return folder / "export"


def intent(key: Digest) -> bytes:
    return Intent(
        time=AT, request="0f" * 16, attempt=1, artifact=digest("artifact"), key=key, certificate=digest("certificate"),
        construction="cms-attributes", policy=digest("policy"),
    ).encoded()  # fmt: skip


@pytest.mark.parametrize(
    ("uses", "code", "said"),
    [
        (8, 0, "every use is in the log"),
        (10, 0, "2 intents to use the key"),
        (11, 1, "it was used past the log"),
        (7, 1, "was cut"),
        (0, 1, "was cut"),
    ],
)
def test_a_counter_that_does_not_fit_is_an_alarm(run: Run, export: Path, uses: int, code: int, said: str) -> None:
    words = ("audit", "keys", export, "--log-key", str(SIGNER.key))
    done, out, _ = run(*words, "--counter", f"{KEY}={uses}")
    assert (done, said in out) == (code, True), out
    assert f"the log has 1 intents of {digest('another key')}, whose uses nobody counted" in out


ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def cloudtrail(folder: Path, uses: int) -> tuple[str, ...]:
    """A file as CloudTrail delivers it, as far as it is read."""
    records = [
        {
            "eventSource": "kms.amazonaws.com", "eventName": "Sign", "eventTime": "2026-11-26T09:00:00Z",
            "eventID": str(number), "resources": [{"type": "AWS::KMS::Key", "ARN": ARN}],
        }
        for number in range(uses)
    ]  # fmt: skip
    (folder / "trail.json").write_text(json.dumps({"Records": records}))
    return ("--cloudtrail", str(folder / "trail.json"), "--kms", f"{ARN}={KEY}")


def yubihsm(folder: Path, uses: int) -> tuple[str, ...]:
    """Entries as yubihsm-shell prints them."""
    last, lines = bytes(16), []
    for number in range(uses):
        last = hashlib.sha256(struct.pack("!HBHHHHBL", number, 0x56, 34, 1, 0x65, 0xFFFF, 0xD6, 7) + last).digest()[:16]
        lines.append(
            f"item: {number:5} -- cmd: 0x56 -- length:   34 -- session key: 0x0001 -- target key: 0x0065 -- "
            f"second key: 0xffff -- result: 0xd6 -- tick: 7 -- hash: {last.hex()}\n"
        )
    (folder / "hsm.log").write_text("".join(lines))
    return ("--yubihsm", str(folder / "hsm.log"), "--yubihsm-key", f"0x0065={KEY}")


@pytest.mark.parametrize(("log", "by"), [(cloudtrail, "CloudTrail"), (yubihsm, "YubiHSM")])
def test_the_logs_of_aws_and_of_a_yubihsm_are_counted(
    run: Run, export: Path, tmp_path: Path, log: Callable[[Path, int], tuple[str, ...]], by: str
) -> None:
    words = ("audit", "keys", export, "--log-key", str(SIGNER.key))
    code, out, _ = run(*words, *log(tmp_path, 8))
    assert (code, f"used 8 times ({by})" in out) == (0, True), out
    code, out, _ = run(*words, *log(tmp_path, 11))
    assert (code, "it was used past the log" in out) == (1, True), out
    code, _, err = run(*words, *log(tmp_path, 8), "--counter", f"{KEY}=8")
    assert (code, "counted by another option" in err) == (2, True), err


def test_a_yubihsms_log_with_a_gap_is_an_alarm(run: Run, export: Path, tmp_path: Path) -> None:
    words = ("audit", "keys", export, "--log-key", str(SIGNER.key), *yubihsm(tmp_path, 9))
    assert run(*words)[0] == 0
    log = tmp_path / "hsm.log"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:4] + lines[5:]))
    code, out, _ = run(*words)
    assert (code, "entries 3 and 5" in out) == (1, True), out


def test_counts_of_a_log_that_is_not_whole_are_no_counts(run: Run, export: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export"
    shutil.copytree(export, copy)
    words = ("audit", "keys", copy, "--log-key", str(SIGNER.key), "--counter", f"{KEY}=8")
    assert run(*words)[0] == 0
    bundle = copy / "tile/entries/000.p/19"
    bundle.write_bytes(bundle.read_bytes().replace(b"4.2.7", b"4.2.9"))
    code, out, _ = run(*words)
    assert (code, "fit" in out, "every use" in out) == (1, False, False)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--counter", "8"),
        ("--counter", f"{KEY}=-1"),
        ("--counter", f"{KEY}=x"),
        ("--counter", f"{KEY}=8", "--counter", f"{KEY}=9"),
        ("--counter", "nothing.pem=8"),
        ("--openbao", "audit.log"),
        ("--transit", f"transit/release={KEY}"),
        ("--openbao", "audit.log", "--transit", f"release={KEY}"),
        ("--openbao", "audit.log", "--transit", f"transit/release@x={KEY}"),
        ("--openbao", "nothing.log", "--transit", f"transit/release={KEY}"),
        ("--counter", f"{KEY}=8", "--openbao", "audit.log", "--transit", f"transit/release={KEY}"),
        ("--counter", f"{KEY}=8", "--since", "yesterday"),
        ("--cloudtrail", "trail.json"),
        ("--kms", f"arn:aws:kms:eu-central-1:111122223333:key/1234={KEY}"),
        ("--cloudtrail", "trail.json", "--kms", f"alias/release={KEY}"),
        ("--cloudtrail", "nothing.json", "--kms", f"arn:aws:kms:eu-central-1:111122223333:key/1234={KEY}"),
        ("--yubihsm", "log.txt"),
        ("--yubihsm-key", f"0x0065={KEY}"),
        ("--yubihsm", "log.txt", "--yubihsm-key", f"101={KEY}"),
        ("--yubihsm", "log.txt", "--yubihsm-key", f"0x0065={KEY}", "--since", "2026-11-01T00:00:00Z"),
        ("--tpm", "nothing.audit"),
        ("--tpm-nonce", "5eed", "--counter", f"{KEY}=8"),
    ],
)
def test_what_cannot_be_meant_is_said(run: Run, export: Path, words: tuple[str, ...]) -> None:
    code, out, err = run("audit", "keys", export, "--log-key", str(SIGNER.key), *words)
    assert code in (1, 2)
    assert out == ""
    assert err
