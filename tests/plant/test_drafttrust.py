"""A trial trust file drafted from what was seen: every intact file passes under it, nobody else's does, and nothing is enforced by it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit.certs import made
from kit.efi import GRUB_OF_DEBIAN, SHIM
from kit.foreign import rsa_key, sign_by_openssl, stamp_by_openssl
from kit.manifests import claimed
from kit.pki import DAY, Pki, p7s, person_key
from kit.signedfiles import MAKERS
from kit.statements import Plant, accept, receive
from kit.trust import public_pem
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.envelope.tsp import timestamp_request
from sealwright.errors import LimitExceeded, MalformedTrust, UsageError
from sealwright.formats.format import Extent, Search
from sealwright.formats.registry import find
from sealwright.plant import drafttrust
from sealwright.plant.drafttrust import (
    NOBODY,
    OFFICER,
    RECOVERY,
    Drafted,
    Leaders,
    check_leaders,
    draft_trust,
    majority,
)
from sealwright.plant.survey import survey
from sealwright.trust.belief import load_trust
from sealwright.trust.model import Environment, Mode, TrustFile
from sealwright.trust.skeleton import Keyholder
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths

CLOCK = datetime.now(UTC).replace(microsecond=0)
PKI = Pki.make(at=CLOCK - 40 * DAY)
SIGNER, OTHER = (PKI.leaf(name, at=CLOCK - 10 * DAY) for name in ("release", "other"))
TSA = PKI.tsa(at=CLOCK - 10 * DAY)


def drafted(*paths: Path, leaders: Leaders = NOBODY) -> Drafted:
    with survey([os.fsencode(path) for path in paths], now=CLOCK) as spool:
        return draft_trust(spool, CLOCK, leaders)


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
    later = datetime.now(UTC) + 5 * DAY / 1440  # the token was made just now
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


MAIL, SERVER, TIMES, PRIVATE = "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.8", "1.3.6.1.4.1.99999.7"
UPDATES, CODE = "1.3.6.1.5.5.7.3.43", "1.3.6.1.5.5.7.3.3"


def by_another(path: Path, *purposes: str, common: str = "Dorn", authority: Sequence[str] = ()) -> Path:
    """A file signed by OpenSSL with a certificate of these purposes; authority: those of its issuer."""
    path.write_bytes(path.name.encode())
    root = made(f"{common} root", ca=True, before=CLOCK - DAY, after=CLOCK + 100 * DAY, purposes=list(authority))
    leaf = made(common, root, key=rsa_key(2048), before=CLOCK - DAY, after=CLOCK + 100 * DAY, purposes=list(purposes))
    sign_by_openssl(path, leaf, "sha256", root)
    return path


@pytest.mark.parametrize(
    ("purposes", "why"),
    [
        ([MAIL], "e-mail"),
        ([SERVER], "servers (TLS)"),
        ([SERVER, MAIL], "e-mail, servers (TLS)"),
        ([TIMES], "timestamps"),
        ([PRIVATE], PRIVATE),
        ([MAIL, CODE], ""),
        ([UPDATES], ""),
        ([], ""),
    ],
)
def test_who_has_a_certificate_for_something_else_gets_no_rule_and_the_draft_says_why(
    tmp_path: Path, purposes: list[str], why: str
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    path = by_another(share / "mail.bin", *purposes)
    good = signed(share / "drive.bin")
    draft = drafted(share)
    text = draft.text.decode()
    assert outcomes(tmp_path, draft, [good]) == [("trusted", "")]
    if not why:
        assert draft.left == ()
        assert "in no rule" not in text
        assert outcomes(tmp_path, draft, [path]) == [("trusted", "")]
        return
    said = f"CN=Dorn: its certificate is made for {why}, not for signing software (detached)"
    assert draft.left == (said,)
    assert f"# Seen, and in no rule of this draft:\n#   {said}\n" in text
    assert draft.anchors == 1
    assert outcomes(tmp_path, draft, [path]) == [("rejected", "SW-CERT-NO-PATH")]


def test_a_purpose_that_the_authority_may_not_give_is_none(tmp_path: Path) -> None:
    """Else a certificate for servers, issued where only code may be signed, would count as one for anything."""
    draft = by_another(tmp_path / "a.bin", SERVER, authority=[CODE])
    with pytest.raises(UsageError, match="may issue no certificate for what this one is made for"):
        drafted(draft)


def test_a_share_of_mail_certificates_alone_says_so_and_drafts_nothing(tmp_path: Path) -> None:
    by_another(tmp_path / "a.bin", MAIL)
    with pytest.raises(UsageError, match="nobody who signed could be in a rule: CN=Dorn"):
        drafted(tmp_path)


def test_what_rauc_and_swupdate_ask_of_their_signers_is_no_other_purpose(tmp_path: Path) -> None:
    certificate = x509.load_der_x509_certificate(made("updates", purposes=[MAIL]).der)
    for form, left in (("rauc", False), ("swupdate", False), ("detached", True), ("pe", True), ("jar", True)):
        assert bool(drafttrust._for_else((certificate,), form)) is left, form


def test_the_name_of_whom_the_draft_leaves_out_is_a_comment_and_nothing_else(tmp_path: Path) -> None:
    by_another(tmp_path / "a.bin", MAIL, common="Dorn\n[[anchor]]\x1b[2J")
    draft = drafted(tmp_path, signed(tmp_path / "drive.bin"))
    assert draft.anchors == 1
    assert len(parsed(draft).anchors) == 1
    assert b"\x1b" not in draft.text
    assert len(draft.text.partition(b"in no rule of this draft:\n")[2].splitlines()) == 1


PUBLIC = Pki.make("Public CA", at=CLOCK - 40 * DAY)
ALPHA, BETA, GAMMA = (PUBLIC.leaf(name, at=CLOCK - 10 * DAY) for name in ("alpha", "beta", "gamma"))


def test_two_makers_under_one_public_ca_are_each_trusted_by_their_own_rule(tmp_path: Path) -> None:
    share = tmp_path / "share"
    share.mkdir()
    alpha, beta = signed(share / "alpha.bin", ALPHA), signed(share / "beta.bin", BETA, tsa=TSA)
    draft = drafted(share)
    trust = parsed(draft)
    assert [anchor.public for anchor in trust.anchors] == [True]
    named = {rule.signers[0].subjects: rule for rule in trust.rules}
    assert set(named) == {("CN=alpha,O=ACME",), ("CN=beta,O=ACME",)}
    assert named["CN=beta,O=ACME",].timestamp == "required"
    assert named["CN=alpha,O=ACME",].timestamp == "optional"
    home = tmp_path / "trust"
    home.mkdir(mode=0o700)
    (home / "trial.toml").write_bytes(draft.text)
    verdicts = verify_paths([str(alpha), str(beta)], load_trust(str(home / "trial.toml")), Request(clock=CLOCK))
    assert [(one.outcome.value, one.rule) for one in verdicts] == [
        ("trusted", named["CN=alpha,O=ACME",].name),
        ("trusted", named["CN=beta,O=ACME",].name),
    ]
    # neither by the other's: what beta signs without the timestamp that its own rule wants, nobody's rule takes
    late = signed(tmp_path / "late.bin", BETA)
    stranger = signed(tmp_path / "stranger.bin", GAMMA)
    assert outcomes(tmp_path, draft, [late, stranger]) == [
        ("rejected", "SW-TIMESTAMP-REQUIRED"),
        ("rejected", "SW-SIGNER-NOT-ALLOWED"),
    ]
    for one, other, path in (("alpha", "beta", beta), ("beta", "alpha", alpha)):
        alone = drafted(share / f"{one}.bin")
        assert outcomes(tmp_path, alone, [path]) == [("rejected", "SW-SIGNER-NOT-ALLOWED")], other


def test_two_signers_of_an_authority_of_their_own_share_a_rule_as_ever(tmp_path: Path) -> None:
    paths = [signed(tmp_path / "a.bin"), signed(tmp_path / "b.bin", OTHER)]
    trust = parsed(drafted(*paths))
    assert [anchor.public for anchor in trust.anchors] == [False]
    assert [rule.signers[0].subjects for rule in trust.rules] == [("CN=other,O=ACME", "CN=release,O=ACME")]


def keyholder(person: str) -> Keyholder:
    return Keyholder(person, public_pem(person_key()))


PEOPLE = tuple(keyholder(name) for name in ("eva", "jan", "mia", "ole", "pia"))


def test_named_officers_stand_in_the_draft_and_can_sign_it(tmp_path: Path) -> None:
    leaders = Leaders(PEOPLE[:3], 2, (keyholder("safe"),))
    trust = parsed(drafted(signed(tmp_path / "drive.bin"), leaders=leaders))
    assert {key.person for key in trust.officers.keys} == {"eva", "jan", "mia"}
    assert trust.officers.threshold == 2
    assert {key.person for key in trust.recovery.keys} == {"safe"}
    without = parsed(drafted(tmp_path))
    assert ({key.person for key in without.officers.keys}, {key.person for key in without.recovery.keys}) == (
        {OFFICER},
        {RECOVERY},
    )


@pytest.mark.parametrize(("officers", "threshold"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_of_the_officers_sign_where_nobody_says_otherwise(officers: int, threshold: int) -> None:
    assert majority(PEOPLE[:officers]) == threshold
    assert majority((*PEOPLE[:officers], Keyholder("eva", keyholder("eva").key))) == threshold  # a second key of one


@pytest.mark.parametrize(
    ("leaders", "wrong"),
    [
        (Leaders(PEOPLE[:2], 2, ()), ""),
        (Leaders(PEOPLE[:2], 3, ()), "at most the 2 different persons"),
        (Leaders(PEOPLE[:2], 0, ()), "threshold"),
        (Leaders((PEOPLE[0], keyholder("eva")), 2, ()), "at most the 1 different persons"),
        (Leaders((PEOPLE[0], PEOPLE[0]), 1, ()), "a different key each time"),
        (Leaders(PEOPLE[:1], 1, (keyholder("eva"),)), "both in"),
        (Leaders((keyholder("no\nname"),), 1, ()), "person"),
    ],
)
def test_officers_whom_no_trust_file_could_have_are_refused_before_anything_is_read(
    leaders: Leaders, wrong: str
) -> None:
    if wrong:
        with pytest.raises(MalformedTrust, match=wrong):
            check_leaders(leaders, CLOCK)
    else:
        check_leaders(leaders, CLOCK)
