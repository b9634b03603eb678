"""What an audited TPM attests against the journal of its uses (command audit: TPM 2.0 Library, Part 1 section 35, Part 3 section 21).

    audited = check_command_audit("tpm.audit", read_lines("tpm.audit"))
    audited.uses[key]                   how often a key signed, by SHA-256 of its SPKI
    audited.findings                    what does not fit

A TPM in which TPM2_Sign is audited keeps a digest of every such command and its answer, of all its keys, in their order:

    digest = SHA-256(digest || cpHash || rpHash)
    cpHash = SHA-256(commandCode || Name of the key || parameters)      rpHash = SHA-256(responseCode || commandCode || parameters)

It attests the digest, with a counter that goes up with the first command after it was attested or lost, and with the digest of the list of what is
audited. To change the list is itself audited, always. So between two attestations

1. nothing in the journal: the counter stands still and the digest is empty;
2. something: the counter is one higher, and the digest is the one computed here.

Else somebody used the TPM past the journal, and how often no digest tells: at least once for each step of the counter that is not ours. A TPM that
was reset before it attested has lost the digest: then the uses in the journal are not attested, and others may be missing.
The attestation key is restricted, so that it signs nothing that came from outside, and fixed to its TPM; whose TPM it is its digest tells.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sealwright.artifact.digest import Digest
from sealwright.envelope.algorithms import ECDSA_SHA256, check_signature, key_digest
from sealwright.errors import BadSignature, MalformedEnvelope, SealwrightError
from sealwright.findings import Finding, reject, warning
from sealwright.keys.auditlines import AttestedLine, KeyLine, Line, MadeLine, UseLine
from sealwright.keys.tpmwire import (
    COMMAND_AUDIT,
    FIXED_PARENT,
    FIXED_TPM,
    MADE_INSIDE,
    RESTRICTED,
    SET_AUDIT_COMMAND,
    SHA256,
    SIGN,
    SIGN_COMMAND,
    Cursor,
    read_public_area,
    read_statement,
)
from sealwright.log.usage import within

AUDITED = hashlib.sha256(SET_AUDIT_COMMAND.to_bytes(4, "big") + SIGN_COMMAND.to_bytes(4, "big")).digest()
EMPTY = bytes(32)
_SIGN = SIGN_COMMAND.to_bytes(4, "big")
_NO_SCHEME_NO_TICKET = bytes.fromhex("00108024400000070000")  # the key's own scheme; a digest from outside
_AGAIN = "Give the file as the machine with the TPM wrote it."


def extended(before: bytes, name: bytes, digest: bytes, signature: bytes) -> bytes:
    """The audit digest after one more TPM2_Sign as Sealwright sends it. name: of the key; signature: TPMT_SIGNATURE as marshalled."""
    command = hashlib.sha256(_SIGN + name + len(digest).to_bytes(2, "big") + digest + _NO_SCHEME_NO_TICKET)
    answer = hashlib.sha256(bytes(4) + _SIGN + signature)
    return hashlib.sha256(before + command.digest() + answer.digest()).digest()


@dataclass(slots=True)
class Audited:
    """keys: that the journal names, by SHA-256 of SPKI; uses: of each; begun: the first attestation of the journal; attestation_key: which vouches for it;
    answered: whether the TPM answered the challenge that was asked for."""

    keys: set[str] = field(default_factory=set)
    uses: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    begun: datetime | None = None
    attestation_key: Digest | None = None
    answered: bool = False


def check_command_audit(
    path: str,
    lines: Iterable[Line],
    since: datetime | None = None,
    until: datetime | None = None,
    challenge: bytes | None = None,
) -> Audited:
    """Everything that the journal and the TPM say of a time. since, until: aware, None for any.

    challenge: which the TPM must have answered (`key audit --nonce`). Raises MalformedEnvelope for what is no journal.
    """
    reading = _Reading(path, since, until, challenge)
    for line in lines:
        match line:
            case KeyLine():
                reading.key(line)
            case UseLine():
                reading.use(line)
            case MadeLine():
                reading.made(line)
            case AttestedLine():
                reading.attested(line)
    return reading.end()


@dataclass(frozen=True, slots=True)
class _Stated:
    """One attestation. audited: the digest of the list of audited commands."""

    counter: int
    digest: bytes
    audited: bytes
    resets: int


@dataclass(slots=True)
class _Reading:
    path: str
    since: datetime | None
    until: datetime | None
    challenge: bytes | None
    audited: Audited = field(default_factory=Audited)
    names: dict[bytes, str] = field(default_factory=dict)
    before: _Stated | None = None
    attested_at: datetime | None = None
    time: datetime | None = None
    chain: bytes = EMPTY
    made_since: int = 0
    open: UseLine | None = None
    broken_off: int = 0

    def key(self, line: KeyLine) -> None:
        try:
            self.names[line.name] = str(key_digest(read_public_area(line.public).key))
            self.audited.keys.add(self.names[line.name])
        except (ValueError, SealwrightError) as cause:
            raise MalformedEnvelope(self.path, "a key in it is damaged", _AGAIN) from cause

    def use(self, line: UseLine) -> None:
        if self.before is None or line.name not in self.names:
            raise MalformedEnvelope(self.path, "a use in it is of a key that it does not name, or before all", _AGAIN)
        self.broken_off += self.open is not None
        self.open = line

    def made(self, line: MadeLine) -> None:
        use, self.open = self.open, None
        if use is None:
            raise MalformedEnvelope(self.path, "a signature in it answers nothing", _AGAIN)
        self.chain = extended(self.chain, use.name, use.digest, line.signature)
        self.made_since += 1
        self.time = line.time if self.time is None else max(self.time, line.time)
        if within(self.time, self.since, self.until):
            self.audited.uses[self.names[use.name]] += 1

    def attested(self, line: AttestedLine) -> None:
        """The two rules; and which TPM it is, of what."""
        self.time = line.time if self.time is None else max(self.time, line.time)
        self.broken_off += self.open is not None
        try:
            stated = self._stated(line)
        except (ValueError, BadSignature, SealwrightError) as cause:
            self._tell(reject("SW-AUDIT-TPM-FALSE", self.path, found=str(cause)[:160]))
            return
        if self.before is None or self.attested_at is None:
            self.audited.begun = self.time
        elif (self.until is None or self.attested_at < self.until) and (self.since is None or self.time >= self.since):
            self._compare(self.before, stated)
        self.audited.answered = self.audited.answered or line.nonce == self.challenge
        self.before, self.attested_at = stated, self.time
        self.chain, self.made_since, self.open, self.broken_off = EMPTY, 0, None, 0

    def _stated(self, line: AttestedLine) -> _Stated:
        key = read_public_area(line.attestation_key)
        if not key.has(FIXED_TPM | FIXED_PARENT | MADE_INSIDE | RESTRICTED | SIGN):
            raise ValueError("its attestation key is not one that signs only for its TPM")
        check_signature(key.key, ECDSA_SHA256, line.signature, line.attest, subject=self.path)
        own = key_digest(key.key)
        if self.audited.attestation_key not in (None, own):
            raise ValueError(f"another attestation key signed it, {own}")
        statement = read_statement(line.attest)
        cursor = Cursor(statement.details)
        counter, algorithm, digest, audited = cursor.number(8), cursor.number(2), cursor.sized(), cursor.sized()
        cursor.end()
        if statement.kind != COMMAND_AUDIT or algorithm != SHA256 or statement.extra != line.nonce:
            raise ValueError("it states something else, or answers another challenge")
        self.audited.attestation_key = own
        return _Stated(counter, digest, audited, statement.resets)

    def _compare(self, before: _Stated, now: _Stated) -> None:
        wanted = (before.counter + 1, self.chain) if self.made_since else (before.counter, b"")
        span = f"{self.made_since} uses up to {self.time:%Y-%m-%d %H:%M:%S} UTC"
        if (before.audited, now.audited) != (AUDITED, AUDITED):
            self._tell(reject("SW-AUDIT-TPM-OFF", self.path, found=span))
        if (now.counter, now.digest) == wanted:
            return
        steps = now.counter - before.counter
        if now.resets != before.resets and self.made_since and steps == 1 and not now.digest:
            self._tell(reject("SW-AUDIT-TPM-RESET", self.path, found=span))
        elif self.broken_off and steps <= 1:
            self._tell(reject("SW-AUDIT-TPM-BROKEN-OFF", self.path, found=span))
        else:
            least = max(1, steps - bool(self.made_since))
            self._tell(reject("SW-AUDIT-TPM-PAST", self.path, wanted=span, found=str(least)))

    def end(self) -> Audited:
        """What is left over after the last attestation."""
        if self.before is None:
            raise MalformedEnvelope(self.path, "nothing in it is attested", _AGAIN)
        if self.made_since or self.open is not None:
            self._tell(warning("SW-AUDIT-TPM-WAITING", self.path, found=str(self.made_since)))
        if self.challenge is not None and not self.audited.answered:
            self._tell(reject("SW-AUDIT-TPM-STALE", self.path))
        return self.audited

    def _tell(self, finding: Finding) -> None:
        self.audited.findings.append(finding)
