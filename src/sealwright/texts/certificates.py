"""Sentences about certificates on an accepted path."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK = "Ask the signer for a signature by another certificate."

TEXTS: dict[str, Text] = {
    "SW-CERT-IS-CA": Text(
        "the certificate of {subject} is a certificate authority's, not a signer's",
        _ASK,
        "its signer's certificate is not a signer's",
    ),
    "SW-CERT-KEY-USAGE": Text(
        "the certificate of {subject} does not allow digital signatures",
        _ASK,
        "its signer's certificate does not allow it",
    ),
    "SW-CERT-WEAK": Text(
        "the certificate of {subject} is too weak: {found}", _ASK, "its signer's certificate is too weak"
    ),
}
