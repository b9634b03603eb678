"""Combinations: a hold and the end of a certificate, kept lists, late stamps, denials, withdrawals, statements, memory; each with its accepted twin."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from kit import certs
from kit.archive import Story, day, era, stamp
from kit.certs import entry, listed
from kit.manifests import manifest_pair
from kit.pki import DAY, HOUR, NOW, Pki, p7s, token
from kit.statements import MAKER, PLANT, RECEIVER, Plant, accept, receive, rule
from kit.trust import believed, codes, judge, signed_file
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import ers
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.formats.archive import companions_of, small_object
from sealwright.pki.crl import Revoked, make_crl
from sealwright.plant import recorder
from sealwright.signing.proofs import Renewal, Renewed, renew
from sealwright.trust.belief import Believed
from sealwright.trust.model import Denied
from sealwright.trust.revocation import CrlTable, supersedes
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, Verifier

REASON = x509.ReasonFlags
TRUSTED, REJECTED, UNDECIDED = Outcome.TRUSTED, Outcome.REJECTED, Outcome.UNDECIDED


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


def authority(pki: Pki) -> certs.Made:
    """The intermediate as a foreign authority, whose lists keep no ended certificates."""
    return certs.Made(pki.intermediate.x509, pki.intermediate.key._private)


@pytest.mark.parametrize("who", ["signer", "timestamp authority"])
def test_a100_a_hold_does_not_end_with_the_certificate(tmp_path: Path, pki: Pki, who: str) -> None:
    """A foreign authority drops ended certificates from its lists: that is no lifting."""
    signer = pki.leaf("release", days=20)
    tsa = pki.tsa(days=20)
    path = signed_file(tmp_path, signer, tsa=tsa)
    held = signer if who == "signer" else tsa
    ca, end, ended = authority(pki), held.x509.not_valid_after_utc, held.x509.not_valid_after_utc + 2 * DAY
    hold = listed(ca, entry(held.x509, NOW + DAY, REASON.certificate_hold), number=5, this_update=NOW + DAY)
    free = listed(ca, number=6, this_update=end - HOUR, next_update=ended + 30 * DAY)
    dropped = listed(ca, number=7, this_update=ended, next_update=ended + 30 * DAY)
    fresh = {"crl": [{"issuer": pki.intermediate.pem, "max_age": {"install": "30d", "run": "30d"}}]}

    def at(moment: datetime, *lists: bytes, purpose: Purpose = Purpose.INSTALL) -> Verdict:
        return judge(path, believed(pki, crls=lists, **fresh), moment, purpose=purpose)

    later = ended + HOUR
    if who == "signer":
        assert at(NOW + DAY + HOUR, hold).outcome is REJECTED
    assert at(later, hold, free).outcome is TRUSTED
    assert at(later, hold, free, dropped).outcome is TRUSTED
    for lists in ([hold, dropped], [dropped, hold]):
        assert at(later, *lists).outcome is REJECTED
    assert at(later, hold, dropped, purpose=Purpose.RUN).outcome is (REJECTED if who == "signer" else TRUSTED)


def test_a103_a_list_made_ahead_lifts_no_hold_before_its_time(tmp_path: Path, pki: Pki) -> None:
    signer = pki.leaf("release")
    path = signed_file(tmp_path, signer)
    ca = authority(pki)
    hold = listed(ca, entry(signer.x509, NOW - DAY, REASON.certificate_hold), number=5)
    ahead = listed(ca, number=6, this_update=NOW + 5 * DAY, next_update=NOW + 60 * DAY)
    trust = believed(pki, crls=[hold, ahead])
    assert judge(path, trust, NOW + 6 * DAY).outcome is TRUSTED
    assert codes(judge(path, trust, NOW + HOUR)) == ["SW-CERT-REVOKED"]


def record_with(story: Story, *kept: tuple[datetime, bytes]) -> None:
    """A record as somebody else's program may make it: each list comes in with a timestamp of its own."""
    name = HashName.SHA256
    objects = [small_object(str(story.file), (name,)), *companions_of(str(story.file), (name,))]
    own = [one.digests[name].value for one in objects]
    links: list[ers.Link] = []
    for at, crl in kept:
        hashes = [Digest.of(links[-1].token, name).value] if links else own
        made = ers.batch([[*hashes, Digest.of(crl, name).value]], name)
        links.append(ers.new_link(name, made.trees[0], stamp(story.tsa_2026[1], at)(made.root)))
    story.record.write_bytes(ers.record_bytes((tuple(links),), (), tuple(crl for _, crl in kept)))


LIFTED: list[tuple[str, list[str], Outcome, Outcome]] = [
    ("no list", [], UNDECIDED, TRUSTED),
    ("good", ["good"], TRUSTED, TRUSTED),
    ("on hold", ["hold"], REJECTED, REJECTED),
    ("on hold, later lifted", ["hold", "good"], TRUSTED, TRUSTED),
    ("good, later on hold", ["before", "hold"], REJECTED, REJECTED),
    ("on hold, then dropped because it ended", ["hold", "dropped"], REJECTED, REJECTED),
    ("superseded later than the timestamp", ["superseded"], TRUSTED, TRUSTED),
    ("on hold, then superseded later than the timestamp", ["hold", "superseded"], TRUSTED, TRUSTED),
    ("stolen", ["good", "stolen"], REJECTED, REJECTED),
]


@pytest.mark.parametrize(("what", "names", "install", "run"), LIFTED, ids=[row[0] for row in LIFTED])
def test_a115_of_kept_lists_the_newest_that_could_know_says_whether_a_hold_lasts(
    tmp_path: Path, what: str, names: list[str], install: Outcome, run: Outcome
) -> None:
    """The certificate ended in January 2028; the lists at hand today know nothing of it any more."""
    story = Story(tmp_path)
    (signer,) = read_envelope(story.signature.read_bytes(), Profile.OURS, "p7s").signers
    assert isinstance(signer, Signer)
    leaf, ca = x509.load_der_x509_certificate(signer.certificate), authority(story.maker)
    lists = {
        "before": (day(2026, 12), []),
        "hold": (day(2027, 2), [entry(leaf, day(2027, 1), REASON.certificate_hold)]),
        "good": (day(2027, 3), []),
        "superseded": (day(2027, 4), [entry(leaf, day(2027, 3), REASON.superseded)]),
        "stolen": (day(2027, 5), [entry(leaf, day(2027, 4), REASON.key_compromise)]),
        "dropped": (day(2028, 3), []),
    }
    kept = []
    for number, name in enumerate(names, 5):
        made, entries = lists[name]
        crl = listed(ca, *entries, number=number, this_update=made, next_update=made + 20 * DAY)
        kept.append((made + DAY, crl))
    if kept:
        record_with(story, *kept)
    wanted = {"crl": [{"issuer": story.maker.intermediate.pem}]}
    at = day(2029, 8)
    assert story.verdict(at, **wanted).outcome is install
    assert judge(story.file, story.trust(at, **wanted), at, purpose=Purpose.RUN).outcome is run


SUPERSEDED: list[tuple[str, dict[str, object], dict[str, object], bool]] = [
    ("the usual next list", {}, {}, True),
    ("one from the future", {}, {"this_update": NOW + HOUR}, False),
    ("one that ends before it", {"next_update": NOW + 20 * DAY}, {"next_update": NOW + 2 * DAY}, False),
    ("one that has ended, of one that has ended too", {"next_update": NOW - DAY}, {"next_update": NOW - HOUR}, True),
    ("one that keeps ended ones of later", {"keeps": None}, {"keeps": NOW - DAY}, False),
    ("one that keeps ended ones of before", {"keeps": None}, {"keeps": NOW - 3 * DAY}, True),
    ("one that keeps none", {}, {"keeps": None}, False),
]


@pytest.mark.parametrize(("what", "old", "new", "gone"), SUPERSEDED, ids=[row[0] for row in SUPERSEDED])
def test_a147_a_list_goes_only_when_its_successor_counts_at_least_as_long(
    pki: Pki, what: str, old: dict[str, object], new: dict[str, object], gone: bool
) -> None:
    def table(number: int, this_update: datetime, change: dict[str, object]) -> CrlTable:
        parts: dict[str, object] = {"this_update": this_update, "next_update": NOW + 10 * DAY, "keeps": NOW - 30 * DAY}
        parts |= change
        keeps = parts.pop("keeps")
        extra = []
        if isinstance(keeps, datetime):
            value = b"\x18\x0f" + f"{keeps:%Y%m%d%H%M%S}Z".encode()
            extra = [(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.60"), value), False)]
        der = listed(authority(pki), number=number, extra=extra, **parts)  # type: ignore[arg-type]
        return CrlTable.load(der, [pki.intermediate.x509])

    first = table(1, NOW - 2 * DAY, old)
    second = table(2, NOW - 2 * DAY + timedelta(hours=1), new)
    assert supersedes(second, first, NOW) is gone
    assert not supersedes(first, second, NOW)


def test_a168_a_long_list_is_compared_with_its_successor_in_a_moment(pki: Pki) -> None:
    """Public authorities list a hundred thousand; searched for one by one 28,000 took half a minute, and a plant installs one a week."""
    entries = [Revoked(1 << 150 | number * 7919, NOW - DAY, REASON.superseded, None) for number in range(20_000)]
    ca = pki.intermediate

    def table(number: int, some: list[Revoked]) -> CrlTable:
        made, ends = NOW - DAY + number * HOUR, NOW + 30 * DAY
        der = make_crl(ca.certificate, ca.key, number=number, this_update=made, next_update=ends, revoked=some)
        return CrlTable.load(der, [ca.x509])

    first, second, forgetful = table(1, entries[:-1]), table(2, entries), table(3, entries[1:])
    start = time.monotonic()
    assert supersedes(second, first, NOW)
    assert not supersedes(forgetful, first, NOW)
    assert time.monotonic() - start < 5


@pytest.fixture(scope="module")
def plant() -> Plant:
    return Plant()


STANDS_FOR = [
    ("drive.bin", "drive.bin"),
    ("drive.bin", "drive.bin.manifest"),
    ("drive.bin", "drive.bin.plant.manifest"),
    ("tree", "tree"),
    ("tree", "tree.manifest"),
    ("tree", "tree.plant.manifest"),
    ("old.bin", "old.bin"),
    ("old.bin", "old.bin.received.manifest"),
]


@pytest.mark.parametrize(("about", "name"), STANDS_FOR, ids=[row[1] for row in STANDS_FOR])
def test_a_manifest_or_statement_is_judged_for_what_it_is_about_with_a_record_or_without(
    tmp_path: Path, plant: Plant, about: str, name: str
) -> None:
    """What the plant says counts beside the maker's manifest, by whichever name is asked; the twins are altered."""
    path = tmp_path / about
    if about == "tree":
        path.mkdir()
        (path / "part.bin").write_bytes(b"part")
    else:
        path.write_bytes(b"firmware")
    if about == "old.bin":
        receive(path, plant.anna)
    else:
        manifest_pair(path, plant.release, Claims("drive", "1", 3))
        accept(path, plant.anna)
    slots = rule(MAKER, RECEIVER, grades=["compared"]) if about == "old.bin" else rule(MAKER, PLANT)
    trust = plant.trust(slots)

    def outcomes() -> set[tuple[Outcome, str]]:
        asked = str(tmp_path / name)
        one = Verifier(trust, Request(clock=NOW)).verify(asked)
        recorded = recorder.judge(Verifier(trust, Request(clock=NOW)), asked, None, None).verdict
        return {(each.outcome, Path(each.path).name) for each in (one, recorded)}

    assert outcomes() == {(TRUSTED, about)}
    altered = path / "part.bin" if path.is_dir() else path
    altered.write_bytes(b"evil")
    assert outcomes() == {(REJECTED, about)}


def test_a_manifest_that_is_nothing_of_ours_is_a_file_of_its_own(tmp_path: Path, pki: Pki) -> None:
    """Other programs call files so too; its digest is in the record."""
    signed_file(tmp_path, pki.leaf("release"))
    path = signed_file(tmp_path, pki.leaf("release"), b"<assembly/>", "drive.bin.manifest")
    judged = recorder.judge(Verifier(believed(pki), Request(clock=NOW)), str(path), None, None)
    assert (judged.verdict.outcome, judged.file) == (TRUSTED, Digest.of(b"<assembly/>"))
    path.write_bytes(b"<assembly />")
    assert (
        recorder.judge(Verifier(believed(pki), Request(clock=NOW)), str(path), None, None).verdict.outcome is REJECTED
    )


# What befell the plant's signer ten days after signing, when the statement was stamped late, and whether it counts for install and run.
BEFELL: list[tuple[str, str, bool, bool, bool]] = [
    ("nothing", "never", False, True, True),
    ("ended", "never", True, False, True),
    ("ended", "before", True, True, True),
    ("ended", "after", True, True, True),
    ("superseded", "never", False, False, False),
    ("superseded", "before", False, True, True),
    ("superseded", "before", True, True, True),
    ("superseded", "after", False, False, False),
    ("stolen then", "before", False, True, True),
    ("stolen then", "after", True, False, False),
    ("stolen", "before", False, False, False),
    ("on hold", "before", False, False, False),
    ("retired", "never", False, False, False),
    ("retired", "before", True, True, True),
    ("retired", "after", False, False, False),
    ("denied", "before", False, False, False),
    ("left", "never", False, False, False),
    ("left", "before", False, True, True),
    ("file denied", "before", False, False, False),
    ("statement denied", "before", False, False, False),
]


@pytest.mark.parametrize("kind", ["acceptance", "receiving record"])
@pytest.mark.parametrize(
    ("what", "stamped", "ended", "install", "run"),
    BEFELL,
    ids=[f"{row[0]}, stamped {row[1]}{', ended' if row[2] else ''}" for row in BEFELL],
)
def test_what_befalls_the_signer_of_a_plants_statement_counts_as_for_a_maker(
    tmp_path: Path, plant: Plant, kind: str, what: str, stamped: str, ended: bool, install: bool, run: bool
) -> None:
    path, then = tmp_path / "drive.bin", NOW + 10 * DAY
    if kind == "acceptance":
        signed_file(tmp_path, plant.release, tsa=plant.maker.tsa(days=3000))
        accept(path, plant.anna)
        statement, slots = tmp_path / "drive.bin.plant.manifest", rule(MAKER, PLANT)
    else:
        path.write_bytes(b"firmware")
        receive(path, plant.anna)
        statement, slots = tmp_path / "drive.bin.received.manifest", rule(MAKER, RECEIVER, grades=["compared"])
    if stamped != "never":
        (signer,) = read_envelope(Path(f"{statement}.p7s").read_bytes(), Profile.OURS, "p7s").signers
        assert isinstance(signer, Signer)
        made = token(plant.maker.tsa(days=3000), signer.signature, NOW + HOUR if stamped == "before" else then + DAY)
        Path(f"{statement}.tsr").write_bytes(made)
    reasons = {
        "superseded": (REASON.superseded, None),
        "stolen then": (REASON.key_compromise, then),
        "stolen": (REASON.key_compromise, None),
        "on hold": (REASON.certificate_hold, None),
    }
    key, every = plant.anna.key_digest, f"* {Digest.of(path.read_bytes())}"
    denials = {
        "retired": Denied("key", key, 0, "retired", then),
        "denied": Denied("key", key, 0, "stolen"),
        "file denied": Denied("artifact", every, 0, "withdrawn"),
        "statement denied": Denied("artifact", f"* {Digest.of(statement.read_bytes())}", 0, "withdrawn"),
    }
    crls = []
    if what in reasons:
        made = entry(plant.anna.x509, then, *reasons[what])
        crls = [listed(authority(plant.own), made, this_update=then + DAY, next_update=NOW + 3000 * DAY)]
    people = [{**one, "until": then} if one["id"] == "p-1" and what == "left" else one for one in plant.people]  # type: ignore[index,call-overload,dict-item]
    trust = plant.trust(slots, expires=NOW + 3000 * DAY, person=people)
    trust = dataclasses.replace(trust, crls=tuple(crls), denied=(denials[what],) if what in denials else ())
    at = plant.anna.x509.not_valid_after_utc + DAY if ended else then + 5 * DAY
    before = dataclasses.replace(trust, crls=(), denied=())
    assert judge(path, before, then + 2 * DAY if stamped == "after" else NOW + 2 * HOUR).outcome is TRUSTED
    assert (judge(path, trust, at).outcome is TRUSTED) is install
    assert (judge(path, trust, at, purpose=Purpose.RUN).outcome is TRUSTED) is run


def test_a115_a_list_that_was_stale_when_it_was_kept_is_no_evidence_until_a_fresh_one_is_kept_too(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path)
    wanted, tsa, later = {"crl": [{"issuer": story.maker.intermediate.pem}]}, story.tsa_2026[1], day(2029, 8)

    def outcomes() -> tuple[Outcome, Outcome]:
        story.crls = []
        running = judge(story.file, story.trust(later, **wanted), later, purpose=Purpose.RUN)
        return story.verdict(later, **wanted).outcome, running.outcome

    story.crls = [story.maker.crl(NOW, days=5)]
    story.renew(day(2027), tsa, **wanted)
    assert outcomes() == (UNDECIDED, TRUSTED)
    story.crls = [story.maker.crl(day(2027, 7), number=2, days=20)]
    story.renew(day(2027, 7) + DAY, tsa, **wanted)
    assert outcomes() == (TRUSTED, TRUSTED)


@pytest.mark.parametrize("recorded", [True, False])
def test_late_stamps_of_several_signatures_count_for_their_own_in_any_order(
    tmp_path: Path, plant: Plant, recorded: bool
) -> None:
    """`NAME.tsr` is over the maker's signature and `NAME.2.tsr` over the plant's, judged after both certificates ended."""
    pki, tsa = era(2026, 6)
    path = signed_file(tmp_path, plant.release)
    signatures = [tmp_path / "drive.bin.p7s", tmp_path / "drive.bin.plant.p7s"]
    signatures[1].write_bytes(p7s(plant.anna, path.read_bytes()))
    stamps = []
    for signature in signatures:
        (signer,) = read_envelope(signature.read_bytes(), Profile.OURS, "p7s").signers
        assert isinstance(signer, Signer)
        stamps.append(token(tsa, signer.signature, NOW + HOUR))

    def trust(at: datetime) -> Believed:
        authorities = [{"name": "late", "anchor": pki.root.pem}]
        slots = rule(MAKER, PLANT)
        return plant.trust(slots, issued=at - 5 * DAY, expires=at + 300 * DAY, authority=authorities)

    places = [tmp_path / "drive.bin.tsr", tmp_path / "drive.bin.2.tsr"]
    for place, made in zip(places, stamps, strict=True):
        place.write_bytes(made)
    if recorded:
        asked = Renewal(trust(day(2027)), day(2027), None)
        assert [type(one) for one in renew([str(path)], asked, stamp(tsa, day(2027)))] == [Renewed]
    at = day(2030)
    assert judge(path, trust(at), at).outcome is TRUSTED
    for place, made in zip(places, reversed(stamps), strict=True):
        place.write_bytes(made)
    assert judge(path, trust(at), at).outcome is TRUSTED
    places[1].write_bytes(
        stamps[1]
    )  # the plant's twice, the maker's never: only the record knows when that one was made
    assert (judge(path, trust(at), at).outcome is TRUSTED) is recorded
    running = judge(path, trust(at), at, purpose=Purpose.RUN)
    assert running.outcome is TRUSTED
