"""The first text of a trust file, with comments that tell its reader what each part is for and what comes next."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sealwright.trust.toml import Toml, table_text, value_text

_HEAD = """# sealwright trust 1
#
# The one root of trust of every verifier that gets it: who may sign what, and who may replace this file.
# Review it like code. Whoever signs it says: I have read these very bytes. `sealwright trust check` reads it with you.
"""
_DATES = """
# `id` never changes. `version` grows by one each time (`sealwright trust new --next`). Between `issued` and `expires` it
# decides; afterwards nothing is installed under it, what runs keeps running.
"""
_TRIAL = """
# A trial: it needs no signatures, every verdict says so, and nothing may be enforced by it. Take this line out when it is ready.
"""
_PEOPLE = """
# People. Whoever stands here counts once, whatever keys they hold; `keys` and `certificates` say what they sign with.
# When somebody leaves, `until` ends them: what they provably signed before still counts.
"""
_OFFICERS = """
# The officers: `threshold` of these persons sign each new version. The next one needs enough of the officers before and after.
"""
_RECOVERY = """
# Sealed keys of other persons, kept apart. They may do one thing: replace officers who are lost. Every verdict shows it.
"""
_REST = """
# Next, who may sign (a production anchor accepts no key that is only a file):
#   sealwright trust add FILE anchor maker-root.pem --name acme --environment production
# then what they may sign, as a rule. It begins in mode "audit", which enforces nothing yet:
#   sealwright trust add FILE rule "drive firmware" --environment production --anchor acme --purpose updatePackageSigning
# and whose word on time counts, so that signatures outlive certificates:
#   sealwright trust add FILE authority tsa-root.pem --name "acme timestamps"
"""


@dataclass(frozen=True, slots=True)
class Keyholder:
    """An officer or holder of a sealed key. key: in PEM."""

    person: str
    key: str


@dataclass(frozen=True, slots=True)
class First:
    """What a first trust file is made of. lasts: from `issued` to `expires`."""

    issued: datetime
    lasts: timedelta
    organisation: str
    officers: Sequence[Keyholder]
    threshold: int
    recovery: Sequence[Keyholder]
    recovery_threshold: int
    title: str = ""
    id: str = ""
    trial: bool = False


def first_text(first: First) -> str:
    """The text; whether it is accepted, `parse_trust` says."""
    issued = first.issued.replace(microsecond=0)
    text = _HEAD + _DATES
    text += _line("id", first.id or secrets.token_hex(8))
    text += _line("title", first.title) if first.title else ""
    text += _line("version", 1) + _line("issued", issued) + _line("expires", issued + first.lasts)
    text += _TRIAL + _line("stage", "trial") if first.trial else ""
    text += _PEOPLE
    for number, (person, role) in enumerate(_people(first).items()):
        entry: dict[str, Toml] = {"id": person, "organisation": first.organisation, "roles": [role]}
        text += ("\n" if number else "") + table_text(("person",), entry)
    text += _OFFICERS + _quorum("officers", first.threshold, first.officers)
    text += _RECOVERY + _quorum("recovery", first.recovery_threshold, first.recovery)
    return text + _REST


def deny_text(trust: str) -> str:
    """An empty deny list of a trust file."""
    return (
        "# sealwright deny 1\n"
        "#\n"
        "# Takes trust away between two versions of the trust file; one officer signs it. It can add nothing.\n"
        "#   sealwright trust add deny.toml deny key stolen.pem --reason 'laptop stolen on 3 May'\n"
        + _line("version", 1)
        + _line("trust", trust)
    )


def _people(first: First) -> dict[str, str]:
    people = {one.person: "trust officer" for one in first.officers}
    for one in first.recovery:
        people.setdefault(one.person, "recovery")
    return people


def _quorum(name: str, threshold: int, keys: Sequence[Keyholder]) -> str:
    text = f"[{name}]\n" + _line("threshold", threshold)
    return text + "".join("\n" + table_text((name, "key"), {"person": one.person, "key": one.key}) for one in keys)


def _line(key: str, value: Toml) -> str:
    return f"{key} = {value_text(value)}\n"
