"""The control tree of a U-Boot: the keys it trusts, in the device tree that is built into it.

    /signature/key-NAME { required = "conf"; algo = "sha256,rsa3072"; key-name-hint = "NAME"; rsa,modulus = ...; }

Without `required` U-Boot starts a FIT that anybody or nobody signed, so it is always written.
Source: U-Boot doc/usage/fit/signature.rst, "Public key storage".
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.source import open_artifact
from sealwright.envelope.algorithms import Scheme, SignatureAlgorithm
from sealwright.envelope.certified import certified
from sealwright.errors import KeyRefused, UsageError
from sealwright.formats.devicetree import piece_size, read_tree
from sealwright.formats.fit_tree import RSA_BITS, key_name

KEYS = "/signature"


def with_required_key(path: str, certificate: bytes, algorithm: SignatureAlgorithm) -> Parts:
    """A control tree with one more required key. certificate: DER; algorithm: the key is enrolled for.

    Raises UsageError where the key is in it already, KeyRefused for a key U-Boot does not read, MalformedArtifact for no tree.
    """
    name = key_name(certificate)
    node = f"{KEYS}/key-{name}"
    with open_artifact(path) as source:
        tree = read_tree(source)
        if tree.total != source.size:
            raise UsageError(path, "something stands behind the tree", "Name the control tree itself.")
    if tree.has(node):
        raise UsageError(path, f"the key {name} is in it already", "Nothing has to be done.")
    if not tree.has(KEYS):
        tree = tree.with_node(KEYS)
    tree = tree.with_node(node).with_properties(node, _properties(certificate, algorithm, name, path))
    size = sum(piece_size(piece) for piece in tree.pieces())
    return tuple(
        piece if isinstance(piece, bytes) else FileRange(path, piece.start, piece.end - piece.start)
        for piece in tree.pieces(size + -size % 4)
    )


def _properties(certificate: bytes, algorithm: SignatureAlgorithm, name: str, path: str) -> dict[str, bytes]:
    key, common = certified(certificate).key, {"required": b"conf\0", "key-name-hint": name.encode() + b"\0"}
    if isinstance(key, rsa.RSAPublicKey) and algorithm.scheme in (Scheme.RSA_PKCS1, Scheme.RSA_PSS):
        called = next((one for one, bits in RSA_BITS.items() if bits == key.key_size), None)
        if called is None:
            raise KeyRefused(path, f"U-Boot reads no RSA key of {key.key_size} bits", "Use RSA-3072 or RSA-4096.")
        modulus, bits = key.public_numbers().n, key.key_size
        return common | {
            "algo": f"sha256,{called}".encode() + b"\0",
            "rsa,num-bits": bits.to_bytes(4, "big"),
            "rsa,n0-inverse": ((-pow(modulus, -1, 1 << 32)) % (1 << 32)).to_bytes(4, "big"),
            "rsa,exponent": key.public_numbers().e.to_bytes(8, "big"),
            "rsa,modulus": modulus.to_bytes(bits // 8, "big"),
            "rsa,r-squared": pow(2, 2 * bits, modulus).to_bytes(bits // 8, "big"),
        }
    raise KeyRefused(path, f"U-Boot reads no signature by {algorithm.name}", "Use RSA.")
