"""The floor in a TPM's counter (swtpm): it rises, nothing takes it back, and a TPM that was cleared or changed is refused."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.agents import PLAIN, Maker, Site, site
from kit.tokens import start_tpm
from sealwright.device.agent import agent_at
from sealwright.device.agentconfig import CounterConfig
from sealwright.device.counter import MAX_STEPS, TpmCounter, make_counter
from sealwright.errors import AgentDamaged

INDEX = 0x01500017


@pytest.fixture
def tcti(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "tpm").mkdir()
    process, tcti = start_tpm(tmp_path / "tpm")
    yield tcti
    process.terminate()
    process.wait(timeout=10)


def enforcing(number: int) -> str:
    return PLAIN.replace("\n", f"\nenforces = {number}\n", 1)


def counting(folder: Path, maker: Maker, tcti: str) -> Site:
    return site(folder, maker, extra=f"[counter]\ntcti = '{tcti}'\nindex = {INDEX}\n")


def test_a_counter_rises_and_never_falls(tcti: str) -> None:
    config = CounterConfig(tcti, INDEX)
    counter = TpmCounter(config, make_counter(config))
    assert counter.floor() == 0
    for wanted, floor in ((3, 3), (1, 3), (3, 3), (4, 4)):
        counter.raise_to(wanted)
        assert counter.floor() == floor
    with pytest.raises(AgentDamaged, match="steps are too many"):
        counter.raise_to(MAX_STEPS + 5)


def test_a_counter_that_somebody_else_made_is_not_taken_over(tcti: str) -> None:
    config = CounterConfig(tcti, INDEX)
    base = make_counter(config)
    with pytest.raises(AgentDamaged, match="there is one already"):
        make_counter(config)
    with pytest.raises(AgentDamaged, match="below"):
        TpmCounter(config, base + 100).floor()


def test_a_disk_that_is_put_back_to_an_older_day_meets_the_newer_counter(tmp_path: Path, tcti: str) -> None:
    maker = Maker.at(tmp_path / "maker")
    device = counting(tmp_path / "device", maker, tcti)
    old = maker.release("1.0.0", 1, description=enforcing(1))
    maker.offer(old)
    with agent_at(device.config):  # the device is set up: its counter is made
        pass
    shutil.copytree(device.state, tmp_path / "old-day", symlinks=True)
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2, description=enforcing(2)))
    assert device.install() == "installed"
    shutil.rmtree(device.state)
    shutil.copytree(tmp_path / "old-day", device.state, symlinks=True)
    maker.offer(old)
    done = device.round()
    assert (done.outcome, device.codes(done)) == ("refused", ["SW-GENERATION-OLD"])
    maker.offer(maker.release("1.2.0", 3, description=enforcing(3)))
    assert device.install() == "installed"


def test_a_tpm_that_was_cleared_installs_nothing(tmp_path: Path, tcti: str) -> None:
    maker = Maker.at(tmp_path / "maker")
    device = counting(tmp_path / "device", maker, tcti)
    maker.offer(maker.release("1.0.0", 1, description=enforcing(1)))
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2))
    subprocess.run(["tpm2_nvundefine", "-T", tcti, hex(INDEX)], check=True, capture_output=True)
    with pytest.raises(AgentDamaged, match="the TPM says"):
        device.round()
    assert device.version == "1.0.0"


def test_a_counter_is_there_from_the_beginning_or_not_at_all(tmp_path: Path, tcti: str) -> None:
    maker = Maker.at(tmp_path / "maker")
    device = site(tmp_path / "device", maker)
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    plain = device.path.read_text()
    device.path.write_text(f"{plain}[counter]\ntcti = '{tcti}'\nindex = {INDEX}\n")
    with pytest.raises(AgentDamaged, match="came after the first installation"):
        device.round()
    device.path.write_text(plain)
    assert device.round().outcome == "nothing-new"
    other = counting(tmp_path / "other", maker, tcti)
    assert other.install() == "installed"
    other.path.write_text(other.path.read_text().partition("[counter]")[0])
    with pytest.raises(AgentDamaged, match=r"\[counter\] is gone"):
        other.round()
