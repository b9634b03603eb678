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
    "people.enrolled": "{path} is written: key {key}, to approve at {origin}",
    "people.attestation": "attestation: none asked for; the key calls itself model {aaguid}, and that it is one is your word",
    "people.enrolled-next": "Next: hand the file to the PKI officer (sealwright people add people.toml approval-key ID FILE), and read the key's digest to each other",
    "people.next": "Next: have the change reviewed and put it where the service reads it",
}
