"""What is asked to be signed, as it travels: one canonical line for each artifact, and beside it the small content that it names.

    {"artifact":["sha256:9f…"],"file":"drive.bin","format":"detached","kind":"file","size":1048576}

A line is RFC 8785 JSON: format and kind; the digests of the signed content by each algorithm that was asked for; the digest of the
small content where the format has one; size, claims, and the names that a signature may say or a person wants to read. It is what
an approver looks at and what a request binds (RULES 6): whatever is not in it is not signed. The artifact stays where it is, and so
does what only `attach` needs (coverage, hash trees, companions).

The line is the client's word. Small content is parsed and encoded again before it is signed (`pipeline.CONTENT_CHECKS`), so claims
in it are read from signed bytes; claims beside a bare digest are only asserted (RULES 2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.envelope.kinds import KINDS, TUF
from sealwright.errors import LimitExceeded, RequestRefused
from sealwright.formats.format import Coverage, Prepared
from sealwright.formats.known import EMBEDDED
from sealwright.log.canonical import Field, canonical_json, read_canonical
from sealwright.log.entry import claim_fields, read_claims
from sealwright.log.merkle import leaf_hash, tree_hash

MAX_CONTENT_BYTES = 1 << 20
MAX_LINE_BYTES = 16 * 1024
MAX_ITEMS = 100_000
MAX_NAME = 255
_CLAIMS = frozenset(("product", "version", "generation", "hardware", "environment"))
_NAMES = frozenset(("artifact", "content", "file", "format", "kind", "layout", "name", "size")) | _CLAIMS
# what lies beside an artifact is of these formats, what goes inside of one in the table; roles of a repository are neither
BESIDE = ("detached", "manifest")


@dataclass(frozen=True, slots=True)
class Item:
    """One artifact of a request. line: canonical; content: what its `content` is the digest of, None where it names none."""

    line: bytes
    content: bytes | None


def item_of(prepared: Prepared) -> Item:
    """What a client sends of what it has prepared. RequestRefused for a name that JSON cannot hold."""
    fields: dict[str, Field] = {
        "artifact": tuple(str(prepared.digests[name]) for name in HashName if name in prepared.digests),
        "file": display(os.path.basename(os.path.abspath(prepared.path)))[:MAX_NAME],
        "format": prepared.format,
        "kind": prepared.kind,
        "size": prepared.size,
        **claim_fields(prepared.claims),
    }
    if prepared.content is not None:
        fields["content"] = str(Digest.of(prepared.content))
    if prepared.layout is not None:
        fields["layout"] = str(prepared.layout)
    if prepared.name:
        fields["name"] = prepared.name
    try:
        return Item(canonical_json(fields), prepared.content)
    except ValueError as cause:
        raise RequestRefused(
            display(prepared.path), f"it cannot be asked for ({cause})", "Give it a name in UTF-8."
        ) from cause


def prepared_of(item: Item, subject: str) -> Prepared:
    """What the service signs of a line. RequestRefused naming the field that is wrong, LimitExceeded.

    Its coverage is the client's business: one range, of the size that it says.
    """
    if len(item.line) > MAX_LINE_BYTES:
        raise LimitExceeded(subject, f"a line of {len(item.line)} bytes", f"At most {MAX_LINE_BYTES} are read.")
    if item.content is not None and len(item.content) > MAX_CONTENT_BYTES:
        raise LimitExceeded(
            subject, f"content of {len(item.content)} bytes", f"At most {MAX_CONTENT_BYTES} are signed as content."
        )
    try:
        return _prepared(read_canonical(item.line), item.content)
    except (ValueError, KeyError) as cause:
        what = f"`{cause.args[0]}` is missing" if isinstance(cause, KeyError) else str(cause)
        raise RequestRefused(
            subject, f"its line cannot be used: {what[:200]}", "Ask with `sealwright sign`."
        ) from cause


def root_of_items(lines: Sequence[bytes]) -> bytes:
    """The Merkle root over the lines in their order (RFC 9162 section 2.1.1), 32 octets: what a request binds of them."""
    return tree_hash([leaf_hash(line) for line in lines])


def _prepared(fields: dict[str, Field], content: bytes | None) -> Prepared:
    if unknown := set(fields) - _NAMES:
        raise ValueError(f"`{min(unknown)[:40]}` is no field of it")
    form, kind = fields["format"], fields["kind"]
    known = form in BESIDE or form in EMBEDDED or form == TUF.name
    if not isinstance(form, str) or not isinstance(kind, str) or not known or kind not in KINDS:
        raise ValueError("its format or kind is not known here")
    if kind not in _kinds_of(form):
        raise ValueError(f"a {form} is not signed as {kind}")
    size, listed = fields["size"], fields["artifact"]
    if not isinstance(size, int) or size < 0:
        raise ValueError("`size` is no number of octets")
    if not isinstance(listed, tuple) or not listed:
        raise ValueError("`artifact` is no list of digests")
    digests = {digest.algorithm: digest for digest in map(Digest.parse, listed)}
    if tuple(map(str, digests.values())) != listed or list(digests) != [n for n in HashName if n in digests]:
        raise ValueError("`artifact` has two digests of one algorithm, or not in their order")
    named = fields.get("content")
    if (named is None) != (content is None) or (content is not None and named != str(Digest.of(content))):
        raise ValueError("the content beside it is not the one that it names")
    if form == TUF.name and content is None:
        raise ValueError("a role is signed with its content alone, which is read")
    return Prepared(
        format=form,
        kind=kind,
        path=_name(fields, "file"),
        digests=digests,
        content=content,
        size=size,
        coverage=Coverage.whole(size),
        claims=read_claims(fields),
        layout=Digest.parse(str(fields["layout"])) if "layout" in fields else None,
        name=_name(fields, "name") if "name" in fields else "",
    )


def _kinds_of(form: str) -> tuple[str, ...]:
    """The kinds that a format is signed as."""
    if form == "detached":
        return ("file",)
    if form in ("manifest", TUF.name):
        return (form,)
    kind = EMBEDDED[form].kind
    return _SEVERAL.get(form, (kind,))


_SEVERAL = {"rauc": ("rauc", "rauc-verity")}


def _name(fields: dict[str, Field], name: str) -> str:
    text = fields[name]
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME or not text.isprintable():
        raise ValueError(f"`{name}` is no printable name")
    return text


def common_claims(claims: Sequence[Claims]) -> Claims:
    """What all artifacts of a request claim alike."""
    first = claims[0]
    if len(claims) == 1:
        return first
    return Claims(
        **{
            name: getattr(first, name)
            for name in ("product", "version", "generation", "hardware", "environment")
            if all(getattr(one, name) == getattr(first, name) for one in claims)
        }
    )
