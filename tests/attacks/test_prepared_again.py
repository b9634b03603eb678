"""Second prepares attacked (A116, A118, A120, A130): the requester's own, another request's, altered, late, and put into the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from kit.alter import flip
from kit.service import World, spki_of, wanted, world
from sealwright.artifact.digest import Digest
from sealwright.errors import LogRefused, NoSuchRequest, RequestOver, RequestRefused
from sealwright.log.entryfields import Result
from sealwright.log.tables import ENTRIES
from sealwright.signing.approval import Approval
from sealwright.signing.home import KeyPurpose
from sealwright.signing.people import Machine, Principal, Role
from sealwright.signing.policy import load_policies
from sealwright.signing.preparers import prepare_text
from sealwright.signing.rowcheck import odd_rows
from sealwright.signing.secondprepare import SecondPrepares
from sealwright.signing.tables import APPROVALS, PREPARES, REQUESTS, State
from sealwright.signing.uploads import MAX_UNLIKE, Uploads
from sealwright.signing.wish import Wish

BEGUN = (State.SIGNING, State.SIGNED)
POLICY = """
@id("all") permit (principal, action in [Action::"request", Action::"read", Action::"approve", Action::"prepare"], resource);
@id("twice") permit (principal, action == Action::"sign", resource) when { context.second_prepare };
@id("two") forbid (principal, action == Action::"sign", resource) when { resource.environment == Environment::"production" && context.prepares < 2 };
@id("file") permit (principal, action == Action::"sign", resource) when { resource.environment == Environment::"test" && context.uploaded };
"""


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that a test may damage."""
    made = world(tmp_path_factory.mktemp("own"), policy=POLICY, officers=("max2",))
    made.requests.largest_upload = 100
    yield made
    made.close()


def asked(made: World, name: str = "p.bin", who: str = "max", environment: str = "development") -> str:
    asking = made.requests.ask(made.principal(who), Wish("release", wanted([name], environment)))
    asking.recorded.result(10)
    assert asking.answer is None
    return asking.id


def word(made: World, id_: str, who: str) -> Approval:
    """What somebody signs with their own key who came to the same."""
    return made.approval(who, prepare_text(made.requests.shelf.standing(made.principal("eva"), id_).request))


def prepared(made: World, id_: str, who: str) -> State:
    return SecondPrepares(made.requests).take(made.principal(who), id_, word(made, id_, who)).state


def is_signed(made: World, id_: str) -> bool:
    for _ in range(200):
        if not made.requests.signing():
            break
        time.sleep(0.02)
    return made.requests.shelf.standing(made.principal("eva"), id_).state is State.SIGNED


def edit(made: World, what: Callable[[Connection], object]) -> None:
    """What somebody with the database's password does."""
    with made.store.write() as connection:
        what(connection)


def row(id_: str, person: str, proof: bytes, leaf: int = 0) -> dict[str, object]:
    about = {"request": id_, "number": 0, "principal": person, "person": person, "scheme": "cms"}
    return {**about, "proof": proof, "at": 1, "leaf": leaf}


def builder(made: World, owner: str) -> Principal:
    """A machine of somebody's, which signs with Jan's key, as its own."""
    key = spki_of(made.persons["jan"], KeyPurpose.APPROVAL)
    machine = Machine("m1", "acme", frozenset({Role.BUILDER}), None, None, owner, (), None, (key,))
    keys = {one: each for one, each in made.people._keys.items() if one != key}
    made.people = replace(made.people, machines={"m1": machine}, _prepare_keys={key: machine}, _keys=keys)
    return made.people.principal("m1", made.requests.clock())


def test_a114_nobody_prepares_a_second_time_what_they_asked_for(own: World) -> None:
    id_ = asked(own, who="eva")
    with pytest.raises(RequestRefused, match="you asked for it"):
        prepared(own, id_, "eva")
    assert prepared(own, id_, "jan") in BEGUN
    assert is_signed(own, id_)


def test_a114_nor_does_a_machine_of_theirs(own: World) -> None:
    id_ = asked(own)
    machine = builder(own, "max")
    with pytest.raises(RequestRefused, match="answer for the machine"):
        SecondPrepares(own.requests).take(machine, id_, word(own, id_, "jan"))
    machine = builder(own, "jan")
    assert SecondPrepares(own.requests).take(machine, id_, word(own, id_, "jan")).prepares == ("m1",)
    assert is_signed(own, id_)


def test_a120_one_person_with_two_keys_counts_once(own: World) -> None:
    id_ = asked(own, environment="production")
    assert prepared(own, id_, "eva") is State.WAITING
    machine = builder(own, "eva")
    with pytest.raises(RequestOver, match="already"):
        SecondPrepares(own.requests).take(machine, id_, word(own, id_, "jan"))
    edit(
        own,
        lambda c: c.execute(insert(PREPARES).values(**row(id_, "max2", word(own, id_, "jan").proof) | {"number": 1})),
    )
    with pytest.raises(LogRefused, match="not in the log"):
        own.requests.use(id_)
    edit(own, lambda c: c.execute(delete(PREPARES).where(PREPARES.c.person == "max2")))
    assert prepared(own, id_, "max2") in BEGUN


def test_a116_a_second_prepare_is_of_one_request_and_no_approval(own: World) -> None:
    one, other = asked(own, "one.bin"), asked(own, "other.bin")
    jan, said = own.principal("jan"), word(own, one, "jan")
    take = SecondPrepares(own.requests).take
    with pytest.raises(RequestRefused, match="no approval of this request"):
        take(jan, other, said)
    with pytest.raises(RequestRefused, match="no approval of this request"):
        own.requests.approve(jan, one, said)
    approval = own.approval("jan", own.requests.shelf.request_bytes(jan, one))
    with pytest.raises(RequestRefused, match="no approval of this request"):
        take(jan, one, approval)
    with pytest.raises(RequestRefused):
        take(jan, one, Approval(said.scheme, flip(said.proof, len(said.proof) - 5)))
    with pytest.raises(RequestRefused, match="its key is none"):
        take(own.principal("eva"), one, said)
    with pytest.raises(NoSuchRequest):
        take(own.principal("stranger"), one, said)
    assert take(jan, one, said).state in BEGUN
    with pytest.raises(RequestOver):
        take(jan, one, said)


def test_a118_a_second_prepare_is_not_good_after_its_day_nor_of_somebody_who_left(own: World) -> None:
    id_ = asked(own, environment="production")
    assert prepared(own, id_, "eva") is State.WAITING
    true, people = own.requests.clock, own.people
    own.requests.clock = lambda: true() + timedelta(days=2)
    with pytest.raises(RequestOver, match="good until"):
        prepared(own, id_, "jan")
    own.requests.clock = true
    left = replace(people.persons["eva"], until=true() - timedelta(days=1))
    own.people = replace(people, persons={**people.persons, "eva": left})
    standing = SecondPrepares(own.requests).take(own.principal("jan"), id_, own.approval("jan", _text(own, id_)))
    assert standing.state is State.WAITING
    own.people = people
    assert own.requests.use(id_) is not None


def test_a114_who_may_no_longer_prepare_has_not_prepared(own: World) -> None:
    id_, true = asked(own, environment="production"), own.policies
    assert prepared(own, id_, "eva") is State.WAITING
    forbids = '@id("not-eva") forbid (principal == Person::"eva", action == Action::"prepare", resource);'
    (own.folder / "policies" / "rules.cedar").write_text(POLICY + forbids)
    own.policies = load_policies(str(own.folder / "policies"))
    assert prepared(own, id_, "jan") is State.WAITING
    own.policies = true
    assert own.requests.use(id_) is not None


def _text(made: World, id_: str) -> bytes:
    return prepare_text(made.requests.shelf.standing(made.principal("jan"), id_).request)


def test_a130_a_row_without_an_entry_counts_for_nothing(own: World) -> None:
    """Signed by Jan indeed, and put into the table by somebody else."""
    id_ = asked(own)
    edit(own, lambda c: c.execute(insert(PREPARES).values(**row(id_, "jan", word(own, id_, "jan").proof))))
    with pytest.raises(LogRefused, match="second prepare of it is not in the log"):
        own.requests.use(id_)
    assert any("second prepare 0" in odd for odd in odd_rows(own.store))
    edit(own, lambda c: c.execute(delete(PREPARES)))
    assert prepared(own, id_, "jan") in BEGUN
    assert is_signed(own, id_)
    assert not list(odd_rows(own.store))


def test_a130_an_approval_in_the_table_of_prepares_is_none(own: World) -> None:
    id_ = asked(own)
    jan = own.principal("jan")
    standing = own.requests.approve(jan, id_, own.approval("jan", own.requests.shelf.request_bytes(jan, id_)))
    assert standing.state is State.WAITING
    with own.store.read() as connection:
        proof = bytes(connection.execute(select(APPROVALS.c.proof).where(APPROVALS.c.request == id_)).scalar_one())
    edit(own, lambda c: c.execute(insert(PREPARES).values(**row(id_, "jan", proof))))
    with pytest.raises(LogRefused, match="not in the log"):
        own.requests.use(id_)


def test_a130_a_second_prepare_is_what_its_key_says_not_its_row(own: World) -> None:
    """The proof of one, under another person's name: in the log it is one."""
    id_ = asked(own, environment="production")
    prepared(own, id_, "eva")
    with own.store.read() as connection:
        proof = bytes(connection.execute(select(PREPARES.c.proof).where(PREPARES.c.request == id_)).scalar_one())
    edit(own, lambda c: c.execute(insert(PREPARES).values(**row(id_, "jan", proof) | {"number": 1})))
    assert own.requests.use(id_) is None
    edit(own, lambda c: c.execute(delete(PREPARES).where(PREPARES.c.person == "jan")))
    assert prepared(own, id_, "jan") in BEGUN


def test_a130_what_the_service_came_to_is_in_the_log_alone(own: World) -> None:
    id_, max_ = asked(own, "x.bin", environment="test"), own.principal("max")
    uploads = Uploads(own.requests)
    assert uploads.record(max_, id_, 0, Digest.of(b"other"), Result.DIFFERENT).state is State.WAITING
    assert own.requests.use(id_) is None
    with own.store.read() as connection:
        entries = connection.execute(select(ENTRIES.c.entry)).scalars().all()
    true = next(bytes(entry) for entry in entries if b'"type":"upload"' in entry)
    forged = true.replace(b'"different"', b'"same"')
    edit(own, lambda c: c.execute(update(ENTRIES).where(ENTRIES.c.entry == true).values(entry=forged)))
    with pytest.raises(LogRefused, match="do not lead to its checkpoint"):
        own.another("acme-signing").use(id_)
    edit(own, lambda c: c.execute(update(ENTRIES).where(ENTRIES.c.entry == forged).values(entry=true)))
    assert uploads.record(max_, id_, 0, Digest.of(b"x.bin"), Result.SAME).state in BEGUN
    assert is_signed(own, id_)
    with pytest.raises(RequestOver):
        uploads.expected(max_, id_, 0)


def test_a128_after_some_files_that_are_not_the_same_nothing_more_is_taken(own: World) -> None:
    id_, max_ = asked(own, "x.bin", environment="test"), own.principal("max")
    uploads = Uploads(own.requests)
    for number in range(MAX_UNLIKE):
        assert uploads.expected(max_, id_, 0).line
        uploads.record(max_, id_, 0, Digest.of(b"%d" % number), Result.DIFFERENT)
    with pytest.raises(RequestOver, match="16 files came"):
        uploads.expected(max_, id_, 0)
    with own.store.read() as connection:
        assert connection.execute(select(REQUESTS.c.state).where(REQUESTS.c.id == id_)).scalar_one() == State.WAITING


def test_a121_who_may_not_prepare_uploads_nothing_to_the_request_of_others(own: World) -> None:
    id_ = asked(own, "x.bin", environment="test")
    uploads = Uploads(own.requests)
    assert uploads.expected(own.principal("max"), id_, 0).line
    assert uploads.expected(own.principal("eva"), id_, 0).line
    with pytest.raises(NoSuchRequest):
        uploads.expected(own.principal("stranger"), id_, 0)
    with pytest.raises(NoSuchRequest):
        uploads.expected(own.principal("max"), id_, 1)
