"""The agent's rounds: what is offered is fetched without rights, judged on the own copy, installed, and taken back where it does not work."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.agents import HARDWARE, PLAIN, PRODUCT, Maker, Site, program, site
from sealwright.artifact.digest import Digest
from sealwright.cli.main import main
from sealwright.device import agentfolder
from sealwright.device.admission import Asker
from sealwright.device.agent import agent_at
from sealwright.device.agentstate import parse_state
from sealwright.device.round import Doing, Round, Seams
from sealwright.errors import AgentDamaged, InstallRefused
from sealwright.findings import Severity, reject
from sealwright.release.channels import Named
from sealwright.trust.state import read_state
from sealwright.trust.verdict import Outcome as Trust
from sealwright.trust.verdict import Verdict


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(tmp_path: Path, maker: Maker) -> Site:
    return site(tmp_path / "device", maker)


def agent_state(device: Site):  # type: ignore[no-untyped-def]
    return parse_state((device.state / "agent.json").read_bytes(), "agent.json")


def test_what_is_offered_is_installed_once_and_then_there_is_nothing_new(maker: Maker, device: Site) -> None:
    first = maker.release("1.0.0", 1)
    maker.offer(first)
    assert device.round(Doing.CHECK).outcome == "new"
    assert device.version == ""
    done = device.round()
    assert (done.outcome, done.installed.release if done.installed else None) == ("installed", first)
    assert (device.current / "application/start").read_bytes() == b"1.0.0" * 100
    again = device.round()
    assert (again.outcome, again.fetched_bytes) == ("nothing-new", 0)
    assert read_state(str(device.state / "memory")).generations == {PRODUCT: 1}


def test_the_next_release_takes_the_other_slot_and_the_former_one_is_kept(maker: Maker, device: Site) -> None:
    first, second = maker.release("1.0.0", 1), maker.release("1.1.0", 2)
    maker.offer(first)
    assert device.install() == "installed"
    slot = os.readlink(device.current)
    maker.offer(second)
    assert device.install() == "installed"
    assert (device.version, os.readlink(device.current) != slot) == ("1.1.0", True)
    assert Path(slot, "application/start").read_bytes() == b"1.0.0" * 100
    state = agent_state(device)
    assert state.previous is not None
    assert state.previous.release == first


def test_files_that_are_installed_already_are_not_fetched_again(maker: Maker, device: Site) -> None:
    large = os.urandom(300_000)
    maker.offer(maker.release("1.0.0", 1, files={"application/large": large, "application/small": b"1"}))
    assert device.round().fetched_bytes > 300_000
    maker.offer(maker.release("1.1.0", 2, files={"application/large": large, "application/small": b"2"}))
    done = device.round()
    assert (done.outcome, 0 < done.fetched_bytes < 100_000) == ("installed", True)
    assert (device.current / "application/large").read_bytes() == large


def test_an_installed_file_that_was_altered_is_fetched_after_all(maker: Maker, device: Site) -> None:
    large = os.urandom(300_000)
    maker.offer(maker.release("1.0.0", 1, files={"application/large": large, "application/small": b"1"}))
    device.install()
    (device.current / "application/large").write_bytes(b"x" * 300_000)
    maker.offer(maker.release("1.1.0", 2, files={"application/large": large, "application/small": b"2"}))
    assert device.install() == "installed"
    assert (device.current / "application/large").read_bytes() == large


def test_a_release_that_is_not_healthy_gives_way_to_the_former_one(tmp_path: Path, maker: Maker) -> None:
    healthy = program(
        tmp_path / "healthy", 'test "$(cat "$(dirname "$0")"/device/state/current/application/start)" != bad'
    )
    health = f"[health]\ncommand = ['{healthy}']\ntries = 2\npause_s = 0\n"
    device = site(tmp_path / "device", maker, extra=health)
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    bad = maker.release("1.1.0", 2, files={"application/start": b"bad"})
    maker.offer(bad)
    done = device.round()
    assert (done.outcome, device.version) == ("returned", "1.0.0")
    assert "health" in done.trouble
    assert read_state(str(device.state / "memory")).generations == {PRODUCT: 1}
    # it is not tried again by itself, only where somebody asks for it
    assert device.codes(device.round()) == ["SW-AGENT-FAILED-BEFORE"]
    assert device.round(Doing.AGAIN).outcome == "returned"
    maker.offer(maker.release("1.2.0", 3))
    assert device.install() == "installed"


def test_the_first_release_that_does_not_work_leaves_none(tmp_path: Path, maker: Maker) -> None:
    broken = program(tmp_path / "broken", "exit 1")
    device = site(tmp_path / "device", maker, extra=f"[health]\ncommand = ['{broken}']\ntries = 1\n")
    maker.offer(maker.release("1.0.0", 1))
    assert (device.install(), device.version) == ("returned", "")
    assert agent_state(device).installed is None


def test_components_go_to_their_installers_in_order_and_are_undone_in_reverse(tmp_path: Path, maker: Maker) -> None:
    log = tmp_path / "log"
    add, undo = (
        program(tmp_path / "add", f'cat "$1" >> {log}'),
        program(tmp_path / "undo", f'echo "no $(cat "$1")" >> {log}'),
    )
    fails = program(tmp_path / "fails", "echo no room; exit 3")
    one = "[[installer]]\ncomponent = '{}'\nkind = 'exec'\ninstall = ['{}', '{{file}}']\nundo = ['{}', '{{file}}']\n"
    device = site(
        tmp_path / "device",
        maker,
        installers=one.format("boot", add, undo) + one.format("radio", add, undo) + one.format("bad", fails, undo),
    )
    parts = "# sealwright release 1\n" + "".join(
        f"[[component]]\nname = '{name}'\npath = '{name}.bin'\n" for name in ("boot", "radio")
    )
    files = {"boot.bin": b"boot\n", "radio.bin": b"radio\n"}
    maker.offer(maker.release("1.0.0", 1, files=files, description=parts))
    assert device.install() == "installed"
    assert log.read_text() == "boot\nradio\n"
    log.unlink()
    worse = parts + "[[component]]\nname = 'bad'\npath = 'bad.bin'\n"
    maker.offer(maker.release("1.1.0", 2, files={**files, "bad.bin": b"bad\n"}, description=worse))
    done = device.round()
    assert (done.outcome, device.version) == ("returned", "1.0.0")
    assert "bad: " in done.trouble
    assert "ended with 3: no room" in done.trouble
    assert log.read_text().splitlines() == ["boot", "radio", "no bad", "no radio", "no boot"]


def test_a_component_without_undo_is_told_loudly(tmp_path: Path, maker: Maker) -> None:
    true, false = program(tmp_path / "true", "exit 0"), program(tmp_path / "false", "exit 1")
    device = site(
        tmp_path / "device",
        maker,
        installers=f"[[installer]]\ncomponent = 'boot'\nkind = 'exec'\ninstall = ['{true}', '{{file}}']\n",
        extra=f"[health]\ncommand = ['{false}']\ntries = 1\n",
    )
    parts = "# sealwright release 1\n[[component]]\nname = 'boot'\npath = 'boot.bin'\n"
    maker.offer(maker.release("1.0.0", 1, files={"boot.bin": b"b"}, description=parts))
    done = device.round()
    assert done.outcome == "returned"
    assert "boot has no `undo` and may be that of 1.0.0" in done.trouble
    assert main(["agent", "status", "--config", str(device.path)]) == 1


def test_an_operator_goes_back_as_far_as_the_floor_allows(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device.install()
    maker.offer(maker.release("1.1.0", 2))
    device.install()
    assert device.with_agent(lambda agent: agent.roll_back()).outcome == "installed"
    assert device.version == "1.0.0"
    # what was left on purpose is not installed again by itself; the generation that was seen stays
    assert device.codes(device.round()) == ["SW-AGENT-FAILED-BEFORE"]
    assert read_state(str(device.state / "memory")).generations == {PRODUCT: 2}
    assert device.round(Doing.AGAIN).outcome == "installed"
    enforcing = PLAIN.replace("\n", "\nenforces = 3\n", 1)
    maker.offer(maker.release("1.2.0", 3, description=enforcing))
    assert device.install() == "installed"
    refused = device.with_agent(lambda agent: agent.roll_back())
    assert (refused.outcome, device.codes(refused), device.version) == ("refused", ["SW-GENERATION-OLD"], "1.2.0")


def test_there_is_nothing_to_go_back_to_on_a_new_device(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device.install()
    with pytest.raises(InstallRefused, match="none is kept"):
        device.with_agent(lambda agent: agent.roll_back())


def test_outside_its_window_a_device_only_prepares(tmp_path: Path, maker: Maker) -> None:
    now = datetime.now(UTC)
    early, late = now + timedelta(hours=2), now + timedelta(hours=3)
    window = f"[[window]]\nfrom = '{early:%H:%M}'\nto = '{late:%H:%M}'\n"
    device = site(tmp_path / "device", maker, extra=window)
    maker.offer(maker.release("1.0.0", 1))
    assert (device.install(), device.version) == ("waits-for-window", "")
    assert device.round(clock=lambda: now + timedelta(hours=2, minutes=30)).outcome == "installed"


def test_at_once_means_outside_the_window_too(tmp_path: Path, maker: Maker) -> None:
    early, late = datetime.now(UTC) + timedelta(hours=2), datetime.now(UTC) + timedelta(hours=3)
    device = site(tmp_path / "device", maker, extra=f"[[window]]\nfrom = '{early:%H:%M}'\nto = '{late:%H:%M}'\n")
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "waits-for-window"
    assert device.round(Doing.NOW).outcome == "installed"


def test_without_consent_nothing_is_installed(tmp_path: Path, maker: Maker) -> None:
    device = site(tmp_path / "device", maker, consent='"ask"')
    first = maker.release("1.0.0", 1)
    maker.offer(first)
    with agent_at(device.config) as agent:
        assert agent.round(Doing.INSTALL, lambda *_: False).outcome == "waits-for-consent"
    assert device.version == ""
    command = ["agent", "run", "--rounds", "1", "--config", str(device.path)]
    assert main(command) == 3
    (device.state / "consent").write_text("sha256:" + "0" * 64)  # that of another release
    assert main(command) == 3
    (device.state / "consent").write_text(f"{first.manifest}\n")
    assert main(command) == 0
    assert device.version == "1.0.0"


def test_a_dry_run_judges_and_changes_nothing(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    done = device.round(Doing.DRY_RUN)
    assert (done.outcome, device.version) == ("would-install", "")
    assert read_state(str(device.state / "memory")).generations == {}


def test_a_release_that_starts_with_the_device_waits_for_the_next_boot(tmp_path: Path, maker: Maker) -> None:
    asked = tmp_path / "asked"
    reboot = program(tmp_path / "reboot", f"echo x >> {asked}")
    healthy = program(tmp_path / "healthy", "exit 0")
    extra = f"[restart]\ncommand = ['{reboot}']\nafter = 'reboot'\n[health]\ncommand = ['{healthy}']\n"
    device = site(tmp_path / "device", maker, extra=extra)
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "waits-for-reboot"
    assert device.install() == "waits-for-reboot"
    assert asked.read_text() == "x\n"
    assert agent_state(device).installed is None
    with pytest.raises(InstallRefused, match="waits for the next boot"):
        device.with_agent(lambda agent: agent.roll_back())
    pending = agent_state(device).pending
    assert pending is not None
    # the device has started again: another boot than the one that was written down
    path = device.state / "agent.json"
    path.write_bytes(path.read_bytes().replace(pending.boot.encode(), b"an-earlier-boot"))
    done = device.round()
    assert (done.recovered, done.outcome, device.version) == ("proved", "nothing-new", "1.0.0")


def test_a_device_that_goes_back_and_is_off_at_once_starts_again_only_once(tmp_path: Path, maker: Maker) -> None:
    """`reboot -f` in an emulated machine went on for ever (scripts/soak_machine.py): the agent had yet to write that it was back."""
    kept, state = tmp_path / "kept", tmp_path / "device" / "state" / "agent.json"
    reboot = program(tmp_path / "reboot", f"cp {state} {kept}; echo x >> {tmp_path}/asked")
    healthy = program(tmp_path / "healthy", f'test "$(cat {state.parent}/current/application/start)" != bad')
    device = site(tmp_path / "device", maker)
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    extra = f"[restart]\ncommand = ['{reboot}']\nafter = 'reboot'\n[health]\ncommand = ['{healthy}']\ntries = 1\n"
    device.path.write_text(device.path.read_text() + extra)
    maker.offer(maker.release("1.1.0", 2, files={"application/start": b"bad"}))
    assert device.install() == "waits-for-reboot"
    pending = agent_state(device).pending
    assert pending is not None
    state.write_bytes(state.read_bytes().replace(pending.boot.encode(), b"an-earlier-boot"))
    with agent_at(device.config) as agent:
        assert (agent.recovered, device.version) == ("returned", "1.0.0")
    assert (tmp_path / "asked").read_text() == "x\nx\n"
    # the device went off inside that command: what was durable then is what the next boot reads
    state.write_bytes(kept.read_bytes())
    with agent_at(device.config) as agent:
        assert (agent.recovered, device.version) == (None, "1.0.0")
        assert "health" in agent.state.trouble
    assert (tmp_path / "asked").read_text() == "x\nx\n"


def test_a_release_that_needs_another_product_waits_for_it(tmp_path: Path, maker: Maker) -> None:
    needs = PLAIN + "[[requires]]\nproduct = 'VX-200 bootloader'\ngeneration = 4\n"
    maker.offer(maker.release("1.0.0", 1, description=needs))
    present = "[[present]]\nproduct = 'VX-200 bootloader'\ngeneration = {}\n"
    for name, extra in {"none": "", "old": present.format(3)}.items():
        refused = site(tmp_path / name, maker, extra=extra)
        assert refused.codes(refused.round()) == ["SW-AGENT-REQUIRES"]
    assert site(tmp_path / "new", maker, extra=present.format(4)).install() == "installed"


def test_only_devices_of_the_share_are_offered_a_release(tmp_path: Path, maker: Maker) -> None:
    maker.offer(maker.release("1.0.0", 1), percent=50)
    sites = [site(tmp_path / f"d{n}", maker, device=f'"gw-{n}"') for n in range(12)]
    outcomes = [one.round(Doing.CHECK).outcome.value for one in sites]
    assert set(outcomes) == {"new", "nothing-offered"}


def test_two_agents_are_never_at_work_in_one_folder(
    maker: Maker, device: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agentfolder, "LOCK_WAIT_S", 0.1)
    maker.offer(maker.release("1.0.0", 1))
    with agent_at(device.config), pytest.raises(InstallRefused, match="another one is at work"):
        device.round()
    assert device.install() == "installed"


def test_the_commands_say_the_same_to_machines(maker: Maker, device: Site, capsys: pytest.CaptureFixture[str]) -> None:
    first: Named = maker.release("1.0.0", 1)
    maker.offer(first)
    told = []
    for words, code in (
        (["check"], 3),
        (["install", "--yes"], 0),
        (["check"], 0),
        (["status"], 0),
        (["check", "--configuration"], 0),
    ):
        assert main(["agent", *words, "--json", "--config", str(device.path)]) == code
        told.append(json.loads(capsys.readouterr().out))
    assert [one.get("outcome") for one in told[:3]] == ["new", "installed", "nothing-new"]
    assert told[3]["installed"] == {"version": "1.0.0", "generation": 1, "manifest": str(first.manifest)}
    assert (told[3]["runs"], told[3]["hardware"]) == ("trusted", HARDWARE)
    assert told[4]["product"] == PRODUCT


def test_people_read_sentences(maker: Maker, device: Site, capsys: pytest.CaptureFixture[str]) -> None:
    maker.offer(maker.release("1.0.0", 1))
    said = []
    for words in (["check"], ["install", "--dry-run"], ["install", "--yes"], ["check"], ["status"]):
        main(["agent", *words, "--config", str(device.path)])
        said.append(capsys.readouterr().out)
    assert said[0].startswith("1.0.0 (generation 1) is offered in the channel production; installed is nothing")
    assert said[1].startswith("1.0.0 is allowed and would be installed")
    assert said[2].startswith("1.0.0 (generation 1) is installed and works")
    assert said[3].startswith("nothing new: 1.0.0 (generation 1) is installed")
    assert "installed  1.0.0  generation 1" in said[4]
    assert "verdict    trusted for running" in said[4]


class Permitting:
    """Permits that let everything through which they name, once."""

    def __init__(self, *manifests: Digest) -> None:
        self.manifests, self.used = frozenset(manifests), 0

    def judge(self, verdict: Verdict, asker: Asker) -> Verdict:
        assert asker.config.device == "gw-17"
        kept = tuple(one for one in verdict.findings if one.severity is not Severity.REJECT)
        return verdict._replace(findings=kept, outcome=Trust.TRUSTED)

    def use(self, verdict: Verdict, memory: str) -> Verdict:
        assert Path(memory).is_dir()
        self.used += 1
        return verdict.with_findings(() if self.used == 1 else (reject("SW-GENERATION-OLD", "used before"),))


def test_both_seams_are_called(maker: Maker, device: Site) -> None:
    reports: list[Round] = []
    offered = maker.release("1.0.0", 1, hardware=("another",))
    maker.offer(offered)
    with agent_at(device.config, Seams(report=reports.append)) as agent:
        assert agent.round(Doing.INSTALL, lambda *_: True).outcome == "refused"
    with agent_at(device.config, Seams(Permitting(offered.manifest), reports.append)) as agent:
        assert agent.round(Doing.INSTALL, lambda *_: True).outcome == "installed"
    assert [one.outcome.value for one in reports] == ["refused", "installed"]


def test_a_permit_leads_back_once_and_what_was_left_is_not_installed_again(maker: Maker, device: Site) -> None:
    old, new = maker.release("1.0.0", 1), maker.release("1.1.0", 2)
    maker.offer(new)
    assert device.install() == "installed"
    maker.offer(old)
    assert device.install() == "nothing-new"
    permits = Permitting(old.manifest)
    with agent_at(device.config, Seams(permits)) as agent:
        assert agent.round(Doing.INSTALL, lambda *_: True).outcome == "installed"
    assert (device.version, permits.used) == ("1.0.0", 1)
    assert read_state(str(device.state / "memory")).generations == {PRODUCT: 2}
    maker.offer(new)
    assert device.codes(device.round()) == ["SW-AGENT-FAILED-BEFORE"]
    assert device.round(Doing.AGAIN).outcome == "installed"
    maker.offer(old)
    with agent_at(device.config, Seams(permits)) as agent:  # it is used up
        assert agent.round(Doing.INSTALL, lambda *_: True).outcome == "refused"
    assert device.version == "1.1.0"


def test_the_agents_own_file_of_another_device_is_refused(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device.install()
    config = replace(device.config, device="gw-18")
    with pytest.raises(AgentDamaged, match="it is that of gw-17"), agent_at(config):
        pass


def service(device: Site) -> subprocess.Popen[str]:
    code = "from sealwright.cli.main import script; script()"
    command = [sys.executable, "-c", code, "agent", "run", "--json", "--config", str(device.path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_the_service_installs_is_small_at_rest_and_ends_when_it_is_told(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    running = service(device)
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["outcome"] == "installed"
    with contextlib.suppress(ChildProcessError):
        while any(Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()):
            time.sleep(0.05)
    status = Path(f"/proc/{running.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 60 * 1024
    running.terminate()
    assert running.wait(timeout=60) == 0
    running.stdout.close()


def test_a_repository_that_is_away_ends_no_service(maker: Maker, device: Site) -> None:
    device.path.write_text(device.path.read_text().replace('consent = "auto"', 'consent = "auto"\ninterval = "1m"'))
    running = service(device)
    assert running.stdout is not None
    assert json.loads(running.stdout.readline())["error"]["code"] == "SW-REPOSITORY-UNAVAILABLE"
    assert running.poll() is None
    running.terminate()
    assert running.wait(timeout=60) == 0
    running.stdout.close()


def test_a_signal_at_any_instant_of_the_pause_ends_it() -> None:
    """A handler that waited for a lock which the pause holds would never come back."""
    program = """
import signal
from sealwright.device.daemon import Stop
stop = Stop()
assert not stop.waits(0)
signal.signal(signal.SIGALRM, stop._stopped)
signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
for _ in range(20_000):
    stop.waits(0)
signal.setitimer(signal.ITIMER_REAL, 0)
assert stop.waits(60)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_the_status_does_not_wait_for_an_agent_at_work(
    maker: Maker, device: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert main(["agent", "status", "--config", str(device.path)]) == 0
    device.install()
    capsys.readouterr()
    with agent_at(device.config):
        assert main(["agent", "status", "--config", str(device.path)]) == 0
    assert "installed  1.0.0" in capsys.readouterr().out
