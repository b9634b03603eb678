"""Timestamp tokens: OpenSSL's authority read by us, ours read by OpenSSL, and tokens that must not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from hypothesis import given
from hypothesis import strategies as st

from kit.forge import attribute, forge
from kit.openssl import run
from kit.pki import NOW, Pki, Signer, p7s, token
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope import asn1 as types
from sealwright.envelope.asn1 import OID, der
from sealwright.envelope.cms import BrokenSigner, Profile, read_envelope
from sealwright.envelope.cms_write import add_token
from sealwright.envelope.tsp import (
    MAX_TOKEN_BYTES,
    Failure,
    check_token,
    read_request,
    read_response,
    read_token,
    rejection_bytes,
    response_bytes,
    timestamp_request,
    token_of_sidecar,
    tst_info,
)
from sealwright.errors import (
    BadSignature,
    ContentChanged,
    LimitExceeded,
    MalformedEnvelope,
    SealwrightError,
    TimestampUnavailable,
    WeakAlgorithm,
)
from sealwright.pki.profiles import CODE_SIGNER, TIMESTAMP_AUTHORITY
from sealwright.pki.timestamp import LocalAuthority

VALUE = b"the signature value of a release"
NONCE = 0x1122334455667788
PKI = Pki.make()
AUTHORITY = PKI.tsa()
POLICY = "1.2.3.4"

CONFIG = """
[tsa]
default_tsa = own
[own]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
certs = {folder}/tsa.pem
default_policy = 1.2.3.4
digests = sha1, sha256, sha384, sha512
accuracy = secs:1, millisecs:500, microsecs:100
clock_precision_digits = {digits}
ordering = {ordering}
tsa_name = {name}
ess_cert_id_chain = {chain}
ess_cert_id_alg = {ess}
signer_digest = {signer}
[tsa_usage]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""


def accept(data: bytes, value: bytes = VALUE) -> datetime:
    """What the token proves for this value; raises what refuses it."""
    read = read_token(data, "token")
    check_token(read, value)
    return read.gen_time


def openssl_response(folder: Path, request: bytes, **changes: str) -> bytes:
    """The answer of OpenSSL's authority with a fresh RSA key."""
    settings = {"digits": "0", "ordering": "no", "name": "no", "chain": "no", "ess": "sha256", "signer": "sha256"}
    config = folder / "tsa.cnf"
    config.write_text(CONFIG.format(folder=folder, **(settings | changes)))
    (folder / "serial").write_text("01\n")
    (folder / "q.tsq").write_bytes(request)
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "tsa.key", "-config", config]
    (folder / "tsa.cnf").write_text(config.read_text() + "[req]\ndistinguished_name=dn\n[dn]\n")
    assert run([*new, "-out", folder / "tsa.pem", "-subj", "/CN=tsa", "-extensions", "tsa_usage"])[0]
    done, words = run(
        ["openssl", "ts", "-reply", "-config", config, "-queryfile", folder / "q.tsq", "-out", folder / "r.tsr"]
    )
    assert done, words
    return (folder / "r.tsr").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [{}, {"digits": "3"}, {"ordering": "yes"}, {"name": "yes"}, {"chain": "yes"}, {"ess": "sha512"}, {"signer": "sha512"}],
    ids=str,
)  # fmt: skip
def test_tokens_of_openssl_are_accepted(tmp_path: Path, changes: dict[str, str]) -> None:
    request = timestamp_request(Digest.of(VALUE), NONCE)
    answer = openssl_response(tmp_path, request, **changes)
    data = read_response(answer, Digest.of(VALUE), NONCE, "tsa")
    read = read_token(data, "token")
    check_token(read, VALUE)
    assert abs(read.gen_time - datetime.now(UTC)) < timedelta(minutes=5)
    assert read.accuracy == timedelta(seconds=1, milliseconds=500, microseconds=100)
    assert read.policy == POLICY
    assert read.binds_certificate
    assert token_of_sidecar(answer, "f.tsr") == token_of_sidecar(data, "f.tsr") == data
    with pytest.raises(BadSignature):
        read_response(answer, Digest.of(b"other"), NONCE, "tsa")
    with pytest.raises(BadSignature):
        read_response(answer, Digest.of(VALUE), NONCE + 1, "tsa")
    with pytest.raises(BadSignature):
        check_token(read, b"other")


def test_a019_a_token_that_names_its_certificate_by_sha1_binds_nothing(tmp_path: Path) -> None:
    answer = openssl_response(tmp_path, timestamp_request(Digest.of(VALUE), NONCE), ess="sha1")
    read = read_token(token_of_sidecar(answer, "f.tsr"), "token")
    check_token(read, VALUE)
    assert not read.binds_certificate


@pytest.mark.parametrize("where", ["imprint", "signer"])
def test_a019_sha1_inside_a_token_is_refused(tmp_path: Path, where: str) -> None:
    request = timestamp_request(Digest.of(VALUE), NONCE)
    if where == "imprint":
        sha1 = der(0x30, bytes.fromhex("300906052b0e03021a0500") + der(0x04, bytes(20)))
        request = der(0x30, b"\x02\x01\x01" + sha1 + b"\x01\x01\xff")
    answer = openssl_response(tmp_path, request, signer="sha1" if where == "signer" else "sha256")
    with pytest.raises(WeakAlgorithm):
        read_token(token_of_sidecar(answer, "f.tsr"), "token")


@pytest.mark.parametrize("algorithm", list(HashName))
def test_openssl_reads_our_request_and_accepts_our_answer(tmp_path: Path, algorithm: HashName) -> None:
    value, query, answer, anchors = (tmp_path / name for name in ("value", "q.tsq", "r.tsr", "ca.pem"))
    value.write_bytes(VALUE)
    anchors.write_text(PKI.root.pem)
    request = timestamp_request(Digest.of(VALUE, algorithm), NONCE)
    query.write_bytes(request)
    words = run(["openssl", "ts", "-query", "-in", query, "-text"])[1]
    assert f"Hash Algorithm: {algorithm.value}" in words
    assert f"0x{NONCE:X}" in words
    authority = LocalAuthority(AUTHORITY.certificate, AUTHORITY.chain, AUTHORITY.key, lambda: NOW)
    answer.write_bytes(authority.respond(request))
    verify = ["openssl", "ts", "-verify", "-in", answer, "-CAfile", anchors, "-no_check_time"]
    assert run([*verify, "-queryfile", query])[0]
    query.write_bytes(timestamp_request(Digest.of(VALUE, algorithm), NONCE + 1))
    assert not run([*verify, "-queryfile", query])[0]
    read = read_response(answer.read_bytes(), Digest.of(VALUE, algorithm), NONCE, "tsa")
    assert accept(read) == NOW


def test_our_authority_reads_openssls_request(tmp_path: Path) -> None:
    value, query = tmp_path / "value", tmp_path / "q.tsq"
    value.write_bytes(VALUE)
    ask = ["openssl", "ts", "-query", "-data", value, "-out", query, "-cert", "-tspolicy", POLICY]
    assert run([*ask, "-sha384"])[0]
    request = read_request(query.read_bytes())
    assert request.imprint == Digest.of(VALUE, HashName.SHA384)
    assert request.policy == POLICY
    assert request.certificate_wanted
    assert run([*ask, "-sha1"])[0]
    with pytest.raises(WeakAlgorithm):
        read_request(query.read_bytes())


def test_a097_a_refusal_with_an_old_token_inside_gives_no_token() -> None:
    old = token(AUTHORITY, VALUE)
    assert token_of_sidecar(response_bytes(old), "f.tsr") == old
    for status in (2, 3, 4, 5, 6, 17):
        answer = der(0x30, der(0x30, der(0x02, bytes([status]))) + old)
        with pytest.raises(TimestampUnavailable):
            read_response(answer, Digest.of(VALUE), None, "tsa")
        with pytest.raises(TimestampUnavailable):
            token_of_sidecar(answer, "f.tsr")
    with pytest.raises(TimestampUnavailable, match="closed today"):
        read_response(rejection_bytes("closed today", Failure.SYSTEM_FAILURE), Digest.of(VALUE), NONCE, "tsa")
    with pytest.raises(TimestampUnavailable):
        read_response(response_bytes(b""), Digest.of(VALUE), NONCE, "tsa")


@pytest.mark.parametrize("over", [b"the file itself", Digest.of(VALUE).value, VALUE[:-1], b""])
def test_a097_a_token_over_anything_but_the_value_is_refused(over: bytes) -> None:
    assert accept(token(AUTHORITY, VALUE)) == NOW
    with pytest.raises(BadSignature):
        accept(token(AUTHORITY, over))


def test_a097_a_token_beside_the_wrong_signature_is_refused() -> None:
    release = PKI.leaf()
    first, second = (
        read_envelope(p7s(release, data, tsa=AUTHORITY), Profile.OURS, "f").signers[0] for data in (b"1", b"2")
    )
    assert not isinstance(first, BrokenSigner)
    assert not isinstance(second, BrokenSigner)
    assert accept(first.tokens[0], first.signature) == NOW
    with pytest.raises(BadSignature):
        accept(first.tokens[0], second.signature)


@pytest.mark.parametrize(
    ("purposes", "critical"),
    [
        ((), True),
        (TIMESTAMP_AUTHORITY.purposes, False),
        (CODE_SIGNER.purposes, True),
        ((*TIMESTAMP_AUTHORITY.purposes, *CODE_SIGNER.purposes), True),
        (("2.5.29.37.0",), True),
    ],
)
def test_a096_only_a_certificate_for_timestamps_alone_makes_tokens(purposes: Sequence[str], critical: bool) -> None:
    assert accept(token(AUTHORITY, VALUE)) == NOW
    thief = PKI.leaf(profile=replace(TIMESTAMP_AUTHORITY, purposes=tuple(purposes), critical_purposes=critical))
    with pytest.raises(MalformedEnvelope, match="not for timestamps"):
        accept(token(thief, VALUE))


def info(**changes: object) -> bytes:
    """A TSTInfo, each field replaceable."""
    made = asn1.decode_der(
        types.TstInfo,
        tst_info(Digest.of(VALUE), policy=POLICY, serial=5, gen_time=NOW, accuracy=timedelta(seconds=1), nonce=None),
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return asn1.encode_der(made)


def stamped(text: bytes, signer: Signer = AUTHORITY, **parts: object) -> bytes:
    """A token over a TSTInfo, signed."""
    kind = attribute(types.CONTENT_TYPE, asn1.encode_der(types.TST_INFO))
    how: dict[str, object] = {"drop": [types.CONTENT_TYPE, types.CONTENT_HINTS], "add": [kind], "content": text}
    return forge(signer, text, content_type=types.TST_INFO, **(how | parts))  # type: ignore[arg-type]


def extension(critical: bool) -> types.Extension:
    return types.Extension(type=OID("1.3.6.1.5.5.7.1.3"), critical=critical, value=b"\x30\x00")


def moment(year: int) -> asn1.GeneralizedTime:
    return asn1.GeneralizedTime(datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": 0},
        {"extensions": [extension(True)]},
        {"extensions": [extension(False), extension(True)]},
        {"gen_time": moment(9999)},
        {"gen_time": moment(1)},
        {"accuracy": types.Accuracy(seconds=-1)},
        {"accuracy": types.Accuracy(seconds=10**30)},
        {"accuracy": types.Accuracy(millis=1000)},
        {"accuracy": types.Accuracy(micros=-1)},
    ],
    ids=" ".join,
)
def test_a097_token_texts_outside_rfc_3161_are_refused(changes: dict[str, object]) -> None:
    assert accept(stamped(info())) == NOW
    with pytest.raises(SealwrightError):
        accept(stamped(info(**changes)))


def test_remarks_in_a_token_that_are_not_critical_do_no_harm() -> None:
    assert accept(stamped(info(extensions=[extension(False)], ordering=True, nonce=-5, serial=-9))) == NOW


def test_a_token_without_stated_accuracy_counts_a_second() -> None:
    assert read_token(stamped(info(accuracy=None)), "t").accuracy == timedelta(seconds=1)


@pytest.mark.parametrize("change", ["content", "none", "signers", "trailing", "content not DER"])
def test_a097_tokens_that_are_put_together_wrong_are_refused(change: str) -> None:
    good = info()
    assert accept(stamped(good)) == NOW
    wrong = {
        "content": lambda: stamped(good, content=info(serial=6)),
        "none": lambda: stamped(good, content=None),
        "signers": lambda: stamped(good, infos=[]),
        "trailing": lambda: stamped(good) + b"\0",
        "content not DER": lambda: stamped(good + b"\0"),
    }[change]
    with pytest.raises((MalformedEnvelope, ContentChanged)):
        accept(wrong())


def indefinite(data: bytes) -> bytes:
    """DER written again as some authorities do: indefinite lengths outside, the content in parts, nothing signed touched."""
    envelope = asn1.decode_der(types.ContentInfo, data).content
    (element,) = envelope.content.content or ()
    content = bytes(element.data)
    parts = b"\x24\x80" + b"".join(der(0x04, content[at : at + 50]) for at in range(0, len(content), 50)) + b"\0\0"
    inside = b"\x30\x80" + asn1.encode_der(envelope.content.type) + b"\xa0\x80" + parts + b"\0\0\0\0"
    bag = b"\xa0\x80" + b"".join(asn1.encode_der(one) for one in envelope.certificates or []) + b"\0\0"
    named = der(0x31, b"".join(asn1.encode_der(one) for one in envelope.digest_algorithms.as_list()))
    infos = b"\x31\x80" + b"".join(asn1.encode_der(one) for one in envelope.signers.as_list()) + b"\0\0"
    signed = b"\x30\x80" + bytes((2, 1, envelope.version)) + named + inside + bag + infos + b"\0\0"
    return b"\x30\x80" + asn1.encode_der(types.SIGNED_DATA) + b"\xa0\x80" + signed + b"\0\0\0\0"


def test_tokens_in_ber_or_with_an_unsorted_bag_are_accepted_as_others_write_them(tmp_path: Path) -> None:
    data = token(AUTHORITY, VALUE)
    for other in (
        indefinite(data),
        stamped(info(), certificates=sorted([AUTHORITY.certificate, *AUTHORITY.chain], reverse=True)),
    ):
        assert accept(other) == NOW
        assert accept(token_of_sidecar(response_bytes(other), "f.tsr")) == NOW
        with pytest.raises(BadSignature):
            accept(other, b"other")
        with pytest.raises(MalformedEnvelope):
            read_envelope(other, Profile.OURS, "f.p7s")
    written, value, anchors = (tmp_path / name for name in ("t.ber", "value", "ca.pem"))
    written.write_bytes(indefinite(data))
    value.write_bytes(VALUE)
    anchors.write_text(PKI.root.pem)
    verify = ["openssl", "ts", "-verify", "-token_in", "-in", written, "-data", value, "-CAfile", anchors]
    assert run([*verify, "-no_check_time"])[0]


def test_a_token_in_ber_becomes_der_before_it_enters_a_signature_file() -> None:
    release = PKI.leaf()
    envelope = p7s(release, b"f")
    value = read_envelope(envelope, Profile.OURS, "f").signers[0]
    assert not isinstance(value, BrokenSigner)
    late = indefinite(token(AUTHORITY, value.signature))
    with pytest.raises(MalformedEnvelope, match="BER"):
        read_envelope(forge(release, b"f", unsigned=[attribute(types.TIME_STAMP_TOKEN, late)]), Profile.OURS, "f")
    whole = add_token(envelope, value.signature, token_of_sidecar(late, "f.tsr"), "f")
    (signer,) = read_envelope(whole, Profile.OURS, "f").signers
    assert not isinstance(signer, BrokenSigner)
    assert accept(signer.tokens[0], signer.signature) == NOW


def test_a052_tokens_over_the_size_limit_are_refused() -> None:
    for read in (lambda data: read_token(data, "t"), read_request, lambda data: token_of_sidecar(data, "t")):
        with pytest.raises(LimitExceeded):
            read(b"\x30" + bytes(MAX_TOKEN_BYTES))


@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80, 0xFF])
def test_a097_no_flipped_bit_of_a_token_changes_what_it_proves(bits: int) -> None:
    """Free is only the intermediate's certificate in the bag, and the version, on which nothing depends."""
    data = token(AUTHORITY, VALUE)
    start = data.index(AUTHORITY.chain[0])
    free = range(start, start + len(AUTHORITY.chain[0]))
    signed = asn1.encode_der(types.SIGNED_DATA)
    version = data.index(signed) + len(signed)
    for shape in (data, indefinite(data)):
        for at in range(len(shape)):
            changed = shape[:at] + bytes([shape[at] ^ bits]) + shape[at + 1 :]
            try:
                read = read_token(changed, "t")
                check_token(read, VALUE)
            except SealwrightError:
                continue
            assert (read.gen_time, read.certificate, read.accuracy) == (
                NOW,
                AUTHORITY.certificate,
                timedelta(seconds=1),
            )
            if shape is data:
                assert at in free or at - version < 20, f"byte {at} accepted"


@given(st.binary(max_size=300), st.integers(0, 1400), st.integers(0, 40))
def test_a052_any_bytes_inside_a_token_end_in_a_typed_error(noise: bytes, at: int, cut: int) -> None:
    data = BASE[:at] + noise + BASE[at + cut :]
    for read in (read_token, token_of_sidecar):
        try:
            read(data, "t")
        except SealwrightError:
            continue


BASE = token(AUTHORITY, VALUE)
