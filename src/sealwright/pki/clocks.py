"""Is this machine's clock right? Other sources are asked, and a clock that cannot be shown to be right stops the authority.

    watch = ClockWatch([parse_source("kernel"), parse_source("sntp:ntp.plant.example")])
    watch.check()
    watch.problem()        # "" where the clock may be used, else a clause for people

Nothing here sets a clock: a source can only stop the authority. That is why SNTP without authentication is good enough: who
forges answers can stop it, and hides a wrong clock only by forging a majority of the sources.

1. A source's answer is its offset from our clock and how far that may be off; one less certain than the limit is no answer.
2. More than half of the sources that answered within `max_silence` must be within `max_drift`. None answered: stopped.
3. The clock is compared with one that nobody can set (CLOCK_BOOTTIME). Apart by more than `max_drift`: somebody set it.
   Then every earlier answer is void, and the sources are asked again. Without sources only a new start believes it.

| source | what it says | what it cannot know |
|---|---|---|
| `kernel` | the clock is disciplined (adjtimex), and its largest error | whether the daemon's own servers are right |
| `sntp:HOST[:PORT]` | its time, within half the round trip and its own distance (RFC 5905, RFC 4330) | who answered |
| `tsa:URL` | genTime of a token for a fresh nonce, within its accuracy | nothing below a second |
| none | nothing: a plant that sets its clock by hand says so, and only rule 3 is left | everything else |
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from sealwright.artifact.digest import Digest
from sealwright.envelope.tsp import read_response, read_token, timestamp_request
from sealwright.errors import SealwrightError, UsageError
from sealwright.pki.timestamp import fetch_timestamp

MAX_DRIFT_S = 1.0
MAX_SILENCE_S = 3600.0
ASK_EVERY_S = 30.0
ASK_AGAIN_S = 5.0
TIMEOUT_S = 2.0
MAX_ADDRESSES = 3
NTP_PORT = 123
NTP_EPOCH = 2_208_988_800  # 1900-01-01 to 1970-01-01
_ERA = 1 << 32
_UNSYNCHRONISED = 0x40  # STA_UNSYNC
_CLOCK_ERROR = 5  # TIME_ERROR


class SourceSilent(Exception):
    """A source gave no usable answer; the text is a clause."""


@dataclass(frozen=True, slots=True)
class Reading:
    """offset_s: the source's time less ours; uncertainty_s: how far that may be off."""

    source: str
    offset_s: float
    uncertainty_s: float


class Source(Protocol):
    """Something that knows the time."""

    @property
    def name(self) -> str:
        """As it was asked for."""
        ...

    def ask(self, wall: Callable[[], float]) -> Reading:
        """Compare it with our clock; SourceSilent where it has nothing to say."""
        ...


@dataclass(frozen=True, slots=True)
class KernelSource:
    """The kernel's own word that something disciplines its clock: adjtimex(2), reading only."""

    name: str = "kernel"
    read: Callable[[], tuple[int, int, int]] = field(default=lambda: _adjtimex())

    def ask(self, wall: Callable[[], float]) -> Reading:  # noqa: ARG002 - the kernel compares by itself
        """Offset 0 within the kernel's largest error."""
        state, status, largest_error_us = self.read()
        if state == _CLOCK_ERROR or status & _UNSYNCHRONISED:
            raise SourceSilent("the kernel's clock is not synchronised: no NTP or PTP daemon disciplines it")
        return Reading(self.name, 0.0, largest_error_us / 1e6)


@dataclass(frozen=True, slots=True)
class SntpSource:
    """One query to an NTP server, as RFC 4330 and RFC 5905 section 14 say; our own time is not told to it."""

    name: str
    host: str
    port: int = NTP_PORT

    def ask(self, wall: Callable[[], float]) -> Reading:
        """Offset and half the round trip, and the server's distance from its own source."""
        try:
            places = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[:MAX_ADDRESSES]
        except (OSError, UnicodeError) as cause:
            raise SourceSilent(f"its name leads nowhere ({cause})"[:120]) from cause
        why: OSError | None = None
        for family, kind, _, _, address in places:
            try:
                return self._ask_at(family, kind, address, wall)
            except OSError as cause:
                why = cause
        raise SourceSilent(f"no answer ({why})"[:120])

    def _ask_at(self, family: int, kind: int, address: Any, wall: Callable[[], float]) -> Reading:
        cookie = secrets.token_bytes(8)
        query = struct.pack(">B39x8s", 0x23, cookie)  # no leap warning, version 4, client
        with socket.socket(family, kind) as line:
            line.settimeout(TIMEOUT_S)
            line.connect(address)
            sent, began = wall(), time.monotonic()
            line.send(query)
            while True:
                answer = line.recv(1024)
                took = time.monotonic() - began
                if len(answer) >= 48 and answer[24:32] == cookie:
                    return _reading(self.name, answer, sent, took)
                if took > TIMEOUT_S:  # what is no answer to this query is a late or a forged one
                    raise TimeoutError("timed out")


def _reading(name: str, answer: bytes, sent: float, took: float) -> Reading:
    """What a packet says. sent: our clock at the query; took: the round trip by a clock that nobody sets."""
    head, stratum = answer[0], answer[1]
    delay, dispersion = struct.unpack(">II", answer[4:12])
    received, transmitted = (_time(answer[at : at + 8], sent) for at in (32, 40))
    if head & 7 != 4 or head >> 3 & 7 not in (3, 4):
        raise SourceSilent("its answer is no NTP server's")
    if stratum == 0:
        raise SourceSilent(f"it wants no queries ({answer[12:16].decode('ascii', 'replace')!r})")
    if head >> 6 == 3 or stratum > 15 or answer[40:48] == bytes(8):
        raise SourceSilent("it is not synchronised itself")
    held = transmitted - received
    if not 0 <= held <= took:
        raise SourceSilent("its answer contradicts itself")
    offset = ((received - sent) + (transmitted - (sent + took))) / 2
    return Reading(name, offset, (took - held) / 2 + (delay / 2 + dispersion) / 65536)


def _time(stamp: bytes, near: float) -> float:
    """Seconds since 1970; the era of an NTP time is the one nearest to our clock (RFC 5905 section 6)."""
    seconds, fraction = struct.unpack(">II", stamp)
    since = seconds - NTP_EPOCH + fraction / _ERA
    return float(since + round((near - since) / _ERA) * _ERA)


@dataclass(frozen=True, slots=True)
class AuthoritySource:
    """Another timestamp authority: it must sign its word, and for a nonce of ours. Its path is not judged: it only stops us."""

    name: str
    url: str

    def ask(self, wall: Callable[[], float]) -> Reading:
        """genTime, a whole second mostly, against the middle of the round trip."""
        imprint, nonce = Digest.of(secrets.token_bytes(32)), secrets.randbits(63)
        sent, began = wall(), time.monotonic()
        try:
            answer = fetch_timestamp(self.url, timestamp_request(imprint, nonce), TIMEOUT_S)
            took = time.monotonic() - began
            token = read_token(read_response(answer, imprint, nonce, self.url), self.url)
        except SealwrightError as cause:
            raise SourceSilent(cause.what[:120]) from cause
        # a time cut to its second is half of one late on average, and at most half of one off that
        cut = 0.5 if token.gen_time.microsecond == 0 else 0.0
        said = token.gen_time.timestamp() + cut
        return Reading(self.name, said - (sent + took / 2), took / 2 + cut)


def parse_source(text: str) -> Source:
    """`kernel`, `sntp:HOST[:PORT]`, `sntp:[IPv6]:PORT` or `tsa:URL`; UsageError for anything else."""
    scheme, _, rest = text.partition(":")
    if text == "kernel":
        return KernelSource()
    if scheme == "tsa" and rest.startswith(("http://", "https://")):
        return AuthoritySource(text, rest)
    if scheme == "sntp" and rest:
        if rest.startswith("["):
            host, _, port = rest[1:].partition("]")
            port = port.removeprefix(":")
        else:
            host, _, port = rest.partition(":")
        port = port or str(NTP_PORT)
        if host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return SntpSource(text, host, int(port))
    raise UsageError(text[:80], "it is no source of time", "Write kernel, sntp:HOST[:PORT], tsa:URL or none.")


@dataclass(frozen=True, slots=True)
class ClockReport:
    """What the watch knows. problem: "" where the clock may be used; readings, silent: for each source."""

    problem: str
    readings: tuple[Reading, ...]
    silent: tuple[tuple[str, str], ...]
    checked: datetime | None


class ClockWatch:
    """The rules over some sources. Used by several threads: one asks, others want to know whether the clock may be used."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        max_drift_s: float = MAX_DRIFT_S,
        max_silence_s: float = MAX_SILENCE_S,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] | None = None,
        changed: Callable[[ClockReport], None] = lambda _: None,
    ) -> None:
        self.sources = tuple(sources)
        self.max_drift_s = max_drift_s
        self.max_silence_s = max_silence_s
        self.changed = changed
        self._wall, self._steady = wall, steady or _boot_time
        self._lock = threading.Lock()
        self._base = self._wall() - self._steady()
        self._heard: dict[str, tuple[Reading, float]] = {}
        self._silent: dict[str, str] = {}
        self._checked: datetime | None = None
        self._told: str | None = None
        self._wake, self._over = threading.Event(), False
        self._thread: threading.Thread | None = None

    def now(self) -> datetime:
        """The clock that is watched."""
        return datetime.fromtimestamp(self._wall(), UTC)

    def problem(self) -> str:
        """Why the clock may not be used now, "" where it may. Costs two readings of the clock."""
        with self._lock:
            return self._problem()

    def report(self) -> ClockReport:
        """All that is known, for the log and for /health."""
        with self._lock:
            readings = tuple(reading for reading, _ in self._heard.values())
            return ClockReport(self._problem(), readings, tuple(self._silent.items()), self._checked)

    def check(self) -> None:
        """Ask every source once; tells `changed` where the answer to `problem` is another one than before."""
        with self._lock:
            if self.sources and abs(self._jump()) > self.max_drift_s:
                self._heard.clear()
                self._base += self._jump()
        for source in self.sources:
            self._ask(source)
        with self._lock:
            self._checked = self.now()
            problem = self._problem()
            if self.sources and not problem:
                self._base = self._wall() - self._steady()
            news = problem != self._told
            self._told = problem
        if news:
            self.changed(self.report())

    def start(self) -> None:
        """Ask again and again, in a thread of its own, until `close`."""
        self._thread = threading.Thread(target=self._run, name="clock watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._over = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S * 2)

    def _run(self) -> None:
        while not self._over:
            self._wake.clear()
            self.check()
            self._wake.wait(ASK_AGAIN_S if self._told else ASK_EVERY_S)

    def _ask(self, source: Source) -> None:
        try:
            reading = source.ask(self._wall)
            if not reading.uncertainty_s <= self.max_drift_s:
                raise SourceSilent(f"its answer may be {reading.uncertainty_s:.3f} s off")
        except SourceSilent as cause:
            with self._lock:
                self._silent[source.name] = str(cause)
            return
        with self._lock:
            self._heard[source.name] = (reading, self._steady())
            self._silent.pop(source.name, None)

    def _jump(self) -> float:
        return self._wall() - self._steady() - self._base

    def _problem(self) -> str:
        jump = self._jump()
        if abs(jump) > self.max_drift_s:
            self._wake.set()
            return f"the clock was set by {jump:+.3f} s since it was last believed"
        if not self.sources:
            return ""
        now = self._steady()
        fresh = [reading for reading, at in self._heard.values() if now - at <= self.max_silence_s]
        if not fresh:
            why = next(iter(self._silent.values()), "none was asked yet")
            return f"no source of time has answered for {self.max_silence_s:.0f} s ({why})" if self._checked else why
        good = [reading for reading in fresh if abs(reading.offset_s) <= self.max_drift_s]
        if 2 * len(good) > len(fresh):
            return ""
        worst = max(fresh, key=lambda reading: abs(reading.offset_s))
        return f"the clock differs from {worst.source} by {worst.offset_s:+.3f} s, allowed is {self.max_drift_s:g} s"


def _boot_time() -> float:
    """Seconds that nobody can set, asleep or awake."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, as far as it is read, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def _adjtimex() -> tuple[int, int, int]:
    """State, status bits and the largest error in microseconds."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None) if os.name == "posix" else None
    if call is None:
        raise SourceSilent("this system does not say whether its clock is disciplined")
    timex = _Timex()  # modes 0: nothing is set
    state = call(ctypes.byref(timex))
    if state < 0:
        raise SourceSilent(f"adjtimex: {os.strerror(ctypes.get_errno())}")
    return state, timex.status, timex.maxerror
