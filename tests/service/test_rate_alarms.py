"""A running service that tells of a rate: in its log of lines, in its metrics, in the log of signatures."""

from __future__ import annotations

from pathlib import Path

from kit.killable import Killable, until
from kit.service import wanted
from kit.signingservice import house
from sealwright.log.entries import Alarm, read_any
from sealwright.log.reader import LogReader
from sealwright.store.engine import open_store


def test_a124_a_running_service_tells_that_more_is_signed_than_is_usual(tmp_path: Path) -> None:
    made = house(tmp_path / "house")
    lines = made.configuration.read_text()
    alarm = f'metrics_listen = "unix:{tmp_path}/metrics"\n[[rate_alarm]]\nof = "principal"\nper = "day"\nabove = 2\n'
    made.configuration.write_text(lines.replace("[tls]", alarm + "[tls]", 1))
    service = Killable(made, made.configuration)

    def ask(name: str, count: int) -> str:
        items = [{"line": one.line.decode()} for one in wanted([f"{name}-{number}" for number in range(count)])]
        with service.client() as client:
            answer = client.post("/v1/requests", json={"key": "release", "items": items, "wait_s": 50})
        assert answer.status_code == 201
        return str(answer.json()["id"])

    def alarms() -> list[Alarm]:
        store = open_store(f"sqlite:///{made.folder}/service.db")
        try:
            entries = LogReader(store).entries(0, 1000)
        finally:
            store.close()
        return [one for one in map(read_any, entries) if isinstance(one, Alarm)]

    service.start()
    try:
        until(lambda: rated(made.folder))
        ask("usual", 2)
        by = ask("more", 1)
        until(lambda: '"event": "rate"' in service.log)
        assert f'"request": "{by}"' in service.log
        assert [(one.request, one.count) for one in alarms()] == [(by, 3)]
        service.stop()
    finally:
        service.end()


def rated(folder: Path) -> bool:
    """Whether the service has begun to count."""
    store = open_store(f"sqlite:///{folder}/service.db")
    try:
        with store.read() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM rated").scalar() == 1
    finally:
        store.close()
