"""Twenty years of one signature: authorities of three eras, records made on a fake clock, and records made wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from kit.pki import DAY, Pki, Signer, p7s
from kit.trust import believed, judge
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import ers
from sealwright.keys.key import KeyKind
from sealwright.pki.timestamp import Imprint, LocalAuthority
from sealwright.signing.proofs import NotRenewed, Proofs, Renewal, Renewed, Stamp, renew, status
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Verdict

YEAR = 365 * DAY
FIRMWARE = b"firmware\n" * 100


def day(year: int, month: int = 6) -> datetime:
    """The first of a month."""
    return datetime(year, month, 1, 12, tzinfo=UTC)


def era(year: int, years: int, kind: KeyKind = KeyKind.P256) -> tuple[Pki, Signer]:
    """An authority whose certificate begins in a year and ends some years later."""
    at = day(year, 1)
    pki = Pki.make(f"TSA {year}", at=at, kind=kind)
    return pki, pki.tsa(at=at, days=years * 365, kind=kind)


def stamp(tsa: Signer, at: datetime) -> Stamp:
    """What an authority answers at a time."""
    return lambda root: LocalAuthority(tsa.certificate, tsa.chain, tsa.key, lambda: at).tokens([Imprint(root)])[0]


@dataclass
class Story:
    """Signed and stamped in 2026; SHA-256 and P-256 are withdrawn at the end of 2040."""

    folder: Path
    maker: Pki = field(default_factory=Pki.make)
    tsa_2026: tuple[Pki, Signer] = field(default_factory=lambda: era(2026, 6))
    tsa_2031: tuple[Pki, Signer] = field(default_factory=lambda: era(2031, 7))
    tsa_2036: tuple[Pki, Signer] = field(default_factory=lambda: era(2036, 9, KeyKind.P384))
    tsa_2044: tuple[Pki, Signer] = field(default_factory=lambda: era(2044, 7, KeyKind.P384))
    crls: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        signer = self.maker.leaf("release")
        self.file.write_bytes(FIRMWARE)
        self.signature = Path(f"{self.file}.p7s")
        self.signature.write_bytes(p7s(signer, FIRMWARE, tsa=self.tsa_2026[1]))

    @property
    def file(self) -> Path:
        """The artifact."""
        return self.folder / "drive.bin"

    @property
    def record(self) -> Path:
        """Its evidence record."""
        return self.folder / "drive.bin.ers"

    def trust(self, at: datetime, *, without: Sequence[str] = (), **changes: object) -> Believed:
        """The trust file of a time, which knows all authorities but those left out."""
        names = {"2026": self.tsa_2026, "2031": self.tsa_2031, "2036": self.tsa_2036, "2044": self.tsa_2044}
        parts: dict[str, object] = {
            "issued": at - 5 * DAY,
            "expires": at + 300 * DAY,
            "authority": [
                {"name": f"TSA {name}", "anchor": pki.root.pem}
                for name, (pki, _) in names.items()
                if name not in without
            ],
            "algorithm": [{"name": name, "until": day(2040, 12)} for name in ("sha256", "ecdsa-p256")],
        }
        return believed(self.maker, crls=self.crls, **(parts | changes))  # type: ignore[arg-type]

    def renew(
        self, at: datetime, tsa: Signer, digest: HashName | None = None, paths: Sequence[Path] = (), **trust: object
    ) -> list[Proofs | Renewed | NotRenewed]:
        """`renew-proofs --all` at a time."""
        asked = Renewal(self.trust(at, **trust), at, None, digest)  # type: ignore[arg-type]
        return list(renew([str(path) for path in paths or (self.file,)], asked, stamp(tsa, at)))

    def status(self, at: datetime, years: int = 1) -> Proofs:
        """`renew-proofs --status` at a time."""
        (found,) = status([str(self.file)], Renewal(self.trust(at), at, at + years * YEAR))
        return found

    def verdict(self, at: datetime, **trust: object) -> Verdict:
        """`verify` at a time."""
        return judge(self.file, self.trust(at, **trust), at)  # type: ignore[arg-type]

    def read(self) -> ers.Record:
        """The record as it lies there."""
        return ers.read_record(self.record.read_bytes(), self.record.name)

    def grown(self) -> Story:
        """With all renewals: first record 2027, a timestamp over it 2031, SHA-512 from 2036, and over that 2044."""
        self.crls = [self.maker.crl(day(2027) - 5 * DAY)]
        self.renew(day(2027), self.tsa_2026[1])
        self.renew(day(2031), self.tsa_2031[1])
        self.renew(day(2036), self.tsa_2036[1], HashName.SHA512)
        self.renew(day(2044), self.tsa_2044[1])
        self.crls = []
        return self


def over(record: ers.Record, tsa: Signer, at: datetime) -> ers.Link:
    """A link that renews the timestamp of a record's last one."""
    name = record.chains[-1][0].digest
    made = ers.batch([[Digest.of(record.links[-1].token, name).value]], name)
    return ers.new_link(name, made.trees[0], stamp(tsa, at)(made.root))


def refusal(verdict: Verdict) -> str:
    """Why the evidence record of a verdict proves nothing; "" where it holds."""
    return next((found.found for found in verdict.findings if found.code == "SW-EVIDENCE-REFUSED"), "")
