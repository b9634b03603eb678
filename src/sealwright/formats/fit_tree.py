"""What a FIT image holds: images, configurations, signature nodes, and which tags of the tree a signature covers.

Source: U-Boot doc/usage/fit/signature.rst, boot/fdt_region.c, boot/image-fit-sig.c.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.source import OpenArtifact
from sealwright.envelope.algorithms import (
    ALGORITHMS,
    Scheme,
    SignatureAlgorithm,
    key_digest,
)
from sealwright.envelope.certified import certified
from sealwright.errors import LimitExceeded
from sealwright.formats.devicetree import (
    BEGIN,
    END,
    FINISH,
    Piece,
    Property,
    Span,
    Token,
    Tree,
    read_tree,
    token_pieces,
    wrong,
)

IMAGES, CONFIGURATIONS = "/images", "/configurations"
MAX_CONFIGURATIONS = 64
MAX_SIGNATURES = 128
EXCLUDED = ("data", "data-size", "data-position", "data-offset")
RSA_BITS = {"rsa2048": 2048, "rsa3072": 3072, "rsa4096": 4096}
_NO_REFERENCE = ("description", "compatible")
_PADDINGS = {"pkcs-1.5": Scheme.RSA_PKCS1, "pss": Scheme.RSA_PSS}
_STRONG = {name.value: name for name in HashName}
_PAGE = 4096


class Image(NamedTuple):
    """path: of its node; data: where its bytes are in the file; hashes: what they must have, by path of the hash node."""

    path: str
    data: Span
    hashes: dict[str, Digest]
    nodes: tuple[str, ...]


class Signature(NamedTuple):
    """One signature node with a value. nodes: what it says is hashed; strings: how many bytes of them."""

    path: str
    configuration: str
    value: bytes
    algorithm: SignatureAlgorithm
    key: str
    hint: str
    nodes: tuple[str, ...]
    strings: int


class Fit(NamedTuple):
    """A whole FIT. images: of all configurations, by path; needs: what each configuration's signature must cover, by its path."""

    tree: Tree
    size: int
    images: dict[str, Image]
    needs: dict[str, tuple[str, ...]]
    signatures: tuple[Signature, ...]


def read_fit(source: OpenArtifact) -> Fit:
    """Read tree, images, configurations and signatures; MalformedArtifact with the offset where they do not fit together."""
    tree = read_tree(source)
    if tree.reserved.strip(b"\0"):
        raise wrong(source, 40, "it reserves memory, which no signature covers")
    for parent in (IMAGES, CONFIGURATIONS):
        for path in tree.children(parent):
            if "@" in path:
                raise wrong(source, 0, f"the name of the node {path} has an @, which U-Boot reads in two ways")
    configurations = tree.children(CONFIGURATIONS)
    if not configurations or len(configurations) > MAX_CONFIGURATIONS:
        raise wrong(source, 0, f"{len(configurations)} configurations")
    default = tree.properties(CONFIGURATIONS).get("default")
    if default is not None and f"{CONFIGURATIONS}/{_text(default)}" not in configurations:
        raise wrong(source, default.at, "its default configuration is not there")
    images = {path: _image(source, tree, path) for path in tree.children(IMAGES)}
    needs = {path: tuple(_needs(source, tree, path, images)) for path in configurations}
    signatures = tuple(
        _signature(source, tree, path, configuration)
        for configuration in configurations
        for path in signature_nodes(tree, configuration)
        if "value" in tree.properties(path)
    )
    if len(signatures) > MAX_SIGNATURES:
        raise LimitExceeded(source.path, f"{len(signatures)} signatures", f"At most {MAX_SIGNATURES} are read.")
    _check_places(source, tree, images)
    return Fit(tree, source.size, images, needs, signatures)


def key_name(certificate: bytes) -> str:
    """How a key is called in trees: `key-name-hint`, and the node `key-NAME` of a control tree."""
    return key_digest(certified(certificate).key).value.hex()[:16]


def region(tree: Tree, nodes: Collection[str]) -> list[Token]:
    """The tags that a signature over these nodes covers, in order: each node with its properties, and its children's bare tags.

    Source: U-Boot boot/fdt_region.c, fdt_find_regions.
    """
    covered: list[Token] = []
    nodes = frozenset(nodes)
    want, kept, before = 0, list[int](), False
    for token in tree.tokens:
        closes = False
        if isinstance(token, Property):
            include = want == 2 and token.name not in EXCLUDED
        elif token.tag == BEGIN:
            kept.append(want)
            want = 2 if token.path in nodes else max(0, want - 1)
            include = want > 0
        elif token.tag == END:
            include = want > 0
            closes = before and not include  # the end of a node of which a child was covered goes along
            want = kept.pop()
        else:
            include = token.tag == FINISH or want == 2
        if include or closes:
            covered.append(token)
        before = include
    return covered


def region_digests(
    source: OpenArtifact, covered: Sequence[Token], strings: bytes, names: Sequence[HashName]
) -> dict[HashName, Digest]:
    """Of the tags of a `region`, and of the names that go along."""
    return source.digest_ranges(names, tuple(_places(covered)), strings, None)


def _places(covered: Sequence[Token]) -> Iterator[Piece]:
    """Where tags stand in the file, neighbours as one; of those that are not there yet what will be written."""
    start, end = 0, 0
    for token in covered:
        if token.at == end:
            end = token.end
            continue
        if start < end:
            yield Span(start, end)
        if token.at >= 0:
            start, end = token.at, token.end
        else:
            yield from token_pieces(token)
            start, end = 0, 0
    if start < end:
        yield Span(start, end)


def _image(source: OpenArtifact, tree: Tree, path: str) -> Image:
    found = tree.properties(path)
    base = tree.total + -tree.total % 4
    data = found.get("data")
    placed = [name for name in ("data-offset", "data-position") if name in found]
    if data is not None and not placed:
        span = Span(data.at + 12, data.at + 12 + data.size)
    elif data is None and "data-size" in found and len(placed) == 1:
        at = _number(source, found[placed[0]])
        start = at if placed == ["data-position"] else base + at
        span = Span(start, start + _number(source, found["data-size"]))
    else:
        raise wrong(source, 0, f"the image {path} has no data, or two")
    if span.end > source.size or (data is None and span.start < tree.total):
        raise wrong(source, span.start, f"the data of {path}, {span.end - span.start} bytes, leaves its place")
    children = tree.children(path)
    nodes = tuple(one for one in children if one.rpartition("/")[2].startswith("hash"))
    hashes = {}
    for node in nodes:
        about = tree.properties(node)
        name = _STRONG.get(_text(about.get("algo")))
        if name is None:
            continue
        value = about["value"].data if "value" in about else b""
        if len(value) != name.size:
            raise wrong(source, 0, f"{node} has a {name} digest of {len(value)} bytes")
        hashes[node] = Digest(name, value)
    cipher = tuple(one for one in children if one.rpartition("/")[2] == "cipher")
    return Image(path, span, hashes, (path, *nodes, *cipher))


def _needs(source: OpenArtifact, tree: Tree, configuration: str, images: dict[str, Image]) -> Iterator[str]:
    """The nodes that a configuration's signature must cover: the root, itself, each image it names."""
    yield "/"
    yield configuration
    seen: set[str] = set()
    for one in tree.properties(configuration).values():
        names = [f"{IMAGES}/{text}" for text in _texts(one)]
        if one.name in _NO_REFERENCE or not any(name in images for name in names):
            continue
        for name in names:
            if name not in images:
                raise wrong(source, one.at, f"{configuration} names the image {name}, which is not there")
            if name not in seen:
                seen.add(name)
                yield from images[name].nodes
    if not seen:
        raise wrong(source, 0, f"{configuration} names no image")


def _signature(source: OpenArtifact, tree: Tree, path: str, configuration: str) -> Signature:
    found = tree.properties(path)
    algorithm, key = _algorithm(source, path, _text(found.get("algo")), _text(found.get("padding")) or "pkcs-1.5")
    value = found["value"].data
    strings = found["hashed-strings"].data if "hashed-strings" in found else b""
    if len(strings) != 8 or strings[:4] != bytes(4) or int.from_bytes(strings[4:], "big") > len(tree.strings):
        raise wrong(source, found["value"].at, f"{path} does not say how many strings it covers")
    nodes = tuple(_texts(found["hashed-nodes"])) if "hashed-nodes" in found else ()
    hint = _text(found.get("key-name-hint"))
    return Signature(path, configuration, value, algorithm, key, hint, nodes, int.from_bytes(strings[4:], "big"))


def _algorithm(source: OpenArtifact, path: str, text: str, padding: str) -> tuple[SignatureAlgorithm, str]:
    digest, _, key = text.partition(",")
    scheme = _PADDINGS.get(padding) if key in RSA_BITS else None
    for algorithm in ALGORITHMS:
        if algorithm.scheme is scheme and algorithm.digest.value == digest:
            return algorithm, key
    raise wrong(source, 0, f"{path} has the algorithm {text!r} with padding {padding!r}")


def _check_places(source: OpenArtifact, tree: Tree, images: dict[str, Image]) -> None:
    """Data behind the tree follows it without overlap, with fewer than a page of zeros between, to the end of the file."""
    outside = sorted({image.data for image in images.values() if image.data.start >= tree.total})
    end = tree.total
    for start, stop in outside:
        if start < end or start - end >= _PAGE or source.read_at(end, start - end).strip(b"\0"):
            raise wrong(source, start, f"data that overlaps what ends at {end}, or leaves a gap")
        end = stop
    if source.size - end >= _PAGE or source.read_at(end, source.size - end).strip(b"\0"):
        raise wrong(source, end, "something stands behind the last image")


def is_signature(path: str) -> bool:
    """A configuration's signature node: what is in it is about the signature, and nothing is below it."""
    parts = path.split("/")
    return len(parts) == 4 and f"/{parts[1]}" == CONFIGURATIONS and parts[3].startswith("signature")


def signature_nodes(tree: Tree, configuration: str) -> list[str]:
    return [path for path in tree.children(configuration) if is_signature(path)]


def names_images(one: Property, images: dict[str, Image]) -> bool:
    return one.name not in _NO_REFERENCE and any(f"{IMAGES}/{text}" in images for text in _texts(one))


def _number(source: OpenArtifact, one: Property) -> int:
    if one.size != 4:
        raise wrong(source, one.at, f"{one.path}/{one.name} of {one.size} bytes is no number")
    return int.from_bytes(one.data, "big")


def _text(one: Property | None) -> str:
    """The one text of a property, "" where there is no property, and no name of anything where it is no text."""
    if one is None:
        return ""
    texts = _texts(one)
    return texts[0] if len(texts) == 1 else "?"


def _texts(one: Property) -> list[str]:
    if not one.data.endswith(b"\0"):
        return []
    return [part.decode("ascii", "replace") for part in one.data[:-1].split(b"\0")]


def string(text: str) -> bytes:
    return text.encode() + b"\0"
