"""RFC 4998 evidence records: what they hold, how they are made, renewed and followed; whom to believe is `trust/evidence.py`.

A record is a sequence of chains of archive timestamps. Within a chain one digest is used, and each timestamp is over the one
before it (section 5.2, timestamp renewal); a new chain, with a stronger digest, is over the data objects and all earlier
chains (hash-tree renewal). One timestamp serves a batch: its imprint is the root of a hash tree, and each record carries the
reduced tree that leads from its own hashes, the first list, to that root (section 4).

1. Lists of hashes are sorted in binary order, concatenated and hashed; a list of one hash is that hash.
2. A data group is its objects' hashes in the first list. What joins a group later, such as the revocation lists kept at a
   renewal, stands in the first list of that renewal, beside the hash of the timestamp before it.
3. After hash-tree renewal an object's hash is H(h || ha), ha = H(DER of all earlier chains). Erratum 7411, reported and not
   decided, sorts h and ha; both are read, the text of section 5.2 is written, as other programs do.
4. Certificates and revocation lists travel in cryptoInfos as the CAdES attributes certificate-values and revocation-values
   (RFC 5126 section 6.3). They are unprotected there, so each counts only if it is also an object of the group.

Trees are binary here, so that a list above the first has one hash; longer ones are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Union

from cryptography.hazmat import asn1

from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.algorithms import DIGEST_IDENTIFIERS, READ_DIGESTS
from sealwright.envelope.asn1 import OID, TLV, Attribute, der, tlv
from sealwright.envelope.ber import to_der
from sealwright.errors import LimitExceeded, MalformedEnvelope

MAX_BYTES = 8 << 20
MAX_CHAINS = 16
MAX_LINKS = 64
MAX_LISTS = 64
MAX_HASHES = 1024
MAX_MATERIAL = 256
MAX_ELEMENTS = 50_000
_DEPTH = 7  # from the record down to one revocation list, or one hash of a tree
CERTIFICATE_VALUES = OID("1.2.840.113549.1.9.16.2.23")
REVOCATION_VALUES = OID("1.2.840.113549.1.9.16.2.24")
_AGAIN = "Fetch the evidence record again, or remove it: without it the signature is judged by its own timestamps."


@asn1.sequence
class Algorithm:
    """AlgorithmIdentifier of a digest: parameters absent or NULL."""

    algorithm: OID
    parameters: Union[asn1.Null, None] = None  # noqa: UP007


@asn1.sequence
class ArchiveTimeStamp:
    """ArchiveTimeStamp (RFC 4998 section 4.1); PartialHashtree is a SEQUENCE OF OCTET STRING."""

    digest: Annotated[Union[Algorithm, None], asn1.Implicit(0)] = None  # noqa: UP007
    attributes: Annotated[Union[asn1.SetOf[Attribute], None], asn1.Implicit(1)] = None  # noqa: UP007
    tree: Annotated[Union[list[list[bytes]], None], asn1.Implicit(2)] = None  # noqa: UP007
    token: TLV


@asn1.sequence
class EncryptionInfo:
    """EncryptionInfo (RFC 4998 section 6.1), which no record of ours has."""

    type: OID
    value: TLV


@asn1.sequence
class EvidenceRecord:
    """EvidenceRecord (RFC 4998 section 3.1); an ArchiveTimeStampChain is a SEQUENCE OF ArchiveTimeStamp."""

    version: int
    digests: Annotated[list[TLV], asn1.Size(1, 16)]
    material: Annotated[Union[list[Attribute], None], asn1.Implicit(0)] = None  # noqa: UP007
    encryption: Annotated[Union[EncryptionInfo, None], asn1.Implicit(1)] = None  # noqa: UP007
    chains: Annotated[list[list[TLV]], asn1.Size(1, MAX_CHAINS)]


@asn1.sequence
class CertificateValues:
    """CertificateValues (RFC 5126 section 6.3.3), read as the one element of a SEQUENCE."""

    certificates: Annotated[list[TLV], asn1.Size(0, MAX_MATERIAL)]


@asn1.sequence
class RevocationValues:
    """RevocationValues (RFC 5126 section 6.3.4); OCSP answers are not used."""

    crls: Annotated[Union[list[TLV], None], asn1.Explicit(0)] = None  # noqa: UP007
    ocsp: Annotated[Union[list[TLV], None], asn1.Explicit(1)] = None  # noqa: UP007


HashTree = tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """One archive timestamp. token: DER; tree: from the first list upwards, empty where the timestamp is over one hash;
    encoded: the whole as it stands in the record."""

    digest: HashName
    tree: HashTree
    token: bytes
    encoded: bytes

    def root(self) -> bytes | None:
        """The hash that the timestamp must be over; None where there is no tree."""
        return root_of(self.tree, self.digest) if self.tree else None


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. chains: each with at least one link, of one digest; certificates, crls: DER, unprotected by themselves;
    others: attributes of cryptoInfos that nothing here reads, DER."""

    chains: tuple[tuple[Link, ...], ...]
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    others: tuple[bytes, ...]
    encoded: bytes

    @property
    def links(self) -> tuple[Link, ...]:
        """All archive timestamps in their order."""
        return tuple(link for chain in self.chains for link in chain)

    @property
    def digests(self) -> frozenset[HashName]:
        """The digests that objects must be given by."""
        return frozenset(chain[0].digest for chain in self.chains)


@dataclass(frozen=True, slots=True)
class Batch:
    """A hash tree to be timestamped. root: what the timestamp is over; trees: the reduced tree of each group, in order."""

    root: Digest
    trees: tuple[HashTree, ...]


def read_record(data: bytes, subject: str) -> Record:
    """Read a record without judging it; MalformedEnvelope or LimitExceeded where it is none that is accepted."""
    if len(data) > MAX_BYTES:
        raise LimitExceeded(subject, f"an evidence record of {len(data)} bytes", f"At most {MAX_BYTES} are read.")
    if _elements(data) > MAX_ELEMENTS:
        raise LimitExceeded(subject, "an evidence record of very many parts", f"At most {MAX_ELEMENTS} are read.")
    try:
        record = asn1.decode_der(EvidenceRecord, data)
        if record.version != 1:
            raise MalformedEnvelope(subject, f"its version is {record.version}, not 1", _AGAIN)
        if record.encryption is not None:
            raise MalformedEnvelope(subject, "it is over encrypted content", _AGAIN)
        certificates, crls, others = _material(record.material or [], subject)
        if not 1 <= sum(map(len, record.chains)) <= MAX_LINKS or not all(record.chains):
            raise LimitExceeded(subject, "no archive timestamp, or too many", f"At most {MAX_LINKS} are read.")
        chains = tuple(tuple(_link(one, subject) for one in chain) for chain in record.chains)
    except ValueError as cause:
        raise MalformedEnvelope(subject, "it is not an EvidenceRecord in DER (RFC 4998)", _AGAIN) from cause
    named = {READ_DIGESTS.get(asn1.encode_der(one)) for one in record.digests}
    for chain in chains:
        if len({link.digest for link in chain}) != 1:
            raise MalformedEnvelope(subject, "a chain uses two digests", _AGAIN)
        if chain[0].digest not in named:
            raise MalformedEnvelope(subject, f"it uses {chain[0].digest} and does not name it", _AGAIN)
    return Record(chains, certificates, crls, others, data)


def _elements(data: bytes) -> int:
    """How many elements the decoder would build, counted before it does: 8 MiB of empty ones would take it half a gigabyte.

    Stops where the limit is passed, or at what is not DER, which the decoder then refuses.
    """
    count, ends, at = 0, [len(data)], 0
    while count <= MAX_ELEMENTS:
        while ends and at >= ends[-1]:
            ends.pop()
        if not ends or at + 2 > len(data):
            break
        count += 1
        tag, size, at = data[at], data[at + 1], at + 2
        if size > 0x84:
            break
        if size >= 0x80:
            long = size - 0x80
            size, at = int.from_bytes(data[at : at + long], "big"), at + long
        if tag & 0x20 and len(ends) <= _DEPTH:
            ends.append(min(at + size, ends[-1]))
        else:
            at += size
    return count


def _material(attributes: list[Attribute], subject: str) -> tuple[tuple[bytes, ...], ...]:
    """Certificates, revocation lists, and the attributes that are not known, which are left alone."""
    others: list[bytes] = []
    certificates: list[bytes] = []
    crls: list[bytes] = []
    if len(attributes) > MAX_MATERIAL:
        raise LimitExceeded(subject, f"{len(attributes)} cryptoInfos", f"At most {MAX_MATERIAL} are read.")
    for attribute in attributes:
        for value in attribute.values.as_list():
            data = asn1.encode_der(value)
            if attribute.type == CERTIFICATE_VALUES:
                certificates += map(asn1.encode_der, asn1.decode_der(CertificateValues, der(0x30, data)).certificates)
            elif attribute.type == REVOCATION_VALUES:
                crls += map(asn1.encode_der, asn1.decode_der(RevocationValues, data).crls or [])
        if attribute.type not in (CERTIFICATE_VALUES, REVOCATION_VALUES):
            others.append(asn1.encode_der(attribute))
    if len(certificates) > MAX_MATERIAL or len(crls) > MAX_MATERIAL:
        raise LimitExceeded(subject, "too many certificates or lists", f"At most {MAX_MATERIAL} of each are read.")
    return tuple(certificates), tuple(crls), tuple(others)


def _link(element: TLV, subject: str) -> Link:
    encoded = asn1.encode_der(element)
    read = asn1.decode_der(ArchiveTimeStamp, encoded)
    tree = tuple(tuple(hashes) for hashes in read.tree or [])
    token = asn1.encode_der(read.token)
    name = _digest_of(read.digest) if read.digest is not None else _imprint_digest(token, subject)
    if name is None:
        raise MalformedEnvelope(subject, "its digest is not SHA-256, SHA-384 or SHA-512", _AGAIN)
    if read.tree is not None and (not tree or not all(tree)):
        raise MalformedEnvelope(subject, "it has an empty hash tree", _AGAIN)
    if len(tree) > MAX_LISTS or sum(map(len, tree)) > MAX_HASHES:
        raise LimitExceeded(subject, "a hash tree that is too large", f"At most {MAX_HASHES} hashes are read.")
    if any(len(one) != name.size for hashes in tree for one in hashes):
        raise MalformedEnvelope(subject, f"a hash in it is not of {name}", _AGAIN)
    return Link(name, tree, token, encoded)


def _digest_of(algorithm: Algorithm) -> HashName | None:
    return READ_DIGESTS.get(asn1.encode_der(algorithm))


def _imprint_digest(token: bytes, subject: str) -> HashName:
    from sealwright.envelope.tsp import read_token

    return read_token(token, subject).imprint.algorithm


def root_of(tree: HashTree, name: HashName) -> bytes:
    """The root that a reduced hash tree leads to (RFC 4998 section 4.3)."""
    node = _node(tree[0], name)
    for siblings in tree[1:]:
        node = _node((node, *siblings), name)
    return node


def _node(hashes: Sequence[bytes], name: HashName) -> bytes:
    return hashes[0] if len(hashes) == 1 else Digest.of(b"".join(sorted(hashes)), name).value


def batch(groups: Sequence[Sequence[bytes]], name: HashName) -> Batch:
    """One hash tree over many groups of hashes (RFC 4998 section 4.2); groups that are equal share a leaf."""
    ordered = [tuple(sorted(set(group))) for group in groups]
    leaves = list(dict.fromkeys(ordered))
    nodes = [_node(leaf, name) for leaf in leaves]
    above: list[list[bytes]] = [[] for _ in leaves]
    members = [[place] for place in range(len(leaves))]
    while len(nodes) > 1:
        pairs = range(0, len(nodes) - 1, 2)
        for left in pairs:
            for mine, other in ((left, left + 1), (left + 1, left)):
                for place in members[mine]:
                    above[place].append(nodes[other])
        joined = [(_node((nodes[at], nodes[at + 1]), name), members[at] + members[at + 1]) for at in pairs]
        if len(nodes) % 2:
            joined.append((nodes[-1], members[-1]))
        nodes = [node for node, _ in joined]
        members = [place for _, place in joined]
    trees = {leaf: _reduced(leaf, siblings) for leaf, siblings in zip(leaves, above, strict=True)}
    return Batch(Digest(name, nodes[0]), tuple(trees[leaf] for leaf in ordered))


def _reduced(leaf: tuple[bytes, ...], above: list[bytes]) -> HashTree:
    if len(leaf) == 1:  # the first list holds what has the same father as the one hash
        leaf, above = tuple(sorted((*leaf, *above[:1]))), above[1:]
    return () if len(leaf) == 1 else (leaf, *((one,) for one in above))


def renewed_hash(plain: bytes, earlier: Sequence[Sequence[Link]], name: HashName) -> bytes:
    """An object's hash in the first link of a chain after earlier ones, as it is written."""
    return Digest.of(plain + _before(earlier, name), name).value if earlier else plain


def _before(earlier: Sequence[Sequence[Link]], name: HashName) -> bytes:
    """ha of RFC 4998 section 5.2: over the DER of the sequence of all earlier chains."""
    chains = (der(0x30, b"".join(link.encoded for link in chain)) for chain in earlier)
    return Digest.of(der(0x30, b"".join(chains)), name).value


@lru_cache(maxsize=4)
def _earlier(record: Record) -> tuple[bytes, ...]:
    """ha of each chain, worked out once: every object of a record asks."""
    return tuple(_before(record.chains[:number], chain[0].digest) for number, chain in enumerate(record.chains))


def covers(link: Link, imprint: bytes, value: bytes) -> bool:
    """Whether a link's first list has a hash; without a tree its timestamp is over that hash alone."""
    return value in link.tree[0] if link.tree else value == imprint


def follows(record: Record, imprints: Sequence[bytes]) -> str:
    """Why the links do not follow from each other, or "". imprints: of the timestamps, one a link (sections 4.3 and 5.3)."""
    place = 0
    for chain in record.chains:
        before: Link | None = None
        for link in chain:
            imprint = imprints[place]
            place += 1
            if link.tree and link.root() != imprint:
                return f"the hash tree of archive timestamp {place} does not lead to its timestamp"
            if before is not None and not covers(link, imprint, Digest.of(before.token, link.digest).value):
                return f"archive timestamp {place} is not over the one before it"
            before = link
    return ""


def introduced(record: Record, imprints: Sequence[bytes], digests: Callable[[HashName], bytes]) -> int | None:
    """The link by which an object is protected, counted from 0; None where it is not, or a later chain forgot it.

    digests: the object's hash by each digest of the record.
    """
    found: int | None = None
    place = 0
    for number, chain in enumerate(record.chains):
        name = chain[0].digest
        plain = digests(name)
        values = {plain}
        if number:
            before = _earlier(record)[number]
            values = {Digest.of(plain + before, name).value, Digest.of(b"".join(sorted((plain, before))), name).value}
        if any(covers(chain[0], imprints[place], value) for value in values):
            found = place if found is None else found
        elif found is not None:
            return None
        for offset, link in enumerate(chain[1:], 1):
            if found is None and link.tree and plain in link.tree[0]:
                found = place + offset
        place += len(chain)
    return found


def new_link(name: HashName, tree: HashTree, token: bytes) -> Link:
    """An archive timestamp around a token."""
    token = to_der(token)
    parts = der(0xA0, DIGEST_IDENTIFIERS[name][2:])
    if tree:
        lists = b"".join(der(0x30, b"".join(der(0x04, one) for one in hashes)) for hashes in tree)
        parts += der(0xA2, lists)
    return Link(name, tree, token, der(0x30, parts + token))


def record_bytes(
    chains: Sequence[Sequence[Link]],
    certificates: Sequence[bytes] = (),
    crls: Sequence[bytes] = (),
    others: Sequence[bytes] = (),
) -> bytes:
    """A record in DER, the links as they were made."""
    names = dict.fromkeys(chain[0].digest for chain in chains)
    material = b"".join(others)
    if certificates:
        material += _attribute(CERTIFICATE_VALUES, der(0x30, b"".join(certificates)))
    if crls:
        material += _attribute(REVOCATION_VALUES, der(0x30, der(0xA0, der(0x30, b"".join(crls)))))
    return der(
        0x30,
        b"\x02\x01\x01"
        + der(0x30, b"".join(DIGEST_IDENTIFIERS[name] for name in names))
        + (der(0xA0, material) if material else b"")
        + der(0x30, b"".join(der(0x30, b"".join(link.encoded for link in chain)) for chain in chains)),
    )


def _attribute(kind: OID, value: bytes) -> bytes:
    return asn1.encode_der(Attribute(type=kind, values=asn1.SetOf([tlv(value)])))


def contains(longer: Record, shorter: Record) -> bool:
    """Whether a record is another one continued: every link of it as it was, in its place, and nothing of its material lost."""
    for number, chain in enumerate(shorter.chains):
        if number >= len(longer.chains):
            return False
        after = longer.chains[number]
        same = [link.encoded for link in after[: len(chain)]] == [link.encoded for link in chain]
        if not same or (number < len(shorter.chains) - 1 and len(after) != len(chain)):
            return False
    mine, theirs = ({*one.certificates, *one.crls, *one.others} for one in (longer, shorter))
    return mine >= theirs and len(longer.links) > len(shorter.links)


def hashes_of(digests: Mapping[HashName, Digest]) -> Callable[[HashName], bytes]:
    """An object's hashes for `introduced`, out of its digests."""
    return lambda name: digests[name].value
