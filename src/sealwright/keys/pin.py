"""PINs and passphrases: from a file, a systemd credential or a terminal, never from argv or the environment (A129).

A `Pin` shows nothing of itself in repr, str or an error.
"""

from __future__ import annotations

import os
import re
import stat

from sealwright.artifact.source import open_artifact
from sealwright.errors import KeyRefused, Unreadable, UsageError

MAX_PIN_BYTES = 256
CREDENTIALS = "CREDENTIALS_DIRECTORY"
CREDENTIAL_NAME = "sealwright-pin"
CREDENTIAL = "credential:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


class Pin:
    """A secret text; `reveal` is called only where it is handed to the token or key file."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    @classmethod
    def from_file(cls, path: str) -> Pin:
        """The first line of a file that only its owner can read; KeyRefused where others can."""
        return cls._read(path, stat.S_IRWXG | stat.S_IRWXO)

    @classmethod
    def from_credential(cls, path: str) -> Pin:
        """The same of systemd, in a folder that nobody else enters: the group's bits there are the mask of an access list."""
        return cls._read(path, stat.S_IRWXO)

    @classmethod
    def _read(cls, path: str, others: int) -> Pin:
        """others: the mode bits that give the secret away, asked of the descriptor that is read."""
        try:
            with open_artifact(path) as source:
                if os.name == "posix" and source.status().st_mode & others:
                    raise KeyRefused(path, "other users can read the PIN file", f"Run: chmod 600 {path}")
                text = source.read(MAX_PIN_BYTES).decode().split("\n", 1)[0].rstrip("\r")
        except Unreadable as cause:
            raise UsageError(path, f"the PIN file cannot be read: {cause.what}", "Check --pin-file.") from cause
        except UnicodeDecodeError as cause:
            raise UsageError(path, "the PIN file is not text", "Write the PIN as one line of text.") from cause
        if not text:
            raise UsageError(path, "the PIN file is empty", "Write the PIN as one line of text.")
        return cls(text)

    def __repr__(self) -> str:
        return "Pin(hidden)"


def placed_pin(place: str) -> Pin:
    """The PIN of a configuration's line: a file, or `credential:NAME` of systemd. What `from_file` raises."""
    if place.startswith(CREDENTIAL):
        return Pin.from_credential(credential_path(place))
    return Pin.from_file(place)


def credential_path(place: str) -> str:
    """Where systemd put `credential:NAME` for this unit; any other place is where it is. UsageError outside of a unit that has it."""
    if not place.startswith(CREDENTIAL):
        return place
    name, folder = place.removeprefix(CREDENTIAL), os.environ.get(CREDENTIALS)
    if not _NAME.fullmatch(name):
        raise UsageError(place, "this is no name of a credential", "Write credential:NAME, as LoadCredential= has it.")
    if not folder:
        raise UsageError(
            place,
            "systemd gave this process no credentials",
            "Start it as a unit with LoadCredential=, or name a file.",
        )
    return os.path.join(folder, name)


def credential_pin() -> Pin | None:
    """The PIN that systemd handed to this unit (LoadCredential=sealwright-pin:…), or None."""
    folder = os.environ.get(CREDENTIALS)
    path = os.path.join(folder, CREDENTIAL_NAME) if folder else ""
    return Pin.from_credential(path) if path and os.path.exists(path) else None


def ask_pin(what: str) -> Pin | None:
    """The PIN typed at a terminal, or None where there is none to ask."""
    import sys

    if not sys.stdin.isatty():
        return None
    import getpass  # only where somebody is asked

    return Pin(getpass.getpass(f"PIN of {what}: "))
