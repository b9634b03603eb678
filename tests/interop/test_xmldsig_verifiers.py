"""Signed XML documents before xmlsec1 and Java: what we sign they accept, what is altered they refuse, and what they sign we trust."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

from kit.inside import sign_inside
from kit.mutate import flips
from kit.pki import Pki, Signer
from kit.trust import believed, judge, knowing
from kit.xmldocs import FILES, TINY, java_accepts, signed_by_java, signed_by_xmlsec1, template_for, xmlsec1
from sealwright.envelope.kinds import Construction
from sealwright.envelope.signedinfo import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome, Verdict

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EVIL = Pki.make("EVIL")
SHA512 = "http://www.w3.org/2001/04/xmlenc#sha512"


def leaf(kind: KeyKind = KeyKind.P256) -> Signer:
    return PKI.leaf(kind=kind, construction=Construction.XMLDSIG)


RELEASE, RSA = leaf(), leaf(KeyKind.RSA3072)


def changed(folder: Path, data: bytes) -> Path:
    path = folder / "changed.xml"
    path.write_bytes(data)
    return path


def said(verdict: Verdict) -> str:
    return " | ".join(f.found for f in verdict.findings if f.severity == "reject")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072])
@pytest.mark.parametrize("name", FILES)
def test_xmlsec1_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path, name: str, kind: KeyKind) -> None:
    plain = tmp_path / name
    plain.write_bytes(FILES[name])
    signed = sign_inside(plain, leaf(kind), tmp_path / f"signed-{name}", "xmldsig")
    accepted, words = xmlsec1(signed, PKI)
    assert accepted, words
    assert judge(signed, believed(PKI)).outcome is TRUSTED
    assert not xmlsec1(signed, EVIL)[0]
    assert judge(signed, believed(EVIL)).outcome is REJECTED
    data = signed.read_bytes()
    for at in (
        data.index(b"P101") if b"P101" in data else data.index(b"PLC_PRG"),
        data.index(b"<SignatureValue>") + 30,
    ):
        bad = changed(tmp_path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not xmlsec1(bad, PKI)[0], at
        assert judge(bad, believed(PKI)).outcome is REJECTED, at
    assert not xmlsec1(plain, PKI)[0]


@pytest.mark.parametrize("prefix", ["", "ds"])
@pytest.mark.parametrize("content", [INCLUSIVE, INCLUSIVE_11, EXCLUSIVE, None])
@pytest.mark.parametrize("info", [INCLUSIVE, INCLUSIVE_11, EXCLUSIVE])
def test_we_trust_what_xmlsec1_signs(tmp_path: Path, info: str, content: str | None, prefix: str) -> None:
    signer = RELEASE if prefix else RSA
    for name, document in FILES.items():
        template = template_for(signer, info=info, content=content, prefix=prefix)
        theirs = signed_by_xmlsec1(document, signer, tmp_path / f"theirs-{name}", template=template)
        assert xmlsec1(theirs, PKI)[0]
        verdict = judge(theirs, believed(PKI))
        if name == "di.NodeSet2.xml" and content == EXCLUSIVE:  # a value names a namespace that is not signed
            assert verdict.outcome is REJECTED
            assert "namespace acme, which a value names" in said(verdict)
        else:
            assert verdict.outcome is TRUSTED, (name, said(verdict))
        assert judge(theirs, believed(EVIL)).outcome is REJECTED


def test_xmlsec1_takes_the_exclusive_form_for_granted_where_values_name_namespaces(tmp_path: Path) -> None:
    """Why we do not: the type of a value is changed, and the signature still holds."""
    template = template_for(RELEASE, info=EXCLUSIVE, content=EXCLUSIVE)
    theirs = signed_by_xmlsec1(FILES["di.NodeSet2.xml"], RELEASE, tmp_path / "theirs.xml", template=template)
    data = theirs.read_bytes()
    bad = changed(tmp_path, data.replace(b"urn:acme:types", b"urn:evil:types"))
    assert xmlsec1(bad, PKI)[0]
    assert judge(bad, believed(PKI)).outcome is REJECTED


def test_other_digests_and_several_namespaces_in_scope(tmp_path: Path) -> None:
    for number, document in enumerate(
        (
            b"<r>x</r>",
            b'<p:r xmlns:p="urn:p" xmlns="urn:d" xmlns:z="urn:z" xmlns:a="urn:a?b" xml:lang="e&#10;n" xml:space="preserve"><p:x/></p:r>',
            b'<r xmlns="urn:d"><x xmlns="">1</x></r>',
            b'<p:r xmlns:p="urn:p"><x xmlns:p="urn:q" p:a="1" a="2"/></p:r>',
        )
    ):
        for prefix in ("", "ds", "p"):
            template = template_for(RELEASE, content=INCLUSIVE, digest=SHA512, prefix=prefix)
            theirs = signed_by_xmlsec1(document, RELEASE, tmp_path / f"{number}{prefix}.xml", template=template)
            if prefix == "p" and document.startswith(b"<p:r"):
                assert xmlsec1(theirs, PKI)[0]
            verdict = judge(theirs, believed(PKI))
            assert verdict.outcome is TRUSTED, (document, prefix, said(verdict))


def test_what_refers_to_a_part_is_refused_though_xmlsec1_would_follow_it(tmp_path: Path) -> None:
    """A082: it verifies the part, and a program reads the rest."""
    document = b'<r><a xml:id="part">good</a><b>x</b></r>'
    template = template_for(RELEASE, reference="#part", content=INCLUSIVE)
    theirs = signed_by_xmlsec1(document, RELEASE, tmp_path / "part.xml", template=template)
    bad = changed(tmp_path, theirs.read_bytes().replace(b"<b>x", b"<b>evil"))
    assert xmlsec1(bad, PKI)[0]
    for path in (theirs, bad):
        verdict = judge(path, believed(PKI))
        assert verdict.outcome is REJECTED
        assert "'#part' and not the whole document" in said(verdict)
    whole = signed_by_xmlsec1(document, RELEASE, tmp_path / "whole.xml", template=template_for(RELEASE))
    assert judge(whole, believed(PKI)).outcome is TRUSTED


def test_java_accepts_what_we_sign_and_refuses_what_is_altered(tmp_path: Path) -> None:
    for kind in (KeyKind.P256, KeyKind.RSA3072):
        signer, paths = leaf(kind), []
        for name, document in FILES.items():
            plain = tmp_path / name
            plain.write_bytes(document)
            signed = sign_inside(plain, signer, tmp_path / f"{kind}-{name}", "xmldsig")
            data = signed.read_bytes()
            content, value = data.index(b"e=") + 4, data.index(b"<SignatureValue>") + 30
            for called, at in (("content", content), ("value", value)):
                bad = tmp_path / f"{called}-{kind}-{name}"
                bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
                paths.append(bad)
            paths.append(signed)
        verdicts = java_accepts(signer, paths)
        assert verdicts == {path.name: not path.name.startswith(("content-", "value-")) for path in paths}
        assert not any(java_accepts(leaf(kind), paths).values())
        for path in paths:
            assert (judge(path, believed(PKI)).outcome is TRUSTED) is verdicts[path.name], path.name


@pytest.mark.parametrize("form", [INCLUSIVE, EXCLUSIVE])
def test_we_trust_what_java_signs(tmp_path: Path, form: str) -> None:
    signer = RELEASE if form == INCLUSIVE else RSA
    trust = believed(PKI, certificate=knowing(signer))
    plain = tmp_path / "pump.xml"
    plain.write_bytes(FILES["pump.xml"])
    theirs = signed_by_java(plain, signer, tmp_path / "theirs.xml", form)
    verdict = judge(theirs, trust)
    assert verdict.outcome is TRUSTED, said(verdict)
    assert judge(theirs, believed(EVIL)).outcome is REJECTED
    bad = changed(tmp_path, theirs.read_bytes().replace(b"level", b"lever"))
    assert judge(bad, trust).outcome is REJECTED


def test_nothing_that_xmlsec1_refuses_is_accepted_here(tmp_path: Path) -> None:
    # under the root itself, so that one certificate is enough
    signer = replace(PKI, intermediate=PKI.root).leaf(construction=Construction.XMLDSIG)
    plain = tmp_path / "tiny.xml"
    plain.write_bytes(b'<?xml version="1.0"?>\n<r a="1"> <!-- c --><b>x</b></r>\n')
    signed = sign_inside(plain, signer, tmp_path / "signed.xml", "xmldsig")
    theirs = signed_by_xmlsec1(TINY, signer, tmp_path / "theirs.xml", template=template_for(signer, content=INCLUSIVE))
    accepted = 0
    for sample, step in ((signed, 1), (theirs, 11)):
        for at, bad in flips(sample.read_bytes(), step=step):
            path = changed(tmp_path, bad)
            if judge(path, believed(PKI)).outcome is TRUSTED:
                accepted += 1
                good, words = xmlsec1(path, PKI)
                assert good, (sample.name, at, words)
    assert accepted


def test_a_bag_from_which_xmlsec1_takes_another_key_is_refused(tmp_path: Path) -> None:
    """It reads each X509Data alone, and verifies with the first certificate that has issued no other."""
    signer = PKI.leaf(construction=Construction.XMLDSIG)
    plain = tmp_path / "tiny.xml"
    plain.write_bytes(TINY)
    data = sign_inside(plain, signer, tmp_path / "signed.xml", "xmldsig").read_bytes()
    certificates = (signer.certificate, *signer.chain, PKI.leaf("stranger").certificate)
    own, above, stranger = (b"<X509Certificate>" + b64encode(one) + b"</X509Certificate>" for one in certificates)
    for bag, good in (
        (own + above, True),
        (above + own, True),
        (stranger + own + above, False),
        (above + b"</X509Data><X509Data>" + own, False),
    ):
        path = changed(tmp_path, re.sub(rb"(<X509Data>).*(</X509Data>)", rb"\1" + bag + rb"\2", data))
        assert xmlsec1(path, PKI)[0] is good
        assert (judge(path, believed(PKI)).outcome is TRUSTED) is good
