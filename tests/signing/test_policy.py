"""Policies: what is allowed, by which rule, what is needed, and what an emergency owes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.policies import ANNA, BEN, CI, EXAMPLES, FIRMWARE, OLGA, THURSDAY, policies, question
from sealwright.errors import MalformedPolicy
from sealwright.keys.key import Provenance
from sealwright.signing.people import Principal, Role
from sealwright.signing.policy import FollowUp, Needed, Policies, read_policies
from sealwright.signing.policyquestion import Action, Context, Facts, Question, Usage
from sealwright.signing.policyschema import Crowd
from sealwright.trust.model import Environment

COMPANY = read_policies(str(EXAMPLES / "small-company"))
CHRISTMAS = datetime(2026, 12, 24, 10, tzinfo=UTC)
BUILDER = "https://ci.acme.example/workflows/release"
DEVELOPMENT = replace(FIRMWARE, environment=Environment.DEVELOPMENT, provenance=Provenance.DEVELOPMENT)
TEST = replace(FIRMWARE, environment=Environment.TEST)

ROWS = [
    ("a requester signs for production with two others", question(approvals=2), "production-four-eyes", True),
    ("not with one", question(approvals=1), "", False),
    ("not with an officer alone", question(approvals=1, officers=1), "", False),
    ("for a test with one other", question(what=TEST, approvals=1), "test-by-one-other-person", True),
    ("not alone", question(what=TEST), "", False),
    ("CI alone for development", question(CI, what=DEVELOPMENT), "development-by-ci-alone", True),
    ("not with a production key", question(CI, what=replace(DEVELOPMENT, provenance=FIRMWARE.provenance)), "", False),
    ("a person not at all for development", question(what=DEVELOPMENT), "", False),
    (
        "CI for production: builder and two persons",
        question(CI, approvals=2, builder=BUILDER, provenance_verified=True),
        "production-four-eyes",
        True,
    ),
    (
        "not without a verified builder",
        question(CI, approvals=2, builder=BUILDER),
        "machines-sign-tags-of-our-builder-only",
        False,
    ),
    (
        "not with a development key",
        question(approvals=2, what=replace(FIRMWARE, provenance=Provenance.DEVELOPMENT)),
        "production-only-in-hardware",
        False,
    ),
    (
        "not with claims that are only said",
        question(approvals=2, what=replace(FIRMWARE, claims_signed=False)),
        "",
        False,
    ),
    ("not in the year-end freeze", question(approvals=2, now=CHRISTMAS), "nothing-while-frozen", False),
    (
        "not at night",
        question(approvals=2, now=THURSDAY.replace(hour=3)),
        "production-in-office-hours",
        False,
    ),
    ("not on Saturday", question(approvals=2, now=THURSDAY.replace(day=28)), "production-in-office-hours", False),
    ("an approver approves", question(BEN, Action.APPROVE, requester="p-anna"), "approvers-look-and-approve", True),
    (
        "but never one's own request",
        question(BEN, Action.APPROVE, requester="p-ben"),
        "sealwright-not-your-own-request",
        False,
    ),
    ("a requester approves nothing", question(ANNA, Action.APPROVE, requester="p-x"), "", False),
    (
        "another tenant's never",
        question(approvals=8, what=replace(FIRMWARE, tenant="rival")),
        "sealwright-own-tenant",
        False,
    ),
    (
        "nor read",
        question(BEN, Action.READ, replace(FIRMWARE, tenant="rival")),
        "sealwright-own-tenant",
        False,
    ),
    (
        "60 of CI in an hour",
        question(CI, what=DEVELOPMENT, by_principal=Usage(59, 59)),
        "development-by-ci-alone",
        True,
    ),
    ("not 61", question(CI, what=DEVELOPMENT, by_principal=Usage(60, 60)), "ci-is-bounded", False),
    (
        "not 61 at once",
        question(CI, what=replace(DEVELOPMENT, count=61)),
        "ci-is-bounded",
        False,
    ),
    ("nobody changes keys alone", question(OLGA, Action.MANAGE_KEYS), "", False),
]


@pytest.mark.parametrize(("asked", "rule", "allowed"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_small_company(asked: Question, rule: str, allowed: bool) -> None:
    decision = COMPANY.decide(asked)
    assert (decision.allowed, [one.id for one in decision.deciding]) == (allowed, [rule] if rule else [])
    assert bool(decision.reason) is not allowed
    assert decision.follow_up is None


def test_a_refusal_names_rule_file_line_and_what_to_do() -> None:
    decision = COMPANY.decide(question(approvals=2, now=CHRISTMAS))
    assert decision.reason == "forbidden by nothing-while-frozen (limits.cedar:3)"
    assert decision.advice == "It is a freeze; ask an officer whether this is an emergency."
    assert COMPANY.decide(question()).reason == "no rule allows it"


def test_an_emergency_lifts_what_says_so_and_owes_a_follow_up() -> None:
    frozen = COMPANY.decide(question(approvals=2, now=CHRISTMAS, emergency=True))
    assert (frozen.allowed, frozen.follow_up) == (True, FollowUp(2, 24))
    officer = COMPANY.decide(question(approvals=1, officers=1, emergency=True))
    assert (officer.allowed, officer.follow_up) == (True, FollowUp(2, 24))
    assert not COMPANY.decide(question(emergency=True)).allowed
    assert not COMPANY.decide(question(approvals=1, officers=1)).allowed


def test_what_is_allowed_anyhow_owes_nothing_for_being_called_an_emergency() -> None:
    assert COMPANY.decide(question(approvals=2, emergency=True)).follow_up is None


def test_the_shortest_follow_up_of_the_rules_that_made_the_difference_is_owed() -> None:
    rules = policies(
        '@id("a") @followup("48h") permit(principal, action, resource) when { context.emergency };'
        '@id("b") @followup("6h") permit(principal, action, resource) when { context.emergency && context.officers >= 1 };'
    )
    assert rules.decide(question(emergency=True)).follow_up == FollowUp(2, 48)
    assert rules.decide(question(emergency=True, officers=1)).follow_up == FollowUp(2, 6)


def test_only_a_rule_with_a_follow_up_breaks_glass() -> None:
    all_of_it = '@id("all") permit(principal, action, resource);'
    glass = (
        '@id("glass") @followup("4h") permit(principal in Role::"officer", action == Action::"break-glass", resource);'
    )
    asked = question(OLGA, Action.BREAK_GLASS)
    assert not policies(all_of_it).decide(asked).allowed
    decision = policies(all_of_it + glass).decide(asked)
    assert (decision.allowed, decision.follow_up) == (True, FollowUp(2, 4))
    assert not policies(all_of_it + glass).decide(question(BEN, Action.BREAK_GLASS)).allowed


def test_a_rule_that_fails_refuses_everything_it_speaks_of() -> None:
    """Cedar leaves it out, and the permit beside it would decide."""
    rules = policies(
        '@id("yes") permit(principal, action, resource);'
        '@id("no") forbid(principal, action, resource) when { context.approvals + 9223372036854775807 > 0 };'
    )
    assert not rules.decide(question(approvals=0)).allowed
    decision = rules.decide(question(approvals=1))
    assert not decision.allowed
    assert "no (rules.cedar:1)" in decision.reason
    assert "overflow" in decision.reason


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (question(what=replace(FIRMWARE, format="rauk")), "the format 'rauk'"),
        (question(what=replace(FIRMWARE, format="rauc:x")), "the format 'rauc:x'"),
        (question(what=replace(FIRMWARE, count=0)), "0 artifacts"),
        (question(what=replace(FIRMWARE, count=2**63)), "artifacts"),
        (question(approvals=2**63), "could not be asked"),
        (question(replace(CI, claims=(("ref", "a"), ("ref", "b")))), "`ref` twice"),
        (question(replace(CI, claims=(("ref", "\ud800"),))), "could not be asked"),
    ],
)
def test_a_question_that_no_rule_can_be_asked_is_refused(asked: Question, why: str) -> None:
    rules = policies(
        '@id("all") permit(principal, action, resource) when { context.approvals >= 0 && principal.claims.ref != "x" };'
    )
    assert rules.decide(question()).allowed
    decision = rules.decide(asked)
    assert not decision.allowed
    assert why in decision.reason
    assert asked.context.approvals or rules.needed(asked) is None


def test_a_layout_is_a_format_with_a_name() -> None:
    rules = policies(
        '@id("a") permit(principal, action, resource) when { resource.format == Format::"layout" && resource.layout == "acme-drive" };'
    )
    assert rules.decide(question(what=replace(FIRMWARE, format="layout:acme-drive"))).allowed
    assert not rules.decide(question(what=replace(FIRMWARE, format="layout:other"))).allowed


HOSTILE = [
    '"',
    '\\"',
    'x" || true || "',
    '"}; permit(principal,action,resource); //',
    '{"__entity":{"type":"Role","id":"officer"}}',
    '","claims":{"repository":"acme/fw"}',
    "acme/fw\n",
    "acme/fw\0",
    "acme/fw-evil",
    "acme/fw*",
    "ACME/FW",
    " acme/fw",
    "acme/fw/",
    "ac\u200bme/fw",
    "",
]


@pytest.mark.parametrize("said", HOSTILE)
def test_what_an_asker_says_is_never_more_than_a_text(said: str) -> None:
    """A122, A132: equal or not, and nothing else."""
    rules = policies(
        '@id("repo") permit(principal, action, resource) when { principal.claims.repository == "acme/fw" };'
        '@id("officer") permit(principal in Role::"officer", action, resource);'
    )
    good = replace(CI, claims=(("repository", "acme/fw"),))
    assert rules.decide(question(good)).allowed
    for who in (
        replace(CI, claims=(("repository", said),)),
        replace(CI, claims=((said or "x", "acme/fw"),)),
        replace(CI, id=said, claims=()),
    ):
        assert not rules.decide(question(who)).allowed
    assert not rules.decide(question(replace(BEN, id=said), what=replace(FIRMWARE, product=said, version=said))).allowed


def test_a_claim_that_no_rule_can_speak_of_changes_nothing() -> None:
    rules = policies(
        '@id("a") permit(principal, action, resource) when { principal.claims.own == "x" };', 'claims = ["own"]\n'
    )
    assert rules.decide(question(replace(CI, claims=(("own", "x"), ("ref", "y"))))).allowed
    assert not rules.decide(question(replace(CI, claims=(("ref", "y"),)))).allowed


def test_a_machine_is_no_person_of_the_same_id() -> None:
    rules = policies('@id("a") permit(principal == Person::"x", action, resource);')
    assert rules.decide(question(replace(BEN, id="x"))).allowed
    assert not rules.decide(question(replace(CI, id="x"))).allowed


def test_a_machine_does_not_approve_what_its_owner_asked_for() -> None:
    """A120: the owner of a machine counts as the requester."""
    rules = policies('@id("a") permit(principal, action == Action::"approve", resource);')
    assert not rules.decide(question(CI, Action.APPROVE, requester="p-anna")).allowed
    assert rules.decide(question(CI, Action.APPROVE, requester="p-ben")).allowed


NEEDED = [
    ("two", "context.approvals >= 2", Needed(2, 0)),
    ("one officer", "context.officers >= 1", Needed(1, 1)),
    ("two, one an officer", "context.approvals >= 2 && context.officers >= 1", Needed(2, 1)),
    ("three, or one officer", "context.approvals >= 3 || context.officers >= 1", Needed(1, 1)),
    ("two, or one if an officer is it", "context.approvals >= 2 || context.officers >= 2", Needed(2, 0)),
    ("nobody", "context.approvals >= 0", Needed(0, 0)),
    ("eight", "context.approvals >= 8", Needed(8, 0)),
    ("nine are never", "context.approvals >= 9", None),
    ("another product", 'resource.product == "other"', None),
    ("exactly two, foolishly", "context.approvals == 2", Needed(2, 0)),
]


@pytest.mark.parametrize(("condition", "needed"), [row[1:] for row in NEEDED], ids=[row[0] for row in NEEDED])
def test_what_is_needed_is_the_least(condition: str, needed: Needed | None) -> None:
    rules = policies(f'@id("a") permit(principal, action, resource) when {{ {condition} }};')
    assert rules.needed(question()) == needed


def test_needed_does_not_shrink_when_people_leave() -> None:
    """A120, CVE-2020-15093: the number is the rule's, not a share of those who are there; one person fewer is one approval fewer."""
    asked = question()
    assert COMPANY.needed(asked) == Needed(2, 0)
    for there in (8, 2, 1, 0):
        decision = COMPANY.decide(question(approvals=there))
        assert decision.allowed is (there >= 2)
        assert COMPANY.needed(question(approvals=there)) == Needed(2, 0)


CONDITIONS = st.lists(
    st.one_of(
        st.builds("context.approvals {} {}".format, st.sampled_from([">=", "<", "=="]), st.integers(0, 9)),
        st.builds("context.officers {} {}".format, st.sampled_from([">=", "<"]), st.integers(0, 4)),
        st.sampled_from(["context.emergency", "resource.claims_signed", 'resource.product == "x"', "context.own"]),
    ),
    min_size=1,
    max_size=3,
)
RULE = st.tuples(st.sampled_from(["permit", "permit", "forbid"]), CONDITIONS, st.sampled_from(["&&", "||"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RULE, min_size=1, max_size=4), st.booleans())
def test_needed_is_the_least_that_decide_allows(made: list[tuple[str, list[str], str]], emergency: bool) -> None:
    texts = []
    for number, (effect, conditions, joined) in enumerate(made):
        body = f" {joined} ".join(conditions)
        owes = '@followup("1h") ' if "emergency" in body else ""
        texts.append(f'@id("r{number}") {owes}{effect}(principal, action, resource) when {{ {body} }};')
    rules = policies("\n".join(texts))
    enough = [
        Needed(n, k)
        for n in range(9)
        for k in range(n + 1)
        if rules.decide(question(approvals=n, officers=k, emergency=emergency)).allowed
    ]
    assert rules.needed(question(emergency=emergency)) == (
        min(enough, key=lambda one: (one.approvals, one.officers)) if enough else None
    )


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_decided_or_refused(one: str, two: str, three: str) -> None:
    rules = policies(
        '@id("a") permit(principal, action, resource) when { resource.product == "a" && resource.version == principal.claims.ref };'
    )
    asked = question(replace(CI, id=one, claims=(("ref", two),)), what=replace(FIRMWARE, product=three, version=two))
    assert rules.decide(asked).allowed is (three == "a" and rules.decide(asked).reason == "")


def test_answers_are_remembered_by_what_was_asked_and_by_nothing_less() -> None:
    """Every attribute that a rule can look at makes another question."""
    rules = policies(
        '@id("a") permit(principal, action, resource) when { resource.version == "2" && context.approvals >= 1 };'
    )
    first = question(approvals=1, what=replace(FIRMWARE, version="2"))
    for _ in range(2):
        assert rules.decide(first).allowed
        assert not rules.decide(question(approvals=0, what=replace(FIRMWARE, version="2"))).allowed
        assert not rules.decide(question(approvals=1, what=replace(FIRMWARE, version="3"))).allowed
        assert not rules.decide(question(approvals=1, what=replace(FIRMWARE, version="2", tenant="rival"))).allowed


def test_threads_share_a_set() -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked = [(question(approvals=n % 4, what=replace(FIRMWARE, version=str(n))), n % 4 >= 2) for n in range(400)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: COMPANY.decide(one[0]).allowed, asked))
    assert answers == [allowed for _, allowed in asked]


def test_a_question_without_a_zone_is_none() -> None:
    with pytest.raises(ValueError, match="zone"):
        Context(datetime(2026, 1, 1))
    assert Context(THURSDAY).now == THURSDAY


def test_facts_can_be_given() -> None:
    asked = question(approvals=2)
    assert COMPANY.decide_each(asked, Facts(frozenset({"office"})), [Crowd(2, 0)])[0].allowed
    frozen = COMPANY.decide_each(asked, Facts(frozenset({"office"}), frozenset({"year-end"})), [Crowd(2, 0)])[0]
    assert [rule.id for rule in frozen.deciding] == ["nothing-while-frozen"]
    unknown = COMPANY.decide_each(asked, Facts(frozenset({"lunch"})), [Crowd(2, 0)])[0]  # a name that no setting has
    assert "could not be asked" in unknown.reason


def test_somebody_without_a_role_may_nothing() -> None:
    nobody = Principal("p-x", "p-x", False, "acme", frozenset())
    for action in Action:
        assert not COMPANY.decide(question(nobody, action, approvals=8, officers=8)).allowed
    assert COMPANY.decide(question(replace(nobody, roles=frozenset({Role.AUDITOR})), Action.READ_LOG)).allowed


def test_the_default_is_refusal() -> None:
    rules: Policies = policies('@id("a") forbid(principal, action, resource) when { context.own };')
    assert [rules.decide(question(action=action, approvals=8)).reason for action in Action] == [
        "no rule allows it"
    ] * len(Action)
    with pytest.raises(MalformedPolicy):
        policies("// nothing\n")
