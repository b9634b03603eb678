"""IMA signatures of a whole tree in one list, `TREE.ima`: what an image builder puts into the file system it makes.

    # file: bin/start
    security.ima=0sAwIEoqmEbwEA…

    cd TREE && setfattr --restore=../TREE.ima        as root, on the file system of the image
    getfattr --dump -m security.ima -e base64 -R -P .  writes the same

Each regular file has an entry, whatever its mode and owner; links, folders and devices have none, because IMA appraises none.
A signature binds a file's content and not its name: what a tree has to be as a whole, only a manifest says.

1. The list holds this one attribute and nothing else (`setfattr` would set whatever it is told), names that stay inside the tree,
   each once, and signatures of one key; an empty line stands between two files and nowhere else.
2. Every regular file of the tree is in the list and every entry is a file; each signature is verified with the delivered bytes.
Source: attr(1), getfattr and setfattr; `ima.py` for the value.
"""

from __future__ import annotations

import base64
import binascii
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.hashing import ANY_MODE, Results, hash_files
from sealwright.artifact.names import MAX_DEPTH, MAX_NAME_BYTES, display
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import open_artifact, read_file, unreadable
from sealwright.artifact.walk import MAX_MEMBERS
from sealwright.envelope.algorithms import check_digest_signature
from sealwright.envelope.cms import Signer
from sealwright.envelope.kinds import IMA
from sealwright.errors import BadSignature, LimitExceeded, MalformedArtifact, SealwrightError
from sealwright.findings import Finding, reject
from sealwright.formats.format import Candidate, Coverage, Found, Search, Slot
from sealwright.formats.ima import NAME, ImaSignature, check_content, envelope_of, read_signature, signers_of

MAX_LIST_BYTES = 512 << 20
MAX_LINE_BYTES = 4 * MAX_NAME_BYTES + 16  # a name of which every byte is escaped
MAX_NAMED = 1000
_NO_LINE = (0, b"")
_FILE, _ATTRIBUTE = b"# file: ", b"security.ima="
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")
_TO_ESCAPE = re.compile(rb"[\x00-\x1f\x7f\\]")
_AGAIN = "Have the list made again from the tree."


class Entry(NamedTuple):
    """A file of the tree and its signature. name: raw, relative; data: the attribute's value."""

    name: bytes
    data: bytes


def list_bytes(entries: Iterable[Entry]) -> bytes:
    """The list, as `setfattr --restore` reads it."""
    return b"".join(
        b"%s%s\n%s0s%s\n\n" % (_FILE, _escaped(name), _ATTRIBUTE, base64.b64encode(data)) for name, data in entries
    )


def read_list(data: bytes, subject: str) -> tuple[Entry, ...]:
    """MalformedArtifact naming the line for anything but files, each once and inside the tree, with this one attribute."""
    if len(data) > MAX_LIST_BYTES:
        raise LimitExceeded(subject, f"a list of {len(data)} bytes", f"At most {MAX_LIST_BYTES} bytes are read.")
    entries: dict[bytes, bytes] = {}
    lines = _lines(data, subject)
    for number, line in lines:
        name = _name(line, subject, number)
        if name in entries:
            raise MalformedArtifact(subject, f"line {number}: {display(name)} is there twice", _AGAIN)
        if len(entries) == MAX_MEMBERS:
            raise LimitExceeded(subject, f"more than {MAX_MEMBERS} files", "Sign smaller trees.")
        entries[name] = _value(next(lines, _NO_LINE)[1], subject, number + 1)
        if next(lines, _NO_LINE)[1]:
            raise MalformedArtifact(subject, f"line {number + 2}: another attribute than security.ima", _AGAIN)
    if not entries:
        raise MalformedArtifact(subject, "it lists no file", _AGAIN)
    return tuple(map(Entry._make, entries.items()))


def regular_files(root: str) -> list[bytes]:
    """The raw names of all regular files below a folder, sorted; links are not followed. Unreadable or LimitExceeded."""
    found: list[bytes] = []
    try:
        for names in _walk(os.fsencode(root), b"", 0, root):
            found += names
            if len(found) > MAX_MEMBERS:
                raise LimitExceeded(root, f"more than {MAX_MEMBERS} files", "Sign smaller trees.")
    except OSError as cause:
        raise unreadable(root, cause) from cause
    found.sort()
    return found


def hash_regular(root: str, names: Sequence[bytes], algorithm: HashName, progress: Progress | None) -> Results:
    """Hash files of a tree, whatever their modes. Raises what `check_content` raises, Unreadable or ChangedWhileRead, naming the file."""
    for name in names:
        with open_artifact(os.path.join(root, os.fsdecode(name))) as source:
            check_content(source)
    return hash_files(root, names, algorithm, progress, ANY_MODE)


def extract_list(folder: str, path: str, search: Search) -> Found:
    """The list at a path as one candidate, which counts if every file of the folder has what was signed."""
    name, folder_name = os.path.basename(path), os.path.basename(folder)
    try:
        written = read_file(path, MAX_LIST_BYTES)
        read = [(one, read_signature(data, name)) for one, data in read_list(written, name)]
        _check_one_key(read, name)
        signatures = dict(read)
        names = regular_files(folder)
        present = [one for one in names if one in signatures]
        algorithm = read[0][1].digest
        delivered = _digests(folder, present, algorithm, search.progress)
        watched = _watched(folder, present, delivered, algorithm, search)
    except SealwrightError as cause:
        finding = reject(cause.code, cause.subject, found=cause.what)
        broken = Candidate(name, Slot.MAKER, NAME, IMA.name, None, {}, None, findings=(finding,), name=folder_name)
        return Found(folder, 0, (broken,), None)
    first, signature = next(((one, signatures[one]) for one in present), read[0])
    digest = delivered.get(first, Digest.of(b"", algorithm))
    signers = signers_of(signature, digest, search.certificates, name)
    known = next((one for one in signers if isinstance(one, Signer)), None)
    findings = [
        *(reject("SW-TREE-FILE-MISSING", display(one)) for one in signatures if one not in delivered),
        *(reject("SW-TREE-FILE-EXTRA", display(one)) for one in names if one not in signatures),
        *(_changed(signatures, delivered, known) if known is not None else ()),
    ]
    if (more := len(findings) - MAX_NAMED) > 0:
        findings[MAX_NAMED:] = [reject("SW-TREE-MORE", folder_name, found=str(more))]
    candidate = Candidate(
        source=name,
        slot=Slot.MAKER,
        format=NAME,
        kind=IMA.name,
        envelope=envelope_of(signers),
        digests={algorithm: digest},
        artifact=Digest.of(written),
        coverage=Coverage.whole(0),
        findings=tuple(findings),
        contents=watched,
        name=folder_name,
    )
    return Found(folder, 0, (candidate,), candidate.artifact, structure=(f"{len(signatures)} files",))


def _digests(
    folder: str, names: Sequence[bytes], algorithm: HashName, progress: Progress | None
) -> dict[bytes, Digest]:
    values = hash_regular(folder, names, algorithm, progress).digests()
    return {name: Digest(algorithm, value) for name, value in zip(names, values, strict=True)}


def _watched(
    folder: str, names: Sequence[bytes], delivered: Mapping[bytes, Digest], algorithm: HashName, search: Search
) -> tuple[Digest, ...]:
    """The watched digests that some file has; read once more for algorithms that the list does not use."""
    present = set(delivered.values())
    for other in {digest.algorithm for digest in search.watched} - {algorithm}:
        present.update(_digests(folder, names, other, search.progress).values())
    return tuple(digest for digest in search.watched if digest in present)


def _changed(
    signatures: dict[bytes, ImaSignature], delivered: dict[bytes, Digest], signer: Signer
) -> Iterator[Finding]:
    for name, digest in delivered.items():
        one = signatures[name]
        try:
            check_digest_signature(signer.key, one.algorithm, one.value, digest, subject=display(name))
        except BadSignature:
            yield reject("SW-TREE-FILE-CHANGED", display(name), found=str(digest))


def _check_one_key(read: Sequence[tuple[bytes, ImaSignature]], name: str) -> None:
    wanted = read[0][1]
    for one, signature in read:
        if (signature.key, signature.algorithm) != (wanted.key, wanted.algorithm):
            said = f"{display(one)} is signed by key {signature.key.hex()}, the first file by {wanted.key.hex()}"
            raise MalformedArtifact(name, said + ", and a list has one signer", _AGAIN)


def _walk(path: bytes, prefix: bytes, depth: int, root: str) -> Iterator[list[bytes]]:
    if depth > MAX_DEPTH:
        raise LimitExceeded(root, f"folders more than {MAX_DEPTH} deep", "Sign a smaller tree.")
    folders = []
    with os.scandir(path) as members:
        names = []
        for member in members:
            if member.is_file(follow_symlinks=False):
                names.append(prefix + member.name)
            elif member.is_dir(follow_symlinks=False):
                folders.append(member.name)
    yield names
    for folder in folders:
        yield from _walk(os.path.join(path, folder), prefix + folder + b"/", depth + 1, root)


def _lines(data: bytes, subject: str) -> Iterator[tuple[int, bytes]]:
    """Lines without their ends, numbered from 1; MalformedArtifact for one without its end, or longer than a list has any."""
    file = io.BytesIO(data)
    for number in itertools.count(1):
        line = file.readline(MAX_LINE_BYTES)
        if not line:
            return
        if not line.endswith(b"\n"):
            what = (
                "it is longer than any line of a list"
                if len(line) == MAX_LINE_BYTES
                else "the final line feed is missing"
            )
            raise MalformedArtifact(subject, f"line {number}: {what}", _AGAIN)
        yield number, line[:-1]


def _name(line: bytes, subject: str, number: int) -> bytes:
    text = line.removeprefix(_FILE)
    if text == line:
        raise MalformedArtifact(subject, f"line {number}: it does not begin `# file: `", _AGAIN)
    name = _ESCAPED.sub(lambda match: bytes((int(match[1], 8),)), text)
    if _escaped(name) != text:
        raise MalformedArtifact(subject, f"line {number}: a name that is not written as getfattr writes it", _AGAIN)
    if b"\0" in name or any(part in (b"", b".", b"..") for part in name.split(b"/")):
        raise MalformedArtifact(subject, f"line {number}: {display(name)} leads out of the tree", _AGAIN)
    return name


def _value(line: bytes, subject: str, number: int) -> bytes:
    text = line.removeprefix(_ATTRIBUTE)
    if text == line:
        raise MalformedArtifact(subject, f"line {number}: another attribute than security.ima", _AGAIN)
    try:
        if text.startswith(b"0s"):
            return base64.b64decode(text[2:], validate=True)
        if text.startswith(b"0x"):
            return binascii.unhexlify(text[2:])
    except ValueError as cause:
        raise MalformedArtifact(subject, f"line {number}: its value is not readable: {cause}", _AGAIN) from cause
    raise MalformedArtifact(subject, f"line {number}: its value is not written in 0s (base64) or 0x", _AGAIN)


def _escaped(name: bytes) -> bytes:
    return _TO_ESCAPE.sub(lambda match: b"\\%03o" % match[0][0], name)
