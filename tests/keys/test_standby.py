"""A key that is awaited: what opens it, what does not, and what is tried how often."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sealwright.envelope.cms_write import to_be_signed
from sealwright.errors import KeyRefused, KeyUnavailable, PinRefused, UsageError
from sealwright.keys.backends import create_key, open_watched
from sealwright.keys.health import KeyState, Place, WatchedKey
from sealwright.keys.key import KeyInfo, KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.standby import Promised, Standby


def until(what: Callable[[], object]) -> None:
    """Wait for it."""
    ends = time.monotonic() + 30
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.02)


class Backend:
    """A file's key, and what stands in its way."""

    def __init__(self, folder: Path) -> None:
        self.info: KeyInfo = create_key(f"file:{folder}/key.pem", KeyKind.P256)
        self.problem: Exception | None = None
        self.tried: list[str] = []
        self.secret: Pin | Exception = Pin("1")

    @property
    def promised(self) -> Promised:
        return Promised("key line", self.info, Place("line-1", "77"), 1)

    def open(self, pin: Pin | None) -> WatchedKey:
        self.tried.append("" if pin is None else pin.reveal())
        if self.problem is not None:
            raise self.problem
        return open_watched(self.info.uri)

    def pin(self) -> Pin | None:
        if isinstance(self.secret, Exception):
            raise self.secret
        return self.secret


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    return Backend(tmp_path)


def begun(backend: Backend) -> Standby:
    return Standby.begin(backend.promised, backend.open, backend.pin)


ONE = [to_be_signed(b"x", KeyKind.P256.algorithm)]


def test_what_is_absent_at_the_start_is_named_and_opened_when_it_is_there(backend: Backend) -> None:
    with closing(begun(backend)) as key:
        assert key.sign(ONE)
        assert key.health().state is KeyState.SIGNS
    backend.problem = KeyUnavailable("pkcs11:token=line-1", "the token is not there", "x")
    with closing(begun(backend)) as key:
        health = key.health()
        assert (health.state, health.place, health.workers) == (KeyState.LOST, Place("line-1", "77"), 0)
        assert health.alarm
        with pytest.raises(KeyUnavailable, match="key line: it does not sign now: the token is not there"):
            key.sign(ONE)
        backend.problem = None
        until(lambda: key.health().state is KeyState.SIGNS)
        assert key.sign(ONE)


def test_another_key_in_its_place_is_no_start_and_later_a_stop_that_no_pin_mends(backend: Backend) -> None:
    other = KeyRefused("pkcs11:token=line-1", "the key found there is not the one that was enrolled", "x")
    backend.problem = other
    with pytest.raises(KeyRefused):
        begun(backend)
    backend.problem = KeyUnavailable("pkcs11:token=line-1", "the token is not there", "x")
    with closing(begun(backend)) as key:
        backend.problem = other
        until(lambda: key.health().state is KeyState.STOPPED)
        backend.problem, backend.secret = None, Pin("2")
        with pytest.raises(KeyUnavailable, match="not the one that was enrolled"):
            key.sign(ONE)
        count = len(backend.tried)
        time.sleep(1.5)  # the watch has looked meanwhile
        assert (len(backend.tried), key.health().state) == (count, KeyState.STOPPED)


def test_a161_each_content_of_the_pin_file_is_tried_once(backend: Backend) -> None:
    backend.problem = PinRefused("pkcs11:token=line-1", "the token refused the PIN", "x")
    with closing(begun(backend)) as key:
        assert key.health().state is KeyState.STOPPED
        assert key.health().pin_refused
        backend.secret = UsageError("line.pin", "the PIN file is empty", "x")  # as while it is being written
        time.sleep(1.2)
        backend.secret = Pin("2")
        until(lambda: len(backend.tried) == 2)
        time.sleep(1.2)
        assert backend.tried == ["1", "2"]
        backend.problem, backend.secret = None, Pin("3")
        until(lambda: key.health().state is KeyState.SIGNS)
        assert backend.tried == ["1", "2", "3"]
        assert key.sign(ONE)


def test_the_key_without_which_nothing_begins_is_not_awaited(backend: Backend) -> None:
    with closing(Standby.present(backend.promised, backend.open, backend.pin)) as key:
        assert key.sign(ONE)
    backend.problem = KeyUnavailable("pkcs11:token=line-1", "the token is not there", "x")
    with pytest.raises(KeyUnavailable):
        Standby.present(backend.promised, backend.open, backend.pin)
