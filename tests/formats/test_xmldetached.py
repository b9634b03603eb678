"""Detached XML signatures: any file as it is, under its own name, and nothing that could be an enveloped one."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, Signer, p7s, token
from kit.trust import believed, codes, judge
from kit.xmldocs import FILES, TINY, resigned
from sealwright.artifact.claims import Claims
from sealwright.cli.main import main
from sealwright.envelope.cms import Signer as CmsSigner
from sealwright.envelope.kinds import Construction
from sealwright.envelope.signedinfo import NAMESPACE, name_of
from sealwright.errors import UsageError
from sealwright.formats.format import Existing, Search
from sealwright.formats.xmldetached import XmlDetached
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome, Verdict

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf(construction=Construction.XMLDSIG)
TRUST = believed(PKI)
DATA = b"firmware\r\n\0" * 300
URI = b'URI="fw.bin"'


def signed(folder: Path, data: bytes = DATA, name: str = "fw.bin", signer: Signer = RELEASE) -> Path:
    plain = folder / "plain"
    plain.write_bytes(data)
    (folder / "out").mkdir(exist_ok=True)
    out = folder / "out" / name
    for old in (out, signature_of(out)):
        old.unlink(missing_ok=True)
    return sign_inside(plain, signer, out, "xmldsig-detached")


def signature_of(path: Path) -> Path:
    return path.with_name(path.name + ".xmldsig")


def said(verdict: Verdict) -> str:
    return " | ".join(f.found for f in verdict.findings if f.severity == "reject")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072])
@pytest.mark.parametrize(
    "data", [b"", DATA, FILES["plant.aml"], b"<!DOCTYPE html><html>"], ids=("empty", "bin", "aml", "html")
)
def test_any_file_is_trusted_as_it_is(tmp_path: Path, data: bytes, kind: KeyKind) -> None:
    path = signed(tmp_path, data, signer=PKI.leaf(kind=kind, construction=Construction.XMLDSIG))
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format, codes(verdict)) == (TRUSTED, "xmldsig-detached", [])
    assert path.read_bytes() == data
    assert stripped(path, tmp_path / "bare", "xmldsig-detached").read_bytes() == data
    path.write_bytes(data + b"\n")
    assert codes(judge(path, TRUST)) == ["SW-FILE-CHANGED"]


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    for at, bad in flips(DATA, step=97):
        path.write_bytes(bad)
        assert codes(judge(path, TRUST)) == ["SW-FILE-CHANGED"], at
    path.write_bytes(DATA)
    whole = signature_of(path).read_bytes()
    # what is in the bag, and changes there, is compared with xmlsec1 (tests/interop)
    for bit in (0x01, 0x80):
        for at, bad in flips(whole[: whole.index(b"<KeyInfo>")], bit=bit):
            signature_of(path).write_bytes(bad + whole[len(bad) :])
            assert judge(path, TRUST).outcome is REJECTED, at
    for bad in truncations(whole[:-1], step=7):
        signature_of(path).write_bytes(bad)
        assert judge(path, TRUST).outcome is REJECTED, len(bad)
    signature_of(path).unlink()
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_another_key_is_refused(tmp_path: Path) -> None:
    path = signed(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    assert judge(path, believed(Pki.make("EVIL"))).outcome is REJECTED
    for other in (PKI.leaf(), PKI.leaf(construction=Construction.IMA)):
        assert codes(judge(signed(tmp_path, signer=other), TRUST)) == ["SW-KEY-CONSTRUCTION"]


def test_a_file_with_another_name_is_refused_and_its_own_name_is_said(tmp_path: Path) -> None:
    path = signed(tmp_path)
    other = path.with_name("old-fw.bin")
    other.write_bytes(DATA)
    signature_of(other).write_bytes(signature_of(path).read_bytes())
    for request in ({}, {"signature": str(signature_of(path))}):
        assert judge(path, TRUST, **request).outcome is TRUSTED
        verdict = judge(other, TRUST, **request)
        assert codes(verdict) == ["SW-SIGNATURE-NAME"]
        (finding,) = (one for one in verdict.findings if one.code == "SW-SIGNATURE-NAME")
        assert (finding.wanted, finding.found) == ("fw.bin", "old-fw.bin")


def test_a_signature_that_lies_elsewhere_can_be_named(tmp_path: Path) -> None:
    path = signed(tmp_path)
    elsewhere = signature_of(path).rename(tmp_path / "any.xmldsig")
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-MISSING"]
    assert judge(path, TRUST, signature=str(elsewhere)).outcome is TRUSTED
    path.write_bytes(DATA[1:])
    assert codes(judge(path, TRUST, signature=str(elsewhere))) == ["SW-FILE-CHANGED"]


@pytest.mark.parametrize(
    "name",
    [b"Pump 1 (B\xc3\xa4ckerei).aml", b"a%41", b"a%2Fb", b"http:x", b"#frag?query", b"a\\b", b"a&b<'\">", b"\xff.bin", b".x", b"--help", b"~"],
)  # fmt: skip
def test_every_name_of_a_file_is_one_part_of_a_uri(tmp_path: Path, name: bytes) -> None:
    path = signed(tmp_path, name=os.fsdecode(name))
    (uri,) = re.findall(b'URI="([^"]*)"', signature_of(path).read_bytes())
    assert re.fullmatch(rb"[\w.~%-]+", uri)
    assert name_of(uri.decode()) == name
    assert judge(path, TRUST).outcome is TRUSTED


@pytest.mark.parametrize(
    "uri",
    ["", ".", "..", "-", "%2D", "a/b", "/a", "./a", "a%2Fb", "a%00", "a%", "a%4", "a%zz", "a b", "a\\b", "a:b", "file:a", "a?b", "a#b", "#a", "//a", "a\nb", "a[b]", "a" * 1025],
)  # fmt: skip
def test_what_is_more_than_one_name_is_none(uri: str) -> None:
    assert name_of("fw%2ebin") == b"fw.bin"
    assert name_of("B\u00e4r.bin") == "B\u00e4r.bin".encode()
    assert name_of(uri) is None


def test_a_name_that_programs_take_for_something_else_is_not_signed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(DATA)
    with pytest.raises(UsageError, match="Give it another name"):
        sign_inside(tmp_path / "plain", RELEASE, tmp_path / "-", "xmldsig-detached")
    assert os.listdir(tmp_path) == ["plain"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda i: i.replace(URI, b'URI=""'), "'', which is not the name of a file"),
        (lambda i: i.replace(URI, b'URI="#fw.bin"'), "'#fw.bin', which is not"),
        (lambda i: i.replace(URI, b'URI="./fw.bin"'), "which is not"),
        (lambda i: i.replace(URI, b'URI="../out/fw.bin"'), "which is not"),
        (lambda i: i.replace(URI, b'URI="file:fw.bin"'), "which is not"),
        (lambda i: i.replace(URI, b'URI="fw.bin%00.txt"'), "which is not"),
        (lambda i: i.replace(URI, b'URI="FW.BIN"'), "fw.bin"),
        (lambda i: i.replace(b" " + URI, b""), "attributes"),
        (lambda i: i.replace(URI, b'Type="' + NAMESPACE.encode() + b'Manifest" ' + URI), "attributes"),
        (lambda i: i.replace(b"<DigestMethod", b'<Transforms><Transform Algorithm="' + NAMESPACE.encode() + b'enveloped-signature"></Transform></Transforms><DigestMethod'), "Transforms"),
        (lambda i: i.replace(b"<DigestMethod", b"<Transforms></Transforms><DigestMethod"), "Transforms"),
        (lambda i: i.replace(b"</SignedInfo>", i[i.index(b"<Reference") :]), "Reference, Reference"),
        (lambda i: i.replace(b"http://www.w3.org/2001/04/xmlenc#sha256", NAMESPACE.encode() + b"sha1"), "sha1"),
        (lambda i: i.replace(b"xmldsig-more#ecdsa-sha256", b"xmldsig-more#hmac-sha256"), "hmac"),
    ],
)  # fmt: skip
def test_what_a_trusted_signer_signs_otherwise_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], why: str
) -> None:
    path = signed(tmp_path)
    data = signature_of(path).read_bytes()
    signature_of(path).write_bytes(resigned(data, RELEASE, lambda info: info.replace(b"><", b">\n<")))
    assert judge(path, TRUST).outcome is TRUSTED
    signature_of(path).write_bytes(resigned(data, RELEASE, change))
    verdict = judge(path, TRUST)
    assert verdict.outcome is REJECTED
    assert why in said(verdict)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: b"<!DOCTYPE Signature>" + d, "a document type"),
        (lambda d: b"<a>" + d + b"</a>", "accepted as the first element alone"),
        (lambda d: d + d, "junk"),
        (lambda d: d + b"\0", "not well-formed"),
        (lambda d: d.decode().encode("utf-16"), "does not begin as XML"),
        (lambda d: b"<a/>", "not the first element"),
        (lambda d: b"", "does not begin as XML"),
        (lambda d: b"<Signature xmlns='" + NAMESPACE.encode() + b"'/>", "nothing in it"),
        (lambda d: d.replace(b"<Signature ", b"<Signature xml:base='u:' "), "attributes"),
        (lambda d: d.replace(b"</Signature>", b"<Object/></Signature>"), "Object in it"),
        (lambda d: d.replace(b"<KeyInfo>", b"<KeyInfo><KeyValue/>"), "KeyValue"),
        (lambda d: d.replace(b"<KeyInfo>", b"<?x?><KeyInfo>"), "processing instruction x"),
        (lambda d: d.replace(b"<KeyInfo>", b"<!-- --><KeyInfo>"), "a comment"),
        (lambda d: d.replace(b"<KeyInfo>", b"<x:KeyInfo xmlns:x='urn:x'/><KeyInfo>"), "KeyInfo"),
        (lambda d: d.replace(b"<KeyInfo>", b"<a>" * 300 + b"</a>" * 300 + b"<KeyInfo>"), "elements in each other"),
        (lambda d: d + b" " * (1 << 20), "bytes"),
    ],
)  # fmt: skip
def test_what_is_no_plain_signature_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], why: str) -> None:
    path = signed(tmp_path)
    data = signature_of(path).read_bytes()
    signature_of(path).write_bytes(b'<?xml version="1.0"?>\n<!-- by ACME -->\n' + data)
    assert judge(path, TRUST).outcome is TRUSTED
    signature_of(path).write_bytes(change(data))
    verdict = judge(path, TRUST)
    assert verdict.outcome is REJECTED
    assert why in said(verdict)


def test_enveloped_and_detached_signatures_never_stand_for_each_other(tmp_path: Path) -> None:
    """By one key, over the same document, each in the place of the other."""
    detached = signed(tmp_path, TINY, "doc.xml")
    enveloped = sign_inside(tmp_path / "plain", RELEASE, tmp_path / "doc.xml", "xmldsig")
    assert judge(detached, TRUST).outcome is judge(enveloped, TRUST).outcome is TRUSTED
    beside, inside = signature_of(detached).read_bytes().strip(), enveloped.read_bytes()
    element = inside[inside.index(b"<Signature ") : inside.index(b"</Signature>") + len(b"</Signature>")]
    signature_of(detached).write_bytes(element)
    verdict = judge(detached, TRUST)
    assert (verdict.outcome, codes(verdict)) == (REJECTED, ["SW-SIGNATURE-MALFORMED"])
    enveloped.write_bytes(inside.replace(element, beside))
    verdict = judge(enveloped, TRUST)
    assert verdict.outcome is REJECTED
    assert "'doc.xml' and not the whole document" in said(verdict)


def test_a_document_may_have_both(tmp_path: Path) -> None:
    (tmp_path / "doc.xml").write_bytes(TINY)
    inner = sign_inside(tmp_path / "doc.xml", RELEASE, tmp_path / "signed.xml", "xmldsig")
    path = signed(tmp_path, inner.read_bytes(), "doc.xml")
    assert [one.source for one in judge(path, TRUST).signers] == ["doc.xml", "doc.xml.xmldsig"]
    assert judge(path, TRUST).outcome is TRUSTED
    path.write_bytes(inner.read_bytes().replace(b">x<", b">y<"))
    assert judge(path, TRUST).outcome is REJECTED


def test_it_stands_beside_other_signatures_and_hides_none(tmp_path: Path) -> None:
    path = signed(tmp_path)
    path.with_name("fw.bin.p7s").write_bytes(p7s(PKI.leaf(), DATA))
    assert judge(path, TRUST).outcome is TRUSTED
    signature_of(path).write_bytes(b"<a/>")
    alone = judge(path, TRUST)
    path.write_bytes(DATA[1:])
    assert judge(path, TRUST).outcome is REJECTED
    assert alone.outcome is TRUSTED


def test_what_it_cannot_hold_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(DATA)
    for how, why in (
        ({"claims": Claims(version="1")}, "with a manifest"),
        ({"existing": Existing.ADD}, "one signature"),
    ):
        with pytest.raises(UsageError, match=why):
            sign_inside(tmp_path / "plain", RELEASE, tmp_path / "no", "xmldsig-detached", **how)  # type: ignore[arg-type]


def test_another_certificate_in_the_bag_makes_no_signer(tmp_path: Path) -> None:
    evil = Pki.make("EVIL").leaf(construction=Construction.XMLDSIG)
    path = signed(tmp_path, signer=evil)
    good = b"<X509Data><X509Certificate>" + b64encode(RELEASE.certificate) + b"</X509Certificate>"
    data = signature_of(path).read_bytes()
    signature_of(path).write_bytes(data.replace(b"<X509Data>", good))
    assert judge(path, TRUST).outcome is REJECTED
    assert judge(signed(tmp_path), TRUST).outcome is TRUSTED


def test_a_timestamp_lies_beside(tmp_path: Path) -> None:
    path = signed(tmp_path)
    (candidate,) = XmlDetached().extract(str(path), Search()).candidates
    (signer,) = candidate.envelope.signers if candidate.envelope else ()
    assert isinstance(signer, CmsSigner)
    path.with_name("fw.bin.tsr").write_bytes(token(PKI.tsa(), signer.signature))
    verdict = judge(path, TRUST)
    assert verdict.outcome is TRUSTED
    assert verdict.times.proved is not None


def test_the_command_line_signs_and_verifies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, folder = tmp_path / "home", tmp_path / "signed"
    folder.mkdir()
    trust = ["--trust", str(home / "trust.toml")]
    for name in ("plant.aml", "b.bin"):
        (tmp_path / name).write_bytes(FILES.get(name, DATA))
    signing = ["--home", str(home), "--format", "xmldsig-detached", "--out"]
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "xmldsig", "--home", str(home)]) == 0
    assert main(["sign", str(tmp_path / "plant.aml"), str(tmp_path / "b.bin"), *signing, str(folder)]) == 0
    assert sorted(os.listdir(folder)) == ["b.bin", "b.bin.xmldsig", "plant.aml", "plant.aml.xmldsig"]
    assert main(["verify", str(folder), "--recursive", *trust]) == 0
    (folder / "stray.xmldsig").write_bytes(b"<a/>")
    assert main(["verify", str(folder), "--recursive", *trust]) == 1
    (folder / "stray.xmldsig").unlink()
    assert main(["sign", str(folder / "b.bin.xmldsig"), *signing, str(tmp_path / "no")]) == 1
    assert "kept for signatures" in capsys.readouterr().err
    assert main(["sign", str(tmp_path / "b.bin"), *signing, str(tmp_path / "renamed.bin")]) == 0
    assert main(["verify", str(tmp_path / "renamed.bin"), *trust]) == 0
    assert main(["sign", str(tmp_path / "plant.aml"), *signing, str(folder), "--replace"]) == 0
    assert main(["verify", str(folder / "plant.aml"), *trust]) == 0
    capsys.readouterr()
    assert main(["inspect", str(folder / "plant.aml"), "--json"]) == 0
    assert "XML signature over the file plant.aml" in capsys.readouterr().out
    os.rename(folder / "plant.aml", folder / "other.aml")
    os.rename(folder / "plant.aml.xmldsig", folder / "other.aml.xmldsig")
    assert main(["verify", str(folder / "other.aml"), *trust]) == 1
    assert "about a file called plant.aml, this one is called other.aml" in capsys.readouterr().out
