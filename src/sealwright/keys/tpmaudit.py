"""Command audit of a TPM: switched on for TPM2_Sign, and attested (TPM 2.0 Library, Part 3 section 21).

To switch it on the owner's authorisation must be empty, as it must for our keys; to have it attested the endorsement's. TPM and resource manager need to be told nothing else: keys count by their Names, and a session for a policy is no parameter.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.errors import KeyRefused, KeyUnavailable
from sealwright.keys.auditjournal import AuditJournal, Turn
from sealwright.keys.auditlines import AttestedLine, KeyLine, MadeLine, UseLine
from sealwright.keys.tpmwire import SET_AUDIT_COMMAND, SIGN_COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwright.keys.tpm import Made, Tpm

NONCE_BYTES = 32
MOST_COMMANDS = 256


def audit_signatures(tpm: Tpm, uri: str) -> None:
    """Have the TPM audit TPM2_Sign by SHA-256, and nothing else; KeyRefused where it audits for somebody else."""
    found = _audited(tpm, uri)
    wanted = {SET_AUDIT_COMMAND, SIGN_COMMAND}
    if found - wanted:
        raise KeyRefused(
            uri,
            "somebody else has this TPM audit other commands ("
            + ", ".join(f"0x{one:x}" for one in sorted(found))
            + ")",
            "Use another TPM, or clear them with `tpm2_setcommandauditstatus -c`.",
        )
    if found != wanted:
        api = tpm.api
        change, none = tpm.context.set_command_code_audit_status, api.TPML_CC()
        sign = api.TPML_CC(commandCodes=[api.TPM2_CC.Sign])
        try:
            tpm.do(lambda: change(api.TPM2_ALG.SHA256, none, none), uri)  # the algorithm is a change of its own
            tpm.do(lambda: change(api.TPM2_ALG.NULL, sign, none), uri)
        except KeyUnavailable as cause:
            raise KeyUnavailable(
                uri,
                f"the TPM does not switch on its audit: {cause.what}",
                "It has to have command audit, and an owner without authorisation, as for our keys.",
            ) from cause


def _audited(tpm: Tpm, uri: str) -> set[int]:
    def ask() -> set[int]:
        _, data = tpm.context.get_capability(tpm.api.TPM2_CAP.AUDIT_COMMANDS, 0, MOST_COMMANDS)
        return {int(one) for one in data.data.auditCommands}

    return tpm.do(ask, uri)


def attest(tpm: Tpm, turn: Turn, uri: str, nonce: bytes = b"") -> AttestedLine:
    """The TPM's word on everything up to now, added to the journal. nonce: the challenge of who asks, a random one by default."""
    challenge = nonce or secrets.token_bytes(NONCE_BYTES)

    def ask() -> AttestedLine:
        with tpm.attestation_key() as (signer, public):
            stated, signature = tpm.context.get_command_audit_digest(signer, challenge)
        return AttestedLine(datetime.now(UTC), challenge, bytes(stated), tpm.value(signature), public)

    turn.sync()  # the TPM forgets what it attested: the uses must be durable before
    try:
        line = tpm.do(ask, uri)
    except KeyUnavailable as cause:
        raise KeyUnavailable(
            uri,
            f"the TPM does not attest its uses: {cause.what}",
            "Its endorsement hierarchy must have no authorisation: tpm2_changeauth -c endorsement -p AUTH",
        ) from cause
    turn.add(line)
    turn.sync()
    return line


def begin(tpm: Tpm, journal: AuditJournal, public: bytes, uri: str) -> None:
    """Enter a key into a journal, and have attested where its uses begin. public: its TPMT_PUBLIC. The TPM audits from the first one on."""
    with journal.turn() as turn:
        turn.last()
        audit_signatures(tpm, uri)
        turn.add(KeyLine(public))
        attest(tpm, turn, uri)


def attest_what_is_open(tpm: Tpm, journal: AuditJournal, uri: str) -> None:
    """Have attested what was used since the last time, where something was: at the end, and after a crash before anything else is used."""
    with journal.turn() as turn:
        if not isinstance(turn.last(), AttestedLine):
            attest(tpm, turn, uri)


def written_use(turn: Turn, name: bytes, digest: bytes, make: Callable[[], Made]) -> Made:
    """One TPM2_Sign, in the journal before and after it."""
    turn.add(UseLine(name, digest))
    made = make()
    turn.add(MadeLine(datetime.now(UTC), made.marshalled))
    return made
