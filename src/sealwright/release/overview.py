"""How a repository stands: what is published of each role and until when, what each channel offers, what is staged and unsigned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sealwright.release import roles
from sealwright.release.catalogue import channels_of, line_targets, products_of, versions_of
from sealwright.release.channels import Channels
from sealwright.release.layout import ProductPath
from sealwright.release.staging import Staging
from sealwright.release.thresholds import Standing, standing_of


@dataclass(frozen=True, slots=True)
class RoleState:
    """A published role. expires: of a line the earliest end among it and its bins."""

    role: str
    version: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class ProductState:
    """A product as it is staged or published. size_bytes: of all its targets."""

    path: ProductPath
    channels: Channels
    releases: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it. roles: from the root down, online ones last."""

    place: str
    roles: tuple[RoleState, ...]
    products: tuple[ProductState, ...]
    staged: tuple[Standing, ...]


def overview_of(staging: Staging) -> Overview:
    """Raises MalformedRepository, RepositoryUnavailable for channels that cannot be read where they are published."""
    products = []
    for line in roles.lines_of(staging.targets.signed):
        targets = line_targets(staging, line)
        for path in products_of(staging, line):
            channels = channels_of(staging, path)
            size = sum(one.length for name, one in targets.items() if name.startswith(f"{path}/"))
            if channels is not None:
                products.append(ProductState(path, channels, versions_of(staging, path), size))
    staged = tuple(standing_of(staging, name) for name in staging.staged_names)
    return Overview(staging.storage.place, _roles(staging), tuple(products), staged)


def _roles(staging: Staging) -> tuple[RoleState, ...]:
    published = staging.published
    if published is None:
        return ()
    found = [RoleState(roles.ROOT, published.root.signed.version, published.root.signed.expires)]
    targets = staging.published_role(roles.TARGETS)
    for name in (roles.TARGETS, *(roles.lines_of(targets.signed) if targets else ())):
        role = staging.published_role(name)
        if role is not None:
            bins = [staging.published_role(one) for one in roles.bins_of(role.signed)]
            ends = min(one.signed.expires for one in (role, *bins) if one is not None)
            found.append(RoleState(name, role.signed.version, ends))
    online = (published.snapshot.signed, published.timestamp.signed)
    return (*found, *(RoleState(one.type, one.version, one.expires) for one in online))
