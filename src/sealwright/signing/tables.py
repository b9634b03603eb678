"""The tables of the signing service; the scripts in `store/migrations/` make them.

A row proves nothing (A130): what counts is a request's own bytes, whose digest is its name, the signatures of its approvers, and the
entries of the log. States are for finding things. Times are milliseconds since 1970.

`private` is the erasable part: what the log has only the salted digest of. Deleting a row erases it, and the log stays whole.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from sealwright.store.octets import Octets

METADATA = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")


class State(StrEnum):
    """Where a request stands."""

    WAITING = "waiting"
    SIGNING = "signing"
    SIGNED = "signed"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


REQUESTS = Table(
    "requests",
    METADATA,
    Column("number", _NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False),
    Column("requester", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("request", Octets, nullable=False),
    # canonical lines of the items, each with its line feed, and the content of each that has one, by its number
    Column("items", Octets, nullable=False),
    Column("contents", Octets, nullable=False),
    Column("private", Text, nullable=False),
    # what quotas count
    Column("product", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    # of its entry in the log
    Column("leaf", BigInteger, nullable=False),
    # what happens to it now: which attempt, by whom, and until when it may be believed to go on
    Column("attempt", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("problem", Text, nullable=False),
    # whose word for it it is, so that asking twice is asking once; both empty where nobody said one
    Column("word", Text),
    Column("body", Octets),
    UniqueConstraint("requester", "word", name="requests_word"),
)
Index("requests_tenant", REQUESTS.c.tenant, REQUESTS.c.number)
Index("requests_requester", REQUESTS.c.requester, REQUESTS.c.created)
Index("requests_product", REQUESTS.c.product, REQUESTS.c.created)
Index("requests_state", REQUESTS.c.state, REQUESTS.c.number)

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("person", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    Column("proof", Octets, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    UniqueConstraint("request", "person", name="approvals_person"),
)

# who else prepared what a request asks to sign, and came to the same; principal: the person, or the machine of theirs
PREPARES = Table(
    "prepares",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("principal", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    Column("proof", Octets, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    UniqueConstraint("request", "person", name="prepares_person"),
)

# signature values of consecutive items, as one chunk was signed; leaf: of the first one's entry in the log
SIGNATURES = Table(
    "signatures",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("first", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("leaf", BigInteger, nullable=False),
    Column("values", Octets, nullable=False),
)

PRIVATE = Table(
    "private",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("text", Octets, nullable=False),
)

# the text of policies that count or counted, found by their digest and believed by it alone; leaf: of the newest entry by which they did
POLICIES = Table(
    "policies",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("files", Octets, nullable=False),
    Column("leaf", BigInteger, nullable=False),
)

# the build provenance that came with a request, as it came; its digest is in the request's bytes
PROVENANCE = Table(
    "provenance",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("statement", Octets, nullable=False),
)

# by what a CI job that came with a token looks how its request stands (`service/tickets.py`); digest: SHA-256 of the ticket
TICKETS = Table(
    "tickets",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("digest", Octets, nullable=False, unique=True),
    Column("machine", Text, nullable=False),
    Column("claims", Octets, nullable=False),
    Column("expires", BigInteger, nullable=False),
)

# emergencies that were used: what is owed. outcome: "" while nobody has looked; told: when an overdue one was told of, 0 for not yet
FOLLOWUPS = Table(
    "followups",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("due", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("told", BigInteger, nullable=False),
)

# an officer's word on an emergency, signed by their own key
LOOKS = Table(
    "looks",
    METADATA,
    Column("request", Text, ForeignKey("requests.id"), primary_key=True),
    Column("person", Text, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("scheme", Text, nullable=False),
    Column("proof", Octets, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# the last count that each authenticator said; credential: digest of its id
SIGN_COUNTS = Table(
    "sign_counts",
    METADATA,
    Column("credential", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)

# how much of a kind was signed since an hour or a day began (`rates.py`). request: by which it was too much, "" while it is not; told: 1 when
# somebody has heard of it
RATES = Table(
    "rates",
    METADATA,
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("per", Text, primary_key=True),
    Column("of", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("request", Text, nullable=False),
    Column("told", Integer, nullable=False),
)

# how far the log was counted for them: the number of the next entry
RATED = Table(
    "rated",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),
)

REPLICAS = Table(
    "replicas",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
)
