"""`sealwright serve ocsp` as a process of its own: the home's register, a foreign list, and what it refuses to start on."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from kit.ocsp import responder_certificate
from kit.openssl import run
from kit.pki import DAY, Pki
from kit.serving import Served
from sealwright.cli.main import main
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyKind
from sealwright.pki.authority import Issuer, Subject
from sealwright.pki.profiles import CODE_SIGNER, OCSP_RESPONDER
from sealwright.signing.home import REGISTER, Home, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.issued import Issued
from sealwright.signing.register import Order, Register

NOW = datetime.now(UTC).replace(microsecond=0)


@dataclass
class Place:
    """A home with a responder's key, and the certificates it issued."""

    folder: Path
    home: Home
    good: Issued
    lost: Issued

    def openssl(self, port: int, one: Issued) -> str:
        """What `openssl ocsp` says of a certificate, having verified the answer."""
        (self.folder / "who.pem").write_bytes(one.x509.public_bytes(Encoding.PEM))
        (self.folder / "issuer.pem").write_bytes(
            x509.load_der_x509_certificate(self.home.keys[1].certificate).public_bytes(Encoding.PEM)
        )
        done, words = run(
            ["openssl", "ocsp", "-issuer", self.folder / "issuer.pem", "-cert", self.folder / "who.pem", "-CAfile",
             self.home.path("ca.pem"), "-verify_other", self.folder / "issuer.pem", "-url", f"http://127.0.0.1:{port}/ocsp"]
        )  # fmt: skip
        assert done, words
        assert "Response verify OK" in words, words
        return words

    def register(self, what: str, one: Issued) -> None:
        """Another process writes the register meanwhile."""
        with Register.open(self.home.path(REGISTER)) as register:
            if what == "revoke":
                register.revoke(one, NOW, x509.ReasonFlags.key_compromise)
            else:
                register.hold(one, NOW)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("ocsp")
    home = init_home(str(folder / "home"), InitOptions(now=NOW - DAY))
    above = home.keys[1]
    info = create_key(f"file:{home.path('keys', 'ocsp.pem')}", KeyKind.P256, None)
    with (
        closing(open_key(home.uri(above), None)) as key,
        Register.open(home.path(REGISTER)) as register,
    ):
        by = Issuer(key, above.certificate)

        def issue(name: str) -> Issued:
            other = create_key(f"file:{folder / name}.pem", KeyKind.P256, None)
            return register.issue(Order(CODE_SIGNER, Subject(name), other.public_key, other.provenance), by, NOW)

        own = register.issue(Order(OCSP_RESPONDER, Subject("ocsp"), info.public_key, info.provenance), by, NOW)
        good, lost = issue("good"), issue("lost")
    path = folder / "ocsp-certificate.pem"
    path.write_bytes(
        own.x509.public_bytes(Encoding.PEM)
        + x509.load_der_x509_certificate(above.certificate).public_bytes(Encoding.PEM)
    )
    arguments = ["key", "import-certificate", str(path), "--home", home.folder, "--key", info.uri]
    assert main([*arguments, "--name", "ocsp", "--purpose", "ocsp"]) == 0
    return Place(folder, open_home(home.folder), good, lost)


def test_openssl_hears_of_a_revocation_without_a_restart(place: Place) -> None:
    with Served("ocsp", Path(place.home.folder)) as served:
        assert served.told["authorities"][0]["key"] == "ocsp"
        assert ": good" in place.openssl(served.port, place.good)
        assert ": good" in place.openssl(served.port, place.lost)
        place.register("hold", place.lost)
        assert "certificateHold" in place.openssl(served.port, place.lost)
        place.register("revoke", place.lost)
        assert "keyCompromise" in place.openssl(served.port, place.lost)
        assert ": good" in place.openssl(served.port, place.good)
        assert served.stop() == 0


def test_its_lists_and_certificates_are_served_and_lead_nowhere_else(place: Place) -> None:
    lists = Path(place.home.path("trust.d"))
    lists.mkdir(exist_ok=True)
    pki = Pki.make()
    (lists / "plant.crl").write_bytes(pki.crl(NOW))
    (lists / "private.toml").write_text("secret")
    with Served("ocsp", Path(place.home.folder), "--access-log", "none") as served:
        assert served.ask("GET", "/crl/plant.crl").body == (lists / "plant.crl").read_bytes()
        assert served.ask("GET", "/ca/intermediate.cer").body == place.home.keys[1].certificate
        for path in (
            "/crl/private.toml",
            "/crl/private.crl",
            "/crl/../home.toml",
            "/crl/..%2fhome.crl",
            "/ca/ocsp.cer",
        ):
            assert served.ask("GET", path).status == 404


def test_it_is_told_on_stderr_what_an_operator_should_mend_and_not_who_asked_nonsense(place: Place) -> None:
    with Served("ocsp", Path(place.home.folder), "--access-log", "none") as served:
        for _ in range(5):
            assert served.ask("POST", "/ocsp", b"nonsense", Content_Type="application/ocsp-request").status == 200
        assert served.events() == []
        path = Path(place.home.path(REGISTER, "journal.jsonl"))
        data = path.read_bytes()
        path.write_bytes(data.replace(b"issued", b"issueD"))
        try:
            request = "/ocsp/" + quote(base64.b64encode(_asked(place)), safe="")
            assert {served.ask("GET", request).body for _ in range(5)} == {b"0\x03\x0a\x01\x03"}
            assert [one["event"] for one in served.events()] == ["ocsp"]
        finally:
            path.write_bytes(data)
        assert len(served.ask("GET", request).body) > 100


def _asked(place: Place) -> bytes:
    above = x509.load_der_x509_certificate(place.home.keys[1].certificate)
    builder = ocsp.OCSPRequestBuilder().add_certificate(place.good.x509, above, hashes.SHA256())
    return builder.build().public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def foreign(place: Place) -> Pki:
    """An authority elsewhere that certified a responder's key of this home, and the files that it gave."""
    pki = Pki.make("Plant", at=NOW - 30 * DAY)
    info = create_key(f"file:{place.folder / 'foreign.pem'}", KeyKind.P256, None)
    with closing(open_key(info.uri, None)) as key:
        der = responder_certificate(pki, key, at=NOW - DAY)
    path = place.folder / "foreign-certificate.pem"
    path.write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) + pki.intermediate.pem.encode())
    (place.folder / "plant-ca.pem").write_text(pki.intermediate.pem)
    (place.folder / "root.pem").write_text(pki.root.pem)
    arguments = ["key", "import-certificate", str(path), "--home", place.home.folder, "--key", info.uri]
    assert main([*arguments, "--name", "plant", "--purpose", "ocsp"]) == 0
    return pki


def test_an_authority_elsewhere_is_answered_for_from_its_list(place: Place, foreign: Pki) -> None:
    lost, crl = foreign.leaf("lost", at=NOW - DAY), place.folder / "plant.crl"
    crl.write_bytes(foreign.crl(NOW, number=1))
    options = ["--key", "plant", "--issuer", str(place.folder / "plant-ca.pem"), "--crl", str(crl)]
    (place.folder / "lost.pem").write_text(lost.pem)
    with Served("ocsp", Path(place.home.folder), *options) as served:
        asked = [
            "openssl", "ocsp", "-issuer", str(place.folder / "plant-ca.pem"), "-cert", str(place.folder / "lost.pem"),
            "-CAfile", str(place.folder / "root.pem"), "-verify_other", str(place.folder / "plant-ca.pem"),
            "-url", f"http://127.0.0.1:{served.port}/",
        ]  # fmt: skip
        words = run(asked)[1]
        assert "Response verify OK" in words
        assert ": good" in words
        foreign.revoke(lost, NOW, x509.ReasonFlags.superseded)
        crl.write_bytes(foreign.crl(NOW, number=2))
        words = run(asked)[1]
        assert "Response verify OK" in words
        assert "Reason: superseded" in words
        assert served.ask("GET", "/crl/plant.crl").body == crl.read_bytes()
        assert served.ask("GET", "/ca/plant-ca.cer").body == foreign.intermediate.certificate


def test_the_authority_signs_itself_only_where_it_is_told_to(place: Place) -> None:
    with Served("ocsp", Path(place.home.folder), "--sign-as-authority", "--key", "intermediate") as served:
        assert ": good" in place.openssl(served.port, place.good)


def test_what_cannot_be_served_is_refused_before_it_listens(
    place: Place, foreign: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.pem").write_text(Pki.make().intermediate.pem)
    (tmp_path / "plant.crl").write_bytes(foreign.crl(NOW))
    init_home(str(tmp_path / "bare"), InitOptions(now=NOW - DAY))
    plant, home = str(place.folder / "plant-ca.pem"), place.home.folder
    crl = str(tmp_path / "plant.crl")
    wrong = {
        "no key for OCSP": (2, ["--home", str(tmp_path / "bare")]),
        "no home": (2, ["--home", str(tmp_path)]),
        "a key for something else": (2, ["--home", home, "--key", "release"]),
        "--crl alone": (2, ["--home", home, "--crl", crl]),
        "--issuer alone": (2, ["--home", home, "--issuer", plant]),
        "another authority": (
            1, ["--home", home, "--key", "plant", "--issuer", str(tmp_path / "other.pem"), "--crl", crl],
        ),
        "no list": (1, ["--home", home, "--key", "plant", "--issuer", plant, "--crl", str(tmp_path / "none")]),
        "no certificate": (2, ["--home", home, "--key", "plant", "--issuer", crl, "--crl", crl]),
        "an address that is none": (2, ["--home", home, "--listen", "here"]),
    }  # fmt: skip
    for what, (code, arguments) in wrong.items():
        assert main(["serve", "ocsp", *arguments, "--json"]) == code, what
        said = capsys.readouterr()
        assert "SW-" in json.dumps(json.loads(said.out.splitlines()[-1])), what
    for number in ("0", "721", "-1", "x", "\N{ARABIC-INDIC DIGIT THREE}"):
        with pytest.raises(SystemExit):
            main(["serve", "ocsp", "--home", home, "--valid-hours", number])
