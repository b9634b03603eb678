"""Tokens of CI systems: which are taken, of which issuer, with which key, when, and how often."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from kit.mutate import changed
from kit.oidc import ALL, CiIssuer, b64, fresh_replay, mirrored, public_jwk, rsa_key, segment, unb64
from kit.people import AUDIENCE, GITHUB, SAID, SUBJECT, people
from kit.pki import NOW
from sealwright.errors import IdentityRefused, LimitExceeded, SealwrightError, ServiceUnavailable, UsageError
from sealwright.service.oidc import (
    Algorithm,
    TokenIssuer,
    VerifiedToken,
    github,
    gitlab,
    issuer_of,
    parse_keys,
    read_token,
    verify,
)

CI = CiIssuer(
    {
        "rsa-1": rsa_key(),
        "rsa-2": rsa_key(),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "ed": ed25519.Ed25519PrivateKey.generate(),
    }
)
KEYS = CI.key_set
TRUSTED = CI.trusted()


def judged(text: bytes, issuer: TokenIssuer = TRUSTED) -> VerifiedToken:
    """A token judged at NOW."""
    return verify(read_token(text), issuer, KEYS, NOW)


def why(text: bytes, issuer: TokenIssuer = TRUSTED) -> str:
    """Why it is refused, where its twin is not."""
    judged(CI.token())
    with pytest.raises(IdentityRefused) as refused:
        judged(text, issuer)
    return refused.value.what


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [
        ("rsa-1", "RS256"),
        ("rsa-2", "RS384"),
        ("rsa-1", "RS512"),
        ("rsa-1", "PS256"),
        ("rsa-1", "PS384"),
        ("rsa-1", "PS512"),
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("p521", "ES512"),
        ("ed", "EdDSA"),
        ("ed", "Ed25519"),
    ],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_token_of_each_algorithm_is_taken_where_the_issuer_may_use_it(kid: str, algorithm: str) -> None:
    text = CI.token(kid, algorithm)
    found = judged(text, CI.trusted(frozenset((Algorithm(algorithm),))))
    assert (found.token.issuer, found.token.audience, found.token.subject) == (GITHUB, AUDIENCE, SUBJECT)
    assert found.token.claims == SAID
    assert people().by_token(found.token, NOW).id == "m3"
    assert "`alg` is" in why(text, CI.trusted(ALL - {algorithm}))


@pytest.mark.parametrize(
    ("kid", "algorithm"),
    [("p256", "ES384"), ("p256", "RS256"), ("rsa-1", "ES256"), ("p384", "ES256"), ("rsa-1", "EdDSA")],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_key_signs_with_the_algorithms_of_its_kind_only(kid: str, algorithm: str) -> None:
    assert "its signature" in why(CI.token(kid, algorithm))


def test_a_key_that_its_issuer_keeps_for_one_algorithm_counts_for_no_other() -> None:
    keys = parse_keys(json.dumps(CI.jwks(alg="RS256")).encode(), "keys")
    assert verify(read_token(CI.token()), TRUSTED, keys, NOW).token.subject == SUBJECT
    with pytest.raises(IdentityRefused, match="its key is for RS256, not for PS256"):
        verify(read_token(CI.token("rsa-1", "PS256")), TRUSTED, keys, NOW)


HEADS: dict[str, tuple[dict[str, Any], str]] = {
    "critical headers": ({"crit": ["exp"]}, "its head has `crit`"),
    "a payload that is not encoded": ({"b64": False, "crit": ["b64"]}, "its head has `b64`"),
    "an address of keys": ({"jku": "https://evil.example/jwks"}, "its head has `jku`"),
    "an address of certificates": ({"x5u": "https://evil.example/x"}, "its head has `x5u`"),
    "certificates": ({"x5c": ["MIIB"]}, "its head has `x5c`"),
    "a key": ({"jwk": public_jwk(rsa_key())}, "its head has `jwk`"),
    "compression": ({"zip": "DEF"}, "its head has `zip`"),
    "another type": ({"typ": "at+jwt"}, "another type"),
    "a nested token": ({"cty": "JWT"}, "its head has `cty`"),
    "an unknown key": ({"kid": "rsa-3"}, "its issuer has no such key"),
    "the key of somebody else": ({"kid": "rsa-2"}, "its signature is not"),
    "a kid that is a path": ({"kid": "../../../dev/null"}, "its issuer has no such key"),
    "no kid": ({"kid": None}, "`kid` is no text"),
    "a kid that is a number": ({"kid": 1}, "`kid` is no text"),
    "a list of algorithms": ({"alg": ["RS256"]}, "`alg` is no text"),
}


@pytest.mark.parametrize("head", HEADS)
def test_a_head_that_says_more_than_algorithm_and_key_refuses_the_token(head: str) -> None:
    more, said = HEADS[head]
    assert said in why(CI.token(head=more))


def test_thumbprints_in_a_head_are_not_read() -> None:
    assert judged(CI.token(head={"x5t": "anything"})).token.subject == SUBJECT


BODIES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://evil.example"}, "it is of another issuer"),
    "an issuer with a slash behind": ({"iss": GITHUB + "/"}, "it is of another issuer"),
    "no issuer": ({"iss": None}, "`iss` is no text"),
    "another audience": ({"aud": "https://staging.acme.example"}, "`aud` is"),
    "no audience": ({"aud": None}, "`aud` is no text"),
    "two audiences": ({"aud": [AUDIENCE, "https://other.example"]}, "`aud` is no text"),
    "the audience twice": ({"aud": [AUDIENCE, AUDIENCE]}, "`aud` is no text"),
    "an empty list of audiences": ({"aud": []}, "`aud` is no text"),
    "no subject": ({"sub": None}, "`sub` is no text"),
    "a subject that is a list": ({"sub": [SUBJECT]}, "`sub` is no text"),
    "a subject with a line feed": ({"sub": SUBJECT + "\n"}, "`sub` is no text"),
    "no end": ({"exp": None}, "`exp` is no time"),
    "an end as text": ({"exp": "9999999999"}, "`exp` is no time"),
    "an end with a fraction": ({"exp": NOW.timestamp() + 300.5}, "`exp` is no time"),
    "an end that is true": ({"exp": True}, "`exp` is no time"),
    "an end beyond all years": ({"exp": 10**15}, "`exp` is no time"),
    "no time of issue": ({"iat": None}, "`iat` is no time"),
    "a time of issue that is none": ({"nbf": "now"}, "`nbf` is no time"),
    "an id that is no text": ({"jti": 7}, "`jti` is no text"),
    "an empty id": ({"jti": ""}, "`jti` is no text"),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_does_not_say_what_it_must_refuses_the_token(body: str) -> None:
    change, said = BODIES[body]
    assert said in why(CI.token(**change))


def test_a_list_with_this_service_alone_is_its_audience() -> None:
    assert judged(CI.token(aud=[AUDIENCE])).token.audience == AUDIENCE


AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("times", "fine"),
    [
        ({"iat": AT - 300, "exp": AT - 60}, True),
        ({"iat": AT - 300, "exp": AT - 61}, False),
        ({"iat": AT + 60, "exp": AT + 300}, True),
        ({"iat": AT + 61, "exp": AT + 300}, False),
        ({"nbf": AT + 60}, True),
        ({"nbf": AT + 61}, False),
        ({"nbf": None}, True),
        ({"iat": AT - 3000, "exp": AT + 600}, True),
        ({"iat": AT - 3000, "exp": AT + 601}, False),
        ({"iat": AT, "exp": AT}, False),
        ({"iat": AT, "exp": AT - 10}, False),
        ({"iat": 1, "exp": AT + 60}, False),
    ],
)
def test_a_token_lives_as_long_as_it_says_and_no_longer_than_is_allowed(times: dict[str, Any], fine: bool) -> None:
    text = CI.token(**times)
    if fine:
        assert judged(text).token.subject == SUBJECT
    else:
        assert why(text).startswith(("it ended at", "it lasts", "`nbf` is 2026", "`iat` is 2026"))


@pytest.mark.parametrize(
    "head",
    [
        b'{"alg":"none","alg":"RS256","kid":"rsa-1"}',
        b'{"alg":"RS256","kid":"rsa-1","kid":"rsa-2"}',
        b'["alg"]',
        b'{"alg":NaN,"kid":"rsa-1"}',
        b'{"alg":"RS256","kid":"rsa-1"}\xff',
        b"[" * 3000,
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_not_read(head: bytes) -> None:
    assert "its head is no JSON object" in why(CI.signed(b64(head), segment(CI.body())))


def test_a_body_that_can_be_read_in_two_ways_is_not_read() -> None:
    twice = json.dumps(CI.body())[:-1] + ', "sub": "repo:acme/fw:environment:other"}'
    head = segment({"alg": "RS256", "kid": "rsa-1"})
    assert "a name twice" in why(CI.signed(head, b64(twice.encode())))


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text + b".",
        lambda text: text.rpartition(b".")[0],
        lambda text: text.rpartition(b".")[0] + b".",
        lambda text: text + b"=",
        lambda text: b" " + text,
        lambda text: text + b"\n",
        lambda text: text.replace(b".", b"..", 1),
        lambda text: b"a" * (8 * 1024 + 1),
        lambda text: b"",
        lambda text: b'{"payload":"","signatures":[]}',
    ],
)
def test_a_token_has_one_spelling(alter: Any) -> None:
    why(alter(CI.token()))


def test_the_last_sextet_hides_nothing() -> None:
    head, body, signature = CI.token().split(b".")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = signature[:-1] + bytes([alphabet[alphabet.index(signature[-1]) ^ 1]])
    assert unb64(twin) == unb64(signature), "the same signature, spelt otherwise"
    why(head + b"." + body + b"." + twin)


def test_no_change_of_a_token_is_taken() -> None:
    """But those that only alter a signature of ECDSA into its mirror; and it is then used already."""
    dice = random.Random(21)
    for kid, algorithm in (("rsa-1", "RS256"), ("p256", "ES256")):
        text = CI.token(kid, algorithm)
        for data in changed(text, dice):
            if data != text:
                with pytest.raises(IdentityRefused):
                    judged(data)


def test_a_token_is_good_once_by_its_id_or_by_what_was_signed(tmp_path: Path) -> None:
    async def uses(*texts: bytes) -> list[bool]:
        replay = fresh_replay(tmp_path, NOW - timedelta(hours=1))
        found = [judged(text) for text in texts]
        return [await replay.first_use(one.once, one.issued, one.expires, NOW) for one in found]

    first = CI.token(jti="one")
    assert asyncio.run(uses(first, first, CI.token(jti="two"))) == [True, False, True]
    assert asyncio.run(uses(first, CI.token("rsa-2", "PS256", jti="one"))) == [True, False], "one id, signed again"
    without = CI.token("p256", "ES256", jti=None)
    data, _, signature = without.rpartition(b".")
    mirror = data + b"." + b64(mirrored(unb64(signature)))
    assert mirror != without
    assert asyncio.run(uses(without, mirror)) == [True, False], "another signature over the same octets"


def test_a_token_chooses_its_issuer_letter_by_letter() -> None:
    other = TokenIssuer("https://gitlab.acme.example", AUDIENCE, "https://gitlab.acme.example/keys", ALL)
    assert issuer_of(read_token(CI.token()), (other, TRUSTED)) is TRUSTED
    for issuer in (GITHUB + "/", GITHUB.upper(), "https://token.actions.githubusercontent.com.evil.example"):
        with pytest.raises(IdentityRefused, match="none of those of the service"):
            issuer_of(read_token(CI.token(iss=issuer)), (other, TRUSTED))


def test_a_key_of_one_issuer_signs_nothing_of_another() -> None:
    other = CiIssuer({"rsa-1": rsa_key()}, issuer="https://gitlab.acme.example")
    verify(read_token(other.token()), other.trusted(), other.key_set, NOW)
    with pytest.raises(IdentityRefused, match="its signature is not"):
        verify(read_token(other.token(iss=GITHUB)), TRUSTED, KEYS, NOW)


KEY_SETS: dict[str, tuple[Any, str]] = {
    "a weak key": ([public_jwk(rsa_key(1024), kid="rsa-1")], "RSA key of 1024 bits"),
    "a curve that is none of ours": ([public_jwk(ec.generate_private_key(ec.SECP256K1()), kid="rsa-1")], "curve secp256k1"),
    "a key for encryption": ([public_jwk(CI.keys["rsa-1"], kid="rsa-1", use="enc")], "another use"),
    "a key for other operations": ([public_jwk(CI.keys["rsa-1"], kid="rsa-1", key_ops=["wrapKey"])], "other operations"),
    "another kind of key": ([{"kty": "AKP", "kid": "rsa-1", "pub": "AA"}], "its kind signs no tokens"),
    "a point that is on no curve": ([{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "kid": "rsa-1"}], "usable"),
    "a key without its number": ([{"kty": "RSA", "e": "AQAB", "kid": "rsa-1"}], "usable"),
    "a key whose number is a list": ([{"kty": "RSA", "e": "AQAB", "n": ["AA"], "kid": "rsa-1"}], "usable"),
    "a key without a kid": ([public_jwk(CI.keys["rsa-1"])], "no such key"),
    "no key": ([], "no such key"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
@pytest.mark.parametrize("which", KEY_SETS)
def test_a_key_that_is_none_for_tokens_is_left_out(which: str) -> None:
    listed, said = KEY_SETS[which]
    keys = parse_keys(json.dumps({"keys": [*listed, public_jwk(CI.keys["rsa-2"], kid="rsa-2")]}).encode(), "keys")
    assert verify(read_token(CI.token("rsa-2")), TRUSTED, keys, NOW).token.subject == SUBJECT
    with pytest.raises(IdentityRefused, match=said):
        verify(read_token(CI.token()), TRUSTED, keys, NOW)


def test_a_key_set_that_cannot_be_believed_is_not_used_at_all() -> None:
    good = public_jwk(CI.keys["rsa-1"], kid="rsa-1")
    assert set(parse_keys(json.dumps({"keys": [good], "more": 1}).encode(), "keys").keys) == {"rsa-1"}
    for listed, said in (
        ([good, public_jwk(CI.keys["rsa-2"], kid="rsa-1")], "are two keys"),
        ([good, good], "are two keys"),
        ([good, {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}], "publishes the secret"),
        ([{**good, "d": "AA"}], "publishes the secret"),
        ([good, "text"], "no key set"),
        ("text", "no key set"),
        (None, "no key set"),
    ):
        with pytest.raises(ServiceUnavailable, match=said):
            parse_keys(json.dumps({"keys": listed}).encode(), "keys")
    for data in (b"", b"[]", b'{"keys":[],"keys":[]}', b"\xff", b'{"keys":' + b"[" * 3000, b'{"keys":NaN}'):
        with pytest.raises(ServiceUnavailable):
            parse_keys(data, "keys")
    with pytest.raises(LimitExceeded):
        parse_keys(json.dumps({"keys": [{**good, "kid": str(at)} for at in range(33)]}).encode(), "keys")
    with pytest.raises(LimitExceeded):
        parse_keys(b" " * 70_000, "keys")


def test_a_changed_key_set_is_refused_or_read_and_never_fails_otherwise() -> None:
    dice = random.Random(17)
    for data in changed(json.dumps(CI.jwks()).encode(), dice):
        try:
            parse_keys(data, "keys")
        except SealwrightError:
            continue


def test_issuers_are_configured_within_bounds() -> None:
    assert github(AUDIENCE).keys_url == "https://token.actions.githubusercontent.com/.well-known/jwks"
    assert gitlab(AUDIENCE, "https://git.acme.example").keys_url == "https://git.acme.example/oauth/discovery/keys"
    wrongs: tuple[dict[str, Any], ...] = (
        {"issuer": "http://a.example"},
        {"keys_url": "http://a.example/keys"},
        {"keys_url": "https://user@a.example/keys"},
        {"audience": ""},
        {"algorithms": frozenset()},
        {"lifetime": timedelta(days=2)},
        {"lifetime": timedelta(0)},
        {"leeway": timedelta(minutes=6)},
        {"leeway": timedelta(seconds=-1)},
    )
    for wrong in wrongs:
        fine: dict[str, Any] = {"issuer": GITHUB, "audience": AUDIENCE, "keys_url": GITHUB + "/k", "algorithms": ALL}
        TokenIssuer(**fine)
        with pytest.raises(UsageError):
            TokenIssuer(**{**fine, **wrong})
