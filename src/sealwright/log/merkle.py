"""The Merkle tree of a log (RFC 6962 section 2.1, RFC 9162 section 2.1): hashes of leaves and nodes, and proofs checked: that a leaf
is in a tree (2.1.3.2), and that one tree continues another (2.1.4.2). `tree.py` makes them.

A leaf is hashed with 0x00 before it and a node with 0x01, so that no node passes for a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
EMPTY_ROOT = sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees."""
    return sha256(b"\x01" + left + right).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of leaves in their order, level by level; of none SHA-256 of nothing (RFC 9162 section 2.1.1)."""
    level = list(leaves)
    if not level:
        return sha256(b"").digest()
    while len(level) > 1:
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs if len(level) % 2 == 0 else [*pairs, level[-1]]
    return level[0]


def root_of(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a leaf's hash and its inclusion proof lead to; ValueError where the path does not fit index and size.

    path: the hashes beside the way up, from the leaf's sibling to the root's child.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError(f"entry {index} is not in a tree of {size}")
    if any(len(one) != HASH_BYTES for one in (leaf, *path)):
        raise ValueError("a hash of another length")
    at, last, found = index, size - 1, leaf
    for beside in path:
        if last == 0:
            raise ValueError("more hashes than the tree is high")
        if at & 1 or at == last:
            found = node_hash(beside, found)
            while at and not at & 1:  # a lone subtree at the right edge is carried up unpaired
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, beside)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ValueError("fewer hashes than the tree is high")
    return found


def check_consistency(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """ValueError unless the proof shows that the tree of `size` begins with the tree of `old_size`.

    path: RFC 9162 section 2.1.4.1, as `tree.consistency_path` makes it; none from an empty tree, or from a tree to itself.
    """
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise ValueError(f"a tree of {size} does not continue one of {old_size}")
    if any(len(one) != HASH_BYTES for one in (old_root, root, *path)):
        raise ValueError("a hash of another length")
    if old_size in (0, size):
        if path:
            raise ValueError("hashes where none are needed")
        if old_root != (EMPTY_ROOT if old_size == 0 else root) or (size == 0 and root != EMPTY_ROOT):
            raise ValueError("the roots do not fit")
        return
    if old_size & (old_size - 1) == 0:
        path = (old_root, *path)  # a whole subtree of the new tree, which a proof does not repeat
    if not path:
        raise ValueError("fewer hashes than the tree is high")
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for beside in path[1:]:
        if last == 0:
            raise ValueError("more hashes than the tree is high")
        if at & 1 or at == last:
            old, new = node_hash(beside, old), node_hash(beside, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, beside)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ValueError("fewer hashes than the tree is high")
    if old != old_root:
        raise ValueError("the proof does not lead to the old root")
    if new != root:
        raise ValueError("the proof does not lead to the new root")
