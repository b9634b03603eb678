"""One key behind several workers: throughput, workers that die, hang or lose their session, and PINs that are tried once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kit.tokens import PIN, TOKEN, make_token, softhsm
from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import Scheme, check_digest_signature, check_signature
from sealwright.envelope.cms_write import to_be_signed
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import KeyRefused, KeyUnavailable, PinRefused, UsageError
from sealwright.keys.backends import create_key, open_watched
from sealwright.keys.health import KeyState
from sealwright.keys.key import KeyInfo, KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.pinmark import BROKEN_OFF, MAX_MARKS, PinMarks
from sealwright.keys.pkcs11 import CHUNK
from sealwright.keys.pkcs11_process import WorkerLost
from sealwright.keys.pool import TokenPool, open_token_pool, parts

SOON_S = 20.0


def batch(kind: KeyKind, count: int = 1, size: int = 40) -> list[ToBeSigned]:
    return [to_be_signed(b"%d " % number + b"x" * size, kind.algorithm) for number in range(count)]


def made(name: str, kind: KeyKind = KeyKind.P256) -> KeyInfo:
    return create_key(f"{TOKEN};object=pool-{name}-{os.getpid()}", kind, softhsm())


@contextmanager
def pool(name: str, kind: KeyKind = KeyKind.P256, workers: int = 2) -> Iterator[TokenPool]:
    info = made(name, kind)
    with closing(open_token_pool(info.uri, softhsm(), kind.algorithm, workers=workers)) as key:
        assert key.info == info
        yield key


def until(what: Callable[[], bool], seconds: float = SOON_S) -> None:
    """Wait for it."""
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


def check_all(key: TokenPool, asked: list[ToBeSigned], values: list[bytes]) -> None:
    algorithm = key.info.algorithm
    for one, value in zip(asked, values, strict=True):
        if algorithm.scheme is Scheme.ED25519:
            check_signature(key.info.public_key, algorithm, value, one.data, subject="value")
        else:
            digest = Digest(algorithm.digest, one.data)
            check_digest_signature(key.info.public_key, algorithm, value, digest, subject="value")


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519])
def test_a_batch_is_signed_by_all_workers_in_order(kind: KeyKind) -> None:
    with pool(f"all-{kind}", kind) as key:
        for count in (0, 1, 2, 131):
            asked = batch(kind, count)
            check_all(key, asked, key.sign(asked))
        health = key.health()
        assert (health.state, health.workers, health.wanted, health.alarm) == (KeyState.SIGNS, 2, 2, False)
        assert health.place.serial
        assert health.place.slot
        assert health.last_good is not None
        pids = key.worker_pids
    assert all(not Path(f"/proc/{pid}").exists() for pid in pids)
    with pytest.raises(KeyUnavailable, match="closed"):
        key.sign(batch(kind))


def test_a_batch_is_cut_so_that_each_worker_has_work_and_no_question_fills_a_pipe() -> None:
    small, large = batch(KeyKind.P256, 1000), batch(KeyKind.ED25519, 10, size=5000)
    assert [len(part) for part in parts(small, 2)] == [CHUNK] * 15 + [40]
    assert [len(part) for part in parts(small[:10], 2)] == [3, 3, 3, 1]
    assert [len(part) for part in parts(large, 2)] == [2] * 5
    assert parts([], 2) == []


def test_a_pool_signs_its_own_algorithm_and_length_and_goes_on() -> None:
    with pool("length") as key:
        for wrong in (ToBeSigned(Kind.DIGEST, b"", KeyKind.P256.algorithm), batch(KeyKind.P384)[0]):
            with pytest.raises(KeyRefused):
                key.sign([*batch(KeyKind.P256), wrong])
        assert key.sign(batch(KeyKind.P256))
        assert key.health().state is KeyState.SIGNS


def test_a165_a_worker_killed_in_the_middle_of_a_batch_is_replaced_and_every_value_verifies() -> None:
    with pool("middle") as key:
        asked = batch(KeyKind.P256, 4000)
        victim = key.worker_pids[0]
        killer = threading.Timer(0.05, os.kill, (victim, signal.SIGKILL))
        killer.start()
        values = key.sign(asked)
        killer.join()
        check_all(key, asked, values)
        until(lambda: len(key.worker_pids) == 2 and victim not in key.worker_pids)
        assert key.health().state is KeyState.SIGNS


def test_a165_a_worker_killed_while_nobody_signs_is_replaced_within_seconds() -> None:
    with pool("idle") as key:
        for pid in key.worker_pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)  # they are gone before somebody asks
        began = time.monotonic()
        assert key.sign(batch(KeyKind.P256))
        assert time.monotonic() - began < SOON_S
        until(lambda: key.health().workers == 2)
        before = key.worker_pids
        os.kill(before[0], signal.SIGKILL)
        until(lambda: key.health().workers == 2 and before[0] not in key.worker_pids)
        assert key.health().state is KeyState.SIGNS


def test_a165_a_worker_that_hangs_is_given_up_and_the_other_one_does_its_part() -> None:
    with pool("hangs") as key:
        asked = batch(KeyKind.P256, 200)
        key.sign(asked)
        key.timeout_s = 1.0
        hanging = key.worker_pids[0]
        os.kill(hanging, signal.SIGSTOP)
        began = time.monotonic()
        check_all(key, asked, key.sign(asked))
        assert time.monotonic() - began < SOON_S
        assert hanging not in key.worker_pids
        key.timeout_s = 60.0
        until(lambda: key.health().workers == 2)


def test_a165_a_hanging_worker_with_large_messages_keeps_nobody_waiting() -> None:
    with pool("large", KeyKind.ED25519) as key:
        asked = batch(KeyKind.ED25519, 60, size=4000)
        key.sign(asked)
        key.timeout_s = 1.0
        os.kill(key.worker_pids[1], signal.SIGSTOP)
        check_all(key, asked, key.sign(asked))


def test_a165_what_two_workers_lost_is_not_asked_a_third_time() -> None:
    with pool("again") as key:
        over = threading.Event()

        def kill_each() -> None:
            while not over.is_set():
                for pid in key.worker_pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                time.sleep(0.001)

        killer = threading.Thread(target=kill_each)
        killer.start()
        try:
            with pytest.raises(KeyUnavailable):
                key.sign(batch(KeyKind.P256, 4000))
        finally:
            over.set()
            killer.join()
        assert key.sign(batch(KeyKind.P256))  # and when it is over it signs again
        until(lambda: key.health().state is KeyState.SIGNS)


def test_a165_a_lost_session_is_a_lost_worker_and_nobody_logs_in_behind_the_pool_s_back() -> None:
    with pool("session") as key:
        before = set(key.worker_pids)
        with key._desk:
            for worker in key._workers:
                worker.ask({"do": "drop"}, 5)
        asked = batch(KeyKind.P256, 300)
        check_all(key, asked, key.sign(asked))
        until(lambda: key.health().workers == 2)
        assert not before & set(key.worker_pids)


def test_a165_a_session_lost_while_nobody_signs_is_found_and_mended() -> None:
    with pool("look") as key:
        before = set(key.worker_pids)
        with key._desk:
            key._workers[0].ask({"do": "drop"}, 5)
        key.look_s = 0.0
        until(lambda: len(key.worker_pids) == 2 and set(key.worker_pids) != before)
        assert key.sign(batch(KeyKind.P256))


def test_a165_a_token_that_goes_away_is_an_alarm_and_signs_again_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path, "leaves")))
    info = create_key("pkcs11:token=leaves;object=k", KeyKind.P256, Pin(PIN))
    with closing(open_token_pool(info.uri, Pin(PIN), workers=2)) as key:
        assert key.sign(batch(KeyKind.P256))
        shutil.move(tmp_path / "tokens", tmp_path / "pulled")
        (tmp_path / "tokens").mkdir()
        for pid in key.worker_pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        with pytest.raises(KeyUnavailable, match="not there"):
            key.sign(batch(KeyKind.P256))
        health = key.health()
        assert (health.state, health.alarm, health.workers) == (KeyState.LOST, True, 0)
        assert "not there" in health.why
        shutil.rmtree(tmp_path / "tokens")
        shutil.move(tmp_path / "pulled", tmp_path / "tokens")
        until(lambda: key.health().state is KeyState.SIGNS, 60)
        assert key.sign(batch(KeyKind.P256))


def test_a163_a_token_put_in_with_another_key_under_the_same_id_stops_the_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    softhsm()
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path, "swapped")))
    first = create_key("pkcs11:token=swapped;object=k", KeyKind.P256, Pin(PIN))
    label_only = first.uri.partition(";id=")[0]
    with closing(open_token_pool(label_only, Pin(PIN), workers=1)) as key:
        assert key.sign(batch(KeyKind.P256))
        identifier = first.uri.partition(";id=")[2].partition(";")[0].partition("?")[0].replace("%", "")
        tool = [
            "pkcs11-tool",
            "--module",
            "/usr/lib/softhsm/libsofthsm2.so",
            "--token-label",
            "swapped",
            "--login",
            "--pin",
            PIN,
        ]
        for kind in ("privkey", "pubkey"):
            subprocess.run(
                [*tool, "--delete-object", "--type", kind, "--id", identifier], check=True, capture_output=True
            )
        make = ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "k", "--id", identifier, "--sensitive"]
        subprocess.run([*tool, *make], check=True, capture_output=True)
        os.kill(key.worker_pids[0], signal.SIGKILL)
        until(lambda: key.health().state is KeyState.STOPPED)
        with pytest.raises(KeyRefused, match="not the one that was opened"):
            key.sign(batch(KeyKind.P256))
        assert key.worker_pids == ()


def test_a013_a_worker_whose_signatures_are_false_stops_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pool("false") as key:
        assert key.sign(batch(KeyKind.P256))
        pids = key.worker_pids
        other = made("other")
        with closing(open_token_pool(other.uri, softhsm(), workers=1)) as wrong:
            with key._lock, wrong._lock:  # a worker that signs with another key than it said
                key._workers[1], wrong._workers[0] = wrong._workers[0], key._workers[1]
            with pytest.raises(KeyRefused, match="its own public key refuses"):
                key.sign(batch(KeyKind.P256, 200))
        health = key.health()
        assert (health.state, health.alarm, health.workers) == (KeyState.STOPPED, True, 0)
        with pytest.raises(KeyRefused, match="stopped"):
            key.sign(batch(KeyKind.P256))
        assert not Path(f"/proc/{pids[0]}").exists()


def test_a012_a_nonce_is_compared_with_those_of_every_worker() -> None:
    with pool("nonce") as key:
        (asked,) = batch(KeyKind.P256)
        key.sign([asked])
        seen = key._check._nonces
        assert len(seen) == 1
        key.sign(batch(KeyKind.P256, 129))
        assert len(seen) == 130  # of both workers, in one place


def test_a161_a_wrong_pin_is_tried_once_however_often_the_service_starts(tmp_path: Path) -> None:
    info, marks = made("wrong"), PinMarks(str(tmp_path / "pins"))
    open_token_pool(info.uri, softhsm(), workers=2, marks=marks).close()
    assert not list((tmp_path / "pins").glob("*.pin"))
    with pytest.raises(PinRefused, match="tried once"):
        open_token_pool(info.uri, Pin("000000"), workers=2, marks=marks)
    (mark,) = (tmp_path / "pins").glob("*.pin")
    assert mark.stat().st_mode & 0o777 == 0o600
    assert "000000" not in mark.read_text()
    for _ in range(3):  # a restart loop
        with pytest.raises(PinRefused, match="it is not tried again") as said:
            open_token_pool(info.uri, Pin("000000"), workers=2, marks=PinMarks(str(tmp_path / "pins")))
        assert str(mark) in said.value.next_step
    open_token_pool(info.uri, softhsm(), workers=2, marks=marks).close()  # the corrected one is tried
    assert not mark.exists()
    with pytest.raises(PinRefused, match="tried once"):
        open_token_pool(info.uri, Pin("000000"), workers=2, marks=marks)
    mark.unlink()  # as the refusal says
    with pytest.raises(PinRefused, match="tried once"):
        open_token_pool(info.uri, Pin("000000"), workers=2, marks=marks)


def test_a161_no_pin_is_tried_where_it_cannot_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with PinMarks(str(tmp_path / "pins")).trying("line-1 77", Pin("1234")):
        pass
    for folder in (tmp_path / "file", tmp_path / "file" / "pins"):
        with (
            pytest.raises(KeyUnavailable, match="none is tried"),
            PinMarks(str(folder)).trying("line-1 77", Pin("1234")),
        ):
            pytest.fail("it was tried")


def test_a161_a_login_that_was_broken_off_may_have_cost_a_try(tmp_path: Path) -> None:
    marks = PinMarks(str(tmp_path))

    def crash() -> None:
        with marks.trying("line-1 77", Pin("1234")):
            raise KeyUnavailable("k", "the worker process ended", "x") from WorkerLost("the worker process ended")

    def absent() -> None:
        with marks.trying("line-1 77", Pin("1234")):
            raise KeyUnavailable("k", "there is no such key", "x")

    with pytest.raises(KeyUnavailable):
        absent()  # the PIN was taken
    for _ in range(BROKEN_OFF):
        with pytest.raises(KeyUnavailable, match="ended"):
            crash()
    with pytest.raises(PinRefused, match="broken off"):
        crash()
    with marks.trying("line-1 77", Pin("4321")):
        pass
    with marks.trying("line-2 78", Pin("1234")):
        pass


def test_a161_wrong_pins_that_take_turns_are_each_tried_once_and_only_so_many_of_them(tmp_path: Path) -> None:
    marks, tried = PinMarks(str(tmp_path)), []

    def login(text: str) -> None:
        with marks.trying("line-1 77", Pin(text)):
            tried.append(text)
            raise PinRefused("k", "the PIN is wrong", "x")

    wrong = [f"{number:06}" for number in range(MAX_MARKS + 1)]
    for text in [wrong[0], wrong[1], wrong[0], wrong[1], *wrong]:
        with pytest.raises(PinRefused):
            login(text)
    assert tried == wrong[:MAX_MARKS]
    with pytest.raises(PinRefused, match=f"{MAX_MARKS} different PINs"):
        login("right")
    with marks.trying("line-2 78", Pin(wrong[0])):  # another token has marks of its own
        pass


def test_a161_a_process_killed_in_the_middle_of_a_login_has_left_its_mark(tmp_path: Path) -> None:
    marks = PinMarks(str(tmp_path))
    for _ in range(BROKEN_OFF):
        child = os.fork()
        if child == 0:
            with marks.trying("line-1 77", Pin("1234")):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
    with pytest.raises(PinRefused, match="broken off"), marks.trying("line-1 77", Pin("1234")):
        pytest.fail("tried")


def test_a161_keys_of_one_token_opened_together_try_a_wrong_pin_once(tmp_path: Path) -> None:
    marks, tried = PinMarks(str(tmp_path)), []

    def login() -> None:
        try:
            with marks.trying("line-1 77", Pin("1234")):
                tried.append(1)
                time.sleep(0.1)
                raise PinRefused("k", "the PIN is wrong", "x")
        except PinRefused:
            return

    threads = [threading.Thread(target=login) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tried == [1]


def test_a161_a_pin_changed_behind_an_open_pool_is_tried_once_and_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", str(make_token(tmp_path, "changed")))
    info = create_key("pkcs11:token=changed;object=k", KeyKind.P256, Pin(PIN))
    marks = PinMarks(str(tmp_path / "pins"))
    with closing(open_token_pool(info.uri, Pin(PIN), workers=2, marks=marks)) as key:
        assert key.sign(batch(KeyKind.P256))
        change = ["pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "changed", "--login"]
        subprocess.run([*change, "--pin", PIN, "--change-pin", "--new-pin", "999999"], check=True, capture_output=True)
        for pid in key.worker_pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: key.health().state is KeyState.STOPPED)
        assert "PIN is wrong" in key.health().why
        with pytest.raises(KeyRefused, match="stopped"):
            key.sign(batch(KeyKind.P256))
    with pytest.raises(PinRefused, match="not tried again"):
        open_token_pool(info.uri, Pin(PIN), marks=marks)
    open_token_pool(info.uri, Pin("999999"), marks=marks).close()


def test_a_damaged_mark_lets_nothing_be_tried(tmp_path: Path) -> None:
    marks = PinMarks(str(tmp_path))
    with pytest.raises(PinRefused), marks.trying("line-1 77", Pin("1234")):
        raise PinRefused("k", "the PIN is wrong", "x")
    (mark,) = tmp_path.glob("*.pin")
    mark.write_text("{}")
    with pytest.raises(KeyUnavailable, match="damaged"), marks.trying("line-1 77", Pin("4321")):
        pytest.fail("tried")


def test_a_pool_is_not_used_in_a_forked_child() -> None:
    with pool("fork") as key:
        child = os.fork()
        if child == 0:
            try:
                key.sign(batch(KeyKind.P256))
            except KeyUnavailable:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert key.sign(batch(KeyKind.P256))


def test_two_desks_of_one_key_wait_for_each_other() -> None:
    with pool("desks") as key:
        asked, failed = batch(KeyKind.P256, 200), []

        def desk() -> None:
            try:
                for _ in range(5):
                    check_all(key, asked, key.sign(asked))
            except (KeyUnavailable, KeyRefused) as cause:
                failed.append(cause)

        threads = [threading.Thread(target=desk) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert key.health().wanted == 2  # from another thread, without waiting
            time.sleep(0.01)
        assert not failed


@pytest.mark.parametrize("workers", [0, 17])
def test_a_pool_has_one_to_sixteen_workers(workers: int) -> None:
    with pytest.raises(UsageError):
        open_token_pool(f"{TOKEN};object=x", softhsm(), workers=workers)


def test_a_service_opens_every_kind_of_key_in_one_way_and_knows_how_it_fares(tmp_path: Path) -> None:
    token, file = made("watched"), create_key(f"file:{tmp_path / 'k.pem'}", KeyKind.P256)
    marks = PinMarks(str(tmp_path / "pins"))
    with closing(open_watched(token.uri, softhsm(), expected=token.public_key, workers=2, marks=marks)) as key:
        assert key.sign(batch(KeyKind.P256))
        fields = key.health().fields()
        assert (fields["state"], fields["workers"], fields["token"]) == ("signs", 2, "line-1")
        assert fields["last_good"]
    with pytest.raises(KeyRefused, match="not the one that was enrolled"):
        open_watched(token.uri, softhsm(), expected=file.public_key, marks=marks)
    with closing(open_watched(file.uri, expected=file.public_key)) as key:
        with pytest.raises(KeyRefused):
            key.sign(batch(KeyKind.P384))  # the request's fault, not the key's
        assert key.sign(batch(KeyKind.P256))
        assert key.health().state is KeyState.SIGNS
