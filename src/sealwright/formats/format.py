"""The values between an artifact and its signature, and the protocol every format keeps.

A format is one file that turns an artifact into what a signature binds (`prepare`) and finds envelope and content again
(`extract`). It knows nothing of keys or trust. A signature beside the artifact needs no more; a format that keeps it
inside is an `EmbeddedFormat`: it also puts the signature into a new file (`attach`) and takes it out again (`strip`).
One whose verifiers look for it in a place of their own beside that new file is a `BesideFormat`: it says what lies there.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact, open_artifact, read_file_or_none
from sealwright.envelope.algorithms import SignatureAlgorithm
from sealwright.envelope.cms import Envelope
from sealwright.findings import Finding, Severity

if TYPE_CHECKING:
    from sealwright.artifact.acceptance import Acceptance  # start-up time: few files have one
    from sealwright.artifact.output import Parts  # start-up time: `verify` writes nothing
    from sealwright.artifact.receiving import Receiving  # start-up time: few files have one
    from sealwright.formats.archive import Archive, ArchiveObject  # start-up time: few files have one
    from sealwright.formats.layouttext import Layout


# the formats of the plant's statements about an artifact of any format
ACCEPTANCE = "acceptance"
RECEIVING = "receiving"


class Slot(StrEnum):
    """Which part a signature plays; a signature fills one slot (RULES 1)."""

    MAKER = "maker"
    PLANT = "plant"
    PQ = "pq"


class Extent(StrEnum):
    """What one byte range of an artifact is to the signature."""

    HASHED = "hashed"
    SIGNATURE = "signature"
    UNCOVERED = "uncovered"


class Range(NamedTuple):
    """Bytes start <= i < end of the artifact; reason is given where they are not hashed."""

    start: int
    end: int
    extent: Extent
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """Ranges that tile the artifact completely, in order; for a tree the one range of its listed bytes."""

    ranges: tuple[Range, ...]

    def __post_init__(self) -> None:
        at = 0
        for part in self.ranges:
            if part.start != at or part.end < part.start:
                raise ValueError(f"coverage leaves a gap or overlaps at byte {at}")
            at = part.end

    @classmethod
    @lru_cache(maxsize=256)
    def whole(cls, size: int) -> Coverage:
        """Every byte hashed."""
        return cls((Range(0, size, Extent.HASHED),))


class Existing(Enum):
    """What happens to signatures that are in an artifact already."""

    REFUSE = auto()
    REPLACE = auto()
    ADD = auto()


class Companion(NamedTuple):
    """A file beside an artifact: a manifest, or what a `BesideFormat` has there. suffix: appended to the artifact's name."""

    suffix: str
    data: bytes


class Prepared(NamedTuple):
    """What a signature will bind, made without the key: this, not the artifact, is what a client sends to a service.

    kind: the content kind of RULES 1 (`file`, `manifest`, ...); digests: of the signed content by each algorithm asked for;
    content: the small content itself (<= 1 MiB) where the format has one, which the signer parses and encodes again;
    suffix: what the signature's name adds to the artifact's name before the slot and `.p7s`; existing: for `attach`, and so is
    kept, a number that the format took from the bytes while they were read; layout: digest of the text that says what of the
    artifact is hashed, where one does.
    behind: what `attach` puts behind the artifact, where it was made in the same pass (a hash tree); it goes to no service.
    name: of the new file, which a signature may be made to say.
    """

    format: str
    kind: str
    path: str
    digests: Mapping[HashName, Digest]
    content: bytes | None
    size: int
    coverage: Coverage
    claims: Claims
    suffix: str = ""
    companions: tuple[Companion, ...] = ()
    existing: Existing = Existing.REFUSE
    layout: Digest | None = None
    kept: int = 0
    behind: bytes = b""
    name: str = ""


class Sealed(NamedTuple):
    """What a key made for a `Prepared`. envelope: the signature as its verifiers read it, with its timestamps; value: the signature
    value in it, in the encoding of CMS; certificate: DER."""

    envelope: bytes
    value: bytes
    certificate: bytes
    algorithm: SignatureAlgorithm


class LogProofFile(NamedTuple):
    """A `.tlog-proof` beside a signature, unread. name: of the file, for people."""

    name: str
    data: bytes


class Candidate(NamedTuple):
    """One envelope found for an artifact, with the digests of the delivered content that it must bind.

    source: the file it was found in; envelope: None where it could not be read, then `findings` says why;
    late_tokens: DER timestamp tokens found beside it (`.tsr`); artifact: the content digest deny lists and logs use;
    contents: digests of delivered files that a statement is about, as far as deny lists ask for them; lists: the digest by which a
    manifest binds its files;
    name: of the delivered content, for people; log_proof: the proof that lies beside it, that it is in a log.
    statement: what the plant says of the artifact, where it is that which is signed; bound: the signature files that it lists, as far
    as they lie here unchanged; about: the format that speaks for the artifact which a statement is about.
    """

    source: str
    slot: Slot
    format: str
    kind: str
    envelope: Envelope | None
    digests: Mapping[HashName, Digest]
    artifact: Digest | None
    claims: Claims = Claims()
    coverage: Coverage = Coverage(())
    late_tokens: tuple[bytes, ...] = ()
    findings: tuple[Finding, ...] = ()
    contents: tuple[Digest, ...] = ()
    name: str = ""
    log_proof: LogProofFile | None = None
    lists: HashName | None = None
    statement: Acceptance | Receiving | None = None
    bound: tuple[ArchiveObject, ...] = ()
    about: str = ""


class Search(NamedTuple):
    """How an artifact is looked at. signature: the one signature file to read; watched: digests that a deny list names.

    beside: the names in the artifact's folder where they were just listed and the artifact is no folder, so that nobody asks
    the system for each that is not there. source: the artifact, open, where it is a file. certificates: DER, among which the
    signer of a bare signature is looked for; layouts: of makers' own headers, as the trust file names them. delivered: what is
    beside the artifact, where it was read or is still to be written; name: that a new file will get. unreadable: what a signature or
    timestamp beside it is that cannot even be read (a folder, a FIFO, a gigabyte): REJECT ends the search, WARNING is a finding.
    """

    signature: str | None = None
    progress: Progress | None = None
    watched: Collection[Digest] = ()
    beside: Collection[str] | None = None
    source: OpenArtifact | None = None
    certificates: tuple[bytes, ...] = ()
    layouts: tuple[Layout, ...] = ()
    delivered: tuple[Companion, ...] = ()
    name: str = ""
    unreadable: Severity = Severity.REJECT

    def read_beside(self, path: str, suffix: str, limit_bytes: int) -> bytes | None:
        """A small file beside the artifact; None where there is none. Raises as `read_file_or_none` does."""
        if self.delivered:
            return next((one.data for one in self.delivered if one.suffix == suffix), None)
        return read_file_or_none(path + suffix, limit_bytes) if self.sees(path + suffix) else None

    def sees(self, path: str) -> bool:
        """Whether there is something at a path in the artifact's folder, be it a link that leads nowhere."""
        if self.beside is None:
            return os.path.lexists(path)
        return path.rpartition(os.sep)[2] in self.beside

    @property
    def alone(self) -> bool:
        """Whether nothing lies beside the artifact that could belong to it."""
        return self.beside is not None and not self.beside and not self.delivered

    def of(self, source: OpenArtifact) -> Search:
        """The same look at an artifact that is open."""
        return self if self.source is source else self._replace(source=source)

    def opened(self, path: str) -> AbstractContextManager[OpenArtifact]:
        """The artifact, which is opened once; closed afterwards only if it was opened here."""
        if self.source is not None and self.source.path == path:
            return nullcontext(self.source)
        return open_artifact(path)


class Component(NamedTuple):
    """A part that a program says it is made of, with the generation and version of that part (SBAT)."""

    name: str
    generation: int
    version: str


class Found(NamedTuple):
    """Everything found for one artifact. findings: what is wrong before any signature is looked at.

    structure: how the artifact is made up, in phrases for `inspect`; components: whose generations count whoever signed it.
    archive: the evidence record beside it with what it may protect.
    """

    path: str
    size: int
    candidates: tuple[Candidate, ...]
    artifact: Digest | None
    findings: tuple[Finding, ...] = ()
    structure: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    archive: Archive | None = None


def watched_digests(source: OpenArtifact, search: Search) -> tuple[Digest, ...]:
    """The digests of the whole file, as far as a deny list asks for any."""
    names = {digest.algorithm for digest in search.watched}
    return tuple(source.digests(names, search.progress).values()) if names else ()


class Format(Protocol):
    """One artifact format, both directions. Every method raises only the typed errors of `errors.py`."""

    @property
    def name(self) -> str:
        """The name rules use ("detached", "manifest")."""
        ...

    def prepare(
        self, path: str, algorithms: Collection[HashName], claims: Claims, progress: Progress | None
    ) -> Prepared:
        """Read the artifact once and say what a signature over it binds."""
        ...

    def extract(self, path: str, search: Search) -> Found:
        """Find the envelopes for an artifact (or read the one named) and digest what they must bind.

        A delivered file that has a watched digest is among the candidates' contents.
        A bad envelope is a candidate with findings; an unreadable or changing artifact raises.
        """
        ...


class EmbeddedFormat(Protocol):
    """A format that keeps its signatures inside the artifact. Every method raises only the typed errors of `errors.py`."""

    @property
    def name(self) -> str:
        """The name that rules and `--format` use ("pe")."""
        ...

    def recognises(self, source: OpenArtifact) -> bool:
        """Whether a file is of this format, by a few of its bytes."""
        ...

    def prepare(
        self,
        path: str,
        algorithms: Collection[HashName],
        claims: Claims,
        existing: Existing,
        progress: Progress | None,
    ) -> Prepared:
        """What a signature will bind; UsageError where the artifact is signed already and `existing` refuses."""
        ...

    def attach(self, prepared: Prepared, sealed: Sealed) -> Parts:
        """The signed file, whole: new bytes and ranges of the artifact."""
        ...

    def strip(self, path: str) -> Parts:
        """The file without its signatures; UsageError where it has none."""
        ...

    def extract(self, path: str, search: Search) -> Found:
        """All signatures inside, each with the digests of the delivered bytes; `search.source` is the artifact."""
        ...


class BesideFormat(EmbeddedFormat, Protocol):
    """A format whose signature lies beside the new file, where its verifiers look; what `attach` makes has none inside.

    `prepare` and `strip` read the artifact, `extract` also what lies beside it, through `Search.read_beside`.
    """

    def beside(self, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:
        """The files beside the new one, with the endings of `embedded.EMBEDDED` in that order: the signature is the last."""
        ...
