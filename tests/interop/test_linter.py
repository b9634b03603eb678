"""Everything that an authority of ours writes, read by pkilint: certificates of every profile, whole paths, revocation lists.

Nothing is found above a remark, with one exception of the linter's own: it takes every RSA signature for PKCS #1 v1.5. What
carries an identifier of ours its programs cannot decode (an arc above 32 bits); `kit.lint` reads that with pyasn1.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from kit import lint
from kit.certs import entry, listed, made, rebuilt
from kit.pki import CLAIMED, DAY, NOW, soft_key
from sealwright.cli.main import main
from sealwright.envelope.kinds import Construction
from sealwright.keys.key import KeyKind, Provenance
from sealwright.pki.authority import Issuer, Publication, Subject, Terms
from sealwright.pki.oids import CONSTRUCTIONS
from sealwright.pki.profiles import CODE_SIGNER, INTERMEDIATE, PROFILES, ROOT, Names, Profile
from sealwright.signing.issued import REASONS, Issued
from sealwright.signing.register import Order, Register

PLACES = Publication("http://pki.acme.example/ca.crl", "http://ocsp.acme.example/", "http://pki.acme.example/ca.cer")
BELOW = [profile for profile in PROFILES.values() if not profile.is_authority]
KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.ED25519, KeyKind.RSA3072_PSS)
PSS_UNREAD = ("ERROR", "pkix.signature_verification_failed")


@dataclass
class Authorities:
    """A root and the authority below it, with their register."""

    register: Register
    root: Issued
    ca: Issued
    issuer: Issuer
    top: Issuer
    provenance: Provenance

    @classmethod
    def make(cls, folder: Path, kind: KeyKind = KeyKind.P256, provenance: Provenance = CLAIMED) -> Authorities:
        """As `init` makes them."""
        register = Register.open(str(folder / "register"))
        key, below = soft_key(kind, provenance), soft_key(kind, provenance)
        order = Order(ROOT, Subject("ACME root", "ACME"), key.info.public_key, provenance)
        root = register.issue(order, Issuer(key), NOW - 30 * DAY)
        top = Issuer(key, root.certificate)
        order = Order(
            INTERMEDIATE, Subject("ACME CA", "ACME"), below.info.public_key, provenance, terms=Terms(publication=PLACES)
        )
        ca = register.issue(order, top, NOW - 30 * DAY)
        return cls(register, root, ca, Issuer(below, ca.certificate), top, provenance)

    def one(self, profile: Profile, construction: Construction = Construction.CMS_ATTRIBUTES, name: str = "") -> Issued:
        """A certificate of a profile, with everything that can be in it."""
        kind = next(kind for kind in (KeyKind.P256, KeyKind.RSA3072) if kind.algorithm.scheme in profile.schemes)
        hosts = ("line-1.plant.example", "10.1.2.3", "fd00::7") if profile.names is Names.HOSTS else ()
        public = soft_key(kind).info.public_key
        subject = Subject(name or f"Werk Süd {profile.name}", "ACME")
        terms = Terms(hosts=hosts, publication=PLACES)
        return self.register.issue(
            Order(profile, subject, public, self.provenance, construction, terms), self.issuer, NOW
        )


@pytest.fixture
def ours(tmp_path: Path) -> Authorities:
    return Authorities.make(tmp_path)


@pytest.mark.parametrize("provenance", [CLAIMED, Provenance.DEVELOPMENT, Provenance.HARDWARE_ATTESTED])
@pytest.mark.parametrize("kind", KINDS)
def test_the_linter_finds_nothing_in_a_certificate_of_any_profile(
    tmp_path: Path, kind: KeyKind, provenance: Provenance
) -> None:
    ours = Authorities.make(tmp_path, kind, provenance)
    profiles = BELOW if kind is KeyKind.P256 else BELOW[:1]  # what the authority's key changes is in each of them
    for one in (ours.root, ours.ca, *map(ours.one, profiles)):
        assert lint.of_certificate(one.certificate) == [], one.profile
        above = ours.ca if one.issuer == ours.ca.key else ours.root
        found = lint.of_pair(above.certificate, one.certificate) if one is not ours.root else []
        wanted = {PSS_UNREAD} if _is_pss(one) and one is not ours.root else set()
        assert {(each.severity, each.code) for each in found} == wanted, one.profile


def test_nothing_is_found_in_certificates_of_keys_whose_signatures_are_bare(ours: Authorities) -> None:
    for number, construction in enumerate(CONSTRUCTIONS):
        one = ours.one(CODE_SIGNER, construction, f"boards {number}")
        assert lint.of_certificate(one.certificate) == lint.of_pair(ours.ca.certificate, one.certificate) == []


def test_nothing_is_found_in_a_cross_signed_root(ours: Authorities, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authorities.make(tmp_path / "other")
    terms = Terms(days=900, path_length=1, publication=PLACES)
    public = other.top.key.info.public_key
    order = Order(replace(ROOT, name="cross-signed"), other.root.x509.subject, public, CLAIMED, terms=terms)
    crossed = ours.register.issue(order, ours.top, NOW)
    assert lint.of_certificate(crossed.certificate) == lint.of_pair(ours.root.certificate, crossed.certificate) == []
    assert lint.of_pair(crossed.certificate, other.ca.certificate) == []


def test_nothing_is_found_in_what_a_home_makes_for_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert main(["init", str(home), "--organisation", "ACME"]) == 0
    roles = ("kmod", "rauc", "timestamp", "ocsp", "approval", "configuration")
    for role in roles:
        assert main(["key", "enrol", role, "--home", str(home), "--name", f"for-{role}"]) == 0
    files = [home / "ca.pem", *sorted((home / "certificates").glob("*.pem"))]
    read = {}
    for file in files:
        leaf, *path = x509.load_pem_x509_certificates(file.read_bytes())
        read[file.stem] = leaf
        assert lint.of_certificate(leaf.public_bytes(Encoding.DER)) == [], file.name
        for below, above in zip([leaf, *path], path, strict=False):
            assert lint.of_pair(above.public_bytes(Encoding.DER), below.public_bytes(Encoding.DER)) == [], file.name
    assert {"ca", *(f"for-{role}" for role in roles)} <= set(read)


def test_the_linter_finds_nothing_in_a_list_with_everything_that_can_be_on_it(ours: Authorities) -> None:
    empty = ours.register.list(ours.issuer, NOW, timedelta(days=30))
    assert lint.of_list(empty) == []
    for number, reason in enumerate(REASONS.values()):
        one = ours.one(CODE_SIGNER, name=f"lost {number}")
        ours.register.revoke(one, NOW, reason, invalid=NOW - number * DAY if number % 2 else None)
    ours.register.hold(ours.one(CODE_SIGNER, name="held"), NOW)
    full = ours.register.list(ours.issuer, NOW, timedelta(days=30))
    assert len(x509.load_der_x509_crl(full)) == len(REASONS) + 1
    assert lint.of_list(full) == []
    ours.register.revoke(ours.ca, NOW, x509.ReasonFlags.ca_compromise, invalid=NOW - DAY)
    assert lint.of_list(ours.register.list(ours.top, NOW, timedelta(days=180)), authorities=True) == []


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_every_kind_of_key_are_clean(tmp_path: Path, kind: KeyKind) -> None:
    ours = Authorities.make(tmp_path, kind)
    ours.register.revoke(ours.one(CODE_SIGNER), NOW, x509.ReasonFlags.superseded)
    assert lint.of_list(ours.register.list(ours.issuer, NOW, timedelta(days=30))) == []


ROOT_MADE = made("root", ca=True)
FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a negative serial": (lambda: rebuilt(made("leaf", ROOT_MADE), ROOT_MADE.key, serial=-5), "serial"),
    "no key identifier of the issuer": (lambda: made("leaf", ROOT_MADE, without="aki").der, "authority_key_id"),
    "an authority whose constraints are not critical": (lambda: _not_critical(), "basic_constraints"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_linter_would_have_found_a_fault_in_a_certificate(fault: str) -> None:
    assert lint.of_certificate(made("leaf", ROOT_MADE).der) == []
    make, word = FAULTS[fault]
    assert any(word in found.code for found in lint.of_certificate(make())), lint.of_certificate(make())


def test_the_linter_would_have_found_a_fault_in_a_path_or_a_list(ours: Authorities) -> None:
    one = ours.one(CODE_SIGNER)
    assert lint.of_pair(ours.ca.certificate, one.certificate) == []
    wrong = {found.code for found in lint.of_pair(ours.root.certificate, one.certificate)}
    assert {"pkix.issuer_and_subject_dn_not_binary_equal", "pkix.signature_verification_failed"} <= wrong
    aki = (x509.AuthorityKeyIdentifier.from_issuer_public_key(ROOT_MADE.key.public_key()), False)
    assert lint.of_list(listed(ROOT_MADE, entry(7, NOW - DAY, x509.ReasonFlags.superseded), extra=[aki])) == []
    assert any("number" in found.code for found in lint.of_list(listed(ROOT_MADE, number=None, extra=[aki])))
    assert any("authority_key_identifier" in found.code for found in lint.of_list(listed(ROOT_MADE)))


def test_of_host_names_it_dislikes_only_wildcards_which_rfc_9525_gives_to_tls(ours: Authorities) -> None:
    profile = PROFILES["tls-server"]
    for host, wanted in (("line-1.plant.example", []), ("*.plant.example", ["pkix.invalid_domain_name_syntax"])):
        public = soft_key().info.public_key
        order = Order(profile, Subject(host, "ACME"), public, CLAIMED, terms=Terms(hosts=(host,), publication=PLACES))
        one = ours.register.issue(order, ours.issuer, NOW)
        assert [found.code for found in lint.of_certificate(one.certificate)] == wanted


def test_the_linters_own_programs_say_the_same(ours: Authorities, tmp_path: Path) -> None:
    """Their one finding more is their decoder's: our identifiers have a UUID for an arc."""
    for name, der in (
        ("one.der", ours.one(CODE_SIGNER).certificate),
        ("ca.der", ours.ca.certificate),
        ("bad.der", rebuilt(made("leaf", ROOT_MADE), ROOT_MADE.key, serial=-5)),
        ("ca.crl", ours.register.list(ours.issuer, NOW, timedelta(days=30))),
        ("bad.crl", listed(ROOT_MADE, number=None)),
    ):
        (tmp_path / name).write_bytes(der)
    assert run("lint_pkix_cert", "lint", tmp_path / "ca.der") == ""
    said = run("lint_pkix_cert", "lint", tmp_path / "one.der")
    assert said.count("FATAL") == said.count("32-bits") == 1
    assert not any(word in said for word in ("ERROR", "WARNING", "NOTICE"))
    assert "serial" in run("lint_pkix_cert", "lint", tmp_path / "bad.der")
    assert run("lint_crl", "lint", "-t", "CRL", "-p", "PKIX", tmp_path / "ca.crl") == ""
    assert "number" in run("lint_crl", "lint", "-t", "CRL", "-p", "PKIX", tmp_path / "bad.crl")


def run(program: str, *words: str | Path) -> str:
    """What one of the linter's programs prints above INFO."""
    at = Path(sys.executable).parent / program
    command = [str(at), words[0], "-s", "NOTICE", *map(str, words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip()


def _is_pss(one: Issued) -> bool:
    return one.x509.signature_algorithm_oid.dotted_string == "1.2.840.113549.1.1.10"


def _not_critical() -> bytes:
    constraints = (x509.BasicConstraints(ca=True, path_length=None), False)
    return made("CA", ROOT_MADE, ca=True, without="constraints", extra=[constraints]).der
