"""What an image claims inside and a manifest beside it: the manifest may say more, never something else (A029, A067)."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.manifests import manifest_pair
from kit.pki import Pki
from kit.signedfiles import MAKERS, PKI, RELEASE, TRUST
from kit.trust import RULE, believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
INSIDE = {
    "mcuboot": Claims(version="1.2.3+0", generation=7),
    "rauc-verity": Claims(product="acme-plc", version="2026.1"),
    "swupdate": Claims(version="2026.1", hardware=("1.0", "1.2")),
}


def fuller(claims: Claims, **more: object) -> Claims:
    known = {"product": "acme-plc", "version": claims.version, "generation": claims.generation or 7}
    return Claims(**(known | {"hardware": claims.hardware} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", INSIDE)
def test_a_manifest_says_what_a_format_has_no_field_for(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.claims) == (TRUSTED, INSIDE[name])
    manifest_pair(path, RELEASE, fuller(INSIDE[name]))
    verdict = judge(path, TRUST, product="acme-plc")
    assert (verdict.outcome, verdict.claims) == (TRUSTED, fuller(INSIDE[name])), codes(verdict)


@pytest.mark.parametrize("name", INSIDE)
def test_a029_a_manifest_that_says_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path)
    manifest_pair(path, RELEASE, fuller(INSIDE[name]))
    assert judge(path, TRUST).outcome is TRUSTED
    for other in (fuller(INSIDE[name], version="9.9.9"), fuller(INSIDE[name], version=None)):
        manifest_pair(path, RELEASE, other)
        assert codes(judge(path, TRUST)) == ["SW-CLAIMS-DIFFER"]


def test_a029_what_a_manifest_says_counts_only_where_its_signer_does(tmp_path: Path) -> None:
    """The image's signer is the maker of pumps; somebody whom the trust file knows for something else adds a product to it."""
    other = Pki.make("Other")
    anchors = [
        {"name": "root", "environment": "production", "certificate": PKI.root.pem},
        {"name": "other", "environment": "production", "certificate": other.root.pem},
    ]
    for_pumps = RULE | {"products": ["acme-plc"]}
    for_others = {"name": "other", "environment": "production", "signer": [{"anchors": ["other"]}]}
    trust = believed(PKI, anchor=anchors, rule=[for_pumps, for_others])
    path = MAKERS["swupdate"](tmp_path)
    manifest_pair(path, RELEASE, fuller(INSIDE["swupdate"]))
    assert judge(path, trust).outcome is TRUSTED
    manifest_pair(path, other.leaf("dev"), fuller(INSIDE["swupdate"]))
    assert judge(path, trust).outcome is REJECTED
