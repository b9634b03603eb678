"""Attacks on how a trust file is believed: the place it lies in, its dates, its versions, and what lies beside it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.pki import DAY, NOW, Pki, Signer, person_key
from kit.trust import (
    OFFICER,
    RECOVERY,
    codes,
    judge,
    person,
    quorum,
    signed_file,
    trust_bytes,
    trust_parts,
    write_trust,
)
from sealwright.errors import SealwrightError, TrustRefused, Unreadable
from sealwright.trust import belief
from sealwright.trust.belief import load_trust
from sealwright.trust.history import check_step, install, read_signed, signing_keys
from sealwright.trust.model import TrustFile
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome, Purpose

PKI = Pki.make()
SAFE = "it lies where only you or an administrator can write"


def parts(**changes: Toml) -> dict[str, Toml]:
    return trust_parts(PKI, **changes)


def parsed(path: Path) -> TrustFile:
    return parse_trust(path.read_bytes(), path.name)


def through_file(folder: Path, target: Path) -> Path:
    for file in target.parent.iterdir():
        (folder / file.name).symlink_to(file)
    return folder / target.name


def through_folder(folder: Path, target: Path) -> Path:
    (folder / "link").symlink_to(target.parent)
    return folder / "link" / target.name


def through_dots(folder: Path, target: Path) -> Path:
    (folder / "link").symlink_to(target.parent)
    return folder / "link" / ".." / target.parent.name / target.name


@pytest.mark.parametrize("linked", [through_file, through_folder, through_dots])
def test_a108_a_link_that_others_can_turn_makes_no_safe_place(
    tmp_path: Path, linked: Callable[[Path, Path], Path]
) -> None:
    target = write_trust(tmp_path / "safe", parts(), olga=OFFICER)
    folder = tmp_path / "links"
    folder.mkdir()
    path = linked(folder, target)
    assert load_trust(str(path)).reason == SAFE
    folder.chmod(0o777)
    with pytest.raises(TrustRefused, match="others may write in the folder"):
        load_trust(str(path))
    assert load_trust(str(target)).reason == SAFE


def test_a108_links_in_a_circle_end_in_a_typed_error(tmp_path: Path) -> None:
    assert load_trust(str(write_trust(tmp_path / "safe", parts(), olga=OFFICER)))
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Unreadable):
        load_trust(str(tmp_path / "a"))


def access_list(*, named_user: int) -> bytes:
    """A POSIX access list that lets one more user read and write (acl(5), the kernel's form)."""
    nobody = 0xFFFFFFFF
    entries = [(0x01, 6, nobody), (0x02, 6, named_user), (0x04, 4, nobody), (0x10, 6, nobody), (0x20, 4, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_a108_an_access_list_that_lets_others_write_is_seen(tmp_path: Path) -> None:
    path = write_trust(tmp_path, parts(), olga=OFFICER)
    assert load_trust(str(path)).reason == SAFE
    os.setxattr(path, "system.posix_acl_access", access_list(named_user=65534))
    with pytest.raises(TrustRefused, match="others may write it"):
        load_trust(str(path))


def test_a108_what_was_read_is_what_lies_in_the_safe_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_trust(tmp_path / "safe", parts(), olga=OFFICER)
    other = write_trust(tmp_path / "other", parts(title="swapped"), olga=OFFICER)
    assert load_trust(str(path)).reason == SAFE
    check = belief.unsafe_because

    def swap_then_check(name: str) -> str:
        os.replace(other, path)
        return check(name)

    monkeypatch.setattr(belief, "unsafe_because", swap_then_check)
    with pytest.raises(TrustRefused, match="changed while it was read"):
        load_trust(str(path))


def test_a105_a_trust_file_that_has_ended_installs_nothing_and_lets_run(tmp_path: Path) -> None:
    trust = load_trust(str(write_trust(tmp_path, parts(expires=NOW + DAY), olga=OFFICER)))
    file = signed_file(tmp_path, PKI.leaf())
    assert judge(file, trust).outcome is Outcome.TRUSTED
    late = judge(file, trust, NOW + 2 * DAY)
    assert (late.outcome, codes(late)) == (Outcome.UNDECIDED, ["SW-TRUST-EXPIRED"])
    running = judge(file, trust, NOW + 2 * DAY, purpose=Purpose.RUN)
    assert running.outcome is Outcome.TRUSTED
    assert "SW-TRUST-EXPIRED" in [finding.code for finding in running.findings]


def recovered(folder: Path) -> tuple[TrustFile, Path, Signer]:
    """Version 1, and version 2 whose officers the recovery keys replaced."""
    first = parse_trust(trust_bytes(parts()), "1.toml")
    new = person_key()
    people = [person("olga", OFFICER), person("rolf", RECOVERY), person("nina")]
    path = write_trust(folder, parts(version=2, person=people, officers=quorum(1, nina=new)), rolf=RECOVERY, nina=new)
    write_trust(folder / "trust.history", parts(), "1.toml", olga=OFFICER)
    return first, path, new


def test_a106_recovery_shows_after_installing_too_until_the_next_ordinary_version(tmp_path: Path) -> None:
    first, path, new = recovered(tmp_path / "stick")
    place = tmp_path / "place"
    install(read_signed(str(path)), str(place), first)
    installed = place / "trust.toml"
    for known in (None, parsed(installed)):
        assert [f.code for f in load_trust(str(installed), installed=known).findings] == ["SW-TRUST-RECOVERED"]
    third = dict(parts(version=3, officers=quorum(1, nina=new), person=[person("nina"), person("rolf", RECOVERY)]))
    path = write_trust(tmp_path / "stick", third, nina=new)
    install(read_signed(str(path)), str(place), parsed(installed))
    assert load_trust(str(installed), installed=parsed(installed)).findings == ()


@pytest.mark.parametrize(
    "more",
    [
        {"recovery": quorum(1, rolf=person_key())},
        {"stage": "trial"},
        {"id": "plant-8"},
        {"minimum": {"pump": 1}},
        {"rule": None},
        {"authority": None},
        {"anchor": [{"name": "root", "environment": "production", "certificate": Pki.make().root.pem}]},
        {"evidence": [{"key": OFFICER.key_digest, "provenance": "hardware-claimed"}]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a106_recovery_keys_change_nothing_but_the_officers(tmp_path: Path, more: dict[str, Toml]) -> None:
    first, good, new = recovered(tmp_path / "good")
    assert check_step(first, parsed(good), signing_keys(read_signed(str(good))))
    people = [person("olga", OFFICER), person("rolf", RECOVERY), person("nina")]
    changed = parts(**{"version": 2, "person": people, "officers": quorum(1, nina=new)} | more)
    path = write_trust(tmp_path / "more", changed, rolf=RECOVERY, nina=new)
    with pytest.raises(TrustRefused):
        check_step(first, parsed(path), signing_keys(read_signed(str(path))))


def test_a106_both_sides_must_sign_and_no_key_counts_that_only_the_new_version_lists(tmp_path: Path) -> None:
    first = parse_trust(trust_bytes(parts()), "1.toml")
    mallory = person_key()
    taken = parts(version=2, person=[person("mallory"), person("rolf", RECOVERY)], officers=quorum(1, mallory=mallory))
    both = write_trust(tmp_path / "both", taken, mallory=mallory, olga=OFFICER)
    assert check_step(first, parsed(both), signing_keys(read_signed(str(both))))
    alone = write_trust(tmp_path / "alone", taken, mallory=mallory)
    with pytest.raises(TrustRefused, match="officers of version 1"):
        check_step(first, parsed(alone), signing_keys(read_signed(str(alone))))
    old = write_trust(tmp_path / "old", taken, olga=OFFICER)
    with pytest.raises(TrustRefused, match="its own officers"):
        check_step(first, parsed(old), signing_keys(read_signed(str(old))))


def test_a106_no_version_is_left_out_and_one_that_ended_is_a_step(tmp_path: Path) -> None:
    first = parse_trust(trust_bytes(parts()), "1.toml")
    newest = write_trust(tmp_path, parts(version=3), olga=OFFICER)
    with pytest.raises(SealwrightError):
        load_trust(str(newest), installed=first)
    ended = parts(version=2, issued=NOW - 4 * DAY, expires=NOW - 3 * DAY)
    write_trust(tmp_path / "trust.history", ended, "2.toml", olga=OFFICER)
    assert load_trust(str(newest), installed=first).reason == "it follows the installed version 1"


def test_revocation_lists_are_found_in_either_case_and_never_passed_over(tmp_path: Path) -> None:
    path = write_trust(tmp_path, parts(), olga=OFFICER)
    assert load_trust(str(path)).crls == ()
    lists = tmp_path / "trust.d"
    lists.mkdir()
    (lists / "ACME.CRL").write_bytes(PKI.crl(NOW))
    (lists / "other.crl").write_bytes(PKI.crl(NOW, number=2))
    (lists / "._other.crl").write_bytes(b"what a Mac leaves on a stick")
    assert len(load_trust(str(path)).crls) == 2
    lists.rename(tmp_path / "away")
    lists.write_bytes(b"not a folder")
    with pytest.raises(Unreadable):
        load_trust(str(path))


class Crash(BaseException):
    """Power lost."""


@pytest.mark.parametrize("step", range(5))
def test_a_crash_while_installing_leaves_a_trust_file_that_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """One row for each name that installing gives; the last row is the whole of it."""
    place = tmp_path / "place"
    install(read_signed(str(write_trust(tmp_path / "one", parts(), olga=OFFICER))), str(place), None)
    installed = place / "trust.toml"
    first = load_trust(str(installed)).trust
    second = read_signed(str(write_trust(tmp_path / "two", parts(version=2), olga=OFFICER)))
    rename, names = os.replace, []

    def rename_until_the_crash(source: str, target: str) -> None:
        if len(names) == step:
            raise Crash
        names.append(target)
        rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", rename_until_the_crash)
        try:
            install(second, str(place), first)
        except Crash:
            assert step < 4
    assert load_trust(str(installed)).trust.version == (2 if step == 4 else 1)
    install(second, str(place), parsed(installed))
    assert load_trust(str(installed)).trust.version == 2
