"""`people`: the register read, listed and changed, comments kept; what a change allows is said, and nothing is widened silently."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.people import PEOPLE, digest
from kit.pki import NOW, Pki, person_key
from kit.trust import public_pem
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.envelope.algorithms import key_digest
from sealwright.pki.profiles import TLS_CLIENT
from sealwright.signing.people import parse_people
from sealwright.trust.certificate import tbs_digest

PKI = Pki.make()
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    monkeypatch.chdir(tmp_path)
    Path("people.toml").write_text(PEOPLE)
    Path("names.toml").write_text('# sealwright names 1\n[[name]]\nid = "p7"\nname = "Eva Muster"\n')

    def typed(*words: str) -> tuple[int, str]:
        try:
            code = main(["people", *words])
        except SystemExit as left:
            code = int(str(left.code))
        said = capsys.readouterr()
        return code, said.out + said.err

    return typed


def test_a_register_is_checked_and_listed_with_names_only_where_they_are_given(say: Say) -> None:
    assert say("check", "people.toml")[1].startswith("people.toml: 2 persons, 2 machines, 2 tenants (sha256:")
    code, said = say("show", "people.toml")
    assert code == 0
    assert "m3: requester in acme, answered for by p7" in said
    assert "Eva" not in said
    assert "(Eva Muster)" in say("show", "people.toml", "--names", "names.toml")[1]
    assert (
        "p7: approver, requester in acme: nobody at that time"
        in say("show", "people.toml", "--at", "2028-01-01T00:00:00Z")[1]
    )
    told = json.loads(say("show", "people.toml", "--json")[1])
    assert told["digest"] == str(Digest.of(PEOPLE.encode()))
    assert [one["id"] for one in told["ids"]] == ["p7", "p8", "m3", "m4"]


def test_a_register_with_a_mistake_is_refused_with_its_place(say: Say) -> None:
    Path("people.toml").write_text(PEOPLE.replace("owner", "boss", 1))
    code, said = say("check", "people.toml")
    assert code == 1
    assert "[[machine]]" in said


def test_who_is_added_gains_what_is_said_and_nothing_else_changes(say: Say) -> None:
    new = PKI.leaf("new", profile=TLS_CLIENT)
    Path("p9.pem").write_text(new.pem)
    code, said = say(
        "add", "people.toml", "person", "p9", "--tenant", "acme", "--role", "requester", "--certificate", "p9.pem",
        "--until", "2030-01-01T00:00:00Z",
    )  # fmt: skip
    assert code == 0, said
    assert "p9 gains: requester in acme, until 2030-01-01 00:00 UTC" in said
    assert said.count("gains") == 2
    text = Path("people.toml").read_text()
    assert text.startswith(PEOPLE.rstrip("\n"))
    assert "# answers for the pipeline" in text
    assert parse_people(text.encode(), "x").by_certificate(new.certificate, datetime.now(UTC)).id == "p9"


@pytest.mark.parametrize(
    "words",
    [
        ("person", "p7", "--tenant", "acme", "--role", "officer"),
        ("person", "Eva", "--tenant", "nowhere", "--role", "officer"),
        ("person", "eva@acme.example", "--tenant", "acme", "--role", "officer"),
        ("person", "p9", "--tenant", "acme", "--role", "root"),
        ("machine", "m9", "--tenant", "acme", "--role", "approver", "--owner", "p7", "--certificate", "c.pem"),
        ("machine", "m9", "--tenant", "acme", "--role", "requester", "--owner", "p7"),
        ("machine", "m9", "--tenant", "acme", "--role", "requester", "--owner", "m3", "--certificate", "c.pem"),
        ("certificate", "m3", "c.pem"),
        ("certificate", "p10", "c.pem"),
        ("approval-key", "m4", "key.pem"),
    ],
)
def test_what_must_not_be_added_leaves_the_file_as_it_was(say: Say, words: tuple[str, ...]) -> None:
    Path("c.pem").write_text(PKI.leaf("c", profile=TLS_CLIENT).pem)
    Path("key.pem").write_text(public_pem(person_key()))
    assert say("add", "people.toml", "certificate", "m4", "c.pem")[0] == 0
    Path("people.toml").write_text(PEOPLE)
    code, said = say("add", "people.toml", *words)
    assert code in (1, 2), said
    assert Path("people.toml").read_text() == PEOPLE


def test_a_new_certificate_and_approval_key_go_to_their_person(say: Say) -> None:
    new, key = PKI.leaf("new", profile=TLS_CLIENT), person_key()
    Path("new.pem").write_text(new.pem)
    Path("key.pem").write_text(public_pem(key))
    assert "p8 gains: certificate" in say("add", "people.toml", "certificate", "p8", "new.pem")[1]
    assert "p7 gains: approval key" in say("add", "people.toml", "approval-key", "p7", "key.pem")[1]
    found = parse_people(Path("people.toml").read_bytes(), "x")
    assert found.persons["p8"].certificates == (Digest.of(b"p8 card"), tbs_digest(new.x509))
    assert found.cms_approver(key_digest(key.key.info.public_key), "acme", NOW) == "p7"
    assert say("add", "people.toml", "certificate", "p7", "new.pem")[0] == 1, "one certificate is one id's"


@pytest.mark.parametrize("name", ["new", "newe", "newer"])
def test_a_certificate_comes_with_its_issuer_behind_it_whatever_its_length(say: Say, name: str) -> None:
    """As `cert issue` writes it. Three lengths are three endings in base64."""
    new = PKI.leaf(name, profile=TLS_CLIENT)
    Path("new.pem").write_text(new.pem + PKI.intermediate.pem)
    assert "p8 gains: certificate" in say("add", "people.toml", "certificate", "p8", "new.pem")[1]
    assert tbs_digest(new.x509) in parse_people(Path("people.toml").read_bytes(), "x").persons["p8"].certificates
    Path("two.pem").write_text(new.pem + PKI.leaf("another", profile=TLS_CLIENT).pem)
    code, said = say("add", "people.toml", "certificate", "p7", "two.pem")
    assert (code, "it holds 2 certificates" in said) == (2, True)


def test_who_ends_is_nobody_and_nor_are_the_machines_they_answered_for(say: Say) -> None:
    code, said = say("end", "people.toml", "p7", "--at", "2026-12-01T00:00:00Z")
    assert (code, "m3 stops with p7" in said, "m4 stops with p7" in said) == (0, True, True)
    assert Path("people.toml").read_text() == PEOPLE.replace("until = 2027-12-31", "until = 2026-12-01")
    assert say("end", "people.toml", "p7", "--at", "2028-01-01T00:00:00Z")[0] == 2, "no end is moved away"
    assert say("end", "people.toml", "p8", "--at", "2026-01-01T00:00:00Z")[0] == 0
    Path("c.pem").write_text(PKI.leaf("c", profile=TLS_CLIENT).pem)
    assert say("add", "people.toml", "certificate", "p8", "c.pem")[0] == 2, "nothing comes to who has ended"
    assert say("end", "people.toml", "p99")[0] == 2


def test_a_register_written_in_another_way_is_not_edited_wrongly(say: Say) -> None:
    odd = PEOPLE.replace(f'certificates = ["{digest("p8 card")}"]', f'certificates = [\n  "{digest("p8 card")}",\n]')
    Path("people.toml").write_text(odd)
    Path("c.pem").write_text(PKI.leaf("c", profile=TLS_CLIENT).pem)
    assert say("check", "people.toml")[0] == 0
    code, said = say("add", "people.toml", "certificate", "p8", "c.pem")
    assert (code, "in a way that is not edited here" in said) == (1, True)
    assert Path("people.toml").read_text() == odd
