"""A backup of a signing home: one file that anybody can check, without the private keys.

    backup.txt         what is in it: SHA-256 of each file as `sha256sum -c` reads it, the journals' ends, the time
    backup.txt.p7s     signed by the home's key for backups (kind `backup`), as `openssl cms -verify` reads it
    tail.jsonl         the two entries that this signing itself added to the journal: a checkpoint taken afterwards fits
    home/locked        so that a home that somebody unpacks by hand signs nothing either
    home/…             home.toml, certificates, trust file with signatures and history, trust.d, journals, pending, loss records

1. A tar of regular files alone (ustar), in one order, with one owner, mode and date: the same home gives the same bytes, and the
   reader refuses every header that it would not have written itself: links, devices, paths that lead elsewhere, names twice.
   Nothing is packed, so nothing unfolds; sizes are bounded by the file's own.
2. Taken while others sign: register and journal are locked, in this order, as long as the small files are read and what was
   added since to the journals is hashed. Their beginnings never change and are hashed before and copied after. The journal of a
   timestamp authority is its own while it serves: of that one, the whole lines that are there.
3. Private keys stay out. Development keys come along only where that is asked for; whatever else looks like a private key, and what is not
   known, is left out and named.
4. The file is read again and checked whole before it gets its name; a crash leaves a temporary file and no backup.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import Made, Output, write_batch
from sealwright.artifact.source import open_artifact, read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.certified import UNREADABLE
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.envelope.kinds import BACKUP
from sealwright.errors import (
    BackupRefused,
    ChangedWhileRead,
    MalformedTrust,
    OutputRefused,
    SealwrightError,
    UsageError,
)
from sealwright.formats.format import Coverage, Prepared
from sealwright.keys.pin import Pin
from sealwright.log.canonical import MAX_LINE_BYTES, Field, read_canonical, read_time, time_text
from sealwright.log.ends import MAIN, NAMES, End, Ends, home_id, parse_ends
from sealwright.log.journal import FILE as ENTRIES
from sealwright.log.journal import LOCKED, Journal, closed_journals, whole_end
from sealwright.signing.backupfiles import (
    MAX_SMALL_BYTES,
    collect,
    is_entries,
    is_known,
    is_plain,
)
from sealwright.signing.home import (
    FILE,
    REGISTER,
    EnrolledKey,
    Home,
    KeyPurpose,
    open_home,
)
from sealwright.signing.pipeline import Pipeline
from sealwright.trust.certificate import load_certificate
from sealwright.trust.path import Path, Strictness, find_path

FIRST_LINE = "# sealwright backup 1"
STATEMENT, SIGNATURE, TAIL = "backup.txt", "backup.txt.p7s", "tail.jsonl"
UNDER = "home/"
BY_HAND = b"unpacked by hand: use `sealwright home restore`\n"
MAX_STATEMENT_BYTES = 16 << 20
MAX_SIGNATURE_BYTES = 1 << 20
MAX_FILES = 100_000
BLOCK = 1 << 20
_SECTOR = 512
_AGAIN = "Use another copy of it, or the backup before."


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup just made. ends: the journals' ends after it, to be kept outside; left_out: names of files that are not in it."""

    path: str
    ends: Ends
    files: int
    left_out: tuple[str, ...]
    with_keys: bool


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a backup. name: below the home; offset: of its first byte in the backup."""

    name: str
    offset: int
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was read and found whole. ends: with what its own signing added; tail: these lines."""

    path: str
    statement: Digest
    time: datetime
    ends: Ends
    tail: bytes
    members: tuple[Member, ...]
    left_out: tuple[str, ...]
    with_keys: bool
    signer: Signer
    bag: tuple[bytes, ...]


@dataclass(slots=True)
class _Growing:
    """A journal's file, hashed as far as it is known."""

    path: str
    size: int = 0
    state: object = field(default_factory=sha256)

    def catch_up(self) -> End:
        """Up to its last whole line; how many these are."""
        size, count, last = whole_end(self.path)
        with open(self.path, "rb") as file:
            file.seek(self.size)
            while self.size < size and (block := file.read(min(BLOCK, size - self.size))):
                self.state.update(block)  # type: ignore[attr-defined]
                self.size += len(block)
        return End(count, last)

    @property
    def digest(self) -> str:
        return str(self.state.hexdigest())  # type: ignore[attr-defined]

    def blocks(self) -> Iterator[bytes]:
        """Its first `size` bytes, which no writer changes."""
        left = self.size
        with open(self.path, "rb") as file:
            while left and (block := file.read(min(BLOCK, left))):
                left -= len(block)
                yield block
        if left:
            raise ChangedWhileRead(self.path, "it became shorter while it was copied", "Have the disk checked.")


def backup_key(home: Home, wanted: str | None = None) -> EnrolledKey:
    """The key that signs backups; UsageError that tells how to make one."""
    if not any(key.purpose is KeyPurpose.BACKUP for key in home.keys):
        raise UsageError(
            home.folder,
            "no key is enrolled for backups",
            f"Make one, once: sealwright key enrol backup --home {home.folder} --name backup",
        )
    return home.key(wanted, KeyPurpose.BACKUP, BACKUP, "backup")


def refuse_existing(out: str) -> None:
    """OutputRefused where a backup cannot be written because of what is there, or is not."""
    if os.path.lexists(out):
        raise OutputRefused(out, "it is already there", "Name a new file: a backup replaces nothing.")
    if not os.path.isdir(os.path.dirname(out) or "."):
        raise OutputRefused(out, "its folder does not exist", "Make the folder, or name another.")


def make_backup(
    home: Home, out: str, now: datetime, pin: Pin | None, *, with_development_keys: bool = False, key: str | None = None
) -> Taken:
    """Write the backup. OutputRefused where the file exists or cannot be written, JournalError where a journal stays locked."""
    enrolled = backup_key(home, key)
    refuse_existing(out)  # before anything is signed
    journals = [name for name in NAMES if os.path.isfile(home.path(name, ENTRIES))]
    growing = {
        f"{name}/{os.path.basename(path)}": _Growing(path)
        for name in journals
        for path in (*closed_journals(home.path(name)), home.path(name, ENTRIES))
    }
    for one in growing.values():
        one.catch_up()
    with ExitStack() as locks:
        if REGISTER in journals:
            locks.enter_context(Journal.open(home.path(REGISTER)))
        pipeline = locks.enter_context(Pipeline(home, enrolled, pin))
        collected = collect(home.folder, with_development_keys)
        collected.small[LOCKED] = BY_HAND
        found = {name: one.catch_up() for name, one in growing.items()}
        ends = {name: found[f"{name}/{ENTRIES}"] for name in journals}
        digests = {name: sha256(data).hexdigest() for name, data in collected.small.items()}
        digests |= {name: one.digest for name, one in growing.items()}
        before = Ends(home_id(home.folder), ends)
        text = _statement(digests, before, now, collected.left_out, with_development_keys)
        wanted = {
            HashName.SHA256: Digest.of(text),
            enrolled.algorithm.digest: Digest.of(text, enrolled.algorithm.digest),
        }
        prepared = Prepared("backup", "backup", out, wanted, None, len(text), Coverage.whole(len(text)), Claims())
        (made,) = pipeline.sign([prepared], now)
        sealed = pipeline.sealed(made)
        main = growing[f"{MAIN}/{ENTRIES}"]
        with open(main.path, "rb") as journal:
            journal.seek(main.size)
            tail = journal.read()
    parts: list[bytes | Made] = []
    for name, data in ((STATEMENT, text), (SIGNATURE, sealed.envelope), (TAIL, tail)):
        parts.append(_header(name, len(data)) + data + _padding(len(data)))
    for name in sorted(digests):
        big = growing.get(name)
        size = big.size if big is not None else len(collected.small[name])
        parts.append(_header(UNDER + name, size))
        parts.append(Made(big.blocks) if big is not None else collected.small[name])
        parts.append(_padding(size))
    parts.append(b"\0" * 2 * _SECTOR)
    write_batch([Output(out, tuple(parts), 0o600, check=lambda path: _check_written(path, out))])
    after = Ends(before.id, {**ends, MAIN: End(*_end_of_tail(tail, ends[MAIN], out))})
    return Taken(out, after, len(digests), tuple(collected.left_out), with_development_keys)


def read_backup(path: str) -> Backup:
    """Read a backup and check every byte of it against its signed statement; BackupRefused naming what is wrong.

    Whose key signed it, and whether that key is to be believed, says `check_origin`.
    """
    with open_artifact(path) as source:
        size = source.size
        members: list[tuple[str, int, int]] = []
        at = 0
        while True:
            header = source.read_at(at, _SECTOR)
            if header == b"\0" * _SECTOR:
                if source.read_at(at, 2 * _SECTOR + 1) != b"\0" * 2 * _SECTOR:
                    raise _refused(path, "something stands behind its end, or its end is cut off")
                break
            name, length = _read_header(header, path, at)
            at += _SECTOR
            if at + length + len(_padding(length)) > size:
                raise _refused(path, f"it ends within {name}: it is cut off")
            padding = _padding(length)
            if source.read_at(at + length, len(padding)) != padding:
                raise _refused(path, f"something stands behind {name}")
            members.append((name, at, length))
            if len(members) > MAX_FILES + 3:
                raise _refused(path, f"more than {MAX_FILES} files")
            at += length + len(padding)
        first = [name for name, _, _ in members[:3]]
        if first != [STATEMENT, SIGNATURE, TAIL]:
            raise _refused(path, f"it does not begin with {STATEMENT}, {SIGNATURE} and {TAIL}")
        for (name, _, length), limit in zip(
            members[:3], (MAX_STATEMENT_BYTES, MAX_SIGNATURE_BYTES, 2 * MAX_LINE_BYTES + 2), strict=True
        ):
            if length > limit:
                raise _refused(path, f"{name} has {length} bytes")
        text, envelope, tail = (source.read_at(offset, length) for _, offset, length in members[:3])
        signer, bag = _signer(text, envelope, path)
        listed, ends, time, left_out, with_keys = _read_statement(text, path)
        if [UNDER + name for name in listed] != [name for name, _, _ in members[3:]]:
            raise _refused(path, f"its files are not those that {STATEMENT} lists")
        found = tuple(
            Member(name, offset, length, listed[name])
            for name, (_, offset, length) in zip(listed, members[3:], strict=True)
        )
        for one in found:
            if one.size > MAX_SMALL_BYTES and not is_entries(os.path.basename(one.name)):
                raise _refused(path, f"{one.name} has {one.size} bytes")
            digest = sha256()
            for block in source.blocks([(one.offset, one.offset + one.size)]):
                digest.update(block)
            if digest.hexdigest() != one.digest:
                raise _refused(path, f"{one.name} was changed")
        source.check_unchanged()
    after = End(*_end_of_tail(tail, ends.journals[MAIN], path, Digest.of(text), Digest.of(signer.signature)))
    full = Ends(ends.id, {**ends.journals, MAIN: after})
    return Backup(path, Digest.of(text), time, full, tail, found, left_out, with_keys, signer, bag)


def check_origin(backup: Backup, anchors: Sequence[bytes], home: Home) -> None:
    """Whether it was signed by a key that its home enrolled for backups, under a root that is known outside.

    anchors: DER; home: as the backup has it. The path is judged at the time that the backup claims: it may be old, and its
    signer's certificate may have ended since.
    """
    own = key_digest(backup.signer.key)
    if not any(key.purpose is KeyPurpose.BACKUP and key_digest(key.public_key) == own for key in home.keys):
        raise _refused(backup.path, "it is not signed by a key that its home enrolled for backups")
    leaf = load_certificate(backup.signer.certificate, "signer")
    bag = [load_certificate(der, "certificate") for der in backup.bag]
    trusted = [load_certificate(der, "anchor") for der in anchors]
    found = find_path(leaf, bag, trusted, backup.time, Strictness.FOREIGN)
    if not isinstance(found, Path):
        raise BackupRefused(
            backup.path,
            f"its signer does not stand under the root that you named ({found.reason})",
            "Name the root of the home whose backup it is, with --ca, from a copy that was kept outside.",
        )


def read_anchors(path: str) -> tuple[bytes, ...]:
    """The roots of a PEM file, DER; MalformedTrust for anything else, such as a backup that would vouch for itself."""
    data = read_file(path, MAX_SIGNATURE_BYTES)
    try:
        if b"\0" in data:
            raise ValueError("it is no text")
        found = x509.load_pem_x509_certificates(data)
        if any(one.subject != one.issuer for one in found):
            raise ValueError("not only roots are in it")
    except UNREADABLE as cause:
        raise MalformedTrust(
            path, "it is no PEM file of root certificates alone", "Name the root's certificate, such as ca.pem."
        ) from cause
    return tuple(one.public_bytes(Encoding.DER) for one in found)


def encrypt_to(data: bytes, recipients: Sequence[tuple[str, bytes]]) -> bytes:
    """CMS EnvelopedData that each of the persons reads with `openssl cms -decrypt`. recipients: path and PEM certificate.

    BackupRefused for a key that this cannot be done with: only RSA.
    """
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.ciphers import algorithms
    from cryptography.hazmat.primitives.serialization import pkcs7

    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(data).set_content_encryption_algorithm(algorithms.AES256)
    for path, pem in recipients:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            usable = isinstance(certificate.public_key(), rsa.RSAPublicKey)
        except UNREADABLE as cause:
            raise MalformedTrust(path, "no PEM certificate in it", "Name the person's certificate.") from cause
        if not usable:
            raise BackupRefused(path, "its key is not RSA, and only to RSA keys is encrypted here", "Name another one.")
        builder = builder.add_recipient(certificate)
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def _check_written(path: str, out: str) -> None:
    try:
        read_backup(path)
    except BackupRefused as cause:
        raise BackupRefused(out, f"what was written does not check: {cause.what}", "Have the disk checked.") from cause


def _statement(digests: dict[str, str], ends: Ends, now: datetime, left_out: Sequence[str], with_keys: bool) -> bytes:
    lines = [
        FIRST_LINE,
        f"# time {time_text(now)}",
        f"# checkpoint {ends.line}",
        f"# private-keys {'development' if with_keys else 'none'}",
        *(f"# left-out {_shown(name)}" for name in left_out),
        *(f"{digests[name]}  {UNDER}{name}" for name in sorted(digests)),
    ]
    return ("\n".join(lines) + "\n").encode()


def _read_statement(text: bytes, path: str) -> tuple[dict[str, str], Ends, datetime, tuple[str, ...], bool]:
    try:
        lines = text.decode().removesuffix("\n").split("\n")
        heads = [line for line in lines if line.startswith("#")]
        time = read_time(heads[1].removeprefix("# time "))
        ends = parse_ends(heads[2].removeprefix("# checkpoint "))
        keys = heads[3].removeprefix("# private-keys ")
        left_out = [line.removeprefix("# left-out ") for line in heads[4:]]
        listed: dict[str, str] = {}
        for line in lines[len(heads) :]:
            digest, name = line[:64], line[64:].removeprefix(f"  {UNDER}")
            if not is_plain(name) or not is_known(name) or name in listed:
                raise ValueError(f"it lists {name[:100]!r}")
            listed[name] = digest
        if keys not in ("none", "development") or (keys == "none" and any(one.startswith("keys/") for one in listed)):
            raise ValueError("it does not say which private keys are in it")
        if _statement(listed, ends, time, left_out, keys == "development") != text:
            raise ValueError("it is not written as this program writes it")
        if {FILE, LOCKED, f"{MAIN}/{ENTRIES}"} - set(listed):
            raise ValueError("it lists no home.toml, no journal or no lock")
    except (ValueError, IndexError, SealwrightError) as cause:
        raise _refused(path, f"{STATEMENT} cannot be read ({cause})"[:200]) from cause
    return listed, ends, time, tuple(left_out), keys == "development"


def _signer(text: bytes, envelope: bytes, path: str) -> tuple[Signer, tuple[bytes, ...]]:
    try:
        read = read_envelope(envelope, Profile.OURS, SIGNATURE)
        signers = [one for one in read.signers if isinstance(one, Signer)]
        if len(signers) != 1 or len(read.signers) != 1 or signers[0].tokens or signers[0].findings:
            raise _refused(path, "it does not have exactly one plain signature")
        check_signer(signers[0], {name: Digest.of(text, name) for name in HashName}, BACKUP.name, SIGNATURE)
    except BackupRefused:
        raise
    except SealwrightError as cause:
        raise _refused(path, f"its signature does not hold: {cause.what}") from cause
    return signers[0], read.certificates


def _end_of_tail(
    tail: bytes, before: End, path: str, statement: Digest | None = None, signature: Digest | None = None
) -> tuple[int, str]:
    """The journal's end behind the two entries of the backup's own signing, which must be these and no others."""
    last, number = before.last, before.count
    read: list[dict[str, Field]] = []
    try:
        if not tail.endswith(b"\n"):
            raise ValueError("its last line is torn")
        for line in tail[:-1].split(b"\n"):
            fields = read_canonical(line)
            if fields.get("previous") != last or fields.get("seq") != number:
                raise ValueError("it does not follow the journal")
            read.append(fields)
            last, number = sha256(line).hexdigest(), number + 1
        intent, result = read
        if (intent.get("type"), intent.get("kind"), result.get("type")) != ("intent", "backup", "result"):
            raise ValueError("it is not about this backup")
        if set(result) != {"type", "seq", "previous", "request", "signature"} or result["request"] != intent["request"]:
            raise ValueError("its result is not of its intent")
        if statement is not None and (intent.get("artifact"), result["signature"]) != (str(statement), str(signature)):
            raise ValueError("it is about another backup")
    except (ValueError, KeyError) as cause:
        raise _refused(path, f"{TAIL} does not fit ({cause})"[:200]) from cause
    return number, last


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, 0
    return info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")


def _read_header(header: bytes, path: str, at: int) -> tuple[str, int]:
    """Name and size, of a header that is exactly what we write."""
    if len(header) != _SECTOR:
        raise _refused(path, "it is cut off")
    if at == 0 and header[:1] == b"\x30":
        raise BackupRefused(
            path,
            "it is encrypted, or no backup of a home",
            "Decrypt it first: openssl cms -decrypt -binary -inform DER -in FILE -inkey KEY -out BACKUP",
        )
    if header[156:157] != b"0":
        raise _refused(path, f"at byte {at} it holds a link, folder or device, or it is no backup of a home")
    try:
        prefix, name = header[345:500].rstrip(b"\0").decode(), header[:100].rstrip(b"\0").decode()
        whole, size = f"{prefix}/{name}" if prefix else name, int(header[124:135], 8)
        same = _header(whole, size) == header
    except (ValueError, tarfile.TarError) as cause:
        raise _refused(path, f"the header at byte {at} cannot be read") from cause
    if not same:
        raise _refused(path, f"the header at byte {at} is not one that this program writes")
    if whole not in (STATEMENT, SIGNATURE, TAIL):
        inside = whole.removeprefix(UNDER)
        if inside == whole or not is_plain(inside) or not is_known(inside):
            raise _refused(path, f"it holds {_shown(whole)[:120]!r}, which belongs to no home")
    return whole, size


def _padding(size: int) -> bytes:
    return b"\0" * (-size % _SECTOR)


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() and not c.isspace() else "_" for c in name)


def _refused(path: str, what: str) -> BackupRefused:
    return BackupRefused(path, what, _AGAIN)


def home_in(folder: str) -> Home:
    """The home of a folder that a backup was unpacked into; BackupRefused where it is none."""
    try:
        return open_home(folder)
    except SealwrightError as cause:
        raise _refused(folder, f"there is no home in it ({cause.what})") from cause
