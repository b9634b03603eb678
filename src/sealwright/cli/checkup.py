"""The checks of `doctor`: each looks at one thing of this machine or of a signing home and says what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version

from cryptography import x509

from sealwright import __version__
from sealwright.cli.render import moment
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import SealwrightError
from sealwright.keys.pkcs11 import MODULES, TokenSeen, list_tokens
from sealwright.signing.home import JOURNAL, REGISTER, TIMESTAMPS, TRUST, EnrolledKey, Home, KeyPurpose, open_home
from sealwright.signing.issued import Inventory, Issued, read_register
from sealwright.signing.standing import another_serves

SOON = timedelta(days=60)
MAY_WAIT = timedelta(days=1)
# each with the extra that brings it, where it can be missing
_LIBRARIES = (
    ("cryptography", ""),
    ("pyOpenSSL", ""),
    ("python-pkcs11", ""),
    ("tpm2-pytss", "tpm"),
    ("lxml", "xml"),
    ("httpx", "service"),
    ("boto3", "kms"),
)
_PROGRAMS = (
    ("openssl", "checks our signatures independently", "apt install openssl"),
    ("sha256sum", "checks our manifests independently", "apt install coreutils"),
    ("softhsm2-util", "makes software tokens for trying", "apt install softhsm2"),
    ("pkcs11-tool", "shows what is in a token", "apt install opensc"),
    ("swtpm", "a software TPM for trying", "apt install swtpm"),
    ("tpm2_getcap", "shows what a TPM can do", "apt install tpm2-tools"),
)
_PIN_FLAGS = {
    "USER_PIN_COUNT_LOW": "a wrong PIN was tried",
    "USER_PIN_FINAL_TRY": "one PIN try is left",
    "USER_PIN_LOCKED": "its PIN is locked",
}
_TPMS = ("/dev/tpmrm0", "/dev/tpm0")


class Standing(StrEnum):
    """OK; MISSING: not here, and only needed for some things; WRONG: has to be fixed."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`. fix: what to do, "" where there is nothing to do."""

    name: str
    standing: Standing
    found: str
    fix: str = ""


def machine_checks(now: datetime, modules: Sequence[str]) -> Iterator[Check]:
    """Python, libraries, programs, clock, TPM, PKCS#11 modules and their tokens."""
    yield Check("sealwright", Standing.OK, f"{__version__}, Python {sys.version.split()[0]}")
    for name, extra in _LIBRARIES:
        yield _library(name, extra)
    yield _openssl_of_cryptography()
    for name, use, install in _PROGRAMS:
        found = shutil.which(name)
        yield Check(name, Standing.OK, found) if found else Check(name, Standing.MISSING, f"not found; {use}", install)
    yield _clock(now)
    yield _tpm()
    yield from _tokens(modules)


def home_checks(folder: str, now: datetime) -> Iterator[Check]:
    """The home's keys and certificates, its trust file, its journal."""
    try:
        home = open_home(folder)
    except SealwrightError as cause:
        yield Check(f"home {folder}", Standing.WRONG, cause.what, cause.next_step)
        return
    grade = "development keys: good for trying, not for a plant" if home.development else "keys in tokens"
    yield Check(f"home {folder}", Standing.OK, f"{home.title}, {len(home.keys)} keys, {grade}")
    yield from _locked(home)
    inventory, register = _register(home, now)
    for key in home.keys:
        yield _key(home, key, now, inventory)
    yield _trust(home, now)
    yield _journal("journal", home.path(JOURNAL))
    if os.path.isdir(home.path(TIMESTAMPS)):
        yield _journal("journal of timestamps", home.path(TIMESTAMPS))
    yield register
    yield _pending(home, now)


def _locked(home: Home) -> Iterator[Check]:
    """Whether it was restored: locked still, or with a gap that a loss record names."""
    from sealwright.log.journal import refuse_locked
    from sealwright.signing.restore import losses_of

    try:
        refuse_locked(home.folder)
        gaps = list(losses_of(home))
    except SealwrightError as cause:
        yield Check("restored", Standing.WRONG, cause.what, cause.next_step)
        return
    for number, time, entries in gaps:
        found = f"{time[:10]}: what was signed after entry {entries:,} of the journal before is not known"
        yield Check(f"loss record {number}", Standing.MISSING, found, "Answer for what turns up, or revoke the keys.")


def _library(name: str, extra: str) -> Check:
    try:
        return Check(name, Standing.OK, version(name))
    except PackageNotFoundError:
        standing = Standing.MISSING if extra else Standing.WRONG
        package = f"sealwright[{extra}]" if extra else "sealwright"
        return Check(name, standing, "not installed", f"pip install '{package}'")


def _openssl_of_cryptography() -> Check:
    from cryptography.hazmat.backends.openssl import backend

    return Check("OpenSSL of cryptography", Standing.OK, backend.openssl_version_text())


def _clock(now: datetime) -> Check:
    installed = os.stat(__file__).st_mtime
    if now.timestamp() < installed - 86400:
        return Check(
            "clock", Standing.WRONG, f"{moment(now)}, before this program was installed", "Set the clock and its zone."
        )
    return Check("clock", Standing.OK, moment(now))


def _tpm() -> Check:
    for path in _TPMS:
        if not os.path.exists(path):
            continue
        if os.access(path, os.R_OK | os.W_OK):
            return Check("TPM", Standing.OK, path)
        return Check("TPM", Standing.MISSING, f"{path} is there, but not for you", "Add yourself to the group tss.")
    return Check("TPM", Standing.MISSING, "this machine shows none", "Only needed for keys in a TPM.")


def _key(home: Home, key: EnrolledKey, now: datetime, inventory: Inventory) -> Check:
    """The certificate's standing and end, and for a key in a file its mode."""
    name = f"key {key.name}"
    certificate = x509.load_der_x509_certificate(key.certificate)
    end = certificate.not_valid_after_utc
    kind = f"{key.purpose}, {key.algorithm.name}, {key.provenance}, certificate until {end:%Y-%m-%d}"
    issued = [one for one in inventory.issued.values() if one.serial == certificate.serial_number]
    for ended in (one.end for one in issued if one.end is not None):
        found = f"{kind}: revoked on {ended.at:%Y-%m-%d} ({ended.reason.value}), signs nothing"
        if another_serves(home, key, inventory):
            return Check(name, Standing.OK, found)
        step = f"No other key does this: sealwright key enrol FORMAT --home {home.folder} --name NAME"
        return Check(name, Standing.WRONG, found, step)
    if key.signs_until is not None:
        return Check(name, Standing.OK, f"{kind}, replaced: signs until {key.signs_until:%Y-%m-%d}")
    if any(one.signs_until is not None or inventory.successors(one) for one in issued):
        found = f"{kind}: the register has its successor, home.toml has not"
        return Check(
            name, Standing.WRONG, found, "A `cert rekey` or `renew` was broken off: give the same command again."
        )
    if end < now:
        return Check(name, Standing.WRONG, f"{kind}: it has ended", _renewal(home, key, issued))
    scheme, _, path = home.uri(key).partition(":")
    if scheme == "file" and not os.path.exists(path):
        return Check(name, Standing.WRONG, f"{path} is missing", "Restore it, or enrol another key.")
    if scheme == "file" and os.name == "posix" and os.stat(path).st_mode & 0o077:
        return Check(name, Standing.WRONG, f"others can read {path}", f"chmod 600 {path}")
    if end < now + SOON:
        return Check(
            name, Standing.OK, kind, f"Its certificate ends within {SOON.days} days. {_renewal(home, key, issued)}"
        )
    return Check(name, Standing.OK, kind)


def _renewal(home: Home, key: EnrolledKey, issued: Sequence[Issued]) -> str:
    if key.purpose in (KeyPurpose.TRUST, KeyPurpose.RECOVERY):
        return "It only carries the key: the trust file says how long that counts."
    if issued:
        return f"sealwright cert renew {key.name} --home {home.folder}"
    return "Have a new certificate issued and import it."


def _register(home: Home, now: datetime) -> tuple[Inventory, Check]:
    """Whether the register is whole, and every revocation on a list that has not ended."""
    from sealwright.log.journal import read_journal

    try:
        inventory = read_register(home.path(REGISTER))
    except SealwrightError as cause:
        return Inventory(), Check("register", Standing.WRONG, f"{cause.subject}: {cause.what}", cause.next_step)
    names = {key_digest(key.public_key): key.name for key in home.keys if key.purpose is KeyPurpose.CERTIFICATES}
    found = f"{len(inventory.issued):,} certificates"
    if inventory.unfinished:
        found += f", {len(inventory.unfinished):,} begun and not given out (`sealwright cert list` names them)"
    try:
        for _ in read_journal(home.path(REGISTER)):
            pass
    except SealwrightError:
        step = "A crash left half a line, of which nobody was told; the next `cert` or `ca` command sets it aside."
        return inventory, Check("register", Standing.MISSING, f"{found}; its last line is torn", step)
    for issuer, name in names.items():
        step = f"sealwright ca crl --home {home.folder} --authority {name}"
        listed = inventory.lists.get(issuer)
        ends = [one.end.at for one in inventory.of_issuer(issuer) if one.end is not None]
        if ends and (listed is None or listed.at < max(ends)):
            return inventory, Check(
                "register", Standing.WRONG, f"{found}; {name} has revoked since its last list", step
            )
        if listed is not None and listed.next_update < now:
            ended = f"{found}; the list of {name} ended on {listed.next_update:%Y-%m-%d}"
            return inventory, Check("register", Standing.WRONG, ended, step)
    return inventory, Check("register", Standing.OK, f"{found}, every revocation is on a list")


def _trust(home: Home, now: datetime) -> Check:
    from sealwright.trust.belief import load_trust

    path = home.path(TRUST)
    try:
        believed = load_trust(path)
    except SealwrightError as cause:
        return Check("trust file", Standing.WRONG, cause.what, cause.next_step)
    trust = believed.trust
    found = f"version {trust.version}, ends {trust.expires:%Y-%m-%d}, believed because {believed.reason}"
    if trust.expires < now:
        return Check("trust file", Standing.WRONG, f"{found}: it has ended", "Have its officers make a new version.")
    return Check("trust file", Standing.OK, found)


def _journal(name: str, folder: str) -> Check:
    """Whether every line is whole and chained, and which signatures were begun and not finished."""
    from sealwright.log.journal import read_history, unfinished

    try:
        count = sum(1 for _ in read_history(folder))
        pending = len(unfinished(folder))
    except SealwrightError as cause:
        return Check(name, Standing.WRONG, f"{cause.subject}: {cause.what}", cause.next_step)
    if pending:
        return Check(
            name,
            Standing.MISSING,
            f"{count:,} entries, {pending} signatures begun and not finished",
            "Unless a `sign` or `serve` is at work now, a crash left them and nothing of them was handed out: sign again what is missing.",
        )
    return Check(name, Standing.OK, f"{count:,} entries, every signature begun was finished")


def _pending(home: Home, now: datetime) -> Check:
    """Signatures that wait for their timestamps, and how long there is left for them."""
    from sealwright.signing.pending import overdue, read_pending

    name, step = "pending timestamps", f"sealwright stamp --home {home.folder} --all"
    try:
        waiting = list(read_pending(home.folder))
    except SealwrightError as cause:
        return Check(name, Standing.WRONG, f"{cause.subject}: {cause.what}", cause.next_step)
    if not waiting:
        return Check(name, Standing.OK, "none")
    days = (waiting[0].end - now).days
    found = f"{len(waiting):,} signatures without a proved date, {days} days left for {waiting[0].target}"
    late = any(overdue(one, now, MAY_WAIT) for one in waiting)
    return Check(name, Standing.WRONG if late else Standing.MISSING, found, step)


def _tokens(modules: Sequence[str]) -> Iterator[Check]:
    found = [path for path in (*modules, *MODULES) if os.path.exists(path)]
    for path in modules:
        if not os.path.exists(path):
            yield Check(f"PKCS#11 module {path}", Standing.WRONG, "there is no such file", "Check --module.")
    if not found:
        yield Check("PKCS#11", Standing.MISSING, "no module found", "Install the module of your token.")
    for path in dict.fromkeys(map(os.path.realpath, found)):
        try:
            tokens = list_tokens(path)
        except SealwrightError as cause:
            yield Check(f"PKCS#11 module {path}", Standing.MISSING, cause.what, cause.next_step)
            continue
        used = [token for token in tokens if "TOKEN_INITIALIZED" in token.flags]
        names = "; ".join(" ".join((f"{token.label} (serial {token.serial})", *_pin_trouble(token))) for token in used)
        yield Check(f"PKCS#11 module {path}", Standing.OK, names or "answers, holds no token")


def _pin_trouble(token: TokenSeen) -> list[str]:
    """What a token's own flags say of its PIN, in words."""
    return [f"- {words}" for flag, words in _PIN_FLAGS.items() if flag in token.flags]
