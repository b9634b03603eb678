"""A trial trust file out of what a survey saw: the narrowest rules under which today's files would pass, and none of it checked.

1. It is `stage = "trial"` and every rule is `mode = "audit"`: nothing may be enforced by it. Owner, reason and review date say that
   nobody has asked the makers yet; its officers' keys are made for it and forgotten, so that nobody can sign it as it is.
2. An anchor is the topmost certificate that came with a signature; where nothing above the signer's own came, that one is pinned,
   with an end. Where one of a chain is an anchor already, the chain ends there: the narrower one wins.
3. A rule says who was seen to sign what: exact subjects, purposes, formats and products. For each anchor, slot, product and format
   there is one rule, because all rules that are equally close must be met (`trust/rules.py`).
4. Timestamp authorities that were seen are named; a timestamp is demanded where every signature of the rule had one.
5. Without a word from the maker about its keys the environment is `test`: production wants evidence (RULES 2).
Broken, weak and bare signatures are in no rule, nor are the statements of a plant about what it received and accepted. A survey of a clean delivery drafts its maker; one of a poisoned share drafts
whoever poisoned it. That is why it is a trial, and why each anchor has to be compared with its maker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from sealwright.artifact.names import display
from sealwright.artifact.section import MAX_ITEMS, MAX_TEXT
from sealwright.errors import LimitExceeded, SealwrightError, UsageError
from sealwright.formats.format import ACCEPTANCE, RECEIVING
from sealwright.pki.oids import DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED
from sealwright.plant.rows import StampRow
from sealwright.plant.seen import Use
from sealwright.plant.signers import STATEMENTS
from sealwright.plant.spool import Spool
from sealwright.trust.certificate import (
    display_name,
    is_authority,
    load_certificate,
    policy_oids,
    purposes_of,
    same_subject,
    spki_digest,
    tbs_digest,
)
from sealwright.trust.draft import Draft
from sealwright.trust.rules import SIGNING_PURPOSES
from sealwright.trust.skeleton import First, Keyholder, first_text
from sealwright.trust.toml import Toml, table_text
from sealwright.trust.trustfile import EKU_NAMES

LASTS = timedelta(days=400)
REVIEW = timedelta(days=90)
PINNED = timedelta(days=365)
MAX_PRODUCTS = 20  # in one rule, so that a line has few enough dots
MAX_DOTS = 80
MAX_SIGNERS = MAX_ITEMS
OWNER = "NAME THE OWNER OF THIS RULE"
REASON = "drafted from a survey; nothing of it was checked with the maker yet"
OFFICER, RECOVERY = "replace-this-officer", "replace-this-recovery"
_UNNAMED = re.compile(r"[^A-Za-z0-9 ._&()+-]+")
_NAMES_OF = {oid: name for name, oid in EKU_NAMES.items()}
Certificates = tuple[x509.Certificate, ...]


class Drafted(NamedTuple):
    """The text, and how much is in it. left: subjects of signers that no rule could be written for, with the reason."""

    text: bytes
    anchors: int
    authorities: int
    rules: int
    left: tuple[str, ...]


class _Scope(NamedTuple):
    """What one rule is about."""

    anchor: bytes
    slot: str
    product: str
    format: str


@dataclass(slots=True)
class _Seen:
    """Who signed in one scope. pinned: whether a subject is not enough to name one of them, and then `pins` names them all."""

    subjects: set[str] = field(default_factory=set)
    pins: set[str] = field(default_factory=set)
    pinned: bool = False
    purposes: set[str] = field(default_factory=set)
    stamped: bool = True
    until: datetime | None = None


class _Rule(NamedTuple):
    """Scopes with the same signers, put together."""

    anchor: bytes
    slot: str
    products: tuple[str, ...]
    formats: tuple[str, ...]
    seen: _Seen


def draft_trust(spool: Spool, now: datetime) -> Drafted:
    """The text of a trial trust file. UsageError where no signature that holds came with a certificate."""
    uses, left = _usable(spool.intact())
    tops = {_der(chain[-1]) for _, chain in uses}
    scopes: dict[_Scope, _Seen] = {}
    for use, chain in uses:
        # the lowest certificate that is an anchor for somebody, so that every path ends where its rule says
        anchor = next(one for one in chain if _der(one) in tops)
        _note(
            scopes.setdefault(_Scope(_der(anchor), use.slot, use.product, use.format), _Seen()), use, chain, anchor, now
        )
    if not scopes:
        raise UsageError(
            "--draft-trust", "no intact signature came with a certificate", "Survey a folder that has signed files."
        )
    anchors = list(dict.fromkeys(scope.anchor for scope in scopes))
    names = Names()
    called = {der: names.of(_loaded(der)) for der in anchors}
    environments = _environments(uses, anchors)
    text = first_text(_first(now))
    for der in anchors:
        text += "\n" + table_text(("anchor",), _anchor(der, called[der], environments[der]))
    authorities = _authorities(spool.authorities(), names)
    for entry in authorities:
        text += "\n" + table_text(("authority",), entry)
    rules = list(_merged(scopes))
    for rule in rules:
        also = [called[der] for der in anchors if same_key(der, rule.anchor)]
        entry = _entry(rule, names, also, environments[rule.anchor], now)
        text += "\n" + table_text(("rule",), entry)
    data = Draft(text.encode(), "trial trust file").checked()
    return Drafted(data, len(anchors), len(authorities), len(rules), tuple(left))


def _usable(uses: Iterable[Use]) -> tuple[list[tuple[Use, Certificates]], list[str]]:
    """Those whose certificates a trust file could name."""
    found: list[tuple[Use, Certificates]] = []
    left: dict[str, None] = {}
    for use in uses:
        if use.format in (ACCEPTANCE, RECEIVING, *STATEMENTS):
            left[f"{use.format}: a plant's statement; which of them count is for your officers to say"] = None
            continue
        try:
            chain = tuple(load_certificate(der, "certificate") for der in use.chain)
        except SealwrightError as cause:
            left[f"{display(use.format)}: {cause.what}"] = None
            continue
        if use.product and (
            display(use.product) != use.product
            or len(use.product) > MAX_TEXT
            or use.product.count(".") > MAX_DOTS // MAX_PRODUCTS
            or not use.product.strip()
        ):
            left[f"{display_name(chain[0].subject)}: its product has a name that no rule can hold"] = None
            continue
        found.append((use, chain))
    return found, list(left)


def _note(seen: _Seen, use: Use, chain: Certificates, anchor: x509.Certificate, now: datetime) -> None:
    leaf = chain[0]
    subject = leaf.subject.rfc4514_string()
    seen.subjects.add(subject)
    seen.pins.add(str(tbs_digest(leaf)))
    end = leaf.not_valid_after_utc if leaf.not_valid_after_utc > now else now + PINNED
    seen.until = max(min(now + PINNED, end), seen.until or now)
    plain = same_subject(leaf, subject) and subject.strip() and len(subject) <= MAX_TEXT
    seen.pinned = seen.pinned or leaf is anchor or not plain or sum(one.count(".") for one in seen.subjects) > MAX_DOTS
    path = chain[: chain.index(anchor) + 1]
    seen.purposes |= purposes_seen(path)
    seen.stamped = seen.stamped and use.stamped


def purposes_seen(path: Certificates) -> set[str]:
    """The purposes that a rule asks of a signer with this path: those of signing where it has some; "any" where it has none."""
    purposes = purposes_of(path)
    return set(purposes & set(SIGNING_PURPOSES) or purposes or {"any"})


def purpose_names(purposes: set[str]) -> list[str]:
    """As a rule writes them."""
    return ["any"] if "any" in purposes else sorted(_NAMES_OF.get(one, one) for one in purposes)


def environment_of(path: Certificates) -> str:
    """By what the certificates say of the signer's key; `test` where they say nothing."""
    if any(DEVELOPMENT in policy_oids(one) for one in path):
        return "development"
    return "production" if policy_oids(path[0]) & {HARDWARE_ATTESTED, HARDWARE_CLAIMED} else "test"


def _merged(scopes: dict[_Scope, _Seen]) -> Iterator[_Rule]:
    """Products with the same signers of one format in one rule, then formats with the same products; never wider than what was seen."""
    by_product: dict[tuple[bytes, str, str, bool, str], tuple[list[str], _Seen]] = {}
    for scope, seen in scopes.items():
        key = (scope.anchor, scope.slot, scope.format, bool(scope.product), repr(_plain(seen)))
        by_product.setdefault(key, ([], seen))[0].append(scope.product)
    by_format: dict[tuple[bytes, str, tuple[str, ...], str], tuple[list[str], _Seen]] = {}
    for (anchor, slot, form, _, plain), (products, seen) in by_product.items():
        for at in range(0, len(products), MAX_PRODUCTS):
            named = tuple(sorted(one for one in products[at : at + MAX_PRODUCTS] if one))
            by_format.setdefault((anchor, slot, named, plain), ([], seen))[0].append(form)
    for (anchor, slot, named, _), (formats, seen) in by_format.items():
        yield _Rule(anchor, slot, named, tuple(sorted(formats)), seen)


def _plain(seen: _Seen) -> tuple[object, ...]:
    named = sorted(seen.pins if seen.pinned else seen.subjects)
    return named, seen.pinned, sorted(seen.purposes), seen.stamped, seen.until if seen.pinned else None


def _entry(rule: _Rule, names: Names, anchors: Sequence[str], environment: str, now: datetime) -> dict[str, Toml]:
    seen = rule.seen
    if len(seen.pins) > MAX_SIGNERS:
        step = "Survey fewer folders at a time, and write one trust file for each."
        raise LimitExceeded("--draft-trust", f"{len(seen.pins)} signers under one authority", step)
    signer: dict[str, Toml] = {"slot": rule.slot, "anchors": list(anchors)}
    if seen.pinned:
        signer |= {"certificates": sorted(seen.pins), "pins_until": (seen.until or now).replace(microsecond=0)}
    else:
        signer["subjects"] = sorted(seen.subjects)
        if not is_authority(_loaded(rule.anchor)):
            signer["pins_until"] = (now + PINNED).replace(microsecond=0)
    signer["purposes"] = purpose_names(seen.purposes)
    entry: dict[str, Toml] = {"name": names.text(f"{anchors[0]} {' '.join(rule.formats)} {' '.join(rule.products)}")}
    entry |= {"products": list(rule.products)} if rule.products else {}
    entry |= {
        "formats": list(rule.formats),
        "environment": environment,
        "timestamp": "required" if seen.stamped else "optional",
        "mode": "audit",
        "owner": OWNER,
        "reason": REASON,
        "review": (now + REVIEW).replace(microsecond=0),
        "signer": [signer],
    }
    return entry


def _environments(uses: Sequence[tuple[Use, Certificates]], anchors: Sequence[bytes]) -> dict[bytes, str]:
    """By what the certificates say of their keys, the same for every anchor of one key; `test` where they say nothing."""
    said: dict[str, set[str]] = {}
    tops = set(anchors)
    for _, chain in uses:
        anchor = next(one for one in chain if _der(one) in tops)
        said.setdefault(str(spki_digest(anchor)), set()).add(environment_of(chain))
    found = {der: said[str(spki_digest(_loaded(der)))] for der in anchors}
    return {der: words.copy().pop() if len(words) == 1 else "test" for der, words in found.items()}


def _authorities(seen: Iterable[StampRow], names: Names) -> list[dict[str, Toml]]:
    """The topmost certificate that came with each authority's tokens, once; with the key where tokens name theirs by SHA-1 only."""
    found: dict[tuple[bytes, str], dict[str, Toml]] = {}
    for one in seen:
        try:
            leaf, top = (load_certificate(der, "certificate") for der in (one.chain[0], one.chain[-1]))
        except SealwrightError:
            continue
        key = "" if one.bound else str(spki_digest(leaf))
        if (one.chain[-1], key) not in found:
            entry: dict[str, Toml] = {"name": names.of(top if one.bound else leaf), "anchor": _pem(top)}
            found[one.chain[-1], key] = entry | ({"key": key} if key else {})
    return list(found.values())


def _anchor(der: bytes, name: str, environment: str) -> dict[str, Toml]:
    return {"name": name, "environment": environment, "certificate": _pem(_loaded(der))}


def _first(now: datetime) -> First:
    """Officers whose private keys nobody has: whoever makes this file real puts people in their place."""
    keys = [
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode()
        for _ in range(2)
    ]
    return First(
        issued=now,
        lasts=LASTS,
        organisation="NAME YOUR ORGANISATION",
        officers=(Keyholder(OFFICER, keys[0]),),
        threshold=1,
        recovery=(Keyholder(RECOVERY, keys[1]),),
        recovery_threshold=1,
        title="Drafted from a survey",
        trial=True,
    )


class Names:
    """Names that are told apart by people and by the parser."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = {one.casefold() for one in taken}

    def of(self, certificate: x509.Certificate) -> str:
        """After a certificate's common name."""
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        found = common[0].value if common else certificate.subject.rfc4514_string()
        return self.text(found if isinstance(found, str) else found.hex())

    def text(self, wanted: str) -> str:
        """After a text."""
        plain = " ".join(_UNNAMED.sub(" ", wanted).split())[:80].strip() or "signer"
        name, number = plain, 1
        while name.casefold() in self.taken:
            number += 1
            name = f"{plain} ({number})"
        self.taken.add(name.casefold())
        return name


def same_key(der: bytes, other: bytes) -> bool:
    """Whether two certificates are of one name and key."""
    one, two = _loaded(der), _loaded(other)
    return one.subject == two.subject and spki_digest(one) == spki_digest(two)


def _loaded(der: bytes) -> x509.Certificate:
    return load_certificate(der, "certificate")


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
