"""The device's agent: a check with nothing new beside python-tuf's own bare client, memory at rest, an installation beside `cp` and `openssl dgst`.

    PYTHONPATH=src:tests .venv/bin/python bench/agent.py [MEBIBYTES]

Times are processor time of whole processes with their children (user + system), the middle of several, so that others at work on the
machine change little; wall time stands behind. Both clients ask the same folder of a repository by a server on this machine.
"""

from __future__ import annotations

import http.server
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kit.agents import Maker, Site, site
from kit.plantrepo import following
from sealwright.device.admission import Retry
from sealwright.device.agent import agent_at
from sealwright.device.round import Doing
from sealwright.device.taking import judge_staged, take
from sealwright.trust.belief import load_trust

TIMES = 9
BARE = """
import sys
sys.modules.update(dict.fromkeys(("boto3", "pkcs11")))  # as where only the extra `agent` is installed: securesystemslib would load them
from tuf.ngclient import Updater
for place, address in zip(sys.argv[1::2], sys.argv[2::2]):
    client = Updater(place, address + "/metadata", place, address + "/targets", bootstrap=open(place + "/initial.json", "rb").read())
    target = client.get_targetinfo("drives/vx-200/channels.json")
    assert client.find_cached_target(target) or client.download_target(target)
"""


def measured(command: Sequence[str], times: int = TIMES) -> tuple[float, float]:
    """Processor and wall seconds of a command, the middle of several."""
    found = []
    for _ in range(times):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall))
    return statistics.median(one for one, _ in found), statistics.median(one for _, one in found)


def check_beside_bare_client(folder: Path) -> None:
    """`agent check` with nothing new, and python-tuf's client finding the same."""
    maker = Maker.at(folder / "maker")
    maker.offer(maker.release("1.0.0", 1))
    with served(maker) as address:
        device = site(folder / "device", maker, repositories=f'["{address}"]')
        assert device.install() == "installed"
        compare("check, nothing new", device, bare_place(folder / "bare", maker, address))
        at_rest(device)


def check_two_beside_bare_clients(folder: Path) -> None:
    """The same of a maker's repository and a plant's beside it."""
    maker, plant = Maker.at(folder / "maker"), Maker.at(folder / "plant")
    for one in (maker, plant):
        one.offer(maker.release("1.0.0", 1))
    with served(maker) as first, served(plant) as second:
        device = following(folder / "device", maker, plant, repositories=f'["{first}"]')
        device.path.write_text(device.path.read_text().replace(str(plant.repository.folder), second))
        assert device.install() == "installed"
        places = [*bare_place(folder / "bare", maker, first), *bare_place(folder / "second", plant, second)]
        compare("check of two repositories, nothing new", device, places)


@contextmanager
def served(maker: Maker) -> Iterator[str]:
    """A server of a repository; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(maker.repository.folder))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def bare_place(folder: Path, maker: Maker, address: str) -> list[str]:
    """A folder for the bare client, with the root that it begins at; its words."""
    folder.mkdir()
    (folder / "initial.json").write_bytes(maker.repository.first_root)
    return [str(folder), address]


def compare(what: str, device: Site, places: Sequence[str]) -> None:
    """Our check beside the bare client's."""
    code = "import sys; from sealwright.cli.main import script; script()"
    ours = measured([sys.executable, "-c", code, "agent", "check", "--config", str(device.path)])
    bare = measured([sys.executable, "-c", BARE, *places])
    print(
        f"{what}: {ours[0]:.3f} s of processor ({ours[1]:.3f} s wall); python-tuf's bare client {bare[0]:.3f} s ({bare[1]:.3f} s wall): {ours[0] / bare[0]:.2f} x"
    )


def at_rest(device: Site) -> None:
    """What `agent run` holds between two rounds, after its first."""
    code = "import sys; from sealwright.cli.main import script; script()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "agent", "run", "--config", str(device.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    process.stdout.readline()  # of the first round
    time.sleep(1)
    status = Path(f"/proc/{process.pid}/status").read_text()
    print(f"agent at rest: {int(status.partition('VmRSS:')[2].split()[0]) / 1024:.1f} MiB")
    process.terminate()
    process.wait(timeout=30)


def install_beside_copy(folder: Path, mebibytes: int) -> None:
    """What is behind the fetching, for a release of one large file and a few small ones, beside copying and hashing the same once."""
    maker = Maker.at(folder / "maker")
    block = os.urandom(1 << 20)
    large = b"".join(number.to_bytes(4, "big") + block[4:] for number in range(mebibytes))
    offered = maker.release(
        "1.0.0", 1, files={"application/large": large, **{f"application/{n}": b"x" * 4096 for n in range(20)}}
    )
    maker.offer(offered)
    del large
    device = site(folder / "device", maker)
    assert device.round(Doing.DRY_RUN).outcome == "would-install"
    staged = device.state / "fetch/staged" / offered.manifest.value.hex()
    ours, copies = [], []
    for number in range(3):
        os.sync()
        begun = (time.process_time() + children(), time.monotonic())
        with agent_at(device.config) as agent:
            done = judge_staged(agent, offered, load_trust(agent.config.trust), Retry.NEVER)
            assert done.taken
        ours.append((time.process_time() + children() - begun[0], time.monotonic() - begun[1]))
        os.sync()
        begun = (children(), time.monotonic())
        target = folder / f"copy{number}"
        script = f"cp -r '{staged}' '{target}' && sync -f '{target}' && find '{target}' -type f -exec openssl dgst -sha256 {{}} + > /dev/null"
        subprocess.run(["sh", "-c", script], check=True)
        copies.append((children() - begun[0], time.monotonic() - begun[1]))
        subprocess.run(["rm", "-r", str(target)], check=True)
    our, copy = (tuple(statistics.median(column) for column in zip(*found, strict=True)) for found in (ours, copies))
    print(
        f"copy and verdict of {mebibytes} MiB: {our[0]:.2f} s of processor ({our[1]:.2f} s wall); cp, sync, openssl dgst {copy[0]:.2f} s ({copy[1]:.2f} s wall): {our[0] / copy[0]:.2f} x, {our[1] / copy[1]:.2f} x"
    )
    begun_whole = (time.process_time() + children(), time.monotonic())
    with agent_at(device.config) as agent:
        assert (
            take(agent, offered, load_trust(agent.config.trust), Doing.INSTALL, lambda *_: True).outcome == "installed"
        )
    print(
        f"the whole installation: {time.process_time() + children() - begun_whole[0]:.2f} s of processor ({time.monotonic() - begun_whole[1]:.2f} s wall)"
    )


def children() -> float:
    """Processor seconds of ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Everything, in a folder of its own."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    with tempfile.TemporaryDirectory(prefix="agent-bench-") as made:
        check_beside_bare_client(Path(made) / "check")
        check_two_beside_bare_clients(Path(made) / "two")
        install_beside_copy(Path(made) / "install", size)


if __name__ == "__main__":
    main()
