"""Signed XML documents: what is hashed, what stays as it was, and every document that two programs could read differently."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, Signer, token
from kit.trust import believed, codes, judge, signed_file
from kit.xmldocs import AML, FILES, TINY, resigned
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.source import BLOCK
from sealwright.cli.main import main
from sealwright.envelope.cms import Signer as CmsSigner
from sealwright.envelope.kinds import Construction
from sealwright.envelope.signedinfo import EXCLUSIVE, INCLUSIVE, INCLUSIVE_11, NAMESPACE
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, Unreadable, UsageError
from sealwright.formats.format import Existing, Extent, Search
from sealwright.formats.xmldsig import XmlDsig
from sealwright.formats.xmlstrict import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NAMESPACES,
    Form,
    canonical,
    check_namespaces_seen,
    read_layout,
    tree,
)
from sealwright.trust.verdict import Outcome, Verdict

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf(construction=Construction.XMLDSIG)
TRUST = believed(PKI)
C14N11 = INCLUSIVE_11.encode()


def signed(folder: Path, data: bytes = TINY, name: str = "doc.xml", signer: Signer = RELEASE) -> Path:
    plain = folder / name
    plain.write_bytes(data)
    out = folder / f"signed-{name}"
    out.unlink(missing_ok=True)
    return sign_inside(plain, signer, out, "xmldsig")


def changed(folder: Path, data: bytes, name: str = "changed.xml") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def judged(folder: Path, data: bytes) -> Verdict:
    return judge(changed(folder, data), TRUST)


def said(verdict: Verdict) -> str:
    return " | ".join(f.found for f in verdict.findings if f.severity == "reject")


@pytest.mark.parametrize("name", FILES)
def test_a_document_is_trusted_and_stripped_to_itself(tmp_path: Path, name: str) -> None:
    path = signed(tmp_path, FILES[name], name)
    data = path.read_bytes()
    at = data.index(b"<Signature ")
    assert FILES[name].startswith(data[:at])
    assert FILES[name].endswith(data[data.index(b"</Signature>") + len(b"</Signature>") :])
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "xmldsig")
    bare = stripped(path, tmp_path / f"bare-{name}", "xmldsig")
    assert bare.read_bytes() == FILES[name]
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.xml", "xmldsig")


def test_claims_come_from_the_one_place_that_names_the_content(tmp_path: Path) -> None:
    seen = {name: judge(signed(tmp_path, FILES[name], name), TRUST).claims for name in FILES}
    assert seen == {
        "plant.aml": Claims(),  # SourceDocumentInformation names the tool
        "pump.xml": Claims(product="Pump control", version="1.7.2"),
        "di.NodeSet2.xml": Claims(product="urn:acme:pumps", version="1.04.0"),
    }
    two = FILES["di.NodeSet2.xml"].replace(b"</Models>", b'<Model ModelUri="urn:other" Version="2"/></Models>')
    assert judge(signed(tmp_path, two), TRUST).claims == Claims()


def test_claims_that_the_document_does_not_make_are_refused(tmp_path: Path) -> None:
    plain = tmp_path / "pump.xml"
    plain.write_bytes(FILES["pump.xml"])
    own = Claims(product="Pump control", version="1.7.2")
    sign_inside(plain, RELEASE, tmp_path / "signed.xml", "xmldsig", claims=own)
    for claims, why in (
        (Claims(version="1.7.3"), "says version 1.7.2"),
        (Claims(product="PLC Studio"), "says product Pump control"),
        (Claims(generation=3), "no field for generation"),
    ):
        with pytest.raises(UsageError, match=why):
            sign_inside(plain, RELEASE, tmp_path / "no.xml", "xmldsig", claims=claims)
    assert not (tmp_path / "no.xml").exists()


def test_signing_again_replaces(tmp_path: Path) -> None:
    path = signed(tmp_path, FILES["plant.aml"])
    other = PKI.leaf(construction=Construction.XMLDSIG)
    again = sign_inside(path, other, tmp_path / "again.xml", "xmldsig", existing=Existing.REPLACE)
    assert judge(again, TRUST).outcome is TRUSTED
    assert again.read_bytes().count(b"<Signature ") == 1
    assert stripped(again, tmp_path / "bare.xml", "xmldsig").read_bytes() == FILES["plant.aml"]
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "one signature over all")):
        with pytest.raises(UsageError, match=why):
            sign_inside(path, RELEASE, tmp_path / "no.xml", "xmldsig", existing=existing)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace(b">82<", b">85<"),
        lambda d: d.replace(b"82</Value>", b"82<!-- 0 --></Value>"),
        lambda d: d.replace(b"<Value>82", b"<Value><!-- 0 -->82"),
        lambda d: d.replace(b"<Value>82<", b"<Value>8<![CDATA[2]]><"),
        lambda d: d.replace(b"<Value>82<", b"<Value><![CDATA[8]]><![CDATA[2]]><"),
        lambda d: d.replace(b"Unit='", b"Units='"),
        lambda d: d.replace(b"http://www.dke.de/CAEX\"", b"http://www.dke.de/CAEY\""),
        lambda d: d.replace(b'xmlns:xsi="', b'xmlns:abc="urn:abc" xmlns:xsi="'),
        lambda d: d.replace(b"<InstanceHierarchy ", b'<InstanceHierarchy xml:base="http://evil.example/" '),
        lambda d: d.replace(b"<InstanceHierarchy ", b'<InstanceHierarchy xmlns="" '),
        lambda d: d.replace(b"<Value>82", b"<?x y?><Value>82"),
        lambda d: d.replace(b"<CAEXFile", b"<?xml-stylesheet href='evil.xsl'?><CAEXFile"),
        lambda d: d.replace(b"<CAEXFile", b"<!DOCTYPE CAEXFile><CAEXFile"),
        lambda d: d.replace(b"<CAEXFile", b'<!DOCTYPE x [<!ENTITY t "82">]><CAEXFile').replace(b">82<", b">&t;<"),
        lambda d: d.replace(b"<CAEXFile", b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><CAEXFile'),
        lambda d: d.replace(b'encoding="utf-8"', b'encoding="iso-8859-1"'),
        lambda d: d.replace(b'encoding="utf-8"', b'encoding="utf-7"'),
        lambda d: d.replace(b'encoding="utf-8"', b'encoding="UTF8"'),
        lambda d: d.replace(b'version="1.0"', b'version="1.1"'),
        lambda d: d.decode().encode("utf-16"),
        lambda d: d.decode()[1:].encode("utf-16-le"),
        lambda d: b"\xef\xbb\xbf" + d,
        lambda d: b"x" + d,
        lambda d: d + b"<x/>",
        lambda d: d + b"x",
        lambda d: d + b"\0",
        lambda d: d.replace("°".encode(), b"\xb0"),
        lambda d: d.replace("°".encode(), b"\xc0\x80"),
        lambda d: d.replace(b"Temperature", b"Temper&#x0;ture"),
        lambda d: d.replace(b"<CAEXFile", b"<a><CAEXFile") + b"</a>",
        lambda d: d.replace(b"<CAEXFile ", b'<x:CAEXFile xmlns:x="http://www.dke.de/CAEX" ').replace(b"</CAEX", b"</x:CAEX"),
        lambda d: d.replace(b'Name="Brewery"', b'Name="Brewery" Name="Dairy"'),
    ],
)  # fmt: skip
def test_what_is_altered_or_could_be_read_differently_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    data = signed(tmp_path, AML.encode()).read_bytes()
    assert judged(tmp_path, data).outcome is TRUSTED
    assert change(data) != data
    assert judged(tmp_path, change(data)).outcome is not TRUSTED


@pytest.mark.parametrize(
    "doctype",
    [
        b"<!DOCTYPE r>",
        b"<!DOCTYPE r [%s]>"
        % b"".join(b"<!ENTITY e%d '%s'>" % (n, b"&e%d;" % (n - 1) * 10 if n else b"x" * 10) for n in range(10)),
        b"<!DOCTYPE r [<!ENTITY e9 SYSTEM 'file:///etc/passwd'>]>",
        b"<!DOCTYPE r SYSTEM 'http://a.example/r.dtd'>",
        b"<!DOCTYPE r [<!ATTLIST r hidden CDATA 'default'>]>",
    ],
    ids=["empty", "billion laughs", "file", "network", "default attribute"],
)
def test_a081_no_document_type_is_followed_signed_or_not(tmp_path: Path, doctype: bytes) -> None:
    data = signed(tmp_path).read_bytes()
    assert judged(tmp_path, data).outcome is TRUSTED
    verdict = judged(tmp_path, doctype + data.replace(b">x<", b">&e9;<"))
    assert verdict.outcome is REJECTED
    assert "a document type" in said(verdict)
    with pytest.raises(MalformedArtifact, match="line 1: a document type"):
        signed(tmp_path, doctype + TINY)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.replace(b"<InstanceHierarchy ", b"<!-- seen --><InstanceHierarchy "),
        lambda d: d.replace(b"\r\n", b"\n"),
        lambda d: d.replace(b'Name="Pump P101" ID=', b"Name = 'Pump P101'   ID="),
        lambda d: d.replace(b">82<", b">&#56;2<"),
        lambda d: d.replace(b">82<", b"><![CDATA[82]]><"),
        lambda d: d.removeprefix(b"\xef\xbb\xbf"),
        lambda d: d[d.index(b"<CAEXFile") :],
        lambda d: d + b"<!-- end -->",
    ],
)
def test_what_canonical_xml_leaves_out_may_change(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    """The page says so; a document's meaning is not in it."""
    data = signed(tmp_path, AML.encode()).read_bytes()
    assert change(data) != data
    assert judged(tmp_path, change(data)).outcome is TRUSTED


def moved(data: bytes, to: bytes) -> bytes:
    """The signature in front of other bytes."""
    signature = data[data.index(b"<Signature ") : data.index(b"</Signature>") + len(b"</Signature>")]
    return data.replace(signature, b"").replace(to, signature + to)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: moved(d, b"</InstanceHierarchy>"), "child of the first element alone"),
        (lambda d: d.replace(b"<Signature ", b"<Wrap><Signature ").replace(b"</Signature>", b"</Signature></Wrap>"), "child of the first"),
        (lambda d: d.replace(b"<Signature ", b"<Signature xmlns='" + NAMESPACE.encode() + b"'><x/></Signature><Signature "), "second XML signature"),
        (lambda d: d.replace(b"</CAEXFile>", b"<d:Signature xmlns:d='" + NAMESPACE.encode() + b"'>x</d:Signature></CAEXFile>"), "second XML signature"),
        (lambda d: d.replace(b"</CAEXFile>", b"<d:Object xmlns:d='" + NAMESPACE.encode() + b"'/></CAEXFile>"), "Object of an XML signature"),
        (lambda d: d.replace(b"</Signature>", b"<Object/></Signature>"), "KeyInfo, Object in it, where"),
        (lambda d: d.replace(b"<KeyInfo>", b"<KeyInfo><KeyValue/>"), "KeyValue, X509Data in it, where X509Data may be"),
        (lambda d: d.replace(b"<X509Data>", b"<X509Data><X509SubjectName>CN=a</X509SubjectName>"), "X509SubjectName"),
        (lambda d: d.replace(b"<SignatureValue>", b"<SignatureValue><!-- -->"), "splits a text|more than text"),
        (lambda d: d.replace(b"<KeyInfo>", b"<!-- --><KeyInfo>"), "a comment"),
        (lambda d: d.replace(b"<KeyInfo>", b"<?x?><KeyInfo>"), "processing instruction x"),
        (lambda d: d.replace(b"<KeyInfo>", b"x<KeyInfo>"), "text between"),
        (lambda d: d.replace(b"<KeyInfo>", b"<KeyInfo Type='x'>"), "attributes Type"),
        (lambda d: d.replace(b"<Signature ", b"<Signature xml:base='u:' "), "attributes"),
        (lambda d: re.sub(b"<KeyInfo>.*</KeyInfo>", b"", d), "SignedInfo, SignatureValue in it, where"),
        (lambda d: re.sub(b"<X509Certificate>.*</X509Certificate>", b"", d), "no certificate"),
        (lambda d: d.replace(b"=</DigestValue>", b"</DigestValue>"), "not base64"),
        (lambda d: d.replace(b'ID="8b0f', b'xml:id="a" ID="a"><x ID="a"/><y ID="8b0f'), "there twice"),
        (lambda d: re.sub(b"<Signature .*</Signature>", b"<Signature xmlns='" + NAMESPACE.encode() + b"'/>", d), "nothing in it"),
        (lambda d: re.sub(b"<Signature .*</Signature>", b"<Signature xmlns='" + NAMESPACE.encode() + b"'></Signature>", d), "nothing in it"),
    ],
)  # fmt: skip
def test_wrapped_doubled_and_filled_signatures_are_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    """A082: nothing is found by an Id, and there is one place for one signature, with nothing else in it."""
    data = signed(tmp_path, AML.encode()).read_bytes()
    assert judged(tmp_path, data).outcome is TRUSTED
    verdict = judged(tmp_path, change(data))
    assert verdict.outcome is REJECTED
    assert re.search(why, said(verdict)), said(verdict)


def test_the_signature_may_stand_anywhere_in_the_root(tmp_path: Path) -> None:
    """Others put it first; the document without it is what counts."""
    data = signed(tmp_path, AML.encode()).read_bytes()
    first = moved(data, b"<SuperiorStandardVersion>")
    assert first != data
    assert judged(tmp_path, first).outcome is TRUSTED
    bare = stripped(changed(tmp_path, first), tmp_path / "bare.xml", "xmldsig")
    assert bare.read_bytes() == AML.encode()


def test_the_signature_does_not_split_a_text(tmp_path: Path) -> None:
    """Its place is not hashed: a program that reads the text in front of it would read a part."""
    data = signed(tmp_path, b"<r>100<a/> </r>").read_bytes()
    assert judged(tmp_path, moved(data, b" </r>")).outcome is TRUSTED
    assert judged(tmp_path, moved(data, b"<a/>")).outcome is TRUSTED
    for to in (b"00<a/>", b"100<a/>"):
        verdict = judged(tmp_path, moved(data, to))
        assert verdict.outcome is REJECTED
        assert "a text goes on behind the signature" in said(verdict)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda i: i.replace(b'URI=""', b'URI="#a"'), "'#a' and not the whole document"),
        (lambda i: i.replace(b'URI=""', b'URI="#xpointer(/)"'), "not the whole document"),
        (lambda i: i.replace(b'URI=""', b'URI="http://a.example/x.xml"'), "not the whole document"),
        (lambda i: i.replace(b'<Reference URI="">', b"<Reference>"), "attributes"),
        (lambda i: i.replace(b'URI=""', b'Type="x" URI=""'), "attributes"),
        (lambda i: i.replace(b"</SignedInfo>", i[i.index(b"<Reference") : i.index(b"</SignedInfo>")] + b"</SignedInfo>"), "Reference, Reference"),
        (lambda i: i.replace(b"enveloped-signature", b"base64"), "base64"),
        (lambda i: re.sub(b"<Transforms>.*</Transforms>", b"<Transforms></Transforms>", i), "transforms"),
        (lambda i: re.sub(b"<Transforms>.*</Transforms>", b"", i), "where Transforms"),
        (lambda i: i.replace(INCLUSIVE.encode(), b"http://www.w3.org/TR/1999/REC-xpath-19991116"), "xpath"),
        (lambda i: i.replace(INCLUSIVE.encode(), b"http://www.w3.org/TR/1999/REC-xslt-19991116"), "xslt"),
        (lambda i: i.replace(INCLUSIVE.encode(), INCLUSIVE.encode() + b"#WithComments"), "WithComments"),
        (lambda i: i.replace(EXCLUSIVE.encode(), EXCLUSIVE.encode() + b"WithComments"), "WithComments"),
        (lambda i: i.replace(b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#hmac-sha256"), "hmac"),
        (lambda i: i.replace(b"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", NAMESPACE.encode() + b"rsa-sha1"), "rsa-sha1"),
        (lambda i: i.replace(b"http://www.w3.org/2001/04/xmlenc#sha256", NAMESPACE.encode() + b"sha1"), "sha1"),
        (lambda i: i.replace(b"xmlenc#sha256", b"xmlenc#sha512"), "a digest of 32 bytes"),
        (lambda i: i.replace(b"ecdsa-sha256", b"rsa-sha256"), "no certificate"),
        (lambda i: i.replace(b"<DigestMethod", b'<DigestMethod Id="x"', 1), "attributes"),
        (lambda i: i.replace(b"</DigestMethod>", b"<x></x></DigestMethod>"), "DigestMethod has x"),
    ],
)  # fmt: skip
def test_what_a_trusted_signer_signs_otherwise_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    data = signed(tmp_path).read_bytes()
    assert judged(tmp_path, resigned(data, RELEASE, lambda info: info)).outcome is TRUSTED
    verdict = judged(tmp_path, resigned(data, RELEASE, change))
    assert verdict.outcome is REJECTED
    assert re.search(why, said(verdict)), said(verdict)


@pytest.mark.parametrize(
    "change",
    [
        lambda i: i.replace(b'<Transform Algorithm="' + INCLUSIVE.encode() + b'"></Transform>', b""),
        lambda i: i.replace(INCLUSIVE.encode(), C14N11),
        lambda i: i.replace(INCLUSIVE.encode(), EXCLUSIVE.encode()),
        lambda i: i.replace(EXCLUSIVE.encode(), INCLUSIVE.encode(), 1),
        lambda i: i.replace(b"><", b">\n<"),
    ],
)
def test_other_ways_to_sign_the_whole_document_are_accepted(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    data = signed(tmp_path).read_bytes()
    other = resigned(data, RELEASE, change)
    assert other != data
    verdict = judged(tmp_path, other)
    assert verdict.outcome is TRUSTED, said(verdict)


def exclusive(folder: Path, data: bytes) -> bytes:
    """A document that its signer signed in the exclusive form."""

    def change(info: bytes) -> bytes:
        hashed = canonical(tree(data, "x").getroottree(), Form.EXCLUSIVE, "x")
        new = re.sub(b"<DigestValue>[^<]*", b"<DigestValue>" + b64encode(Digest.of(hashed).value), info)
        return new.replace(INCLUSIVE.encode(), EXCLUSIVE.encode())

    return resigned(signed(folder, data).read_bytes(), RELEASE, change)


def test_a_namespace_that_only_values_name_is_not_left_out(tmp_path: Path) -> None:
    """The exclusive form leaves out what `xsi:type="acme:Limits"` means; then the document is refused, and the inclusive one has it."""
    plain = b'<r xmlns:t="urn:t" xmlns:n="urn:n"><v t:type="%s">1</v></r>'
    assert judged(tmp_path, exclusive(tmp_path, plain % b"x")).outcome is TRUSTED
    assert judged(tmp_path, exclusive(tmp_path, plain % b"t:x")).outcome is TRUSTED
    assert judged(tmp_path, exclusive(tmp_path, plain % b"an:x")).outcome is TRUSTED
    verdict = judged(tmp_path, exclusive(tmp_path, plain % b"n:x"))
    assert verdict.outcome is REJECTED
    assert "namespace n, which a value names" in said(verdict)
    verdict = judged(tmp_path, exclusive(tmp_path, b'<p:r xmlns:p="urn:p" xmlns="urn:d" a="x"></p:r>'))
    assert "a default namespace that no element" in said(verdict)
    assert (
        judged(tmp_path, exclusive(tmp_path, b'<p:r xmlns:p="urn:p" xmlns="urn:d"><x a="x"></x></p:r>')).outcome
        is TRUSTED
    )
    own = signed(tmp_path, plain % b"n:x").read_bytes()
    assert judged(tmp_path, own).outcome is TRUSTED
    assert judged(tmp_path, own.replace(b"urn:n", b"urn:m")).outcome is REJECTED


@pytest.mark.parametrize(
    ("good", "ambiguous", "why"),
    [
        (
            b'<r xmlns:q="urn:1"><q:b><c q:type="q:T"><q:e xmlns:q="urn:2"></q:e></c></q:b></r>',
            b'<r xmlns:q="urn:1"><q:b><c xmlns:q="urn:2" type="q:T"><q:e></q:e></c></q:b></r>',
            "namespace q",
        ),
        (
            b'<q:r xmlns:q="urn:1"><c type="q:T"><q:e xmlns:q="urn:2"></q:e></c></q:r>',
            b'<q:r xmlns:q="urn:1"><c xmlns:q="urn:2" type="q:T"><q:e></q:e></c></q:r>',
            "namespace q",
        ),
        (
            b'<q:r xmlns:q="urn:1"><c>q:T</c><q:e xmlns:q="urn:2"></q:e></q:r>',
            b'<q:r xmlns:q="urn:1"><c xmlns:q="urn:2">q:T<q:e></q:e></c></q:r>',
            "namespace q",
        ),
        (
            b'<p:r xmlns:p="urn:p"><p:c type="T"><e xmlns="urn:2"></e></p:c></p:r>',
            b'<p:r xmlns:p="urn:p"><p:c xmlns="urn:2" type="T"><e></e></p:c></p:r>',
            "default namespace",
        ),
    ],
)
def test_a082_a_declaration_moved_up_does_not_change_what_a_value_means(
    tmp_path: Path, good: bytes, ambiguous: bytes, why: str
) -> None:
    """The exclusive form of both is the same as long as the elements are: it has `q` where an element is named by it."""
    assert judged(tmp_path, exclusive(tmp_path, good)).outcome is TRUSTED
    verdict = judged(tmp_path, exclusive(tmp_path, ambiguous))
    assert verdict.outcome is REJECTED
    assert why in said(verdict)


def test_a082_a_moved_declaration_is_refused_under_the_same_signature(tmp_path: Path) -> None:
    data = exclusive(tmp_path, b'<q:r xmlns:q="urn:1"><c type="q:T"><q:e xmlns:q="urn:2"></q:e></c></q:r>')
    moved_up = data.replace(b'<c type="q:T"><q:e xmlns:q="urn:2">', b'<c xmlns:q="urn:2" type="q:T"><q:e>')
    forms = [canonical(tree(one, "x").getroottree(), Form.EXCLUSIVE, "x") for one in (data, moved_up)]
    assert data != moved_up
    assert forms[0] == forms[1]
    assert judged(tmp_path, data).outcome is TRUSTED
    assert judged(tmp_path, moved_up).outcome is REJECTED


@pytest.mark.parametrize("other", [b"base", b"id", b"foo"])
def test_signed_info_in_inclusive_form_takes_no_attribute_that_verifiers_do_not_agree_on(
    tmp_path: Path, other: bytes
) -> None:
    def inclusive(attribute: bytes) -> Verdict:
        data = signed(tmp_path, b"<r xml:%s='x'>1</r>" % attribute).read_bytes()
        exact = resigned(data, RELEASE, lambda info: info.replace(EXCLUSIVE.encode(), INCLUSIVE.encode(), 1))
        assert judged(tmp_path, data).outcome is TRUSTED
        return judged(tmp_path, exact)

    assert "does not fit" in said(inclusive(b"lang"))
    assert f"taking xml:{other.decode()}" in said(inclusive(other))


def test_keys_for_other_things_do_not_count(tmp_path: Path) -> None:
    """A key that signs CMS attributes must not be accepted for SignedInfo, nor the reverse (RULES 2)."""
    assert judge(signed(tmp_path), TRUST).outcome is TRUSTED
    for other in (PKI.leaf(), PKI.leaf(construction=Construction.MCUBOOT)):
        assert codes(judge(signed(tmp_path, signer=other), TRUST)) == ["SW-KEY-CONSTRUCTION"]
    assert codes(judge(signed(tmp_path), believed(Pki.make("EVIL")))) != []


def test_another_certificate_in_the_bag_makes_no_signer(tmp_path: Path) -> None:
    """KeyInfo is a bag: a trusted certificate put beside a stranger's signature does not lend its name."""
    evil = Pki.make("EVIL").leaf(construction=Construction.XMLDSIG)
    data = signed(tmp_path, signer=evil).read_bytes()
    good = f"<X509Certificate>{b64encode(RELEASE.certificate).decode()}</X509Certificate>".encode()
    mixed = data.replace(b"<X509Data>", b"<X509Data>" + good)
    assert judged(tmp_path, mixed).outcome is REJECTED
    own = signed(tmp_path).read_bytes()
    filled = own.replace(b"</X509Data>", b"<X509Certificate>MAA=</X509Certificate></X509Data>")
    assert judged(tmp_path, own).outcome is TRUSTED
    assert "cannot be read" in said(judged(tmp_path, filled))
    assert (
        judged(tmp_path, re.sub(b"<X509Data>.*</X509Data>", b"<X509Data>" + good + b"</X509Data>", data)).outcome
        is REJECTED
    )


def bag(data: bytes, *certificates: bytes, between: bytes = b"") -> bytes:
    """The document with another KeyInfo."""
    every = between.join(b"<X509Certificate>" + b64encode(one) + b"</X509Certificate>" for one in certificates)
    return re.sub(rb"<X509Data>.*</X509Data>", lambda _: b"<X509Data>" + every + b"</X509Data>", data)


def test_the_bag_has_the_signers_certificates_and_those_above_alone(tmp_path: Path) -> None:
    """XML Signature 4.5.4; xmlsec1 verifies with the first that has issued no other."""
    data, (above,), root = signed(tmp_path).read_bytes(), RELEASE.chain, PKI.root.certificate
    own = RELEASE.certificate
    twin = PKI.leaf("twin", construction=Construction.XMLDSIG, key=RELEASE.key).certificate
    stranger = PKI.leaf("stranger", construction=Construction.XMLDSIG).certificate
    for good in ((own, above), (above, own), (root, above, own), (twin, own, above), (twin, above)):
        assert judged(tmp_path, bag(data, *good)).outcome is TRUSTED
    for bad in ((stranger, own, above), (own, above, stranger), (own, above, Pki.make("EVIL").root.certificate)):
        verdict = judged(tmp_path, bag(data, *bad))
        assert verdict.outcome is REJECTED
        assert "neither the signer's nor of an authority above" in said(verdict)
    assert "X509Data, X509Data in it" in said(judged(tmp_path, bag(data, above, own, between=b"</X509Data><X509Data>")))


def test_every_byte_counts_but_those_that_coverage_names(tmp_path: Path) -> None:
    data = signed(tmp_path, b'<?xml version="1.0"?>\n<r a="1"> <!-- c --><b>x</b></r>\n').read_bytes()
    path = changed(tmp_path, data)
    assert judge(path, TRUST).outcome is TRUSTED
    (candidate,) = XmlDsig().extract(str(path), Search()).candidates
    free = [part for part in candidate.coverage.ranges if part.extent is Extent.UNCOVERED]
    assert [data[part.start : part.end] for part in free] == [b'<?xml version="1.0"?>\n', b"<!-- c -->", b"\n"]
    # what is in the bag, and changes there, is compared with xmlsec1 (tests/interop)
    for at, bad in flips(data[: data.index(b"<KeyInfo>")]):
        if judge(changed(tmp_path, bad + data[len(bad) :]), TRUST).outcome is TRUSTED:
            assert any(part.start <= at < part.end for part in free), (at, bad[at - 20 : at + 20])
    for bad in truncations(data[: free[-1].start - 1], step=5):
        assert judge(changed(tmp_path, bad), TRUST).outcome is not TRUSTED, len(bad)


@pytest.mark.parametrize(
    ("document", "error", "why"),
    [
        (b"", MalformedArtifact, "does not begin as XML"),
        (b"<r>", MalformedArtifact, "line 1: no element found"),
        (b"<r/>", UsageError, "no room"),
        (b"<r a='>'/>\n", UsageError, "no room"),
        (b"<r>\n<a></b></r>", MalformedArtifact, "line 2: mismatched tag"),
        (b"<r><x:a/></r>", MalformedArtifact, "line 1: unbound prefix"),
        (b"<r>\n&e;</r>", MalformedArtifact, "line 2: undefined entity"),
        (b"<!DOCTYPE r>\n<r>x</r>", MalformedArtifact, "line 1: a document type"),
        (b"<r xmlns:a='urn:a?b&amp;c'>x</r>", MalformedArtifact, "write in different ways"),
        (b"<r xmlns='relative'>x</r>", MalformedArtifact, "no canonical form"),
        (b"<r>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</r>", LimitExceeded, "elements in each other"),
        (b"<r " + b" ".join(b"a%d=''" % i for i in range(257)) + b">x</r>", LimitExceeded, "attributes of one"),
        (b"<r " + b" ".join(b"xmlns:n%d='u:'" % i for i in range(MAX_NAMESPACES + 1)) + b">x</r>", LimitExceeded, "namespaces in scope"),
        (b"<r>" + b"<!---->" * 10_001 + b"</r>", LimitExceeded, "10,000 comments"),
        (b"<r>" + b"x" * 10_100_000 + b"</r>", MalformedArtifact, "too long"),
        (b" " * (MAX_BYTES + 1), LimitExceeded, "bytes"),
        (b"<r xmlns='" + NAMESPACE.encode() + b"'>x</r>", MalformedArtifact, "r of an XML signature"),
    ],
)  # fmt: skip
def test_documents_that_are_not_signed_say_why(
    tmp_path: Path, document: bytes, error: type[SealwrightError], why: str
) -> None:
    signed(tmp_path)
    with pytest.raises(error, match=why):
        signed(tmp_path, document)
    assert not (tmp_path / "signed-doc.xml").exists()


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """libxml2 walks up through all namespaces around each element: little XML could keep it busy for hours."""
    declared = b" ".join(b"xmlns:n%d='u:'" % i for i in range(60))
    deep = b"<r " + declared + b">" + b"<a>" * 198 + b"%s" + b"</a>" * 198 + b"</r>"
    read_layout(deep % (b"<b/>" * 10_000), "x", NAMESPACE)
    with pytest.raises(LimitExceeded, match="too many namespaces"):
        read_layout(deep % (b"<b/>" * 50_000), "x", NAMESPACE)
    check_namespaces_seen(b"<r xmlns:q='u:q'>" + b"x" * 4_000_000 + b"</r>", "x")
    monkeypatch.setattr("sealwright.formats.xmlstrict.MAX_NODES", 1000)
    read_layout(b"<r>" + b"<a b=''/>" * 499 + b"</r>", "x", NAMESPACE)
    with pytest.raises(LimitExceeded, match="1,000 elements"):
        read_layout(b"<r>" + b"<a b=''/>" * 500 + b"</r>", "x", NAMESPACE)


def test_places_are_those_of_the_bytes() -> None:
    """What looks like a tag in a value, a text, CDATA or a comment is none."""
    data = (
        b"<!-- <r> --><r a='>' ><b c=\"/>\"/><b><![CDATA[</r>]]></b><!-- </r> --><b/>/></r ><!-- </r> --><?x </r>?>\n"
    )
    layout = read_layout(data, "x", NAMESPACE)
    assert data[slice(*layout.opening)] == b"<r a='>' >"
    assert data[slice(*layout.closing)] == b"</r >"
    assert [data[slice(*span)] for span in layout.comments] == [b"<!-- <r> -->", b"<!-- </r> -->", b"<!-- </r> -->"]
    assert [data[slice(*span)] for span in layout.instructions] == [b"<?x </r>?>"]


def test_without_lxml_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    monkeypatch.setitem(sys.modules, "lxml", None)
    verdict = judge(path, TRUST)
    assert verdict.outcome is not TRUSTED
    assert "pip install 'sealwright[xml]'" in said(verdict)
    with pytest.raises(Unreadable, match="sealwright\\[xml\\]"):
        signed(tmp_path, TINY, "other.xml")


def test_xml_that_is_signed_beside_is_not_looked_into(tmp_path: Path) -> None:
    """A page with a document type, or a document that only speaks of signatures, is a file like any other."""
    signer = PKI.leaf()
    for name, data in (
        ("a.html", b"<!DOCTYPE html><html>"),
        ("b.xml", b"<?xml version='1.0'?><!DOCTYPE x><x>"),
        ("c.xml", b"<r>" + NAMESPACE.encode() + b"</r>"),
    ):
        assert judge(signed_file(tmp_path, signer, data, name), TRUST).outcome is TRUSTED
    large = signed_file(tmp_path, signer, b"<?xml version='1.0'?><r>" + b" " * MAX_BYTES + b"</r>", "large.xml")
    assert judge(large, TRUST).outcome is TRUSTED


def test_a_document_beyond_the_limit_is_not_taken_for_an_unsigned_one(tmp_path: Path) -> None:
    data = signed(tmp_path).read_bytes()
    assert judged(tmp_path, data).outcome is TRUSTED
    assert codes(judged(tmp_path, data.replace(b"<r a", b" " * MAX_BYTES + b"<r a"))) == ["SW-SIGNATURE-MISSING"]
    verdict = judged(tmp_path, data.replace(b"<r a", b"<r" + b" " * MAX_BYTES + b" a"))
    assert codes(verdict) == ["SW-LIMIT"]


def test_a_signature_is_found_wherever_it_begins(tmp_path: Path) -> None:
    """The file is searched block by block, and the namespace may lie across two of them."""
    for shift in (-40, -20, 0):
        path = signed(tmp_path, b"<r>" + b" " * (BLOCK + shift) + b"</r>")
        assert judge(path, TRUST).outcome is TRUSTED


def test_a_timestamp_lies_beside(tmp_path: Path) -> None:
    path = signed(tmp_path)
    (candidate,) = XmlDsig().extract(str(path), Search()).candidates
    (signer,) = candidate.envelope.signers if candidate.envelope else ()
    assert isinstance(signer, CmsSigner)
    (tmp_path / f"{path.name}.tsr").write_bytes(token(PKI.tsa(), signer.signature))
    verdict = judge(path, TRUST)
    assert verdict.outcome is TRUSTED
    assert verdict.times.proved is not None


def test_the_command_signs_verifies_inspects_and_strips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, plain, out = tmp_path / "home", tmp_path / "pump.xml", tmp_path / "signed.xml"
    plain.write_bytes(FILES["pump.xml"])
    assert main(["init", str(home)]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--format", "xmldsig", "--out", str(out)]) == 2
    assert "key enrol xmldsig" in capsys.readouterr().err
    assert main(["key", "enrol", "xmldsig", "--home", str(home)]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--out", str(out)]) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    facts = [(fact["name"], fact["value"]) for fact in shown["facts"]]
    assert ("format", "xmldsig") in facts
    assert ("structure", "hashed in inclusive canonical form") in facts
    (signature,) = shown["parts"]
    about = {fact["name"]: fact["value"] for fact in signature["facts"]}
    assert about["signs"] == "a statement of the kind xmldsig"
    assert about["content"] == "the value, with certificates beside it"
    assert main(["strip", str(out), "--out", str(tmp_path / "bare.xml")]) == 0
    assert (tmp_path / "bare.xml").read_bytes() == FILES["pump.xml"]
    assert (
        main(
            [
                "sign",
                str(plain),
                "--home",
                str(home),
                "--format",
                "xmldsig",
                "--key",
                "release",
                "--out",
                str(tmp_path / "no.xml"),
            ]
        )
        != 0
    )
