"""A survey in sections of items, the same for the screen and for the page: what it says is written once.

Every text in an item is escaped for the screen already (`artifact/names.display`), so that no name out of a file or certificate
moves a cursor or turns a line around; the page escapes once more, for HTML.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import NamedTuple, TypeVar

from sealwright.artifact.names import display
from sealwright.plant.belonging import Kind
from sealwright.plant.seen import BELONGING, LISTED, Belongs, Product, RuleLine, SignerLine, Tally, Told
from sealwright.plant.signers import State
from sealwright.plant.spool import Spool
from sealwright.plant.walk import MAX_DEPTH, Left, NotRead
from sealwright.texts.words import say

T = TypeVar("T")
LEFT_ALONE = (Left.MOUNT, Left.LOOP, Left.DEEP, Left.SPECIAL, Left.LINK)
PATHS_OF_A_COPY = 5
MOST_IN_A_LINE = 12
MOST_CHARACTERS = 600
ORDER = (State.INTACT.value, State.BARE.value, State.WEAK.value, State.BROKEN.value, State.UNREADABLE.value, LISTED, BELONGING, State.UNSIGNED.value)  # fmt: skip


class Fact(NamedTuple):
    """label: one or two words; value: one line."""

    label: str
    value: str


class Item(NamedTuple):
    """One thing: who or what it is about, and what is said of it."""

    head: str
    facts: tuple[Fact, ...]


class Section(NamedTuple):
    """name: for links; number: of all its things, of which `items` are the first; they are made while they are read."""

    name: str
    title: str
    number: int
    items: Iterator[Item]


class Limits(NamedTuple):
    """How many things are shown of each section."""

    signers: int
    others: int


def sections(spool: Spool, now: datetime, limits: Limits, rules: Sequence[str] | None = None) -> Iterator[Section]:
    """In the order in which a plant engineer asks. rules: the names of those of the trust file, where there is one."""
    most = limits.others
    if rules is not None:
        lines = list(spool.rules(rules))
        items = (*map(_rule, lines), Item(say("survey.unsigned-refused"), (_refused(spool),)))
        title = say("survey.section.rules", number=f"{len(rules):,}")
        yield Section("rules", title, len(items), iter(items))
    number = spool.signers_total
    signers = (_signer(one, now) for one in spool.by_signer(limits.signers))
    yield Section("signers", say("survey.section.signers", number=f"{number:,}"), number, signers)
    number = _count(spool.told(State.BROKEN))
    yield Section(
        "broken",
        say("survey.section.broken", number=f"{number:,}"),
        number,
        _first(spool.told(State.BROKEN), most, _told),
    )
    number = _count(spool.told(State.WEAK))
    yield Section(
        "weak", say("survey.section.weak", number=f"{number:,}"), number, _first(spool.told(State.WEAK), most, _told)
    )
    number = _count(spool.told(State.UNREADABLE)) + _count(spool.not_read(Left.UNREADABLE))
    yield Section(
        "unreadable", say("survey.section.unreadable", number=f"{number:,}"), number, islice(_unreadable(spool), most)
    )
    number = spool.counts.of(State.UNSIGNED)
    folders = (Item(_shown(one.path), (_files(one.files, one.size),)) for one in spool.unsigned(most))
    yield Section("unsigned", say("survey.section.unsigned", number=f"{number:,}"), number, folders)
    number = _count(spool.belonging())
    title = say("survey.section.belonging", number=f"{number:,}")
    yield Section("belonging", title, number, _first(spool.belonging(), most, _belongs))
    number = _count(spool.not_read(Left.ELSEWHERE))
    title = say("survey.section.elsewhere", number=f"{number:,}")
    yield Section("elsewhere", title, number, _first(spool.not_read(Left.ELSEWHERE), most, _left))
    number = spool.copies_total.groups
    copies = (
        Item(_shown(one.paths[0]), (
            Fact(say("survey.label.copies"), say("survey.copies", number=f"{one.number:,}", size=size_text(one.size))),
            *(Fact(say("survey.label.path"), _shown(path)) for path in one.paths[1:]),
        ))
        for one in spool.copies(most, PATHS_OF_A_COPY)
    )  # fmt: skip
    yield Section("copies", say("survey.section.copies", number=f"{number:,}"), number, copies)
    products = list(spool.products())
    number = len(products)
    yield Section(
        "versions", say("survey.section.versions", number=f"{number:,}"), number, _first(products, most, _product)
    )
    number = _count(spool.not_read(*LEFT_ALONE))
    yield Section(
        "left",
        say("survey.section.left", number=f"{number:,}"),
        number,
        _first(spool.not_read(*LEFT_ALONE), most, _left),
    )


def states(spool: Spool) -> Iterator[tuple[str, int, str]]:
    """State, number of files, and what it means, for those that occur and the three that everybody looks for."""
    counts = spool.counts
    always = (State.INTACT.value, State.BROKEN.value, State.UNSIGNED.value)
    for state in ORDER:
        number = counts.of(state)
        if number or state in always:
            yield state, number, say(f"survey.state.{state}")


def next_steps(spool: Spool, paths: str, *, drafted: bool) -> Iterator[str]:
    """What the reader does next. paths: what was surveyed, as a shell takes it; drafted: there is a trust file already."""
    counts = spool.counts
    if counts.of(State.BROKEN):
        yield say("survey.step.broken")
    if counts.of(State.INTACT) and not drafted:
        yield say("survey.step.draft", paths=paths)


def size_text(size: int) -> str:
    """Bytes for people."""
    amount, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:,.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:,.1f} {unit}"


def _signer(one: SignerLine, now: datetime) -> Item:
    facts = [Fact(say("survey.label.issuer"), _shown(one.issuer))] if one.issuer else []
    facts.append(
        Fact(say("survey.label.files"), say("survey.files", number=f"{one.files:,}", kinds=_tallies(one.formats)))
    )
    if [each.what for each in one.states] != [State.INTACT.value]:
        facts.append(Fact(say("survey.label.states"), _tallies(one.states)))
    if one.algorithms:
        facts.append(Fact(say("survey.label.algorithm"), _listed([each.what for each in one.algorithms])))
    facts.append(Fact(say("survey.label.timestamp"), _stamps(one)))
    facts.append(Fact(say("survey.label.ends"), _ends(one, now)))
    if one.next_end is not None:
        facts.append(Fact(say("survey.label.next"), day(one.next_end)))
    if one.products:
        facts.append(Fact(say("survey.label.products"), _listed(one.products)))
    keys = dict.fromkeys(each.key for each in one.certificates if each.key)
    facts += [Fact(say("survey.label.key"), key) for key in islice(keys, PATHS_OF_A_COPY)] or [
        Fact(say("survey.label.key"), say("survey.no-key"))
    ]
    return Item(_shown(one.subject) or say("survey.nobody"), tuple(facts))


def _stamps(one: SignerLine) -> str:
    if not one.stamped:
        return say("survey.not-stamped")
    names = _listed([each.what for each in one.authorities])
    return say(
        "survey.stamped", stamped=f"{one.stamped:,}", every=f"{one.stamped + one.unstamped:,}", authorities=names
    )


def _ends(one: SignerLine, now: datetime) -> str:
    end = one.last_end
    if end is None:
        return say("survey.no-certificate")
    said = say("survey.ended", date=day(end)) if end <= now else say("survey.ends", date=day(end))
    many = len(one.certificates)
    return said if many == 1 else say("survey.several", number=f"{many:,}", ends=said)


def _told(one: Told) -> Item:
    facts = [Fact(say("survey.label.signer"), _shown(one.signer))] if one.signer else []
    return Item(_shown(one.path), (*facts, Fact(say("survey.label.why"), _shown(one.why))))


def _unreadable(spool: Spool) -> Iterator[Item]:
    for one in spool.not_read(Left.UNREADABLE):
        yield Item(_shown(os.fsdecode(one.path)), (Fact(say("survey.label.why"), _shown(one.what)),))
    yield from map(_told, spool.told(State.UNREADABLE))


def _files(number: int, size: int) -> Fact:
    return Fact(say("survey.label.files"), say("survey.copies", number=f"{number:,}", size=size_text(size)))


def _product(one: Product) -> Item:
    facts = [Fact(say("survey.label.signer"), _shown(one.signer))] if one.signer else []
    for each in one.versions:
        version = _shown(each.version) or say("survey.none")
        said = (
            say(
                "survey.version",
                version=version,
                generation=each.generation,
                files=f"{each.files:,}",
                path=_shown(each.path),
            )
            if each.generation
            else say("survey.version-plain", version=version, files=f"{each.files:,}", path=_shown(each.path))
        )
        facts.append(Fact(say("survey.label.version"), said))
    return Item(_shown(one.product), tuple(facts))


def _belongs(one: Belongs) -> Item:
    words = {
        Kind.RECEIVING: say("survey.belongs.receiving"),
        Kind.ACCEPTANCE: say("survey.belongs.acceptance"),
        Kind.EVIDENCE: say("survey.belongs.evidence"),
        Kind.REPORT: say("survey.belongs.report"),
        Kind.TIMESTAMP: say("survey.belongs.timestamp"),
        Kind.LOG_PROOF: say("survey.belongs.log-proof"),
        Kind.EVIDENCE_RECORD: say("survey.belongs.evidence-record"),
    }
    bound = say("survey.belongs.bound") if one.bound else say("survey.belongs.by-name")
    facts = (
        Fact(say("survey.label.owner"), _shown(one.owner)),
        Fact(say("survey.label.kind"), words[Kind(one.kind)]),
        Fact(say("survey.label.bound"), bound),
    )
    return Item(_shown(one.path), facts)


def _left(one: NotRead) -> Item:
    words = {
        Left.MOUNT: say("survey.left.mount"),
        Left.LOOP: say("survey.left.loop"),
        Left.DEEP: say("survey.left.deep", depth=MAX_DEPTH),
        Left.SPECIAL: say("survey.left.special"),
        Left.LINK: say("survey.left.link"),
        Left.ELSEWHERE: say("survey.left.elsewhere"),
    }
    return Item(_shown(os.fsdecode(one.path)), (Fact(say("survey.label.why"), words[one.why]),))


def _rule(one: RuleLine) -> Item:
    facts = [
        Fact(label, f"{number:,}")
        for label, number in (
            (say("survey.label.allowed"), one.allowed),
            (say("survey.label.refused"), one.refused),
            (say("survey.label.undecided"), one.undecided),
        )
        if number
    ] or [Fact(say("survey.label.files"), say("survey.none"))]
    facts += [
        Fact(
            say("survey.label.why"),
            say("survey.reason", number=f"{each.number:,}", why=_shown(each.why), path=_shown(each.path)),
        )
        for each in one.reasons
    ]
    return Item(_shown(one.rule) or say("survey.rule.none"), tuple(facts))


def _refused(spool: Spool) -> Fact:
    return Fact(say("survey.label.refused"), f"{spool.counts.of(State.UNSIGNED):,}")


def _tallies(some: Sequence[Tally]) -> str:
    return _listed([say("survey.tally", what=one.what, number=f"{one.number:,}") for one in some])


def _listed(some: Sequence[str]) -> str:
    """The first of some words, which somebody else may have made many."""
    named = "; ".join(map(_shown, some[:MOST_IN_A_LINE]))
    return (
        say("survey.and-more", named=named, number=f"{len(some) - MOST_IN_A_LINE:,}")
        if len(some) > MOST_IN_A_LINE
        else named
    )


def _shown(text: str) -> str:
    """As it may be shown, and no longer than anybody reads."""
    shown = display(text)
    return shown if len(shown) <= MOST_CHARACTERS else shown[:MOST_CHARACTERS] + "…"


def _first(some: Iterable[T], limit: int, item: Callable[[T], Item]) -> Iterator[Item]:
    return map(item, islice(some, limit))


def _count(some: Iterable[object]) -> int:
    return sum(1 for _ in some)


def day(moment: datetime) -> str:
    """A date."""
    return f"{moment:%Y-%m-%d}"
