"""Signing paths: what is signed as what, where the signature goes, and when it counts as written.

    FILE                       -> FILE.p7s                               (bare: binds the bytes alone)
    FOLDER, or FILE + claims   -> NAME.manifest and NAME.manifest.p7s    (binds every file, and the claims)
    plant: FILE                -> FILE.plant.p7s
    plant: FOLDER              -> NAME.manifest.plant.p7s, over the maker's manifest where there is one
    FILE as its own format     -> a new file with the signature inside (pe, ...), verified again before it gets its name,
                                  and NEW.tsr where a timestamp is asked for and the signature has no room for it;
                                  the signature is a file beside it where its verifiers look for it there (verity, ima)

Paths go through in batches: prepare all, one durable intent, the key, one durable result, timestamps, then the outputs
with one sync. A path that cannot be signed is reported and the others go on; nothing is written for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import (
    Output,
    Pair,
    Replace,
    permissions_of,
    refuse_itself,
    refuse_taken,
    replace_pairs,
    restore_pair,
    write_pairs,
)
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import read_file_or_none, unreadable
from sealwright.envelope.kinds import FILE, KINDS, ContentKind
from sealwright.errors import MalformedArtifact, OutputRefused, SealwrightError, Unreadable, UsageError
from sealwright.findings import Finding
from sealwright.formats.embedded import check_attached, embedded_format, files_beside
from sealwright.formats.format import Existing, Prepared, Sealed, Slot
from sealwright.formats.known import BESIDE, EMBEDDED
from sealwright.formats.manifest import MAX_SMALL_BYTES, claims_of
from sealwright.formats.registry import detached, manifest, plain_folder
from sealwright.formats.sidecar import LATE_SUFFIX, MANIFEST_SUFFIX, PROOF_SUFFIXES, RESERVED, is_beside, signature_path
from sealwright.keys.pin import Pin
from sealwright.signing.home import Home
from sealwright.signing.pending import Pending
from sealwright.signing.pipeline import Made, artifact_of
from sealwright.signing.place import HomePlace, OpenPlace, SigningKey, SigningPlace
from sealwright.signing.stamps import NONE, Missing, Stamper, doubts, utc_now

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout

BATCH = 256
HELD_BYTES = 64 << 20
# Windows and Java look for a timestamp inside the signature alone: one that comes later, in a file beside, helps them nothing
READ_INSIDE = frozenset(("authenticode", "jar"))
MAX_TEXT = 200
MAX_GENERATION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SignOptions:
    """key: name or key string (None: the home's first artifact key); timestamp: "local", "none", URLs or None (the home's).

    out: folder for the outputs (None: beside each path); recursive: sign each file of a folder instead of its manifest.
    format: name of the format that takes the signature inside (None: it goes beside); out is then the new file, or its folder;
    existing: what happens to signatures inside already; layout: what the header of the format `layout` is described by.
    timestamps: from how many distinct authorities; later: whether a signature is made though none answers (None: as the home says).
    clock: what says the time of signing, aware; the home's own authority stamps by it too. batch: how many are signed at once.
    """

    key: str | None = None
    claims: Claims = field(default_factory=Claims)
    timestamp: str | tuple[str, ...] | None = None
    slot: Slot = Slot.MAKER
    out: str | None = None
    recursive: bool = False
    replace: Replace = Replace.NO
    pin: Pin | None = None
    format: str | None = None
    existing: Existing = Existing.REFUSE
    layout: Layout | None = None
    timestamps: int = 1
    later: bool | None = None
    clock: Callable[[], datetime] = utc_now
    batch: int = BATCH

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The one layout, where there is one."""
        return () if self.layout is None else (self.layout,)


@dataclass(frozen=True, slots=True)
class Signed:
    """outputs: the files written, the signature last; subject: the signer's name; claimed: the signing time in it.

    stamped: the earliest time of its timestamps; pending: how many are still to come (`sealwright stamp`).
    """

    path: str
    outputs: tuple[str, ...]
    key: str
    subject: str
    provenance: str
    algorithm: str
    claimed: datetime
    stamped: datetime | None
    claims: Claims
    size: int
    pending: int = 0
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class NotSigned:
    """A path for which nothing was written, and why."""

    path: str
    error: SealwrightError


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the outputs of one call go. inputs: device and inode of what is signed, where outputs may replace files.

    proofs: whether the log's proof is written beside each signature.
    """

    inputs: frozenset[tuple[int, int]]
    proofs: bool
    taken: set[str] = field(default_factory=set)

    def take(self, path: str, target: str, replace: Replace) -> None:
        """Keep a name for an output of `path`; UsageError or OutputRefused where another output or an input has it."""
        if target in self.taken:
            raise UsageError(
                path, f"{target} would be written twice", "Sign them one after the other, or into two folders."
            )
        if self.inputs & _identities([target]):
            raise OutputRefused(
                path, f"{target} is to be signed as well, and would be written over", "Name another folder with --out."
            )
        refuse_taken(target, replace)
        self.taken.add(target)


def _identities(paths: Iterable[str | NotSigned]) -> frozenset[tuple[int, int]]:
    found = set()
    for path in paths:
        if isinstance(path, str):
            with suppress(OSError):  # what is not there is told when it is read
                status = os.stat(path)
                found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def sign_paths(
    paths: Iterable[str], home: Home, options: SignOptions, progress: Progress | None = None
) -> Iterator[Signed | NotSigned]:
    """One answer a path, in order. Raises for what concerns them all: the home, the key, the journal, the authority."""
    yield from sign_at(paths, HomePlace(home), options, progress)


def sign_at(
    paths: Iterable[str], place: SigningPlace, options: SignOptions, progress: Progress | None = None
) -> Iterator[Signed | NotSigned]:
    """The same wherever the key is."""
    check_claims(options.claims)
    check_options(options)
    kind = kind_for(options.format, options.layout)

    def prepare(path: str, algorithms: tuple[HashName, ...]) -> Prepared:
        return _prepared(path, options, algorithms, progress)

    yield from sign_each(artifacts(paths, options), kind, place, options, prepare)


def sign_each(
    listed: Iterable[str | NotSigned],
    kind: ContentKind,
    place: SigningPlace,
    options: SignOptions,
    prepare: Callable[[str, tuple[HashName, ...]], Prepared],
) -> Iterator[Signed | NotSigned]:
    """The same for what `prepare` makes of each path, asked for with the algorithms of its digests; it may refuse one path alone."""
    with (
        closing(place.open(options.key, kind, options.format or "", options.pin)) as opened,
        closing(_stamper(opened, place, kind, options)) as stamper,
    ):
        algorithms = (kind.digest_name(opened.key.algorithm),)
        if options.format is not None and options.replace is Replace.YES:
            listed = list(listed)
        places = _Places(_identities(listed) if isinstance(listed, list) else frozenset(), opened.proofs)
        batch: list[Prepared | NotSigned] = []
        held_bytes = 0  # made to be written behind the artifacts, such as hash trees
        for path in listed:
            one = path if isinstance(path, NotSigned) else _prepare(path, options, algorithms, places, prepare)
            batch.append(one)
            held_bytes += len(one.behind) if isinstance(one, Prepared) else 0
            if len(batch) == options.batch or held_bytes >= HELD_BYTES:
                yield from _finish(batch, opened, stamper, options)
                batch, held_bytes = [], 0
        if batch:
            yield from _finish(batch, opened, stamper, options)


def _stamper(opened: OpenPlace, place: SigningPlace, kind: ContentKind, options: SignOptions) -> Stamper:
    wanted = options.timestamp if options.timestamp is not None else place.timestamp
    if options.timestamp is None and not kind.carries_tokens:
        wanted = (NONE,)
    later = place.stamps_later if options.later is None else options.later
    if kind.name in READ_INSIDE:
        if options.later:
            raise UsageError(
                "--timestamp-later",
                f"those who verify a signature of the kind {kind.name} read timestamps inside it alone",
                "Sign it when an authority answers, or name another one with --timestamp.",
            )
        if options.timestamps > 1:
            raise UsageError(
                "--timestamps", f"a signature of the kind {kind.name} has one timestamp inside", "Ask for one."
            )
        later = False
    return opened.stamper(
        (wanted,) if isinstance(wanted, str) else wanted,
        number=options.timestamps,
        missing=Missing.LATER if later else Missing.REFUSE,
        clock=options.clock,
    )


def kind_for(form: str | None, layout: Layout | None = None) -> ContentKind:
    """What is signed where that format is asked for; None: what lies beside. A layout says which scheme its device reads."""
    kind = FILE if form is None else KINDS[EMBEDDED[form].kind]
    return kind if layout is None else kind._replace(schemes=frozenset((layout.scheme,)))


def check_options(options: SignOptions) -> None:
    """UsageError for options that contradict each other."""
    if (options.format == "layout") is (options.layout is None):
        raise UsageError(
            "--layout", "it describes files of the format layout, and these alone", "Name both, or neither."
        )
    if options.format is None:
        if options.existing is not Existing.REFUSE:
            raise UsageError("--add", "a signature beside a file is a file of its own", "Leave it out.")
        return
    if options.slot is not Slot.MAKER:
        raise UsageError(
            f"--as {options.slot}", "a second party signs beside the file", "Leave out --format, or sign as the maker."
        )
    if not options.out:
        raise UsageError(
            f"--format {options.format}", "a signature inside makes a new file", "Name it, or its folder, with --out."
        )


def check_claims(claims: Claims) -> None:
    """UsageError for a claim that could not be written down or read aloud."""
    named = [("product", claims.product), ("version", claims.version), ("environment", claims.environment)]
    for name, text in [*named, *(("hardware", entry) for entry in claims.hardware)]:
        if text is not None and (not text.strip() or len(text) > MAX_TEXT or not text.isprintable()):
            raise UsageError(
                f"--{name}",
                f"{text!r} is empty, too long or not printable",
                f"Use 1 to {MAX_TEXT} printable characters.",
            )
    if claims.generation is not None and not 0 <= claims.generation <= MAX_GENERATION:
        raise UsageError(
            "--generation", f"{claims.generation} is out of range", "Use a whole number that grows with each release."
        )


def artifacts(paths: Iterable[str], options: SignOptions) -> Iterator[str | NotSigned]:
    """The paths to sign; with `recursive`, the files of each folder that are not signatures themselves, sorted.

    A folder that cannot be read, or holds nothing to sign, is told and not passed over.
    """
    for path in paths:
        if not options.recursive or not os.path.isdir(path):
            yield path
            continue
        unread: list[OSError] = []
        found = 0
        for folder, folders, names in os.walk(path, onerror=unread.append):
            folders.sort()
            present = {*names}
            others = {name for name in names if name.endswith(RESERVED) or is_beside(folder, name, present, folders)}
            files = [os.path.join(folder, name) for name in sorted(names) if name not in others]
            found += len(files)
            yield from files
        yield from (NotSigned(str(one.filename), unreadable(str(one.filename), one)) for one in unread)
        if not found and not unread:
            yield NotSigned(path, UsageError(path, "there is no file in it to sign", "Name a folder with files."))


def _prepare(
    path: str,
    options: SignOptions,
    algorithms: tuple[HashName, ...],
    places: _Places,
    prepare: Callable[[str, tuple[HashName, ...]], Prepared],
) -> Prepared | NotSigned:
    try:
        if os.path.basename(path).endswith(RESERVED):
            raise UsageError(path, "names that end like this are kept for signatures", "Sign the file it belongs to.")
        prepared = prepare(path, algorithms)
        targets = _targets(prepared, options)
        if places.proofs:
            targets = (_proof(prepared, options), *targets)
        if options.format is not None:
            for target in targets:
                refuse_itself(path, target)
        if len(targets) > 1:
            restore_pair(targets)
        for target in targets:
            places.take(path, target, options.replace)
        return prepared
    except SealwrightError as cause:
        return NotSigned(path, cause)


def _prepared(path: str, options: SignOptions, algorithms: tuple[HashName, ...], progress: Progress | None) -> Prepared:
    if os.path.isdir(path) and options.format is not None:
        raise UsageError(path, f"a folder is no file of the format {options.format}", "Sign its files one by one.")
    if os.path.isdir(path):
        folder = plain_folder(path)
        if options.slot is Slot.MAKER:
            return manifest().prepare(folder, algorithms, options.claims, progress)
        return _second_over_tree(folder, options, algorithms, progress)
    if not os.path.lexists(path):
        raise Unreadable(path, "there is no such file or folder", "Check the path.")
    if options.format is not None:
        form = embedded_format(options.format, options.layouts)
        prepared = form.prepare(path, algorithms, options.claims, options.existing, progress)
        return prepared._replace(name=os.path.basename(_new_file(prepared, options)))
    if options.slot is Slot.MAKER and options.claims:
        return manifest().prepare(path, algorithms, options.claims, progress)
    if options.claims:
        raise UsageError(
            path,
            f"a {options.slot} signature adds no claims; the maker's count",
            "Leave out product, version and generation.",
        )
    return detached().prepare(path, algorithms, options.claims, progress)


def _second_over_tree(
    folder: str, options: SignOptions, algorithms: tuple[HashName, ...], progress: Progress | None
) -> Prepared:
    """A second party signs the first one's manifest, after finding it true byte for byte."""
    existing = read_file_or_none(folder + MANIFEST_SUFFIX, MAX_SMALL_BYTES)
    if existing is None:
        return manifest().prepare(folder, algorithms, options.claims, progress)
    claims = claims_of(existing, os.path.basename(folder) + MANIFEST_SUFFIX)
    if options.claims and options.claims != claims:
        raise UsageError(folder, "its manifest claims something else", "Leave out product, version and generation.")
    prepared = manifest().prepare(folder, algorithms, claims, progress)
    if prepared.content != existing:
        raise MalformedArtifact(
            folder, "it is not what its manifest lists", f"Run `sealwright verify {folder}` to see the difference."
        )
    return prepared._replace(companions=())


def _finish(
    batch: list[Prepared | NotSigned], opened: OpenPlace, stamper: Stamper, options: SignOptions
) -> Iterator[Signed | NotSigned]:
    ready = [entry for entry in batch if isinstance(entry, Prepared)]
    now, key = options.clock(), opened.key
    made = key.sign(ready, now) if ready else []
    stamps = stamper.stamp([Digest.of(one.value) for one in made])
    pairs: list[tuple[Prepared, Pair]] = []
    answers: dict[int, Signed | NotSigned] = {}
    waiting: dict[int, Pending] = {}
    strange = opened.strangers([stamp for got in stamps for stamp in got], now)
    for prepared, one, got in zip(ready, made, stamps, strict=True):
        carries = KINDS[prepared.kind].carries_tokens
        sealed = key.sealed(one, [stamp.token for stamp in got] if carries else ())
        try:
            files = _outputs(prepared, sealed, options)
        except SealwrightError as cause:  # the artifact is no longer what was prepared
            answers[id(prepared)] = NotSigned(prepared.path, cause)
            continue
        if not carries:
            new = _new_file(prepared, options)
            late = [new + LATE_SUFFIX, *(f"{new}.{number}{LATE_SUFFIX}" for number in range(2, len(got) + 1))]
            files[:0] = [Output(path, stamp.token) for path, stamp in zip(late, got, strict=False)]
        if one.proof:
            files.insert(0, Output(_proof(prepared, options), one.proof))
        pairs.append((prepared, Pair(tuple(files))))
        if missing := stamper.wanted - len(got):
            waiting[id(prepared)] = _pending(key, one, _target(prepared, options), files[-1].path, missing, now)
        answers[id(prepared)] = Signed(
            path=prepared.path,
            outputs=tuple(file.path for file in files),
            key=key.name,
            subject=key.subject,
            provenance=key.provenance,
            algorithm=key.algorithm.name,
            claimed=now,
            stamped=min((stamp.gen_time for stamp in got), default=None),
            claims=prepared.claims,
            size=prepared.size,
            pending=missing,
            findings=doubts(got, strange, now),
        )
    opened.defer(list(waiting.values()))
    for prepared, refused in _written(pairs, options.replace):
        answers[id(prepared)] = NotSigned(prepared.path, refused)
        if id(prepared) in waiting:
            opened.forget(waiting[id(prepared)])
    for entry in batch:
        yield entry if isinstance(entry, NotSigned) else answers[id(entry)]


def _pending(key: SigningKey, made: Made, target: str, file: str, missing: int, now: datetime) -> Pending:
    return Pending(
        target=os.path.abspath(target),
        file=os.path.abspath(file),
        artifact=artifact_of(made.prepared, key.algorithm),
        signature=Digest.of(made.value),
        end=key.end,
        since=now,
        missing=missing,
    )


def _target(prepared: Prepared, options: SignOptions) -> str:
    """What a late timestamp's name begins with."""
    if options.format is not None:
        return _new_file(prepared, options)
    return _beside(prepared, options, prepared.suffix)


def _proof(prepared: Prepared, options: SignOptions) -> str:
    """Where the log's proof of a signature goes."""
    return _target(prepared, options) + PROOF_SUFFIXES[options.slot]


def _written(pairs: list[tuple[Prepared, Pair]], replace: Replace) -> Iterator[tuple[Prepared, SealwrightError]]:
    """Write what was signed; those of it of which nothing was written, with the reason."""
    alone = [one for one in pairs if replace is not Replace.YES or len(one[1].outputs) == 1]
    together = [one for one in pairs if replace is Replace.YES and len(one[1].outputs) > 1]
    answers = replace_pairs([pair for _, pair in together])
    answers += write_pairs([pair for _, pair in alone], replace=replace)
    for (prepared, _), refused in zip([*together, *alone], answers, strict=True):
        if refused is not None:
            yield prepared, refused


def _outputs(prepared: Prepared, sealed: Sealed, options: SignOptions) -> list[Output]:
    """The files to write, the signature last."""
    if options.format is None:
        files = [Output(_beside(prepared, options, part.suffix), part.data) for part in prepared.companions]
        return [*files, Output(_targets(prepared, options)[-1], sealed.envelope)]
    form, out = embedded_format(options.format, options.layouts), _new_file(prepared, options)
    new = Output(
        out,
        form.attach(prepared, sealed),
        permissions_of(prepared.path),
        lambda written: check_attached(form, written, prepared, sealed),
    )
    return [new, *(Output(out + part.suffix, part.data) for part in files_beside(form.name, prepared, sealed))]


def _targets(prepared: Prepared, options: SignOptions) -> tuple[str, ...]:
    """Where they go."""
    if options.format is not None:
        out = _new_file(prepared, options)
        unstamped = options.timestamp in (None, NONE, (NONE,))
        late = () if KINDS[prepared.kind].carries_tokens or unstamped else (out + LATE_SUFFIX,)
        return (*late, out, *(out + ending for ending in BESIDE.get(options.format, ())))
    companions = [_beside(prepared, options, part.suffix) for part in prepared.companions]
    return (*companions, signature_path(_beside(prepared, options, prepared.suffix), options.slot))


def _new_file(prepared: Prepared, options: SignOptions) -> str:
    """The file that --format makes."""
    out = options.out or ""
    return os.path.join(out, os.path.basename(prepared.path)) if os.path.isdir(out) else out


def _beside(prepared: Prepared, options: SignOptions, suffix: str) -> str:
    if options.out is None:
        return (prepared.path.rstrip("/") or prepared.path) + suffix
    return os.path.join(options.out, os.path.basename(os.path.abspath(prepared.path)) + suffix)
