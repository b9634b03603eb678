"""The record of a key ceremony: what was made, before whom, one fact a line, and signed by the officers afterwards.

1. It is written with the home, in HOME/ceremony, beside the plan and the attendance: the home is there with its record or not at all.
2. An officer or witness signs exactly its bytes (kind `transcript`), by the key that the plan names for them, and for one nonce only
   one record: their own home notes which, before it signs.
3. It names the register that it is of, by the SHA-256 of the register's first line, and the register has its digest at the end.
`recordcheck.py` says when it holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeAlias, cast

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import Replace, write_atomic
from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.errors import CeremonyRefused, JournalError, MalformedTrust
from sealwright.keys.pin import Pin
from sealwright.log.ends import hash_at
from sealwright.log.journal import EntryType
from sealwright.signing.attendance import OFFICER, WITNESS, Present, check_nonce, note, officer_key
from sealwright.signing.ceremonyhost import Host
from sealwright.signing.ceremonyplan import Plan
from sealwright.signing.home import REGISTER, Home
from sealwright.signing.init import signed_text
from sealwright.trust.certificate import load_certificate, spki_digest
from sealwright.trust.toml import Toml, toml_text
from sealwright.trust.trustfile import officer_key_digest

FIRST_LINE = "# sealwright transcript 1"
KIND = "transcript"
FILE = "transcript.txt"
PLAN_FILE = "plan.txt"
MAX_BYTES = 1 << 18
_COMPLAINT = Complaint(MalformedTrust, MAX_BYTES, "Use the transcript as the ceremony wrote it.")
NEXT = "Do not use what it describes before the officers have looked at it together."


class Made(NamedTuple):
    """What one step made. key: SPKI digest; certificate: of its DER; location, attributes: as the key's backend checked them.

    second_copy: where another key was seen to sign that verifies with the same public key; "" for none.
    """

    number: int
    step: str
    subject: str
    key: Digest
    certificate: Digest
    serial: int
    until: datetime
    algorithm: str
    construction: str
    provenance: str
    location: str
    attributes: tuple[str, ...] = ()
    second_copy: str = ""


class Crossed(NamedTuple):
    """Another root that the new one vouches for. root: its name in the plan; key: its SPKI digest; the rest as in `Made`."""

    root: str
    subject: str
    key: Digest
    certificate: Digest
    serial: int
    until: datetime


class FirstList(NamedTuple):
    """The first revocation list of an authority. authority: the key's name in the home; crl: of its DER."""

    authority: str
    number: int
    crl: Digest
    until: datetime


Told: TypeAlias = Made | Crossed | FirstList


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the record says. version: of the program that did it; plan: the digest; register: of the register's first line;
    accept_single_copy: the plan's reason, or ""."""

    version: str
    time: datetime
    title: str
    plan: Digest
    nonce: str
    register: Digest
    threshold: int
    steps: tuple[str, ...]
    host: Host
    present: tuple[Present, ...]
    made: tuple[Made, ...]
    lists: tuple[FirstList, ...]
    crossed: tuple[Crossed, ...] = ()
    accept_single_copy: str = ""


def transcript_text(transcript: Transcript) -> str:
    """The record's text."""
    top: dict[str, Toml] = {
        "version": transcript.version,
        "time": transcript.time,
        "title": transcript.title,
        "plan": str(transcript.plan),
        "nonce": transcript.nonce,
        "register": str(transcript.register),
        "threshold": transcript.threshold,
        "steps": list(transcript.steps),
    }
    if transcript.accept_single_copy:
        top["accept_single_copy"] = transcript.accept_single_copy
    host = transcript.host
    up: dict[str, Toml] = {"interfaces": list(host.interfaces)} if host.interfaces else {}
    top["host"] = {"name": host.name, "system": host.system, "offline": host.offline, **up}
    top["present"] = [
        {"person": one.person, "role": one.role, "key": str(one.key), "time": one.time} for one in transcript.present
    ]
    top["made"] = [_made_table(one) for one in transcript.made]
    if transcript.crossed:
        top["crossed"] = [_crossed_table(one) for one in transcript.crossed]
    top["list"] = [
        {"authority": one.authority, "number": one.number, "crl": str(one.crl), "until": one.until}
        for one in transcript.lists
    ]
    return toml_text(FIRST_LINE, top)


def _made_table(one: Made) -> dict[str, Toml]:
    table: dict[str, Toml] = {
        "number": one.number,
        "step": one.step,
        "subject": one.subject,
        "key": str(one.key),
        "certificate": str(one.certificate),
        "serial": f"{one.serial:x}",
        "until": one.until,
        "algorithm": one.algorithm,
        "construction": one.construction,
        "provenance": one.provenance,
        "location": one.location,
    }
    if one.attributes:
        table["attributes"] = list(one.attributes)
    return table | ({"second_copy": one.second_copy} if one.second_copy else {})


def _crossed_table(one: Crossed) -> dict[str, Toml]:
    return {
        "root": one.root,
        "subject": one.subject,
        "key": str(one.key),
        "certificate": str(one.certificate),
        "serial": f"{one.serial:x}",
        "until": one.until,
    }


def parse_transcript(data: bytes, subject: str) -> Transcript:
    """A record, strictly; MalformedTrust where it is none."""
    top = read_toml(data, subject, FIRST_LINE, _COMPLAINT)
    transcript = Transcript(
        version=top.text("version"),
        time=top.time("time"),
        title=top.name("title"),
        plan=top.digest("plan"),
        nonce=check_nonce(top.text("nonce")),
        register=top.digest("register"),
        threshold=top.number("threshold", 1),
        steps=top.texts("steps"),
        accept_single_copy=top.text("accept_single_copy", ""),
        host=_host(top.table("host")),
        present=cast("tuple[Present, ...]", top.each("present", _present)),
        made=cast("tuple[Made, ...]", top.each("made", _made)),
        lists=cast("tuple[FirstList, ...]", top.each("list", _list)),
        crossed=cast("tuple[Crossed, ...]", top.each("crossed", _crossed)),
    )
    top.done()
    return transcript


def _present(one: Section) -> Present:
    role = one.word("role", (OFFICER, WITNESS))
    return Present(one.name("person"), one.digest("key"), one.time("time"), role)


def _host(one: Section) -> Host:
    host = Host(one.text("name"), one.text("system"), one.listed("interfaces"))
    if one.flag("offline") != host.offline:
        raise one.wrong("offline", "what the interfaces say")
    one.done()
    return host


def _crossed(one: Section) -> Crossed:
    return Crossed(
        one.name("root"),
        one.text("subject"),
        one.digest("key"),
        one.digest("certificate"),
        _serial(one),
        one.time("until"),
    )


def _serial(one: Section) -> int:
    text = one.text("serial")
    if not re.fullmatch(r"[1-9a-f][0-9a-f]{0,39}", text):
        raise one.wrong("serial", "a number in hexadecimal")
    return int(text, 16)


def _made(one: Section) -> Made:
    return Made(
        number=one.number("number", 1),
        step=one.text("step"),
        subject=one.text("subject"),
        key=one.digest("key"),
        certificate=one.digest("certificate"),
        serial=_serial(one),
        until=one.time("until"),
        algorithm=one.text("algorithm"),
        construction=one.text("construction"),
        provenance=one.text("provenance"),
        location=one.text("location"),
        attributes=one.listed("attributes"),
        second_copy=one.text("second_copy", ""),
    )


def _list(one: Section) -> FirstList:
    return FirstList(one.text("authority"), one.number("number", 1), one.digest("crl"), one.time("until"))


def sign_transcript(
    path: str, plan: Plan, home: Home, person: str, now: datetime, pin: Pin | None = None
) -> tuple[str, Transcript]:
    """Sign a record as an officer or witness of its plan; the signature's path. CeremonyRefused where the plan is another one, or
    this home has signed another record of the same nonce."""
    text = read_file(path, MAX_BYTES)
    transcript = parse_transcript(text, path)
    check_follows(transcript, plan, path)
    enrolled = officer_key(plan, home, person, plan.path)
    note(home, EntryType.TRANSCRIPT, transcript.nonce, "transcript", Digest.of(text), now)
    target = f"{path}.{person}.p7s"
    write_atomic(target, signed_text(text, KIND, path, home, enrolled, now, pin), replace=Replace.YES)
    return target, transcript


def register_id(home: str) -> Digest:
    """By what a transcript names the register of a home: its first line, which has the nonce in it and a number drawn at random."""
    first = hash_at(home, REGISTER, 1)
    if first is None:
        raise JournalError(os.path.join(home, REGISTER), "it has no entry", "Is this the home of a ceremony?")
    return Digest.parse(f"sha256:{first}")


def check_follows(transcript: Transcript, plan: Plan, path: str) -> None:
    """The record is one of this plan: everything that the plan decides is as it says."""
    if transcript.plan != plan.digest:
        raise CeremonyRefused(
            path, f"it is of the plan {transcript.plan}, and this plan is {plan.digest}", "Name the plan that was run."
        )
    problem = _problem_of_people(transcript, plan)
    wanted = [(number, step, plan.kind_of(step).algorithm.name) for number, step in plan.making]
    made = [(one.number, one.step, one.algorithm) for one in transcript.made]
    copied = all(one.second_copy for one in transcript.made if one.step == "device-key") or plan.accept_single_copy
    crossed = [(one.root, one.key) for one in transcript.crossed]
    vouched = [(other.name, spki_digest(load_certificate(other.certificate, other.name))) for other in plan.others]
    if (transcript.title, transcript.threshold) != (plan.title, plan.officers.threshold):
        problem = "its title or threshold is not the plan's"
    elif transcript.steps != plan.steps or made != wanted:
        problem = "its steps are not the plan's"
    elif transcript.accept_single_copy != plan.accept_single_copy or not copied:
        problem = "it does not say what became of the second copy as the plan wants it"
    elif crossed != vouched:
        problem = "the roots that it vouches for are not those of the plan"
    elif tuple(one.authority for one in transcript.lists) != plan.authorities:
        problem = "the first revocation lists are not those of all authorities"
    if problem:
        raise CeremonyRefused(path, problem, NEXT)


def _problem_of_people(transcript: Transcript, plan: Plan) -> str:
    known = {(key.person, officer_key_digest(key.spki), OFFICER) for key in plan.officers.keys}
    known |= {(key.person, officer_key_digest(key.spki), WITNESS) for key in plan.witnesses.keys}
    present = [(one.person, one.key, one.role) for one in transcript.present]
    officers, witnesses = (
        {one.person for one in transcript.present if one.role == role} for role in (OFFICER, WITNESS)
    )
    if len(set(present)) != len(present) or not set(present) <= known or len(officers) < plan.officers.threshold:
        return "those who attended are not enough officers of the plan"
    return (
        "" if len(witnesses) >= plan.witnesses.threshold else "those who attended are not enough witnesses of the plan"
    )


def facts(one: Made | Crossed) -> Mapping[str, str]:
    """What a step made as officers compare it, by name."""
    if isinstance(one, Crossed):
        return {
            "certificate": str(one.certificate),
            "key": str(one.key),
            "serial": f"{one.serial:x}",
            "until": f"{one.until:%Y-%m-%d}",
        }
    found = {
        "certificate": str(one.certificate),
        "key": str(one.key),
        "serial": f"{one.serial:x}",
        "until": f"{one.until:%Y-%m-%d}",
        "algorithm": one.algorithm,
        "provenance": one.provenance,
        "location": "; ".join((one.location, *one.attributes)),
    }
    return found | ({"second copy": one.second_copy} if one.second_copy else {})
