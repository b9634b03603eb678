"""What pkilint, an independent linter of RFC 5280, thinks of certificates, paths and revocation lists: its findings as (severity, code).

The programs `lint_pkix_cert`, `lint_crl` and `lint_pkix_signer_signee_cert_chain` take a second each to start; this is what
they do inside, with every check that they make. The programs themselves are called once, to know that it is the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pkilint import document, loader, pkix
from pkilint.bin import lint_pkix_signer_signee_cert_chain as chain
from pkilint.pkix import certificate, crl, extension, name
from pkilint.validation import ValidationFindingSeverity
from pyasn1.codec.der.decoder import decode
from pyasn1.error import PyAsn1Error
from pyasn1_fasder import decode_der

LARGE_ARC = "arc which is larger than 32-bits"
HARMLESS = (ValidationFindingSeverity.INFO, ValidationFindingSeverity.DEBUG)


@dataclass(frozen=True)
class Finding:
    """severity: such as WARNING; code: such as pkix.subject_key_identifier_method_1_identified; where: path in the document."""

    severity: str
    code: str
    where: str


def of_certificate(der: bytes) -> list[Finding]:
    """As `lint_pkix_cert lint`, above INFO."""
    loaded = loader.load_der_certificate(der, "certificate")
    return _findings(_certificates().validate(loaded.root))


def of_list(der: bytes, *, authorities: bool = False) -> list[Finding]:
    """As `lint_crl lint --profile PKIX`, above INFO. authorities: a list of authorities' certificates (ARL)."""
    loaded = loader.load_der_crl(der, "list")
    return _findings(_lists(authorities).validate(loaded.root))


def of_pair(issuer: bytes, subject: bytes) -> list[Finding]:
    """As `lint_pkix_signer_signee_cert_chain lint`, above INFO."""
    both: dict[str, document.Document] = {}
    load = loader.RFC5280CertificateDocumentLoader().load_der_document
    above = both["issuer"] = load(issuer, "issuer", "issuer", both)
    below = both["subject"] = load(subject, "subject", "subject", both)
    decoder = chain.create_decoder_validation_container()
    results = decoder.validate(above.root) + decoder.validate(below.root)
    results += chain.create_issuer_validation_container().validate(above.root)
    results += chain.create_subject_validation_container().validate(below.root)
    return _findings(results)


@cache
def _certificates() -> Any:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


@cache
def _lists(authorities: bool) -> Any:
    del authorities  # the type matters for the CA/Browser Forum's profile alone
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )


def _reads_large_arcs(substrate: bytes, **how: Any) -> tuple[Any, bytes]:
    try:
        found: tuple[Any, bytes] = decode_der(substrate, **how)
    except (ValueError, PyAsn1Error) as cause:
        if LARGE_ARC not in str(cause):
            raise
        found = decode(substrate, **how)
    return found


document.decode_der = _reads_large_arcs


def _findings(results: Iterable[Any]) -> list[Finding]:
    return [
        Finding(found.finding.severity.name, found.finding.code, result.node.path)
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity not in HARMLESS
    ]
