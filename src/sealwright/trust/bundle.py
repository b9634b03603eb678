"""The revocation bundle, brought along by `trust install`: what can only take trust away is never lost and never goes back.

1. `deny.toml` with its signatures replaces an installed one of a lower version; the installed one stays otherwise.
2. Each list of `trust.d` is added, each signer's certificate and each layout. One of the same name but other content is kept beside it under a name with its digest:
   lists add up (RULES 4), so an old one on a stick takes nothing away from a newer one that is installed.
3. It is written before the trust file: a crash between leaves less trusted, not more.
So the same trust file is installed again to bring a new deny list, without an officers' meeting.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.errors import LimitExceeded, TrustRefused
from sealwright.trust.belief import (
    CRL_FOLDER,
    DENY,
    MAX_CRLS,
    MAX_LAYOUT_BYTES,
    certificate_names,
    crl_names,
    layout_names,
    parse_deny,
)
from sealwright.trust.history import read_signed
from sealwright.trust.revocation import MAX_CRL_BYTES
from sealwright.trust.trustfile import MAX_BYTES


class Brought(NamedTuple):
    """deny_version: of the deny list that now lies there, 0 for none; lists: how many revocation lists are new there."""

    deny_version: int
    lists: int


def install_bundle(path: str, folder: str) -> Brought:
    """Bring what lies beside a believed trust file into the folder of the installed one."""
    from sealwright.artifact.output import Output, Replace, write_batch  # a stateless verify writes nothing

    version, files = _deny_list(path, folder)
    lists = _added(path, folder, crl_names, MAX_CRL_BYTES, "revocation lists")
    certificates = _added(path, folder, certificate_names, MAX_BYTES, "certificate files")
    layouts = _added(path, folder, layout_names, MAX_LAYOUT_BYTES, "layouts")
    added = [*lists, *certificates, *layouts]
    if files or added:
        os.makedirs(os.path.join(folder, CRL_FOLDER) if added else folder, exist_ok=True)
        write_batch([Output(target, data) for target, data in (*files, *added)], replace=Replace.YES)
    return Brought(version, len(lists))


def _deny_list(path: str, folder: str) -> tuple[int, list[tuple[str, bytes]]]:
    target, source = os.path.join(folder, DENY), os.path.join(os.path.dirname(path), DENY)
    old = read_file_or_none(target, MAX_BYTES)
    before = parse_deny(old, target).version if old is not None else 0
    if not os.path.lexists(source):
        return before, []
    signed = read_signed(source)
    version = parse_deny(signed.text, source).version
    if version < before or signed.text == old:
        return before, []
    if version == before:
        raise TrustRefused(
            source, f"another deny list of version {version} is installed", "Have its officer give it a higher version."
        )
    beside = [(os.path.join(folder, name), data) for name, data in signed.signatures.items()]
    return version, [*beside, (target, signed.text)]


def _added(
    path: str, folder: str, names_in: Callable[[str], list[str]], limit: int, what: str
) -> list[tuple[str, bytes]]:
    target = os.path.join(folder, CRL_FOLDER)
    there = {
        name: read_file(os.path.join(target, name), limit) for name in names_in(os.path.join(folder, "trust.toml"))
    }
    added: dict[str, bytes] = {}
    for name in names_in(path):
        data = read_file(os.path.join(os.path.dirname(path), CRL_FOLDER, name), limit)
        if data in there.values() or data in added.values():
            continue
        if name in there or name in added:
            stem, dot, suffix = name.rpartition(".")
            name = f"{stem}-{Digest.of(data).value.hex()[:16]}{dot}{suffix.lower()}"
        added[name] = data
    if len(there) + len(added) > MAX_CRLS:
        raise LimitExceeded(
            target,
            f"{len(there) + len(added)} {what}",
            f"At most {MAX_CRLS} are read: remove those that newer ones replace.",
        )
    return [(os.path.join(target, name), data) for name, data in added.items()]
