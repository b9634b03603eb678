"""Texts that one reader takes for what was signed and another for something else: sums, XML, Intel HEX, S-records (A033, A081, A082, A092).

What is signed here is signed by the trusted signer himself, so that only the reader stands between the text and its effect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.boards import FIRMWARE
from kit.inside import sign_inside
from kit.manifests import manifest_pair
from kit.openssl import sums
from kit.pki import Pki, p7s
from kit.trust import believed, judge, knowing
from kit.xmldocs import AML, resigned
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.envelope.signedinfo import NAMESPACE
from sealwright.errors import LimitExceeded, MalformedArtifact
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf("release")
DOCUMENTS = PKI.leaf("documents", construction=Construction.XMLDSIG)
BOOT = PKI.leaf("boot key", construction=Construction.MCUBOOT)
TRUST = believed(PKI, certificate=knowing(BOOT))

# A033: sums ----------------------------------------------------------------------------------------------------------------------

SUM = re.compile(rb"(?m)^([0-9a-f]{64})  (.*)$")
SUMS: dict[str, Callable[[bytes], bytes]] = {
    "a space in front of a sum": lambda m: SUM.sub(rb" \1  \2", m, count=1),
    "a sum in upper case": lambda m: SUM.sub(lambda line: line[1].upper() + b"  " + line[2], m, count=1),
    "one space between": lambda m: SUM.sub(rb"\1 \2", m, count=1),
    "three spaces between": lambda m: SUM.sub(rb"\1   \2", m, count=1),
    "an asterisk": lambda m: SUM.sub(rb"\1 *\2", m, count=1),
    "a tab between": lambda m: SUM.sub(rb"\1\t\2", m, count=1),
    "a sum cut by one digit": lambda m: SUM.sub(lambda line: line[1][:-1] + b"  " + line[2], m, count=1),
    "no sum": lambda m: SUM.sub(rb"\2", m, count=1),
    "another program's form": lambda m: SUM.sub(rb"SHA256 (\2) = \1", m, count=1),
    "a byte order mark": lambda m: b"\xef\xbb\xbf" + m,
    "line ends of Windows": lambda m: m.replace(b"\n", b"\r\n"),
    "a line missing": lambda m: SUM.sub(b"", m, count=1).replace(b"\n\n", b"\n"),
    "a line missing and the number made to fit": lambda m: SUM.sub(b"", m, count=1).replace(b"\n\n", b"\n").replace(b"files 2", b"files 1"),
    "a line twice": lambda m: SUM.sub(rb"\1  \2\n\1  \2", m, count=1),
    "the last line without its end": lambda m: m[:-1],
    "an empty line": lambda m: m + b"\n",
    "nothing": lambda _: b"",
    "the first line alone": lambda m: m.partition(b"\n")[0] + b"\n",
    "another algorithm's name": lambda m: m.replace(b"manifest 1 sha256", b"manifest 1 sha1", 1),
    "an algorithm's name in upper case": lambda m: m.replace(b"manifest 1 sha256", b"manifest 1 SHA256", 1),
    "an algorithm of longer sums": lambda m: m.replace(b"manifest 1 sha256", b"manifest 1 sha512", 1),
    "no algorithm": lambda m: m.replace(b"manifest 1 sha256", b"manifest 1", 1),
    "another version": lambda m: m.replace(b"manifest 1 sha256", b"manifest 2 sha256", 1),
    "a list of sums and nothing more": lambda m: b"".join(line + b"\n" for line in m.splitlines() if not line.startswith(b"#")),
}  # fmt: skip


@pytest.mark.parametrize("what", SUMS)
def test_a033_a_list_of_sums_that_cannot_be_read_is_never_a_list_of_nothing(tmp_path: Path, what: str) -> None:
    root = tmp_path / "package"
    root.mkdir()
    (root / "a.bin").write_bytes(b"firmware")
    (root / "b.bin").write_bytes(b"parameters")
    manifest = manifest_pair(root, RELEASE, Claims("pump", "2", 2))
    assert judge(root, TRUST).outcome is TRUSTED
    assert sums(manifest, root)[0]
    data = SUMS[what](manifest.read_bytes())
    assert data != manifest.read_bytes()
    manifest.write_bytes(data)
    manifest.with_name("package.manifest.p7s").write_bytes(p7s(RELEASE, data, kind="manifest"))
    verdict = judge(root, TRUST)
    assert verdict.outcome is REJECTED
    assert all(finding.next_step for finding in verdict.findings if finding.severity == "reject")


# A081, A082: XML -------------------------------------------------------------------------------------------------------------------

ENTITIES = b"".join(b"<!ENTITY e%d '%s'>" % (n, b"&e%d;" % (n - 1) * 10 if n else b"x" * 10) for n in range(10))
DOCTYPES = {
    "a billion laughs": b"<!DOCTYPE r [%s]>" % ENTITIES,
    "a file": b"<!DOCTYPE r [<!ENTITY e9 SYSTEM 'file:///etc/passwd'>]>",
    "a network address": b"<!DOCTYPE r [<!ENTITY e9 SYSTEM 'http://192.0.2.1/r'>]>",
    "a parameter entity": b"<!DOCTYPE r [<!ENTITY % p SYSTEM 'http://192.0.2.1/p'>%p;<!ENTITY e9 'x'>]>",
    "a type elsewhere": b"<!DOCTYPE r SYSTEM 'http://192.0.2.1/r.dtd'>",
    "an attribute by default": b"<!DOCTYPE r [<!ATTLIST r hidden CDATA 'evil'>]>",
}


def xml(folder: Path, data: bytes) -> bytes:
    plain, out = folder / "plain.xml", folder / "signed.xml"
    plain.write_bytes(data)
    out.unlink(missing_ok=True)
    return sign_inside(plain, DOCUMENTS, out, "xmldsig").read_bytes()


def judged(folder: Path, data: bytes) -> Outcome:
    path = folder / "judged.xml"
    path.write_bytes(data)
    return judge(path, TRUST).outcome


@pytest.mark.parametrize("what", DOCTYPES)
def test_a081_no_document_type_is_followed_whether_it_came_before_the_signature_or_after(
    tmp_path: Path, what: str
) -> None:
    data = xml(tmp_path, b'<r a="1">x</r>')
    assert judged(tmp_path, data) is TRUSTED
    assert judged(tmp_path, DOCTYPES[what] + data) is REJECTED
    assert judged(tmp_path, DOCTYPES[what] + data.replace(b">x<", b">&e9;<")) is REJECTED
    with pytest.raises(MalformedArtifact, match="a document type"):
        xml(tmp_path, DOCTYPES[what] + b'<r a="1">&e9;</r>')


def element(data: bytes, name: bytes) -> bytes:
    return data[data.index(b"<" + name + b" ") : data.index(b"</" + name + b">") + len(name) + 3]


WRAPPED: dict[str, Callable[[bytes, bytes], bytes]] = {
    "the signed element moved into an Object of the signature": lambda d, evil: evil.replace(
        b"</CAEXFile>", element(d, b"Signature").replace(b"</Signature>", b"<Object>" + element(d, b"InstanceHierarchy") + b"</Object></Signature></CAEXFile>")
    ),
    "the signed document inside another": lambda d, evil: evil.replace(b"</CAEXFile>", b"<old>" + d[d.index(b"<CAEXFile") :] + b"</old></CAEXFile>"),
    "another document around it": lambda d, _: b"<plant>" + d[d.index(b"<CAEXFile") :] + b"</plant>",
    "another document's element beside it": lambda d, evil: d.replace(b"<InstanceHierarchy ", element(evil, b"InstanceHierarchy") + b"<InstanceHierarchy ", 1),
    "the signature on another document": lambda d, evil: evil.replace(b"</CAEXFile>", element(d, b"Signature") + b"</CAEXFile>"),
    "a second signature in front": lambda d, _: d.replace(b"<Signature ", element(d, b"Signature") + b"<Signature ", 1),
    "one Id twice": lambda d, _: d.replace(b"<InstanceHierarchy ", b'<x xml:id="a"/><y xml:id="a"/><InstanceHierarchy ', 1),
}  # fmt: skip


@pytest.mark.parametrize("what", WRAPPED)
def test_a082_a_signed_element_moved_aside_vouches_for_nothing_in_its_place(tmp_path: Path, what: str) -> None:
    data = xml(tmp_path, AML.encode())
    evil = AML.encode().replace(b">82<", b">982<")
    assert judged(tmp_path, data) is TRUSTED
    assert judged(tmp_path, WRAPPED[what](data, evil)) is REJECTED


def test_a082_a_reference_to_a_part_of_the_document_is_refused_though_its_signature_holds(tmp_path: Path) -> None:
    data = xml(tmp_path, AML.encode())
    assert b'<Reference URI="">' in data
    assert judged(tmp_path, resigned(data, DOCUMENTS, lambda info: info)) is TRUSTED
    for uri in (b"#8b0f2f4e", b"#xpointer(/)", b"other.xml", b"http://192.0.2.1/plant.aml", b"cid:1"):
        part = resigned(data, DOCUMENTS, lambda info, uri=uri: info.replace(b'URI=""', b'URI="' + uri + b'"'))
        assert judged(tmp_path, part) is REJECTED
    assert NAMESPACE.encode() in data


# A092: memory images in text ---------------------------------------------------------------------------------------------------------


def ihex(address: int, kind: int, data: bytes) -> str:
    body = bytes((len(data),)) + (address & 0xFFFF).to_bytes(2) + bytes((kind,)) + data
    return ":" + (body + bytes((-sum(body) & 0xFF,))).hex().upper()


def srec(kind: int, address: int, data: bytes = b"") -> str:
    width = {0: 2, 1: 2, 2: 3, 3: 4, 5: 2, 6: 3, 7: 4, 8: 3, 9: 2}[kind]
    body = bytes((width + len(data) + 1,)) + address.to_bytes(width) + data
    return f"S{kind}" + (body + bytes((~sum(body) & 0xFF,))).hex().upper()


ROWS = [(at, FIRMWARE[at : at + 32]) for at in range(0, len(FIRMWARE), 32)]
HEX = [ihex(0, 4, b"\x08\0"), *(ihex(at, 0, row) for at, row in ROWS), ihex(0, 1, b"")]
SREC = [srec(0, 0, b"drive"), *(srec(3, at, row) for at, row in ROWS), srec(5, len(ROWS)), srec(7, 0)]


def image(folder: Path, lines: list[str]) -> bytes:
    """What a device gets of a text, signed."""
    plain, out = folder / "fw.hex", folder / "fw.img"
    plain.write_text("\n".join(lines) + "\n")
    out.unlink(missing_ok=True)
    path = sign_inside(plain, BOOT, out, "mcuboot", claims=Claims(version="1.2.3", generation=7))
    assert judge(path, TRUST).outcome is TRUSTED
    return path.read_bytes()


LOADED_DIFFERENTLY: dict[str, list[str]] = {
    "records in another order": [HEX[0], HEX[2], HEX[1], *HEX[3:]],
    "a record twice": [*HEX[:2], HEX[1], *HEX[2:]],
    "overlapping records": [*HEX[:2], ihex(16, 0, b"evil" * 4), *HEX[2:]],
    "the last octet of a record again": [*HEX[:2], ihex(31, 0, b"e"), *HEX[2:]],
    "a wrong checksum": [*HEX[:1], HEX[1][:-2] + f"{int(HEX[1][-2:], 16) ^ 1:02X}", *HEX[2:]],
    "a record that is longer than it says": [*HEX[:1], HEX[1] + "00", *HEX[2:]],
    "an extended address back to the start": [*HEX[:3], HEX[0], *HEX[1:]],
    "data behind the end": [*HEX, ihex(0x4000, 0, b"evil")],
    "the end twice": [*HEX, HEX[-1]],
    "no end": HEX[:-1],
    "a kind of record nobody knows": [*HEX[:-1], ihex(0, 6, b"\0"), HEX[-1]],
    "S-records in another order": [SREC[0], SREC[2], SREC[1], *SREC[3:]],
    "an S-record twice": [*SREC[:2], SREC[1], *SREC[2:]],
    "another number of S-records": [*SREC[:-2], srec(5, len(ROWS) - 1), SREC[-1]],
    "an S-record behind the end": [*SREC, srec(3, 0x4000, b"evil")],
    "a wrong checksum of an S-record": [SREC[0], SREC[1][:-2] + f"{int(SREC[1][-2:], 16) ^ 1:02X}", *SREC[2:]],
    "both in one file": [*SREC[:-1], *HEX],
}  # fmt: skip


@pytest.mark.parametrize("what", LOADED_DIFFERENTLY)
def test_a092_a_text_that_two_programmers_could_load_differently_is_not_signed(tmp_path: Path, what: str) -> None:
    with pytest.raises((MalformedArtifact, LimitExceeded)):
        image(tmp_path, LOADED_DIFFERENTLY[what])
    assert not (tmp_path / "fw.img").exists()


def test_a092_the_memory_image_is_signed_however_it_is_written(tmp_path: Path) -> None:
    """Longer rows, lower case, other line ends: the same memory, the same signed bytes; and the text itself may be signed as a file."""
    longer = [HEX[0], *(ihex(at, 0, FIRMWARE[at : at + 128]) for at in range(0, len(FIRMWARE), 128)), HEX[-1]]
    end = 512 + len(FIRMWARE)
    twice = [HEX[0], HEX[0], *HEX[1:]]  # an address that is only said again is where it was
    images = [image(tmp_path, lines) for lines in (HEX, longer, [line.lower() for line in HEX], twice, SREC)]
    assert len({hashlib.sha256(one[:end]).digest() for one in images}) == 1
    assert image(tmp_path, [HEX[0], ihex(0, 0, b"evil" * 8), *HEX[2:]])[:end] != images[0][:end]
