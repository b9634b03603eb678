"""Sentences about certificates on an accepted path."""

from __future__ import annotations

from sealwright.texts.text import Text

_ASK = "Ask whoever delivered the file for one that is signed in another way."

TEXTS: dict[str, Text] = {
    "SW-CERT-IS-CA": Text(
        "the certificate of {subject} is a certificate authority's, not a signer's",
        _ASK,
        "its signer may not sign files",
        plain="{subject} may vouch for signers, but not sign files",
    ),
    "SW-CERT-KEY-USAGE": Text(
        "the certificate of {subject} does not allow digital signatures",
        _ASK,
        "its signer may not sign files",
        plain="{subject} may not sign files",
    ),
    "SW-CERT-WEAK": Text(
        "the certificate of {subject} is too weak: {found}",
        _ASK,
        "its signature is too weak",
        plain="the signature of {subject}, or of one who vouches for it, is too weak by today's rules",
    ),
}
