"""A plant's share as it grew over the years: 600 files of five makers, each signing as it always did, or not at all.

acme    firmware and a project folder with manifests, stamped by its own timestamp authority
borg    scripts with the signature inside, stamped; two tools by osslsigncode
cima    recipes signed by `openssl cms -sign`, nothing of ours in it, no timestamps
dorn    signs badly: SHA-1, RSA of 1024 bits, a certificate that has ended, one for mail, or without what binds the certificate
eltec   signs with gpg, or sends a list of digests, or nothing
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from kit.certs import Made, made
from kit.inside import sign_inside
from kit.manifests import manifest_pair
from kit.openssl import run
from kit.pki import DAY, Pki
from kit.powershell import signed_by_osslsigncode
from kit.receiving import spoil
from kit.vendors import Gpg
from sealwright.artifact.claims import Claims
from sealwright.pki.profiles import CODE_SIGNING

FILES = 600
DRIVES, SCRIPTS, RECIPES, BAD = 40, 30, 20, 4
DRIVE, PROJECT, PUMP = "VX-200 drive", "packing line", "Eltec pump"
MAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string


@dataclass
class Share:
    """The folder, and what its makers have at home. now: everything was signed in the year before."""

    folder: Path
    now: datetime
    acme: Pki
    borg: Pki
    cima: Made
    dorn: Made
    gpg: Gpg
    numbers: dict[str, int] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, now: datetime) -> Share:
        """Written below folder: `share` is what the plant has, the rest is at the makers'."""
        (folder / "share").mkdir(parents=True)
        begin, end = now - 200 * DAY, now + 700 * DAY
        share = cls(
            folder,
            now,
            Pki.make("ACME", at=begin),
            Pki.make("Borg", at=begin),
            made("Cima root", ca=True, before=begin, after=end),
            made("Dorn root", ca=True, before=begin, after=end),
            Gpg(folder / "gnupg"),
        )
        share._acme(), share._borg(), share._cima(), share._dorn(), share._eltec()
        notes = share.of("notes")
        for number in range(FILES - share.count()):
            (notes / f"{number:03}.txt").write_text(f"note {number}\n")
        return share

    def of(self, maker: str) -> Path:
        """The maker's folder in the share."""
        path = self.folder / "share" / maker
        path.mkdir(exist_ok=True)
        return path

    def count(self) -> int:
        """Files in the share."""
        return sum(one.is_file() for one in (self.folder / "share").rglob("*"))

    def _acme(self) -> None:
        at = self.now - 100 * DAY
        signer, tsa = self.acme.leaf("ACME Release", at=at), self.acme.tsa(at=at)
        for number in range(DRIVES):
            path = self.of("acme") / f"drive-{number:02}.bin"
            path.write_bytes(b"drive %d\n" % number * 200)
            claims = Claims(DRIVE, f"2.{number}", number)
            manifest_pair(path, signer, claims, at=at + number * timedelta(hours=1), tsa=tsa)
        project = self.of("acme") / "project"
        project.mkdir()
        for name in ("main.st", "hmi.json", "recipe.csv"):
            (project / name).write_text(f"{name} of the packing line\n")
        manifest_pair(project, signer, Claims(PROJECT, "1.0", 1), at=at, tsa=tsa)

    def _borg(self) -> None:
        at = self.now - 90 * DAY
        signer = self.borg.leaf("Borg Tools", purposes=[CODE_SIGNING], at=at)
        tsa, plain = self.borg.tsa(at=at), self.folder / "plain.ps1"
        for number in range(SCRIPTS):
            plain.write_bytes(b"Get-Date\r\nSet-Line %d\r\n" % number)
            sign_inside(plain, signer, self.of("borg") / f"line-{number:02}.ps1", "powershell", tsa=tsa)
            plain.unlink()
        for number in range(2):
            plain.write_bytes(b"Get-Tool %d\r\n" % number)
            signed_by_osslsigncode(plain, signer, self.of("borg") / f"tool-{number}.ps1")
            plain.unlink()

    def _cima(self) -> None:
        leaf = self._signer("Cima Recipes", self.cima)
        (self.folder / "cima.pem").write_bytes(leaf.pem)
        (self.folder / "cima-root.pem").write_bytes(self.cima.pem)
        for number in range(RECIPES):
            path = self.of("cima") / f"recipe-{number:02}.csv"
            path.write_text(f"rye;{200 + number}\n")
            openssl_signs(self.folder, path, leaf, "-cades")

    def _dorn(self) -> None:
        ended = {"before": self.now - 190 * DAY, "after": self.now - 20 * DAY}
        small = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is what is wrong with it)
        kinds: dict[str, tuple[Made, Sequence[str]]] = {
            "sha1": (self._signer("Dorn", self.dorn, key=rsa.generate_private_key(65537, 2048)), ["-md", "sha1"]),
            "small": (self._signer("Dorn 1024", self.dorn, key=small), ["-cades"]),
            "ended": (self._signer("Dorn 2025", self.dorn, **ended), ["-cades"]),
            "mail": (self._signer("Dorn mail", self.dorn, purposes=[MAIL]), ["-cades"]),
            "plain": (self._signer("Dorn plain", self.dorn), []),
        }
        for kind, (leaf, options) in kinds.items():
            (self.folder / f"dorn-{kind}.pem").write_bytes(leaf.pem)
            for number in range(BAD):
                path = self.of("dorn") / f"{kind}-{number}.bin"
                path.write_bytes(f"valve {kind} {number}\n".encode() * 50)
                openssl_signs(self.folder, path, leaf, *options)

    def _eltec(self) -> None:
        for number in range(3):
            (self.of("eltec") / f"pump-{number}.bin").write_bytes(b"pump %d\n" % number * 300)
        listed = hashlib.sha256((self.of("eltec") / "pump-0.bin").read_bytes()).hexdigest()
        (self.folder / "list-by-mail.txt").write_text(f"{listed}  pump-0.bin\n")
        self.gpg.key("Eltec Support")
        self.gpg.export("Eltec Support", self.folder / "eltec.asc", "--armor")
        self.gpg.sign(self.of("eltec") / "pump-1.bin", "Eltec Support")
        self.gpg.close()

    def _signer(self, name: str, root: Made, **how: Any) -> Made:
        dates = {"before": self.now - 190 * DAY, "after": self.now + 300 * DAY}
        return made(name, root, **({"purposes": [CODE_SIGNING]} | dates | how))

    def tamper(self) -> tuple[str, ...]:
        """What somebody changed on the share: three files, and the value of one signature; their names."""
        names = ("acme/drive-38.bin", "borg/line-29.ps1", "cima/recipe-19.csv")
        for name in names:
            path = self.folder / "share" / name
            data = bytearray(path.read_bytes())
            data[5] ^= 0x40
            path.write_bytes(data)
        spoil(self.of("acme") / "drive-39.bin.manifest.p7s")
        return (*names, "acme/drive-39.bin")


def openssl_signs(folder: Path, path: Path, leaf: Made, *options: str) -> None:
    """`NAME.p7s` as `openssl cms -sign` makes it; the signing time is now."""
    certificate, key = folder / "leaf.pem", folder / "leaf.key"
    certificate.write_bytes(leaf.pem)
    key.write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    words = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key]
    signed, said = run([*words, *options, "-in", path, "-out", f"{path}.p7s"])
    assert signed, said


def by_hand(text: str) -> str:
    """What an editor does to the draft: no trial any more, narrower rules, one for each product, and who answers for them."""
    text = re.sub(r"(?m)^# A trial:.*\nstage = \"trial\"\n", "", text)
    text = text.replace('environment = "test"', 'environment = "production"').replace(
        'mode = "audit"', 'mode = "enforce"'
    )
    text = text.replace("NAME THE OWNER OF THIS RULE", "Eva Lind, phone 4711")
    text = text.replace("drafted from a survey; nothing of it was checked with the maker yet", "asked by telephone")
    # what Borg does not stamp is not proved to be older than its certificate's end
    text = text.replace('formats = ["powershell"]\nenvironment = "production"\ntimestamp = "optional"',
                        'formats = ["powershell"]\nenvironment = "production"\ntimestamp = "required"')  # fmt: skip
    ((begin, end),) = [one.span() for one in re.finditer(r'\[\[rule\]\]\nname = "ACME(.|\n)*?(?=\n\[\[rule\]\])', text)]
    both = text[begin:end]
    drives, lines = (
        re.sub(r'name = ".*"\nproducts = .*', f'name = "{product}"\nproducts = ["{product}"]', both)
        for product in (DRIVE, PROJECT)
    )
    accepted = '\n[[rule.signer]]\nslot = "plant"\nanchors = ["anna", "bert"]\npersons = ["p-17", "p-4"]\n'
    drives = drives.replace('timestamp = "required"', 'timestamp = "required"\nwithout_clock = "allow"') + accepted
    text = text[:begin] + drives + "\n" + lines + text[end:]
    owned = re.search(r"mode = .*\nowner = .*\nreason = .*\nreview = .*\n", both)
    assert owned
    return text.replace(f'products = ["{PUMP}"]\n', f'products = ["{PUMP}"]\n{owned[0]}')
