"""`[[deny]]` of trust files and deny lists: what is refused whatever signs it."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.artifact.digest import HashName
from sealwright.artifact.section import Section
from sealwright.errors import SealwrightError
from sealwright.formats.registry import NAMES
from sealwright.trust.certificate import load_certificate
from sealwright.trust.layouts import FAMILY
from sealwright.trust.model import Denied

_LISTS = {"keys": "key", "certificates": "certificate", "artifacts": "artifact"}
_DIGEST = re.compile(r"(sha256|sha384|sha512):[0-9a-f]+")
_DIGEST_SIZES = {name.value: len(name.value) + 1 + 2 * name.size for name in HashName}


def denials(top: Section) -> tuple[Denied, ...]:
    """Every `[[deny]]` of a trust file or deny list."""
    found: list[Denied] = []
    for section in top.tables("deny"):
        found += _denied(section)
        section.done()
    return tuple(found)


def _denied(section: Section) -> list[Denied]:
    """One `[[deny]]`: exactly one of key, certificate, serial, artifact, product (with below), or a list of the first ones.

    `keys`, `certificates` and `artifacts` are texts with one digest a line: ten thousand of them are read in a few
    milliseconds, where ten thousand tables would take half a second of every start.
    """
    names = ("key", "certificate", "serial", "artifact", "product", *_LISTS)
    named = [what for what in names if section.has(what)]
    if len(named) != 1:
        raise section.wrong(
            "deny", "about exactly one of key, certificate, serial, artifact or product, or one list of them"
        )
    what, reason = named[0], section.text("reason")
    many = what in _LISTS
    what = _LISTS.get(what, what)
    since = section.time_or_none("since") if what in ("key", "certificate") else None
    if section.has("since"):
        raise section.wrong(
            "since", "left out but for a key or certificate: only of those is the time of signing proved"
        )
    if what in ("key", "certificate"):
        texts = _lines(section, named[0], "sha256") if many else [str(section.digest(what))]
        return [Denied(what, text, 0, reason, since) for text in texts]
    if what == "product":
        return [Denied("below", section.text("product"), section.number("below", 1), reason)]
    if what == "serial":
        issuer = load_certificate(certificate_in(section, "issuer"), section.where)
        text = section.text("serial").removeprefix("0x").replace(":", "").lower().lstrip("0")
        if not text or set(text) - set("0123456789abcdef"):
            raise section.wrong("serial", "hexadecimal digits")
        return [Denied("serial", issuer.subject.public_bytes().hex() + ":" + text, 0, reason)]
    texts = _lines(section, named[0], *HashName) if many else [str(section.artifact_digest("artifact"))]
    format_name = section.text("format") if section.has("format") else "*"
    if format_name not in ("*", *NAMES) and not format_name.startswith(f"{FAMILY}:"):
        raise section.wrong("format", "one of " + ", ".join(NAMES))
    return [Denied("artifact", f"{format_name} {text}", 0, reason) for text in texts]


def _lines(section: Section, key: str, *algorithms: str) -> list[str]:
    """The digests of a text with one a line, in order."""
    text = section.raw(key) or ""
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        match = _DIGEST.fullmatch(line)
        if match is None or match[1] not in algorithms or len(line) != _DIGEST_SIZES[match[1]]:
            raise section.wrong(
                key, f'a text of lines like "sha256:" and 64 lower-case hexadecimal digits; line {number} is not'
            )
    if len(set(lines)) != len(lines):
        raise section.wrong(key, "a list of different digests")
    return lines


def certificate_in(section: Section, key: str) -> bytes:
    """The one certificate of a key in PEM, as DER."""
    text = section.raw(key)
    try:
        found = x509.load_pem_x509_certificates((text or "").encode())
        if len(found) != 1:
            raise ValueError("more than one")
        der = found[0].public_bytes(Encoding.DER)
        load_certificate(der, section.where)
    except SealwrightError as cause:
        raise section.wrong(key, f"a usable certificate ({cause.what})") from cause
    except (ValueError, x509.InvalidVersion) as cause:
        raise section.wrong(key, "one certificate in PEM (BEGIN CERTIFICATE)") from cause
    return der
