"""Windows Installer packages: what is hashed, what is not and why, and every compound file that two readers could read differently."""

from __future__ import annotations

import base64
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.packages import PACKAGE_CLASS, entry, number, package, put, storage, stream, table
from kit.pki import Pki, p7s
from kit.powershell import FILES
from kit.trust import believed, codes, judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.source import open_artifact
from sealwright.cli.main import main
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.compoundfile import END, NOTHING, Item, Type, read_compound_file
from sealwright.formats.compoundfile_write import written
from sealwright.formats.format import Existing, Extent
from sealwright.formats.msi import read_package
from sealwright.keys.key import KeyKind
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
TRUST = believed(PKI)
SIGNATURE, EXTENDED = "\5DigitalSignature", "\5MsiDigitalSignatureEx"


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("signed")
    return sign_inside(package(folder / "a.msi"), RELEASE, folder / "b.msi", "msi").read_bytes()


def changed(folder: Path, data: bytes, name: str = "changed.msi") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def outcome(folder: Path, data: bytes) -> Outcome:
    return judge(changed(folder, data), TRUST).outcome


def contents(item: Item, data: bytes) -> dict[bytes, bytes]:
    """Every stream below a storage, by its path."""
    found: dict[bytes, bytes] = {}
    for child in item.children:
        if child.type is Type.STREAM:
            found[child.name] = b"".join(data[start:end] for start, end in child.spans)
        else:
            found |= {child.name + b"/" + name: inner for name, inner in contents(child, data).items()}
    return found


def read(path: Path) -> Item:
    with open_artifact(path) as source:
        return read_compound_file(source).root


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.RSA3072])
def test_a_package_is_trusted_and_stripped_to_the_same_streams(tmp_path: Path, sector: int, kind: KeyKind) -> None:
    plain = package(tmp_path / "plain.msi", sector=sector)
    path = sign_inside(plain, PKI.leaf(kind=kind), tmp_path / "signed.msi", "msi", tsa=PKI.tsa())
    verdict = judge(path, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "msi")
    assert verdict.coverage.ranges[-1].end == path.stat().st_size
    bare = stripped(path, tmp_path / "bare.msi", "msi")
    assert bare.read_bytes() == plain.read_bytes(), "it was laid out as we lay it out"
    assert codes(judge(bare, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(UsageError, match="no signature in it"):
        stripped(bare, tmp_path / "no.msi", "msi")


def test_signing_again_replaces(tmp_path: Path, signed: bytes) -> None:
    path = changed(tmp_path, signed)
    again = sign_inside(path, PKI.leaf(), tmp_path / "again.msi", "msi", existing=Existing.REPLACE)
    assert judge(again, TRUST).outcome is TRUSTED
    assert len(read(again).children) == len(read(path).children)
    for existing, why in ((Existing.REFUSE, "signed already"), (Existing.ADD, "one signature")):
        with pytest.raises(UsageError, match=why):
            sign_inside(path, RELEASE, tmp_path / "no.msi", "msi", existing=existing)
    with pytest.raises(UsageError, match="version in its database"):
        sign_inside(path, RELEASE, tmp_path / "no.msi", "msi", claims=Claims(version="1"))
    assert not (tmp_path / "no.msi").exists()


def test_a_wrong_key_is_refused(tmp_path: Path, signed: bytes) -> None:
    path = changed(tmp_path, signed)
    assert judge(path, TRUST).outcome is TRUSTED
    assert judge(path, believed(Pki.make("EVIL"))).outcome is REJECTED


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a table is renamed", lambda d: d.replace("Tables".encode("utf-16-le"), "Tablet".encode("utf-16-le"))),
        ("a byte of a stream", lambda d: d.replace(b"launch", b"lunch ", 1)),
        ("a byte of an inner stream", lambda d: d.replace(b"inner", b"outer")),
        ("a stream ends sooner", lambda d: put(d, entry(d, "Tables") + 120, 339)),
        ("a time", lambda d: put(d, entry(d, "Tables") + 108, 1)),
        ("state bits", lambda d: put(d, entry(d, "Tables") + 96, 1)),
        ("a storage's class", lambda d: put(d, entry(d, "Patch") + 80, 99)),
        ("the root's class", lambda d: d.replace(PACKAGE_CLASS, PACKAGE_CLASS.replace(b"\x84", b"\x86"))),
        ("the pre-hash", lambda d: put(d, entry(d, EXTENDED) + 120, 31)),
    ],
)
def test_what_the_package_says_about_its_streams_is_signed(
    tmp_path: Path, signed: bytes, name: str, change: Callable[[bytes], bytes]
) -> None:
    assert outcome(tmp_path, signed) is TRUSTED
    assert change(signed) != signed
    assert outcome(tmp_path, change(signed)) is REJECTED, name


def archive() -> bytes:
    held = BytesIO()
    with zipfile.ZipFile(held, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Main-Class: Evil\r\n\r\n")
    return held.getvalue()


def grown(data: bytes, more: bytes, mark: int) -> bytes:
    """One more sector, and what the table says of it."""
    return put(data, table(data, len(data) // 512 - 1), mark) + more.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("where", "change"),
    [
        ("behind the last sector", lambda d: d + archive()),
        ("one byte behind it", lambda d: d + b"\0"),
        ("a sector that the table does not know", lambda d: d + bytes(512 * 200)),
        ("a free sector", lambda d: grown(d, archive(), NOTHING)),
        ("a sector of nobody", lambda d: grown(d, bytes(512), END)),
        ("behind a stream's end", lambda d: put(d, 512 + 5000, archive()[:100])),
        ("behind a small stream's end", lambda d: put(d, d.index(b"inner") + 5, b"x")),
        ("an unused directory entry", lambda d: put(d, d.rindex(b"\xff" * 12 + bytes(36)) + 20, 1)),
        ("the links of an unused entry", lambda d: put(d, d.rindex(b"\xff" * 12 + bytes(36)), 1)),
        ("behind a name", lambda d: put(d, entry(d, "Tables") + 20, 1)),
        ("a stream's class", lambda d: put(d, entry(d, "Tables") + 80, 1)),
        ("the header's class", lambda d: put(d, 8, 1)),
        ("the header's reserved bytes", lambda d: put(d, 34, 1)),
        ("the table behind the last sector", lambda d: put(d, table(d, 127), 5)),
        ("the list of table sectors", lambda d: put(d, 76 + 4 * 108, 5)),
    ],
)
def test_nothing_is_hidden_in_a_signed_package(
    tmp_path: Path, signed: bytes, where: str, change: Callable[[bytes], bytes]
) -> None:
    """A059: a JAR behind a signed package (CVE-2020-1464), and every other place that no reader looks at."""
    assert outcome(tmp_path, signed) is TRUSTED
    verdict = judge(changed(tmp_path, change(signed)), TRUST)
    assert verdict.outcome is REJECTED, where
    (finding,) = [found for found in verdict.findings if found.code == "SW-ARTIFACT-MALFORMED"]
    assert "at byte " in finding.found


def test_free_sectors_of_zeros_hide_nothing(tmp_path: Path, signed: bytes) -> None:
    assert outcome(tmp_path, grown(signed, b"", NOTHING)) is TRUSTED
    assert outcome(tmp_path, grown(signed, b"x", NOTHING)) is REJECTED


def test_signing_leaves_behind_what_belonged_to_nothing(tmp_path: Path) -> None:
    data = package(tmp_path / "plain.msi").read_bytes()
    dirty = changed(tmp_path, put(grown(data, b"secret", NOTHING), 512 + 5000, b"secret"), "dirty.msi")
    path = sign_inside(dirty, RELEASE, tmp_path / "clean.msi", "msi")
    assert judge(path, TRUST).outcome is TRUSTED
    assert b"secret" not in path.read_bytes()


def links(data: bytes, name: str, **to: str) -> bytes:
    """An entry's left, right or child exchanged."""
    numbers = {one: entry(data, one) for one in ("Root Entry", *to.values())}
    first = min(numbers.values())
    for link, other in to.items():
        at = entry(data, name) + {"left": 68, "right": 72, "child": 76}[link]
        data = put(data, at, (numbers[other] - first) // 128)
    return data


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("a stream's chain in a circle", lambda d: put(d, table(d, 3), 2)),
        ("a chain to itself", lambda d: put(d, table(d, 0), 0)),
        ("a chain out of the file", lambda d: put(d, table(d, 0), 99999)),
        ("a chain into the table", lambda d: put(d, table(d, 3), number(d, 76))),
        ("a chain that ends too soon", lambda d: put(d, table(d, 3), END)),
        ("a chain that goes on", lambda d: put(d, table(d, 9), 10)),
        ("two streams share a sector", lambda d: put(d, entry(d, "Tables") + 116, number(d, entry(d, "Inner") + 116))),
        ("a stream beyond the mini stream", lambda d: put(d, entry(d, "Tables") + 116, 4000)),
        ("the directory in a circle", lambda d: put(d, table(d, number(d, 48)), number(d, 48))),
        ("the directory nowhere", lambda d: put(d, 48, 99999)),
        ("the mini table in a circle", lambda d: put(d, table(d, number(d, 60)), number(d, 60))),
        ("more mini table sectors", lambda d: put(d, 64, 2)),
        ("far more mini table sectors", lambda d: put(d, 64, 0x7FFFFFFF)),
        ("no mini table", lambda d: put(d, 64, 0)),
        ("a smaller mini stream", lambda d: put(d, entry(d, "Root Entry") + 120, 64)),
        ("a larger mini stream", lambda d: put(d, entry(d, "Root Entry") + 120, 1 << 30)),
        ("a stream of 2 GiB", lambda d: put(d, entry(d, "Cabinet") + 120, 1 << 31)),
        ("a stream of 2^32 bytes more", lambda d: put(d, entry(d, "Cabinet") + 124, 1)),
        ("a large stream that says it is small", lambda d: put(d, entry(d, "Cabinet") + 120, 100)),
        ("an empty stream with sectors", lambda d: put(d, entry(d, "Void") + 116, 1)),
        ("a storage with bytes", lambda d: put(d, entry(d, "Patch") + 120, 100)),
        ("a stream with children", lambda d: links(d, "Tables", child="Inner")),
        ("the tree in a circle", lambda d: links(d, "Inner", right="Void")),
        ("a storage that holds itself", lambda d: links(d, "Patch", child="Patch")),
        ("a child that is the root", lambda d: links(d, "Patch", child="Root Entry")),
        ("an entry that does not exist", lambda d: put(d, entry(d, "Tables") + 72, 77777)),
        ("an entry out of the tree", lambda d: put(d, entry(d, "Patch") + 76, NOTHING)),
        ("siblings out of order", lambda d: put(links(d, "Inner", right="Void"), entry(d, "Inner") + 68, NOTHING)),
        ("a name with a NUL", lambda d: put(d, entry(d, "Tables") + 4, b"\0\0")),
        ("a name without end", lambda d: put(d, entry(d, "Tables") + 64, b"\x0c\0")),
        ("a name of 0 bytes", lambda d: put(d, entry(d, "Tables") + 64, b"\0\0")),
        ("a name of 66 bytes", lambda d: put(d, entry(d, "Tables") + 64, b"\x42\0")),
        ("an unknown type", lambda d: put(d, entry(d, "Tables") + 66, b"\3")),
        ("a second root", lambda d: put(d, entry(d, "Tables") + 66, b"\5")),
        ("the signature is a storage", lambda d: put(d, entry(d, SIGNATURE) + 66, b"\1")),
        ("a pre-hash alone", lambda d: d.replace(SIGNATURE.encode("utf-16-le"), "\6DigitalSignature".encode("utf-16-le"))),
        ("version 5", lambda d: put(d, 26, b"\5")),
        ("version 4 in small sectors", lambda d: put(d, 26, b"\4")),
        ("big-endian", lambda d: put(d, 28, b"\xff\xfe")),
        ("another cutoff", lambda d: put(d, 56, 0)),
        ("no table", lambda d: put(d, 44, 0)),
        ("two table sectors", lambda d: put(d, 44, 2)),
        ("2^31 table sectors", lambda d: put(d, 44, 1 << 31)),
        ("a list of table sectors", lambda d: put(put(d, 72, 1), 68, 3)),
        ("2^31 lists", lambda d: put(put(d, 72, 1 << 31), 68, 3)),
        ("the table is not marked", lambda d: put(d, table(d, number(d, 76)), NOTHING)),
        ("the table is elsewhere", lambda d: put(d, 76, 99999)),
        ("a count of directory sectors", lambda d: put(d, 40, 2)),
    ],
)  # fmt: skip
def test_a_file_that_could_be_read_differently_is_refused(
    tmp_path: Path, signed: bytes, what: str, change: Callable[[bytes], bytes]
) -> None:
    assert outcome(tmp_path, signed) is TRUSTED
    bad = changed(tmp_path, change(signed))
    assert bad.read_bytes() != signed
    assert judge(bad, TRUST).outcome is REJECTED, what
    with pytest.raises(SealwrightError) as raised:
        sign_inside(bad, RELEASE, tmp_path / "no.msi", "msi", existing=Existing.REPLACE)
    assert isinstance(raised.value, MalformedArtifact), what
    assert "at byte " in raised.value.what


@pytest.mark.parametrize("name", ["Tables", "TABLES", "tables"])
def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path, name: str) -> None:
    held = (stream("Tables", b"one"), stream("Tablet", b"two"))
    data = sign_inside(package(tmp_path / "a.msi", *held), RELEASE, tmp_path / "b.msi", "msi").read_bytes()
    assert outcome(tmp_path, data) is TRUSTED
    twice = data.replace("Tablet".encode("utf-16-le"), name.encode("utf-16-le"))
    assert outcome(tmp_path, twice) is REJECTED
    for variant in (SIGNATURE.upper(), SIGNATURE.lower(), EXTENDED.upper()):
        with pytest.raises(MalformedArtifact, match="not a stream of that name"):
            package_of = package(tmp_path / f"{len(variant)}{variant[1:4]}.msi", stream(variant, b"x"))
            sign_inside(package_of, RELEASE, tmp_path / "no.msi", "msi")


def unextended(path: Path, out: Path, *more: Item) -> Path:
    """The package without its MsiDigitalSignatureEx, and with more streams."""
    with open_artifact(path) as source:
        root = read_compound_file(source).root
    kept = tuple(item for item in root.children if item.name != EXTENDED.encode("utf-16-le"))
    write_batch([Output(str(out), written(str(path), 512, root._replace(children=(*more, *kept))))])
    return out


def test_a_signature_of_the_bytes_alone_does_not_count(tmp_path: Path, signed: bytes) -> None:
    """With the pre-hash as its first stream a package signed with it would verify without it, whatever its streams are called."""
    path = changed(tmp_path, signed)
    assert judge(path, TRUST).outcome is TRUSTED
    with open_artifact(path) as source:
        prehash = read_package(source).prehash(HashName.SHA256).value
    less = unextended(path, tmp_path / "less.msi")
    assert judge(less, TRUST).outcome is REJECTED
    forged = unextended(path, tmp_path / "forged.msi", stream("\1", prehash))
    verdict = judge(forged, TRUST)
    assert verdict.outcome is REJECTED
    assert codes(verdict).count("SW-PART-UNSIGNED") == 1


def test_signatures_for_other_things_do_not_count(tmp_path: Path, signed: bytes) -> None:
    """A script's Authenticode signature, and a file's, in the place of a package's."""
    script = tmp_path / "a.ps1"
    script.write_bytes(FILES["crlf.ps1"])
    block = sign_inside(script, RELEASE, tmp_path / "b.ps1", "powershell").read_bytes()
    lines = block[len(FILES["crlf.ps1"]) :].decode().split("\r\n")
    other = base64.b64decode("".join(line[2:] for line in lines if "signature block" not in line))
    own = changed(tmp_path, signed)
    assert judge(own, TRUST).outcome is TRUSTED
    with open_artifact(own) as source:
        found = read_package(source)
    for wrong in (other, p7s(RELEASE, signed), b"\x30\x00", signed[:64]):
        streams = (stream(SIGNATURE, wrong), stream(EXTENDED, found.prehash(HashName.SHA256).value))
        root = found.root._replace(children=(*found.root.children, *streams))
        path = tmp_path / "wrong.msi"
        path.unlink(missing_ok=True)
        write_batch([Output(str(path), written(str(own), 512, root))])
        assert judge(path, TRUST).outcome is REJECTED


def test_every_byte_counts(tmp_path: Path) -> None:
    """What may change is what `inspect` says is not covered, and what is unsigned in a signature; interop flips every one."""
    small = package(tmp_path / "a.msi", stream("Tables", b"table"), storage("Patch", stream("Inner", b"inner")))
    path = sign_inside(small, RELEASE, tmp_path / "b.msi", "msi")
    verdict = judge(path, TRUST)
    assert verdict.outcome is TRUSTED
    data, open_to_change = path.read_bytes(), set[int]()
    for part in verdict.coverage.ranges:
        if part.extent is not Extent.HASHED:
            open_to_change |= set(range(part.start, part.end))
    accepted = [at for at, bad in flips(data, step=3) if outcome(tmp_path, bad) is TRUSTED]
    assert set(accepted) <= open_to_change
    directory = (number(data, 48) + 1) * 512
    fields = {at if at < 512 else (at - directory) % 128 for at in accepted if not 512 <= at < directory}
    # minor version, transaction number, end of an absent list; of an entry its colour; the root's time of change and size
    assert fields <= {24, 25, 52, 53, 54, 55, 68, 67, *range(108, 116), 120}
    for bad in truncations(data, step=61):
        assert outcome(tmp_path, bad) is REJECTED, len(bad)


def bulky(folder: Path, sector: int) -> tuple[Path, int]:
    """A package of one stream, and how many zeros that has."""
    size, bulk, plain = 24 << 20, folder / "bulk", folder / "plain.msi"
    with bulk.open("wb") as file:
        file.truncate(size)
    cabinet = Item("Cabinet".encode("utf-16-le"), Type.STREAM, size=size, spans=((0, size),))
    root = Item("Root Entry".encode("utf-16-le"), Type.ROOT, clsid=PACKAGE_CLASS, children=(cabinet,))
    write_batch([Output(str(plain), written(str(bulk), sector, root))])
    return plain, size


@pytest.mark.parametrize("sector", [512, 4096])
def test_large_packages_take_little_memory(tmp_path: Path, sector: int) -> None:
    """Above 7 MiB the table of version 3 has sectors that the header's list has no room for."""
    plain, size = bulky(tmp_path, sector)
    tracemalloc.start()
    path = sign_inside(plain, RELEASE, tmp_path / "signed.msi", "msi")
    assert judge(path, TRUST).outcome is TRUSTED
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    with path.open("r+b") as file:
        file.seek(sector + size - 1)
        file.write(b"x")
    assert judge(path, TRUST).outcome is REJECTED


def test_the_list_of_table_sectors_is_read_to_its_end_and_no_further(tmp_path: Path) -> None:
    """A version 3 file of 24 MiB has a list of three sectors; one that comes back to itself, or names a sector twice, is refused."""
    plain, size = bulky(tmp_path, 512)
    assert read(plain).children[0].size == size
    head = plain.read_bytes()[:512]
    first = number(head, 68)
    assert number(head, 72) == 3
    last_of_first, second_table = (first + 1) * 512 + 508, 76 + 4
    for at, value in (
        (last_of_first, first),
        (last_of_first, END),
        (last_of_first, 1 << 30),
        (second_table, number(head, 76)),
    ):
        with plain.open("r+b") as file:
            file.seek(at)
            before = file.read(4)
            file.seek(at)
            file.write(value.to_bytes(4, "little"))
        with pytest.raises(MalformedArtifact, match="at byte "):
            read(plain)
        with plain.open("r+b") as file:
            file.seek(at)
            file.write(before)
    assert read(plain).children[0].size == size


def test_depth_and_number_are_bounded(tmp_path: Path) -> None:
    nested = stream("A", b"x")
    for depth in range(17):
        nested = storage(f"S{depth}", nested)
    with pytest.raises(LimitExceeded, match="deep"):
        read(package(tmp_path / "deep.msi", nested))
    many = tuple(stream(f"{number:05}", b"") for number in range(1 << 13))
    with pytest.raises(LimitExceeded, match="directory"):
        read(package(tmp_path / "many.msi", *many))


def test_documents_of_other_programs_are_not_packages(tmp_path: Path, signed: bytes) -> None:
    other = changed(tmp_path, signed.replace(PACKAGE_CLASS, bytes(16)), "document.doc")
    assert codes(judge(other, TRUST)) == ["SW-SIGNATURE-MISSING"]
    with pytest.raises(MalformedArtifact, match="no package of Windows Installer"):
        sign_inside(other, RELEASE, tmp_path / "no.doc", "msi")


def test_the_layout_is_the_same_wherever_the_streams_stood(tmp_path: Path) -> None:
    one = package(tmp_path / "one.msi", stream("A", b"a" * 9000), stream("B", b"b"), stream("c", b"c" * 4096))
    other = package(tmp_path / "other.msi", stream("c", b"c" * 4096), stream("B", b"b"), stream("A", b"a" * 9000))
    assert one.read_bytes() == other.read_bytes()
    assert contents(read(one), one.read_bytes()) == {
        "A".encode("utf-16-le"): b"a" * 9000,
        "B".encode("utf-16-le"): b"b",
        "c".encode("utf-16-le"): b"c" * 4096,
    }


def test_the_command_finds_the_format_by_the_content(tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "signed.bin"
    plain = package(tmp_path / "plain.bin")
    assert main(["init", str(home)]) == 0
    assert main(["sign", str(plain), "--home", str(home), "--out", str(out)]) == 0
    assert main(["verify", str(out), "--trust", str(home / "trust.toml")]) == 0
    assert main(["inspect", str(out)]) == 0
    assert main(["strip", str(out), "--out", str(tmp_path / "bare.bin")]) == 0
    assert (tmp_path / "bare.bin").read_bytes() == plain.read_bytes()
    assert os.listdir(tmp_path).count("signed.bin") == 1
