"""Small files that would take long or much: each is refused soon, in little memory (A052, A073)."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.archives import zipped
from kit.inside import sign_inside
from kit.signedfiles import MAKERS, RELEASE, TRUST
from kit.trust import judge
from sealwright.trust.verdict import Outcome

SECONDS = 4.0
MEMORY_MIB = 100
MAIN = b"Manifest-Version: 1.0\r\n"


def jar(folder: Path, manifest: bytes, members: dict[str, bytes] | None = None, statement: bytes = b"") -> Path:
    path = folder / "bomb.jar"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/MANIFEST.MF", manifest)
        archive.writestr("META-INF/A.SF", statement or b"Signature-Version: 1.0\r\n\r\n")
        archive.writestr("META-INF/A.RSA", b"x")
        for name, data in (members or {}).items():
            archive.writestr(name, data)
    return path


class Dtb:
    """A device tree written tag by tag, as wrong as its author likes."""

    def __init__(self) -> None:
        self.body, self.strings, self.known = bytearray(), b"", dict[bytes, int]()

    def node(self, name: bytes, *inner: Callable[[], object]) -> Callable[[], None]:
        def write() -> None:
            text = name + b"\0"
            self.body += struct.pack(">I", 1) + text + bytes(-len(text) % 4)
            for one in inner:
                one()
            self.body += struct.pack(">I", 2)

        return write

    def value(self, name: bytes, data: bytes) -> Callable[[], None]:
        def write() -> None:
            if name not in self.known:
                self.known[name] = len(self.strings)
                self.strings += name + b"\0"
            self.body += struct.pack(">III", 3, len(data), self.known[name]) + data + bytes(-len(data) % 4)

        return write

    def written(self, path: Path, root: Callable[[], None]) -> Path:
        root()
        body = self.body + struct.pack(">I", 9)
        total = 56 + len(body) + len(self.strings)
        head = struct.pack(
            ">10I", 0xD00DFEED, total, 56, 56 + len(body), 40, 17, 16, 0, len(self.strings), len(body)
        ) + bytes(16)
        path.write_bytes(head + body + self.strings)
        return path


def image(tree: Dtb, number: int) -> Callable[[], None]:
    algo, value = tree.value(b"algo", b"sha256\0"), tree.value(b"value", bytes(32))
    return tree.node(b"%d" % number, tree.value(b"data", b"x"), tree.node(b"hash", algo, value))


def of_images(folder: Path) -> Path:
    tree = Dtb()
    images = tree.node(b"images", *(image(tree, number) for number in range(2800)))
    kernel = tree.node(b"c", tree.value(b"kernel", b"0\0"))
    return tree.written(folder / "bomb.fit", tree.node(b"", images, tree.node(b"configurations", kernel)))


def of_signatures(folder: Path) -> Path:
    tree = Dtb()
    parts = (
        tree.value(b"algo", b"sha256,rsa2048\0"),
        tree.value(b"value", bytes(256)),
        tree.value(b"hashed-nodes", b"/\0" * 4000),
        tree.value(b"hashed-strings", bytes(8)),
    )
    signatures = (tree.node(b"signature%d" % number, *parts) for number in range(400))
    one = tree.node(b"c", tree.value(b"kernel", b"0\0"), *signatures)
    root = tree.node(b"", tree.node(b"images", image(tree, 0)), tree.node(b"configurations", one))
    return tree.written(folder / "bomb.fit", root)


def of_long_names(folder: Path) -> Path:
    tree = Dtb()
    named = (tree.node(b"%d" % number, tree.value(b"x" * 65_000, b"")) for number in range(6000))
    return tree.written(folder / "bomb.fit", tree.node(b"", tree.node(b"images", *named)))


def of_values(folder: Path) -> Path:
    tree = Dtb()
    filled = (tree.node(b"%d" % number, tree.value(b"comment", bytes(65_536))) for number in range(1000))
    return tree.written(folder / "bomb.fit", tree.node(b"", tree.node(b"images", *filled)))


BOMBS: dict[str, Callable[[Path], Path]] = {
    "attributes": lambda folder: jar(folder, MAIN + b"".join(b"a%d: x\r\n" % n for n in range(20_000)) + b"\r\n"),
    "lines": lambda folder: jar(folder, MAIN + b"X: y\r\n" + b" \r\n" * 1_990_000 + b"\r\n"),
    "sections": lambda folder: jar(folder, MAIN + b"\r\n" + b"".join(b"Name: %d\r\n\r\n" % n for n in range(150_000))),
    "statement": lambda folder: jar(
        folder, MAIN + b"\r\n", statement=b"Signature-Version: 1.0\r\n\r\n" + b"Name: x\r\n\r\n" * 150_000
    ),
    "depth": lambda folder: jar(
        folder, MAIN + b"\r\n", {f"{number}/" + "a/" * 2040 + "f": b"" for number in range(100)}
    ),
    "unsigned": lambda folder: jar(folder, MAIN + b"\r\n", {str(number): b"" for number in range(8000)}),
    "images": of_images,
    "signatures": of_signatures,
    "names": of_long_names,
    "values": of_values,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a073_a_small_file_takes_no_long_time(tmp_path: Path, bomb: str) -> None:
    kind = "fit" if bomb in ("images", "signatures", "names", "values") else "jar"
    assert judge(MAKERS[kind](tmp_path), TRUST).outcome is Outcome.TRUSTED
    path = BOMBS[bomb](tmp_path)
    started = time.process_time()
    verdict = judge(path, TRUST)
    assert time.process_time() - started < SECONDS
    assert verdict.outcome is Outcome.REJECTED
    assert len(verdict.findings) < 1000


@pytest.mark.parametrize("bomb", ["lines", "sections", "names", "values"])
def test_a073_a_small_file_takes_little_memory(tmp_path: Path, bomb: str) -> None:
    program = (
        "import sys; from sealwright.artifact.source import open_artifact\n"
        "from sealwright.formats.embedded import extract_embedded, recognise; from sealwright.formats.format import Search\n"
        "with open_artifact(sys.argv[1]) as source:\n"
        "    extract_embedded(sys.argv[1], recognise(source), Search(source=source))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, BOMBS[bomb](tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout) < MEMORY_MIB * 1024


def test_a073_images_that_share_their_bytes_are_read_once(tmp_path: Path) -> None:
    """Fifield's overlapping bomb: two thousand images of one megabyte, which is there once."""
    tree, data = Dtb(), bytes(1 << 20)
    placed = (
        tree.node(
            b"%d" % number,
            tree.value(b"data-offset", bytes(4)),
            tree.value(b"data-size", len(data).to_bytes(4, "big")),
            tree.node(b"hash", tree.value(b"algo", b"sha256\0"), tree.value(b"value", bytes(32))),
        )
        for number in range(2000)
    )
    signature = tree.node(
        b"signature-1",
        tree.value(b"algo", b"sha256,rsa2048\0"),
        tree.value(b"value", bytes(256)),
        tree.value(b"hashed-strings", bytes(8)),
    )
    one = tree.node(b"c", tree.value(b"kernel", b"0\0"), signature)
    path = tree.written(
        tmp_path / "b.fit", tree.node(b"", tree.node(b"images", *placed), tree.node(b"configurations", one))
    )
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(-len(whole) % 4) + data)
    started = time.process_time()
    assert judge(path, TRUST).outcome is Outcome.REJECTED
    assert time.process_time() - started < SECONDS


def test_a073_a_member_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    good = sign_inside(zipped(tmp_path / "p.jar", {"big": bytes(1 << 20)}), RELEASE, tmp_path / "s.jar", "jar")
    assert judge(good, TRUST).outcome is Outcome.TRUSTED
    data = bytearray(good.read_bytes())
    for magic, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.rindex(magic)
        data[place + at : place + at + 4] = (100).to_bytes(4, "little")
    good.write_bytes(data)
    verdict = judge(good, TRUST)
    assert verdict.outcome is Outcome.REJECTED
    assert "longer than 100 bytes" in verdict.findings[0].sentence
