"""`key attest` and `key check-attestation`: a TPM's signed statement that a key lives in it, made and checked.

A token only claims that its keys cannot leave it, and a file proves nothing: both are refused, exit code 1.
"""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_pin_file, key_string, pin_of

NONCE_BYTES = 32
MAX_NONCE_BYTES = 64


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The two commands."""
    attest = add_action(commands, "attest", "have a TPM state that a key lives in it", examples)
    attest.add_argument("key", metavar="KEY", type=key_string, help="tpm: key string")
    attest.add_argument("--nonce", metavar="HEX", type=nonce_of, help="the asker's challenge (else a random one)")
    attest.add_argument("--out", metavar="FILE", help="write the statement here (else it is printed)")
    add_pin_file(attest)
    attest.set_defaults(run=run_attest)
    check = add_action(commands, "check-attestation", "check such a statement, for the key of a certificate", examples)
    check.add_argument("file", metavar="FILE", help="the statement")
    check.add_argument("--certificate", metavar="FILE", required=True, help="PEM certificate of the key")
    check.add_argument("--nonce", metavar="HEX", type=nonce_of, required=True, help="the challenge that was given")
    check.set_defaults(run=run_check)


def run_attest(args: argparse.Namespace) -> int:
    """Make the statement and check it before it leaves."""
    import secrets
    import sys

    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.errors import KeyRefused
    from sealwright.keys.attestation import attestation_text, check_attestation
    from sealwright.keys.backends import open_key
    from sealwright.keys.tpm import TpmKey
    from sealwright.texts.words import say

    nonce = secrets.token_bytes(NONCE_BYTES) if args.nonce is None else args.nonce
    key = open_key(args.key, pin_of(args, args.key))
    try:
        if not isinstance(key, TpmKey):
            raise KeyRefused(
                args.key,
                f"its backend proves nothing to others ({key.info.provenance})",
                "Only a key in a TPM can be attested; for a token keep the record of its key ceremony.",
            )
        statement = key.certify(nonce)
        signer = check_attestation(statement, key.info.public_key, nonce, args.key)
    finally:
        key.close()
    text = attestation_text(statement)
    if args.out is None:
        sys.stdout.write(text)
        return 0
    write_atomic(args.out, text.encode())
    print(say("attest.wrote", path=display(args.out)))
    print("  " + say("attest.nonce", nonce=nonce.hex()))
    print("  " + say("attest.vouches", signer=signer))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Every point of the statement, against the certificate's key and the challenge."""
    from cryptography import x509

    from sealwright.artifact.names import display
    from sealwright.artifact.source import read_file
    from sealwright.envelope.certified import UNREADABLE
    from sealwright.errors import MalformedEnvelope
    from sealwright.keys.attestation import MAX_BYTES, check_attestation, read_attestation
    from sealwright.texts.words import say
    from sealwright.trust.certificate import public_key

    data = read_file(args.certificate, MAX_BYTES)
    try:
        certificate = x509.load_pem_x509_certificate(data)
    except UNREADABLE as cause:
        raise MalformedEnvelope(
            args.certificate, "it is no certificate in PEM", "Name the key's certificate."
        ) from cause
    statement = read_attestation(read_file(args.file, MAX_BYTES), args.file)
    signer = check_attestation(statement, public_key(certificate), args.nonce, args.file)
    print(say("attest.holds", path=display(args.certificate)))
    print("  " + say("attest.vouches", signer=signer))
    return 0


def nonce_of(text: str) -> bytes:
    """A challenge in hexadecimal."""
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if not 1 <= len(nonce) <= MAX_NONCE_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to {MAX_NONCE_BYTES} bytes in hexadecimal")
    return nonce
