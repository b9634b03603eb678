"""`sealwright serve tsa`: the openssl program asks and checks; what is signed is recorded; a wrong clock stops it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest

from kit.ntp import packet, server
from kit.openssl import run
from kit.pki import Pki
from kit.serving import NO_SOURCE, QUERY, Served, tsa_home
from kit.tokens import PIN, TOKEN, softhsm, tpm
from sealwright.artifact.digest import Digest, HashName
from sealwright.cli.main import parser_of
from sealwright.envelope.tsp import read_response, read_token, timestamp_request
from sealwright.errors import TimestampUnavailable
from sealwright.keys.key import KeyKind
from sealwright.log.journal import Entry, EntryType, Journal, read_journal, unfinished
from sealwright.pki.oids import TIMESTAMP_POLICY

VALUE = b"a signature value"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served("tsa", tsa_home(tmp_path_factory.mktemp("tsa") / "home"), *NO_SOURCE) as one:
        yield one


def query(folder: Path, *options: str) -> bytes:
    """A request of the openssl program over the file `data`."""
    (folder / "data").write_bytes(VALUE)
    made, words = run(["openssl", "ts", "-query", "-data", "data", *options, "-out", "q"], cwd=folder)
    assert made, words
    return (folder / "q").read_bytes()


def shown(folder: Path, answer: bytes) -> str:
    """An answer as the openssl program reads it."""
    (folder / "r").write_bytes(answer)
    return run(["openssl", "ts", "-reply", "-in", "r", "-text"], cwd=folder)[1]


def granted(served: Served, value: bytes, nonce: int = 7) -> bytes:
    imprint = Digest.of(value)
    return read_response(served.stamp(timestamp_request(imprint, nonce)), imprint, nonce, "tsa")


def verified(folder: Path, anchors: Path, *options: str | Path) -> bool:
    return run(["openssl", "ts", "-verify", "-in", "r", "-CAfile", anchors, *options], cwd=folder)[0]


@pytest.mark.parametrize("name", list(HashName))
def test_openssl_accepts_the_answer_for_its_query_and_nothing_else(
    served: Served, tmp_path: Path, name: HashName
) -> None:
    answer = served.stamp(query(tmp_path, f"-{name}", "-cert"))
    anchors, stranger = served.home / "ca.pem", tmp_path / "stranger.pem"
    stranger.write_text(Pki.make().root.pem)
    (tmp_path / "other").write_bytes(b"other data")
    said = shown(tmp_path, answer)
    assert "Status: Granted." in said
    assert f"Policy OID: {TIMESTAMP_POLICY}" in said
    assert "Accuracy: 0x02 seconds" in said
    assert verified(tmp_path, anchors, "-queryfile", "q")
    assert verified(tmp_path, anchors, "-data", "data")
    assert not verified(tmp_path, anchors, "-data", "other")
    assert not verified(tmp_path, stranger, "-queryfile", "q")
    altered = bytearray(answer)
    altered[-5] ^= 1
    (tmp_path / "r").write_bytes(altered)
    assert not verified(tmp_path, anchors, "-queryfile", "q")


def test_certificates_come_only_where_they_were_asked_for(served: Served, tmp_path: Path) -> None:
    """RFC 3161 section 2.4.1; who asks for none has the certificate already."""
    with_them, without = served.stamp(query(tmp_path, "-sha256", "-cert")), served.stamp(query(tmp_path, "-sha256"))
    assert len(without) < len(with_them) - 500
    shown(tmp_path, without)
    bag = served.home / "certificates" / "timestamp.pem"
    assert not verified(tmp_path, served.home / "ca.pem", "-queryfile", "q")
    assert verified(tmp_path, served.home / "ca.pem", "-queryfile", "q", "-untrusted", bag)


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        (("-sha1",), "the algorithm is not supported|unrecognized or unsupported algorithm"),
        (("-md5",), "unrecognized or unsupported algorithm"),
        (("-sha3-256",), "unrecognized or unsupported algorithm"),
        (("-sha256", "-tspolicy", "1.2.3.4"), "the requested TSA policy is not supported|unaccepted policy"),
    ],
)
def test_a_refusal_names_its_reason_as_rfc_3161_does(
    served: Served, tmp_path: Path, options: tuple[str, ...], failure: str
) -> None:
    said = shown(tmp_path, served.stamp(query(tmp_path, *options)))
    assert "Status: Rejected." in said
    assert re.search(f"Failure info: .*({failure})", said), said


@pytest.mark.parametrize(
    ("method", "path", "headers", "size", "status"),
    [
        ("GET", "/", {}, 0, 405),
        ("PUT", "/", {"Content_Type": QUERY}, 10, 405),
        ("POST", "/", {"Content_Type": "text/plain"}, 10, 415),
        ("POST", "/", {}, 10, 415),
        ("POST", "/", {"Content_Type": QUERY}, 4097, 413),
        ("POST", "/elsewhere", {"Content_Type": QUERY}, 10, 404),
        ("POST", "/health", {"Content_Type": QUERY}, 10, 405),
        ("HEAD", "/health", {}, 0, 200),
        ("POST", "/", {"Content_Type": f"{QUERY}; charset=binary"}, 10, 200),
    ],
)
def test_what_is_no_query_is_answered_by_http(
    served: Served, method: str, path: str, headers: dict[str, str], size: int, status: int
) -> None:
    reply = served.ask(method, path, b"x" * size if size else None, **headers)
    assert reply.status == status
    if status == 405:
        assert reply.headers["allow"] in ("POST", "GET")


def test_every_answer_leaves_a_line_that_a_program_reads(served: Served, tmp_path: Path) -> None:
    token = read_token(granted(served, b"logged"), "token")
    served.stamp(query(tmp_path, "-sha1"))
    time.sleep(0.2)  # the line is written after the answer
    lines = [line for line in served.events() if line.get("method") == "POST"]
    assert lines[-2]["serial"] == f"{token.serial:032x}"
    assert (lines[-1]["rejected"], lines[-1]["client"]) == ("bad_alg", "127.0.0.1")


def test_a_token_is_in_the_journal_by_its_serial_before_it_is_given(served: Served) -> None:
    given = granted(served, b"recorded")
    token = read_token(given, "token")
    entries = list(read_journal(str(served.home / "timestamps")))
    intent = entries[token.serial >> 16 & (1 << 48) - 1]
    place = token.serial & 0xFFFF
    serials, imprints = intent.fields["serials"], intent.fields["imprints"]
    assert isinstance(serials, tuple)
    assert isinstance(imprints, tuple)
    assert (serials[place], imprints[place]) == (f"{token.serial:032x}", str(Digest.of(b"recorded")))
    (result,) = [
        entry
        for entry in entries
        if entry.type is EntryType.RESULT and entry.fields["request"] == intent.fields["request"]
    ]
    tokens = result.fields["tokens"]
    assert isinstance(tokens, tuple)
    assert tokens[place] == str(Digest.of(given))


def test_it_stops_when_told_and_answers_what_was_begun(tmp_path: Path) -> None:
    home = tsa_home(tmp_path / "home")
    for number in (signal.SIGTERM, signal.SIGINT):
        with Served("tsa", home, *NO_SOURCE) as served:
            granted(served, b"x")
            assert served.stop(number) == 0
    assert unfinished(str(home / "timestamps")) == []


def test_a_unix_socket_serves_too_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    home, path = tsa_home(tmp_path / "home"), tmp_path / "tsa.sock"
    for number in (signal.SIGKILL, signal.SIGTERM):
        with Served("tsa", home, *NO_SOURCE, listen=f"unix:{path}") as served:
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(path))
                line.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert line.recv(4096).startswith(b"HTTP/1.1 200")
            assert path.stat().st_mode & 0o007 == 0
            served.stop(number)
    assert not path.exists()


def test_two_servers_cannot_share_an_address_or_a_home(served: Served, tmp_path: Path) -> None:
    for home, listen, why in (
        (tsa_home(tmp_path / "home"), f"127.0.0.1:{served.port}", "cannot be listened on"),
        (served.home, "127.0.0.1:0", "another process is signing with this home"),
    ):
        second = Served("tsa", home, *NO_SOURCE, listen=listen)
        assert second.stop() == 1
        assert why in second.log.read_text()
        assert "Traceback" not in second.log.read_text()
    assert served.health()[0] == 200


def test_a_key_in_a_token_stamps(tmp_path: Path) -> None:
    home = tsa_home(tmp_path / "home", TOKEN, softhsm())
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o600)
    with Served("tsa", home, *NO_SOURCE, "--pin-file", str(tmp_path / "pin")) as served:
        answer = served.stamp(query(tmp_path, "-sha256", "-cert"))
    shown(tmp_path, answer)
    assert verified(tmp_path, home / "ca.pem", "-queryfile", "q")
    assert PIN not in served.log.read_text()


def test_a_key_in_a_tpm_stamps(tmp_path: Path) -> None:
    tpm()
    home = tsa_home(tmp_path / "home", "tpm:")
    with Served("tsa", home, *NO_SOURCE) as served:
        answer = served.stamp(query(tmp_path, "-sha256", "-cert"))
    shown(tmp_path, answer)
    assert verified(tmp_path, home / "ca.pem", "-queryfile", "q")


def test_a_policy_and_an_accuracy_of_ones_own_and_a_larger_key(tmp_path: Path) -> None:
    home = tsa_home(tmp_path / "home", kind=KeyKind.P384)
    with Served("tsa", home, *NO_SOURCE, "--policy", "1.3.6.1.4.1.99999.7", "--max-drift", "0.5") as served:
        answer = served.stamp(query(tmp_path, "-sha512", "-cert", "-tspolicy", "1.3.6.1.4.1.99999.7"))
    said = shown(tmp_path, answer)
    assert "Policy OID: 1.3.6.1.4.1.99999.7" in said
    assert "Accuracy: 0x01 seconds, 0x01F4 millis" in said
    assert verified(tmp_path, home / "ca.pem", "-queryfile", "q")


@pytest.mark.parametrize(
    "options",
    [
        ("--time-source", "none", "--time-source", "kernel"),
        ("--time-source", "gps"),
        ("--time-source", "sntp:"),
        ("--time-source", "none", "--accuracy", "1"),
        ("--time-source", "none", "--max-drift", "nan"),
        ("--time-source", "none", "--policy", "1.2.x"),
        ("--time-source", "none", "--key", "release"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(served: Served, options: tuple[str, ...]) -> None:
    wrong = Served("tsa", served.home, *options)
    assert wrong.told == {} or "error" in wrong.told
    assert wrong.stop() == 2
    assert "Traceback" not in wrong.log.read_text()


def test_a_clock_that_no_source_vouches_for_makes_no_tokens_and_says_so(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        source = f"sntp:127.0.0.1:{nobody.getsockname()[1]}"
    with Served("tsa", tsa_home(tmp_path / "home"), "--time-source", source) as served:
        said = shown(tmp_path, served.stamp(query(tmp_path, "-sha256", "-cert")))
        assert "Status: Rejected." in said
        assert "the TSA's time source is not available" in said
        status, told = served.health()
        assert (status, told["status"], told["clock"]["silent"][0]["source"]) == (503, "stopped", source)
        assert (served.home / "timestamps" / "journal.jsonl").read_bytes() == b""
        assert served.stop() == 1
    assert next(line for line in served.events() if line.get("event") == "clock")["problem"]


def test_a_clock_that_differs_from_its_source_makes_no_tokens_and_its_twin_does(tmp_path: Path) -> None:
    home = tsa_home(tmp_path / "home")
    for ahead, right in ((0.3, True), (10.0, False), (-10.0, False)):
        with (
            server(lambda query, ahead=ahead: [packet(query, time.time() + ahead)]) as (source, _),  # type: ignore[misc]
            Served("tsa", home, "--time-source", source.name) as served,
        ):
            answer = served.stamp(timestamp_request(Digest.of(VALUE), 7))
            assert ("the TSA's time source is not available" not in shown(tmp_path, answer)) is right
            status, told = served.health()
            assert (status == 200) is right
            assert (told["clock"]["problem"] is None) is right
            assert told["clock"]["sources"][0]["offset_s"] == pytest.approx(ahead, abs=0.25)
            assert bool(served.told["problem"]) is not right


def test_sign_asks_it_and_verify_believes_the_date(served: Served, tmp_path: Path) -> None:
    (tmp_path / "drive.bin").write_bytes(VALUE)
    command, home = [sys.executable, "-m", "sealwright"], served.home
    done, said = run([*command, "sign", "drive.bin", "--home", home, "--timestamp", f"{served.address}/"], tmp_path)
    assert done, said
    assert "date proved" in said
    done, said = run([*command, "verify", "drive.bin", "--trust", home / "trust.toml", "--json"], tmp_path)
    assert done, said
    assert json.loads(said)["times"]["proved"]


def test_another_authority_vouches_for_the_clock(served: Served, tmp_path: Path) -> None:
    with Served("tsa", tsa_home(tmp_path / "home"), "--time-source", f"tsa:{served.address}/") as second:
        granted(second, b"x")
        assert abs(second.health()[1]["clock"]["sources"][0]["offset_s"]) <= 1


def test_killed_at_any_moment_no_serial_comes_twice_and_what_was_given_is_recorded(tmp_path: Path) -> None:
    home = tsa_home(tmp_path / "home")
    given: list[bytes] = []
    for turn in range(4):
        with Served("tsa", home, *NO_SOURCE, "--access-log", "none") as served:
            over = threading.Event()

            def client(seed: int, at: Served = served, over: threading.Event = over) -> None:
                number = 0
                while not over.is_set():
                    number += 1
                    try:
                        given.append(granted(at, b"%d %d" % (seed, number)))
                    except (OSError, HTTPException):  # the server dies, perhaps in the middle of an answer
                        return

            clients = [threading.Thread(target=client, args=(turn * 10 + one,)) for one in range(4)]
            for one in clients:
                one.start()
            time.sleep(0.25 + 0.04 * turn)
            served.process.send_signal(signal.SIGKILL)
            over.set()
            for one in clients:
                one.join()
    with Served("tsa", home, *NO_SOURCE):
        pass
    assert unfinished(str(home / "timestamps")) == [], "what was begun and not given is closed by the next start"
    entries = list(read_journal(str(home / "timestamps")))
    serials = [one for entry in entries if entry.type is EntryType.INTENT for one in entry.fields["serials"]]  # type: ignore[union-attr]
    tokens = {one for entry in entries if entry.type is EntryType.RESULT for one in entry.fields["tokens"]}  # type: ignore[union-attr]
    assert len(given) > 50
    assert len(set(serials)) == len(serials)
    assert {str(Digest.of(token)) for token in given} <= tokens
    assert len({read_token(token, "t").serial for token in given}) == len(given)


def test_a_full_disk_stops_it_until_there_is_room_and_nothing_is_given_unrecorded(tmp_path: Path) -> None:
    """A real one: the home lies on a file system of 512 KiB that only the server sees."""
    home = tsa_home(tmp_path / "home")
    mounted = 'cp -a "$0" "$0.copy" && mount -t tmpfs -o size=512k tmpfs "$0" && cp -a "$0.copy/." "$0" && exec "$@"'
    with Served("tsa", home, *NO_SOURCE, around=("unshare", "--mount", "sh", "-c", mounted, str(home))) as served:
        inside = Path(f"/proc/{served.process.pid}/root{home}")
        granted(served, b"before")
        filler = inside / "filler"
        descriptor = os.open(filler, os.O_CREAT | os.O_WRONLY)
        with pytest.raises(OSError):
            while True:
                os.write(descriptor, b"x" * 512)
        os.close(descriptor)
        refused = 0
        for number in range(100):
            answer = served.stamp(timestamp_request(Digest.of(b"%d" % number), 7))
            if refused := refused + (b"the service failed" in answer):
                break
        assert refused
        assert "system failure" in shown(tmp_path, answer).lower()
        assert served.health()[0] == 503
        filler.unlink()
        time.sleep(1.1)
        given = granted(served, b"after")
        assert served.health()[0] == 200
        entries = list(read_journal(str(inside / "timestamps")))
        assert str(Digest.of(given)) in entries[-1].fields["tokens"]  # type: ignore[operator]
        assert served.stop() == 0


def test_an_older_journal_is_noticed_where_its_head_is_remembered_elsewhere(tmp_path: Path) -> None:
    home, head = tsa_home(tmp_path / "home"), tmp_path / "head"
    journal = home / "timestamps" / "journal.jsonl"
    options = (*NO_SOURCE, "--head", str(head))
    with Served("tsa", home, *options) as served:
        granted(served, b"1")
    older = journal.read_bytes()
    with Served("tsa", home, *options) as served:
        first = read_token(granted(served, b"2"), "t").serial
    newest = journal.read_bytes()
    journal.write_bytes(older)
    refused = Served("tsa", home, *options)
    assert refused.stop() == 1
    assert "an older state was restored" in refused.log.read_text()
    journal.write_bytes(newest)
    with Served("tsa", home, *options) as served:
        granted(served, b"3")
    journal.write_bytes(older)
    head.unlink()  # nobody remembers: the serial is another one all the same
    with Served("tsa", home, *options) as served:
        second = read_token(granted(served, b"2"), "t").serial
    assert first != second
    assert first & (1 << 64) - 1 == second & (1 << 64) - 1


def test_it_starts_at_once_beside_a_long_journal(tmp_path: Path) -> None:
    """Opening reads the end only."""
    home = tsa_home(tmp_path / "home")
    with Journal.open(str(home / "timestamps")) as journal:
        for start in range(0, 100_000, 10_000):
            journal.append([Entry(EntryType.KEY, {"request": str(start + at)}) for at in range(10_000)])
    path = home / "timestamps" / "journal.jsonl"
    started = time.monotonic()
    with Served("tsa", home, *NO_SOURCE) as served:
        took = time.monotonic() - started
        assert read_token(granted(served, b"x"), "t").serial >> 16 & (1 << 48) - 1 == 100_000
    assert took < 10
    assert path.stat().st_size > 10_000_000


def test_a_refusing_answer_is_an_error_of_the_client(served: Served) -> None:
    imprint = Digest.of(VALUE)
    answer = served.stamp(timestamp_request(imprint, 1)[:-1])
    with pytest.raises(TimestampUnavailable):
        read_response(answer, imprint, 1, "tsa")


def test_doctor_reads_the_journal_of_an_authority(served: Served) -> None:
    granted(served, b"x")
    code, said = run([sys.executable, "-m", "sealwright", "doctor", "--home", served.home])
    assert "journal of timestamps" in said, (code, said)


def test_the_page_can_be_typed(tmp_path: Path) -> None:
    """The first steps of docs/timestamping.md, at another port."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "timestamping.md").read_text()
    first, *others = re.findall(
        r"^    (.+)$", page.partition("## An authority of the plant")[2].partition("For production")[0], re.MULTILINE
    )
    bash = ["bash", "-euo", "pipefail", "-c"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert run([*bash, first.replace("sealwright", "python -m sealwright", 1)], tmp_path, environment)[0]
    assert others[0].startswith("sealwright serve tsa --home tsa-home")
    (tmp_path / "drive.bin").write_bytes(VALUE)
    with Served("tsa", tmp_path / "tsa-home", *NO_SOURCE) as served:
        typed = "\n".join(others[1:]).replace("127.0.0.1:3161", f"127.0.0.1:{served.port}")
        done, said = run([*bash, typed], tmp_path, environment)
    assert done, said
    assert "Verification: OK" in said


def test_the_unit_of_the_page_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "timestamping.md").read_text()
    (unit,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    (tmp_path / "tsa.service").write_text(unit.replace("/usr/local/bin/sealwright", "/bin/true"))
    accepted, said = run(["systemd-analyze", "verify", tmp_path / "tsa.service"])
    assert accepted, said
    command = re.findall(r"^ExecStart=\S+ (.*)$", unit, re.MULTILINE)[0].split()
    assert parser_of(["serve"]).parse_args(command).max_drift == 1.0


def test_without_the_packages_of_the_services_it_says_which(served: Served) -> None:
    without = (
        "import sys; sys.modules['uvicorn'] = None; from sealwright.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done, said = run([sys.executable, "-c", without, "serve", "tsa", "--home", served.home, *NO_SOURCE])
    assert not done
    assert "sealwright[service]" in said


def test_everything_given_while_it_is_told_to_stop_is_recorded(tmp_path: Path) -> None:
    given: list[bytes] = []
    with Served("tsa", tsa_home(tmp_path / "home"), *NO_SOURCE, "--access-log", "none") as served:

        def client(seed: int) -> None:
            number = 0
            while True:
                number += 1
                try:
                    given.append(granted(served, b"%d %d" % (seed, number)))
                except (OSError, HTTPException):
                    return

        clients = [threading.Thread(target=client, args=(seed,)) for seed in range(6)]
        for one in clients:
            one.start()
        time.sleep(0.5)
        assert served.stop() == 0
        for one in clients:
            one.join()
    folder = str(served.home / "timestamps")
    tokens = {one for entry in read_journal(folder) for one in entry.fields.get("tokens", ())}  # type: ignore[union-attr]
    assert {str(Digest.of(token)) for token in given} <= tokens
    assert unfinished(folder) == []
    assert len(given) > 50
