"""The installation record: one statement for each verdict, which an auditor reads without us.

    # sealwright record 1
    # folder 5f0c9a…                                   of this chain of records, drawn when it began
    # number 17
    # previous sha256:9b0c…                            SHA-256 of the text of number 16; `none` in the first
    # outcome trusted
    # purpose install
    # name drive.bin
    # size 1048576
    # format detached
    # content sha256:5891…                             what deny lists and logs know the artifact by
    # file sha256:5891…                                all bytes of the file, read from the same open file
    # claim product line 3 drive
    # signer accepted maker key sha256:… certificate sha256:… subject CN=ACME Release 2026,O=ACME
    # rule drive firmware
    # mode enforce
    # finding note SW-SIGNATURE-IGNORED 1
    # permit break-glass device pump-4711 until 2026-11-26T10:00:00Z digest sha256:… persons p-17     only where one was needed
    # installation done                                and the lines behind it, where it was handed to one device (`installation.py`)
    # claimed 2026-05-09T08:00:00Z by the signer
    # proved 2026-05-09T08:00:02Z by http://tsa.acme.example
    # floor 2026-10-01T00:00:00Z by what this verifier knew to be past
    # judged 2026-11-26T02:03:34Z by clock
    # trust version 3 stage production digest sha256:… id 4f1d2a…
    # believed its fingerprint was given
    # rollback checked
    # host pc7
    # account uid:1000
    # clock 2026-11-26T02:03:34Z
    # sealwright 0.1.0
    # key sha256:…                                     the station's, whose signature lies beside; or: # unsigned no station key
    5891b5b522d5df08…  drive.bin                       so that `sha256sum -c` checks the artifact; of a folder its manifest

1. UTF-8, LF, these lines in this order, those left out that have nothing to say; there is one form, and the reader refuses any other.
2. A `%` and whatever an editor would not show (controls, directions, odd spaces, octets that are no UTF-8) is percent-encoded,
   so that a name can neither make a line nor hide one. A file whose name needs that has no sum line.
3. Persons are ids only (DESIGN, Values): the account is its number, a signer whom the trust file maps to a person is that id, and the
   subject stands only where it maps nobody. Findings are codes and how often, without their words.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.permit import PermitKind
from sealwright.findings import Severity
from sealwright.formats.format import Slot
from sealwright.log.canonical import time_text
from sealwright.plant.installation import Installation, installation_lines
from sealwright.trust.verdict import Outcome, Permitted, Purpose, SignerSeen, Verdict

FIRST_LINE = "# sealwright record 1"
FILE, SIGNATURE = "record.txt", "record.txt.p7s"
NONE = "none"
UNSIGNED = "no station key"
MAX_BYTES = 1 << 20
MAX_TEXT = 500
MAX_SIGNERS = 64
MAX_CODES = 200
FOLDER_DIGITS = 32
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}")
# lone surrogates that stand for no octet of a name; JSON of others may hold them
_NO_CHARACTER = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}


@dataclass(frozen=True, slots=True)
class Asserted:
    """What whoever verified says beside: ids, which nothing proves. "" where nothing was said."""

    person: str = ""
    change: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """Where it was verified. account: `uid:` and its number; version: of Sealwright; key: that signs the record, if one does."""

    host: str
    account: str
    version: str
    key: Digest | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A record's place in its chain. previous: of the text before, None in the first."""

    folder: str
    number: int
    previous: Digest | None


@dataclass(frozen=True, slots=True)
class SignerNamed:
    """One signature of the artifact. person: the trust file's id; subject: "" where there is one."""

    accepted: bool
    slot: Slot
    key: Digest | None
    certificate: Digest | None
    person: str
    subject: str


@dataclass(frozen=True, slots=True)
class Counted:
    """A finding's code, and how often it was found."""

    severity: Severity
    code: str
    times: int


@dataclass(frozen=True, slots=True)
class PermitNamed:
    """The permit without which the outcome would be another. until: aware; digest: of its text; persons: who signed it."""

    kind: PermitKind
    device: str
    until: datetime
    digest: Digest
    persons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timed:
    """A time and who says so."""

    time: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Trusting:
    """The trust file that decided, and why it was believed."""

    id: str
    version: int
    stage: str
    digest: Digest
    believed: str
    rollback: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded of one verdict, before it has a place in a chain. name: of a folder with `/` behind it."""

    outcome: Outcome
    purpose: Purpose
    name: str
    size: int
    format: str
    content: Digest | None
    file: Digest | None
    product: str
    version: str
    generation: int | None
    signers: tuple[SignerNamed, ...]
    rule: str
    mode: str
    findings: tuple[Counted, ...]
    claimed: Timed | None
    proved: Timed | None
    floor: Timed | None
    judged: Timed
    trust: Trusting
    permit: PermitNamed | None = None
    installation: Installation | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One statement. clock: what the station's clock showed when the verdict was reached, aware."""

    link: Link
    facts: Facts
    asserted: Asserted
    station: Station
    clock: datetime


def facts_of(verdict: Verdict, file: Digest | None, installation: Installation | None = None) -> Facts:
    """What is recorded of a verdict. file: SHA-256 of all bytes, from the open file that was judged."""
    times, trust, claims = verdict.times, verdict.trust, verdict.claims
    counted = Counter((finding.severity, finding.code) for finding in verdict.findings)
    return Facts(
        outcome=verdict.outcome,
        purpose=verdict.purpose,
        name=_short(os.path.basename(os.path.abspath(verdict.path))) + ("/" if os.path.isdir(verdict.path) else ""),
        size=verdict.size,
        format=verdict.format,
        content=verdict.artifact,
        file=file,
        product=_short(claims.product or ""),
        version=_short(claims.version or ""),
        generation=claims.generation,
        signers=tuple(map(_named, verdict.signers[:MAX_SIGNERS])),
        rule=_short(verdict.rule),
        mode=verdict.mode,
        findings=tuple(Counted(*about, times) for about, times in list(counted.items())[:MAX_CODES]),
        claimed=_timed(times.claimed, "the signer"),
        proved=_timed(times.proved, times.by or "a proof"),
        floor=_timed(times.floor, "what this verifier knew to be past"),
        judged=Timed(times.judged.replace(microsecond=0), _short(times.source)),
        trust=Trusting(trust.id, trust.version, trust.stage, trust.digest, _short(trust.believed), trust.rollback),
        permit=_permit(verdict.permitted),
        installation=installation,
    )


def record_text(record: Record) -> bytes:
    """The one form of a record."""
    text = "".join(f"{line}\n" for line in (FIRST_LINE, *(f"# {name} {value}" for name, value in _lines(record))))
    return (text + _sum_line(record.facts)).encode()


def _lines(record: Record) -> Iterator[tuple[str, str]]:
    link, facts, station, trust = record.link, record.facts, record.station, record.facts.trust
    yield "folder", link.folder
    yield "number", str(link.number)
    yield "previous", str(link.previous or NONE)
    yield "outcome", facts.outcome.value
    yield "purpose", facts.purpose.value
    yield "name", escaped(facts.name)
    yield "size", str(facts.size)
    digests = (("content", facts.content), ("file", facts.file))
    yield from _given(("format", facts.format), *((name, str(value or "")) for name, value in digests))
    claims = (("product", facts.product), ("version", facts.version))
    yield from (("claim", f"{name} {escaped(value)}") for name, value in claims if value)
    if facts.generation is not None:
        yield "claim", f"generation {facts.generation}"
    for one in facts.signers:
        how = "accepted" if one.accepted else "refused"
        who = f"person {escaped(one.person)}" if one.person else f"subject {escaped(one.subject) or NONE}"
        yield "signer", f"{how} {one.slot} key {one.key or NONE} certificate {one.certificate or NONE} {who}"
    yield from _given(("rule", escaped(facts.rule)), ("mode", facts.mode))
    yield from (("finding", f"{one.severity} {one.code} {one.times}") for one in facts.findings)
    if facts.permit is not None:
        permit = facts.permit
        about = f"{permit.kind} device {permit.device} until {time_text(permit.until)} digest {permit.digest}"
        yield "permit", f"{about} persons {' '.join(permit.persons)}"
    if (done := facts.installation) is not None:
        yield from installation_lines(done, escaped(done.hardware), escaped(done.tool.path if done.tool else ""))
    for name in ("claimed", "proved", "floor", "judged"):
        if (timed := getattr(facts, name)) is not None:
            yield name, f"{time_text(timed.time)} by {escaped(timed.by)}"
    yield "trust", f"version {trust.version} stage {trust.stage} digest {trust.digest} id {escaped(trust.id)}"
    yield "believed", escaped(trust.believed)
    yield "rollback", trust.rollback
    yield "host", escaped(station.host)
    yield "account", station.account
    yield from _given(("person", record.asserted.person), ("change", record.asserted.change))
    yield "clock", time_text(record.clock)
    yield "sealwright", station.version
    yield ("key", str(station.key)) if station.key is not None else ("unsigned", UNSIGNED)


def _given(*lines: tuple[str, str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in lines if value)


def _named(seen: SignerSeen) -> SignerNamed:
    subject = "" if seen.person else _short(seen.subject)
    return SignerNamed(seen.accepted, seen.slot, seen.key, seen.certificate, _short(seen.person), subject)


def _permit(permitted: Permitted | None) -> PermitNamed | None:
    if permitted is None:
        return None
    permit = permitted.permit
    return PermitNamed(permit.kind, permit.device, permit.until, permitted.digest, permit.persons)


def _timed(time: datetime | None, by: str) -> Timed | None:
    return None if time is None else Timed(time.replace(microsecond=0), _short(by))


def _short(text: str) -> str:
    text = _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def sum_name(facts: Facts) -> tuple[Digest, str] | None:
    """Which file `sha256sum -c` is told to look at, beside the artifact: itself, or a folder's manifest."""
    if facts.file is not None:
        return facts.file, facts.name
    if facts.name.endswith("/") and "manifest" in facts.format.split("+") and facts.content is not None:
        return facts.content, f"{facts.name[:-1]}.manifest"
    return None


def _sum_line(facts: Facts) -> str:
    wanted = sum_name(facts)
    if wanted is None or wanted[0].algorithm is not HashName.SHA256:
        return ""
    digest, name = wanted
    if escaped(name) != name.replace("%", "%25") or name == "-":
        return ""
    mark = "\\" if "\\" in name else ""
    return f"{mark}{digest.value.hex()}  " + name.replace("\\", "\\\\") + "\n"


def escaped(text: str) -> str:
    """A text as a line holds it: `%`, what cannot be seen, and spaces that could be overlooked are percent-encoded."""
    if text.isascii() and text.isprintable() and "%" not in text and " ".join(text.split()) == text:
        return text
    text = _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)
    out = []
    for at, character in enumerate(text):
        category = unicodedata.category(character)
        lone = character == " " and 0 < at < len(text) - 1 and text[at - 1] != " "
        if character == "%" or (category in _HIDDEN and not lone):
            out.append("".join(f"%{octet:02x}" for octet in character.encode("utf-8", "surrogateescape")))
        else:
            out.append(character)
    return "".join(out)


def plain(text: str) -> str:
    """The text that `escaped` wrote; octets that are no UTF-8 come as lone surrogates, as `os.fsdecode` writes them."""
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape") if "%" in text else text
