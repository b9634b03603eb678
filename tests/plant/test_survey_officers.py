"""Officers' signatures of trust files and deny lists in a survey: what they are, and that nothing hides behind their names."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit.pki import Pki, p7s
from kit.surveys import looked, states
from sealwright.cli.main import main
from sealwright.plant.signers import State


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, whose trust file one officer has signed."""
    folder = tmp_path_factory.mktemp("office")
    assert main(["init", str(folder / "home")]) == 0
    return folder / "home"


@pytest.fixture
def share(made: Path, tmp_path: Path) -> Path:
    for name in ("trust.toml", "trust.toml.officer.p7s"):
        shutil.copy(made / name, tmp_path)
    return tmp_path


def test_a_trust_file_that_its_officer_signed_is_intact_and_its_signature_is_no_file_of_its_own(share: Path) -> None:
    with looked(share) as seen:
        assert states(seen) == {State.INTACT: 1}
        (one,) = seen.by_signer()
        assert one.subject.startswith("CN=signing home trust officer")
        assert [tally.what for tally in one.formats] == ["trust"]


def test_every_officers_signature_counts_and_one_that_does_not_hold_breaks_the_file(share: Path) -> None:
    other = Pki.make().leaf("release")
    text = (share / "trust.toml").read_bytes()
    (share / "trust.toml.jan.d@nordhof.p7s").write_bytes(p7s(other, text, kind="trust"))
    with looked(share) as seen:
        assert states(seen) == {State.INTACT: 1}
        assert {one.files for one in seen.by_signer()} == {1}
        assert seen.signers_total == 2
    (share / "trust.toml").write_bytes(text + b"# changed\n")
    with looked(share) as seen:
        assert states(seen) == {State.BROKEN: 1}


def test_a_signature_of_another_kind_beside_a_trust_file_breaks_it(share: Path) -> None:
    other = Pki.make().leaf("release")
    (share / "trust.toml.jan.p7s").write_bytes(p7s(other, (share / "trust.toml").read_bytes(), kind="file"))
    with looked(share) as seen:
        assert states(seen) == {State.BROKEN: 1}


@pytest.mark.parametrize(
    "name", ["drive.bin.jan.p7s", "trust.toml.jan.txt", "trust.toml.j an.p7s", "trust.tomljan.p7s"]
)
def test_what_is_only_called_like_an_officers_signature_is_a_file_like_any_other_a066(share: Path, name: str) -> None:
    (share / "drive.bin").write_bytes(b"firmware")
    with looked(share) as seen:
        assert states(seen) == {State.INTACT: 1, State.UNSIGNED: 1}
    (share / name).write_bytes(b"payload")
    with looked(share) as seen:
        assert states(seen) == {State.INTACT: 1, State.UNSIGNED: 2}


def test_a_payload_in_an_officers_name_is_told_with_the_trust_file_a066(share: Path) -> None:
    (share / "trust.toml.jan.p7s").write_bytes(b"MZ payload")
    with looked(share) as seen:
        assert states(seen) == {State.UNREADABLE: 1}
        assert any("jan" in told.why for told in seen.told(State.UNREADABLE))


def test_a_link_to_a_trust_file_makes_no_signatures_of_what_lies_beside_it(share: Path) -> None:
    below = share / "below"
    below.mkdir()
    (below / "a").symlink_to(share / "trust.toml")
    (below / "a.jan.p7s").write_bytes(b"payload")
    with looked(share) as seen:
        assert states(seen) == {State.INTACT: 1, State.UNSIGNED: 1}
