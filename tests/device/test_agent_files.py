"""agent.toml and the agent's own file: what is read, what is refused, and that every refusal says where."""

from __future__ import annotations

import random
import re
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealwright.artifact.digest import Digest
from sealwright.device import programs
from sealwright.device.agentconfig import AgentConfig, parse_config
from sealwright.device.agentstate import (
    MAX_WITHDRAWN,
    AgentState,
    Installed,
    Kept,
    Pending,
    Step,
    parse_state,
    state_bytes,
)
from sealwright.device.programs import Command, run
from sealwright.device.window import Window, open_at
from sealwright.errors import AgentDamaged, InstallRefused, LimitExceeded, MalformedConfiguration
from sealwright.release.channels import Named, Withdrawn

ROOT = Path(__file__).resolve().parents[2]
LEAST = """# sealwright agent 1
device = "gw-17"
hardware = "VX-200 rev C"
product = "VX-200 drive"
path = "drives/vx-200"
group = "line-1"
channel = "production"
repositories = ["https://updates.plant.example/tuf"]
trust = "/etc/sealwright/trust.toml"
state = "/var/lib/sealwright/agent"
user = "nobody"
consent = "ask"
"""
FOLDER = '[[installer]]\ncomponent = "application"\nkind = "folder"\n'
NAMED = Named("1.0.0", 7, Digest.of(b"one"))
WHOLE = AgentState(
    "gw-17",
    "VX-200 drive",
    5,
    Installed(NAMED, "a", datetime(2026, 11, 26, 12, tzinfo=UTC)),
    Installed(Named("0.9.0", 6, Digest.of(b"two")), "b", datetime(2026, 11, 1, tzinfo=UTC)),
    Pending(Named("1.1.0", 8, Digest.of(b"three")), "b", Step.PROVING, 2, 1, "a boot", 8),
    (Digest.of(b"four"),),
    (Withdrawn(NAMED, "CVE-2026-1"),),
    "somebody has to look",
    "2026-11-26T12:00:00Z installed",
    "sha256:00",
    41,
)


def parsed(text: str) -> AgentConfig:
    return parse_config(text.encode(), "agent.toml")


def test_the_file_of_the_documentation_is_one() -> None:
    page = (ROOT / "docs/agent.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    config = parsed(text)
    assert config.counter is not None
    assert (config.windows[0].zone, config.limits.rate_bytes, len(config.installers)) == ("Europe/Berlin", 500_000, 2)
    assert config.current == "/opt/vx-200/current"


def test_the_least_that_an_agent_has_to_be_told() -> None:
    config = parsed(LEAST + FOLDER)
    assert (config.current, config.interval.total_seconds()) == ("/var/lib/sealwright/agent/current", 3600)
    assert (config.windows, config.restart, config.health, config.counter) == ((), None, None, None)


EXEC = '[[installer]]\ncomponent = "a"\nkind = "exec"\n'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("device = ", "devise = "), "`device` must be"),
        (('"gw-17"', '"gw 17"'), "`device` must be"),
        (('"drives/vx-200"', '"drives"'), "`path` must be LINE/NAME"),
        (('"https://updates.plant.example/tuf"', '"ftp://x"'), "http:// or https:// addresses"),
        (('"https://updates.plant.example/tuf"', '"https://a:b@x"'), "without a password"),
        (('"https://updates.plant.example/tuf"', '"media/stick"'), "folders from the root"),
        (('"/var/lib/sealwright/agent"', '"/var/lib/../x"'), "`state` must be a path"),
        (('"ask"', '"maybe"'), '"auto", "ask"'),
        (('user = "nobody"\n', ""), "an account without rights"),
        (('"nobody"', '"root"'), "an account without rights"),
        ((FOLDER, ""), "`installer` must be there"),
        ((FOLDER, FOLDER * 2), "once for each component"),
        ((FOLDER, EXEC + 'install = ["rauc", "{file}"]\n'), "a program's path from the root"),
        ((FOLDER, EXEC + 'install = ["/bin/sh", "-c", "x {file}"]\n'), "stand alone"),
        ((FOLDER, EXEC + 'install = ["/bin/true"]\n'), "with `{file}` or `{folder}`"),
        ((FOLDER, EXEC + 'install = ["{file}"]\n'), "a program's path from the root"),
        ((FOLDER, FOLDER + '[health]\ncommand = ["/bin/true", "{file}"]\n'), "without `{file}`"),
        ((FOLDER, FOLDER + '[[window]]\nfrom = "22:00"\nto = "25:00"\n'), 'an hour like "22:00"'),
        (
            (FOLDER, FOLDER + '[[window]]\nfrom = "22:00"\nto = "03:00"\nzone = "Mars/Olympus"\n'),
            "a zone that this system knows",
        ),
        ((FOLDER, FOLDER + '[[window]]\ndays = ["Someday"]\nfrom = "22:00"\nto = "03:00"\n'), "`days` must be some of"),
        ((FOLDER, FOLDER + '[[present]]\nproduct = "VX-200 drive"\ngeneration = 1\n'), "one for each other product"),
        ((FOLDER, FOLDER + "[counter]\nindex = 5\n"), "`index` must be"),
        ((FOLDER, FOLDER + "[limits]\nrelease_bytes = 0\n"), "`release_bytes` must be"),
        ((FOLDER, FOLDER + "[restart]\ncommand = ['/bin/true']\nafter = 'tea'\n"), '"service", "reboot"'),
        ((FOLDER, FOLDER + "[unknown]\nx = 1\n"), "unknown key `unknown`"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(change: tuple[str, str], said: str) -> None:
    assert parsed(LEAST + FOLDER)
    with pytest.raises(MalformedConfiguration, match=re.escape(said)):
        parsed((LEAST + FOLDER).replace(*change))


def test_a_file_without_end_is_not_read() -> None:
    with pytest.raises(LimitExceeded):
        parsed(LEAST + FOLDER + "#" * (300 << 10))


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-11-28T21:30", True),  # Saturday 22:30 in Berlin
        ("2026-11-29T01:59", True),  # the night that began on Saturday
        ("2026-11-29T02:01", False),
        ("2026-11-28T20:30", False),
        ("2026-11-27T21:30", False),
        ("2026-07-04T20:30", True),  # summer time: 22:30
    ],
)
def test_a_window_is_where_its_zone_says(moment: str, open_: bool) -> None:
    config = parsed(
        LEAST + FOLDER + '[[window]]\ndays = ["Sat"]\nfrom = "22:00"\nto = "03:00"\nzone = "Europe/Berlin"\n'
    )
    assert open_at(config.windows, datetime.fromisoformat(moment).replace(tzinfo=UTC)) is open_


def test_several_windows_add_up_and_none_is_always() -> None:
    two = parsed(
        LEAST + FOLDER + '[[window]]\nfrom = "01:00"\nto = "02:00"\n[[window]]\nfrom = "05:00"\nto = "06:00"\n'
    ).windows
    hours = [hour for hour in range(24) if open_at(two, datetime(2026, 1, 1, hour, 30, tzinfo=UTC))]
    assert hours == [1, 5]
    assert open_at((), datetime(2026, 1, 1, tzinfo=UTC))
    assert str(two[0]) == "every day 01:00-02:00 UTC"
    assert isinstance(two[0], Window)


@pytest.mark.parametrize("state", [WHOLE, AgentState("gw-17", "x")])
def test_a_state_is_what_was_written(state: AgentState) -> None:
    assert parse_state(state_bytes(state), "agent.json") == state


def test_a_damaged_state_is_refused_wherever_it_is_damaged() -> None:
    good = state_bytes(WHOLE)
    draw = random.Random(3)
    for at in range(len(good)):
        for changed in (
            good[:at],
            good[:at] + bytes([draw.randrange(256)]) + good[at + 1 :],
            good[:at] + b"," + good[at:],
        ):
            try:
                assert parse_state(changed, "agent.json").device
            except AgentDamaged as cause:
                assert cause.next_step  # noqa: PT017


def test_what_was_withdrawn_is_kept_up_to_a_bound() -> None:
    many = tuple(Withdrawn(Named(f"1.{n}.0", n, Digest.of(str(n).encode())), f"CVE-{n}") for n in range(300))
    known = AgentState("gw-17", "x").knowing(many[:150]).knowing(many[150:]).knowing(())
    assert len(known.withdrawn) == MAX_WITHDRAWN
    assert known.advisory(many[299].release.manifest) == "CVE-299"
    assert parse_state(state_bytes(known), "agent.json") == known


def test_a_change_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    kept = Kept(str(tmp_path), "gw-17", "x")
    kept.change(lambda state: state)
    assert not (tmp_path / "agent.json").exists()
    kept.change(lambda state: state.having_failed(Digest.of(b"x")))
    assert stat.S_IMODE((tmp_path / "agent.json").stat().st_mode) == 0o600


def script(path: Path, text: str) -> Command:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Command((str(path), "{file}"), timedelta(seconds=1), None)


def test_a_program_that_does_not_end_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert run(script(tmp_path / "quick", "exit 0"), "x").why == ""
    ended = run(script(tmp_path / "slow", f"(sleep 3; touch {mark}) & sleep 60"), "x")
    assert "did not end within 0:00:01" in ended.why
    time.sleep(3.2)
    assert not mark.exists()


def test_a_programs_last_words_are_told_and_bounded(tmp_path: Path) -> None:
    ended = run(
        script(tmp_path / "talks", "yes x | head -c 1000000; printf '\\033[2Jno \\342\\200\\256 room\\n' >&2; exit 4"),
        "x",
    )
    assert "ended with 4" in ended.why
    assert "\x1b" not in ended.why
    assert "\u202e" not in ended.why
    assert len(ended.why) < 500


@pytest.mark.parametrize("how", ["missing", "writable", "not executable", "another digest"])
def test_a_program_that_cannot_be_relied_on_is_not_run(tmp_path: Path, how: str) -> None:
    good = script(tmp_path / "program", "exit 0")
    assert run(good, "x").why == ""
    if how == "missing":
        (tmp_path / "program").unlink()
    elif how == "writable":
        (tmp_path / "program").chmod(0o757)
    elif how == "not executable":
        (tmp_path / "program").chmod(0o644)
    else:
        good = Command(good.words, good.timeout, Digest.of(b"another"))
    with pytest.raises(InstallRefused, match="the program cannot be relied on"):
        run(good, "x")
    assert programs.ENVIRONMENT.keys() == {"PATH", "HOME", "LANG"}
