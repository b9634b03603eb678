"""What a device that asks by hawkBit's interface is to do next, as a table; and its register, beside the fleet's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import update
from tuf.api.metadata import TargetFile

from kit.fleet import NOW, FleetDevice
from kit.postgres import Postgres
from sealwright.artifact.digest import Digest
from sealwright.errors import LimitExceeded, UsageError
from sealwright.release.channels import Named
from sealwright.release.layout import product_path
from sealwright.service.fleetregister import device_of, import_devices, retire
from sealwright.service.hawkbitactions import Action, Doing, Order, Words, actions_of, again, decide, order_for, tell
from sealwright.service.hawkbitfiles import Sums
from sealwright.service.hawkbitoffers import Bundle, ForDevice
from sealwright.service.hawkbitregister import Entry, Registered, add, entry_of, find, is_known, remove, token_known
from sealwright.service.hawkbittables import ACTIONS, State, Updater
from sealwright.service.hawkbittold import describe_device, note_poll
from sealwright.service.hawkbitwire import ConfigData
from sealwright.store.engine import Store, open_store

PATH = product_path("drives/vx-200")
KNOWN = token_known(b"a-token-of-its-own")
ENTRY = Entry("plc-1", Updater.SWUPDATE, PATH, "production", "line-1", "nordhof", KNOWN, generation=4)
DEVICE = Registered(ENTRY, False, NOW, None, None, "{}")
SEVEN, EIGHT = (Named(f"1.{number}", number, Digest.of(bytes([number]))) for number in (7, 8))
OLD = Named("1.4", 4, Digest.of(b"4"))
BUNDLE = Bundle("system", "system.swu", TargetFile.from_data("a/b/c", b"x"), Sums(1, "", "", ""))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A new database of each kind."""
    with closing(open_store(url)) as opened:
        yield opened


def offered(release: Named) -> ForDevice:
    return ForDevice(release, (BUNDLE,))


def action(number: int, release: Named, state: State) -> Action:
    return Action("plc-1", number, str(PATH), release, state, NOW, None, ())


SEVENTH = {state: action(1, SEVEN, state) for state in State}
BEGUN = action(1, SEVEN, State.OFFERED)


@pytest.mark.parametrize(
    ("before", "offer", "expected"),
    [
        ([], None, None),
        ([], offered(SEVEN), Order(Doing.INSTALL, BEGUN)),
        ([], offered(OLD), None),
        ([], ForDevice(SEVEN, ()), None),
        ([SEVENTH[State.OFFERED]], offered(SEVEN), Order(Doing.INSTALL, SEVENTH[State.OFFERED])),
        ([SEVENTH[State.PROCEEDING]], offered(SEVEN), Order(Doing.INSTALL, SEVENTH[State.PROCEEDING])),
        # refused here for now: neither installed nor cancelled
        ([SEVENTH[State.PROCEEDING]], ForDevice(SEVEN, ()), None),
        ([SEVENTH[State.OFFERED]], None, Order(Doing.CANCEL, SEVENTH[State.OFFERED])),
        ([SEVENTH[State.PROCEEDING]], offered(EIGHT), Order(Doing.CANCEL, SEVENTH[State.PROCEEDING])),
        # it went on although it was to stop
        ([SEVENTH[State.KEPT]], None, None),
        ([SEVENTH[State.KEPT]], offered(EIGHT), Order(Doing.INSTALL, action(2, EIGHT, State.OFFERED))),
        ([SEVENTH[State.KEPT]], offered(SEVEN), Order(Doing.INSTALL, SEVENTH[State.KEPT])),
        ([SEVENTH[State.SUCCESS]], offered(SEVEN), None),
        ([SEVENTH[State.SUCCESS]], offered(EIGHT), Order(Doing.INSTALL, action(2, EIGHT, State.OFFERED))),
        ([action(2, EIGHT, State.SUCCESS), SEVENTH[State.CANCELED]], offered(SEVEN), None),
        ([SEVENTH[State.FAILURE]], offered(SEVEN), None),
        ([SEVENTH[State.FAILURE]], offered(EIGHT), Order(Doing.INSTALL, action(2, EIGHT, State.OFFERED))),
        ([SEVENTH[State.CANCELED]], offered(SEVEN), Order(Doing.INSTALL, action(2, SEVEN, State.OFFERED))),
    ],
)
def test_a_device_does_one_thing_at_a_time_and_never_goes_back(
    before: list[Action], offer: ForDevice | None, expected: Order | None
) -> None:
    assert decide(DEVICE, before, offer, NOW) == expected


def test_what_is_told_is_kept_and_a_closed_action_takes_no_further_word(store: Store) -> None:
    add(store, ENTRY, NOW)
    assert order_for(store, DEVICE, offered(SEVEN), NOW) == Order(Doing.INSTALL, BEGUN)
    assert order_for(store, DEVICE, offered(SEVEN), NOW + timedelta(hours=1)) == Order(Doing.INSTALL, BEGUN)
    assert tell(store, "plc-1", 2, State.PROCEEDING, (), NOW) is Words.UNKNOWN
    assert tell(store, "plc-1", 1, State.PROCEEDING, ("a\0b", "x" * 1000, " "), NOW) is Words.TAKEN
    assert tell(store, "plc-1", 1, State.SUCCESS, (), NOW) is Words.TAKEN
    assert tell(store, "plc-1", 1, State.FAILURE, (), NOW) is Words.CLOSED
    with store.read() as connection:
        (kept,) = actions_of(connection, "plc-1")
    assert kept == replace(BEGUN, state=State.SUCCESS, told=NOW, details=("a\\x00b", "x" * 200))


def test_of_two_words_at_once_the_one_that_closes_an_action_is_the_last(database_server: Postgres) -> None:
    """On PostgreSQL, where both write at once: one that waits sees what the other wrote."""
    url = database_server.database()
    taken: list[Words] = []
    with closing(open_store(url)) as store:
        add(store, ENTRY, NOW)
        order_for(store, DEVICE, offered(SEVEN), NOW)
        taken.append(tell(store, "plc-1", 1, State.PROCEEDING, (), NOW))
        with store.write() as connection:
            connection.execute(update(ACTIONS).values(state=State.SUCCESS.value))
            late = Thread(target=lambda: taken.append(tell(store, "plc-1", 1, State.PROCEEDING, (), NOW)))
            late.start()
            database_server.until_waiting(url)
        late.join()
        assert taken == [Words.TAKEN, Words.CLOSED]
        with store.read() as connection:
            (kept,) = actions_of(connection, "plc-1")
        assert kept.state is State.SUCCESS


def test_a_clock_that_was_set_back_hides_no_later_question(store: Store) -> None:
    add(store, ENTRY, NOW)
    for asked in (NOW + timedelta(days=400), NOW):
        with store.read() as connection:
            device = find(connection, "plc-1")
        assert device is not None
        note_poll(store, device, asked)
        with store.read() as connection:
            device = find(connection, "plc-1")
        assert device is not None
        assert device.polled == asked


def test_a_device_that_is_entered_again_speaks_of_no_action_from_before(store: Store) -> None:
    """Its success with an older release would else count as that of the newer one that has its number."""
    for number, release in ((1, SEVEN), (2, EIGHT)):
        add(store, ENTRY, NOW)
        order = order_for(store, DEVICE, offered(release), NOW)
        assert order is not None
        assert (order.doing, order.action.number, order.action.release) == (Doing.INSTALL, number, release)
        assert tell(store, "plc-1", number, State.PROCEEDING, ("writing",), NOW) is Words.TAKEN
        remove(store, "plc-1")
        assert tell(store, "plc-1", number, State.SUCCESS, (), NOW) is Words.CLOSED
    with store.read() as connection:
        (left,) = actions_of(connection, "plc-1")
    assert (left.number, left.state, left.details) == (2, State.CANCELED, ())


@pytest.mark.parametrize("id_", ["plc-2", "\udcff\x1b[31m", "x" * 5000])
def test_who_is_not_entered_can_neither_be_removed_nor_offered_anything_again(store: Store, id_: str) -> None:
    """Also a name that no database takes: what a shell passes on is any octets."""
    add(store, ENTRY, NOW)
    order_for(store, DEVICE, offered(SEVEN), NOW)
    tell(store, "plc-1", 1, State.FAILURE, (), NOW)
    assert again(store, "plc-1") == 1
    for refused in (again, remove):
        with pytest.raises(UsageError) as said:
            refused(store, id_)
        assert "\x1b" not in str(said.value)
    remove(store, "plc-1")


def test_a_device_describes_itself_within_bounds(store: Store) -> None:
    add(store, ENTRY, NOW)
    note_poll(store, DEVICE, NOW)
    describe_device(store, "plc-1", ConfigData({"hw": "C\0\ud800"}), NOW)
    describe_device(store, "plc-1", ConfigData({f"a{number}": "" for number in range(99)}), NOW)
    with pytest.raises(LimitExceeded):
        describe_device(store, "plc-1", ConfigData({"one": "more"}), NOW)
    with store.read() as connection:
        found = find(connection, "plc-1")
    assert found is not None
    assert (found.polled, found.described, found.attributes.count(":")) == (NOW, NOW, 100)


def test_the_fleets_register_says_where_a_device_of_it_belongs_and_that_it_is_retired(store: Store) -> None:
    listed = FleetDevice("gw-17", "line-2")
    import_devices(store, [device_of("gw-17", str(listed.key), "line-2", "nordhof")], NOW)
    own = replace(ENTRY, id="gw-17", group="", plant="")
    with pytest.raises(UsageError, match="the fleet's register has it"):
        add(store, replace(ENTRY, id="gw-17"), NOW)
    with pytest.raises(UsageError, match="has no such device"):
        add(store, replace(own, id="gw-18"), NOW)
    add(store, own, NOW)
    with store.read() as connection:
        found = find(connection, "gw-17")
    assert found is not None
    assert (found.entry.group, found.entry.plant) == ("line-2", "nordhof")
    assert is_known(found, KNOWN)
    assert not is_known(found, token_known(b"another-token-of-its"))
    retire(store, "gw-17", NOW)
    with store.read() as connection:
        found = find(connection, "gw-17")
    assert found is not None
    assert not is_known(found, KNOWN)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: entry_of("../x", "rauc", "drives/vx", "production", ("", ""), KNOWN, 0),
        lambda: entry_of("plc", "rauc", "drives", "production", ("", ""), KNOWN, 0),
        lambda: entry_of("plc", "rauc", "drives/vx", "", ("", ""), KNOWN, 0),
        lambda: entry_of("plc", "rauc", "drives/vx", "production", ("Line 1", "a"), KNOWN, 0),
        lambda: entry_of("plc", "rauc", "drives/vx", "production", ("", ""), KNOWN, -1),
        lambda: token_known(b"short"),
        lambda: token_known(b"with a space in its middle"),
    ],
)
def test_what_somebody_types_wrongly_is_said(wrong: Callable[[], object]) -> None:
    assert entry_of("plc", "rauc", "drives/vx", "production", ("", ""), KNOWN, 0)
    with pytest.raises(UsageError):
        wrong()
