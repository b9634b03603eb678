"""Keys in a token and in a TPM, from the command line: SoftHSM2 and swtpm stand for the hardware."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from sealwright.cli.main import main
from sealwright.pki.oids import HARDWARE_ATTESTED

Run = Callable[..., tuple[int, str]]
PIN = "739164"
TOKEN = "pkcs11:token=line-3"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command: exit code, everything printed by it and by what it starts."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        code = main([str(argument) for argument in arguments])
        shown = capfd.readouterr()
        return code, shown.out + shown.err

    return call


@pytest.fixture
def pin_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SoftHSM2 token of this test's own, and the file with its PIN."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    make = ["softhsm2-util", "--init-token", "--free", "--label", "line-3", "--pin", PIN, "--so-pin", "99999999"]
    subprocess.run(make, check=True, capture_output=True)
    path = tmp_path / "pin.txt"
    path.write_text(PIN + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A software TPM of this test's own, on free ports."""
    state = tmp_path / "tpm"
    state.mkdir()
    port = _free_pair()
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--server", f"type=tcp,port={port}",
               "--ctrl", f"type=tcp,port={port + 1}", "--flags", "not-need-init,startup-clear"]  # fmt: skip
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:host=127.0.0.1,port={port}")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _until_listening(port + 1)
        yield
        process.terminate()


def test_a_home_in_a_token_signs_and_its_signature_is_no_development_signature(
    run: Run, pin_file: Path, tmp_path: Path
) -> None:
    home, drive = tmp_path / "home", tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    code, shown = run("init", home, "--token", TOKEN, "--pin-file", pin_file)
    assert code == 0
    assert "DEVELOPMENT" not in shown
    assert not list((home / "keys").iterdir())
    code, shown = run("sign", drive, "--home", home, "--pin-file", pin_file)
    assert code == 0
    assert "DEVELOPMENT" not in shown
    code, shown = run("verify", drive, "--trust", home / "trust.toml", "--json")
    value = json.loads(shown)
    assert (code, value["signers"][0]["provenance"]) == (0, "hardware-claimed")
    assert "SW-KEY-DEVELOPMENT-GRADE" not in {finding["code"] for finding in value["findings"]}
    code, shown = run("key", "list", "--token", TOKEN, "--pin-file", pin_file)
    assert code == 0
    assert all(f"{name}: hardware-claimed" in shown for name in ("root", "release", "officer"))
    code, shown = run("doctor", "--home", home)
    assert code == 0
    assert "line-3 (serial " in shown


def test_a129_the_pin_is_in_no_output_and_in_no_file(run: Run, pin_file: Path, tmp_path: Path) -> None:
    home, drive = tmp_path / "home", tmp_path / "drive.bin"
    drive.write_bytes(b"firmware")
    shown = run("init", home, "--token", TOKEN, "--pin-file", pin_file)[1]
    shown += run("sign", drive, "--home", home, "--pin-file", pin_file)[1]
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("739165\n")
    wrong.chmod(0o600)
    code, said = run("sign", drive, "--home", home, "--replace", "--pin-file", wrong)
    assert code == 1
    assert "the PIN is wrong; it was tried once" in said
    for text in (shown, said):
        assert PIN not in text
        assert "739165" not in text
    written = [path for path in home.rglob("*") if path.is_file()]
    assert written
    assert not any(PIN.encode() in path.read_bytes() for path in written)


@pytest.mark.parametrize(
    "words",
    [
        ["sign", "x", "--home", "h", "--key"],
        ["init", "h", "--token"],
        ["key", "show"],
        ["key", "list", "--token"],
        ["key", "attest"],
    ],
)
def test_a129_a_pin_on_the_command_line_is_refused_and_not_repeated(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words, f"{TOKEN}?pin-value={PIN}"])
    said = capfd.readouterr().err
    assert stop.value.code == 2
    assert "--pin-file" in said
    assert PIN not in said


def test_a_pin_file_that_others_can_read_is_refused(run: Run, pin_file: Path, tmp_path: Path) -> None:
    pin_file.chmod(0o644)
    code, shown = run("init", tmp_path / "home", "--token", TOKEN, "--pin-file", pin_file)
    assert code == 1
    assert "chmod 600" in shown
    assert not (tmp_path / "home").exists()
    pin_file.chmod(0o600)
    assert run("init", tmp_path / "home", "--token", TOKEN, "--pin-file", pin_file)[0] == 0


def test_only_a_tpm_can_attest_a_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "development.pem"
    assert run("key", "create", f"file:{path}")[0] == 0
    code, shown = run("key", "attest", f"file:{path}")
    assert code == 1
    assert "Only a key in a TPM can be attested" in shown


@pytest.mark.usefixtures("tpm")
def test_a_tpm_attests_a_key_and_the_statement_answers_one_challenge_for_one_key(run: Run, tmp_path: Path) -> None:
    key, statement = f"tpm:{tmp_path / 'release.tss'}", tmp_path / "release.attestation"
    assert run("key", "create", key)[0] == 0
    code, shown = run("key", "attest", key, "--nonce", "5eed", "--out", statement)
    assert code == 0
    assert "stated by the TPM" in shown
    own = _certificate(run, key, tmp_path / "own.pem")
    assert run("key", "create", f"file:{tmp_path / 'other.key'}")[0] == 0
    other = _certificate(run, f"file:{tmp_path / 'other.key'}", tmp_path / "other.pem")
    check = ("key", "check-attestation", statement, "--certificate")
    assert run(*check, own, "--nonce", "5eed")[0] == 0
    assert run(*check, own, "--nonce", "5eee")[0] == 1
    assert run(*check, other, "--nonce", "5eed")[0] == 1


@pytest.mark.usefixtures("tpm")
def test_a_certificate_says_attested_only_where_the_tpm_answered_the_officers_challenge(
    run: Run, tmp_path: Path
) -> None:
    home, key = tmp_path / "ca", f"tpm:{tmp_path / 'line.tss'}"
    assert run("init", home)[0] == 0
    assert run("key", "create", key)[0] == 0
    assert run("key", "attest", key, "--nonce", "5eed", "--out", tmp_path / "line.att")[0] == 0
    (tmp_path / "line.csr").write_text(run("key", "csr", key, "--subject", "CN=line")[1])
    assert run("key", "create", f"file:{tmp_path / 'other.key'}")[0] == 0
    (tmp_path / "other.csr").write_text(run("key", "csr", f"file:{tmp_path / 'other.key'}", "--subject", "CN=other")[1])
    altered = (tmp_path / "line.att").read_text()
    start = altered.index('"attest": "') + 120
    (tmp_path / "altered.att").write_text(
        altered[:start] + ("0" if altered[start] != "0" else "1") + altered[start + 1 :]
    )

    def issue(request: str, statement: str, nonce: str) -> int:
        (tmp_path / "out.pem").unlink(missing_ok=True)
        return run("cert", "issue", tmp_path / request, "--home", home, "--profile", "code-signer", "--attestation",
                   tmp_path / statement, "--nonce", nonce, "--out", tmp_path / "out.pem")[0]  # fmt: skip

    for refused in (("line.csr", "line.att", "5eee"), ("other.csr", "line.att", "5eed"), ("line.csr", "altered.att", "5eed"),
                    ("line.csr", "line.csr", "5eed")):  # fmt: skip
        assert issue(*refused) == 1, refused
        assert not (tmp_path / "out.pem").exists()
    assert issue("line.csr", "line.att", "5eed") == 0
    policies = x509.load_pem_x509_certificate((tmp_path / "out.pem").read_bytes()).extensions
    named = policies.get_extension_for_class(x509.CertificatePolicies).value
    assert [one.policy_identifier.dotted_string for one in named] == [HARDWARE_ATTESTED]


@pytest.mark.usefixtures("tpm")
def test_a_key_bound_to_platform_registers_says_so(run: Run, tmp_path: Path) -> None:
    code, shown = run("key", "create", f"tpm:{tmp_path / 'bound.tss'}", "--pcrs", "sha256:16", "--json")
    assert (code, json.loads(shown)["attributes"]) == (0, {"bound to": "sha256:16"})


def _certificate(run: Run, key: str, path: Path) -> Path:
    """A certificate for a key, issued by openssl from our request."""
    root, root_key = path.with_suffix(".root"), path.with_suffix(".rootkey")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            "/CN=root", "-days", "9", "-keyout", str(root_key), "-out", str(root)]  # fmt: skip
    subprocess.run(make, check=True, capture_output=True)
    request = run("key", "csr", key, "--subject", "CN=Release")[1]
    issue = ["openssl", "x509", "-req", "-CA", str(root), "-CAkey", str(root_key), "-days", "9", "-out", str(path)]
    subprocess.run(issue, input=request.encode(), check=True, capture_output=True)
    return path


def _free_pair() -> int:
    """Two free ports, one after the other."""
    for _ in range(50):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
    raise RuntimeError("no two free ports")


def _until_listening(port: int) -> None:
    """Wait for the control port, so that the data port's one connection stays free."""
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("swtpm does not answer")
