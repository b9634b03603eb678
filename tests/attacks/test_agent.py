"""The device's agent against old, foreign, mixed, exchanged and withdrawn releases; each refusal beside what is installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.agents import HARDWARE, NOW, PLAIN, PURPOSES, Maker, Site, program, site, write_device_trust
from kit.pki import Pki
from kit.sticks import lying_stick
from kit.trust import RULE
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import FileEntry, Manifest, Over, manifest_bytes
from sealwright.cli.main import main
from sealwright.device.agent import Agent, agent_at
from sealwright.device.copying import copy_staged
from sealwright.device.round import Doing, Round
from sealwright.device.taking import take
from sealwright.errors import (
    AgentDamaged,
    ChangedWhileRead,
    InstallRefused,
    MalformedTrust,
    RepositoryRefused,
    SealwrightError,
    TrustRefused,
    UsageError,
)
from sealwright.release.channels import Named
from sealwright.trust.belief import load_trust
from sealwright.trust.state import read_state


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker.at(tmp_path / "maker")


@pytest.fixture
def device(tmp_path: Path, maker: Maker) -> Site:
    return site(tmp_path / "device", maker)


def staged_elsewhere(maker: Maker, folder: Path, release: Named) -> Path:
    """What a device that was offered the release has staged; the repository offers it afterwards too."""
    maker.offer(release)
    other = site(folder, maker)
    assert other.round(Doing.DRY_RUN).outcome == "would-install"
    return other.state / "fetch/staged"


def judged(agent: Agent, offered: Named) -> Round:
    """What the agent makes of a fetch process that staged this, whatever the repository says."""
    return take(agent, offered, load_trust(agent.config.trust), Doing.INSTALL, lambda *_: True)


@contextmanager
def lied_to(device: Site, staged: Path) -> Iterator[Agent]:
    """An agent whose fetch process was taken over and staged something of its own."""
    shutil.rmtree(device.state / "fetch/staged", ignore_errors=True)
    subprocess.run(["cp", "-a", staged, device.state / "fetch/staged"], check=True)
    with agent_at(device.config) as agent:
        yield agent


def test_a104_an_older_trust_file_in_the_devices_place_stops_its_updates(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    write_device_trust(device.folder, maker, version=2)
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2))
    write_device_trust(device.folder, maker, version=1)
    with pytest.raises(MalformedTrust, match="older than version 2"):
        device.round()
    assert device.version == "1.0.0"
    write_device_trust(device.folder, maker, version=3)
    assert device.install() == "installed"


def test_a105_a_stale_trust_file_installs_nothing_and_what_runs_goes_on(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2))
    expired = NOW - timedelta(days=2)
    write_device_trust(device.folder, maker, version=2, issued=NOW - timedelta(days=20), expires=expired)
    done = device.round()
    assert (done.outcome, "SW-TRUST-EXPIRED" in device.codes(done), device.version) == ("refused", True, "1.0.0")
    assert main(["agent", "status", "--config", str(device.path)]) == 0


def test_a106_a_trust_file_that_nobody_signed_is_not_the_agents(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    signature = device.folder / "trust.toml.olga.p7s"
    kept = signature.read_bytes()
    signature.unlink()
    with pytest.raises(TrustRefused):
        device.round()
    signature.write_bytes(kept)
    assert device.install() == "installed"


def test_a108_nothing_of_the_environment_leads_the_agent_elsewhere(
    maker: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    spy = program(tmp_path / "spy", f"env > {seen}")
    device = site(tmp_path / "device", maker, extra=f"[health]\ncommand = ['{spy}']\n")
    maker.offer(maker.release("1.0.0", 1))
    for name in ("http_proxy", "https_proxy", "SSL_CERT_FILE", "LD_LIBRARY_PATH", "SEALWRIGHT_TRUST", "PYTHONPATH_X"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    assert device.install() == "installed"
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "PWD", "SHLVL", "_", "OLDPWD"}


def test_a109_a_clock_at_1970_neither_installs_nor_believes_metadata_that_has_ended(
    maker: Maker, tmp_path: Path
) -> None:
    old = lambda: datetime(1970, 1, 2, tzinfo=UTC)  # noqa: E731
    device = site(tmp_path / "device", maker)
    maker.offer(maker.release("1.0.0", 1))
    done = device.round(clock=old)
    assert (done.outcome, device.codes(done)) == ("refused", ["SW-TIME-FLOOR-ONLY"])
    assert device.install() == "installed"
    allowing = {**RULE, **PURPOSES, "without_clock": "allow"}
    by_floor = site(tmp_path / "by-floor", maker, trust={"rule": [allowing]})
    assert by_floor.round(clock=old).outcome == "installed"
    # the trust file is of five days ago, so metadata that ended ten days ago has ended for any clock
    maker.let_end(NOW - timedelta(days=10))
    with pytest.raises(RepositoryRefused, match="expired"):
        by_floor.round(clock=old)


def test_a109_a_clock_that_jumps_back_between_two_rounds_takes_nothing_back(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    floor = read_state(str(device.state / "memory")).floor
    assert floor is not None
    device.round(Doing.CHECK, clock=lambda: datetime(2001, 1, 1, tzinfo=UTC))
    assert read_state(str(device.state / "memory")).floor == floor


def test_a144_an_older_release_is_not_installed_whoever_offers_it(maker: Maker, tmp_path: Path) -> None:
    device = site(tmp_path / "device", maker)
    first, second = maker.release("1.0.0", 1), maker.release("1.1.0", 2)
    staged = staged_elsewhere(maker, tmp_path / "other", first)
    maker.offer(second)
    assert device.install() == "installed"
    maker.offer(first)
    assert device.round().outcome == "nothing-new"
    with lied_to(device, staged) as agent:
        done = judged(agent, first)
    assert (done.outcome, device.codes(done), device.version) == ("refused", ["SW-GENERATION-OLD"], "1.1.0")


def test_a144_an_enforced_floor_stays_when_the_verifiers_memory_is_younger(maker: Maker, tmp_path: Path) -> None:
    """A memory of another day in place of the device's own: the agent's own floor refuses all the same."""
    device = site(tmp_path / "device", maker)
    first, second = (
        maker.release("1.0.0", 1),
        maker.release("1.1.0", 2, description=PLAIN.replace("\n", "\nenforces = 2\n", 1)),
    )
    staged = staged_elsewhere(maker, tmp_path / "other", first)
    maker.offer(first)
    assert device.install() == "installed"
    memory = device.state / "memory/state.json"
    younger = memory.read_bytes()
    maker.offer(second)
    assert device.install() == "installed"
    memory.write_bytes(younger)
    with lied_to(device, staged) as agent:
        done = judged(agent, first)
    assert (done.outcome, device.codes(done)) == ("refused", ["SW-GENERATION-OLD"])


def test_a147_metadata_that_ended_keeps_no_device_on_an_old_release(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    maker.let_end(NOW - timedelta(hours=1))
    with pytest.raises(RepositoryRefused, match="expired"):
        device.round()
    maker.publish()
    assert device.round().outcome == "nothing-new"


def test_a147_a_stick_with_older_metadata_is_refused(maker: Maker, device: Site, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    shutil.copytree(maker.repository.folder, tmp_path / "old-stick")
    assert device.install() == "installed"
    maker.offer(maker.release("1.1.0", 2))
    assert device.round(Doing.CHECK).outcome == "new"
    shutil.rmtree(maker.repository.folder)
    shutil.copytree(tmp_path / "old-stick", maker.repository.folder)
    with pytest.raises(RepositoryRefused, match="not what its keys signed"):
        device.round()


def test_a147_another_repository_than_the_trust_file_names_is_refused(
    maker: Maker, device: Site, tmp_path: Path
) -> None:
    other = Maker.at(tmp_path / "other")
    other.pki, other.signer = maker.pki, maker.signer
    other.offer(other.release("9.0.0", 9))
    foreign = site(tmp_path / "foreign", maker, repositories=f'["{other.repository.folder}"]')
    with pytest.raises(RepositoryRefused, match="the trust file names"):
        foreign.round()
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"


def test_a148_parts_of_two_releases_are_no_release(maker: Maker, device: Site, tmp_path: Path) -> None:
    two = "# sealwright release 1\n" + "".join(
        f"[[component]]\nname = '{n}'\npath = '{n}'\n" for n in ("application", "data")
    )
    installers = "".join(f"[[installer]]\ncomponent = '{n}'\nkind = 'folder'\n" for n in ("application", "data"))
    mixed = site(tmp_path / "mixed", maker, installers=installers)
    first, second = (
        maker.release(
            f"1.{n}.0", n, description=two, files={"application/x": f"app {n}".encode(), "data/y": f"data {n}".encode()}
        )
        for n in (1, 2)
    )
    maker.offer(second)
    assert mixed.round(Doing.DRY_RUN).outcome == "would-install"
    # the fetch process puts the first release's application under the digest of the second one's
    folder = mixed.state / "fetch/staged" / second.manifest.value.hex()
    by_data = {path.read_bytes(): path for path in folder.iterdir()}
    by_data[b"app 2"].write_bytes(b"app 1")
    with agent_at(mixed.config) as agent:
        done = judged(agent, second)
    assert (done.outcome, mixed.codes(done)[0]) == ("refused", "SW-TREE-FILE-CHANGED")
    by_data[b"app 2"].write_bytes(b"app 2")
    assert mixed.install() == "installed"
    assert first != second


def test_a148_a_file_that_belongs_to_no_component_is_refused(maker: Maker, device: Site, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1, files={"application/start": b"1", "stowaway.sh": b"2"}))
    assert device.codes(device.round()) == ["SW-AGENT-INCOMPLETE"]
    more = PLAIN + "[[component]]\nname = 'radio'\npath = 'stowaway.sh'\n"
    maker.offer(maker.release("1.0.1", 2, files={"application/start": b"1", "stowaway.sh": b"2"}, description=more))
    assert device.codes(device.round()) == ["SW-AGENT-INSTALLER"]
    maker.offer(maker.release("1.0.2", 3))
    assert device.install() == "installed"


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"product": "VX-100 drive"}, "SW-PRODUCT-WRONG"),
        ({"hardware": ("VX-200 rev A",)}, "SW-HARDWARE-WRONG"),
        ({"hardware": ()}, "SW-AGENT-CLAIMS"),
        ({"product": None}, "SW-AGENT-CLAIMS"),
    ],
)
def test_a149_a_release_for_something_else_is_refused(
    maker: Maker, device: Site, how: dict[str, object], code: str
) -> None:
    maker.offer(maker.release("1.0.0", 1, **how))  # type: ignore[arg-type]
    done = device.round()
    assert (done.outcome, code in device.codes(done), device.version) == ("refused", True, "")
    maker.offer(maker.release("1.0.1", 2, hardware=("VX-200 rev A", HARDWARE)))
    assert device.install() == "installed"


def test_a149_a_release_of_somebody_the_trust_file_does_not_know_is_refused(maker: Maker, device: Site) -> None:
    """The repository's keys are stolen, all of them: it can offer what it likes, and sign nothing that is installed."""
    stranger = Pki.make("Stranger", at=NOW - timedelta(days=30)).leaf("release", at=NOW - timedelta(days=10))
    maker.offer(maker.release("1.0.0", 1, signer=stranger))
    done = device.round()
    assert (done.outcome, device.version) == ("refused", "")
    assert "SW-PATH-NONE" in device.codes(done) or device.codes(done)
    maker.offer(maker.release("1.0.1", 2))
    assert device.install() == "installed"


def test_a150_what_is_exchanged_behind_the_verdict_is_not_what_is_installed(maker: Maker, device: Site) -> None:
    offered = maker.release("1.0.0", 1)
    maker.offer(offered)

    def exchange(*_: object) -> bool:
        folder = device.state / "fetch/staged" / offered.manifest.value.hex()
        for path in folder.iterdir():
            path.write_bytes(b"evil" * 1000)
        return True

    with agent_at(device.config) as agent:
        assert agent.round(Doing.INSTALL, exchange).outcome == "installed"
    assert (device.current / "application/start").read_bytes() == b"1.0.0" * 100


def test_a150_files_that_are_swapped_all_the_time_are_never_installed_altered(maker: Maker, tmp_path: Path) -> None:
    good = {f"application/part{n}": f"good {n}".encode() * 2000 for n in range(20)}
    offered = maker.release("1.0.0", 1, files=good)
    staged = staged_elsewhere(maker, tmp_path / "other", offered) / offered.manifest.value.hex()
    stop = threading.Event()
    outcomes = set()
    for number in range(6):
        device = site(tmp_path / f"d{number}", maker)
        shutil.copytree(staged, device.state / "fetch/staged" / staged.name)
        swapped = [path for path in (device.state / "fetch/staged" / staged.name).iterdir() if len(path.name) == 64]

        def swap(paths: list[Path] = swapped) -> None:
            with suppress(FileNotFoundError):  # the agent takes the folder away once it has installed
                while not stop.wait(0.0005):
                    for path in paths[::3]:
                        data = path.read_bytes()
                        path.with_suffix(".evil").write_bytes(b"evil" + data[4:])
                        os.replace(path.with_suffix(".evil"), path)
                        path.with_suffix(".good").write_bytes(data)
                        os.replace(path.with_suffix(".good"), path)

        stop.clear()
        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            with agent_at(device.config) as agent:
                outcomes.add(judged(agent, offered).outcome.value)
        except ChangedWhileRead:
            outcomes.add("refused")
        finally:
            stop.set()
            swapper.join()
        if device.version:
            assert {name: (device.current / name).read_bytes() for name in good} == good
    assert outcomes <= {"installed", "refused"}
    quiet = site(tmp_path / "quiet", maker)
    assert quiet.install() == "installed"


@pytest.mark.parametrize("how", ["lies", "gone again"])
def test_a150_a_staging_folder_that_reads_differently_the_second_time_gives_what_was_verified(
    maker: Maker, tmp_path: Path, how: str
) -> None:
    """A file system in user space, under the folder that the agent copies from: it is read once, so there is no second time."""
    data = os.urandom(400_000)
    offered = maker.release("1.0.0", 1, files={"application/start": data})
    staged = staged_elsewhere(maker, tmp_path / "other", offered)
    device = site(tmp_path / "device", maker)
    (device.state / "fetch").mkdir()
    digest = hashlib.sha256(data).hexdigest()
    with lying_stick(staged, device.state / "fetch/staged", how, digest), agent_at(device.config) as agent:
        assert judged(agent, offered).outcome == "installed"
        assert (device.state / "fetch/staged" / offered.manifest.value.hex() / digest).exists()
    assert (device.current / "application/start").read_bytes() == data
    broken = site(tmp_path / "broken", maker)
    (broken.state / "fetch").mkdir()
    with (
        lying_stick(staged, broken.state / "fetch/staged", "gone", digest),
        agent_at(broken.config) as agent,
        pytest.raises(SealwrightError),
    ):
        judged(agent, offered)
    assert broken.version == ""


@pytest.mark.parametrize("what", ["link", "fifo", "folder", "larger"])
def test_a150_a_staged_file_that_is_none_is_refused(maker: Maker, device: Site, what: str) -> None:
    offered = maker.release("1.0.0", 1)
    maker.offer(offered)
    assert device.round(Doing.DRY_RUN).outcome == "would-install"
    folder = device.state / "fetch/staged" / offered.manifest.value.hex()
    path = next(path for path in folder.iterdir() if len(path.name) == 64)
    kept = path.read_bytes()
    path.unlink()
    if what == "link":
        path.symlink_to("/etc/shadow")
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.write_bytes(kept * 1000)
    with agent_at(device.config) as agent, pytest.raises(Exception, match="staged"):
        judged(agent, offered)
    assert device.version == ""
    path.rmdir() if what == "folder" else path.unlink()
    assert device.install() == "installed"


def test_a152_nothing_advances_before_the_new_release_has_shown_that_it_works(maker: Maker, tmp_path: Path) -> None:
    """The power cuts themselves: tests/device/test_agent_power.py."""
    broken = program(tmp_path / "broken", "exit 1")
    ill = site(tmp_path / "ill", maker, extra=f"[health]\ncommand = ['{broken}']\ntries = 1\n")
    maker.offer(maker.release("1.0.0", 1, description=PLAIN.replace("\n", "\nenforces = 1\n", 1)))
    assert ill.install() == "returned"
    assert read_state(str(ill.state / "memory")).generations == {}
    with agent_at(ill.config) as agent:
        assert agent.state.floor == 0
    well = site(tmp_path / "well", maker)
    assert well.install() == "installed"
    with agent_at(well.config) as agent:
        assert agent.state.floor == 1


def test_a154_a_withdrawn_release_is_not_installed_even_from_an_older_stick(maker: Maker, tmp_path: Path) -> None:
    hole = maker.release("1.0.0", 1)
    staged = staged_elsewhere(maker, tmp_path / "other", hole)
    device = site(tmp_path / "device", maker)
    maker.withdraw(hole)
    assert device.round().outcome == "nothing-offered"
    with lied_to(device, staged) as agent:
        done = judged(agent, hole)
    assert (done.outcome, device.codes(done)) == ("refused", ["SW-AGENT-WITHDRAWN"])
    maker.offer(maker.release("1.0.1", 2))
    assert device.install() == "installed"


def test_a154_a_denied_generation_is_not_installed(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    denied = [{"product": "VX-200 drive", "below": 2, "reason": "CVE-2026-1234"}]
    write_device_trust(device.folder, maker, version=2, deny=denied)
    done = device.round()
    assert (done.outcome, device.version) == ("refused", "")
    assert [code for code in device.codes(done) if code.startswith("SW-DENIED")]
    maker.offer(maker.release("1.0.1", 2))
    assert device.install() == "installed"


def test_a155_a_denial_stops_nothing_that_runs_the_agent_tells(
    maker: Maker, device: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    first = maker.release("1.0.0", 1)
    maker.offer(first)
    assert device.install() == "installed"
    assert main(["agent", "status", "--config", str(device.path)]) == 0
    capsys.readouterr()
    denied = [{"product": "VX-200 drive", "below": 2, "reason": "CVE-2026-1234"}]
    write_device_trust(device.folder, maker, version=2, deny=denied)
    maker.withdraw(first)
    told = device.round()
    assert told.outcome == "nothing-offered"
    assert told.running is not None
    assert told.running.outcome == "rejected"
    assert device.round().running is None  # it is told once, and stands in the status
    assert device.version == "1.0.0"
    assert (device.current / "application/start").read_bytes() == b"1.0.0" * 100
    assert main(["agent", "status", "--config", str(device.path)]) == 1
    said = capsys.readouterr().out
    assert "WITHDRAWN  what is installed was withdrawn: CVE-2026-1234" in said
    assert "verdict    rejected for running" in said


def test_a156_an_agent_starts_only_programs_that_root_alone_can_change(maker: Maker, tmp_path: Path) -> None:
    parts = "# sealwright release 1\n[[component]]\nname = 'boot'\npath = 'boot.bin'\n"
    mark = tmp_path / "mark"
    write = program(tmp_path / "write", f'cat "$1" > {mark}')
    installers = f"[[installer]]\ncomponent = 'boot'\nkind = 'exec'\ninstall = ['{write}', '{{file}}']\n"
    device = site(tmp_path / "device", maker, installers=installers)
    maker.offer(maker.release("1.0.0", 1, files={"boot.bin": b"boot"}, description=parts))
    write.chmod(0o777)
    done = device.round()
    assert (done.outcome, "others may write it" in done.trouble, mark.exists()) == ("returned", True, False)
    write.chmod(0o755)
    assert device.round(Doing.AGAIN).outcome == "installed"
    assert mark.read_bytes() == b"boot"


def test_a156_an_agents_file_that_others_may_write_is_not_read(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    device.path.chmod(0o666)
    with pytest.raises(UsageError, match="others may write it"):
        device.round()
    device.path.chmod(0o644)
    assert device.install() == "installed"


def test_a156_the_name_of_a_part_is_one_argument_and_never_a_command(maker: Maker, tmp_path: Path) -> None:
    name = "boot; touch $(dirname $0)/hacked .bin"
    parts = f"# sealwright release 1\n[[component]]\nname = 'boot'\npath = '{name}'\n"
    seen = tmp_path / "seen"
    write = program(tmp_path / "write", f'printf "%s|" "$#" "$1" > {seen}')
    installers = f"[[installer]]\ncomponent = 'boot'\nkind = 'exec'\ninstall = ['{write}', '{{file}}']\n"
    device = site(tmp_path / "device", maker, installers=installers)
    maker.offer(maker.release("1.0.0", 1, files={name: b"boot"}, description=parts))
    assert device.install() == "installed"
    assert seen.read_text() == f"1|{device.current.readlink()}/{name}|"
    assert not (tmp_path / "hacked").exists()


def test_a158_what_an_agent_of_another_device_knew_is_not_this_devices(maker: Maker, tmp_path: Path) -> None:
    maker.offer(maker.release("1.0.0", 1))
    one = site(tmp_path / "one", maker)
    assert one.install() == "installed"
    other = site(tmp_path / "other", maker, device='"gw-18"')
    shutil.copy(one.state / "agent.json", other.state / "agent.json")
    with pytest.raises(AgentDamaged, match="it is that of gw-17"):
        other.round()
    (other.state / "agent.json").unlink()
    assert other.install() == "installed"


def test_a158_a_memory_that_vanished_is_not_made_anew(maker: Maker, device: Site) -> None:
    maker.offer(maker.release("1.0.0", 1))
    assert device.install() == "installed"
    os.rename(device.state / "memory", device.folder / "memory")
    with pytest.raises(AgentDamaged, match="memory is gone"):
        device.round()
    os.rename(device.folder / "memory", device.state / "memory")
    assert device.round().outcome == "nothing-new"


@pytest.mark.parametrize("name", ["1.0.manifest", "file"])
def test_what_another_account_owns_is_not_copied_though_it_is_staged_by_a_hard_link(tmp_path: Path, name: str) -> None:
    """Where fs.protected_hardlinks is 0 the account that fetches may link what it cannot read, and have the agent copy it."""
    data = b"application"
    manifest = manifest_bytes(
        Manifest(
            HashName.SHA256, Over.TREE, Claims(), (FileEntry(b"app.bin", Digest.of(data).value),), total_bytes=len(data)
        )
    )
    offered = Named("1.0", 1, Digest.of(manifest))
    staged = tmp_path / "fetch" / "staged" / offered.manifest.value.hex()
    staged.mkdir(parents=True)
    files = {"1.0.manifest": manifest, Digest.of(data).value.hex(): data}
    for one, content in files.items():
        (staged / one).write_bytes(content)
    assert copy_staged(str(tmp_path / "fetch"), str(tmp_path / "work"), offered, {}, 1 << 20).size_bytes == len(data)
    path = staged / (name if name in files else Digest.of(data).value.hex())
    theirs = tmp_path / "theirs"
    theirs.write_bytes(path.read_bytes())
    os.chown(theirs, 65534, 65534)
    path.unlink()
    os.link(theirs, path)
    with pytest.raises(InstallRefused, match="another account"):
        copy_staged(str(tmp_path / "fetch"), str(tmp_path / "work"), offered, {}, 1 << 20)
