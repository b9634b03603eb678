"""What a repository offers to the updaters of devices: read by python-tuf's client, judged by its channels, never by a rule of our own.

    offers = RepositoryOffers(configuration, store, clock, log)
    offers.refresh()                                    # in a thread, every few seconds
    if (view := offers.current) is not None:
        view.offered(entry)                             # the release that its channel offers a device, with the files for its updater

1. The repository's root is the one that the configuration names, its metadata counts until it ends, and no role is older than one seen before
   (`release/client.py`). Where any of that fails nothing is offered at all, and nothing is cancelled; so it is for one product.
2. A release is offered if the channel's manifest is there with that digest, claims what the channel says, and binds the bundle with the digest that the
   metadata has too. One that wants other products installed first is not: nobody here knows what is.
3. Whether the maker signed it is not judged here. The device's updater judges the bundle's own signature.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select
from tuf.api.metadata import TargetFile

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.manifest import Manifest, Over, parse_manifest
from sealwright.artifact.names import display
from sealwright.errors import OutputRefused, RepositoryRefused, SealwrightError
from sealwright.release.channels import Channels, Named
from sealwright.release.client import Client, check_versions, fetch_first_root, open_client
from sealwright.release.description import MAX_BYTES, NAME, parse_description
from sealwright.release.folderfetcher import METADATA, TARGETS, FolderFetcher
from sealwright.release.layout import ProductPath
from sealwright.release.offered import LIST, MAX_LIST_BYTES, MAX_MANIFEST_BYTES
from sealwright.service.hawkbitfiles import RepositoryFiles, Sums
from sealwright.service.hawkbitregister import Entry, paths
from sealwright.service.hawkbittables import SEEN, Updater
from sealwright.service.server import Log, no_log
from sealwright.store.engine import Store

AGAIN = timedelta(minutes=1)  # after something was refused that may still be on its way
_TIMESTAMP = os.path.join("metadata", "timestamp.json")
_AGAIN = "Publish the release again, or ask whoever publishes it."


@dataclass(frozen=True, slots=True)
class Bundle:
    """One file for an updater. component: of the release; name: the file's own."""

    component: str
    name: str
    target: TargetFile
    sums: Sums


@dataclass(frozen=True, slots=True)
class ForDevice:
    """What a device is offered. bundles: () where the release has none for its updater, or is refused."""

    release: Named
    bundles: tuple[Bundle, ...]


@dataclass(frozen=True, slots=True)
class OfferedProduct:
    """bundles: of each release that any channel offers, by its manifest."""

    channels: Channels
    bundles: Mapping[Digest, tuple[Bundle, ...]]


@dataclass(frozen=True, slots=True)
class View:
    """All of it at one moment. ends: when the first of the metadata does; stamp: of `timestamp.json`; asked: the products that were looked for;
    until: when it is read again in any case, because something of it was refused."""

    ends: datetime
    stamp: tuple[int, ...]
    products: Mapping[ProductPath, OfferedProduct]
    asked: frozenset[ProductPath]
    until: datetime

    def offered(self, entry: Entry) -> ForDevice | None:
        """What a device's channel offers it; None for nothing. entry: of a product that is here."""
        product = self.products[entry.path]
        named = product.channels.offered(entry.channel, entry.id, entry.group)
        if named is None:
            return None
        found = product.bundles.get(named.manifest, ())
        return ForDevice(named, tuple(one for one in found if one.name.endswith(entry.updater.suffix)))


class RepositoryOffers:
    """Of one repository in a folder. `refresh` is one caller's at a time; the rest is anybody's."""

    def __init__(
        self, repository: str, root: Digest, state: str, store: Store, clock: Callable[[], datetime], log: Log = no_log
    ) -> None:
        self._repository = repository
        self._root = root
        self._state = state
        self._store = store
        self._clock = clock
        self._log = log
        self._view: View | None = None
        self._why = ""
        self._refused = 0
        self.files = RepositoryFiles(repository)

    @property
    def current(self) -> View | None:
        """None where the repository is refused, has ended, or was not read yet."""
        view = self._view
        return view if view is not None and self._clock() < view.ends else None

    def refresh(self) -> None:
        """Read the repository again where it is another one, where it was refused, or where a device of another product came."""
        with self._store.read() as connection:
            asked = paths(connection)
        stamp = _stamp(os.path.join(self._repository, _TIMESTAMP))
        view = self.current
        if view is not None and view.stamp == stamp and view.asked >= asked and self._clock() < view.until:
            return
        try:
            self._view = self._read(stamp, asked)
            self._why = ""
            self._log({"event": "repository", "until": str(self._view.ends), "products": len(self._view.products)})
        except SealwrightError as cause:
            self._refuse(cause.code, str(cause))
        except Exception as cause:  # noqa: BLE001 - whatever it is: nothing is offered, and the next look is taken
            self._refuse("SW-ERROR", f"{type(cause).__name__}: {cause}")

    def _refuse(self, code: str, why: str) -> None:
        self._view = None
        if self._why != why:
            self._why = why
            self._log({"event": "repository-refused", "code": code, "why": why[:500]})

    def check(self) -> View:
        """Read it now; raises what refuses it."""
        with self._store.read() as connection:
            asked = paths(connection)
        self._view = self._read(_stamp(os.path.join(self._repository, _TIMESTAMP)), asked)
        return self._view

    def _read(self, stamp: tuple[int, ...], asked: frozenset[ProductPath]) -> View:
        try:
            os.makedirs(self._state, mode=0o700, exist_ok=True)
        except OSError as cause:
            raise OutputRefused(self._state, cause.strerror or "no folder can be made", "See to `state`.") from cause
        fetcher = FolderFetcher(self._repository)
        first = fetch_first_root(fetcher, METADATA)
        client = open_client(first, self._root, self._state, fetcher, (METADATA, TARGETS), self._clock())
        self._check_not_back(client)
        self._refused = 0
        products = {}
        for path in sorted(asked, key=str):
            try:
                products[path] = self._product(client, path)
            except SealwrightError as cause:
                self._refused += 1
                self._log({"event": "product-refused", "path": str(path), "code": cause.code, "why": str(cause)[:500]})
        until = self._clock() + AGAIN if self._refused else client.ends
        return View(client.ends, stamp, products, asked, until)

    def _check_not_back(self, client: Client) -> None:
        """The second part of point 1."""
        found = dict(client.versions())
        with self._store.write() as connection:
            # another replica waits, so that it never writes less than this one
            locked = select(SEEN).where(SEEN.c.name.in_(found)).with_for_update()
            seen = {row.name: row.version for row in connection.execute(locked)}
            check_versions(found, seen, client.subject)
            connection.execute(delete(SEEN).where(SEEN.c.name.in_(found)))
            connection.execute(insert(SEEN), [{"name": name, "version": version} for name, version in found.items()])

    def _product(self, client: Client, path: ProductPath) -> OfferedProduct:
        channels = client.channels(path)
        gone = {one.release for one in channels.withdrawn}
        bundles = {}
        for named in sorted({one.release for one in channels.offers} - gone, key=lambda one: one.generation):
            try:
                bundles[named.manifest] = self._bundles(client, path, channels.product, named)
            except SealwrightError as cause:
                self._refused += 1
                told = {"path": str(path), "version": named.version, "code": cause.code, "why": str(cause)[:500]}
                self._log({"event": "release-refused", **told})
        return OfferedProduct(channels, bundles)

    def _bundles(self, client: Client, path: ProductPath, product: str, named: Named) -> tuple[Bundle, ...]:
        """Point 2."""
        manifest = _manifest(client, path, named)
        claims = manifest.claims
        if (claims.product, claims.version, claims.generation) != (product, named.version, named.generation):
            raise RepositoryRefused(
                path.manifest(named.version), "it claims something else than its channel says", _AGAIN
            )
        data = client.read(path.member(named.version, NAME.encode()), MAX_BYTES)
        listed = {entry.name: entry.digest for entry in manifest.files}
        if data is None or listed.get(NAME.encode()) != Digest.of(data, manifest.algorithm).value:
            raise RepositoryRefused(path.manifest(named.version), f"{NAME} is not the one that it binds", _AGAIN)
        description = parse_description(data, path.member(named.version, NAME.encode()))
        if description.requires:
            told = {"path": str(path), "version": named.version, "why": "it wants other products installed first"}
            self._log({"event": "release-not-offered", **told})
            return ()
        suffixes = tuple(one.suffix.encode() for one in Updater)
        bundles = tuple(
            self._bundle(client, path.member(named.version, one.path), one.name, listed[one.path], manifest.algorithm)
            for one in description.components
            if one.path in listed and one.path.endswith(suffixes)
        )
        if len({one.name for one in bundles}) != len(bundles):
            raise RepositoryRefused(
                path.manifest(named.version), "two of its files have one name in different folders", _AGAIN
            )
        return bundles

    def _bundle(self, client: Client, name: str, component: str, bound: bytes, algorithm: HashName) -> Bundle:
        target = client.target(name)
        if target is None:
            raise RepositoryRefused(
                display(name), "the repository offers a release and has not this file of it", _AGAIN
            )
        sums = self.files.sums(target)
        if algorithm is HashName.SHA256:
            same = sums.sha256 == bound.hex()
        else:
            with self.files.opened(target) as served:
                same = served.file.digests([algorithm])[algorithm].value == bound
        if not same:
            raise RepositoryRefused(display(name), "it is not the file that the release's manifest binds", _AGAIN)
        return Bundle(component, name.rpartition("/")[2], target, sums)


def _manifest(client: Client, path: ProductPath, named: Named) -> Manifest:
    name = path.manifest(named.version)
    data = client.read(name, MAX_MANIFEST_BYTES)
    if data is None or Digest.of(data) != named.manifest:
        raise RepositoryRefused(name, "it is not the manifest that the channel offers", _AGAIN)
    manifest = parse_manifest(data, name)
    if manifest.over is not Over.LIST:
        return manifest
    large = client.read(f"{name}{LIST}", MAX_LIST_BYTES)
    entry = manifest.files[0]
    if large is None or Digest.of(large, manifest.algorithm).value != entry.digest:
        raise RepositoryRefused(f"{name}{LIST}", "it is not the list that the manifest binds", _AGAIN)
    listed = parse_manifest(large, f"{name}{LIST}")
    return Manifest(listed.algorithm, listed.over, manifest.claims, listed.files)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    except OSError:
        return ()
