"""Checking a folder of records: what somebody did to it is named, and what cannot be seen from inside is seen from outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from kit.mutate import flips
from kit.openssl import cms_verify
from kit.pki import DAY, HOUR, NOW, Pki, p7s
from kit.records import copied, signature_of, text_of, write
from kit.trust import believed
from sealwright.artifact.digest import Digest
from sealwright.errors import UsageError
from sealwright.findings import Finding
from sealwright.pki.profiles import CODE_SIGNER, LOG, RECORD_SIGNER
from sealwright.plant.recordcheck import Check, End, PinnedKeys, Stations, TrustedStations, is_wrong, parse_end
from sealwright.plant.recordfolder import place_of
from sealwright.trust.model import Denied

PKI = Pki.make("Plant")
STATION = PKI.leaf("pc7", profile=RECORD_SIGNER)
OTHER = PKI.leaf("pc8", profile=RECORD_SIGNER)
PINNED = PinnedKeys(frozenset([Digest.parse(STATION.key_digest)]))


class Silent:
    """No progress."""

    def advance(self, bytes_done: int) -> None:
        pass


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records") / "records"
    write(folder, 6, STATION)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "records")


def findings(folder: Path, stations: Stations | None = PINNED, contains: End | None = None) -> list[Finding]:
    return list(Check(str(folder), stations, contains).findings(Silent()))


def told(folder: Path, stations: Stations | None = PINNED, contains: End | None = None) -> list[tuple[str, str]]:
    return [(found.code, found.subject) for found in findings(folder, stations, contains)]


def end_of(folder: Path) -> End:
    check = Check(str(folder), PINNED)
    assert not list(check.findings(Silent()))
    assert check.end is not None
    return check.end


def move(folder: Path, number: int, to: int) -> None:
    Path(place_of(str(folder), number)).rename(place_of(str(folder), to))


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def removed(folder: Path) -> None:
    shutil.rmtree(place_of(str(folder), 3))


def two_removed(folder: Path) -> None:
    removed(folder)
    shutil.rmtree(place_of(str(folder), 4))


def first_removed(folder: Path) -> None:
    shutil.rmtree(place_of(str(folder), 1))


def closed_up(folder: Path) -> None:
    removed(folder)
    for number in (4, 5, 6):
        move(folder, number, number - 1)


def swapped(folder: Path) -> None:
    move(folder, 3, 9)
    move(folder, 4, 3)
    move(folder, 9, 4)


def outcome_edited(folder: Path) -> None:
    edit(text_of(folder, 3), b"# outcome trusted", b"# outcome rejected")


def torn(folder: Path) -> None:
    text_of(folder, 3).write_bytes(text_of(folder, 3).read_bytes()[:100])


def emptied(folder: Path) -> None:
    text_of(folder, 3).write_bytes(b"")


def signature_removed(folder: Path) -> None:
    signature_of(folder, 3).unlink()


def signature_of_another(folder: Path) -> None:
    shutil.copy(signature_of(folder, 4), signature_of(folder, 3))


def signed_by_another(folder: Path) -> None:
    signature_of(folder, 3).write_bytes(p7s(OTHER, text_of(folder, 3).read_bytes(), kind="record"))


def signed_as_a_file(folder: Path) -> None:
    signature_of(folder, 3).write_bytes(p7s(STATION, text_of(folder, 3).read_bytes(), kind="file"))


def text_removed(folder: Path) -> None:
    text_of(folder, 3).unlink()


def link_to_the_text(folder: Path) -> None:
    shutil.move(text_of(folder, 3), folder.parent / "moved.txt")
    text_of(folder, 3).symlink_to(folder.parent / "moved.txt")


def stray_file(folder: Path) -> None:
    (folder / "000000" / "000000003" / "readme.txt").write_text("")


def stray_folder(folder: Path) -> None:
    (folder / "000000" / "old").mkdir()


def stray_number(folder: Path) -> None:
    shutil.copytree(place_of(str(folder), 3), folder / "000000" / "000001003")


def stray_above(folder: Path) -> None:
    (folder / "backup.zip").write_text("")


def copied_in(folder: Path) -> None:
    other = folder.parent / "other"
    write(other, 7, STATION)
    shutil.copytree(place_of(str(other), 7), place_of(str(folder), 7))


def copied_over(folder: Path) -> None:
    other = folder.parent / "other"
    write(other, 3, STATION)
    shutil.rmtree(place_of(str(folder), 3))
    shutil.copytree(place_of(str(other), 3), place_of(str(folder), 3))


def rewritten_unsigned(folder: Path) -> None:
    shutil.rmtree(folder)
    write(folder, 6)


CASES: dict[Callable[[Path], None], list[tuple[str, str]]] = {
    removed: [("SW-RECORD-MISSING", "3")],
    two_removed: [("SW-RECORD-MISSING", "3-4")],
    first_removed: [("SW-RECORD-MISSING", "1")],
    closed_up: [("SW-RECORD-CHAIN", "3"), ("SW-RECORD-CHAIN", "4"), ("SW-RECORD-CHAIN", "5")],
    swapped: [("SW-RECORD-CHAIN", "3"), ("SW-RECORD-CHAIN", "4"), ("SW-RECORD-CHAIN", "5")],
    outcome_edited: [("SW-RECORD-SIGNATURE", "3"), ("SW-RECORD-CHAIN", "4")],
    torn: [("SW-RECORD-DAMAGED", "3"), ("SW-RECORD-CHAIN", "4")],
    emptied: [("SW-RECORD-DAMAGED", "3"), ("SW-RECORD-CHAIN", "4")],
    signature_removed: [("SW-RECORD-SIGNATURE", "3")],
    signature_of_another: [("SW-RECORD-SIGNATURE", "3")],
    signed_by_another: [("SW-RECORD-SIGNATURE", "3")],
    signed_as_a_file: [("SW-RECORD-SIGNATURE", "3")],
    text_removed: [("SW-RECORD-DAMAGED", "3")],
    link_to_the_text: [("SW-RECORD-DAMAGED", "3")],
    stray_file: [("SW-RECORD-STRAY", "000000/000000003/readme.txt")],
    stray_folder: [("SW-RECORD-STRAY", "000000/old")],
    stray_number: [("SW-RECORD-STRAY", "000000/000001003")],
    stray_above: [("SW-RECORD-STRAY", "backup.zip")],
    copied_in: [("SW-RECORD-OTHER-FOLDER", "7")],
    copied_over: [("SW-RECORD-OTHER-FOLDER", "3"), ("SW-RECORD-CHAIN", "4")],
    rewritten_unsigned: [("SW-RECORD-UNSIGNED", str(number)) for number in range(1, 7)],
}


@pytest.mark.parametrize("done", CASES, ids=lambda done: done.__name__)
def test_what_was_done_to_the_folder_is_named(folder: Path, done: Callable[[Path], None]) -> None:
    assert told(folder) == []
    done(folder)
    assert told(folder) == CASES[done]


def test_the_newest_records_are_missed_by_the_line_kept_outside_and_by_nothing_inside(folder: Path) -> None:
    end = end_of(folder)
    assert (end.count, parse_end(end.line)) == (6, end)
    old = copied(folder, folder.parent / "old")
    shutil.rmtree(place_of(str(old), 6))
    assert told(old) == []
    assert told(old, contains=end) == [("SW-RECORD-END", str(old))]
    write(old, 2, STATION, at=NOW + HOUR)  # and the station, which knows nothing of it, goes on
    assert told(old) == []
    assert told(old, contains=end) == [("SW-RECORD-END", str(old))]
    assert told(folder, contains=end) == []
    write(folder, 2, STATION)
    assert told(folder, contains=end) == []


def test_a_folder_begun_anew_is_not_the_one_that_was_written_down(folder: Path) -> None:
    end = end_of(folder)
    shutil.rmtree(folder)
    write(folder, 6, STATION)
    assert told(folder) == []
    (found,) = findings(folder, contains=end)
    assert found.code == "SW-RECORD-END"
    assert end.folder in found.found


def test_a_line_that_was_not_copied_rightly_is_no_accusation(folder: Path) -> None:
    line = end_of(folder).line
    assert parse_end(f"  {line}\n").count == 6
    for wrong in (
        line.replace("count=6", "count=7"),
        line[:-1],
        "sealwright-home 1 id=00",
        line.replace(" 1 ", " 2 "),
        "",
    ):
        with pytest.raises(UsageError):
            parse_end(wrong)


def test_a_rewritten_folder_without_a_key_passes_for_whole(folder: Path) -> None:
    """What unsigned records cannot show, said honestly: only the line kept outside does."""
    end = end_of(folder)
    rewritten_unsigned(folder)
    assert told(folder, None) == []
    assert told(folder, None, end) == [("SW-RECORD-END", str(folder))]


def test_a_changed_bit_is_seen_here_and_by_openssl(tmp_path: Path) -> None:
    folder, trust = tmp_path / "records", believed(PKI)
    write(folder, 1, STATION)
    (tmp_path / "ca.pem").write_text(PKI.root.pem)
    text, signature = text_of(folder, 1), signature_of(folder, 1)
    good, sealed = text.read_bytes(), signature.read_bytes()
    for at, other in flips(good, step=len(good) // 30):
        text.write_bytes(other)
        assert told(folder, TrustedStations(trust, NOW)), at
        assert not cms_verify(signature, text, tmp_path / "ca.pem")[0], at
    text.write_bytes(good)
    for at, other in [(-1, sealed), *flips(sealed, step=7)]:
        signature.write_bytes(other)
        ours = not told(folder, TrustedStations(trust, NOW))
        if at % 49 == 0 or ours:
            accepted = cms_verify(signature, text, tmp_path / "ca.pem")[0]
            assert accepted or not ours, at  # what we accept, OpenSSL accepts
        assert ours or at >= 0


def test_the_trust_file_knows_the_station_by_its_path(folder: Path) -> None:
    stranger = Pki.make("Plant")
    assert told(folder, TrustedStations(believed(PKI), NOW)) == []
    refused = findings(folder, TrustedStations(believed(stranger), NOW))
    assert {found.code for found in refused} == {"SW-RECORD-SIGNER"}
    assert len(refused) == 6


@pytest.mark.parametrize("profile", [CODE_SIGNER, LOG], ids=lambda one: one.name)
def test_a_key_for_anything_else_signs_no_record(tmp_path: Path, profile) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path / "good", 1, STATION)
    write(tmp_path / "bad", 1, PKI.leaf("pc7", profile=profile))
    trust = believed(PKI)
    assert told(tmp_path / "good", TrustedStations(trust, NOW)) == []
    assert told(tmp_path / "bad", TrustedStations(trust, NOW)) == [("SW-RECORD-SIGNER", "1")]


def test_a_denied_or_revoked_station_counts_no_more(folder: Path) -> None:
    denied = Denied("key", STATION.key_digest, "stolen with the laptop", None)
    assert told(folder, TrustedStations(believed(PKI), NOW)) == []
    assert {code for code, _ in told(folder, TrustedStations(believed(PKI, denied=[denied]), NOW))} == {
        "SW-RECORD-SIGNER"
    }
    pki = Pki.make("Plant")
    station = pki.leaf("pc7", profile=RECORD_SIGNER)
    other = folder.parent / "other"
    write(other, 1, station)
    good = believed(pki, crls=[pki.crl()])
    assert told(other, TrustedStations(good, NOW)) == []
    pki.revoke(station, NOW - DAY, x509.ReasonFlags.key_compromise)
    revoked = believed(pki, crls=[pki.crl(number=2)])
    assert {code for code, _ in told(other, TrustedStations(revoked, NOW))} == {"SW-RECORD-SIGNER"}


def test_records_outlive_the_stations_certificate(folder: Path) -> None:
    """Machinery Regulation: five years; and a certificate of a station that was taken away proves what it signed in its time."""
    end = STATION.x509.not_valid_after_utc
    trust = believed(PKI)
    assert told(folder, TrustedStations(trust, end + 100 * DAY)) == []
    late = folder.parent / "late"
    write(late, 1, STATION, at=end + DAY)
    (found,) = findings(late, TrustedStations(trust, end + 100 * DAY))
    assert (found.code, is_wrong(found)) == ("SW-RECORD-UNTRUE", False)


def test_a_clock_that_goes_back_is_a_remark_and_one_hosts_alone(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 1, STATION, host="pc7", at=NOW)
    write(folder, 1, STATION, host="pc8", at=NOW - HOUR)
    write(folder, 1, STATION, host="pc7", at=NOW - 400 * DAY)
    write(folder, 1, STATION, host="pc7", at=NOW + HOUR)
    (found,) = findings(folder)
    assert (found.code, found.subject, is_wrong(found)) == ("SW-RECORD-CLOCK", "pc7 (record 3)", False)


def test_a_signed_record_may_not_turn_unsigned(folder: Path) -> None:
    """Stripped of key line and signature, it is another text, and the next one says so."""
    text = text_of(folder, 3)
    signature_of(folder, 3).unlink()
    line = next(one for one in text.read_bytes().split(b"\n") if one.startswith(b"# key "))
    edit(text, line, b"# unsigned no station key")
    assert told(folder) == [("SW-RECORD-UNSIGNED", "3"), ("SW-RECORD-CHAIN", "4")]
    assert told(folder, None) == [("SW-RECORD-CHAIN", "4")]


def test_a_signature_beside_an_unsigned_record_is_not_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 1)
    signature_of(folder, 1).write_bytes(p7s(STATION, text_of(folder, 1).read_bytes(), kind="record"))
    assert told(folder, None) == [("SW-RECORD-SIGNATURE", "1")]


def test_the_check_counts_what_it_saw(folder: Path) -> None:
    write(folder, 2)
    check = Check(str(folder), PINNED)
    list(check.findings(Silent()))
    assert (check.count, check.wrote) == (8, {(STATION.key_digest, "pc7"): 6, ("", "pc7"): 2})


def test_an_empty_folder_is_whole_and_says_nothing(tmp_path: Path) -> None:
    check = Check(str(tmp_path), PINNED)
    assert list(check.findings(Silent())) == []
    assert (check.count, check.end) == (0, None)


def test_the_keys_of_two_stations_are_named_one_by_one(folder: Path) -> None:
    write(folder, 1, OTHER, host="pc8")
    both: Stations = PinnedKeys(frozenset(Digest.parse(one.key_digest) for one in (STATION, OTHER)))
    assert told(folder, both) == []
    assert told(folder) == [("SW-RECORD-SIGNER", "7")]
