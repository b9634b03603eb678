"""Twenty years of one signature on a fake clock: signed 2026, checked 2046; and every way in which its record can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from kit.archive import FIRMWARE, YEAR, Story, day, era, over, refusal, stamp
from kit.manifests import manifest_pair
from kit.pki import DAY, Pki, p7s
from kit.samples import project
from kit.trust import codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import ers
from sealwright.envelope.tsp import read_token
from sealwright.pki.crl import Revoked, make_crl
from sealwright.signing.proofs import Action, NotRenewed, Proofs, Renewal, Renewed, renew
from sealwright.trust.verdict import Outcome, Purpose


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The story told once; each test puts back what it changes."""
    return Story(tmp_path_factory.mktemp("archive")).grown()


@pytest.fixture
def story(old: Story) -> Story:
    """The archive as it lies there in 2046."""
    kept = {path: path.read_bytes() for path in old.folder.iterdir()}
    yield old  # type: ignore[misc]
    for path in old.folder.iterdir():
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)


def test_a143_a_signature_of_2026_is_checked_in_2046(tmp_path: Path) -> None:
    """The table of the story: year, what is done, until when the proofs last then, what `verify` says."""
    story = Story(tmp_path)
    story.crls = [story.maker.crl(day(2027) - 5 * DAY)]
    assert story.status(day(2027)).needs is Action.NONE
    assert story.status(day(2031)).needs is Action.FIRST
    steps = (
        (2027, story.tsa_2026[1], None, Action.FIRST, 1),
        (2031, story.tsa_2031[1], None, Action.TIMESTAMP, 2),
        (2036, story.tsa_2036[1], HashName.SHA512, Action.HASH_TREE, 3),
        (2044, story.tsa_2044[1], None, Action.TIMESTAMP, 4),
    )
    for year, tsa, digest, action, links in steps:
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".ers"}
        (done,) = story.renew(day(year), tsa, digest)
        assert isinstance(done, Renewed)
        assert (done.action, done.links) == (action, links)
        assert story.verdict(day(year)).outcome is Outcome.TRUSTED
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".ers"}
        story.crls = []
    verdict = story.verdict(day(2046))
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.times.proved is not None
    assert verdict.times.proved.year == 2026
    (holds,) = [found for found in verdict.findings if found.code == "SW-EVIDENCE-HOLDS"]
    assert holds.found == "2027-06-01 TSA 2026; 2031-06-01 TSA 2031; 2036-06-01 TSA 2036; 2044-06-01 TSA 2044"
    story.record.unlink()
    assert set(codes(story.verdict(day(2046)))) >= {"SW-ALGORITHM-WITHDRAWN"}


def test_lists_kept_in_the_record_speak_of_certificates_that_have_ended(story: Story) -> None:
    policy = [{"issuer": story.maker.intermediate.pem}]
    assert story.verdict(day(2046), crl=policy).outcome is Outcome.TRUSTED
    story.record.unlink()
    without = story.verdict(day(2046), crl=policy, algorithm=None)
    assert codes(without) == ["SW-REVOCATION-UNKNOWN"]


def test_a_list_that_came_without_being_an_object_of_the_group_says_nothing(story: Story) -> None:
    record = story.read()
    assert len(record.crls) == 1
    story.record.write_bytes(ers.record_bytes(record.chains, record.certificates, record.crls))
    policy = [{"issuer": story.maker.intermediate.pem}]
    assert story.verdict(day(2046), crl=policy).outcome is Outcome.TRUSTED
    forged = story.maker.crl(day(2027) - 4 * DAY, number=2)
    story.record.write_bytes(ers.record_bytes(record.chains, record.certificates, (forged,)))
    assert codes(story.verdict(day(2046), crl=policy)) == ["SW-REVOCATION-UNKNOWN"]


def _links(story: Story, order: tuple[tuple[int, ...], ...]) -> None:
    record = story.read()
    every = record.links
    chains = [[every[at] for at in chain] for chain in order]
    story.record.write_bytes(ers.record_bytes(chains, record.certificates, record.crls))


WRONG_ORDERS = [
    ("as it is", ((0, 1), (2, 3)), ""),
    ("first link missing", ((1,), (2, 3)), "is not over"),
    ("second link missing", ((0,), (2, 3)), "does not count when"),
    ("third link missing", ((0, 1), (3,)), "does not count when"),
    ("last link missing", ((0, 1), (2,)), "does not count now"),
    ("later chain missing", ((0, 1),), "does not count now"),
    ("earlier chain missing", ((2, 3),), "is not over"),
    ("chains exchanged", ((2, 3), (0, 1)), "older than"),
    ("links exchanged", ((1, 0), (2, 3)), "not over the one before"),
    ("links of the last chain exchanged", ((0, 1), (3, 2)), "not over the one before"),
    ("a link twice", ((0, 1, 1), (2, 3)), "not over the one before"),
    ("chains in one", ((0, 1, 2, 3),), "two digests"),
]


@pytest.mark.parametrize(("what", "order", "why"), WRONG_ORDERS, ids=[row[0] for row in WRONG_ORDERS])
def test_links_that_are_missing_or_in_another_order_prove_nothing(
    story: Story, what: str, order: tuple[tuple[int, ...], ...], why: str
) -> None:
    _links(story, order)
    verdict = story.verdict(day(2046))
    assert why in refusal(verdict), what
    assert verdict.outcome is (Outcome.REJECTED if why else Outcome.TRUSTED)


@pytest.mark.parametrize("name", ["2026", "2031", "2036", "2044"])
def test_a_link_of_an_authority_that_the_trust_file_does_not_name_breaks_the_chain(story: Story, name: str) -> None:
    assert story.verdict(day(2046)).outcome is Outcome.TRUSTED
    verdict = story.verdict(day(2046), without=[name])
    assert verdict.outcome is Outcome.REJECTED
    assert (
        f"of {dict(zip(['2026', '2031', '2036', '2044'], ['2027', '2031', '2036', '2044'], strict=True))[name]}-06-01"
        in refusal(verdict)
    )


def _renewed_late(story: Story, year: int) -> None:
    """The 2031 link made in another year, as a stranger could who has the record of 2027."""
    record = story.read()
    first = ers.read_record(ers.record_bytes([record.chains[0][:1]], record.certificates, record.crls), "ers")
    story.record.write_bytes(
        ers.record_bytes([[*first.links, over(first, story.tsa_2031[1], day(year))]], record.certificates, record.crls)
    )


def test_a_renewal_after_the_end_of_the_certificate_before_is_late(story: Story) -> None:
    _renewed_late(story, 2031)
    assert refusal(story.verdict(day(2033))) == ""
    _renewed_late(story, 2032)
    assert "its authority's certificate ended on 2031-12-31" in refusal(story.verdict(day(2033)))


def test_last_token_vouches_for_timestamps_after_the_end_as_it_does_for_others(story: Story) -> None:
    _renewed_late(story, 2032)
    at = day(2033)
    entries = [
        {"name": "2026", "anchor": story.tsa_2026[0].root.pem, "last_token": day(2028)},
        {"name": "2031", "anchor": story.tsa_2031[0].root.pem},
    ]
    assert refusal(story.verdict(at, authority=entries)) == ""
    entries[0]["last_token"] = day(2027) - DAY
    assert "the last token the trust file accepts" in refusal(story.verdict(at, authority=entries))


def test_last_token_takes_a_link_back_that_was_renewed_in_time(story: Story) -> None:
    at = day(2033)
    _renewed_late(story, 2031)
    entries = [
        {"name": "2026", "anchor": story.tsa_2026[0].root.pem},
        {"name": "2031", "anchor": story.tsa_2031[0].root.pem},
    ]
    assert refusal(story.verdict(at, authority=entries)) == ""
    entries[0] |= {"last_token": day(2026, 12)}  # type: ignore[dict-item]
    assert "the last token the trust file accepts" in refusal(story.verdict(at, authority=entries))


def test_a_renewal_after_an_algorithm_was_withdrawn_is_late(story: Story) -> None:
    assert story.verdict(day(2046)).outcome is Outcome.TRUSTED
    early = [{"name": "sha256", "until": day(2035)}]
    assert "sha256, which counts until 2035-06-01" in refusal(story.verdict(day(2046), algorithm=early))


@pytest.mark.parametrize("what", ["artifact", "signature"])
def test_a_record_is_over_these_very_bytes(story: Story, what: str) -> None:
    assert refusal(story.verdict(day(2046))) == ""
    if what == "artifact":
        story.file.write_bytes(FIRMWARE + b"!")
        assert "it is not over drive.bin" in refusal(story.verdict(day(2046)))
    else:
        other = story.maker.leaf("release", key=None)
        story.signature.write_bytes(p7s(other, FIRMWARE, tsa=story.tsa_2026[1]))
    assert story.verdict(day(2046)).outcome is Outcome.REJECTED


def test_a_record_without_a_timestamp_in_the_signature_proves_the_time_itself(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.signature.write_bytes(p7s(story.maker.leaf("release"), FIRMWARE))
    story.renew(day(2027), story.tsa_2026[1])
    verdict = story.verdict(day(2029))
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.times.proved is not None
    assert verdict.times.proved.year == 2027
    story.record.unlink()
    assert codes(story.verdict(day(2029))) == ["SW-CERT-EXPIRED"]


def test_a_record_made_too_late_does_not_make_worse_what_keeps_running(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.signature.write_bytes(p7s(story.maker.leaf("release"), FIRMWARE))
    late = day(2029)
    running = story.trust(late)
    before = judge(story.file, running, late, purpose=Purpose.RUN)
    story.renew(late, story.tsa_2026[1])
    after = judge(story.file, running, late, purpose=Purpose.RUN)
    assert story.record.exists()
    assert before.outcome is after.outcome is Outcome.TRUSTED


def test_a_plant_signature_that_came_later_is_taken_in_at_the_next_renewal(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    plant = tmp_path / "drive.bin.plant.p7s"
    plant.write_bytes(
        p7s(
            story.maker.leaf("plant", at=day(2030), days=300),
            FIRMWARE,
            at=day(2030),
            tsa=story.tsa_2026[1],
            stamped=day(2030),
        )
    )
    story.renew(day(2031), story.tsa_2031[1])
    story.renew(day(2036), story.tsa_2036[1], HashName.SHA512)
    record = story.read()
    imprints = [read_token(link.token, "link").imprint.value for link in record.links]

    def since(path: Path) -> int | None:
        return ers.introduced(record, imprints, lambda name: Digest.of(path.read_bytes(), name).value)

    assert (since(story.file), since(story.signature), since(plant)) == (0, 0, 1)


def test_a_renewal_refuses_an_authority_that_is_not_trusted_and_leaves_the_record(story: Story) -> None:
    before = story.record.read_bytes()
    stranger = era(2045, 5)[1]
    (answer,) = story.renew(day(2046), stranger)
    assert isinstance(answer, NotRenewed)
    assert "leads to an anchor of the trust file" in answer.error.what
    assert story.record.read_bytes() == before
    (answer,) = story.renew(day(2046), story.tsa_2044[1])
    assert isinstance(answer, Renewed)
    assert ers.contains(story.read(), ers.read_record(before, "before"))


def test_a_record_that_does_not_hold_is_not_continued(story: Story) -> None:
    _links(story, ((1,), (2, 3)))
    before = story.record.read_bytes()
    (answer,) = story.renew(day(2040), story.tsa_2036[1])
    assert isinstance(answer, Proofs)
    assert answer.needs is Action.PROBLEM
    assert story.record.read_bytes() == before


def test_what_is_not_trusted_gets_no_record(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.file.write_bytes(b"altered")
    (answer,) = story.renew(day(2027), story.tsa_2026[1])
    assert isinstance(answer, Proofs)
    assert answer.needs is Action.PROBLEM
    assert not story.record.exists()


def test_many_files_share_one_timestamp(tmp_path: Path) -> None:
    story = Story(tmp_path)
    paths = [story.file]
    for number in range(9):
        path = tmp_path / f"part-{number}.bin"
        path.write_bytes(b"%d" % number)
        path.with_name(path.name + ".p7s").write_bytes(p7s(story.maker.leaf(f"s{number}"), b"%d" % number))
        paths.append(path)
    asked = []

    def counted(make: Callable[[Digest], bytes]) -> Callable[[Digest], bytes]:
        return lambda root: (asked.append(root), make(root))[1]  # type: ignore[func-returns-value]

    at = day(2027)
    answers = list(renew([str(tmp_path)], Renewal(story.trust(at), at, None), counted(stamp(story.tsa_2026[1], at))))
    assert len(answers) == 10
    assert all(isinstance(one, Renewed) for one in answers)
    assert len(asked) == 1
    tokens = {ers.read_record(Path(f"{path}.ers").read_bytes(), "ers").links[0].token for path in paths}
    assert len(tokens) == 1


@pytest.mark.parametrize("part", ["its tree", "its timestamp's imprint", "its timestamp's signature"])
@pytest.mark.parametrize("place", range(4))
def test_each_link_altered_breaks_the_chain(story: Story, place: int, part: str) -> None:
    record = story.record.read_bytes()
    link = story.read().links[place]
    token = read_token(link.token, "link")
    sought = {
        "its tree": link.tree[0][0] if link.tree else token.imprint.value,
        "its timestamp's imprint": token.imprint.value,
        "its timestamp's signature": token.signer.signature,
    }[part]
    start = record.index(link.encoded)
    at = record.index(sought, start) + len(sought) // 2
    assert start < at < start + len(link.encoded)
    assert refusal(story.verdict(day(2046))) == ""
    story.record.write_bytes(record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :])
    verdict = story.verdict(day(2046))
    assert refusal(verdict)
    assert verdict.outcome is Outcome.REJECTED


@pytest.mark.parametrize("year", [2031, 2036, 2044])
def test_each_renewal_that_comes_after_the_end_before_it_is_late(story: Story, year: int) -> None:
    """The same record, judged by a trust file that learns that the authority before had to stop earlier."""
    before = {2031: "tsa_2026", 2036: "tsa_2031", 2044: "tsa_2036"}[year]
    pki, tsa = getattr(story, before)
    assert refusal(story.verdict(day(2046))) == ""
    dated = [Revoked(tsa.x509.serial_number, day(year), x509.ReasonFlags.key_compromise, day(year) - DAY)]
    crl = make_crl(
        pki.intermediate.certificate,
        pki.intermediate.key,
        number=1,
        this_update=day(year),
        next_update=day(2050),
        revoked=dated,
    )
    story.crls = [crl]
    verdict = story.verdict(day(2046))
    story.crls = []
    assert "was revoked" in refusal(verdict)
    assert verdict.outcome is Outcome.REJECTED


def test_a_list_that_its_issuer_did_not_sign_is_told_and_kept_in_no_record(tmp_path: Path) -> None:
    """The newest by its own word: it would have taken the place of the one that names who was revoked (A047)."""
    story, stranger, at = Story(tmp_path), Pki.make(), day(2027)
    genuine = story.maker.crl(at - 5 * DAY)
    story.crls = [genuine]
    (twin,) = story.renew(at, story.tsa_2026[1])
    assert isinstance(twin, Renewed)
    assert (story.read().crls, twin.refused) == ((genuine,), ())
    story.record.unlink()
    forged = stranger.crl(at - DAY, number=99)
    cut = story.maker.crl(at - DAY, number=2)
    story.crls = [forged, genuine, cut[:-9] + bytes(9)]
    (done,) = story.renew(at, story.tsa_2026[1])
    assert isinstance(done, Renewed)
    assert story.read().crls == (genuine,)
    assert any("its signature is not of an issuer that may sign revocation lists" in why for why in done.refused)
    story.record.unlink()
    story.crls = [forged]
    (done,) = story.renew(at, story.tsa_2026[1])
    assert isinstance(done, Renewed)
    assert (story.read().crls, len(done.refused)) == ((), 1)
    newer = story.maker.crl(at - DAY, number=2)
    story.record.unlink()
    story.crls = [newer, genuine]
    assert isinstance(story.renew(at, story.tsa_2026[1])[0], Renewed)
    assert story.read().crls == (newer,)


def test_a_renewal_that_wins_no_time_is_refused_so_that_cron_adds_no_link_a_day(tmp_path: Path) -> None:
    story = Story(tmp_path)
    at = day(2031)
    asked = Renewal(story.trust(at), at, at + 2 * YEAR)
    paths = [str(story.file)]
    assert story.status(at, 2).needs is Action.FIRST
    (answer,) = renew(paths, asked, stamp(story.tsa_2026[1], at))
    assert isinstance(answer, NotRenewed)
    assert "would last no longer" in answer.error.what
    assert not story.record.exists()
    (answer,) = renew(paths, asked, stamp(story.tsa_2031[1], at))
    assert isinstance(answer, Renewed)
    (answer,) = renew(paths, asked, stamp(story.tsa_2031[1], at))
    assert isinstance(answer, Proofs)
    assert answer.needs is Action.NONE


def test_a_folder_whose_sums_age_is_to_be_signed_again_and_is_not_renewed_each_day(tmp_path: Path) -> None:
    story = Story(tmp_path)
    tree = project(tmp_path)
    manifest_pair(tree, story.maker.leaf("release"), Claims(product="line 3"), tsa=story.tsa_2026[1])
    story.renew(day(2027), story.tsa_2026[1], paths=[tree])
    story.renew(day(2031), story.tsa_2031[1], paths=[tree])
    story.renew(day(2036), story.tsa_2036[1], HashName.SHA512, paths=[tree])
    at = day(2039)
    for years, wanted in ((1, Action.NONE), (2, Action.PROBLEM)):
        (answer,) = renew([str(tree)], Renewal(story.trust(at), at, at + years * YEAR), stamp(story.tsa_2036[1], at))
        assert isinstance(answer, Proofs)
        assert (answer.needs, "sign the folder again" in answer.why) == (wanted, wanted is Action.PROBLEM)
