"""What a home's journal says of each key: what it signed and when, who held copies of it, which of them were destroyed.

A fold over the journal, which is checked line by line on the way; keys are named by their digests. The journal's times are those of
the clock of the signing place; they prove nothing to others and are what there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from sealwright.log.canonical import read_time
from sealwright.log.journal import EntryType, Recorded, read_history


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature. time: RFC 3339, as recorded; format: or the kind of a statement; artifact: content digest; signature: digest of
    its value, "" while no result is recorded; product, version, generation: as claimed, or ""; number: of the intent's entry."""

    time: str
    format: str
    artifact: str
    product: str = ""
    version: str = ""
    generation: str = ""
    signature: str = ""
    number: int = 0

    @property
    def at(self) -> datetime | None:
        """The time, None for an entry that says none."""
        try:
            return read_time(self.time)
        except ValueError:
            return None


class Ended(NamedTuple):
    """The end of a copy. time: as recorded; how: the digest of a text, "" where nothing was said."""

    time: str
    how: str


@dataclass(slots=True)
class KeyUse:
    """One key. signed: what was finished; begun: what has neither result nor refusal, and may have been signed; copies: as the
    journal has them since the import, by the digests of their texts (`told`); destroyed: of those ended when and how."""

    signed: list[Signed] = field(default_factory=list)
    begun: list[Signed] = field(default_factory=list)
    enrolled: str = ""
    imported: str = ""
    person: str = ""
    copies: tuple[str, ...] = ()
    destroyed: dict[str, Ended] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """When it signed last, "" for never."""
        return max((one.time for one in self.signed), default="")

    @property
    def left(self) -> tuple[str, ...]:
        """The copies whose end is not recorded."""
        return tuple(copy for copy in self.copies if copy not in self.destroyed)


def uses_of(folder: str) -> dict[str, KeyUse]:
    """By key digest, of a journal's folder; JournalError where it is not whole."""
    return fold(read_history(folder))


def fold(entries: Iterable[Recorded]) -> dict[str, KeyUse]:
    """By key digest."""
    uses: dict[str, KeyUse] = {}
    begun: dict[str, tuple[str, Signed]] = {}
    for entry in entries:
        fields = entry.fields
        request = str(fields.get("request", ""))
        if entry.type is EntryType.INTENT:
            begun[request] = str(fields.get("key", "")), _signed(entry)
        elif entry.type is EntryType.REFUSAL:
            begun.pop(request, None)
        elif entry.type is EntryType.RESULT:
            key, signed = begun.pop(request, ("", None))
            if signed is not None:
                value = str(fields.get("signature", fields.get("token", "")))
                uses.setdefault(key, KeyUse()).signed.append(replace(signed, signature=value))
        elif entry.type is EntryType.KEY:
            _key(uses.setdefault(str(fields.get("key", "")), KeyUse()), entry)
    for key, signed in begun.values():
        uses.setdefault(key, KeyUse()).begun.append(signed)
    return uses


def _signed(entry: Recorded) -> Signed:
    texts = {name: str(value) for name, value in entry.fields.items()}
    return Signed(
        time=texts.get("time", ""),
        format=texts.get("format", texts.get("kind", "")),
        artifact=texts.get("artifact", ""),
        product=texts.get("product", ""),
        version=texts.get("version", ""),
        generation=texts.get("generation", ""),
        number=entry.number,
    )


def _key(use: KeyUse, entry: Recorded) -> None:
    fields = entry.fields
    if "destroyed" in fields:
        use.destroyed[str(fields["destroyed"])] = Ended(str(fields.get("time", "")), str(fields.get("how", "")))
        return
    use.enrolled = str(fields.get("time", "")) or use.enrolled
    if "imported" in fields:
        use.imported = str(fields["imported"])
        use.person = str(fields.get("person", ""))
        copies = fields.get("copies", ())
        use.copies = copies if isinstance(copies, tuple) else (str(copies),)
