"""RFC 4998 as it is written: hash trees, renewals, bounds; checked by an independent program of a page and by OpenSSL."""

from __future__ import annotations

import hashlib
import tracemalloc
from datetime import UTC
from pathlib import Path

import pytest
from asn1crypto import algos, cms, core, tsp, x509
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.archive import Story, day, stamp
from kit.mutate import truncations
from kit.openssl import run
from kit.pki import NOW, Pki
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import ers
from sealwright.envelope.asn1 import der
from sealwright.envelope.tsp import read_token
from sealwright.errors import LimitExceeded, MalformedEnvelope, SealwrightError

S256, S512 = HashName.SHA256, HashName.SHA512


# An independent reader: asn1crypto and hashlib alone, the RFC's module and steps written down once more.


class _Tree(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.OctetString


class _Trees(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Tree


class _Ats(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", cms.CMSAttributes, {"implicit": 1, "optional": True}),
        ("reduced_hashtree", _Trees, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class _Chain(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Ats


class _Chains(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _Chain


class _Infos(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.Any


class _Digests(core.SequenceOf):  # type: ignore[misc]
    _child_spec = algos.DigestAlgorithm


class _Record(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("digest_algorithms", _Digests),
        ("crypto_infos", _Infos, {"implicit": 0, "optional": True}),
        ("archive_time_stamp_sequence", _Chains),
    ]


def independent(record: bytes, objects: list[bytes]) -> list[str]:
    """The times of all links of a record that protects the objects, by section 5.3; AssertionError where a step fails."""
    read = _Record.load(record, strict=True)
    assert read["version"].native == 1
    times, before = [], b""
    for number, chain in enumerate(read["archive_time_stamp_sequence"]):
        last = None
        for place, ats in enumerate(chain):
            name = ats["digest_algorithm"]["algorithm"].native
            hashed = lambda data, name=name: hashlib.new(name, data).digest()  # noqa: E731
            info = ats["time_stamp"]["content"]["encap_content_info"]["content"].parsed
            assert isinstance(info, tsp.TSTInfo)
            lists = [one.native for one in ats["reduced_hashtree"]] if ats["reduced_hashtree"].native else []
            imprint = info["message_imprint"]["hashed_message"].native
            node = None
            for at, values in enumerate(lists):
                values = [*values, *([node] if at else [])]
                node = hashed(b"".join(sorted(values))) if len(values) > 1 else values[0]
            first = lists[0] if lists else [imprint]
            assert node in (None, imprint)
            if place:
                assert hashed(last) in first
            else:
                for one in objects:
                    value = hashed(one)
                    assert (hashed(value + hashed(_earlier(before))) if number else value) in first
            last = ats["time_stamp"].dump()
            times.append(info["gen_time"].native.astimezone(UTC).strftime("%Y-%m-%d"))
        before += chain.dump()
    return times


def _earlier(chains: bytes) -> bytes:
    return core.Sequence(contents=chains).dump()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """All renewals done."""
    return Story(tmp_path_factory.mktemp("ers")).grown()


def test_an_independent_reader_of_the_rfc_agrees_and_refuses_another_object(story: Story) -> None:
    objects = [story.file.read_bytes(), story.signature.read_bytes()]
    record = story.record.read_bytes()
    kept = story.read()
    assert independent(record, [*objects, *kept.certificates, *kept.crls][:2]) == [
        f"{year}-06-01" for year in (2027, 2031, 2036, 2044)
    ]
    with pytest.raises(AssertionError):
        independent(record, [*objects, b"another"])


def test_what_is_kept_for_later_is_protected_like_the_file(story: Story) -> None:
    record = story.read()
    imprints = [read_token(link.token, "link").imprint.value for link in record.links]
    since = [
        ers.introduced(record, imprints, lambda name, one=one: Digest.of(one, name).value)
        for one in (*record.certificates, *record.crls)
    ]
    assert None not in since
    assert set(since) == {0, 2, 3}  # an authority's path comes in when its timestamp is renewed
    subjects = [x509.Certificate.load(one).subject.native["common_name"] for one in record.certificates]
    assert {"ACME root", "TSA 2026 root", "TSA 2031 root", "TSA 2036 root"} <= set(subjects)


def test_openssl_reads_the_structure_and_verifies_every_timestamp(story: Story, tmp_path: Path) -> None:
    ok, words = run(["openssl", "asn1parse", "-inform", "DER", "-in", story.record])
    assert ok
    assert words.count("id-smime-ct-TSTInfo") >= 4
    authorities = (story.tsa_2026, story.tsa_2031, story.tsa_2036, story.tsa_2044)
    for link, (pki, tsa), year in zip(story.read().links, authorities, (2027, 2031, 2036, 2044), strict=True):
        token, anchors = tmp_path / "token.der", tmp_path / "ca.pem"
        at = story.record.read_bytes().find(link.token)
        token.write_bytes(story.record.read_bytes()[at : at + len(link.token)])
        anchors.write_text(pki.root.pem + pki.intermediate.pem)
        imprint = link.root() or Digest.of(story.read().links[0].token, link.digest).value
        if not link.tree:
            imprint = read_token(link.token, "link").imprint.value
        command = ["openssl", "ts", "-verify", "-token_in", "-in", token, "-CAfile", anchors, "-attime"]
        command += [str(int(day(year).timestamp())), "-digest"]
        assert run([*command, imprint.hex()])[0], (year, run([*command, imprint.hex()]))
        assert not run([*command, bytes(len(imprint)).hex()])[0]
        assert tsa.certificate


GROUPS = st.lists(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=5), min_size=1, max_size=40)


@given(GROUPS, st.sampled_from(list(HashName)))
@settings(max_examples=150, deadline=None)
def test_every_reduced_tree_leads_to_the_root_and_no_other_hash_is_in_its_first_list(
    groups: list[list[bytes]], name: HashName
) -> None:
    hashes = [[Digest.of(one, name).value for one in group] for group in groups]
    made = ers.batch(hashes, name)
    for group, tree in zip(hashes, made.trees, strict=True):
        assert (ers.root_of(tree, name) if tree else group[0]) == made.root.value
        if len(set(group)) > 1:
            assert set(tree[0]) == set(group)
        assert all(len(siblings) == 1 for siblings in tree[1:])


def test_hashes_of_a_group_are_hashed_in_binary_order() -> None:
    one, two = sorted(Digest.of(data).value for data in (b"1", b"2"))
    assert ers.batch([[two, one]], S256).root == Digest.of(one + two)
    assert ers.batch([[one]], S256).root.value == one
    single = ers.batch([[one], [two]], S256)
    assert single.trees[0] == single.trees[1] == ((one, two),)


@pytest.mark.parametrize("order", ["as written", "as erratum 7411 wants"])
def test_both_orders_of_a_hash_tree_renewal_are_read(order: str) -> None:
    tsa = Pki.make().tsa()
    make = stamp(tsa, NOW)
    plain = Digest.of(b"object").value
    link = ers.new_link(S256, (), make(Digest(S256, plain)))
    wide = Digest.of(b"object", S512).value
    before = Digest.of(der(0x30, der(0x30, link.encoded)), S512).value
    parts = (wide, before) if order == "as written" else sorted((wide, before))
    value = Digest.of(b"".join(parts), S512)
    if order == "as written":
        assert ers.renewed_hash(wide, [[link]], S512) == value.value
    record = ers.read_record(ers.record_bytes([[link], [ers.new_link(S512, (), make(value))]]), "ers")
    imprints = [read_token(one.token, "link").imprint.value for one in record.links]
    assert ers.introduced(record, imprints, lambda name: Digest.of(b"object", name).value) == 0
    assert ers.introduced(record, imprints, lambda name: Digest.of(b"other", name).value) is None


def test_a_later_chain_that_forgets_an_object_no_longer_protects_it(story: Story) -> None:
    record = story.read()
    imprints = [read_token(one.token, "link").imprint.value for one in record.links]
    file = story.file.read_bytes()
    assert ers.introduced(record, imprints, lambda name: Digest.of(file, name).value) == 0
    assert ers.introduced(record, imprints, lambda name: Digest.of(file if name is S256 else b"", name).value) is None
    assert ers.introduced(record, imprints, lambda name: Digest.of(file if name is S512 else b"", name).value) == 2


def _edited(record: ers.Record, **parts: bytes) -> bytes:
    """The record with one of its outer fields replaced."""
    fields = {
        "version": b"\x02\x01\x01",
        "digests": der(0x30, bytes.fromhex("300b0609608648016503040201300b0609608648016503040203")),
        "material": b"",
        "encryption": b"",
        "chains": der(0x30, b"".join(der(0x30, b"".join(one.encoded for one in chain)) for chain in record.chains)),
    }
    return der(0x30, b"".join((fields | parts).values()))


BAD: list[tuple[str, dict[str, bytes], str]] = [
    ("as it is", {}, ""),
    ("version 2", {"version": b"\x02\x01\x02"}, "version is 2"),
    ("a version of a megabyte", {"version": der(0x02, b"\x01" * (1 << 20))}, "not an EvidenceRecord"),
    ("no digest", {"digests": der(0x30, b"")}, "not an EvidenceRecord"),
    ("another digest named", {"digests": der(0x30, bytes.fromhex("300b0609608648016503040202"))}, "does not name it"),
    ("SHA-1 named only", {"digests": der(0x30, bytes.fromhex("300906052b0e03021a0500"))}, "does not name it"),
    ("encrypted", {"encryption": der(0xA1, bytes.fromhex("06032a0304") + der(0x30, b""))}, "encrypted"),
    ("no chain", {"chains": der(0x30, b"")}, "not an EvidenceRecord"),
    ("an empty chain", {"chains": der(0x30, der(0x30, b""))}, "no archive timestamp"),
    ("seventeen chains", {"chains": der(0x30, der(0x30, der(0x30, b"")) * 17)}, "not an EvidenceRecord"),
    ("a thousand links", {"chains": der(0x30, der(0x30, der(0x30, der(0x30, b"")) * 1000))}, "no archive timestamp"),
    ("a list that is no certificate", {"material": der(0xA0, der(0x30, b"\x04\x00"))}, "not an EvidenceRecord"),
    (
        "a set that is empty",
        {"material": der(0xA0, der(0x30, bytes.fromhex("060b2a864886f70d01091002173100")))},
        "not an Evidence",
    ),
    ("deep nesting", {"chains": der(0x30, der(0x30, bytes.fromhex("3080" * 5000)))}, "not an EvidenceRecord"),
]


@pytest.mark.parametrize(("what", "parts", "why"), BAD, ids=[row[0] for row in BAD])
def test_records_that_are_not_as_the_module_says_are_refused(
    story: Story, what: str, parts: dict[str, bytes], why: str
) -> None:
    data = _edited(story.read(), **parts)
    if not why:
        assert ers.read_record(data, "ers").links == story.read().links
        return
    with pytest.raises(SealwrightError) as refused:
        ers.read_record(data, "ers")
    assert why in refused.value.what, what


LINKS: list[tuple[str, bytes, type[SealwrightError]]] = [
    ("an empty tree", der(0xA2, b""), MalformedEnvelope),
    ("an empty list", der(0xA2, der(0x30, b"")), MalformedEnvelope),
    ("a short hash", der(0xA2, der(0x30, der(0x04, b"x" * 31))), MalformedEnvelope),
    ("65 lists", der(0xA2, der(0x30, der(0x04, b"x" * 32)) * 65), LimitExceeded),
    ("1025 hashes", der(0xA2, der(0x30, der(0x04, b"x" * 32) * 1025)), LimitExceeded),
]


@pytest.mark.parametrize(("what", "tree", "error"), LINKS, ids=[row[0] for row in LINKS])
def test_hash_trees_are_bounded(story: Story, what: str, tree: bytes, error: type[SealwrightError]) -> None:
    link = story.read().links[0]
    named = der(0xA0, bytes.fromhex("0609608648016503040201"))
    whole = ers.Link(S256, (), link.token, der(0x30, named + link.token))
    assert ers.read_record(ers.record_bytes([[whole]]), "ers")
    with pytest.raises(error):
        ers.read_record(
            ers.record_bytes([[ers.Link(S256, (), link.token, der(0x30, named + tree + link.token))]]), what
        )


def test_a_record_that_is_too_large_is_not_read() -> None:
    with pytest.raises(LimitExceeded):
        ers.read_record(b"\x30" * (ers.MAX_BYTES + 1), "ers")


def test_every_prefix_is_refused_with_a_typed_error(story: Story) -> None:
    for part in truncations(story.record.read_bytes(), step=7):
        with pytest.raises(SealwrightError):
            ers.read_record(part, "ers")


def test_a_record_contains_what_it_continues(story: Story) -> None:
    whole = story.read()
    first, second = whole.chains

    def part(*chains: tuple[ers.Link, ...]) -> ers.Record:
        return ers.read_record(ers.record_bytes(chains, whole.certificates, whole.crls), "ers")

    assert ers.contains(whole, part(first))
    assert ers.contains(whole, part(first, second[:1]))
    assert ers.contains(part(first), part(first[:1]))
    assert not ers.contains(whole, whole)
    assert not ers.contains(part(first), whole)
    assert not ers.contains(part((*second, *second)), part(first[:1]))
    assert not ers.contains(ers.read_record(ers.record_bytes(whole.chains), "ers"), part(first))


MANY = 1 << 19
DIGESTS = der(0x30, bytes.fromhex("300b0609608648016503040201"))
BOMBS: list[tuple[str, bytes]] = [
    ("chains", DIGESTS + der(0x30, b"\x30\x00" * MANY)),
    ("links", DIGESTS + der(0x30, der(0x30, b"\x30\x00" * MANY))),
    ("lists of a tree", DIGESTS + der(0x30, der(0x30, der(0x30, der(0xA2, b"\x30\x00" * MANY))))),
    ("hashes", DIGESTS + der(0x30, der(0x30, der(0x30, der(0xA2, der(0x30, b"\x04\x00" * MANY)))))),
    ("attributes", DIGESTS + der(0xA0, bytes.fromhex("300706012a31020500") * (MANY // 4))),
    ("digests", der(0x30, b"\x30\x00" * MANY)),
]


@pytest.mark.parametrize(("what", "content"), BOMBS, ids=[row[0] for row in BOMBS])
def test_a_million_empty_parts_are_counted_before_they_are_built(what: str, content: bytes) -> None:
    data = der(0x30, b"\x02\x01\x01" + content)
    tracemalloc.start()
    with pytest.raises(LimitExceeded, match="very many parts"):
        ers.read_record(data, what)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
