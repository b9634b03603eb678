"""`names.toml`: what people call the ids of the register, in a file of its own that only screens read, so that a name can be erased.

    # sealwright names 1

    [[name]]
    id = "p7"
    name = "Eva Muster"
    mail = "eva.muster@acme.example"

Nothing is decided by it, nothing of it is logged or signed, and an id without an entry is shown as its id.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealwright.artifact.section import read_toml
from sealwright.errors import MalformedPeople
from sealwright.signing.people import PEOPLE

FIRST_LINE = "# sealwright names 1"


def parse_names(data: bytes, subject: str) -> Mapping[str, str]:
    """Names by id, the address behind in brackets; MalformedPeople for anything else."""
    top = read_toml(data, subject, FIRST_LINE, PEOPLE)
    found: dict[str, str] = {}
    for section in top.tables("name"):
        one, name, mail = section.text("id"), section.text("name"), section.text("mail", "")
        section.done()
        if one in found:
            raise MalformedPeople(subject, f"{one} is there twice", PEOPLE.next_step)
        found[one] = f"{name} <{mail}>" if mail else name
    top.done()
    return found
