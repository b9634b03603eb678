"""Variants of attacks on certificates that no other file shows: A010, A023, A046-A049, A096, A104, A106, A108, A111-A113."""

from __future__ import annotations

import base64
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.name import _ASN1Type

from kit.certs import CODE_SIGNING, DAY, NOW, UNKNOWN_CRITICAL, Made, entry, hash_of, listed, made, rebuilt, tlv
from kit.openssl import run
from kit.pki import CLAIMED, Pki, Signer, person_key, soft_key
from kit.production import leaf_of, signer, trusting
from kit.trust import (
    OFFICER,
    RULE,
    believed,
    codes,
    judge,
    person,
    public_pem,
    signed_file,
    trust_bytes,
    trust_parts,
    write_trust,
)
from sealwright.cli.main import main
from sealwright.errors import KeyRefused, MalformedEnvelope, MalformedTrust, SealwrightError
from sealwright.keys.key import KeyKind, Provenance
from sealwright.pki.authority import Issuer, Subject, Terms, issue
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, PROFILES, TIME_STAMPING, Names, Profile
from sealwright.pki.request import check_request, read_request
from sealwright.signing.authority import Wanted, certify, cross_sign, rekey, release, renew, retire, revoke, suspend
from sealwright.signing.home import Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.sign import NotSigned, Signed, SignOptions, sign_paths
from sealwright.trust.certificate import facts, load_certificate
from sealwright.trust.intake import certificate_in, certificates_in, public_key_in, signer_in
from sealwright.trust.model import Denied
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
ROOT = made("root", ca=True)
CA = made("CA", ROOT, ca=True)
PKI = Pki.make()


# A010 -------------------------------------------------------------------------------------------------------------------------


def test_a010_a_certificate_whose_modulus_is_even_is_refused_where_it_is_read() -> None:
    """`cryptography` builds no such certificate, so its octets are altered in the finished one."""
    key = rsa.generate_private_key(65537, 2048)
    leaf = leaf_of(CA, key=key)
    assert load_certificate(leaf.der, "signer")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    modulus = key.public_key().public_numbers().n
    even = spki.replace(modulus.to_bytes(256, "big"), (modulus - 1).to_bytes(256, "big"))
    assert even != spki
    with pytest.raises((SealwrightError, ValueError)):
        load_certificate(rebuilt(leaf, CA.key, key=even), "signer")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("1024 bits", lambda: rsa.generate_private_key(65537, 1024)),  # noqa: S505
        ("exponent 3", lambda: rsa.generate_private_key(3, 2048)),
        ("secp256k1", lambda: ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_a010_a_file_signed_by_a_weak_key_under_a_good_authority_is_refused(
    tmp_path: Path, kind: str, key: Callable[[], Any]
) -> None:
    """The attacker can sign whatever verifies: OpenSSL makes the signature, and its own verdict is that it holds."""
    for name, private, found in (
        ("good", rsa.generate_private_key(65537, 2048), []),
        ("weak", key(), ["SW-ALGORITHM-WEAK"]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        path = openssl_signed(folder, leaf_of(CA, key=private))
        assert codes(judge(path, trusting(ROOT))) == found, kind


def openssl_signed(folder: Path, leaf: Made, *bag: Made) -> Path:
    """A file with a detached signature of `openssl cms`."""
    path = folder / "drive.bin"
    path.write_bytes(b"firmware\n" * 100)
    (folder / "leaf.pem").write_bytes(leaf.pem)
    (folder / "above.pem").write_bytes(b"".join(one.pem for one in (bag or (CA,))))
    (folder / "key.pem").write_bytes(leaf.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    done, words = run(
        ["openssl", "cms", "-sign", "-binary", "-in", path, "-signer", folder / "leaf.pem", "-inkey", folder / "key.pem",
         "-certfile", folder / "above.pem", "-cades", "-md", "sha256", "-outform", "DER", "-out", folder / "drive.bin.p7s"]
    )  # fmt: skip
    assert done, words
    return path


# A023 -------------------------------------------------------------------------------------------------------------------------


def explicit_twin(one: Made, folder: Path) -> tuple[bytes, bytes]:
    """The certificate's key as OpenSSL writes it with its curve spelt out: SPKI, and the same with the point as generator."""
    (folder / "k.pem").write_bytes(one.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    done, words = run(
        [
            "openssl",
            "ec",
            "-in",
            folder / "k.pem",
            "-param_enc",
            "explicit",
            "-pubout",
            "-outform",
            "DER",
            "-out",
            folder / "k.der",
        ]
    )
    assert done, words
    spki = (folder / "k.der").read_bytes()
    own = ec.derive_private_key(1, ec.SECP256R1()).public_key()
    generator = own.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    point = one.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert generator in spki
    return spki, spki.replace(generator, point)


@pytest.mark.parametrize("where", ["the authority", "the signer"])
@pytest.mark.parametrize("generator", ["the right generator", "the attacker's generator"])
def test_a023_a_twin_with_explicit_parameters_in_a_signature_leads_nowhere(
    tmp_path: Path, where: str, generator: str
) -> None:
    leaf = leaf_of(CA)
    path = signed_file(tmp_path, signer(leaf, CA))
    assert judge(path, trusting(ROOT)).outcome is TRUSTED
    one, above = (CA, ROOT) if where == "the authority" else (leaf, CA)
    spki = explicit_twin(one, tmp_path)[generator != "the right generator"]
    twin = rebuilt(one, above.key, key=spki)
    data = (tmp_path / "drive.bin.p7s").read_bytes()
    assert data.count(one.der) == 1
    (tmp_path / "drive.bin.p7s").write_bytes(_replaced(data, one.der, twin))
    assert judge(path, trusting(ROOT)).outcome is REJECTED


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """One element of a DER tree replaced, every length above it written anew."""
    if data == old:
        return new
    header = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    inside, parts, at = data[header:], [], 0
    while at < len(inside):
        size = inside[at + 1]
        head = 2 + (size & 0x7F if size & 0x80 else 0)
        length = int.from_bytes(inside[at + 2 : at + head], "big") if size & 0x80 else size
        part = inside[at : at + head + length]
        parts.append(_replaced(part, old, new) if old in part else part)
        at += head + length
    return tlv(data[0], b"".join(parts))


def test_a023_a_trust_file_takes_no_key_with_explicit_parameters(tmp_path: Path) -> None:
    parts = trust_parts(PKI)
    assert parse_trust(trust_bytes(parts), "trust.toml")
    for spki in explicit_twin(ROOT, tmp_path):
        twin = _pem("CERTIFICATE", rebuilt(ROOT, ROOT.key, key=spki))
        changed = parts | {"anchor": [{"name": "root", "environment": "production", "certificate": twin}]}
        with pytest.raises(SealwrightError):
            parse_trust(trust_bytes(changed), "trust.toml")


def test_a023_an_officers_key_with_its_curve_spelt_out_is_no_second_key_and_with_another_generator_none(
    tmp_path: Path,
) -> None:
    officer = person_key()
    private = officer.key._private if hasattr(officer.key, "_private") else None
    assert private is not None
    right, attackers = explicit_twin(Made(officer.x509, private), tmp_path)
    people: list[Any] = [person(name) for name in ("olga", "otto", "rolf")]

    def parse(spki: bytes, threshold: int = 1) -> object:
        keys = [{"person": "olga", "key": public_pem(officer)}, {"person": "otto", "key": _pem("PUBLIC KEY", spki)}]
        parts = trust_parts(PKI, person=people, officers={"threshold": threshold, "key": keys})
        return parse_trust(trust_bytes(parts), "trust.toml")

    other = person_key().key.info.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert parse(other, threshold=2)
    for spki in (right, attackers):
        with pytest.raises(MalformedTrust):
            parse(spki)


@pytest.mark.parametrize(
    "form", [["-param_enc", "explicit"], ["-conv_form", "compressed"]], ids=["spelt out", "compressed"]
)
def test_a023_a_key_with_its_curve_spelt_out_is_refused_wherever_officers_hand_one_in_and_never_made_right_for_them(
    tmp_path: Path, form: list[str]
) -> None:
    """An officer's key alone in its section, so that nothing but its encoding speaks against it; and what `trust add` reads."""
    key, public, certificate = (tmp_path / name for name in ("key.pem", "public.pem", "cert.pem"))
    assert run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])[0]

    def written(*how: str) -> str:
        assert run(["openssl", "ec", "-in", key, "-pubout", "-out", public, *how])[0]
        return public.read_text()

    def officer(pem: str) -> dict[str, Any]:
        return trust_parts(PKI, officers={"threshold": 1, "key": [{"person": "olga", "key": pem}]})

    good = written()
    assert parse_trust(trust_bytes(officer(good)), "trust.toml").officers
    assert public_key_in(str(public))
    odd = written(*form)
    assert run(["openssl", "pkey", "-pubin", "-in", public, "-noout"])[0], "OpenSSL reads it"
    with pytest.raises(MalformedTrust, match="encoding that is not accepted"):
        parse_trust(trust_bytes(officer(odd)), "trust.toml")
    with pytest.raises(SealwrightError, match="encoding that is not accepted"):
        public_key_in(str(public))
    assert run(["openssl", "ec", "-pubin", "-in", public, "-pubout", "-param_enc", "named_curve", "-conv_form",
                "uncompressed", "-out", public])[0]  # fmt: skip
    assert public.read_text() == good, "the step that the refusal names"
    root = made("root", ca=True)
    spki = explicit_twin(root, tmp_path)[0]
    certificate.write_bytes(root.pem)
    assert certificates_in(str(certificate)) == [root.der]
    certificate.write_text(_pem("CERTIFICATE", rebuilt(root, root.key, key=spki)))
    for read in (certificates_in, public_key_in, signer_in, certificate_in):
        with pytest.raises(SealwrightError):
            read(str(certificate))


def test_a023_a_request_with_explicit_parameters_gets_no_certificate(tmp_path: Path) -> None:
    for encoding, good in (("named_curve", True), ("explicit", False)):
        done, words = run(
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt",
             f"ec_param_enc:{encoding}", "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "csr", "-subj", "/CN=line 1/O=ACME"]
        )  # fmt: skip
        assert done, words
        data = (tmp_path / "csr").read_bytes()
        if good:
            assert read_request(data, "line-1.csr").subject.common_name == "line 1"
            continue
        with pytest.raises(SealwrightError):
            read_request(data, "line-1.csr")


def _pem(what: str, der: bytes) -> str:
    return f"-----BEGIN {what}-----\n{base64.encodebytes(der).decode()}-----END {what}-----\n"


# A046 -------------------------------------------------------------------------------------------------------------------------

SIGNS = {"code-signer", "device-code-signer", "update-signer"}


@pytest.mark.parametrize(
    "profile", [one for one in PROFILES.values() if not one.is_authority], ids=lambda one: one.name
)
def test_a046_of_a_houses_own_certificates_only_signers_of_updates_sign_firmware(
    tmp_path: Path, profile: Profile
) -> None:
    kind = KeyKind.P256 if KeyKind.P256.algorithm.scheme in profile.schemes else KeyKind.RSA3072
    key = soft_key(kind)
    terms = Terms(hosts=("line-1.example",) if profile.names is Names.HOSTS else ())
    above = Issuer(PKI.intermediate.key, PKI.intermediate.certificate)
    der = issue(profile, Subject("release", "ACME"), key.info.public_key, above, NOW - DAY, CLAIMED, terms=terms)
    verdict = judge(signed_file(tmp_path, Signer(der, (PKI.intermediate.certificate,), key)), believed(PKI))
    assert codes(verdict) == ([] if profile.name in SIGNS else ["SW-CERT-PURPOSE"])


@pytest.mark.parametrize(
    "purposes", [[], ["2.5.29.37.0"], [CODE_SIGNING, TIME_STAMPING]], ids=["none", "any", "beside"]
)
def test_a096_a_token_of_a_certificate_that_may_do_more_than_stamp_proves_nothing(
    tmp_path: Path, purposes: list[str]
) -> None:
    """The thief of a signer's key has a certificate of the right root; only the one with the sole critical purpose stamps."""
    ended = PKI.leaf("ended", days=12)
    later = NOW + 5 * DAY
    good = signed_file(tmp_path, ended, tsa=PKI.tsa(), stamped=NOW)
    assert judge(good, believed(PKI), later).outcome is TRUSTED
    bad = signed_file(tmp_path, ended, tsa=PKI.leaf("own stamps", purposes=purposes), stamped=NOW)
    verdict = judge(bad, believed(PKI), later)
    assert verdict.outcome is REJECTED
    assert {"SW-CERT-EXPIRED", "SW-TIMESTAMP-REFUSED"} <= {f.code for f in verdict.findings}


def test_a096_a_token_of_the_attackers_own_authority_dates_nothing_and_a_good_one_beside_it_still_does(
    tmp_path: Path,
) -> None:
    ended, stranger = PKI.leaf("ended", days=12), Pki.make("Stranger")
    later = NOW + 5 * DAY
    assert judge(signed_file(tmp_path, ended, tsa=PKI.tsa(), stamped=NOW), believed(PKI), later).outcome is TRUSTED
    bad = judge(signed_file(tmp_path, ended, tsa=stranger.tsa(), stamped=NOW), believed(PKI), later)
    assert bad.outcome is REJECTED
    assert "SW-CERT-EXPIRED" in codes(bad)


# A047, A048 -------------------------------------------------------------------------------------------------------------------


def test_a047_an_authority_without_crl_signing_condemns_nobody_either(tmp_path: Path) -> None:
    for usage, found in (("key_cert_sign crl_sign", ["SW-CERT-REVOKED"]), ("key_cert_sign", [])):
        ca = made("CA", ROOT, ca=True, usage=usage)
        leaf = leaf_of(ca)
        crl = listed(ca, entry(leaf.certificate, NOW - DAY, x509.ReasonFlags.superseded))
        verdict = judge(signed_file(tmp_path, signer(leaf, ca)), trusting(ROOT, crls=[crl]))
        assert codes(verdict) == found
        assert ("SW-CRL-REFUSED" in [f.code for f in verdict.findings]) is (not found)


@pytest.mark.parametrize("where", ["the authority of time", "the one above it"])
def test_a048_an_unknown_critical_extension_on_the_path_of_a_token_takes_its_proof_away(
    tmp_path: Path, where: str
) -> None:
    leaf = leaf_of(CA, after=NOW + DAY)
    for critical, outcome in ((False, TRUSTED), (True, REJECTED)):
        odd = {"extra": [(UNKNOWN_CRITICAL, critical)]}
        above = made("time CA", ROOT, ca=True, **(odd if where == "the one above it" else {}))
        purpose = (x509.ExtendedKeyUsage([x509.ObjectIdentifier(TIME_STAMPING)]), True)
        more = [purpose, *(odd["extra"] if where != "the one above it" else [])]
        stamps = made("timestamps", above, purposes=[], extra=more)
        path = signed_file(tmp_path, signer(leaf, CA), tsa=signer(stamps, above), stamped=NOW)
        assert judge(path, trusting(ROOT), NOW + 2 * DAY).outcome is outcome


# A049 -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("common", "kind", "same"),
    [
        ("ACME Release", _ASN1Type.UTF8String, True),
        ("ACME Release", _ASN1Type.PrintableString, True),
        ("ACME Release", _ASN1Type.T61String, True),
        ("ACME R\u00e9lease", _ASN1Type.UTF8String, False),
        ("ACME Release", _ASN1Type.UniversalString, True),
        ("ACME\u00a0Release", _ASN1Type.UTF8String, False),
        ("\uff21CME Release", _ASN1Type.UTF8String, False),
        ("ACME Release\u00ad", _ASN1Type.UTF8String, False),
    ],
)
def test_a049_the_same_words_in_another_string_type_are_the_same_and_twins_are_not(
    tmp_path: Path, common: str, kind: _ASN1Type, same: bool
) -> None:
    """A pin stands beside the anchor, so that another spelling of the same words is no way in; another word is none at all."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common, _type=kind)])
    pinned = RULE | {"signer": [{"anchors": ["root"], "subjects": ["CN=ACME Release"]}]}
    verdict = judge(signed_file(tmp_path, signer(leaf_of(CA, subject=subject), CA)), trusting(ROOT, rule=[pinned]))
    assert (codes(verdict) == []) is same


@pytest.mark.parametrize(
    "evil", ["line 1\0.evil", "line\u202e 1", "line 1 ", " line 1", "line\n1", "line\u200b1", "line 1\u2066"]
)
def test_a049_a_request_whose_name_hides_something_gets_no_certificate(evil: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    def request(common: str) -> bytes:
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        return builder.sign(key, hash_of(key)).public_bytes(Encoding.DER)

    assert read_request(request("line 1"), "line-1.csr").subject == Subject("line 1")
    with pytest.raises((KeyRefused, MalformedEnvelope)):
        read_request(request(evil), "line-1.csr")


# A104, A106, A108 -------------------------------------------------------------------------------------------------------------


def test_a104_an_authority_below_the_root_that_was_taken_out_stays_out_whatever_chain_is_brought(
    tmp_path: Path,
) -> None:
    """The root stays; one of its authorities goes, by its certificate or by its key, also under a new certificate."""
    leaf = leaf_of(CA)
    again = made("CA", ROOT, ca=True, key=CA.key)  # the attacker has another certificate of the same authority
    other = made("CA 2", ROOT, ca=True)
    fine = signed_file(tmp_path, signer(leaf_of(other), other), name="fine.bin")
    by_key = Denied("key", str(facts(CA.certificate).key), 0, "broken into")
    by_certificate = Denied("certificate", str(facts(CA.certificate).certificate), 0, "broken into")
    for bag, denied in (([CA], by_key), ([again], by_key), ([CA, again], by_key), ([CA], by_certificate)):
        path = signed_file(tmp_path, signer(leaf, *bag))
        assert judge(path, trusting(ROOT)).outcome is TRUSTED
        assert judge(path, trusting(ROOT, denied=[denied])).outcome is REJECTED, denied.what
        assert judge(fine, trusting(ROOT, denied=[denied])).outcome is TRUSTED


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a signed file beside it."""
    folder = tmp_path_factory.mktemp("rows")
    assert main(["init", str(folder / "home"), "--organisation", "ACME"]) == 0
    (folder / "drive.bin").write_bytes(b"firmware\n" * 100)
    assert main(["sign", str(folder / "drive.bin"), "--home", str(folder / "home")]) == 0
    return folder


def test_a106_an_altered_or_unsigned_trust_file_or_one_of_another_officer_decides_nothing(
    made_home: Path, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    assert main(["init", str(stranger), "--organisation", "ACME"]) == 0
    verify = ["verify", str(made_home / "drive.bin"), "--trust"]
    place = tmp_path / "etc"

    def placed(alter: Callable[[Path], None]) -> int:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(made_home / "home", place)
        alter(place)
        return main([*verify, str(place / "trust.toml")])

    def widened(folder: Path) -> None:
        text = (folder / "trust.toml").read_text()
        (folder / "trust.toml").write_text(text + "\n# one more line\n")

    def unsigned(folder: Path) -> None:
        for one in folder.glob("trust.toml.*.p7s"):
            one.unlink()

    def resigned(folder: Path) -> None:
        for one in folder.glob("trust.toml.*.p7s"):
            shutil.copy(stranger / one.name, one)

    assert placed(lambda folder: None) == 0
    for alter in (widened, unsigned, resigned):
        assert placed(alter) != 0, alter.__name__


def test_a108_no_anchor_comes_from_the_folder_one_works_in_or_from_a_persons_home(
    made_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every place that other tools look at holds a stranger's trust; the command still asks for a trust file by name."""
    stranger = tmp_path / "stranger"
    assert main(["init", str(stranger), "--organisation", "ACME"]) == 0
    (tmp_path / "evil.bin").write_bytes(b"evil")
    assert main(["sign", str(tmp_path / "evil.bin"), "--home", str(stranger)]) == 0
    evil = str(tmp_path / "evil.bin")
    assert main(["verify", evil, "--trust", str(stranger / "trust.toml")]) == 0
    person = tmp_path / "person"
    for place in (person, person / ".config/sealwright", person / ".sealwright", tmp_path / "work"):
        shutil.copytree(stranger, place, dirs_exist_ok=True)
    monkeypatch.setenv("HOME", str(person))
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(person / ".config"))
    for name in ("SEALWRIGHT_TRUST", "SEALWRIGHT_HOME", "SSL_CERT_FILE", "OPENSSL_CONF", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(stranger / "ca.pem"))
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(SystemExit) as asked:
        main(["verify", evil])
    assert asked.value.code == 2
    assert main(["verify", evil, "--trust", str(made_home / "home/trust.toml")]) == 1
    assert main(["verify", str(made_home / "drive.bin"), "--trust", str(made_home / "home/trust.toml")]) == 0


def test_a108_certificates_laid_beside_a_trust_file_are_no_anchors(made_home: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    assert main(["init", str(stranger), "--organisation", "ACME"]) == 0
    (tmp_path / "evil.bin").write_bytes(b"evil")
    assert main(["sign", str(tmp_path / "evil.bin"), "--home", str(stranger)]) == 0
    place = tmp_path / "etc"
    shutil.copytree(made_home / "home", place)
    for name in ("ca.pem", "trust.d/ca.pem", "trust.d/root.pem", "anchors.pem"):
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copy(stranger / "ca.pem", place / name)
    assert main(["verify", str(made_home / "drive.bin"), "--trust", str(place / "trust.toml")]) == 0
    assert main(["verify", str(tmp_path / "evil.bin"), "--trust", str(place / "trust.toml")]) == 1


# A111 -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Listening:
    """A server on this machine that counts who comes; port: where."""

    port: int
    came: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listening]:
    """Any kind of client is counted, whether in Python or in a library below it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        found = Listening(server.getsockname()[1])
        over = threading.Event()

        def count() -> None:
            while not over.is_set():
                try:
                    with server.accept()[0] as client:
                        found.came.append("somebody")
                        client.sendall(b"HTTP/1.0 404 no\r\n\r\n")
                except OSError:
                    continue

        thread = threading.Thread(target=count, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()


def naming(port: int, canary: Path) -> list[tuple[x509.ExtensionType, bool]]:
    """Every extension that names a place, with places of every kind."""
    urls = [
        f"http://127.0.0.1:{port}/ca.cer", f"ftp://127.0.0.1:{port}/x", f"ldap://127.0.0.1:{port}/cn=CA?cACertificate",
        f"gopher://127.0.0.1:{port}/1", "http://169.254.169.254/latest/meta-data/", canary.as_uri(), f"//127.0.0.1:{port}/share",
        f"http://127.0.0.1:{port}/" + "a" * 4000, "javascript:alert(1)", "data:,x",
    ]  # fmt: skip
    places = [x509.UniformResourceIdentifier(url) for url in urls]
    methods = (x509.OID_CA_ISSUERS, x509.OID_OCSP, x509.ObjectIdentifier("1.3.6.1.5.5.7.48.3"))
    access = x509.AuthorityInformationAccess(x509.AccessDescription(how, one) for one in places for how in methods)
    points = [x509.DistributionPoint([place], None, None, None) for place in places]
    stapled = x509.TLSFeature([x509.TLSFeatureType.status_request])
    values = [
        access,
        x509.CRLDistributionPoints(points),
        x509.FreshestCRL(points),
        x509.IssuerAlternativeName(places),
        stapled,
    ]
    return [(value, False) for value in values]


def test_a111_no_command_that_reads_certificates_goes_where_they_point(tmp_path: Path) -> None:
    """Whole processes, and a server that they would reach: verify, inspect, trust show, cross-signing, a request."""
    canary = tmp_path / "canary.cer"
    with listening() as server:
        places = naming(server.port, canary)
        root = made("root", ca=True, extra=places)
        canary.write_bytes(made("CA", root, ca=True).der)
        ca = made("CA", root, ca=True, extra=places)
        leaf = leaf_of(ca, extra=places)
        signed_file(tmp_path, signer(leaf, ca))
        signed_file(tmp_path, signer(leaf), name="missing.bin")
        (tmp_path / "leaf.pem").write_bytes(leaf.pem)
        (tmp_path / "root.pem").write_bytes(root.pem)
        top = Signer(root.der, (), signer(root).key)
        crl = [{"issuer": ca.pem.decode(), "max_age": {"install": "10d"}}]
        for name, changes in (("trust.toml", {}), ("lists.toml", {"crl": crl})):
            parts = trust_parts(Pki(top, top, CLAIMED), **changes)
            write_trust(tmp_path, parts, name, olga=OFFICER)
        at = ["--at", f"{NOW:%Y-%m-%dT%H:%M:%SZ}"]
        said = {}
        for file, trust in (("drive.bin", "trust.toml"), ("missing.bin", "trust.toml"), ("drive.bin", "lists.toml")):
            words = ["verify", file, "--trust", trust, *at, "--json"]
            said[file, trust] = command(tmp_path, *words)
        assert list(said.values()) == [0, 1, 3]
        assert command(tmp_path, "inspect", "leaf.pem", "drive.bin.p7s") == 0
        assert command(tmp_path, "trust", "show", "trust.toml") == 0
        assert command(tmp_path, "init", "home", "--organisation", "ACME") == 0
        assert (
            command(tmp_path, "ca", "cross-sign", "root.pem", "--home", "home", "--authority", "root", "--out", "x.pem")
            == 0
        )
        assert server.came == []
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/")
        assert server.came == ["somebody"]  # only ours: it would have been seen


def command(folder: Path, *words: str) -> int:
    """One command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "sealwright", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode


def test_a111_where_an_authority_publishes_is_the_officers_word_and_never_the_requests(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "line 1")])
    place = x509.UniformResourceIdentifier("http://169.254.169.254/")
    access = x509.AuthorityInformationAccess([x509.AccessDescription(x509.OID_OCSP, place)])
    plain = x509.CertificateSigningRequestBuilder().subject_name(name)
    asked = read_request(plain.sign(key, hash_of(key)).public_bytes(Encoding.DER), "line-1.csr")
    check_request(asked, CODE_SIGNER, (), "line-1.csr")
    asking = plain.add_extension(access, critical=False)
    asked = read_request(asking.sign(key, hash_of(key)).public_bytes(Encoding.DER), "line-1.csr")
    with pytest.raises(KeyRefused, match=re.escape("1.3.6.1.5.5.7.1.1")):
        check_request(asked, CODE_SIGNER, (), "line-1.csr")


# A113 -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Home:
    init_home(str(tmp_path / "home"), InitOptions(datetime.now(UTC), "ACME", "ACME"))
    return open_home(str(tmp_path / "home"))


def sign(home: Home, name: str, key: str = "release") -> str:
    """ "" where the key signs, else why it does not."""
    path = Path(home.folder).parent / name
    path.write_bytes(b"firmware")
    try:
        (answer,) = sign_paths([str(path)], open_home(home.folder), SignOptions(key=key))
    except SealwrightError as refused:
        return str(refused)
    assert isinstance(answer, Signed | NotSigned)
    return "" if isinstance(answer, Signed) else str(answer.error)


def test_a113_a_replaced_key_signs_through_the_overlap_and_never_after_it(house: Home) -> None:
    now = datetime.now(UTC)
    assert sign(house, "before.bin") == ""
    rekey(house, "release", "release-2", now, None, overlap=timedelta(days=30))
    assert sign(house, "overlap.bin") == sign(house, "new.bin", "release-2") == ""
    retire(open_home(house.folder), "release", now, now - timedelta(seconds=1))
    assert "its signing ended" in sign(house, "after.bin")
    assert not (Path(house.folder).parent / "after.bin.p7s").exists()
    assert sign(house, "still.bin", "release-2") == ""
    for wanted in (lambda: renew(open_home(house.folder), "release", now, None),
                   lambda: rekey(open_home(house.folder), "release", "release-3", now, None)):  # fmt: skip
        with pytest.raises(KeyRefused):
            wanted()


def test_a113_the_last_second_of_a_replaced_key_is_its_last(house: Home) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    retire(house, "release", until, until)
    home = open_home(house.folder)
    with Pipeline(home, home.key("release", KeyPurpose.ARTIFACT), None) as pipeline:
        assert pipeline.sign([], until) == []
        with pytest.raises(KeyRefused, match="its signing ended"):
            pipeline.sign([], until + timedelta(seconds=1))


def test_a113_a_key_on_hold_or_revoked_signs_nothing_until_it_is_released_or_never_again(house: Home) -> None:
    now = datetime.now(UTC)
    assert sign(house, "a.bin") == ""
    suspend(house, "release", now)
    assert "certificateHold" in sign(house, "b.bin")
    release(house, "release", now)
    assert sign(house, "c.bin") == ""
    revoke(house, "release", x509.ReasonFlags.key_compromise, now)
    assert "was revoked" in sign(house, "d.bin")
    with pytest.raises(SealwrightError, match="stays revoked"):
        release(house, "release", now)
    assert "was revoked" in sign(house, "e.bin")
    with pytest.raises(KeyRefused, match="revoked"):
        renew(open_home(house.folder), "release", now, None)
    assert not list(Path(house.folder).parent.glob("[bde].bin.p7s"))


def test_a113_the_end_of_signing_cannot_be_talked_away_by_editing_the_homes_file(house: Home) -> None:
    """home.toml is a file for editing; the register is the journal of what was decided, and it counts too."""
    now, path = datetime.now(UTC), Path(house.folder) / "home.toml"

    def forget() -> None:
        lines = path.read_text().splitlines()
        assert any(line.startswith("signs_until") for line in lines)
        path.write_text("\n".join(line for line in lines if not line.startswith("signs_until")) + "\n")

    retire(house, "release", now, now + timedelta(days=2))
    forget()
    assert sign(house, "still.bin") == ""
    retire(open_home(house.folder), "release", now, now - timedelta(days=1))
    assert "its signing ended" in sign(house, "late.bin")
    forget()
    assert "its signing ended" in sign(house, "later.bin")


def test_a113_what_a_retired_key_signed_late_is_refused_once_its_certificate_is_superseded(tmp_path: Path) -> None:
    """The plant sees it by the list: superseded since the end of signing, so what is proved older counts."""
    pki = Pki.make()
    old, end = pki.leaf("release"), NOW - 3 * DAY
    fresh = believed(pki, crls=[pki.crl()])
    early = signed_file(tmp_path, old, name="early.bin", tsa=pki.tsa(), stamped=end - DAY)
    late = signed_file(tmp_path, old, name="late.bin", tsa=pki.tsa(), stamped=end + DAY)
    bare = signed_file(tmp_path, old, name="bare.bin")
    assert {judge(path, fresh).outcome for path in (early, late, bare)} == {TRUSTED}
    pki.revoke(old, end, x509.ReasonFlags.superseded)
    after = believed(pki, crls=[pki.crl(number=2)])
    assert judge(early, after).outcome is TRUSTED
    assert {judge(path, after).outcome for path in (late, bare)} == {REJECTED}


# A112: what another authority hands in to be cross-signed ---------------------------------------------------------------------

ACCEPTED: dict[str, dict[str, Any]] = {
    "a plain root": {},
    "one whose identifier is of another method": {
        "without": "ski",
        "extra": [(x509.SubjectKeyIdentifier(b"7" * 20), False)],
    },
    "one without an identifier": {"without": "ski"},
    "one with more room than there is": {"constraints": x509.BasicConstraints(ca=True, path_length=9)},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a signer": ({"ca": False}, "no authority"),
    "one that may not certify": ({"usage": "crl_sign"}, "no authority"),
    "one without a name": ({"subject": x509.Name([])}, "no name"),
    "one whose own signature does not hold": ({"signed_by": ec.generate_private_key(ec.SECP256R1())}, "does not hold"),
    "one for TLS alone": ({"purposes": ["1.3.6.1.5.5.7.3.1"]}, "limits"),
    "one for some names alone": (
        {"extra": [(x509.NameConstraints([x509.DNSName("acme.example")], None), True)]},
        "limits",
    ),
    "one that demands policies": ({"extra": [(x509.PolicyConstraints(0, None), True)]}, "limits"),
    "one with a demand nobody knows": ({"extra": [(UNKNOWN_CRITICAL, True)]}, "limits"),
    "one that has ended": ({"before": NOW - 900 * DAY, "after": NOW - DAY}, "ended"),
    "a weak one": ({"key": rsa.generate_private_key(65537, 2048)}, "2048 bits"),
    "one that cannot issue": ({"key": ec.generate_private_key(ec.SECP256K1())}, "secp256k1"),
}


def test_a112_another_root_is_certified_with_its_own_identifier_and_never_more_room(
    house: Home, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    for what, how in ACCEPTED.items():
        other = made(what, **({"ca": True, "before": now - DAY, "after": now + 900 * DAY} | how))
        crossed = cross_sign(house, other.der, "root", now, None, "other.pem").x509
        below = made("CA below", other, ca=True, before=now - DAY, after=now + DAY, without="aki", extra=_names(other))
        assert crossed.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1, what
        (tmp_path / "crossed.pem").write_bytes(crossed.public_bytes(Encoding.PEM))
        (tmp_path / "below.pem").write_bytes(below.pem)
        accepted, words = run(
            [
                "openssl",
                "verify",
                "-CAfile",
                Path(house.folder) / "ca.pem",
                "-untrusted",
                tmp_path / "crossed.pem",
                tmp_path / "below.pem",
            ]
        )
        assert accepted, (what, words)


def _names(issuer: Made) -> list[tuple[x509.ExtensionType, bool]]:
    try:
        known = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return []
    return [(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), False)]


@pytest.mark.parametrize("what", REFUSED)
def test_a112_an_authority_whose_limits_would_be_lifted_or_that_is_none_is_not_cross_signed(
    house: Home, what: str
) -> None:
    now = datetime.now(UTC)
    usual = {"ca": True, "before": now - DAY, "after": now + 900 * DAY}
    assert cross_sign(house, made("good root", **usual).der, "root", now, None, "good.pem")
    how, said = REFUSED[what]
    with pytest.raises(SealwrightError, match=said):
        cross_sign(house, made("other root", **(usual | how)).der, "root", now, None, "other.pem")


def test_a112_an_authority_does_not_cross_sign_itself(house: Home) -> None:
    own = house.key("root", KeyPurpose.CERTIFICATES).certificate
    with pytest.raises(KeyRefused, match="itself"):
        cross_sign(house, own, "root", datetime.now(UTC), None, "ca.pem")


def test_a112_a_signers_key_never_becomes_an_authoritys(house: Home) -> None:
    """The name is the same, the request is the same key's: the one word `--profile root` would have made a signer an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "line 1")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hash_of(key)).public_bytes(Encoding.DER)
    asked, now = read_request(csr, "line-1.csr"), datetime.now(UTC)
    assert certify(house, asked, Wanted(CODE_SIGNER, Provenance.DEVELOPMENT), now, None, "line-1.csr")
    for profile in (PROFILES["root"], INTERMEDIATE):
        with pytest.raises(KeyRefused, match="one owner and one purpose"):
            certify(house, asked, Wanted(profile, Provenance.DEVELOPMENT), now, None, "line-1.csr")
