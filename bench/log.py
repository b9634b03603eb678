"""The log with many entries: how fast it grows, proves, starts and is recomputed, beside a tree in memory.

Peer in the same run, over the same entries: hashlib alone (each leaf and the whole tree, in memory, nothing durable).
The goals: a proof in 5 ms, a start in 2 s, 50,000 entries a second recomputed. Usage: log.py [entries] [database URL].
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.writtenlogs import SoftSigner, signature_entry, sqlite_url
from sealwright.log.audit import Audit
from sealwright.log.export import export_log
from sealwright.log.merkle import leaf_hash, tree_hash
from sealwright.log.proof import check_proof, read_proof
from sealwright.log.source import FolderSource
from sealwright.log.writer import LogWriter
from sealwright.store.engine import open_store

GROUP = 64  # what is appended together, as by as many who wait at once
PROOFS = 300


def in_memory(entries: list[bytes]) -> float:
    """Entries a second of hashlib alone: leaves and tree."""
    started = time.perf_counter()
    level = [sha256(b"\x00" + entry).digest() for entry in entries]
    while len(level) > 1:
        level = [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)] + (
            level[-1:] if len(level) % 2 else []
        )
    return len(entries) / (time.perf_counter() - started)


def main() -> None:
    """Print what was measured."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="log-bench-") as name:
        folder = Path(name)
        url = sys.argv[2] if len(sys.argv) > 2 else sqlite_url(folder)
        signer = SoftSigner.make()
        entries = [signature_entry(at).encoded() for at in range(count)]
        print(f"{count:,} entries of {len(entries[-1])} bytes, {url.partition(':')[0]}")
        memory = in_memory(entries)
        store = open_store(url)
        writer = LogWriter.open(store, signer)
        started = time.perf_counter()
        waiting = [writer.append(entries[at : at + GROUP]) for at in range(0, min(count, 50_000), GROUP)]
        for one in waiting:
            one.result()
        print(f"append, {GROUP} at a time: {min(count, 50_000) / (time.perf_counter() - started):,.0f} entries/s")
        started = time.perf_counter()
        last = None
        for at in range(GROUP * len(waiting), count, 1024):
            last = writer.append(entries[at : at + 1024])
            if at % 16 == 0:
                last.result()
        if last is not None:
            last.result()
        print(
            f"append, 1024 at a time: {(count - GROUP * len(waiting)) / (time.perf_counter() - started):,.0f} entries/s"
        )
        alone = []
        for at in range(200):
            started = time.perf_counter()
            writer.append([b'{"alone":%d}' % at]).result()
            alone.append(time.perf_counter() - started)
        print(f"one alone, answered after {statistics.median(alone) * 1000:.2f} ms (median)")
        writer.close()
        store.close()
        starts = []
        for _ in range(3):
            started = time.perf_counter()
            store = open_store(url)
            writer = LogWriter.open(store, signer)
            starts.append(time.perf_counter() - started)
            writer.close()
            store.close()
        print(f"start: {', '.join(f'{one:.2f}' for one in starts)} s (goal 2)")
        store = open_store(url)
        writer = LogWriter.open(store, signer)
        took = []
        for leaf in random.Random(1).sample(range(count), min(count, PROOFS)):
            started = time.perf_counter()
            data = writer.proof(leaf)
            took.append((time.perf_counter() - started) * 1000)
            check_proof(read_proof(data, "proof"), entries[leaf], [signer.key], [], "proof")
        print(f"inclusion proof: median {statistics.median(took):.2f} ms, 99% {sorted(took)[-3]:.2f} ms (goal 5)")
        started = time.perf_counter()
        export_log(writer.reader, str(folder / "export"))
        print(f"export: {count / (time.perf_counter() - started):,.0f} entries/s")
        writer.close()
        store.close()
        audit = Audit(FolderSource(str(folder / "export")), [signer.key])
        started = time.perf_counter()
        wrong = [one for one in audit.findings() if one.code != "SW-LOG-ENTRY-UNKNOWN"]
        rate = audit.entries / (time.perf_counter() - started)
        assert wrong == []
        print(f"monitor, export read and recomputed: {rate:,.0f} entries/s (goal 50,000)")
        print(
            f"hashlib, in memory, nothing read or parsed: {memory:,.0f} entries/s; the monitor is {rate / memory:.2f} x"
        )
        assert audit.end is not None
        assert tree_hash([leaf_hash(one) for one in entries])


if __name__ == "__main__":
    main()
