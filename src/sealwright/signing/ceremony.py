"""A key ceremony (issue 5): keys, certificates and first revocation lists of a new home, made step by step before its officers.

Before anything is made: enough officers of the plan attend, each by a signature of this plan and nonce of today, and no run has used
that nonce before (`ceremonyruns.py`); a device key has its second copy, or the plan says why one is enough. Each step is announced, agreed to, done, and told with the digests of what it
made. Everything issued goes through the register. At the end every path and list is checked as verifiers would.

The home is built beside its place and renamed, with the transcript in HOME/ceremony: it is there whole or not at all. Keys that
were made in a token remain there; the error that ends a ceremony early names them, and after a crash the next ceremony does.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509

from sealwright import __version__
from sealwright.artifact.digest import Digest
from sealwright.artifact.folders import refuse_occupied, sync_folder
from sealwright.artifact.names import display
from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import check_signature, key_digest
from sealwright.envelope.tobesigned import Kind, ToBeSigned
from sealwright.errors import CeremonyRefused, KeyRefused, OutputRefused, SealwrightError, UsageError
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyInfo, OpenKey
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_pkcs11, path_of
from sealwright.log.journal import Journal
from sealwright.pki.authority import Issuer, Subject
from sealwright.signing.authority import LIST_VALID, make_list
from sealwright.signing.ceremonyplan import (
    DEVICE,
    INTERMEDIATE_STEP,
    LISTS,
    MAX_BYTES,
    OCSP_STEP,
    PROFILE_OF,
    ROOT_STEP,
    STEPS,
    TIMESTAMP_STEP,
    Plan,
    Present,
    attended,
    check_nonce,
    parse_plan,
    read_attendance,
)
from sealwright.signing.ceremonyruns import BUILDING, Left, Runs, runs_beside
from sealwright.signing.enrol import record, relative_uri
from sealwright.signing.home import (
    ANCHORS,
    FILE,
    JOURNAL,
    REGISTER,
    EnrolledKey,
    Home,
    KeyPurpose,
    certificates_text,
    home_text,
    open_home,
)
from sealwright.signing.init import enrolments
from sealwright.signing.issued import Issued, read_register
from sealwright.signing.issuing import chain_below, opened
from sealwright.signing.register import Order, Register
from sealwright.signing.transcript import FILE as TRANSCRIPT_FILE
from sealwright.signing.transcript import FOLDER, PLAN_FILE, FirstList, Made, Transcript, transcript_text
from sealwright.trust.certificate import load_certificate
from sealwright.trust.path import NoPath, Strictness, find_path

ROOT_LIST_VALID = timedelta(days=180)  # the root is offline until then
_KEY_NAMES = {DEVICE: "device"}
_PURPOSES = {
    ROOT_STEP: KeyPurpose.CERTIFICATES,
    INTERMEDIATE_STEP: KeyPurpose.CERTIFICATES,
    TIMESTAMP_STEP: KeyPurpose.TIMESTAMP,
    OCSP_STEP: KeyPurpose.OCSP,
    DEVICE: KeyPurpose.ARTIFACT,
}
# what is found of every authority that is judged in a signer's place
_OF_AUTHORITIES = ("SW-CERT-IS-CA", "SW-CERT-KEY-USAGE")
_CHALLENGE = b"sealwright second copy 1\n"
_NEXT = "Begin again with a new nonce, and an empty token."


@dataclass(frozen=True, slots=True)
class Session:
    """One run. attendance: files; second_copy: key string of the device key's other copy, "" for none.

    agrees: asked before each step with its number and name, False ends the ceremony; tells: of everything that was made.
    left: told of what a run before left that never came to its end.
    copying: asked when the device key was made here, with its location, that it be copied to `second_copy` now.
    """

    now: datetime
    nonce: str
    attendance: Sequence[str]
    agrees: Callable[[int, str], bool]
    tells: Callable[[Made | FirstList], None]
    copying: Callable[[str], bool]
    opening: Callable[[Plan, Sequence[Present]], bool]
    left: Callable[[Left], None]
    second_copy: str = ""
    pin: Pin | None = None


@dataclass(slots=True)
class _Work:
    """What a run has made so far."""

    plan: Plan
    session: Session
    folder: str
    final: str
    runs: Runs
    nonce: str
    keys: dict[str, EnrolledKey] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    lists: list[FirstList] = field(default_factory=list)
    in_token: list[str] = field(default_factory=list)

    @property
    def home(self) -> Home:
        """The home as it is until now."""
        return open_home(self.folder)

    @property
    def remains(self) -> str:
        """What a ceremony that ends early leaves in the token, for its error."""
        return f" In the token remain: {', '.join(self.in_token)}." if self.in_token else ""

    @property
    def pin(self) -> Pin | None:
        """Of the token, for keys that are in one."""
        return self.session.pin if self.plan.token else None


def run_ceremony(text: bytes, subject: str, folder: str, session: Session) -> tuple[Home, Transcript]:
    """Do what a plan says, into a new or empty folder. text: the plan's bytes; subject: its name for errors.

    CeremonyRefused where somebody or something is missing or refuses a step, UsageError for a folder with something in it, and
    whatever keys and authorities raise.
    """
    refuse_occupied(folder)
    plan, nonce = parse_plan(text, subject), check_nonce(session.nonce)
    files = read_attendance(session.attendance)
    with runs_beside(folder, session.left) as runs:
        runs.refuse_used(nonce)
        present = attended(plan, nonce, files, session.now)
        _check_copies(plan, session, subject)
        if not session.opening(plan, present):
            raise CeremonyRefused(subject, "it was stopped before the first step", "Nothing was made.")
        full = os.path.abspath(folder)
        building = os.path.join(os.path.dirname(full), f".{os.path.basename(full)}.{secrets.token_hex(4)}{BUILDING}")
        work = _Work(plan, session, building, full, runs, nonce)
        try:
            transcript = _do(work, subject, present)
            _keep(work, text, files, transcript)
            if os.path.isdir(full):
                os.rmdir(full)
            os.rename(building, full)
            sync_folder(os.path.dirname(full))
            runs.ended(nonce, "done")
        except OSError as cause:
            step = f"Check the folder above it.{work.remains}"
            raise OutputRefused(folder, f"it cannot be made ({cause.strerror})", step) from cause
        except SealwrightError as cause:
            cause.next_step += work.remains
            runs.ended(nonce, "ended")
            raise
        finally:
            if os.path.isdir(building):
                shutil.rmtree(building, ignore_errors=True)
    return replace(open_home(full), folder=folder), transcript


def _do(work: _Work, subject: str, present: tuple[Present, ...]) -> Transcript:
    """Every step, agreed to one by one. With the first the nonce is used up."""
    os.makedirs(os.path.join(work.folder, "certificates"))
    os.makedirs(os.path.join(work.folder, "keys"), mode=0o700)
    for number, step in enumerate(work.plan.steps, 1):
        if not work.session.agrees(number, step):
            raise CeremonyRefused(subject, f"it was stopped before step {number} ({step})", _NEXT)
        if number == 1:
            work.runs.begun(work.nonce, work.session.now)
        _first_lists(work) if step == LISTS else _make(work, number, step)
    _verify(work)
    return _transcript(work, present, work.nonce)


def _check_copies(plan: Plan, session: Session, subject: str) -> None:
    """Refused before anything is made (a key burnt into devices can be replaced by nobody)."""
    if DEVICE not in plan.steps:
        if session.second_copy:
            raise UsageError("--second-copy", f"no step of {subject} is {DEVICE}", "Leave it out.")
        return
    if not session.second_copy:
        if plan.accept_single_copy:
            return
        raise CeremonyRefused(
            subject,
            "devices will have its device key burnt in, and no second copy of the key is shown",
            'Name it with --second-copy KEY, or have a plan attended that says accept_single_copy = "reason".',
        )
    if plan.device_key:
        with closing(_device_key(plan, session.pin)) as key:
            _prove_copy(plan, session, key.info)


def _device_key(plan: Plan, pin: Pin | None) -> OpenKey:
    pin = pin if plan.device_key.startswith("pkcs11:") else None
    construction = plan.construction_of(DEVICE)
    return open_key(plan.device_key, pin, algorithm=plan.device_kind.algorithm, construction=construction)


def _prove_copy(plan: Plan, session: Session, first: KeyInfo) -> str:
    """Where the second copy lies, after it signed a fresh challenge that verifies with the first one's public key."""
    uri = session.second_copy
    algorithm = plan.device_kind.algorithm
    pin = session.pin if uri.startswith("pkcs11:") else None
    challenge = _CHALLENGE + secrets.token_bytes(32)
    try:
        with closing(open_key(uri, pin, algorithm=algorithm, construction=plan.construction_of(DEVICE))) as copy:
            if key_digest(copy.info.public_key) != key_digest(first.public_key):
                raise CeremonyRefused(uri, "it is another key than the device key", "Copy the device key there.")
            if _same_place(copy.info.uri, first.uri):
                raise CeremonyRefused(
                    uri,
                    "it lies where the first one lies, and is lost with it",
                    "Name the copy in another token or on another medium.",
                )
            asked = ToBeSigned(Kind.MESSAGE, challenge, algorithm)
            if not algorithm.signs_message:
                asked = ToBeSigned(Kind.DIGEST, Digest.of(challenge, algorithm.digest).value, algorithm)
            (value,) = copy.sign([asked])
            check_signature(first.public_key, algorithm, value, challenge, subject=uri)
            return display(copy.info.location)
    except KeyRefused as cause:
        raise CeremonyRefused(uri, cause.what, "Show the second copy of the device key itself.") from cause


def _same_place(one: str, other: str) -> bool:
    schemes = {uri.partition(":")[0] for uri in (one, other)}
    if schemes == {"pkcs11"}:
        return parse_pkcs11(one).serial == parse_pkcs11(other).serial
    if schemes == {"tpm"}:  # a blob is good in its own TPM alone
        return True
    return schemes == {"file"} and os.path.samefile(path_of(one), path_of(other))


def _make(work: _Work, number: int, step: str) -> None:
    plan, name = work.plan, _KEY_NAMES.get(step, step)
    if step == DEVICE and plan.device_key:
        with closing(_device_key(plan, work.session.pin)) as key:
            info = key.info
    else:
        info = create_key(_uri(work, name), plan.kind_of(step), work.pin)
        if plan.token:
            work.in_token.append(info.uri)
            work.runs.made(work.nonce, info.uri)
    copy = ""
    if step == DEVICE and work.session.second_copy:
        if not plan.device_key and not work.session.copying(display(info.location)):
            raise CeremonyRefused(info.uri, "no second copy of it was made", _NEXT)
        copy = _prove_copy(plan, work.session, info)
    issued = _certified(work, step, info)
    enrolled = EnrolledKey(
        name=name,
        uri=relative_uri(Home(work.folder, plan.title, ("none",), ()), info.uri),
        purpose=_PURPOSES[step],
        construction=plan.construction_of(step),
        algorithm=info.algorithm,
        provenance=info.provenance,
        certificate=issued.certificate,
        chain=chain_below(work.keys[INTERMEDIATE_STEP]) if step not in STEPS[:2] else (),
    )
    if step == ROOT_STEP:
        _begin(work, enrolled)
    else:
        record(work.home, enrolled)
    work.keys[step] = enrolled
    made = Made(
        number=number,
        step=step,
        subject=display(issued.name),
        key=issued.key,
        certificate=Digest.of(issued.certificate),
        serial=issued.serial,
        until=issued.x509.not_valid_after_utc,
        algorithm=info.algorithm.name,
        construction=enrolled.construction.value,
        provenance=info.provenance.value,
        location=display(info.location.replace(work.folder, work.final)),
        attributes=tuple(display(f"{attribute}: {value}") for attribute, value in info.attributes),
        second_copy=copy,
    )
    work.made.append(made)
    work.session.tells(made)


def _uri(work: _Work, name: str) -> str:
    token = work.plan.token
    if not token:
        return f"file:{os.path.join(work.folder, 'keys', name + '.pem')}"
    if token.startswith("tpm:"):
        return f"tpm:{os.path.join(work.folder, 'keys', name + '.tss')}"
    body, question, query = token.partition("?")
    return f"{body};object={name}{question}{query}"


def _certified(work: _Work, step: str, info: KeyInfo) -> Issued:
    plan = work.plan
    order = Order(
        PROFILE_OF[step],
        Subject(plan.name_of(step), plan.organisation),
        info.public_key,
        info.provenance,
        plan.construction_of(step),
    )
    if step == ROOT_STEP:
        algorithm = plan.kind.algorithm
        with (
            Register.open(os.path.join(work.folder, REGISTER)) as register,
            closing(open_key(info.uri, work.pin, algorithm=algorithm, expected=info.public_key)) as key,
        ):
            return register.issue(order, Issuer(key), work.session.now)
    above = work.keys[ROOT_STEP if step == INTERMEDIATE_STEP else INTERMEDIATE_STEP]
    with opened(work.home, above, work.pin) as (register, issuer):
        return register.issue(order, issuer, work.session.now)


def _begin(work: _Work, root: EnrolledKey) -> None:
    """The home with its root alone."""
    timestamp = "local" if TIMESTAMP_STEP in work.plan.steps else "none"
    home = Home(work.folder, work.plan.title, (timestamp,), (root,))
    pem = certificates_text(root).encode()
    write_batch(
        [
            Output(home.path("certificates", f"{root.name}.pem"), pem),
            Output(home.path(ANCHORS), pem),
            Output(home.path(FILE), home_text(home).encode()),
        ]
    )
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append(list(enrolments(home)))


def _first_lists(work: _Work) -> None:
    home = work.home
    for step, valid in ((ROOT_STEP, ROOT_LIST_VALID), (INTERMEDIATE_STEP, LIST_VALID)):
        make_list(home, work.keys[step], work.session.now, work.pin, valid)
        by = key_digest(work.keys[step].public_key)
        listed = read_register(home.path(REGISTER)).lists[by]
        first = FirstList(work.keys[step].name, listed.number, listed.crl, listed.next_update)
        work.lists.append(first)
        work.session.tells(first)


def _verify(work: _Work) -> None:
    """What was made is judged as verifiers will judge it, read again from where it was written."""
    home, now = work.home, work.session.now
    loaded = {key.name: load_certificate(key.certificate, key.name) for key in home.keys}
    root, intermediate = loaded[ROOT_STEP], loaded[INTERMEDIATE_STEP]
    for made, (name, certificate) in zip(work.made, loaded.items(), strict=True):
        path = find_path(certificate, [intermediate], [root], now, Strictness.OURS)
        allowed = _OF_AUTHORITIES if PROFILE_OF[made.step].is_authority else ()
        why = (
            path.reason
            if isinstance(path, NoPath)
            else ", ".join(one.code for one in path.findings if one.code not in allowed)
        )
        if why or Digest.of(home.key(name, _PURPOSES[made.step]).certificate) != made.certificate:
            raise CeremonyRefused(name, f"its certificate does not verify ({why or 'another one was written'})", _NEXT)
    for first, issuer in zip(work.lists, (root, intermediate), strict=True):
        der = read_file(home.path("trust.d", f"{first.authority}.crl"), MAX_BYTES)
        crl = x509.load_der_x509_crl(der)
        if Digest.of(der) != first.crl or not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            raise CeremonyRefused(first.authority, "its revocation list does not verify", _NEXT)


def _transcript(work: _Work, present: tuple[Present, ...], nonce: str) -> Transcript:
    plan = work.plan
    return Transcript(
        version=__version__,
        time=work.session.now.astimezone(UTC).replace(microsecond=0),
        title=plan.title,
        plan=plan.digest,
        nonce=nonce,
        threshold=plan.officers.threshold,
        steps=plan.steps,
        present=present,
        made=tuple(work.made),
        lists=tuple(work.lists),
        accept_single_copy=plan.accept_single_copy,
    )


def _keep(work: _Work, plan: bytes, files: Sequence[tuple[str, bytes]], transcript: Transcript) -> None:
    """Plan, attendance and transcript, in the home."""
    folder = os.path.join(work.folder, FOLDER)
    os.makedirs(folder)
    kept = {PLAN_FILE: plan} | {f"attendance.{number}.p7s": data for number, (_, data) in enumerate(files, 1)}
    kept[TRANSCRIPT_FILE] = transcript_text(transcript).encode()
    write_batch([Output(os.path.join(folder, name), data) for name, data in kept.items()])
