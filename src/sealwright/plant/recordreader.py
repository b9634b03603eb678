"""Reading a record: lines in one order, every value of the form that it must have, and nothing that is not written back byte for byte."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sealwright.artifact.digest import Digest
from sealwright.artifact.permit import PermitKind
from sealwright.artifact.statement import is_person
from sealwright.errors import MalformedArtifact
from sealwright.findings import Severity
from sealwright.formats.format import Slot
from sealwright.log.canonical import read_time
from sealwright.plant.installation import MAX_EXIT_DIGITS, Installation, ReadBack, Stage, ToolUsed
from sealwright.plant.records import (
    FIRST_LINE,
    IDENTIFIER,
    MAX_BYTES,
    NONE,
    UNSIGNED,
    Asserted,
    Counted,
    Facts,
    Link,
    PermitNamed,
    Record,
    SignerNamed,
    Station,
    Timed,
    Trusting,
    plain,
    record_text,
)
from sealwright.trust.verdict import Outcome, Purpose

_CODE = "SW-[A-Z0-9-]{1,60}"
_NUMBER = "0|[1-9][0-9]{0,18}"


def parse_record(data: bytes, subject: str) -> Record:
    """Read a record; MalformedArtifact for anything but its one form."""
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes, at most {MAX_BYTES}")
        lines = data.decode().split("\n")
        if lines.pop() or not lines or lines[0] != FIRST_LINE:
            raise ValueError(f"it does not begin with {FIRST_LINE!r} and end with a line feed")
        body = [line for line in lines[1:] if line.startswith("# ")]
        record = _Reader([line[2:].partition(" ")[::2] for line in body]).record()
        if record_text(record) != data:
            raise ValueError("it is not written as this program writes it")
    except (ValueError, IndexError, OverflowError) as cause:
        raise MalformedArtifact(
            subject, f"it is no record ({cause})"[:200], "Keep it as evidence; compare it with a copy of the folder."
        ) from cause
    return record


class _Reader:
    """Takes the lines in their order. What it lets pass is compared with the one form afterwards."""

    def __init__(self, lines: Sequence[tuple[str, str]]) -> None:
        self.lines = lines
        self.at = 0

    def record(self) -> Record:
        """Every line; ValueError for one that is missing, and for what a value cannot be."""
        folder, number = _matching(r"[0-9a-f]{32}", self.value("folder")), _number(self.value("number"))
        previous = self.value("previous")
        link = Link(folder, number, None if previous == NONE else Digest.parse(previous))
        outcome, purpose = Outcome(self.value("outcome")), Purpose(self.value("purpose"))
        name, size = self.text("name"), _number(self.value("size"))
        form, content, file = self.maybe("format"), self.digest("content"), self.digest("file")
        claims = dict(line.partition(" ")[::2] for line in self.every("claim"))
        generation = claims.get("generation")
        facts = Facts(
            outcome=outcome,
            purpose=purpose,
            name=name,
            size=size,
            format=_matching(r"[a-z0-9+-]{0,200}", form),
            content=content,
            file=file,
            product=plain(claims.get("product", "")),
            version=plain(claims.get("version", "")),
            generation=None if generation is None else int(_matching(r"-?[0-9]{1,19}", generation)),
            signers=tuple(map(_signer, self.every("signer"))),
            rule=plain(self.maybe("rule")),
            mode=_matching(r"[a-z]{0,20}", self.maybe("mode")),
            findings=tuple(map(_counted, self.every("finding"))),
            permit=_permit(self.maybe("permit")),
            installation=self.installation(),
            claimed=self.time("claimed"),
            proved=self.time("proved"),
            floor=self.time("floor"),
            judged=_parsed_time(self.value("judged")),
            trust=self.trust(),
        )
        host, account = self.text("host"), _matching(r"uid:[0-9]{1,10}|unknown", self.value("account"))
        asserted = Asserted(_identifier(self.maybe("person")), _identifier(self.maybe("change")))
        clock, version = read_time(self.value("clock")), _matching(r"[0-9A-Za-z.+-]{1,40}", self.value("sealwright"))
        key = self.digest("key")
        if key is None:
            _matching(UNSIGNED, self.value("unsigned"))
        if self.at != len(self.lines):
            raise ValueError(f"a line {self.lines[self.at][0][:40]!r} too many or at a wrong place")
        return Record(link, facts, asserted, Station(host, account, version, key), clock)

    def value(self, name: str) -> str:
        """The line of a name, which must come now."""
        if self.at >= len(self.lines) or self.lines[self.at][0] != name:
            raise ValueError(f"the line {name!r} is not where it belongs")
        self.at += 1
        return self.lines[self.at - 1][1]

    def maybe(self, name: str) -> str:
        """The same; "" where it is not there."""
        return self.value(name) if self.at < len(self.lines) and self.lines[self.at][0] == name else ""

    def every(self, name: str) -> Iterator[str]:
        """All lines of a name that come now."""
        while self.at < len(self.lines) and self.lines[self.at][0] == name:
            yield self.value(name)

    def text(self, name: str) -> str:
        """A text, decoded."""
        return plain(self.value(name))

    def digest(self, name: str) -> Digest | None:
        """A digest, where it is there."""
        found = self.maybe(name)
        return Digest.parse(found) if found else None

    def time(self, name: str) -> Timed | None:
        """A time, where it is there."""
        found = self.maybe(name)
        return _parsed_time(found) if found else None

    def installation(self) -> Installation | None:
        """The lines of a device, where the verdict was about handing something to one."""
        stage = self.maybe("installation")
        if not stage:
            return None
        serial = self.value("serial")
        if not is_person(serial):
            raise ValueError(f"{serial[:40]!r} is no serial number")
        hardware = plain(self.maybe("hardware"))
        component, _, part = self.maybe("component").partition(" ")
        return Installation(
            Stage(stage),
            serial,
            hardware,
            _matching(r"[a-z0-9-]{0,64}", component),
            None if part in ("", NONE) else Digest.parse(part),
            _tool(self.maybe("tool")),
            _readback(self.maybe("readback")),
        )

    def trust(self) -> Trusting:
        """The trust file's lines."""
        words = self.value("trust").split(" ", 7)
        if len(words) != 8 or words[0::2] != ["version", "stage", "digest", "id"]:
            raise ValueError("the line 'trust' is not whole")
        return Trusting(
            plain(words[7]),
            _number(words[1]),
            _matching(r"[a-z]{1,20}", words[3]),
            Digest.parse(words[5]),
            self.text("believed"),
            _matching(r"[a-z ]{1,40}", self.value("rollback")),
        )


def _signer(line: str) -> SignerNamed:
    words = line.split(" ", 7)
    if len(words) != 8 or words[2:5:2] != ["key", "certificate"] or words[6] not in ("person", "subject"):
        raise ValueError("a line 'signer' is not whole")
    if words[0] not in ("accepted", "refused"):
        raise ValueError("a signer is neither accepted nor refused")
    key, certificate = (None if word == NONE else Digest.parse(word) for word in (words[3], words[5]))
    named = plain(words[7])
    person = named if words[6] == "person" else ""
    subject = "" if person or words[7] == NONE else named
    return SignerNamed(words[0] == "accepted", Slot(words[1]), key, certificate, person, subject)


def _counted(line: str) -> Counted:
    severity, code, times = line.split(" ")
    return Counted(Severity(severity), _matching(_CODE, code), _number(times))


def _permit(line: str) -> PermitNamed | None:
    if not line:
        return None
    kind, *words = line.split(" ")
    if len(words) < 8 or words[0:7:2] != ["device", "until", "digest", "persons"]:
        raise ValueError("the line 'permit' is not whole")
    if wrong := [one for one in (words[1], *words[7:]) if not is_person(one)]:
        raise ValueError(f"{wrong[0][:40]!r} is no id")
    return PermitNamed(PermitKind(kind), words[1], read_time(words[3]), Digest.parse(words[5]), tuple(words[7:]))


def _tool(line: str) -> ToolUsed | None:
    if not line:
        return None
    digest, word, code, path = line.split(" ", 3)
    ended = None if code == NONE else int(_matching(rf"-?[0-9]{{1,{MAX_EXIT_DIGITS}}}", code))
    return ToolUsed(plain(path), Digest.parse(digest), ended) if word == "exit" else None


def _readback(line: str) -> ReadBack | None:
    if not line:
        return None
    word, digest = line.split(" ")
    return ReadBack(word == "same", None if digest == NONE else Digest.parse(digest))


def _parsed_time(line: str) -> Timed:
    time, found, by = line.partition(" by ")
    if not found:
        raise ValueError("a time does not say whose it is")
    return Timed(read_time(time), plain(by))


def _number(text: str) -> int:
    return int(_matching(_NUMBER, text))


def _identifier(text: str) -> str:
    return _matching(IDENTIFIER.pattern, text) if text else ""


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(f"{text[:40]!r} is not what belongs there")
    return text
