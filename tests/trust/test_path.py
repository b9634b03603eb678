"""Certificate paths: what is found, what is refused, and that no bag of certificates makes the search slow or blind."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path as File
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from kit.certs import DAY, NOW, UNKNOWN_CRITICAL, Chain, Made, chain, made, name, resigned
from kit.openssl import run
from sealwright.trust.path import Expiry, NoPath, Path, PathCache, Strictness, find_path

_SHA1 = hashes.SHA1()  # noqa: S303  (what must be refused)
SECOND = timedelta(seconds=1)


def find(
    leaf: Made,
    bag: list[Made],
    anchors: list[Made],
    at: datetime = NOW,
    strictness: Strictness = Strictness.OURS,
    expiry: Expiry = Expiry.COUNTS,
) -> Path | NoPath:
    """`find_path` on what the kit made."""
    return find_path(
        leaf.certificate, [one.certificate for one in bag], [one.certificate for one in anchors], at, strictness, expiry
    )


def accepted(found: Path | NoPath) -> list[str]:
    """The names on the path; a refusal fails the test with its reason."""
    assert isinstance(found, Path), found
    return [one.subject.rfc4514_string() for one in found.certificates]


def refused(found: Path | NoPath) -> str:
    """Why there is no path."""
    assert isinstance(found, NoPath), accepted(found)
    return found.reason


def test_a_path_runs_from_the_leaf_to_its_anchor_and_says_when_it_is_valid() -> None:
    one = chain(after=NOW + 5 * DAY)
    found = find(one.leaf, [one.ca], [one.root])
    assert accepted(found) == ["CN=signer", "CN=CA", "CN=root"]
    assert isinstance(found, Path)
    assert found.anchor_der == one.root.der
    assert (found.valid_from, found.valid_until) == (NOW - 100 * DAY, NOW + 5 * DAY)
    assert found.findings == ()


KEYS: list[tuple[str, Callable[[], Any]]] = [
    ("P-256", lambda: ec.generate_private_key(ec.SECP256R1())),
    ("P-384", lambda: ec.generate_private_key(ec.SECP384R1())),
    ("P-521", lambda: ec.generate_private_key(ec.SECP521R1())),
    ("RSA-2048", lambda: rsa.generate_private_key(65537, 2048)),
    ("Ed25519", ed25519.Ed25519PrivateKey.generate),
    ("ML-DSA-44", mldsa.MLDSA44PrivateKey.generate),
    ("ML-DSA-65", mldsa.MLDSA65PrivateKey.generate),
    ("ML-DSA-87", mldsa.MLDSA87PrivateKey.generate),
]


@pytest.mark.parametrize(("kind", "key"), KEYS, ids=[kind for kind, _ in KEYS])
def test_every_kind_of_key_can_stand_anywhere_on_a_path(kind: str, key: Callable[[], Any]) -> None:
    root = made("root", ca=True, key=key())
    ca = made("CA", root, ca=True, key=key())
    found = find(made("signer", ca, key=key()), [ca], [root])
    assert len(accepted(found)) == 3
    assert isinstance(found, Path)
    assert found.findings == ()


def _constrained(kept: bool) -> Chain:
    organisation = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "ACME")])
    other = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Other")])
    common = list(name("signer"))
    root = made("root", ca=True)
    limit = x509.NameConstraints([x509.DirectoryName(organisation)], None)
    ca = made("CA", root, ca=True, extra=[(limit, True)])
    subject = x509.Name([*(organisation if kept else other), *common])
    return Chain(root, ca, made("signer", ca, subject=subject))


def _weak(leaf: bool = False, ca: bool = False, root: bool = False) -> Chain:
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    top = made("root", ca=True, key=keys[0])
    below = made("CA", top, ca=True, key=keys[1])
    last = made("signer", below)
    return Chain(
        resigned(top, keys[0], _SHA1) if root else top,
        resigned(below, keys[0], _SHA1) if ca else below,
        resigned(last, keys[1], _SHA1) if leaf else last,
    )


def _with(leaf: dict[str, Any], ca: dict[str, Any], root: dict[str, Any]) -> Chain:
    top = made("root", **({"ca": True} | root))
    below = made("CA", top, **({"ca": True} | ca))
    return Chain(top, below, made("signer", below, **leaf))


def _of(*, leaf: Any = None, ca: Any = None, root: Any = None) -> Callable[[], Chain]:
    return lambda: _with(leaf or {}, ca or {}, root or {})


UNKNOWN = {"extra": [(UNKNOWN_CRITICAL, True)]}
HARMLESS = {"extra": [(UNKNOWN_CRITICAL, False)]}
ENDED = {"after": NOW - DAY}
COMING = {"before": NOW + DAY}

TABLE: list[tuple[str, Callable[[], Chain], str]] = [
    ("plain", _of(), ""),
    ("an unknown extension that is not critical", _of(leaf=HARMLESS, ca=HARMLESS, root=HARMLESS), ""),
    ("an unknown critical extension in the leaf", _of(leaf=UNKNOWN), "unhandled critical extension (CN=signer)"),
    ("an unknown critical extension in the CA", _of(ca=UNKNOWN), "unhandled critical extension (CN=CA)"),
    ("an unknown critical extension in the anchor", _of(root=UNKNOWN), "unhandled critical extension (CN=root)"),
    ("a CA that is no CA", _of(ca={"ca": False, "usage": "key_cert_sign"}), "CN=CA"),
    ("a CA without basicConstraints", _of(ca={"without": "constraints"}), "CN=CA"),
    ("a CA that may not sign certificates", _of(ca={"usage": "crl_sign"}), "CN=CA"),
    ("a CA without key usage, in our profile", _of(ca={"usage": None}), "CN=CA"),
    ("room for one CA", _of(root={"constraints": x509.BasicConstraints(True, 1)}), ""),
    ("no room for a CA", _of(root={"constraints": x509.BasicConstraints(True, 0)}), "path length"),
    ("a name inside the CA's constraint", lambda: _constrained(True), ""),
    ("a name outside the CA's constraint", lambda: _constrained(False), "subtree"),
    ("a leaf that has ended", _of(leaf=ENDED), "expired (CN=signer)"),
    ("a CA that has ended", _of(ca=ENDED), "expired (CN=CA)"),
    ("an anchor that has ended", _of(root=ENDED), "expired (CN=root)"),
    ("a leaf that has not begun", _of(leaf=COMING), "is incorrect (CN=signer)"),
    ("a CA that has not begun", _of(ca=COMING), "is incorrect (CN=CA)"),
    ("a leaf signed by another key", _of(leaf={"signed_by": ec.generate_private_key(ec.SECP256R1())}), "leads to"),
    ("a leaf that names another issuer", _of(leaf={"issuer_name": name("stranger")}), "leads to"),
    ("a leaf signed with SHA-1", lambda: _weak(leaf=True), "CN=signer is signed with sha1"),
    ("a CA signed with SHA-1", lambda: _weak(ca=True), "CN=CA is signed with sha1"),
    ("an anchor that signed itself with SHA-1", lambda: _weak(root=True), ""),
]


@pytest.mark.parametrize(("case", "build", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_each_certificate_of_a_path_must_be_what_it_stands_for(
    case: str, build: Callable[[], Chain], reason: str
) -> None:
    one = build()
    found = find(one.leaf, [one.ca], [one.root])
    if reason:
        assert reason in refused(found)
    else:
        assert accepted(found)


@pytest.mark.parametrize(("case", "build", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_where_expiry_is_ignored_nothing_else_is_forgiven(case: str, build: Callable[[], Chain], reason: str) -> None:
    one = build()
    found = find(one.leaf, [one.ca], [one.root], expiry=Expiry.IGNORED)
    if reason and not case.endswith("has ended"):
        assert reason.replace("is incorrect", "not yet valid") in refused(found)
    else:
        assert accepted(found)


@pytest.mark.parametrize(("case", "build", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_what_we_accept_the_openssl_program_accepts_too(
    tmp_path: File, case: str, build: Callable[[], Chain], reason: str
) -> None:
    one = build()
    for file, certificate in (("root", one.root), ("ca", one.ca), ("leaf", one.leaf)):
        (tmp_path / file).write_bytes(certificate.pem)
    at = str(int(NOW.timestamp()))
    good, said = run(
        ["openssl", "verify", "-x509_strict", "-partial_chain", "-attime", at, "-CAfile", "root",
         "-no-CApath", "-no-CAstore", "-untrusted", "ca", "leaf"], cwd=tmp_path,
    )  # fmt: skip
    if not reason:
        assert good, said
    elif "sha1" not in reason:  # the program's own floor for hashes is lower than ours
        assert not good, said


@pytest.mark.parametrize(
    ("lacks", "ours"),
    [({"without": "aki"}, "authority key identifier"), ({"usage": None}, "")],
    ids=["no authority key identifier", "no key usage in the leaf"],
)
def test_our_own_profile_is_strict_and_makers_are_not_held_to_it(lacks: dict[str, Any], ours: str) -> None:
    one = chain(**lacks)
    assert accepted(find(one.leaf, [one.ca], [one.root], strictness=Strictness.FOREIGN))
    strict = find(one.leaf, [one.ca], [one.root])
    if ours:
        assert ours in refused(strict).lower()
    else:
        assert isinstance(strict, Path)
        assert [f.code for f in strict.findings] == ["SW-CERT-KEY-USAGE"]


def test_an_intermediate_or_the_leaf_itself_can_be_the_anchor() -> None:
    one = chain()
    assert accepted(find(one.leaf, [], [one.ca])) == ["CN=signer", "CN=CA"]
    assert accepted(find(one.leaf, [], [one.leaf])) == ["CN=signer"]
    assert "leads to" in refused(find(one.leaf, [], [one.root]))


@pytest.mark.parametrize(
    ("at", "good"),
    [
        (NOW - 100 * DAY, True),
        (NOW - 100 * DAY - SECOND, False),
        (NOW + 5 * DAY, True),
        (NOW + 5 * DAY + SECOND, False),
        ((NOW + 5 * DAY).astimezone(timezone(timedelta(hours=14))), True),
        ((NOW + 5 * DAY + SECOND).astimezone(timezone(timedelta(hours=-12))), False),
        ((NOW - 100 * DAY).astimezone(timezone(timedelta(hours=-12))), True),
    ],
)
def test_both_ends_of_the_validity_count_and_time_zones_change_nothing(at: datetime, good: bool) -> None:
    one = chain(after=NOW + 5 * DAY)
    assert isinstance(find(one.leaf, [one.ca], [one.root], at), Path if good else NoPath)


def test_only_the_time_is_wrong_where_a_path_has_ended() -> None:
    one = chain(after=NOW - DAY)
    ended = find(one.leaf, [one.ca], [one.root])
    assert isinstance(ended, NoPath)
    assert ended.expired
    assert accepted(find(one.leaf, [one.ca], [one.root], NOW - DAY))
    stranger = find(chain().leaf, [one.ca], [one.root])
    assert isinstance(stranger, NoPath)
    assert not stranger.expired


def _decoys(one: Chain) -> dict[str, list[Made]]:
    other = made("other root", ca=True)
    same_name = {"subject": one.ca.certificate.subject, "ca": True}
    return {
        "the name of the CA, another key": [made("", one.root, signed_by=other.key, **same_name)],
        "without key identifiers": [made("", one.root, without="aki ski", **same_name)],
        "the CA's key, certified by a stranger": [made("", other, key=one.ca.key, **same_name)],
        "the CA itself, ended": [made("", one.root, key=one.ca.key, after=NOW - DAY, **same_name)],
        "the CA itself, without being one": [
            made("", one.root, key=one.ca.key, subject=one.ca.certificate.subject, purposes=())
        ],
        "a root of the same name and key, unknown here": [made("root", ca=True, key=one.ca.key)],
        "the leaf and the root": [one.leaf, one.root],
    }


@pytest.mark.parametrize("which", list(_decoys(chain())))
@pytest.mark.parametrize("first", ["decoy first", "decoy last"])
def test_no_decoy_in_the_bag_hides_a_good_path(which: str, first: str) -> None:
    one = chain(without="aki")
    decoys = _decoys(one)[which]
    bag = [*decoys, one.ca] if first == "decoy first" else [one.ca, *decoys]
    found = find(one.leaf, bag, [one.root], strictness=Strictness.FOREIGN)
    assert accepted(found) == ["CN=signer", "CN=CA", "CN=root"]
    assert isinstance(found, Path)
    assert found.certificates[1] == one.ca.certificate


def test_of_two_anchors_of_one_name_the_one_whose_key_signed_is_found() -> None:
    one, twin = chain(without="aki"), made("root", ca=True)
    for anchors in ([one.root, twin], [twin, one.root]):
        found = find(one.leaf, [one.ca], anchors, strictness=Strictness.FOREIGN)
        assert isinstance(found, Path)
        assert found.anchor_der == one.root.der


def _tower(height: int) -> tuple[Made, list[Made], Made]:
    root = made("0", ca=True)
    towers = [root]
    for level in range(1, height - 1):
        towers.append(made(str(level), towers[-1], ca=True))
    return made("signer", towers[-1]), towers[1:], root


def test_a_path_has_at_most_eight_certificates() -> None:
    leaf, bag, root = _tower(8)
    assert len(accepted(find(leaf, bag, [root]))) == 8
    leaf, bag, root = _tower(9)
    assert refused(find(leaf, bag, [root]))


def _mesh(bridge: str) -> tuple[Made, list[Made], Made]:
    """Twelve CAs that all certify each other; the anchor certifies the last one, or seems to."""
    root = made("root", ca=True)
    cas = [made(f"CA {n}", ca=True) for n in range(12)]
    bag = [made("", a, ca=True, key=b.key, subject=b.certificate.subject) for a in cas for b in cas if a is not b]
    stranger = ec.generate_private_key(ec.SECP256R1())
    if bridge == "good":
        bag.append(made("", root, ca=True, key=cas[-1].key, subject=cas[-1].certificate.subject))
    if bridge == "forged":
        bag += [made("", root, ca=True, key=ca.key, subject=ca.certificate.subject, signed_by=stranger) for ca in cas]
    return made("signer", cas[0]), bag, root


@pytest.mark.parametrize(("bridge", "good"), [("good", True), ("none", False), ("forged", False)])
def test_a_mesh_of_cross_certificates_is_searched_and_left_in_time(bridge: str, good: bool) -> None:
    leaf, bag, root = _mesh(bridge)
    begun = time.perf_counter()
    found = find(leaf, bag, [root])
    assert time.perf_counter() - begun < 2
    assert isinstance(found, Path if good else NoPath)


@pytest.mark.parametrize(("hint", "good"), [("aki", True), ("", False)], ids=["with key identifier", "without"])
def test_a_thousand_certificates_of_the_issuers_name_end_in_time(hint: str, good: bool) -> None:
    one = chain(without="" if hint else "aki")
    key = ec.generate_private_key(ec.SECP256R1())
    crowd = [
        made("", one.root, ca=True, subject=one.ca.certificate.subject, key=key if n % 2 else None) for n in range(1000)
    ]
    begun = time.perf_counter()
    found = find(one.leaf, [*crowd, one.ca], [one.root], strictness=Strictness.FOREIGN)
    assert time.perf_counter() - begun < 2
    if good:
        assert accepted(found)
    else:
        assert "more than 64 certificates" in refused(found)


def test_the_trust_files_intermediates_are_looked_at_before_a_crowded_bag() -> None:
    one = chain(without="aki")
    crowd = [made("", one.root, ca=True, subject=one.ca.certificate.subject) for _ in range(100)]
    cache = PathCache()
    question = (one.leaf.certificate, [one.ca.certificate], [made.der for made in crowd], [one.root.der])
    assert isinstance(cache.find(*question, NOW, Strictness.FOREIGN), Path)
    # of the bag itself only the first 32 are read
    late = [*(made.der for made in crowd[:32]), one.ca.der]
    assert isinstance(PathCache().find(one.leaf.certificate, [], late, [one.root.der], NOW, Strictness.FOREIGN), NoPath)


def test_a_bag_may_hold_what_is_no_certificate() -> None:
    one = chain()
    bag = [b"", b"\x30\x80", b"x" * 100_000, one.leaf.der[:-1], one.ca.der]
    assert isinstance(PathCache().find(one.leaf.certificate, [], bag, [one.root.der], NOW, Strictness.OURS), Path)


def test_a_cached_answer_holds_for_its_dates_only_and_is_quick() -> None:
    one = chain(after=NOW + DAY)
    cache = PathCache()

    def ask(at: datetime) -> Path | NoPath:
        return cache.find(one.leaf.certificate, [], [one.ca.der], [one.root.der], at, Strictness.OURS)

    first = ask(NOW)
    assert isinstance(first, Path)
    assert ask(NOW + DAY) is first
    ended = ask(NOW + 2 * DAY)
    assert isinstance(ended, NoPath)
    assert ask(NOW + 2 * DAY) is ended
    assert ask(NOW) is first
    begun = time.perf_counter()
    for _ in range(10_000):
        ask(NOW)
    assert time.perf_counter() - begun < 1  # 100 us each on a busy machine; about 10 us on a quiet one


def test_another_anchor_bag_or_strictness_is_another_question() -> None:
    one, other = chain(without="aki"), made("other", ca=True)
    cache = PathCache()
    leaf, bag = one.leaf.certificate, [one.ca.der]
    assert isinstance(cache.find(leaf, [], bag, [one.root.der], NOW, Strictness.FOREIGN), Path)
    assert isinstance(cache.find(leaf, [], bag, [other.der], NOW, Strictness.FOREIGN), NoPath)
    assert isinstance(cache.find(leaf, [], [], [one.root.der], NOW, Strictness.FOREIGN), NoPath)
    assert isinstance(cache.find(leaf, [], bag, [one.root.der], NOW, Strictness.OURS), NoPath)
