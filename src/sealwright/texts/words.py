"""Fixed words that are no finding's: one table by name, filled in one place, so that a translator has one place too.

    say("verify.next", step="Nothing to do.")   ->   "Next: Nothing to do."

Values are never searched for placeholders again: a file called `{step}` stays a file called `{step}`.
"""

from __future__ import annotations

from sealwright.texts import (
    adopting,
    agent,
    asking,
    authority,
    ceremony,
    commands,
    fleet,
    handover,
    hawkbit,
    homes,
    keyscreen,
    listing,
    log,
    people,
    permits,
    policy,
    receiving,
    records,
    releases,
    repository,
    screen,
    serving,
    statements,
    station,
    survey,
    trustlife,
)

_TABLES = (
    adopting.WORDS,
    agent.WORDS,
    asking.WORDS,
    authority.WORDS,
    ceremony.WORDS,
    commands.WORDS,
    fleet.WORDS,
    handover.WORDS,
    hawkbit.WORDS,
    homes.WORDS,
    keyscreen.WORDS,
    listing.WORDS,
    log.WORDS,
    policy.WORDS,
    people.WORDS,
    permits.WORDS,
    releases.WORDS,
    repository.WORDS,
    records.WORDS,
    receiving.WORDS,
    screen.WORDS,
    serving.WORDS,
    station.WORDS,
    survey.WORDS,
    statements.WORDS,
    trustlife.WORDS,
)
WORDS: dict[str, str] = {name: words for table in _TABLES for name, words in table.items()}


def say(name: str, /, **parts: object) -> str:
    """The words of a name with their placeholders filled; KeyError for a name or a placeholder that is not there."""
    return WORDS[name].format(**parts)
