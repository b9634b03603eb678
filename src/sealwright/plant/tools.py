"""Programs that check signatures of other kinds: started by absolute path, with fixed arguments, in a folder of their own (A169).

1. A program is looked for in the system's own folders, never by the caller's PATH; the environment has nothing of the caller's.
2. It reads private copies with names of ours, so that no name, link or exchange of a file reaches it (A150).
3. Its time is bounded, and so is what it writes; what it says for people is never parsed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from sealwright.artifact.names import display
from sealwright.errors import LimitExceeded, Unreadable

PLACES = "/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin"
SAID_BYTES = 1 << 20
LEAST_S = 60
BYTES_A_S = 5_000_000
MAX_VERSION = 100
_STATUS = "status"


@dataclass(frozen=True, slots=True)
class Tool:
    """name: of the program; package: Debian's, which has it; asks: the arguments that make it say its version."""

    name: str
    package: str
    asks: tuple[str, ...]


OPENSSL = Tool("openssl", "openssl", ("version",))
GPGV = Tool("gpgv", "gpgv", ("--version",))
MINISIGN = Tool("minisign", "minisign", ("-v",))


@dataclass(frozen=True, slots=True)
class Ran:
    """code: its exit code, negative where a signal ended it; said: what it wrote on stdout; status: on the status descriptor."""

    code: int
    said: bytes
    status: bytes


class Workshop:
    """A private folder with the copies that programs read; it is gone at the end. Used by one thread, by `with`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sealwright-", ignore_cleanup_errors=True)
        self.folder = os.path.realpath(self._folder.name)
        os.mkdir(self.path("home"), 0o700)
        self._timeout_s = LEAST_S

    def path(self, name: str) -> str:
        """The absolute path of a name of ours."""
        return os.path.join(self.folder, name)

    def place(self, name: str, data: bytes) -> str:
        """A copy in it; its path."""
        descriptor = os.open(self.path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        return self.path(name)

    def expect(self, size_bytes: int) -> None:
        """Programs will read so much: they get the time for it."""
        self._timeout_s = LEAST_S + size_bytes // BYTES_A_S

    def run(self, tool: Tool, arguments: Sequence[str], *, status: str = "") -> Ran:
        """Run it to its end. status: the option that a descriptor's number is to be given with.

        Raises Unreadable naming the package where the program is missing, LimitExceeded where it takes too long.
        """
        environment = {"PATH": PLACES, "LC_ALL": "C", "HOME": self.path("home"), "TMPDIR": self.folder}
        environment["GNUPGHOME"] = self.path("home")
        with open(self.path("said"), "w+b") as said, open(self.path(_STATUS), "w+b") as told:
            number = told.fileno()
            begin = [program(tool), *((status, str(number)) if status else ()), *arguments]
            process = subprocess.Popen(
                begin,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                pass_fds=(number,) if status else (),
                start_new_session=True,
                preexec_fn=_bound_outputs if sys.platform != "win32" else None,
            )
            try:
                code = process.wait(self._timeout_s)
            except subprocess.TimeoutExpired as cause:
                raise LimitExceeded(
                    tool.name, f"it did not end within {self._timeout_s} seconds", "Try again on a faster machine."
                ) from cause
            finally:
                if process.poll() is None:
                    with suppress(OSError):
                        os.killpg(process.pid, 9)
                    process.wait()
            return Ran(code, _start_of(said), _start_of(told))

    def version(self, tool: Tool) -> str:
        """The first line that the program says of itself."""
        said = self.run(tool, tool.asks).said.decode(errors="replace").partition("\n")[0].strip()
        return display(said)[:MAX_VERSION] or tool.name

    def __enter__(self) -> Workshop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()


def program(tool: Tool) -> str:
    """Its absolute path; Unreadable naming the package where it is not installed."""
    found = shutil.which(tool.name, path=PLACES)
    if found is None:
        raise Unreadable(
            tool.name,
            f"this program is not installed in {PLACES.replace(':', ', ')}",
            f"On Debian or Ubuntu: apt-get install {tool.package}",
        )
    return found


def _bound_outputs() -> None:
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_FSIZE, (SAID_BYTES, SAID_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _start_of(file) -> bytes:  # type: ignore[no-untyped-def]
    file.seek(0)
    return bytes(file.read(SAID_BYTES))
