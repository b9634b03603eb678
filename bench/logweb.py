"""A monitor that reads a whole log from a signing service over HTTP, as `log monitor` does, beside the same from an export on the disk.

The service is a process of its own, with its application and database, without TLS. The goal is 50,000 entries a second.
Usage: logweb.py [entries] [database URL].
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.asgi import serving
from kit.service import public_log, world
from kit.writtenlogs import signature_entry
from sealwright.cli.logweb import Web
from sealwright.envelope.verifierkey import NoteType, VerifierKey, parse_verifier_key
from sealwright.log.ahead import AheadSource
from sealwright.log.audit import Audit
from sealwright.log.export import export_log
from sealwright.log.source import FolderSource, Source, UrlSource


def serve(folder: Path, count: int, url: str) -> None:
    """The other process: say port and key, export, and serve until the input ends."""
    made = world(folder, url or None)
    for start in range(0, count, 4096):
        made.writer.append([signature_entry(at).encoded() for at in range(start, min(count, start + 4096))]).result()
    export_log(made.writer.reader, str(folder / "export"))
    with serving(public_log(made)) as port:
        print(port, made.writer.key, flush=True)
        sys.stdin.read()
    made.close()


def rate(source: Source, key: VerifierKey) -> float:
    """Entries a second."""
    audit = Audit(source, [key])
    started = time.perf_counter()
    assert list(audit.findings()) == []
    return audit.entries / (time.perf_counter() - started)


def main() -> None:
    """Print what was measured."""
    if sys.argv[1:2] == ["--serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    url = sys.argv[2] if len(sys.argv) > 2 else ""
    with tempfile.TemporaryDirectory(prefix="logweb-bench-") as folder:
        words = [sys.executable, __file__, "--serve", folder, str(count), url]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            port, text = server.stdout.readline().split()
            key = parse_verifier_key(text, NoteType.LOG)
            address = f"http://127.0.0.1:{port}/log"
            for _ in range(3):
                disk = rate(FolderSource(f"{folder}/export"), key)
                web = rate(AheadSource(address, lambda: UrlSource(address, Web(address).get)), key)
                print(f"{count:,} entries: export {disk:,.0f} a second, HTTP {web:,.0f} a second, {web / disk:.2f} x")
            server.communicate("")


if __name__ == "__main__":
    main()
