"""The entries of a long revocation list without an object for each: 100,000 of them cost 10 ms instead of half a second.

1. The list was read as strict DER before, so each entry is one exact SEQUENCE; what remains to be known is that every entry
   is of a usual shape: serial, date, and of the extensions at most one reason and one invalidity date, neither critical.
   One regular expression over the received bytes says so of all of them at once. It knows less than the slow walk, never
   more: a list with anything else in it, an unknown critical extension above all, is walked entry by entry (A048).
2. A serial whose encoding occurs nowhere in those bytes is not listed. One that occurs once is looked up exactly. One that occurs
   more often, be it by chance or in two entries, is answered by the slow walk, which keeps the gravest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Generic, TypeVar

from cryptography import x509

from sealwright.envelope.asn1 import der as encoded

E = TypeVar("E")
# The serials of 64 to 160 bits that authorities make; others are walked.
_SERIAL_BYTES = (20, 16, 19, 15, 18, 17, 9, 8)
_REASON = rb"\x30\x0a\x06\x03\x55\x1d\x15\x04\x03\x0a\x01[\x00-\x06\x08-\x0a]"
_DAY = rb"(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])(?:29|30)|(?:0[13578]|1[02])31)"
_SINCE = (
    rb"\x30\x18\x06\x03\x55\x1d\x18\x04\x11\x18\x0f(?:19[5-9]|20[0-9])[0-9]"
    + _DAY
    + rb"(?:[01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]Z"
)
# The length in front of the extensions tells the four apart; none of them: the entry ends with its date.
_EXTENSIONS = (
    rb"(?:\x30\x0c" + _REASON + rb"|\x30\x1a" + _SINCE + rb"|\x30\x26(?:" + _REASON + _SINCE + rb"|" + _SINCE + _REASON + rb")|)"
)  # fmt: skip
# Most entries have a reason or nothing; one that goes on otherwise ends this match in front of it or of what follows its date.
_PLAIN = rb"(?:\x30\x0c" + _REASON + rb"|(?=\x30[\x00-\x7f]\x02|\Z))"


@lru_cache(maxsize=2)
def _usual(extensions: bytes) -> re.Pattern[bytes]:
    """Compiled when the first long list comes: time that others need not pay."""
    serials = b"|".join(re.escape(bytes([2, size])) + b".{%d}" % size for size in _SERIAL_BYTES)
    return re.compile(rb"(?:\x30[\x00-\x7f](?:" + serials + rb")\x17\x0d.{13}" + extensions + rb")*+", re.DOTALL)


def all_usual(entries: bytes) -> bool:
    """Whether the content of revokedCertificates, already read as strict DER, has entries of usual shapes only.

    Two steps: most lists have no invalidity dates, and the expression without them is compiled in a third of the time;
    the second one goes on at the entry where the first stopped.
    """
    plain = _usual(_PLAIN).match(entries)
    at = plain.end() if plain else 0
    return at == len(entries) or _usual(_EXTENSIONS).fullmatch(entries, at) is not None


class LongList(Mapping[int, E], Generic[E]):
    """Serial to entry, looked up in the received bytes. read: one entry; walk: all of them, the slow way."""

    def __init__(
        self,
        crl: x509.CertificateRevocationList,
        entries: bytes,
        read: Callable[[x509.RevokedCertificate], E],
        walk: Callable[[], Mapping[int, E]],
    ) -> None:
        self.crl, self.entries, self.read, self.walk = crl, entries, read, walk
        self.walked: Mapping[int, E] | None = None
        self.known: dict[int, E | None] = {}

    def __getitem__(self, serial: int) -> E:
        if self.walked is None and serial not in self.known:
            self.known[serial] = self._look_up(serial)
        found = self.walked.get(serial) if self.walked is not None else self.known[serial]
        if found is None:
            raise KeyError(serial)
        return found

    def _look_up(self, serial: int) -> E | None:
        if serial < 0:
            return self._all().get(serial)
        sought = encoded(0x02, serial.to_bytes(serial.bit_length() // 8 + 1, "big"))
        first = self.entries.find(sought)
        if first < 0:
            return None
        if self.entries.find(sought, first + 1) >= 0:
            return self._all().get(serial)
        found = self.crl.get_revoked_certificate_by_serial_number(serial)
        return None if found is None else self.read(found)

    def _all(self) -> Mapping[int, E]:
        if self.walked is None:
            self.walked = self.walk()
        return self.walked

    def __iter__(self) -> Iterator[int]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
