"""A permit or its follow-up as it lies in a folder: `NAME.permit`, and `NAME.permit.PERSON.p7s` for each person whom it names."""

from __future__ import annotations

import os
from typing import Generic, NamedTuple, TypeVar

from sealwright.artifact.lookedat import MAX_BYTES as MAX_FOLLOW_UP_BYTES
from sealwright.artifact.lookedat import PermitFollowUp, parse_follow_up
from sealwright.artifact.permit import MAX_BYTES, Permit, parse_permit, signature_name
from sealwright.artifact.source import read_file, read_file_or_none

MAX_SIGNATURE_BYTES = 64 * 1024
S = TypeVar("S", Permit, PermitFollowUp)


class PersonSignature(NamedTuple):
    """The file of one person's signature. name: without its folder; data: None where it is not there."""

    person: str
    name: str
    data: bytes | None


class Presented(NamedTuple, Generic[S]):
    """A statement with the signatures beside it, none of them judged. name: without its folder."""

    name: str
    text: bytes
    statement: S
    signatures: tuple[PersonSignature, ...]


def read_permit(path: str) -> Presented[Permit]:
    """A permit and what is signed of it; MalformedArtifact for what is none, Unreadable and LimitExceeded for its files."""
    text, name = read_file(path, MAX_BYTES), os.path.basename(path)
    permit = parse_permit(text, name)
    return Presented(name, text, permit, _signatures(path, permit.persons))


def read_follow_up(path: str) -> Presented[PermitFollowUp]:
    """A follow-up, read as a permit is."""
    text, name = read_file(path, MAX_FOLLOW_UP_BYTES), os.path.basename(path)
    follow_up = parse_follow_up(text, name)
    return Presented(name, text, follow_up, _signatures(path, follow_up.persons))


def _signatures(path: str, persons: tuple[str, ...]) -> tuple[PersonSignature, ...]:
    names = [signature_name(path, person) for person in persons]
    return tuple(
        PersonSignature(person, os.path.basename(name), read_file_or_none(name, MAX_SIGNATURE_BYTES))
        for person, name in zip(persons, names, strict=True)
    )
