"""The register changed as text, comments kept: somebody added, a certificate or key added, somebody ended.

1. Each change is made twice, in the text and in the values that were parsed from it; where they do not agree afterwards (the file says it
   in a way that is not edited here), nothing is written.
2. The whole is then read as the service reads it, or refused.
3. Nothing is added to an id that has ended, and no role is added to anybody: that is an edit for people to review.
What a change allows that was not allowed before is said by comparing both registers (`gains`), not by what was asked for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sealwright.artifact.digest import Digest
from sealwright.errors import MalformedPeople, UsageError
from sealwright.signing.approvalkeys import ApprovalKey, CmsKey
from sealwright.signing.people import Machine, People, Person, in_force, parse_people
from sealwright.trust.toml import Toml, table_text, value_text

_HEADER = re.compile(r"\[\[(person|machine)\]\][ \t]*(#[^\n]*)?\n?")


def with_entry(data: bytes, subject: str, kind: str, entry: Mapping[str, Toml]) -> bytes:
    """A person or machine more, at the end."""

    def more(values: dict[str, Any]) -> None:
        values.setdefault(kind, []).append(entry)

    text = data.decode().rstrip("\n") + "\n\n" + table_text((kind,), entry)
    return _checked(data, text, subject, more)


def with_certificate(data: bytes, subject: str, one: str, certificate: Digest, now: datetime) -> bytes:
    """A certificate more for somebody who is there already."""
    found = _present(data, subject, one, now)
    if isinstance(found, Machine) and found.token is not None:
        raise UsageError(one, "it is known by its tokens", "Add another machine for the certificate.")
    listed = [*map(str, found.certificates), str(certificate)]
    return _set(data, subject, one, "certificates", listed)


def with_approval_key(data: bytes, subject: str, one: str, entry: Mapping[str, Toml], now: datetime) -> bytes:
    """A key more with which a person approves. entry: as the register says it."""
    if not isinstance(_present(data, subject, one, now), Person):
        raise UsageError(one, "it is a machine, and machines approve nothing", "Name a person.")
    text = data.decode()
    start, end = _block(text, subject, one)
    block = text[start:end].rstrip("\n") + "\n\n" + table_text(("person", "approval_key"), entry)
    rest = text[end:]
    made = text[:start] + block + ("\n" + rest if rest else "")

    def more(values: dict[str, Any]) -> None:
        _entry(values, one).setdefault("approval_key", []).append(entry)

    return _checked(data, made, subject, more)


def with_prepare_key(data: bytes, subject: str, one: str, key: Digest, now: datetime) -> bytes:
    """A key more with which a machine signs what it has prepared again."""
    found = _present(data, subject, one, now)
    if not isinstance(found, Machine):
        raise UsageError(one, "it is a person, who signs it with an approval key", "Add that: `approval-key`.")
    return _set(data, subject, one, "prepare_keys", [*map(str, found.prepare_keys), str(key)])


def with_end(data: bytes, subject: str, one: str, at: datetime) -> bytes:
    """Somebody's end; an earlier one stays."""
    people = parse_people(data, subject)
    found = people.persons.get(one) or people.machines.get(one)
    if found is None:
        raise _unknown(one)
    if found.until is not None and found.until <= at:
        raise UsageError(one, f"it ends on {found.until:%Y-%m-%d %H:%M} UTC already", "Nothing is left to do.")
    return _set(data, subject, one, "until", at)


def gains(before: People, after: People) -> list[tuple[str, str]]:
    """What is possible by the new register and was not by the old one: id, and what. Ends that move away count too."""
    return sorted(_rights(after) - _rights(before))


def _rights(people: People) -> set[tuple[str, str]]:
    found = set()
    every: tuple[Person | Machine, ...] = (*people.persons.values(), *people.machines.values())
    for one in every:
        until = f"until {one.until:%Y-%m-%d %H:%M} UTC" if one.until is not None else "without an end"
        found |= {(one.id, f"{role} in {one.tenant}, {until}") for role in one.roles}
        found |= {(one.id, f"certificate {digest}") for digest in one.certificates}
        if isinstance(one, Person):
            found |= {(one.id, _approves_by(key)) for key in one.approval_keys}
            continue
        found |= {(one.id, f"prepare key {key}") for key in one.prepare_keys}
        if one.token is not None:
            listed = ", ".join(f"{name} = {text}" for name, text in sorted(one.token.claims.items()))
            found.add(
                (
                    one.id,
                    f"tokens of {one.token.issuer} for {one.token.subject}" + (f" with {listed}" if listed else ""),
                )
            )
    return found


def _approves_by(key: ApprovalKey) -> str:
    if isinstance(key, CmsKey):
        return f"approval key {key.key}"
    model = f", model {key.aaguid} as it says" if key.aaguid else ""
    return f"approval key {key.key} in an authenticator, used at {key.origin}{model}"


def _present(data: bytes, subject: str, one: str, now: datetime) -> Person | Machine:
    people = parse_people(data, subject)
    found = people.persons.get(one) or people.machines.get(one)
    if found is None:
        raise _unknown(one)
    if found.until is not None and not in_force(found, now):
        raise UsageError(one, "it has ended, and nothing is added to it", "Give whoever comes back a new id.")
    return found


def _set(data: bytes, subject: str, one: str, key: str, value: Toml) -> bytes:
    text = data.decode()
    start, end = _block(text, subject, one)
    lines = text[start:end].splitlines(keepends=True)
    own = next((at for at, line in enumerate(lines) if at and line.startswith("[")), len(lines))
    line = f"{key} = {value_text(value)}\n"
    at = next((at for at in range(own) if re.match(rf"{key}[ \t]*=", lines[at])), None)
    if at is None:
        after = next(at for at in range(own) if re.match(r"id[ \t]*=", lines[at]))
        lines.insert(after + 1, line)
    else:
        lines[at] = line

    def other(values: dict[str, Any]) -> None:
        _entry(values, one)[key] = value

    return _checked(data, text[:start] + "".join(lines) + text[end:], subject, other)


def _block(text: str, subject: str, one: str) -> tuple[int, int]:
    """From the header of an entry to the next one's."""
    headers = [
        match.start() for match in _HEADER.finditer(text) if match.start() == 0 or text[match.start() - 1] == "\n"
    ]
    for start, end in zip(headers, [*headers[1:], len(text)], strict=True):
        if re.search(rf'^id[ \t]*=[ \t]*"{re.escape(one)}"', text[start:end], re.MULTILINE):
            return start, end
    raise _not_edited(subject)


def _entry(values: dict[str, Any], one: str) -> dict[str, Any]:
    return next(entry for kind in ("person", "machine") for entry in values.get(kind, []) if entry["id"] == one)


def _checked(data: bytes, text: str, subject: str, change: Callable[[dict[str, Any]], None]) -> bytes:
    wanted: dict[str, Any] = tomllib.loads(data.decode())
    change(wanted)
    try:
        same = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError as cause:
        raise _not_edited(subject) from cause
    if not same:
        raise _not_edited(subject)
    parse_people(text.encode(), subject)
    return text.encode()


def _unknown(one: str) -> UsageError:
    return UsageError(one, "the register has no such id", "`sealwright people show FILE` lists who is there.")


def _not_edited(subject: str) -> MalformedPeople:
    return MalformedPeople(
        subject,
        "it writes this in a way that is not edited here",
        "Change it by hand, then: sealwright people check FILE",
    )
