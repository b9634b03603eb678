"""Building a path of three against OpenSSL's own, and what a long revocation list and a timestamp add to a whole `verify`.

Peer of the first: an X509StoreContext of pyOpenSSL that is given the same certificates (wanted <= 1.2 x). The second is `verify` of one file,
as a cold process and as the first call inside one, in turns with the same file without list and timestamp (wanted <= 30 ms more).
Usage: paths.py [rounds].
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from OpenSSL import crypto  # noqa: E402

from kit.certs import NOW, chain, tlv  # noqa: E402
from kit.pki import Pki  # noqa: E402
from kit.trust import OFFICER, RECOVERY, p7s, person, quorum, trust_bytes, trust_parts  # noqa: E402
from sealwright.pki.crl import Revoked, make_crl  # noqa: E402
from sealwright.trust import certificate as certificates  # noqa: E402
from sealwright.trust.path import Path as Found  # noqa: E402
from sealwright.trust.path import PathCache, Strictness  # noqa: E402

_LONGEST = 500_000
_INSIDE = """
import sys, time
from sealwright.cli.main import main
started = time.perf_counter()
try:
    code = main(["verify", "drive.bin", "--trust", sys.argv[1]])
except SystemExit as ended:
    code = ended.code
taken = time.perf_counter() - started
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
print(code or 0, taken, peak, file=sys.stderr)
"""


def build_paths(rounds: int) -> None:
    """Ours and OpenSSL's, both from DER, cold and warm, in turns."""
    one = chain()
    leaf, bag, anchors = one.leaf.der, [one.ca.der], [one.root.der]

    def ours(cache: PathCache) -> None:
        found = cache.find(certificates.load_certificate(leaf, "leaf"), [], bag, anchors, NOW, Strictness.OURS)
        assert isinstance(found, Found)

    def load(der: bytes) -> crypto.X509:
        return crypto.X509.from_cryptography(x509.load_der_x509_certificate(der))

    def theirs(ready: tuple[crypto.X509, crypto.X509, crypto.X509] | None) -> None:
        signer, between, top = ready or (load(leaf), load(bag[0]), load(anchors[0]))
        store = crypto.X509Store()
        store.add_cert(top)
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | crypto.X509StoreFlags.X509_STRICT)
        store.set_time(NOW)
        crypto.X509StoreContext(store, signer, [between]).verify_certificate()

    ready = (load(leaf), load(bag[0]), load(anchors[0]))
    caches = [value for value in vars(certificates).values() if hasattr(value, "cache_clear")]
    cold: list[tuple[float, float]] = []
    same: list[tuple[float, float]] = []
    warm: list[tuple[float, float]] = []
    known = PathCache()
    ours(known)
    for _ in range(rounds * 20):
        for cache in caches:
            cache.cache_clear()
        cold.append((_timed(lambda: ours(PathCache())), _timed(lambda: theirs(None))))
        same.append((_timed(lambda: ours(PathCache())), _timed(lambda: theirs(ready))))
        warm.append((_timed(lambda: ours(known)), _timed(lambda: theirs(ready))))
    for what, taken in (("nothing known", cold), ("certificates loaded", same), ("the path known", warm)):
        mine, other = (statistics.median(pair[place] for pair in taken) for place in (0, 1))
        print(f"path of three, {what}: {mine * 1e6:.0f} us, OpenSSL {other * 1e6:.0f} us: {mine / other:.2f} x")


def _timed(work) -> float:  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _long_list(pki: Pki, now: datetime, count: int) -> bytes:
    """A list put together by hand: the builder copies what it has for each entry."""
    dice = random.Random(count)
    date = tlv(0x17, f"{now - timedelta(days=40):%y%m%d%H%M%SZ}".encode())
    reason = bytes.fromhex("300c300a0603551d1504030a01")
    entries = b"".join(
        tlv(
            0x30,
            tlv(2, (dice.getrandbits(150) | 1 << 158).to_bytes(20, "big"))
            + date
            + dice.choice((b"", reason + b"\x04", reason + b"\x01")),
        )
        for _ in range(count)
    )
    one = Revoked(1 << 158, now - timedelta(days=40), None, None)
    ca = pki.intermediate
    small = make_crl(
        ca.certificate,
        ca.key,
        number=7,
        this_update=now - timedelta(hours=1),
        next_update=now + timedelta(days=20),
        revoked=[one],
    )
    body = x509.load_der_x509_crl(small).tbs_certlist_bytes
    only = tlv(0x30, tlv(0x30, tlv(2, one.serial.to_bytes(20, "big")) + date))
    assert body.count(only) == 1
    inside = body[4 if body[1] == 0x82 else 3 if body[1] == 0x81 else 2 :].replace(only, tlv(0x30, entries))
    signed = tlv(0x30, inside)
    private = ca.key._private
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    value = private.sign(signed, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, signed + bytes.fromhex("300a06082a8648ce3d040302") + tlv(3, b"\x00" + value))


def prepare(folder: Path) -> dict[str, Path]:
    """Trust files with nothing beside them, with a list that is short, long, as long as may be; and the signatures."""
    now = datetime.now(UTC).replace(microsecond=0)
    pki = Pki.make(at=now - timedelta(days=30))
    data = os.urandom(1 << 20)
    signer, tsa = pki.leaf(at=now - timedelta(days=5)), pki.tsa(at=now - timedelta(days=5))
    made: dict[str, Path] = {}
    for what, count in {
        "plain": None,
        "short list": 1,
        "100,000 entries": 100_000,
        "500,000 entries": _LONGEST,
    }.items():
        place = folder / what.replace(" ", "-").replace(",", "")
        place.mkdir(mode=0o700)
        stamped = {} if count is None else {"tsa": tsa}
        (place / "drive.bin").write_bytes(data)
        (place / "drive.bin.p7s").write_bytes(p7s(signer, data, at=now - timedelta(hours=2), **stamped))
        parts = trust_parts(
            pki,
            issued=now - timedelta(days=1),
            expires=now + timedelta(days=100),
            person=[person("olga", OFFICER), person("rolf", RECOVERY)],
            officers=quorum(1, olga=OFFICER),
            crl=[{"issuer": pki.intermediate.pem}] if count else None,
        )
        text = trust_bytes(parts)
        (place / "trust.toml").write_bytes(text)
        (place / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, text, kind="trust", at=now))
        if count:
            crl = _long_list(pki, now, count)
            (place / "trust.d").mkdir()
            (place / "trust.d" / "ca.crl").write_bytes(crl)
        made[what] = place
    return made


def judge_files(folder: Path, rounds: int) -> None:
    """Cold processes and first calls, each kind in turn."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kinds = prepare(folder)
    cold: dict[str, list[float]] = {what: [] for what in kinds}
    inside: dict[str, list[float]] = {what: [] for what in kinds}
    memory: dict[str, int] = {}
    command = [sys.executable, "-m", "sealwright", "verify", "drive.bin", "--trust", "trust.toml"]
    for number in range(rounds + 1):
        for what, place in kinds.items():
            started = time.perf_counter()
            subprocess.run(command, cwd=place, env=environment, capture_output=True, check=True)
            taken = time.perf_counter() - started
            done = subprocess.run(
                [sys.executable, "-c", _INSIDE, "trust.toml"],
                cwd=place, env=environment, capture_output=True, text=True, check=True,
            )  # fmt: skip
            code, first, peak = done.stderr.split()[-3:]
            assert code == "0", done.stderr
            if number:
                cold[what].append(taken)
                inside[what].append(float(first))
                memory[what] = int(peak)
    for what, place in kinds.items():
        size = sum(one.stat().st_size for one in place.glob("trust.d/*.crl"))
        figures = []
        for kind, times in (("cold", cold), ("first call", inside)):
            more = statistics.median(one - other for one, other in zip(times[what], times["plain"], strict=True))
            figures.append(
                f"{kind} {statistics.median(times[what]) * 1e3:.0f} ms ({more * 1e3:+.1f}; quickest {(min(times[what]) - min(times['plain'])) * 1e3:+.1f})"
            )
        stamp = "" if what == "plain" else f", timestamp, list of {size / 1e6:.1f} MB"
        print(f"verify, path of three, {what}{stamp}: {', '.join(figures)}, peak {memory[what] / 1024:.0f} MiB")


def main() -> None:
    """Print medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    build_paths(rounds)
    with tempfile.TemporaryDirectory(prefix="paths-") as name:
        judge_files(Path(name), rounds)


if __name__ == "__main__":
    main()
