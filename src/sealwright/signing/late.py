"""Timestamps for signatures that are made already: `FILE.tsr` over the signature value; no signed file is rewritten (RULES 1).

1. The signature is found where `verify` finds it, is read again, and fits the delivered bytes; a stranger's `.p7s` will do.
2. The token's imprint, nonce and signature are checked, and its time: after the end of the signer's certificate it proves
   nothing and is not written. An authority that stamped this signature before is not asked again.
3. The `.tsr` is durable, then the journal says so, then the signature is pending no longer (`pending.py`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

from cryptography import x509

from sealwright.artifact.digest import Digest
from sealwright.artifact.output import write_atomic
from sealwright.artifact.source import read_file
from sealwright.envelope.cms import Envelope, Profile, Signer, check_signer, read_envelope
from sealwright.envelope.tsp import Token, check_token, read_token
from sealwright.errors import ChangedWhileRead, SealwrightError, TooLateToStamp, Unreadable, UsageError
from sealwright.findings import Finding
from sealwright.formats.format import Candidate, Search
from sealwright.formats.registry import find, stated
from sealwright.formats.sidecar import MANIFEST_SUFFIX, MAX_ENVELOPE_BYTES, STATEMENT_SUFFIXES, next_late_path
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.pki.timestamppool import AT_ONCE, Stamp
from sealwright.signing.home import JOURNAL, Home
from sealwright.signing.pending import Pending, entry_of, read_pending, take_away
from sealwright.signing.privatepart import keep_text
from sealwright.signing.stamps import PoolStamper, Stamper, doubts, strangers

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout


@dataclass(frozen=True, slots=True)
class Standing:
    """A signature as it stands. target: what `.tsr` is put behind; embedded, late: valid tokens over its value, inside it and beside."""

    target: str
    source: str
    value: bytes
    end: datetime
    embedded: tuple[Token, ...]
    late: tuple[Token, ...]

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All of them."""
        return (*self.embedded, *self.late)

    @property
    def digest(self) -> Digest:
        """Of the signature value: what a token is made over."""
        return Digest.of(self.value)


@dataclass(frozen=True, slots=True)
class Stamped:
    """output: the new `.tsr`, "" where it was stamped before."""

    path: str
    source: str
    output: str
    gen_time: datetime
    authority: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class NotStamped:
    """A signature that was not stamped, and why; a pending one stays pending."""

    path: str
    error: SealwrightError


def signatures_of(
    path: str, signature: str | None, certificates: Collection[bytes] = (), layouts: Collection[Layout] = ()
) -> list[Standing]:
    """Every signature of a file or folder that fits its bytes. Raises what reading it raises, or that of the only one that does not fit.

    signature: the one `.p7s` to look at; certificates: DER, of signers whose signatures carry none; layouts: of makers' headers.
    """
    found = find(path, Search(signature=signature, certificates=tuple(certificates), layouts=tuple(layouts)))
    standing: list[Standing] = []
    problems: list[SealwrightError] = []
    for candidate in found.candidates:
        try:
            standing += _standing(path, signature, candidate)
        except SealwrightError as cause:
            problems.append(cause)
    if not standing and problems:
        raise problems[0]
    if not standing:
        raise UsageError(path, "no signature of it is found here", "Name the signature file with --signature.")
    return standing


def _standing(path: str, signature: str | None, candidate: Candidate) -> Iterator[Standing]:
    target = path.rstrip("/" + os.sep) or path
    if candidate.statement is not None:
        target = os.path.join(os.path.dirname(target), candidate.name)
    elif candidate.format == "manifest" and not target.endswith(MANIFEST_SUFFIX):
        target += MANIFEST_SUFFIX
    envelope = candidate.envelope or _foreign(target, signature, candidate)
    for signer in envelope.signers:
        if not isinstance(signer, Signer):
            raise signer.reason
        digests = dict(candidate.digests)
        if signer.digest.algorithm not in digests:
            digests[signer.digest.algorithm] = _digest(target, signer)
        check_signer(signer, digests, signer.kind if candidate.envelope is None else candidate.kind, candidate.source)
        end = x509.load_der_x509_certificate(signer.certificate).not_valid_after_utc
        inside, beside = _valid(signer, signer.tokens), _valid(signer, candidate.late_tokens)
        yield Standing(target, candidate.source, signer.signature, end, tuple(inside), tuple(beside))


def _foreign(target: str, signature: str | None, candidate: Candidate) -> Envelope:
    """A maker's signature that is not as we write ours: it can be stamped all the same."""
    path = signature or os.path.join(os.path.dirname(target), candidate.source)
    return read_envelope(read_file(path, MAX_ENVELOPE_BYTES), Profile.FOREIGN_CMS, candidate.source)


def _digest(target: str, signer: Signer) -> Digest:
    from sealwright.artifact.source import open_artifact

    with open_artifact(target) as source:
        return source.digests({signer.digest.algorithm}, None)[signer.digest.algorithm]


def _valid(signer: Signer, tokens: Sequence[bytes]) -> Iterator[Token]:
    for data in tokens:
        try:
            token = read_token(data, "timestamp")
            check_token(token, signer.signature)
        except SealwrightError:
            continue  # `verify` says so; it is no proof that another one would repeat
        yield token


class LateStamper:
    """Stamps what is signed already. home: None where nothing is recorded; journal: where it is open.

    A pool is asked for several at once; everything else is done by one thread after the other. layouts: of firmware under a
    maker's own header.
    """

    def __init__(
        self,
        stamper: Stamper,
        home: Home | None,
        now: datetime,
        journal: Journal | None = None,
        layouts: Collection[Layout] = (),
    ) -> None:
        self.stamper = stamper
        self.home = home
        self.now = now
        self.journal = journal
        self.layouts = layouts
        self.waiting = {one.signature: one for one in read_pending(home.folder)} if home else {}
        self._lock = Lock()
        self._seen: set[bytes] = set()
        self._strangers: dict[bytes, Finding] = {}
        self.certificates = [der for key in home.keys for der in (key.certificate, *key.chain)] if home else []

    def stamp_file(self, path: str, signature: str | None, again: bool) -> list[Stamped | NotStamped]:
        """Stamp the signature of a file; with several, those that are pending. UsageError where it is not clear which."""
        try:
            every = signatures_of(path, signature, self.certificates, self.layouts)
            chosen = [one for one in every if one.digest in self.waiting] if len(every) > 1 else every
            if not chosen:
                names = ", ".join(sorted({one.source for one in every}))
                raise UsageError(path, f"it has several signatures ({names})", "Name one with --signature FILE.")
        except SealwrightError as cause:
            return [NotStamped(path, cause)]
        return [self._one(path, one, self.waiting.get(one.digest), again) for one in chosen]

    def stamp_pending(self) -> Iterator[Stamped | NotStamped]:
        """Stamp what is pending, the one whose certificate ends first leading. What cannot be stamped stays pending."""
        items = list(self.waiting.values())
        if not isinstance(self.stamper, PoolStamper) or len(items) < 2:
            yield from map(self._stamp_item, items)
            return
        from concurrent.futures import ThreadPoolExecutor  # only where many are stamped

        with ThreadPoolExecutor(min(AT_ONCE, len(items))) as workers:
            yield from workers.map(self._stamp_item, items)

    def _stamp_item(self, item: Pending) -> Stamped | NotStamped:
        try:
            standing = still_there(item, self.certificates, self.layouts)
        except SealwrightError as cause:
            return NotStamped(item.target, cause)
        return self._one(item.target, standing, item, again=False)

    def _one(self, path: str, standing: Standing, item: Pending | None, again: bool) -> Stamped | NotStamped:
        try:
            wanted = 1 if again or item is None else item.missing
            if item is not None and standing.late and not again:
                # a crash came between the token and this, or somebody else stamped it
                item = replace(item, missing=item.missing - len(standing.late))
                if item.missing <= 0:
                    self._settle(item)
                    return _already(path, standing)
                wanted = item.missing
            if standing.tokens and not again and item is None:
                return _already(path, standing)
            if self.now > standing.end:
                raise _too_late(path, standing.end, self.now)
            return self._write(path, standing, item, wanted)
        except SealwrightError as cause:
            return NotStamped(path, cause)

    def _write(self, path: str, standing: Standing, item: Pending | None, wanted: int) -> Stamped:
        made: list[Stamp] = []
        next_late_path(standing.target)  # asked before anybody else is
        without = [token.certificate for token in standing.tokens]
        if isinstance(self.stamper, PoolStamper):
            made += self.stamper.pool.stamp(standing.digest, wanted, without)
            if not made:
                raise self.stamper.pool.unavailable(wanted)
        else:
            made += self.stamper.stamp([standing.digest])[0]
            if made[0].signer in without:
                raise UsageError(
                    path, "the home's own authority has stamped it already", "Name another one with --timestamp."
                )
        output = ""
        for stamp in made:
            if stamp.gen_time > standing.end:
                raise _too_late(path, standing.end, stamp.gen_time)
            output = next_late_path(standing.target)
            write_atomic(output, stamp.token)
            self._record(standing, stamp)
        if item is not None and len(made) >= item.missing:
            self._settle(item)
        elif item is not None and isinstance(self.stamper, PoolStamper):
            raise self.stamper.pool.unavailable(item.missing)
        warnings = doubts(made, self._strange(made), self.now)
        return Stamped(path, standing.source, output, made[0].gen_time, made[0].authority, warnings)

    def _strange(self, made: Sequence[Stamp]) -> dict[bytes, Finding]:
        """What is known of authorities is looked up once for each."""
        if self.home is not None:
            with self._lock:
                new = [stamp for stamp in made if stamp.signer not in self._seen]
                self._seen |= {stamp.signer for stamp in new}
                self._strangers |= strangers(new, self.home, self.now)
        return self._strangers

    def _record(self, standing: Standing, stamp: Stamp) -> None:
        if self.home is None:
            return
        fields = {"signature": str(standing.digest), "token": str(Digest.of(stamp.token)), "authority": stamp.authority}
        entry = Entry(EntryType.STAMPED, fields)
        if self.journal is not None:  # the one of the home's own authority, which is open and locked
            self.journal.append([entry])
            return
        with self._lock, Journal.open(self.home.path(JOURNAL)) as journal:
            journal.append([entry])

    def _settle(self, item: Pending) -> None:
        if self.home is not None:
            take_away(self.home.folder, [item])


def still_there(item: Pending, certificates: Collection[bytes] = (), layouts: Collection[Layout] = ()) -> Standing:
    """The signature of a pending entry, found and read again; the error says why it cannot be stamped now."""
    path = _artifact(item.target)
    if not os.path.lexists(item.file):
        raise Unreadable(
            item.file, "the signature is not there", "Bring it back, or `sealwright stamp --forget` with a reason."
        )
    signature = item.file if item.file.endswith(".p7s") and item.file.startswith(item.target + ".") else None
    for one in signatures_of(path, signature, certificates, layouts):
        if one.digest == item.signature:
            return one
    raise ChangedWhileRead(
        item.file, "another signature is there now", "Bring it back, or `sealwright stamp --forget` with a reason."
    )


def forget(home: Home, path: str, reason: str) -> list[Pending]:
    """Take away what is pending for a path, the reason's salted digest in the journal first; UsageError where nothing is, or no reason."""
    wanted = os.path.abspath(path)
    places = {wanted, *(wanted + suffix for suffix in (MANIFEST_SUFFIX, *STATEMENT_SUFFIXES))}
    items = [one for one in read_pending(home.folder) if one.target in places or one.file == wanted]
    if not items:
        raise UsageError(path, "nothing is pending for it", "See `sealwright stamp --status`.")
    why = str(keep_text(home, reason, "--reason"))
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append([Entry(EntryType.FORGOTTEN, {**entry_of(one), "reason": why}) for one in items])
    take_away(home.folder, items)
    return items


def _artifact(target: str) -> str:
    if (about := stated(target)) is not None:
        return about
    stem = target.removesuffix(MANIFEST_SUFFIX)
    return stem if stem != target and os.path.lexists(stem) else target


def _already(path: str, standing: Standing) -> Stamped:
    first = min(standing.tokens, key=lambda token: token.gen_time)
    return Stamped(path, standing.source, "", first.gen_time, "")


def _too_late(path: str, end: datetime, when: datetime) -> TooLateToStamp:
    return TooLateToStamp(
        path,
        f"the signer's certificate ended on {end:%Y-%m-%d %H:%M} UTC, and the timestamp would say {when:%Y-%m-%d %H:%M} UTC",
        "Sign it again with a certificate that is valid; a timestamp of today proves nothing for this one.",
    )
