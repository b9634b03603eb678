"""`sealwright policy`: init, check, test, explain and diff, as an officer uses them."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.policies import EXAMPLES
from sealwright.cli import policy
from sealwright.keys.key import Provenance
from sealwright.signing.policycase import FIELDS
from sealwright.signing.policyquestion import Action
from sealwright.texts import words
from sealwright.trust.model import Environment

Run = Callable[..., tuple[int, str, str]]
COMPANY = EXAMPLES / "small-company"
TABLE = COMPANY / "tests" / "small-company.toml"
ANNA = ("--who", "anna", "--roles", "requester", "--action", "sign", "--environment", "production")
READY = (*ANNA, "--provenance", "hardware-attested", "--claims-signed", "--at", "2026-11-26T10:00")


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    """The small company, to be changed."""
    made = tmp_path / "policies"
    names = ("--repository", "acme/drive-firmware", "--builder", "https://ci.acme.example/workflows/release")
    assert run("policy", "init", made, *names, "--zone", "Europe/Berlin")[0] == 0
    return made


def changed(folder: Path, name: str, before: str, after: str) -> Path:
    """A copy beside it with one thing changed, in a folder `new`."""
    new = folder.parent / "new"
    if not new.exists():
        new.mkdir()
        for path in folder.iterdir():
            if path.is_file():
                (new / path.name).write_text(path.read_text())
    text = (new / name).read_text() if (new / name).exists() else ""
    assert before in text
    (new / name).write_text(text.replace(before, after) if before else text + after)
    return new


def test_init_writes_policies_that_pass_their_own_table_and_are_not_dangerous(run: Run, tmp_path: Path) -> None:
    made = tmp_path / "policies"
    code, out, _ = run("policy", "init", made)
    assert (code, "without --repository no machine may sign" in out) == (0, True)
    assert f"sealwright policy test {made}" in out
    code, out, _ = run("policy", "check", made)
    assert (code, "can be used" in out, "note" in out) == (0, True, False)
    code, out, _ = run("policy", "test", made, made / "tests" / "small-company.toml")
    assert (code, "not as expected: 0" in out, "no case tries" in out) == (0, True, False)
    assert run("policy", "init", made)[0] == 2


@pytest.mark.parametrize("words", [("--repository", "acme/fw"), ("--zone", "Europe/Nowhere"), ("--zone", 'a"b')])
def test_init_writes_nothing_where_it_cannot_write_all(words: tuple[str, str], run: Run, tmp_path: Path) -> None:
    code, _, err = run("policy", "init", tmp_path / "policies", *words)
    assert code in (1, 2)
    assert err
    assert not (tmp_path / "policies").exists()


def test_a_table_shows_who_may_do_what_and_whether_it_is_as_expected(run: Run) -> None:
    code, out, _ = run("policy", "test", COMPANY, TABLE)
    lines = out.splitlines()
    assert code == 0
    assert "in each case, unless it says otherwise: environment=production" in lines[0]
    assert re.fullmatch(r"PASS  ALLOWED  anna \(requester\) +sign +approvals=2 +production-four-eyes", lines[1])
    assert lines[-1] == "cases: 45, as expected: 45, not as expected: 0"
    code, out, _ = run("policy", "test", COMPANY, TABLE, "--json")
    first = json.loads(out.splitlines()[0])
    assert (code, first["as_expected"], first["allowed"], first["needed"]) == (0, True, True, "2")
    assert first["deciding"] == [
        {"id": "production-four-eyes", "effect": "permit", "file": "signing.cedar", "line": 10}
    ]


def test_a_case_that_fails_says_why_and_what_would_have_to_change(run: Run, folder: Path) -> None:
    changed(folder, "signing.cedar", "context.approvals >= 2", "context.approvals >= 3")
    new = folder.parent / "new"
    code, out, _ = run("policy", "test", new, TABLE)
    assert code == 1
    assert "FAIL  REFUSED  anna" in out
    assert "case 1: expected ALLOWED by production-four-eyes, needed 2 (it is 3)" in out
    assert "! approvals by others: at least 3" in out
    assert "not as expected: 5" in out


def test_a_rule_that_no_case_tries_is_named(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "short.csv"
    table.write_text("who,roles,action,expected\nida,auditor,read-log,allowed\n")
    code, out, _ = run("policy", "test", COMPANY, table)
    assert code == 0
    assert "no case tries production-four-eyes (signing.cedar:10)" in out
    assert "no case tries auditors" not in out


CSV = """name,who,machine,roles,claims,action,environment,provenance,used_hour,expected,rule
the branch,ci,yes,requester,"repository=acme/drive-firmware, ref=refs/heads/main",sign,development,development,3,allowed,development-by-ci-alone

a fork,ci,yes,requester,repository=acme/drive-firmware-evil,sign,development,development,,refused,
"""


def test_a_table_may_be_csv(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "ci.csv"
    table.write_bytes(b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode())
    code, out, _ = run("policy", "test", COMPANY, table)
    assert (code, "as expected: 2" in out, "the branch: environment=development" in out) == (0, True, True)
    table.write_text(CSV.replace("refused,", "allowed,"))
    code, out, _ = run("policy", "test", COMPANY, table)
    assert (code, f"{table}:4: expected ALLOWED" in out) == (1, True)


BAD_TABLES = [
    ("who,action\nx,sign\n", "`expected` must be"),
    ("who,action,expected\nx,sing,allowed\n", "`action` must be one of request"),
    ("who,action,expected\nx,sign,yes\n", "`expected` must be"),
    ("who,action,expected,who\nx,sign,allowed,y\n", "each column once"),
    ("who,action,expected,colour\nx,sign,allowed,red\n", "nobody reads `colour`"),
    ("who,action,expected\nx,sign\n", "2 columns instead of 3"),
    ("who,action,expected\n,sign,allowed\n", "does not say who asks"),
    ("who,action,expected,approvals\nx,sign,allowed,two\n", "`approvals` must be a whole number"),
    ("who,action,expected,approvals\nx,sign,allowed,-1\n", "`approvals` must be a whole number"),
    ("who,action,expected,at\nx,sign,allowed,yesterday\n", "`at` must be a time"),
    ("who,action,expected,machine\nx,sign,allowed,maybe\n", "`machine` must be yes or no"),
    ("who,action,expected,roles\nx,sign,allowed,king\n", "`roles` must be one of"),
    ("who,action,expected,claims\nx,sign,allowed,ref\n", "`claims` must be NAME=VALUE"),
    ("who,action,expected\n", "0 cases"),
    ("", "each column once"),
    ('who,action,expected\n"x,sign,allowed\n', "not CSV"),
    (b"who,action,expected\n\xff,sign,allowed\n", "UTF-8"),
    ("# sealwright policy test 1\n[[cases]]\n", "did you mean `case`"),
    (
        "# sealwright policy test 1\n[[case]]\nwho='x'\naction='sign'\nexpected='allowed'\nproduct=1.5\n",
        "`product` must be",
    ),
    ("# sealwright policy test 1\n[who]\nx=1\n", "tables such as"),
    ("# sealwright policy 1\n", "the first line is not"),
]


@pytest.mark.parametrize(("text", "why"), BAD_TABLES)
def test_a_table_that_is_wrong_is_never_a_pass(text: str | bytes, why: str, run: Run, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = run("policy", "test", COMPANY, table)
    assert (code, out) == (1, "")
    assert why in err
    assert str(table) in err


def test_check_says_loudly_that_a_rule_permits_everything(run: Run, folder: Path) -> None:
    """A132: the four eyes are turned off by one more rule."""
    new = changed(folder, "signing.cedar", "", '\n@id("for-now") permit(principal, action, resource);\n')
    code, out, _ = run("policy", "check", new)
    assert code == 1
    assert "can be used, and DANGEROUS" in out
    assert "DANGER  this rule permits everybody everything\n        by for-now (signing.cedar:" in out
    code, out, _ = run("policy", "check", new, "--json")
    assert json.loads(out)["dangerous"] is True


DANGERS = [
    (
        "a stranger",
        '@id("x") permit(principal, action == Action::"read", resource);',
        "somebody without a role or claim may read",
    ),
    (
        "everything, in other words",
        '@id("x") permit(principal, action, resource) when { 1 == 1 };',
        "somebody without a role or claim may sign",
    ),
    (
        "production alone",
        '@id("x") permit(principal in Role::"requester", action == Action::"sign", resource) when { resource.product == "x" };',
        "production is signed without anybody else's approval",
    ),
    (
        "keys alone",
        '@id("x") permit(principal in Role::"officer", action == Action::"manage-keys", resource);',
        "one person alone may manage-keys",
    ),
    (
        "exactly three",
        '@id("x") permit(principal in Role::"requester", action == Action::"sign", resource) when { context.approvals == 3 && resource.key == "k" };',
        "with more approvals less is allowed; say >= instead of == or <",
    ),
]


@pytest.mark.parametrize(("rule", "what"), [row[1:] for row in DANGERS], ids=[row[0] for row in DANGERS])
def test_check_finds_what_is_dangerous_and_names_the_rule(rule: str, what: str, run: Run, folder: Path) -> None:
    assert run("policy", "check", folder)[0] == 0
    new = changed(folder, "people.cedar", "", "\n" + rule + "\n")
    code, out, _ = run("policy", "check", new)
    assert code == 1
    assert f"DANGER  {what}\n        by x (people.cedar:" in out


def test_check_finds_a_production_key_outside_hardware(run: Run, folder: Path) -> None:
    new = changed(folder, "signing.cedar", 'resource.provenance != Provenance::"hardware-claimed"', "false")
    code, out, _ = run("policy", "check", new)
    assert (code, "with a key that is not known to be in hardware" in out) == (1, True)


def test_check_names_what_does_nothing(run: Run, folder: Path) -> None:
    new = changed(folder, "limits.cedar", 'Freeze::"year-end"', 'Freeze::"never"')
    freeze = "\n[freeze.never]\nfrom = 2020-01-01\nuntil = 2020-01-02\n"
    changed(folder, "settings.toml", "", freeze)
    code, out, _ = run("policy", "check", new)
    assert code == 0
    assert "no rule looks at Freeze year-end" in out
    assert "the freeze never is over" in out


def test_check_says_what_the_service_would_not_take(run: Run, folder: Path) -> None:
    assert "will not take" not in run("policy", "check", folder)[1]
    (folder / "people.cedar").chmod(0o666)
    assert (
        "the service will not take this folder: people.cedar: others may write it" in run("policy", "check", folder)[1]
    )


def test_check_of_a_wrong_file_names_it_and_the_line(run: Run, folder: Path) -> None:
    changed(folder, "signing.cedar", "context.approvals >= 2", "context.aprovals >= 2")
    code, out, err = run("policy", "check", folder.parent / "new")
    assert (code, out) == (1, "")
    assert "new/signing.cedar:10 (production-four-eyes)" in err
    assert "aprovals" in err
    code, out, _ = run("policy", "check", folder.parent / "new", "--json")
    assert json.loads(out)["error"]["code"] == "SW-POLICY-MALFORMED"


def test_explain_says_which_rule_decides_and_what_would_have_to_change(run: Run) -> None:
    code, out, _ = run("policy", "explain", COMPANY, *READY, "--approvals", "1")
    assert code == 1
    assert out.splitlines()[0] == "REFUSED: no rule allows it"
    assert "production-four-eyes (signing.cedar:10) would allow it, if what is marked held too:" in out
    assert "  ! approvals by others: at least 2" in out
    assert "    the environment is production" in out
    assert out.splitlines()[-1] == "With approvals by others: 2 it would be allowed."
    code, out, _ = run("policy", "explain", COMPANY, *READY, "--approvals", "2")
    assert (code, out.splitlines()[0]) == (0, "ALLOWED by production-four-eyes (signing.cedar:10)")


def test_explain_takes_a_rule_apart_that_forbids(run: Run) -> None:
    code, out, _ = run("policy", "explain", COMPANY, *READY[:-1], "2026-12-24T10:00", "--approvals", "2")
    assert code == 1
    assert "REFUSED: forbidden by nothing-while-frozen (limits.cedar:3)" in out
    assert "The rules say: It is a freeze; ask an officer whether this is an emergency." in out
    assert "    it is the freeze year-end" in out
    assert "    except where it is an emergency" in out
    assert "No number of approvals changes that." in out


def test_explain_says_what_an_emergency_owes(run: Run) -> None:
    code, out, _ = run("policy", "explain", COMPANY, *READY, "--approvals", "1", "--officers", "1", "--emergency")
    assert (code, "Owed: 2 officers look at it within 24 hours." in out) == (0, True)


def test_explain_as_json_has_every_condition(run: Run) -> None:
    code, out, _ = run("policy", "explain", COMPANY, *READY, "--json")
    said = json.loads(out)
    assert (code, said["allowed"], said["needed"]) == (1, False, {"approvals": 2, "officers": 0})
    (rule,) = (one for one in said["rules"] if one["id"] == "production-four-eyes")
    assert {"words": "who asks is requester", "holds": True, "except": False} in rule["conditions"]


def test_explain_of_a_machine(run: Run) -> None:
    words = ("--who", "ci", "--machine", "--person", "anna", "--roles", "requester", "--action", "sign")
    claims = ("--claims", "repository=acme/drive-firmware, ref=refs/heads/x", "--environment", "development")
    code, out, _ = run("policy", "explain", COMPANY, *words, *claims, "--provenance", "development")
    assert (code, "machine ci (requester)" in out) == (0, True)
    code, out, _ = run("policy", "explain", COMPANY, *words, *claims[2:], "--provenance", "development")
    assert (code, "! the token's repository is acme/drive-firmware" in out) == (1, True)


@pytest.mark.parametrize("words", [("--approvals", "many"), ("--at", "noon"), ("--roles", "king"), ("--claims", "x")])
def test_explain_of_what_is_no_question_is_a_usage_error(words: tuple[str, str], run: Run) -> None:
    code, out, err = run("policy", "explain", COMPANY, *ANNA, *words)
    assert (code, out) == (2, "")
    assert words[0].removeprefix("--") in err


def test_a_terminal_is_not_steered_by_what_is_asked(run: Run) -> None:
    code, out, _ = run(
        "policy", "explain", COMPANY, "--who", "a\x1b[2J", "--action", "sign", "--product", "\x1b]0;x\x07"
    )
    assert code == 1
    assert "\x1b" not in out


SAME = [
    ("comments", "people.cedar", "// Who may", "// Those who may"),
    ("other advice", "ci.cedar", "ask an operator", "ask the operator on duty"),
    ("another id", "signing.cedar", "production-four-eyes", "production-by-three"),
]
STRICTER = [
    ("more approvals", "signing.cedar", "context.approvals >= 2", "context.approvals >= 3"),
    (
        "one demand more",
        "signing.cedar",
        "resource.claims_signed\n",
        'resource.claims_signed && resource.product == "x"\n',
    ),
    (
        "a rule that forbids",
        "people.cedar",
        "",
        '\n@id("x") forbid(principal, action, resource) when { resource.count > 9 };\n',
    ),
    ("a longer freeze", "settings.toml", "2027-01-06", "2027-01-10"),
    ("a lower quota", "settings.toml", "at_most = 60", "at_most = 6"),
    (
        "a forbid with one demand less",
        "limits.cedar",
        '  resource.environment == Environment::"production" &&\n  context.freeze',
        "  context.freeze",
    ),
]
WEAKER = [
    ("fewer approvals", "signing.cedar", "context.approvals >= 2", "context.approvals >= 1"),
    ("one demand less", "signing.cedar", " &&\n  resource.claims_signed", ""),
    (
        "a rule that permits",
        "people.cedar",
        "",
        '\n@id("x") permit(principal in Role::"auditor", action == Action::"operate", resource);\n',
    ),
    ("everything", "people.cedar", "", '\n@id("x") permit(principal, action, resource);\n'),
    (
        "a forbid with one demand more",
        "signing.cedar",
        '"hardware-claimed"\n',
        '"hardware-claimed" && resource.key != "old"\n',
    ),
    ("another repository", "ci.cedar", "acme/drive-firmware", "acme/drive-firmware-evil"),
    ("one emergency more", "limits.cedar", "context.officers >= 1", "context.officers >= 0"),
    ("a later follow-up", "limits.cedar", '@followup("24h")', '@followup("48h")'),
    ("a shorter freeze", "settings.toml", "2027-01-06", "2027-01-02"),
    ("other hours", "settings.toml", '"18:00"', '"22:00"'),
    ("another zone", "settings.toml", "Europe/Berlin", "Asia/Tokyo"),
    ("a higher quota", "settings.toml", "at_most = 60", "at_most = 61"),
    ("a quota of something else", "settings.toml", '"principal"', '"product"'),
]


@pytest.mark.parametrize("change", SAME + STRICTER, ids=lambda change: change[0])
def test_a_set_that_is_not_weaker_is_proved_to_be_none(
    change: tuple[str, str, str, str], run: Run, folder: Path
) -> None:
    code, out, _ = run("policy", "diff", folder, changed(folder, *change[1:]))
    assert code == 0, out
    assert out.startswith("NOT WEAKER")


@pytest.mark.parametrize("change", WEAKER, ids=lambda change: change[0])
def test_a_weaker_set_is_found_with_an_example(change: tuple[str, str, str, str], run: Run, folder: Path) -> None:
    new = changed(folder, *change[1:])
    code, out, _ = run("policy", "diff", folder, new)
    assert code == 1, out
    assert out.startswith("WEAKER")
    code, out, _ = run("policy", "diff", folder, new, "--json")
    said = json.loads(out)
    assert (code, said["direction"]) == (1, "weaker")
    assert said["weaker"] or said["settings"]


@pytest.mark.parametrize("change", WEAKER[:8], ids=lambda change: change[0])
def test_the_way_back_is_never_weaker(change: tuple[str, str, str, str], run: Run, folder: Path) -> None:
    code, out, _ = run("policy", "diff", changed(folder, *change[1:]), folder)
    assert (
        (code == 0 and out.startswith("NOT WEAKER"))
        or (code == 3 and out.startswith("NOT DECIDED"))
        or change[0] == "another repository"
    )


def test_a_file_that_is_gone_shows_what_it_forbade(run: Run, folder: Path) -> None:
    """A132: somebody takes the file with the limits away."""
    new = changed(folder, "people.cedar", "", "\n")
    (new / "limits.cedar").unlink()
    code, out, _ = run("policy", "diff", folder, new)
    assert code == 1
    assert "before: forbidden by production-in-office-hours" in out
    assert f"only in {folder}: nothing-while-frozen (limits.cedar:3)" in out


def test_what_is_neither_proved_nor_found_is_not_decided(run: Run, folder: Path) -> None:
    new = changed(folder, "signing.cedar", "resource.claims_signed\n", "resource.claims_signed == true\n")
    code, out, _ = run("policy", "diff", folder, new)
    assert (code, out.startswith("NOT DECIDED: of ")) == (3, True)
    assert "read the rules that differ" in out


def test_a_permit_whose_evaluation_can_fail_is_not_taken_away_unseen(run: Run, folder: Path) -> None:
    """It refused when it failed: without it more may be allowed."""
    failing = '\n@id("x") permit(principal, action == Action::"operate", resource) when { resource.count + 9223372036854775806 > 0 && principal.tenant == "nobody" };\n'
    assert run("policy", "diff", changed(folder, "people.cedar", "", failing), folder)[0] != 0


def test_the_options_are_the_words_of_the_rules() -> None:
    assert set(policy._ACTIONS) == set(Action)
    assert set(policy._ENVIRONMENTS) == set(Environment)
    assert set(policy._PROVENANCES) == set(Provenance)
    options = {*policy._FLAGS, *policy._OPTIONS, "who", "action", "environment", "provenance"}
    assert {name.replace("-", "_") for name in options} == set(FIELDS)


def test_without_cedar_it_is_said_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run("policy", "check", COMPANY)
    assert (code, "pip install 'sealwright[service]'" in err) == (2, True)


def test_every_attribute_has_its_words() -> None:
    from sealwright.signing.policyschema import _CONTEXT, _RESOURCE
    from sealwright.texts.policy import ATTRIBUTES, FLAGS

    names = {f"resource.{name}" for name in _RESOURCE} | {f"context.{name}" for name in _CONTEXT}
    assert names <= {*ATTRIBUTES, *FLAGS}
    assert {name for name, kind in {**_RESOURCE, **_CONTEXT}.items() if kind == "Bool"} == {
        name.partition(".")[2] for name in FLAGS
    }
    assert words.WORDS["policy.why-nothing"]
