"""OpenSSL judges and reads what our authorities write: certificates of every profile, revocation lists, keys of every kind and place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.certs import made
from kit.openssl import run
from kit.pki import CLAIMED, DAY, HOUR, NOW, soft_key
from kit.tokens import another_token, softhsm, tpm
from sealwright.envelope.algorithms import algorithm_for
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.file import FileKey
from sealwright.keys.key import KeyInfo, KeyKind, OpenKey
from sealwright.pki.authority import Issuer, Subject, Terms
from sealwright.pki.crl import make_crl
from sealwright.pki.oids import CONSTRUCTIONS, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, PROFILES, ROOT, Names, Profile
from sealwright.signing.issued import Issued
from sealwright.signing.register import Order, Register

WHERE = ("p256", "p384", "rsa3072", "rsa3072-pss", "ed25519", "token", "tpm")
# What `-purpose` says of each profile; OpenSSL 3.0 has no word for code signing
PURPOSES = {
    "root": "crlsign",
    "intermediate": "crlsign",
    "update-signer": "smimesign",
    "timestamp-authority": "timestampsign",
    "ocsp-responder": "ocsphelper",
    "tls-server": "sslserver",
    "tls-client": "sslclient",
}
OTHERS = ("sslserver", "sslclient", "smimesign", "timestampsign", "crlsign")


@dataclass
class House:
    """A root and an authority whose keys are of one kind, in one place."""

    folder: Path
    register: Register
    keys: list[OpenKey]
    root: Issued
    ca: Issued
    lists: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, where: str) -> House:
        """where: of WHERE."""
        folder.mkdir(exist_ok=True)
        root = "p256" if where == "tpm" else where  # its few slots are for the authority that works every day
        keys = [_key(folder, root, "root"), _key(folder, where, "ca")]
        register = Register.open(str(folder / "register"))
        top, below = (key.info.public_key for key in keys)
        order = Order(ROOT, Subject("ACME root", "ACME"), top, CLAIMED)
        anchor = register.issue(order, Issuer(keys[0]), NOW - 30 * DAY)
        order = Order(INTERMEDIATE, Subject("ACME CA", "ACME"), below, CLAIMED)
        ca = register.issue(order, Issuer(keys[0], anchor.certificate), NOW - 30 * DAY)
        return cls(folder, register, keys, anchor, ca)

    @property
    def issuer(self) -> Issuer:
        return Issuer(self.keys[1], self.ca.certificate)

    @property
    def top(self) -> Issuer:
        return Issuer(self.keys[0], self.root.certificate)

    def one(self, profile: Profile = CODE_SIGNER, name: str = "") -> Issued:
        kind = next(kind for kind in (KeyKind.P256, KeyKind.RSA3072) if kind.algorithm.scheme in profile.schemes)
        hosts = ("line-1.example",) if profile.names is Names.HOSTS else ()
        public = soft_key(kind).info.public_key
        subject = Subject(name or profile.name, "ACME")
        return self.register.issue(
            Order(profile, subject, public, CLAIMED, terms=Terms(hosts=hosts)), self.issuer, NOW - DAY
        )

    def list(self, now: datetime = NOW, valid: timedelta = 30 * DAY) -> list[str | Path]:
        """The newest lists of both, as options of `openssl verify`."""
        made = [self.register.list(issuer, now, valid) for issuer in (self.top, self.issuer)]
        path = self.folder / "lists.pem"
        path.write_bytes(b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in made))
        (self.folder / "ca.crl").write_bytes(made[1])
        return ["-CRLfile", path, "-crl_check_all"]

    def judged(self, one: Issued, *options: str | Path, at: datetime = NOW) -> tuple[bool, str]:
        """`openssl verify -x509_strict` of the whole path."""
        for name, which in (("root.pem", self.root), ("ca.pem", self.ca), ("one.pem", one)):
            (self.folder / name).write_bytes(which.x509.public_bytes(Encoding.PEM))
        return run(
            ["openssl", "verify", "-x509_strict", "-attime", str(int(at.timestamp())), *options, "-CAfile",
             self.folder / "root.pem", "-untrusted", self.folder / "ca.pem", self.folder / "one.pem"]
        )  # fmt: skip


def _key(folder: Path, where: str, name: str) -> OpenKey:
    if where not in ("token", "tpm"):
        return soft_key(KeyKind(where))
    if where == "token":
        pin = softhsm()
        return open_key(create_key(f"{another_token()};object={name}", KeyKind.P384, pin).uri, pin)
    tpm()
    return open_key(create_key(f"tpm:{folder / name}.tss", KeyKind.P256, None).uri, None)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House.make(tmp_path_factory.mktemp("house"), "p256")
    yield house
    house.register.close()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_openssl_accepts_a_certificate_of_each_profile_for_its_purpose_and_for_no_other(
    ours: House, profile: Profile
) -> None:
    one = {"root": ours.root, "intermediate": ours.ca}.get(profile.name) or ours.one(profile)
    purpose = PURPOSES.get(profile.name, "any")
    accepted, words = ours.judged(one, "-purpose", purpose)
    assert accepted, words
    for other in set(OTHERS) - {purpose}:
        if profile.is_authority and other != "timestampsign":
            continue  # an authority may be asked for any of them, for what it issues
        refused, words = ours.judged(one, "-purpose", other)
        assert not refused, (other, words)


@pytest.mark.parametrize("where", WHERE)
def test_openssl_judges_by_the_lists_of_an_authority_whatever_its_key(tmp_path: Path, where: str) -> None:
    house = House.make(tmp_path / "house", where)
    good, bad, held = house.one(name="good"), house.one(name="bad"), house.one(name="held")
    lists = house.list(NOW)
    for one in (good, bad, held):
        accepted, words = house.judged(one, *lists)
        assert accepted, words
    house.register.revoke(bad, NOW, x509.ReasonFlags.key_compromise, invalid=NOW - 5 * DAY)
    held = house.register.hold(held, NOW)
    lists = house.list(NOW + HOUR)
    later = NOW + 2 * HOUR
    assert house.judged(good, *lists, at=later)[0]
    for one in (bad, held):
        accepted, words = house.judged(one, *lists, at=later)
        assert not accepted
        assert "certificate revoked" in words
    house.register.release(held, NOW + HOUR)
    lists = house.list(NOW + HOUR)
    assert house.judged(held, *lists, at=later)[0]
    accepted, words = house.judged(good, *lists, at=NOW + 40 * DAY)
    assert not accepted
    assert "CRL has expired" in words
    stranger = House.make(tmp_path / "stranger", "p256")
    accepted, words = house.judged(good, *stranger.list(NOW + HOUR), at=later)
    assert not accepted
    assert "CRL" in words
    house.register.revoke(house.ca, NOW + HOUR, x509.ReasonFlags.ca_compromise)
    accepted, words = house.judged(good, *house.list(NOW + HOUR), at=later)
    assert not accepted
    assert "certificate revoked" in words
    for key in house.keys:
        key.close()


@pytest.mark.parametrize("where", WHERE)
def test_openssl_reads_every_field_of_a_list(tmp_path: Path, where: str) -> None:
    house = House.make(tmp_path / "house", where)
    lost, replaced, held = (house.one(name=name) for name in ("lost", "replaced", "held"))
    house.register.revoke(
        lost, NOW, x509.ReasonFlags.key_compromise, invalid=datetime.fromisoformat("2026-10-21T07:08:09Z")
    )
    house.register.revoke(replaced, NOW, x509.ReasonFlags.superseded)
    house.register.hold(held, NOW)
    house.list(NOW - HOUR)
    house.list(NOW)
    crl = house.folder / "ca.crl"
    read, words = run(["openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text"])
    assert read, words
    text = " ".join(words.split())
    assert "Version 2" in text
    assert re.search(r"CRL Number: 2\b", text), text
    assert "Last Update: Nov 1 12:00:00 2026 GMT Next Update: Dec 1 12:00:00 2026 GMT" in text
    assert "X509v3 Authority Key Identifier" in text
    entries = {
        found[1].lower().lstrip("0"): found[2]
        for found in re.finditer(
            r"Serial Number: (\w+)(.*?)(?=Serial Number|Signature Algorithm: \S+ Signature|$)", text
        )
    }
    assert set(entries) == {f"{one.serial:x}" for one in (lost, replaced, held)}
    assert "Key Compromise" in entries[f"{lost.serial:x}"]
    assert "Invalidity Date: Oct 21 07:08:09 2026 GMT" in entries[f"{lost.serial:x}"]
    assert "Superseded" in entries[f"{replaced.serial:x}"]
    assert "Invalidity Date" not in entries[f"{replaced.serial:x}"]
    assert "Certificate Hold" in entries[f"{held.serial:x}"]
    (house.folder / "ca.pem").write_bytes(house.ca.x509.public_bytes(Encoding.PEM))
    assert (
        "verify OK"
        in run(["openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-CAfile", house.folder / "ca.pem"])[1]
    )
    for key in house.keys:
        key.close()


def test_the_date_since_when_ended_certificates_stay_is_where_x509_wants_it(ours: House) -> None:
    ours.list(NOW)
    crl = ours.folder / "ca.crl"
    _, words = run(["openssl", "asn1parse", "-inform", "DER", "-in", crl])
    lines = words.splitlines()
    at = next(number for number, text in enumerate(lines) if text.endswith(":2.5.29.60") or "expiredCertsOnCRL" in text)
    offset = lines[at + 1].split(":")[0].strip()
    _, inner = run(["openssl", "asn1parse", "-inform", "DER", "-in", crl, "-strparse", offset])
    begins = ours.ca.x509.not_valid_before_utc
    assert re.search(rf"GENERALIZEDTIME\s*:{begins:%Y%m%d%H%M%SZ}", inner), inner


def test_a_plant_can_ask_openssl_for_keys_in_hardware(ours: House) -> None:
    """Our policies count below our authorities, also for a verifier that demands one (RFC 5280 section 6.1)."""
    one = ours.one(name="asked")
    wanted = ["-policy_check", "-explicit_policy", "-policy"]
    accepted, words = ours.judged(one, *wanted, HARDWARE_CLAIMED)
    assert accepted, words
    accepted, words = ours.judged(one, *wanted, HARDWARE_ATTESTED)
    assert not accepted
    assert "policy" in words
    construction, oid = next(iter(CONSTRUCTIONS.items()))
    assert not ours.judged(one, *wanted, oid)[0]
    order = Order(CODE_SIGNER, Subject("modules", "ACME"), soft_key().info.public_key, CLAIMED, construction)
    assert ours.judged(ours.register.issue(order, ours.issuer, NOW - DAY), *wanted, oid)[0]


def test_a_list_in_the_authoritys_name_by_another_key_is_no_list(ours: House) -> None:
    one = ours.one(name="forged")
    lists = ours.list(NOW)
    assert ours.judged(one, *lists)[0]
    times = {"this_update": NOW, "next_update": NOW + DAY}
    forged = make_crl(ours.ca.certificate, soft_key(), number=99, revoked=[], **times)
    path = Path(lists[1])
    root = x509.load_pem_x509_crl(path.read_bytes())
    assert root.issuer == ours.root.x509.subject
    path.write_bytes(root.public_bytes(Encoding.PEM) + x509.load_der_x509_crl(forged).public_bytes(Encoding.PEM))
    accepted, words = ours.judged(one, *lists)
    assert not accepted
    assert "CRL signature failure" in words


@pytest.mark.parametrize("without", ["", "ski"])
def test_an_authority_of_an_old_pki_without_key_identifier_issues_and_lists_as_well(
    tmp_path: Path, without: str
) -> None:
    root = made("Company root", ca=True, without=without)
    ca = made("Company CA", root, ca=True, without=without)
    public = ca.key.public_key()
    key = FileKey(KeyInfo("test:ca", public, algorithm_for(public, subject="test"), CLAIMED, "memory"), ca.key)
    with Register.open(str(tmp_path / "register")) as register:
        order = Order(CODE_SIGNER, Subject("release", "ACME"), soft_key().info.public_key, CLAIMED)
        issuer = Issuer(key, ca.der)
        one = register.issue(order, issuer, NOW)
        lists = [register.list(issuer, NOW, DAY)]
        register.revoke(one, NOW, x509.ReasonFlags.superseded)
        lists.append(register.list(issuer, NOW, DAY))
    for name, pem in (("root", root.pem), ("ca", ca.pem), ("one", one.x509.public_bytes(Encoding.PEM))):
        (tmp_path / name).write_bytes(pem)
    for der, good in zip(lists, (True, False), strict=True):
        (tmp_path / "crl").write_bytes(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM))
        accepted, words = run(
            ["openssl", "verify", "-attime", str(int(NOW.timestamp())), "-crl_check", "-CRLfile", tmp_path / "crl", "-CAfile",
             tmp_path / "root", "-untrusted", tmp_path / "ca", tmp_path / "one"]
        )  # fmt: skip
        assert accepted is good, words


def test_a_list_of_an_hour_is_good_for_that_hour(ours: House) -> None:
    one = ours.one(name="hour")
    lists = ours.list(NOW, HOUR)
    assert ours.judged(one, *lists, at=NOW + HOUR - timedelta(seconds=1))[0]
    assert "CRL has expired" in ours.judged(one, *lists, at=NOW + HOUR + timedelta(seconds=1))[1]
