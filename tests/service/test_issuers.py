"""The CI systems that a service is told of: each of its kind, none of whose tokens could be anybody's."""

from __future__ import annotations

import pytest

from sealwright.artifact.section import read_toml
from sealwright.errors import MalformedConfiguration, SealwrightError, UsageError
from sealwright.service.config import CONFIGURATION
from sealwright.service.issuers import issuer_of
from sealwright.service.oidc import Algorithm, TokenIssuer

AUDIENCE = 'audience = "https://sign.acme.example"\n'
OTHER = 'kind = "other"\naddress = "https://ci.acme.example"\nkeys = "https://ci.acme.example/jwks"\n' + AUDIENCE


def read(text: str) -> TokenIssuer:
    (section,) = read_toml(b"# x\n[[issuer]]\n" + text.encode(), "service.toml", "# x", CONFIGURATION).tables("issuer")
    found = issuer_of(section, "/etc/sealwright")
    section.done()
    return found


def test_each_kind_knows_where_its_keys_are() -> None:
    assert (
        read('kind = "github"\n' + AUDIENCE).keys_url == "https://token.actions.githubusercontent.com/.well-known/jwks"
    )
    own = read('kind = "gitlab"\naddress = "https://gitlab.acme.example"\nca_file = "tls/ca.pem"\n' + AUDIENCE)
    assert (own.keys_url, own.ca_file) == (
        "https://gitlab.acme.example/oauth/discovery/keys",
        "/etc/sealwright/tls/ca.pem",
    )
    assert read('kind = "gitlab"\n' + AUDIENCE).issuer == "https://gitlab.com"
    other = read(OTHER + 'algorithms = ["ES256", "EdDSA"]\n')
    assert (other.keys_url, other.algorithms) == ("https://ci.acme.example/jwks", {Algorithm.ES256, Algorithm.EDDSA})
    assert read(OTHER).algorithms == {Algorithm.RS256}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (OTHER + 'algorithms = ["none"]\n', MalformedConfiguration),
        (OTHER + 'algorithms = ["HS256"]\n', MalformedConfiguration),
        (OTHER.replace("https://ci", "http://ci"), UsageError),
        (OTHER.replace("/jwks", "/jwks?x"), UsageError),
        (OTHER.replace('keys = "https://ci.acme.example/jwks"\n', ""), MalformedConfiguration),
        (OTHER.replace("other", "jenkins"), MalformedConfiguration),
        (OTHER + "discover = true\n", MalformedConfiguration),
        ('kind = "github"\nkeys = "https://evil.example"\n' + AUDIENCE, MalformedConfiguration),
        ('kind = "github"\n', MalformedConfiguration),
    ],
)
def test_what_would_take_more_than_it_should_is_refused(text: str, error: type[SealwrightError]) -> None:
    assert read(OTHER)
    with pytest.raises(error):
        read(text)
