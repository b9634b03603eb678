"""A whole `survey` of 100,000 files, 10,000 of them signed in eight formats, against `find | xargs -P2 openssl dgst` of the same tree.

The peer only hashes; the survey walks, hashes, finds and checks every signature and timestamp, and puts together copies, versions
and signers. Rounds in turn, ratio of each round, median; of processor time too, which other work on the machine disturbs less. Printed
as well: the memory of the command and of its largest worker, and when the first line was on the screen. Page cache warm.
Usage: survey.py [scale [rounds]]; a scale of 0.1 takes a tenth of the files.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from hash_tree import PEER, fill, timed

from kit.archives import zipped
from kit.efi import tiny
from kit.inside import sign_inside
from kit.modules import tiny_module
from kit.pki import Pki
from kit.uboot import fit
from kit.updates import archive, bundle, description, updater
from sealwright.artifact.claims import Claims
from sealwright.envelope.kinds import Construction
from sealwright.formats.format import Existing
from sealwright.keys.key import KeyKind

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
FILES, SIGNED, VARIANTS = 100_000, 10_000, 8
PKI = Pki.make("Bench")
RELEASE, TSA = updater(PKI), PKI.tsa()
RSA = PKI.leaf("release", kind=KeyKind.RSA3072)
BOOT = PKI.leaf("boot", construction=Construction.MCUBOOT)
MODULES = PKI.leaf("modules", construction=Construction.KMOD)
BOARD = PKI.leaf("board", kind=KeyKind.RSA3072, construction=Construction.FIT)
Make = Callable[[Path, bytes], Path]


def _file(name: str) -> Make:
    def make(folder: Path, data: bytes) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def _sign(form: str, folder: Path, data: bytes) -> Path:
    """A signed file of a format, of its own content."""
    if form == "pe":
        return sign_inside(_file("a.efi")(folder, tiny(data)), RSA, folder / "signed.efi", form, tsa=TSA)
    if form == "mcuboot":
        plain, claims = _file("a.bin")(folder, data), Claims(version="1.2.3", generation=7)
        return sign_inside(plain, BOOT, folder / "signed.img", form, claims=claims)
    if form == "fit":
        return sign_inside(fit(folder / "fit", kernel=data), BOARD, folder / "signed.fit", form)
    if form == "rauc":
        plain = bundle(folder, RELEASE, "plain", data)
        return sign_inside(plain, RELEASE, folder / "signed.raucb", form, existing=Existing.REPLACE)
    if form == "swupdate":
        plain = archive(folder, files={"sw-description": description(data), "fw.bin": data})
        return sign_inside(plain, RELEASE, folder / "signed.swu", form)
    if form == "jar":
        return sign_inside(zipped(folder / "a.jar", {"fw.bin": data}), RELEASE, folder / "signed.jar", form, tsa=TSA)
    if form == "powershell":
        plain = _file("a.ps1")(folder, b"Write-Host '%s'\r\n" % data.hex().encode()[:6000])
        return sign_inside(plain, RELEASE, folder / "signed.ps1", form, tsa=TSA)
    return sign_inside(_file("a.ko")(folder, tiny_module() + data), MODULES, folder / "signed.ko", "kmod")


FORMATS = ("pe", "mcuboot", "fit", "rauc", "swupdate", "jar", "powershell", "kmod")


def samples(folder: Path) -> list[Path]:
    """VARIANTS files of each format."""
    found, chance = [], Random(9)
    for form in FORMATS:
        for number in range(VARIANTS):
            place = folder / f"{form}-{number}"
            place.mkdir()
            found.append(_sign(form, place, chance.randbytes(chance.randrange(4096, 12_000))))
    return found


def put_in(root: Path, signed: list[Path], count: int, every: int) -> None:
    """One of ten files becomes a signed one, in the order of the formats."""
    for number in range(0, count, every):
        plain = root / f"d{number // 10_000}" / f"e{number // 100}" / f"f{number}.bin"
        one = signed[number // every * VARIANTS % len(signed) + number // every // len(FORMATS) % VARIANTS]
        shutil.copyfile(one, plain.with_suffix(one.suffix))
        plain.unlink()


def first_line(root: str) -> float:
    """Seconds until the first line can be read."""
    started = time.perf_counter()
    with subprocess.Popen([SEALWRIGHT, "survey", root], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        taken = time.perf_counter() - started
        process.stdout.read()
    return taken


def peaks(root: str) -> tuple[int, int]:
    """MiB of the command, and of its largest worker."""
    code = (
        "import resource, sys\nfrom sealwright.cli.main import main\nmain(['survey', sys.argv[1]])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "
        "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True).stderr
    own, worker = said.splitlines()[-1].split()
    return int(own) // 1024, int(worker) // 1024


def main() -> None:
    """Print the ratios."""
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    count = int(FILES * scale)
    with tempfile.TemporaryDirectory(prefix="survey-") as place, tempfile.TemporaryDirectory(prefix="signed-") as aside:
        fill(place, count, 4096, 16384)
        put_in(Path(place), samples(Path(aside)), count, FILES // SIGNED)
        peer, ours, theirs = ["sh", "-c", PEER.format(batch=2000)], [], []
        timed(peer, place)  # warms the page cache
        for _ in range(rounds):
            ours.append(timed([SEALWRIGHT, "survey", place], place))
            theirs.append(timed(peer, place))
        start, (own, worker) = first_line(place), peaks(place)
    ratios = [one.wall / other.wall for one, other in zip(ours, theirs, strict=True)]
    processor = statistics.median(one.processor / other.processor for one, other in zip(ours, theirs, strict=True))
    print(f"{count} files, {count * SIGNED // FILES} signed in {len(FORMATS)} formats, {rounds} rounds: survey "
          f"{statistics.median(one.wall for one in ours):.2f} s, find | xargs -P2 openssl "
          f"{statistics.median(one.wall for one in theirs):.2f} s, ratio {statistics.median(ratios):.2f} "
          f"({min(ratios):.2f}-{max(ratios):.2f}), of processor time {processor:.2f}; first line after {start:.2f} s; "
          f"memory {own} MiB, largest worker {worker} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
