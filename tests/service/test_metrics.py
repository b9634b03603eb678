"""What a service measures of itself: exactly in Prometheus' format, for those who may see it, and without anything of a person."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit.doors import ask_body, eventually, get, post, told
from kit.service import world
from kit.signingservice import House, house, running
from sealwright.errors import UsageError
from sealwright.service.config import read_configuration
from sealwright.service.logcounts import MAX_LABELS, OTHER, LogCounts
from sealwright.service.metrics import Measured, Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: bytes) -> Samples:
    """By name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.documentation
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found
            found[key] = one.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"sealwright_{name}", tuple(sorted(labels.items()))]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = house(tmp_path_factory.mktemp("house"))
    register = made.folder / "people.toml"
    text = register.read_text()
    for name, role in (("eva", "operator"), ("stranger", "operator")):
        begin = text.index(f'id = "{name}"')
        text = text[:begin] + text[begin:].replace('"requester", "approver"', f'"requester", "approver", "{role}"', 1)
    register.write_text(text)
    made.configuration.write_text(
        made.configuration.read_text().replace("[tls]", 'metrics_listen = "unix:metrics.socket"\n[tls]', 1)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        with running(made):
            yield made


def aside(service: House) -> Samples:
    """What the address of its own tells."""
    line = http.client.HTTPConnection("localhost")
    line.sock = socket.socket(socket.AF_UNIX)
    line.sock.connect(str(service.folder / "metrics.socket"))
    line.request("GET", "/metrics")
    answer = line.getresponse()
    assert (answer.status, answer.getheader("content-type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = answer.read()
    line.close()
    return samples(text)


def test_what_happens_is_counted(service: House) -> None:
    before = aside(service)
    assert told(service, "max", post("/v1/requests", ask_body("a", "b", environment="development"))).status == 201
    assert told(service, "max", post("/v1/requests", ask_body("c"))).status == 202
    assert told(service, None, get("/v1/keys")).status == 401
    assert told(service, None, get("/v1/keys", "Authorization: Bearer a.b.c")).status == 401

    def more(found: Samples, name: str, **labels: str) -> float:
        return value(found, name, **labels) - before.get((f"sealwright_{name}", tuple(sorted(labels.items()))), 0)

    def counted() -> Samples | None:
        found = aside(service)
        return found if more(found, "http_requests_total", route="/v1/keys", method="GET", status="401") == 2 else None

    after = eventually(counted)
    assert more(after, "signatures_total", key="release") == 2
    assert more(after, "log_entries_appended_total", type="request") == 2
    assert more(after, "log_entries") > 2
    assert more(after, "http_requests_total", route="/v1/requests", method="POST", status="202") == 1
    assert more(after, "http_request_duration_seconds_count", route="/v1/requests") == 2
    assert more(after, "http_request_duration_seconds_bucket", route="/v1/requests", le="+Inf") == 2
    code = "SW-IDENTITY-REFUSED"
    assert more(after, "events_total", event="unidentified", code=code, by="token") == 1
    assert more(after, "events_total", event="unidentified", code=code, by="nothing") == 1
    assert value(after, "store_up") == 1


def test_keys_certificates_and_policies_are_told(service: House) -> None:
    found = aside(service)
    key = {"key": "release", "tenant": "acme"}
    assert (value(found, "key_up", **key), value(found, "key_waiting_artifacts", **key)) == (1, 0)
    assert value(found, "key_certificate_end_timestamp_seconds", **key) > 1_700_000_000
    assert value(found, "tls_end_timestamp_seconds", what="server certificate") > 1_700_000_000
    assert value(found, "tls_end_timestamp_seconds", what="revocation list") > 1_700_000_000
    (info,) = [dict(labels) for name, labels in found if name == "sealwright_info"]
    assert info["service"] == "acme-signing"
    assert info["policy"].startswith("sha256:")
    assert ("process_open_fds", ()) in found


def test_at_the_door_metrics_are_for_those_who_watch_and_of_their_own_keys(service: House) -> None:
    answer = told(service, "eva", get("/metrics"))
    assert (answer.status, b"text/plain; version=0.0.4" in answer.head) == (200, True)
    assert value(samples(answer.body), "key_up", key="release", tenant="acme") == 1
    assert told(service, "max", get("/metrics")).status == 404
    assert told(service, None, get("/metrics")).status == 401
    others = told(service, "stranger", get("/metrics"))
    assert others.status == 200
    assert b"release" not in others.body
    assert not [one for one in samples(others.body) if dict(one[1]).get("tenant") or dict(one[1]).get("key")]


def test_no_label_is_a_clients_or_a_persons(service: House) -> None:
    told(service, "max", get("/v1/drive-secret-name"))
    told(service, "max", b"BREW /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n")
    told(service, "max", post("/v1/requests", ask_body("secret-file", reason="for Eva Muster")))
    labels = {word for _, pairs in aside(service) for _, word in pairs}
    for told_nothing_of in ("secret", "max", "eva", "Muster", "drive", "127.0.0.1", "BREW"):
        assert not [one for one in labels if told_nothing_of in one]


def test_an_address_that_others_reach_is_refused(service: House, tmp_path: Path) -> None:
    text = service.configuration.read_text()
    wrong = tmp_path / "service.toml"
    for address in ("0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", "metrics.example:9464"):
        wrong.write_text(text.replace("unix:metrics.socket", address))
        with pytest.raises(UsageError, match="metrics_listen"):
            read_configuration(str(wrong))
    for address in ("127.0.0.1:9464", "[::1]:9464", "localhost:9464", "unix:/run/x"):
        wrong.write_text(text.replace("unix:metrics.socket", address))
        assert read_configuration(str(wrong)).metrics is not None


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    made = world(tmp_path)
    metrics, counts = Metrics(), LogCounts(made.writer.reader, 0)
    measured = Measured(made.requests, counts, dict)
    assert value(samples(metrics.exposition(measured, None)), "store_up") == 1
    with made.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE log_entries RENAME TO elsewhere")
    found = samples(metrics.exposition(measured, None))
    assert value(found, "store_up") == 0
    assert value(found, "key_up", key="release", tenant="acme") == 1
    assert not [one for one in found if one[0] == "sealwright_log_entries"]
    with made.store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO log_entries")
    made.close()


def test_counts_of_the_log_are_complete_and_bounded(tmp_path: Path) -> None:
    made = world(tmp_path)
    counts = LogCounts(made.writer.reader, 0)
    odd = [b'{"type":"kind-%d"}' % number for number in range(3 * MAX_LABELS)]
    made.writer.append([*odd, b"no JSON"]).result()
    counts.read()
    assert sum(counts.by_type.values()) == made.writer.head.size
    assert len(counts.by_type) == MAX_LABELS + 1
    assert counts.by_type[OTHER] == 2 * MAX_LABELS + 1
    made.close()


def test_a_log_that_is_counted_is_still_written() -> None:
    said: list[object] = []
    metrics = Metrics()
    log = metrics.counting(said.append)
    for number in range(1000):
        log({"event": f"event {number}", "why": "x"})
    assert len(said) == 1000
    assert sum(1 for family in metrics.collect() if family.name == "sealwright_events" for _ in family.samples) < 200
