"""Files made so that whoever takes their maker in trusts somebody else, or more than was shown (A049, A106)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.manifests import claimed
from kit.pki import DAY, Pki, p7s, token
from kit.trust import trust_bytes, trust_parts
from sealwright.artifact.claims import Claims
from sealwright.cli.main import main
from sealwright.errors import SampleRefused
from sealwright.plant.adopt import propose
from sealwright.plant.adoptedit import Said
from sealwright.plant.sample import Handed, read_sample
from sealwright.trust.draft import Draft
from sealwright.trust.model import TrustFile
from sealwright.trust.trustfile import parse_trust

CLOCK = datetime.now(UTC).replace(microsecond=0)
OLD = CLOCK - 40 * DAY
PKI, EVIL, KNOWN = (Pki.make(name, at=OLD) for name in ("ACME", "EVIL", "Known"))
MAKER, STRANGER, THEIRS = (pki.leaf("release", at=CLOCK - DAY) for pki in (PKI, EVIL, KNOWN))
DATA = b"firmware"


@pytest.fixture
def trust(tmp_path: Path) -> Path:
    """A trial that knows one maker's product."""
    folder = tmp_path / "trust"
    folder.mkdir(mode=0o700)
    dates = {"issued": CLOCK - DAY, "expires": CLOCK + 300 * DAY}
    rule = {"name": "pumps", "products": ["PUMP-1"], "environment": "production", "signer": [{"anchors": ["root"]}]}
    path = folder / "trust.toml"
    path.write_bytes(trust_bytes(trust_parts(KNOWN, stage="trial", rule=[rule], **dates)))
    return path


def added(trust: Path, sample: Path, *more: str) -> int:
    return main(["trust", "add", str(trust), "--from", str(sample), "--confirmed", "a call", *more])


def said_by(path: Path) -> TrustFile:
    return parse_trust(path.read_bytes(), "trust.toml")


def signed(path: Path) -> Path:
    path.write_bytes(DATA)
    Path(f"{path}.p7s").write_bytes(p7s(MAKER, DATA, at=CLOCK))
    return path


def test_a049_an_authority_that_was_put_into_the_bag_and_issued_nothing_is_no_anchor(tmp_path: Path) -> None:
    decoy = Pki.make("ACME", at=OLD).intermediate
    assert decoy.x509.subject == PKI.intermediate.x509.subject
    for above, name, ends in ((PKI.intermediate, "good.bin", PKI.intermediate), (decoy, "bad.bin", MAKER)):
        path = tmp_path / name
        path.write_bytes(DATA)
        Path(f"{path}.p7s").write_bytes(p7s(replace(MAKER, chain=(above.certificate,)), DATA, at=CLOCK))
        assert read_sample(str(path), Handed(), CLOCK).anchor == ends.x509
        handed = read_sample(str(path), Handed(anchors=(PKI.intermediate.certificate,)), CLOCK)
        assert handed.anchor == PKI.intermediate.x509
        with pytest.raises(SampleRefused, match="did not issue"):
            read_sample(str(path), Handed(anchors=(decoy.certificate,)), CLOCK)


def test_a106_the_word_of_who_confirmed_it_is_a_comment_and_nothing_else(tmp_path: Path, trust: Path) -> None:
    path = signed(tmp_path / "drive.bin")
    sample = read_sample(str(path), Handed(), CLOCK)
    for hostile in ("x\n[[deny]]", "x\r\nstage = 'ordinary'", "x\u2028y", "x\u0085y", "\x1b[2Jx", "''' \"\"\" ]] #"):
        draft = Draft.read(str(trust))
        made_of = propose(draft, [sample], Said(confirmed=hostile), CLOCK)
        assert made_of.data is not None
        text = made_of.data.decode()
        parsed = parse_trust(made_of.data, "trust.toml")
        assert parsed.denied == ()
        assert parsed.stage == "trial"
        assert next(line for line in text.split("\n") if "Fingerprint confirmed by" in line).startswith("# ")
        assert "\x1b" not in text


@pytest.mark.parametrize("option", ["--owner", "--reason", "--name"])
def test_a106_what_is_said_of_a_rule_cannot_say_more_than_its_key(option: str, tmp_path: Path, trust: Path) -> None:
    path = signed(tmp_path / "drive.bin")
    code = added(trust, path, option, 'eva"\n[[deny]]\nkey = "x')
    assert said_by(trust).denied == ()
    assert (code == 0) is (len(said_by(trust).rules) == 2)
    assert "\n[[deny]]" not in trust.read_text()


def test_a_maker_who_claims_anothers_product_is_said_to(
    tmp_path: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    mine = claimed(own, MAKER, Claims(product="DRIVE-1", version="1"))
    theirs = claimed(other, STRANGER, Claims(product="PUMP-1", version="1"))
    assert added(trust, mine, "--dry-run") == 0
    assert "another maker's" not in capsys.readouterr().out
    assert added(trust, theirs, "--dry-run") == 0
    assert "LOOK  rule pumps names PUMP-1 as another maker's" in capsys.readouterr().out


def test_a_timestamp_of_another_signature_brings_no_authority_in(
    tmp_path: Path, trust: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Pki.make("Clock", at=OLD).tsa(at=CLOCK - DAY)
    for imprint, name, wanted in ((None, "good.bin", 2), (b"the value of another signature", "bad.bin", 1)):
        path = tmp_path / name
        path.write_bytes(DATA)
        Path(f"{path}.p7s").write_bytes(p7s(MAKER, DATA, at=CLOCK, tsa=clock if imprint is None else None))
        if imprint is not None:
            Path(f"{path}.tsr").write_bytes(token(clock, imprint, CLOCK))
        before = trust.read_bytes()
        assert added(trust, path) == 0
        assert len(said_by(trust).authorities) == wanted
        assert ("a timestamp that proves nothing" in capsys.readouterr().out) is (name == "bad.bin")
        trust.write_bytes(before)
