"""The sheet of every key that IEC 62443-4-1 SM-8 asks for: where it is, how it is protected, who may use it, what became of it.

Protection has two columns that are never mixed: *declared*, what home.toml said when the key was enrolled, and *checked*, what the
backend says now. Where the backend was not asked, or does not answer, the second column says so and nothing is guessed. A token's
word is a statement of its module; only a TPM's attestation proves (`key attest`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sealwright.envelope.algorithms import key_digest
from sealwright.errors import KeyUnavailable, SealwrightError
from sealwright.keys.backends import open_key
from sealwright.keys.key import Provenance
from sealwright.keys.pin import Pin
from sealwright.keys.uri import parse_pkcs11, path_of
from sealwright.signing.home import JOURNAL, REGISTER, TRUST, EnrolledKey, Home
from sealwright.signing.issued import Inventory, read_register
from sealwright.signing.keyuse import KeyUse, uses_of
from sealwright.signing.privatepart import told
from sealwright.signing.standing import another_serves
from sealwright.trust.certificate import display_name, load_certificate, spki_digest, tbs_digest

if TYPE_CHECKING:
    from sealwright.trust.model import TrustFile

NOT_CHECKED = "not checked"
ROTATION_LEAD = timedelta(days=60)
COLUMNS = ("name", "key", "location", "declared", "checked", "checked_how", "may_use", "purpose", "construction", "algorithm",
           "certificate", "valid_from", "valid_until", "last_use", "signatures", "rotation_due", "origin", "copies", "destroyed",
           "problems")  # fmt: skip
LABELS = dict(zip(COLUMNS, ("Name", "Key (SHA-256 of SPKI)", "Location", "Protection declared", "Protection checked now",
    "How it was checked", "Who may use it", "Purpose", "Construction", "Algorithm", "Certificate", "Valid from", "Valid until",
    "Last use", "Signatures", "Rotation due", "Origin", "Copies outstanding", "Copies destroyed", "To do"),
    strict=True))  # fmt: skip


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key; each field a text for people, `signatures` a number. "" says that nothing is recorded.

    attention: whether something is to be done now, beyond what is only told.
    """

    name: str
    key: str
    location: str
    declared: str
    checked: str
    checked_how: str
    may_use: str
    purpose: str
    construction: str
    algorithm: str
    certificate: str
    valid_from: str
    valid_until: str
    last_use: str
    signatures: int
    rotation_due: str
    origin: str
    copies: str
    destroyed: str
    problems: str
    attention: bool = False

    def fields(self) -> dict[str, object]:
        """By column, in order."""
        return {name: getattr(self, name) for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class Check:
    """How to look at keys now. pins: the PIN for a key string; pin_file: its path, "" where none; None in place of it: offline."""

    pins: Callable[[str], Pin | None]
    pin_file: str = ""


def report(home: Home, now: datetime, check: Check | None) -> list[KeyRow]:
    """One row a key, in the order of home.toml. check: None for not to look at any key (offline); now: aware."""
    uses = uses_of(home.path(JOURNAL))
    persons = _persons(home)
    asker, inventory = _Asker(check), read_register(home.path(REGISTER))
    return [
        _row(home, key, uses.get(str(key_digest(key.public_key)), KeyUse()), persons, asker, now, inventory)
        for key in home.keys
    ]


def _row(
    home: Home,
    key: EnrolledKey,
    use: KeyUse,
    persons: dict[str, str],
    asker: _Asker,
    now: datetime,
    inventory: Inventory,
) -> KeyRow:
    certificate = load_certificate(key.certificate, key.name)
    uri = home.uri(key)
    problems: list[str] = []
    checked, how = asker.checked(uri, key, problems)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    rotation = key.signs_until or max(start, end - ROTATION_LEAD)
    revoked = [one.end for one in inventory.issued.values() if one.serial == certificate.serial_number and one.end]
    gone = bool(revoked) or (key.signs_until is not None and key.signs_until <= now)
    if revoked:
        problems.append(f"its certificate was revoked on {revoked[0].at:%Y-%m-%d} ({revoked[0].reason.value})")
    elif end < now:
        problems.append(f"its certificate ended on {end:%Y-%m-%d}: rotate, or retire it")
    elif key.signs_until is not None and key.signs_until <= now:
        problems.append("it signs no more since its end-of-signing date: destroy it, and record that")
    elif rotation <= now:
        problems.append("rotation is due: have a new key certified, and plan the overlap")
    attention = bool(problems) and not (gone and another_serves(home, key, inventory))
    left = [told(home, copy) for copy in use.left]
    overdue = [copy for copy in left if _is_over(copy, now)]
    problems += [f"a copy is still outstanding: {copy}" for copy in overdue]
    if key.provenance is Provenance.DEVELOPMENT:
        problems.append("a development key: no production trust file accepts it")
    digest = str(spki_digest(certificate))
    return KeyRow(
        name=key.name,
        key=digest,
        location=uri,
        declared=key.provenance.value,
        checked=checked,
        checked_how=how,
        may_use=_may_use(uri, asker.check, persons.get(digest, "")),
        purpose=key.purpose.value,
        construction=key.construction.value,
        algorithm=key.algorithm.name,
        certificate=f"{display_name(certificate.subject)}, serial {certificate.serial_number:x}, {tbs_digest(certificate)}",
        valid_from=f"{start:%Y-%m-%d}",
        valid_until=f"{end:%Y-%m-%d}",
        last_use=use.last,
        signatures=len(use.signed),
        rotation_due=f"{rotation:%Y-%m-%d}",
        origin=_origin(key, use),
        copies="; ".join(left),
        destroyed="; ".join(
            f"{told(home, copy)} ({' '.join(filter(None, (ended.time, told(home, ended.how))))})"
            for copy, ended in use.destroyed.items()
        ),
        problems="; ".join(problems),
        attention=attention or bool(overdue),
    )


class _Asker:
    """Asks the backends. A token that refused a PIN, or is not there, is not asked again: wrong PINs lock it (A161)."""

    def __init__(self, check: Check | None) -> None:
        self.check = check
        self._refused: dict[str, SealwrightError] = {}

    def checked(self, uri: str, key: EnrolledKey, problems: list[str]) -> tuple[str, str]:
        """What the backend says of the key now, and how that is known."""
        if self.check is None:
            return NOT_CHECKED, "offline: the key was not asked for"
        token = ""
        if uri.startswith("pkcs11:"):
            token = str(replace(parse_pkcs11(uri), label="", id=None))
        try:
            if token in self._refused:
                raise self._refused[token]
            opened = open_key(
                uri,
                self.check.pins(uri),
                algorithm=key.algorithm,
                expected=key.public_key,
                construction=key.construction,
            )
        except SealwrightError as cause:
            if token and isinstance(cause, KeyUnavailable):
                self._refused[token] = cause
            problems.append(f"it could not be checked: {cause.what}")
            return NOT_CHECKED, f"{cause.code}: {cause.what}"
        info = opened.info
        opened.close()
        if info.provenance is not key.provenance:
            problems.append(f"declared {key.provenance}, but now it is {info.provenance}")
        said = ", ".join(f"{name}={value}" for name, value in info.attributes)
        if uri.startswith("file:"):
            mode = os.stat(path_of(uri)).st_mode & 0o777
            return info.provenance.value, f"mode {mode:04o}, public half compared"
        nothing = "fixed to its TPM" if uri.startswith("tpm:") else "by its backend's word"
        return info.provenance.value, f"{said or nothing}; public half compared"


def _may_use(uri: str, check: Check | None, person: str) -> str:
    """Who can make the key sign: whoever can read what unlocks it; and whose it is by the trust file."""
    path = uri.partition(":")[2].removeprefix("//")
    if uri.startswith("file:"):
        means = f"whoever can read the file: {_owner(path)}"
    elif uri.startswith("tpm:"):
        means = f"on this machine, whoever can read {os.path.basename(path)}.auth: {_owner(path + '.auth')}"
    elif uri.startswith(("transit:", "awskms:")):
        means = "whoever the key service lets sign with it: see its policies"
    elif check is not None and check.pin_file:
        means = f"whoever has the token and its PIN; {check.pin_file}: {_owner(check.pin_file)}"
    else:
        means = "whoever has the token and its PIN (no PIN file was named)"
    return f"{person}; {means}" if person else means


def _owner(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError as cause:
        return f"{NOT_CHECKED} ({cause.strerror})"
    name = f"user {status.st_uid}"
    if sys.platform != "win32":
        import pwd

        with suppress(KeyError):
            name = pwd.getpwuid(status.st_uid).pw_name
    others = ", and others by its mode" if status.st_mode & 0o077 else ""
    return f"{name}, mode {status.st_mode & 0o777:04o}{others}"


def _origin(key: EnrolledKey, use: KeyUse) -> str:
    if use.imported:
        by = f" by {use.person}" if use.person else ""
        return f"imported{by} on {use.enrolled[:10]} from {use.imported}"
    if key.provenance is Provenance.HARDWARE_IMPORTED:
        return "made outside of its token; how it came in is not recorded"
    return f"enrolled on {use.enrolled[:10]}" if use.enrolled else ""


def _is_over(copy: str, now: datetime) -> bool:
    """Whether the text names a day, "until 2026-12-01", that has passed."""
    import re

    days = re.findall(r"\d{4}-\d{2}-\d{2}", copy)
    try:
        return bool(days) and datetime.fromisoformat(days[-1]).replace(tzinfo=UTC) + timedelta(days=1) <= now
    except ValueError:
        return False


def _persons(home: Home) -> dict[str, str]:
    """Whose key each is by the home's trust file, as it stands there; {} where none can be read."""
    from sealwright.artifact.source import read_file
    from sealwright.trust.trustfile import parse_trust

    path = home.path(TRUST)
    try:
        trust = parse_trust(read_file(path, 16 << 20), path)
    except SealwrightError:
        return {}
    return _named_in(trust)


def _named_in(trust: TrustFile) -> dict[str, str]:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    found: dict[str, str] = {}
    for person in trust.persons:
        until = f" until {person.until:%Y-%m-%d}" if person.until is not None else ""
        for digest in person.keys:
            found[str(digest)] = f"{person.id} ({', '.join(person.roles) or 'person'}{until})"
    for role, quorum in (("officer", trust.officers), ("recovery", trust.recovery)):
        for key in quorum.keys if quorum is not None else ():
            found.setdefault(str(key_digest(load_der_public_key(key.spki))), f"{key.person} ({role})")  # type: ignore[arg-type]
    return found


def markdown(title: str, rows: Sequence[KeyRow], now: datetime) -> str:
    """The sheet for the auditor: one table a key, so that it prints on paper."""
    parts = [f"# Keys of {_cell(title)}\n", f"State of {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC. {_REMARK}\n"]
    for row in rows:
        parts.append(f"## {_cell(row.name)}\n\n| | |\n|---|---|")
        parts += [f"| {LABELS[name]} | {_cell(str(value)) or '-'} |" for name, value in row.fields().items()]
        parts.append("")
    return "\n".join(parts)


def html(title: str, rows: Sequence[KeyRow], now: datetime) -> str:
    """The same as one page of HTML without anything from elsewhere."""
    from html import escape

    tables = []
    for row in rows:
        lines = "".join(
            f"<tr><th>{LABELS[name]}</th><td>{escape(str(value)) or '-'}</td></tr>"
            for name, value in row.fields().items()
        )
        tables.append(f"<h2>{escape(row.name)}</h2><table>{lines}</table>")
    style = (
        "body{font:14px/1.4 sans-serif;max-width:60em;margin:2em auto}table{border-collapse:collapse;width:100%}"
        "th,td{border:1px solid #999;padding:.2em .5em;text-align:left;vertical-align:top;overflow-wrap:anywhere}"
        "th{width:12em}h2{break-after:avoid}table{break-inside:avoid}"
    )
    return (
        f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Keys of {escape(title)}</title><style>{style}</style>'
        f"<h1>Keys of {escape(title)}</h1><p>State of {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC. {escape(_REMARK)}</p>"
        + "".join(tables)
        + "</html>\n"
    )


def csv_text(rows: Sequence[KeyRow]) -> str:
    """RFC 4180, with a head; a text that a spreadsheet would take for a formula gets an apostrophe."""
    import csv
    import io

    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        values = (str(value) for value in row.fields().values())
        writer.writerow(
            ["'" + value if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value for value in values]
        )
    return out.getvalue()


_REMARK = (
    "IEC 62443-4-1 SM-8. Protection declared is what was enrolled; protection checked is what the token, TPM or file says at that "
    "time. A token's word is no attestation."
)


def _cell(text: str) -> str:
    from sealwright.artifact.names import display

    return display(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
