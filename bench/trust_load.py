"""How fast a trust file loads: `load_trust` of 200 anchors and 10,000 denials (limit: 40 ms), of a plant's usual file, and peers.

Peers measured in the same run, on the same bytes: `tomllib.loads` alone, `openssl storeutl -noout -certs` of the 200 anchors in one process, and
pyOpenSSL loading them. "Cold in process": each figure is the first call in a new Python after its imports; the median of runs.

    python bench/trust_load.py            # prints milliseconds and ratios
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.trust.toml import toml_text

RUNS = 15
NOW = datetime.now(UTC).replace(microsecond=0)
PROGRAM = """
import gc, sys, time
from sealwright.trust.belief import load_trust
gc.set_threshold(50_000, 20, 100)  # as the command does
started = time.perf_counter()
load_trust(sys.argv[1])
print(time.perf_counter() - started)
"""
TOMLLIB = """
import gc, sys, time, tomllib
gc.set_threshold(50_000, 20, 100)
text = open(sys.argv[1], encoding="utf-8").read()
started = time.perf_counter()
tomllib.loads(text)
print(time.perf_counter() - started)
"""
PYOPENSSL = """
import re, sys, time
from OpenSSL import crypto
data = open(sys.argv[1], "rb").read()
parts = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", data, re.DOTALL)
started = time.perf_counter()
store = crypto.X509Store()
for part in parts:
    store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, part))
print(time.perf_counter() - started)
"""


def certificate(number: int, rsa_bits: int = 0) -> str:
    """A root of its own, in PEM."""
    key = rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"Maker {number} root")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=3650))
    made = made.add_extension(x509.BasicConstraints(True, None), True)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def public_key() -> str:
    """A public key in PEM."""
    made = ec.generate_private_key(ec.SECP256R1()).public_key()
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def digests(number: int, start: int = 0) -> list[str]:
    """Different digests."""
    return [f"sha256:{one * 2654435761 % 2**256:064x}" for one in range(start + 1, start + number + 1)]


def trust_text(anchors: list[str], denied: list[dict[str, object]], rules: int) -> str:
    """A trust file of the trial stage: what is measured is reading, not whose word it is."""
    people = [{"id": f"person-{one}", "organisation": f"Organisation {one}"} for one in range(2 + rules)]
    rule = [
        {
            "name": f"rule {one}",
            "products": [f"drive {one}"],
            "environment": "production",
            "timestamp": "required",
            "fresh_for": "90d",
            "grace": "30d",
            "contact": "automation, phone 4711",
            "signer": [
                {"slot": "maker", "anchors": [f"maker {one % len(anchors)}"], "purposes": ["updatePackageSigning"]}
            ],
        }
        for one in range(rules)
    ]
    return toml_text(
        "# sealwright trust 1",
        {
            "id": "bench",
            "version": 1,
            "stage": "trial",
            "issued": NOW - timedelta(days=1),
            "expires": NOW + timedelta(days=300),
            "person": people,  # type: ignore[dict-item]
            "officers": {"threshold": 1, "key": [{"person": "person-0", "key": public_key()}]},
            "recovery": {"threshold": 1, "key": [{"person": "person-1", "key": public_key()}]},
            "anchor": [
                {"name": f"maker {one}", "environment": "production", "certificate": pem}
                for one, pem in enumerate(anchors)
            ],
            "rule": rule,  # type: ignore[dict-item]
            "deny": denied,  # type: ignore[dict-item]
        },
    )


def lists(number: int) -> list[dict[str, object]]:
    """Denials as three lists, one reason each."""
    some = digests(number)
    third = number // 3
    parts = (
        ("artifacts", some[: number - 2 * third]),
        ("keys", some[:third]),
        ("certificates", some[third : 2 * third]),
    )
    return [{what: "\n".join(part) + "\n", "reason": "recalled by the maker"} for what, part in parts if part]


def tables(number: int) -> list[dict[str, object]]:
    """The same as a table for each."""
    return [{"artifact": one, "reason": f"recalled, case {at}"} for at, one in enumerate(digests(number))]


def median(program: str, path: Path) -> float:
    """Milliseconds."""
    command = [sys.executable, "-c", program, str(path)]
    return 1000 * statistics.median(float(subprocess.check_output(command)) for _ in range(RUNS))


def whole(command: list[str]) -> float:
    """Milliseconds of a whole process."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    """Print the table."""
    ec_anchors = [certificate(one) for one in range(200)]
    rsa_anchors = [certificate(one, 2048) for one in range(20)]
    cases = {
        "200 anchors, 10,000 denials as lists": trust_text(ec_anchors, lists(10_000), 20),
        "200 anchors, 1,000 denials as tables": trust_text(ec_anchors, tables(1_000), 20),
        "a plant: 12 anchors, 20 rules, 40 denials": trust_text([*ec_anchors[:6], *rsa_anchors[:6]], tables(40), 20),
    }
    with tempfile.TemporaryDirectory() as folder:
        path, bundle = Path(folder) / "trust.toml", Path(folder) / "anchors.pem"
        bundle.write_text("".join(ec_anchors))
        for name, text in cases.items():
            path.write_text(text)
            ours, alone = median(PROGRAM, path), median(TOMLLIB, path)
            print(
                f"{name} ({path.stat().st_size / 1024:.0f} KiB): load_trust {ours:.1f} ms, tomllib alone {alone:.1f} ms ({ours / alone:.2f} x)"
            )
        pyopenssl = median(PYOPENSSL, bundle)
        openssl = whole(["openssl", "storeutl", "-noout", "-certs", str(bundle)])
        print(
            f"200 certificates into a store: pyOpenSSL {pyopenssl:.1f} ms; openssl storeutl, whole process {openssl:.1f} ms"
        )


if __name__ == "__main__":
    main()
