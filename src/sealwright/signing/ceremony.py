"""A key ceremony (issue 5): keys, certificates and first revocation lists of a new home, made step by step before its officers.

Before anything is made: enough officers of the plan attend, each by a signature of this plan and nonce of today; the nonce was used
by no run (`ceremonybook.py`); a device key has its second copy, or the plan says why one is enough. Each step is announced, agreed to,
done, and told with the digests of what it made. Everything issued goes through the register, which the ceremony opens and closes: it
names the plan, the nonce and the digest of the transcript. At the end every path and list is checked as verifiers would.

The home is built beside its place and renamed, with the transcript in HOME/ceremony: it is there whole or not at all. Keys that
were made in a token remain there; the error that ends a ceremony early names them, and so does the next run after a power cut.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime

from sealwright import __version__
from sealwright.artifact.folders import refuse_occupied
from sealwright.artifact.names import display
from sealwright.errors import CeremonyRefused, JournalError, OutputRefused, SealwrightError
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import list_token_keys
from sealwright.keys.uri import Pkcs11Uri, parse_pkcs11
from sealwright.pki.authority import is_development
from sealwright.signing.attendance import Present, attended, check_nonce, read_attendance
from sealwright.signing.authority import check_crossed
from sealwright.signing.ceremonybook import BROKEN, DONE, Book, Building, building_of, open_book
from sealwright.signing.ceremonycopies import check_copies
from sealwright.signing.ceremonyhost import Host, this_host
from sealwright.signing.ceremonyplan import CROSS, DEVICE, LISTS, Plan
from sealwright.signing.ceremonysteps import (
    AGAIN,
    KEY_NAMES,
    Session,
    Work,
    check_made,
    first_lists,
    keep,
    make,
    record_of,
    vouch,
)
from sealwright.signing.home import CEREMONY, REGISTER, Home, open_home
from sealwright.signing.issued import Ceremony
from sealwright.signing.register import Register
from sealwright.signing.transcript import FIRST_LINE as TRANSCRIPT_LINE
from sealwright.signing.transcript import Transcript


def run_ceremony(plan: Plan, folder: str, session: Session) -> tuple[Home, Transcript]:
    """Do what a plan says, into a new or empty folder. CeremonyRefused where somebody or something is missing or refuses a step,
    UsageError for a folder with something in it, and whatever keys and authorities raise."""
    refuse_occupied(folder)
    nonce, now = check_nonce(session.nonce), session.now
    files = read_attendance(session.attendance)
    present = attended(plan, nonce, files, now)
    above = os.path.dirname(os.path.abspath(folder))
    if os.path.isdir(above) and not os.access(above, os.W_OK):
        raise OutputRefused(folder, "this user may not write there", "Name another folder; the nonce is still good.")
    with open_book(plan) as book:
        book.check(nonce, now)
        for left in book.sweep(now, above):
            session.leaves(left)
        check_copies(plan, session.second_copy, session.pin)
        _check_others(plan, now)
        _check_token(plan, session.pin, book)
        host = this_host()
        if not session.opening(plan, present, host):
            raise CeremonyRefused(plan.path, "it was stopped before the first step", "Nothing was made.")
        if not session.agrees(1, plan.steps[0]):
            raise CeremonyRefused(plan.path, f"it was stopped before step 1 ({plan.steps[0]})", "Nothing was made.")
        work = Work(plan, session, building_of(folder), os.path.abspath(folder))
        try:
            os.makedirs(above, exist_ok=True)
            book.start(nonce, work.folder, now)
            with closing(Building.make(work.folder, nonce, now)) as building:
                work.building = building
                transcript = _work_through(work, present, host, files)
                building.finish(work.final)
        except OSError as cause:
            if work.finished:
                what = f"it is there, and whether it is after a power cut is not known ({cause.strerror})"
                raise OutputRefused(
                    folder, what, "Copy it to another disk, then sign and check its transcript."
                ) from cause
            step = f"Check the folder above it.{work.remains} {AGAIN}"
            raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", step) from cause
        except SealwrightError as cause:
            cause.next_step += work.remains
            raise
        except KeyboardInterrupt as cause:
            if not work.finished:
                raise CeremonyRefused(plan.path, "it was interrupted", AGAIN + work.remains) from cause
        finally:
            # what `start` wrote has used the nonce up already; on a full disk the reason to tell is the first one
            with suppress(JournalError):
                book.end(nonce, DONE if work.finished else BROKEN, tuple(work.in_token), now)
    return replace(open_home(work.final), folder=folder), transcript


def _check_others(plan: Plan, now: datetime) -> None:
    """The roots to vouch for can be vouched for, before anything is made and the nonce is used up."""
    for other in plan.others:
        if is_development(check_crossed(other.certificate, now, other.name)) and plan.token:
            raise CeremonyRefused(
                plan.path,
                f"{other.name} is a development root, and the new one is none",
                "Have it taken out of the plan.",
            )


def _check_token(plan: Plan, pin: Pin | None, book: Book) -> None:
    """The names of the new keys are free in the token, before anything is made and the nonce is used up."""
    if not plan.token.startswith("pkcs11:"):
        return
    names = {KEY_NAMES.get(step, step) for _, step in plan.making if step != DEVICE or not plan.device_key}
    there = [seen for seen in list_token_keys(plan.token, pin) if seen.label in names]
    if not there:
        return
    told, tool = [], ""
    for seen in there:
        uri = parse_pkcs11(seen.uri)
        at = next((at for one, at in _parsed(book.leftovers()) if _is_left(one, uri)), None)
        told.append(
            seen.uri + (f" (left by the ceremony that was broken off before {at:%Y-%m-%d %H:%M} UTC)" if at else "")
        )
        tool = f"pkcs11-tool --token-label {shlex.quote(uri.token)} --login --delete-object --type privkey --label {uri.label}"
    raise CeremonyRefused(
        plan.token,
        display(f"already in the token: {', '.join(told)}"),
        "A ceremony wants a token without keys of these names. What an earlier one left, and no home uses, is deleted by the "
        f"token's own tool, such as `{tool}` and the same with --type pubkey; or use another token.",
    )


def _parsed(keys: Mapping[str, datetime]) -> Iterator[tuple[Pkcs11Uri, datetime]]:
    for key, at in keys.items():
        yield parse_pkcs11(key), at


def _is_left(left: Pkcs11Uri, seen: Pkcs11Uri) -> bool:
    """A key of the same name that has another id was made since, and may be the root of a plant."""
    there = left.serial == seen.serial if left.serial else left.token == seen.token
    return there and left.label == seen.label and left.id in (None, seen.id)


def _work_through(
    work: Work, present: tuple[Present, ...], host: Host, files: Sequence[tuple[str, bytes]]
) -> Transcript:
    """Every step, the check of all that was made, and the record."""
    plan, session = work.plan, work.session
    os.makedirs(os.path.join(work.folder, "certificates"))
    os.makedirs(os.path.join(work.folder, CEREMONY))
    os.makedirs(os.path.join(work.folder, "keys"), mode=0o700)
    with Register.open(os.path.join(work.folder, REGISTER)) as register:
        register.open_ceremony(
            Ceremony(plan.digest, check_nonce(session.nonce), __version__, TRANSCRIPT_LINE, session.now)
        )
    for number, step in enumerate(plan.steps, 1):
        if number > 1 and not session.agrees(number, step):
            raise CeremonyRefused(plan.path, f"it was stopped before step {number} ({step})", AGAIN)
        if step == LISTS:
            first_lists(work)
        elif step == CROSS:
            vouch(work)
        else:
            make(work, number, step)
    check_made(work)
    transcript = record_of(work, present, host)
    keep(work, files, transcript)
    return transcript
