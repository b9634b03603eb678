"""Ten thousand small files in one call: `verify` against the raw P-256 verify rate of all cores, `sign` against `openssl`.

verify: without timestamps (the goal is 0.35 of the raw rate) and with RSA-3072 timestamp tokens (0.15). sign: development key,
all durable on disk, against a loop of `openssl cms -sign` (15 times faster). Usage: many.py [files].
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sealwright.keys.key import KeyKind
from sealwright.signing.home import open_home
from sealwright.signing.init import InitOptions, init_home

SEALWRIGHT = str(Path(sys.executable).parent / "sealwright")
OPENSSL_LOOP = 200


def raw_verify(seconds: float) -> float:
    """P-256 verifications a second of one process."""
    key = ec.generate_private_key(ec.SECP256R1())
    value = key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    public, count, started = key.public_key(), 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for _ in range(50):
            public.verify(value, b"x", ec.ECDSA(hashes.SHA256()))
        count += 50
    return count / (time.perf_counter() - started)


def all_cores(seconds: float) -> float:
    """The same, of every core at once."""
    cores = len(os.sched_getaffinity(0))
    with get_context("spawn").Pool(cores) as pool:
        return sum(pool.map(raw_verify, [seconds] * cores))


def run(*arguments: str) -> float:
    """Wall seconds of a sealwright command that must succeed."""
    started = time.perf_counter()
    subprocess.run([SEALWRIGHT, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def files(folder: Path, count: int) -> None:
    """So many files of 4 KiB."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:05}.bin").write_bytes(os.urandom(4096))


def openssl_loop(folder: Path, home: Path) -> float:
    """Seconds a signature of `openssl cms -sign`, one process each."""
    names = sorted(folder.iterdir())[:OPENSSL_LOOP]
    started = time.perf_counter()
    for name in names:
        command = ["openssl", "cms", "-sign", "-cades", "-binary", "-in", name, "-inkey", home / "keys" / "release.pem",
                   "-signer", home / "certificates" / "release.pem", "-outform", "DER", "-out", f"{name}.openssl"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
    taken = (time.perf_counter() - started) / len(names)
    for name in folder.glob("*.openssl"):
        name.unlink()
    return taken


def main() -> None:
    """Print the ratios."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="many-") as name:
        place = Path(name)
        for what, kind, stamp in (
            ("without timestamps", KeyKind.P256, "none"),
            ("with RSA-3072 timestamps", KeyKind.RSA3072, "local"),
        ):
            home = place / f"home-{kind}"
            init_home(str(home), InitOptions(datetime.now(UTC), "Bench"))
            if stamp == "local":
                # an authority with an RSA key beside the P-256 signer
                rsa = place / "rsa"
                init_home(str(rsa), InitOptions(datetime.now(UTC), "Bench", kind=kind))
                mix(home, rsa)
            folder = place / what.replace(" ", "-")
            files(folder, count)
            if stamp == "none":
                peer = openssl_loop(folder, home)
                signing = run("sign", str(folder), "--recursive", "--home", str(home), "--timestamp", stamp)
                print(f"sign {count} files: {signing:.2f} s, {signing / count * 1e6:.0f} us each; openssl cms -sign "
                      f"{peer * 1e3:.1f} ms each; {peer * count / signing:.1f} times faster")  # fmt: skip
            else:
                run("sign", str(folder), "--recursive", "--home", str(home), "--timestamp", stamp)
            before = all_cores(2.0)
            taken = run("verify", str(folder), "--recursive", "--trust", str(home / "trust.toml"), "--quiet")
            rate = (before + all_cores(2.0)) / 2
            print(f"verify {count} files {what}: {taken:.2f} s, {count / taken:.0f}/s; raw P-256 {rate:.0f}/s on all cores; "
                  f"ratio {count / taken / rate:.2f}")  # fmt: skip
            shutil.rmtree(folder)


def mix(home: Path, rsa: Path) -> None:
    """Let the home stamp with the RSA authority, and its trust file believe it."""
    for part in ("keys/timestamp.pem", "certificates/timestamp.pem"):
        shutil.copy(rsa / part, home / part)
    text = (home / "home.toml").read_text()
    place = text.index('name = "timestamp"')
    (home / "home.toml").write_text(
        text[:place] + text[place:].replace("ECDSA with SHA-256", "RSA PKCS#1 v1.5 with SHA-256", 1)
    )
    trust = (home / "trust.toml").read_text()
    authority = trust.index("[[authority]]")
    pem = (rsa / "ca.pem").read_text()
    start, end = trust.index("'''", authority), trust.index("'''", trust.index("'''", authority) + 3)
    (home / "trust.toml").write_text(trust[:start] + "'''\n" + pem + trust[end:])
    run("trust", "sign", str(home / "trust.toml"), "--home", str(home), "--person", "officer")
    open_home(str(home))


if __name__ == "__main__":
    main()
