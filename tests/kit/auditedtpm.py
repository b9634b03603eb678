"""A machine with a TPM that audits its signatures (swtpm), a key whose uses are written down, and an intruder who uses that key too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.tokens import start_tpm
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.keys.auditjournal import AuditJournal, name_journal, new_journal
from sealwright.keys.auditlines import read_lines
from sealwright.keys.key import KeyKind
from sealwright.keys.tpm import create_tpm_key, open_tpm_key
from sealwright.log.commandaudit import Audited, check_command_audit

HANDLE = "0x81010001"


@dataclass
class Machine:
    """A TPM of its own, with a key in it whose uses are written down, and which an intruder can use too."""

    folder: Path
    process: subprocess.Popen[bytes]
    port: int

    @property
    def journal(self) -> Path:
        return self.folder / "tpm.audit"

    @property
    def uri(self) -> str:
        return f"tpm:{self.folder / 'release.tss'}"

    @property
    def key(self) -> str:
        with closing(open_tpm_key(self.uri)) as key:
            return str(key_digest(key.info.public_key))

    def sign(self, count: int, uri: str = "") -> None:
        """So many signatures by the key, as the service makes them."""
        with closing(open_tpm_key(uri or self.uri)) as key:
            algorithm = key.info.algorithm
            digests = [Digest.of(b"%d" % one, algorithm.digest).value for one in range(count)]
            key.sign([ToBeSigned(Kind.DIGEST, one, algorithm) for one in digests])

    def attest(self, nonce: bytes = b"") -> None:
        with closing(open_tpm_key(self.uri)) as key:
            key.attest_audit(nonce)

    def tool(self, *words: object) -> str:
        """A program of tpm2-tools; the objects that it leaves in the TPM are flushed."""
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=self.folder, check=False)
        assert done.returncode == 0, done.stderr
        subprocess.run(["tpm2_flushcontext", "-t"], capture_output=True, check=False)
        return done.stdout

    def intruder_signs(self, count: int = 1) -> None:
        """With the key's own authorisation, by tpm2_sign."""
        auth = (self.folder / "release.tss.auth").read_text().strip()
        for _ in range(count):
            self.tool("tpm2_sign", "-c", HANDLE, "-p", f"hex:{auth}", "-d", "-o", "past.sig", self.digest())

    def intruder_has_it_attested(self) -> None:
        """The TPM then begins a new digest."""
        self.tool("tpm2_createak", "-C", self.endorsement(), "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa")
        self.tool("tpm2_getcommandauditdigest", "-c", "ak.ctx", "-m", "attest.bin", "-s", "attest.sig", "-g", "sha256")

    def endorsement(self) -> str:
        if not (self.folder / "ek.ctx").exists():
            self.tool("tpm2_createek", "-c", "ek.ctx", "-G", "ecc")
        return "ek.ctx"

    def digest(self) -> str:
        (self.folder / "past.digest").write_bytes(Digest.of(b"past the log").value)
        return "past.digest"

    def reset(self) -> None:
        """Power off and on, without a word to the TPM before."""
        self.process.kill()
        self.process.wait()
        self.process, _ = start_tpm(self.folder, self.port)

    def audited(self, challenge: bytes | None = None) -> Audited:
        return check_command_audit(str(self.journal), read_lines(str(self.journal)), challenge=challenge)

    def codes(self, challenge: bytes | None = None) -> list[str]:
        return [one.code for one in self.audited(challenge).findings]


@contextmanager
def audited_machine(folder: Path) -> Iterator[Machine]:
    """The TPM is this process's until the end of the block."""
    former = os.environ.get("TPM2TOOLS_TCTI")
    process, tcti = start_tpm(folder)
    os.environ["TPM2TOOLS_TCTI"] = tcti
    made = Machine(folder, process, int(tcti.rpartition("=")[2]))
    try:
        create_tpm_key(str(folder / "release.tss"), KeyKind.P256)
        begin(made, "release.tss", new_journal(str(made.journal)))
        persist(made)
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        os.environ.pop("TPM2TOOLS_TCTI")
        if former is not None:
            os.environ["TPM2TOOLS_TCTI"] = former


def begin(machine: Machine, name: str, journal: AuditJournal) -> None:
    with closing(open_tpm_key(f"tpm:{machine.folder / name}")) as key:
        key.begin_audit(journal)
    name_journal(str(machine.folder / name), journal)


def persist(machine: Machine) -> None:
    """The key in a slot from which tpm2_sign uses it."""
    with closing(open_tpm_key(machine.uri)) as key:
        tpm = key._connected()
        tpm.context.evict_control(tpm.api.ESYS_TR.OWNER, key._handle, int(HANDLE, 16))
