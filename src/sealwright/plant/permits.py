"""Writing and signing permits at the station: what nobody would take is neither written nor signed.

1. A permit is written from a verdict: it names the artifact by the digest that the verdict has, the product that is claimed in signed
   bytes, and excuses what stands against it, no more. What no permit of its kind excuses is the answer instead.
2. Its section of the trust file is looked for before anybody signs: kind, product, hours and persons.
3. Whoever signs does it by a key of their own home that is enrolled for approvals, which the trust file maps to them. Their home
   records it before the key is used.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.lookedat import FIRST as FOLLOW_UP_FIRST
from sealwright.artifact.lookedat import SUFFIX, LookedAt, PermitFollowUp, follow_up_bytes
from sealwright.artifact.output import Output, Replace, write_atomic, write_batch
from sealwright.artifact.permit import (
    FIRST,
    NONCE_DIGITS,
    Excuse,
    Permit,
    PermitKind,
    permit_bytes,
    signature_name,
)
from sealwright.artifact.source import read_file
from sealwright.artifact.sums import FileEntry
from sealwright.envelope.kinds import PERMIT, PERMIT_FOLLOW_UP, ContentKind
from sealwright.errors import MalformedArtifact, PermitRefused
from sealwright.findings import Finding, Severity
from sealwright.formats.permitfiles import Presented, read_follow_up, read_permit
from sealwright.keys.pin import Pin
from sealwright.signing.home import EnrolledKey, Home, KeyPurpose
from sealwright.signing.init import signed_text
from sealwright.trust.belief import Believed
from sealwright.trust.certificate import tbs_digest
from sealwright.trust.ground import Ground
from sealwright.trust.permits import excuse_for, ground_for, not_taken, purposes_of
from sealwright.trust.times import judgement
from sealwright.trust.verdict import Outcome, Purpose, Verdict
from sealwright.trust.verify import Request, verify_paths

REASON_SUFFIX = ".reason"
MAX_REASON = 4000
MAX_STATEMENT_BYTES = 64 * 1024
_SALT_BYTES = 16
_STOPS = (Severity.REJECT, Severity.UNDECIDED)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. excuses: () for what stands against it here; begins: aware; reason: plain text."""

    kind: PermitKind
    device: str
    persons: tuple[str, ...]
    excuses: tuple[Excuse, ...]
    begins: datetime
    lasts: timedelta
    reason: str


class Asked(NamedTuple):
    """A permit that was written, and what stands against the artifact without it."""

    permit: Permit
    against: tuple[Finding, ...]


def ask(path: str, believed: Believed, wish: Wish, out: str, now: datetime) -> Asked:
    """Write a permit for a file or folder with its reason beside it; PermitRefused where it would count for nothing."""
    purpose = purposes_of(wish.kind)[0]
    (verdict,) = verify_paths([path], believed, Request(clock=now, purpose=purpose, device=wish.device))
    against = tuple(finding for finding in verdict.findings if finding.severity in _STOPS)
    salted = _salted(wish.reason)
    permit = _permit(path, verdict, against, believed, wish, salted)
    if why := not_taken(permit, believed.trust, verdict.rules):
        raise PermitRefused(out, why, "Ask those whom the trust file names under [[permit]], or for fewer hours.")
    write_batch([Output(out + REASON_SUFFIX, salted), Output(out, permit_bytes(permit))], replace=Replace.OFFERED)
    return Asked(permit, against)


def follow_up(path: str, outcome: LookedAt, persons: Sequence[str]) -> str:
    """Write the follow-up of a permit, for these persons to sign; its path."""
    permit = read_permit(path)
    entry = FileEntry(os.fsencode(permit.name), Digest.of(permit.text).value)
    text = follow_up_bytes(
        PermitFollowUp(HashName.SHA256, permit.statement.trust, outcome, tuple(sorted({*persons})), entry)
    )
    write_batch([Output(path + SUFFIX, text)], replace=Replace.OFFERED)
    return path + SUFFIX


def is_follow_up(path: str) -> bool:
    """Whether a file is a follow-up; False for a permit, MalformedArtifact for what is neither."""
    beginning = read_file(path, MAX_STATEMENT_BYTES)
    if not beginning.startswith((FIRST, FOLLOW_UP_FIRST)):
        raise MalformedArtifact(
            os.path.basename(path), "it is neither a permit nor the follow-up of one", "Name a file of `permit ask`."
        )
    return beginning.startswith(FOLLOW_UP_FIRST)


def read_statement(path: str) -> Presented[Permit] | Presented[PermitFollowUp]:
    """The permit or follow-up at a path; MalformedArtifact for what is neither."""
    return read_follow_up(path) if is_follow_up(path) else read_permit(path)


def permit_of(path: str) -> Presented[Permit]:
    """The permit that a follow-up lies beside."""
    return read_permit(path.removesuffix(SUFFIX))


def own_key(
    home: Home, key: str | None, believed: Believed, statement: Permit | PermitFollowUp
) -> tuple[EnrolledKey, str]:
    """The key by which somebody signs a statement, and who they are; PermitRefused where it does not name them."""
    enrolled = home.key(key, KeyPurpose.APPROVAL)
    named = f"key {enrolled.name}"
    certificate = tbs_digest(x509.load_der_x509_certificate(enrolled.certificate))
    persons = believed.trust.persons
    person = next((one for one in persons if enrolled.digest in one.keys or certificate in one.certificates), None)
    if person is None:
        raise PermitRefused(
            named,
            "the trust file maps it to no person, so its signature would count for nobody",
            f"Have an officer add {enrolled.digest} to your [[person]]: sealwright trust add FILE person.",
        )
    if person.id not in statement.persons:
        raise PermitRefused(
            named,
            f"it is {person.id}'s, and this is to be signed by {', '.join(statement.persons)}",
            "Ask one of them.",
        )
    return enrolled, person.id


def check_signable(
    one: Presented[Permit] | Presented[PermitFollowUp], path: str, believed: Believed, now: datetime
) -> None:
    """PermitRefused for what would count for nothing though everybody signed it."""
    trust, statement = believed.trust, one.statement
    if statement.trust != trust.id:
        raise PermitRefused(
            one.name, f"it is for the trust file {statement.trust}, not {trust.id}", "Use the right trust file."
        )
    if isinstance(statement, Permit):
        if statement.until <= now:
            raise PermitRefused(one.name, "its time is over", "Have a new one written: sealwright permit ask.")
        if why := not_taken(statement, trust, ()):
            raise PermitRefused(one.name, why, "Ask those whom the trust file names under [[permit]].")
    elif not statement.is_of(permit_of(path).text):
        raise PermitRefused(one.name, "it is of another permit than the one beside it", "Have a new one written.")


def sign(
    one: Presented[Permit] | Presented[PermitFollowUp],
    path: str,
    home: Home,
    enrolled: EnrolledKey,
    person: str,
    now: datetime,
    pin: Pin | None,
) -> str:
    """Sign the very bytes that were read and shown, as one person; the signature's path. Raises what the pipeline raises."""
    kind: ContentKind = PERMIT if isinstance(one.statement, Permit) else PERMIT_FOLLOW_UP
    target = signature_name(path, person)
    envelope = signed_text(one.text, kind.name, path, home, enrolled, now, pin)
    write_atomic(target, envelope, replace=Replace.YES)
    return target


def ground_of(believed: Believed, now: datetime) -> Ground:
    """What signatures of permits and follow-ups are judged on, by themselves."""
    trust = believed.trust
    return ground_for(believed, judgement(now, None, trust.issued, trust.expires, None), Purpose.INSTALL)


def reason_beside(path: str, permit: Permit) -> str | None:
    """The reason that lies beside a permit, None where there is none or it is another text."""
    lies = path + REASON_SUFFIX
    if not os.path.isfile(lies):
        return None
    data = read_file(lies, MAX_REASON * 4 + 200)
    if Digest.of(data, permit.reason.algorithm) != permit.reason:
        return None
    return data.partition(b"\n")[2].decode("utf-8", "replace").strip()


def _permit(
    path: str, verdict: Verdict, against: tuple[Finding, ...], believed: Believed, wish: Wish, salted: bytes
) -> Permit:
    name, artifact = os.path.basename(os.path.abspath(path)), verdict.artifact
    never = next((one for one in against if excuse_for(one, verdict) not in wish.kind.excuses), None)
    if never is not None or artifact is None:
        said = never.sentence if never is not None else "nothing could be read"
        step = never.next_step if never is not None else "Name the file or folder."
        raise PermitRefused(path, f"no permit of the kind {wish.kind} helps: {said}", step)
    found = {excuse for one in against if (excuse := excuse_for(one, verdict)) is not None}
    if verdict.outcome is Outcome.TRUSTED and not wish.excuses:
        raise PermitRefused(
            path, "nothing stands against it here, so it needs no permit", "Say what the device refuses, with --excuse."
        )
    return Permit(
        algorithm=artifact.algorithm,
        kind=wish.kind,
        trust=believed.trust.id,
        device=wish.device,
        product=verdict.claims.product or "",
        excuses=tuple(sorted(found | {*wish.excuses})),
        begins=wish.begins,
        until=wish.begins + wish.lasts,
        persons=tuple(sorted({*wish.persons})),
        nonce=secrets.token_hex(NONCE_DIGITS // 2),
        reason=Digest.of(salted),
        artifacts=(FileEntry(os.fsencode(f"{name}.manifest" if os.path.isdir(path) else name), artifact.value),),
    )


def _salted(reason: str) -> bytes:
    text = reason.strip()
    if not 0 < len(text) <= MAX_REASON:
        raise PermitRefused(
            "--reason", f"it is empty or longer than {MAX_REASON} characters", "Say in plain words why."
        )
    return f"salt {secrets.token_hex(_SALT_BYTES)}\n{text}\n".encode()
