"""Programs that a device's own files name: fixed words, no shell, a fixed environment, a time limit.

`{file}` and `{folder}` stand for a part of a verified release and are whole words only. A program runs if its path is absolute and
nobody but root (or the caller) could change it or a folder on the way to it.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.section import Section
from sealwright.artifact.source import open_artifact
from sealwright.errors import InstallRefused
from sealwright.trust.place import unsafe_because

if TYPE_CHECKING:
    import subprocess

PARTS = ("{file}", "{folder}")
MAX_WORDS = 64
MAX_SAID = 4096
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Command:
    """words: the program and its arguments; digest: of the program, where exactly one is meant."""

    words: tuple[str, ...]
    timeout: timedelta
    digest: Digest | None

    @property
    def takes_part(self) -> bool:
        """Whether it is given a part of a release."""
        return any(word in PARTS for word in self.words)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended. why: "" where it ended with 0, else one clause with the end of what it said."""

    why: str


def read_command(section: Section, key: str, timeout: timedelta, digest: Digest | None) -> Command:
    """A list of words of a section; the section's own error for what is no command."""
    words = section.listed(key)
    if not words or len(words) > MAX_WORDS or not os.path.isabs(words[0]):
        raise section.wrong(key, f"a program's path from the root and its arguments, at most {MAX_WORDS} words")
    if any(part in word for part in PARTS for word in words if word not in PARTS) or words[0] in PARTS:
        raise section.wrong(key, "words among which `{file}` or `{folder}` stand alone")
    return Command(words, timeout, digest)


def check_program(command: Command) -> None:
    """InstallRefused where a program is not there, not the one that is meant, or others could change it."""
    program = command.words[0]
    problem = unsafe_because(program)
    if not problem and command.digest is not None:
        with open_artifact(program) as source:
            found = source.digests((HashName.SHA256,))[HashName.SHA256]
        problem = "" if found == command.digest else f"its digest is {found}"
    if not problem and not os.access(program, os.X_OK):
        problem = "it may not be executed"
    if problem:
        raise InstallRefused(
            display(program), f"the program cannot be relied on: {problem}", "Install it again, as root."
        )


def run(command: Command, part: str = "") -> Ended:
    """Run it to its end. part: the path of the release's part, for `{file}` and `{folder}`. InstallRefused where it may not run at all."""
    import subprocess  # start-up time: most rounds run nothing
    import tempfile

    check_program(command)
    words = [part if word in PARTS else word for word in command.words]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd="/",
                env=ENVIRONMENT,
                start_new_session=True,
            )
        except OSError as cause:
            return Ended(f"{words[0]} cannot be started ({cause.strerror})")
        try:
            code = process.wait(command.timeout.total_seconds())
        except subprocess.TimeoutExpired:
            _end(process)
            return Ended(f"{words[0]} did not end within {command.timeout}")
        except BaseException:
            _end(process)
            raise
        if code == 0:
            return Ended("")
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - MAX_SAID))
        lines = [line for line in display(said.read(MAX_SAID)).split("\\n") if line.strip()]
        return Ended(f"{words[0]} ended with {code}: {lines[-1][:300] if lines else 'it said nothing'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The program and all that it started."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
