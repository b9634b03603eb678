"""A repository as its readers see it: python-tuf's client, begun at the root that the trust file names (`tuf_root`).

1. The first root is `1.root.json` of the repository, wherever it came from: it counts if its SHA-256 is the one in the trust file. From
   there TUF walks version by version, each signed by the thresholds of both sides.
2. Expiry is judged at the time that the verdicts use, max(clock, floor), and not at this machine's clock alone (A109, A147).
3. A new root counts from the moment it is seen, whatever becomes of the roles below it: it may end a key that was stolen.
4. The highest version seen of each role is kept by whoever asks (`Client.versions`, `check_versions`), beside python-tuf's own cache of
   metadata: a cache that is damaged or gone must not make an older repository acceptable (A144). It is kept for each set of a role's
   keys, so that new keys may begin anew after a fast-forward attack, as TUF wants it.
TUF says that a repository is current and whole. Whether something of it may be installed says the maker's signature, by the trust file's rules.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import cast
from urllib.parse import quote

from tuf.api import exceptions
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.source import read_file
from sealwright.errors import OutputRefused, RepositoryRefused, RepositoryStale, RepositoryUnavailable, SealwrightError
from sealwright.release.channels import Channels, parse_channels
from sealwright.release.layout import ProductPath

FIRST_ROOT = "1.root.json"
MAX_CHANNELS_BYTES = 64 << 10
MAX_ROOT_BYTES = 512_000
_ROLES = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
_CONFIG = UpdaterConfig(max_root_rotations=256, max_delegations=64, root_max_length=MAX_ROOT_BYTES)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_AGAIN = "Fetch from the repository's own server, or ask whoever publishes it."


class Client:
    """A refreshed view of one repository, at one time. Owned by one process; its folder of metadata is used by one at a time."""

    def __init__(self, updater: Updater, subject: str, first_root: Digest) -> None:
        self._updater = updater
        self.subject = subject
        self._first_root = first_root

    def target(self, name: str) -> TargetFile | None:
        """What the repository says of a target; None where it has none. Raises RepositoryRefused, RepositoryStale, RepositoryUnavailable."""
        with explained(self.subject):
            return self._updater.get_targetinfo(name)

    def download(self, target: TargetFile, path: str) -> None:
        """A target's bytes in a file, checked by length and digest before it gets its content. Raises the same."""
        with explained(self.subject):
            self._updater.download_target(target, path)

    def read(self, name: str, limit_bytes: int) -> bytes | None:
        """A small target's bytes; None where there is none. Raises the same, RepositoryRefused for one that is larger."""
        found = self._small(name, limit_bytes)
        return None if found is None else self._bytes(found)

    def read_kept(self, name: str, limit_bytes: int, path: str) -> bytes | None:
        """The same, out of a file where it is there already, else kept in it. path: the file, which need not be."""
        found = self._small(name, limit_bytes)
        if found is None:
            return None
        with suppress(SealwrightError, exceptions.LengthOrHashMismatchError):
            found.verify_length_and_hashes(data := read_file(path, limit_bytes))
            return data
        data = self._bytes(found)
        with explained(self.subject), open(path, "wb") as file:
            file.write(data)
        return data

    def _small(self, name: str, limit_bytes: int) -> TargetFile | None:
        found = self.target(name)
        if found is not None and found.length > limit_bytes:
            raise RepositoryRefused(
                f"{self.subject}: {name}", f"it has {found.length} bytes, at most {limit_bytes} are read", _AGAIN
            )
        return found

    def _bytes(self, target: TargetFile) -> bytes:
        with explained(self.subject):
            url = f"{self._updater._target_base_url}{stored_name(target)}"
            data = self._updater._fetcher.download_bytes(url, target.length)
            target.verify_length_and_hashes(data)
            return data

    def channels(self, product: ProductPath) -> Channels:
        """What is offered of a product. Raises the same, RepositoryRefused where nothing is said of it, MalformedArtifact."""
        data = self.read(product.channels, MAX_CHANNELS_BYTES)
        if data is None:
            raise RepositoryRefused(
                self.subject, f"it offers nothing of {product}", "Check the product's path, LINE/NAME."
            )
        return parse_channels(data, f"{self.subject}: {product.channels}")

    def metadata_files(self) -> Mapping[str, str]:
        """The files of metadata that make up this view, by their names in a repository, `timestamp.json` last, with where each lies as it
        was verified: the roots, the snapshot, targets and every role that is delegated to.

        A role that has ended is left out. Raises RepositoryRefused, RepositoryUnavailable for one that is missing.
        """
        trusted, kept = self._updater._trusted_set, self._updater._dir
        found = {
            f"{number}.root.json": os.path.join(kept, "root_history", f"{number}.root.json")
            for number in range(1, trusted.root.version + 1)
        }
        found[f"{trusted.snapshot.version}.snapshot.json"] = os.path.join(kept, "snapshot.json")
        for name in (Targets.type, *self._delegated()):
            quoted = quote(name, "")
            found[f"{trusted.snapshot.meta[f'{name}.json'].version}.{quoted}.json"] = os.path.join(
                kept, f"{quoted}.json"
            )
        return found | {"timestamp.json": os.path.join(kept, "timestamp.json")}

    def _delegated(self) -> Iterator[str]:
        """Every role below targets that the snapshot lists, once it is verified."""
        trusted, parents, seen = self._updater._trusted_set, [Targets.type], {Targets.type}
        while parents:
            parent = parents.pop()
            for name in _children(cast("Targets", trusted[parent])):
                if name in seen or f"{name}.json" not in trusted.snapshot.meta:
                    continue
                seen.add(name)
                try:
                    with explained(self.subject):
                        self._updater._load_targets(name, parent)
                except RepositoryStale:
                    continue
                parents.append(name)
                yield name

    @property
    def ends(self) -> datetime:
        """When the first of the roles that were looked at ends; aware."""
        return min(role.expires for role in self._updater._trusted_set)

    @property
    def keys(self) -> frozenset[str]:
        """The public keys that sign for the four roles and the lines, as the roles write them; an id could be chosen for one."""
        trusted = self._updater._trusted_set
        lines = trusted.targets.delegations
        every = (*trusted.root.keys.values(), *(lines.keys.values() if lines is not None else ()))
        return frozenset(str(key.keyval.get("public")) for key in every)

    def versions(self) -> Mapping[str, int]:
        """The version of each of the four roles, by a name that changes with the role's keys."""
        trusted = self._updater._trusted_set
        root = trusted.root
        numbers = {
            Root.type: root.version,
            Timestamp.type: trusted.timestamp.version,
            Snapshot.type: trusted.snapshot.version,
            Targets.type: trusted.targets.version,
        }
        return {_counter(root, role, self._first_root): numbers[role] for role in _ROLES}


def open_client(
    first_root: bytes,
    expected: Digest,
    metadata: str,
    fetcher: FetcherInterface,
    urls: tuple[str, str],
    judged: datetime,
) -> Client:
    """A refreshed client of a repository.

    first_root: `1.root.json`; expected: the trust file's `tuf_root`; metadata: a folder kept between calls, writable by this account
    alone; urls: of the folder of metadata and of that of targets, each with a slash at its end; judged: the judgement time, aware.
    Raises RepositoryRefused (a signature, a version, a digest), RepositoryStale (expired metadata), RepositoryUnavailable (not there).
    """
    _check_first(first_root, expected, urls[0])
    with explained(urls[0]):
        updater = _Updater(metadata, urls[0], None, urls[1], fetcher, _CONFIG, bootstrap=first_root)
        # python-tuf offers no way to say at which time expiry is judged
        updater._trusted_set.reference_time = judged
        updater.refresh()
    return Client(updater, urls[0].removesuffix("metadata/"), expected)


def take_roots(
    first_root: bytes, expected: Digest, metadata: str, fetcher: FetcherInterface, url: str
) -> Mapping[str, int]:
    """Take over the new roots of a repository and nothing else; the newest one's version as `Client.versions` names it.

    The rest is as in `open_client`. Raises RepositoryRefused, RepositoryUnavailable.
    """
    _check_first(first_root, expected, url)
    with explained(url):
        updater = _Updater(metadata, url, None, None, fetcher, _CONFIG, bootstrap=first_root)
        updater._load_root()
    root = updater._trusted_set.root
    return {_counter(root, Root.type, expected): root.version}


def _check_first(first_root: bytes, expected: Digest, subject: str) -> None:
    if (found := Digest.of(first_root, HashName.SHA256)) != expected:
        raise RepositoryRefused(
            subject,
            f"its first root is {found}, the trust file names {expected}",
            "It is another repository, or the trust file is of another one.",
        )


class _Updater(Updater):
    """python-tuf's client that names its files from its folder alone: an account that fetches may have no way through the folders above."""

    def _persist_file(self, filename: str, data: bytes) -> None:
        with open(f"{filename}.new", "wb") as file:
            file.write(data)
        os.replace(f"{filename}.new", filename)


def stored_name(target: TargetFile) -> str:
    """Where a target lies below `targets/` of a repository with consistent snapshots: with its digest before its last part."""
    folder, slash, name = target.path.rpartition("/")
    return f"{folder}{slash}{next(iter(target.hashes.values()))}.{name}"


def fetch_first_root(fetcher: FetcherInterface, metadata_url: str) -> bytes:
    """`1.root.json` as the repository has it; it proves nothing before its digest was compared. Raises RepositoryUnavailable."""
    return fetch_file(fetcher, f"{metadata_url}{FIRST_ROOT}", _CONFIG.root_max_length)


def fetch_file(fetcher: FetcherInterface, url: str, limit_bytes: int) -> bytes:
    """A file of a repository as it lies there, which proves nothing. Raises RepositoryUnavailable, RepositoryRefused for a larger one."""
    with explained(url):
        return fetcher.download_bytes(url, limit_bytes)


def _children(role: Targets) -> Iterable[str]:
    """The roles that one delegates to by itself."""
    if role.delegations is None:
        return ()
    succinct = role.delegations.succinct_roles
    return succinct.get_roles() if succinct is not None else role.delegations.roles or ()


def check_versions(found: Mapping[str, int], seen: Mapping[str, int], subject: str) -> None:
    """RepositoryRefused where a role is older than one seen before. seen: what `versions` said then, and whatever else is counted there."""
    for name, version in found.items():
        if version < seen.get(name, 0):
            raise RepositoryRefused(
                subject,
                f"its {name.split(' ')[1]} is version {version}, and version {seen[name]} was seen before",
                "It is an old copy. " + _AGAIN,
            )


def _counter(root: Root, role: str, first_root: Digest) -> str:
    """`tuf ROLE DIGEST`: the digest is of the role's key ids; of the root, whose versions never begin anew, of the repository's first one."""
    which = [str(first_root)] if role == Root.type else sorted(root.get_delegated_role(role).keyids)
    return f"tuf {role} {Digest.of(' '.join((role, *which)).encode()).value.hex()[:32]}"


@contextmanager
def explained(subject: str) -> Iterator[None]:
    """python-tuf's errors, and those of files that it keeps, as ours. subject: the repository's name."""
    try:
        yield
    except SealwrightError:
        raise
    except exceptions.ExpiredMetadataError as cause:
        raise RepositoryStale(subject, f"its metadata has ended ({_said(cause)})", _AGAIN) from cause
    except exceptions.RepositoryError as cause:
        raise RepositoryRefused(subject, f"it is not what its keys signed ({_said(cause)})", _AGAIN) from cause
    except exceptions.DownloadLengthMismatchError as cause:
        raise RepositoryRefused(subject, f"more comes than was signed ({_said(cause)})", _AGAIN) from cause
    except (exceptions.DownloadError, OSError, ValueError) as cause:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            raise OutputRefused(
                str(cause.filename or subject), "the disk is full", "Make room there, and try again."
            ) from cause
        raise RepositoryUnavailable(
            subject, f"it cannot be read ({_said(cause)})", "Check its address, the network and the disk."
        ) from cause


def _said(cause: Exception) -> str:
    return display(str(cause) or type(cause).__name__)[:200]
