"""A roll-out to 100,000 devices, as the fleet's service sees it: 1 %, 10 %, 50 %, 100 %, then the release is withdrawn.

Each device draws its place from its id and the release (`release/channels.py`), takes what it is offered, and one in fifty goes back to
the former release because the new one does not work there. Reports are written as the service writes them; their signatures are `fleet.py`'s part.
The table is what `sealwright fleet status` says after each step. Usage: simulation.py [devices].
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from kit.fleet import DRIVE, NOW, channels, fleet_house, release
from sealwright.artifact.digest import Digest
from sealwright.artifact.report import Event, Outcome, Report, report_bytes
from sealwright.service.fleetconfig import read_fleet
from sealwright.service.fleetoffers import Offers
from sealwright.service.fleetqueries import status
from sealwright.service.fleetregister import Device, import_devices
from sealwright.service.fleetrows import NewReport, count_again, known_devices, write_reports
from sealwright.store.engine import Store, open_store

OLD, NEW = 7, 8
FAILS = 50  # one device in so many
AT_ONCE = 5000


def said(store: Store, offers: Offers, ids: list[str], number: int) -> None:
    """A round of these devices: each installs what it is offered, and reports."""
    offered = offers.current.channels[DRIVE]
    for first in range(0, len(ids), AT_ONCE):
        with store.write() as connection:
            known = known_devices(connection, ids[first : first + AT_ONCE])
            reports = []
            for one in known.values():
                wanted = offered.offered("production", one.id, one.group)
                newest = OLD if wanted is None else wanted.generation
                fails = newest == NEW and int(Digest.of(one.id.encode()).value[0]) % FAILS == 0
                events = (Event(Outcome.RETURNED, release(DRIVE, NEW), "SW-INSTALL-REFUSED"),) if fails else ()
                runs = (release(DRIVE, OLD if fails else newest),)
                report = Report(one.id, number, NOW, one.group, "production", "nordhof", 7, runs, events)
                reports.append(NewReport(one, report, report_bytes(report), b"0" * 1500))
            write_reports(connection, reports, offers.current, NOW)


def main(number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="sealwright-simulation-") as name:
        made = fleet_house(Path(name) / "house")
        place = made.folder / "channels" / "drive.json"
        steps = {
            f"{percent} %": channels(DRIVE, 2 + at, (OLD, 100), (NEW, percent))
            for at, percent in enumerate((1, 10, 50, 100))
        }
        steps["withdrawn"] = channels(DRIVE, 6, (OLD, 100), withdrawn=(NEW,))
        place.write_bytes(channels(DRIVE, 1, (OLD, 100)))
        ids = [f"gw-{at}" for at in range(number)]
        with closing(open_store(read_fleet(str(made.configuration)).database)) as store:
            offers = Offers(str(place.parent))
            devices = [Device(one, Digest.of(one.encode()), f"line-{at % 10}", "nordhof") for at, one in enumerate(ids)]
            import_devices(store, devices, NOW)
            said(store, offers, ids, 1)
            print(
                f"{'step':>10} {'behind first':>12} {'on 1.7':>8} {'on 1.8':>8} {'returned':>8} {'withdrawn runs':>14} {'CPU s':>6}"
            )
            for at, (step, data) in enumerate(steps.items(), 2):
                begun = time.process_time()
                place.write_bytes(data)
                offers.refresh()
                count_again(store, offers.current)
                behind = sum(one.devices for one in status(store, offers.current, {}, NOW, 48).behind)
                withdrawn = sum(one.devices for one in status(store, offers.current, {}, NOW, 48).withdrawn)
                said(store, offers, ids, at)
                seen = status(store, offers.current, {}, NOW, 48)
                on = {old: sum(one.devices for one in seen.runs if one.generation == old) for old in (OLD, NEW)}
                returned = sum(one.devices for one in seen.troubles)
                cpu = time.process_time() - begun
                print(
                    f"{step:>10} {behind:>12,} {on[OLD]:>8,} {on[NEW]:>8,} {returned:>8,} {withdrawn:>14,} {cpu:>6.1f}"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
