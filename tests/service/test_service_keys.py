"""Keys of a running service: workers that are killed, tokens and TPMs that go away and come back, and PINs that are tried once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kit.killable import Killable, add_key, until
from kit.service import wanted
from kit.signingservice import House, house
from kit.tokens import PIN, make_token, start_tpm
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.errors import MalformedConfiguration, UsageError
from sealwright.log.canonical import read_canonical
from sealwright.log.entry import TYPE
from sealwright.log.reader import LogReader
from sealwright.service.config import read_configuration
from sealwright.service.signing import opened
from sealwright.store.engine import open_store

LABEL = "service-1"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a token that this test alone has."""
    folder = tmp_path / "token"
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(folder, LABEL)))
    return folder


def with_token(folder: Path, workers: int = 1) -> House:
    made = house(folder / "house")
    add_key(made, "line", f"pkcs11:token={LABEL};object=line", PIN, workers)
    return made


@contextmanager
def served(made: House) -> Iterator[Killable]:
    service = Killable(made, made.configuration)
    try:
        service.start()
        yield service
    finally:
        service.end()


def ask(service: Killable, name: str, count: int = 1, key: str = "line") -> tuple[int, dict[str, Any]]:
    items = [{"line": one.line.decode()} for one in wanted([f"{name}-{number}.bin" for number in range(count)])]
    with service.client() as client:
        answer = client.post("/v1/requests", json={"key": key, "items": items, "wait_s": 50})
    return answer.status_code, answer.json()


def fare(service: Killable, name: str = "line") -> dict[str, Any]:
    """What `/health` says of a key."""
    found: dict[str, Any] = next(one for one in service.health()[1]["keys"] if one["name"] == name)
    return found


def signature_entries(made: House) -> list[Digest]:
    store = open_store(f"sqlite:///{made.folder}/service.db")
    try:
        reader = LogReader(store)
        found = [read_canonical(one) for one in reader.entries(0, reader.head().size)]
    finally:
        store.close()
    return [Digest.parse(str(one["artifact"])) for one in found if one["type"] == TYPE]


def test_a165_workers_killed_under_load_cost_no_request_and_are_replaced(tmp_path: Path, token: Path) -> None:
    del token
    made = with_token(tmp_path, workers=2)
    with served(made) as service:
        assert ask(service, "before")[0] == 201
        assert len(service.workers) == 2
        with ThreadPoolExecutor(4) as clients:
            answers = [clients.submit(ask, service, f"load-{number}", 150) for number in range(12)]
            for number in range(4):
                # an order that lost two workers is refused: the next one dies when the last one was replaced
                until(
                    lambda number=number: sum(one.done() for one in answers) > 2 * number and len(service.workers) == 2
                )
                for pid in service.workers[:1]:
                    os.kill(pid, signal.SIGKILL)
            assert [one.result()[0] for one in answers] == [201] * 12
        until(lambda: len(service.workers) == 2 and fare(service)["state"] == "signs")
        service.stop()
    found = signature_entries(made)
    assert (len(found), len(set(found))) == (1801, 1801)


def test_a165_a_token_that_was_pulled_is_named_by_health_and_signs_again_when_it_is_back(
    tmp_path: Path, token: Path
) -> None:
    made = with_token(tmp_path)
    with served(made) as service:
        assert ask(service, "before")[0] == 201
        well = fare(service)
        assert (well["state"], well["token"], well["workers"], well["wanted"]) == ("signs", LABEL, 1, 1)
        assert well["serial"]
        assert well["slot"]
        shutil.move(token / "tokens", token / "pulled")
        (token / "tokens").mkdir()
        for pid in service.workers:
            os.kill(pid, signal.SIGKILL)
        until(lambda: service.workers == [])
        status, problem = ask(service, "while-it-is-away")
        assert (status, problem["code"]) == (503, "SW-KEY-UNAVAILABLE")
        status, told = service.health()
        assert (status, told["status"]) == (503, "stopped")
        gone = fare(service)
        assert (gone["state"], gone["token"], gone["serial"]) == ("lost", LABEL, well["serial"])
        assert "not there" in gone["why"]
        assert fare(service, "release")["state"] == "signs"
        assert ask(service, "by-another-key", key="release")[0] == 201
        shutil.rmtree(token / "tokens")
        shutil.move(token / "pulled", token / "tokens")
        until(lambda: service.health()[0] == 200)
        assert ask(service, "after")[0] == 201
        with service.client() as client:
            (failed,) = client.get("/v1/requests?state=failed").json()["requests"]
            assert client.post(f"/v1/requests/{failed['id']}/attempts").status_code == 202
            again = client.get(f"/v1/requests/{failed['id']}?wait_s=50").json()
        assert (again["state"], again["signed"], again["attempt"]) == ("signed", 1, 2)
        service.stop()
    found = signature_entries(made)
    assert (len(found), len(set(found))) == (4, 4)


def test_a165_a_token_that_is_absent_at_the_start_keeps_no_other_key_from_signing_and_comes_when_it_is_there(
    tmp_path: Path, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = with_token(tmp_path)
    assert main(["serve", "signing", str(made.configuration), "--check"]) == 0
    shutil.move(token / "tokens", token / "pulled")
    (token / "tokens").mkdir()
    assert main(["serve", "signing", str(made.configuration), "--check"]) != 0  # who asks whether it could is told
    assert "not there" in capsys.readouterr().err
    with served(made) as service:
        assert ask(service, "by-another-key", key="release")[0] == 201
        status, told = service.health()
        assert (status, told["status"]) == (503, "stopped")
        assert any(one.startswith("key line: ") for one in told["problems"])
        absent = fare(service)
        assert (absent["state"], absent["token"], absent["workers"], absent["wanted"]) == ("lost", LABEL, 0, 1)
        status, problem = ask(service, "while-it-is-away")
        assert (status, problem["code"]) == (503, "SW-KEY-UNAVAILABLE")
        assert problem["detail"].startswith("key line: it does not sign now: ")
        assert str(tmp_path) not in json.dumps(problem)
        assert '"event": "key-absent"' in service.log
        shutil.rmtree(token / "tokens")
        shutil.move(token / "pulled", token / "tokens")
        until(lambda: service.health()[0] == 200)
        assert ask(service, "after")[0] == 201
        assert fare(service)["state"] == "signs"
        service.stop()


def test_a161_a_wrong_pin_is_tried_once_however_often_the_service_is_started_and_a_corrected_one_at_once(
    tmp_path: Path, token: Path
) -> None:
    del token
    made = with_token(tmp_path)
    with served(made) as service:
        assert ask(service, "right")[0] == 201
        service.stop()
    secret, pins = made.folder / "line.pin", made.folder / "pins"
    assert not list(pins.glob("*.pin"))
    secret.write_text("000000\n")
    for why in ("tried once", "it is not tried again"):
        with served(made) as service:
            assert (fare(service)["state"], service.health()[0]) == ("stopped", 503)
            assert why in fare(service)["why"]
            assert ask(service, "by-another-key", key="release")[0] == 201
            status, problem = ask(service, "refused")
            assert (status, problem["code"]) == (503, "SW-KEY-UNAVAILABLE")
            assert str(tmp_path) not in json.dumps(problem)
            service.stop()
    (mark,) = pins.glob("*.pin")
    assert mark.stat().st_mode & 0o777 == 0o600
    with served(made) as service:
        secret.write_text("111111\n")
        until(lambda: "tried once" in fare(service)["why"])  # another wrong one is tried too, and once
        secret.write_text("000000\n")
        until(lambda: "it is not tried again" in fare(service)["why"])
        secret.write_text(f"{PIN}\n")
        until(lambda: service.health()[0] == 200)
        assert ask(service, "corrected")[0] == 201
        service.stop()
    assert not mark.exists()
    assert "000000" not in service.log + mark.with_suffix(".pin.lock").read_text()


def test_a161_a_pin_that_was_changed_behind_a_running_service_stops_that_key_and_no_other_until_its_file_says_it(
    tmp_path: Path, token: Path
) -> None:
    made = with_token(tmp_path)
    with served(made) as service:
        assert ask(service, "before")[0] == 201
        change_pin(PIN, "999999")
        for pid in service.workers:
            os.kill(pid, signal.SIGKILL)
        until(lambda: fare(service)["state"] == "stopped")
        assert service.health()[0] == 503
        assert "PIN" in fare(service)["why"]
        assert ask(service, "after")[0] == 503
        assert service.workers == []
        assert ask(service, "by-another-key", key="release")[0] == 201
        (made.folder / "line.pin").write_text("999999\n")
        until(lambda: service.health()[0] == 200)
        assert ask(service, "again")[0] == 201
        service.stop()
    assert token.exists()


def change_pin(old: str, new: str) -> None:
    tool = ["pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", LABEL, "--login"]
    subprocess.run([*tool, "--pin", old, "--change-pin", "--new-pin", new], check=True, capture_output=True)


def test_a165_a_tpm_that_was_reset_signs_again_without_a_new_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "tpm"
    state.mkdir()
    process, tcti = start_tpm(state)
    try:
        monkeypatch.setenv("TPM2TOOLS_TCTI", tcti)
        made = house(tmp_path / "house")
        add_key(made, "board", f"tpm:{tmp_path}/board.tss", None)
        with served(made) as service:
            assert ask(service, "before", key="board")[0] == 201
            process.kill()
            process.wait()
            status, problem = ask(service, "away", key="board")
            assert (status, problem["code"]) == (503, "SW-KEY-UNAVAILABLE")
            assert (service.health()[0], fare(service, "board")["state"]) == (503, "lost")
            process, _ = start_tpm(state, int(tcti.rpartition("=")[2]))
            until(lambda: service.health()[0] == 200)  # nobody asked it for anything meanwhile
            assert ask(service, "after", key="board")[0] == 201
            service.stop()
    finally:
        process.kill()
        process.wait()


def test_workers_are_of_keys_in_tokens(tmp_path: Path) -> None:
    made = house(tmp_path / "house")
    with opened(read_configuration(str(made.configuration))) as service:
        assert json.dumps([one.name for one in service.requests.keys.values()]) == '["release"]'
    good = made.configuration.read_text()
    made.configuration.write_text(good + "workers = 2\n")
    with (
        pytest.raises(UsageError, match="only keys in PKCS#11 tokens"),
        opened(read_configuration(str(made.configuration))),
    ):
        pass
    made.configuration.write_text(good + "workers = 0\n")
    with pytest.raises(MalformedConfiguration, match="workers"):
        read_configuration(str(made.configuration))
