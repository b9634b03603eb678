"""IMA signatures of files and of whole trees: what a list may hold, whose signatures they are, and what they do not bind."""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from kit.inside import sign_inside, stripped
from kit.mutate import flips
from kit.pki import NOW, Pki, Signer, p7s
from kit.trust import believed, codes, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.cli.main import main
from sealwright.envelope.bare import bare_cms, content_info
from sealwright.envelope.cms_write import signed_attributes
from sealwright.envelope.construct import asked_of_key
from sealwright.envelope.kinds import FILE, IMA, Construction
from sealwright.errors import KeyRefused, LimitExceeded, MalformedArtifact, OutputRefused, UsageError
from sealwright.formats import imalist
from sealwright.formats.format import Existing, Sealed
from sealwright.formats.ima import signature_bytes
from sealwright.formats.imalist import Entry, hash_regular, list_bytes, read_list, regular_files
from sealwright.keys.key import KeyKind
from sealwright.signing.home import open_home
from sealwright.signing.imatree import sign_tree
from sealwright.signing.sign import SignOptions
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, verify_paths

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
EC = PKI.leaf("files", construction=Construction.IMA)
P384 = PKI.leaf("files", kind=KeyKind.P384, construction=Construction.IMA)
RSA = PKI.leaf("files", kind=KeyKind.RSA3072, construction=Construction.IMA)
OTHER = PKI.leaf("other", construction=Construction.IMA)
TRUST = believed(PKI, certificate=knowing(EC, P384, RSA))
DATA = b"#!/bin/sh\nexec drive --line 3\n"
TREE = {"bin/start": DATA, "empty": b"", "etc/line 3.cfg": b"speed = 7\n", "a\\b": b"x", "große": b"y"}


def file(folder: Path, signer: Signer = EC, data: bytes = DATA) -> Path:
    (folder / "plain").write_bytes(data)
    return sign_inside(folder / "plain", signer, folder / "signed", "ima")


def signature_of(path: Path) -> Path:
    return path.with_name(path.name + ".sig")


def attribute(signer: Signer, data: bytes) -> bytes:
    """What security.ima holds for a content."""
    made = signer.signing
    digest = Digest.of(data, made.algorithm.digest)
    value = signer.key.sign([asked_of_key(made, IMA, digest, b"")])[0]
    return signature_bytes(Sealed(value, value, made.der, made.algorithm))


def tree(folder: Path, signer: Signer = EC) -> Path:
    """A tree with its list beside it."""
    root = folder / "tree"
    for name, data in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    entries = [Entry(os.fsencode(name), attribute(signer, data)) for name, data in sorted(TREE.items())]
    (folder / "tree.ima").write_bytes(list_bytes(entries))
    return root


@pytest.mark.parametrize("signer", [RSA, EC, P384], ids=["rsa3072", "p256", "p384"])
@pytest.mark.parametrize("data", [DATA, b""], ids=["script", "empty"])
def test_a_file_is_trusted_as_it_is(tmp_path: Path, signer: Signer, data: bytes) -> None:
    path = file(tmp_path, signer, data)
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format, codes(verdict)) == (TRUSTED, "ima", [])
    assert path.read_bytes() == data
    head = signature_of(path).read_bytes()[:3]
    assert head == bytes((3, 2, 5 if signer is P384 else 4))
    assert stripped(path, tmp_path / "bare", "ima").read_bytes() == data


def test_no_changed_byte_is_accepted(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    for at, bad in flips(DATA):
        path.write_bytes(bad)
        assert judge(path, TRUST).outcome is REJECTED, at
    path.write_bytes(DATA)
    whole = signature_of(path).read_bytes()
    for bit in (0x01, 0x80):
        for at, bad in flips(whole, bit=bit):
            signature_of(path).write_bytes(bad)
            assert judge(path, TRUST).outcome is REJECTED, at
    for size in range(len(whole)):
        signature_of(path).write_bytes(whole[:size])
        assert judge(path, TRUST).outcome is REJECTED, size
    signature_of(path).unlink()
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-MISSING"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d + b"\0", "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:-1], "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:8], "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:7] + b"\0\0" + d[9:], "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:7] + b"\xff\xff" + d[9:], "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:7] + struct.pack(">H", 2000) + bytes(2000), "SW-SIGNATURE-MALFORMED"),
        (lambda d: b"\x03\x01" + d[2:], "SW-SIGNATURE-MALFORMED"),
        (lambda d: b"\x03\x03" + d[2:], "SW-SIGNATURE-MALFORMED"),
        (lambda d: d[:2] + b"\x02" + d[3:], "SW-ALGORITHM-WEAK"),
        (lambda d: d[:2] + b"\x05" + d[3:], "SW-SIGNATURE-INVALID"),
        (lambda d: d[:3] + b"\0\0\0\0" + d[7:], "SW-SIGNER-UNKNOWN"),
        (lambda d: d[:7] + struct.pack(">H", 256) + bytes(256), "SW-SIGNER-UNKNOWN"),
        (lambda d: b"\x05" + d[1:], "SW-SIGNATURE-MISSING"),
        (lambda d: b"-----BEGIN PGP SIGNATURE-----\n", "SW-SIGNATURE-MISSING"),
        (lambda d: b"", "SW-SIGNATURE-MISSING"),
    ],
)
def test_a_signature_of_another_shape_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], code: str) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    signature_of(path).write_bytes(change(signature_of(path).read_bytes()))
    assert codes(judge(path, TRUST)) == [code]


def test_a_foreign_sig_file_does_not_disturb_other_signatures(tmp_path: Path) -> None:
    """Others call theirs `.sig` too: what does not begin as IMA's does says nothing here."""
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    release = PKI.leaf()
    other = sign_inside(path, PKI.leaf(construction=Construction.FSVERITY), tmp_path / "both", "fsverity")
    assert codes(judge(other, TRUST)) == ["SW-SIGNER-UNKNOWN"]
    path.with_name("signed.p7s").write_bytes(p7s(release, DATA))
    signature_of(path).write_bytes(b"-----BEGIN PGP SIGNATURE-----\n")
    assert judge(path, TRUST).outcome is TRUSTED


def test_another_key_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    assert codes(judge(path, believed(PKI, certificate=knowing(OTHER)))) == ["SW-SIGNER-UNKNOWN"]
    data = bytearray(attribute(OTHER, DATA))
    data[3:7] = attribute(EC, DATA)[3:7]  # says that it is the trusted key's
    signature_of(path).write_bytes(data)
    assert codes(judge(path, TRUST)) == ["SW-SIGNATURE-INVALID"]


def test_the_signature_of_a_root_hash_file_does_not_serve_as_that_of_an_image(tmp_path: Path) -> None:
    """A029: both are the same value over the same 64 bytes; only the construction that the key is enrolled for tells them apart."""
    verity = PKI.leaf("images", construction=Construction.VERITY)
    (tmp_path / "plain.img").write_bytes(bytes(8192))
    image = sign_inside(tmp_path / "plain.img", verity, tmp_path / "signed.img", "verity")
    trust = believed(PKI, certificate=knowing(EC, verity))
    assert judge(image, trust).outcome is TRUSTED
    root = (tmp_path / "signed.img.roothash").read_bytes()
    made = EC.signing
    value = EC.key.sign([asked_of_key(made, IMA, Digest.of(root), b"")])[0]
    (tmp_path / "signed.img.roothash.p7s").write_bytes(content_info(bare_cms(made, value)))
    assert codes(judge(image, trust)) == ["SW-KEY-CONSTRUCTION"]


def test_a_key_that_signs_files_with_attributes_does_not_serve(tmp_path: Path) -> None:
    release = PKI.leaf(construction=Construction.CMS_ATTRIBUTES)
    trust = believed(PKI, certificate=knowing(EC, release))
    assert judge(file(tmp_path), trust).outcome is TRUSTED
    (tmp_path / "signed").unlink()
    (tmp_path / "signed.sig").unlink()
    assert codes(judge(file(tmp_path, release), trust)) == ["SW-KEY-CONSTRUCTION"]


def test_signed_attributes_of_a_cms_never_serve_as_a_file(tmp_path: Path) -> None:
    """A027: who could have them signed as a file had a CMS over any content, which openssl believes; and the other way round."""
    attributes = signed_attributes(EC.signing, FILE, Digest.of(b"firmware of somebody else"), NOW)
    fine = file(tmp_path, EC, attributes + b"!")
    assert judge(fine, TRUST).outcome is TRUSTED
    for unlike in (b"1\n2\n3\n4\n5\n6\n", b"10.2, a version that fills a SET of fifty bytes. \n"):
        assert unlike[:1] == b"\x31"
        assert unlike[1] == len(unlike) - 2, "a text that begins as a SET does"
        (tmp_path / "text").write_bytes(unlike)
        (tmp_path / "text.sig").write_bytes(attribute(EC, unlike))
        assert judge(tmp_path / "text", TRUST).outcome is TRUSTED
    root = tree(tmp_path)
    (root / "bin" / "start").write_bytes(attributes)
    for refused in (
        lambda: sign_inside(root / "bin" / "start", EC, tmp_path / "no", "ima"),
        lambda: hash_regular(str(root), [b"bin/start"], HashName.SHA256, None),
    ):
        with pytest.raises(MalformedArtifact, match="as a CMS signs"):
            refused()
    assert not (tmp_path / "no").exists()
    fine.write_bytes(attributes)
    signature_of(fine).write_bytes(attribute(EC, attributes))
    assert codes(judge(fine, TRUST)) == ["SW-ARTIFACT-MALFORMED"]
    entries = [Entry(os.fsencode(name), attribute(EC, (root / name).read_bytes())) for name in sorted(TREE)]
    (tmp_path / "tree.ima").write_bytes(list_bytes(entries))
    assert codes(judge(root, TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_a_list_of_nothing_but_line_feeds_costs_nothing(tmp_path: Path) -> None:
    """A073: it was split into as many lines, eight bytes of memory each."""
    root = tree(tmp_path)
    assert judge(root, TRUST).outcome is TRUSTED
    for bomb in (b"\n" * (64 << 20), b"# file: " + b"\\001" * (16 << 20) + b"\n"):
        (tmp_path / "tree.ima").write_bytes(bomb)
        started = time.monotonic()
        verdict = judge(root, TRUST)
        assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]
        assert len(verdict.findings[0].found) < 500
        assert time.monotonic() - started < 2


def test_a_certificate_the_kernel_would_not_find_is_refused_when_signing() -> None:
    assert attribute(EC, DATA)[3:7] == x509.SubjectKeyIdentifier.from_public_key(EC.x509.public_key()).digest[-4:]
    builder = x509.CertificateBuilder(
        EC.x509.issuer,
        EC.x509.subject,
        EC.x509.public_key(),  # type: ignore[arg-type]
        7,
        NOW,
        NOW,
        [x509.Extension(x509.SubjectKeyIdentifier.oid, False, x509.SubjectKeyIdentifier(b"\1" * 20))],
    )
    other = builder.sign(PKI.intermediate.key._private, hashes.SHA256())  # type: ignore[arg-type]
    made = EC.signing
    with pytest.raises(KeyRefused, match="key identifier"):
        signature_bytes(Sealed(b"", b"", other.public_bytes(Encoding.DER), made.algorithm))


def test_what_it_cannot_hold_is_said(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(DATA)
    with pytest.raises(UsageError, match="with a manifest"):
        sign_inside(tmp_path / "plain", EC, tmp_path / "no", "ima", claims=Claims(generation=3))
    with pytest.raises(UsageError, match="one signature"):
        sign_inside(tmp_path / "plain", EC, tmp_path / "no", "ima", existing=Existing.ADD)


@pytest.mark.parametrize("signer", [RSA, EC], ids=["rsa3072", "p256"])
def test_a_tree_is_trusted_by_its_list(tmp_path: Path, signer: Signer) -> None:
    """A071: a FIFO is not opened, links are not followed, and modes are not what IMA binds."""
    root = tree(tmp_path, signer)
    (root / "link").symlink_to("empty")
    (root / "bin" / "start").chmod(0o4755)
    os.mkfifo(root / "fifo")
    verdict = judge(root, TRUST)
    assert (verdict.outcome, verdict.format, codes(verdict)) == (TRUSTED, "ima", [])
    named = (tmp_path / "tree.ima").rename(tmp_path / "other.ima")
    assert codes(judge(root, TRUST)) == ["SW-MANIFEST-MISSING"]
    assert judge(root, TRUST, signature=str(named)).outcome is TRUSTED


def test_what_is_not_as_in_the_list_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert judge(root, TRUST).outcome is TRUSTED
    (root / "bin" / "start").write_bytes(DATA + b"\n")
    (root / "empty").unlink()
    (root / "more").write_bytes(b"")
    found = {f.code: f.subject for f in judge(root, TRUST).findings if f.severity == "reject"}
    assert found == {
        "SW-TREE-FILE-CHANGED": "bin/start",
        "SW-TREE-FILE-MISSING": "empty",
        "SW-TREE-FILE-EXTRA": "more",
    }
    shutil.rmtree(root)
    root.mkdir()
    assert judge(root, TRUST).outcome is REJECTED


def test_a_list_of_another_key_is_refused(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert judge(root, TRUST).outcome is TRUSTED
    assert codes(judge(tree(tmp_path, OTHER), TRUST)) == ["SW-SIGNER-UNKNOWN"]
    entries = read_list((tmp_path / "tree.ima").read_bytes(), "tree.ima")
    mixed = [*entries[:-1], Entry(entries[-1].name, attribute(EC, TREE[os.fsdecode(entries[-1].name)]))]
    (tmp_path / "tree.ima").write_bytes(list_bytes(mixed))
    assert codes(judge(root, TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_no_changed_byte_of_a_list_is_accepted(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert judge(root, TRUST).outcome is TRUSTED
    data = (tmp_path / "tree.ima").read_bytes()
    for at, bad in flips(data, step=7):
        (tmp_path / "tree.ima").write_bytes(bad)
        assert judge(root, TRUST).outcome is REJECTED, at


def one(value: bytes = b"0sAwI=", name: bytes = b"a") -> bytes:
    return b"# file: " + name + b"\nsecurity.ima=" + value + b"\n\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "lists no file"),
        (b"\n\n", "line 1"),
        (one() + b"\n" + one(name=b"b"), "line 4"),
        (b"# file: " + b"a" * 20000 + b"\n", "line 1: it is longer"),
        (one()[:-2], "final line feed"),
        (b"file: a\n", "line 1"),
        (b"# file: a\n", "line 2"),
        (b"# file: a\nsecurity.capability=0sAAAA\n", "line 2"),
        (b"# file: a\nsecurity.ima=0sAwI=\nsecurity.capability=0sAAAA\n", "line 3"),
        (one() + one(), "line 4: a is there twice"),
        (one(b'"text"'), "line 2"),
        (one(b"0sA"), "line 2"),
        (one(b"0s$$$$"), "line 2"),
        (one(b"0x0"), "line 2"),
        (one(name=b"/etc/passwd"), "leads out"),
        (one(name=b"../a"), "leads out"),
        (one(name=b"a/../b"), "leads out"),
        (one(name=b"a//b"), "leads out"),
        (one(name=b""), "leads out"),
        (one(name=b"a\\000"), "leads out"),
        (one(name=b"\\141"), "as getfattr writes"),
        (one(name=b"a\\b"), "as getfattr writes"),
        (one(name=b"a\r"), "as getfattr writes"),
    ],
)
def test_a_list_that_setfattr_could_read_differently_is_refused(data: bytes, what: str) -> None:
    assert read_list(one(), "a.ima") == (Entry(b"a", b"\3\2"),)
    with pytest.raises(MalformedArtifact, match=what):
        read_list(data, "a.ima")


def test_names_survive_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = tuple(Entry(bytes((byte, 0x61)), b"\3\2") for byte in range(1, 256) if byte != 0x2F)
    assert read_list(list_bytes(entries), "a.ima") == entries
    monkeypatch.setattr(imalist, "MAX_LIST_BYTES", 10)
    with pytest.raises(LimitExceeded):
        read_list(one(), "a.ima")


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "etc").rename(tmp_path / "elsewhere")
    (root / "etc").symlink_to(tmp_path / "elsewhere")
    assert b"etc/line 3.cfg" not in regular_files(str(root))
    assert codes(judge(root, TRUST)) == ["SW-TREE-FILE-MISSING"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ima") / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "ima", "--home", str(home), "--algorithm", "p256"]) == 0
    return home


def test_the_command_line_signs_several_files_and_folders(home: Path, tmp_path: Path) -> None:
    trust, out = ["--trust", str(home / "trust.toml")], tmp_path / "out"
    out.mkdir()
    signing = ["--home", str(home), "--format", "ima", "--out"]
    for name in ("a.bin", "b.bin"):
        (tmp_path / name).write_text(name)
    assert main(["sign", str(tmp_path / "a.bin"), *signing, str(tmp_path / "one.bin")]) == 0
    assert main(["verify", str(tmp_path / "one.bin"), *trust]) == 0
    assert main(["sign", str(tmp_path / "a.bin"), str(tmp_path / "b.bin"), *signing, str(out)]) == 0
    assert main(["verify", str(out), "--recursive", *trust]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.bin", "a.bin.sig", "b.bin", "b.bin.sig"]
    again = tmp_path / "again"
    again.mkdir()
    assert main(["sign", str(out), "--recursive", *signing, str(again)]) == 0
    assert sorted(path.name for path in again.iterdir()) == ["a.bin", "a.bin.sig", "b.bin", "b.bin.sig"]
    assert main(["sign", str(out / "a.bin"), *signing, str(again), "--product", "x", "--replace"]) == 1
    (out / "b.bin").write_text("other")
    assert main(["verify", str(out), "--recursive", *trust]) == 1


def test_the_command_line_signs_a_tree_and_from_its_manifest(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, listed = tree(tmp_path), tmp_path / "tree.ima"
    (root / "a\\b").unlink()  # a manifest holds no such name
    signing = ["--home", str(home), "--format", "ima", "--out", str(listed)]
    checking = ["verify", str(root), "--trust", str(home / "trust.toml")]
    assert main(["sign", str(root), *signing]) == 1  # it is there
    assert main(["sign", str(root), *signing, "--replace"]) == 0
    assert main(checking) == 0
    assert "etc/line 3.cfg" in listed.read_text()
    assert main(["sign", str(root), "--home", str(home)]) == 0
    assert main(["sign", str(tmp_path / "tree.manifest"), *signing, "--replace"]) == 0
    capsys.readouterr()
    assert main(["verify", str(listed), "--trust", str(home / "trust.toml")]) == 0
    assert "tree.ima" in capsys.readouterr().out
    assert main(checking) == 0
    assert "tree.manifest.p7s" in capsys.readouterr().out
    manifest = tmp_path / "tree.manifest"
    manifest.write_bytes(manifest.read_bytes().replace(b"#! bytes ", b"#! bytes 1"))
    assert main(["sign", str(manifest), *signing, "--replace"]) == 1
    (tmp_path / "tree.manifest.p7s").unlink()
    assert main(["sign", str(manifest), *signing, "--replace"]) == 1
    (root / "empty").write_bytes(b"no longer")
    assert main(["verify", str(root), "--trust", str(home / "trust.toml"), "--signature", str(listed)]) == 1


def test_what_a_list_cannot_be_is_told(home: Path, tmp_path: Path) -> None:
    root = tree(tmp_path)
    signing = ["--home", str(home), "--format", "ima", "--out"]
    assert main(["sign", str(root), *signing, str(tmp_path / "good.ima")]) == 0
    assert main(["sign", str(root), *signing, str(root / "bin" / "no.ima")]) in (1, 2)
    assert main(["sign", str(root), str(root), *signing, str(tmp_path / "no.ima")]) == 2
    assert main(["sign", str(root), *signing, str(tmp_path)]) in (1, 2)
    assert main(["sign", str(root), *signing, str(tmp_path / "no.ima"), "--product", "x"]) in (1, 2)
    empty = tmp_path / "nothing"
    empty.mkdir()
    assert main(["sign", str(empty), *signing, str(tmp_path / "no.ima")]) in (1, 2)
    assert main(["sign", str(root), "--home", str(home)]) == 0
    manifest = tmp_path / "tree.manifest"
    before = manifest.read_bytes()
    assert main(["sign", str(manifest), *signing, str(manifest), "--replace"]) == 1  # the input (A171)
    assert manifest.read_bytes() == before
    assert not (tmp_path / "no.ima").exists()


def test_each_file_of_a_tree_is_in_the_journal(home: Path, tmp_path: Path) -> None:
    def intents() -> int:
        return sum(path.read_bytes().count(b'"intent"') for path in (home / "journal").iterdir() if path.is_file())

    root = tree(tmp_path)
    before = intents()
    options = SignOptions(out=str(tmp_path / "new.ima"), format="ima")
    signed = sign_tree(str(root), open_home(str(home)), options)
    assert signed.outputs == (str(tmp_path / "new.ima"),)
    assert intents() - before == len(TREE)
    with pytest.raises(OutputRefused, match="already there"):
        sign_tree(str(root), open_home(str(home)), options)


def test_a_list_does_not_make_up_for_a_manifest_that_does_not_hold(home: Path, tmp_path: Path) -> None:
    """A list binds no names: whoever exchanges two signed files can exchange their lines as well."""
    root = tree(tmp_path)
    (root / "a\\b").unlink()
    checking = ["verify", str(root), "--trust", str(home / "trust.toml")]
    signing = ["--home", str(home), "--format", "ima", "--out", str(tmp_path / "tree.ima"), "--replace"]
    assert main(["sign", str(root), "--home", str(home)]) == 0
    assert main(["sign", str(root), *signing]) == 0
    assert main(checking) == 0
    entries = read_list((tmp_path / "tree.ima").read_bytes(), "tree.ima")
    kept = [entry for entry in entries if entry.name != b"empty"]
    (root / "empty").unlink()
    (tmp_path / "tree.ima").write_bytes(list_bytes(kept))
    assert main(["verify", str(tmp_path / "tree.ima"), "--trust", str(home / "trust.toml")]) == 0
    assert main(checking) == 1


def test_a_denied_file_of_a_tree_is_found_by_any_digest(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert judge(root, TRUST).outcome is TRUSTED
    for name in HashName:
        denied = Denied("artifact", f"* {Digest.of(TREE['etc/line 3.cfg'], name)}", 0, "withdrawn")
        assert codes(judge(root, believed(PKI, certificate=knowing(EC), denied=[denied]))) == ["SW-DENIED-ARTIFACT"]


def test_what_only_looks_like_a_signature_by_its_name_is_judged(tmp_path: Path) -> None:
    path = file(tmp_path)
    (tmp_path / "plain").unlink()
    request = Request(clock=NOW, recursive=True)

    def seen() -> dict[str, Outcome]:
        return {Path(v.path).name: v.outcome for v in verify_paths([str(tmp_path)], TRUST, request)}

    assert seen() == {"signed": TRUSTED}
    (tmp_path / "other.sig").write_bytes(signature_of(path).read_bytes())
    assert seen() == {"signed": TRUSTED, "other.sig": REJECTED}
    (tmp_path / "other.sig").unlink()
    for ending in ("roothash", "ima"):
        (tmp_path / f"signed.{ending}").write_bytes(b"#!/bin/sh\n")
        assert seen() == {"signed": TRUSTED, f"signed.{ending}": REJECTED}
        (tmp_path / f"signed.{ending}").unlink()
    signature_of(path).write_bytes(b"#!/bin/sh\n")
    assert seen() == {"signed": REJECTED, "signed.sig": REJECTED}


def test_several_signatures_beside_one_file_are_all_found(tmp_path: Path) -> None:
    files = PKI.leaf("files", construction=Construction.FSVERITY)
    path = file(tmp_path)
    sign_inside(tmp_path / "plain", files, tmp_path / "again", "fsverity")
    (tmp_path / "again.fsverity.p7s").rename(tmp_path / "signed.fsverity.p7s")
    (tmp_path / "signed.p7s").write_bytes(p7s(PKI.leaf(), DATA))
    verdict = judge(path, believed(PKI, certificate=knowing(EC, files)))
    assert verdict.outcome is TRUSTED
    assert {one.source for one in verdict.signers} == {"signed.sig", "signed.fsverity.p7s", "signed.p7s"}
    assert all(one.accepted for one in verdict.signers)


def test_what_lies_beside_and_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path)
    assert judge(path, TRUST).outcome is TRUSTED
    signature_of(path).unlink()
    signature_of(path).mkdir()
    verdict = judge(path, TRUST)
    assert verdict.outcome is REJECTED
    assert "signed.sig cannot be read: it is not a regular file" in verdict.findings[0].sentence
    signature_of(path).rmdir()
    os.mkfifo(signature_of(path))
    assert judge(path, TRUST).outcome is REJECTED
    signature_of(path).unlink()
    with signature_of(path).open("wb") as large:
        large.write(b"\3\2")
        large.truncate(2 << 20)
    assert codes(judge(path, TRUST)) == ["SW-LIMIT"]
    signature_of(path).unlink()
    signature_of(path).symlink_to("nowhere")
    assert judge(path, TRUST).outcome is REJECTED


def test_inspect_shows_signatures_and_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, key = file(tmp_path), attribute(EC, DATA)[3:7].hex()
    tree(tmp_path)
    for shown, words in ((path, f"key {key}"), (signature_of(path), key), (tmp_path / "tree.ima", "5 files")):
        assert main(["inspect", str(shown)]) == 0
        assert words in capsys.readouterr().out
    signature_of(path).write_bytes(b"\3\2 is how other things begin as well")
    assert main(["inspect", str(signature_of(path))]) == 0


def test_a_tree_takes_no_timestamp_and_no_second_party(home: Path, tmp_path: Path) -> None:
    signing = ["sign", str(tree(tmp_path)), "--home", str(home), "--format", "ima", "--out", str(tmp_path / "new.ima")]
    assert main([*signing, "--timestamp", "local"]) == 2
    assert main([*signing, "--as", "plant"]) == 2
    assert main([*signing, "--add"]) == 2
    assert main([*signing, "--timestamp", "none"]) == 0
