"""What the commands on the register of people and machines say."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "people.head": "{path}: {persons} persons, {machines} machines, {tenants} tenants ({digest})",
    "people.person": "{id}: {roles} in {tenant}",
    "people.machine": "{id}: {roles} in {tenant}, answered for by {owner}",
    "people.nobody": "nobody at that time",
    "people.written": "{path} is changed",
    "people.gained": "{id} gains: {what}",
    "people.stopped": "{id} stops with {owner}, who answered for it",
    "people.next": "Next: have the change reviewed and put it where the service reads it",
}
