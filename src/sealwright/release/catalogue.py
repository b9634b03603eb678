"""What a repository lists: every release of a product, its manifest and its channels, as staged or published.

The catalogue reads targets by the digests that the roles name, from the staging folder or from where they are published.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tuf.api.metadata import TargetFile, Targets

from sealwright.artifact.digest import Digest
from sealwright.artifact.manifest import Manifest, parse_manifest
from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedRepository, ReleaseRefused, UsageError
from sealwright.release import roles
from sealwright.release.channels import Channels, Named, parse_channels
from sealwright.release.description import NAME, Description, parse_description
from sealwright.release.layout import CHANNELS, MANIFEST, PLANT, ProductPath
from sealwright.release.staging import Staging
from sealwright.release.storage import TARGETS

MAX_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """A release as it lies in the repository. named: as channels name it; size_bytes: of all its files."""

    named: Named
    manifest: Manifest
    description: Description

    @property
    def size_bytes(self) -> int:
        """Of the files in the folder together."""
        return self.manifest.total_bytes


def target_named(staging: Staging, line: str, path: str) -> TargetFile | None:
    """A target of a line, staged or published; None where there is none."""
    top = staging.line(line).signed
    role = staging.role(roles.role_for(top, line, path))
    return None if role is None else role.signed.targets.get(path)


def read_target(staging: Staging, target: TargetFile) -> bytes:
    """The bytes of a small target; MalformedRepository where they are not those that were signed."""
    name = roles.published_name(target)
    data = read_file_or_none(staging.target_path(name), MAX_READ_BYTES)
    if data is None:
        data = staging.storage.read(f"{TARGETS}/{name}", MAX_READ_BYTES)
    if data is None or len(data) != target.length or hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
        raise MalformedRepository(
            target.path, "it is not there as it was published", "Publish it again from the release's folder."
        )
    return data


def channels_of(staging: Staging, product: ProductPath) -> Channels | None:
    """What is offered of a product; None before anything was."""
    target = target_named(staging, product.line, product.channels)
    return None if target is None else parse_channels(read_target(staging, target), product.channels)


def release_of(staging: Staging, product: ProductPath, version: str) -> Listed:
    """A release of a product; UsageError where it is none of it."""
    target = target_named(staging, product.line, product.manifest(version))
    if target is None:
        known = ", ".join(versions_of(staging, product)) or "none"
        raise UsageError(
            f"{product} {version}",
            f"it is not in the repository, which has {known}",
            "Add it: `sealwright release add`.",
        )
    manifest = parse_manifest(read_target(staging, target), target.path)
    described = target_named(staging, product.line, product.member(version, NAME.encode()))
    if described is None:
        raise MalformedRepository(target.path, f"the release has no {NAME}", "Release a version that has one.")
    return Listed(
        Named(version, manifest.claims.generation or 0, Digest.parse(f"sha256:{target.hashes['sha256']}")),
        manifest,
        parse_description(read_target(staging, described), described.path),
    )


def versions_of(staging: Staging, product: ProductPath) -> tuple[str, ...]:
    """Every version of a product that the repository has, by name."""
    return tuple(
        sorted(
            path.removeprefix(f"{product}/").removesuffix(MANIFEST)
            for path in line_targets(staging, product.line)
            if path.startswith(f"{product}/") and path.endswith(MANIFEST) and not path.endswith(PLANT)
            and path.count("/") == 2
        )
    )  # fmt: skip


def products_of(staging: Staging, line: str) -> tuple[ProductPath, ...]:
    """Every product of a line that has a release or channels."""
    return tuple(
        ProductPath(line, name) for name in sorted({path.split("/")[1] for path in line_targets(staging, line)})
    )


def line_targets(staging: Staging, line: str) -> dict[str, TargetFile]:
    """Every target of a line and its bins."""
    top = staging.line(line).signed
    below = [staging.role(name) for name in roles.bins_of(top)]
    return roles.targets_of([top, *(one.signed for one in below if one is not None)])


def list_targets(
    staging: Staging, line: str, targets: list[TargetFile], channels: TargetFile | None
) -> dict[str, Targets]:
    """The next versions of a line's roles with targets put into them, not yet staged.

    ReleaseRefused where a target is there with other bytes, unless it may change (A160). channels: of a product, which may.
    """
    top = staging.next_version(line)
    if top is None:
        raise UsageError(line, "the repository has no such line", "Add it: `sealwright release line`.")
    changed: dict[str, Targets] = {}
    if not roles.bins_of(top.signed) and len(top.signed.targets) + len(targets) > roles.BINS_FROM:
        changed |= roles.in_bins(top.signed, line, roles.holders_of(staging.targets.signed, line))
        changed[line] = top.signed
    for target in [*targets, *([channels] if channels else [])]:
        name = roles.role_for(top.signed, line, target.path)
        if name not in changed:
            following = top if name == line else staging.next_version(name)
            if following is None:
                raise MalformedRepository(
                    name, "this bin of the line is gone", "Restore the staging folder from a backup."
                )
            changed[name] = following.signed
        known = changed[name].targets.get(target.path)
        if known is not None and known.hashes != target.hashes and not may_change(target.path):
            raise ReleaseRefused(
                target.path,
                "it was released with other bytes, and a version never gets others",
                "Give the release another version.",
            )
        changed[name].targets[target.path] = target
    return changed


def may_change(path: str) -> bool:
    """Whether a target may get other bytes: channels, a plant's acceptance, and proofs beside a manifest that come or are renewed after
    the release."""
    parts = path.split("/")
    if len(parts) != 3:
        return False
    return parts[2] == CHANNELS or PLANT in parts[2] or parts[2].endswith((".tlog-proof", ".tsr", ".ers"))
