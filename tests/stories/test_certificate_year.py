"""A year of one house on a fake clock: two product lines, 24 releases, and everything that happens to keys and officers.

Plants: A is always current; B gets a stick now and then; C lies switched off from January to August; D has a clock that
stands at 1970. The authorities are made in a ceremony. After each step a table says what each of them may install; it was written by hand, from RULES 4 and 5:

    T trusted   W trusted, with the warning that recovery keys were used   R refused   U undecided   - not delivered there
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.openssl import run
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import CeremonyRefused, KeyRefused, TrustRefused
from sealwright.formats.format import Slot
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyKind, Provenance
from sealwright.log.journal import Journal
from sealwright.pki.profiles import CODE_SIGNER
from sealwright.pki.request import certificate_request, read_request
from sealwright.signing.attendance import attend, new_nonce
from sealwright.signing.authority import (
    Wanted,
    certify,
    chain_of,
    cross_sign,
    make_list,
    pem,
    rekey,
    renew,
    revoke,
)
from sealwright.signing.ceremony import run_ceremony
from sealwright.signing.ceremonybook import open_book
from sealwright.signing.ceremonyplan import Draft, plan_text, read_plan
from sealwright.signing.ceremonysteps import Session
from sealwright.signing.compromise import signatures_since
from sealwright.signing.enrol import enrol, enrol_for, save
from sealwright.signing.home import JOURNAL, EnrolledKey, Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home, sign_trust
from sealwright.signing.issued import REASONS
from sealwright.signing.issuing import authority_of
from sealwright.signing.late import LateStamper, Stamped
from sealwright.signing.recordcheck import check_transcript
from sealwright.signing.sign import Signed, SignOptions, sign_paths
from sealwright.signing.stamps import open_stamper
from sealwright.signing.transcript import sign_transcript
from sealwright.trust.archive import zip_of
from sealwright.trust.belief import load_trust
from sealwright.trust.bundle import check_bundle, copied, folder_files, install_bundle
from sealwright.trust.history import install, read_signed
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import FIRST_LINE, parse_trust
from sealwright.trust.verdict import Verdict
from sealwright.trust.verify import Request, verify_paths

BEGIN = datetime(2027, 1, 4, 8, tzinfo=UTC)
STUCK = datetime(1970, 1, 1, tzinfo=UTC)
NOBODY = "http://127.0.0.1:9/"  # the port of discard: no authority answers
PLANTS = "ABCD"


def day(number: float) -> datetime:
    """A day of the year."""
    return BEGIN + timedelta(days=number)


def spki(key: EnrolledKey) -> str:
    return str(key_digest(key.public_key))


def public(key: EnrolledKey) -> str:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    return key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def anchor_pem(home: Home) -> str:
    return next(pem_of(key.certificate) for key in home.keys if key.name == "root")


def pem_of(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


class House:
    """The maker, its officers, what it published, and the plants."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = str(folder / "ca")
        self.second = str(folder / "second")
        self.people = {
            name: init_home(str(folder / f"home-{name}"), InitOptions(now=day(0), title=name))
            for name in ("eva", "jan", "mia", "noa", "tom", "rolf", "rita")
        }
        self._ceremony(("eva", "jan", "mia"))
        for line in ("release", "hmi"):
            enrol_for(open_home(self.ca), "file", line, None, day(0))
        self.office = folder / "office"  # where the trust file is edited
        self.office.mkdir()
        self.plants = {name: folder / f"plant-{name}" for name in PLANTS}
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir()
        self.officers: dict[str, EnrolledKey] = {}
        self.until: dict[str, datetime] = {}
        self.anchors: list[tuple[str, str]] = []
        self.version = 0

    def _ceremony(self, officers: tuple[str, ...]) -> None:
        """Root, intermediate and timestamp authority, made before two of three officers, who sign the transcript."""
        path = self.folder / "plan.txt"
        keys = [(name, public(officer_key(self.people[name]))) for name in officers]
        draft = Draft("ACME", "ACME", "ACME root", ["ACME signing CA"], keys, 2, steps=("timestamp",))
        path.write_text(plan_text(draft))
        plan = read_plan(str(path))
        nonce, present = new_nonce(), [str(self.folder / f"{name}-attends.p7s") for name in officers[:2]]
        with open_book(plan) as book:
            book.begin(nonce, day(0))
        for name, out in zip(officers, present, strict=False):
            attend(plan, nonce, self.people[name], name, out, day(0))

        def yes(*_: object) -> bool:
            return True

        def nothing(*_: object) -> None:
            return None

        def run_with(attendance: list[str]) -> None:
            run_ceremony(plan, self.ca, Session(day(0), nonce, attendance, yes, nothing, yes, yes, nothing))

        with pytest.raises(CeremonyRefused):
            run_with(present[:1])
        run_with(present)
        transcript = str(Path(self.ca) / "ceremony" / "transcript.txt")
        sign_transcript(transcript, plan, self.people["eva"], "eva", day(0))
        with pytest.raises(CeremonyRefused):
            check_transcript(transcript, plan, open_home(self.ca))
        sign_transcript(transcript, plan, self.people["mia"], "mia", day(0))
        assert check_transcript(transcript, plan, open_home(self.ca)).signed == ("eva", "mia")

    @property
    def home(self) -> Home:
        """The home as it is now."""
        return open_home(self.ca)

    # signing

    def release(self, name: str, key: str, product: str, at: float, home: str = "", **how: object) -> Signed:
        """Sign one release, with its product and version."""
        path = self.artifacts / f"{name}.bin"
        path.write_bytes(f"{product} {name}\n".encode() * 50)
        claims = Claims(product=product, version=name)
        options = SignOptions(key=key, claims=claims, clock=lambda: day(at), **how)  # type: ignore[arg-type]
        (made,) = sign_paths([str(path)], open_home(home or self.ca), options)
        assert isinstance(made, Signed), made
        return made

    def accepted_by(self, person: str, name: str, at: float) -> None:
        """The plant's own signature over a recipe, by a person's key."""
        options = SignOptions(key="release", slot=Slot.PLANT, clock=lambda: day(at))
        (made,) = sign_paths([str(self.artifacts / f"{name}.bin")], self.people[person], options)
        assert isinstance(made, Signed), made

    def published(self, at: float) -> None:
        """The revocation list of the day, in the office."""
        home = self.home
        made = make_list(home, authority_of(home, None, CODE_SIGNER, day(at)), day(at), None, timedelta(days=60))
        (self.office / "trust.d").mkdir(exist_ok=True)
        shutil.copy(made, self.office / "trust.d" / "acme.crl")

    # the trust file

    def new_version(self, at: float, signers: Iterable[str]) -> None:
        """The next version, filed with its predecessors, signed by the persons named."""
        path = self.office / "trust.toml"
        if path.exists():
            history = self.office / "trust.history"
            history.mkdir(exist_ok=True)
            for old in self.office.glob("trust.toml*"):
                old.rename(history / old.name.replace("trust.toml", f"{self.version}.toml"))
        self.version += 1
        path.write_text(self._text(at))
        for person in signers:
            sign_trust(str(path), self.people[person], person, day(at))

    def _text(self, at: float) -> str:
        home = self.home
        lines = {key.name: spki(key) for key in home.keys if key.purpose is KeyPurpose.ARTIFACT}
        second = open_home(self.second) if Path(self.second).exists() else None
        persons: list[Toml] = [{"id": "acme", "organisation": "ACME", "keys": list(lines.values())}]
        if second is not None:
            persons.append(
                {"id": "acme 2", "organisation": "ACME", "keys": [spki(second.key(None, KeyPurpose.ARTIFACT))]}
            )
        for name in self.people:
            own = spki(self.people[name].key(None, KeyPurpose.ARTIFACT))
            person: dict[str, Toml] = {"id": name, "organisation": "Plant", "keys": [own]}
            persons.append(person | ({"until": self.until[name]} if name in self.until else {}))
        quorum = [{"person": name, "key": public(key)} for name, key in self.officers.items()]
        sealed = [{"person": name, "key": public(recovery_key(self.people[name]))} for name in ("rolf", "rita")]
        maker: dict[str, Toml] = {"anchors": [name for name, _ in self.anchors], "purposes": ["updatePackageSigning"]}
        rules: list[Toml] = [
            {
                "name": product,
                "products": [product],
                "environment": "development",
                "timestamp": "required",
                "fresh_for": "190d",
                "grace": "5d",
                "without_clock": "allow",
                "signer": [{**maker, "slot": "maker"}],
            }
            for product in ("drive", "hmi")
        ]
        people = [f"people {name}" for name in ("jan", "noa")]
        rules.append(
            {
                "name": "recipes",
                "products": ["recipe"],
                "environment": "development",
                "timestamp": "required",
                "without_clock": "allow",
                "signer": [
                    {**maker, "slot": "maker"},
                    {"slot": "plant", "anchors": people, "persons": ["jan", "noa"]},
                ],
            }
        )
        anchors = [*self.anchors, *((f"people {name}", anchor_pem(self.people[name])) for name in ("jan", "noa"))]
        return toml_text(
            FIRST_LINE,
            {
                "id": "acme-plants",
                "version": self.version,
                "issued": day(at),
                "expires": day(at) + timedelta(days=800),
                "person": persons,
                "officers": {"threshold": 2, "key": quorum},
                "recovery": {"threshold": 2, "key": sealed},
                "anchor": [
                    {"name": name, "environment": "development", "certificate": certificate}
                    for name, certificate in anchors
                ],
                "authority": [{"name": name, "anchor": certificate} for name, certificate in anchors],
                "rule": rules,
            },
        )

    # the plants

    def bring(self, plants: str) -> None:
        """A stick with the whole trust folder, installed as `trust install` does."""
        for name in plants:
            to, source = self.plants[name], str(self.office / "trust.toml")
            there = to / "trust.toml"
            now = parse_trust(there.read_bytes(), str(there)) if there.exists() else None
            fingerprint = None if now else str(Digest.of(read_file(source, 1 << 20)).value.hex())
            believed = load_trust(source, fingerprint=fingerprint, installed=now)
            to.mkdir(exist_ok=True)
            install_bundle(source, str(to), believed.trust, datetime.now(UTC))
            install(read_signed(source), str(to), now)

    def bring_list(self, plants: str) -> None:
        """One small file: the revocation bundle alone."""
        stick = self.folder / "revocations.zip"
        stick.write_bytes(zip_of(folder_files(str(self.office))))
        for name in plants:
            to = self.plants[name]
            trust = parse_trust((to / "trust.toml").read_bytes(), "trust.toml")
            with copied(str(stick)) as copy:
                check_bundle(copy, trust, str(to))
                install_bundle(copy, str(to), trust, datetime.now(UTC))

    def verdict(self, name: str, plant: str, at: float) -> Verdict:
        """What a plant says of an artifact on a day."""
        folder = self.plants[plant]
        text = read_file(str(folder / "trust.toml"), 1 << 20)
        believed = load_trust(str(folder / "trust.toml"), fingerprint=Digest.of(text).value.hex())
        clock = STUCK if plant == "D" else day(at)
        state = folder / "state"
        state.mkdir(exist_ok=True)
        request = Request(clock=clock, state=str(state))
        (verdict,) = verify_paths([str(self.artifacts / f"{name}.bin")], believed, request)
        return verdict

    def table(self, at: float, expected: str) -> None:
        """Compare with rows such as `r01 TT-T`, one letter for each plant."""
        found = []
        for row in expected.split("\n"):
            if not row.strip():
                continue
            name, letters = row.split()[:2]
            said = [
                "-" if wanted == "-" else letter(self.verdict(name, plant, at))
                for plant, wanted in zip(PLANTS, letters, strict=True)
            ]
            found.append((name, "".join(said), letters))
        wrong = [row for row in found if row[1] != row[2]]
        told = [
            (name, plant, [f"{one.severity} {one.sentence}" for one in self.verdict(name, plant, at).findings][:4])
            for name, said, wanted in wrong
            for plant, a, b in zip(PLANTS, said, wanted, strict=True)
            if a != b
        ]
        assert not wrong, told


def recovery_key(home: Home) -> EnrolledKey:
    return next(key for key in home.keys if key.purpose is KeyPurpose.RECOVERY)


def officer_key(home: Home) -> EnrolledKey:
    return next(key for key in home.keys if key.purpose is KeyPurpose.TRUST)


def letter(verdict: Verdict) -> str:
    if verdict.outcome.value == "trusted":
        return "W" if any(one.code == "SW-TRUST-RECOVERED" for one in verdict.findings) else "T"
    return {"rejected": "R", "undecided": "U"}[verdict.outcome.value]


@pytest.mark.timeout(300)
def test_a_year_of_certificates(tmp_path: Path) -> None:
    house = House(tmp_path)
    people = house.people

    # January: the first trust file, two of three officers; every plant gets it with its fingerprint.
    house.officers = {name: officer_key(people[name]) for name in ("eva", "jan", "mia")}
    house.anchors = [("acme", anchor_pem(house.home))]
    house.new_version(0, ["eva", "jan"])
    house.published(0)
    house.bring("ABCD")
    for number, at in enumerate(range(14, 71, 14), 1):
        drive = number % 2 == 1
        house.release(f"r{number:02}", "release" if drive else "hmi", "drive" if drive else "hmi", at)
    house.table(
        71,
        """
        r01 TT-T
        r02 TT-T
        r03 TT-T
        r04 TT-T
        r05 TT-T
        """,
    )

    # First rotation, on day 75: the drive key gets its next certificate. Old and new releases stand beside each other.
    before = x509.load_der_x509_certificate(house.home.key("release", KeyPurpose.ARTIFACT).certificate)
    renewed = renew(house.home, "release", day(75), None)
    assert renewed.x509.serial_number != before.serial_number
    assert renewed.x509.public_key() == before.public_key()
    house.release("r06", "hmi", "hmi", 84)
    house.release("r07", "release", "drive", 98)
    house.table(99, "r05 TT-T\nr06 TT-T\nr07 TT-T")

    # No timestamp authority answers on day 112. The release waits; nobody installs it until it is stamped on day 115.
    late = house.release("r08", "hmi", "hmi", 112, timestamp=(NOBODY,), later=True)
    assert late.pending == 1
    house.table(113, "r07 TT-T\nr08 RR-R")
    home = house.home
    with (
        Journal.open(home.path(JOURNAL)) as journal,
        closing(open_stamper("local", home, None, journal, clock=lambda: day(115))) as stamper,
    ):
        (stamped,) = LateStamper(stamper, home, day(115), journal).stamp_pending()
    assert isinstance(stamped, Stamped), stamped
    house.table(116, "r07 TT-T\nr08 TT-T")

    # Second rotation, on day 125: a new key for the HMI; the old one may sign for 30 days more.
    new = rekey(house.home, "hmi", "hmi-2", day(125), None, timedelta(days=30))
    assert new.certificate != house.home.key("hmi", KeyPurpose.ARTIFACT).certificate
    house.release("r09", "release", "drive", 126)
    house.release("r10", "hmi-2", "hmi", 140)
    house.release("x10", "hmi", "hmi", 150)
    with pytest.raises(KeyRefused, match="its signing ended"):
        house.release("x11", "hmi", "hmi", 156)
    house.table(151, "r08 TT-T\nr09 TT-T\nr10 TT-T\nx10 TT-T")

    # The drive key was stolen on day 130 and has signed a forgery; nobody knows before day 160.
    house.release("forged", "release", "drive", 135)
    house.table(152, "r09 TT-T\nforged TT-T")
    (*_, revoked) = revoke(house.home, "release", REASONS["keyCompromise"], day(160), invalid=day(130), person="eva")
    assert revoked.end is not None
    stolen = house.home.key("release", KeyPurpose.ARTIFACT)
    told = signatures_since(house.home, key_digest(stolen.public_key), day(130))
    assert [one.signed.version for one in told] == ["forged"]
    with pytest.raises(KeyRefused, match="revoked"):
        house.release("r11", "release", "drive", 161)
    house.published(161)
    house.bring_list("AD")  # one small file; B waits for its stick until day 180
    house.table(
        162,
        """
        r01 TT-T
        r07 TT-T
        r09 TT-T
        forged RT-R
        r10 TT-T
        """,
    )
    said = house.verdict("forged", "A", 162)
    assert "SW-CERT-REVOKED" in [one.code for one in said.findings], said.findings

    # Third rotation, on day 165: a line's new key asks by a request, and the certificate comes back by file.
    uri = f"file:{tmp_path}/drive-2.pem"
    create_key(uri, KeyKind.P256, None)
    with closing(open_key(uri, None)) as key:
        asked = certificate_request(key, "CN=ACME drives 2027,O=ACME")
    wanted = Wanted(CODE_SIGNER, Provenance.DEVELOPMENT)
    issued = certify(house.home, read_request(asked, "drive-2.csr"), wanted, day(165), None, "drive-2.csr")
    (tmp_path / "drive-2.crt").write_text(pem(issued, chain=chain_of(house.home, issued)))
    enrol(house.home, "drive-2", uri, KeyPurpose.ARTIFACT, str(tmp_path / "drive-2.crt"), None)
    house.release("r11", "drive-2", "drive", 168)
    house.release("r12", "hmi-2", "hmi", 175)
    house.published(180)
    house.bring_list("ABD")
    house.table(181, "r09 TT-T\nforged RR-R\nr11 TT-T\nr12 TT-T")

    # Jan leaves on day 190. What he accepted before stays accepted, what comes later does not count.
    house.release("recipe-1", "drive-2", "recipe", 185)
    house.accepted_by("jan", "recipe-1", 186)
    house.release("recipe-2", "drive-2", "recipe", 194)
    house.accepted_by("jan", "recipe-2", 195)
    house.release("recipe-3", "drive-2", "recipe", 196)
    house.accepted_by("noa", "recipe-3", 197)
    house.until["jan"] = day(190)
    house.officers = {name: officer_key(people[name]) for name in ("eva", "mia", "noa")}
    house.new_version(198, ["eva", "mia"])
    house.published(198)
    house.bring("AD")
    house.table(
        199,
        """
        recipe-1 T--T
        recipe-2 R--R
        recipe-3 T--T
        r11 TU-T
        """,
    )  # B's trust file is of January: of 199 days is too old to install by

    # Two more changes of officers; C comes back on day 224 and walks all of them, by their signatures alone.
    house.officers = {name: officer_key(people[name]) for name in ("eva", "noa", "tom")}
    house.new_version(205, ["noa", "mia", "tom"])  # Mia signs a last time, as one of those before
    house.officers = {name: officer_key(people[name]) for name in ("noa", "tom", "mia")}
    house.new_version(212, ["noa", "tom"])
    house.release("r13", "drive-2", "drive", 196)
    house.release("r14", "hmi-2", "hmi", 210)
    house.release("r15", "drive-2", "drive", 220)
    house.table(223, "r01 TUUT\nr13 TUUT")
    house.published(224)
    house.bring("ABCD")
    house.table(
        225,
        """
        r01 TTTT
        forged RRRR
        r13 TTTT
        r14 TTTT
        r15 TTTT
        recipe-2 RRRR
        """,
    )
    old = house.office / "trust.history" / "2.toml"
    with pytest.raises(TrustRefused):
        load_trust(str(old), installed=parse_trust((house.plants["A"] / "trust.toml").read_bytes(), "trust.toml"))

    # A second root on day 230, certified by the first: plants with the old trust file take what it vouches for.
    second = init_home(house.second, InitOptions(now=day(230), title="ACME 2", organisation="ACME"))
    root = next(key for key in second.keys if key.name == "root")
    crossed = cross_sign(house.home, root.certificate, "root", day(231), None, "root-2.pem")
    signer = second.key("release", KeyPurpose.ARTIFACT)
    save(second, replace(signer, chain=(*signer.chain, crossed.certificate)))
    house.release("r16", "hmi-2", "hmi", 232)
    house.release("r17", "release", "drive", 238, home=house.second, timestamp="none")
    stamp_by(house, "r17", 239)
    house.table(240, "r16 TTTT\nr17 TTTT")
    house.anchors.append(("acme 2", anchor_pem(second)))
    house.new_version(245, ["noa", "mia"])
    house.bring("A")
    house.release("r18", "release", "hmi", 252, home=house.second)
    house.table(
        253, "r17 TTTT\nr18 TRRR"
    )  # stamped by the new house's authority, which the old trust files do not know

    # Noa and Mia are lost on day 280. The sealed keys replace officers and nothing else, and every verdict shows it.
    house.officers = {name: officer_key(people[name]) for name in ("eva", "tom", "jan")}
    house.new_version(285, ["rolf", "rita", "eva", "tom"])
    house.published(285)
    for number, at in ((19, 266), (20, 274), (21, 282)):
        house.release(f"r{number}", "drive-2" if number % 2 else "hmi-2", "drive" if number % 2 else "hmi", at)
    house.bring("ABC")  # A is at version 5, B and C are at 4: each by its own steps
    house.table(
        286,
        """
        r01 WWWT
        r17 WWWT
        r21 WWWT
        forged RRRR
        """,
    )
    house.new_version(290, ["eva", "tom"])
    house.bring("ABCD")
    house.table(291, "r01 TTTT\nr17 TTTT\nr21 TTTT")

    # The year ends: 24 releases, one forgery, and nobody had to travel.
    for number, at in ((22, 300), (23, 314), (24, 328)):
        house.release(f"r{number}", "drive-2" if number % 2 else "hmi-2", "drive" if number % 2 else "hmi", at)
    house.published(330)
    house.bring_list("ABCD")
    house.table(
        331,
        "\n".join(f"r{number:02} TTTT" for number in range(1, 25))
        + "\nforged RRRR\nrecipe-1 TTTT\nrecipe-2 RRRR\nrecipe-3 TTTT\nx10 TTTT",
    )
    openssl_agrees(house)


def stamp_by(house: House, name: str, at: float) -> None:
    """A timestamp of the first house's authority for what the second one signed."""
    home = house.home
    with (
        Journal.open(home.path(JOURNAL)) as journal,
        closing(open_stamper("local", home, None, journal, clock=lambda: day(at))) as stamper,
    ):
        made = LateStamper(stamper, home, day(at), journal).stamp_file(
            str(house.artifacts / f"{name}.bin"), None, False
        )
    assert all(isinstance(one, Stamped) for one in made), made


def openssl_agrees(house: House) -> None:
    """The signatures of both keys, and who is revoked at the end of the year, by the openssl program."""
    folder = house.artifacts
    at = str(int(day(331).timestamp()))
    for name in ("r01", "r11", "r24"):
        command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", folder / f"{name}.bin.manifest.p7s",
                   "-content", folder / f"{name}.bin.manifest", "-CAfile", Path(house.ca) / "ca.pem", "-purpose", "any",
                   "-attime", at, "-out", "/dev/null"]  # fmt: skip
        accepted, words = run(command)
        assert accepted, words
    subprocess.run(["sha256sum", "--quiet", "-c", "r24.bin.manifest"], cwd=folder, check=True)
    home = house.home
    chain = folder / "chain.pem"
    chain.write_text(next(pem_of(key.certificate) for key in home.keys if key.name == "intermediate"))
    lists = folder / "list.pem"
    crl = x509.load_der_x509_crl((house.office / "trust.d" / "acme.crl").read_bytes())
    lists.write_bytes(crl.public_bytes(Encoding.PEM))
    for name, good in (("drive-2", True), ("hmi-2", True), ("release", False)):
        leaf = folder / f"{name}.pem"
        leaf.write_text(pem_of(home.key(name, KeyPurpose.ARTIFACT).certificate))
        accepted, words = run(
            ["openssl", "verify", "-crl_check", "-attime", at, "-CRLfile", lists, "-CAfile", Path(house.ca) / "ca.pem",
             "-untrusted", chain, leaf]
        )  # fmt: skip
        assert accepted is good, words
        assert good or "revoked" in words
