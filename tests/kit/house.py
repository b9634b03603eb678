"""Signing homes with keys in files, in a token and in a TPM, used as people use them: by the command line.

SoftHSM stands for a hardware token and swtpm for a TPM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.tokens import PIN, another_token, tpm
from sealwright.cli.main import main
from sealwright.keys.key import KeyKind


class Backend(StrEnum):
    """Where the private keys live."""

    FILE = "file"
    TOKEN = "PKCS#11"
    TPM = "TPM"


# No TPM of today makes Ed25519, and ours keeps RSA keys for PKCS #1 v1.5 alone.
MAKES = {
    Backend.FILE: (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519),
    Backend.TOKEN: (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519),
    Backend.TPM: (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072),
}


@dataclass(frozen=True)
class Maker:
    """One enrolled key of a house, and what a device is given to know it."""

    house: House
    name: str

    @property
    def path_pem(self) -> Path:
        """The key's certificate and those above it, without the root."""
        return self.house.home / "certificates" / f"{self.name}.pem"

    @property
    def root_pem(self) -> Path:
        """The anchor."""
        return self.house.home / "ca.pem"

    @property
    def certificates(self) -> list[x509.Certificate]:
        """Those of `path_pem`."""
        return x509.load_pem_x509_certificates(self.path_pem.read_bytes())

    @cached_property
    def certificate_pem(self) -> Path:
        """The key's certificate alone."""
        return self._written("pem", self.certificates[0].public_bytes(Encoding.PEM))

    @cached_property
    def certificate_der(self) -> Path:
        """The same in DER."""
        return self._written("der", self.certificates[0].public_bytes(Encoding.DER))

    @cached_property
    def keyring_pem(self) -> Path:
        """The anchor and the certificates below it, without the key's own."""
        below = b"".join(one.public_bytes(Encoding.PEM) for one in self.certificates[1:])
        return self._written("keyring.pem", self.root_pem.read_bytes() + below)

    @cached_property
    def public_pem(self) -> Path:
        """The public key."""
        public = self.certificates[0].public_key()
        return self._written("public.pem", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def _written(self, ending: str, data: bytes) -> Path:
        path = self.house.folder / f"{self.name}.{ending}"
        path.write_bytes(data)
        return path


@dataclass
class House:
    """A home whose keys are all in one backend. folder: it and what devices are given lie in it."""

    folder: Path
    backend: Backend
    makers: dict[str, Maker] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, backend: Backend) -> House:
        """`sealwright init`, with a token of its own or the TPM of this process where the backend wants one."""
        house = cls(folder, backend)
        house.pin_file.write_text(PIN + "\n")
        house.pin_file.chmod(0o600)
        where: list[str] = []
        if backend is Backend.TOKEN:
            where = ["--token", another_token()]
        elif backend is Backend.TPM:
            tpm()
            where = ["--token", f"tpm:{folder / 'tpm'}"]
        assert main(["init", str(house.home), "--organisation", "ACME", *where, *house.pin]) == 0
        return house

    @property
    def home(self) -> Path:
        """The signing home."""
        return self.folder / "home"

    @property
    def pin_file(self) -> Path:
        """The token's PIN."""
        return self.folder / "pin"

    @property
    def pin(self) -> list[str]:
        """The options a command needs to use the keys."""
        return ["--pin-file", str(self.pin_file)] if self.backend is Backend.TOKEN else []

    def maker(self, form: str, kind: KeyKind) -> Maker:
        """`sealwright key enrol`, once for each format and kind of key."""
        name = f"{form}-{kind}"
        if name not in self.makers:
            words = ["key", "enrol", form, "--home", str(self.home), "--name", name, "--algorithm", kind, *self.pin]
            assert main(words) == 0
            self.makers[name] = Maker(self, name)
        return self.makers[name]

    def trusts(self, path: Path) -> bool:
        """`sealwright verify`, by the trust file the home made."""
        return main(["verify", str(path), "--trust", str(self.home / "trust.toml")]) == 0
