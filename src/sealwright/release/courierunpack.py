"""Unpacking a courier: everything is copied into a private folder and verified there; only then anything of it is anywhere else (A150, A153).

1. What is read is named by the manifest, opened below one descriptor without following a link, and bounded. Each copy is compared with
   its digest as it is made; the first that differs ends it.
2. The copy is judged like any signed folder, for installation at this receiver, with the receiver's id as hardware and its state, so that
   a foreign courier and one that is older than the last are refused. Only a rule that names `courier from SENDER` counts: by one
   without products every maker whom it takes could send under any name.
3. `courier.toml` says what the manifest claims, and its `until` is not past at the judgement time. Where an answer was asked for, it
   answers one of our nonces.
4. A slice of a repository is read by python-tuf's client from the root that the trust file names: current, whole, not older than what
   was seen; every target in it is one that the repository has.
5. Then the repository's files get their names in the mirror, its metadata as python-tuf verified it, its timestamp last, and the courier
   its name under `couriers/`: a crash before leaves the mirror as it was, and unpacking again goes on. Only a courier that was taken over
   is remembered as the newest one of its sender.

Of those who unpack with one state, whatever their folders are, one is at points 2 to 5 at a time: it holds the lock of python-tuf's cache.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import BinaryIO, NamedTuple, Protocol

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.digestcopy import DigestingCopier, NotWritten
from sealwright.artifact.folders import alone_in, new_folder
from sealwright.artifact.manifest import Manifest
from sealwright.artifact.names import display
from sealwright.artifact.output import sync_file_system
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import Stamp, known_digests, read_file, stamp_of
from sealwright.errors import CourierRefused, LimitExceeded, MediumGone, OutputRefused, Unreadable, UsageError
from sealwright.findings import Severity
from sealwright.formats.manifest import LIST_SUFFIX, read_listed
from sealwright.formats.sidecar import MANIFEST_SUFFIX, RESERVED
from sealwright.release.client import FIRST_ROOT, check_versions, open_client
from sealwright.release.courier import (
    DESCRIPTION,
    MAX_BYTES,
    PARTS,
    PREFIX,
    SUFFIX,
    Courier,
    parse_courier,
    product_of,
    sender_of,
)
from sealwright.release.couriermirror import MirrorFiles, place
from sealwright.release.couriernonces import answered, claim
from sealwright.release.couriertar import MAX_MEMBERS, members
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.trust.belief import Believed
from sealwright.trust.place import unsafe_because
from sealwright.trust.state import read_state, update_state
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Remember, Request, Verifier

COURIERS = "couriers"
MIRROR = "repository"
CACHE = "repository-metadata"
MAX_FILES = 200_000
MAX_SIDECARS = 20
MAX_SIDECAR_BYTES = 16 << 20
MAX_LIST_BYTES = 512 << 20
SPARE_BYTES = 64 << 20
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTCONN, errno.ENOMEDIUM}
_NEXT = "Do not use it; ask its sender for another one, on another way."


class Wanted(Enum):
    """ANY courier, or only one that is an ANSWER to a nonce of ours."""

    ANY = auto()
    ANSWER = auto()


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who unpacks. id: of the plant or device, as couriers name it; state: the verifier's folder; clock: the time now, aware.

    wanted: whether the courier must answer a nonce that waits in the state folder; size_bytes: the most that is taken.
    """

    id: str
    believed: Believed
    state: str
    clock: datetime
    wanted: Wanted
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A courier that was taken over. folder: where it lies now; manifest: by which it is acknowledged; parts: what it brought.

    targets: how many files of the repository came; versions: of the repository's roles.
    """

    courier: Courier
    folder: str
    manifest: Digest
    parts: tuple[str, ...]
    targets: int
    verdict: Verdict


class Place(NamedTuple):
    """Where a file's bytes are: an open descriptor, from where, how many."""

    descriptor: int
    start: int
    size: int


class Source(Protocol):
    """A courier as it came: the files beside its folder, and those in it by their names."""

    name: str

    def beside(self) -> Sequence[str]:
        """Names that begin with the courier's and a dot."""

    @contextmanager
    def opened(self, name: bytes) -> Iterator[Place]:
        """A file; OSError."""
        raise NotImplementedError


def unpack(path: str, into: str, receiver: Receiver, progress: Progress) -> Unpacked:
    """Verify a courier and take it over; see the steps above.

    path: the folder of a courier, the medium it lies on, or a `.courier` file; into: the receiver's folder, which is there. Raises
    CourierRefused saying why, MalformedArtifact, LimitExceeded, MediumGone, OutputRefused, the errors of a repository and of a state.
    """
    if _lies_in(into, receiver.state):
        raise UsageError(into, "it is the state folder, or in it", "Name a folder of its own with --into.")
    _check_places(into, receiver.state)
    cache = os.path.join(receiver.state, CACHE)
    with alone_in(into), _closed_to_others(), _source(path) as source:
        _make(os.path.join(into, COURIERS))
        folder = os.path.join(into, COURIERS, source.name)
        if os.path.isdir(folder):
            raise CourierRefused(source.name, "it was taken over before", f"It lies in {folder}; unpack a newer one.")
        with new_folder(folder) as building, closing(DigestingCopier(progress.advance)) as copier:
            copying = _Copying(source, building, copier, receiver)
            manifest, digest = copying.listed()
            known = copying.copy(manifest)
            read_state(receiver.state)  # which is there, before anything is made in it
            os.makedirs(cache, mode=0o700, exist_ok=True)
            with alone_in(cache):
                with known_digests(known):
                    verdict = _judged(os.path.join(building, source.name), receiver, source.name)
                courier = _said(building, source.name, manifest, verdict)
                repository = _checked_repository(building, source.name, manifest, verdict, receiver)
                _check_answer(courier, digest, verdict, receiver)
                sync_file_system(building)
                place(os.path.join(building, source.name, MIRROR), os.path.join(into, MIRROR), repository)
                product = product_of(courier.sender)
                update_state(receiver.state, lambda kept: kept.having_proved(product, courier.number))
    answered(receiver.state, courier.answers)
    parts = sorted({entry.name.partition(b"/")[0].decode() for entry in manifest.files} - {DESCRIPTION})
    return Unpacked(courier, folder, digest, tuple(parts), len(repository.stored), verdict)


def _lies_in(folder: str, other: str) -> bool:
    real, above = os.path.realpath(folder), os.path.realpath(other)
    return os.path.commonpath([real, above]) == above


def _check_places(into: str, state: str) -> None:
    """Only its owner may write where a courier is verified and remembered; the folder for it is made where it is not there yet."""
    new = not os.path.lexists(into)
    with _closed_to_others():
        _make(into)
    for own in (into, state):
        if os.path.isdir(own) and (why := unsafe_because(own)):
            if new:
                with suppress(OSError):
                    os.rmdir(into)
            raise OutputRefused(own, why, "Name a folder in which nobody else may write.")


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as cause:
        raise OutputRefused(
            folder, f"it cannot be made ({cause.strerror})", "Make room there, or name another folder with --into."
        ) from cause


@contextmanager
def _closed_to_others() -> Iterator[None]:
    """Nobody else may write what is made, whatever the caller's umask is: it is verified where it lies."""
    before = os.umask(0o022)
    os.umask(before | 0o022)
    try:
        yield
    finally:
        os.umask(before)


class _Copying:
    """Point 1."""

    def __init__(self, source: Source, building: str, copier: DigestingCopier, receiver: Receiver) -> None:
        self.source = source
        self.building = building
        self.copier = copier
        self.receiver = receiver

    def listed(self) -> tuple[Manifest, Digest]:
        """The manifest, once it and what lies beside it are in the private folder, and its SHA-256."""
        name = self.source.name
        # what a verification reads; anything else beside a courier is nobody's word
        beside = sorted(one for one in self.source.beside() if one.startswith(f"{name}.") and one.endswith(RESERVED))
        if name + MANIFEST_SUFFIX not in beside:
            raise CourierRefused(name, f"{name}{MANIFEST_SUFFIX} is not beside it", _NEXT)
        if len(beside) > MAX_SIDECARS:
            raise LimitExceeded(name, f"{len(beside)} files beside it", f"At most {MAX_SIDECARS} are read.")
        for one in beside:
            limit = MAX_LIST_BYTES if one == name + LIST_SUFFIX else MAX_SIDECAR_BYTES
            self._taken(os.fsencode(one), os.path.join(self.building, one), limit)
        path = os.path.join(self.building, name + MANIFEST_SUFFIX)
        manifest, data = read_listed(path)
        claims, sender = manifest.claims, sender_of(name)
        if sender is None or claims.product != product_of(sender):
            raise CourierRefused(name, f"its manifest is of {display(claims.product or 'no product')}", _NEXT)
        if self.receiver.id not in claims.hardware:
            to = display(", ".join(claims.hardware)[:200]) or "nobody"
            raise CourierRefused(name, f"it is for {to}, not for {self.receiver.id}", "Take it to whom it is for.")
        if manifest.links or manifest.folders or manifest.algorithm is not HashName.SHA256:
            raise CourierRefused(name, "a courier has regular files alone, listed by SHA-256", _NEXT)
        if len(manifest.files) > MAX_FILES or manifest.total_bytes > self.receiver.size_bytes:
            what = f"{len(manifest.files):,} files of {manifest.total_bytes:,} bytes"
            raise LimitExceeded(name, what, "Raise --max-bytes, or have several couriers packed.")
        if manifest.total_bytes + SPARE_BYTES > _free(self.building):
            raise OutputRefused(self.building, f"no room for {manifest.total_bytes:,} bytes", "Make room there.")
        return manifest, Digest.of(data)

    def copy(self, manifest: Manifest) -> Mapping[Stamp, Digest]:
        """Every file that is listed, compared with its digest; what tells each copy from any other file."""
        known: dict[Stamp, Digest] = {}
        prefix = os.fsencode(self.source.name) + b"/"
        root = os.path.join(os.fsencode(self.building), prefix)
        left = self.receiver.size_bytes
        for entry in manifest.files:
            first = entry.name.split(b"/")[0].decode("utf-8", "replace")
            shown = display(entry.name)
            if first not in (*PARTS, DESCRIPTION) or (first != DESCRIPTION and b"/" not in entry.name):
                raise CourierRefused(self.source.name, f"{shown} belongs to no part of a courier", _NEXT)
            target = root + entry.name
            os.makedirs(os.path.dirname(target), exist_ok=True)
            stamp, digest, size = self._taken(prefix + entry.name, os.fsdecode(target), left)
            left -= size
            if digest.value != entry.digest:
                raise CourierRefused(self.source.name, f"{shown} is not what its manifest lists", _NEXT)
            known[stamp] = digest
        return known

    def _taken(self, name: bytes, target: str, limit: int) -> tuple[Stamp, Digest, int]:
        shown = display(name)
        try:
            with self.source.opened(name) as place:
                if place.size > limit:
                    raise LimitExceeded(shown, f"{place.size:,} bytes", f"At most {limit:,} are read here.")
                copy = os.open(target, _NEW, 0o644)
                try:
                    done, digest = self.copier.copy(place.descriptor, place.start, place.size, copy)
                    if done != place.size:
                        raise CourierRefused(self.source.name, f"{shown} ends early", _NEXT)
                    return stamp_of(os.fstat(copy)), digest, done
                finally:
                    os.close(copy)
        except NotWritten as cause:
            raise _full(self.building, cause) from cause
        except OSError as cause:
            if cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _full(self.building, cause) from cause
            if cause.errno in _GONE:
                raise MediumGone(shown, "it cannot be read any more", "Put it in again and wait to the end.") from cause
            raise CourierRefused(self.source.name, f"{shown} cannot be read ({cause.strerror})", _NEXT) from cause


def _judged(path: str, receiver: Receiver, name: str) -> Verdict:
    """Point 2."""
    sender = sender_of(name) or ""
    request = Request(
        clock=receiver.clock,
        state=receiver.state,
        hardware=receiver.id,
        product=product_of(sender),
        remember=Remember.PROVED,
    )
    verdict = Verifier(receiver.believed, request).verify(path)
    if verdict.outcome is not Outcome.TRUSTED:
        grave = (Severity.REJECT, Severity.UNDECIDED)
        why = next(one for one in verdict.findings if one.severity in grave)
        raise CourierRefused(name, why.sentence, why.next_step)
    naming = {rule.name for rule in receiver.believed.trust.rules if product_of(sender) in rule.products}
    if not verdict.rules or not naming.issuperset(verdict.rules):
        raise CourierRefused(
            name,
            f"no rule of the trust file names who sends as {sender}; it was signed by {signer_of(verdict)}",
            f'If they are {sender}, have the product "{product_of(sender)}" written into their rule.',
        )
    return verdict


def signer_of(verdict: Verdict) -> str:
    """Who signed a courier, as the certificate and the trust file say, not as its name does."""
    return "; ".join(
        display(f"{one.subject} ({one.person})" if one.person else one.subject)
        for one in verdict.signers
        if one.accepted
    )


def _said(building: str, name: str, manifest: Manifest, verdict: Verdict) -> Courier:
    """Point 3."""
    courier = parse_courier(read_file(os.path.join(building, name, DESCRIPTION), MAX_BYTES), f"{name}/{DESCRIPTION}")
    if courier.claims != manifest.claims or courier.name != name:
        raise CourierRefused(name, f"its {DESCRIPTION} says something else than its manifest", _NEXT)
    if courier.until < verdict.times.judged:
        raise CourierRefused(
            name, f"it was good until {courier.until:%Y-%m-%d %H:%M} UTC", "Ask its sender for a new one."
        )
    return courier


def _check_answer(courier: Courier, manifest: Digest, verdict: Verdict, receiver: Receiver) -> None:
    """Point 3, the last thing before it is taken over: a nonce is then this courier's and no other's."""
    if receiver.wanted is Wanted.ANSWER and not claim(receiver.state, courier.answers, manifest, verdict.times.judged):
        raise CourierRefused(
            courier.name,
            "it answers none of the questions that wait here",
            "Give the nonce of `courier ask` to its sender.",
        )


def _checked_repository(
    building: str, name: str, manifest: Manifest, verdict: Verdict, receiver: Receiver
) -> MirrorFiles:
    """Point 4."""
    inside = {
        entry.name.decode("utf-8", "surrogateescape").removeprefix(f"{MIRROR}/"): entry.digest
        for entry in manifest.files
        if entry.name.startswith(MIRROR.encode() + b"/")
    }
    if not inside:
        return MirrorFiles((), {})
    root = receiver.believed.trust.tuf_root
    if root is None:
        raise CourierRefused(
            name,
            "it brings a repository, and the trust file names none",
            "Have officers add it: `sealwright trust add trust.toml repository 1.root.json`.",
        )
    folder = os.path.join(building, name, MIRROR)
    first = os.path.join(folder, "metadata", FIRST_ROOT)
    cache = os.path.join(receiver.state, CACHE)
    client = open_client(
        read_file(first, 1 << 20), root, cache, FolderFetcher(folder), (METADATA, TARGETS), verdict.times.judged
    )
    check_versions(client.versions(), read_state(receiver.state).lists, name)
    stored = []
    for path, digest in inside.items():
        top, _, rest = path.partition("/")
        if top == "metadata":
            continue
        parent, slash, last = rest.rpartition("/")
        prefix, dot, base = last.partition(".")
        found = client.target(f"{parent}{slash}{base}") if top == "targets" and dot else None
        if found is None or found.hashes.get("sha256") != digest.hex() or prefix != digest.hex():
            raise CourierRefused(name, f"{display(path)} is nothing that the repository has", _NEXT)
        stored.append(path)
    metadata = client.metadata_files()
    trust = receiver.believed.trust
    update_state(receiver.state, lambda kept: kept.having_seen(trust.id, trust.version, client.versions()))
    return MirrorFiles(tuple(stored), metadata)


@contextmanager
def _source(path: str) -> Iterator[Source]:
    if os.path.isdir(path):
        yield _FolderSource(*_named(os.path.abspath(path)))
        return
    if not path.endswith(SUFFIX):
        raise UsageError(path, "it is neither a folder nor a .courier file", "Name what `courier pack` wrote.")
    try:
        descriptor = os.open(path, _FILE)
    except OSError as cause:
        raise Unreadable(path, cause.strerror or "it cannot be opened", "Check the path.") from cause
    with os.fdopen(descriptor, "rb") as file:
        yield _ArchiveSource(file, path)


def _named(path: str) -> tuple[str, str]:
    """The folder in which a courier lies, and its name: the one that is named, or the only one on a medium."""
    folder, name = os.path.split(path)
    if sender_of(name) is not None and os.path.isfile(path + MANIFEST_SUFFIX):
        return folder, name
    found = sorted(
        one.removesuffix(MANIFEST_SUFFIX)
        for one in os.listdir(path)
        if one.startswith(PREFIX) and one.endswith(MANIFEST_SUFFIX)
    )
    if len(found) != 1:
        what = f"{len(found)} couriers lie there: {display(', '.join(found[:5]))}" if found else "no courier lies there"
        raise UsageError(path, what, "Name the folder of the one you mean.")
    return path, found[0]


class _FolderSource:
    """A courier on a medium."""

    def __init__(self, folder: str, name: str) -> None:
        self.folder = folder
        self.name = name

    def beside(self) -> Sequence[str]:
        return [one for one in os.listdir(self.folder) if one.startswith(f"{self.name}.")]

    @contextmanager
    def opened(self, name: bytes) -> Iterator[Place]:
        descriptors = [os.open(self.folder, _FOLDER)]
        try:
            *folders, last = name.split(b"/")
            for folder in folders:
                descriptors.append(os.open(folder, _FOLDER | getattr(os, "O_NOFOLLOW", 0), dir_fd=descriptors[-1]))
            descriptors.append(os.open(last, _FILE, dir_fd=descriptors[-1]))
            status = os.fstat(descriptors[-1])
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            yield Place(descriptors[-1], 0, status.st_size)
        finally:
            for descriptor in descriptors:
                with suppress(OSError):
                    os.close(descriptor)


class _ArchiveSource:
    """A courier as one file."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.file = file
        self.places = {one.name: one for one in members(file, path)}
        tops = {name.partition(b"/")[0] for name in self.places if b"/" in name}
        names = [os.fsdecode(top) for top in tops]
        if len(names) != 1 or sender_of(names[0]) is None or len(self.places) > MAX_MEMBERS:
            raise CourierRefused(path, "it holds no courier", _NEXT)
        self.name = names[0]

    def beside(self) -> Sequence[str]:
        return [os.fsdecode(name) for name in self.places if b"/" not in name]

    @contextmanager
    def opened(self, name: bytes) -> Iterator[Place]:
        one = self.places.get(name)
        if one is None:
            raise FileNotFoundError(errno.ENOENT, "it is missing")
        yield Place(self.file.fileno(), one.start, one.size)


def _free(folder: str) -> int:
    place = os.statvfs(folder)
    return place.f_bavail * place.f_frsize


def _full(folder: str, cause: OSError) -> OutputRefused:
    return OutputRefused(folder, cause.strerror or "it takes no more", "Make room there, and unpack again.")
