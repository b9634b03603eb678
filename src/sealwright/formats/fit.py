"""FIT images of U-Boot: kernels, device trees and firmware with signed configurations.

    fit_check_sign -f signed.fit -k control.dtb       # the control tree must say that the key is required, see docs/formats/fit.md

A configuration's signature is over the parts of the tree that describe it: the root, the configuration, its images and their hash
nodes, and the strings; the images themselves are bound by the hash nodes. U-Boot takes the list of parts from the signature node,
where it is not signed: here it must be exactly what the configuration needs, and everything else in the tree must be covered too.
Source: U-Boot doc/usage/fit/signature.rst, boot/fdt_region.c, boot/image-fit-sig.c.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import groupby

from cryptography.hazmat.primitives.asymmetric import rsa

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.algorithms import (
    Scheme,
    SignatureAlgorithm,
)
from sealwright.envelope.bare import matching_signers
from sealwright.envelope.certified import Certified, certified
from sealwright.envelope.cms import Envelope, Signer
from sealwright.envelope.kinds import FIT
from sealwright.errors import KeyRefused, MalformedArtifact, SealwrightError, UsageError
from sealwright.findings import Finding, reject
from sealwright.formats.asked import refuse_claims, refuse_second
from sealwright.formats.devicetree import (
    MAGIC,
    Property,
    Span,
    Token,
    Tree,
    begins_node,
    check_free_space,
    piece_size,
)
from sealwright.formats.fit_tree import (
    CONFIGURATIONS,
    EXCLUDED,
    IMAGES,
    RSA_BITS,
    Fit,
    Signature,
    is_signature,
    key_name,
    names_images,
    read_fit,
    region,
    region_digests,
    signature_nodes,
    string,
)
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

NAME = "fit"
_MADE = ("value", "signer-name", "signer-version", "comment", "timestamp", "hashed-nodes", "hashed-strings")


class FitFormat:
    """The format for FIT images."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """A device tree with images; a board's own tree is none."""
        if source.read_at(0, len(MAGIC)) != MAGIC:
            return False
        try:
            return begins_node(source, IMAGES)
        except SealwrightError:
            return True

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """What the next signature binds. UsageError for claims and for a configuration that cannot be chosen."""
        refuse_claims(path, claims, "a FIT image has no fields for product, version or generation")
        (name,) = algorithms
        with open_artifact(path) as source:
            fit = read_fit(source)
            if name is not HashName.SHA256:
                raise KeyRefused(path, f"U-Boot reads no signature over {name}", "Use RSA.")
            if finding := next(iter(_content_findings(source, fit, os.path.basename(path), progress)), None):
                raise MalformedArtifact(path, f"it is not whole: {finding.found}", "Build it again.")
            tree, _, nodes = _place(fit, existing, path)
            digests = region_digests(source, region(tree, nodes), tree.strings, (name,))
            coverage = Coverage.whole(source.size)
        return Prepared(NAME, FIT.name, path, digests, None, fit.size, coverage, claims, existing=existing)

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The tree with the signature in its node, and what lies behind the tree."""
        with open_artifact(prepared.path) as source:
            fit = read_fit(source)
            tree, node, nodes = _place(fit, prepared.existing, prepared.path)
            key, padding = _key_type(certified(sealed.certificate), sealed.algorithm, prepared.path)
            hint = tree.properties(node).get("key-name-hint")
            made = {
                "value": sealed.value,
                "algo": string(f"{sealed.algorithm.digest.value},{key}"),
                "padding": string(padding),
                "key-name-hint": hint.data if hint is not None else string(key_name(sealed.certificate)),
                "signer-name": string("sealwright"),
                "hashed-nodes": b"".join(string(one) for one in nodes),
                "hashed-strings": bytes(4) + len(tree.strings).to_bytes(4, "big"),
            }
            return _written(source, fit, tree.with_properties(node, made))

    def strip(self, path: str) -> Parts:
        """The tree with its signature nodes as they were made to be filled."""
        with open_artifact(path) as source:
            fit = read_fit(source)
            if not fit.signatures:
                raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
            return _written(source, fit, _without_values(fit))

    def extract(self, path: str, search: Search) -> Found:
        """A candidate for each certificate that signed anything: it must have signed every configuration, and nothing may be left out."""
        with search.opened(path) as source:
            fit = read_fit(source)
            if not fit.signatures:
                return Found(path, source.size, (), None, structure=_structure(fit))
            check_free_space(source, fit.tree)
            name = os.path.basename(path)
            regions = {one.path: region(fit.tree, one.nodes) for one in fit.signatures}
            covered = {id(token) for tokens in regions.values() for token in tokens}
            findings = (*_content_findings(source, fit, name, search.progress), *_part_findings(fit, covered, name))
            names = sorted({HashName.SHA256, *(one.algorithm.digest for one in fit.signatures)})
            delivered = {
                one.path: region_digests(source, regions[one.path], fit.tree.strings[: one.strings], names)
                for one in fit.signatures
            }
            whole = watched_digests(source, search)
        artifact = delivered[fit.signatures[0].path][HashName.SHA256]
        coverage = _coverage(fit, covered)
        candidates = tuple(
            Candidate(
                source=name,
                slot=Slot.MAKER,
                format=NAME,
                kind=FIT.name,
                envelope=envelope,
                digests=digests,
                artifact=artifact,
                coverage=coverage,
                findings=(*findings, *missing),
                contents=(artifact, *whole),
                name=name,
            )
            for envelope, digests, missing in _envelopes(fit, delivered, search.certificates, name)
        )
        return Found(path, fit.size, candidates, artifact, structure=_structure(fit))


def _content_findings(source: OpenArtifact, fit: Fit, name: str, progress: Progress | None) -> Iterator[Finding]:
    """Images that are not what their hash nodes say, or that no strong hash node binds."""
    wanted: dict[Span, set[HashName]] = {}
    for image in fit.images.values():
        wanted.setdefault(image.data, set()).update(digest.algorithm for digest in image.hashes.values())
    # images may share their bytes, which are read once whatever their number
    found = {
        span: source.digest_ranges(sorted(names), [span], b"", progress) for span, names in wanted.items() if names
    }
    for image in fit.images.values():
        if not image.hashes:
            yield reject("SW-PART-UNSIGNED", name, found=f"{image.path}, which has no SHA-2 hash node,")
        for node, digest in image.hashes.items():
            delivered = found[image.data][digest.algorithm]
            if delivered != digest:
                yield reject("SW-FILE-CHANGED", name, found=f"{node} says {digest}, delivered is {delivered}")


def _part_findings(fit: Fit, covered: Collection[int], name: str) -> Iterator[Finding]:
    """Parts of the tree that no signature covers, and signatures that do not cover what their configuration needs.

    covered: by `id` the tags of which some signature says that it covers them.
    """
    for signature in fit.signatures:
        lacking = set(fit.needs[signature.configuration]) - set(signature.nodes)
        for node in sorted(lacking):
            yield reject("SW-PART-UNSIGNED", name, found=f"{node} of {signature.configuration}")
        for node in sorted(set(signature.nodes) - set(fit.needs[signature.configuration])):
            yield reject("SW-PART-UNSIGNED", name, found=f"{node}, which {signature.configuration} does not need,")
    least = min(signature.strings for signature in fit.signatures)
    for token in fit.tree.tokens:
        if id(token) in covered:
            if isinstance(token, Property) and token.name_at + len(token.name) >= least:
                yield reject("SW-PART-UNSIGNED", name, found=f"the name of the property {token.path}/{token.name}")
        elif not is_signature(token.path) and not _may_vary(token):
            yield reject("SW-PART-UNSIGNED", name, found=_called(token))


def _may_vary(token: Token) -> bool:
    """Where an image lies, which its hash nodes make good, and which of the signed configurations is used unless told otherwise."""
    if not isinstance(token, Property):
        return False
    return token.name in EXCLUDED or (token.path, token.name) == (CONFIGURATIONS, "default")


def _called(token: Token) -> str:
    return f"the property {token.path}/{token.name}" if isinstance(token, Property) else f"the node {token.path}"


def _envelopes(
    fit: Fit, delivered: dict[str, dict[HashName, Digest]], certificates: tuple[bytes, ...], name: str
) -> Iterator[tuple[Envelope, dict[HashName, Digest], tuple[Finding, ...]]]:
    """One a certificate and configuration; a certificate that left a configuration out is told so."""
    signed: dict[bytes, set[str]] = {}
    found: list[tuple[Signature, Envelope]] = []
    for one in fit.signatures:
        digest = delivered[one.path][one.algorithm.digest]
        signers = matching_signers(
            one.value,
            digest,
            one.algorithm,
            certificates,
            partial(_is_of_type, one.key),
            name,
            f"the name {one.hint!r}",
        )
        for signer in signers:
            if isinstance(signer, Signer):
                signed.setdefault(signer.certificate, set()).add(one.configuration)
            found.append((one, Envelope("", None, (), (signer,))))
    for one, envelope in found:
        (signer,) = envelope.signers
        left = set(fit.needs) - signed.get(signer.certificate, set()) if isinstance(signer, Signer) else set[str]()
        findings = tuple(reject("SW-PART-UNSIGNED", name, found=path) for path in sorted(left))
        yield envelope, delivered[one.path], findings


def _is_of_type(key: str, _: bytes, known: Certified) -> bool:
    """Whether a certificate's key is of the type that a signature node says."""
    size = known.key.key_size if isinstance(known.key, rsa.RSAPublicKey) else None
    return size == RSA_BITS.get(key)


def _place(fit: Fit, existing: Existing, path: str) -> tuple[Tree, str, tuple[str, ...]]:
    """The tree to sign, the node that the signature goes into, and what it covers."""
    refuse_second(path, bool(fit.signatures), existing)
    tree = fit.tree if existing is Existing.ADD else _without_values(fit)
    if len(fit.needs) > 1 and existing is not Existing.ADD:
        raise UsageError(
            path,
            f"it has {len(fit.needs)} configurations, and one is signed at a time",
            "Sign it once for each of them with --add.",
        )
    signed = {one.path for one in fit.signatures} if existing is Existing.ADD else set[str]()
    free = {
        configuration: [node for node in signature_nodes(tree, configuration) if node not in signed]
        for configuration in fit.needs
    }
    bare = [one for one in fit.needs if not any(node in signed for node in signature_nodes(tree, one))]
    if bare:
        configuration = bare[0]
        if not free[configuration]:
            node = f"{configuration}/signature-1"
            names = [one.name for one in tree.properties(configuration).values() if names_images(one, fit.images)]
            images = b"".join(string(one) for one in names)
            return (
                tree.with_node(node).with_properties(node, {"sign-images": images}),
                node,
                fit.needs[configuration],
            )
        return tree, free[configuration][0], fit.needs[configuration]
    for configuration, nodes in free.items():
        if nodes:
            return tree, nodes[0], fit.needs[configuration]
    raise UsageError(
        path,
        "there is no empty signature node left, and a new one would break the signatures that are there",
        "Build it with one signature node for each signer, or use --replace.",
    )


def _without_values(fit: Fit) -> Tree:
    tree = fit.tree
    for signature in fit.signatures:
        tree = tree.with_properties(signature.path, {}, without=_MADE)
    return tree


def _written(source: OpenArtifact, fit: Fit, tree: Tree) -> Parts:
    """The tree at least as long as before, so that data behind it keeps its place; data that is counted from the tree's end moves along."""
    needed = sum(piece_size(piece) for piece in tree.pieces())
    total = fit.tree.total
    if needed > total:
        if any("data-position" in tree.properties(path) for path in fit.images):
            raise UsageError(
                source.path, "there is no room for a signature in front of its data", "Build it with `mkimage -p`."
            )
        step = next(size for size in (4096, 512, 4, 1) if total % size == 0)
        total = needed + -needed % step
    pieces: list[bytes | FileRange] = [
        piece if isinstance(piece, bytes) else FileRange(source.path, piece.start, piece.end - piece.start)
        for piece in tree.pieces(total)
    ]
    if fit.size > fit.tree.total:
        start = fit.tree.total + -fit.tree.total % 4
        pieces.append(bytes(-total % 4))
        pieces.append(FileRange(source.path, start, fit.size - start))
    return tuple(pieces)


def _key_type(known: Certified, algorithm: SignatureAlgorithm, path: str) -> tuple[str, str]:
    padding = "pss" if algorithm.scheme is Scheme.RSA_PSS else "pkcs-1.5"
    size = known.key.key_size if isinstance(known.key, rsa.RSAPublicKey) else 0
    for name, bits in RSA_BITS.items():
        if size == bits:
            return name, padding
    raise KeyRefused(path, f"U-Boot reads no RSA key of {size} bits", "Use RSA-3072 or RSA-4096.")


def _coverage(fit: Fit, covered: Collection[int]) -> Coverage:
    """The whole file. covered: as in `_part_findings`."""
    tree = fit.tree
    strings = min(signature.strings for signature in fit.signatures)
    ranges = [Range(0, tree.structure.start, Extent.UNCOVERED, "the tree's header: sizes and places")]
    spans = sorted({image.data for image in fit.images.values()})
    for (extent, reason), run in groupby(tree.tokens, partial(_told, covered=covered)):
        tokens = list(run)
        if extent is not None:
            ranges.append(Range(tokens[0].at, tokens[-1].end, extent, reason))
            continue
        for image in (token for token in tokens if isinstance(token, Property)):
            start, end = image.at + 12, image.at + 12 + image.size
            ranges.append(Range(image.at, start, Extent.UNCOVERED, "the size of an image"))
            ranges.append(Range(start, end, Extent.HASHED))
            ranges.append(Range(end, image.end, Extent.UNCOVERED, "padding behind an image"))
    names = tree.names
    ranges.append(Range(names.start, names.start + strings, Extent.HASHED))
    ranges.append(Range(names.start + strings, names.end, Extent.SIGNATURE))
    at = names.end
    for start, end in (span for span in spans if span.start >= tree.total):
        ranges += [Range(at, start, Extent.UNCOVERED, "free space, zero bytes"), Range(start, end, Extent.HASHED)]
        at = end
    ranges.append(Range(at, fit.size, Extent.UNCOVERED, "free space, zero bytes"))
    return Coverage(tuple(_merged(ranges)))


def _told(token: Token, covered: Collection[int]) -> tuple[Extent | None, str]:
    """What a tag is to the signature, and why it is not hashed; None of an image, which is more than one thing."""
    if id(token) in covered:
        return Extent.HASHED, ""
    if is_signature(token.path):
        return Extent.SIGNATURE, ""
    if not isinstance(token, Property) or token.name not in ("data", "default"):
        return Extent.UNCOVERED, "where an image is"
    if token.name == "data":
        return None, ""
    return Extent.UNCOVERED, "which configuration is used unless told otherwise"


def _merged(ranges: Sequence[Range]) -> Iterator[Range]:
    """Neighbours that are the same to the signature become one."""
    start, extent, reason, at = 0, Extent.UNCOVERED, "", 0
    for one in ranges:
        if one.start == one.end:
            continue
        if (one.extent, one.reason) != (extent, reason):
            if start < at:
                yield Range(start, at, extent, reason)
            start, extent, reason = one.start, one.extent, one.reason
        at = one.end
    if start < at:
        yield Range(start, at, extent, reason)


def _structure(fit: Fit) -> tuple[str, ...]:
    return tuple(
        f"{path.rpartition('/')[2]}: " + ", ".join(one.rpartition("/")[2] for one in needs if one in fit.images)
        for path, needs in fit.needs.items()
    )
