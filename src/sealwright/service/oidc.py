"""Tokens of CI systems: JSON Web Tokens of issuers that the service was told of, judged in this order (RFC 7519, RFC 8725).

1. At most 8 KiB, three parts of base64url, JSON objects without a name twice; the head has `alg`, `kid`, `typ` "JWT" and at most a
   thumbprint, which nobody reads. Whatever else it has (`crit`, `jku`, `x5u`, `x5c`, `jwk`, `b64`) refuses the token (A021).
2. `iss` is one of the issuers, letter by letter; it chooses the keys and nothing else before the signature holds.
3. `alg` is one of that issuer's. `none` and HMAC are no algorithms here at all, in any spelling.
4. `kid` is exactly one key of that issuer's own set, of the kind that `alg` signs with. The signature is joserfc's to verify.
5. `aud` is this service, alone; `exp` and `iat` are there; the token lives now and not longer than its issuer's may (A118).
6. A token is good once: by its `jti`, or by what was signed (a signature's own octets can be altered without breaking it).
What it says is text to compare with the register (`signing/people.py`), and never chooses a key, a place or a file.

    token = read_token(text)
    verified = verify(token, issuer, keys, now)          # keys: of `parse_keys`, fetched by `issuerkeys.py`
    await replay.first_use(verified.once, verified.issued, verified.expires, now)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol, cast

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sealwright.artifact.digest import Digest
from sealwright.artifact.names import display
from sealwright.artifact.section import MAX_TEXT
from sealwright.envelope.algorithms import algorithm_for
from sealwright.errors import IdentityRefused, LimitExceeded, SealwrightError, ServiceUnavailable, UsageError
from sealwright.signing.people import JUDGED, Token, is_issuer

MAX_TOKEN_BYTES = 8 * 1024
MAX_CLAIMS = 200
MAX_KEYS_BYTES = 64 * 1024
MAX_KEYS = 32
MAX_LEEWAY = timedelta(minutes=5)
MAX_LIFETIME = timedelta(days=1)
_LATEST = 253_402_300_799  # 9999-12-31T23:59:59Z
_PART = re.compile(rb"[A-Za-z0-9_-]+")
_HEAD = frozenset(("alg", "kid", "typ", "x5t", "x5t#S256"))
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_MEMBERS = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y"), "OKP": ("kty", "crv", "x")}
_NEXT = "Ask the CI system for a new token for this service."
Json = object
SigningKey = RSAKey | ECKey | OKPKey


class Algorithm(StrEnum):
    """Everything that is ever verified. RFC 9864 calls EdDSA over Ed25519 by the curve's name; issuers use either."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"
    ED25519 = "Ed25519"


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Whose tokens are taken. issuer: its `iss`; audience: this service, as tokens for it name it; keys_url: of its key set.

    ca_file: the only authorities for that address where it is named, PEM; lifetime: of a token, from `iat` to `exp`; leeway: between
    its clock and ours. UsageError for what would take more than it should.
    """

    issuer: str
    audience: str
    keys_url: str
    algorithms: frozenset[Algorithm]
    ca_file: str = ""
    lifetime: timedelta = timedelta(hours=1)
    leeway: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        for name, url in (("issuer", self.issuer), ("keys_url", self.keys_url)):
            if not is_issuer(url):
                raise _configured(name, url, "no plain https address")
        if not self.audience or not self.algorithms:
            raise _configured("audience", self.audience, "nothing, or there are no algorithms")
        if not timedelta(0) <= self.leeway <= MAX_LEEWAY or not timedelta(0) < self.lifetime <= MAX_LIFETIME:
            raise _configured(
                "lifetime", str(self.lifetime), f"beyond {MAX_LIFETIME}, or the leeway beyond {MAX_LEEWAY}"
            )


def github(audience: str) -> TokenIssuer:
    """GitHub's own runners of github.com; a GitHub Enterprise Server is its own issuer."""
    issuer = "https://token.actions.githubusercontent.com"
    return TokenIssuer(issuer, audience, f"{issuer}/.well-known/jwks", frozenset((Algorithm.RS256,)))


def gitlab(audience: str, address: str = "https://gitlab.com") -> TokenIssuer:
    """A GitLab by the address at which it calls itself."""
    return TokenIssuer(address, audience, f"{address}/oauth/discovery/keys", frozenset((Algorithm.RS256,)))


@dataclass(frozen=True, slots=True)
class ReadToken:
    """A token of the right form, of which nothing is believed yet. Times are seconds; jti: "" where there is none.

    claims: its other texts that are printable and not too long; what is no text equals nothing that a register lists.
    """

    text: bytes
    algorithm: str
    kid: str
    issuer: str
    audience: str
    subject: str
    issued: int
    expires: int
    not_before: int
    jti: str
    claims: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """once: what it may be used once by."""

    token: Token
    once: Digest
    issued: datetime
    expires: datetime


@dataclass(frozen=True, slots=True)
class KeySet:
    """An issuer's keys by `kid`. unusable: why another one of its list is no key here."""

    keys: Mapping[str, SigningKey]
    algorithms: Mapping[str, str]
    unusable: Mapping[str, str]


class Replay(Protocol):
    """Remembers which tokens were used; of several replicas all ask the same one."""

    async def first_use(self, once: Digest, issued: datetime, until: datetime, now: datetime) -> bool:
        """Durably note a use; False where it was used before, or where nobody could know. until: when it is worthless anyway."""
        ...


def read_token(text: bytes) -> ReadToken:
    """Point 1; IdentityRefused for anything else."""
    if len(text) > MAX_TOKEN_BYTES:
        raise refused(f"{len(text)} bytes, at most {MAX_TOKEN_BYTES}")
    parts = text.split(b".")
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise refused("it is not three parts of base64url")
    head, body = _object(parts[0], "head"), _object(parts[1], "body")
    if strange := set(head) - _HEAD:
        raise refused(f"its head has `{display(min(strange))[:40]}`")
    if head.get("typ", "JWT") != "JWT":
        raise refused("its head says that it is of another type")
    if len(body) > MAX_CLAIMS:
        raise refused(f"it has {len(body)} claims, at most {MAX_CLAIMS}")
    return ReadToken(
        text=text,
        algorithm=_text(head, "alg"),
        kid=_text(head, "kid"),
        issuer=_text(body, "iss"),
        audience=_audience(body),
        subject=_text(body, "sub"),
        issued=_seconds(body, "iat"),
        expires=_seconds(body, "exp"),
        not_before=_seconds(body, "nbf") if "nbf" in body else 0,
        jti=_text(body, "jti") if "jti" in body else "",
        claims={name: str(value) for name, value in body.items() if name not in JUDGED and _is_text(value)},
    )


def issuer_of(token: ReadToken, issuers: Sequence[TokenIssuer]) -> TokenIssuer:
    """Point 2."""
    for one in issuers:
        if one.issuer == token.issuer:
            return one
    raise refused(f'its issuer is "{display(token.issuer)}", which is none of those of the service')


def verify(token: ReadToken, issuer: TokenIssuer, keys: KeySet, now: datetime) -> VerifiedToken:
    """Points 3 to 5; IdentityRefused saying which does not hold. now: aware."""
    if token.issuer != issuer.issuer:
        raise refused("it is of another issuer")
    if token.algorithm not in issuer.algorithms:
        raise refused(f'`alg` is "{display(token.algorithm)[:40]}", not one of {", ".join(sorted(issuer.algorithms))}')
    key = keys.keys.get(token.kid)
    if key is None:
        why = keys.unusable.get(token.kid, "its issuer has no such key")
        raise refused(f'`kid` "{display(token.kid)[:100]}": {why}')
    if keys.algorithms.get(token.kid, token.algorithm) != token.algorithm:
        raise refused(f"its key is for {keys.algorithms[token.kid]}, not for {token.algorithm}")
    try:
        signed = jws.extract_compact(token.text)
        genuine = jws.validate_compact(signed, key, algorithms=[token.algorithm])
    except (JoseError, ValueError, TypeError) as cause:
        raise refused(f"its signature cannot be judged: {cause}"[:200]) from cause
    if not genuine:
        raise refused("its signature is not that of its issuer's key")
    if token.audience != issuer.audience:
        raise refused(f'`aud` is "{display(token.audience)}", this service is "{issuer.audience}"')
    _check_times(token, issuer, now)
    by = b"jti\n" + token.jti.encode() if token.jti else b"token\n" + token.text.rpartition(b".")[0]
    return VerifiedToken(
        token=Token(token.issuer, token.audience, token.subject, token.claims),
        once=Digest.of(token.issuer.encode() + b"\n" + by),
        issued=datetime.fromtimestamp(token.issued, UTC),
        expires=datetime.fromtimestamp(token.expires, UTC) + issuer.leeway,
    )


def parse_keys(data: bytes, subject: str) -> KeySet:
    """A JSON Web Key Set (RFC 7517); ServiceUnavailable or LimitExceeded for what cannot be believed as a whole.

    Keys of other kinds and uses and weak ones are left out; a private key, or one `kid` for two keys, refuses them all.
    """
    if len(data) > MAX_KEYS_BYTES:
        raise LimitExceeded(subject, f"{len(data)} bytes", f"At most {MAX_KEYS_BYTES} are read.")
    try:
        listed = strict_json(data).get("keys")
    except ValueError as cause:
        raise _no_keys(subject, f"it is no key set ({cause})"[:200]) from cause
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _no_keys(subject, "it is no key set")
    if len(listed) > MAX_KEYS:
        raise LimitExceeded(subject, f"{len(listed)} keys", f"At most {MAX_KEYS} are read.")
    keys: dict[str, SigningKey] = {}
    algorithms: dict[str, str] = {}
    unusable: dict[str, str] = {}
    for one in cast("list[dict[str, Json]]", listed):
        kid = one.get("kid")
        if not isinstance(kid, str) or not kid:
            continue  # no token names it
        if _PRIVATE & set(one):
            raise _no_keys(subject, f"it publishes the secret of `{display(kid)[:100]}`")
        if kid in keys or kid in unusable:
            raise _no_keys(subject, f"`{display(kid)[:100]}` are two keys")
        try:
            keys[kid] = _key(one)
        except (JoseError, SealwrightError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as cause:
            unusable[kid] = (cause.what if isinstance(cause, SealwrightError) else f"it is no usable key: {cause}")[
                :200
            ]
        if isinstance(algorithm := one.get("alg"), str):
            algorithms[kid] = algorithm
    return KeySet(keys, algorithms, unusable)


def strict_json(data: bytes) -> dict[str, Json]:
    """A JSON object without a name twice, in UTF-8; ValueError for anything else."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError as cause:
        raise ValueError("nested too deeply") from cause
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def refused(what: str) -> IdentityRefused:
    """A token that is nobody's, and why: for the log."""
    return IdentityRefused("token", what, _NEXT)


def _check_times(token: ReadToken, issuer: TokenIssuer, now: datetime) -> None:
    at, leeway = now.timestamp(), issuer.leeway.total_seconds()
    if at > token.expires + leeway:
        raise refused(f"it ended at {_time(token.expires)}")
    for name, begins in (("nbf", token.not_before), ("iat", token.issued)):
        if begins > at + leeway:
            raise refused(f"`{name}` is {_time(begins)}, which is still to come")
    if not 0 < token.expires - token.issued <= issuer.lifetime.total_seconds():
        raise refused(
            f"it lasts {token.expires - token.issued} s, at most {issuer.lifetime.total_seconds():.0f} s are taken"
        )


def _key(one: Mapping[str, Json]) -> SigningKey:
    kind = one.get("kty")
    if not isinstance(kind, str) or kind not in _MEMBERS:
        raise ValueError("its kind signs no tokens here")
    if one.get("use", "sig") != "sig":
        raise ValueError("it is for another use")
    operations = one.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("it is for other operations")
    members: dict[str, str | list[str]] = {name: v for name in _MEMBERS[kind] if isinstance(v := one[name], str)}
    made: SigningKey
    if kind == "RSA":
        made = RSAKey.import_key(members)
    elif kind == "EC":
        made = ECKey.import_key(members)
    else:
        made = OKPKey.import_key(members)
    algorithm_for(made.public_key, subject="key")
    return made


def _object(part: bytes, what: str) -> dict[str, Json]:
    """One part of a token; the last sextet must not hide bits, so that a token has one spelling."""
    try:
        data = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        if base64.urlsafe_b64encode(data).rstrip(b"=") != part:
            raise ValueError("bits that say nothing")
        return strict_json(data)
    except ValueError as cause:
        raise refused(f"its {what} is no JSON object ({cause})"[:200]) from cause


def _text(named: Mapping[str, Json], name: str) -> str:
    value = named.get(name)
    if not _is_text(value):
        raise refused(f"`{name}` is no text")
    return str(value)


def _is_text(value: Json) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and display(value) == value


def _audience(body: Mapping[str, Json]) -> str:
    value = body.get("aud")
    return _text({"aud": value[0]} if isinstance(value, list) and len(value) == 1 else body, "aud")


def _seconds(body: Mapping[str, Json], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _LATEST:
        raise refused(f"`{name}` is no time")
    return value


def _once(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _no_keys(subject: str, what: str) -> ServiceUnavailable:
    return ServiceUnavailable(subject, what, "Ask whoever runs the issuer of these tokens.")


def _configured(name: str, value: str, what: str) -> UsageError:
    return UsageError(
        f"token issuer: {name}", f"{display(value)[:100]} is {what}", "Correct the service's configuration."
    )
