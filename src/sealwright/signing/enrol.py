"""Enrolling a key that exists, with the certificate an existing PKI issued for it (RULES 2).

1. The key is opened and checked by its backend; its public key must be the certificate's, or it is refused.
2. A key has one purpose and one construction: a key or name that is enrolled already is refused.
3. The enrolment is in the journal before home.toml names the key; certificates are written before home.toml.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.output import Output, Replace, write_batch
from sealwright.artifact.source import read_file
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import KeyRefused, MalformedEnvelope, UsageError
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.log.journal import Entry, EntryType, Journal
from sealwright.signing.home import (
    FILE,
    JOURNAL,
    MAX_BYTES,
    PATH_SCHEMES,
    Construction,
    EnrolledKey,
    Home,
    KeyPurpose,
    certificates_text,
    home_text,
)
from sealwright.trust.certificate import load_certificate, public_key, tbs_digest

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def enrol(home: Home, name: str, uri: str, purpose: KeyPurpose, path: str, pin: Pin | None) -> EnrolledKey:
    """Add a key to a home. path: PEM of its certificate, then the path above it, with or without the root.

    Raises UsageError for a name or certificate that does not serve, KeyRefused for a key that is not the certificate's.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}", "it is not made of a-z, 0-9, dot and dash alone", "Choose another name.")
    if any(key.name == name for key in home.keys):
        raise UsageError(f"--name {name}", "a key of this home is called so already", "Choose another name.")
    leaf, chain = _certificates(path)
    key = open_key(uri, pin, expected=public_key(load_certificate(leaf, path)))
    info = key.info
    key.close()
    digest = key_digest(info.public_key)
    if any(key_digest(known.public_key) == digest for known in home.keys):
        raise KeyRefused(uri, "it is enrolled already, and a key has one purpose", "Create a key for this purpose.")
    enrolled = EnrolledKey(
        name=name,
        uri=_absolute(info.uri),
        purpose=purpose,
        construction=Construction.CMS_ATTRIBUTES,
        algorithm=info.algorithm,
        provenance=info.provenance,
        certificate=leaf,
        chain=chain,
    )
    _record(home, enrolled)
    return enrolled


def _certificates(path: str) -> tuple[bytes, tuple[bytes, ...]]:
    data = read_file(path, MAX_BYTES)
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError as cause:
        raise MalformedEnvelope(
            path, "there is no readable certificate in PEM in it", "Ask your PKI for the certificate in PEM."
        ) from cause
    ders = [certificate.public_bytes(Encoding.DER) for certificate in found]
    for der in ders:
        load_certificate(der, path)
    above = [
        der
        for certificate, der in zip(found[1:], ders[1:], strict=True)
        if certificate.subject != certificate.issuer  # the root travels in trust files, never with a signature
    ]
    return ders[0], tuple(above)


def _absolute(uri: str) -> str:
    """A key file outside the home is named by its whole path, so that the home may be used from anywhere."""
    for scheme in PATH_SCHEMES:
        if uri.startswith(scheme):
            return scheme + os.path.abspath(uri.removeprefix(scheme))
    return uri


def _record(home: Home, enrolled: EnrolledKey) -> None:
    after = replace(home, keys=(*home.keys, enrolled))
    fields = {
        "name": enrolled.name,
        "key": str(key_digest(enrolled.public_key)),
        "certificate": str(tbs_digest(load_certificate(enrolled.certificate, enrolled.name))),
        "purpose": enrolled.purpose.value,
        "construction": enrolled.construction.value,
        "provenance": enrolled.provenance.value,
    }
    with Journal.open(home.path(JOURNAL)) as journal:
        journal.append([Entry(EntryType.KEY, fields)])
        write_batch(
            [
                Output(home.path("certificates", f"{enrolled.name}.pem"), certificates_text(enrolled).encode()),
                Output(home.path(FILE), home_text(after).encode()),
            ],
            replace=Replace.YES,
        )
