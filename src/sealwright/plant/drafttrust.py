"""A trial trust file out of what a survey saw: the narrowest rules under which today's files would pass, and none of it checked.

1. It is `stage = "trial"` and every rule is `mode = "audit"`: nothing may be enforced by it. Owner, reason and review date say that
   nobody has asked the makers yet. Its officers are those who are named; where none is, keys are made for it and forgotten, so that
   nobody can sign it as it is.
2. An anchor is the topmost certificate that came with a signature; where nothing above the signer's own came, that one is pinned,
   with an end. Where one of a chain is an anchor already, the chain ends there: the narrower one wins.
3. A rule says who was seen to sign what: exact subjects, purposes, formats and products. For each anchor, slot, product and format
   there is one rule, because all rules that are equally close must be met (`trust/rules.py`). An anchor that issues to others than
   its own organisation is `public`, and each signer under it has rules of their own, which speak of nobody else.
4. Timestamp authorities that were seen are named; a timestamp is demanded where every signature of the rule had one.
5. Without a word from the maker about its keys the environment is `test`: production wants evidence (RULES 2).
6. A certificate that is made for something else (mail, servers, timestamps) signs no software, and whoever has one is in no rule; what
   RAUC and SWUpdate themselves ask of a signer is no other purpose. Who was left out and why is said in comments at the end.
Broken, weak and bare signatures are in no rule, nor are the statements of a plant. A survey of a clean delivery drafts its maker; one
of a poisoned share drafts whoever poisoned it. That is why it is a trial, and why each anchor has to be compared with its maker.
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
from sealwright.envelope.kinds import RAUC_PLAIN, SWUPDATE
from sealwright.errors import LimitExceeded, SealwrightError, UsageError
from sealwright.formats.format import ACCEPTANCE, RECEIVING
from sealwright.pki.oids import DEVELOPMENT, HARDWARE_ATTESTED, HARDWARE_CLAIMED, RECORD_SIGNING
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
from sealwright.trust.trustfile import EKU_NAMES, parse_trust

LASTS = timedelta(days=400)
REVIEW = timedelta(days=90)
PINNED = timedelta(days=365)
MAX_PRODUCTS = 20  # in one rule, so that a line has few enough dots
MAX_DOTS = 80
MAX_SIGNERS = MAX_ITEMS
OWNER = "NAME THE OWNER OF THIS RULE"
REASON = "drafted from a survey; nothing of it was checked with the maker yet"
MAX_LEFT = 200  # of whom is left out, in the text
# CA/Browser Forum, baseline requirements for code signing, section 7.1.6.1: publicly trusted, EV and not
PUBLIC_POLICIES = frozenset(("2.23.140.1.3", "2.23.140.1.4.1"))
# what some formats' own verifiers ask of a signer
_OF_FORMAT = {kind.name: kind.purpose for kind in (RAUC_PLAIN, SWUPDATE)}
_FOR_ELSE = {
    "1.3.6.1.5.5.7.3.1": "servers (TLS)",
    "1.3.6.1.5.5.7.3.2": "clients (TLS)",
    "1.3.6.1.5.5.7.3.4": "e-mail",
    "1.3.6.1.5.5.7.3.8": "timestamps",
    "1.3.6.1.5.5.7.3.9": "OCSP answers",
    "1.3.6.1.5.5.7.3.36": "documents",
    RECORD_SIGNING: "installation records",
}
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


class Leaders(NamedTuple):
    """Who may replace the file; () for placeholders whose keys nobody has. threshold: of the officers."""

    officers: tuple[Keyholder, ...] = ()
    threshold: int = 1
    recovery: tuple[Keyholder, ...] = ()


NOBODY = Leaders()


class _Scope(NamedTuple):
    """What one rule is about. signer: under a public anchor the one whom it names, else ""."""

    anchor: bytes
    slot: str
    product: str
    format: str
    signer: str = ""


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
    signer: str
    products: tuple[str, ...]
    formats: tuple[str, ...]
    seen: _Seen


def check_leaders(leaders: Leaders, now: datetime) -> None:
    """MalformedTrust where no trust file could have these officers; asked before the survey, which may take hours."""
    parse_trust(first_text(_first(leaders, now)).encode(), "--officer")


def draft_trust(spool: Spool, now: datetime, leaders: Leaders = NOBODY) -> Drafted:
    """The text of a trial trust file. UsageError where nobody who signed could be in a rule."""
    uses, left = _usable(spool.intact())
    tops = {_der(chain[-1]) for _, chain in uses}
    # the lowest certificate that is an anchor for somebody, so that every path ends where its rule says
    under = [(use, chain, next(one for one in chain if _der(one) in tops)) for use, chain in uses]
    public = _public(under)
    scopes: dict[_Scope, _Seen] = {}
    for use, chain, anchor in under:
        signer = _signer(chain[0]) if _key(anchor) in public else ""
        scope = _Scope(_der(anchor), use.slot, use.product, use.format, signer)
        _note(scopes.setdefault(scope, _Seen()), use, chain, anchor, now)
    if not scopes:
        what = (
            f"nobody who signed could be in a rule: {left[0]}"
            if left
            else "no intact signature came with a certificate"
        )
        raise UsageError("--draft-trust", what, "Survey a folder that has signed files.")
    anchors = list(dict.fromkeys(scope.anchor for scope in scopes))
    names = Names()
    called = {der: names.of(_loaded(der)) for der in anchors}
    environments = _environments(uses, anchors)
    text = first_text(_first(leaders, now))
    for der in anchors:
        entry = _anchor(der, called[der], environments[der])
        entry |= {"public": True} if _key(_loaded(der)) in public else {}
        text += "\n" + table_text(("anchor",), entry)
    authorities = _authorities(spool.authorities(), names)
    for entry in authorities:
        text += "\n" + table_text(("authority",), entry)
    rules = list(_merged(scopes))
    for rule in rules:
        also = [called[der] for der in anchors if same_key(der, rule.anchor)]
        entry = _entry(rule, names, also, environments[rule.anchor], now)
        text += "\n" + table_text(("rule",), entry)
    text += _left_out(left)
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
        if why := _for_else(chain, use.format):
            left[f"{display_name(chain[0].subject)}: {why}"] = None
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


def _for_else(path: Certificates, form: str) -> str:
    """What a certificate is made for where that is not signing, in a clause; "" where it may sign, or says nothing."""
    own, allowed = purposes_of(path[:1]), purposes_of(path)
    if not own or allowed & {*SIGNING_PURPOSES, _OF_FORMAT.get(form)}:
        return ""
    if not allowed:
        return "its authority may issue no certificate for what this one is made for"
    named = ", ".join(sorted(_FOR_ELSE.get(one, one) for one in allowed))
    return f"its certificate is made for {named}, not for signing software ({display(form)})"


def _left_out(left: Sequence[str]) -> str:
    """Who is in no rule and why, as comments: escaped, so that nothing of a name is read as TOML."""
    if not left:
        return ""
    lines = [*left[:MAX_LEFT], *([f"and {len(left) - MAX_LEFT} more"] if len(left) > MAX_LEFT else [])]
    return "\n# Seen, and in no rule of this draft:\n" + "".join(f"#   {display(one)}\n" for one in lines)


def _public(under: Sequence[tuple[Use, Certificates, x509.Certificate]]) -> set[str]:
    """The keys of anchors that issue to others than themselves, and only to signers with a purpose that a rule can name."""
    found = {_key(anchor) for _, chain, anchor in under if issues_to_others(chain, anchor)}
    unnamed = {_key(anchor) for _, chain, anchor in under if "any" in purposes_seen(chain[: chain.index(anchor) + 1])}
    return found - unnamed


def issues_to_others(chain: Certificates, anchor: x509.Certificate) -> bool:
    """Whether an authority serves more makers than its own: the certificates say so, or the signer is of another organisation."""
    policies = {oid for one in chain for oid in policy_oids(one)}
    return is_authority(anchor) and (
        bool(policies & PUBLIC_POLICIES) or _organisation(chain[0]) != _organisation(anchor)
    )


def _organisation(certificate: x509.Certificate) -> tuple[object, ...]:
    return tuple(one.value for one in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def _key(certificate: x509.Certificate) -> str:
    return str(spki_digest(certificate))


def _signer(leaf: x509.Certificate) -> str:
    """Whom a rule can name by this: a subject, or one certificate where the subject names nobody."""
    return leaf.subject.rfc4514_string() if _is_plain(leaf) else str(tbs_digest(leaf))


def _is_plain(leaf: x509.Certificate) -> bool:
    subject = leaf.subject.rfc4514_string()
    return same_subject(leaf, subject) and bool(subject.strip()) and len(subject) <= MAX_TEXT


def _note(seen: _Seen, use: Use, chain: Certificates, anchor: x509.Certificate, now: datetime) -> None:
    leaf = chain[0]
    subject = leaf.subject.rfc4514_string()
    seen.subjects.add(subject)
    seen.pins.add(str(tbs_digest(leaf)))
    end = leaf.not_valid_after_utc if leaf.not_valid_after_utc > now else now + PINNED
    seen.until = max(min(now + PINNED, end), seen.until or now)
    seen.pinned = (
        seen.pinned or leaf is anchor or not _is_plain(leaf) or sum(one.count(".") for one in seen.subjects) > MAX_DOTS
    )
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
    by_product: dict[tuple[bytes, str, str, str, bool, str], tuple[list[str], _Seen]] = {}
    for scope, seen in scopes.items():
        key = (scope.anchor, scope.slot, scope.signer, scope.format, bool(scope.product), repr(_plain(seen)))
        by_product.setdefault(key, ([], seen))[0].append(scope.product)
    by_format: dict[tuple[bytes, str, str, tuple[str, ...], str], tuple[list[str], _Seen]] = {}
    for (anchor, slot, signer, form, _, plain), (products, seen) in by_product.items():
        for at in range(0, len(products), MAX_PRODUCTS):
            named = tuple(sorted(one for one in products[at : at + MAX_PRODUCTS] if one))
            by_format.setdefault((anchor, slot, signer, named, plain), ([], seen))[0].append(form)
    for (anchor, slot, signer, named, _), (formats, seen) in by_format.items():
        yield _Rule(anchor, slot, signer, named, tuple(sorted(formats)), seen)


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
    words = (rule.signer, anchors[0], *rule.formats, *rule.products)
    entry: dict[str, Toml] = {"name": names.text(" ".join(words))}
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


def _first(leaders: Leaders, now: datetime) -> First:
    """The file without anchors and rules."""
    recovery = leaders.recovery or (_nobody(RECOVERY),)
    return First(
        issued=now,
        lasts=LASTS,
        organisation="our organisation" if leaders.officers and leaders.recovery else "NAME YOUR ORGANISATION",
        officers=leaders.officers or (_nobody(OFFICER),),
        threshold=leaders.threshold,
        recovery=recovery,
        recovery_threshold=majority(recovery),
        title="Drafted from a survey",
        trial=True,
    )


def majority(holders: Sequence[Keyholder]) -> int:
    """More than half of the persons, so that no two groups can each replace a file without the other."""
    return len({one.person for one in holders}) // 2 + 1


def _nobody(person: str) -> Keyholder:
    """One whose private key nobody has: whoever makes the file real puts somebody in their place."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return Keyholder(person, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


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
