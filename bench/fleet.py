"""The fleet's service at 100,000 devices: how many reports it takes in a second, each signature checked and each durable, and how long people wait.

1. The register is imported from a list, and every device gets a report of two products (written as the service writes them).
2. Another process posts new reports over TLS: one a request on a few kept connections, then a hundred a request as couriers bring them.
   Printed are reports a second and, since others may work on the machine, the service's processor time for each.
3. Peers of the same run: the same server answering `GET /health` on the same connections, and the bare check of one ECDSA signature.
4. Questions, the median of seven. Usage: fleet.py [devices] [reports].
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import httpx

from kit.fleet import DRIVE, MAKERS, NOW, FleetDevice, FleetHouse, channels, fleet_house, manifest, release, wire
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Report, report_bytes
from sealwright.device.reporting import SignedReport
from sealwright.device.reportkey import key_of_report
from sealwright.envelope.algorithms import check_signature
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.pki.profiles import DEVICE
from sealwright.service.fleetconfig import read_fleet
from sealwright.service.fleetoffers import Offers
from sealwright.service.fleetregister import import_devices, read_devices
from sealwright.service.fleetrows import Known, NewReport, write_reports
from sealwright.store.engine import open_store

CONNECTIONS = 64
SIGNING = 200  # devices with keys of their own; they report in turn
SECOND = "VX-200 gateway"
AT_ONCE = 5000
TICKS = os.sysconf("SC_CLK_TCK")


def signers() -> list[FleetDevice]:
    """Devices that report."""
    return [
        FleetDevice(f"gw-{number}", f"line-{number % 10}", 1, MAKERS.leaf(f"gw-{number}", profile=DEVICE))
        for number in range(SIGNING)
    ]


def fill(made: FleetHouse, devices: Sequence[FleetDevice], number: int) -> None:
    """Points 1: the register, and what each device said last."""
    lines = [one.line for one in devices]
    lines += [f"gw-{at} {Digest.of(b'%d' % at)} line-{at % 10} nordhof\n" for at in range(len(devices), number)]
    listed = made.folder / "devices.txt"
    listed.write_text("# sealwright devices 1\n" + "".join(lines))
    (made.folder / "channels" / "drive.json").write_bytes(channels(DRIVE, 1, (7, 100), (8, 10), withdrawn=(3,)))
    offered = Offers(str(made.folder / "channels")).current
    with closing(open_store(read_fleet(str(made.configuration)).database)) as store:
        begun = time.process_time()
        import_devices(store, read_devices(str(listed)), NOW)
        print(f"register of {number:,} devices imported: {time.process_time() - begun:.1f} s of processor time")
        begun = time.process_time()
        for first in range(0, number, AT_ONCE):
            with store.write() as connection:
                write_reports(connection, [new(at) for at in range(first, min(first + AT_ONCE, number))], offered, NOW)
        print(f"a first report of each written: {time.process_time() - begun:.1f} s")


def new(at: int) -> NewReport:
    """The first report of a device: most run the newest release, one in seven an older one."""
    running = (release(DRIVE, 7 if at % 7 else 3 + at % 4), release(SECOND, 2 + at % 3))
    report = Report(f"gw-{at}", 1, NOW, f"line-{at % 10}", "production", "nordhof", 7, running)
    known = Known(report.device, Digest.of(b""), report.group, "nordhof", retired=False, number=0, said="", report=b"")
    return NewReport(known, report, report_bytes(report), b"0" * 1500)


def prepared(devices: Sequence[FleetDevice], number: int, products: int) -> list[SignedReport]:
    """New reports, in turn; products: how many generations they change through."""
    return [
        devices[at % len(devices)].report(release(DRIVE, 7 + at // len(devices) % products), release(SECOND, 2))
        for at in range(number)
    ]


def load(port: int, ca: str, bodies: Sequence[bytes]) -> float:
    """Post bodies over a few connections, b"" for `GET /health`; seconds. In this process."""
    context = ssl.create_default_context(cafile=ca)

    def work(mine: Sequence[bytes]) -> None:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as line,
        ):
            for body in mine:
                line.sendall(body)
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += line.recv(65536)
                head, _, rest = answer.partition(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(answer)
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while len(rest) < length:
                    rest += line.recv(65536)

    threads = [threading.Thread(target=work, args=(bodies[at::CONNECTIONS],)) for at in range(CONNECTIONS)]
    begun = time.monotonic()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return time.monotonic() - begun


def processor_s(process: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def post(body: bytes) -> bytes:
    """A request."""
    head = f"POST /v1/reports HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def measured(made: FleetHouse, process: int, requests: Sequence[bytes], reports: int) -> tuple[float, float]:
    """Reports a second, and processor time of the service for each, µs. The load is another process."""
    taken = made.folder / "requests"
    with taken.open("wb") as file:
        for one in requests:
            file.write(len(one).to_bytes(4, "big") + one)
    before = processor_s(process)
    command = [sys.executable, __file__, "--load", made.address.rpartition(":")[2], str(made.ca), str(taken)]
    seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return reports / seconds, (processor_s(process) - before) / reports * 1e6


def loading(port: str, ca: str, path: str) -> None:
    """The other process."""
    data, requests, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        requests.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    print(load(int(port), ca, requests))


def reports(made: FleetHouse, process: int, devices: Sequence[FleetDevice], number: int) -> None:
    """Points 2 and 3."""
    get = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    rate, bare = measured(made, process, [get] * number, number)
    print(f"the same server, GET /health: {rate:,.0f} a second, {bare:,.0f} µs each")
    one = prepared(devices, 1, 1)[0]
    signer = read_envelope(one.signature, Profile.OURS, "").signers[0]
    assert isinstance(signer, Signer)
    assert signer.signed_bytes is not None
    begun = time.process_time()
    for _ in range(2000):
        check_signature(signer.key, signer.algorithm, signer.signature, signer.signed_bytes, subject="")
    ecdsa = (time.process_time() - begun) / 2000 * 1e6
    begun = time.process_time()
    for _ in range(2000):
        key_of_report(one, "")
    print(
        f"one ECDSA signature, bare: {ecdsa:,.0f} µs; a report's CMS read and checked: {(time.process_time() - begun) / 2000 * 1e6:,.0f} µs"
    )
    for title, at_once, products in (
        ("one a request, nothing new", 1, 1),
        ("one a request, each with another release", 1, 4),
        ("a hundred a request, nothing new", 100, 1),
        ("a hundred a request, each with another release", 100, 4),
    ):
        signed = prepared(devices, number, products)
        requests = [post(wire(*signed[at : at + at_once])) for at in range(0, number, at_once)]
        rate, each = measured(made, process, requests, number)
        print(f"{title}: {rate:,.0f} reports a second; {each:,.0f} µs each, {each / ecdsa:.1f} x the bare signature")


def questions(made: FleetHouse) -> None:
    """Point 4: by one kept connection."""
    context = ssl.create_default_context(cafile=made.ca)
    context.load_cert_chain(made.folder / "ada.pem", made.folder / "ada.key")
    with httpx.Client(verify=context, base_url=made.address, trust_env=False, timeout=60) as client:
        for path in (
            "status",
            "behind",
            "behind?product=VX-200+drive&group=line-3&after=gw-5",
            f"touched?manifest={manifest(DRIVE, 7)}",
            "touched?product=VX-200+drive&below=7",
            "rollout?product=VX-200+drive",
            "silent",
            "devices/gw-77",
        ):
            times = []
            for _ in range(7):
                begun = time.monotonic()
                answer = client.get(f"/v1/fleet/{path}")
                times.append(time.monotonic() - begun)
                assert answer.status_code == 200, answer.text
            print(f"{path[:40]}: {sorted(times)[3] * 1000:,.0f} ms, {len(answer.content):,} bytes")


def main(number: int, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="sealwright-fleet-") as name:
        made, devices = fleet_house(Path(name) / "house"), signers()
        fill(made, devices, number)
        command = [sys.executable, "-m", "sealwright", "serve", "fleet", str(made.configuration), "--json"]
        with (made.folder / "fleet.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--access-log", "none"], stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            assert process.stdout is not None
            made.address = json.loads(process.stdout.readline())["address"]
            questions(made)
            reports(made, process.pid, devices, count)
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--load"]:
        loading(*sys.argv[2:5])
    else:
        wanted = [int(one) for one in sys.argv[1:3]]
        main(*(wanted + [100_000, 8_000][len(wanted) :]))
