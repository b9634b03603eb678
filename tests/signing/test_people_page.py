"""The examples of docs/people.md are registers that the service takes."""

from __future__ import annotations

import re
from pathlib import Path

from kit.people import digest
from kit.pki import NOW
from sealwright.signing.nameslist import parse_names
from sealwright.signing.people import Token, parse_people

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "people.md").read_text()


def test_the_examples_of_the_page_are_one_register_and_a_list_of_names() -> None:
    person, names, github, gitlab = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    for which in ("certificate", "key"):
        person = person.replace('"sha256:…"', f'"{digest(which)}"', 1)
    second = '[[machine]]\nid = "m4"\ntenant = "acme"\nroles = ["requester"]\nowner = "p7"\n\n' + gitlab
    found = parse_people("\n".join((person, github, second)).encode(), "docs/people.md")
    assert set(found.persons) == {"p7"}
    for machine in found.machines.values():
        rule = machine.token
        assert rule is not None
        claims = {**rule.claims, "ref": "refs/tags/v1", "sha": "5eed"}
        assert found.by_token(Token(rule.issuer, rule.audience, rule.subject, claims), NOW).id == machine.id
    assert parse_names(names.encode(), "names.toml") == {"p7": "Eva Muster <eva.muster@acme.example>"}
