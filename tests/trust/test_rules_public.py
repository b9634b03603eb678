"""Makers under one public CA: a rule of one of them says nothing about the others, and nothing about whom no rule names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kit.manifests import manifest_pair
from kit.pki import Pki, Signer, p7s
from kit.trust import RULE, believed, judge
from sealwright.artifact.claims import Claims
from sealwright.trust.toml import Toml
from sealwright.trust.verdict import Verdict

CA = Pki.make("Public CA")
ALPHA, BETA, GAMMA = (CA.leaf(name) for name in ("alpha", "beta", "gamma"))


def rule(name: str, *signers: Signer, **changes: Toml) -> dict[str, Toml]:
    """A rule that names its signers by subject."""
    subjects: list[Toml] = [f"CN={_called(one)},O=ACME" for one in signers]
    signer: dict[str, Toml] = {"anchors": ["root"], "subjects": subjects, "purposes": ["updatePackageSigning"]}
    return {**RULE, "name": name, "signer": [signer], **changes}


def _called(signer: Signer) -> str:
    return {ALPHA.key_digest: "alpha", BETA.key_digest: "beta"}[signer.key_digest]


def signed(folder: Path, *signers: Signer, slots: tuple[str, ...] = ("", ".plant")) -> Path:
    path = folder / "drive.bin"
    path.write_bytes(b"firmware")
    for signer, slot in zip(signers, slots, strict=False):
        (folder / f"drive.bin{slot}.p7s").write_bytes(p7s(signer, b"firmware"))
    return path


def verdict(path: Path, *rules: Mapping[str, Toml], public: bool = True) -> Verdict:
    anchor: dict[str, Toml] = {"name": "root", "environment": "production", "certificate": CA.root.pem}
    anchor |= {"public": True} if public else {}
    return judge(path, believed(CA, anchor=[anchor], rule=[dict(one) for one in rules]))


STRICT: dict[str, Toml] = {"timestamp": "required"}
ONE, TWO = rule("alpha", ALPHA), rule("beta", BETA)
BOTH = rule("both", ALPHA, BETA)


@pytest.mark.parametrize(
    ("signer", "rules", "outcome", "decided"),
    [
        (ALPHA, [ONE, TWO], "trusted", "alpha"),
        (BETA, [ONE, TWO], "trusted", "beta"),
        (BETA, [TWO, ONE], "trusted", "beta"),
        # whom nobody names
        (GAMMA, [ONE, TWO], "rejected", "alpha"),
        # one rule never stands in for the other's
        (ALPHA, [TWO], "rejected", "beta"),
        (BETA, [ONE], "rejected", "alpha"),
        # all rules that name the signer must be met: a lax one opens nothing
        (ALPHA, [rule("alpha", ALPHA, **STRICT), BOTH], "rejected", "alpha"),
        (ALPHA, [BOTH, rule("alpha", ALPHA, **STRICT)], "rejected", "both"),
        (BETA, [rule("alpha", ALPHA, **STRICT), BOTH], "trusted", "both"),
        (BETA, [rule("alpha", ALPHA, **STRICT), rule("beta", BETA, **STRICT)], "rejected", "beta"),
        # a rule for products or formats still beats one for none, whomever it names
        (ALPHA, [ONE, rule("beta", BETA, formats=["detached"])], "rejected", "beta"),
    ],
)
def test_under_a_public_ca_a_rule_speaks_of_whom_it_names(
    tmp_path: Path, signer: Signer, rules: list[dict[str, Toml]], outcome: str, decided: str
) -> None:
    found = verdict(signed(tmp_path, signer), *rules)
    assert (found.outcome.value, found.rule) == (outcome, decided)


def test_under_an_authority_of_ones_own_all_its_rules_must_be_met_as_ever(tmp_path: Path) -> None:
    path = signed(tmp_path, ALPHA)
    assert verdict(path, ONE, TWO).outcome.value == "trusted"
    assert verdict(path, ONE, TWO, public=False).outcome.value == "rejected"


def test_a_file_that_both_makers_signed_has_to_meet_the_rules_of_both(tmp_path: Path) -> None:
    path = signed(tmp_path, ALPHA, BETA)
    assert verdict(path, ONE).outcome.value == "trusted"
    assert verdict(path, ONE, rule("beta", BETA, **STRICT)).outcome.value == "rejected"


def test_the_same_product_of_two_makers_goes_by_who_signed_it(tmp_path: Path) -> None:
    """Both were named for it by the officers; a third was not."""
    rules = [rule("alpha", ALPHA, products=["drive"]), rule("beta", BETA, products=["drive"], minimum_generation=5)]
    outcomes = {}
    for name, signer, generation in (("a", ALPHA, 1), ("b", BETA, 1), ("c", BETA, 5), ("d", GAMMA, 9)):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "drive.bin"
        path.write_bytes(b"firmware")
        manifest_pair(path, signer, Claims(product="drive", version="1", generation=generation))
        outcomes[name] = verdict(path, *rules).outcome.value
    assert outcomes == {"a": "trusted", "b": "rejected", "c": "trusted", "d": "rejected"}
