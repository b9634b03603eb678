"""A year of certificates on a fake clock: two product lines, 24 releases (one a fortnight), four plants, everything that goes wrong in one.

What happens (the number is the release's; odd ones are drive firmware, even ones HMI software that the plant approves as well):
 5  no timestamp authority answers: signed without, stamped with release 6
 6  the HMI's next key: a request in, a certificate out, announced in trust version 2 and used from 8; C is switched off after 8
 9  the drive gets a new key by `rekey` (version 3); officer rolf leaves two days later
10  rolf approves a release though he has left; nina takes his place (version 4)
11  officer mia is replaced by paul (version 5)
14  officer nina is replaced by quinn (version 6)
16  the drive's key of release 9 was stolen when release 12 came: revoked from then; a third key takes over (version 7)
18  a second house is made, its root certified by the first one, its HMI key announced (version 8)
19  the thief signs a release of his own; the second root becomes an anchor (version 9)
20  the first HMI release below the second root; the drive's third certificate is renewed
21  two of three officers are lost: the recovery key names new ones (version 10)
22  C is switched on again and walks every version
23  the new officers sign version 11
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.manifests import manifest_pair
from kit.openssl import cms_verify, run, ts_verify
from kit.pki import DAY, Signer, p7s, person_key, soft_key, token_over
from kit.trust import person, quorum, write_trust
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.cli.render import instruction
from sealwright.envelope.cms import Profile, read_envelope
from sealwright.envelope.cms import Signer as Read
from sealwright.errors import SealwrightError, TrustRefused
from sealwright.keys.backends import open_key
from sealwright.keys.key import Provenance
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.pki.request import certificate_request, read_request
from sealwright.pki.timestamppool import Stamp
from sealwright.signing import authority
from sealwright.signing.home import Home, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.late import LateStamper, Stamped
from sealwright.trust.archive import zip_of
from sealwright.trust.belief import load_trust
from sealwright.trust.bundle import check_bundle, copied, install_bundle
from sealwright.trust.history import install, read_signed, walk
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, verify_paths

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
FORTNIGHT = timedelta(days=14)
OFFICERS = {name: person_key() for name in ("olga", "rolf", "mia", "nina", "paul", "quinn", "sven", "tara", "ulla")}
RITA = person_key()


def day(release: int) -> datetime:
    """When a release was made; the plants judge six hours later."""
    return START + release * FORTNIGHT


ROLF_LEFT = day(9) + 2 * DAY
STOLEN = day(12)


@dataclass
class Stamps:
    """A stamper with a clock of its own."""

    tsa: Signer
    at: datetime
    wanted: int = 1

    def stamp(self, imprints: Sequence[Digest]) -> list[tuple[Stamp, ...]]:
        return [
            (Stamp(token_over(self.tsa, one, self.at), self.at, "local", self.tsa.certificate),) for one in imprints
        ]

    def close(self) -> None:
        return


def ceremony(folder: Path, title: str, now: datetime) -> Home:
    """The authorities of a house. The one place to change when the ceremony itself makes them."""
    return init_home(str(folder), InitOptions(now=now, title=title, organisation=title))


@dataclass
class House:
    """The vendor: its home, who signs what at present, and the trust files it published."""

    folder: Path
    home: Home
    second: Home | None = None
    versions: list[Path] = field(default_factory=list)

    def signer(self, name: str, home: Home | None = None, above: tuple[bytes, ...] = ()) -> Signer:
        home = home or self.home
        key = next(one for one in home.keys if one.name == name)
        opened = open_key(home.uri(key), None, algorithm=key.algorithm, expected=key.public_key)
        return Signer(key.certificate, (*key.chain, *above), opened)  # type: ignore[arg-type]

    def named(self, name: str) -> bytes:
        return next(key.certificate for key in self.home.keys if key.name == name)

    def reopen(self) -> None:
        self.home = open_home(self.home.folder)

    def by_request(self, name: str, now: datetime) -> Signer:
        """A key outside the home: its request in, its certificate out."""
        key = soft_key(provenance=Provenance.DEVELOPMENT)
        request = read_request(certificate_request(key, f"CN={name},O=ACME"), f"{name}.csr")
        wanted = authority.Wanted(CODE_SIGNER, Provenance.DEVELOPMENT)
        issued = authority.certify(self.home, request, wanted, now, None, f"{name}.csr")
        self.reopen()
        return Signer(issued.certificate, authority.chain_of(self.home, issued), key)

    def list(self, now: datetime) -> bytes:
        ca = next(key for key in self.home.keys if key.name == "intermediate")
        der = Path(authority.make_list(self.home, ca, now, None, timedelta(days=100))).read_bytes()
        self.reopen()
        return der


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


@dataclass
class Plant:
    """A folder with the installed trust file and what it remembers."""

    folder: Path
    clock: datetime | None = None

    @property
    def trust(self) -> Path:
        return self.folder / "trust.toml"

    def take(self, newest: Path, bundle: Path) -> None:
        """What `trust install` does, for the trust file and for the bundle."""
        installed = load_trust(str(self.trust)).trust if self.trust.exists() else None
        signed = read_signed(str(newest))
        new = parse_trust(signed.text, str(newest))
        if installed is None:
            load_trust(str(newest), fingerprint=str(new.digest))
        else:
            walk(installed, signed)
        if installed is None or installed.version < new.version:
            install(signed, str(self.folder), installed)
        with copied(str(bundle)) as source:
            check_bundle(source, new, str(self.folder))
            install_bundle(source, str(self.folder), new, self.clock or datetime.now(UTC))

    def judge(self, path: Path, now: datetime) -> Verdict:
        request = Request(clock=self.clock or now)
        (verdict,) = verify_paths([str(path)], load_trust(str(self.trust)), request)
        return verdict


def letter(verdict: Verdict) -> str:
    """One letter of the legend."""
    if verdict.outcome is Outcome.REJECTED:
        return "R"
    return "T" if verdict.outcome is Outcome.TRUSTED else "U"


def rules(anchors: list[Toml]) -> list[Toml]:
    """Each line has its own rule and persons; the HMI needs the plant's approval too."""
    common: dict[str, Toml] = {
        "environment": "development",
        "timestamp": "required",
        "fresh_for": "100d",
        "without_clock": "allow",
        "contact": "security@plant.example",
    }
    maker: dict[str, Toml] = {"slot": "maker", "anchors": anchors, "purposes": ["updatePackageSigning"]}
    plant: dict[str, Toml] = {"slot": "plant", "anchors": anchors}
    return [
        {"name": "drive", "products": ["drive"], **common, "signer": [{**maker, "persons": ["drive-line"]}]},
        {
            "name": "hmi",
            "products": ["hmi"],
            **common,
            "signer": [{**maker, "persons": ["hmi-line"]}, {**plant, "persons": ["rolf", "olga", "quinn"]}],
        },
    ]


@dataclass
class Year:
    """The scripted year."""

    root: Path
    house: House
    plants: dict[str, Plant]
    releases: dict[int, Path] = field(default_factory=dict)
    drive_keys: list[str] = field(default_factory=list)
    hmi_keys: list[str] = field(default_factory=list)
    approvers: dict[str, Signer] = field(default_factory=dict)
    anchors: list[Toml] = field(default_factory=list)

    def publish(self, now: datetime, officers: Sequence[str], by: dict[str, Signer]) -> None:
        version = len(self.house.versions) + 1
        persons: list[Toml] = [
            {"id": "drive-line", "organisation": "ACME", "keys": list(self.drive_keys)},
            {"id": "hmi-line", "organisation": "ACME", "keys": list(self.hmi_keys)},
            person("rita", RITA),
        ]
        for name, key in OFFICERS.items():
            mine = [key, *([self.approvers[name]] if name in self.approvers else [])]
            entry = person(name, *mine, organisation="plant")
            persons.append(entry | ({"until": ROLF_LEFT} if name == "rolf" and now > day(9) else {}))
        anchors = self.anchors
        signing = [one["certificate"] for one in anchors if isinstance(one, dict)]
        names: list[Toml] = [one["name"] for one in anchors if isinstance(one, dict)]
        parts: dict[str, Toml] = {
            "id": "plant-7",
            "version": version,
            "issued": now,
            "expires": now + 400 * DAY,
            "person": persons,
            "officers": quorum(2, **{name: OFFICERS[name] for name in officers}),
            "recovery": quorum(1, rita=RITA),
            "anchor": anchors,
            "authority": [{"name": f"timestamps {n}", "anchor": one} for n, one in enumerate(signing)],
            "crl": [{"issuer": pem(self.house.named("intermediate")), "max_age": {"install": "100d", "run": "400d"}}],
            "rule": rules(names),
        }
        stick = self.root / "published"
        if self.house.versions:  # the one before goes to the history of the next
            for old in stick.glob("trust.toml*"):
                kept = stick / "trust.history" / old.name.replace("trust.toml", f"{version - 1}.toml")
                kept.parent.mkdir(exist_ok=True)
                old.rename(kept)
        self.house.versions.append(write_trust(stick, parts, "trust.toml", **by))

    def release(self, number: int, maker: Signer, approver: Signer | None = None, stamped: bool = True) -> None:
        product = "hmi" if approver else "drive"
        path = self.root / "releases" / f"{product}-{number}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(f"{product} {number}\n".encode() * 50)
        now, tsa = day(number), self.house.signer("timestamp") if stamped else None
        manifest = manifest_pair(path, maker, Claims(product=product, version=f"1.{number}"), at=now, tsa=tsa)
        if approver:
            data = manifest.read_bytes()
            manifest.with_name(f"{manifest.name}.plant.p7s").write_bytes(
                p7s(approver, data, kind="manifest", at=now, tsa=tsa)
            )
        self.releases[number] = path

    def bundle(self, now: datetime) -> Path:
        path = self.root / "bundle.zip"
        path.write_bytes(zip_of({"trust.d/acme.crl": self.house.list(now)}))
        return path

    def openssl_agrees(self, now: datetime) -> None:
        """Signatures and tokens hold for OpenSSL too, and it names the same certificate as revoked at present."""
        anchors, listed = self.root / "root.pem", self.root / "listed.pem"
        anchors.write_text(pem(self.house.named("root")))
        for number in (1, 2, 10, 17, 20):
            manifest = Path(f"{self.releases[number]}.manifest")
            signature = Path(f"{manifest}.p7s")
            assert cms_verify(signature, manifest, anchors)[0], number
            assert not cms_verify(signature, self.releases[number], anchors)[0]
            (signer,) = read_envelope(signature.read_bytes(), Profile.OURS, "s").signers
            assert isinstance(signer, Read)
            value, stamp = self.root / "value", self.root / "token"
            value.write_bytes(signer.signature)
            stamp.write_bytes(signer.tokens[0])
            assert ts_verify(stamp, value, anchors)[0], number
            assert not ts_verify(stamp, manifest, anchors)[0]
        der = self.house.list(now)
        pem_list = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM).decode()
        listed.write_text(pem(self.house.named("root")) + pem(self.house.named("intermediate")) + pem_list)
        for name, good in (("release", True), ("release-2", False), ("release-3", True)):
            leaf = self.root / "leaf.pem"
            leaf.write_text(pem(self.house.named(name)))
            at = str(int((now + timedelta(hours=1)).timestamp()))
            accepted, said = run(["openssl", "verify", "-crl_check", "-attime", at, "-CAfile", listed, leaf])
            assert accepted is good, said
            assert ("certificate revoked" in said) is not good

    def row(self, number: int) -> dict[str, str]:
        now = day(number) + timedelta(hours=6)
        found = {}
        for name, plant in self.plants.items():
            if name == "C" and 8 < number < 22:
                found[name] = "off"
                continue
            found[name] = "".join(letter(plant.judge(path, now)) for path in self.releases.values())
        return found


def story(root: Path) -> Iterator[tuple[int, Year]]:
    """Each release, with all that happened until the plants judge it."""
    house = House(root, ceremony(root / "home", "ACME", START - DAY))
    plants = {name: Plant(root / f"plant-{name}") for name in "ABCD"}
    plants["D"].clock = datetime(1970, 1, 1, tzinfo=UTC)
    year = Year(root, house, plants)
    drive, hmi = house.signer("release"), house.by_request("HMI 1", START)
    year.approvers = {name: house.by_request(name, START) for name in ("rolf", "olga")}
    year.drive_keys, year.hmi_keys = [drive.key_digest], [hmi.key_digest]
    year.anchors = [{"name": "root", "environment": "development", "certificate": pem(house.named("root"))}]
    at = START
    everyone = OFFICERS
    officers = ["olga", "rolf", "mia"]
    year.publish(at, officers, {name: everyone[name] for name in ("olga", "mia")})
    for number in range(1, 25):
        now, later = day(number), day(number) + timedelta(hours=1)
        approver = None if number % 2 else year.approvers["rolf" if number <= 10 else "olga"]
        if number == 6:
            hmi_next = house.by_request("HMI 2", now)
            year.hmi_keys.append(hmi_next.key_digest)
        if number == 8:
            hmi = hmi_next
        if number == 9:
            authority.rekey(house.home, "release", "release-2", now, None)
            house.reopen()
            drive = house.signer("release-2")
            year.drive_keys.append(drive.key_digest)
        if number == 16:
            authority.rekey(house.home, "release-2", "release-3", now, None)
            house.reopen()
            thief, drive = drive, house.signer("release-3")
            year.drive_keys.append(drive.key_digest)
            authority.revoke(house.home, "release-2", x509.ReasonFlags.key_compromise, now, STOLEN)
            house.reopen()
        if number == 18:
            house.second = ceremony(root / "second", "ACME 2", now)
            root_two = next(key.certificate for key in house.second.keys if key.name == "root")
            crossed = authority.cross_sign(house.home, root_two, None, now, None, "second root")
            house.reopen()
            hmi_two = house.signer("release", house.second, (crossed.certificate,))
            year.hmi_keys.append(hmi_two.key_digest)
        if number == 20:
            hmi = hmi_two
            authority.renew(house.home, "release-3", now, None)
            house.reopen()
            drive = house.signer("release-3")
        year.release(number, (thief if number == 19 else drive) if number % 2 else hmi, approver, number != 5)
        if number == 6:
            stamper = LateStamper(Stamps(house.signer("timestamp"), now), None, now)
            (answer,) = stamper.stamp_file(str(year.releases[5]), None, False)
            assert isinstance(answer, Stamped)
        by = {}
        if number == 6:
            by, officers = {"olga": 1, "mia": 1}, ["olga", "rolf", "mia"]
        if number == 9:
            by = {"olga": 1, "rolf": 1}
        if number == 10:
            by, officers = {"olga": 1, "mia": 1}, ["olga", "nina", "mia"]
        if number == 11:
            by, officers = {"olga": 1, "nina": 1, "mia": 1}, ["olga", "nina", "paul"]
        if number == 14:
            by, officers = {"olga": 1, "paul": 1}, ["olga", "quinn", "paul"]
        if number in (16, 18):
            by = {"olga": 1, "quinn": 1}
        if number == 19:
            by = {"olga": 1, "paul": 1}
            second = {"name": "second root", "environment": "development", "certificate": pem(root_two)}
            year.anchors = [*year.anchors, second]
        if number == 23:
            by = {"sven": 1, "tara": 1}
        if by:
            year.publish(later, officers, {name: everyone[name] for name in by})
        if number == 21:
            officers = ["sven", "tara", "olga"]
            year.publish(later, officers, {"rita": RITA, "sven": everyone["sven"], "tara": everyone["tara"]})
        bundle = year.bundle(later)
        newest = house.versions[-1]
        for name, plant in plants.items():
            current = name in "AD" or (name == "C" and (number <= 8 or number >= 22))
            if number == 1 or current or (name == "B" and number % 6 == 0):
                plant.take(newest, bundle)
            if name == "B" and number == 22:  # the mail brought the revocation list alone, the old trust file stays
                plant.take(plant.trust, bundle)
        yield number, year


# One row for the day after each release, one column for each plant, one letter for each release so far (1 to 24 from the left):
#   T trusted, to be installed    R refused    U undecided, not to be installed yet    off: switched off
# A is always current. B gets a stick each quarter (6, 12, 18, 24), and at 22 the revocation list alone. C is off from 9 to 21. D's
# clock says 1970: it knows no time newer than its newest trust file, and so no list that is newer.
# Why:  5 has no proved time until 6 (R, then T).  10 was approved after rolf had left: R where that is known.
#   13 and 15 were made with the stolen key after the theft: R where the list says so; 9, before it, stays T for good. B never
#   trusted them: its list was older than they are, and silence of such a list proves nothing.  19 is the thief's.
#   B at 9 and 11 (and at 17): the new key is in no trust file that B has.  B at 22: its trust file knows no second root, 20 and 22
#   reach the first one by the cross certificate.  A quarter's stick ends all that: at 12, 18 and 24 B says what A says.
YEAR = """
        A                         B                         C                         D
 1      T                         T                         T                         U
 2      TT                        TU                        TT                        UU
 3      TTT                       TUU                       TTT                       UUU
 4      TTTT                      TUUU                      TTTT                      UUUU
 5      TTTTR                     TUUUR                     TTTTR                     UUUUU
 6      TTTTTT                    TTTTTT                    TTTTTT                    TTTTTT
 7      TTTTTTT                   TTTTTTU                   TTTTTTT                   TTTTTTU
 8      TTTTTTTT                  TTTTTTUU                  TTTTTTTT                  TTTTTTUU
 9      TTTTTTTTT                 TTTTTTUUR                 off                       TTTTTTTTT
10      TTTTTTTTTR                TTTTTTUURU                off                       TTTTTTTTTR
11      TTTTTTTTTRT               TTTTTTUURUR               off                       TTTTTTTTTRT
12      TTTTTTTTTRTT              TTTTTTTTTRTT              off                       TTTTTTTTTRTU
13      TTTTTTTTTRTTT             TTTTTTTTTRTTU             off                       TTTTTTTTTRTUU
14      TTTTTTTTTRTTTT            TTTTTTTTTRTTUU            off                       TTTTTTTTTRTTTT
15      TTTTTTTTTRTTTTT           TTTTTTTTTRTTUUU           off                       TTTTTTTTTRTTTTU
16      TTTTTTTTTRTTRTRT          TTTTTTTTTRTTUUUU          off                       TTTTTTTTTRTTRTRT
17      TTTTTTTTTRTTRTRTT         TTTTTTTTTRTTUUUUR         off                       TTTTTTTTTRTTRTRTU
18      TTTTTTTTTRTTRTRTTT        TTTTTTTTTRTTRTRTTT        off                       TTTTTTTTTRTTRTRTTT
19      TTTTTTTTTRTTRTRTTTR       TTTTTTTTTRTTRTRTTTR       off                       TTTTTTTTTRTTRTRTTTR
20      TTTTTTTTTRTTRTRTTTRT      TTTTTTTTTRTTRTRTTTRU      off                       TTTTTTTTTRTTRTRTTTRU
21      TTTTTTTTTRTTRTRTTTRTT     TTTTTTTTTRTTRTRTTTRUU     off                       TTTTTTTTTRTTRTRTTTRTT
22      TTTTTTTTTRTTRTRTTTRTTT    TTTTTTTTTRTTRTRTTTRTTT    TTTTTTTTTRTTRTRTTTRTTT    TTTTTTTTTRTTRTRTTTRTTU
23      TTTTTTTTTRTTRTRTTTRTTTT   TTTTTTTTTRTTRTRTTTRTTTU   TTTTTTTTTRTTRTRTTTRTTTT   TTTTTTTTTRTTRTRTTTRTTTT
24      TTTTTTTTTRTTRTRTTTRTTTTT  TTTTTTTTTRTTRTRTTTRTTTTT  TTTTTTTTTRTTRTRTTTRTTTTT  TTTTTTTTTRTTRTRTTTRTTTTU
"""
# after release, plant, the release asked about: the first finding and what the plant engineer is told
TOLD = """
 5  A   5  SW-TIMESTAMP-REQUIRED   DO NOT INSTALL: the date of the signature is not proved
10  A  10  SW-SIGNER-NOT-ALLOWED   DO NOT INSTALL: its signer may not sign this
11  B  11  SW-SIGNER-NOT-ALLOWED   DO NOT INSTALL: its signer may not sign this
13  B  13  SW-REVOCATION-UNKNOWN   CANNOT DECIDE, do not install yet: revocation cannot be checked
16  A  13  SW-CERT-REVOKED         DO NOT INSTALL: its signer was revoked
19  A  19  SW-CERT-REVOKED         DO NOT INSTALL: its signer was revoked
20  A  20  SW-KEY-DEVELOPMENT-GRADE  INSTALL: allowed
22  B  20  SW-KEY-DEVELOPMENT-GRADE  INSTALL: allowed
22  C  13  SW-CERT-REVOKED         DO NOT INSTALL: its signer was revoked
24  D  24  SW-REVOCATION-UNKNOWN   CANNOT DECIDE, do not install yet: revocation cannot be checked
"""


def test_a_year_of_releases_rotations_losses_and_outages_is_judged_as_its_officers_expect(tmp_path: Path) -> None:
    expected = {int(row[0]): dict(zip("ABCD", row[1:], strict=True)) for row in map(str.split, YEAR.split("\n")[2:-1])}
    told = [line.split(maxsplit=4) for line in TOLD.strip().split("\n")]
    for number, year in story(tmp_path):
        assert year.row(number) == expected[number], number
        for _, plant, release, code, words in (one for one in told if int(one[0]) == number):
            verdict = year.plants[plant].judge(year.releases[int(release)], day(number) + timedelta(hours=6))
            assert (verdict.findings[0].code, instruction(verdict)) == (code, words), (number, plant, release)
        if number == 22:
            roots(year)
            recovered(year)
    year.openssl_agrees(day(24) + timedelta(hours=7))


def roots(year: Year) -> None:
    """The same release ends at the second root where it is known, and at the first one where it is not."""
    now = day(22) + timedelta(hours=6)
    found = {name: year.plants[name].judge(year.releases[20], now).signers[0].anchor for name in "ABC"}
    assert found == {"A": "second root", "B": "root", "C": "second root"}


def recovered(year: Year) -> None:
    """C, off through three officers' changes, walked all versions and nobody went there; without the history it is refused."""
    newest = year.house.versions[-1]
    assert load_trust(str(year.plants["C"].trust)).trust.version == len(year.house.versions) == 10
    before = parse_trust((newest.parent / "trust.history/2.toml").read_bytes(), "2")
    lost = year.root / "no-history"
    lost.mkdir()
    for one in newest.parent.glob("trust.toml*"):
        (lost / one.name).write_bytes(one.read_bytes())
    walk(before, read_signed(str(newest)))
    with pytest.raises(SealwrightError):
        walk(before, read_signed(str(lost / "trust.toml")))
    # the recovery key's signature is what carried the last step: the new officers alone cannot appoint themselves
    previous = parse_trust((newest.parent / "trust.history/9.toml").read_bytes(), "9")
    walk(previous, read_signed(str(lost / "trust.toml")))
    (lost / "trust.toml.rita.p7s").unlink()
    with pytest.raises(TrustRefused):
        walk(previous, read_signed(str(lost / "trust.toml")))
