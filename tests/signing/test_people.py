"""The register of who speaks to the service: what it takes, whose a certificate, token or key is, and when."""

from __future__ import annotations

import random
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kit.mutate import changed
from kit.people import AUDIENCE, CREDENTIAL, GITHUB, PEOPLE, SAID, SUBJECT, digest, people, people_text, token
from kit.pki import NOW, Pki
from sealwright.artifact.digest import Digest
from sealwright.errors import IdentityRefused, LimitExceeded, MalformedPeople, SealwrightError
from sealwright.pki.profiles import TLS_CLIENT
from sealwright.signing.people import CmsKey, Principal, Role, WebauthnKey, parse_people
from sealwright.trust.certificate import tbs_digest

OWN = Digest.of(b"p7 key")
BOTH = frozenset((Role.REQUESTER, Role.APPROVER))


def test_a_register_says_who_is_there() -> None:
    found = people()
    assert found.tenants == ("acme", "plant")
    assert set(found.persons) == {"p7", "p8"}
    assert set(found.machines) == {"m3", "m4"}
    assert found.digest == Digest.of(PEOPLE.encode())
    assert found.issuers() == {GITHUB}
    assert [one.id for one in found.machines_of("p7")] == ["m3", "m4"]


def test_two_certificates_of_one_id_are_one_principal() -> None:
    pki = Pki.make()
    laptop, card, strange = (pki.leaf(name, profile=TLS_CLIENT) for name in ("laptop", "card", "strange"))
    found = people((digest("p7 laptop"), str(tbs_digest(laptop.x509))), (digest("p7 card"), str(tbs_digest(card.x509))))
    first, second = (found.by_certificate(one.certificate, NOW) for one in (laptop, card))
    assert first == second == Principal("p7", "p7", False, "acme", BOTH)
    with pytest.raises(IdentityRefused, match="the register does not have it"):
        found.by_certificate(strange.certificate, NOW)


def test_a_renewed_certificate_of_the_same_key_is_entered_before_it_counts() -> None:
    pki = Pki.make()
    old = pki.leaf("laptop", profile=TLS_CLIENT)
    new = pki.leaf("laptop", profile=TLS_CLIENT, key=old.key)
    found = people((digest("p7 laptop"), str(tbs_digest(old.x509))))
    assert found.by_certificate(old.certificate, NOW).id == "p7"
    with pytest.raises(IdentityRefused):
        found.by_certificate(new.certificate, NOW)


def test_a_machine_asks_as_the_person_who_answers_for_it() -> None:
    found = people().by_token(token(), NOW)
    assert (found.id, found.person, found.machine, found.roles) == ("m3", "p7", True, frozenset({Role.REQUESTER}))
    assert dict(found.claims) == {
        "environment": "release",
        "event_name": "push",
        "ref": "refs/tags/v1.2",
        "ref_type": "tag",
        "repository_id": "1001",
        "sha": "5eed",
    }, "only what is listed: who pushed is nobody's business here"


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        (datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2026, 1, 1, tzinfo=UTC), True),
        (datetime(2027, 12, 31, tzinfo=UTC), True),
        (datetime(2027, 12, 31, 0, 0, 1, tzinfo=UTC), False),
    ],
)
def test_an_id_counts_from_its_beginning_to_its_end(when: datetime, counts: bool) -> None:
    found = people()
    assert (found.cms_approver(OWN, "acme", when) == "p7") is counts
    assert (found.webauthn_key(CREDENTIAL, "acme", when) is not None) is counts
    if counts:
        assert found.by_token(token(), when).person == "p7"
        assert found.approver_key("p7", OWN, when) == CmsKey("p7", OWN)
    else:
        for ask in (lambda: found.by_token(token(), when), lambda: found.approver_key("p7", OWN, when)):
            with pytest.raises(IdentityRefused, match=r"p7: it (ended|begins) on 202"):
                ask()


def test_a_machine_stops_when_nobody_answers_for_it_any_more() -> None:
    left = people(("until = 2027-12-31T00:00:00Z", "until = 2026-10-31T00:00:00Z"))
    assert left.by_token(token(), NOW - timedelta(days=5)).id == "m3"
    with pytest.raises(IdentityRefused, match="p7: it ended on 2026-10-31"):
        left.by_token(token(), NOW)


def test_a_machine_can_end_before_its_owner() -> None:
    ended = people(('id = "m3"\n', 'id = "m3"\nuntil = 2026-10-31T00:00:00Z\n'))
    with pytest.raises(IdentityRefused, match="m3: it ended"):
        ended.by_token(token(), NOW)


def test_an_approval_key_is_good_for_its_person_tenant_role_and_scheme() -> None:
    found = people()
    own = found.webauthn_key(CREDENTIAL, "acme", NOW)
    assert isinstance(own, WebauthnKey)
    assert (own.person, own.rp) == ("p7", "sign.acme.example")
    assert found.approver_key("p7", own.key, NOW) is own
    assert found.cms_approver(OWN, "acme", NOW) == "p7"
    assert found.cms_approver(OWN, "plant", NOW) is None, "another tenant"
    assert found.cms_approver(own.key, "acme", NOW) is None, "an authenticator's key signs no CMS"
    assert found.webauthn_key(CREDENTIAL[::-1], "acme", NOW) is None
    assert found.cms_approver(Digest.of(b"p8 key"), "plant", NOW) is None, "an auditor approves nothing"
    with pytest.raises(IdentityRefused, match="neither `approver` nor `officer`"):
        found.approver_key("p8", Digest.of(b"p8 key"), NOW)
    with pytest.raises(IdentityRefused, match="no approval key of p8"):
        found.approver_key("p8", OWN, NOW)


ROWS = {
    "another audience": token(audience="https://sign.other.example"),
    "the audience in capitals": token(audience=AUDIENCE.upper()),
    "the audience with a slash behind": token(audience=AUDIENCE + "/"),
    "a repository whose name begins alike": token(subject="repo:acme/fw-evil:environment:release"),
    "a subject that goes on": token(subject=SUBJECT + "-2"),
    "the beginning of the subject": token(subject="repo:acme/fw"),
    "the subject in capitals": token(subject="repo:ACME/fw:environment:release"),
    "a pull request": token(subject="repo:acme/fw:pull_request", claims={**SAID, "event_name": "pull_request"}),
    "a pull request that runs in the environment": token(claims={**SAID, "event_name": "pull_request_target"}),
    "a fork of the same name": token(claims={**SAID, "repository_id": "2002"}),
    "a branch": token(claims={**SAID, "ref_type": "branch", "ref": "refs/heads/main"}),
    "another environment": token(claims={**SAID, "environment": "release2"}),
    "no environment": token(claims={name: text for name, text in SAID.items() if name != "environment"}),
    "a space behind a claim": token(claims={**SAID, "ref_type": "tag "}),
    "a claim that looks alike": token(claims={**SAID, "event_name": "рush"}),
    "nothing to hand on": token(claims={name: text for name, text in SAID.items() if name != "sha"}),
    "another issuer": token(issuer="https://token.actions.githubusercontent.com.evil.example"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_token_that_is_not_exactly_as_listed_is_nobodys(row: str) -> None:
    found = people()
    assert found.by_token(token(), NOW).id == "m3"
    with pytest.raises(IdentityRefused):
        found.by_token(ROWS[row], NOW)


def test_the_refusal_of_a_token_lists_every_claim_that_differs() -> None:
    wrong = token(subject="repo:acme/fw-evil:pull_request", claims={"ref_type": "branch", "repository_id": "1001"})
    with pytest.raises(IdentityRefused) as refused:
        people().by_token(wrong, NOW)
    assert refused.value.what == (
        'not that of m3: sub must be "repo:acme/fw:environment:release", found "repo:acme/fw-evil:pull_request", '
        'ref_type must be "tag", found "branch", event_name must be "push", found nothing, '
        'environment must be "release", found nothing, ref is missing, sha is missing'
    )


def test_a_reusable_workflow_is_told_from_another_where_its_claim_is_listed() -> None:
    ours = "acme/build/.github/workflows/release.yml@refs/heads/main"
    found = people(('ref_type = "tag"', f'ref_type = "tag"\njob_workflow_ref = "{ours}"'))
    assert found.by_token(token(claims={**SAID, "job_workflow_ref": ours}), NOW).id == "m3"
    for other in (ours.replace("main", "main2"), ours.replace("acme/build", "evil/build"), ""):
        with pytest.raises(IdentityRefused, match="job_workflow_ref must be"):
            found.by_token(token(claims={**SAID, "job_workflow_ref": other}), NOW)


SECOND = f"""
[[machine]]
id = "m5"
tenant = "acme"
roles = ["requester"]
owner = "p7"

[machine.oidc]
issuer = "{GITHUB}"
audience = "{AUDIENCE}"
subject = "{SUBJECT}"
"""


@pytest.mark.parametrize(
    ("claims", "fine"),
    [
        ('[machine.oidc.claims]\nref_type = "branch"\n', True),
        ('[machine.oidc.claims]\nref_type = "tag"\nevent_name = "workflow_dispatch"\n', True),
        ('[machine.oidc.claims]\nref_type = "tag"\n', False),
        ('[machine.oidc.claims]\nactor_id = "7"\n', False),
        ("", False),
    ],
)
def test_a_token_that_could_be_two_machines_is_refused_when_the_register_is_read(claims: str, fine: bool) -> None:
    data = (PEOPLE + SECOND + claims).encode()
    if fine:
        assert "m5" in parse_people(data, "people.toml").machines
    else:
        with pytest.raises(MalformedPeople, match="one token could be that of m3 and of m5"):
            parse_people(data, "people.toml")


def test_no_token_fits_two_rules_that_were_taken_together() -> None:
    dice = random.Random(122)
    names, values = ("ref_type", "event_name", "environment"), ("a", "b")
    taken = 0
    for _ in range(300):
        chosen = [
            {name: dice.choice(values) for name in names if dice.random() < 0.7} for _ in range(dice.randint(2, 3))
        ]
        text = people_text(*((f'{name} = "{SAID[name]}"', "") for name in names))
        text += "".join(
            SECOND.replace("m5", f"n{at}")
            + '[machine.oidc.claims]\nother = "y"\n'
            + "".join(f'{k} = "{v}"\n' for k, v in one.items())
            for at, one in enumerate(chosen)
        )
        text = text.replace('[machine.oidc.claims]\nrepository_id = "1001"', '[machine.oidc.claims]\nother = "x"')
        try:
            found = parse_people(text.encode(), "people.toml")
        except MalformedPeople:
            continue
        taken += 1
        for claims in [{"other": "y"} | {name: dice.choice(values) for name in names} for _ in range(20)]:
            fitting = [
                one.id
                for one in found.machines.values()
                if one.token and not one.token.differences(token(claims=claims))
            ]
            assert len(fitting) <= 1
    assert taken > 10


WRONG = {
    "an unknown key": (('id = "p7"', 'id = "p7"\nadmin = true'), "unknown key `admin`"),
    "an unknown section": (('[[machine]]\nid = "m4"', '[[machina]]\nid = "m4"'), "unknown key `machina`; did you mean `machine`"),
    "a name as an id": (('id = "p7"', 'id = "Eva Muster"'), "no name, no address"),
    "a mail address as an id": (('id = "p7"', 'id = "eva@acme.example"'), "no name, no address"),
    "an id twice": (('id = "p8"', 'id = "P7"'), "the id p7 is there twice"),
    "a machine with a person's id": (('id = "m4"', 'id = "p8"'), "the id p8 is there twice"),
    "a certificate of two": ((digest("m4"), digest("p8 card")), "the certificate .* is there twice"),
    "a certificate twice": ((digest("p7 card"), digest("p7 laptop")), "different"),
    "a key of two": ((digest("p8 key"), digest("p7 key")), "the approval key .* is there twice"),
    "no role": (('roles = ["auditor"]', "roles = []"), "`roles` must be"),
    "a role that is none": (('roles = ["auditor"]', 'roles = ["root"]'), "some of requester, approver, officer"),
    "a role in capitals": (('roles = ["auditor"]', 'roles = ["Auditor"]'), "`roles` must be some of"),
    "a machine that approves": (('roles = ["operator"]', 'roles = ["approver"]'), "some of requester, operator, auditor"),
    "a machine as officer": (('roles = ["operator"]', 'roles = ["officer"]'), "some of requester, operator, auditor"),
    "a strange tenant": (('tenant = "plant"', 'tenant = "plant2"'), "there is no tenant plant2"),
    "no tenants": (('tenants = ["acme", "plant"]', ""), "at least one tenant"),
    "an owner of another tenant": (('owner = "p7"', 'owner = "p8"'), "its owner p8 is no person of acme"),
    "a machine that owns itself": (('owner = "p7"', 'owner = "m3"'), "its owner m3 is no person"),
    "no owner": (('owner = "p7"\n', ""), "`owner` must be"),
    "an end before the beginning": (("from = 2026", "from = 2028"), "`until` is before `from`"),
    "a local time": (("from = 2026-01-01T00:00:00Z", "from = 2026-01-01T00:00:00"), "`from` must be"),
    "a machine known in two ways": (('owner = "p7"', f'owner = "p7"\ncertificates = ["{digest("x")}"]'), "not both"),
    "a machine known in no way": ((f'certificates = ["{digest("m4")}"]', ""), "not both"),
    "an issuer without TLS": (("https://token.actions", "http://token.actions"), "an https address"),
    "an issuer with a query": ((GITHUB, GITHUB + "?a=b"), "an https address"),
    "a subject as a pattern": ((SUBJECT, "repo:acme/*"), "nothing here is a pattern"),
    "a claim as a pattern": (('ref_type = "tag"', 'ref_type = "*"'), "nothing here is a pattern"),
    "a claim that is a number": (('repository_id = "1001"', "repository_id = 1001"), "`repository_id` must be"),
    "a claim that is judged anyway": (('ref_type = "tag"', 'exp = "1"'), "that is not judged anyway"),
    "a claim listed and handed on": (('hand_on = ["ref", "sha"]', 'hand_on = ["ref_type"]'), "other claims than"),
    "an unknown scheme": (('scheme = "cms"', 'scheme = "password"'), '"cms", "webauthn"'),
    "a relying party with a scheme": (('rp = "sign', 'rp = "https://sign'), "a host name"),
    "a short credential": (("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "AAEC"), "`credential` must be"),
    "a padded credential": (("GBkaGxwdHh8", "GBkaGxwdHh8="), "`credential` must be"),
    "another first line": (("# sealwright people 1", "# sealwright people 2"), "the first line is not"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_register_with_a_mistake_is_refused_whole(what: str) -> None:
    change, said = WRONG[what]
    people()
    with pytest.raises(MalformedPeople, match=said):
        people(change)


def test_a_register_beyond_its_limit_is_not_read() -> None:
    with pytest.raises(LimitExceeded):
        parse_people(PEOPLE.encode() + b"#" * (1 << 20), "people.toml")


def test_a_changed_register_is_refused_or_says_something_else() -> None:
    """No octet is ignored but in comments, spaces and spellings that TOML takes for the same."""
    dice, good = random.Random(7), people()
    for data in list(changed(PEOPLE.encode(), dice)) + [
        bytes(mutated) for _ in range(400) for mutated in [_flipped(PEOPLE.encode(), dice)]
    ]:
        try:
            found = parse_people(data, "people.toml")
        except SealwrightError:
            continue
        same = tomllib.loads(data.decode()) == tomllib.loads(PEOPLE)
        assert (replace(found, digest=good.digest) == good) is same, data


def _flipped(data: bytes, dice: random.Random) -> bytearray:
    flipped = bytearray(data)
    flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return flipped
