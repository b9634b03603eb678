"""A trust file or deny list being edited: the text changes where it must and nowhere else, so that people's comments stay.

1. Only a version that nobody has signed is edited (`unsigned`): a signature is about exactly these bytes.
2. Each edit is made twice, in the text and in the values that were parsed from it. `checked` parses the new text and compares:
   what TOML can say in ways that this editor does not change (inline tables, dotted keys) ends in a refusal, never in another
   meaning (A106).
3. The whole is then read as every verifier reads it, or refused.
4. What somebody else wrote or signed meanwhile is never written over (`write`); two editors who wait for each other are both kept.

    draft = Draft.read("trust.toml")
    draft.add(("anchor",), {"name": "acme", "environment": "production", "certificate": pem})
    draft.write()
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.errors import ChangedWhileRead, MalformedTrust, TrustRefused, UsageError
from sealwright.trust.belief import DENY_KIND, DENY_LINE, parse_deny
from sealwright.trust.history import KIND, read_signed, read_text, signing_keys
from sealwright.trust.model import TrustFile
from sealwright.trust.toml import Toml, key_text, table_text, value_text
from sealwright.trust.trustfile import MAX_BYTES, parse_trust

Where = tuple[str, ...]
LONGEST = timedelta(days=3660)
_TOKEN = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|[\[\]{}\n]',
    re.DOTALL,
)


class Statement(NamedTuple):
    """`key = value`: where it starts and ends, the line feed included."""

    key: str
    start: int
    end: int


@dataclass(slots=True)
class Part:
    """A table's text: from the comments right above its header to the next table's. path: () for the top."""

    path: Where
    start: int
    end: int
    statements: list[Statement]
    own_end: int


class Draft:
    """The text and its values, changed together."""

    def __init__(self, data: bytes, path: str) -> None:
        self.path, self.before = path, data
        self.denying = data.startswith(DENY_LINE.encode() + b"\n")
        self._parsed(data)
        self.text = data.decode()
        self.values: dict[str, Any] = tomllib.loads(self.text)

    @classmethod
    def read(cls, path: str) -> Draft:
        """A file that nobody has signed as it is; UsageError where somebody has."""
        unsigned(path)
        return cls(read_text(path), path)

    def add(self, where: Where, entry: Mapping[str, Toml], remarks: Sequence[str] = ()) -> None:
        """A table at the end of an array of tables, behind what is there of its kind; remarks: comment lines right above it."""
        block = _comment(remarks) + table_text(where, entry)
        parts = _parts(self.text)
        kin = [part for part in parts if part.path[:1] == where[:1]]
        at = kin[-1].own_end if kin else len(self.text.rstrip("\n")) + 1
        before = self.text[:at].rstrip("\n") + "\n"
        after = self.text[at:].lstrip("\n")
        self.text = before + "\n" + block + ("\n" + after if after else "")
        self._array(where).append(_plain(entry))

    def remove(self, where: Where, index: int) -> None:
        """One table of an array, with what belongs to it and the comment right above it."""
        parts = _parts(self.text)
        own = [number for number, part in enumerate(parts) if part.path == where]
        if index >= len(own):
            raise self._refused()
        first = last = own[index]
        while (
            last + 1 < len(parts)
            and len(parts[last + 1].path) > len(where)
            and parts[last + 1].path[: len(where)] == where
        ):
            last += 1
        before, after = self.text[: parts[first].start].rstrip("\n"), self.text[parts[last].own_end :].lstrip("\n")
        self.text = before + "\n" + ("\n" + after if after else "")
        table, array = self._parent(where), self._array(where)
        del array[index]
        if not array:
            del table[where[-1]]

    def set(self, where: Where, index: int, key: str, value: Toml) -> None:
        """The value of a key of a table, written over the old one or behind the last; where () is the head."""
        parts = [part for part in _parts(self.text) if part.path == where]
        if index >= len(parts):
            if where != ("minimum",) or "minimum" in self.values:
                raise self._refused()
            self.text = self.text.rstrip("\n") + "\n\n[minimum]\n"
            self.values["minimum"] = {}
            parts = [part for part in _parts(self.text) if part.path == where]
        part = parts[index]
        line = f"{key_text(key)} = {value_text(value)}"
        old = [statement for statement in part.statements if statement.key == key]
        if old:
            remark = _remark(self.text[old[0].start : old[0].end])
            self.text = self.text[: old[0].start] + line + remark + self.text[old[0].end :]
        else:
            at = part.statements[-1].end if part.statements else self.text.index("\n", _header(part, self.text)) + 1
            self.text = self.text[:at] + line + "\n" + self.text[at:]
        self._table(where, index)[key] = _plain(value)

    def remark(self, where: Where, index: int, remarks: Sequence[str]) -> None:
        """Comment lines right above a table's header, below those that are there."""
        parts = [part for part in _parts(self.text) if part.path == where]
        if not where or index >= len(parts):
            raise self._refused()
        at = _header(parts[index], self.text)
        self.text = self.text[:at] + _comment(remarks) + self.text[at:]

    def unset(self, where: Where, index: int, key: str) -> None:
        """A key of a table taken away."""
        parts = [part for part in _parts(self.text) if part.path == where]
        old = [one for part in parts[index : index + 1] for one in part.statements if one.key == key]
        if not old:
            raise self._refused()
        self.text = self.text[: old[0].start] + self.text[old[0].end :]
        del self._table(where, index)[key]

    def checked(self) -> bytes:
        """The new text, read as every verifier reads it; MalformedTrust saying why it would not be accepted."""
        data = self.text.encode()
        try:
            if tomllib.loads(self.text) != self.values:
                raise self._refused()
        except tomllib.TOMLDecodeError as cause:
            raise self._refused() from cause
        self._parsed(data)
        return data

    def write(self) -> None:
        """Put the new text in the old one's place; ChangedWhileRead or UsageError where that was changed or signed meanwhile."""
        from sealwright.artifact.output import Output, Replace, write_batch  # a stateless verify writes nothing

        def unchanged(_: str) -> None:
            unsigned(self.path)
            if read_file(self.path, MAX_BYTES) != self.before:
                what = "somebody else changed it meanwhile; nothing was written"
                raise ChangedWhileRead(self.path, what, "Look at it with `sealwright trust show`, and try again.")

        write_batch([Output(self.path, self.checked(), check=unchanged)], replace=Replace.YES)

    @property
    def trust(self) -> TrustFile:
        """What the text says now; of a trust file."""
        return parse_trust(self.text.encode(), self.path)

    def _parsed(self, data: bytes) -> None:
        if self.denying:
            parse_deny(data, self.path)
        else:
            parse_trust(data, self.path)

    def _parent(self, where: Where) -> dict[str, Any]:
        table = self.values
        for name in where[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise self._refused()
        return table

    def _array(self, where: Where) -> list[Any]:
        return cast("list[Any]", self._parent(where).setdefault(where[-1], []))

    def _table(self, where: Where, index: int) -> dict[str, Any]:
        """The table of the same place in the text: of tables in tables (`rule.signer`) those of all, one after the other."""
        tables: list[Any] = [self.values]
        for name in where:
            found = [table[name] for table in tables if isinstance(table, dict) and name in table]
            tables = [one for each in found for one in (each if isinstance(each, list) else [each])]
        if index >= len(tables) or not isinstance(tables[index], dict):
            raise self._refused()
        return cast("dict[str, Any]", tables[index])

    def _refused(self) -> MalformedTrust:
        return MalformedTrust(
            self.path,
            "it writes this in a way that is not edited here (an inline table, an inline list or a dotted key)",
            "Write it as [[SECTION]] tables, or change it by hand and run `sealwright trust check`.",
        )


def unsigned(path: str) -> None:
    """UsageError where an officer's signature holds for the file as it is: what was signed stays as it was signed."""
    signed = read_signed(path)
    kind = DENY_KIND if signed.text.startswith(DENY_LINE.encode()) else KIND
    if signing_keys(signed, kind):
        raise UsageError(
            path, "it is already signed as it is", f"Begin the next version: sealwright trust new --next {path}"
        )


def next_version(path: str, now: datetime, expires: datetime | None) -> tuple[TrustFile, bytes]:
    """The version that is there and the text of the next; TrustRefused where that one is not signed by its officers yet."""
    from sealwright.trust.history import reached, with_kept

    data = read_file(path, MAX_BYTES)
    draft = Draft(data, path)
    old = draft.trust
    signed = with_kept(read_signed(path), old.version)
    if signed.text != data or (old.stage != "trial" and not reached(old.officers, signing_keys(signed))):
        raise TrustRefused(
            path,
            f"version {old.version} is not signed by enough of its officers yet",
            "Change this version, it is still a draft; `sealwright trust check` says who is missing.",
        )
    issued = now.replace(microsecond=0)
    if issued < old.issued:
        raise UsageError(path, f"it was issued on {old.issued:%Y-%m-%d %H:%M} UTC, later than now", "Set this clock.")
    draft.set((), 0, "version", old.version + 1)
    draft.set((), 0, "issued", issued)
    lasts = min(old.expires - old.issued, LONGEST)
    draft.set((), 0, "expires", (expires or issued + lasts).replace(microsecond=0))
    return old, draft.checked()


def next_deny(path: str) -> bytes:
    """The text of the next version of a deny list."""
    draft = Draft(read_file(path, MAX_BYTES), path)
    draft.set((), 0, "version", parse_deny(draft.text.encode(), path).version + 1)
    return draft.checked()


def _parts(text: str) -> list[Part]:
    """The tables of a text that is TOML, in order, the top first."""
    parts = [Part((), 0, len(text), [], 0)]
    position, above = 0, 0  # above: where the comments right above the next header begin
    while position < len(text):
        line_end = text.find("\n", position)
        line_end = len(text) if line_end < 0 else line_end + 1
        line = text[position:line_end].strip()
        if not line:
            position = above = line_end
            continue
        if line.startswith("#"):
            position = line_end
            continue
        end = _statement_end(text, position)
        if line.startswith("["):
            parts[-1].end = above
            parts.append(Part(_path_of(text[position:end]), above, len(text), [], end))
        else:
            parts[-1].statements.append(Statement(_key_of(text[position:end]), position, end))
            parts[-1].own_end = end
        position = above = end
    return parts


def _statement_end(text: str, start: int) -> int:
    depth = 0
    for token in _TOKEN.finditer(text, start):
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        elif token[0] == "\n" and depth == 0:
            return token.end()
    return len(text)


def _path_of(header: str) -> Where:
    found: object = tomllib.loads(header)
    path: list[str] = []
    while isinstance(found, dict) and found:
        (name,) = found
        path.append(name)
        found = found[name]
        if isinstance(found, list):
            found = found[0]
    return tuple(path)


def _key_of(statement: str) -> str:
    """The key; a dotted one by a name that no key has."""
    key = statement.lstrip()
    if match := re.match(r"([A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*')[ \t]*=", key):
        (name,) = tomllib.loads(f"{match[1]} = 0")
        return str(name)
    return "\n"


def _header(part: Part, text: str) -> int:
    """Where the header's line begins: behind the comments above it."""
    at = part.start
    while text[at : text.index("\n", at)].strip().startswith("#"):
        at = text.index("\n", at) + 1
    return at


def _comment(remarks: Sequence[str]) -> str:
    """Comment lines; a line feed or control character in one is shown as an escape, so that nothing of it is read as TOML."""
    return "".join(f"# {display(one)}\n" for one in remarks)


def _remark(statement: str) -> str:
    """What stands behind the value on its line: a comment, and the line feed."""
    comments = [token[0] for token in _TOKEN.finditer(statement) if token[0].startswith("#")]
    return ("  " + comments[-1] if comments and statement.rstrip("\n").endswith(comments[-1]) else "") + "\n"


def _plain(value: object) -> Any:
    """As `tomllib` would give it back."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return copy.copy(value)
