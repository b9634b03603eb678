"""Requests and approvals attacked from inside: rows written over, approvals used twice, accounts that are one person (A114-A130)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from kit.service import POLICY, World, signed, wanted, world
from sealwright.artifact.digest import Digest
from sealwright.errors import LogRefused, NoSuchRequest, PolicyRefused, RequestOver, RequestRefused, SealwrightError
from sealwright.log.tables import ENTRIES
from sealwright.signing.people import Machine, Role
from sealwright.signing.policy import Policies, load_policies
from sealwright.signing.request import read_request
from sealwright.signing.sweeper import Sweeper
from sealwright.signing.tables import APPROVALS, PRIVATE, REQUESTS, SIGNATURES, State
from sealwright.signing.wish import Wish

BEGUN = (State.SIGNING, State.SIGNED)  # the desk may be through with it already


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("service"))
    yield made
    made.close()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service that a test may damage."""
    made = world(tmp_path_factory.mktemp("own"))
    yield made
    made.close()


def asked(made: World, name: str = "p.bin", who: str = "max") -> str:
    """A request for production, which needs two approvals."""
    asking = made.requests.ask(made.principal(who), Wish("release", wanted([name], "production")))
    asking.recorded.result(10)
    return asking.id


def approved(made: World, id_: str, who: str) -> State:
    """Approved by somebody's own key: how it stands then."""
    person = made.principal(who)
    data = made.requests.shelf.request_bytes(person, id_)
    return made.requests.approve(person, id_, made.approval(who, data)).state


def is_signed(made: World, id_: str) -> bool:
    """Once its desk is through with it."""
    for _ in range(200):
        if not made.requests.signing():
            break
        time.sleep(0.02)
    return made.requests.shelf.standing(made.principal("max"), id_).state is State.SIGNED


def edit(made: World, what: Callable[[Connection], object]) -> None:
    """What somebody with the database's password does."""
    with made.store.write() as connection:
        what(connection)


def test_a114_nobody_approves_what_they_asked_for(service: World) -> None:
    id_ = asked(service, who="eva")
    data = service.requests.shelf.request_bytes(service.principal("eva"), id_)
    with pytest.raises(SealwrightError, match=r"themselves|your-own-request"):
        service.requests.approve(service.principal("eva"), id_, service.approval("eva", data))
    assert approved(service, id_, "jan") is State.WAITING


def test_a114_nobody_approves_what_a_machine_of_theirs_asked_for(own: World) -> None:
    machine = Machine("ci", "acme", frozenset({Role.REQUESTER}), None, None, "eva", (), None)
    own.people = replace(own.people, machines={"ci": machine})
    ci = replace(own.principal("eva"), id="ci", machine=True, roles=machine.roles)
    asking = own.requests.ask(ci, Wish("release", wanted(["m.bin"], "production")))
    asking.recorded.result(10)
    assert approved(own, asking.id, "jan") is State.WAITING
    with pytest.raises(SealwrightError, match=r"themselves|your-own-request"):
        approved(own, asking.id, "eva")
    own.people = replace(
        own.people, machines={"ci": replace(machine, owner="jan")}
    )  # answered for by somebody else since
    with pytest.raises(RequestRefused, match="somebody else answers"):
        own.requests.use(asking.id)


def test_a114_a_role_that_was_given_after_the_request_counts_for_nothing(own: World) -> None:
    people = own.people
    own.people = replace(people, persons={**people.persons, "max": replace(people.persons["max"], roles=frozenset())})
    id_ = asked(own)
    own.people = people
    own.policies = replace_policy(own, 'permit (principal in Role::"requester", action == Action::"sign", resource)')
    approved(own, id_, "eva")
    assert own.requests.use(id_) is None
    again = asked(own, "q.bin")  # asked with the role
    approved(own, again, "eva")
    assert is_signed(own, again)


def test_a114_a_role_that_was_taken_away_after_the_request_is_gone(own: World) -> None:
    own.policies = replace_policy(own, 'permit (principal in Role::"requester", action == Action::"sign", resource)')
    id_, twin = asked(own), asked(own, "twin.bin")
    approved(own, twin, "eva")
    assert is_signed(own, twin)
    people = own.people
    own.people = replace(people, persons={**people.persons, "max": replace(people.persons["max"], roles=frozenset())})
    assert approved(own, id_, "eva") is State.WAITING


def replace_policy(made: World, sign: str) -> Policies:
    """Everybody asks; signing by one rule, with one approval."""
    (made.folder / "policies" / "rules.cedar").write_text(
        '@id("all") permit (principal, action in [Action::"request", Action::"read", Action::"approve"], resource);\n'
        f'@id("sign") {sign} when {{ context.approvals >= 1 }};'
    )
    return load_policies(str(made.folder / "policies"))


def test_a116_what_was_exchanged_after_the_approvals_is_not_signed(own: World) -> None:
    good, bad = asked(own), asked(own, "malware.bin")
    approved(own, good, "eva")
    with own.store.read() as connection:
        other = connection.execute(select(REQUESTS.c["items"]).where(REQUESTS.c.id == bad)).scalar_one()
        true = connection.execute(select(REQUESTS.c["items"]).where(REQUESTS.c.id == good)).scalar_one()
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == good).values(items=other)))
    with pytest.raises(LogRefused):
        approved(own, good, "jan")
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == good).values(items=true)))
    assert approved(own, good, "jan") in BEGUN
    assert is_signed(own, good)


def test_a116_an_approval_is_of_one_request(service: World) -> None:
    one, other = asked(service, "one.bin"), asked(service, "other.bin")
    eva = service.principal("eva")
    approval = service.approval("eva", service.requests.shelf.request_bytes(eva, one))
    with pytest.raises(RequestRefused, match="no approval of this request"):
        service.requests.approve(eva, other, approval)
    assert service.requests.approve(eva, one, approval).approvals == ("eva",)


def test_a116_a_request_under_the_name_of_another_is_refused(own: World) -> None:
    good, bad = asked(own), asked(own, "malware.bin")
    with own.store.read() as connection:
        other = connection.execute(select(REQUESTS.c.request).where(REQUESTS.c.id == bad)).scalar_one()
    assert approved(own, good, "eva") is State.WAITING
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == good).values(request=other)))
    with pytest.raises(LogRefused, match="not those that it is named by"):
        own.requests.use(good)


def test_a118_an_approval_is_used_once(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    approved(own, id_, "jan")
    assert is_signed(own, id_)
    with pytest.raises(RequestOver, match="signed"):
        own.requests.use(id_)
    for state in (State.WAITING, State.FAILED):
        with own.store.write() as connection:
            connection.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(state=state))
        with pytest.raises(RequestOver, match="all of it is signed"):
            own.requests.use(id_)


def test_a118_an_approval_is_not_good_after_its_day(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    true = own.requests.clock
    own.requests.clock = lambda: true() + timedelta(days=2)
    with pytest.raises(RequestOver, match="good until"):
        own.requests.use(id_)
    own.requests.clock = true
    assert approved(own, id_, "jan") in BEGUN


def test_a118_who_left_has_not_approved(own: World) -> None:
    id_, twin = asked(own), asked(own, "twin.bin")
    approved(own, twin, "eva")
    approved(own, twin, "jan")
    assert is_signed(own, twin)
    approved(own, id_, "eva")
    people = own.people
    left = replace(people.persons["eva"], until=own.requests.clock() - timedelta(days=1))
    own.people = replace(people, persons={**people.persons, "eva": left})
    assert approved(own, id_, "jan") is State.WAITING
    own.people = people
    assert own.requests.use(id_) is not None


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ('permit (principal, action == Action::"approve", resource);', State.SIGNED),
        (
            'permit (principal, action == Action::"approve", resource) when { context.hours.contains(Hours::"now") };',
            State.SIGNED,
        ),
        ('permit (principal == Person::"jan", action == Action::"approve", resource);', State.WAITING),
        (
            'permit (principal, action == Action::"approve", resource) when { context.hours.contains(Hours::"later") };',
            State.WAITING,
        ),
    ],
    ids=["everybody still may", "who said it in time", "one of the two no longer may", "who said it at another time"],
)
def test_a132_an_approval_of_somebody_whom_the_policies_let_approve_no_more_does_not_count(
    own: World, rule: str, state: State
) -> None:
    id_ = asked(own)
    assert approved(own, id_, "eva") is State.WAITING
    own.requests.use, use = (lambda _: None), own.requests.use  # type: ignore[method-assign,assignment]
    assert approved(own, id_, "jan") is State.WAITING
    own.requests.use = use  # type: ignore[method-assign]
    now = own.requests.clock()
    hours = "".join(
        f'[hours.{name}]\nfrom = "{start:%H:%M}"\nuntil = "{start + timedelta(hours=2):%H:%M}"\n'
        for name, start in (("now", now - timedelta(hours=1)), ("later", now + timedelta(hours=4)))
    )
    folder = own.folder / "policies"
    (folder / "hours.toml").write_text("# sealwright policy settings 1\n" + hours)
    rest = POLICY.replace(', Action::"approve"', "")
    (folder / "rules.cedar").write_text(f'{rest}@id("who-approves") {rule}')
    own.policies = load_policies(str(folder))
    own.requests.use(id_)
    if state is State.SIGNED:
        assert is_signed(own, id_)
    assert own.requests.shelf.standing(own.principal("max"), id_).state is state


def test_a120_one_person_with_two_keys_is_one_person(own: World) -> None:
    """The second key is entered for Eva, whose first one has approved already."""
    id_ = asked(own)
    approved(own, id_, "eva")
    keys = {one: replace(key, person="eva") for one, key in own.people._keys.items()}
    true = own.people
    own.people = replace(own.people, _keys=keys)
    eva = own.principal("eva")
    second = own.approval("jan", own.requests.shelf.request_bytes(eva, id_))
    with pytest.raises(RequestOver, match="approved it already"):
        own.requests.approve(eva, id_, second)
    assert own.requests.use(id_) is None
    own.people = true
    assert approved(own, id_, "jan") in BEGUN


def test_a121_what_is_of_another_tenant_is_not_there(service: World) -> None:
    id_, stranger = asked(service, "acme.bin"), service.principal("stranger")
    shelf, requests = service.requests.shelf, service.requests
    approval = service.approval("eva", shelf.request_bytes(service.principal("eva"), id_))
    for asks in (
        lambda: shelf.standing(stranger, id_),
        lambda: shelf.items(stranger, id_, 0),
        lambda: shelf.signatures(stranger, id_),
        lambda: requests.approve(stranger, id_, approval),
        lambda: requests.withdraw(stranger, id_),
        lambda: requests.attempt(stranger, id_),
        lambda: requests.ask(stranger, Wish("release", wanted(["s.bin"]))),
        lambda: shelf.standing(stranger, "0" * 64),
    ):
        with pytest.raises(NoSuchRequest) as refused:
            asks()
        assert "acme" not in str(refused.value)
    assert shelf.standing(service.principal("eva"), id_).state is State.WAITING


def _back_to_failed(id_: str) -> Callable[[Connection], object]:
    def what(connection: Connection) -> None:
        connection.execute(delete(SIGNATURES).where(SIGNATURES.c.request == id_))
        connection.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(state=State.FAILED))

    return what


def test_a130_what_was_signed_is_not_signed_again_by_the_same_approvals(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    approved(own, id_, "jan")
    assert is_signed(own, id_)
    edit(own, _back_to_failed(id_))
    with pytest.raises(LogRefused, match="1 signatures of it are in the log, and 0 here"):
        own.requests.use(id_)


def test_a130_what_needed_no_approval_is_not_signed_again_either(own: World) -> None:
    asking = own.requests.ask(own.principal("max"), Wish("release", wanted(["a.bin", "b.bin"])))
    assert len(signed(asking)) == 2
    edit(own, _back_to_failed(asking.id))
    with pytest.raises(LogRefused, match="2 signatures of it are in the log"):
        own.requests.use(asking.id)


def test_a130_an_attempt_less_in_the_row_is_seen(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    approved(own, id_, "jan")
    assert is_signed(own, id_)
    edit(own, _back_to_failed(id_))
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(attempt=0, state=State.WAITING)))
    with pytest.raises(LogRefused, match="by the log it was used 1 times"):
        own.requests.use(id_)


@pytest.mark.parametrize("replica", ["the same", "another"])
def test_a130_an_edited_log_reopens_nothing(own: World, replica: str) -> None:
    """The insider writes the `used` entry over, so that by the table of entries the request was never used."""
    id_ = asked(own)
    approved(own, id_, "eva")
    approved(own, id_, "jan")
    assert is_signed(own, id_)
    with own.store.read() as connection:
        rows = connection.execute(select(ENTRIES.c.number, ENTRIES.c.entry)).all()
    used = next(row for row in rows if b'"type":"used"' in row.entry)
    other = bytes(used.entry).replace(id_.encode(), b"f" * 64)
    edit(own, _back_to_failed(id_))
    edit(own, lambda c: c.execute(update(ENTRIES).where(ENTRIES.c.number == used.number).values(entry=other)))
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(attempt=0, state=State.WAITING)))
    requests = own.requests if replica == "the same" else own.another("acme-signing")
    with pytest.raises(LogRefused, match="do not lead to its checkpoint"):
        requests.use(id_)


def test_a130_a_withdrawn_request_stays_withdrawn(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    own.requests.withdraw(own.principal("max"), id_)
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(state=State.WAITING)))
    with pytest.raises(LogRefused, match="by the log it is withdrawn"):
        approved(own, id_, "jan")


def test_a130_an_approval_that_is_in_no_log_counts_for_nothing(own: World) -> None:
    """Signed by the approver indeed, and put into the table by somebody else."""
    id_ = asked(own)
    approved(own, id_, "eva")
    jan = own.approval("jan", own.requests.shelf.request_bytes(own.principal("jan"), id_))
    row = {"request": id_, "number": 1, "person": "jan", "scheme": "cms", "proof": jan.proof, "at": 1, "leaf": 1}
    edit(own, lambda c: c.execute(insert(APPROVALS).values(**row)))
    with pytest.raises(LogRefused, match="not in the log"):
        own.requests.use(id_)
    edit(own, lambda c: c.execute(delete(APPROVALS).where(APPROVALS.c.person == "jan")))
    assert approved(own, id_, "jan") in BEGUN


def test_a130_an_approval_is_what_its_key_says_not_its_row(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    with own.store.read() as connection:
        eva = connection.execute(select(APPROVALS.c.proof).where(APPROVALS.c.request == id_)).scalar_one()
    row = {"request": id_, "number": 1, "person": "jan", "scheme": "cms", "proof": eva, "at": 1, "leaf": 1}
    edit(own, lambda c: c.execute(insert(APPROVALS).values(**row)))
    assert own.requests.use(id_) is None
    edit(own, lambda c: c.execute(delete(APPROVALS).where(APPROVALS.c.person == "jan")))
    assert approved(own, id_, "jan") in BEGUN


def test_a130_who_asked_cannot_be_written_over(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    with own.store.read() as connection:
        name = connection.execute(select(REQUESTS.c.private).where(REQUESTS.c.id == id_)).scalar_one()
        text = bytes(connection.execute(select(PRIVATE.c.text).where(PRIVATE.c.digest == name)).scalar_one())
    other = text.replace(b'"person":"max"', b'"person":"jan"')
    edit(own, lambda c: c.execute(update(PRIVATE).where(PRIVATE.c.digest == name).values(text=other)))
    with pytest.raises(LogRefused, match="another one"):
        own.requests.use(id_)
    named = str(Digest.of(other))
    edit(own, lambda c: c.execute(update(PRIVATE).where(PRIVATE.c.digest == name).values(digest=named)))
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(private=named)))
    with pytest.raises(LogRefused, match="does not have it as it stands here"):
        own.requests.use(id_)


def test_a130_a_request_that_nobody_asked_for_is_not_there(own: World) -> None:
    """Rows of a true request copied under the name of a forged one."""
    id_ = asked(own)
    with own.store.read() as connection:
        row = dict(connection.execute(select(REQUESTS).where(REQUESTS.c.id == id_)).one()._mapping)
    forged = replace(read_request(bytes(row["request"]), "x"), requester="jan")
    row |= {"number": 99, "id": forged.id, "request": forged.encoded(), "word": None}
    edit(own, lambda c: c.execute(insert(REQUESTS).values(**row)))
    with pytest.raises(LogRefused, match="the log does not have it"):
        own.requests.use(forged.id)
    assert approved(own, id_, "eva") is State.WAITING


def test_a130_an_erased_asker_is_shown_and_signed_for_no_more(own: World) -> None:
    id_ = asked(own)
    approved(own, id_, "eva")
    edit(own, lambda c: c.execute(delete(PRIVATE).where(PRIVATE.c.request == id_)))
    assert own.requests.shelf.standing(own.principal("max"), id_).state is State.WAITING
    with pytest.raises(LogRefused, match="who asked is gone"):
        approved(own, id_, "jan")


def test_what_a_crash_left_approved_is_used_by_the_sweep(own: World) -> None:
    """Killed between the last approval's record and its use."""
    id_ = asked(own)
    approved(own, id_, "eva")
    own.requests.use, use = (lambda _: None), own.requests.use  # type: ignore[method-assign,assignment]
    assert approved(own, id_, "jan") is State.WAITING
    own.requests.use = use  # type: ignore[method-assign]
    assert Sweeper(own.requests).sweep() == []
    assert is_signed(own, id_)


def test_what_nobody_signs_any_more_is_given_up_and_attempted_again(own: World) -> None:
    """By its row this replica is signing it, and it is not."""
    id_ = asked(own)
    approved(own, id_, "eva")
    approved(own, id_, "jan")
    assert is_signed(own, id_)
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == id_).values(state=State.SIGNING)))
    Sweeper(own.requests).sweep()
    with pytest.raises(RequestOver, match="all of it is signed"):
        own.requests.attempt(own.principal("max"), id_)
    assert is_signed(own, id_)


def test_quotas_are_counted_where_requests_are_recorded(own: World) -> None:
    """Five at once, of which three are within the quota; using one does not count it again."""
    folder = own.folder / "policies"
    (folder / "settings.toml").write_text(
        '# sealwright policy settings 1\n[quota.hourly]\nof = "principal"\nper = "hour"\nat_most = 3\n'
    )
    with (folder / "rules.cedar").open("a") as rules:
        rules.write(
            '@id("bounded") forbid (principal, action, resource) when { context.over.contains(Quota::"hourly") };'
        )
    own.policies = load_policies(str(folder))
    max_ = own.principal("max")
    askings, refused = [], 0
    for number in range(5):  # all judged before any is recorded
        try:
            askings.append(own.requests.ask(max_, Wish("release", wanted([f"{number}.bin"], "production"))))
        except SealwrightError:
            refused += 1
    recorded = []
    for asking in askings:
        try:
            asking.recorded.result(10)
            recorded.append(asking.id)
        except SealwrightError:
            refused += 1
    assert (len(recorded), refused) == (3, 2)
    approved(own, recorded[0], "eva")
    assert approved(own, recorded[0], "jan") in BEGUN


def test_a124_withdrawing_what_was_used_gives_no_quota_back(own: World) -> None:
    folder = own.folder / "policies"
    quota = '[quota.hourly]\nof = "principal"\nper = "hour"\nat_most = 3\n'
    (folder / "settings.toml").write_text("# sealwright policy settings 1\n" + quota)
    bounded = '@id("bounded") forbid (principal, action == Action::"request", resource) when { context.over.contains(Quota::"hourly") };'
    with (folder / "rules.cedar").open("a") as rules:
        rules.write(bounded)
    own.policies = load_policies(str(folder))
    max_, names = own.principal("max"), ["1.bin", "2.bin", "3.bin"]
    waits = own.requests.ask(max_, Wish("release", wanted(names, "production")))
    waits.recorded.result(10)
    assert own.requests.withdraw(max_, waits.id).state is State.WITHDRAWN
    used = own.requests.ask(max_, Wish("release", wanted(names)))  # nothing of the first was signed
    assert len(signed(used)) == 3
    edit(own, lambda c: c.execute(update(REQUESTS).where(REQUESTS.c.id == used.id).values(state=State.FAILED)))
    assert own.requests.withdraw(max_, used.id).state is State.WITHDRAWN  # as where the key failed at the last one
    with pytest.raises(PolicyRefused, match="bounded"):
        own.requests.ask(max_, Wish("release", wanted(["4.bin"])))
