"""A trial trust file drafted from what was seen: every intact file passes under it, nobody else's does, and nothing is enforced by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.certs import made
from kit.efi import GRUB_OF_DEBIAN, SHIM
from kit.foreign import rsa_key, sign_by_openssl, stamp_by_openssl
from kit.manifests import claimed
from kit.pki import DAY, Pki, p7s
from kit.signedfiles import MAKERS
from kit.statements import Plant, accept, receive
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.envelope.tsp import timestamp_request
from sealwright.errors import LimitExceeded, UsageError
from sealwright.formats.format import Extent, Search
from sealwright.formats.registry import find
from sealwright.plant import drafttrust
from sealwright.plant.drafttrust import Drafted, draft_trust
from sealwright.plant.survey import survey
from sealwright.trust.belief import load_trust
from sealwright.trust.model import Environment, Mode, TrustFile
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths

CLOCK = datetime.now(UTC).replace(microsecond=0)
PKI = Pki.make(at=CLOCK - 40 * DAY)
SIGNER, OTHER = (PKI.leaf(name, at=CLOCK - 10 * DAY) for name in ("release", "other"))
TSA = PKI.tsa(at=CLOCK - 10 * DAY)


def drafted(*paths: Path) -> Drafted:
    with survey([os.fsencode(path) for path in paths], now=CLOCK) as spool:
        return draft_trust(spool, CLOCK)


def parsed(made_of: Drafted) -> TrustFile:
    return parse_trust(made_of.text, "trial.toml")


def outcomes(folder: Path, draft: Drafted, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """What `verify` says of each path under the draft, and of the first finding."""
    home = folder / "trust"
    home.mkdir(mode=0o700, exist_ok=True)
    trust = home / "trial.toml"
    trust.write_bytes(draft.text)
    verdicts = verify_paths([str(path) for path in paths], load_trust(str(trust)), Request(clock=CLOCK))
    return [(one.outcome.value, "" if one.outcome is Outcome.TRUSTED else one.findings[0].code) for one in verdicts]


def signed(path: Path, signer: object = SIGNER, *, data: bytes = b"firmware", slot: str = "", **how: object) -> Path:
    path.write_bytes(data)
    path.with_name(f"{path.name}{slot}.p7s").write_bytes(p7s(signer, data, at=CLOCK, **how))  # type: ignore[arg-type]
    return path


def alter(path: Path) -> None:
    """One byte in the middle of the largest part that is signed."""
    hashed = [one for one in find(str(path), Search()).candidates[0].coverage.ranges if one.extent is Extent.HASHED]
    largest = max(hashed, key=lambda one: one.end - one.start)
    data = bytearray(path.read_bytes())
    data[(largest.start + largest.end) // 2] ^= 1
    path.write_bytes(data)


def test_every_intact_file_of_a_delivery_passes_under_its_draft_and_an_altered_one_does_not(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    paths = []
    for name, make in MAKERS.items():
        (tmp_path / name).mkdir()
        path = make(tmp_path / name)
        paths.append(Path(shutil.copyfile(path, share / f"{name}{path.suffix}")))
    paths += [Path(shutil.copyfile(one, share / Path(one).name)) for one in (SHIM.source, GRUB_OF_DEBIAN.source)]
    paths.append(signed(share / "drive.bin"))
    draft = drafted(share)
    found = dict(zip([path.name for path in paths], outcomes(tmp_path, draft, paths), strict=True))
    bare = {"mcuboot.img", "fit.fit", "kmod.ko"}
    assert {name for name, (outcome, _) in found.items() if outcome != "trusted"} == bare
    for path in paths:
        if path.name not in bare:
            alter(path)
    assert {outcome for outcome, _ in outcomes(tmp_path, draft, paths)} == {"rejected"}


def test_it_is_a_trial_that_enforces_nothing_and_says_that_nobody_was_asked(tmp_path: Path) -> None:
    signed(tmp_path / "drive.bin")
    trust = parsed(drafted(tmp_path))
    assert trust.stage == "trial"
    (rule,) = trust.rules
    assert rule.mode is Mode.AUDIT
    assert rule.owner
    assert rule.reason
    assert rule.review == CLOCK + 90 * DAY
    assert rule.formats == ("detached",)
    assert rule.signers[0].subjects == ("CN=release,O=ACME",)
    assert trust.anchors[0].certificate == PKI.intermediate.certificate


def test_somebody_else_of_the_same_authority_is_not_in_the_rule(tmp_path: Path) -> None:
    draft = drafted(signed(tmp_path / "drive.bin"))
    assert outcomes(tmp_path, draft, [tmp_path / "drive.bin"]) == [("trusted", "")]
    other = signed(tmp_path / "other.bin", OTHER)
    assert outcomes(tmp_path, draft, [other]) == [("rejected", "SW-SIGNER-NOT-ALLOWED")]


def test_two_signers_of_one_authority_each_keep_to_their_own_formats(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    one, two = signed(share / "a.bin"), signed(share / "b.bin", OTHER)
    (share / "c").mkdir()
    three = claimed(share / "c", SIGNER, Claims(product="VX-200", version="1.0"))
    draft = drafted(share)
    assert outcomes(tmp_path, draft, [one, two, three]) == [("trusted", "")] * 3
    (tmp_path / "d").mkdir()
    four = claimed(tmp_path / "d", OTHER, Claims(product="VX-200", version="1.0"))
    five = claimed(tmp_path, SIGNER, Claims(product="VX-300", version="1.0"), name="five.bin")
    assert [one for one, _ in outcomes(tmp_path, draft, [four, five])] == ["rejected", "rejected"]


def test_a_certificate_that_came_alone_is_pinned_with_an_end(tmp_path: Path) -> None:
    draft = drafted(GRUB_OF_DEBIAN.source)
    trust = parsed(draft)
    (signer,) = trust.rules[0].signers
    assert len(signer.certificates) == 1
    assert signer.pins_until is not None
    assert CLOCK < signer.pins_until <= CLOCK + 366 * DAY
    assert outcomes(tmp_path, draft, [GRUB_OF_DEBIAN.source]) == [("trusted", "")]


def test_a_timestamp_is_demanded_where_every_signature_had_one_and_its_authority_is_named(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    path = signed(share / "drive.bin", tsa=TSA)
    draft = drafted(share)
    (rule,) = parsed(draft).rules
    assert rule.timestamp == "required"
    assert draft.authorities == 1
    assert outcomes(tmp_path, draft, [path]) == [("trusted", "")]
    other = signed(tmp_path / "unstamped.bin")
    assert outcomes(tmp_path, draft, [other]) == [("rejected", "SW-TIMESTAMP-REQUIRED")]
    signed(share / "later.bin")
    assert parsed(drafted(share)).rules[0].timestamp == "optional"


def test_chains_of_different_length_end_at_the_lower_anchor(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    short = signed(share / "short.bin")
    longer = PKI.leaf("longer", at=CLOCK - 10 * DAY)
    whole = type(longer)(longer.certificate, (*longer.chain, PKI.root.certificate), longer.key)
    long = signed(share / "long.bin", whole)
    draft = drafted(share)
    assert [anchor.certificate for anchor in parsed(draft).anchors] == [PKI.intermediate.certificate]
    assert outcomes(tmp_path, draft, [short, long]) == [("trusted", "")] * 2


def test_broken_weak_and_bare_signatures_are_in_no_rule_and_nothing_else_is_an_error(tmp_path: Path) -> None:
    path = signed(tmp_path / "drive.bin")
    path.write_bytes(b"Firmware")
    with pytest.raises(UsageError, match="no intact signature"):
        drafted(tmp_path)


def test_names_that_nobody_could_read_are_pinned_and_never_written_raw(tmp_path: Path) -> None:
    path = tmp_path / "drive.bin"
    path.write_bytes(b"firmware")
    root = made("root", ca=True, before=CLOCK - DAY, after=CLOCK + 100 * DAY)
    odd = made('evil\x1b[2J"]\n[[rule]]', root, key=rsa_key(2048), before=CLOCK - DAY, after=CLOCK + 100 * DAY)
    sign_by_openssl(path, odd, "sha256", root)
    draft = drafted(path)
    assert b"\x1b" not in draft.text
    (rule,) = parsed(draft).rules
    assert rule.signers[0].subjects == ()
    assert len(rule.signers[0].certificates) == 1
    assert outcomes(tmp_path, draft, [path]) == [("trusted", "")]


def test_many_signers_of_many_authorities_fit_into_one_file(tmp_path: Path) -> None:
    for number in range(40):
        root = Pki.make(f"Maker {number % 10}", at=CLOCK - 30 * DAY)
        signed(tmp_path / f"{number}.bin", root.leaf("release", at=CLOCK - 10 * DAY))
    draft = drafted(tmp_path)
    assert draft.anchors == 40
    paths = sorted(tmp_path.glob("*.bin"))
    assert outcomes(tmp_path, draft, paths) == [("trusted", "")] * 40
    assert all(anchor.environment is Environment.PRODUCTION for anchor in parsed(draft).anchors)


def test_more_signers_than_a_rule_can_name_are_refused_with_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed(tmp_path / "a.bin")
    signed(tmp_path / "b.bin", OTHER)
    assert drafted(tmp_path).rules == 1
    monkeypatch.setattr(drafttrust, "MAX_SIGNERS", 1)
    with pytest.raises(LimitExceeded, match="2 signers under one authority"):
        drafted(tmp_path)


def test_what_a_plant_received_and_accepted_drafts_nobody_and_stops_nothing(tmp_path: Path) -> None:
    plant = Plant()
    path = signed(tmp_path / "drive.bin")
    accept(path, plant.anna)
    (tmp_path / "old.bin").write_bytes(b"unsigned")
    receive(tmp_path / "old.bin", plant.bert)
    draft = drafted(tmp_path)
    (rule,) = parsed(draft).rules
    assert (rule.formats, rule.signers[0].subjects) == (("detached",), ("CN=release,O=ACME",))
    assert {one.partition(":")[0] for one in draft.left} == {"acceptance", "receiving"}
    assert outcomes(tmp_path, draft, [path]) == [("trusted", "")]


def test_an_authority_whose_tokens_name_it_by_sha1_only_is_pinned_by_its_key(tmp_path: Path) -> None:
    """As many public authorities do, and did for years."""
    share = tmp_path / "share"
    share.mkdir()
    path = signed(share / "drive.bin")
    (signer,) = read_envelope((share / "drive.bin.p7s").read_bytes(), Profile.OURS, "drive").signers
    assert isinstance(signer, Signer)
    answer = stamp_by_openssl(tmp_path, timestamp_request(Digest.of(signer.signature), 7), "sha1")
    (share / "drive.bin.tsr").write_bytes(answer)
    draft = drafted(share)
    trust = parsed(draft)
    assert trust.rules[0].timestamp == "required"
    assert trust.authorities[0].key is not None
    later = CLOCK + 5 * DAY / 1440  # the token was made after this test began
    home = tmp_path / "trust"
    home.mkdir(mode=0o700)
    (home / "trial.toml").write_bytes(draft.text)
    (verdict,) = verify_paths([str(path)], load_trust(str(home / "trial.toml")), Request(clock=later))
    assert verdict.outcome is Outcome.TRUSTED, verdict.findings


def test_the_plants_signature_gets_a_rule_of_its_own_slot(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    plant = Pki.make("Plant", at=CLOCK - 40 * DAY).leaf("acceptance", at=CLOCK - 10 * DAY)
    path = signed(share / "drive.bin")
    signed(share / "drive.bin", plant, slot=".plant")
    draft = drafted(share)
    assert sorted(rule.signers[0].slot.value for rule in parsed(draft).rules) == ["maker", "plant"]
    assert outcomes(tmp_path, draft, [path]) == [("trusted", "")]
