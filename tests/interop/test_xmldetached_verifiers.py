"""Detached XML signatures before xmlsec1 and Java: what we sign they accept, what is altered they refuse, and what they sign we trust."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kit.inside import sign_inside
from kit.mutate import flips
from kit.openssl import run
from kit.pki import Pki, Signer
from kit.trust import believed, codes, judge, knowing
from kit.xmldocs import FILES, filled_by_xmlsec1, java_accepts, signed_by_java, template_beside, xmlsec1
from sealwright.envelope.kinds import Construction
from sealwright.envelope.signedinfo import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EVIL = Pki.make("EVIL")
DATA = b"firmware\r\n\0" * 300
ARTIFACTS = {"fw.bin": DATA, "empty": b"", "fw.bin.gz": gzip.compress(DATA), **FILES}
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"


def leaf(kind: KeyKind = KeyKind.P256) -> Signer:
    return PKI.leaf(kind=kind, construction=Construction.XMLDSIG)


RELEASE, RSA = leaf(), leaf(KeyKind.RSA3072)


def signed(folder: Path, name: str, data: bytes, signer: Signer = RELEASE) -> tuple[Path, Path]:
    """The file and its signature."""
    (folder / "plain").write_bytes(data)
    out = sign_inside(folder / "plain", signer, folder / name, "xmldsig-detached")
    return out, out.with_name(f"{name}.xmldsig")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072])
def test_xmlsec1_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, kind: KeyKind) -> None:
    signer = leaf(kind)
    for name, data in ARTIFACTS.items():
        path, signature = signed(tmp_path, name, data, signer)
        good = signature.read_bytes()
        accepted, words = xmlsec1(signature, PKI)
        assert accepted, words
        assert judge(path, believed(PKI)).outcome is TRUSTED
        assert not xmlsec1(signature, EVIL)[0]
        assert judge(path, believed(EVIL)).outcome is REJECTED
        path.write_bytes(data + b"\n")
        assert not xmlsec1(signature, PKI)[0]
        assert judge(path, believed(PKI)).outcome is REJECTED
        path.write_bytes(data)
        at = good.index(b"<SignatureValue>") + 30
        signature.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert not xmlsec1(signature, PKI)[0]
        assert judge(path, believed(PKI)).outcome is REJECTED


@pytest.mark.parametrize(
    "name",
    [b"Pump 1 (B\xc3\xa4ckerei).aml", b"a%41", b"a%2Fb", b"http:x", b"#frag?query", b"a\\b", b"a&b<'\">", b"\xff.bin", b".x", b"--help", b"~"],
)  # fmt: skip
def test_xmlsec1_finds_files_of_every_name(tmp_path: Path, name: bytes) -> None:
    path, signature = signed(tmp_path, os.fsdecode(name), DATA)
    accepted, words = xmlsec1(signature, PKI)
    assert accepted, words
    assert judge(path, believed(PKI)).outcome is TRUSTED
    path.write_bytes(DATA[1:])
    assert not xmlsec1(signature, PKI)[0]


def test_a_renamed_pair_is_refused_by_both(tmp_path: Path) -> None:
    """xmlsec1 looks for the name that is signed, whatever the signature is called."""
    path, signature = signed(tmp_path, "fw.bin", DATA)
    assert xmlsec1(signature, PKI)[0]
    other = tmp_path / "other.bin.xmldsig"
    signature.rename(other)
    assert xmlsec1(other, PKI)[0]
    assert judge(path, believed(PKI), signature=str(other)).outcome is TRUSTED
    path.rename(tmp_path / "other.bin")
    assert not xmlsec1(other, PKI)[0]
    assert codes(judge(tmp_path / "other.bin", believed(PKI))) == ["SW-SIGNATURE-NAME"]


@pytest.mark.parametrize("prefix", ["", "ds"])
@pytest.mark.parametrize("info", [INCLUSIVE, INCLUSIVE_11, EXCLUSIVE])
def test_we_trust_what_xmlsec1_signs(tmp_path: Path, info: str, prefix: str) -> None:
    for uri, name, signer, digest in (
        ("fw.bin", "fw.bin", RELEASE, SHA256),
        ("B%c3%a4r%20(1).bin", "Bär (1).bin", RSA, SHA512),
        ("Bär.aml", "Bär.aml", RSA, SHA256),
    ):
        path = tmp_path / name
        path.write_bytes(DATA)
        template = template_beside(signer, uri, info=info, prefix=prefix, digest=digest)
        theirs = filled_by_xmlsec1(template, signer, tmp_path / f"{name}.xmldsig")
        assert xmlsec1(theirs, PKI)[0]
        verdict = judge(path, believed(PKI))
        assert verdict.outcome is TRUSTED, codes(verdict)
        assert judge(path, believed(EVIL)).outcome is REJECTED
        path.write_bytes(DATA[1:])
        assert codes(judge(path, believed(PKI))) == ["SW-FILE-CHANGED"]


@pytest.mark.parametrize("info", [INCLUSIVE, INCLUSIVE_11, EXCLUSIVE])
def test_namespaces_that_the_signature_declares_are_signed_where_the_form_has_them(tmp_path: Path, info: str) -> None:
    path, theirs = tmp_path / "fw.bin", tmp_path / "fw.bin.xmldsig"
    path.write_bytes(DATA)
    template = template_beside(RELEASE, "fw.bin", info=info, prefix="ds")
    more = template.replace(b"<ds:Signature ", b'<ds:Signature Id="a" xmlns="urn:d" xmlns:z="urn:z" xmlns:a="urn:a?b" ')
    filled_by_xmlsec1(b"<?xml version='1.0'?><!-- c --><?pi x?>\n" + more, RELEASE, theirs)
    assert xmlsec1(theirs, PKI)[0]
    verdict = judge(path, believed(PKI))
    assert verdict.outcome is TRUSTED, codes(verdict)
    theirs.write_bytes(theirs.read_bytes().replace(b"urn:z", b"urn:y"))
    assert xmlsec1(theirs, PKI)[0] is (info == EXCLUSIVE)
    assert (judge(path, believed(PKI)).outcome is TRUSTED) is (info == EXCLUSIVE)


@pytest.mark.parametrize(
    ("uri", "change"),
    [
        ("./fw.bin", lambda one: one),
        ("{here}/fw.bin", lambda one: one),
        ("file://{here}/fw.bin", lambda one: one),
        ("fw.bin", lambda one: one.replace(b"<DigestMethod", b'<Transforms><Transform Algorithm="' + INCLUSIVE.encode() + b'"/></Transforms><DigestMethod')),
        ("fw.bin", lambda one: one.replace(b"</SignedInfo>", one[one.index(b"<Reference") : one.index(b"</SignedInfo>")] + b"</SignedInfo>")),
    ],
    ids=("dot", "path", "scheme", "transforms", "two references"),
)  # fmt: skip
def test_other_references_are_refused_though_xmlsec1_would_follow_them(
    tmp_path: Path, uri: str, change: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "fw.bin"
    path.write_bytes(FILES["pump.xml"])
    made = {}
    for called, template in (
        ("good", template_beside(RELEASE, "fw.bin")),
        ("bad", change(template_beside(RELEASE, uri.format(here=tmp_path)))),
    ):
        theirs = filled_by_xmlsec1(template, RELEASE, tmp_path / "fw.bin.xmldsig")
        assert xmlsec1(theirs, PKI)[0]
        made[called] = judge(path, believed(PKI)).outcome
    assert made == {"good": TRUSTED, "bad": REJECTED}


def test_java_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    for kind in (KeyKind.P256, KeyKind.RSA3072):
        signer, wanted = leaf(kind), {}
        for name, data in (*ARTIFACTS.items(), ("(1):%2.bin", DATA)):
            path, signature = signed(tmp_path, f"{kind}-{name}", data, signer)
            good = signature.read_bytes()
            at = good.index(b"<SignatureValue>") + 30
            value, content = tmp_path / f"value-{signature.name}", tmp_path / "content" / f"content-{signature.name}"
            value.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            content.write_bytes(good)
            altered = content.with_name(path.name)
            altered.write_bytes(data + b"\n")
            wanted |= {signature: True, value: False, content: False}
            assert judge(path, believed(PKI)).outcome is TRUSTED
            assert judge(path, believed(PKI), signature=str(value)).outcome is REJECTED
            assert judge(altered, believed(PKI), signature=str(content)).outcome is REJECTED
        assert java_accepts(signer, list(wanted)) == {path.name: good for path, good in wanted.items()}
        assert not any(java_accepts(leaf(kind), list(wanted)).values())


@pytest.mark.parametrize("form", [INCLUSIVE, EXCLUSIVE])
def test_we_trust_what_java_signs(tmp_path: Path, form: str) -> None:
    signer = RELEASE if form == INCLUSIVE else RSA
    trust = believed(PKI, certificate=knowing(signer))
    path = tmp_path / "fw 1.bin"
    path.write_bytes(DATA)
    signed_by_java(path, signer, tmp_path / "fw 1.bin.xmldsig", form, "detach")
    verdict = judge(path, trust)
    assert verdict.outcome is TRUSTED, codes(verdict)
    assert judge(path, believed(EVIL)).outcome is REJECTED
    path.write_bytes(DATA[1:])
    assert codes(judge(path, trust)) == ["SW-FILE-CHANGED"]


def test_nothing_that_xmlsec1_refuses_is_accepted_here(tmp_path: Path) -> None:
    # under the root itself, so that one certificate is enough
    signer = replace(PKI, intermediate=PKI.root).leaf(construction=Construction.XMLDSIG)
    path, ours = signed(tmp_path, "fw.bin", DATA, signer)
    ours.write_bytes(b'<?xml version="1.0"?>\n<!-- c -->' + ours.read_bytes())
    theirs = filled_by_xmlsec1(template_beside(signer, "fw.bin"), signer, tmp_path / "theirs.xmldsig")
    accepted = 0
    for sample, step in ((ours, 1), (theirs, 11)):
        whole = sample.read_bytes()
        for at, bad in flips(whole, step=step):
            sample.write_bytes(bad)
            if judge(path, believed(PKI), signature=str(sample)).outcome is TRUSTED:
                accepted += 1
                good, words = xmlsec1(sample, PKI)
                assert good, (sample.name, at, words)
        sample.write_bytes(whole)
        assert judge(path, believed(PKI), signature=str(sample)).outcome is TRUSTED
        for at, bad in flips(DATA, step=301):
            path.write_bytes(bad)
            assert judge(path, believed(PKI), signature=str(sample)).outcome is REJECTED, at
            assert not xmlsec1(sample, PKI)[0], at
        path.write_bytes(DATA)
    assert accepted


def test_xmlsec1_and_openssl_digest_the_same_bytes(tmp_path: Path) -> None:
    """No line ends, no byte order mark and no compression are touched on the way."""
    path, signature = signed(tmp_path, "plant.aml", FILES["plant.aml"])
    made, words = run(["openssl", "dgst", "-sha256", "-binary", "-out", tmp_path / "digest", path])
    assert made, words
    made, words = run(["openssl", "base64", "-in", tmp_path / "digest"])
    assert f"<DigestValue>{words.strip()}</DigestValue>" in signature.read_text()
