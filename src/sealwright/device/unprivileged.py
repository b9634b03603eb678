"""The fetch process as a child without rights: what talks to networks and reads what strangers wrote is not root.

It is forked, opens what it needs (folders of sticks), leaves the agent's terminal and files, goes to the account of agent.toml, gives up
every privilege it could get by starting programs (PR_SET_NO_NEW_PRIVS), and stands in the fetch folder, the only one it may write to. It
says what it saw in bounded packets (`messages.py`); the agent answers one word or closes the channel. One that says nothing is ended: after
`look_s` where it is to say what is offered, after `fetch_s` of agent.toml where it fetches.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from sealwright.device.messages import FETCH, Failed, Reach, Seen, Staged, Wanted, receive, send
from sealwright.errors import MalformedConfiguration, RepositoryUnavailable, SealwrightError

if TYPE_CHECKING:
    from sealwright.device.agentconfig import AgentConfig, Limits
    from sealwright.device.fetch import Followed
    from sealwright.device.fetcher import Source
    from sealwright.device.origin import Origin

FOLDER = "fetch"
LOOK_S = 900
Said = TypeVar("Said", Seen, Staged)
Got = TypeVar("Got")
_LOOKING = ("sealwright.device.fetch", "tuf.api.serialization.json", "_strptime", "encodings.idna")
_LOADED = {Reach.LOOK: _LOOKING, Reach.FETCH: (*_LOOKING, "sealwright.device.fetchfiles")}
_NOT_NEEDED = ("boto3", "pkcs11", "PyKCS11", "google.cloud", "azure.identity", "hvac")
_NO_NEW_PRIVS = 38  # prctl(2)


class Fetching:
    """The running process, as the agent sees it."""

    def __init__(self, channel: socket.socket, pid: int, config: AgentConfig) -> None:
        self.channel = channel
        self.pid = pid
        self.config = config

    def seen(self) -> Seen:
        """What the repository says; the error of the process where it failed, RepositoryUnavailable where it says nothing."""
        return self._expect(Seen, look_s(self.config))

    def staged(self) -> Staged:
        """Have the offer fetched; returns when all of it lies ready. Raises as `seen`."""
        self.channel.sendall(FETCH)
        return self._expect(Staged, self.config.limits.fetch_s)

    def _expect(self, kind: type[Said], within_s: float) -> Said:
        self.channel.settimeout(within_s)
        message = receive(self.channel)
        if isinstance(message, Failed):
            raise message.error()
        if not isinstance(message, kind):
            raise RepositoryUnavailable("the fetch process", "it says things out of turn", "Start the agent again.")
        return message


def look_s(config: AgentConfig) -> float:
    """How long a fetch process may look, in seconds: with time for each copy of a repository that does not answer."""
    copies = sum(len(one.repositories) for one in (config.maker, config.plant) if one is not None)
    return min(config.limits.fetch_s, LOOK_S + copies * config.limits.timeout_s)


def fetch_folder(config: AgentConfig) -> str:
    """The folder that the fetch process may write to, made where it is missing."""
    folder = os.path.join(config.state, FOLDER)
    user, group = account(config)
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    if os.geteuid() == 0:
        os.chown(folder, user, group, follow_symlinks=False)
    return folder


def account(config: AgentConfig) -> tuple[int, int]:
    """The numbers of the account that fetches; the caller's own where no other is named."""
    if not config.user:
        return os.geteuid(), os.getegid()
    import pwd

    try:
        found = pwd.getpwnam(config.user)
    except KeyError as cause:
        raise MalformedConfiguration(
            config.path, f"there is no account `{config.user}` here", "Make it, or name another as `user`."
        ) from cause
    return found.pw_uid, found.pw_gid


@contextmanager
def fetching(wanted: Wanted) -> Iterator[Fetching]:
    """A fetch process; it is gone at the end, whatever it was doing."""
    folder, (user, group) = fetch_folder(wanted.config), account(wanted.config)
    _load(wanted.reach)
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            ours.close()
            code = _child(its, folder, user, group, wanted)
        finally:
            os._exit(code)
    its.close()
    try:
        yield Fetching(ours, pid, wanted.config)
    finally:
        ours.close()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _load(reach: Reach) -> None:
    """All code of the fetch process before it gives up its rights: it may then be unable to read where Python lies, and needs nothing there.

    python-tuf's keys load every token's and cloud's library that is installed, which a client that only verifies has no use for.
    """
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # its import fails as if it were not installed
    try:
        for name in _LOADED[reach]:
            import_module(name)
    finally:
        for name in hidden:
            del sys.modules[name]


def _child(channel: socket.socket, folder: str, user: int, group: int, wanted: Wanted) -> int:
    from sealwright.device.fetcher import Folder

    try:
        config = wanted.config
        maker = list(_sources(config.maker, config.limits))
        plant = list(_sources(config.plant, config.limits)) if config.plant is not None else []
        os.chdir(folder)
        _leave(channel.fileno(), *(one.descriptor for one in (*maker, *plant) if isinstance(one, Folder)))
        drop(user, group, config.limits.release_bytes)
        send(channel, Staged(_fetched(maker, plant, wanted, channel)))
    except SealwrightError as cause:
        send(channel, Failed(cause.code, cause.subject, cause.what, cause.next_step))
    except OSError as cause:
        send(
            channel,
            Failed(
                RepositoryUnavailable.code,
                "the fetch process",
                cause.strerror or "it failed",
                "Look at `user` and `state` in agent.toml.",
            ),
        )
    return 0


def _leave(*kept: int) -> None:
    """Everything of the agent's: its terminal, into which a process could type (TIOCSTI), its streams and its open files."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):  # the listing's own is closed by now
                os.close(int(name))


def drop(user: int, group: int, file_bytes: int) -> None:
    """Give up every right but that of an account. file_bytes: the largest file that may be written."""
    import ctypes

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))  # it starts no process
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    if ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "privileges cannot be given up")


def _sources(origin: Origin, limits: Limits) -> Iterator[Source]:
    from sealwright.device.fetcher import Folder, Server

    for name in origin.repositories:
        if "://" in name:
            yield Server(name, origin.ca, limits)
            continue
        with suppress(OSError):  # a stick that is not in
            yield Folder(name, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))


def _fetched(maker: list[Source], plant: list[Source], wanted: Wanted, channel: socket.socket) -> int:
    from sealwright.device.fetch import fetch, follow

    told = False

    def go_on(seen: Seen) -> bool:
        nonlocal told
        if not told:
            send(channel, seen)
            told = channel.recv(len(FETCH)) == FETCH
            if not told:
                os._exit(0)
        return True

    beside: Followed | None = None
    if (pinned := wanted.plant) is not None:
        beside = _from_first(plant, pinned.origin, lambda source: follow(source, pinned, wanted))
    return _from_first(maker, wanted.config.maker, lambda source: max(0, fetch(source, wanted, go_on, beside)))


def _from_first(sources: list[Source], origin: Origin, work: Callable[[Source], Got]) -> Got:
    """From the first that answers; one that is refused ends it, because what another one offers may be older still."""
    missed = RepositoryUnavailable(
        ", ".join(origin.repositories), "none of them is there", "Check the network, or put the stick in."
    )
    for source in sources:
        try:
            return work(source)
        except RepositoryUnavailable as cause:
            missed = cause
    raise missed
