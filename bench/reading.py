"""What finding and hashing costs in each format, without any start-up: `extract` and `prepare` against SHA-256 of the same bytes, in one process.

Processor time, of each the quickest of five, so that other work on the machine counts little. Usage: reading.py [FORMAT,... [MiB]]
"""

from __future__ import annotations

import hashlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from formats import HERE, NAMES, SEALWRIGHT, SIGNING, SIZES
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.source import open_artifact
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing, Search

MEBIBYTES = 64


def processor_s(work: Callable[[], object]) -> float:
    """The quickest of five, with the processes it starts."""

    def spent() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    seconds = []
    for _ in range(5):
        before = spent()
        work()
        seconds.append(spent() - before)
    return min(seconds)


def hashed(path: Path) -> bytes:
    """SHA-256 of a file, read as quickly as Python can."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def measured(form: str, folder: Path, mebibytes: int) -> None:
    """Print one format's ratios."""
    subprocess.run(
        [sys.executable, HERE / "artifacts.py", form, folder, str(mebibytes)], check=True, capture_output=True
    )
    plain, key, home = next(folder.glob("large.*")), (folder / "key").read_text(), folder / "home"
    signed, name = folder / f"signed{plain.suffix}", form.partition("-")[0]
    words = [SEALWRIGHT, "sign", plain, "--home", home, "--key", key, "--format", name, "--out", signed]
    subprocess.run([*words, *SIGNING.get(form, ())], check=True, capture_output=True)
    pem = (home / "certificates" / f"{key}.pem").read_bytes()
    certificates = tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))
    claims = Claims(version="1.2.3") if form == "mcuboot" else Claims()
    using = embedded_format(name)

    def extract() -> None:
        with open_artifact(str(signed)) as source:
            using.extract(str(signed), Search(source=source, certificates=certificates))

    peer = processor_s(lambda: hashed(signed))
    found = processor_s(extract)
    prepared = processor_s(lambda: using.prepare(str(plain), (HashName.SHA256,), claims, Existing.REPLACE, None))
    print(
        f"{form} {mebibytes} MiB: extract {found / peer:.2f} x, prepare {prepared / peer:.2f} x SHA-256 ({peer:.3f} s)",
        flush=True,
    )


def main() -> None:
    """Every format that keeps its signature inside, or those that are named."""
    names = sys.argv[1].split(",") if len(sys.argv) > 1 else [name for name in NAMES if name != "detached"]
    mebibytes = int(sys.argv[2]) if len(sys.argv) > 2 else MEBIBYTES
    for form in names:
        with tempfile.TemporaryDirectory(prefix="reading-") as name:
            folder = Path(name)
            folder.chmod(0o700)
            measured(form, folder, min(mebibytes, SIZES.get(form, mebibytes)))


if __name__ == "__main__":
    main()
