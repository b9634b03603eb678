"""PowerShell scripts and modules with an Authenticode signature in comments at their end.

    osslsigncode verify -CAfile ca.pem -in signed.ps1          Get-AuthenticodeSignature signed.ps1

| bytes | to the signature |
| the script with its byte order mark | hashed, as UTF-16LE |
| a line end, `# SIG # Begin signature block`, the PKCS #7 in base64, 64 characters a line, `# SIG # End signature block` | signature |

Files in XML (`.ps1xml`, `.psc1`, `.cdxml`) and `.mof` have comments of their own kind. The signature ends the file, and nothing in
front of it may look like one: PowerShell and other readers look for the words. Source: Microsoft, about_Signing; MS-OSHARED 2.3.2.4 for SpcSipInfo.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection
from typing import NamedTuple

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.output import FileRange, Parts
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.kinds import AUTHENTICODE
from sealwright.errors import MalformedArtifact, UsageError
from sealwright.formats.asked import refuse_but_one, refuse_claims
from sealwright.formats.authenticode import candidates_of, indirect_data, read_authenticode, wanted_digests
from sealwright.formats.format import (
    Coverage,
    Existing,
    Extent,
    Found,
    Prepared,
    Range,
    Sealed,
    Search,
    watched_digests,
)

NAME = "powershell"
MAX_BYTES = 16 << 20
MAX_SIGNATURE_BYTES = 1 << 20
LINE = 64
HASHES, XML, C = ("# ", ""), ("<!-- ", " -->"), ("/* ", " */")
COMMENTS = {
    ".ps1": HASHES,
    ".psm1": HASHES,
    ".psd1": HASHES,
    ".ps1xml": XML,
    ".psc1": XML,
    ".cdxml": XML,
    ".mof": C,
}
# SpcSipInfo: type 1.3.6.1.4.1.311.2.1.30, version 0x10000, the GUID of PowerShell's own reader, five zeros
_SIP_INFO = bytes.fromhex(
    "3034060a2b06010401823702011e3026020301000004101fcc3b60594b084eb724d2c6297ef351020100020100020100020100020100"
)
_BEGIN, _END = "SIG # Begin signature block", "SIG # End signature block"
_UTF16 = b"\xff\xfe"
_AGAIN = "Ask its maker for the file again."


class Layout(NamedTuple):
    """text: the script as it is hashed; encoding: of the file; content_end: in bytes; signature: PKCS #7, empty if unsigned."""

    text: str
    encoding: str
    content_end: int
    signature: bytes
    size: int

    @property
    def coverage(self) -> Coverage:
        """The whole file."""
        ranges = [Range(0, self.content_end, Extent.HASHED)]
        if self.signature:
            ranges.append(Range(self.content_end, self.size, Extent.SIGNATURE))
        return Coverage(tuple(ranges))

    def digest(self, name: HashName) -> Digest:
        """Of the script, in UTF-16LE whatever the file is in."""
        return Digest.of(self.text.encode("utf-16-le"), name)


class PowerShell:
    """The format for PowerShell's files."""

    name = NAME

    def recognises(self, source: OpenArtifact) -> bool:
        """By its name alone, as PowerShell does."""
        return _comment(source.path) is not None

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, existing: Existing, progress: Progress | None
    ) -> Prepared:
        """UsageError for claims, for `--add`, and for a name that PowerShell does not know."""
        refuse_claims(path, claims, "a PowerShell signature has no fields for product, version or generation")
        if _comment(path) is None:
            raise UsageError(path, "PowerShell looks for signatures in files by their ending", _endings())
        with open_artifact(path) as source:
            layout = read_layout(source)
        if progress is not None:
            progress.advance(layout.size)
        refuse_but_one(path, bool(layout.signature), existing, "PowerShell reads one signature of a file")
        (name,) = algorithms
        content = indirect_data(_SIP_INFO, layout.digest(name))
        digests = {name: AUTHENTICODE.digest(content, name)}
        return Prepared(
            NAME, AUTHENTICODE.name, path, digests, content, layout.size, layout.coverage, claims, existing=existing
        )

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The script with the block behind it."""
        path = prepared.path
        with open_artifact(path) as source:
            layout = read_layout(source)
        opening, closing = _comment(path) or HASHES
        encoded = base64.b64encode(sealed.envelope).decode()
        lines = [_BEGIN, *(encoded[at : at + LINE] for at in range(0, len(encoded), LINE)), _END]
        block = "\r\n" + "".join(f"{opening}{line}{closing}\r\n" for line in lines)
        return (FileRange(path, 0, layout.content_end), block.encode(layout.encoding))

    def strip(self, path: str) -> Parts:
        """The script as it was before it was signed."""
        with open_artifact(path) as source:
            layout = read_layout(source)
        if not layout.signature:
            raise UsageError(path, "there is no signature in it", "Nothing has to be removed.")
        return (FileRange(path, 0, layout.content_end),)

    def extract(self, path: str, search: Search) -> Found:
        """The one candidate and those nested in it, or none."""
        name = os.path.basename(path)
        with search.opened(path) as source:
            layout = read_layout(source)
            if not layout.signature:
                return Found(path, source.size, (), None)
            whole = watched_digests(source, search)
        found = read_authenticode(layout.signature, (_SIP_INFO[2:],), name)
        delivered = {algorithm: layout.digest(algorithm) for algorithm in wanted_digests(found, search)}
        candidates = candidates_of(found, NAME, name, delivered, layout.coverage, whole)
        return Found(path, layout.size, candidates, delivered[HashName.SHA256])


def read_layout(source: OpenArtifact) -> Layout:
    """Where script and signature are. MalformedArtifact with the line where readers could differ, LimitExceeded above 16 MiB."""
    data = source.read(MAX_BYTES)
    encoding = "utf-16-le" if data.startswith(_UTF16) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as cause:
        raise _wrong(
            source, f"byte {cause.start} is not {encoding.upper()}; save it as UTF-8 with byte order mark"
        ) from cause
    begins, ends = _places(text, _BEGIN, _END)
    for words, places in ((_BEGIN, begins), (_END, ends)):
        if len(places) > 1:
            raise _wrong(source, f"line {_line(text, places[1])}: a second `{words}`")
    if not begins and not ends:
        return Layout(text, encoding, len(data), b"", len(data))
    opening, closing = _comment_around(source, text, begins)
    head, tail = f"\r\n{opening}{_BEGIN}{closing}\r\n", f"{opening}{_END}{closing}\r\n"
    start = begins[0] - len("\r\n" + opening)
    if not text.endswith(tail) or text.index(tail, start) != len(text) - len(tail):
        raise _wrong(source, f"line {_line(text, len(text))}: the file does not end with its signature")
    lines = text[start + len(head) : len(text) - len(tail)].split("\r\n")
    signature = _signature(source, lines[:-1], _line(text, start) + 2, opening, closing) if not lines[-1] else b""
    if not signature:
        raise _wrong(source, f"line {_line(text, start)}: the signature is empty or not in whole lines")
    return Layout(text[:start], encoding, len(text[:start].encode(encoding)), signature, len(data))


def _comment_around(source: OpenArtifact, text: str, begins: list[int]) -> tuple[str, str]:
    """The kind of comment that the signature begins with, on a line of its own; that of the file's name where it has one."""
    own = _comment(source.path)
    for opening, closing in (own,) if own is not None else (HASHES, XML, C):
        line = f"\r\n{opening}{_BEGIN}{closing}\r\n"
        if begins and text.startswith(line, max(0, begins[0] - len("\r\n" + opening))):
            return opening, closing
    where = _line(text, begins[0]) if begins else _line(text, len(text))
    raise _wrong(source, f"line {where}: the signature does not begin on a line of its own")


def _signature(source: OpenArtifact, lines: list[str], first: int, opening: str, closing: str) -> bytes:
    encoded = "".join([line[len(opening) : len(line) - len(closing)] for line in lines])
    pieces = [encoded[at : at + LINE] for at in range(0, len(encoded), LINE)]
    if [f"{opening}{piece}{closing}" for piece in pieces] != lines:
        raise _wrong(
            source,
            f"line {_odd_line(lines, first, opening, closing)}: it is not {LINE} characters of base64 in a comment",
        )
    try:
        signature = base64.b64decode(encoded, validate=True)
    except ValueError as cause:
        raise _wrong(source, f"line {first}: the signature is not base64") from cause
    if base64.b64encode(signature).decode() != encoded or len(signature) > MAX_SIGNATURE_BYTES:
        raise _wrong(source, f"line {first}: the signature is not base64 as it is written, or longer than 1 MiB")
    return signature


def _odd_line(lines: list[str], first: int, opening: str, closing: str) -> int:
    """The first line that is not as the others."""
    for number, line in enumerate(lines[:-1], first):
        inner = line[len(opening) : len(line) - len(closing)]
        if len(inner) != LINE or line != f"{opening}{inner}{closing}":
            return number
    return first + len(lines) - 1


def _places(text: str, *several: str) -> list[list[int]]:
    """Where each of some words is, in any case: a reader that does not mind would see a signature there."""
    folded = text.lower()
    if len(folded) != len(text):  # a few letters grow when they are lowered; then only the exact words count
        return [_found(text, words) for words in several]
    return [_found(folded, words.lower()) for words in several]


def _found(text: str, words: str) -> list[int]:
    """The first places, three at most."""
    found: list[int] = []
    at = text.find(words)
    while at >= 0 and len(found) < 3:
        found.append(at)
        at = text.find(words, at + 1)
    return found


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _comment(path: str) -> tuple[str, str] | None:
    return COMMENTS.get(os.path.splitext(path)[1].lower())


def _endings() -> str:
    return f"Give it one of the endings {', '.join(COMMENTS)}."


def _wrong(source: OpenArtifact, what: str) -> MalformedArtifact:
    return MalformedArtifact(source.path, what, _AGAIN)
