"""The fields of a log's entries (`entries.py`): their words, and how each is written and read. A name means the same in every type."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.log.canonical import Field, read_time, time_text


class Claimed(StrEnum):
    """Where the claims of a request come from."""

    SIGNED = "signed-bytes"
    ASSERTED = "asserted"


class Stage(StrEnum):
    """At which step a request was refused."""

    REQUEST = "request"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    SIGN = "sign"
    KEY = "key"


class Scheme(StrEnum):
    """How an approver signed (RULES 6)."""

    CMS = "cms"
    WEBAUTHN = "webauthn"


class Outcome(StrEnum):
    """What became of an emergency."""

    CONFIRMED = "confirmed"
    DISPUTED = "disputed"


class Result(StrEnum):
    """What the service came to by itself, against what a request says."""

    SAME = "same"
    DIFFERENT = "different"


class RateOf(StrEnum):
    """Whose signatures a rate alarm counts."""

    PRINCIPAL = "principal"
    PRODUCT = "product"
    KEY = "key"


class RatePer(StrEnum):
    """Over how long a rate alarm counts: an hour or a day of UTC."""

    HOUR = "hour"
    DAY = "day"


class KeyEvent(StrEnum):
    """What happened to a key."""

    ENROLLED = "enrolled"
    DISABLED = "disabled"
    ENABLED = "enabled"
    RETIRED = "retired"


class CertificateEvent(StrEnum):
    """What happened to a certificate."""

    ISSUED = "issued"
    REVOKED = "revoked"
    HELD = "held"
    RELEASED = "released"


class Form(NamedTuple):
    """How a field is written and read again, both with ValueError: nothing is written that could not be read."""

    write: Callable[[Any], Field]
    read: Callable[[Field], Any]


def _text(pattern: str, what: str) -> Form:
    wanted = re.compile(pattern)

    def read(value: Field) -> str:
        if not isinstance(value, str) or not wanted.fullmatch(value):
            raise ValueError(f"is no {what}")
        return value

    return Form(lambda value: read(str(value)), read)


def _number(least: int) -> Form:
    def read(value: Field) -> int:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"is no number from {least}")
        return value

    return Form(read, read)


def _word_of(words: type[StrEnum]) -> Form:
    def read(value: Field) -> StrEnum:
        return words(str(value))

    return Form(lambda value: str(read(value)), read)


def _list(one: Form) -> Form:
    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, tuple) or not 0 < len(value) <= MAX_LIST:
            raise ValueError("is no list of these")
        return value

    return Form(
        lambda value: tuple(str(one.write(each)) for each in checked(value)),
        lambda value: tuple(map(one.read, checked(value))),
    )


@lru_cache(maxsize=4096)  # keys, certificates and policies stand in entry after entry
def _read_digest(value: Field) -> Digest:
    return Digest.parse(str(value))


def _read_sha256(value: Field) -> Digest:
    digest = _read_digest(value)
    if digest.algorithm is not HashName.SHA256:
        raise ValueError("is no SHA-256")
    return digest


def _write_sha256(digest: Digest) -> str:
    if digest.algorithm is not HashName.SHA256:
        raise ValueError("is no SHA-256")
    return str(digest)


MAX_LIST = 256
_SHA256 = Form(_write_sha256, _read_sha256)
_TIME = Form(time_text, read_time)
_ID = _text(r"[0-9a-f]{16,64}", "hexadecimal id")
_WORD = _text(r"[A-Za-z0-9][A-Za-z0-9:._+-]{0,63}", "word")
_RULE = _text(r"[A-Za-z0-9][A-Za-z0-9:._/ -]{0,199}", "id of a rule")


_FORMS: dict[str, Form] = {
    "time": _TIME,
    "expires": _TIME,
    "until": _TIME,
    "request": _ID,
    "replica": _ID,
    "unfinished": _list(_ID),
    "artifact": Form(str, _read_digest),
    **dict.fromkeys(
        ("asked", "prepared", "key", "certificate", "policy", "previous", "change", "build", "private"), _SHA256
    ),
    **dict.fromkeys(("approval",), _SHA256),
    **dict.fromkeys(("approvals", "prepares"), _list(_SHA256)),
    "count": _number(1),
    "attempt": _number(1),
    "edition": _number(1),
    **dict.fromkeys(("size", "item"), _number(0)),
    **dict.fromkeys(("format", "kind", "construction", "algorithm", "purpose", "provenance", "version"), _WORD),
    "reason": _WORD,
    "code": _text(r"SW-[A-Z0-9-]{1,60}", "code"),
    "rules": _list(_RULE),
    "claimed": _word_of(Claimed),
    "stage": _word_of(Stage),
    "scheme": _word_of(Scheme),
    "outcome": _word_of(Outcome),
    "result": _word_of(Result),
    "of": _word_of(RateOf),
    "per": _word_of(RatePer),
    "above": _number(1),
    "since": _TIME,
}
_EVENTS: dict[str, Form] = {"key": _word_of(KeyEvent), "certificate": _word_of(CertificateEvent)}


def read_field(form: Form, value: Field) -> Any:
    """The value of a field as it stands in an entry; ValueError for anything but its one spelling."""
    read = form.read(value)
    if form.write(read) != value:
        raise ValueError("is not in its one spelling")
    return read


def form_of(type_: str, name: str) -> Form:
    """The form of a field by its name; `event` has words of its own in each type of entry."""
    return _EVENTS[type_] if name == "event" else _FORMS[name]
