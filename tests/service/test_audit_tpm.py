"""`audit keys` of a service whose key lives in a TPM that audits (swtpm), and of keys that nothing counts (A133)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.auditedtpm import Machine, audited_machine
from kit.signingservice import House, house, log_key, running
from kit.tokens import PIN, TOKEN, softhsm


@dataclass
class Served:
    """A service that signs with a key in an audited TPM, and one in a token."""

    house: House
    machine: Machine

    def sign(self, key: str, *names: str) -> None:
        """Files, by a client of the running service."""
        files = [self.house.folder / name for name in names]
        for one in files:
            one.write_bytes(one.name.encode())
        certificate, client_key = self.house.identity("max")
        who = ["--service", self.house.address, "--service-ca", self.house.folder / "servers.pem"]
        who += ["--client", certificate, "--client-key", client_key]
        command("sign", *files, "--key", key, "--product", "drive", "--environment", "development", *who)

    def audit(self, *words: object, code: int = 0) -> str:
        """Of its log as it is now."""
        export = self.house.folder / "export"
        command("log", "export", "--database", f"sqlite:///{self.house.folder}/service.db", "--out", export)
        return command("audit", "keys", export, "--log-key", log_key(self.house), *words, code=code)


def command(*arguments: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    softhsm()
    with ExitStack() as stack:
        (tmp_path / "tpm").mkdir()
        machine = stack.enter_context(audited_machine(tmp_path / "tpm"))
        made = house(tmp_path / "house")
        home = made.folder / "home"
        pin = made.folder / "pin"
        pin.write_text(PIN)
        pin.chmod(0o600)
        take = ("key", "import-certificate", "--own-authority", "--home", home)
        command(*take, "--name", "in-tpm", "--key", machine.uri)
        label = f"{TOKEN};object=audit-{tmp_path.name}"
        uri = json.loads(command("key", "create", label, "--pin-file", pin, "--json"))["uri"]
        command(*take, "--name", "in-token", "--key", uri, "--pin-file", pin)
        with made.configuration.open("a") as configuration:
            configuration.write('[[key]]\nname = "in-tpm"\ntenant = "acme"\n')
            configuration.write('[[key]]\nname = "in-token"\ntenant = "acme"\npin_file = "pin"\n')
        yield Served(made, machine)


def test_a_tpms_key_that_is_used_behind_the_service_is_told_with_how_often(served: Served) -> None:
    with running(served.house):
        served.sign("in-tpm", "1.bin", "2.bin", "3.bin")
        served.sign("in-tpm", "4.bin")
    assert served.machine.journal.read_text().splitlines()[-1].startswith("attested ")  # by the service's end
    with running(served.house):
        served.sign("in-tpm", "5.bin")
    command("key", "attest-uses", served.machine.uri, "--nonce", "5eed")
    journal = ("--tpm", served.machine.journal, "--tpm-nonce", "5eed")
    said = served.audit(*journal)
    assert "used 5 times (TPM); the log has 5 intents and 5 signatures" in said
    assert "every use is in the log" in said
    vouches = json.loads(served.audit(*journal, "--json").splitlines()[1])["attestation_key"]
    assert "every use" in served.audit(*journal, "--attestation-key", vouches, "--tpm-key", served.machine.key)
    other = "sha256:" + "00" * 32
    assert f"vouches for {served.machine.journal}, not {other}" in served.audit(
        *journal, "--attestation-key", other, code=1
    )
    served.audit(*journal, "--tpm-key", other, code=2)
    served.audit("--attestation-key", vouches, code=2)

    served.machine.intruder_signs(2)
    served.machine.intruder_has_it_attested()
    served.machine.intruder_signs()
    command("key", "attest-uses", served.machine.uri, "--nonce", "5eed")
    said = served.audit(*journal, code=1)
    assert "at least 2 (signatures, or changes of what is audited) are missing there" in said
    assert "ALARMS: the uses DO NOT FIT the log" in said

    (served.house.folder / "past.bin").write_bytes(b"past the log, but in the journal")
    command("sign", served.house.folder / "past.bin", "--home", served.house.folder / "home", "--key", "in-tpm")
    assert "was used 6 (TPM) times, and the log has 5 intents" in served.audit(*journal, code=1)


def test_a_key_that_nothing_counts_is_named_and_leaves_the_answer_open(served: Served) -> None:
    with running(served.house):
        served.sign("in-tpm", "1.bin")
        served.sign("in-token", "2.bin")
        served.sign("release", "3.bin")
    home = ("--home", served.house.folder / "home")
    journal = ("--tpm", served.machine.journal)
    said = served.audit(*journal, *home, code=3)
    assert "in-token (pkcs11:" in said
    assert "offers no counter: PKCS#11 has none" in said
    assert "release (file:" in said
    assert "offers no counter: whoever has the file has the key" in said
    assert "nothing counts 2 keys: of them this says nothing" in said
    assert "every use" not in said
    said = served.audit(*home, code=3)
    assert "in-tpm (tpm:" in said
    assert "is not counted: begin with" in said
    last = json.loads(served.audit(*home, "--json", code=3).splitlines()[-1])
    assert (len(last["no_counter"]), last["wrong"]) == (3, 0)
    assert "uses counted" not in served.audit(*journal)
