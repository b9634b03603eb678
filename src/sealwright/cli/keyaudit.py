"""`key begin-audit` and `key attest-uses`: a TPM that counts its signatures, and vouches for them (docs/keys.md)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, key_string
from sealwright.cli.attestation import nonce_of

if TYPE_CHECKING:
    from sealwright.keys.tpm import TpmKey


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The two commands."""
    begin = add_action(commands, "begin-audit", "have a TPM count its signatures, and write a key's down", examples)
    begin.add_argument("key", metavar="KEY", type=key_string, help="tpm: key string")
    begin.add_argument(
        "--journal", metavar="FILE", required=True, help="where they are written: one file for all keys of a TPM"
    )
    begin.set_defaults(run=run_begin)
    attest = add_action(commands, "attest-uses", "have the TPM vouch for every use in its journal", examples)
    attest.add_argument("key", metavar="KEY", type=key_string, help="tpm: key string")
    attest.add_argument("--nonce", metavar="HEX", type=nonce_of, default=b"", help="the auditor's challenge")
    attest.set_defaults(run=run_attest)


def run_begin(args: argparse.Namespace) -> int:
    """The journal is new, or of the same TPM; then the key names it."""
    import os
    from contextlib import closing

    from sealwright.artifact.names import display
    from sealwright.errors import KeyRefused
    from sealwright.keys.auditjournal import AuditJournal, journal_of, name_journal, new_journal
    from sealwright.keys.uri import path_of
    from sealwright.texts.words import say

    with closing(_opened(args.key)) as key:
        path = path_of(args.key)
        if journal_of(path) is not None:
            raise KeyRefused(
                args.key, "its uses are written down already", f"See {path}.audit; remove that to begin a new journal."
            )
        journal = AuditJournal(args.journal) if os.path.lexists(args.journal) else new_journal(args.journal)
        key.begin_audit(journal)
        name_journal(path, journal)
    print(say("attest.audit-begun", journal=display(args.journal), key=display(args.key)))
    return 0


def run_attest(args: argparse.Namespace) -> int:
    """One attestation more in the journal."""
    from contextlib import closing

    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    with closing(_opened(args.key)) as key:
        journal = key.attest_audit(args.nonce)
    print(say("attest.uses", journal=display(journal.path)))
    return 0


def _opened(uri: str) -> TpmKey:
    from sealwright.errors import KeyRefused
    from sealwright.keys.uri import scheme_of

    if scheme_of(uri) != "tpm":
        raise KeyRefused(uri, "its backend counts no uses", "Only a TPM can be asked to; see docs/log.md for others.")
    from sealwright.keys.tpm import open_tpm_key

    return open_tpm_key(uri)
