"""From one version of a trust file to the next, as TUF walks its roots (DESIGN, RULES 5).

1. Versions follow one by one; the id never changes.
2. Each step is signed by the thresholds of both sides, the officers before and the officers after, by distinct persons:
   two keys of one person count once, a key outside the list not at all.
3. The recovery quorum may instead of the officers before do one thing: replace the officers. Anything else that differs
   is refused, and its use shows in every verdict until the next ordinary version.
4. A version that has ended is a step like any other; only the newest one is judged by its dates.
Officers' signatures are files of their own, `trust.toml.PERSON.p7s`, of the kind `trust`; the certificate in one only
carries the key: no path, no expiry.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import read_file, read_file_or_none
from sealwright.envelope.algorithms import key_digest
from sealwright.envelope.cms import Profile, Signer, check_signer, read_envelope
from sealwright.errors import LimitExceeded, SealwrightError, TrustRefused, Unreadable
from sealwright.trust.model import Quorum, TrustFile
from sealwright.trust.trustfile import MAX_BYTES, officer_key_digest, parse_trust

KIND = "trust"
TRUST = "trust.toml"
HISTORY = "trust.history"
MAX_SIGNATURES = 64
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_STEPS = 1000
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
_NEXT = "Ask your officers for the trust file with its history and signatures."


class Step(Enum):
    """How a version came to follow another."""

    ORDINARY = auto()
    RECOVERY = auto()


@dataclass(frozen=True, slots=True)
class SignedText:
    """A file's bytes and the officers' signature files beside it, by name."""

    path: str
    text: bytes
    signatures: Mapping[str, bytes]


def read_text(path: str) -> bytes:
    """A trust file or deny list; Unreadable, naming the file that is meant where its folder was named. LimitExceeded."""
    try:
        return read_file(path, MAX_BYTES)
    except Unreadable:
        inside = os.path.join(path, TRUST)
        if not os.path.isfile(inside):
            raise
        raise Unreadable(path, "it is a folder, and a trust file is named as a file", f"Write {inside}") from None


def read_signed(path: str) -> SignedText:
    """Read a trust file or deny list with its signatures `NAME.*.p7s`; Unreadable or LimitExceeded."""
    text = read_text(path)
    found = sorted(glob.glob(glob.escape(path) + ".*.p7s"))
    if len(found) > MAX_SIGNATURES:
        raise LimitExceeded(path, f"{len(found)} signature files beside it", f"At most {MAX_SIGNATURES} are read.")
    return SignedText(path, text, {os.path.basename(name): read_file(name, MAX_SIGNATURE_BYTES) for name in found})


def signing_keys(signed: SignedText, kind: str = KIND) -> frozenset[Digest]:
    """The keys whose signature over these very bytes holds; a signature that does not hold counts for nobody."""
    keys = set()
    digests = {name: Digest.of(signed.text, name) for name in HashName}
    for name, data in signed.signatures.items():
        try:
            for signer in read_envelope(data, Profile.OURS, name).signers:
                if isinstance(signer, Signer):
                    check_signer(signer, digests, kind, name)
                    keys.add(key_digest(signer.key))
        except SealwrightError:
            continue
    return frozenset(keys)


def with_kept(signed: SignedText, version: int) -> SignedText:
    """The same text with the signatures kept for it in its history: an interrupted `install` renews those beside it first."""
    kept = history_path(signed.path, version)
    if read_file_or_none(kept, MAX_BYTES) != signed.text:
        return signed
    return SignedText(signed.path, signed.text, {**read_signed(kept).signatures, **signed.signatures})


def persons_of(quorum: Quorum, keys: frozenset[Digest]) -> frozenset[str]:
    """The distinct persons of a quorum who signed."""
    return frozenset(key.person for key in quorum.keys if officer_key_digest(key.spki) in keys)


def reached(quorum: Quorum, keys: frozenset[Digest]) -> bool:
    """Whether enough distinct persons signed."""
    return len(persons_of(quorum, keys)) >= quorum.threshold


def check_step(previous: TrustFile, new: TrustFile, keys: frozenset[Digest]) -> Step:
    """How `new`, signed by `keys`, follows `previous`; TrustRefused if it does not."""
    name = f"trust file {new.id} version {new.version}"
    if new.id != previous.id:
        raise TrustRefused(name, f"the one before it is {previous.id}, another trust file", _NEXT)
    if new.version != previous.version + 1:
        raise TrustRefused(name, f"it does not follow version {previous.version}", _NEXT)
    if not reached(new.officers, keys):
        raise TrustRefused(name, _short(new.officers, keys, "its own officers"), _NEXT)
    if reached(previous.officers, keys):
        return Step.ORDINARY
    if not reached(previous.recovery, keys):
        raise TrustRefused(name, _short(previous.officers, keys, f"the officers of version {previous.version}"), _NEXT)
    if _beside_officers(previous) != _beside_officers(
        new._replace(persons=new.persons[: len(previous.persons)])
    ) or any(person.keys or person.certificates for person in new.persons[len(previous.persons) :]):
        raise TrustRefused(
            name, "it is signed by the recovery keys, which may replace officers and nothing else", _NEXT
        )
    return Step.RECOVERY


def previous_of(path: str, trust: TrustFile) -> TrustFile | None:
    """The version before, from the history beside the file; None where it is not there, or is none of this trust file."""
    kept = history_path(path, trust.version - 1)
    text = read_file_or_none(kept, MAX_BYTES)
    if text is None:
        return None
    before = parse_trust(text, kept)
    return before if (before.id, before.version) == (trust.id, trust.version - 1) else None


def walk(installed: TrustFile, newest: SignedText) -> Step:
    """Follow the history beside `newest` from the installed version to it; the last step. TrustRefused where a step fails."""
    new = parse_trust(newest.text, newest.path)
    if new.version <= installed.version:
        if new.digest == installed.digest:
            return Step.ORDINARY
        raise TrustRefused(
            newest.path,
            f"version {new.version} of {new.id} is not newer than the installed version {installed.version}",
            _NEXT,
        )
    if new.version - installed.version > MAX_STEPS:
        raise LimitExceeded(newest.path, f"more than {MAX_STEPS} versions to walk", _NEXT)
    current, step = installed, Step.ORDINARY
    for version in range(installed.version + 1, new.version + 1):
        signed = newest if version == new.version else read_signed(history_path(newest.path, version))
        following = parse_trust(signed.text, signed.path)
        step = check_step(current, following, signing_keys(signed))
        current = following
    return step


def came_by(newest: SignedText, trust: TrustFile) -> Step:
    """How this version came, from the predecessor in its history; ORDINARY where there is none to ask."""
    path = history_path(newest.path, trust.version - 1)
    data = read_file_or_none(path, MAX_BYTES) if trust.version > 1 else None
    if data is None:
        return Step.ORDINARY
    return check_step(parse_trust(data, path), trust, signing_keys(newest))


def history_path(path: str, version: int) -> str:
    """Where a predecessor lies."""
    return os.path.join(os.path.dirname(path), HISTORY, f"{version}.toml")


def install(newest: SignedText, folder: str, installed: TrustFile | None) -> None:
    """Put a believed trust file, its signatures and its history into a folder, as one batch of whole files.

    The history is named first and the trust file last. A crash between leaves the old trust file, perhaps with the new
    one's signatures beside it; its own are still in the history, where `with_kept` finds them.
    """
    from sealwright.artifact.output import Output, Replace, write_batch  # a stateless verify writes nothing

    new = parse_trust(newest.text, newest.path)
    target = os.path.join(folder, TRUST)
    os.makedirs(os.path.join(folder, HISTORY), exist_ok=True)
    files: list[tuple[str, bytes]] = []
    if installed is not None and read_file_or_none(target, MAX_BYTES) == installed.text:
        kept = history_path(target, installed.version)
        if (
            read_file_or_none(kept, MAX_BYTES) is None
        ):  # it was put there by other means; it stays readable all the same
            files += filed(read_signed(target), kept)
    first = max(installed.version if installed is not None else 1, new.version - MAX_STEPS)
    for version in range(first, new.version):
        data = read_file_or_none(history_path(newest.path, version), MAX_BYTES)
        if data is None:
            continue
        signed = read_signed(history_path(newest.path, version))
        files += filed(signed, history_path(target, version))
    files += filed(newest, history_path(target, new.version))
    files += filed(newest, target)
    outputs = [Output(path, data) for path, data in files]
    write_batch(outputs, replace=Replace.YES)
    for name in read_signed(
        target
    ).signatures:  # of the version before: they say nothing of this one, and would pile up
        if target + name.removeprefix(TRUST) not in {path for path, _ in files}:
            os.unlink(os.path.join(folder, name))


def filed(signed: SignedText, target: str) -> Sequence[tuple[str, bytes]]:
    """A text and its signatures under another name, the text last."""
    name = os.path.basename(signed.path)
    beside = [(target + file.removeprefix(name), data) for file, data in signed.signatures.items()]
    return [*beside, (target, signed.text)]


def _short(quorum: Quorum, keys: frozenset[Digest], who: str) -> str:
    signed = ", ".join(sorted(persons_of(quorum, keys))) or "none of them"
    return f"{quorum.threshold} of {who} must sign it, signed has {signed}"


def _beside_officers(trust: TrustFile) -> TrustFile:
    """What the recovery keys may not change."""
    return trust._replace(
        text=b"", digest=Digest.of(b""), version=0, issued=_EVER, expires=_EVER, officers=Quorum(0, ())
    )
