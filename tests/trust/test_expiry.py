"""`expiry = "as the device"`: what firmware goes on starting is told so, and nothing else is forgiven with it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.efi import tiny
from kit.inside import sign_inside
from kit.modules import tiny_module
from kit.pki import DAY, NOW, Pki, Signer
from kit.trust import RULE, believed, codes, judge, knowing, signed_file, trust_bytes, trust_parts
from sealwright.cli.trusttext import sentence
from sealwright.envelope.kinds import Construction
from sealwright.errors import MalformedTrust
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Purpose

TRUSTED = Outcome.TRUSTED
PKI = Pki.make()
LEAF_ENDED, CA_ENDED, ROOT_ENDED = NOW + 25 * DAY, NOW + 3000 * DAY, NOW + 20000 * DAY
ENDS = NOW + 30000 * DAY
DEVICE = RULE | {"expiry": "as the device", "formats": ["pe", "kmod"]}


@pytest.fixture(scope="module")
def release() -> Signer:
    return PKI.leaf(days=30)


@pytest.fixture
def program(tmp_path: Path, release: Signer) -> Path:
    plain = tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    return sign_inside(plain, release, tmp_path / "signed.efi")


def trusting(*rules: dict[str, object], **changes: object) -> Believed:
    return believed(PKI, expires=ENDS, rule=[*rules], **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [LEAF_ENDED, CA_ENDED, ROOT_ENDED], ids=["signer", "authority", "anchor"])
def test_certificates_that_ended_count_only_where_the_rule_judges_as_the_device(program: Path, at: datetime) -> None:
    lenient, strict = trusting(DEVICE), trusting(RULE)
    assert judge(program, strict).outcome is TRUSTED
    assert judge(program, lenient).outcome is TRUSTED
    assert "SW-CERT-EXPIRY-IGNORED" not in {f.code for f in judge(program, lenient).findings}
    verdict = judge(program, lenient, at)
    assert verdict.outcome is TRUSTED
    told = [f for f in verdict.findings if f.code == "SW-CERT-EXPIRY-IGNORED"]
    assert [f.severity for f in told] == ["warning"]
    assert codes(judge(program, strict, at)) == ["SW-CERT-EXPIRED"]
    assert codes(judge(program, trusting(RULE | {"formats": ["pe"], "expiry": "counts"}), at)) == ["SW-CERT-EXPIRED"]


def test_what_runs_goes_on_running_with_either_rule_and_says_that_it_ended(program: Path) -> None:
    for rule in (DEVICE, RULE):
        verdict = judge(program, trusting(rule), ROOT_ENDED, purpose=Purpose.RUN)
        assert verdict.outcome is TRUSTED
        assert any(f.code.startswith("SW-CERT-EXPIR") for f in verdict.findings)


def test_it_holds_for_modules_whose_certificate_the_trust_file_knows(tmp_path: Path) -> None:
    signer = PKI.leaf("modules", days=30, construction=Construction.KMOD)
    plain = tmp_path / "plain.ko"
    plain.write_bytes(tiny_module())
    signed = sign_inside(plain, signer, tmp_path / "signed.ko", "kmod")
    known = knowing(signer)
    assert judge(signed, trusting(DEVICE, certificate=known), LEAF_ENDED).outcome is TRUSTED
    assert codes(judge(signed, trusting(RULE, certificate=known), LEAF_ENDED)) == ["SW-CERT-EXPIRED"]


def test_it_forgives_no_other_format_anchor_or_rule(tmp_path: Path, program: Path, release: Signer) -> None:
    other = Pki.make("Other")
    anchors = [
        {"name": name, "environment": "production", "certificate": pki.root.pem}
        for name, pki in (("root", PKI), ("other", other))
    ]
    beside = signed_file(tmp_path, release)
    both = trusting(RULE | {"name": "any"}, DEVICE)
    assert judge(beside, both).outcome is TRUSTED
    for rules in (
        [RULE, DEVICE | {"formats": ["kmod"]}],
        [RULE | {"formats": ["pe"]}, DEVICE | {"signer": [{"anchors": ["other"]}]}],
        [RULE | {"formats": ["pe"]}, DEVICE],
    ):
        named = [rule | {"name": f"rule {number}"} for number, rule in enumerate(rules)]
        trust = trusting(*named, anchor=anchors)
        assert judge(program, trust).outcome is TRUSTED
        assert "SW-CERT-EXPIRED" in codes(judge(program, trust, LEAF_ENDED))
    assert judge(program, both, LEAF_ENDED).outcome is TRUSTED
    assert codes(judge(beside, both, LEAF_ENDED)) == ["SW-CERT-EXPIRED"]


def test_it_forgives_neither_revocation_nor_denial_nor_a_certificate_that_has_not_begun(
    tmp_path: Path, program: Path, release: Signer
) -> None:
    trust = trusting(DEVICE)
    assert judge(program, trust, LEAF_ENDED).outcome is TRUSTED
    denied = Denied("key", release.key_digest, 0, "stolen")
    assert codes(judge(program, trusting(DEVICE, denied=[denied]), LEAF_ENDED)) == ["SW-DENIED-SIGNER"]
    pki = Pki(PKI.root, PKI.intermediate, PKI.provenance)
    pki.revoke(release, NOW - DAY, x509.ReasonFlags.key_compromise)
    assert codes(judge(program, trusting(DEVICE, crls=[pki.crl()]), LEAF_ENDED)) == ["SW-CERT-REVOKED"]
    coming = PKI.leaf("later", days=30, at=NOW + 10 * DAY)
    plain = tmp_path / "early.efi"
    plain.write_bytes(tiny())
    early = sign_inside(plain, coming, tmp_path / "early.signed.efi")
    assert judge(early, trust, NOW + 50 * DAY).outcome is TRUSTED
    assert codes(judge(early, trust, NOW)) == ["SW-CERT-NOT-YET-VALID"]


@pytest.mark.parametrize(
    "changes",
    [{"formats": None}, {"formats": ["pe", "detached"]}, {"formats": ["jar"]}, {"expiry": "never"}, {"expiry": True}],
)
def test_a_rule_may_say_so_only_for_formats_whose_devices_ask_for_no_date(changes: dict[str, object]) -> None:
    def parsed(rule: dict[str, object]) -> str:
        kept = {name: value for name, value in rule.items() if value is not None}
        return sentence(parse_trust(trust_bytes(trust_parts(PKI, rule=[kept])), "trust.toml").rules[0])  # type: ignore[list-item]

    assert parsed(DEVICE | {"formats": ["pe", "mcuboot", "fit", "kmod"]}).endswith("as for the device")
    with pytest.raises(MalformedTrust, match="`expiry` must be"):
        parsed(DEVICE | changes)
