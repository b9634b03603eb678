"""The erasable part of a record: free text lies in a small file of its own, and the journal has only its salted digest (DESIGN, Person).

    HOME/private/0f3a….json     {"salt":"9c…","text":"customer portal, plant Wels"}

The file's name is the SHA-256 of its bytes, which is what the journal has: `sha256sum` checks it. The salt keeps anybody who reads
the journal alone from finding a text by guessing. Deleting the file erases the text; the journal stays whole, and says that there
was one. The file is durable before the entry that names it.
"""

from __future__ import annotations

import os
import secrets

from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import sync_folder
from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.source import read_file_or_none
from sealwright.artifact.statement import is_person
from sealwright.errors import JournalError, OutputRefused, UsageError
from sealwright.log.canonical import canonical_json, read_canonical
from sealwright.signing.home import PRIVATE, Home

MAX_TEXT = 200
MAX_BYTES = 4096
SALT_BYTES = 16


def check_person(person: str) -> None:
    """UsageError for what is no id: a journal is for ever, and names stay in a register that can be erased. "" is nobody."""
    if person and not is_person(person):
        raise UsageError(
            "--person", f"{person[:40]!r} is no id", "Write 1 to 64 letters, digits and `_.@+-`, as in p-17."
        )


def keep_text(home: Home, text: str, option: str) -> Digest:
    """Keep a text, durable; the digest for the journal. UsageError naming the option for no printable text, OutputRefused."""
    if not 1 <= len(text) <= MAX_TEXT or not text.isprintable() or not text.strip():
        raise UsageError(option, f"{text[:40]!r} is no text", f"Write 1 to {MAX_TEXT} printable characters.")
    try:
        data = canonical_json({"salt": secrets.token_hex(SALT_BYTES), "text": text})
    except ValueError as cause:
        raise UsageError(option, "it has a character that no file can hold", "Write it anew.") from cause
    folder, digest = home.path(PRIVATE), Digest.of(data)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        sync_folder(home.folder)
    except OSError as cause:
        raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", "Check the home's folder.") from cause
    write_batch([Output(_path(home, digest), data, mode=0o600)], replace=Replace.NO)
    return digest


def kept_text(home: Home, digest: Digest) -> str:
    """The text of a digest, "" where it was erased. JournalError where the file is not what the journal says."""
    path = _path(home, digest)
    data = read_file_or_none(path, MAX_BYTES)
    if data is None:
        return ""
    try:
        fields = read_canonical(data)
        if Digest.of(data) != digest or not isinstance(text := fields["text"], str):
            raise ValueError("it is another one")
    except (ValueError, KeyError) as cause:
        raise JournalError(
            path, "it is not the text that the journal names", "Keep it as evidence; restore it from a backup."
        ) from cause
    return text


def told(home: Home, said: str) -> str:
    """The text that a journal's field stands for; of one that was erased what is left of it. Raises as `kept_text` does."""
    try:
        digest = Digest.parse(said)
    except ValueError:  # it was short, and written as it is
        return said
    return kept_text(home, digest) or f"a text that was erased ({said[:15]}...)"


def _path(home: Home, digest: Digest) -> str:
    return home.path(PRIVATE, f"{digest.value.hex()}.json")
