"""Trusted builders, and whether a provenance is one of theirs and of exactly what is to be signed (A124, A125).

In the settings of the policies, so that the policies' digest covers them and a new builder is a change of policy:

    [builder.release]
    id = "https://ci.acme.example/workflows/release"
    build_types = ["https://actions.github.io/buildtypes/workflow/v1"]
    key = '''-----BEGIN PUBLIC KEY-----…'''

1. A builder is known by its whole `id`, its key and its build types: no beginnings, no patterns. A key vouches for its own id alone.
2. The subjects of the statement are what is to be signed: each digest of each artifact; of a manifest, each file that it lists.
3. What the statement names beside that refuses it, unless the builder's table says `others = true`: one provenance of a whole build
   must not let a part of it pass that nobody asked about.
4. A bare statement is the requester's own word. It must be of what is to be signed too; what it says of its builder counts for nothing.
5. A signed one that no trusted builder signed is refused where the policies trust any, with what was wanted and what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from sealwright.artifact.digest import Digest
from sealwright.artifact.manifest import parse_manifest
from sealwright.artifact.names import display
from sealwright.artifact.section import Section
from sealwright.envelope.algorithms import PublicKey, algorithm_for, check_encoding
from sealwright.errors import ProvenanceRefused, SealwrightError, UsageError
from sealwright.formats.format import Prepared
from sealwright.signing.policyquestion import Context
from sealwright.signing.provenance import (
    MAX_PLACE,
    SOURCES,
    Built,
    Place,
    Provenance,
    Source,
    SourcePlaces,
    Statement,
)

SHOWN = 3
_NEXT = "Sign what the builder built, with the provenance that it made for it."


@dataclass(frozen=True, slots=True)
class Builder:
    """Whose provenance is believed. spki: its key, DER; others: whether its statements may name more than what is to be signed."""

    name: str
    id: str
    spki: bytes
    build_types: tuple[str, ...]
    places: SourcePlaces | None = None
    others: bool = False

    def signed(self, provenance: Provenance) -> bool:
        """Whether the envelope is signed by its key."""
        key = load_der_public_key(self.spki)
        algorithm = algorithm_for(key, subject=f"builder {self.name}")
        return provenance.envelope is not None and provenance.envelope.signed_by(_public(key), algorithm)

    def covers(self, other: Builder) -> bool:
        """Whether all that is believed of the other is believed of this one."""
        return (
            (self.id, self.spki, self.places) == (other.id, other.spki, other.places)
            and set(other.build_types) <= set(self.build_types)
            and self.others >= other.others
        )


@dataclass(frozen=True, slots=True)
class Proven:
    """What rules may know of a build. provenance: None where none came; verified: a trusted builder signed it; source: as it says."""

    provenance: Provenance | None = None
    verified: bool = False
    source: Source = Source("", "")

    @property
    def digest(self) -> Digest | None:
        """By which a request names it."""
        return None if self.provenance is None else self.provenance.digest

    def within(self, context: Context) -> Context:
        """The circumstances with it: a builder that nobody verified is none."""
        if self.provenance is None or not self.verified:
            return context
        said = self.provenance.statement
        return replace(
            context,
            builder=said.builder,
            provenance_verified=True,
            build_type=said.build_type,
            source=self.source.repository,
            source_ref=self.source.ref,
        )


NOTHING = Proven()


def builder_of(name: str, section: Section) -> Builder:
    """One table of settings; MalformedPolicy naming key and what is wanted."""
    build_types = section.texts("build_types")
    if not build_types:
        raise section.wrong("build_types", "a list with at least one build type")
    places = SourcePlaces(_place(section, "repository_at"), _place(section, "ref_at"))
    if bool(places.repository) is not bool(places.ref):
        raise section.wrong("ref_at", "there, or `repository_at` not")
    known = list(dict.fromkeys(SOURCES.get(one) for one in build_types))
    if not places.repository and len(known) > 1:
        raise section.wrong("build_types", "of one kind: make a table for each that keeps its source elsewhere")
    return Builder(
        name=name,
        id=section.text("id"),
        spki=_spki(section),
        build_types=build_types,
        places=places if places.repository else known[0],
        others=section.flag("others"),
    )


def judged(provenance: Provenance, builders: Sequence[Builder], artifacts: Sequence[Prepared]) -> Proven:
    """The provenance as rules may know it; ProvenanceRefused with all that was wanted and found where it is not that of the artifacts."""
    statement = provenance.statement
    trusted = [one for one in builders if _is_its(provenance, one)]
    if provenance.envelope is not None and builders and not trusted:
        wanted = "; or ".join(_wanted(one) for one in builders[:SHOWN])
        raise ProvenanceRefused(
            "provenance",
            f"wanted: {wanted}; found: builder {display(statement.builder)}, build type {display(statement.build_type)}, "
            f"{_whose(provenance, builders)}",
            _NEXT,
        )
    others = others_than(artifacts, statement)
    if others and not any(one.others for one in trusted):
        raise ProvenanceRefused(
            "provenance",
            f"wanted: no subject but what is to be signed; found: {_shown(others)}",
            "Make a statement of these files alone, or sign them all at once.",
        )
    places = trusted[0].places if trusted else SOURCES.get(statement.build_type)
    return Proven(provenance, bool(trusted), statement.source(places))


def built_digests(artifacts: Sequence[Prepared]) -> Iterator[tuple[str, tuple[Digest, ...]]]:
    """Rule 2: of each artifact what was built of it, with its name."""
    for one in artifacts:
        if one.format == "manifest" and one.content is not None:
            manifest = parse_manifest(one.content, one.path)
            for file in manifest.files:
                yield os.fsdecode(file.name), (Digest(manifest.algorithm, file.digest),)
        else:
            yield os.path.basename(one.path), tuple(one.digests.values())


def others_than(artifacts: Sequence[Prepared], statement: Statement) -> list[Built]:
    """What a statement names beside what is to be signed; ProvenanceRefused where it does not name all of that."""
    named = {digest for one in statement.built for digest in one.digests}
    wanted = list(dict.fromkeys(one for _, digests in built_digests(artifacts) for one in digests))
    missing = [one for one in wanted if one not in named]
    if missing:
        shown = ", ".join(str(one) for one in missing[:SHOWN])
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise ProvenanceRefused(
            "provenance", f"wanted: the subject {shown}{more}; found: {_shown(statement.built)}", _NEXT
        )
    asked = set(wanted)
    return [one for one in statement.built if not one.digests & asked]


def _is_its(provenance: Provenance, builder: Builder) -> bool:
    """Rule 1."""
    said = provenance.statement
    return said.builder == builder.id and said.build_type in builder.build_types and builder.signed(provenance)


def _whose(provenance: Provenance, builders: Sequence[Builder]) -> str:
    """Whose signature an envelope has that is not what was wanted."""
    signers = [one.name for one in builders[:SHOWN] if one.signed(provenance)]
    return f"signed by the key of {', '.join(signers)}" if signers else "signed by none of their keys"


def _wanted(builder: Builder) -> str:
    return f"builder {builder.id} with its key, build type {' or '.join(builder.build_types)}"


def _shown(built: Sequence[Built]) -> str:
    said = [f"{display(one.name) or 'unnamed'} {min(map(str, one.digests))}" for one in islice(built, SHOWN)]
    return ", ".join(said) + (f" and {len(built) - SHOWN} more" if len(built) > SHOWN else "")


def _place(section: Section, key: str) -> Place:
    names = tuple(section.text(key).split(".")) if section.has(key) else ()
    if len(names) > MAX_PLACE or not all(names):
        raise section.wrong(key, f"1 to {MAX_PLACE} names with dots between them, such as workflow.ref")
    return names


def read_spki(pem: bytes, subject: str) -> bytes:
    """A builder's public key, DER; UsageError or WeakAlgorithm for what is none that is accepted."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise UsageError(
            subject, "it is no public key in PEM", "Name one that begins with BEGIN PUBLIC KEY."
        ) from cause
    algorithm_for(key, subject=subject)
    check_encoding(_public(key), pem, subject=subject)
    return _public(key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def builder_pem(pem: bytes, subject: str) -> str:
    """The same key as settings have it; UsageError or WeakAlgorithm."""
    key = load_der_public_key(read_spki(pem, subject))
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _spki(section: Section) -> bytes:
    try:
        return read_spki((section.raw("key") or "").encode(), "key")
    except SealwrightError as cause:
        raise section.wrong("key", f"a public key in PEM, and {cause.what}") from cause


def _public(key: object) -> PublicKey:
    return key  # type: ignore[return-value]  # `algorithm_for` refuses whatever is none
