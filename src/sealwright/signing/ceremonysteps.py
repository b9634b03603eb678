"""The steps of a key ceremony: what each makes, the check of all of it as verifiers would, and the record (`ceremony.py` runs them)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509

from sealwright import __version__
from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.output import Output, write_batch
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import CeremonyRefused
from sealwright.keys.backends import create_key, open_key
from sealwright.keys.key import KeyInfo
from sealwright.keys.pin import Pin
from sealwright.log.journal import Journal
from sealwright.pki.authority import Issuer, Subject
from sealwright.signing.attendance import Present, check_nonce
from sealwright.signing.authority import LIST_VALID, cross_sign, make_list, pem
from sealwright.signing.ceremonybook import Building, Leftover
from sealwright.signing.ceremonycopies import device_key, prove_copy
from sealwright.signing.ceremonyhost import Host
from sealwright.signing.ceremonyplan import (
    CROSS,
    DEVICE,
    MAX_BYTES,
    OCSP_STEP,
    ROOT_STEP,
    TIMESTAMP_STEP,
    Plan,
    profile_of,
)
from sealwright.signing.enrol import record, relative_uri
from sealwright.signing.home import (
    ANCHORS,
    CEREMONY,
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
from sealwright.signing.transcript import (
    PLAN_FILE,
    Crossed,
    FirstList,
    Made,
    Told,
    Transcript,
    register_id,
    transcript_text,
)
from sealwright.trust.certificate import load_certificate
from sealwright.trust.path import NoPath, Strictness, find_path

ROOT_LIST_VALID = timedelta(days=180)  # the root is offline until then
KEY_NAMES = {DEVICE: "device"}
_PURPOSES = {
    TIMESTAMP_STEP: KeyPurpose.TIMESTAMP,
    OCSP_STEP: KeyPurpose.OCSP,
    DEVICE: KeyPurpose.ARTIFACT,
}
# what is found of every authority that is judged in a signer's place
_OF_AUTHORITIES = ("SW-CERT-IS-CA", "SW-CERT-KEY-USAGE")
AGAIN = "Begin again with a new nonce, and an empty token."


@dataclass(frozen=True, slots=True)
class Session:
    """One run. attendance: files; second_copy: key string of the device key's other copy, "" for none.

    agrees: asked before each step with its number and name, False ends the ceremony; tells: of everything that was made.
    copying: asked when the device key was made here, with its location, that it be copied to `second_copy` now.
    opening: asked before the first step, with who attends and on which machine; leaves: told of what runs that were killed left.
    """

    now: datetime
    nonce: str
    attendance: Sequence[str]
    agrees: Callable[[int, str], bool]
    tells: Callable[[Told], None]
    copying: Callable[[str], bool]
    opening: Callable[[Plan, Sequence[Present], Host], bool]
    leaves: Callable[[Leftover], None]
    second_copy: str = ""
    pin: Pin | None = None


@dataclass(slots=True)
class Work:
    """What a run has made so far."""

    plan: Plan
    session: Session
    folder: str
    final: str
    keys: dict[str, EnrolledKey] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)
    lists: list[FirstList] = field(default_factory=list)
    crossed: list[Crossed] = field(default_factory=list)
    building: Building | None = None
    in_token: list[str] = field(default_factory=list)

    @property
    def home(self) -> Home:
        """The home as it is until now."""
        return open_home(self.folder)

    @property
    def finished(self) -> bool:
        """Whether the home is in its place."""
        return self.building is not None and self.building.finished

    @property
    def remains(self) -> str:
        """What a ceremony that ends early leaves in the token, for its error."""
        return f" In the token remain: {', '.join(self.in_token)}." if self.in_token else ""

    @property
    def pin(self) -> Pin | None:
        """Of the token, for keys that are in one."""
        return self.session.pin if self.plan.token else None


def make(work: Work, number: int, step: str) -> None:
    """One key, its certificate, and its place in the home."""
    plan, name = work.plan, KEY_NAMES.get(step, step)
    if step == DEVICE and plan.device_key:
        with closing(device_key(plan, work.session.pin)) as key:
            info = key.info
    else:
        uri = _uri(work, name)
        if work.building is not None:
            work.building.making(uri)
        info = create_key(uri, plan.kind_of(step), work.pin)
        if work.building is not None:
            work.building.made(info.uri)
        if plan.token.startswith("pkcs11:"):
            work.in_token.append(info.uri)
    copy = ""
    if step == DEVICE and work.session.second_copy:
        if not plan.device_key and not work.session.copying(display(info.location)):
            raise CeremonyRefused(info.uri, "no second copy of it was made", AGAIN)
        copy = prove_copy(plan, work.session.second_copy, work.session.pin, info)
    issued = _certified(work, step, info)
    enrolled = EnrolledKey(
        name=name,
        uri=relative_uri(Home(work.folder, plan.title, ("none",), ()), info.uri),
        purpose=_purpose(step),
        construction=plan.construction_of(step),
        algorithm=info.algorithm,
        provenance=info.provenance,
        certificate=issued.certificate,
        chain=chain_below(work.keys[plan.authorities[-1]]) if step not in plan.authorities else (),
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


def _purpose(step: str) -> KeyPurpose:
    return _PURPOSES.get(step, KeyPurpose.CERTIFICATES)


def _uri(work: Work, name: str) -> str:
    token = work.plan.token
    if not token:
        return f"file:{os.path.join(work.folder, 'keys', name + '.pem')}"
    if token.startswith("tpm:"):
        return f"tpm:{os.path.join(work.folder, 'keys', name + '.tss')}"
    body, question, query = token.partition("?")
    return f"{body};object={name}{question}{query}"


def _certified(work: Work, step: str, info: KeyInfo) -> Issued:
    plan = work.plan
    order = Order(
        profile_of(step),
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
    above = work.keys[ROOT_STEP if step in plan.authorities else plan.authorities[-1]]
    with opened(work.home, above, work.pin) as (register, issuer):
        return register.issue(order, issuer, work.session.now)


def _begin(work: Work, root: EnrolledKey) -> None:
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


def first_lists(work: Work) -> None:
    """The first revocation list of each authority."""
    home = work.home
    for step in work.plan.authorities:
        valid = ROOT_LIST_VALID if step == ROOT_STEP else LIST_VALID
        make_list(home, work.keys[step], work.session.now, work.pin, valid)
        by = key_digest(work.keys[step].public_key)
        listed = read_register(home.path(REGISTER)).lists[by]
        first = FirstList(work.keys[step].name, listed.number, listed.crl, listed.next_update)
        work.lists.append(first)
        work.session.tells(first)


def vouch(work: Work) -> None:
    """The new root certifies other roots; their certificates lie in HOME/ceremony."""
    for other in work.plan.others:
        issued = cross_sign(work.home, other.certificate, ROOT_STEP, work.session.now, work.pin, other.name)
        write_batch([Output(os.path.join(work.folder, CEREMONY, f"{CROSS}.{other.name}.pem"), pem(issued).encode())])
        digest, until = Digest.of(issued.certificate), issued.x509.not_valid_after_utc
        crossed = Crossed(other.name, display(issued.name), issued.key, digest, issued.serial, until)
        work.crossed.append(crossed)
        work.session.tells(crossed)


def check_made(work: Work) -> None:
    """What was made is judged as verifiers will judge it, read again from where it was written."""
    home, now = work.home, work.session.now
    loaded = {key.name: load_certificate(key.certificate, key.name) for key in home.keys}
    authorities = [loaded[step] for step in work.plan.authorities]
    root, *between = authorities
    for made, (name, certificate) in zip(work.made, loaded.items(), strict=True):
        path = find_path(certificate, between, [root], now, Strictness.OURS)
        allowed = _OF_AUTHORITIES if profile_of(made.step).is_authority else ()
        why = (
            path.reason
            if isinstance(path, NoPath)
            else ", ".join(one.code for one in path.findings if one.code not in allowed)
        )
        if why or Digest.of(home.key(name, _purpose(made.step)).certificate) != made.certificate:
            raise CeremonyRefused(name, f"its certificate does not verify ({why or 'another one was written'})", AGAIN)
    for first, issuer in zip(work.lists, authorities, strict=True):
        der = read_file(home.path("trust.d", f"{first.authority}.crl"), MAX_BYTES)
        crl = x509.load_der_x509_crl(der)
        if Digest.of(der) != first.crl or not crl.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]
            raise CeremonyRefused(first.authority, "its revocation list does not verify", AGAIN)


def record_of(work: Work, present: tuple[Present, ...], host: Host) -> Transcript:
    """The record of all that was made."""
    plan = work.plan
    return Transcript(
        version=__version__,
        time=work.session.now.astimezone(UTC).replace(microsecond=0),
        title=plan.title,
        plan=plan.digest,
        nonce=check_nonce(work.session.nonce),
        register=register_id(work.folder),
        threshold=plan.officers.threshold,
        steps=plan.steps,
        host=host,
        present=present,
        made=tuple(work.made),
        lists=tuple(work.lists),
        crossed=tuple(work.crossed),
        accept_single_copy=plan.accept_single_copy,
    )


def keep(work: Work, files: Sequence[tuple[str, bytes]], transcript: Transcript) -> None:
    """Plan, attendance and transcript, in the home; the transcript's digest in the register, which is of no other one then."""
    folder, text = os.path.join(work.folder, CEREMONY), transcript_text(transcript).encode()
    kept = {PLAN_FILE: work.plan.text}
    kept |= {f"attendance.{number}.p7s": data for number, (_, data) in enumerate(files, 1)}
    kept[TRANSCRIPT_FILE] = text
    write_batch([Output(os.path.join(folder, name), data) for name, data in kept.items()])
    with Register.open(os.path.join(work.folder, REGISTER)) as register:
        register.close_ceremony(Digest.of(text))
