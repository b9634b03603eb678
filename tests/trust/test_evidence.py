"""What an evidence record proves, and what it never does: rules as tables, every byte changed, every object exchanged."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509

from kit import signedfiles
from kit.archive import FIRMWARE, Story, day, over, refusal, stamp
from kit.manifests import claimed, manifest_pair
from kit.mutate import flips
from kit.pki import DAY, NOW, Pki, Signer, p7s
from kit.samples import project
from kit.trust import codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import ers
from sealwright.errors import MalformedTrust
from sealwright.formats.archive import companions_of
from sealwright.formats.registry import file_of
from sealwright.keys.key import KeyKind
from sealwright.signing.proofs import Renewal, Renewed, renew
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, Verifier

REASONS = x509.ReasonFlags


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """All renewals done; tests only read it."""
    return Story(tmp_path_factory.mktemp("evidence")).grown()


REVOKED: list[tuple[str, REASONS | None, datetime, datetime | None, bool]] = [
    ("not revoked", REASONS.superseded, day(2050), None, True),
    ("superseded after the next link", REASONS.superseded, day(2031, 9), None, True),
    ("superseded before the token", REASONS.superseded, NOW - DAY, None, False),
    ("compromise dated after the next link", REASONS.key_compromise, day(2031, 9), day(2031, 8), True),
    ("compromise dated before the next link", REASONS.key_compromise, day(2031, 9), day(2031, 5), False),
    ("compromise without a date reaches back", REASONS.key_compromise, day(2031, 9), None, False),
    ("no reason reaches back", None, day(2031, 9), None, False),
    ("on hold", REASONS.certificate_hold, day(2031, 9), None, False),
]


@pytest.mark.parametrize(("what", "reason", "date", "invalid", "holds"), REVOKED, ids=[row[0] for row in REVOKED])
def test_an_authority_revoked_after_the_next_link_leaves_what_that_link_protects(
    tmp_path: Path, what: str, reason: REASONS | None, date: datetime, invalid: datetime | None, holds: bool
) -> None:
    """The 2026 authority stamped signature and first link; the 2031 link came before or after its trouble."""
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    story.renew(day(2031), story.tsa_2031[1])
    pki, tsa = story.tsa_2026
    pki.revoke(tsa, date, reason, invalid)
    crl = pki.crl(day(2031, 11))
    trusted = judge(story.file, story.trust(day(2031, 12)), day(2031, 12))
    assert trusted.outcome is Outcome.TRUSTED
    story.crls = [crl] if what != "not revoked" else []
    verdict = story.verdict(day(2031, 12))
    assert (refusal(verdict) == "") is holds
    assert (verdict.outcome is Outcome.TRUSTED) is holds, codes(verdict)


def test_without_a_record_a_dated_compromise_of_the_authority_takes_its_timestamps(tmp_path: Path) -> None:
    story = Story(tmp_path)
    pki, tsa = story.tsa_2026
    pki.revoke(tsa, day(2031, 9), REASONS.key_compromise, day(2031, 8))
    assert story.verdict(day(2031, 12)).outcome is Outcome.TRUSTED
    story.crls = [pki.crl(day(2031, 11))]
    assert codes(story.verdict(day(2031, 12))) == ["SW-CERT-EXPIRED"]


AGEING: list[tuple[str, dict[str, datetime], bool, bool]] = [
    # what is withdrawn, and whether the verdict holds with the signature's own timestamp alone, and with a record of 2027
    ("nothing", {}, True, True),
    ("the signer's curve, after the timestamp", {"ecdsa-p256": day(2029)}, False, False),
    ("another curve", {"ecdsa-p384": day(2027)}, True, True),
    ("RSA", {"rsa": day(2020), "rsa-4096": day(2020)}, True, True),
    ("the digest", {"sha256": day(2029)}, False, False),
    ("the digest, later than now", {"sha256": day(2035)}, True, True),
    ("a digest that nothing uses", {"sha512": day(2020)}, True, True),
]


@pytest.mark.parametrize(("what", "gone", "alone", "recorded"), AGEING, ids=[row[0] for row in AGEING])
def test_what_rests_on_a_withdrawn_algorithm_needs_a_proof_that_does_not(
    tmp_path: Path, what: str, gone: dict[str, datetime], alone: bool, recorded: bool
) -> None:
    story = Story(tmp_path)
    parts = [{"name": name, "until": until} for name, until in gone.items()]
    at = day(2030)
    assert (story.verdict(at, algorithm=parts).outcome is Outcome.TRUSTED) is alone, what
    story.renew(day(2027), story.tsa_2026[1])
    assert (story.verdict(at, algorithm=parts).outcome is Outcome.TRUSTED) is recorded, what


def test_a_key_needs_a_timestamp_and_a_digest_a_record_of_lasting_algorithms(tmp_path: Path) -> None:
    """Signed with P-256 and SHA-256, stamped by P-384 with SHA-384: the timestamp outlives the key, not the digest."""
    story = Story(tmp_path, maker=Pki.make(kind=KeyKind.RSA3072))
    lasting = story.tsa_2036[1]
    made = p7s(story.maker.leaf("release", at=day(2036) - 9 * DAY), FIRMWARE, at=day(2036))
    story.signature.write_bytes(made)
    from sealwright.envelope.cms import Profile, read_envelope
    from sealwright.pki.timestamp import Imprint, LocalAuthority

    (signer,) = read_envelope(made, Profile.OURS, "p7s").signers
    imprint = Imprint(Digest.of(signer.signature, HashName.SHA384))  # type: ignore[union-attr]
    token = LocalAuthority(lasting.certificate, lasting.chain, lasting.key, lambda: day(2036)).tokens([imprint])[0]
    (tmp_path / "drive.bin.tsr").write_bytes(token)
    root = {"name": "root", "environment": "production", "certificate": story.maker.root.pem}
    key = [{"name": "ecdsa-p256", "until": day(2037)}]
    digest = [{"name": "sha256", "until": day(2037)}]
    at = day(2039)
    assert story.verdict(at, algorithm=key, anchor=[root]).outcome is Outcome.TRUSTED
    assert codes(story.verdict(at, algorithm=digest)) == ["SW-ALGORITHM-WITHDRAWN"]
    above = [{"name": "rsa", "until": day(2037)}]  # the authorities' keys, which the timestamp is not over
    assert "SW-ALGORITHM-WITHDRAWN" in codes(story.verdict(at, algorithm=above))
    (tmp_path / "drive.bin.tsr").unlink()
    assert "SW-ALGORITHM-WITHDRAWN" in codes(story.verdict(at, algorithm=key))
    (tmp_path / "drive.bin.tsr").write_bytes(token)
    story.renew(day(2036, 8), lasting, HashName.SHA512, algorithm=None)
    assert story.verdict(at, algorithm=digest).outcome is Outcome.TRUSTED


def test_what_runs_keeps_running_when_an_algorithm_is_withdrawn(tmp_path: Path) -> None:
    story = Story(tmp_path)
    gone = [{"name": "ecdsa-p256", "until": day(2026)}]
    at = day(2027)
    assert "SW-ALGORITHM-WITHDRAWN" in codes(story.verdict(at, algorithm=gone))
    running = judge(story.file, story.trust(at, algorithm=gone), at, purpose=Purpose.RUN)
    assert running.outcome is Outcome.TRUSTED
    assert "SW-ALGORITHM-WITHDRAWN" in [found.code for found in running.findings]


WRONG = [
    {"name": "sha1", "until": day(2030)},
    {"name": "sha256"},
    {"name": "sha256", "until": day(2030), "from": day(2020)},
]


@pytest.mark.parametrize("part", WRONG)
def test_an_algorithm_section_is_read_whole_or_refused(tmp_path: Path, part: dict[str, object]) -> None:
    story = Story(tmp_path)
    good = {"name": "sha256", "until": day(2030)}
    assert story.trust(NOW, algorithm=[good]).trust.algorithms[0].name == "sha256"
    with pytest.raises(MalformedTrust):
        story.trust(NOW, algorithm=[part])
    with pytest.raises(MalformedTrust):
        story.trust(NOW, algorithm=[good, good])


def _outcome(verifier: Verifier, path: Path) -> Verdict:
    return verifier.verify(str(path))


def test_no_changed_byte_of_a_record_makes_more_of_it(grown: Story, tmp_path: Path) -> None:
    """A record that holds: changed anywhere it is refused, or proves what it proved. One that lapsed: it never holds."""
    small = Story(tmp_path, maker=grown.maker, tsa_2026=grown.tsa_2026)
    small.renew(day(2027), small.tsa_2026[1])
    record = small.record.read_bytes()
    at = day(2030)
    gone = [{"name": "sha256", "until": day(2029)}]
    lapsed = Verifier(small.trust(at, algorithm=gone), Request(clock=at))
    early = small.trust(at, algorithm=[{"name": "sha256", "until": day(2050)}])
    small.signature.write_bytes(p7s(small.maker.leaf("bare"), FIRMWARE))
    small.record.unlink()
    small.renew(day(2027), small.tsa_2026[1])
    record = small.record.read_bytes()
    holds = Verifier(early, Request(clock=at))
    whole = _outcome(holds, small.file)
    assert whole.outcome is Outcome.TRUSTED
    insignificant = 0
    for offset, changed in flips(record, bit=0x04):
        small.record.write_bytes(changed)
        verdict = _outcome(holds, small.file)
        assert lapsed.verify(str(small.file)).outcome is Outcome.REJECTED, offset
        if verdict.outcome is Outcome.TRUSTED:
            insignificant += 1
            assert verdict.times.proved == whole.times.proved, offset
            assert refusal(verdict) == "", offset
        else:
            assert refusal(verdict), offset
    assert insignificant < len(record) // 3


def test_a_bad_record_takes_nothing_from_a_signature_that_stands_by_itself(tmp_path: Path) -> None:
    story = Story(tmp_path)
    alone = story.verdict(day(2027))
    for data in (b"", b"\x30", b"\x30\x80" * 1000, b"garbage" * 1000, story.signature.read_bytes()):
        story.record.write_bytes(data)
        verdict = story.verdict(day(2027))
        assert (verdict.outcome, verdict.times.proved) == (alone.outcome, alone.times.proved)
        assert refusal(verdict)
    story.record.unlink()
    story.record.mkdir()
    assert story.verdict(day(2027)).outcome is Outcome.TRUSTED
    story.record.rmdir()
    story.record.symlink_to(tmp_path / "nowhere")
    assert story.verdict(day(2027)).outcome is Outcome.TRUSTED


def test_the_record_of_another_file_proves_nothing(tmp_path: Path, grown: Story) -> None:
    story = Story(tmp_path, maker=grown.maker, tsa_2026=grown.tsa_2026)
    story.file.write_bytes(b"other")
    story.signature.write_bytes(p7s(story.maker.leaf("release"), b"other"))
    story.record.write_bytes(grown.record.read_bytes())
    verdict = grown.trust(day(2046))
    assert "it is not over drive.bin" in refusal(judge(story.file, verdict, day(2046)))
    assert refusal(judge(grown.file, verdict, day(2046))) == ""


def test_a_stranger_cannot_put_another_signature_under_an_old_record(tmp_path: Path) -> None:
    """In 2046 the curve is broken: a signature forged then, by the old key, is not the one that was recorded."""
    story = Story(tmp_path)
    signer = story.maker.leaf("release")
    story.signature.write_bytes(p7s(signer, FIRMWARE))
    story.crls = []
    for year, tsa, digest in (
        (2027, story.tsa_2026, None),
        (2031, story.tsa_2031, None),
        (2036, story.tsa_2036, HashName.SHA512),
        (2044, story.tsa_2044, None),
    ):
        story.renew(day(year), tsa[1], digest)
    assert story.verdict(day(2046)).outcome is Outcome.TRUSTED
    story.signature.write_bytes(p7s(signer, FIRMWARE))
    verdict = story.verdict(day(2046))
    assert verdict.outcome is Outcome.REJECTED
    assert "SW-ALGORITHM-WITHDRAWN" in codes(verdict)


def test_a_chain_that_begins_after_the_withdrawal_is_worth_nothing(tmp_path: Path) -> None:
    """A record of an object made when its digest counts no longer, by an authority that still does."""
    story = Story(tmp_path)
    late = day(2041)
    name = HashName.SHA512
    objects = [story.file.read_bytes(), story.signature.read_bytes()]
    made = ers.batch([[Digest.of(one, name).value for one in objects]], name)
    link = ers.new_link(name, made.trees[0], stamp(story.tsa_2036[1], late)(made.root))
    story.record.write_bytes(ers.record_bytes([[link]]))
    verdict = story.verdict(day(2042))
    assert refusal(verdict) == ""
    assert verdict.outcome is Outcome.REJECTED
    assert "SW-ALGORITHM-WITHDRAWN" in codes(verdict)


def test_a_link_from_before_the_one_it_renews_is_refused(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    record = story.read()
    for at, why in ((day(2028), ""), (day(2027) - DAY, "older than the one before")):
        links = [*record.links, over(record, story.tsa_2026[1], at)]
        story.record.write_bytes(ers.record_bytes([links], record.certificates, record.crls))
        assert why in refusal(story.verdict(day(2029)))
        assert bool(refusal(story.verdict(day(2029)))) is bool(why)


def test_a_token_for_another_purpose_is_no_link(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    record = story.read()
    code = story.tsa_2026[0].leaf("code")
    stranger: Signer = code
    links = [*record.links, over(record, stranger, day(2028))]
    story.record.write_bytes(ers.record_bytes([links], record.certificates, record.crls))
    assert "is not for timestamps" in refusal(story.verdict(day(2029)))


def test_a_folder_is_recorded_by_its_manifest(tmp_path: Path) -> None:
    story = Story(tmp_path)
    tree = project(tmp_path)
    manifest_pair(tree, story.maker.leaf("release"), Claims(product="line 3"), tsa=story.tsa_2026[1])
    story.renew(day(2027), story.tsa_2026[1], paths=[tree])
    record = tmp_path / f"{tree.name}.manifest.ers"
    assert record.exists()
    at = day(2030)
    trust = story.trust(at)
    assert judge(tree, trust, at).outcome is Outcome.TRUSTED
    assert "SW-EVIDENCE-HOLDS" in [found.code for found in judge(tree, trust, at).findings]
    # its files are bound by the manifest's sums alone, so that these may not be withdrawn
    gone = story.trust(at, algorithm=[{"name": "sha256", "until": day(2029)}])
    assert "SW-ALGORITHM-WITHDRAWN" in codes(judge(tree, gone, at))
    (tree / "drives" / "parameters.bin").write_bytes(b"changed")
    assert judge(tree, trust, at).outcome is Outcome.REJECTED


def test_an_altered_folder_gets_no_record(tmp_path: Path) -> None:
    story = Story(tmp_path)
    tree = project(tmp_path)
    manifest_pair(tree, story.maker.leaf("release"), Claims(product="line 3"), tsa=story.tsa_2026[1])
    (tree / "more").write_bytes(b"extra")
    story.renew(day(2027), story.tsa_2026[1], paths=[tree])
    assert not (tmp_path / f"{tree.name}.manifest.ers").exists()


def test_a_file_with_claims_is_recorded_with_its_manifest_and_outlives_the_digest_of_both(tmp_path: Path) -> None:
    story = Story(tmp_path)
    file = claimed(tmp_path, story.maker.leaf("release"), Claims(product="drive"), name="claims.bin")
    story.renew(day(2027), story.tsa_2026[1], paths=[file])
    story.renew(day(2028), story.tsa_2026[1], HashName.SHA512, paths=[file])
    at = day(2030)
    gone = story.trust(at, algorithm=[{"name": "sha256", "until": day(2029)}])
    # the authority's own signature is with SHA-256
    assert judge(file, gone, at).outcome is Outcome.REJECTED
    assert judge(file, story.trust(at), at).outcome is Outcome.TRUSTED
    Path(f"{file}.ers").unlink()
    assert codes(judge(file, story.trust(at), at)) == ["SW-CERT-EXPIRED"]


@pytest.mark.parametrize("name", sorted(signedfiles.MAKERS))
def test_a_signature_inside_a_file_is_recorded_with_the_file(tmp_path: Path, name: str) -> None:
    """Every format that keeps its signature inside: the record lies beside, the file is not touched."""
    file = signedfiles.MAKERS[name](tmp_path)
    before = file.read_bytes()
    tsa = signedfiles.PKI.tsa()
    at = NOW + DAY
    (answer,) = list(renew([str(file)], Renewal(signedfiles.TRUST, at, None), stamp(tsa, at)))
    assert isinstance(answer, Renewed), answer
    assert file.read_bytes() == before
    verdict = judge(file, signedfiles.TRUST, at + DAY)
    assert verdict.outcome is Outcome.TRUSTED
    assert verdict.times.proved is not None
    assert "SW-EVIDENCE-HOLDS" in [found.code for found in verdict.findings]


def test_a_signature_that_replaced_the_recorded_one_is_said_to_be_another(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    assert refusal(story.verdict(day(2027))) == ""
    story.signature.write_bytes(p7s(story.maker.leaf("release"), FIRMWARE, tsa=story.tsa_2026[1]))
    verdict = story.verdict(day(2027))
    assert "over none of the signatures" in refusal(verdict)
    assert verdict.outcome is Outcome.TRUSTED


def test_everything_beside_an_artifact_that_belongs_to_it_is_in_its_group(tmp_path: Path) -> None:
    names = (
        ".p7s",
        ".plant.p7s",
        ".pq.p7s",
        ".tsr",
        ".manifest",
        ".manifest.list",
        ".manifest.p7s",
        ".tlog-proof",
        ".sig",
    )
    for name in (*names, ".ers", ".txt", ".bak"):
        (tmp_path / f"drive.bin{name}").write_bytes(b"1")
    (tmp_path / "drive.bin.xmldsig").symlink_to("nowhere")
    found = {one.name for one in companions_of(str(tmp_path / "drive.bin"), (HashName.SHA256,))}
    assert found == {f"drive.bin{name}" for name in names}
    for name in ("", ".list", ".p7s", ".plant.p7s"):
        (tmp_path / f"tree.manifest{name}").write_bytes(b"1")
    found = {one.name for one in companions_of(str(tmp_path / "tree.manifest"), (HashName.SHA256,))}
    assert found == {"tree.manifest.list", "tree.manifest.p7s", "tree.manifest.plant.p7s"}


def test_what_cannot_be_read_beside_takes_nothing_from_the_verdict(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    os.mkfifo(tmp_path / "drive.bin.tlog-proof")
    (tmp_path / "drive.bin.sig").mkdir()
    verdict = story.verdict(day(2027))
    assert (verdict.outcome, refusal(verdict)) == (Outcome.TRUSTED, "")


@pytest.mark.parametrize("named", ["claims.bin", "claims.bin.manifest"])
def test_a_files_record_counts_whichever_name_is_asked_for(tmp_path: Path, named: str) -> None:
    """Its certificate has ended, and only the record proves that it was signed before."""
    story = Story(tmp_path)
    file = claimed(tmp_path, story.maker.leaf("release"), Claims(product="drive"), name="claims.bin")
    at = day(2030)
    assert codes(judge(tmp_path / named, story.trust(at), at)) == ["SW-CERT-EXPIRED"]
    story.renew(day(2027), story.tsa_2026[1], paths=[file])
    verdict = judge(tmp_path / named, story.trust(at), at)
    assert verdict.outcome is Outcome.TRUSTED, codes(verdict)
    assert verdict.path == str(file)
    assert "SW-EVIDENCE-HOLDS" in [one.code for one in verdict.findings]
    file.write_bytes(b"Firmware")
    assert judge(tmp_path / named, story.trust(at), at).outcome is Outcome.REJECTED


def test_a_statement_about_a_file_is_asked_with_that_files_record(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.renew(day(2027), story.tsa_2026[1])
    for suffix in (".received.manifest", ".plant.manifest", ".manifest"):
        assert file_of(str(story.file) + suffix) is None
    plain = tmp_path / "notes.manifest"
    plain.write_bytes(b"no manifest")
    (tmp_path / "notes").write_bytes(b"x")
    assert file_of(str(plain)) is None
    manifest = manifest_pair(story.file, story.maker.leaf("release"), Claims(product="drive"))
    assert file_of(str(manifest)) == str(story.file)
    tree = project(tmp_path)
    assert file_of(str(manifest_pair(tree, story.maker.leaf("release"), Claims()))) is None


def test_a_list_that_is_not_fresh_is_kept_and_told(tmp_path: Path) -> None:
    story = Story(tmp_path)
    made: list[tuple[list[bytes], dict[str, object], bool]] = [
        ([], {}, False),
        ([story.maker.crl(day(2027) - DAY, days=5)], {}, False),
        ([story.maker.crl(NOW, days=5)], {}, True),
        # by the trust file: fresh by itself, and older than it may be
        ([story.maker.crl(day(2027) - 30 * DAY, days=60)], {}, False),
        (
            [story.maker.crl(day(2027) - 30 * DAY, days=60)],
            {"crl": [{"issuer": story.maker.intermediate.pem, "max_age": {"install": "7d"}}]},
            True,
        ),
    ]
    for lists, trust, stale in made:
        story.record.unlink(missing_ok=True)
        story.crls = lists
        (renewed,) = story.renew(day(2027), story.tsa_2026[1], **trust)  # type: ignore[arg-type]
        assert isinstance(renewed, Renewed), renewed
        assert bool(renewed.stale) is stale, (lists, trust)
        assert list(story.read().crls) == lists
        assert all("ACME" in one for one in renewed.stale)
