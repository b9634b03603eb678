"""Backups of a signing home: checkable by anybody, without keys; a restored home signs nothing until it is known what is missing."""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import resource
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kit.certs import made as certificate
from kit.mutate import changed
from kit.openssl import cms_verify, run, sums
from kit.pki import NOW
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.cli.main import main
from sealwright.errors import (
    BackupRefused,
    HomeLocked,
    JournalError,
    KeyRefused,
    MalformedTrust,
    OutputRefused,
    SealwrightError,
    TrustRefused,
    UsageError,
)
from sealwright.formats.format import Coverage, Prepared
from sealwright.log.ends import Ends, ends_of, parse_ends
from sealwright.log.journal import Entry, EntryType, Journal, read_history, read_journal
from sealwright.pki.ocsp import NEVER_ISSUED, UNKNOWN
from sealwright.service.registersource import RegisterSource, SharedRegister
from sealwright.signing import backupfiles as files
from sealwright.signing import restore as restoring
from sealwright.signing.authority import make_list, rekey, revoke, suspend
from sealwright.signing.backup import (
    SIGNATURE,
    STATEMENT,
    TAIL,
    Taken,
    encrypt_to,
    make_backup,
    read_anchors,
    read_backup,
)
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import JOURNAL, REGISTER, TIMESTAMPS, TRUST, Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home, sign_trust
from sealwright.signing.issued import read_register
from sealwright.signing.loss import parse_loss, read_loss, sign_loss, write_loss
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.register import Register
from sealwright.signing.restore import How, check_backup, read_marker, restore, unlock, unlock_with_loss
from sealwright.signing.stamps import open_stamper
from sealwright.signing.timestamping import open_journal

HOUR = timedelta(hours=1)
LATER = NOW + 24 * HOUR


def made(folder: Path, title: str = "works") -> Home:
    """A home of development keys with a key for backups."""
    init_home(str(folder), InitOptions(NOW, title))
    enrol_for(open_home(str(folder)), "backup", "backup", None, NOW)
    return open_home(str(folder))


def sign(home: Home, content: bytes = b"firmware") -> None:
    """One signature of a file, through the pipeline."""
    digests = {HashName.SHA256: Digest.of(content)}
    prepared = Prepared("detached", "file", "f", digests, None, len(content), Coverage.whole(len(content)), Claims())
    with Pipeline(home, home.key(None, KeyPurpose.ARTIFACT), None) as pipeline:
        pipeline.sign([prepared], LATER)


@dataclass
class World:
    """A home, its root kept outside, a backup of it, and the checkpoint that was taken after the backup."""

    folder: Path
    home: Home
    roots: tuple[bytes, ...]
    backup: Path
    taken: Taken

    def restored(self, name: str = "restored") -> Path:
        """The backup unpacked, with the development keys back in their place, as a token would be."""
        target = self.folder / name
        restore(str(self.backup), str(target), self.roots, LATER)
        shutil.copytree(self.home.path("keys"), target / "keys", dirs_exist_ok=True)
        return target

    def line(self) -> Ends:
        """The home's checkpoint now, as it is read from paper."""
        return parse_ends(ends_of(self.home.folder).line)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("backup")
    home = made(folder / "home")
    make_list(home, home.keys[1], NOW, None)
    with Journal.open(home.path(TIMESTAMPS)) as journal:
        journal.append([Entry(EntryType.INTENT, {"request": "1"}), Entry(EntryType.RESULT, {"request": "1"})])
    backup = folder / "home.tar"
    taken = make_backup(home, str(backup), NOW, None)
    return World(folder, home, read_anchors(home.path("ca.pem")), backup, taken)


@pytest.fixture
def world(template: World, tmp_path: Path) -> World:
    """A copy for one test."""
    shutil.copytree(template.home.folder, tmp_path / "home")
    backup = shutil.copy(template.backup, tmp_path / "home.tar")
    return World(tmp_path, open_home(str(tmp_path / "home")), template.roots, Path(backup), template.taken)


def test_anybody_checks_a_backup_with_tar_sha256sum_and_openssl(world: World) -> None:
    check_backup(str(world.backup), world.roots)
    with tarfile.open(world.backup) as tar:
        tar.extractall(world.folder / "out", filter="data")
    out = world.folder / "out"
    assert sums(out / STATEMENT, out)[0]
    root = out / "home" / "ca.pem"
    assert cms_verify(out / SIGNATURE, out / STATEMENT, root)[0]
    (out / "home" / "trust.toml").write_text("another")
    assert not sums(out / STATEMENT, out)[0]
    (out / STATEMENT).write_text("another")
    assert not cms_verify(out / SIGNATURE, out / STATEMENT, root)[0]


def test_a_backup_has_everything_but_private_keys_and_says_what_it_leaves_out(world: World) -> None:
    home = Path(world.home.folder)
    secret = (home / "keys" / "release.pem").read_bytes()
    (home / "certificates" / "copy.pem").write_bytes(secret)
    (home / "trust.d" / "notes.txt").write_text("see the wiki")
    (home / "link.toml").symlink_to("/etc/passwd")
    (home / "archive").mkdir()
    os.mkfifo(home / "trust.d" / "pipe")
    (home / "trust.d" / "two\nlines").write_text("x")
    out = world.folder / "b.tar"
    taken = make_backup(world.home, str(out), NOW, None)
    assert b"PRIVATE KEY" not in out.read_bytes()
    expected = {"certificates/copy.pem", "link.toml", "archive/", "trust.d/pipe", "trust.d/two\nlines"}
    assert set(taken.left_out) == expected | {f"keys/{key.name}.pem" for key in world.home.keys}
    names = {one.name for one in check_backup(str(out), world.roots).members}
    assert names >= {"home.toml", "ca.pem", "trust.toml", "trust.toml.officer.p7s", "trust.d/intermediate.crl"}
    assert names >= {"journal/journal.jsonl", "register/journal.jsonl", "timestamps/journal.jsonl", "trust.d/notes.txt"}
    assert out.stat().st_mode & 0o777 == 0o600
    with_keys = make_backup(world.home, str(world.folder / "k.tar"), NOW, None, with_development_keys=True)
    assert with_keys.with_keys
    assert secret in (world.folder / "k.tar").read_bytes()
    assert read_backup(str(world.folder / "k.tar")).with_keys
    target = world.folder / "with-keys"
    restore(str(world.folder / "k.tar"), str(target), world.roots, LATER)
    assert (target / "keys" / "release.pem").stat().st_mode & 0o777 == 0o600


def test_the_same_home_gives_the_same_bytes_but_for_what_signing_adds(world: World) -> None:
    shutil.copytree(world.home.folder, world.folder / "copy")
    make_backup(world.home, str(world.folder / "1.tar"), NOW, None)
    make_backup(open_home(str(world.folder / "copy")), str(world.folder / "2.tar"), NOW, None)
    one, two = (read_backup(str(world.folder / f"{n}.tar")) for n in (1, 2))
    assert (one.statement, one.members) == (two.statement, two.members)


def test_a_backup_replaces_nothing_and_needs_its_key(world: World) -> None:
    before = world.line()
    for taken in (world.backup, world.folder, world.folder / "none" / "b.tar", Path("/dev/full")):
        with pytest.raises(OutputRefused):
            make_backup(world.home, str(taken), NOW, None)
    assert world.line() == before  # nothing was signed for it
    bare = init_home(str(world.folder / "bare"), InitOptions(NOW))
    with pytest.raises(UsageError, match="key enrol backup"):
        make_backup(bare, str(world.folder / "bare.tar"), NOW, None)


# Each is given the good backup's members and writes another file.
Members = list[tuple[tarfile.TarInfo, bytes]]


def packed(members: Members, form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar as this program writes it, of any members."""
    data = b""
    for info, content in members:
        data += info.tobuf(form, "utf-8", "strict") + content + b"\0" * (-len(content) % 512)
    return data + b"\0" * 1024


def members_of(path: Path) -> Members:
    with tarfile.open(path) as tar:
        found = []
        for info in tar.getmembers():
            data = tar.extractfile(info)
            assert data is not None
            plain = tarfile.TarInfo(info.name)
            plain.size, plain.mode = info.size, 0o600
            plain.mtime = 0
            found.append((plain, data.read()))
        return found


def extra(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Members], bytes]:
    def change(members: Members) -> bytes:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mtime, info.mode = kind, link, 0, 0o600
        content = b"x" if kind == tarfile.REGTYPE else b""
        info.size = len(content)
        return packed([*members, (info, content)])

    return change


def sized(size: int) -> Callable[[Members], bytes]:
    def change(members: Members) -> bytes:
        info, content = members[-1]
        info.size = size
        return packed([*members[:-1], (info, content)])

    return change


def with_mode(members: Members) -> bytes:
    members[5][0].mode = 0o4755
    return packed(members)


def twice(members: Members) -> bytes:
    return packed([*members, members[-1]])


HOSTILE: dict[str, Callable[[Members], bytes]] = {
    "path upwards": extra("home/../../etc/cron.d/x"),
    "absolute path": extra("/etc/passwd"),
    "outside the home": extra("other/file"),
    "empty part": extra("home//home.toml"),
    "unknown folder": extra("home/bin/sh"),
    "lock file": extra("home/locked"),
    "key of a token's name": extra("home/keys/x.sh"),
    "control character": extra("home/trust.d/a\x1bb"),
    "symbolic link": extra("home/trust.d/x", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": extra("home/trust.d/x", tarfile.LNKTYPE, "home/home.toml"),
    "character device": extra("home/trust.d/x", tarfile.CHRTYPE),
    "block device": extra("home/trust.d/x", tarfile.BLKTYPE),
    "FIFO": extra("home/trust.d/x", tarfile.FIFOTYPE),
    "folder": extra("home/trust.d", tarfile.DIRTYPE),
    "pax header": extra("home/trust.d/x", tarfile.XHDTYPE),
    "GNU long name": extra("home/trust.d/x", tarfile.GNUTYPE_LONGNAME),
    "sparse file": extra("home/trust.d/x", tarfile.GNUTYPE_SPARSE),
    "not listed": extra("home/trust.d/zz.crl"),
    "one name twice": twice,
    "one left out": lambda members: packed(members[:-1]),
    "two swapped": lambda members: packed([*members[:-2], members[-1], members[-2]]),
    "statement last": lambda members: packed([*members[1:], members[0]]),
    "setuid": with_mode,
    "size of 8 GiB": sized((8 << 30) - 1),
    "size one less": lambda members: sized(members[-1][0].size - 1)(members),
    "GNU form": lambda members: packed(members, tarfile.GNU_FORMAT),
    "something behind the end": lambda members: packed(members) + b"x",
    "zeros behind the end": lambda members: packed(members) + b"\0" * 512,
    "no end": lambda members: packed(members)[:-1024],
    "half an end": lambda members: packed(members)[:-512],
    "packed with gzip": lambda members: gzip.compress(packed(members)),
    "a bomb": lambda _: gzip.compress(b"\0" * (64 << 20)),
    "empty": lambda _: b"",
    "zeros": lambda _: b"\0" * 10240,
    "statement alone": lambda members: packed(members[:1]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_backup_that_is_not_as_we_write_it_is_refused(template: World, tmp_path: Path, name: str) -> None:
    good = members_of(template.backup)
    assert packed(good) == template.backup.read_bytes()  # the accepted twin: same writer, nothing changed
    read_backup(str(template.backup))
    bad = tmp_path / "bad.tar"
    bad.write_bytes(HOSTILE[name](good))
    with pytest.raises(BackupRefused):
        restore(str(bad), str(tmp_path / "new"), template.roots, LATER)
    assert os.listdir(tmp_path) == ["bad.tar"]


def test_every_altered_byte_shows_and_every_cut_too(template: World, tmp_path: Path) -> None:
    good = template.backup.read_bytes()
    bad = tmp_path / "bad.tar"
    signature = good.index(b"\x30\x82", 512)
    places = {*range(0, len(good), 211), *range(signature, signature + 1700, 17)}
    for at in sorted(places):
        bad.write_bytes(good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :])
        with pytest.raises(SealwrightError):
            check_backup(str(bad), template.roots)
    for end in range(0, len(good), 1009):
        bad.write_bytes(good[:end])
        with pytest.raises(BackupRefused):
            read_backup(str(bad))


def test_a_backup_of_another_home_or_by_a_key_for_something_else_is_refused(world: World) -> None:
    other = made(world.folder / "other")
    path = world.folder / "other.tar"
    make_backup(other, str(path), NOW, None)
    roots = read_anchors(other.path("ca.pem"))
    restore(str(path), str(world.folder / "a"), roots, LATER)
    with pytest.raises(BackupRefused, match="does not stand under the root"):
        restore(str(path), str(world.folder / "b"), world.roots, LATER)
    for roots_of in (path, Path(other.path("certificates", "backup.pem")), Path(other.path("home.toml"))):
        with pytest.raises(MalformedTrust):  # a backup does not vouch for itself, and a signer not either
            read_anchors(str(roots_of))
    # somebody writes a backup of his own and puts our files into it: the key is not one of that home's
    mine, theirs = members_of(world.backup), members_of(path)
    (world.folder / "mixed.tar").write_bytes(packed([*theirs[:3], *mine[3:]]))
    with pytest.raises(BackupRefused):
        restore(str(world.folder / "mixed.tar"), str(world.folder / "c"), roots, LATER)
    assert not (world.folder / "b").exists()
    assert not (world.folder / "c").exists()


def test_a_restored_home_is_locked_for_every_key(world: World) -> None:
    def attempts(home: Home) -> Iterator[tuple[str, Callable[[], object]]]:
        yield "sign", lambda: sign(home)
        yield "list", lambda: make_list(home, home.keys[1], LATER, None)
        yield "rekey", lambda: rekey(home, "release", "release-2", LATER, None)
        yield "enrol", lambda: enrol_for(home, "file", "another", None, LATER)
        yield "trust", lambda: sign_trust(home.path(TRUST), home, "officer", LATER)
        yield "suspend", lambda: suspend(home, "release", LATER)
        yield "backup", lambda: make_backup(home, str(world.folder / "again.tar"), LATER, None)
        yield "register", lambda: Register.open(home.path(REGISTER)).close()
        yield "timestamps", lambda: open_journal(home.path(TIMESTAMPS), 0).close()

    home = open_home(str(world.restored()))
    before = {path: path.read_bytes() for path in Path(home.folder).rglob("*") if path.is_file()}
    for name, attempt in attempts(home):
        with pytest.raises(HomeLocked, match="home unlock"):
            attempt()
        assert not (world.folder / "again.tar").exists(), name
    assert before == {path: path.read_bytes() for path in Path(home.folder).rglob("*") if path.is_file()}
    assert unlock(home.folder, [world.taken.ends], (), LATER).how is How.COMPLETE
    for name in [name for name, _ in attempts(home)]:
        dict(attempts(open_home(home.folder)))[name]()


def test_a_backup_unpacked_by_hand_is_locked_too(world: World) -> None:
    with tarfile.open(world.backup) as tar:
        tar.extractall(world.folder / "out", filter="data")
    folder = world.folder / "out" / "home"
    shutil.copytree(world.home.path("keys"), folder / "keys")
    with pytest.raises(HomeLocked):
        sign(open_home(str(folder)))
    with pytest.raises(HomeLocked, match="not of a restored home"):
        unlock(str(folder), [world.line()], (), LATER)


def test_two_people_unlock_it_at_once(world: World) -> None:
    folder, answers = str(world.restored()), []

    def attempt() -> None:
        try:
            answers.append(unlock(folder, [world.taken.ends], (), LATER).how)
        except SealwrightError as cause:
            answers.append(type(cause))

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(How.COMPLETE) == 1
    restored = [entry for entry in read_journal(f"{folder}/journal") if entry.type is EntryType.RESTORED]
    assert len(restored) == 1


def test_whatever_stands_in_its_files_is_refused_with_a_word(world: World) -> None:
    folder, record = lost(world)
    marker = folder / "locked"
    line = world.line().line.encode()
    bad = world.folder / "bad.tar"

    def of_marker(data: bytes) -> object:
        marker.write_bytes(data)
        return read_marker(str(folder))

    def of_backup(data: bytes) -> object:
        bad.write_bytes(data)
        return read_backup(str(bad))

    parsers: list[tuple[bytes, Callable[[bytes], object], int]] = [
        (line, lambda data: parse_ends(data.decode(errors="surrogateescape")), 400),
        (record.read_bytes(), lambda data: parse_loss(data, "loss.toml"), 400),
        (marker.read_bytes(), of_marker, 400),
        (world.backup.read_bytes(), of_backup, 200),
    ]
    for good, parse, number in parsers:
        parse(good)
        for data in islice(changed(good, random.Random(7)), number):
            with suppress(SealwrightError):
                parse(data)


def test_a_checkpoint_taken_after_the_backup_says_that_nothing_is_missing(world: World) -> None:
    folder = world.restored()
    assert world.line() == world.taken.ends
    done = unlock(str(folder), [world.line()], (), LATER)
    assert (done.how, done.added) == (How.COMPLETE, 0)
    sign(open_home(str(folder)))
    assert list(read_journal(str(folder / "journal")))[-3].type is EntryType.RESTORED
    with pytest.raises(UsageError, match="not locked"):
        unlock(str(folder), [world.line()], (), LATER)


def test_missing_entries_come_from_a_later_copy_or_the_home_stays_locked(world: World) -> None:
    sign(world.home)
    revoke(world.home, "release", x509.ReasonFlags.key_compromise, LATER)
    enrol_for(world.home, "file", "late", None, LATER)
    newest = world.line()
    folder = world.restored()
    journal, register = world.home.path(JOURNAL, "journal.jsonl"), world.home.path(REGISTER, "journal.jsonl")
    for entries in ((), (journal,), (register,), (str(world.backup),), (str(folder / "nothing"),)):
        with pytest.raises(HomeLocked, match="newer than the backup"):
            unlock(str(folder), [newest], entries, LATER)
    with pytest.raises(HomeLocked):
        sign(open_home(str(folder)))
    done = unlock(str(folder), [newest], (register, journal), LATER)
    assert (done.how, done.missing) == (How.ENTRIES, ("late",))
    assert (folder / "register" / "journal.jsonl").read_bytes() == Path(register).read_bytes()
    ended = [one for one in read_register(str(folder / "register")).issued.values() if one.end is not None]
    assert [one.end.reason for one in ended if one.end] == [x509.ReasonFlags.key_compromise]
    assert len(list(read_history(str(folder / "journal")))) == newest.journals["journal"].count + 1


def test_an_older_checkpoint_or_anothers_or_a_forks_unlocks_nothing(world: World) -> None:
    old = world.line()
    make_backup(world.home, str(world.folder / "newer.tar"), LATER, None)
    good = world.line()
    target = world.folder / "new"
    restore(str(world.folder / "newer.tar"), str(target), world.roots, LATER)
    with pytest.raises(HomeLocked, match="older than the backup"):
        unlock(str(target), [old], (), LATER)
    with pytest.raises(UsageError, match="another home"):
        unlock(str(target), [ends_of(made(world.folder / "other").folder)], (), LATER)
    with pytest.raises(UsageError, match="none is given"):
        unlock(str(target), [], (), LATER)
    part = Ends(good.id, {"journal": good.journals["journal"]})
    with pytest.raises(UsageError, match="says nothing of register"):
        unlock(str(target), [part], (), LATER)
    # the first backup restored and gone on: its checkpoints are no longer the home's
    fork = world.restored("fork")
    unlock(str(fork), [old], (), LATER)
    with pytest.raises(JournalError, match="went on in two places"):
        unlock(str(target), [ends_of(str(fork))], (), LATER)
    sign(open_home(str(fork)))
    sign(open_home(str(fork)))
    for known in ([ends_of(str(fork))], [good, ends_of(str(fork))]):
        with pytest.raises(HomeLocked, match="newer than the backup"):
            unlock(str(target), known, (), LATER)
        with pytest.raises(JournalError, match="went on in two places"):
            unlock(str(target), known, (str(fork / "journal" / "journal.jsonl"),), LATER)
    assert unlock(str(target), [old, good], (), LATER).how is How.COMPLETE  # the newest counts


def test_a_later_copy_that_was_altered_or_went_another_way_brings_nothing_back(world: World) -> None:
    for _ in range(3):
        sign(world.home)
    newest, folder = world.line(), world.restored()
    lines = Path(world.home.path(JOURNAL, "journal.jsonl")).read_bytes().splitlines(keepends=True)
    have = world.taken.ends.journals["journal"].count
    copies = {
        "altered": [*lines[:-4], lines[-4].replace(b'"size":8', b'"size":9'), *lines[-3:]],
        "one left out": [*lines[:-3], *lines[-2:]],
        "cut": lines[:-1],
        "torn": [*lines[:-1], lines[-1][:-1]],
        "not JSON": [*lines[:-1], b"\xff\xfe\n"],
        "huge line": [*lines[:-1], b"{" + b"x" * (1 << 20) + b"\n"],
    }
    before = (folder / "journal" / "journal.jsonl").read_bytes()
    for name, altered in copies.items():
        path = world.folder / "copy.jsonl"
        path.write_bytes(b"".join(altered))
        with pytest.raises(SealwrightError):
            unlock(str(folder), [newest], (str(path),), LATER)
        assert (folder / "journal" / "journal.jsonl").read_bytes() == before, name
    path.write_bytes(b"".join(lines[have:]))  # the accepted twin; the missing lines alone are enough
    assert unlock(str(folder), [newest], (str(path),), LATER).added == 6


def lost(world: World, name: str = "restored") -> tuple[Path, Path]:
    """A restored home, and an unsigned record that what is missing is lost."""
    folder, path = world.restored(name), world.folder / f"{name}-loss.toml"
    marker = read_marker(str(folder))
    write_loss(str(path), marker.backup, marker.ends, "server burnt on 3 May", LATER, None)
    return folder, path


def test_two_persons_open_a_new_journal_and_what_is_lost_is_on_record(world: World) -> None:
    suspend(world.home, "release", LATER)  # in the gap: nobody will know
    make_list(world.home, world.home.keys[1], LATER, None)
    folder, record = lost(world)
    home = open_home(str(folder))
    old = ends_of(str(folder))
    for person in ("officer", "recovery"):
        with pytest.raises(TrustRefused, match="at least 2 persons"):
            unlock_with_loss(str(folder), read_loss(str(record)), LATER)
        sign_loss(str(record), home, person, LATER, None)
    done = unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    assert done.ends.id != old.id
    assert cms_verify(Path(f"{record}.officer.p7s"), record, folder / "certificates" / "officer.pem")[0]
    first = next(iter(read_journal(str(folder / "journal"))))
    count = old.journals["journal"].count
    assert (first.type, first.fields["entries"], first.fields["last"]) == (
        EntryType.LOST, count, old.journals["journal"].last,
    )  # fmt: skip
    assert first.fields["loss"] == str(Digest.of(record.read_bytes()))
    assert len(list(read_history(str(folder / "journal")))) == count + 1
    make_list(home, home.keys[1], LATER, None)
    crl = x509.load_der_x509_crl((folder / "trust.d" / "intermediate.crl").read_bytes())
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == 1002  # in the gap 2 was used
    make_list(home, home.keys[0], LATER, None)  # an authority that had no list before the gap
    root = x509.load_der_x509_crl((folder / "trust.d" / "root.crl").read_bytes())
    assert root.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 1001
    sign(home)
    register = read_register(home.path(REGISTER))
    assert [gap.entries for gap in register.gaps] == [old.journals["register"].count]
    timestamps = list(read_journal(home.path(TIMESTAMPS)))
    assert timestamps[-1].type is EntryType.LOST
    open_stamper("local", home, None, Journal.open(home.path(JOURNAL))).close()


def test_after_a_loss_the_responder_no_longer_says_that_a_serial_was_never_issued(world: World) -> None:
    authority = world.home.keys[1].certificate
    source = RegisterSource(SharedRegister(world.home.path(REGISTER)), authority)
    source.refresh(LATER)
    assert source.status(4711) == NEVER_ISSUED
    folder, record = lost(world)
    for person in ("officer", "recovery"):
        sign_loss(str(record), open_home(str(folder)), person, LATER, None)
    unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    source = RegisterSource(SharedRegister(str(folder / "register")), authority)
    source.refresh(LATER)
    assert source.status(4711) == UNKNOWN


def test_a_loss_record_serves_one_home_once_as_it_was_signed(world: World) -> None:
    folder, record = lost(world)
    other, another = lost(world, "second")
    home = open_home(str(folder))
    for person in ("officer", "recovery"):
        sign_loss(str(record), home, person, LATER, None)
    text = record.read_bytes()
    for bad in (
        text.replace(b"burnt", b"stolen"),
        text + b"\n",
        text.replace(b"to unknown", b"to 30"),
        b"# sealwright loss 1\n",
        b"\xff",
        b"a = " + b"[" * 5000,
        re.sub(rb"time = .*", b"time = 9999-12-31T23:59:59-23:59", text),
        re.sub(rb"time = .*", b"time = 2026-05-03", text),
        re.sub(rb"known = .*", b"known = 5", text),
    ):
        record.write_bytes(bad)
        with pytest.raises((MalformedTrust, TrustRefused)):
            unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    record.write_bytes(text)
    # signatures of another kind count for nobody; one person's two files count once
    twin = world.folder / "twin.toml"
    twin.write_bytes(text)
    shutil.copy(f"{record}.officer.p7s", f"{twin}.officer.p7s")
    shutil.copy(f"{record}.officer.p7s", f"{twin}.recovery.p7s")
    with pytest.raises(TrustRefused, match="signed has officer"):
        unlock_with_loss(str(folder), read_loss(str(twin)), LATER)
    with pytest.raises(HomeLocked):
        sign(home)
    # the record is about a backup and its end: for a copy of it restored beside it serves too, but not after a newer backup
    make_backup(world.home, str(world.folder / "newer.tar"), LATER, None)
    restore(str(world.folder / "newer.tar"), str(world.folder / "third"), world.roots, LATER)
    with pytest.raises(TrustRefused, match="another home or another backup"):
        unlock_with_loss(str(world.folder / "third"), read_loss(str(record)), LATER)
    unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    with pytest.raises(UsageError, match="not locked"):
        unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    assert (other / "locked").exists()
    assert another.exists()


def test_a_home_that_was_lost_once_is_backed_up_and_lost_again(world: World) -> None:
    folder, record = lost(world)
    for person in ("officer", "recovery"):
        sign_loss(str(record), open_home(str(folder)), person, LATER, None)
    unlock_with_loss(str(folder), read_loss(str(record)), LATER)
    sign(open_home(str(folder)))
    second = World(world.folder, open_home(str(folder)), world.roots, world.folder / "two.tar", world.taken)
    make_backup(second.home, str(second.backup), LATER, None)
    again, record = lost(second, "again")
    for person in ("officer", "recovery"):
        sign_loss(str(record), open_home(str(again)), person, LATER, None)
    unlock_with_loss(str(again), read_loss(str(record)), LATER)
    assert sorted(path.name for path in (again / "journal").glob("*.jsonl")) == [
        "journal.1.jsonl", "journal.2.jsonl", "journal.jsonl",
    ]  # fmt: skip
    assert [number for number, _, _ in restoring.losses_of(open_home(str(again)))] == [1, 2]
    assert read_register(str(again / "register")).least == 2000
    closed = again / "journal" / "journal.1.jsonl"
    closed.write_bytes(b"".join(closed.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(JournalError, match="does not begin where"):
        list(read_history(str(again / "journal")))


def test_a_line_that_was_copied_wrongly_is_told_from_a_fork(world: World) -> None:
    line = world.line().line
    assert parse_ends(f"  {line}\n") == world.line()
    for bad in (line.replace("id=", "id=0"), line[:-1], line.replace("journal=", "journal=1"), "", "x" * 10000,
                line.replace("register", "registry"), line.replace(" 1 ", " 2 "), line + " more",
                "sealwright-home 1 sum=", "sealwright-home 1 id= sum=1", "sealwright-home 1 " + "\u0661" * 40):  # fmt: skip
        with pytest.raises(UsageError):
            parse_ends(bad)


def test_a_backup_is_consistent_while_others_sign(world: World) -> None:
    stop, failures = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                sign(world.home)
                suspend(world.home, "timestamp", LATER)
                restoring.ends_of(world.home.folder)
                with Register.open(world.home.path(REGISTER)) as register:
                    register.release(register.inventory.find("works timestamp authority"), LATER)
            except SealwrightError as cause:
                failures.append(cause)
                return

    workers = [threading.Thread(target=work)]
    for worker in workers:
        worker.start()
    try:
        for number in range(6):
            path = world.folder / f"{number}.tar"
            make_backup(world.home, str(path), LATER, None)
            check_backup(str(path), world.roots)
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert failures == []
    # every backup's line is contained in what came later
    newest = ends_of(world.home.folder)
    for number in range(6):
        ends = read_backup(str(world.folder / f"{number}.tar")).ends
        for name, end in ends.journals.items():
            assert restoring.hash_at(world.home.folder, name, end.count) == end.last
            assert end.count <= newest.journals[name].count


def test_a_timestamp_authority_that_serves_is_backed_up_too(world: World) -> None:
    folder = world.home.path(TIMESTAMPS)
    with Journal.open(folder) as desk:  # it keeps its lock as long as it runs
        out = world.folder / "serving.tar"
        with open(f"{folder}/journal.jsonl", "ab") as torn:
            torn.write(b'{"half of a line')
        make_backup(world.home, str(out), LATER, None)
        assert check_backup(str(out), world.roots).ends.journals["timestamps"].count == desk.count == 2


def test_signatures_that_are_stamped_meanwhile_do_not_stop_a_backup(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = Path(world.home.path("pending"))
    pending.mkdir()
    (pending / f"{'a' * 64}.json").write_text("{}")
    real = files._walk

    def walk(folder: str, below: str) -> Iterator[tuple[str, str, bool]]:
        found = list(real(folder, below))
        (pending / f"{'a' * 64}.json").unlink(missing_ok=True)
        yield from found

    monkeypatch.setattr(files, "_walk", walk)
    make_backup(world.home, str(world.folder / "b.tar"), LATER, None)
    assert not any(one.name.startswith("pending") for one in read_backup(str(world.folder / "b.tar")).members)


def test_a_full_disk_leaves_no_backup_and_says_so(world: World) -> None:
    target = world.folder / "full" / "b.tar"
    target.parent.mkdir()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            make_backup(world.home, str(target), LATER, None)
        except OutputRefused:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert list(target.parent.iterdir()) == []
    make_backup(world.home, str(target), LATER, None)


def test_the_key_for_backups_signs_nothing_else_and_no_other_key_signs_backups(world: World) -> None:
    def attempt(key: str, kind: str) -> None:
        digests = {HashName.SHA256: Digest.of(b"x")}
        prepared = Prepared("backup", kind, "x", digests, None, 1, Coverage.whole(1), Claims())
        with Pipeline(world.home, next(one for one in world.home.keys if one.name == key), None) as pipeline:
            pipeline.sign([prepared], LATER)

    attempt("backup", "backup")
    for key, kind in (("backup", "file"), ("backup", "loss"), ("backup", "trust"), ("release", "backup"),
                      ("officer", "backup"), ("recovery", "deny")):  # fmt: skip
        with pytest.raises(KeyRefused):
            attempt(key, kind)
    attempt("officer", "loss")
    attempt("recovery", "loss")


def test_a_locked_home_does_not_vouch_for_itself(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder, line = world.restored(), world.line().line
    for words in (["home", "checkpoint", "--home", world.home.folder], ["home", "checkpoint", "--home", str(folder)],
                  ["home", "backup", "--check", str(world.backup), "--ca", world.home.path("ca.pem")]):  # fmt: skip
        main(words)
    assert capsys.readouterr().out.count("sum=") == 1  # the living home's
    assert main(["home", "checkpoint", "--home", str(folder), "--check", line]) == 0


@pytest.mark.parametrize("what", ["tsa", "ocsp"])
def test_nothing_is_served_from_a_locked_home(world: World, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = world.restored()
    more = ["--sign-as-authority"] if what == "ocsp" else ["--time-source", "none"]
    assert main(["serve", what, "--home", str(folder), *more]) == 1
    assert "home unlock" in capsys.readouterr().err


def test_an_encrypted_backup_is_read_by_each_person_with_openssl(world: World) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    people = {}
    for name in ("eva", "jan"):
        key = rsa.generate_private_key(65537, 3072)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (world.folder / f"{name}.key").write_bytes(pem)
        own, said = run(["openssl", "req", "-x509", "-key", world.folder / f"{name}.key", "-subj", f"/CN={name}",
                         "-out", world.folder / f"{name}.pem"])  # fmt: skip
        assert own, said
        people[name] = (world.folder / f"{name}.pem").read_bytes()
    (world.folder / "b.p7m").write_bytes(encrypt_to(world.backup.read_bytes(), list(people.items())))
    for name in people:
        out = world.folder / f"{name}.tar"
        done, said = run(["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", world.folder / "b.p7m",
                          "-inkey", world.folder / f"{name}.key", "-recip", world.folder / f"{name}.pem", "-out", out])  # fmt: skip
        assert done, said
        check_backup(str(out), world.roots)
    with pytest.raises(BackupRefused, match="it is encrypted"):
        read_backup(str(world.folder / "b.p7m"))
    with pytest.raises(BackupRefused, match="not RSA"):
        encrypt_to(b"", [("x.pem", certificate("x").pem)])


CALLS = ("write", "fsync", "fdatasync", "link", "replace", "rename", "unlink", "mkdir", "copy_file_range")


def killed(at: int, work: Callable[[], object]) -> bool:
    """Do it in a process that is gone at the at-th of its calls that change a disk; whether it ended before."""
    child = os.fork()
    if child == 0:
        left = [at]
        for name in CALLS:
            real = getattr(os, name)

            def call(*arguments: object, _real: Callable[..., object] = real, **named: object) -> object:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return _real(*arguments, **named)

            setattr(os, name, call)
        try:
            work()
        except BaseException:  # noqa: BLE001 - told to the parent
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


def test_a_backup_that_is_killed_leaves_no_file_of_that_name(world: World) -> None:
    target = world.folder / "killed.tar"
    for at in range(200):
        if killed(at, lambda: make_backup(world.home, str(target), LATER, None)):
            break
        if target.exists():
            check_backup(str(target), world.roots)
            target.unlink()
    else:
        raise AssertionError("it never ended")
    assert at > 8
    check_backup(str(target), world.roots)


def test_a_restoring_that_is_killed_leaves_no_home_and_the_next_one_works(world: World) -> None:
    target = world.folder / "new"
    at = 0
    while not killed(at, lambda: restore(str(world.backup), str(target), world.roots, LATER)):
        if target.exists():  # it was whole already
            assert read_marker(str(target)).ends == world.taken.ends
            shutil.rmtree(target)
        at += 1 if at < 6 else 5
        assert at < 1000
    assert at > 10
    assert unlock(str(target), [world.taken.ends], (), LATER).how is How.COMPLETE


@pytest.mark.parametrize("how", [How.ENTRIES, How.LOSS])
def test_an_unlocking_that_is_killed_leaves_a_locked_home_and_goes_on(world: World, how: How) -> None:
    sign(world.home)
    suspend(world.home, "timestamp", LATER)
    newest = world.line()
    template, record = lost(world)
    for person in ("officer", "recovery"):
        sign_loss(str(record), open_home(str(template)), person, LATER, None)
    copies = [world.home.path(name, "journal.jsonl") for name in (JOURNAL, REGISTER)]

    def work(folder: Path) -> object:
        if how is How.LOSS:
            return unlock_with_loss(str(folder), read_loss(str(record)), LATER)
        return unlock(str(folder), [newest], copies, LATER)

    whole: set[bytes] = set()
    for at in (*range(12), *range(12, 200, 3)):
        folder = world.folder / f"{how}-{at}"
        shutil.copytree(template, folder)
        ended = killed(at, lambda folder=folder: work(folder))  # type: ignore[misc]
        if (folder / "locked").exists():
            with pytest.raises(HomeLocked):
                sign(open_home(str(folder)))
            work(folder)
        whole.add(
            (folder / "journal" / "journal.jsonl").read_bytes() + (folder / "register" / "journal.jsonl").read_bytes()
        )
        sign(open_home(str(folder)))
        assert sum(1 for _ in read_history(str(folder / "journal"))) > 0
        read_register(str(folder / "register"))
        shutil.rmtree(folder)
        if ended:
            break
    assert ended
    assert at > 5
    assert len(whole) == 1  # whenever it was killed, the same comes out


def test_the_tail_is_of_this_backup_alone(world: World) -> None:
    members = members_of(world.backup)
    other = world.folder / "other.tar"
    make_backup(world.home, str(other), LATER, None)
    theirs = {info.name: data for info, data in members_of(other)}
    for index, (info, _) in enumerate(members):
        if info.name in (TAIL, SIGNATURE):
            info.size = len(theirs[info.name])
            changed = [*members[:index], (info, theirs[info.name]), *members[index + 1 :]]
            (world.folder / "mixed.tar").write_bytes(packed(changed))
            with pytest.raises(BackupRefused):
                read_backup(str(world.folder / "mixed.tar"))
    assert io.BytesIO(world.backup.read_bytes()).read(1)
