"""A cold `sealwright verify FILE` of 1 MB (path of three, CRL, timestamp, rules) against other cold starts, rounds in turn.

Peers: `python -c "import cryptography.x509"` (the goal is 2.0 x), `openssl cms -verify`, `model_signing --version`. Usage: verify_cold.py [rounds].
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from peers import model_signing  # noqa: E402

from kit.pki import Pki  # noqa: E402
from kit.trust import OFFICER, RECOVERY, p7s, person, quorum, trust_bytes, trust_parts  # noqa: E402


def prepare(folder: Path) -> None:
    """A megabyte signed with a timestamp; a trust file with a CRL that must be fresh."""
    now = datetime.now(UTC).replace(microsecond=0)
    pki = Pki.make(at=now - timedelta(days=30))
    data = os.urandom(1 << 20)
    (folder / "drive.bin").write_bytes(data)
    signer, tsa = pki.leaf(at=now - timedelta(days=5)), pki.tsa(at=now - timedelta(days=5))
    (folder / "drive.bin.p7s").write_bytes(p7s(signer, data, at=now - timedelta(hours=2), tsa=tsa))
    (folder / "ca.pem").write_text(pki.root.pem)
    parts = trust_parts(
        pki,
        issued=now - timedelta(days=1),
        expires=now + timedelta(days=100),
        person=[person("olga", OFFICER), person("rolf", RECOVERY)],
        officers=quorum(1, olga=OFFICER),
        crl=[{"issuer": pki.intermediate.pem}],
    )
    text = trust_bytes(parts)
    (folder / "trust.toml").write_bytes(text)
    (folder / "trust.toml.olga.p7s").write_bytes(p7s(OFFICER, text, kind="trust", at=now))
    (folder / "trust.d").mkdir()
    (folder / "trust.d" / "ca.crl").write_bytes(pki.crl(now - timedelta(hours=1)))


def main() -> None:
    """Print medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    python = str(ROOT / ".venv" / "bin" / "python")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="verify-cold-") as name:
        folder = Path(name)
        folder.chmod(0o700)
        prepare(folder)
        openssl = (
            "openssl cms -verify -binary -inform DER -in drive.bin.p7s -content drive.bin -CAfile ca.pem -purpose any"
        )
        commands = {
            "sealwright verify": [
                str(ROOT / ".venv" / "bin" / "sealwright"),
                "verify",
                "drive.bin",
                "--trust",
                "trust.toml",
            ],
            "python -c 'import cryptography.x509'": [python, "-c", "import cryptography.x509"],
            "openssl cms -verify": [*openssl.split(), "-out", "/dev/null"],
            "python -c pass": [python, "-c", "pass"],
        }
        if (peer := model_signing("--version")) is not None:
            commands["model_signing --version"] = peer
        times: dict[str, list[float]] = {what: [] for what in commands}
        for number in range(rounds + 1):
            for what, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
                if number:
                    times[what].append(time.perf_counter() - started)
        ours = times["sealwright verify"]
        for what, taken in times.items():
            ratios = [one / other for one, other in zip(ours, taken, strict=True)]
            print(
                f"cold, 1 MB: {what} {statistics.median(taken) * 1e3:.0f} ms, sealwright verify is {statistics.median(ratios):.2f} x"
            )


if __name__ == "__main__":
    main()
