"""What is said of where signed artifacts were released, and of what a lost key signed."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "released.recorded": "recorded: {path} was released to {place} on {time}",
    "released.channel": "{place} ({channel})",
    "released.elsewhere": "this home did not sign it: that it was signed elsewhere is what you say",
    "released.listed": "{time}  {artifact}  {place}",
    "released.none": "no release is recorded in this home",
    "released.erased": "a place whose text was erased",
    "signed.affected": "signed by this key{since}: {number}, as this home's journal has it",
    "signed.none": "this home's journal has no signature of this key{since}",
    "signed.since": " since {time}",
    "signed.one": "{time}  {format}  {claims}  {artifact}",
    "signed.lost": "{time}  {format}  {claims}  {artifact}  (no result recorded: it may have been signed)",
    "signed.released": "released to {place} on {time}",
    "signed.not-released": "no release recorded",
    "signed.next": "Next: tell everybody who gets files from these places; where no release is recorded, ask who delivered it",
}
