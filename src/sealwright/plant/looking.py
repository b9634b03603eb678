"""What a worker does for a survey: open each file of a folder once, without following links, and say who signed it.

Most files of a share are signed by nobody and like no format that could be: their first and last bytes and the names beside them
say so, and one read gives their digest. The others are looked at whole (`signers.py`), and judged where there is a trust file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from sealwright.artifact.names import display
from sealwright.artifact.source import HeldArtifact, OpenArtifact, opened_as, unreadable
from sealwright.errors import SealwrightError
from sealwright.findings import Severity
from sealwright.formats.format import Search
from sealwright.formats.known import HEAD_BYTES, MAX_TAIL_BYTES, could_be_signed_inside, ends_of
from sealwright.plant.rows import Answer, Batch, Chunk, FileRow, Judgement, Plain, SignatureRow, SignerRow, StampRow
from sealwright.plant.signers import STATEMENTS, CertificateSeen, FileSeen, SignatureSeen, State, look, whole_digest
from sealwright.plant.walk import opened_below

if TYPE_CHECKING:
    from sealwright.trust.verify import Verifier  # start-up time: most surveys judge nothing

SMALL = 256 * 1024
MAX_HELD = 64  # files that are open until the plain ones of a batch are done: at most so many times SMALL in memory
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


class _Place(NamedTuple):
    """The folder of a chunk. inside: its path with a separator behind; rows: of its files, as far as they are not plain.

    beside: as in `Chunk`.
    """

    inside: str
    descriptor: int
    beside: tuple[str, ...]
    rows: list[FileRow]


class _Held(NamedTuple):
    """A file to be looked at whole, open. head: its first bytes; beside: names of what may belong to it; rows: where its own goes."""

    head: bytes
    at: int
    source: OpenArtifact
    beside: tuple[str, ...]
    rows: list[FileRow]


class Worker:
    """Answers about chunks; knows which certificates it has told of, and keeps the folder that it looked into last."""

    def __init__(self, verifier: Verifier | None, now: float) -> None:
        self.verifier = verifier
        self.now = now
        self.told: set[tuple[str, str]] = set()
        self.stamps: set[tuple[str, bool]] = set()
        self.plain = Plain([], [], [])
        self.held: list[_Held] = []
        self.new: list[SignerRow] = []
        self.new_stamps: list[StampRow] = []
        self.root: tuple[bytes, int] = (b"", -1)
        self.folder: tuple[bytes, bytes, int] = (b"", b"", -1)

    def __call__(self, batch: Batch) -> list[Answer]:
        """An answer for each chunk, with every name once."""
        self.new, self.new_stamps = [], []
        answers = []
        for chunk in batch:
            self.plain = Plain([], [], [])
            answers.append(Answer(self.plain, [], [], []))
            self._files(chunk, answers[-1].files)
        self._look_at_held()
        for answer in answers:
            answer.files.sort(key=lambda row: row.place)
        answers[0] = answers[0]._replace(signers=self.new, stamps=self.new_stamps)
        return answers

    def _files(self, chunk: Chunk, rows: list[FileRow]) -> None:
        folder = os.fsdecode(chunk.path)
        inside = os.path.join(folder, "") if folder else ""
        if chunk.trees or chunk.beside is None:
            rows += [self._whole(at, inside + os.fsdecode(name)) for at, name in enumerate(chunk.names)]
            return
        try:
            descriptor = self._folder(chunk)
        except OSError as cause:
            why = unreadable("", cause).what
            rows += [_unread(at, why) for at in range(len(chunk.names))]
            return
        place = _Place(inside, descriptor, tuple(map(os.fsdecode, chunk.beside)), rows)
        look_at = self._digested if chunk.files else self._file
        for at, name in enumerate(chunk.names):
            if (row := look_at(at, name, place)) is not None:
                rows.append(row)

    def _look_at_held(self) -> None:
        """Kind by kind and after the others, so that the code for each kind of file stays in the processor's cache."""
        held, self.held = sorted(self.held, key=lambda one: one.head), []
        for _, at, source, beside, rows in held:
            with source:
                seen = look(source.path, Search(beside=beside, source=source))
                rows.append(self._seen(at, seen, source))

    def _folder(self, chunk: Chunk) -> int:
        if self.folder[:2] != (chunk.root, chunk.inside) or self.folder[2] < 0:
            if self.folder[2] >= 0:
                os.close(self.folder[2])
                self.folder = (b"", b"", -1)
            if self.root[0] != chunk.root or self.root[1] < 0:
                if self.root[1] >= 0:
                    os.close(self.root[1])
                    self.root = (b"", -1)
                self.root = (chunk.root, os.open(chunk.root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)))
            self.folder = (chunk.root, chunk.inside, opened_below(self.root[1], chunk.inside))
        return self.folder[2]

    def _file(self, at: int, raw: bytes, place: _Place) -> FileRow | None:
        """Why a file is not read. Else None: an unsigned one is noted among the plain ones, another is held open to be looked at."""
        try:
            descriptor = os.open(raw, _FLAGS, dir_fd=place.descriptor)
        except OSError as cause:
            return _unread(at, unreadable("", cause).what)
        source: OpenArtifact | None = None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return _unread(at, "it is no longer a regular file")
            name = os.fsdecode(raw)
            beside = tuple(one for one in place.beside if one.startswith(f"{name}.")) if place.beside else ()
            if status.st_size <= SMALL:
                data = os.read(descriptor, status.st_size + 1)
                head = data[:HEAD_BYTES]
                if not beside and not could_be_signed_inside(head, data[-MAX_TAIL_BYTES:], name):
                    return self._unsigned(at, descriptor, status, data)
                source = HeldArtifact(place.inside + name, descriptor, status, data)
            else:
                source = opened_as(place.inside + name, descriptor)
                head, tail = ends_of(source)
                if not beside and not could_be_signed_inside(head, tail, name):
                    self._noted(at, source.size, None)
                    return None
            self.held.append(_Held(head, at, source, beside, place.rows))
            source, descriptor = None, -1
        except SealwrightError as cause:
            return _unread(at, cause.what)
        except OSError as cause:
            return _unread(at, unreadable("", cause).what)
        finally:
            if source is not None:
                source.close()
            elif descriptor >= 0:
                os.close(descriptor)
        if len(self.held) == MAX_HELD:
            self._look_at_held()
        return None

    def _unsigned(self, at: int, descriptor: int, before: os.stat_result, data: bytes) -> FileRow | None:
        """A small file that is like no signed one."""
        after = os.fstat(descriptor)
        if (
            len(data) != before.st_size
            or after.st_size != before.st_size
            or after.st_mtime_ns != before.st_mtime_ns
            or after.st_ctime_ns != before.st_ctime_ns
        ):
            return _unread(at, "it changed while it was read")
        self._noted(at, before.st_size, hashlib.sha256(data).digest())
        return None

    def _digested(self, at: int, raw: bytes, place: _Place) -> FileRow | None:
        """A large file that nobody signed, read because another one has its size."""
        try:
            descriptor = os.open(raw, _FLAGS, dir_fd=place.descriptor)
        except OSError as cause:
            return _unread(at, unreadable("", cause).what)
        with opened_as(place.inside + os.fsdecode(raw), descriptor) as source:
            try:
                self._noted(at, source.size, whole_digest(source).value)
            except SealwrightError as cause:
                return _unread(at, cause.what)
        return None

    def _noted(self, at: int, size: int, digest: bytes | None) -> None:
        places, sizes, digests = self.plain
        places.append(at)
        sizes.append(size)
        digests.append(digest)

    def _whole(self, at: int, path: str) -> FileRow:
        return self._seen(at, look(path), None)

    def _seen(self, at: int, seen: FileSeen, source: OpenArtifact | None) -> FileRow:
        digest = seen.digest.value if seen.digest is not None else b""
        signatures = tuple([self._row(one) for one in seen.signatures])
        why = display(seen.why[0].sentence) if seen.why else ""
        judged = self._judged(seen, source) if signatures and self.verifier is not None else None
        return FileRow(at, seen.size, digest, seen.state.value, why, signatures, judged)

    def _judged(self, seen: FileSeen, source: OpenArtifact | None) -> Judgement | None:
        if self.verifier is None or all(one.format in STATEMENTS for one in seen.signatures):
            return None  # a statement is no artifact: what it is worth is asked elsewhere
        try:
            verdict = self.verifier.verify(seen.path) if source is None else self.verifier.verify_opened(source)
        except SealwrightError as cause:
            return Judgement("rejected", "", cause.code, display(str(cause)))
        against = (one for one in verdict.findings if one.severity in (Severity.REJECT, Severity.UNDECIDED))
        first = next(against, None)
        code, why = (first.code, display(first.sentence)) if first is not None else ("", "")
        # a rule that nobody's signature counts for is only the next one that could have spoken
        counts = any(one.accepted for one in verdict.signers)
        return Judgement(verdict.outcome.value, verdict.rule if counts else "", code, why)

    def _row(self, one: SignatureSeen) -> SignatureRow:
        signer = identity(one)
        leaf = one.chain[0] if one.chain else None
        certificate = str(leaf.certificate) if leaf is not None else ""
        if signer and (signer, certificate) not in self.told:
            self.told.add((signer, certificate))
            self.new.append(self._signer(signer, certificate, one))
        stamp = one.stamp
        if stamp is not None and stamp.chain:
            authority = (str(stamp.chain[0].certificate), stamp.bound)
            if authority not in self.stamps:
                self.stamps.add(authority)
                chain = tuple(each.der for each in stamp.chain)
                self.new_stamps.append(StampRow(authority[0], chain, stamp.bound))
        problem = next((each.problem for each in one.stamps if each.problem), "")
        why = one.why[0] if one.why else None
        return SignatureRow(
            signer=signer,
            certificate=certificate,
            format=one.format,
            slot=one.slot.value,
            state=one.state.value,
            algorithm=one.algorithm,
            weakness=display(one.weakness),
            authority=stamp.authority if stamp is not None else "",
            stamped=stamp.time.timestamp() if stamp is not None and stamp.time is not None else 0.0,
            stamp_problem=display(problem),
            product=_storable(one.claims.product or ""),
            version=_storable(one.claims.version or ""),
            generation=one.claims.generation,
            code=why.code if why is not None else "",
            why=display(why.sentence) if why is not None else "",
        )

    def _signer(self, signer: str, certificate: str, one: SignatureSeen) -> SignerRow:
        ends = [each.not_after.timestamp() for each in one.chain]
        leaf: CertificateSeen | None = one.chain[0] if one.chain else None
        return SignerRow(
            signer=signer,
            subject=one.subject,
            issuer=one.issuer,
            certificate=certificate,
            key=str(leaf.key or "") if leaf is not None else "",
            not_before=leaf.not_before.timestamp() if leaf is not None else 0.0,
            not_after=ends[0] if ends else 0.0,
            next_end=min((end for end in ends if end > self.now), default=0.0),
            chain=tuple(each.der for each in one.chain),
        )


def identity(one: SignatureSeen) -> str:
    """By what signatures are put together: a name, and the key that vouches for it.

    Anybody can make a certificate with another's name in it, so the name alone is nobody: beside it stands the key of the issuer
    that came with the signature, else the signer's own. Bare signatures go by what they call their signer; "" where nothing is said.
    """
    if not one.chain:
        return f"bare {one.format} {one.called}" if one.called else ""
    vouching = one.chain[1] if len(one.chain) > 1 else one.chain[0]
    return f"{vouching.key or vouching.certificate} {one.subject}"


def _storable(text: str) -> str:
    """A text as SQLite takes it; a lone surrogate is written as an escape."""
    return text.encode(errors="backslashreplace").decode()


def _unread(at: int, why: str) -> FileRow:
    return FileRow(at, 0, b"", State.UNREADABLE.value, why)
