"""A rehearsal of a key ceremony: a filled plan, and development homes of the people who attend it, in the folder of the plan.

Three officers of whom two must come, a witness, two intermediates, a device key with one copy, and every other step; all keys are
development keys in files. What is to be typed is given as lines that run as they stand, with the nonce in place of NONCE.
"""

from __future__ import annotations

import os
import shlex
from datetime import datetime
from typing import NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.artifact.output import write_atomic
from sealwright.errors import UsageError
from sealwright.signing.ceremonyplan import DEVICE, OCSP_STEP, TIMESTAMP_STEP, Draft, Plan, parse_plan, plan_text
from sealwright.signing.home import Home, KeyPurpose
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.transcript import FILE

OFFICERS = ("eva", "jan", "ute")
COMING = OFFICERS[:2]
WITNESS = "wim"
HOME = "ca"


class Rehearsal(NamedTuple):
    """plan: as written; homes: of those who attend; commands: in their order."""

    plan: Plan
    homes: tuple[str, ...]
    commands: tuple[str, ...]


def make_rehearsal(path: str, now: datetime) -> Rehearsal:
    """Write the plan and make the homes; UsageError where one of them is there already."""
    folder = os.path.dirname(path)
    people = {person: os.path.join(folder, person) for person in (*OFFICERS, WITNESS)}
    for taken in (path, os.path.join(folder, HOME), *people.values()):
        if os.path.lexists(taken):
            raise UsageError(taken, "it is there already", "Rehearse in a new folder.")
    keys = {person: _public(init_home(home, InitOptions(now, title=person))) for person, home in people.items()}
    draft = Draft(
        title="Rehearsal",
        organisation="ACME GmbH",
        root="ACME rehearsal root",
        intermediates=("ACME rehearsal configuration CA", "ACME rehearsal signing CA"),
        officers=[(person, keys[person]) for person in OFFICERS],
        threshold=len(COMING),
        witnesses=[(WITNESS, keys[WITNESS])],
        steps=(TIMESTAMP_STEP, OCSP_STEP, DEVICE),
        device_format="mcuboot",
        accept_single_copy="a rehearsal: the key is burnt into nothing",
    )
    text = plan_text(draft).encode()
    write_atomic(path, text)
    return Rehearsal(parse_plan(text, path), tuple(people.values()), tuple(_commands(path, folder, people)))


def _commands(path: str, folder: str, people: dict[str, str]) -> list[str]:
    plan, home = shlex.quote(path), os.path.join(folder, HOME)
    record = shlex.quote(os.path.join(home, "ceremony", FILE))
    coming = (*COMING, WITNESS)
    files = {person: shlex.quote(os.path.join(folder, f"{person}.p7s")) for person in coming}
    begin = "sealwright ca ceremony"
    return [
        f"{begin} begin {plan}",
        *(
            f"{begin} attend {plan} --nonce NONCE --home {shlex.quote(people[one])} --person {one} --out {files[one]}"
            for one in coming
        ),
        f"{begin} run {plan} --home {shlex.quote(home)} --nonce NONCE --attendance {' '.join(files.values())}",
        *(f"{begin} sign {record} --home {shlex.quote(people[one])} --person {one}" for one in coming),
        f"{begin} check {record} --plan {plan} --home {shlex.quote(home)}",
    ]


def _public(home: Home) -> str:
    key = home.key(None, KeyPurpose.TRUST).public_key
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
