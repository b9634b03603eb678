"""Which revocation lists are used at all: full, direct, signed by an issuer that may, and understood in every critical part."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path as File
from typing import Any

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, Made, entry, listed, made, name
from kit.mutate import flips, truncations
from kit.openssl import run
from sealwright.errors import LimitExceeded, MalformedTrust, SealwrightError
from sealwright.trust import revocation as module
from sealwright.trust.certificate import load_certificate
from sealwright.trust.path import Path, Strictness, find_path
from sealwright.trust.revocation import CrlTable, State, crl_issuer, revocation

CA = made("CA", ca=True)
VECTORS = File(cryptography_vectors.__file__).parent / "x509"


def scope(**how: Any) -> list[tuple[x509.ExtensionType, bool]]:
    """An issuing distribution point with one part set."""
    parts = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return [(x509.IssuingDistributionPoint(**(parts | how)), True)]


_STRANGER = ec.generate_private_key(ec.SECP256R1())
_RELATIVE = x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COMMON_NAME, "part 1")])
_PLACE = [x509.UniformResourceIdentifier("http://crl.example/1.crl")]
_CRITICAL_ENTRY = entry(5, NOW, extra=[(UNKNOWN_CRITICAL, True)])
_OTHERS_ENTRY = entry(5, NOW, extra=[(x509.CertificateIssuer([x509.DirectoryName(name("other"))]), True)])

LISTS: list[tuple[str, dict[str, Any], str]] = [
    ("plain", {}, ""),
    ("an unknown extension that is not critical", {"extra": [(UNKNOWN_CRITICAL, False)]}, ""),
    ("an unknown critical extension", {"extra": [(UNKNOWN_CRITICAL, True)]}, "unknown critical extension"),
    ("an entry with an unknown extension", {"entries": [entry(5, NOW, extra=[(UNKNOWN_CRITICAL, False)])]}, ""),
    ("an entry with an unknown critical extension", {"entries": [_CRITICAL_ENTRY]}, "an entry with the unknown"),
    ("an entry of another issuer", {"entries": [_OTHERS_ENTRY]}, "indirect"),
    ("delta", {"extra": [(x509.DeltaCRLIndicator(1), True)]}, "delta"),
    ("a place of publication", {"extra": scope(full_name=_PLACE)}, ""),
    ("a part by relative name", {"extra": scope(relative_name=_RELATIVE)}, "partial"),
    ("users' certificates only", {"extra": scope(only_contains_user_certs=True)}, "partial"),
    ("authorities' certificates only", {"extra": scope(only_contains_ca_certs=True)}, "partial"),
    ("attribute certificates only", {"extra": scope(only_contains_attribute_certs=True)}, "partial"),
    ("some reasons only", {"extra": scope(only_some_reasons=frozenset((x509.ReasonFlags.superseded,)))}, "partial"),
    ("indirect", {"extra": scope(full_name=_PLACE, indirect_crl=True)}, "indirect"),
    ("without a number", {"number": None}, "no CRL number"),
    ("signed by another key", {"signed_by": _STRANGER}, "its signature is not of an issuer"),
    ("of another name", {"issuer_name": name("other")}, "its issuer is not the one"),
]


@pytest.mark.parametrize(("case", "how", "why"), LISTS, ids=[row[0] for row in LISTS])
def test_only_full_and_direct_lists_of_the_issuer_are_used(case: str, how: dict[str, Any], why: str) -> None:
    parts = {"entries": [entry(7, NOW)]} | how
    der = listed(CA, *parts.pop("entries"), **parts)
    if not why:
        assert CrlTable.load(der, [CA.certificate]).entries
        return
    with pytest.raises(MalformedTrust, match=why):
        CrlTable.load(der, [CA.certificate])


ISSUERS: list[tuple[str, Callable[[], Made], bool]] = [
    ("one that may sign lists", lambda: made("CA", ca=True, usage="crl_sign"), True),
    ("one that may sign certificates only", lambda: made("CA", ca=True, usage="key_cert_sign"), False),
    ("one without key usage", lambda: made("CA", ca=True, usage=None), False),
    ("an RSA key", lambda: made("CA", ca=True, key=rsa.generate_private_key(65537, 2048)), True),
    ("P-521", lambda: made("CA", ca=True, key=ec.generate_private_key(ec.SECP521R1())), True),
    ("Ed25519", lambda: made("CA", ca=True, key=ed25519.Ed25519PrivateKey.generate()), True),
    ("ML-DSA-65", lambda: made("CA", ca=True, key=mldsa.MLDSA65PrivateKey.generate()), True),
]


@pytest.mark.parametrize(("case", "issuer", "good"), ISSUERS, ids=[row[0] for row in ISSUERS])
def test_a_list_is_signed_by_an_issuer_that_may(case: str, issuer: Callable[[], Made], good: bool) -> None:
    by = issuer()
    der = listed(by, entry(7, NOW), hashed=hashes.SHA256())
    if good:
        assert CrlTable.load(der, [by.certificate]).number == 1
    else:
        with pytest.raises(MalformedTrust, match="may sign revocation lists"):
            CrlTable.load(der, [by.certificate])


def test_the_issuers_are_tried_by_key_where_several_have_one_name() -> None:
    twin = made("CA", ca=True)
    der = listed(twin)
    found = CrlTable.load(der, [CA.certificate, twin.certificate])
    assert found == CrlTable.load(der, [twin.certificate])


def test_a_good_list_is_one_for_the_openssl_program_too(tmp_path: File) -> None:
    leaf = made("signer", CA)
    (tmp_path / "ca").write_bytes(CA.pem)
    (tmp_path / "leaf").write_bytes(leaf.pem)
    at = str(int(NOW.timestamp()))
    for der, good in ((listed(CA, entry(7, NOW - DAY)), True), (listed(CA, entry(leaf.certificate, NOW - DAY)), False)):
        crl = x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
        (tmp_path / "crl").write_bytes(crl)
        said, words = run(
            ["openssl", "verify", "-crl_check", "-attime", at, "-CAfile", "ca", "-CRLfile", "crl", "leaf"], cwd=tmp_path
        )
        assert said is good, words
        table = CrlTable.load(der, [CA.certificate])
        state = revocation(leaf.certificate, CA.certificate, [table], None, NOW, None, 0).state
        assert (state is State.GOOD) is good


def test_every_bit_of_a_list_counts() -> None:
    der = listed(CA, entry(7, NOW, x509.ReasonFlags.superseded, NOW - DAY))
    before = CrlTable.load(der, [CA.certificate])
    # the count of unused bits before the signature value: one of them may be "unused" where the last bit is 0 anyway
    unused = len(der) - len(x509.load_der_x509_crl(der).signature) - 1
    for at, changed in flips(der):
        if at == unused:
            continue
        with pytest.raises(SealwrightError):
            CrlTable.load(changed, [CA.certificate])
            pytest.fail(f"byte {at} may be changed")
    for cut in truncations(der):
        with pytest.raises(SealwrightError):
            CrlTable.load(cut, [CA.certificate])
    assert before.entries[7].invalid == NOW - DAY


def test_a_list_has_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LimitExceeded):
        CrlTable.load(bytes(module.MAX_CRL_BYTES + 1), [CA.certificate])
    with pytest.raises(LimitExceeded):
        crl_issuer(bytes(module.MAX_CRL_BYTES + 1))
    der = listed(CA, *(entry(serial, NOW) for serial in range(1, 12)))
    assert len(CrlTable.load(der + b"", [CA.certificate]).entries) == 11
    monkeypatch.setattr(module, "MAX_ENTRIES", 10)
    with pytest.raises(LimitExceeded, match="11 entries"):
        CrlTable.load(listed(CA, *(entry(serial, NOW) for serial in range(1, 12)), number=2), [CA.certificate])


@pytest.mark.parametrize("path", sorted((VECTORS / "custom").glob("crl_*")), ids=lambda path: path.stem)
def test_no_odd_list_ends_in_anything_but_a_typed_error(path: File) -> None:
    data = path.read_bytes()
    if data.startswith(b"-----"):
        data = base64.b64decode(b"".join(data.splitlines()[1:-1]))
    for read in (crl_issuer, lambda der: CrlTable.load(der, [CA.certificate])):
        try:
            read(data)
        except SealwrightError:
            continue


# NIST's suite (PKITS 1.0.1) section 4.4, 4.14 and 4.15: the state of the leaf, asked with the lists of its issuer.
AT = datetime(2020, 1, 1, tzinfo=UTC)
REVOKED, UNKNOWN, GOOD = State.REVOKED_BEFORE, State.UNKNOWN, State.GOOD
PKITS = [
    ("ValidCertificatePathTest1EE", "GoodCACRL", GOOD),
    ("InvalidMissingCRLTest1EE", "", UNKNOWN),
    ("InvalidRevokedEETest3EE", "GoodCACRL", REVOKED),
    ("InvalidBadCRLSignatureTest4EE", "BadCRLSignatureCACRL", UNKNOWN),
    ("InvalidBadCRLIssuerNameTest5EE", "BadCRLIssuerNameCACRL", UNKNOWN),
    ("InvalidWrongCRLTest6EE", "WrongCRLCACRL", UNKNOWN),
    ("ValidTwoCRLsTest7EE", "TwoCRLsCAGoodCRL TwoCRLsCABadCRL", GOOD),
    ("InvalidUnknownCRLEntryExtensionTest8EE", "UnknownCRLEntryExtensionCACRL", UNKNOWN),
    ("InvalidUnknownCRLExtensionTest9EE", "UnknownCRLExtensionCACRL", UNKNOWN),
    ("InvalidUnknownCRLExtensionTest10EE", "UnknownCRLExtensionCACRL", UNKNOWN),
    ("InvalidOldCRLnextUpdateTest11EE", "OldCRLnextUpdateCACRL", UNKNOWN),
    ("Invalidpre2000CRLnextUpdateTest12EE", "pre2000CRLnextUpdateCACRL", UNKNOWN),
    ("ValidGeneralizedTimeCRLnextUpdateTest13EE", "GeneralizedTimeCRLnextUpdateCACRL", GOOD),
    ("InvalidNegativeSerialNumberTest15EE", "NegativeSerialNumberCACRL", REVOKED),
    ("ValidLongSerialNumberTest16EE", "LongSerialNumberCACRL", GOOD),
    ("ValidLongSerialNumberTest17EE", "LongSerialNumberCACRL", GOOD),
    ("InvalidLongSerialNumberTest18EE", "LongSerialNumberCACRL", REVOKED),
    ("InvalidkeyUsageCriticalcRLSignFalseTest4EE", "keyUsageCriticalcRLSignFalseCACRL", UNKNOWN),
    ("InvalidkeyUsageNotCriticalcRLSignFalseTest5EE", "keyUsageNotCriticalcRLSignFalseCACRL", UNKNOWN),
    ("ValiddistributionPointTest1EE", "distributionPoint1CACRL", GOOD),
    ("InvaliddistributionPointTest2EE", "distributionPoint1CACRL", REVOKED),
    ("InvaliddistributionPointTest3EE", "distributionPoint1CACRL", UNKNOWN),
    ("ValiddistributionPointTest4EE", "distributionPoint1CACRL", UNKNOWN),  # by relative name: stricter than the suite
    ("InvaliddistributionPointTest6EE", "distributionPoint2CACRL", UNKNOWN),  # its list has a relative name
    ("ValidNoissuingDistributionPointTest10EE", "NoissuingDistributionPointCACRL", GOOD),
    ("InvalidonlyContainsUserCertsTest11EE", "onlyContainsUserCertsCACRL", UNKNOWN),
    ("InvalidonlyContainsCACertsTest12EE", "onlyContainsCACertsCACRL", UNKNOWN),
    ("InvalidonlyContainsAttributeCertsTest14EE", "onlyContainsAttributeCertsCACRL", UNKNOWN),
    ("InvalidonlySomeReasonsTest15EE", "onlySomeReasonsCA1compromiseCRL onlySomeReasonsCA1otherreasonsCRL", UNKNOWN),
    ("InvalidonlySomeReasonsTest17EE", "onlySomeReasonsCA2CRL1 onlySomeReasonsCA2CRL2", UNKNOWN),
    ("InvaliddeltaCRLIndicatorNoBaseTest1EE", "deltaCRLIndicatorNoBaseCACRL", UNKNOWN),
    ("InvalidIDPwithindirectCRLTest23EE", "indirectCRLCA1CRL", UNKNOWN),
]


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize(("stem", "lists", "state"), PKITS, ids=[row[0] for row in PKITS])
def test_the_lists_of_nists_suite_say_what_the_suite_says(stem: str, lists: str, state: State) -> None:
    data = VECTORS / "PKITS_data"
    leaf = load_certificate((data / "certs" / f"{stem}.crt").read_bytes(), stem)
    root = load_certificate((data / "certs" / "TrustAnchorRootCertificate.crt").read_bytes(), "root")
    every = (
        load_certificate(path.read_bytes(), path.stem)
        for path in sorted((data / "certs").glob("*CA*Cert.crt"))
        if "DSA" not in path.stem
    )
    path = find_path(leaf, [one for one in every if one.subject == leaf.issuer], [root], AT, Strictness.FOREIGN)
    assert isinstance(path, Path)
    issuer = path.certificates[1]
    tables = []
    for crl in lists.split():
        try:
            tables.append(CrlTable.load((data / "crls" / f"{crl}.crl").read_bytes(), [issuer]))
        except SealwrightError:
            assert state is not State.GOOD or "Bad" in crl
    assert revocation(leaf, issuer, tables, None, AT, None, 0).state is state
