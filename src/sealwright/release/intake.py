"""Taking a signed release into the staging folder: copied first, verified on the copy, then listed.

1. The folder, its manifest and what lies beside that are copied into a private place; nothing outside is read again (A150).
2. The copy must be allowed for an installation by the trust file: what devices would refuse is not published.
3. The manifest claims product, version and generation; the version is the folder's name; `release.toml` names every file's part.
4. A version of the product has one manifest for ever (A160). Proofs that came later are taken in beside it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from tuf.api.metadata import TargetFile

from sealwright.artifact.digest import HashName
from sealwright.artifact.folders import alone_in
from sealwright.artifact.hashing import hash_tree
from sealwright.artifact.manifest import Manifest
from sealwright.artifact.output import Replace, sync_file_system, write_atomic
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import open_artifact, read_file
from sealwright.errors import OutputRefused, ReleaseRefused
from sealwright.findings import Severity
from sealwright.formats.manifest import read_listed
from sealwright.release import roles
from sealwright.release.catalogue import channels_of, list_targets, may_change, target_named
from sealwright.release.channels import Channels, channels_bytes
from sealwright.release.copied import copied_release
from sealwright.release.description import MAX_BYTES, NAME, check_complete, parse_description
from sealwright.release.layout import MANIFEST, PLANT, ProductPath, checked_part
from sealwright.release.staging import Staging
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, Verifier


@dataclass(frozen=True, slots=True)
class TakenIn:
    """A release that is staged now. files: how many new targets; size_bytes: of them; again: it was there, and proofs were added."""

    path: str
    product: str
    version: str
    generation: int
    files: int
    size_bytes: int
    again: bool


def add_releases(
    staging: Staging,
    folders: Sequence[str],
    product: ProductPath,
    believed: Believed,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[TakenIn, ...]:
    """Stage releases of one product, all or none. Raises ReleaseRefused naming the one that is not taken, UsageError, and what
    reading raises."""
    staging.line(product.line)
    with alone_in(staging.folder):
        verifier = Verifier(believed, Request(clock=now))
        with _private_place(staging) as private:
            every: dict[str, _New] = {}
            taken = []
            for number, path in enumerate(folders):
                copied = copied_release(path, os.path.join(private, str(number)))
                claimed = _checked(staging, copied, product, verifier, progress, path)
                again = target_named(staging, product.line, product.manifest(claimed.version)) is not None
                new = [
                    one
                    for one in _targets(copied, product, claimed.manifest)
                    if _is_new(staging, product, one.target, again, path)
                ]
                if not new:
                    raise ReleaseRefused(
                        path, f"version {claimed.version} is in the repository already", "Nothing is to do."
                    )
                every |= {one.target.path: one for one in new}
                size = sum(one.target.length for one in new)
                taken.append(TakenIn(path, claimed.product, claimed.version, claimed.generation, len(new), size, again))
            if len({one.product for one in taken}) > 1 or len({one.version for one in taken}) != len(taken):
                raise ReleaseRefused(
                    ", ".join(folders)[:200], "they are not different versions of one product", "Add them one by one."
                )
            channels = _first_channels(staging, product, taken[0].product)
            changed = list_targets(staging, product.line, [one.target for one in every.values()], channels)
            _move(staging, every.values())
        staging.stage(changed, now)
    return tuple(taken)


def add_acceptances(
    staging: Staging,
    folders: Sequence[str],
    product: ProductPath,
    believed: Believed,
    now: datetime,
    progress: Progress | None = None,
) -> tuple[TakenIn, ...]:
    """Stage what a plant accepted in the plant's own repository, all or none: of each release its manifest, which lists the files, its
    description and the plant's signatures; the files and the maker's signature stay in the maker's repository.

    Each release must be allowed by the plant's trust file, which says whether an acceptance has to lie beside it. Raises as `add_releases`.
    """
    staging.line(product.line)
    with alone_in(staging.folder):
        verifier = Verifier(believed, Request(clock=now))
        with _private_place(staging) as private:
            every: list[_New] = []
            taken = []
            for number, path in enumerate(folders):
                copied = copied_release(path, os.path.join(private, str(number)))
                claimed = _checked(staging, copied, product, verifier, progress, path)
                mine = _accepted_targets(copied, product)
                new = [one for one in mine if _is_new(staging, product, one.target, False, path)]
                every += new
                size = sum(one.target.length for one in new)
                taken.append(
                    TakenIn(path, claimed.product, claimed.version, claimed.generation, len(new), size, not new)
                )
            if len({one.product for one in taken}) > 1:
                raise ReleaseRefused(", ".join(folders)[:200], "they are not of one product", "Add them one by one.")
            if every:
                channels = _first_channels(staging, product, taken[0].product)
                changed = list_targets(staging, product.line, [one.target for one in every], channels)
                _move(staging, every)
        if every:
            staging.stage(changed, now)
    return tuple(taken)


@contextmanager
def _private_place(staging: Staging) -> Iterator[str]:
    """A folder in the staging folder that is gone at the end; OutputRefused where the disk takes no more."""
    staged = os.path.join(staging.folder, "staged")
    try:
        os.makedirs(staged, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=staged, prefix=".incoming-") as private:
            yield private
    except OSError as cause:
        raise OutputRefused(
            staged, f"it cannot be written ({cause.strerror})", "Make room there, and add the release again."
        ) from cause


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A manifest that the copy was just compared with, and what it claims, all of it there."""

    manifest: Manifest
    product: str
    version: str
    generation: int


@dataclass(frozen=True, slots=True)
class _New:
    """A target and where its bytes are."""

    target: TargetFile
    path: str


def _checked(
    staging: Staging, copied: str, product: ProductPath, verifier: Verifier, progress: Progress | None, path: str
) -> _Claimed:
    """Points 2 and 3."""
    verdict = verifier.verify(copied, progress)
    _check_verdict(path, verdict)
    manifest, _ = read_listed(f"{copied}{MANIFEST}")
    claims, base = manifest.claims, os.path.basename(copied)
    if claims.product is None or claims.version is None or claims.generation is None:
        raise ReleaseRefused(
            path,
            "its manifest does not claim product, version and generation",
            "Sign it with `sealwright release create`.",
        )
    if checked_part(claims.version, "version") != base:
        raise ReleaseRefused(path, f"its manifest claims version {claims.version}", "Name the folder like the version.")
    names = [entry.name for entry in manifest.files]
    description = parse_description(read_file(os.path.join(copied, NAME), MAX_BYTES), f"{path}/{NAME}")
    check_complete(description, names, path)
    deep = next((name for name in names if name.count(b"/") + 4 > roles.MAX_PARTS), None)
    if deep is not None:
        raise ReleaseRefused(path, f"a file lies more than {roles.MAX_PARTS - 4} folders deep in it", "Pack that part.")
    known = channels_of(staging, product)
    if known is not None and known.product != claims.product:
        raise ReleaseRefused(
            path, f"it is of {claims.product}, and {product} is {known.product}", "Name the place of that product."
        )
    return _Claimed(manifest, claims.product, claims.version, claims.generation)


def _check_verdict(path: str, verdict: Verdict) -> None:
    if verdict.outcome is not Outcome.TRUSTED:
        grave = next(one for one in verdict.findings if one.severity in (Severity.REJECT, Severity.UNDECIDED))
        raise ReleaseRefused(path, f"devices would not install it: {grave.sentence}", grave.next_step)


def _targets(copied: str, product: ProductPath, manifest: Manifest) -> Iterator[_New]:
    """Every target of a release with the path of its bytes. manifest: whose SHA-256 need not be computed again."""
    base = os.path.basename(copied)
    if manifest.algorithm is HashName.SHA256:
        digests = [(one.name, one.digest) for one in manifest.files]
    else:
        _, names, results = hash_tree(copied, HashName.SHA256, None)
        digests = list(zip(names, results.digests(), strict=True))
    for raw, digest in digests:
        path = os.path.join(copied, os.fsdecode(raw))
        yield _New(roles.target_of(product.member(base, raw), os.stat(path).st_size, digest.hex()), path)
    yield from _beside_targets(copied, product)


def _beside_targets(copied: str, product: ProductPath) -> Iterator[_New]:
    """The targets beside a release's folder."""
    folder = os.path.dirname(copied)
    for name in sorted(os.listdir(folder)):
        if name != os.path.basename(copied):
            yield _new(f"{product}/{name}", os.path.join(folder, name))


def _accepted_targets(copied: str, product: ProductPath) -> Iterator[_New]:
    """What a plant's own repository has of a release."""
    base, folder = os.path.basename(copied), os.path.dirname(copied)
    yield _new(product.member(base, NAME.encode()), os.path.join(copied, NAME))
    for name in sorted(os.listdir(folder)):
        if name == f"{base}{MANIFEST}" or name.startswith((f"{base}{PLANT}", f"{base}{MANIFEST}.plant.")):
            yield _new(f"{product}/{name}", os.path.join(folder, name))


def _new(target: str, path: str) -> _New:
    with open_artifact(path) as source:
        size = source.status().st_size
        digest = source.digests((HashName.SHA256,))[HashName.SHA256].value
    return _New(roles.target_of(target, size, digest.hex()), path)


def _is_new(staging: Staging, product: ProductPath, target: TargetFile, again: bool, path: str) -> bool:
    """Whether a target is to be staged; ReleaseRefused for other bytes of a version that was released (A160)."""
    known = target_named(staging, product.line, target.path)
    if known is not None and known.hashes == target.hashes:
        return False
    if again and not may_change(target.path) and known is None and target.path.count("/") > 2:
        raise ReleaseRefused(path, f"{target.path} is new in a version that was released", "Give it another version.")
    if known is not None and not may_change(target.path):
        raise ReleaseRefused(
            path,
            f"this version was released with another {target.path.rpartition('/')[2]}, and never gets other bytes",
            "Give the release another version.",
        )
    return True


def _first_channels(staging: Staging, product: ProductPath, title: str) -> TargetFile | None:
    """The product's first channels, which offer nothing, where it has none."""
    if channels_of(staging, product) is not None:
        return None
    return stage_channels(staging, product, Channels(title, 1, (), ()))


def put_channels(staging: Staging, product: ProductPath, channels: Channels, now: datetime) -> None:
    """Stage a product's next channels."""
    with alone_in(staging.folder):
        target = stage_channels(staging, product, channels)
        staging.stage(list_targets(staging, product.line, [], target), now)


def stage_channels(staging: Staging, product: ProductPath, channels: Channels) -> TargetFile:
    """The target of channels, with its bytes in the staging folder; durable with the next write there."""
    data = channels_bytes(channels)
    target = roles.target_of(product.channels, len(data), hashlib.sha256(data).hexdigest())
    path = staging.target_path(roles.published_name(target))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomic(path, data, replace=Replace.YES)
    return target


def _move(staging: Staging, new: Iterable[_New]) -> None:
    """Every new target under the name that it will have; durable before a role lists it."""
    folders: set[str] = set()
    places = []
    for one in new:
        place = staging.target_path(roles.published_name(one.target))
        folder = os.path.dirname(place)
        if folder not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.add(folder)
        os.replace(one.path, place)
        places.append(place)
    if not sync_file_system(staging.folder):
        for place in places:
            descriptor = os.open(place, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
