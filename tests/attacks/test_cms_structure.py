"""Signature files that are built wrong on purpose. Each value fits its attributes, so only the rule refuses."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cryptography.hazmat import asn1

from kit.forge import DATA_PROFILES, attribute, forge, signer_info
from kit.mutate import flips
from kit.pki import NOW, Pki, Signer, p7s, token
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS, ECDSA_SHA384
from sealwright.envelope.asn1 import OID, der
from sealwright.envelope.ber import to_der
from sealwright.envelope.cms import MAX_BYTES, BrokenSigner, Profile, check_signer, read_envelope
from sealwright.envelope.cms import Signer as Read
from sealwright.envelope.cms_write import signed_attributes
from sealwright.envelope.kinds import FILE
from sealwright.errors import (
    BadSignature,
    ContentChanged,
    LimitExceeded,
    MalformedEnvelope,
    SealwrightError,
    WeakAlgorithm,
    WrongKind,
)

DATA = b"firmware of a drive"
OTHER = b"firmware of somebody else"
SHA1 = bytes.fromhex("300906052b0e03021a0500")
COUNTERSIGNATURE = OID("1.2.840.113549.1.9.6")
NESTED = OID("1.3.6.1.4.1.311.2.4.1")
NULL = b"\x05\x00"

PKI = Pki.make()
RELEASE = PKI.leaf()
STRANGER = Pki.make("EVIL").leaf()


def digests(data: bytes) -> dict[HashName, Digest]:
    return {name: Digest.of(data, name) for name in HashName}


def accept(envelope: bytes, data: bytes = DATA, profile: Profile = Profile.OURS) -> Read:
    (signer,) = read_envelope(envelope, profile, "drive.bin.p7s").signers
    if isinstance(signer, BrokenSigner):
        raise signer.reason
    check_signer(signer, digests(data), "file", "drive.bin.p7s")
    return signer


def digest_attribute(data: bytes) -> bytes:
    return attribute(types.MESSAGE_DIGEST, der(0x04, Digest.of(data).value))


def ess_of(other: Signer) -> bytes:
    return other.signing.ess


TYPE_DATA = asn1.encode_der(types.DATA)
Make = Callable[[], bytes]

WRONG: list[tuple[str, str, Make, type[SealwrightError]]] = [
    ("a035", "no message-digest", lambda: forge(RELEASE, DATA, drop=[types.MESSAGE_DIGEST]), MalformedEnvelope),
    ("a035", "no content-type", lambda: forge(RELEASE, DATA, drop=[types.CONTENT_TYPE]), MalformedEnvelope),
    ("a035", "message-digest twice", lambda: forge(RELEASE, DATA, add=[digest_attribute(OTHER)]), MalformedEnvelope),
    ("a035", "content-type twice", lambda: forge(RELEASE, DATA, add=[attribute(types.CONTENT_TYPE, asn1.encode_der(types.TST_INFO))]), MalformedEnvelope),
    ("a035", "two digests in one attribute", lambda: forge(RELEASE, DATA, drop=[types.MESSAGE_DIGEST], add=[attribute(types.MESSAGE_DIGEST, *sorted(der(4, Digest.of(d).value) for d in (DATA, OTHER)))]), MalformedEnvelope),
    ("a035", "no value in an attribute", lambda: forge(RELEASE, DATA, drop=[types.MESSAGE_DIGEST], add=[attribute(types.MESSAGE_DIGEST)]), MalformedEnvelope),
    ("a035", "an empty digest", lambda: forge(RELEASE, DATA, drop=[types.MESSAGE_DIGEST], add=[attribute(types.MESSAGE_DIGEST, der(4, b""))]), MalformedEnvelope),
    ("a035", "a digest that is no octet string", lambda: forge(RELEASE, DATA, drop=[types.MESSAGE_DIGEST], add=[attribute(types.MESSAGE_DIGEST, NULL)]), MalformedEnvelope),
    ("a035", "signed type is not the content's", lambda: forge(RELEASE, DATA, drop=[types.CONTENT_TYPE], add=[attribute(types.CONTENT_TYPE, asn1.encode_der(types.TST_INFO))]), MalformedEnvelope),
    ("a035", "attributes not sorted", lambda: forge(RELEASE, DATA, reverse=True), MalformedEnvelope),
    ("a035", "no signing-time", lambda: forge(RELEASE, DATA, drop=[types.SIGNING_TIME]), MalformedEnvelope),
    ("a027", "no signed attributes at all", lambda: forge(RELEASE, DATA, signed=False), MalformedEnvelope),
    ("a025", "no signing certificate attribute", lambda: forge(RELEASE, DATA, drop=[types.SIGNING_CERTIFICATE_V2]), MalformedEnvelope),
    ("a025", "signing certificate of somebody else", lambda: forge(RELEASE, DATA, drop=[types.SIGNING_CERTIFICATE_V2], add=[ess_of(STRANGER)], certificates=sorted([RELEASE.certificate, STRANGER.certificate])), MalformedEnvelope),
    ("a025", "signer identifier of somebody else", lambda: forge(RELEASE, DATA, sid=STRANGER.signing.sid, certificates=sorted([RELEASE.certificate, STRANGER.certificate])), MalformedEnvelope),
    ("a025", "certificate replaced by one of another key", lambda: forge(RELEASE, DATA, certificates=[STRANGER.certificate]), MalformedEnvelope),
    ("a025", "certificate missing", lambda: forge(RELEASE, DATA, certificates=[]), MalformedEnvelope),
    ("a019", "digest algorithm SHA-1", lambda: forge(RELEASE, DATA, digest_identifier=SHA1), WeakAlgorithm),
    ("a019", "signer's digest is not announced", lambda: forge(RELEASE, DATA, named_digests=[DIGEST_IDENTIFIERS[HashName.SHA512]]), MalformedEnvelope),
    ("a019", "signature algorithm ecdsa-with-SHA1", lambda: forge(RELEASE, DATA, signature_identifier=bytes.fromhex("300906072a8648ce3d0401")), WeakAlgorithm),
    ("a019", "signature algorithm of another digest", lambda: forge(RELEASE, DATA, signature_identifier=ECDSA_SHA384.identifier), WeakAlgorithm),
    ("a019", "protected algorithms are others", lambda: forge(RELEASE, DATA, drop=[types.ALGORITHM_PROTECTION], add=[attribute(types.ALGORITHM_PROTECTION, der(0x30, DIGEST_IDENTIFIERS[HashName.SHA256] + b"\xa1" + ECDSA_SHA384.identifier[1:]))]), MalformedEnvelope),
    ("a019", "a digest algorithm is announced twice", lambda: forge(RELEASE, DATA, named_digests=[DIGEST_IDENTIFIERS[HashName.SHA256]] * 2), MalformedEnvelope),
    ("a001", "r and s are zero", lambda: forge(RELEASE, DATA, value=bytes.fromhex("3006020100020100")), BadSignature),
    ("a038", "the value is empty", lambda: forge(RELEASE, DATA, value=b""), BadSignature),
    ("a038", "zero signers", lambda: forge(RELEASE, DATA, infos=[]), MalformedEnvelope),
    ("a038", "zero signers and no certificate", lambda: forge(RELEASE, DATA, infos=[], certificates=[], named_digests=[]), MalformedEnvelope),
    ("a040", "the file inside is not the signed one", lambda: forge(RELEASE, DATA, content=OTHER), ContentChanged),
    ("a040", "the signed file inside, another delivered", lambda: forge(RELEASE, OTHER, content=OTHER), ContentChanged),
    ("a040", "content type is not data", lambda: forge(RELEASE, DATA, content_type=types.TST_INFO, drop=[types.CONTENT_TYPE], add=[attribute(types.CONTENT_TYPE, asn1.encode_der(types.TST_INFO))]), MalformedEnvelope),
    ("a054", "version of a signer does not fit", lambda: forge(RELEASE, DATA, versions=(1, 3)), MalformedEnvelope),
    ("a054", "version does not fit", lambda: forge(RELEASE, DATA, versions=(3, 1)), MalformedEnvelope),
    ("a054", "certificates not sorted", lambda: forge(RELEASE, DATA, certificates=sorted([RELEASE.certificate, *RELEASE.chain], reverse=True)), MalformedEnvelope),
    ("a054", "a signer twice", lambda: forge(RELEASE, DATA, infos=[signer_info(RELEASE, DATA, value=b"same")] * 2), MalformedEnvelope),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error"), [pytest.param(m, e, id=f"{a}-{name}") for a, name, m, e in WRONG])
def test_cms_that_breaks_a_rule_is_refused_though_its_value_fits(make: Make, error: type[SealwrightError]) -> None:
    assert accept(forge(RELEASE, DATA)).certificate == RELEASE.certificate
    with pytest.raises(error) as caught:
        accept(make())
    assert type(caught.value) is error
    assert caught.value.next_step


@pytest.mark.parametrize("profile", DATA_PROFILES)
@pytest.mark.parametrize("drop", [types.MESSAGE_DIGEST, types.CONTENT_TYPE])
def test_a035_no_profile_accepts_missing_attributes(profile: Profile, drop: OID) -> None:
    assert accept(forge(RELEASE, DATA), profile=profile)
    with pytest.raises(MalformedEnvelope):
        accept(forge(RELEASE, DATA, drop=[drop]), profile=profile)


@pytest.mark.parametrize("profile", DATA_PROFILES)
def test_a027_signed_attributes_replayed_as_a_file_are_refused(profile: Profile) -> None:
    made = RELEASE.signing
    attributes = signed_attributes(made, FILE, Digest.of(DATA), NOW)
    value = accept(p7s(RELEASE, DATA)).signature
    replay = forge(RELEASE, attributes, signed=False, value=value)
    with pytest.raises(MalformedEnvelope, match="no signed attributes"):
        accept(replay, attributes, profile)


def test_a027_a_token_never_serves_as_a_signature_over_its_own_text() -> None:
    stamp = token(PKI.tsa(), b"value")
    text = read_envelope(stamp, Profile.FOREIGN_TOKEN, "token").content
    assert text
    for profile in (Profile.OURS, Profile.FOREIGN_CMS):
        with pytest.raises(MalformedEnvelope, match="content type"):
            accept(stamp, text, profile)


@pytest.mark.parametrize("kind", ["trust", "manifest", "approval", "", "file/1/x"])
def test_a027_a_signature_of_one_kind_never_serves_for_another(kind: str) -> None:
    assert accept(p7s(RELEASE, DATA, kind="file"))
    with pytest.raises(WrongKind):
        accept(p7s(RELEASE, DATA, kind=kind))


def test_a039_an_added_signer_is_judged_alone_and_changes_nothing_for_the_first() -> None:
    both = forge(
        RELEASE, DATA,
        infos=[signer_info(RELEASE, DATA), signer_info(STRANGER, OTHER)],
        certificates=sorted([RELEASE.certificate, STRANGER.certificate]),
    )  # fmt: skip
    found = {s.certificate: s for s in read_envelope(both, Profile.OURS, "x").signers if isinstance(s, Read)}
    assert set(found) == {RELEASE.certificate, STRANGER.certificate}
    check_signer(found[RELEASE.certificate], digests(DATA), "file", "x")
    with pytest.raises(ContentChanged):
        check_signer(found[STRANGER.certificate], digests(DATA), "file", "x")


def test_a039_the_signer_replaced_while_the_trusted_certificate_stays_is_the_other_signer() -> None:
    swapped = forge(
        RELEASE, DATA, infos=[signer_info(STRANGER, DATA)],
        certificates=sorted([RELEASE.certificate, STRANGER.certificate]),
    )  # fmt: skip
    assert accept(swapped).certificate == STRANGER.certificate


def test_a039_a_broken_signer_does_not_hide_a_good_one() -> None:
    both = forge(RELEASE, DATA, infos=[signer_info(RELEASE, DATA), signer_info(STRANGER, DATA, signed=False)])
    good, broken = sorted(read_envelope(both, Profile.OURS, "x").signers, key=lambda s: isinstance(s, BrokenSigner))
    assert isinstance(good, Read)
    assert isinstance(broken, BrokenSigner)
    check_signer(good, digests(DATA), "file", "x")


def test_a016_removing_a_signer_leaves_fewer_never_another_judgement_of_the_rest() -> None:
    infos = [signer_info(RELEASE, DATA), signer_info(STRANGER, DATA)]
    bag = sorted([RELEASE.certificate, STRANGER.certificate])
    assert len(read_envelope(forge(RELEASE, DATA, infos=infos, certificates=bag), Profile.OURS, "x").signers) == 2
    (left,) = read_envelope(forge(RELEASE, DATA, infos=infos[:1], certificates=bag), Profile.OURS, "x").signers
    assert isinstance(left, Read)
    assert left.certificate == RELEASE.certificate


@pytest.mark.parametrize("type_", [COUNTERSIGNATURE, NESTED, OID("1.2.3.4")])
def test_a041_what_is_not_signed_is_listed_and_ignored(type_: OID) -> None:
    assert accept(forge(RELEASE, DATA)).findings == ()
    read = accept(forge(RELEASE, DATA, unsigned=[attribute(type_, der(4, b"payload"))]))
    assert [(f.code, f.found) for f in read.findings] == [("SW-SIGNATURE-ATTRIBUTE-IGNORED", type_.dotted_string)]
    assert read.tokens == ()


@pytest.mark.parametrize("extra", [2, 9])
def test_a041_tokens_in_two_attributes_or_too_many_do_not_count(extra: int) -> None:
    one = token(PKI.tsa(), b"v")
    assert len(accept(forge(RELEASE, DATA, unsigned=[attribute(types.TIME_STAMP_TOKEN, one)])).tokens) == 1
    values = sorted(der(4, bytes([n])) for n in range(extra))
    several = [attribute(types.TIME_STAMP_TOKEN, v) for v in values]
    read = accept(forge(RELEASE, DATA, unsigned=several if extra == 2 else [attribute(types.TIME_STAMP_TOKEN, *values[:8]), several[8]]))  # fmt: skip
    assert read.tokens == ()
    assert read.findings


def test_a095_the_signers_own_time_is_only_claimed() -> None:
    backdated = p7s(RELEASE, DATA, at=NOW.replace(year=1999))
    read = accept(backdated)
    assert read.claimed_time is not None
    assert read.claimed_time.year == 1999
    assert read.tokens == ()


def long_length(size: int) -> bytes:
    return b"\x30\x88" + size.to_bytes(8, "big")


BOMBS: list[tuple[str, Make]] = [
    ("100,000 nested sequences", lambda: b"\x30\x84\x00\x0f\xff\xff" * 100_000),
    ("100,000 nested indefinite sequences", lambda: b"\x30\x80" * 100_000),
    ("indefinite length never closed", lambda: b"\x30\x80" + bytes.fromhex("06092a864886f70d010702a080")),
    ("length 2^63", lambda: long_length(1 << 63)),
    ("4 GiB octet string in 2 kB", lambda: b"\x30\x84\xff\xff\xff\xff\x04\x84\xff\xff\xff\xf0" + bytes(2000)),
    ("a million bytes of nothing", lambda: bytes(MAX_BYTES)),
    ("depth inside an attribute's value", lambda: forge(RELEASE, DATA, add=[attribute(types.OID("1.2.3"), deep(5000))], drop=[types.MESSAGE_DIGEST])),
    ("half a million certificates", lambda: forge(RELEASE, DATA, certificates=[NULL] * 500_000)),
    ("10,000 signers", lambda: forge(RELEASE, DATA, infos=[der(0x30, n.to_bytes(3, "big")) for n in range(10_000)])),
]  # fmt: skip


def deep(levels: int) -> bytes:
    inner = NULL
    for _ in range(levels):
        inner = der(0x30, inner)
    return inner


@pytest.mark.parametrize("profile", [Profile.OURS, Profile.FOREIGN_TOKEN])
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in BOMBS])
def test_a052_bombs_are_refused_at_once(make: Make, profile: Profile) -> None:
    data = make()
    begin = time.process_time()
    with pytest.raises(SealwrightError):
        accept(data, profile=profile)
    assert time.process_time() - begin < 0.5


def test_a052_a_signature_over_the_size_limit_is_not_even_parsed() -> None:
    filler = attribute(types.OID("1.2.3"), der(4, bytes(MAX_BYTES)))
    with pytest.raises(LimitExceeded):
        accept(forge(RELEASE, DATA, unsigned=[filler]))


def test_a052_more_certificates_than_any_path_needs_are_refused() -> None:
    full = sorted([*RELEASE.chain, RELEASE.certificate, *(der(0x30, bytes([5, 0, n])) for n in range(30))])
    assert accept(forge(RELEASE, DATA, certificates=full)).certificate == RELEASE.certificate
    with pytest.raises(LimitExceeded):
        accept(forge(RELEASE, DATA, certificates=sorted([*full, NULL])))


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b"\0"), (b"", b"\n"), (b"", b"\x30\x00"), (b"\n", b""), (b"\0", b""), (b"MII", b"")]
)
def test_a054_bytes_before_or_behind_are_refused(before: bytes, after: bytes) -> None:
    envelope = p7s(RELEASE, DATA)
    assert accept(envelope)
    for profile in DATA_PROFILES:
        with pytest.raises(MalformedEnvelope):
            accept(before + envelope + after, profile=profile)


def test_a054_the_command_in_an_error_quotes_a_hostile_name() -> None:
    with pytest.raises(MalformedEnvelope) as caught:
        read_envelope(b"-----BEGIN CMS-----\n", Profile.OURS, "x; reboot #.p7s")
    assert "'x; reboot #.p7s'" in caught.value.next_step


def test_mutation_of_any_bit_never_changes_what_is_accepted() -> None:
    """Only the intermediate's certificate in the bag may change: the path judges that, not the envelope."""
    stamped = p7s(RELEASE, DATA, tsa=PKI.tsa())
    good = accept(stamped)
    (stamp,) = good.tokens
    free = [range(stamped.index(part), stamped.index(part) + len(part)) for part in (RELEASE.chain[0], stamp)]
    header = range(
        stamped.index(stamp) - 30, stamped.index(stamp)
    )  # unsigned attribute: its type, and the SET around it
    for bit in (0x01, 0x02, 0x20, 0x80):
        for at, changed in flips(stamped, bit=bit):
            try:
                read = accept(changed)
            except SealwrightError:
                continue
            assert any(at in place for place in (*free, header)), f"byte {at} accepted"
            assert (read.signed_bytes, read.certificate, read.signature, read.kind) == (
                good.signed_bytes, good.certificate, good.signature, good.kind
            )  # fmt: skip


def test_ber_becomes_der_and_der_stays_what_it_is() -> None:
    envelope = p7s(RELEASE, DATA)
    assert to_der(envelope) == envelope
    for wrong in (b"", b"\x30", b"\x30\x80", b"\x04\x80\x00\x00", b"\x1f\x81\x01\x00", b"\x00\x00", envelope + b"\0"):
        with pytest.raises(ValueError, match=r"."):
            to_der(wrong)
