"""Where statuses come from: a home's register that others write meanwhile, and a list of revoked certificates in a file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.pki import CLAIMED, DAY, HOUR, NOW, Pki, soft_key
from sealwright.errors import JournalError, LimitExceeded, MalformedTrust, SealwrightError, Unreadable
from sealwright.keys.file import FileKey
from sealwright.pki.authority import Issuer, Subject
from sealwright.pki.crl import Revoked, make_crl
from sealwright.pki.ocsp import GOOD, State
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, ROOT, Profile
from sealwright.service.crlsource import CrlSource
from sealwright.service.registersource import RegisterSource, SharedRegister
from sealwright.signing.issued import Issued
from sealwright.signing.register import Order, Register

Reason = x509.ReasonFlags


@dataclass
class House:
    """A register with a root and an authority below it, both certified here."""

    folder: Path
    root: tuple[FileKey, bytes]
    authority: tuple[FileKey, bytes]

    def issue(self, name: str, by: tuple[FileKey, bytes] | None = None) -> Issued:
        """A signer's certificate."""
        key, certificate = by or self.authority
        order = Order(CODE_SIGNER, Subject(name), soft_key().info.public_key, CLAIMED)
        with Register.open(str(self.folder)) as register:
            return register.issue(order, Issuer(key, certificate), NOW)

    def revoke(self, one: Issued, reason: Reason = Reason.key_compromise) -> None:
        """For good."""
        with Register.open(str(self.folder)) as register:
            register.revoke(one, NOW, reason, invalid=NOW - DAY)

    def source(self) -> RegisterSource:
        """As the responder opens it."""
        return RegisterSource(SharedRegister(str(self.folder)), self.authority[1])


@pytest.fixture
def house(tmp_path: Path) -> House:
    folder = tmp_path / "register"

    def made(profile: Profile, name: str, above: tuple[FileKey, bytes] | None) -> tuple[FileKey, bytes]:
        key = soft_key()
        issuer = Issuer(*above) if above is not None else Issuer(key)
        with Register.open(str(folder)) as register:
            order = Order(profile, Subject(name), key.info.public_key, CLAIMED)
            return key, register.issue(order, issuer, NOW - 30 * DAY).certificate

    root = made(ROOT, "root", None)
    return House(folder, root, made(INTERMEDIATE, "CA", root))


def test_a_revocation_by_another_process_is_known_at_the_next_question(house: House) -> None:
    one, source = house.issue("release"), house.source()
    assert source.refresh(NOW).until is None
    assert source.status(one.serial) == GOOD
    house.revoke(one)
    assert source.status(one.serial) == GOOD, "as of the last refresh"
    source.refresh(NOW)
    said = source.status(one.serial)
    assert (said.state, said.time, said.reason, said.invalid) == (
        State.REVOKED, NOW, Reason.key_compromise, NOW - DAY,
    )  # fmt: skip


def test_a_hold_is_said_and_its_end_too(house: House) -> None:
    one, source = house.issue("release"), house.source()
    with Register.open(str(house.folder)) as register:
        held = register.hold(one, NOW)
        source.refresh(NOW)
        assert source.status(one.serial).reason is Reason.certificate_hold
        register.release(held, NOW + HOUR)
        source.refresh(NOW)
        assert source.status(one.serial) == GOOD


def test_nothing_is_read_again_while_nothing_changes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    source = house.source()
    source.refresh(NOW)
    monkeypatch.setattr("sealwright.service.registersource.read_register", None)
    for _ in range(100):
        source.refresh(NOW)


def test_each_authority_answers_for_its_own_serials_alone(house: House) -> None:
    ours = house.issue("release")
    source = house.source()
    source.refresh(NOW)
    assert source.status(ours.serial) == GOOD
    ca = x509.load_der_x509_certificate(house.authority[1]).serial_number
    assert source.status(ca).state is State.NEVER_ISSUED, "the root issued that one"
    above = RegisterSource(SharedRegister(str(house.folder)), house.root[1])
    above.refresh(NOW)
    assert above.status(ca) == GOOD
    assert above.status(ours.serial).state is State.NEVER_ISSUED


def test_of_an_authority_that_came_from_elsewhere_not_every_serial_is_known(house: House) -> None:
    pki = Pki.make("Elsewhere")
    by = (pki.intermediate.key, pki.intermediate.certificate)
    known, older = house.issue("here", by), pki.leaf("before")
    source = RegisterSource(SharedRegister(str(house.folder)), pki.intermediate.certificate)
    source.refresh(NOW)
    assert source.status(known.serial) == GOOD
    assert source.status(older.x509.serial_number).state is State.UNKNOWN
    empty = RegisterSource(SharedRegister(str(house.folder / "none")), pki.intermediate.certificate)
    empty.refresh(NOW)
    assert empty.status(known.serial).state is State.UNKNOWN


def test_a_damaged_register_or_an_older_copy_of_it_answers_nothing(house: House, tmp_path: Path) -> None:
    one, source = house.issue("release"), house.source()
    shutil.copytree(house.folder, tmp_path / "older")
    house.revoke(one)
    source.refresh(NOW)
    for what in ("older", "damaged", "gone"):
        shutil.copytree(house.folder, tmp_path / "good")
        used = RegisterSource(SharedRegister(str(tmp_path / "good")), house.authority[1])
        used.refresh(NOW)
        path = tmp_path / "good" / "journal.jsonl"
        if what == "older":
            path.write_bytes((tmp_path / "older" / "journal.jsonl").read_bytes())
        elif what == "damaged":
            path.write_bytes(path.read_bytes().replace(b"revoked", b"revokeD"))
        else:
            path.unlink()
        for _ in range(2):
            with pytest.raises(JournalError):
                used.refresh(NOW)
        path.write_bytes((house.folder / "journal.jsonl").read_bytes())
        used.refresh(NOW)
        assert used.status(one.serial).state is State.REVOKED
        shutil.rmtree(tmp_path / "good")


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Pki, Path, list[str]]:
    pki = Pki.make()
    path = tmp_path / "acme.crl"
    path.write_bytes(pki.crl(NOW - HOUR, number=5))
    notes: list[str] = []
    return pki, path, notes


def test_a_list_says_what_is_on_it_and_until_when(listed: tuple[Pki, Path, list[str]]) -> None:
    pki, path, notes = listed
    lost = pki.leaf("lost")
    source = CrlSource(str(path), pki.intermediate.certificate, notes.append)
    known = source.refresh(NOW)
    assert (known.since, known.until) == (NOW - HOUR, NOW - HOUR + 30 * DAY)
    assert known.keeps_ended is not None
    assert source.status(lost.x509.serial_number) == GOOD
    pki.revoke(lost, NOW - DAY, Reason.superseded)
    path.write_bytes(x509.load_der_x509_crl(pki.crl(NOW, number=6)).public_bytes(Encoding.PEM))
    source.refresh(NOW)
    said = source.status(lost.x509.serial_number)
    assert (said.state, said.time, said.reason) == (State.REVOKED, NOW - DAY, Reason.superseded)
    assert notes == []


def test_a_list_that_is_no_better_is_not_taken_and_the_operator_is_told_once(
    listed: tuple[Pki, Path, list[str]], tmp_path: Path
) -> None:
    pki, path, notes = listed
    source = CrlSource(str(path), pki.intermediate.certificate, notes.append)
    bad = {
        "older": pki.crl(NOW, number=4),
        "foreign": Pki.make().crl(NOW, number=9),
        "of the same name": Pki.make("ACME").crl(NOW, number=9),
        "damaged": pki.crl(NOW, number=9)[:-1],
        "altered": pki.crl(NOW, number=9)[:-1] + b"\x00",
        "empty": b"",
        "PEM of nothing": b"-----BEGIN X509 CRL-----\n",
    }
    for number, (what, data) in enumerate(bad.items(), 1):
        path.write_bytes(data)
        os.utime(path, ns=(number, number))
        for _ in range(3):
            assert source.refresh(NOW).since == NOW - HOUR, what
        assert len(notes) == number, what
    path.unlink()
    assert source.refresh(NOW).since == NOW - HOUR
    path.write_bytes(pki.crl(NOW, number=6))
    assert source.refresh(NOW).since == NOW


@pytest.mark.parametrize(
    ("data", "refusal"),
    [(b"no list", MalformedTrust), (None, Unreadable), (bytes((32 << 20) + 1), LimitExceeded)],
)
def test_a_responder_does_not_start_on_a_list_it_cannot_use(
    tmp_path: Path, data: bytes | None, refusal: type[SealwrightError]
) -> None:
    pki, path = Pki.make(), tmp_path / "acme.crl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(refusal):
        CrlSource(str(path), pki.intermediate.certificate, print)


def test_a_list_from_the_future_answers_later(listed: tuple[Pki, Path, list[str]]) -> None:
    pki, path, notes = listed
    path.write_bytes(pki.crl(NOW + DAY, number=7))
    source = CrlSource(str(path), pki.intermediate.certificate, notes.append)
    with pytest.raises(MalformedTrust):
        source.refresh(NOW)
    assert source.refresh(NOW + DAY).since == NOW + DAY


def test_a_long_list_is_looked_up_by_serial(tmp_path: Path) -> None:
    pki, path = Pki.make(), tmp_path / "acme.crl"
    issuer = pki.intermediate
    revoked = [Revoked(serial, NOW - DAY, Reason.superseded) for serial in range(1, 5_001)]
    path.write_bytes(
        make_crl(issuer.certificate, issuer.key, number=1, this_update=NOW, next_update=NOW + DAY, revoked=revoked)
    )
    source = CrlSource(str(path), issuer.certificate, print)
    source.refresh(NOW)
    assert source.status(5_000).state is State.REVOKED
    assert source.status(5_001) == GOOD
