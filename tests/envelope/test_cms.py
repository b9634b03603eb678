"""Signature files: ours against OpenSSL, OpenSSL's against us, and every small change refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.mutate import truncations
from kit.openssl import cms_verify, run, ts_verify
from kit.pki import NOW, Pki, Signer, p7s, token
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.cms import BrokenSigner, Profile, check_signer, read_envelope
from sealwright.envelope.cms import Signer as Read
from sealwright.envelope.cms_write import add_token
from sealwright.envelope.tsp import check_token, read_token, token_of_sidecar
from sealwright.errors import BadSignature, ContentChanged, MalformedEnvelope, SealwrightError, WrongKind
from sealwright.keys.key import KeyKind

DATA = b"firmware of a drive\n\x00\xff" * 50
KINDS = [
    KeyKind.P256,
    KeyKind.P384,
    KeyKind.P521,
    KeyKind.RSA3072,
    KeyKind.RSA3072_PSS,
    KeyKind.ED25519,
    KeyKind.ML_DSA_65,
]
OPENSSL_READS = [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.RSA3072_PSS]


@pytest.fixture(scope="module")
def pki() -> Pki:
    return Pki.make()


@pytest.fixture(scope="module")
def release(pki: Pki) -> Signer:
    return pki.leaf()


def digests(data: bytes) -> dict[HashName, Digest]:
    return {name: Digest.of(data, name) for name in HashName}


def accept(envelope: bytes, data: bytes = DATA, kind: str = "file") -> Read:
    """The one signer of an envelope, checked; raises what refuses it."""
    (signer,) = read_envelope(envelope, Profile.OURS, "test.p7s").signers
    if isinstance(signer, BrokenSigner):
        raise signer.reason
    check_signer(signer, digests(data), kind, "test.p7s")
    return signer


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_write_we_accept_and_refuse_when_altered(pki: Pki, kind: KeyKind) -> None:
    signer = pki.leaf(kind=kind)
    envelope = p7s(signer, DATA)
    read = accept(envelope)
    assert read.certificate == signer.certificate
    assert read.claimed_time == NOW
    assert read.kind == "file"
    assert read.algorithm == kind.algorithm
    with pytest.raises(ContentChanged):
        accept(envelope, DATA + b"x")
    with pytest.raises(WrongKind):
        accept(envelope, kind="trust")
    at = envelope.index(read.signature) + len(read.signature) // 2
    with pytest.raises(SealwrightError):
        accept(envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :])


@pytest.mark.parametrize("kind", OPENSSL_READS)
def test_openssl_accepts_our_signature_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    pki = Pki.make()
    signer = pki.leaf(kind=kind)
    content, signature, anchors = tmp_path / "drive.bin", tmp_path / "drive.bin.p7s", tmp_path / "ca.pem"
    content.write_bytes(DATA)
    envelope = p7s(signer, DATA)
    signature.write_bytes(envelope)
    anchors.write_text(pki.root.pem)
    assert cms_verify(signature, content, anchors)[0]
    content.write_bytes(DATA[:-1] + b"x")
    assert not cms_verify(signature, content, anchors)[0]
    content.write_bytes(DATA)
    value = accept(envelope).signature
    at = envelope.index(value) + len(value) - 1
    signature.write_bytes(envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :])
    assert not cms_verify(signature, content, anchors)[0]
    signature.write_bytes(envelope)
    anchors.write_text(Pki.make().root.pem)
    assert not cms_verify(signature, content, anchors)[0]


@pytest.mark.parametrize("options", [[], ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:-1"]])
@pytest.mark.parametrize("algorithm", ["ec", "rsa"])
def test_we_accept_what_openssl_signed_with_cades_attributes(
    tmp_path: Path, algorithm: str, options: list[str]
) -> None:
    if algorithm == "ec" and options:
        options = []
    key, cert, content, signature = (tmp_path / name for name in ("k.pem", "c.pem", "f", "f.p7s"))
    content.write_bytes(DATA)
    kind = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if algorithm == "ec" else ["rsa:3072"]
    assert run(
        ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=maker"]
    )[0]
    signing = ["openssl", "cms", "-sign", "-cades", "-binary", "-in", content, "-inkey", key, "-signer", cert, *options]
    assert run([*signing, "-outform", "DER", "-out", signature])[0]
    read = accept(signature.read_bytes())
    assert [finding.code for finding in read.findings] == ["SW-SIGNATURE-NO-ALGORITHM-PROTECTION"]
    with pytest.raises(ContentChanged):
        accept(signature.read_bytes(), DATA + b"x")
    plain = [one for one in signing if one != "-cades"]
    assert run([*plain, "-outform", "DER", "-out", signature])[0]
    with pytest.raises(MalformedEnvelope, match="signingCertificateV2"):
        accept(signature.read_bytes())


def test_pem_and_ber_are_refused_with_the_command_that_converts_them(tmp_path: Path, release: Signer) -> None:
    content, signature, anchors = tmp_path / "f", tmp_path / "f.p7s", tmp_path / "ca.pem"
    content.write_bytes(DATA)
    assert accept(p7s(release, DATA))
    signature.write_bytes(p7s(release, DATA))
    pem, ber = tmp_path / "f.pem", tmp_path / "f.ber"
    assert run(["openssl", "cms", "-cmsout", "-inform", "DER", "-in", signature, "-outform", "PEM", "-out", pem])[0]
    with pytest.raises(MalformedEnvelope, match="PEM") as caught:
        accept(pem.read_bytes())
    assert "openssl cms -cmsout -inform PEM" in caught.value.next_step
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    assert run([*new, "-keyout", key, "-out", cert, "-subj", "/CN=maker"])[0]
    stream = ["openssl", "cms", "-sign", "-cades", "-binary", "-stream", "-nodetach", "-in", content, "-inkey", key]
    assert run([*stream, "-signer", cert, "-outform", "DER", "-out", ber])[0]
    with pytest.raises(MalformedEnvelope, match="BER") as caught:
        accept(ber.read_bytes())
    assert "openssl cms -cmsout -inform DER" in caught.value.next_step
    anchors.write_bytes(cert.read_bytes())
    assert run(["openssl", "cms", "-cmsout", "-inform", "DER", "-in", ber, "-outform", "DER", "-out", signature])[0]
    assert accept(signature.read_bytes())


def test_mutation_of_the_length_is_refused(release: Signer) -> None:
    envelope = p7s(release, DATA)
    for part in truncations(envelope, step=7):
        with pytest.raises(SealwrightError):
            accept(part)
    for tail in (b"\0", b"x", envelope):
        with pytest.raises(SealwrightError):
            accept(envelope + tail)


@given(st.binary(max_size=400))
def test_any_bytes_give_a_typed_error_or_an_envelope(data: bytes) -> None:
    for profile in Profile:
        try:
            read_envelope(data, profile, "x")
        except SealwrightError:
            continue
    try:
        token_of_sidecar(data, "x.tsr")
    except SealwrightError:
        return


def test_a_token_is_bound_to_its_signature_value_and_openssl_agrees(tmp_path: Path, pki: Pki, release: Signer) -> None:
    tsa = pki.tsa()
    value = accept(p7s(release, DATA)).signature
    data = token(tsa, value)
    read = read_token(data, "token")
    check_token(read, value)
    assert read.gen_time == NOW
    assert read.binds_certificate
    with pytest.raises(BadSignature):
        check_token(read, value + b"x")
    files = [tmp_path / name for name in ("t.der", "value", "ca.pem")]
    files[0].write_bytes(data)
    files[1].write_bytes(value)
    files[2].write_text(pki.root.pem)
    assert ts_verify(*files)[0]
    files[1].write_bytes(value + b"x")
    assert not ts_verify(*files)[0]
    files[1].write_bytes(value)
    files[2].write_text(Pki.make().root.pem)
    assert not ts_verify(*files)[0]


def test_a_token_added_later_leaves_the_signature_as_it_was(pki: Pki, release: Signer) -> None:
    envelope = p7s(release, DATA)
    before = accept(envelope)
    added = token(pki.tsa(), before.signature)
    stamped = add_token(envelope, before.signature, added, "f.p7s")
    after = accept(stamped)
    assert after.tokens == (added,)
    assert after.signed_bytes == before.signed_bytes
    with pytest.raises(MalformedEnvelope):
        add_token(envelope, b"no such value", added, "f.p7s")
