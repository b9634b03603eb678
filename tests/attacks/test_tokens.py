"""A021, A114, A118 (tokens), A122: algorithms that prove nothing, public keys as secrets, signatures that are cut off, and tokens used elsewhere or again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kit.oidc import CiIssuer, b64, fresh_replay, rsa_key, segment
from kit.people import people
from kit.pki import NOW
from sealwright.artifact.digest import Digest
from sealwright.errors import IdentityRefused
from sealwright.service.oidc import VerifiedToken, read_token, verify
from sealwright.signing.people import Role

CI = CiIssuer({"rsa-1": rsa_key(), "p256": ec.generate_private_key(ec.SECP256R1())})
KEYS = CI.key_set


def judged(text: bytes) -> VerifiedToken:
    return verify(read_token(text), CI.trusted(), KEYS, NOW)


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "nOnE", "none ", "", "null", "HS256", "RS256\x00", "rs256", "RS1"]
)
@pytest.mark.parametrize("signature", ["", "AA", "own"])
def test_a021_an_algorithm_that_proves_nothing_is_refused_in_every_spelling(name: str, signature: str) -> None:
    good = CI.token()
    judged(good)
    data = segment({"alg": name, "kid": "rsa-1", "typ": "JWT"}) + b"." + segment(CI.body())
    last = good.rpartition(b".")[2] if signature == "own" else signature.encode()
    with pytest.raises(IdentityRefused):
        judged(data + b"." + last)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("kid", ["rsa-1", "p256"])
def test_a021_a_public_key_is_no_secret(kid: str, algorithm: str) -> None:
    public = CI.keys[kid].public_key()
    for form in ((Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)):
        for secret in (public.public_bytes(*form), public.public_bytes(*form).strip(), b"", b"secret"):
            with pytest.raises(IdentityRefused, match="`alg` is"):
                judged(CI.by_secret(secret, algorithm, kid))


@pytest.mark.parametrize("cut", [lambda text: text.rpartition(b".")[0] + b".", lambda text: text.rpartition(b".")[0]])
def test_a021_a_token_without_its_signature_is_refused(cut: Any) -> None:
    good = CI.token()
    judged(good)
    with pytest.raises(IdentityRefused):
        judged(cut(good))


@pytest.mark.parametrize("zero", [b"\x00" * 64, b"\x00" * 63 + b"\x01", b"\xff" * 64])
def test_a021_a_signature_of_nothing_is_refused(zero: bytes) -> None:
    """CVE-2022-21449: r = s = 0."""
    good = CI.token("p256", "ES256")
    judged(good)
    with pytest.raises(IdentityRefused):
        judged(good.rpartition(b".")[0] + b"." + b64(zero))


def test_a118_a_token_for_another_service_is_refused() -> None:
    judged(CI.token())
    with pytest.raises(IdentityRefused, match="`aud` is"):
        judged(CI.token(aud="https://sign.staging.acme.example"))


def test_a118_a_token_is_used_once_and_not_after_its_end(tmp_path: Path) -> None:
    async def story() -> None:
        replay, text = fresh_replay(tmp_path, NOW - timedelta(hours=1)), CI.token()
        one = judged(text)
        assert await replay.first_use(one.once, one.issued, one.expires, NOW)
        again = judged(text)
        assert not await replay.first_use(again.once, again.issued, again.expires, NOW)

    asyncio.run(story())
    with pytest.raises(IdentityRefused, match="it ended"):
        verify(read_token(CI.token()), CI.trusted(), KEYS, NOW + timedelta(minutes=7))


FORK = {"sub": "repo:evil/fw:environment:release", "repository_id": "2002"}


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://other.example"},
        {"sub": "repo:acme/fw-evil:environment:release"},
        {"sub": "repo:acme/fw"},
        {"sub": "repo:acme/fw:pull_request", "event_name": "pull_request"},
        {"event_name": "pull_request_target"},
        FORK,
        {"repository_id": "2002"},
        {"repository_id": 1001},
        {"repository_id": ["1001"]},
        {"ref_type": "branch", "ref": "refs/heads/main"},
        {"environment": None},
        {"environment": "Release"},
        {"environment": {"name": "release"}},
        {"sha": None},
    ],
)
def test_a122_a_genuine_token_that_is_not_exactly_as_listed_is_nobodys(claims: dict[str, Any]) -> None:
    known = people()
    assert known.by_token(judged(CI.token()).token, NOW).id == "m3"
    with pytest.raises(IdentityRefused):
        known.by_token(judged(CI.token(**claims)).token, NOW)


def test_a114_a_machine_and_the_person_who_answers_for_it_are_one() -> None:
    known = people()
    principal = known.by_token(judged(CI.token()).token, NOW)
    assert principal.person == "p7"
    assert not principal.roles & {Role.APPROVER, Role.OFFICER}
    assert known.cms_approver(Digest.of(b"p7 key"), "acme", NOW) == principal.person
