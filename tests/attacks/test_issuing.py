"""What is handed in at the issuing door: requests that ask for more, lie, or come twice (A010, A017, A023, A044, A046, A048, A054, A112, A113).

The requests are OpenSSL's, as somebody else's are; each refusal stands beside a twin that gets its certificate.
"""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from kit.certs import UNKNOWN_CRITICAL, made, rebuilt, tlv
from kit.openssl import run
from kit.pki import CLAIMED, soft_key
from sealwright.cli.main import main
from sealwright.errors import KeyRefused
from sealwright.keys.file import FileKey
from sealwright.keys.key import KeyInfo, KeyKind
from sealwright.pki.authority import Issuer, Subject, issue
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, TLS_CLIENT, Profile
from sealwright.signing.home import REGISTER
from sealwright.signing.issued import read_register

P256 = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    assert main(["init", str(home), "--title", "ACME", "--organisation", "ACME"]) == 0
    return home


@dataclass
class Door:
    """A house's authority, and who stands in front of it."""

    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def home(self) -> str:
        """Of the authority."""
        return str(self.folder / "home")

    @property
    def issued(self) -> int:
        """How many certificates its register has."""
        return len(read_register(f"{self.home}/{REGISTER}").issued)

    def request(
        self, name: str, *options: str, subject: str = "/CN=line 1/O=ACME", key: str = "", new: Any = P256
    ) -> Path:
        """A request of OpenSSL. key: of an earlier one, by its name; options: -addext ..."""
        path = self.folder / f"{name}.csr"
        how = (
            ["-key", self.folder / f"{key}.key"]
            if key
            else ["-newkey", *new, "-noenc", "-keyout", self.folder / f"{name}.key"]
        )
        done, words = run(["openssl", "req", "-new", *how, "-subj", subject, *options, "-out", path])
        assert done, words
        return path

    def given(self, request: Path, *options: str, profile: str = "code-signer") -> str:
        """The serial of the certificate that a request gets."""
        out = request.with_suffix(".pem")
        code, complaint = self._ask(request, out, profile, options)
        assert code == 0, complaint
        leaf = x509.load_pem_x509_certificates(out.read_bytes())[0]
        holds, words = run(
            ["openssl", "verify", "-x509_strict", "-CAfile", f"{self.home}/ca.pem", "-untrusted", out, out]
        )
        assert holds, words
        return f"{leaf.serial_number:x}"

    def refused(self, request: Path, *options: str, profile: str = "code-signer") -> str:
        """Why it gets none: an error that names the file and what to do, no output, no entry, at once."""
        before, out, start = self.issued, request.with_suffix(".none"), time.monotonic()
        code, complaint = self._ask(request, out, profile, options)
        assert time.monotonic() - start < 2
        assert code == 1, complaint
        assert not out.exists()
        assert self.issued == before
        assert complaint.startswith("sealwright: ")
        assert complaint.count("\n") == 1
        return complaint

    def _ask(self, request: Path, out: Path, profile: str, options: tuple[str, ...]) -> tuple[int, str]:
        self.capture.readouterr()
        provenance = () if "--attestation" in options else ("--provenance", "development")
        code = main(
            [
                "cert",
                "issue",
                str(request),
                "--home",
                self.home,
                "--profile",
                profile,
                *provenance,
                "--out",
                str(out),
                *options,
            ]
        )
        return code, self.capture.readouterr().err


@pytest.fixture
def door(made_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Door:
    shutil.copytree(made_home, tmp_path / "home")
    return Door(tmp_path, capsys)


# A112: more than the profile -----------------------------------------------------------------------------------------------------

MORE = {
    "to be an authority": "basicConstraints=critical,CA:TRUE",
    "key usage key_cert_sign": "keyUsage=critical,digitalSignature,keyCertSign",
    "key usage crl_sign": "keyUsage=cRLSign",
    "key usage key_encipherment": "keyUsage=keyEncipherment",
    "key usage content_commitment": "keyUsage=nonRepudiation",
    "purpose 1.3.6.1.5.5.7.3.1": "extendedKeyUsage=codeSigning,serverAuth",
    "purpose 2.5.29.37.0": "extendedKeyUsage=anyExtendedKeyUsage",
    "purpose 1.3.6.1.5.5.7.3.8": "extendedKeyUsage=critical,timeStamping",
    "purpose 1.3.6.1.5.5.7.3.9": "extendedKeyUsage=OCSPSigning",
    "purpose 1.3.6.1.5.5.7.3.4": "extendedKeyUsage=emailProtection",
    "other names": "subjectAltName=DNS:update.acme.example",
    "another key identifier": "subjectKeyIdentifier=0102030405060708090a0b0c0d0e0f1011121314",
    "2.5.29.32": "certificatePolicies=2.5.29.32.0",
    "2.5.29.30": "nameConstraints=permitted;DNS:acme.example",
    "2.5.29.31": "crlDistributionPoints=URI:http://192.0.2.1/none.crl",
    "1.3.6.1.5.5.7.1.1": "authorityInfoAccess=OCSP;URI:http://192.0.2.1/",
    "1.3.6.1.5.5.7.48.1.5": "noCheck=ignored",
    "1.3.6.1.5.5.7.1.24": "tlsfeature=status_request",
    "1.3.6.1.4.1.99999.1": "1.3.6.1.4.1.99999.1=critical,DER:0500",
    "1.3.6.1.4.1.99999.2": "1.3.6.1.4.1.99999.2=DER:0500",
}  # fmt: skip


@pytest.mark.parametrize("what", MORE)
def test_a112_a_request_for_more_than_its_profile_gets_no_certificate_and_less_is_not_put_in_its_place(
    door: Door, what: str
) -> None:
    asks = door.request("greedy", "-addext", MORE[what])
    complaint = door.refused(asks)
    assert "more than the profile code-signer gives" in complaint
    assert what in complaint
    assert door.given(door.request("modest", key="greedy"))


def test_a112_what_lies_within_the_profile_may_be_asked_for(door: Door) -> None:
    within = "basicConstraints=CA:FALSE", "keyUsage=critical,digitalSignature", "extendedKeyUsage=codeSigning"
    serial = door.given(door.request("fits", *(word for one in within for word in ("-addext", one))))
    assert (
        door.given(door.request("hash", "-addext", "subjectKeyIdentifier=hash", subject="/CN=line 2/O=ACME")) != serial
    )


def test_a112_names_of_hosts_are_the_officers_word(door: Door) -> None:
    both = "subjectAltName=DNS:a.acme.example,DNS:evil.example"
    asks = door.request("server", "-addext", both)
    assert "the name evil.example" in door.refused(asks, "--host", "a.acme.example", profile="tls-server")
    assert "names 1 to" in _usage(door, door.request("none", key="server"))
    for odd in ("email:a@acme.example", "IP:192.0.2.7", "URI:http://a.acme.example", "DNS:*.acme.example",
                "otherName:1.2.3.4;UTF8:a.acme.example", "dirName:x"):  # fmt: skip
        section = self_config(door.folder) if odd.startswith("dirName") else []
        other = door.request("odd", "-addext", f"subjectAltName=DNS:a.acme.example,{odd}", *section, key="server")
        assert "the name " in door.refused(other, "--host", "a.acme.example", profile="tls-server")
    assert door.given(asks, "--host", "a.acme.example", "--host", "evil.example", profile="tls-server")


def self_config(folder: Path) -> list[str]:
    """A section that `dirName:x` of an option names."""
    path = folder / "names.cnf"
    path.write_text("[req]\ndistinguished_name=d\n[d]\n[x]\nCN=evil\n")
    return ["-config", str(path)]


def _usage(door: Door, request: Path, *options: str, profile: str = "tls-server") -> str:
    door.capture.readouterr()
    words = ["--profile", profile, "--provenance", "development", "--out", f"{request}.none", "--home", door.home]
    assert main(["cert", "issue", str(request), *words, *options]) == 2
    return door.capture.readouterr().err


@pytest.mark.parametrize("profile", ["root", "intermediate"])
def test_a112_a044_an_authority_is_no_matter_of_a_request_to_a_signers_profile(door: Door, profile: str) -> None:
    """Asking for it is refused; and what issues signers cannot issue authorities, whoever asks (pathLenConstraint)."""
    asks = door.request("sub", "-addext", "basicConstraints=critical,CA:TRUE", subject="/CN=sub CA/O=ACME")
    assert "to be an authority" in door.refused(asks)
    assert "may not issue certificates of authorities" in door.refused(
        asks, "--authority", "intermediate", profile=profile
    )
    assert door.given(asks, profile="intermediate"), "the root may, when an officer says so by the profile"


def test_a112_another_organisation_is_the_officers_word(door: Door) -> None:
    asks = door.request("other", subject="/CN=line 1/O=Evil Ltd")
    assert "the authority is of 'ACME'" in door.refused(asks)
    assert door.given(asks, "--organisation", "Evil Ltd")


@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize(
    "subject",
    ["/O=ACME", "/CN=a/CN=b", "/CN=line 1/O=ACME/OU=DEVELOPMENT ONLY", "/CN=line 1/emailAddress=a@acme.example",
     "/CN=line 1/UID=7", "/CN=line 1 /O=ACME", "/CN=" + "x" * 65, "/DC=acme/CN=line 1"],
)  # fmt: skip
def test_a112_a_name_that_we_would_not_write_gets_no_certificate(door: Door, subject: str) -> None:
    assert door.given(door.request("good"))
    bad = door.folder / "bad.csr"
    done, words = run(
        ["openssl", "req", "-new", "-newkey", *P256, "-noenc", "-keyout", door.folder / "bad.key", "-subj", subject,
         "-multivalue-rdn", "-out", bad]
    )  # fmt: skip
    if not done:  # OpenSSL would not write it: nobody hands it in with its help, but with another program's
        assert len(subject) > 64, words
        bad.write_bytes(_by_hand(subject.removeprefix("/CN=")))
    door.capture.readouterr()
    before = door.issued
    words_of = ["--profile", "code-signer", "--provenance", "development", "--out", f"{bad}.none", "--home", door.home]
    assert main(["cert", "issue", str(bad), *words_of]) in (1, 2)
    assert door.issued == before
    assert not (door.folder / "bad.csr.none").exists()


def _by_hand(common: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common, _validate=False)])
    from cryptography.hazmat.primitives import hashes

    return (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    )


# A112: whose key it is -----------------------------------------------------------------------------------------------------------


def _der(path: Path) -> bytes:
    return x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a112_a_request_whose_own_signature_does_not_hold_gets_no_certificate(door: Door) -> None:
    asks = door.request("good")
    data, changed = _der(asks), door.folder / "changed.csr"
    for der in (
        data.replace(b"line 1", b"line 2"),
        _flipped(data, len(data) - 1),
        _flipped(data, data.index(x509.load_der_x509_csr(data).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)) + 40),
        _resigned(data, ec.generate_private_key(ec.SECP256R1())),
    ):  # fmt: skip
        changed.write_bytes(der)
        _, words = run(["openssl", "req", "-in", changed, "-inform", "DER", "-verify", "-noout"])
        assert "verify OK" not in words, words
        assert "changed.csr" in door.refused(changed)
    changed.write_bytes(data)
    assert door.given(changed)


def _resigned(data: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Somebody else's request, signed with one's own key."""
    from cryptography.hazmat.primitives import hashes

    tbs = x509.load_der_x509_csr(data).tbs_certrequest_bytes
    value = key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, tbs + bytes.fromhex("300a06082a8648ce3d040302") + tlv(3, b"\0" + value))


@pytest.mark.parametrize(
    ("subject", "options", "profile"),
    [
        ("/CN=line 2/O=ACME", (), "code-signer"),
        ("/CN=Line 1/O=ACME", (), "code-signer"),
        ("/CN=line 1/O=ACME", ("--common-name", "line 2"), "code-signer"),
        ("/CN=line 1/O=ACME", (), "config-signer"),
        ("/CN=line 1/O=ACME", (), "person"),
        ("/CN=line 1/O=ACME", (), "code-signer"),
        ("/CN=line 1/O=ACME", ("--authority", "root"), "code-signer"),
        ("/CN=line 2/O=ACME", ("--authority", "root"), "code-signer"),
    ],
)
def test_a112_one_key_has_one_owner_one_purpose_and_one_certificate(
    door: Door, subject: str, options: tuple[str, ...], profile: str
) -> None:
    serial = door.given(door.request("first"))
    complaint = door.refused(door.request("again", key="first", subject=subject), *options, profile=profile)
    assert "one owner and one purpose" in complaint or f"cert renew {serial}" in complaint
    assert door.given(door.request("own", subject="/CN=line 2/O=ACME"))


def test_a112_a_key_of_the_house_is_not_certified_for_somebody_else(door: Door) -> None:
    shutil.copy(f"{door.home}/keys/release.pem", door.folder / "release.key")
    assert "one owner and one purpose" in door.refused(door.request("taken", key="release"))


@pytest.mark.parametrize("reason", ["keyCompromise", "superseded", "cessationOfOperation"])
def test_a112_a_revoked_key_is_never_certified_again_whoever_asks(door: Door, reason: str) -> None:
    serial = door.given(door.request("first"))
    assert main(["cert", "hold", serial, "--home", door.home]) == 0
    assert "on hold" in door.refused(door.request("held", key="first"))
    assert main(["cert", "release", serial, "--home", door.home]) == 0
    assert main(["cert", "revoke", serial, "--reason", reason, "--home", door.home]) == 0
    for subject, profile in (("/CN=line 1/O=ACME", "code-signer"), ("/CN=line 2/O=ACME", "code-signer"),
                             ("/CN=line 1/O=ACME", "config-signer")):  # fmt: skip
        complaint = door.refused(door.request("again", key="first", subject=subject), profile=profile)
        assert "its key was revoked on" in complaint
        assert "never certified again" in complaint
    for action in (["renew"], ["hold"], ["release"]):
        assert main(["cert", *action, serial, "--home", door.home]) in (1, 2)
    assert door.given(door.request("new")), "the same name gets one for a new key"


def test_a113_a_key_whose_signing_has_ended_is_not_renewed(door: Door) -> None:
    serial = door.given(door.request("first"))
    tomorrow, yesterday = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))
    assert main(["cert", "retire", serial, "--until", f"{tomorrow:%Y-%m-%dT%H:%M:%SZ}", "--home", door.home]) == 0
    assert main(["cert", "renew", serial, "--home", door.home]) == 0
    assert main(["cert", "retire", serial, "--until", f"{yesterday:%Y-%m-%dT%H:%M:%SZ}", "--home", door.home]) == 0
    before = door.issued
    door.capture.readouterr()
    assert main(["cert", "renew", serial, "--home", door.home]) == 1
    assert "ended signing" in door.capture.readouterr().err
    assert door.issued == before
    assert "one owner and one purpose" in door.refused(door.request("again", key="first", subject="/CN=line 9/O=ACME"))


# A010, A023: which key it is -----------------------------------------------------------------------------------------------------

WEAK: dict[str, tuple[Any, str]] = {
    "RSA of 1024 bits": (("rsa:1024",), "1024 bits"),
    "RSA of 2048 bits": (("rsa:2048",), "2048 bits"),
    "RSA with exponent 3": (
        ("rsa", "-pkeyopt", "rsa_keygen_bits:3072", "-pkeyopt", "rsa_keygen_pubexp:3"),
        "exponent 3",
    ),
    "secp256k1": (("ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "curve"),
    "brainpool": (("ec", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"), "curve"),
    "P-224": (("ec", "-pkeyopt", "ec_paramgen_curve:P-224"), "curve"),
    "Ed448": (("ed448",), ""),
    "DSA": (("dsa:dsa.pem",), ""),
    "its curve by parameters": ((*P256, "-pkeyopt", "ec_param_enc:explicit"), ""),
}


@pytest.mark.parametrize("what", WEAK)
def test_a010_a023_a_key_that_is_weak_or_spelt_out_is_refused_at_the_door(door: Door, what: str) -> None:
    assert door.given(door.request("good"))
    new, words = WEAK[what]
    if what == "DSA":
        done, said = run(["openssl", "dsaparam", "-out", door.folder / "dsa.pem", "2048"])
        assert done, said
        new = (f"dsa:{door.folder / 'dsa.pem'}",)
    complaint = door.refused(door.request("weak", new=new, subject="/CN=line 2/O=ACME"))
    assert ("line 2" if "2048" in what else "weak.csr") in complaint, (
        "a key that was long enough once is read, and gets nothing new"
    )
    assert words in complaint


def test_a023_a_key_with_the_attackers_generator_is_refused_though_its_point_is_a_known_keys(door: Door) -> None:
    """The private key is 1 for whoever chooses the generator: he can sign a request for anybody's point."""
    from cryptography.hazmat.primitives import hashes

    first = door.request("first")
    serial = door.given(first)
    explicit = _der(door.request("explicit", new=(*P256, "-pkeyopt", "ec_param_enc:explicit")))
    private = load_pem_private_key((door.folder / "explicit.key").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    own, base, victim = (
        key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        for key in (
            private.public_key(),
            ec.derive_private_key(1, ec.SECP256R1()).public_key(),
            x509.load_pem_x509_csr(first.read_bytes()).public_key(),
        )
    )
    assert explicit.count(base) == 1
    tbs = x509.load_der_x509_csr(explicit).tbs_certrequest_bytes.replace(base, victim).replace(own, victim)
    value = private.sign(tbs, ec.ECDSA(hashes.SHA256()))
    forged = door.folder / "forged.csr"
    forged.write_bytes(tlv(0x30, tbs + bytes.fromhex("300a06082a8648ce3d040302") + tlv(3, b"\0" + value)))
    assert "forged.csr" in door.refused(forged)
    assert list(read_register(f"{door.home}/{REGISTER}").issued)[-1][1] == int(serial, 16)


# A017: keys with a state -----------------------------------------------------------------------------------------------------------


def lms_spki() -> bytes:
    """A public key of HSS/LMS with one level (RFC 8554 section 6.1, RFC 8708), which no library here signs with."""
    key = (1).to_bytes(4) + (5).to_bytes(4) + (4).to_bytes(4) + b"I" * 16 + b"k" * 32
    return tlv(0x30, tlv(0x30, bytes.fromhex("060b2a864886f70d0109100311")) + tlv(3, b"\0" + key))


def test_a017_a_key_whose_state_a_restored_copy_would_use_twice_comes_in_at_no_door(door: Door) -> None:
    """Nothing here holds the index of an LMS key in hardware, so none is made, certified or enrolled (RULES 2)."""
    from cryptography.hazmat.primitives import hashes

    good = _der(door.request("good"))
    own = x509.load_der_x509_csr(good).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    body = x509.load_der_x509_csr(good).tbs_certrequest_bytes
    inside = body[body.index(b"\x02\x01\x00") :].replace(own, lms_spki())
    tbs = tlv(0x30, inside)
    value = ec.generate_private_key(ec.SECP256R1()).sign(tbs, ec.ECDSA(hashes.SHA256()))
    stateful = door.folder / "lms.csr"
    stateful.write_bytes(tlv(0x30, tbs + bytes.fromhex("300a06082a8648ce3d040302") + tlv(3, b"\0" + value)))
    assert "lms.csr" in door.refused(stateful)
    root = made("root", ca=True)
    taken = door.folder / "lms.pem"
    taken.write_bytes(_pem(rebuilt(made("lms", root), root.key, key=lms_spki()), "CERTIFICATE"))
    take = [
        "key",
        "import-certificate",
        str(taken),
        "--home",
        door.home,
        "--name",
        "lms",
        "--key",
        f"file:{door.folder}/good.key",
    ]
    assert main(take) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["key", "create", f"file:{door.folder}/lms.key", "--algorithm", "lms"])
    assert door.given(door.folder / "good.csr")


# A054: the octets of a request ---------------------------------------------------------------------------------------------------


def _pem(der: bytes, label: str = "CERTIFICATE REQUEST") -> bytes:
    return f"-----BEGIN {label}-----\n".encode() + base64.encodebytes(der) + f"-----END {label}-----\n".encode()


ODD: dict[str, Callable[[bytes], bytes]] = {
    "a byte behind": lambda der: der + b"\0",
    "a line behind": lambda der: der + b"\n",
    "another request behind": lambda der: der + der,
    "a byte behind, in PEM": lambda der: _pem(der + b"\0"),
    "two in PEM": lambda der: _pem(der) * 2,
    "a key behind it in PEM": lambda der: _pem(der) + _pem(der, "PUBLIC KEY"),
    "another label": lambda der: _pem(der, "CERTIFICATE"),
    "cut": lambda der: der[:-1],
    "empty": lambda _: b"",
    "indefinite length": lambda der: b"\x30\x80" + der[4:] + b"\0\0",
    "a length of four octets": lambda der: b"\x30\x84" + (len(der) - 4).to_bytes(4, "big") + der[4:],
    "a length beyond the file": lambda der: b"\x30\x84\xff\xff\xff\xff" + der[4:],
    "100,000 sequences": lambda _: b"\x30\x80" * 30_000,
    "zeros": lambda _: bytes(60_000),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a054_octets_that_are_not_one_request_are_refused(door: Door, what: str) -> None:
    der, odd = _der(door.request("good")), door.folder / "odd.csr"
    odd.write_bytes(ODD[what](der))
    assert "odd.csr" in door.refused(odd)
    odd.write_bytes(_pem(der))
    assert door.given(odd)


def test_a054_a_huge_request_is_refused_before_it_is_read(door: Door) -> None:
    good, huge = door.request("good"), door.folder / "huge.csr"
    with huge.open("wb") as file:
        file.write(_der(good))
        file.truncate(1 << 40)  # sparse
    assert "huge.csr" in door.refused(huge)
    assert "filled.csr" in door.refused(filled := many(door, [f"1.3.6.1.4.1.99999.{n}=DER:0500" for n in range(4000)]))
    assert len(_der(filled)) > 64 * 1024
    assert "more than the profile" in door.refused(many(door, [f"1.3.6.1.4.1.99999.{n}=DER:0500" for n in range(900)]))
    names = "subjectAltName=" + ",".join(f"DNS:h{n}.acme.example" for n in range(2000))
    assert "other names" in door.refused(many(door, [names]))
    assert door.given(good)


def many(door: Door, extensions: list[str]) -> Path:
    """A request with more extensions than a command line can name."""
    config = door.folder / "filled.cnf"
    lines = ["[req]", "distinguished_name=d", "req_extensions=e", "[d]", "[e]", *extensions]
    config.write_text("\n".join(lines) + "\n")
    return door.request("filled", "-config", str(config), key="good")


# A044, A046, A047, A048: who issues ----------------------------------------------------------------------------------------------

ISSUERS: dict[str, tuple[dict[str, Any], str]] = {
    "a signer": ({"ca": False}, "not an authority"),
    "a signer without constraints": ({"ca": False, "without": "constraints"}, "not an authority"),
    "one that may not certify": ({"usage": "crl_sign"}, "may not issue certificates"),
    "one for TLS alone": ({"purposes": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]}, "for other purposes"),
    "one for some names alone": (
        {"extra": [(x509.NameConstraints([x509.DNSName("acme.example")], None), True)]},
        "limits",
    ),
    "one that demands policies": ({"extra": [(x509.PolicyConstraints(0, None), True)]}, "limits"),
    "one with a demand nobody knows": ({"extra": [(UNKNOWN_CRITICAL, True)]}, "limits"),
    "one that has ended": ({"after": datetime(2026, 11, 1, tzinfo=UTC)}, "ended"),
}
GOOD: dict[str, dict[str, Any]] = {
    "a plain authority": {},
    "one for code alone": {"purposes": list(CODE_SIGNER.purposes)},
    "one for anything": {"purposes": ["2.5.29.37.0"]},
    "one with a mark nobody knows": {"extra": [(UNKNOWN_CRITICAL, False)]},
    "one without key usage": {"usage": None},
}
AT = datetime(2026, 11, 20, tzinfo=UTC)


def authority(how: dict[str, Any]) -> tuple[Issuer, Any]:
    """An authority of another PKI whose certificate is made as told."""
    root = made("company root", ca=True)
    one = made("CA of ACME", root, **({"ca": True} | how))
    info = KeyInfo("test:p256", one.key.public_key(), KeyKind.P256.algorithm, CLAIMED, "memory")
    return Issuer(FileKey(info, one.key), one.der), root


@pytest.mark.parametrize("what", GOOD)
def test_an_authority_that_a_company_certified_issues_what_openssl_accepts(tmp_path: Path, what: str) -> None:
    issuer, root = authority(GOOD[what])
    der = issue(CODE_SIGNER, Subject("line 1", "ACME"), soft_key().info.public_key, issuer, AT, CLAIMED)
    for name, data in (
        ("root", root.pem),
        ("ca", _certificate(issuer.certificate or b"")),
        ("leaf", _certificate(der)),
    ):
        (tmp_path / name).write_bytes(data)
    holds, words = run(
        ["openssl", "verify", "-CAfile", tmp_path / "root", "-untrusted", tmp_path / "ca", "-attime", str(int(AT.timestamp())),
         tmp_path / "leaf"]
    )  # fmt: skip
    assert holds, words


def _certificate(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("what", ISSUERS)
@pytest.mark.parametrize("profile", [CODE_SIGNER, INTERMEDIATE], ids=lambda one: one.name)
def test_a044_a046_a047_a048_no_certificate_is_made_that_no_verifier_would_believe(what: str, profile: Profile) -> None:
    how, words = ISSUERS[what]
    issuer, _ = authority(how)
    with pytest.raises(KeyRefused, match=words):
        issue(profile, Subject("line 1", "ACME"), soft_key().info.public_key, issuer, AT, CLAIMED)


def test_a046_an_authority_for_code_issues_nothing_for_tls(tmp_path: Path) -> None:
    issuer, _ = authority({"purposes": list(CODE_SIGNER.purposes)})
    public = soft_key().info.public_key
    assert issue(CODE_SIGNER, Subject("line 1", "ACME"), public, issuer, AT, CLAIMED)
    with pytest.raises(KeyRefused, match="for other purposes"):
        issue(TLS_CLIENT, Subject("line 1", "ACME"), public, issuer, AT, CLAIMED)


def test_a044_a_signer_of_the_house_cannot_be_made_its_authority(door: Door) -> None:
    """A leaf enrolled as an authority would issue by its name; what is one already is enrolled."""
    before = door.issued
    for name, profile, purpose, code in (
        ("own", "code-signer", "certificates", 1),
        ("own", "code-signer", "artifact", 0),
        ("sub", "intermediate", "certificates", 0),
    ):
        own = door.folder / f"{name}.key"
        if not own.exists():
            assert door.given(door.request(name, subject=f"/CN={name}/O=ACME"), profile=profile)
            own.chmod(0o600)
        certificate = str(door.folder / f"{name}.pem")
        take = ["key", "import-certificate", certificate, "--home", door.home, "--name", name, "--key", f"file:{own}"]
        door.capture.readouterr()
        assert main([*take, "--purpose", purpose]) == code
        assert ("not an authority's certificate" in door.capture.readouterr().err) is (code == 1)
    assert door.issued == before + 2
    asks = door.request("below", subject="/CN=line 2/O=ACME")
    assert "not enrolled" in _usage(door, asks, "--authority", "own", profile="code-signer")
    assert door.given(asks, "--authority", "sub")
