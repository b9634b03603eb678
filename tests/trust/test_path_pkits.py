"""NIST's Public Key Interoperability Test Suite (PKITS 1.0.1, sections 4.1 to 4.13 and 4.16) through our own path search.

The suite's certificates are RSA-2048 and SHA-256 of 2010; its clock is set to 2020 here. Every CA certificate of the suite, the
broken ones too, lies in the bag of every case. What the suite calls valid and we refuse is listed with its reason: names are
compared as exactly as a pin would be, DSA is not in our table, and an authority's certificate signs no artifacts. Policies
(4.8 to 4.12) are asked with the suite's initial set "any policy", and the openssl program is asked the same.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime
from functools import cache
from pathlib import Path as File

import cryptography_vectors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit.openssl import run
from sealwright.errors import SealwrightError, WeakAlgorithm
from sealwright.trust.certificate import load_certificate
from sealwright.trust.path import NoPath, Path, Strictness, find_path

SUITE = File(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
AT = datetime(2020, 1, 1, tzinfo=UTC)
# One of the suite's certificates has a serial number below zero, which the parser remarks.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")


def certificate(stem: str) -> x509.Certificate:
    """A certificate of the suite, through our door."""
    return load_certificate((SUITE / "certs" / f"{stem}.crt").read_bytes(), stem)


@cache
def bag() -> tuple[x509.Certificate, ...]:
    """Every certificate of a CA that can be read."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted((SUITE / "certs").glob("*.crt")):
            if re.search(r"Test\d+EE$", path.stem):
                continue
            try:
                found.append(certificate(path.stem))
            except SealwrightError:
                continue
    return tuple(found)


def answer(stem: str) -> Path | NoPath:
    """What we say of one leaf of the suite."""
    anchor = certificate("TrustAnchorRootCertificate")
    return find_path(certificate(stem), bag(), [anchor], AT, Strictness.FOREIGN)


def cases(text: str) -> list[str]:
    """Names of leaves, as the suite's files are called."""
    return text.split()


VALID = cases("""
ValidCertificatePathTest1EE
ValidGeneralizedTimenotBeforeDateTest4EE ValidGeneralizedTimenotAfterDateTest8EE Validpre2000UTCnotBeforeDateTest3EE
ValidNameUIDsTest6EE ValidRFC3280MandatoryAttributeTypesTest7EE ValidRFC3280OptionalAttributeTypesTest8EE
ValidUTF8StringEncodedNamesTest9EE
ValidBasicSelfIssuedOldWithNewTest1EE ValidBasicSelfIssuedNewWithOldTest3EE ValidBasicSelfIssuedNewWithOldTest4EE
ValidBasicSelfIssuedCRLSigningKeyTest6EE
ValidbasicConstraintsNotCriticalTest4EE ValidpathLenConstraintTest7EE ValidpathLenConstraintTest13EE
ValidSelfIssuedpathLenConstraintTest15EE ValidSelfIssuedpathLenConstraintTest17EE
ValidkeyUsageNotCriticalTest3EE
ValidDNnameConstraintsTest1EE ValidDNnameConstraintsTest4EE ValidDNnameConstraintsTest5EE ValidDNnameConstraintsTest6EE
ValidDNnameConstraintsTest11EE ValidDNnameConstraintsTest14EE ValidDNnameConstraintsTest18EE
ValidDNnameConstraintsTest19EE ValidRFC822nameConstraintsTest21EE ValidRFC822nameConstraintsTest23EE
ValidRFC822nameConstraintsTest25EE ValidDNandRFC822nameConstraintsTest27EE ValidDNSnameConstraintsTest30EE
ValidDNSnameConstraintsTest32EE ValidURInameConstraintsTest34EE ValidURInameConstraintsTest36EE
ValidUnknownNotCriticalCertificateExtensionTest1EE
ValidLongSerialNumberTest16EE ValidLongSerialNumberTest17EE ValidNegativeSerialNumberTest14EE
""")

INVALID = cases("""
InvalidCASignatureTest2EE InvalidEESignatureTest3EE
InvalidCAnotBeforeDateTest1EE InvalidEEnotBeforeDateTest2EE InvalidCAnotAfterDateTest5EE InvalidEEnotAfterDateTest6EE
Invalidpre2000UTCEEnotAfterDateTest7EE
InvalidNameChainingTest1EE InvalidNameChainingOrderTest2EE
InvalidBasicSelfIssuedCRLSigningKeyTest8EE
InvalidMissingbasicConstraintsTest1EE InvalidcAFalseTest2EE InvalidcAFalseTest3EE
InvalidpathLenConstraintTest5EE InvalidpathLenConstraintTest6EE InvalidpathLenConstraintTest9EE
InvalidpathLenConstraintTest10EE InvalidpathLenConstraintTest11EE InvalidpathLenConstraintTest12EE
InvalidSelfIssuedpathLenConstraintTest16EE
InvalidkeyUsageCriticalkeyCertSignFalseTest1EE InvalidkeyUsageNotCriticalkeyCertSignFalseTest2EE
InvalidDNnameConstraintsTest2EE InvalidDNnameConstraintsTest3EE InvalidDNnameConstraintsTest7EE
InvalidDNnameConstraintsTest8EE InvalidDNnameConstraintsTest9EE InvalidDNnameConstraintsTest10EE
InvalidDNnameConstraintsTest12EE InvalidDNnameConstraintsTest13EE InvalidDNnameConstraintsTest15EE
InvalidDNnameConstraintsTest16EE InvalidDNnameConstraintsTest17EE InvalidDNnameConstraintsTest20EE
InvalidRFC822nameConstraintsTest22EE InvalidRFC822nameConstraintsTest24EE InvalidRFC822nameConstraintsTest26EE
InvalidDNandRFC822nameConstraintsTest28EE InvalidDNandRFC822nameConstraintsTest29EE InvalidDNSnameConstraintsTest31EE
InvalidDNSnameConstraintsTest33EE InvalidDNSnameConstraintsTest38EE InvalidURInameConstraintsTest35EE
InvalidURInameConstraintsTest37EE
InvalidUnknownCriticalCertificateExtensionTest2EE
""")

EXACT_NAMES = cases("""
ValidNameChainingWhitespaceTest3EE ValidNameChainingWhitespaceTest4EE ValidNameChainingCapitalizationTest5EE
ValidRolloverfromPrintableStringtoUTF8StringTest10EE ValidUTF8StringCaseInsensitiveMatchTest11EE
""")


@pytest.mark.parametrize("stem", VALID)
def test_what_the_suite_calls_valid_is_accepted(stem: str) -> None:
    found = answer(stem)
    assert isinstance(found, Path), found
    assert found.findings == ()


@pytest.mark.parametrize("stem", INVALID)
def test_what_the_suite_calls_invalid_is_refused(stem: str) -> None:
    assert isinstance(answer(stem), NoPath)


@pytest.mark.parametrize("stem", EXACT_NAMES)
def test_names_that_differ_in_case_space_or_string_type_do_not_chain(stem: str) -> None:
    """Stricter than RFC 5280 section 7.1; a maker who needs it gives the intermediate as an anchor."""
    assert isinstance(answer(stem), NoPath)


@pytest.mark.parametrize("stem", ["ValidpathLenConstraintTest8EE", "ValidpathLenConstraintTest14EE"])
def test_a_valid_path_to_an_authoritys_certificate_signs_no_artifact(stem: str) -> None:
    found = answer(stem)
    assert isinstance(found, Path)
    assert [f.code for f in found.findings] == ["SW-CERT-IS-CA"]


def test_a_dsa_key_is_refused_at_the_door() -> None:
    with pytest.raises(WeakAlgorithm, match="DSA"):
        certificate("ValidDSASignaturesTest4EE")
    with pytest.raises(SealwrightError):
        certificate("ValidDSAParameterInheritanceTest5EE")


POLICIES = sorted(
    path.stem
    for path in (SUITE / "certs").glob("*EE.crt")
    if re.search(r"Polic|UserNotice|CPSPointer|[iI]nhibit", path.stem)
)
KEPT = cases("""
AllCertificatesNoPoliciesTest2EE AllCertificatesSamePoliciesTest10EE AllCertificatesSamePoliciesTest13EE
AllCertificatesanyPolicyTest11EE AnyPolicyTest14EE CPSPointerQualifierTest20EE DifferentPoliciesTest3EE
OverlappingPoliciesTest6EE UserNoticeQualifierTest15EE UserNoticeQualifierTest16EE UserNoticeQualifierTest17EE
UserNoticeQualifierTest18EE UserNoticeQualifierTest19EE inhibitAnyPolicyTest3EE
""")


@pytest.mark.parametrize("stem", POLICIES)
def test_a_policy_that_an_authority_demands_is_kept(stem: str) -> None:
    assert isinstance(answer(stem), Path) is (stem in KEPT or stem.startswith("Valid"))


def test_the_openssl_program_says_the_same_of_every_policy(tmp_path: File) -> None:
    (tmp_path / "bag").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in bag()))
    (tmp_path / "root").write_bytes(certificate("TrustAnchorRootCertificate").public_bytes(Encoding.PEM))
    for stem in POLICIES:
        (tmp_path / stem).write_bytes(certificate(stem).public_bytes(Encoding.PEM))
    _, said = run(
        ["openssl", "verify", "-policy_check", "-policy", "anyPolicy", "-attime", str(int(AT.timestamp())),
         "-CAfile", "root", "-no-CApath", "-no-CAstore", "-untrusted", "bag", *POLICIES], cwd=tmp_path,
    )  # fmt: skip
    good = set(re.findall(r"^(\w+): OK$", said, re.MULTILINE))
    assert len(POLICIES) == 62
    assert good == {stem for stem in POLICIES if isinstance(answer(stem), Path)}
