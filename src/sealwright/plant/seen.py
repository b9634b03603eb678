"""What a survey saw, put together: signers, copies, versions, folders, rules. Values that the spool answers with.

Paths are as the system has them, with lone surrogates for bytes that are no UTF-8; names out of certificates are escaped already.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sealwright.plant.signers import State
from sealwright.plant.walk import Left

LISTED = "listed"  # unsigned by itself, and in a folder whose signed manifest holds
BELONGING = "belonging"  # unsigned by itself, and bound by digest in a signed statement about something else


class Tally(NamedTuple):
    """So many of something."""

    what: str
    number: int


class Counts(NamedTuple):
    """files: by state; folders: with files in them; size: of all of them in bytes; trees: signed folders; left: what was not read, by reason."""

    files: tuple[Tally, ...]
    folders: int
    size: int
    trees: int
    left: tuple[Tally, ...]

    @property
    def total(self) -> int:
        """All files."""
        return sum(one.number for one in self.files)

    @property
    def unread(self) -> int:
        """What was asked for and could not be read."""
        missing = (Left.UNREADABLE.value, Left.DEEP.value)
        return self.of(State.UNREADABLE) + sum(one.number for one in self.left if one.what in missing)

    def of(self, *states: str) -> int:
        """The files in some states."""
        return sum(one.number for one in self.files if one.what in states)


class CertificateLine(NamedTuple):
    """One certificate of a signer; files: signed with it; chain: DER, leaf first, what came with it."""

    digest: str
    key: str
    not_before: datetime
    not_after: datetime
    next_end: datetime | None
    files: int
    chain: tuple[bytes, ...]


class SignerLine(NamedTuple):
    """Whose signatures were found. states: signatures by state; stamped: those with a timestamp in order; products: named in them."""

    id: int
    subject: str
    issuer: str
    files: int
    states: tuple[Tally, ...]
    formats: tuple[Tally, ...]
    algorithms: tuple[Tally, ...]
    stamped: int
    unstamped: int
    authorities: tuple[Tally, ...]
    products: tuple[str, ...]
    certificates: tuple[CertificateLine, ...]

    @property
    def last_end(self) -> datetime | None:
        """When the last of its certificates ends."""
        return max((one.not_after for one in self.certificates), default=None)

    @property
    def next_end(self) -> datetime | None:
        """When next a certificate ends, of all that came with its signatures."""
        return min((one.next_end for one in self.certificates if one.next_end is not None), default=None)


class Use(NamedTuple):
    """What a certificate was seen to sign. chain: DER, leaf first; product: "" where none is claimed; stamped: all of it is."""

    chain: tuple[bytes, ...]
    format: str
    slot: str
    product: str
    files: int
    stamped: bool


class Belongs(NamedTuple):
    """A file that belongs to another one. kind: of `plant/belonging.py`; bound: whether a signature that holds is over its content."""

    path: str
    owner: str
    kind: str
    bound: bool


class Told(NamedTuple):
    """One file and what is said of it. signer: "" where nobody is named."""

    path: str
    state: str
    signer: str
    format: str
    code: str
    why: str


class Copies(NamedTuple):
    """Files with the same bytes. number: all of them; paths: the first ones."""

    digest: str
    size: int
    number: int
    paths: tuple[str, ...]


class CopiesTotal(NamedTuple):
    """groups: of files with the same bytes; files, size: of those that are copies of another one."""

    groups: int
    files: int
    size: int


class Version(NamedTuple):
    """One version of a product. path: of one of its files."""

    version: str
    generation: str
    files: int
    path: str


class Product(NamedTuple):
    """A product of which several versions lie about, by the claims of one signer."""

    product: str
    signer: str
    versions: tuple[Version, ...]


class FolderLine(NamedTuple):
    """A folder's own unsigned files."""

    path: str
    files: int
    size: int


class Reason(NamedTuple):
    """Why so many files would be refused; sentence and path are of the first of them."""

    code: str
    number: int
    why: str
    path: str


class RuleLine(NamedTuple):
    """What a trust file's rule would do with signed files. rule: "" where none speaks."""

    rule: str
    allowed: int
    refused: int
    undecided: int
    reasons: tuple[Reason, ...]
