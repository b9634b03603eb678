"""What a home's journal says of each key: what it signed and when, who held copies of it, which of them were destroyed.

A fold over the journal, which is checked line by line on the way; keys are named by their digests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sealwright.log.journal import EntryType, Recorded, read_history


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature that was made. time: RFC 3339, as recorded; product may be ""."""

    time: str
    format: str
    artifact: str
    product: str
    version: str


@dataclass(slots=True)
class KeyUse:
    """One key. signed: only what was finished; copies: as they were said at the import; destroyed: texts of those ended."""

    signed: list[Signed] = field(default_factory=list)
    enrolled: str = ""
    imported: str = ""
    person: str = ""
    copies: tuple[str, ...] = ()
    destroyed: dict[str, str] = field(default_factory=dict)

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
        if entry.type is EntryType.INTENT:
            words = (str(fields.get(name, "")) for name in ("time", "format", "artifact", "product", "version"))
            begun[str(fields.get("request", ""))] = str(fields.get("key", "")), Signed(*words)
        elif entry.type is EntryType.REFUSAL:
            begun.pop(str(fields.get("request", "")), None)
        elif entry.type is EntryType.RESULT:
            key, signed = begun.pop(str(fields.get("request", "")), ("", None))
            if signed is not None:
                uses.setdefault(key, KeyUse()).signed.append(signed)
        elif entry.type is EntryType.KEY:
            _key(uses.setdefault(str(fields.get("key", "")), KeyUse()), entry)
    return uses


def _key(use: KeyUse, entry: Recorded) -> None:
    fields = entry.fields
    if "destroyed" in fields:
        use.destroyed[str(fields["destroyed"])] = f"{fields.get('time', '')} {fields.get('how', '')}".strip()
        return
    use.enrolled = str(fields.get("time", "")) or use.enrolled
    if "imported" in fields:
        use.imported = str(fields["imported"])
        use.person = str(fields.get("person", ""))
        copies = fields.get("copies", ())
        use.copies = copies if isinstance(copies, tuple) else (str(copies),)
