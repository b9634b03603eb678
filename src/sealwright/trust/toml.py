"""Writing the small TOML that our own files use: texts, numbers, times, lists of texts, tables and arrays of tables.

toml_text("# sealwright trust 1", {"id": "plant-7", "rule": [{"name": "firmware", "signer": [{"slot": "maker"}]}]})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

Toml: TypeAlias = "str | int | bool | datetime | Sequence[Toml] | Mapping[str, Toml]"


def toml_text(first_line: str, top: Mapping[str, Toml]) -> str:
    """A file whose first line is a comment of ours."""
    return first_line + "\n" + "".join(_table(top, ())).rstrip("\n") + "\n"


def table_text(where: tuple[str, ...], entry: Mapping[str, Toml]) -> str:
    """One table of an array of tables, with its header."""
    path = tuple(key_text(name) for name in where)
    return f"[[{'.'.join(path)}]]\n" + "".join(_table(entry, path))


def quoted(text: str) -> str:
    """A TOML string; one that holds line feeds and no quotes (PEM) is written over several lines."""
    if "\n" in text and "'" not in text and text.replace("\n", "").isprintable():
        return f"'''\n{text}'''"
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08x}") for c in text) + '"'


def _table(table: Mapping[str, Toml], path: tuple[str, ...]) -> list[str]:
    lines = [f"{key_text(key)} = {value_text(value)}\n" for key, value in table.items() if not _nested(value)]
    for key, value in table.items():
        here = (*path, key_text(key))
        if isinstance(value, Mapping):
            lines += ["\n", f"[{'.'.join(here)}]\n", *_table(value, here)]
        elif _nested(value) and isinstance(value, Sequence):
            for entry in value:
                if isinstance(entry, Mapping):
                    lines += ["\n", f"[[{'.'.join(here)}]]\n", *_table(entry, here)]
    return lines


def _nested(value: Toml) -> bool:
    if isinstance(value, Mapping):
        return True
    return not isinstance(value, str) and isinstance(value, Sequence) and any(isinstance(one, Mapping) for one in value)


def value_text(value: Toml) -> str:
    """A value as it stands behind `=`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(str(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Sequence):
        return "[" + ", ".join(value_text(one) for one in value) + "]"
    if isinstance(value, Mapping):  # of a key whose value is a small table, such as `max_age`
        return "{ " + ", ".join(f"{key_text(key)} = {value_text(one)}" for key, one in value.items()) + " }"
    raise TypeError(f"no TOML for {type(value).__name__}")


def key_text(key: str) -> str:
    """A key, quoted where it must be."""
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else quoted(key)
