"""The revocation bundle, brought along by `trust install`: what can only take trust away is never lost and never goes back.

1. `deny.toml` with its signatures replaces an installed one of a lower version; the installed one stays otherwise. One officer may
   skip MAX_SKIPPED versions; a longer way takes the officers' threshold, else one of them could end all later lists with the
   highest number there is.
2. Each list of `trust.d` is added, each signer's certificate and each layout. One of the same name but other content is kept beside it under a name with its digest:
   lists add up (RULES 4), so an old one on a stick takes nothing away from a newer one that is installed. One that a newer one says
   all of, as strictly, is removed. A list that no issuer in the trust file signed may be of an authority that signatures
   bring along, or anybody's: few are kept, so that they cannot fill the places of those that count, and the others are named.
3. It is written before the trust file: a crash between leaves less trusted, not more.
So the same trust file is installed again to bring a new deny list, without an officers' meeting.

What is installed was copied before it was judged (`copied`, `copied_whole`): a stick may answer otherwise the second time (A150).

A bundle also travels alone, as a folder or a ZIP archive that holds nothing but `deny.toml`, its signatures and `trust.d/*.crl`:
4. The installed trust file judges it: its id, one of its officers, and for a list of an issuer that is known here that issuer's
   signature. An older deny list refuses the bundle.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.artifact.source import read_file, read_file_or_none, unreadable
from sealwright.errors import LimitExceeded, MalformedTrust, SealwrightError, TrustRefused
from sealwright.trust.belief import (
    CRL_FOLDER,
    DENY,
    DENY_KIND,
    MAX_CRLS,
    MAX_LAYOUT_BYTES,
    certificate_names,
    crl_names,
    layout_names,
    parse_deny,
    signed_deny,
)
from sealwright.trust.certificate import load_certificate
from sealwright.trust.history import HISTORY, SignedText, persons_of, reached, read_signed, signing_keys
from sealwright.trust.model import TrustFile
from sealwright.trust.revocation import MAX_CRL_BYTES, CrlTable, crl_issuer, supersedes
from sealwright.trust.trustfile import MAX_BYTES

_KEPT = re.compile(r"[0-9]{1,10}\.toml(\..+\.p7s)?")
MAX_STRANGE = 16
MAX_SKIPPED = 1000
MAX_LISTS_BYTES = 256 << 20  # of a delivery: it is held in memory before anything of it is judged
MAX_HISTORY_FILES = 8192
MAX_HISTORY_BYTES = 64 << 20


class Brought(NamedTuple):
    """deny_version: of the deny list that now lies there, 0 for none; lists: how many revocation lists are new there; left_out: the names
    of those that are no lists, or one too many that no issuer of the trust file signed."""

    deny_version: int
    lists: int
    left_out: tuple[str, ...] = ()


def install_bundle(path: str, folder: str, trust: TrustFile, now: datetime) -> Brought:
    """Bring what lies beside a believed trust file into the folder of the installed one.

    trust: the one that will be there; TrustRefused where the deny list that stays is signed by none of its officers, because
    nothing could be verified any more beside it. now: aware; lists are compared at this time.
    """
    from sealwright.artifact.output import Output, Replace, write_batch  # a stateless verify writes nothing

    version, files = _deny_list(path, folder, trust)
    strange = _strange(path, folder, trust)
    stale, old = _superseded(path, folder, trust, now, strange)
    lists = _added(path, folder, crl_names, MAX_CRL_BYTES, "revocation lists", {*strange, *stale}, old)
    certificates = _added(path, folder, certificate_names, MAX_BYTES, "certificate files")
    layouts = _added(path, folder, layout_names, MAX_LAYOUT_BYTES, "layouts")
    added = [*lists, *certificates, *layouts]
    if files or added:
        os.makedirs(os.path.join(folder, CRL_FOLDER) if added else folder, exist_ok=True)
        write_batch([Output(target, data) for target, data in (*files, *added)], replace=Replace.YES)
    written = {os.path.basename(target) for target, _ in lists}
    for name in old:
        if name not in written:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, CRL_FOLDER, name))
    return Brought(version, len(lists), strange)


def _list_beside(path: str, name: str) -> bytes:
    return read_file(os.path.join(os.path.dirname(path), CRL_FOLDER, name), MAX_CRL_BYTES)


def _known_issuers(trust: TrustFile) -> list[x509.Certificate]:
    every = (
        *(one.certificate for one in trust.anchors),
        *trust.intermediates,
        *trust.certificates,
        *(one.anchor for one in trust.authorities),
        *(one.certificate for one in trust.crls if one.certificate),
    )
    return [load_certificate(der, "trust file") for der in dict.fromkeys(every)]


def _strange(path: str, folder: str, trust: TrustFile) -> tuple[str, ...]:
    """The names of what is no list, and of lists that no issuer of the trust file signed, beyond the few that may be."""
    known, beside = _known_issuers(trust), os.path.join(folder, "trust.toml")
    there = {data for name in crl_names(beside) if not _is_signed(data := _list_beside(beside, name), known)}
    left_out = []
    for name in crl_names(path):
        data = _list_beside(path, name)
        if _is_signed(data, known):
            continue
        if _is_list(data) and (data in there or len(there) < MAX_STRANGE):
            there.add(data)
        else:
            left_out.append(name)
    return tuple(left_out)


def _is_list(der: bytes) -> bool:
    try:
        crl_issuer(der)
    except SealwrightError:
        return False
    return True


def _is_signed(der: bytes, known: Sequence[x509.Certificate]) -> bool:
    """Whether one of the issuers signed it; a name alone could be anybody's."""
    return _table(der, known) is not None


def _table(der: bytes, known: Sequence[x509.Certificate]) -> CrlTable | None:
    try:
        issuer = crl_issuer(der)
        return CrlTable.load(der, [one for one in known if one.subject.public_bytes() == issuer])
    except SealwrightError:
        return None


def _superseded(
    path: str, folder: str, trust: TrustFile, now: datetime, strange: Collection[str]
) -> tuple[set[str], set[str]]:
    """Of the lists that are brought, and of those that are there, the names of those of which another one says all, as strictly."""
    known, beside = _known_issuers(trust), os.path.join(folder, "trust.toml")
    now = min(now, trust.expires)  # a clock that is far ahead removes nothing
    new = {name: _table(_list_beside(path, name), known) for name in crl_names(path) if name not in strange}
    old = {name: _table(_list_beside(beside, name), known) for name in crl_names(beside)}
    every = [one for one in (*new.values(), *old.values()) if one is not None]

    def needless(lists: Mapping[str, CrlTable | None]) -> set[str]:
        return {
            name
            for name, one in lists.items()
            if one is not None and any(supersedes(other, one, now) for other in every)
        }

    return needless(new), needless(old)


def is_bundle(path: str) -> bool:
    """Whether a path is a bundle that travels alone: an archive, a deny list, or a folder of them without a trust file."""
    if os.path.isdir(path):
        return not os.path.lexists(os.path.join(path, "trust.toml"))
    return path.lower().endswith(".zip") or os.path.basename(path) == DENY


@contextmanager
def copied(path: str) -> Iterator[str]:
    """A private copy of a bundle: the name that a trust file beside it would have. MalformedTrust for anything else in it."""
    import tempfile  # only a bundle that travels alone is copied

    from sealwright.trust.archive import write_files, zipped_files

    with tempfile.TemporaryDirectory(prefix="sealwright-bundle-") as folder:
        files = zipped_files(path) if path.lower().endswith(".zip") else folder_files(path)
        if not files:
            raise MalformedTrust(
                path, "there is no deny.toml and no trust.d/*.crl in it", "Make it with `sealwright trust bundle`."
            )
        write_files(files, folder)
        yield os.path.join(folder, "trust.toml")


@contextmanager
def copied_whole(path: str) -> Iterator[str]:
    """A private copy of a trust file and of what counts of all that lies beside it: signatures, history, deny list, `trust.d`."""
    import tempfile  # as above

    from sealwright.trust.archive import write_files

    folder = os.path.dirname(path)
    signed = read_signed(path)
    files = {"trust.toml": signed.text, **signed.signatures, **folder_files(path)}
    renamed = os.path.basename(path)
    files = {
        (f"trust.toml{name[len(renamed) :]}" if name in signed.signatures else name): data
        for name, data in files.items()
    }
    for names, limit in ((certificate_names, MAX_BYTES), (layout_names, MAX_LAYOUT_BYTES)):
        files |= {
            f"{CRL_FOLDER}/{name}": read_file(os.path.join(folder, CRL_FOLDER, name), limit) for name in names(path)
        }
    files |= _history_files(os.path.join(folder, HISTORY))
    with tempfile.TemporaryDirectory(prefix="sealwright-trust-") as private:
        write_files(files, private)
        yield os.path.join(private, "trust.toml")


def _history_files(folder: str) -> dict[str, bytes]:
    """The predecessors with their signatures, bounded."""
    try:
        names = sorted(name for name in os.listdir(folder) if _KEPT.fullmatch(name))
    except FileNotFoundError:
        return {}
    except OSError as cause:
        raise unreadable(folder, cause) from cause
    if len(names) > MAX_HISTORY_FILES:
        raise LimitExceeded(folder, f"{len(names)} files", f"At most {MAX_HISTORY_FILES} are read.")
    files, total = {}, 0
    for name in names:
        data = read_file(os.path.join(folder, name), MAX_BYTES)
        total += len(data)
        if total > MAX_HISTORY_BYTES:
            raise LimitExceeded(folder, f"more than {MAX_HISTORY_BYTES} bytes", "Keep the newest versions alone.")
        files[f"{HISTORY}/{name}"] = data
    return files


@contextmanager
def told_as(copy: str, path: str) -> Iterator[None]:
    """Errors about a private copy name what its user knows."""
    private, folder = os.path.dirname(copy), os.path.dirname(path) or os.curdir

    def named(text: str) -> str:
        return text.replace(copy, path).replace(private, folder)

    try:
        yield
    except SealwrightError as cause:
        cause.subject, cause.what, cause.next_step = named(cause.subject), named(cause.what), named(cause.next_step)
        raise


def folder_files(path: str) -> dict[str, bytes]:
    """The files of a bundle that lies in a folder (or beside a deny list), by their names in it."""
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    beside = os.path.join(folder, "trust.toml")
    files: dict[str, bytes] = {}
    if os.path.lexists(os.path.join(folder, DENY)):
        signed = read_signed(os.path.join(folder, DENY))
        files = {DENY: signed.text, **signed.signatures}
    left = MAX_LISTS_BYTES
    for name in crl_names(beside):
        data = read_file(os.path.join(folder, CRL_FOLDER, name), MAX_CRL_BYTES)
        left -= len(data)
        if left < 0:
            where = os.path.join(folder, CRL_FOLDER)
            raise LimitExceeded(
                where, f"more than {MAX_LISTS_BYTES} bytes of lists", "Take only the lists that the plant needs."
            )
        files[f"{CRL_FOLDER}/{name}"] = data
    return files


def check_bundle(path: str, trust: TrustFile, folder: str) -> None:
    """Judge the bundle beside a name by the installed trust file; MalformedTrust or TrustRefused."""
    source, target = os.path.join(os.path.dirname(path), DENY), os.path.join(folder, DENY)
    if os.path.lexists(source):
        signed = read_signed(source)
        version = signed_deny(signed, trust).version
        old = read_file_or_none(target, MAX_BYTES)
        before = parse_deny(old, target).version if old is not None else 0
        if version < before:
            raise TrustRefused(
                DENY, f"its version {version} is older than the installed version {before}", "Bring the newest bundle."
            )
        _check_skipped(before, version, signed, trust)
    known = [
        load_certificate(der, "trust file") for der in (*(a.certificate for a in trust.anchors), *trust.intermediates)
    ]
    for name in crl_names(path):
        der = read_file(os.path.join(os.path.dirname(path), CRL_FOLDER, name), MAX_CRL_BYTES)
        issuer = crl_issuer(der)
        if issuers := [one for one in known if one.subject.public_bytes() == issuer]:
            CrlTable.load(der, issuers)


def _deny_list(path: str, folder: str, trust: TrustFile | None) -> tuple[int, list[tuple[str, bytes]]]:
    target, source = os.path.join(folder, DENY), os.path.join(os.path.dirname(path), DENY)
    old = read_file_or_none(target, MAX_BYTES)
    before = parse_deny(old, target).version if old is not None else 0
    signed = read_signed(source) if os.path.lexists(source) else None
    version = parse_deny(signed.text, source).version if signed is not None else 0
    if signed is None or version < before or signed.text == old:
        again = _signed_again(signed, trust) if signed is not None and signed.text == old else {}
        if old is not None and trust is not None:
            _check_staying(target, again, trust)
        return before, [(os.path.join(folder, name), data) for name, data in again.items()]
    if version == before:
        raise TrustRefused(
            source, f"another deny list of version {version} is installed", "Have its officer give it a higher version."
        )
    if trust is not None:
        _check_skipped(before, version, signed, trust)
    beside = [(os.path.join(folder, name), data) for name, data in signed.signatures.items()]
    return version, [*beside, (target, signed.text)]


def _check_skipped(before: int, version: int, signed: SignedText, trust: TrustFile) -> None:
    """TrustRefused where fewer officers than their threshold skip more versions than one of them may."""
    if version - before <= MAX_SKIPPED or trust.stage == "trial":
        return
    if reached(trust.officers, signing_keys(signed, DENY_KIND)):
        return
    raise TrustRefused(
        signed.path,
        f"version {version} comes long after version {before}, and not enough officers signed it to skip so many",
        f"Give it a version up to {before + MAX_SKIPPED}, or have {trust.officers.threshold} officers sign it.",
    )


def _signed_again(signed: SignedText, trust: TrustFile | None) -> dict[str, bytes]:
    """The signatures of officers over a list that is there already: it may be signed again by one who stays."""
    return {
        name: data
        for name, data in signed.signatures.items()
        if trust is not None
        and persons_of(trust.officers, signing_keys(SignedText(signed.path, signed.text, {name: data}), DENY_KIND))
    }


def _check_staying(target: str, again: Mapping[str, bytes], trust: TrustFile) -> None:
    staying = read_signed(target)
    try:
        signed_deny(SignedText(target, staying.text, {**staying.signatures, **again}), trust)
    except TrustRefused as cause:
        raise TrustRefused(
            target,
            f"no officer of version {trust.version} has signed the deny list that is installed",
            "Have deny.toml signed by an officer who stays (`sealwright trust sign deny.toml`) and bring it along.",
        ) from cause


def _added(
    path: str,
    folder: str,
    names_in: Callable[[str], list[str]],
    limit: int,
    what: str,
    left_out: Collection[str] = (),
    going: Collection[str] = (),
) -> list[tuple[str, bytes]]:
    """What is new there, with its place. left_out: names that are not brought; going: names there that make room."""
    target = os.path.join(folder, CRL_FOLDER)
    there = {
        name: read_file(os.path.join(target, name), limit)
        for name in names_in(os.path.join(folder, "trust.toml"))
        if name not in going
    }
    added: dict[str, bytes] = {}
    for name in names_in(path):
        if name in left_out:
            continue
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
