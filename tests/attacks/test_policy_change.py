"""Four eyes that somebody would like to switch off: other policies than those that count, and what does not let them in (A132, A130)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from kit.policychanges import (
    ASKING,
    SIGNING,
    STRICT,
    STRICTER,
    WEAK,
    Cast,
    PolicyHouse,
    digest_of_rules,
    started,
)
from sealwright.errors import LogRefused, MalformedPolicy, PolicyChangeRefused, SealwrightError, StoreConflict
from sealwright.log.entries import Start, read_any
from sealwright.log.tables import ENTRIES
from sealwright.log.writer import LogWriter
from sealwright.signing.policyrecord import How
from sealwright.signing.tables import POLICIES
from sealwright.store.engine import Store

BY_THREE = '@id("change") permit (principal in Role::"administrator", action == Action::"change-policy", resource) when { context.officers >= %d };\n'
NEVER = '@id("fixed") forbid (principal, action == Action::"change-policy", resource);\n'


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return Cast.make(tmp_path_factory.mktemp("cast"))


@pytest.fixture
def made(tmp_path: Path, cast: Cast) -> PolicyHouse:
    """A service that ran under strict policies."""
    house = PolicyHouse(tmp_path, cast)
    house.write(STRICT)
    house.start()
    return house


def how(house: PolicyHouse) -> How | None:
    """Why what lies there counts at a start; None where it did before."""
    ground = house.start().ground
    return None if ground is None else ground.how


def weaken(house: PolicyHouse, *approvers: str, **other: object) -> None:
    """The weak policies, with a change that these approve."""
    house.write(WEAK)
    house.approve(house.propose(STRICT, WEAK, **other), *approvers)


def refused(house: PolicyHouse, saying: str, error: type[SealwrightError] = PolicyChangeRefused) -> None:
    """A start is refused, says why, and has changed nothing in the log."""
    before = house.entries() if error is not LogRefused else []
    with pytest.raises(error) as found:
        house.start()
    assert saying in str(found.value), str(found.value)
    if error is not LogRefused:
        assert house.entries() == before


def test_two_officers_let_weaker_policies_in_and_the_log_says_so(made: PolicyHouse) -> None:
    (first,) = made.entries()
    assert (first.edition, first.previous, first.change, first.approvals) == (1, None, None, ())
    assert how(made) is None
    weaken(made, "olga", "otto")
    judged = made.start()
    assert judged.ground is not None
    assert judged.ground.persons == ("olga", "otto")
    second = made.entries()[-1]
    assert (second.edition, second.policy, second.previous) == (2, digest_of_rules(WEAK), digest_of_rules(STRICT))
    assert len(second.approvals) == 2
    assert second.change is not None
    assert how(made) is None  # from now on they count


def test_stricter_policies_need_nobody(made: PolicyHouse) -> None:
    made.write(STRICTER)
    assert how(made) is How.NOT_WEAKER
    assert [one.edition for one in made.entries()] == [1, 2]


def test_weaker_policies_without_a_change_are_refused_with_the_command_that_makes_it(made: PolicyHouse) -> None:
    made.write(WEAK)
    refused(made, f"--service-id acme-signing --origin {made.origin} --edition 2 --out ")
    made.write(STRICT)
    assert how(made) is None


@pytest.mark.parametrize(
    ("approvers", "saying"),
    [
        ((), "nobody (0 officers)"),
        (("olga",), "olga (1 officers)"),
        (("olga", "olga-too"), "olga (1 officers)"),  # A120: one officer, two keys
        (("olga", "eva"), "eva, olga (1 officers)"),
        (("adam",), "nobody (0 officers)"),  # an administrator alone
    ],
)
def test_fewer_than_two_officers_are_not_enough(made: PolicyHouse, approvers: tuple[str, ...], saying: str) -> None:
    weaken(made, *approvers)
    refused(made, saying)
    made.approve((made.changes / "2.change").read_bytes(), "olga", "otto")
    assert how(made) is How.APPROVED


def test_who_asks_for_it_is_not_one_of_the_two(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto", requester="olga")
    refused(made, "otto (1 officers)")
    weaken(made, "olga", "otto", requester="adam")
    assert how(made) is How.APPROVED


@pytest.mark.parametrize(
    ("other", "saying"),
    [
        ({"service": "acme-staging"}, "another service: acme-staging"),
        ({"origin": "log.other.example/signing"}, "another log"),
        ({"previous": digest_of_rules(STRICTER)}, "another policies before"),
        ({"policy": digest_of_rules(STRICTER)}, "another policies:"),
        ({"requester": "nobody"}, "does not count now"),
    ],
)
def test_a_change_for_something_else_is_none(made: PolicyHouse, other: dict[str, object], saying: str) -> None:
    weaken(made, "olga", "otto", **other)
    refused(made, saying)
    weaken(made, "olga", "otto")
    assert how(made) is How.APPROVED


def test_a_change_holds_for_its_time(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto")
    at = made.now
    for wrong in (at - timedelta(seconds=1), at + timedelta(days=1, seconds=1)):
        made.now = wrong
        refused(made, "it holds from")
    made.now = at + timedelta(days=1)
    assert how(made) is How.APPROVED


def test_an_approval_of_other_bytes_is_named(made: PolicyHouse) -> None:
    weaken(made, "olga")
    first = (made.changes / "2.olga.p7s").read_bytes()
    weaken(made, "olga", "otto")  # made anew: another nonce
    (made.changes / "2.olga.p7s").write_bytes(first)
    refused(made, "2.olga.p7s: it is no approval of 2.change as it is")
    made.approve((made.changes / "2.change").read_bytes(), "olga")
    assert how(made) is How.APPROVED


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data.replace(b'"max"', b'"adam"'),
        lambda data: data.replace(b"{", b'{"approvals":0,', 1),
        lambda data: data.replace(b'"edition":2', b'"edition":1'),
        lambda data: data.replace(b"policy-change/1", b"request/1"),
        lambda _: b"",
    ],
)
def test_a_change_that_was_edited_is_none(made: PolicyHouse, damage: Callable[[bytes], bytes]) -> None:
    weaken(made, "olga", "otto")
    path = made.changes / "2.change"
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    refused(made, "change")
    path.write_bytes(whole)
    assert how(made) is How.APPROVED


def test_what_was_approved_once_does_not_let_the_same_policies_in_again(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto")
    assert how(made) is How.APPROVED
    made.write(STRICT)
    assert how(made) is How.NOT_WEAKER  # back, which nobody has to approve
    made.write(WEAK)
    refused(made, "4.change")
    for suffix in ("change", "olga.p7s", "otto.p7s"):
        (made.changes / f"4.{suffix}").write_bytes((made.changes / f"2.{suffix}").read_bytes())
    refused(made, "another edition: 2")
    made.approve(made.propose(STRICT, WEAK, 4), "olga", "otto", edition=4)
    assert how(made) is How.APPROVED


def test_an_officer_who_has_left_counts_no_more(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto")
    del made.roles["otto"]
    refused(made, "olga (1 officers)")
    made.roles["otto"] = ("approver",)
    refused(made, "olga, otto (1 officers)")
    made.roles["otto"] = ("officer",)
    assert how(made) is How.APPROVED


def test_the_policies_before_say_how_many(made: PolicyHouse) -> None:
    strict, weak = STRICT + BY_THREE % 3, WEAK + BY_THREE % 3
    made.write(strict)
    made.approve(made.propose(STRICT, strict), "olga", "otto")
    assert how(made) is How.APPROVED
    made.write(weak)
    made.approve(made.propose(strict, weak, 3, requester="adam"), "olga", "otto", edition=3)
    refused(made, "it needs 3 distinct persons beside adam, 3 of them officers")
    made.roles["eva"] = ("officer",)
    refused(made, "olga, otto (2 officers)")
    made.approve((made.changes / "3.change").read_bytes(), "eva", edition=3)
    assert how(made) is How.APPROVED
    # whoever is no administrator may not, whoever approves: naming another requester is no way around the rule
    made.write(ASKING + BY_THREE % 3 + SIGNING % 0)
    data = made.propose(weak, ASKING + BY_THREE % 3 + SIGNING % 0, 4, requester="max")
    made.approve(data, "olga", "otto", "eva", edition=4)
    refused(made, "max may not change them, whoever approves")


@pytest.mark.parametrize("rule", ['action == Action::"change-policy"', "action"])
def test_policies_that_let_one_alone_change_them_are_taken_to_want_two_officers(
    tmp_path: Path, cast: Cast, rule: str
) -> None:
    house = PolicyHouse(tmp_path, cast)
    alone = STRICT + f'@id("alone") permit (principal in Role::"administrator", {rule}, resource);\n'
    house.write(alone)
    house.start()
    house.write(WEAK)
    house.approve(house.propose(alone, WEAK, requester="adam"), "eva")
    refused(house, "it needs 2 distinct persons beside adam, 2 of them officers")
    house.approve((house.changes / "2.change").read_bytes(), "olga", "otto")
    assert how(house) is How.APPROVED


def test_nobody_gets_rules_about_changes_in_as_stricter_ones(made: PolicyHouse) -> None:
    fixed = STRICT + NEVER
    made.write(fixed)  # it forbids more, and would never be let out again
    refused(made, "2.change")
    made.approve(made.propose(STRICT, fixed), "olga", "otto")
    assert how(made) is How.APPROVED
    made.write(WEAK)
    made.approve(made.propose(fixed, WEAK, 3), "olga", "otto", edition=3)
    refused(made, "forbidden by fixed")


def test_each_tenant_with_keys_in_service_lets_policies_in_by_its_own_officers(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto")
    made.tenants = ("acme", "other")
    refused(made, "for other it needs 2 distinct persons")
    made.tenants = ("acme",)
    assert how(made) is How.APPROVED


@pytest.mark.parametrize("rules", ["permit (principal, action, resource)", "", '@id("x") permit (principal'])
def test_policies_that_cannot_be_read_name_those_that_count(made: PolicyHouse, rules: str) -> None:
    made.write(rules)
    refused(made, f"edition 1 ({digest_of_rules(STRICT)}) counts", MalformedPolicy)
    made.write(STRICT)
    assert how(made) is None


def _gone(store: Store) -> None:
    with store.write() as connection:
        connection.execute(delete(POLICIES))


def _weak_text(store: Store) -> None:
    """The former text made as weak as what is to come, under its digest."""
    with store.write() as connection:
        data = connection.execute(select(POLICIES.c.files)).scalar_one()
        connection.execute(update(POLICIES).values(files=bytes(data).replace(b">= 2", b">= 1")))


def _cut(store: Store) -> None:
    with store.write() as connection:
        data = connection.execute(select(POLICIES.c.files)).scalar_one()
        connection.execute(update(POLICIES).values(files=bytes(data)[:-1]))


@pytest.mark.parametrize("damage", [_gone, _weak_text, _cut])
@pytest.mark.parametrize("approvers", [(), ("olga", "otto")])
def test_without_the_former_text_nothing_changes(
    made: PolicyHouse, damage: Callable[[Store], None], approvers: tuple[str, ...]
) -> None:
    with made.log() as (store, _):
        damage(store)
    weaken(made, *approvers)
    refused(made, "cannot be compared with them: their text")
    made.write(STRICT)
    assert how(made) is None  # which keeps it again
    made.write(WEAK)
    made.approve((made.changes / "2.change").read_bytes(), "olga", "otto")
    assert how(made) is How.APPROVED


def test_a_leaf_that_was_written_over_changes_nothing(made: PolicyHouse) -> None:
    weaken(made, "olga", "otto")
    made.start()
    made.write(STRICT)
    made.start()
    for leaf in (0, 10**9):
        with made.log() as (store, _), store.write() as connection:
            connection.execute(update(POLICIES).values(leaf=leaf))
        made.write(WEAK)
        refused(made, "4.change")
        made.write(STRICT)
        assert how(made) is None


@pytest.mark.parametrize("type_", ["policy", "start"])
def test_entries_of_the_log_that_were_edited_are_found(made: PolicyHouse, type_: str) -> None:
    """Whoever hides the newest editions goes back to an older, weaker one: the edited entries do not lead to the checkpoint."""
    weaken(made, "olga", "otto")
    made.start()
    made.write(STRICT)
    assert how(made) is How.NOT_WEAKER
    made.write(WEAK)
    refused(made, "4.change")
    weak, strict = str(digest_of_rules(WEAK)).encode(), str(digest_of_rules(STRICT)).encode()
    with made.log() as (store, writer):
        whole = dict(enumerate(writer.reader.entries(0, 100)))
        policies = made.over(store, writer)
        with store.write() as connection:
            for number, entry in whole.items():
                if type_ == type(read_any(entry)).TYPE and strict in entry:
                    changed = entry.replace(strict, weak).replace(b'"type":"policy"', b'"type":"strange"')
                    connection.execute(update(ENTRIES).where(ENTRIES.c.number == number).values(entry=changed))
        with pytest.raises(LogRefused, match="are not those that its checkpoint signs"):
            policies.judge()
        with store.write() as connection:
            for number, entry in whole.items():
                connection.execute(update(ENTRIES).where(ENTRIES.c.number == number).values(entry=entry))
    made.write(STRICT)
    assert how(made) is None


def test_an_older_start_is_not_the_newest_word(made: PolicyHouse) -> None:
    with made.log() as (store, writer):
        policies = made.over(store, writer)
        policies.open()
        made.write(STRICTER)
        newer = made.over(store, writer)
        newer.open()
        with pytest.raises(StoreConflict):  # between its look and its start another replica was let in
            policies.started(lambda digest, edition: started(digest, edition, made.now))
        assert not any(
            isinstance(read := read_any(one), Start) and read.edition == 1 for one in writer.reader.entries(2, 100)
        )


def test_replicas_that_begin_a_log_at_once_record_its_policies_once(url: str, tmp_path: Path, cast: Cast) -> None:
    house = PolicyHouse(tmp_path, cast, url)
    house.write(STRICT)
    with house.log():
        pass  # the schema is there, and the log is empty
    with ThreadPoolExecutor(4) as pool:
        grounds = [one.ground for one in pool.map(lambda _: house.start(), range(4))]
    assert sorted(str(None if one is None else one.how) for one in grounds) == ["None", "None", "None", "first"]
    (first,) = house.entries()
    assert first.edition == 1
    house.write(WEAK)
    refused(house, "2.change")
    weaken(house, "olga", "otto")
    assert how(house) is How.APPROVED


def test_a_change_at_the_same_time_as_another_is_judged_by_what_counts_then(
    made: PolicyHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write(STRICTER)
    with made.log() as (store, writer):
        slow, quick = made.over(store, writer), made.over(store, writer)
        judged = slow.judge()
        quick.open()
        with monkeypatch.context() as patched:
            patched.setattr(slow, "judge", _first(judged, slow.judge))
            assert slow.open().ground is None  # it counts already
        assert len([one for one in _editions(store, writer) if one == 2]) == 1


def _first(judged: object, judge: Callable[[], object]) -> Callable[[], object]:
    answers = [judged]
    return lambda: answers.pop() if answers else judge()


def _editions(store: Store, writer: LogWriter) -> list[int]:
    read = [read_any(one) for one in writer.reader.entries(0, 100)]
    return [one.edition for one in read if type(one).TYPE == "policy"]  # type: ignore[union-attr, misc]


def test_a_folder_that_is_refused_while_the_service_runs_changes_nothing(made: PolicyHouse) -> None:
    with made.log() as (store, writer):
        policies = made.over(store, writer)
        policies.open()
        made.write(STRICTER)
        policies.reload()
        assert (policies.problem, policies.current().digest) == ("", digest_of_rules(STRICTER))
        for wrong in (WEAK, "permit"):
            made.write(wrong)
            policies.reload()
            assert "do not count" in policies.problem
            assert str(made.folder) not in policies.problem
            assert policies.current().digest == digest_of_rules(STRICTER)
        made.write(STRICTER)
        policies.reload()
        assert policies.problem == ""


@pytest.mark.parametrize("hiding", ["nothing", "leaf", "row"])
def test_a_replica_with_other_policies_than_those_that_count_decides_nothing(made: PolicyHouse, hiding: str) -> None:
    """Although somebody with the database hides from it that others count."""
    with made.log() as (store, writer):
        here = made.over(store, writer)
        here.open()
        there = made.over(store, writer)
        there._setting = replace(there._setting, folder=str(made.folder / "there"))
        (made.folder / "there").mkdir()
        (made.folder / "there" / "rules.cedar").write_text(STRICTER)
        assert not here._record.news(here._standing or pytest.fail("nothing counts"))
        there.open()
        with store.write() as connection:
            if hiding == "leaf":
                connection.execute(update(POLICIES).values(leaf=0))
            if hiding == "row":
                connection.execute(delete(POLICIES))
        here.look()
        assert not here.decide
        with pytest.raises(PolicyChangeRefused, match="others count"):
            here.current()
        made.write(STRICTER)
        here.look()
        assert here.current().digest == digest_of_rules(STRICTER)
        assert here.problem == ""


def test_a_replica_that_is_behind_does_not_say_the_former_policies_again(
    made: PolicyHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its word were the newest at the next start."""
    from sealwright.log.entries import Expired

    monkeypatch.setattr("sealwright.service.policiesinforce.SAY_AGAIN", 20)
    more = [Expired(time=made.now, request="0f" * 16).encoded()] * 30
    with made.log() as (store, writer), made.log() as (others_store, others):
        here, there = made.over(store, writer), made.over(others_store, others)
        here.open()
        made.write(STRICTER)
        there.open()
        with store.write() as connection:
            connection.execute(update(POLICIES).values(leaf=0))
        writer.append(more).result(30)
        here.look()
        assert here.current().digest == digest_of_rules(STRICTER)
        assert _editions(store, writer) == [1, 2]
        others.append(more).result(30)  # and where it has not appended since
        there.look()
        assert 1 not in _editions(store, writer)[1:]
    assert how(made) is None


def test_a_long_run_says_its_edition_again(made: PolicyHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.service.policiesinforce.SAY_AGAIN", 20)
    from sealwright.log.entries import Expired

    with made.log() as (store, writer):
        policies = made.over(store, writer)
        policies.open()
        for _ in range(3):
            writer.append([Expired(time=made.now, request="0f" * 16).encoded()] * 21).result(30)
            policies.look()
            policies.look()
        found = [one for one in (read_any(e) for e in writer.reader.entries(0, 1000)) if type(one).TYPE == "policy"]
    assert [(one.edition, one.policy) for one in found] == [(1, digest_of_rules(STRICT))] * 4  # type: ignore[union-attr]
    assert how(made) is None
    made.write(WEAK)
    refused(made, "2.change")
