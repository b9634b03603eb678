"""Emergencies: an officer lets one through with fewer approvals, two others look at it afterwards, and until then it is loud."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fido2.hid import CtapHidDevice
from sqlalchemy import delete, insert, select, update

from kit.securitykey import SoftKey
from kit.service import World, people_text, wanted, world
from sealwright.cli.main import main
from sealwright.errors import LogRefused, RequestOver, RequestRefused
from sealwright.keys.pin import Pin
from sealwright.log.entries import Emergency, FollowUp, read_any
from sealwright.log.entryfields import Outcome
from sealwright.log.tables import ENTRIES
from sealwright.service.emergencyalarms import EmergencyAlarms
from sealwright.signing.approval import Approval, approve
from sealwright.signing.followup import FollowUps, follow_up_text
from sealwright.signing.home import KeyPurpose
from sealwright.signing.people import parse_people
from sealwright.signing.requestrows import millis
from sealwright.signing.securitykey import Place, Touch
from sealwright.signing.securitykey import approved as approved_by_key
from sealwright.signing.tables import APPROVALS, FOLLOWUPS, LOOKS, PRIVATE, REQUESTS, State
from sealwright.signing.wish import Wish

OFFICERS = ("olga", "otto", "omar")
POLICY = """
@id("everybody-asks") permit (principal, action in [Action::"request", Action::"withdraw", Action::"read", Action::"approve"], resource);
@id("by-two") permit (principal, action == Action::"sign", resource) when { context.approvals >= 2 };
@id("emergency-by-one-officer") @followup("24h")
permit (principal in Role::"requester", action == Action::"sign", resource) when { context.emergency && context.officers >= 1 };
@id("officers-call-it") @followup("24h")
permit (principal in Role::"officer", action == Action::"break-glass", resource);
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path, policy=POLICY, officers=OFFICERS)
    yield made
    made.close()


def urgent(made: World, who: str = "max") -> str:
    asking = made.requests.ask(made.principal(who), Wish("release", wanted(["u.bin"], "production"), emergency=True))
    asking.recorded.result(10)
    assert asking.answer is None
    return asking.id


def approved(made: World, id_: str, who: str) -> State:
    person = made.principal(who)
    data = made.requests.shelf.request_bytes(person, id_)
    made.requests.approve(person, id_, made.approval(who, data))
    for _ in range(200):
        if not made.requests.signing():
            break
        time.sleep(0.02)
    return made.requests.shelf.standing(person, id_).state


def word(made: World, id_: str, who: str, outcome: Outcome = Outcome.CONFIRMED) -> Approval:
    home = made.persons[who]
    key = home.key(None, KeyPurpose.APPROVAL)
    return approve(follow_up_text(id_, outcome), "follow-up", home, key, datetime.now(UTC))


def looked(made: World, id_: str, who: str, outcome: Outcome = Outcome.CONFIRMED) -> str:
    standing = FollowUps(made.requests).look(made.principal(who), id_, outcome, word(made, id_, who, outcome))
    assert standing.owed is not None
    return standing.owed.outcome


def in_log(made: World, kind: type[Emergency | FollowUp]) -> list[Emergency | FollowUp]:
    size = made.writer.head.size
    return [one for one in map(read_any, made.writer.reader.entries(0, size)) if isinstance(one, kind)]


def test_one_officer_lets_an_emergency_through_and_two_others_settle_it(own: World) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    (entry,) = in_log(own, Emergency)
    assert isinstance(entry, Emergency)
    assert (entry.request, entry.until - entry.time) == (id_, timedelta(hours=24))
    (owed,) = own.requests.shelf.owing(own.principal("otto"))
    assert (owed.id, owed.owed and owed.owed.until) == (id_, entry.until)
    assert own.requests.shelf.owing(own.principal("stranger")) == []
    assert looked(own, id_, "otto") == ""
    assert looked(own, id_, "omar") == "confirmed"
    (settled,) = in_log(own, FollowUp)
    assert isinstance(settled, FollowUp)
    assert (settled.outcome, len(settled.approvals)) == (Outcome.CONFIRMED, 2)
    assert own.requests.shelf.owing(own.principal("otto")) == []


def test_one_dispute_is_a_dispute(own: World) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    assert looked(own, id_, "otto", Outcome.DISPUTED) == ""
    assert looked(own, id_, "omar") == "disputed"


def test_what_two_approve_anyway_owes_nothing(own: World) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "eva") is State.WAITING
    assert approved(own, id_, "jan") is State.SIGNED
    assert in_log(own, Emergency) == []
    with pytest.raises(RequestOver, match="owes no follow-up"):
        looked(own, id_, "otto")


def test_an_emergency_that_no_officer_calls_waits_like_every_request(own: World) -> None:
    id_, usual = urgent(own), own.requests.ask(own.principal("max"), Wish("release", wanted(["n.bin"], "production")))
    usual.recorded.result(10)
    assert approved(own, id_, "eva") is State.WAITING
    assert approved(own, usual.id, "olga") is State.WAITING  # an officer alone, and nobody called it an emergency
    assert approved(own, id_, "olga") is State.SIGNED


def test_without_a_rule_that_lets_officers_call_it_nothing_is_let_through(own: World, tmp_path: Path) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    (tmp_path / "other").mkdir()
    made = world(tmp_path / "other", policy=POLICY[: POLICY.index('@id("officers-call-it")')], officers=OFFICERS)
    try:
        assert approved(made, urgent(made), "olga") is State.WAITING
    finally:
        made.close()


@pytest.mark.parametrize(
    ("who", "signer"),
    [
        pytest.param("olga", "olga", id="who let it through"),
        pytest.param("otto", "omar", id="with somebody else's key"),
        pytest.param("eva", "eva", id="no officer"),
    ],
)
def test_only_other_officers_look_at_it(own: World, who: str, signer: str) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    with pytest.raises(RequestRefused, match="follow-up"):
        FollowUps(own.requests).look(own.principal(who), id_, Outcome.CONFIRMED, word(own, id_, signer))
    assert looked(own, id_, "otto") == ""


def test_who_asked_does_not_look_at_it(own: World) -> None:
    id_ = urgent(own, "otto")
    assert approved(own, id_, "olga") is State.SIGNED
    with pytest.raises(RequestRefused, match="you asked for it"):
        looked(own, id_, "otto")
    assert looked(own, id_, "omar") == ""
    with pytest.raises(RequestOver, match="said it already"):
        looked(own, id_, "omar")


def test_a_word_is_of_one_emergency_and_of_one_outcome(own: World) -> None:
    id_, other = urgent(own), urgent(own)
    for one in (id_, other):
        assert approved(own, one, "olga") is State.SIGNED
    look = FollowUps(own.requests).look
    with pytest.raises(RequestRefused):
        look(own.principal("otto"), id_, Outcome.CONFIRMED, word(own, other, "otto"))
    with pytest.raises(RequestRefused):
        look(own.principal("otto"), id_, Outcome.CONFIRMED, word(own, id_, "otto", Outcome.DISPUTED))
    data = own.requests.shelf.request_bytes(own.principal("otto"), id_)
    with pytest.raises(RequestRefused):  # an approval of the request is no word on it
        look(own.principal("otto"), id_, Outcome.CONFIRMED, own.approval("otto", data))
    assert looked(own, id_, "otto") == ""


def test_words_that_were_written_into_the_database_settle_nothing(own: World) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    forged = {"request": id_, "person": "omar", "scheme": "cms", "at": 1, "outcome": "confirmed"}
    with own.store.write() as connection:
        connection.execute(insert(LOOKS).values(**forged, proof=word(own, id_, "olga").proof))
    assert looked(own, id_, "otto") == ""
    with own.store.write() as connection:
        connection.execute(update(LOOKS).where(LOOKS.c.person == "omar").values(proof=word(own, id_, "omar").proof))
    assert looked(own, id_, "otto") == "confirmed"  # his own signature is his word, whoever put it there


def test_a130_who_asked_or_approved_does_not_look_at_it_when_its_rows_are_gone(own: World) -> None:
    erased, cut, whole = urgent(own, "otto"), urgent(own, "otto"), urgent(own, "otto")
    for one in (erased, cut, whole):
        assert approved(own, one, "olga") is State.SIGNED
    with own.store.write() as connection:
        asker = select(REQUESTS.c.private).where(REQUESTS.c.id == erased).scalar_subquery()
        connection.execute(delete(PRIVATE).where(PRIVATE.c.digest == asker))
        connection.execute(delete(APPROVALS).where(APPROVALS.c.request.in_((cut, whole))))
        asker = select(REQUESTS.c.private).where(REQUESTS.c.id == cut).scalar_subquery()
        connection.execute(delete(PRIVATE).where(PRIVATE.c.request == cut, PRIVATE.c.digest != asker))
    with pytest.raises(LogRefused, match="who asked is gone"):
        looked(own, erased, "otto")
    with pytest.raises(LogRefused, match="who let it through is gone"):
        looked(own, cut, "olga")
    for one in ("olga", "otto"):
        with pytest.raises(RequestRefused, match="you asked for it, or let it through"):
            looked(own, whole, one)
    assert looked(own, whole, "omar") == ""


def test_a130_an_outcome_that_was_written_into_its_row_is_none(own: World) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    with own.store.write() as connection:
        connection.execute(update(FOLLOWUPS).values(outcome="confirmed"))
    looked(own, id_, "otto", Outcome.DISPUTED)
    assert looked(own, id_, "omar") == "disputed"
    with own.store.write() as connection:
        connection.execute(update(FOLLOWUPS).values(outcome=""))
        connection.execute(delete(LOOKS))
    with pytest.raises(RequestOver, match="it is disputed already"):
        looked(own, id_, "otto")


def test_words_that_a_crash_left_unsettled_are_settled_when_one_is_said_again(
    own: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    assert looked(own, id_, "otto") == ""
    with monkeypatch.context() as killed:
        killed.setattr(FollowUps, "_settle", lambda *_: False)
        assert looked(own, id_, "omar") == ""
    assert looked(own, id_, "otto") == "confirmed"
    assert len(in_log(own, FollowUp)) == 1


def test_what_officers_have_settled_is_signed_no_further(own: World) -> None:
    settled, open_ = urgent(own), urgent(own)
    for one in (settled, open_):
        assert approved(own, one, "olga") is State.SIGNED
        with own.store.write() as connection:  # as where the key failed before all of it was signed
            connection.execute(update(REQUESTS).where(REQUESTS.c.id == one).values(state=State.FAILED))
    looked(own, settled, "otto", Outcome.DISPUTED)
    assert looked(own, settled, "omar") == "disputed"
    with pytest.raises(RequestOver, match="all of it is signed"):
        own.requests.attempt(own.principal("max"), open_)
    with pytest.raises(RequestOver, match="it is disputed"):
        own.requests.attempt(own.principal("max"), settled)


def test_an_emergency_is_told_at_once_and_again_when_it_is_late(own: World) -> None:
    owed, id_ = FollowUps(own.requests), urgent(own)
    now = own.requests.clock()
    assert owed.to_tell(now) == []
    assert approved(own, id_, "olga") is State.SIGNED
    (alarm,) = owed.to_tell(now)
    assert (alarm.request, alarm.tenant, alarm.late) == (id_, "acme", False)
    owed.told(alarm, now)
    assert owed.to_tell(now + timedelta(hours=23)) == []
    late = now + timedelta(hours=25)
    (alarm,) = owed.to_tell(late)
    assert alarm.late
    owed.told(alarm, late)
    assert owed.to_tell(late + timedelta(hours=1)) == []
    assert len(owed.to_tell(late + timedelta(hours=25))) == 1
    looked(own, id_, "otto")
    looked(own, id_, "omar")
    assert owed.to_tell(late + timedelta(hours=50)) == []


@pytest.mark.parametrize("how", ["settled", "later", "gone", "told"])
def test_a130_rows_that_were_edited_silence_no_emergency(own: World, how: str) -> None:
    owed, id_ = FollowUps(own.requests), urgent(own)
    now = own.requests.clock()
    assert approved(own, id_, "olga") is State.SIGNED
    (alarm,) = owed.to_tell(now)
    owed.told(alarm, now)
    assert owed.unheard(now + timedelta(hours=1)) == ([], None)
    late = now + timedelta(hours=50)
    changes = {"settled": {"outcome": "confirmed"}, "later": {"due": 2**52}, "told": {"told": millis(late)}}
    change = delete(FOLLOWUPS) if how == "gone" else update(FOLLOWUPS).values(**changes[how])
    with own.store.write() as connection:
        connection.execute(change)
    assert [one for one in owed.to_tell(late) if one.due == alarm.due] == []
    ((alarm,), _) = owed.unheard(late)
    assert (alarm.request, alarm.tenant, alarm.late, alarm.hidden) == (id_, "acme", True, how != "told")
    owed.told(alarm, late)
    assert owed.unheard(late + timedelta(hours=1)) == ([], None)
    (standing,) = own.requests.shelf.owing(own.principal("otto"))
    assert standing.id == id_, "the rows were put right"
    looked(own, id_, "otto")
    looked(own, id_, "omar")
    assert owed.unheard(late + timedelta(hours=50)) == ([], None)


def test_an_emergency_that_was_taken_out_of_the_log_is_told_as_a_log_that_is_broken(own: World) -> None:
    told: list[Any] = []
    alarms, id_ = EmergencyAlarms(own.requests, "acme-signing", None, told.append), urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    alarms.round()
    alarms.round()
    assert [(one["event"], one["request"]) for one in told] == [("emergency", id_)]
    with own.store.write() as connection:
        found = connection.execute(select(ENTRIES)).all()
        number, entry = next((one.number, bytes(one.entry)) for one in found if b'"type":"emergency"' in one.entry)
        connection.execute(
            update(ENTRIES).where(ENTRIES.c.number == number).values(entry=entry.replace(b"emergency", b"expired"))
        )
        connection.execute(update(FOLLOWUPS).values(told=0))
    again = EmergencyAlarms(own.requests, "acme-signing", None, told.append)
    with pytest.raises(LogRefused, match="do not lead to its checkpoint"):
        again.round()
    assert [one["event"] for one in told] == ["emergency"] * 2, "what the rows say is told all the same"


def test_an_officer_may_say_it_by_a_security_key(own: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftKey()
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([key]))
    (tmp_path / "pin").write_text("1234\n")
    (tmp_path / "pin").chmod(0o600)
    (tmp_path / "people.toml").write_text(people_text(own.persons, OFFICERS))
    made, url = str(tmp_path / "otto-key.toml"), "https://sign.acme.example:8443"
    assert main(["people", "enrol-key", made, "--service", url, "--pin-file", str(tmp_path / "pin")]) == 0
    assert main(["people", "add", str(tmp_path / "people.toml"), "approval-key", "otto", made]) == 0
    own.people = parse_people((tmp_path / "people.toml").read_bytes(), "people.toml")
    credential = own.people.webauthn_keys("otto", own.requests.clock())[0].credential
    touch = Touch(lambda: Pin("1234"), lambda: None)

    def said(text: bytes) -> Approval:
        return approved_by_key(key, text, Place("sign.acme.example", url), [credential], touch)

    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    look = FollowUps(own.requests).look
    with pytest.raises(RequestRefused, match="another challenge"):
        look(own.principal("otto"), id_, Outcome.CONFIRMED, said(follow_up_text(id_, Outcome.DISPUTED)))
    look(own.principal("otto"), id_, Outcome.CONFIRMED, said(follow_up_text(id_, Outcome.CONFIRMED)))
    assert looked(own, id_, "omar") == "confirmed"


@pytest.mark.parametrize("entry", [b'{"type":"emergency"}', b'{"type":"emergency","until":', b'\xff"type":"follow-up"'])
def test_a130_an_entry_that_nobody_can_read_keeps_back_no_emergency(own: World, entry: bytes) -> None:
    told: list[Any] = []
    id_ = urgent(own)
    assert approved(own, id_, "olga") is State.SIGNED
    with own.store.write() as connection:
        connection.execute(delete(FOLLOWUPS))
    EmergencyAlarms(own.requests, "acme-signing", None, told.append).round()
    assert [(one["request"], "database" in one) for one in told] == [(id_, True)]
    with own.store.write() as connection:
        connection.execute(delete(FOLLOWUPS))
        connection.execute(update(ENTRIES).where(ENTRIES.c.number == 0).values(entry=entry))
    again = EmergencyAlarms(own.requests, "acme-signing", None, told.append)
    for _ in range(2):
        with pytest.raises(LogRefused):
            again.round()
    assert [(one["request"], "database" in one) for one in told] == [(id_, True)] * 2


@pytest.mark.parametrize("due", [-(2**62), 2**62])
def test_a130_a_row_with_a_time_that_is_none_keeps_back_no_emergency(own: World, due: int) -> None:
    told: list[Any] = []
    alarms, ids = EmergencyAlarms(own.requests, "acme-signing", None, told.append), [urgent(own), urgent(own)]
    assert [approved(own, id_, "olga") for id_ in ids] == [State.SIGNED] * 2
    with own.store.write() as connection:
        connection.execute(update(FOLLOWUPS).where(FOLLOWUPS.c.request == ids[0]).values(due=due))
    alarms.round()
    assert {one["request"] for one in told} == set(ids)


def test_a_clock_that_was_ahead_for_a_moment_silences_no_emergency(own: World) -> None:
    owed, id_ = FollowUps(own.requests), urgent(own)
    now = own.requests.clock()
    assert approved(own, id_, "olga") is State.SIGNED
    (alarm,) = owed.to_tell(now)
    owed.unheard(now)
    owed.told(alarm, now + timedelta(days=3650))
    late = now + timedelta(hours=50)
    assert owed.to_tell(late) == [], "by its row it was told in ten years"
    assert [one.request for one in owed.unheard(late).alarms] == [id_]
    owed.told(alarm, late)
    assert owed.unheard(late + timedelta(hours=1)) == ([], None)
