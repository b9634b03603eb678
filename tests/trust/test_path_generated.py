"""Generated chains: what `find_path`, step 4 and the revocation lists say of them, and what OpenSSL says.

The classes of disagreement there are, each with its reason; any other fails:
- "never goes back": OpenSSL takes the first issuer that fits and stays with it; we go back (RULES 3). Only beside decoys and equal names.
- "forgotten": of two lists OpenSSL believes the newer one; for us a list that forgets an entry heals nothing.
- "removed": OpenSSL drops an entry with removeFromCRL; in a full list it has no meaning, and we keep the entry.
- "no number": OpenSSL uses a list without CRL number; RFC 5280 section 5.2.3 demands one, and so do we.
- "equal names": OpenSSL takes the list of any authority on the path that has the issuer's name; ours must be of its key too.
- "delta": the program of OpenSSL 3.0 takes a delta list for a whole one (the library in the process does not); we refuse it.
- "last second": for the program of OpenSSL 3.0 a certificate has ended in the second of its notAfter, which RFC 5280 section
  4.1.2.5 still includes, as we and the newer library in the process do.
- "no key usage": OpenSSL lets an issuer without key usage sign lists; we want cRLSign.
Of purposes (sample, by the program): "no purpose": OpenSSL lets a leaf without EKU do everything, ours nothing;
"any": OpenSSL 3.0 takes anyExtendedKeyUsage of an authority as none, we as every.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path as File
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from OpenSSL import crypto

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, Made, entry, listed, made, name
from kit.mutate import LONG
from kit.openssl import run
from sealwright.errors import SealwrightError
from sealwright.trust.path import NoPath, Path, Strictness, find_path, links
from sealwright.trust.revocation import CrlTable, State, revocation

CLIENT = "1.3.6.1.5.5.7.3.2"
OTHER = "1.3.6.1.5.5.7.3.3"
ANY = "2.5.29.37.0"
EXAMPLES = 6000 if LONG else 220
SAMPLE = 400 if LONG else 25
COMMON: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "derandomize": not LONG,  # the suite tries the same chains every time; `make soak` looks for new ones
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
_DNS, _MAIL = "pump.plant.example", "ops@plant.example"


@lru_cache(maxsize=64)
def key(number: int) -> Any:
    """A few fixed keys; every fourth is RSA or Ed25519."""
    if number % 8 == 3:
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if number % 8 == 6 else ec.generate_private_key(ec.SECP256R1())


def _tree(kind: str) -> x509.GeneralName:
    if kind == "dns":
        return x509.DNSName("plant.example")
    return (
        x509.RFC822Name("plant.example")
        if kind == "mail"
        else x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "ACME")]))
    )


def _other(kind: str) -> x509.GeneralName:
    if kind == "dns":
        return x509.DNSName("other.example")
    return x509.RFC822Name("other.example") if kind == "mail" else x509.DirectoryName(name("other"))


def _limit(kind: str, *, permits: bool, fits: bool) -> dict[str, Any]:
    tree = _tree(kind) if permits == fits else _other(kind)
    limit = x509.NameConstraints([tree], None) if permits else x509.NameConstraints(None, [tree])
    return {"extra": [(limit, True)]}


FAULTS: dict[str, dict[str, Any]] = {
    "ended": {"after": NOW - DAY},
    "coming": {"before": NOW + DAY},
    "ends now": {"after": NOW},
    "begins now": {"before": NOW},
    "no CA": {"constraints": x509.BasicConstraints(False, None)},
    "a CA": {"constraints": x509.BasicConstraints(True, None)},
    "no constraints": {"without": "constraints"},
    "no aki": {"without": "aki"},
    "no ski": {"without": "ski"},
    "room for none": {"constraints": x509.BasicConstraints(True, 0)},
    "room for one": {"constraints": x509.BasicConstraints(True, 1)},
    "room for many": {"constraints": x509.BasicConstraints(True, 5)},
    "only lists": {"usage": "crl_sign"},
    "only certificates": {"usage": "key_cert_sign"},
    "only signs": {"usage": "digital_signature"},
    "no usage": {"usage": None},
    "client": {"purposes": [CLIENT]},
    "other": {"purposes": [OTHER]},
    "both": {"purposes": [CLIENT, OTHER]},
    "any": {"purposes": [ANY]},
    "unknown critical": {"extra": [(UNKNOWN_CRITICAL, True)]},
    "unknown": {"extra": [(UNKNOWN_CRITICAL, False)]},
    "wrong key": {"signed_by": 31},
    **{
        f"{'permits' if permits else 'excludes'} {kind}, {'fits' if fits else 'does not'}": _limit(
            kind, permits=permits, fits=fits
        )
        for kind in ("dns", "mail", "name")
        for permits in (True, False)
        for fits in (True, False)
    },
}
LISTS = ("good", "good", "good", "listed", "held", "coming entry", "missing", "expired", "early", "strange key", "forgotten",
         "removed", "no number", "delta", "other name")  # fmt: skip


@dataclass
class World:
    """Leaf first in `straight`, anchor last; bag: as the signature brings it; lures: how many decoys and cross-signed ones."""

    straight: list[Made]
    bag: list[x509.Certificate]
    anchors: list[x509.Certificate]
    lures: int
    faults: list[tuple[int, str]]
    lists: list[str]
    strictness: Strictness

    @property
    def leaf(self) -> x509.Certificate:
        """The signer's certificate."""
        return self.straight[0].certificate


@st.composite
def worlds(draw: st.DrawFn, with_lists: bool = False, lures: bool = True) -> World:
    """A chain, what is wrong with it, and what lies beside it."""
    depth = draw(st.integers(1, 6))
    few = 1 if with_lists else 2
    faults = draw(st.lists(st.tuples(st.integers(0, depth), st.sampled_from(sorted(FAULTS))), max_size=few))
    same = draw(st.sets(st.integers(1, depth), max_size=2))
    above: Made | None = None
    chain: list[Made] = []
    organisation = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "ACME")
    offset = draw(st.integers(0, 7))
    for level in range(depth, -1, -1):
        how: dict[str, Any] = {"extra": [], "purposes": [CLIENT] if level == 0 else ()}
        for place, fault in faults:
            if place == level:
                more = FAULTS[fault]
                how |= {word: value for word, value in more.items() if word != "extra"}
                how["extra"] = [*how["extra"], *more.get("extra", ())]
        if "signed_by" in how:
            how["signed_by"] = key(31)
        if how.get("before", NOW) > how.get("after", NOW + DAY):
            del how["after"]  # a certificate that ends before it begins cannot be made
        kinds = [type(value) for value, _ in how["extra"]]
        how["extra"] = [one for at, one in enumerate(how["extra"]) if type(one[0]) not in kinds[:at]]
        if level == 0:
            how["extra"].append((x509.SubjectAlternativeName([x509.DNSName(_DNS), x509.RFC822Name(_MAIL)]), False))
        common = "same" if level in same else f"L{level}"
        subject = x509.Name([organisation, *name(common)])
        above = made(common, above, ca=level > 0, key=key(offset + level), subject=subject, serial=1000 + level, **how)
        chain.insert(0, above)
    beside: list[x509.Certificate] = []
    anchors = [chain[-1].certificate]
    for number in range(draw(st.integers(0, 4)) if lures else 0):
        like = chain[draw(st.integers(1, depth))]
        what = draw(st.sampled_from(["decoy", "cross, strange root", "cross, trusted root", "ended twin", "loop"]))
        subject, serial = like.certificate.subject, 5000 + number
        if what == "decoy":
            beside.append(made("", ca=True, key=key(20 + number), subject=subject, serial=serial).certificate)
        elif what == "loop":
            by = chain[draw(st.integers(1, depth))]
            beside.append(made("", by, ca=True, key=like.key, subject=subject, serial=serial).certificate)
        elif what == "ended twin" and like is not chain[-1]:
            by = chain[chain.index(like) + 1]
            beside.append(
                made("", by, ca=True, key=like.key, subject=subject, serial=serial, after=NOW - DAY).certificate
            )
        elif what.startswith("cross"):
            root = made(f"root {number}", ca=True, key=key(24 + number), serial=6000 + number)
            if what == "cross, trusted root":
                anchors.append(root.certificate)
            beside.append(made("", root, ca=True, key=like.key, subject=subject, serial=serial).certificate)
    bag = draw(st.permutations([*(one.certificate for one in chain[1:-1]), *beside]))
    lists = draw(st.lists(st.sampled_from(LISTS), min_size=depth, max_size=depth)) if with_lists else []
    if with_lists:
        good = draw(st.sets(st.integers(0, depth - 1), min_size=max(0, depth - 2)))
        lists = ["good" if place in good else what for place, what in enumerate(lists)]
    strictness = draw(st.sampled_from(Strictness))
    return World(chain, list(bag), anchors, len(beside), faults, lists, strictness)


def openssl(
    leaf: x509.Certificate,
    bag: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    strictness: Strictness,
    crls: Sequence[bytes] | None = None,
) -> str:
    """OpenSSL's word of refusal, or "" where it accepts. crls: None: revocation is not asked."""
    store = crypto.X509Store()
    flags = crypto.X509StoreFlags.PARTIAL_CHAIN
    if strictness is Strictness.OURS:
        flags |= crypto.X509StoreFlags.X509_STRICT
    if crls is not None:
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
        for der in crls:
            store.add_crl(x509.load_der_x509_crl(der))
    for one in anchors:
        store.add_cert(crypto.X509.from_cryptography(one))
    store.set_flags(flags)
    store.set_time(NOW)
    untrusted = [crypto.X509.from_cryptography(one) for one in bag]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf), untrusted).verify_certificate()
    except crypto.X509StoreContextError as cause:
        return str(cause)
    return ""


def every_chain(world: World, path: list[x509.Certificate]) -> Iterator[list[x509.Certificate]]:
    """All ways by names from the leaf to an anchor, without any thought."""
    if path[-1] in world.anchors:
        yield path
    elif len(path) < 8:
        for one in dict.fromkeys([*world.anchors, *world.bag]):
            if one.subject == path[-1].issuer and one not in path:
                yield from every_chain(world, [*path, one])


def found(world: World) -> Path | NoPath:
    """Our answer."""
    return find_path(world.leaf, world.bag, world.anchors, NOW, world.strictness)


def codes(path: Path) -> set[str]:
    """What step 4 found."""
    return {finding.code for finding in path.findings}


def _expected_codes(world: World) -> set[str]:
    """What step 4 must find, from the recipe."""
    last: dict[str, str] = {}
    for place, fault in world.faults:
        if place == 0:
            for word in FAULTS[fault]:
                last[word] = fault
    wanted = set()
    basic = last.get("constraints", "")
    if basic in ("a CA", "room for none", "room for one", "room for many") and "without" not in last:
        wanted.add("SW-CERT-IS-CA")
    if last.get("without") in ("no aki", "no ski") and basic not in ("", "no CA"):
        wanted.add("SW-CERT-IS-CA")
    if last.get("usage") in ("only lists", "only certificates", "no usage"):
        wanted.add("SW-CERT-KEY-USAGE")
    return wanted


@settings(max_examples=EXAMPLES, **COMMON)
@given(worlds())
def test_a_path_is_found_where_openssl_accepts_one_of_all_ways_and_nowhere_else(world: World) -> None:
    ours = found(world)
    good = [
        chain
        for chain in every_chain(world, [world.leaf])
        if not openssl(chain[0], chain[1:-1], chain[-1:], world.strictness)
    ]
    if isinstance(ours, NoPath):
        assert not good, ours.reason
    else:
        assert list(ours.certificates) in good
        assert codes(ours) == _expected_codes(world)
    said = openssl(world.leaf, world.bag, world.anchors, world.strictness)
    if not said:
        assert isinstance(ours, Path), ours
    elif isinstance(ours, Path):
        straight = {one.certificate.subject for one in world.straight}
        assert world.lures or len(straight) < len(world.straight), (
            f"only beside decoys OpenSSL may miss what we find (never goes back): {said}"
        )


def _lists(world: World) -> tuple[list[bytes], set[str]]:
    """The lists of each authority, and the classes of disagreement they bring."""
    made_lists: list[bytes] = []
    classes = {"no key usage" for place, fault in world.faults if place and fault == "no usage"}
    if len({one.certificate.subject for one in world.straight[1:]}) < len(world.straight) - 1:
        classes.add("equal names")
    for place, what in enumerate(world.lists):
        child, issuer = world.straight[place].certificate, world.straight[place + 1]
        how: dict[str, Any] = {}
        entries = [entry(77, NOW - DAY)]
        if what == "missing":
            continue
        if what in ("listed", "held", "coming entry", "removed"):
            reason = {"held": x509.ReasonFlags.certificate_hold, "removed": x509.ReasonFlags.remove_from_crl}.get(what)
            entries.append(entry(child, NOW + DAY if what == "coming entry" else NOW - DAY, reason))
        how |= {
            "expired": {"this_update": NOW - 9 * DAY, "next_update": NOW - DAY},
            "early": {"this_update": NOW + timedelta(hours=1)},
            "strange key": {"signed_by": key(40)},
            "no number": {"number": None},
            "delta": {"extra": [(x509.DeltaCRLIndicator(1), True)]},
            "other name": {"issuer_name": name("nobody")},
        }.get(what, {})
        # OpenSSL looks lists up by name, and of two authorities of one name needs the key identifier (ours always have it).
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        how["extra"] = [(aki, False), *how.get("extra", ())]
        if what == "forgotten":
            old = [*entries, entry(child, NOW - 5 * DAY)]
            made_lists.append(listed(issuer, *old, number=1, this_update=NOW - 3 * DAY, extra=how["extra"]))
            how["number"] = 2
        if what in ("forgotten", "removed", "no number"):
            classes.add(what)
        made_lists.append(listed(issuer, *entries, **how))
    return made_lists, classes


def judged(path: Path, crls: Sequence[bytes]) -> tuple[State, ...]:
    """Our word on every certificate below the anchor."""
    states = []
    for certificate, issuer, _ in links(path):
        tables = []
        for der in crls:
            try:
                tables.append(CrlTable.load(der, [issuer]))
            except SealwrightError:
                continue
        states.append(revocation(certificate, issuer, tables, None, NOW, None, 0).state)
    return tuple(states)


@settings(max_examples=EXAMPLES, **COMMON)
@given(worlds(with_lists=True, lures=False))
def test_revocation_on_every_level_is_what_openssl_says_but_for_named_classes(world: World) -> None:
    ours = found(world)
    crls, classes = _lists(world)
    said = openssl(world.leaf, world.bag, world.anchors, world.strictness, crls)
    if isinstance(ours, NoPath):
        assert said
        return
    good = set(judged(ours, crls)) == {State.GOOD}
    if good:
        assert not said or "equal names" in classes, (said, world.lists)
    elif not said:
        assert classes, (world.lists, judged(ours, crls))


def _program(folder: File, world: World, *more: str, crls: Sequence[bytes] = ()) -> bool:
    """The program's verdict."""

    def pem(certificates: Sequence[x509.Certificate]) -> bytes:
        return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)

    lists = b"".join(x509.load_der_x509_crl(der).public_bytes(Encoding.PEM) for der in crls)
    (folder / "anchors.pem").write_bytes(pem(world.anchors))
    (folder / "bag.pem").write_bytes(pem(world.bag or world.anchors[:1]))
    (folder / "lists.pem").write_bytes(lists)
    (folder / "leaf.pem").write_bytes(pem([world.leaf]))
    how = ["-no-CApath", "-no-CAstore", "-partial_chain", "-attime", str(int(NOW.timestamp()))]
    how += ["-x509_strict"] if world.strictness is Strictness.OURS else []
    how += ["-crl_check_all", "-CRLfile", "lists.pem"] if crls else []
    good, _ = run(
        ["openssl", "verify", *how, *more, "-CAfile", "anchors.pem", "-untrusted", "bag.pem", "leaf.pem"], folder
    )
    return good


@settings(max_examples=SAMPLE, **COMMON)
@given(world=worlds(with_lists=True, lures=False))
def test_the_openssl_program_says_the_same_of_chains_and_lists(tmp_path: File, world: World) -> None:
    ours = found(world)
    said = _program(tmp_path, world)
    if any(fault == "ends now" for _, fault in world.faults):
        assert isinstance(ours, Path) or not said
        return  # last second
    assert said is isinstance(ours, Path)
    crls, classes = _lists(world)
    if "delta" in world.lists:
        classes.add("delta")
    if isinstance(ours, Path) and crls and not classes:
        assert _program(tmp_path, world, crls=crls) is (set(judged(ours, crls)) == {State.GOOD})


@settings(max_examples=SAMPLE, **COMMON)
@given(
    world=worlds(lures=False),
    wanted=st.lists(st.sampled_from([None, CLIENT, OTHER, "both"]), min_size=7, max_size=7),
)
def test_a_purpose_must_be_allowed_on_every_level_as_openssl_nests_it(
    tmp_path: File, world: World, wanted: list[str | None]
) -> None:
    above: Made | None = None
    chain: list[Made] = []
    for level in range(len(world.straight) - 1, -1, -1):
        what = wanted[level] or (CLIENT if level == 0 else None)
        purposes = [CLIENT, OTHER] if what == "both" else [what] if what else []
        above = made(f"L{level}", above, ca=level > 0, key=key(level), serial=1000 + level, purposes=purposes)
        chain.insert(0, above)
    plain = World(chain, [one.certificate for one in chain[1:-1]], [chain[-1].certificate], 0, [], [], world.strictness)
    ours = found(plain)
    assert isinstance(ours, Path)
    assert (CLIENT in ours.purposes) is _program(tmp_path, plain, "-purpose", "sslclient")


def test_the_generator_makes_every_kind_of_answer() -> None:
    seen: dict[str, int] = {}

    @settings(max_examples=150, **COMMON)
    @given(worlds())
    def look(world: World) -> None:
        ours = found(world)
        said = openssl(world.leaf, world.bag, world.anchors, world.strictness)
        what = f"{isinstance(ours, Path)} {not said}"
        seen[what] = seen.get(what, 0) + 1

    look()
    assert seen["True True"] > 15
    assert seen["False False"] > 15
