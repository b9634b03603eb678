"""PE programs: what is hashed, where the signature goes, and every layout that two verifiers could read differently."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.efi import DIRECTORY, OPTIONAL, PE_AT, PROGRAMS, SECTIONS, tiny
from kit.inside import sign_inside, stripped
from kit.mutate import flips, truncations
from kit.pki import Pki, Signer
from kit.samples import Sample
from kit.trust import believed, codes, judge, signed_file
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import Parts, Replace
from sealwright.artifact.source import open_artifact
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.formats.format import Existing, Extent, Prepared, Sealed, Search
from sealwright.formats.pe import Pe, image_digests, read_layout
from sealwright.signing.home import open_home
from sealwright.signing.init import InitOptions, init_home
from sealwright.signing.sign import NotSigned, Signed, SignOptions, sign_paths
from sealwright.trust.certificate import display_name
from sealwright.trust.model import Denied
from sealwright.trust.verdict import Outcome

TRUSTED, REJECTED = Outcome.TRUSTED, Outcome.REJECTED
PKI = Pki.make()
RELEASE = PKI.leaf()
TRUST = believed(PKI)


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    plain = tmp_path / "plain.efi"
    plain.write_bytes(tiny())
    return sign_inside(plain, RELEASE, tmp_path / "signed.efi")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("extra", [0, 1, 7, 8, 100])
def test_what_is_signed_is_trusted_and_stripped_again(tmp_path: Path, extra: int) -> None:
    plain = write(tmp_path / "plain.efi", tiny(extra=os.urandom(extra)))
    before = plain.read_bytes()
    signed = sign_inside(plain, RELEASE, tmp_path / "signed.efi", tsa=PKI.tsa())
    verdict = judge(signed, TRUST)
    assert (verdict.outcome, verdict.format) == (TRUSTED, "pe")
    assert verdict.times.proved is not None
    assert plain.read_bytes() == before
    bare = stripped(signed, tmp_path / "bare.efi").read_bytes()
    # the checksum is made anew, and the padding that was signed stays
    padded = before + bytes(-len(before) % 8)
    assert bare[:152] + bytes(4) + bare[156:] == padded
    assert judge(tmp_path / "bare.efi", TRUST).outcome is REJECTED
    assert codes(judge(tmp_path / "bare.efi", TRUST)) == ["SW-SIGNATURE-MISSING"]


def test_the_coverage_tiles_the_file_and_names_what_is_not_hashed(signed: Path) -> None:
    coverage = judge(signed, TRUST).coverage
    assert coverage.ranges[-1].end == signed.stat().st_size
    uncovered = [(part.start, part.end) for part in coverage.ranges if part.extent is Extent.UNCOVERED]
    assert uncovered == [(OPTIONAL + 64, OPTIONAL + 68), (DIRECTORY, DIRECTORY + 8)]
    assert all(part.reason for part in coverage.ranges if part.extent is Extent.UNCOVERED)


def test_a_signature_is_added_or_replaced_only_when_asked(tmp_path: Path, signed: Path) -> None:
    other = PKI.leaf("other")
    with pytest.raises(UsageError, match="signed already"):
        sign_inside(signed, other, tmp_path / "no.efi")
    both = sign_inside(signed, other, tmp_path / "both.efi", existing=Existing.ADD)
    assert [seen.subject for seen in judge(both, TRUST).signers] == names(RELEASE, other)
    alone = sign_inside(signed, other, tmp_path / "alone.efi", existing=Existing.REPLACE)
    assert [seen.subject for seen in judge(alone, TRUST).signers] == names(other)
    assert {judge(one, TRUST).outcome for one in (both, alone)} == {TRUSTED}
    assert not (tmp_path / "no.efi").exists()


def names(*signers: Signer) -> list[str]:
    return [display_name(signer.x509.subject) for signer in signers]


def field(at: int, value: int, form: str = "<I") -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        struct.pack_into(form, changed, at, value)
        return bytes(changed)

    return change


TABLE = 448
LAYOUTS = {
    "PE header outside": (field(0x3C, 0x7FFF_FFFF), MalformedArtifact),
    "PE header over the DOS header": (field(0x3C, 4), MalformedArtifact),
    "optional header of another kind": (field(OPTIONAL, 0x107, "<H"), MalformedArtifact),
    "optional header too small for the directory": (field(PE_AT + 20, 112 + 32, "<H"), MalformedArtifact),
    "too few directories": (field(OPTIONAL + 108, 4), MalformedArtifact),
    "more sections than there are": (field(PE_AT + 6, 95, "<H"), MalformedArtifact),
    "too many sections": (field(PE_AT + 6, 0xFFFF, "<H"), MalformedArtifact),
    "headers that end in a section": (field(OPTIONAL + 60, 0x190), MalformedArtifact),
    "headers that end before the section": (field(OPTIONAL + 60, 0x178), MalformedArtifact),
    "headers larger than the file": (field(OPTIONAL + 60, 0xFFFF_FFFF), MalformedArtifact),
    "a section behind the file": (field(SECTIONS + 16, 0x10_0000), MalformedArtifact),
    "a section that leaves a gap": (field(SECTIONS + 20, 0x1A0), MalformedArtifact),
    "a section over the headers": (field(SECTIONS + 20, 0x100), MalformedArtifact),
    "a table at no multiple of 8": (field(DIRECTORY, TABLE + 4), MalformedArtifact),
    "a table inside the section": (field(DIRECTORY, TABLE - 16), MalformedArtifact),
    "a table that ends before the file": (lambda data: data + bytes(8), MalformedArtifact),
    "a table longer than the file": (field(DIRECTORY + 4, 0xFFFF_FFF0), MalformedArtifact),
    "a table without entries' offset": (field(DIRECTORY, 0), MalformedArtifact),
}


@pytest.mark.parametrize("how", LAYOUTS)
def test_a089_a_layout_that_does_not_tile_the_file_is_refused_with_its_offset(
    tmp_path: Path, signed: Path, how: str
) -> None:
    data = signed.read_bytes()
    change, error = LAYOUTS[how]
    assert judge(write(tmp_path / "f.efi", data), TRUST).outcome is TRUSTED
    bad = write(tmp_path / "f.efi", change(data))
    assert judge(bad, TRUST).outcome is REJECTED
    with open_artifact(str(bad)) as source, pytest.raises(error, match="at byte"):
        read_layout(source)


def grown(data: bytes, more: bytes, *, entry: bool, directory: bool) -> bytes:
    """Bytes behind the signature, claimed by its entry, by the table, or by nobody."""
    size = len(data) - TABLE + len(more)
    changed = bytearray(data + more)
    if entry:
        struct.pack_into("<I", changed, TABLE, size)
    if directory:
        struct.pack_into("<I", changed, DIRECTORY + 4, size)
    return bytes(changed)


@pytest.mark.parametrize("more", [b"evil" * 2, bytes(8), b"\0" * 7 + b"x", b"PK\x03\x04" + bytes(28)])
@pytest.mark.parametrize(("entry", "directory"), [(True, True), (False, True), (False, False)])
def test_a055_nothing_but_padding_lies_behind_the_signature(
    tmp_path: Path, signed: Path, more: bytes, entry: bool, directory: bool
) -> None:
    assert judge(signed, TRUST).outcome is TRUSTED
    bad = write(tmp_path / "f.efi", grown(signed.read_bytes(), more, entry=entry, directory=directory))
    verdict = judge(bad, TRUST)
    assert verdict.outcome is REJECTED
    assert codes(verdict) == ["SW-ARTIFACT-MALFORMED"]


@pytest.mark.parametrize(("revision", "kind"), [(0x0100, 2), (0x0200, 1), (0x0200, 0xEF1), (0, 0)])
def test_an_entry_of_another_kind_is_refused(tmp_path: Path, signed: Path, revision: int, kind: int) -> None:
    data = signed.read_bytes()
    assert judge(signed, TRUST).outcome is TRUSTED
    changed = field(TABLE + 6, kind, "<H")(field(TABLE + 4, revision, "<H")(data))
    assert codes(judge(write(tmp_path / "f.efi", changed), TRUST)) == ["SW-ARTIFACT-MALFORMED"]


def test_too_many_signatures_or_too_large_a_table_are_refused(tmp_path: Path, signed: Path) -> None:
    data = signed.read_bytes()
    entry = data[TABLE:]

    def with_table(table: bytes) -> Path:
        return write(tmp_path / "f.efi", field(DIRECTORY + 4, len(table))(data[:TABLE]) + table)

    assert judge(with_table(entry * 16), TRUST).outcome is TRUSTED
    with open_artifact(str(with_table(entry * 17))) as source, pytest.raises(LimitExceeded):
        Pe().extract(source.path, Search(source=source))
    with open_artifact(str(with_table(entry.ljust((4 << 20) + 8, b"\0")))) as source, pytest.raises(LimitExceeded):
        read_layout(source)


def test_a058_every_flipped_byte_is_refused_but_for_the_loaders_checksum(tmp_path: Path, signed: Path) -> None:
    data = signed.read_bytes()
    assert judge(signed, TRUST).outcome is TRUSTED
    path = tmp_path / "f.efi"
    accepted = [at for at, changed in flips(data) if judge(write(path, changed), TRUST).outcome is TRUSTED]
    checksum = {*range(OPTIONAL + 64, OPTIONAL + 68)}
    assert checksum <= {*accepted}
    # outside of the image, only what a CMS does not sign and nobody asks for
    assert {at for at in accepted if at < TABLE} == checksum


def test_a168_every_truncation_ends_in_a_verdict(tmp_path: Path, signed: Path) -> None:
    path = tmp_path / "f.efi"
    for part in truncations(signed.read_bytes()):
        assert judge(write(path, part), TRUST).outcome is REJECTED


def test_what_begins_like_a_program_and_is_none_may_have_a_signature_beside_it(tmp_path: Path) -> None:
    for data in (b"MZ", b"MZ" + bytes(200), b"MZ" + bytes(58) + struct.pack("<I", 64) + b"NE" + bytes(100)):
        assert judge(signed_file(tmp_path, RELEASE, data), TRUST).outcome is TRUSTED


def test_a_broken_signature_inside_takes_nothing_from_a_good_one_beside(tmp_path: Path, signed: Path) -> None:
    data = signed.read_bytes()
    broken = signed_file(tmp_path, RELEASE, data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    verdict = judge(broken, TRUST)
    assert verdict.outcome is TRUSTED
    (tmp_path / "drive.bin.p7s").unlink()
    assert judge(broken, TRUST).outcome is REJECTED


def test_denied_digests_are_found_whichever_way_they_are_given(signed: Path) -> None:
    with open_artifact(str(signed)) as source:
        image = image_digests(source, read_layout(source), [HashName.SHA256])[HashName.SHA256]
    assert judge(signed, TRUST).outcome is TRUSTED
    for digest in (image, Digest.of(signed.read_bytes()), Digest.of(signed.read_bytes(), HashName.SHA512)):
        denied = Denied("artifact", f"* {digest}", 0, "withdrawn")
        assert codes(judge(signed, believed(PKI, denied=[denied]))) == ["SW-DENIED-ARTIFACT"]


def test_another_signers_and_another_programs_signatures_are_refused(tmp_path: Path, signed: Path) -> None:
    stranger = Pki.make("EVIL").leaf()
    plain = write(tmp_path / "other.efi", tiny(b"\x90" * 64))
    assert judge(sign_inside(plain, RELEASE, tmp_path / "ours.efi"), TRUST).outcome is TRUSTED
    assert judge(sign_inside(plain, stranger, tmp_path / "theirs.efi"), TRUST).outcome is REJECTED
    moved = (tmp_path / "ours.efi").read_bytes()[:TABLE] + signed.read_bytes()[TABLE:]
    moved = field(DIRECTORY + 4, len(moved) - TABLE)(moved)
    assert codes(judge(write(tmp_path / "moved.efi", moved), TRUST)) == ["SW-FILE-CHANGED"]


def test_a_program_that_changes_between_hash_and_copy_leaves_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = write(tmp_path / "plain.efi", tiny())
    real = Pe.attach

    def late(self: Pe, prepared: object, sealed: object) -> object:
        write(plain, tiny(b"\x90" * 64))
        return real(self, prepared, sealed)  # type: ignore[arg-type]

    monkeypatch.setattr(Pe, "attach", late)
    with pytest.raises(SealwrightError):
        sign_inside(plain, RELEASE, tmp_path / "signed.efi")
    assert os.listdir(tmp_path) == ["plain.efi"]
    monkeypatch.undo()
    assert judge(sign_inside(plain, RELEASE, tmp_path / "signed.efi"), TRUST).outcome is TRUSTED


def test_a_program_that_is_gone_before_it_is_copied_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, out = tmp_path / "home", tmp_path / "out"
    init_home(str(home), InitOptions(datetime.now(UTC), "Plant"))
    out.mkdir()
    programs = [write(tmp_path / name, tiny()) for name in ("one.efi", "two.efi")]
    real = Pe.attach

    def gone(self: Pe, prepared: Prepared, sealed: Sealed) -> Parts:
        if prepared.path.endswith("one.efi"):
            programs[0].unlink(missing_ok=True)
        return real(self, prepared, sealed)

    def answers() -> list[type]:
        options = SignOptions(format="pe", out=str(out), replace=Replace.YES)
        return [type(one) for one in sign_paths([str(path) for path in programs], open_home(str(home)), options)]

    assert answers() == [Signed, Signed]
    with monkeypatch.context() as patched:
        patched.setattr(Pe, "attach", gone)
        (out / "one.efi").unlink()
        assert answers() == [NotSigned, Signed]
    assert os.listdir(out) == ["two.efi"]


@pytest.mark.parametrize("when", ["attached", "copied", "hidden"])
def test_a_program_that_fails_the_check_of_what_was_written_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It is changed, or taken away, after it was prepared: between two of the steps that write the new files."""
    home, out = tmp_path / "home", tmp_path / "out"
    init_home(str(home), InitOptions(datetime.now(UTC), "Plant"))
    out.mkdir()
    programs = [write(tmp_path / name, tiny()) for name in ("one.efi", "two.efi", "three.efi")]
    real = Pe.attach

    def late(self: Pe, prepared: Prepared, sealed: Sealed) -> Parts:
        parts = real(self, prepared, sealed)
        if prepared.path.endswith("two.efi"):
            if when == "attached":
                write(programs[1], tiny(b"\x90" * 64))
            else:
                programs[1].unlink()
        return parts

    if when == "hidden":
        prepare = Pe.prepare

        def hides(self: Pe, path: str, *how: object) -> Prepared:
            prepared = prepare(self, path, *how)  # type: ignore[arg-type]
            if path.endswith("two.efi"):
                programs[1].unlink()
            return prepared

        monkeypatch.setattr(Pe, "prepare", hides)
    else:
        monkeypatch.setattr(Pe, "attach", late)
    options = SignOptions(format="pe", out=str(out))
    answers = [*sign_paths([str(path) for path in programs], open_home(str(home)), options)]
    assert [type(one) for one in answers] == [Signed, NotSigned, Signed]
    assert sorted(os.listdir(out)) == ["one.efi", "three.efi"]


@pytest.mark.parametrize("sample", PROGRAMS, ids=lambda sample: sample.name)
def test_programs_of_distributions_are_signed_and_verified(tmp_path: Path, sample: Sample) -> None:
    signed = sign_inside(sample.copy_to(tmp_path), RELEASE, tmp_path / "signed.efi")
    assert judge(signed, TRUST).outcome is TRUSTED
    data = bytearray(signed.read_bytes())
    data[len(data) // 2] ^= 1
    assert codes(judge(write(signed, bytes(data)), TRUST)) == ["SW-FILE-CHANGED"]
