"""Registers of people and machines for tests: one readable text, with what a test wants changed in it."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from kit.pki import person_key
from kit.trust import public_pem
from sealwright.artifact.digest import Digest
from sealwright.signing.people import People, Token, parse_people

GITHUB = "https://token.actions.githubusercontent.com"
AUDIENCE = "https://sign.acme.example"
SUBJECT = "repo:acme/fw:environment:release"
CREDENTIAL = bytes(range(32))
RULE = {"repository_id": "1001", "ref_type": "tag", "event_name": "push", "environment": "release"}
SAID = {**RULE, "repository": "acme/fw", "ref": "refs/tags/v1.2", "sha": "5eed", "actor": "somebody"}


def digest(text: str) -> str:
    """Some digest, the same for the same word."""
    return str(Digest.of(text.encode()))


def credential(data: bytes = CREDENTIAL) -> str:
    """A credential's id as the register has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


WEBAUTHN = public_pem(person_key())
PEOPLE = f"""# sealwright people 1
tenants = ["acme", "plant"]

[[person]]  # answers for the pipeline
id = "p7"
tenant = "acme"
roles = ["requester", "approver"]
from = 2026-01-01T00:00:00Z
until = 2027-12-31T00:00:00Z
certificates = ["{digest("p7 laptop")}", "{digest("p7 card")}"]

[[person.approval_key]]
scheme = "cms"
key = "{digest("p7 key")}"

[[person.approval_key]]
scheme = "webauthn"
rp = "sign.acme.example"
credential = "{credential()}"
key = '''
{WEBAUTHN}'''

[[person]]
id = "p8"
tenant = "plant"
roles = ["auditor"]
certificates = ["{digest("p8 card")}"]

[[person.approval_key]]
scheme = "cms"
key = "{digest("p8 key")}"

[[machine]]
id = "m3"
tenant = "acme"
roles = ["requester"]
owner = "p7"

[machine.oidc]
issuer = "{GITHUB}"
audience = "{AUDIENCE}"
subject = "{SUBJECT}"
hand_on = ["ref", "sha"]

[machine.oidc.claims]
repository_id = "1001"
ref_type = "tag"
event_name = "push"
environment = "release"

[[machine]]
id = "m4"
tenant = "acme"
roles = ["operator"]
owner = "p7"
certificates = ["{digest("m4")}"]
"""


def people(*changes: tuple[str, str]) -> People:
    """The register with texts replaced, each of which must be there."""
    return parse_people(people_text(*changes).encode(), "people.toml")


def people_text(*changes: tuple[str, str]) -> str:
    """The same, as text."""
    text = PEOPLE
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def token(
    *, issuer: str = GITHUB, audience: str = AUDIENCE, subject: str = SUBJECT, claims: Mapping[str, str] | None = None
) -> Token:
    """A verified token of the pipeline."""
    return Token(issuer, audience, subject, dict(SAID if claims is None else claims))
