"""P-256 signatures of a SoftHSM token through the worker process, against python-pkcs11 directly in one process.

The worker's signatures are verified before they leave, by the parent while the token signs on; the direct ones are not.
The goal is 0.8. Then one and two workers of a pool in turn, for P-256 and RSA-3072. Usage: pkcs11_worker.py [signatures].
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.tokens import LABEL, PIN, TOKEN, softhsm
from sealwright.envelope.cms_write import to_be_signed
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.pool import open_token_pool

DIRECT = """
import sys, time, hashlib, pkcs11
from pkcs11 import Mechanism, ObjectClass
module, label, pin, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
with pkcs11.lib(module).get_token(token_label=label).open(user_pin=pin) as session:
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="bench")
    digests = [hashlib.sha256(b"%d" % n).digest() for n in range(count)]
    started = time.perf_counter()
    for digest in digests:
        key.sign(digest, mechanism=Mechanism.ECDSA)
    print(count / (time.perf_counter() - started))
"""


def main() -> None:
    """Print the ratio of five rounds in turn."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    pin = softhsm()
    info = create_key(f"{TOKEN};object=bench", KeyKind.P256, pin)
    batch = [to_be_signed(b"%d" % number, info.algorithm) for number in range(count)]
    ours, theirs = [], []
    with closing(open_key(info.uri, pin)) as key:
        key.sign(batch[:100])
        for _ in range(5):
            started = time.perf_counter()
            key.sign(batch)
            ours.append(count / (time.perf_counter() - started))
            direct = [sys.executable, "-c", DIRECT, "/usr/lib/softhsm/libsofthsm2.so", LABEL, PIN, str(count)]
            theirs.append(float(subprocess.run(direct, capture_output=True, check=True, text=True).stdout))
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    print(f"P-256, {count} signatures: through the worker {statistics.median(ours):.0f}/s, directly "
          f"{statistics.median(theirs):.0f}/s, ratio {ratio:.2f}")  # fmt: skip
    pools(info.uri, KeyKind.P256, count, pin)
    pools(create_key(f"{TOKEN};object=bench-rsa", KeyKind.RSA3072, pin).uri, KeyKind.RSA3072, count // 20, pin)


def pools(uri: str, kind: KeyKind, count: int, pin: Pin) -> None:
    """One worker and two, five rounds in turn."""
    batch = [to_be_signed(b"%d" % number, kind.algorithm) for number in range(count)]
    rates: dict[int, list[float]] = {1: [], 2: []}
    with (
        closing(open_token_pool(uri, pin, workers=1)) as one,
        closing(open_token_pool(uri, pin, workers=2)) as two,
    ):
        for _ in range(5):
            for number, key in ((1, one), (2, two)):
                key.sign(batch[:100])
                started = time.perf_counter()
                key.sign(batch)
                rates[number].append(count / (time.perf_counter() - started))
    ratio = statistics.median(second / first for first, second in zip(rates[1], rates[2], strict=True))
    print(f"{kind}, {count} signatures: one worker {statistics.median(rates[1]):.0f}/s, two "
          f"{statistics.median(rates[2]):.0f}/s, ratio {ratio:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
