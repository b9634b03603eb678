"""Who asks: certificates and tokens to principals of the register, one answer to everybody else, all reasons in the log."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.oidc import CiIssuer, fresh_replay, rsa_key
from kit.people import SUBJECT, digest, people_text
from kit.pki import NOW, Pki
from sealwright.pki.profiles import TLS_CLIENT
from sealwright.service.identity import Door, PeopleFile, Tokens, Unidentified
from sealwright.service.oidc import TokenIssuer
from sealwright.signing.people import Principal
from sealwright.trust.certificate import tbs_digest

CI = CiIssuer({"rsa-1": rsa_key()})
PKI = Pki.make()
LAPTOP = PKI.leaf("laptop", profile=TLS_CLIENT)
STRANGE = PKI.leaf("strange", profile=TLS_CLIENT)


class Gate:
    """A door with a register in a folder; what it logged; every request is judged at NOW."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "people.toml"
        self.write(people_text((digest("p7 laptop"), str(tbs_digest(LAPTOP.x509)))))
        self.said: list[Any] = []
        self.away = False
        replay = fresh_replay(folder, NOW - timedelta(days=1))
        tokens = Tokens([CI.trusted()], replay, self.said.append, self.fetch)
        self.door = Door(PeopleFile(str(self.path)), tokens, self.said.append)

    async def fetch(self, _: TokenIssuer) -> bytes:
        return b"" if self.away else json.dumps(CI.jwks()).encode()

    def write(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def ask(self, certificate: str = "", *authorization: bytes) -> Principal:
        headers = [(b"authorization", one) for one in authorization]
        chain = (certificate,) if certificate else ()
        scope = {"client": ("192.0.2.7", 1), "headers": headers, "extensions": {"tls": {"client_cert_chain": chain}}}
        return asyncio.run(self.door.enter(scope, NOW))

    def refused(self, certificate: str = "", *authorization: bytes) -> str:
        """The reason in the log, after checking that the answer tells nothing."""
        with pytest.raises(Unidentified) as nobody:
            self.ask(certificate, *authorization)
        answer = nobody.value.answer
        assert (answer.status, answer.body) == (401, b"who asks is not known here\n")
        assert (str(nobody.value), nobody.value.args) == ("", ())
        assert self.said[-1]["event"] == "unidentified"
        return str(self.said[-1]["why"])


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def bearer(token: bytes) -> bytes:
    return b"Bearer " + token


def test_a_certificate_or_a_token_says_who_asks(gate: Gate) -> None:
    assert gate.ask(LAPTOP.pem).id == "p7"
    machine = gate.ask("", bearer(CI.token()))
    assert (machine.id, machine.person, machine.machine) == ("m3", "p7", True)
    assert gate.ask("", b"bearer " + CI.token()).id == "m3"
    assert gate.said == []


def test_a_person_and_the_machine_they_answer_for_are_one_where_four_eyes_are_counted(gate: Gate) -> None:
    """A114: a second way in is no second person."""
    assert gate.ask(LAPTOP.pem).person == gate.ask("", bearer(CI.token())).person == "p7"


def test_everybody_else_gets_one_answer_and_the_log_the_reason(gate: Gate) -> None:
    """A129."""
    used = CI.token()
    gate.ask("", bearer(used))
    reasons = {
        gate.refused(),
        gate.refused(STRANGE.pem),
        gate.refused(LAPTOP.pem, bearer(CI.token())),
        gate.refused("", bearer(CI.token()), bearer(CI.token())),
        gate.refused("", b"Basic cDc6c2VjcmV0"),
        gate.refused("", b"Bearer  " + CI.token()),
        gate.refused("", b"Bearer"),
        gate.refused("", bearer(used)),
        gate.refused("", bearer(CI.token(sub=SUBJECT + "2"))),
        gate.refused("", bearer(CI.token(aud="https://other.example"))),
        gate.refused("", bearer(CI.token(iss="https://evil.example"))),
        gate.refused("", bearer(CI.token(exp=int(NOW.timestamp()) - 100, iat=int(NOW.timestamp()) - 200))),
        gate.refused("", bearer(CI.token()[:-8] + b"AAAAAAAA")),
    }
    assert len(reasons) == 10, "in the log they differ"
    assert used.decode() not in json.dumps(gate.said)
    assert gate.ask("", bearer(CI.token())).id == "m3"


def test_a_refused_token_is_not_used_up(gate: Gate) -> None:
    token = CI.token()
    whole = gate.path.read_text()
    gate.write(whole.replace(SUBJECT, SUBJECT + "2"))
    gate.refused("", bearer(token))
    gate.write(whole)
    assert gate.ask("", bearer(token)).id == "m3"
    assert "used before" in gate.refused("", bearer(token))


def test_a_register_that_cannot_be_read_knows_nobody_until_it_can(gate: Gate) -> None:
    whole = gate.path.read_text()
    assert gate.ask(LAPTOP.pem).id == "p7"
    gate.write(whole.replace("roles", "rolls", 1))
    assert "`roles` must be" in gate.refused(LAPTOP.pem)
    gate.path.unlink()
    gate.refused(LAPTOP.pem)
    gate.write(whole)
    assert gate.ask(LAPTOP.pem).id == "p7"


def test_who_is_taken_out_of_the_register_is_nobody_at_the_next_request(gate: Gate) -> None:
    assert gate.ask(LAPTOP.pem).id == "p7"
    gate.write(gate.path.read_text().replace("until = 2027-12-31T00:00:00Z", "until = 2026-10-01T00:00:00Z"))
    assert "p7: it ended" in gate.refused(LAPTOP.pem)
    assert "p7: it ended" in gate.refused("", bearer(CI.token())), "nor the machine they answered for"


def test_without_the_issuers_keys_no_token_counts_and_certificates_do(gate: Gate) -> None:
    gate.away = True
    assert "young enough" in gate.refused("", bearer(CI.token()))
    assert gate.ask(LAPTOP.pem).id == "p7"


def test_a_service_without_issuers_takes_no_token(gate: Gate) -> None:
    gate.door = Door(PeopleFile(str(gate.path)), None, gate.said.append)
    assert "no CI system asks here" in gate.refused("", bearer(CI.token()))
    assert gate.ask(LAPTOP.pem).id == "p7"
