"""The entry that a log holds of one signature (RULES 6): RFC 8785 JSON with exactly these fields, and its strict reader.

    type "signature" · format (of an artifact) or kind (of a statement) · artifact, the content's digest · file, the whole file's
    digest where it is known · signature, SHA-256 of the signature value in the encoding of CMS · key and certificate, SHA-256 of
    SPKI and TBSCertificate · construction · policy, digest of the policy that allowed it · private, salted digest of persons,
    request and approvals · product, version, generation, hardware, environment as far as they are claimed

Digests are `sha256:` and hexadecimal; the generation is decimal text, since JSON's numbers end at 2**53.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.log.canonical import Field, canonical_json, read_canonical

TYPE = "signature"
_DIGESTS = ("artifact", "signature", "key", "certificate", "policy", "private")
CLAIMS = ("product", "version", "generation", "hardware", "environment")
_GENERATION = re.compile(r"0|[1-9][0-9]{0,18}")
NAMES = frozenset(("type", "format", "kind", "file", "construction", *_DIGESTS, *CLAIMS))


class SignatureEntry(NamedTuple):
    """One signature as the log knows it. format or kind: one of them is "", as of statements and of artifacts; file: or None."""

    format: str
    kind: str
    artifact: Digest
    signature: Digest
    key: Digest
    certificate: Digest
    construction: str
    policy: Digest
    private: Digest
    claims: Claims = Claims()
    file: Digest | None = None

    def encoded(self) -> bytes:
        """The bytes that the log hashes."""
        fields: dict[str, Field] = {
            "type": TYPE,
            **({"format": self.format} if self.format else {"kind": self.kind}),
            **{name: str(getattr(self, name)) for name in _DIGESTS},
            "construction": self.construction,
            **claim_fields(self.claims),
        }
        if self.file is not None:
            fields["file"] = str(self.file)
        return canonical_json(fields)


def claim_fields(claims: Claims) -> dict[str, Field]:
    """Claims as fields of a record; what is not claimed is left out."""
    generation = None if claims.generation is None else str(claims.generation)
    named: dict[str, Field | None] = {
        "product": claims.product,
        "version": claims.version,
        "generation": generation,
        "hardware": claims.hardware or None,
        "environment": claims.environment,
    }
    return {name: value for name, value in named.items() if value is not None}


def read_entry(data: bytes) -> SignatureEntry:
    """Read an entry; ValueError with a clause that says what is wrong with it."""
    return entry_of(read_canonical(data))


def entry_of(fields: Mapping[str, Field]) -> SignatureEntry:
    """The entry of fields that were read; ValueError."""
    if unknown := set(fields) - NAMES:
        raise ValueError(f"`{min(unknown)[:40]}` is no field of a signature's entry")
    if fields.get("type") != TYPE:
        raise ValueError("it is not the entry of a signature")
    if ("format" in fields) == ("kind" in fields):
        raise ValueError("it names neither a format nor a kind, or both")
    digests = {name: _digest(fields, name) for name in _DIGESTS}
    for name in ("signature", "key", "certificate", "policy", "private"):
        if digests[name].algorithm is not HashName.SHA256:
            raise ValueError(f"`{name}` is not a SHA-256")
    return SignatureEntry(
        format=_text(fields, "format") if "format" in fields else "",
        kind=_text(fields, "kind") if "kind" in fields else "",
        construction=_text(fields, "construction"),
        claims=read_claims(fields),
        file=_digest(fields, "file") if "file" in fields else None,
        **digests,
    )


def find_signature(entries: Sequence[bytes], signature: Digest) -> Iterator[int]:
    """Which of some entries, of any type, are of a signature value."""
    wanted = signature.value.hex().encode()
    for at, entry in enumerate(entries):
        if wanted in entry:
            try:
                read = read_entry(entry)
            except ValueError:
                continue  # of another type: it only mentions it
            if read.signature == signature:
                yield at


def read_claims(fields: Mapping[str, Field]) -> Claims:
    """The claims among the fields of a record; ValueError with a clause that says what is wrong with them."""
    hardware = fields.get("hardware", ())
    generation = _text(fields, "generation") if "generation" in fields else None
    if not isinstance(hardware, tuple) or ("hardware" in fields and not hardware):
        raise ValueError("`hardware` is not a list of texts")
    if generation is not None and not _GENERATION.fullmatch(generation):
        raise ValueError("`generation` is not a decimal number")
    return Claims(
        product=_text(fields, "product") if "product" in fields else None,
        version=_text(fields, "version") if "version" in fields else None,
        generation=None if generation is None else int(generation),
        hardware=hardware,
        environment=_text(fields, "environment") if "environment" in fields else None,
    )


def _text(fields: Mapping[str, Field], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is missing or not a text")
    return value


def _digest(fields: Mapping[str, Field], name: str) -> Digest:
    try:
        return Digest.parse(_text(fields, name))
    except ValueError as cause:
        raise ValueError(f"`{name}` is missing or not a digest") from cause
