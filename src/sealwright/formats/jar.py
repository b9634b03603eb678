"""JAR archives and other ZIP files signed as such: project archives of engineering tools, gateways' modules, applets.

    jarsigner -verify -strict -keystore anchors.p12 signed.jar      # without -strict an unknown signer ends with 0

| member | to the signature |
| META-INF/NAME.RSA or .EC, detached CMS in DER | signature over the .SF file |
| META-INF/NAME.SF | hashed: it has the digest of the manifest and names every member |
| META-INF/MANIFEST.MF | hashed, by its digest in the .SF |
| every other file | hashed unpacked, by its digest in the manifest |
| the archive's own headers (dates, attributes, packing) | uncovered; names and sizes must agree everywhere |

Java takes a file that the manifest or the .SF does not name for unsigned and goes on; here it refuses the archive (A067). Source:
JAR File Specification (Java SE 17), "Signed JAR File".
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.algorithms import Scheme
from sealwright.envelope.cms import Envelope, Profile, Signer, read_envelope
from sealwright.envelope.kinds import JAR
from sealwright.errors import LimitExceeded, MalformedArtifact, SealwrightError, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_second
from sealwright.formats.format import (
    Candidate,
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    Slot,
    watched_digests,
)
from sealwright.formats.jarmanifest import MAX_BYTES, NAMES, Manifest, digests, is_digest, read_manifest, section
from sealwright.formats.ziparchive import Member, Zip, contents, end_record, read_member, read_zip, stored

NAME = "jar"
FOLDER, MANIFEST = "META-INF/", "META-INF/MANIFEST.MF"
MAX_CMS_BYTES = 1 << 20
MAX_SIGNERS = 16
MAX_FINDINGS = 100
_BLOCKS = (".RSA", ".EC", ".DSA")
_TITLE, _VERSION, _MADE = "Implementation-Title", "Implementation-Version", "Created-By"
_HEADERS = "the archive's own headers; what they say is compared"
_NEXT = "Ask its maker for the archive again."


class Pair(NamedTuple):
    """The files of one signer."""

    statement: Member
    block: Member


class Jar(NamedTuple):
    """manifest: of the archive, or None; pairs: its signers; stray: files that look like a signer's and are none; rest: what is signed."""

    archive: Zip
    manifest: Member | None
    pairs: tuple[Pair, ...]
    stray: tuple[Member, ...]
    rest: tuple[Member, ...]


class JarFormat:
    """The format for JAR and ZIP archives."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """An archive with a manifest, or one that is called .jar or .modl."""
        if source.path.lower().endswith((".jar", ".modl", ".war", ".ear")):
            return True
        try:
            return any(one.name.upper().startswith(FOLDER) for one in read_zip(source).members)
        except SealwrightError:
            return False

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for a generation and other claims that a manifest has no attribute for; MalformedArtifact for an unclear archive."""
        if claims.generation is not None or claims.hardware or claims.environment:
            raise UsageError(
                path, "a JAR has attributes for product and version only", "Leave out the others, or sign a manifest."
            )
        (name,) = algorithms
        with open_artifact(path) as source:
            jar = read_jar(source)
            refuse_second(path, bool(jar.pairs), existing)
            if jar.pairs and existing is Existing.ADD:
                manifest = _kept_manifest(source, jar, claims, progress)
            else:
                manifest = _new_manifest(source, jar, name, claims, progress)
            size = source.size
        statement = statement_of(manifest, name, path)
        whole = {name: Digest.of(statement, name)}
        return Prepared(
            NAME,
            JAR.name,
            path,
            whole,
            manifest,
            size,
            Coverage.whole(size),
            _claims(read_manifest(manifest, path)),
            existing=existing,
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The archive with manifest and signature in front; the other members are copied as they are."""
        manifest = prepared.content or b""
        with open_artifact(prepared.path) as source:
            jar = read_jar(source)
        kept = [part for pair in jar.pairs for part in pair] if prepared.existing is Existing.ADD else []
        taken = {one.name.upper() for one in kept}
        number = next(
            n for n in range(1, MAX_SIGNERS + 2) if not any(_signer(n) + e in taken for e in (".SF", *_BLOCKS))
        )
        ending = ".EC" if sealed.algorithm.scheme is Scheme.ECDSA else ".RSA"
        statement = statement_of(manifest, sealed.algorithm.digest, prepared.path)
        new = [(MANIFEST, manifest), (_signer(number) + ".SF", statement), (_signer(number) + ending, sealed.envelope)]
        return _written(prepared.path, new, [*kept, *jar.rest])

    def strip(self, path: str) -> Parts:
        """The archive without signatures and without digests in its manifest."""
        with open_artifact(path) as source:
            jar = read_jar(source)
            if not jar.pairs or jar.manifest is None:
                raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
            read = read_manifest(read_member(source, jar.manifest, MAX_BYTES), path)
        bare = _without_digests(read)
        own = (
            not bare.sections and set(bare.main) <= {"Manifest-Version", _MADE} and bare.main.get(_MADE) == "sealwright"
        )
        new = [] if own else [(MANIFEST, _manifest_bytes(bare))]
        return _written(path, new, list(jar.rest))

    def extract(self, path: str, search: Search) -> Found:
        """A candidate for each signer; what is delivered is compared with the manifest once for all."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            jar = read_jar(source)
            if not jar.pairs or jar.manifest is None:
                return Found(path, source.size, (), None, structure=_structure(jar))
            text = read_member(source, jar.manifest, MAX_BYTES)
            manifest = read_manifest(text, name, most=len(jar.archive.members))
            found, delivered = _differences(source, jar, manifest, search, name)
            pairs = [(pair, read_member(source, pair.statement, MAX_BYTES)) for pair in jar.pairs]
            blocks = [read_member(source, pair.block, MAX_CMS_BYTES) for pair in jar.pairs]
            whole = watched_digests(source, search)
        claims = _claims(manifest)
        candidates = []
        for (pair, statement), block in zip(pairs, blocks, strict=True):
            envelope, unread = _envelope(block, pair.block.name)
            signers = envelope.signers if envelope is not None else ()
            used = {HashName.SHA256, *(one.digest.algorithm for one in signers if isinstance(one, Signer))}
            own = {algorithm: Digest.of(statement, algorithm) for algorithm in used}
            candidates.append(
                Candidate(
                    source=pair.block.name.rpartition("/")[2],
                    slot=Slot.MAKER,
                    format=NAME,
                    kind=JAR.name,
                    envelope=envelope,
                    digests=own,
                    artifact=Digest.of(text),
                    claims=claims,
                    coverage=_coverage(jar, pair),
                    findings=(*unread, *found, *_unnamed(jar, pair, statement, text, name)),
                    contents=(*own.values(), *delivered, *whole),
                    name=name,
                )
            )
        return Found(path, jar.archive.size, tuple(candidates), Digest.of(text), structure=_structure(jar))


def read_jar(source: OpenArtifact) -> Jar:
    """Read the archive and tell its signers' files from the others; MalformedArtifact where Java could tell them otherwise."""
    archive = read_zip(source)
    manifest: Member | None = None
    signers: dict[str, dict[str, Member]] = {}
    stray: list[Member] = []
    rest: list[Member] = []
    for one in archive.members:
        upper = one.name.upper()
        inner = upper.removeprefix(FOLDER)
        base, dot, ending = inner.rpartition(".")
        if upper == MANIFEST:
            if manifest is not None or one.name != MANIFEST:
                raise MalformedArtifact(
                    source.path, f"byte {one.start}: {one.name} beside or in place of {MANIFEST}", _NEXT
                )
            manifest = one
        elif inner == upper or "/" in inner or not inner:
            rest.append(one)
        elif dot + ending in (".SF", *_BLOCKS):
            if dot + ending in signers.setdefault(base, {}):
                raise MalformedArtifact(source.path, f"byte {one.start}: a second {one.name}", _NEXT)
            signers[base][dot + ending] = one
        elif inner.startswith("SIG-"):
            stray.append(one)
        else:
            rest.append(one)
    if len(signers) > MAX_SIGNERS:
        raise LimitExceeded(source.path, f"{len(signers)} signers", f"At most {MAX_SIGNERS} are read.")
    pairs = []
    for files in signers.values():
        blocks = [ending for ending in files if ending != ".SF"]
        if len(blocks) == 1 and ".SF" in files:
            pairs.append(Pair(files[".SF"], files[blocks[0]]))
        else:
            stray += files.values()
    return Jar(archive, manifest, tuple(pairs), tuple(stray), tuple(rest))


def check_manifest(prepared: Prepared) -> None:
    """MalformedArtifact where the manifest of a `Prepared` claims something else than was asked for."""
    manifest = prepared.content or b""
    if _claims(read_manifest(manifest, prepared.path)) != prepared.claims:
        raise MalformedArtifact(prepared.path, "its manifest claims something else than was asked for", _NEXT)


def _new_manifest(source: OpenArtifact, jar: Jar, name: HashName, claims: Claims, progress: Progress | None) -> bytes:
    """The archive's manifest with a digest for every file."""
    old = Manifest({"Manifest-Version": "1.0", _MADE: "sealwright"}, {}, {})
    if jar.manifest is not None:
        old = _without_digests(read_manifest(read_member(source, jar.manifest, MAX_BYTES), source.path))
    _check_stray(source.path, jar)
    main = dict(old.main)
    for key, value in ((_TITLE, claims.product), (_VERSION, claims.version)):
        if value is not None and main.setdefault(key, value) != value:
            raise UsageError(
                source.path, f"its manifest says {key}: {main[key]}", "Leave that claim out, or build it anew."
            )
    sections: dict[str, dict[str, str]] = {key: dict(attributes) for key, attributes in old.sections.items()}
    for one in jar.rest:
        if not one.is_folder:
            (digest,) = _digests_of(source, one, (name,), progress)
            sections.setdefault(one.name, {})[f"{NAMES[name]}-Digest"] = _base64(digest)
    source.check_unchanged()
    return _manifest_bytes(Manifest(main, sections, {}))


def _kept_manifest(source: OpenArtifact, jar: Jar, claims: Claims, progress: Progress | None) -> bytes:
    """The manifest as the signers before us signed it: it must be whole."""
    if jar.manifest is None:
        raise MalformedArtifact(source.path, f"it is signed, and there is no {MANIFEST}", _NEXT)
    text = read_member(source, jar.manifest, MAX_BYTES)
    manifest = read_manifest(text, source.path)
    if claims and claims != _claims(manifest):
        raise UsageError(
            source.path, "its signed manifest claims something else", "Leave the claims out, or use --replace."
        )
    found, _ = _differences(source, jar, manifest, Search(progress=progress), source.path)
    for finding in found:
        raise MalformedArtifact(source.path, finding.sentence, "Use --replace to sign what is there now.")
    return text


def _check_stray(path: str, jar: Jar) -> None:
    if jar.stray:
        raise MalformedArtifact(path, f"{jar.stray[0].name} looks like a signature and is none", "Remove it first.")


def _differences(
    source: OpenArtifact, jar: Jar, manifest: Manifest, search: Search, name: str
) -> tuple[tuple[Finding, ...], tuple[Digest, ...]]:
    """What is delivered beside what the manifest says, and the delivered digests that a deny list asks for."""
    found = [reject("SW-PART-UNSIGNED", name, found=one.name) for one in jar.stray]
    left = set(manifest.sections)
    watched = {digest.algorithm for digest in search.watched}
    seen: list[Digest] = []
    for one in jar.rest:
        left.discard(one.name)
        if one.is_folder:
            continue
        if len(found) >= MAX_FINDINGS:
            return tuple(found), tuple(seen)
        wanted = digests(manifest.sections.get(one.name, {}), name, one.name)
        if not wanted:
            found.append(reject("SW-PART-UNSIGNED", name, found=one.name))
            continue
        algorithms = tuple({*(digest.algorithm for digest in wanted), *watched})
        try:
            delivered = _digests_of(source, one, algorithms, search.progress)
        except MalformedArtifact as cause:
            found.append(reject(cause.code, name, found=cause.what))
            continue
        seen += [digest for digest in delivered if digest in search.watched]
        if not set(wanted) <= set(delivered):
            found.append(reject("SW-FILE-CHANGED", name, found=f"{one.name}, which is now {delivered[0]}"))
    source.check_unchanged()
    found += [
        reject("SW-ARTIFACT-MALFORMED", name, found=f"{one} is named in the manifest and not there")
        for one in sorted(left)[:MAX_FINDINGS]
    ]
    return tuple(found), tuple(seen)


def _unnamed(jar: Jar, pair: Pair, statement: bytes, manifest: bytes, name: str) -> Iterator[Finding]:
    """What a signer's .SF leaves out."""
    try:
        most = len(jar.archive.members)
        read = read_manifest(statement, pair.statement.name, "Signature-Version", most=most)
        wanted = digests(read.main, pair.statement.name, MANIFEST, "-Digest-Manifest")
    except SealwrightError as cause:
        yield reject(cause.code, name, found=f"{pair.statement.name}: {cause.what}")
        return
    if not wanted or any(Digest.of(manifest, digest.algorithm) != digest for digest in wanted):
        yield reject("SW-FILE-CHANGED", name, found=f"{MANIFEST} is not the one that {pair.statement.name} signs")
    unnamed = (one for one in jar.rest if not one.is_folder and one.name not in read.sections)
    for one in islice(unnamed, MAX_FINDINGS):
        yield reject("SW-PART-UNSIGNED", name, found=one.name)


def _digests_of(
    source: OpenArtifact, member: Member, names: Collection[HashName], progress: Progress | None
) -> list[Digest]:
    states = [(name, name.new()) for name in names]
    for piece in contents(source, member, progress):
        for _, state in states:
            state.update(piece)
    return [Digest(name, state.digest()) for name, state in states]


def _without_digests(manifest: Manifest) -> Manifest:
    sections = {
        name: {key: value for key, value in attributes.items() if not is_digest(key)}
        for name, attributes in manifest.sections.items()
    }
    return Manifest(manifest.main, {name: attributes for name, attributes in sections.items() if attributes}, {})


def _manifest_bytes(manifest: Manifest) -> bytes:
    sections = sorted(manifest.sections.items())
    return section(manifest.main.items()) + b"".join(
        section([("Name", name), *attributes.items()]) for name, attributes in sections
    )


def statement_of(manifest: bytes, name: HashName, subject: str) -> bytes:
    """The .SF file for a manifest, which is what is signed: nothing in it is anybody's choice."""
    read, called = read_manifest(manifest, subject), NAMES[name]
    main = [
        ("Signature-Version", "1.0"),
        (_MADE, "sealwright"),
        (f"{called}-Digest-Manifest", _base64(Digest.of(manifest, name))),
        (f"{called}-Digest-Manifest-Main-Attributes", _base64(Digest.of(read.parts[""], name))),
    ]
    return section(main) + b"".join(
        section([("Name", one), (f"{called}-Digest", _base64(Digest.of(read.parts[one], name)))])
        for one in read.sections
    )


def _written(path: str, new: list[tuple[str, bytes]], kept: list[Member]) -> Parts:
    parts: list[bytes | FileRange] = []
    directory = []
    at = 0
    for name, data in new:
        local, central = stored(name, data)
        parts.append(local)
        directory.append(central[:42] + at.to_bytes(4, "little") + central[46:])
        at += len(local)
    for one in kept:
        parts.append(FileRange(path, one.start, one.end - one.start))
        if at > 0xFFFF_FFFE:
            break
        directory.append(one.moved(at))
        at += one.end - one.start
    entries = b"".join(directory)
    return (*parts, entries + end_record(len(new) + len(kept), at, len(entries), path))


def _signer(number: int) -> str:
    return f"{FOLDER}MAKER{number if number > 1 else ''}"


def _claims(manifest: Manifest) -> Claims:
    found = []
    for key in (_TITLE, _VERSION):
        value = next((v for k, v in manifest.main.items() if k.lower() == key.lower()), None)
        plain = value is not None and 0 < len(value) <= 200 and value.isprintable() and value == value.strip()
        found.append(value if plain else None)
    return Claims(product=found[0], version=found[1])


def _base64(digest: Digest) -> str:
    import base64

    return base64.b64encode(digest.value).decode()


def _envelope(cms: bytes, name: str) -> tuple[Envelope | None, tuple[Finding, ...]]:
    try:
        envelope = read_envelope(cms, Profile.FOREIGN_CMS, name)
    except SealwrightError as cause:
        return None, (reject(cause.code, name, found=cause.what),)
    if envelope.content is not None:
        return envelope, (reject("SW-SIGNATURE-MALFORMED", name, found="its content is inside"),)
    return envelope, ()


def _coverage(jar: Jar, own: Pair) -> Coverage:
    """What one signer covers; the files of the others are signatures to it."""
    signatures = {part.start for pair in jar.pairs for part in pair} - {own.statement.start}
    ranges: list[Range] = []
    at = 0
    for one in jar.archive.members:
        extent = Extent.SIGNATURE if one.start in signatures else Extent.HASHED
        ranges += [Range(at, one.data, Extent.UNCOVERED, _HEADERS), Range(one.data, one.data + one.packed, extent)]
        at = one.data + one.packed
    ranges.append(Range(at, jar.archive.size, Extent.UNCOVERED, _HEADERS))
    return Coverage(tuple(part for part in ranges if part.start < part.end))


def _structure(jar: Jar) -> tuple[str, ...]:
    files = [one for one in jar.rest if not one.is_folder]
    return (f"{len(files)} files, {sum(one.size for one in files):,} bytes unpacked",)
