"""Debian's SWUpdate as it is, its suricatta configured for hawkBit: it asks our service over TLS, installs, and tells how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from kit.agents import Maker
from kit.hawkbit import HawkbitHouse, hawkbit_house, release_with, serving_hawkbit
from kit.network import network
from kit.pki import Pki
from kit.updates import IMAGE, members_of, repacked, ring, swu

WAIT_S = 60.0
TESTED_WELL = "-c 2"


@dataclass
class Board:
    """A device with SWUpdate, a flash in a file, and a keyring."""

    folder: Path
    house: HawkbitHouse
    keyring: Path
    id: str = "plc-1"

    @property
    def flash(self) -> Path:
        return self.folder / "flash"

    @property
    def configuration(self) -> Path:
        """As SWUpdate's documentation has it."""
        path = self.folder / "swupdate.cfg"
        path.write_text(
            "globals: { verbose = true; };\n"
            f'suricatta: {{ tenant = "acme"; id = "{self.id}"; url = "{self.house.https}"; polldelay = 1;\n'
            f' targettoken = "{self.house.tokens[self.id]}"; cafile = "{self.house.folder}/servers.pem"; }};\n'
            'identify: ( { name = "hw"; value = "rev C"; } );\n'
        )
        return path

    @contextmanager
    def running(self, *options: str) -> Iterator[None]:
        """SWUpdate as a daemon, until the end of the block. options: of suricatta."""
        place = self.folder / "run"
        place.mkdir(exist_ok=True)
        command = [
            "swupdate",
            "-v",
            "-f",
            self.configuration,
            "-k",
            self.keyring,
            "-H",
            "board:1.0",
            "-u",
            " ".join(options),
        ]
        with (self.folder / "words").open("ab") as words:
            process = subprocess.Popen(
                [*self.house.inside, *command],
                cwd=self.folder,
                env=os.environ | {"TMPDIR": str(place)},
                stdout=words,
                stderr=words,
                start_new_session=True,
            )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something that the device does."""
        until = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < until, ((self.folder / "words").read_text()[-4000:], self.house.log[-2000:])
            time.sleep(0.1)

    def has_told(self, version: str, state: str) -> bool:
        """Whether that is what it says of that release."""
        return self.told() == (version, state)

    def told(self) -> tuple[str, str]:
        """The release that it was offered last, and how far it says that is."""
        said = self.house.told(self.id)
        return said["offered"], said["told"]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    maker = Maker.at(tmp_path / "maker")
    with network() as inside:
        house = hawkbit_house(tmp_path / "house", maker, inside)
        house.add("plc-1")
        board = Board(tmp_path, house, tmp_path / "keyring.pem")
        board.flash.write_bytes(bytes(len(IMAGE)))
        yield board


def test_swupdate_installs_what_its_channel_offers_and_refuses_what_its_own_key_did_not_sign(board: Board) -> None:
    maker, makers = board.house.maker, Pki.make("Updates")
    ring(board.keyring, makers)
    good = swu(board.folder / "good", makers, "1.0.0", IMAGE, board.flash)
    strange = swu(board.folder / "strange", Pki.make("Other"), "1.1.0", IMAGE[::-1], board.flash)
    newer = swu(board.folder / "newer", makers, "1.2.0", IMAGE[::-1], board.flash)
    altered = repacked(newer, board.folder, {"fw.bin": members_of(newer)["fw.bin"][:-1] + b"x"})
    house = board.house
    maker.offer(release_with(maker, "1.0.0", 1, good.read_bytes()))
    with serving_hawkbit(house):
        with board.running():
            board.until(lambda: "All Chunks Installed." in house.told("plc-1")["details"])
            assert board.told() == ("1.0.0", "proceeding")
        assert board.flash.read_bytes() == IMAGE
        assert house.told("plc-1")["attributes"] == '{"hw": "rev C"}'
        # after its restart, as the boot script tells it
        with board.running(TESTED_WELL):
            board.until(lambda: board.told() == ("1.0.0", "success"))
        # signed by somebody else, then of another image than was signed: each is offered once, and refused
        with board.running():
            for generation, version, bytes_ in ((2, "1.1.0", strange.read_bytes()), (3, "1.2.0", altered.read_bytes())):
                maker.offer(release_with(maker, version, generation, bytes_))
                board.until(partial(board.has_told, version, "failure"))
        assert board.flash.read_bytes() != IMAGE[::-1]
        assert "plc-1" in house.sealwright("fleet", "updater", "again", "plc-1")


def test_a_withdrawn_release_is_cancelled_on_the_device_that_has_it_and_offered_to_nobody(board: Board) -> None:
    maker, makers = board.house.maker, Pki.make("Updates")
    ring(board.keyring, makers)
    release = release_with(
        maker, "1.0.0", 1, swu(board.folder / "good", makers, "1.0.0", IMAGE, board.flash).read_bytes()
    )
    maker.offer(release)
    with serving_hawkbit(board.house):
        with board.running():
            board.until(lambda: board.told() == ("1.0.0", "proceeding"))
            maker.withdraw(release)
            board.until(lambda: board.told() == ("1.0.0", "canceled"))
        board.house.add("plc-2")
        other = Board(board.folder, board.house, board.keyring, "plc-2")
        with other.running():
            other.until(lambda: bool(other.house.told("plc-2")["polled"]))
        assert other.told() == ("", "")
