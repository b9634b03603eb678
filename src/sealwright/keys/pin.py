"""PINs and passphrases: from a file, a systemd credential or a terminal, never from argv or the environment (A129).

A `Pin` shows nothing of itself in repr, str or an error.
"""

from __future__ import annotations

import os
import stat

from sealwright.artifact.source import open_artifact
from sealwright.errors import KeyRefused, Unreadable, UsageError

MAX_PIN_BYTES = 256
CREDENTIALS = "CREDENTIALS_DIRECTORY"
CREDENTIAL_NAME = "sealwright-pin"


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
