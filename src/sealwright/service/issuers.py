"""`[[issuer]]` of service.toml: the CI systems whose tokens are taken.

[[issuer]]
kind = "github"                                    # github.com
audience = "https://sign.acme.example"

[[issuer]]
kind = "gitlab"
audience = "https://sign.acme.example"
address = "https://gitlab.acme.example"            # as it calls itself; gitlab.com where nothing is said
ca_file = "tls/internal.pem"                       # the only authorities for that address, where they are not public

[[issuer]]
kind = "other"                                     # Jenkins with an OIDC plugin, a GitHub Enterprise Server, ...
audience = "https://sign.acme.example"
address = "https://jenkins.acme.example/oidc"      # `iss` of its tokens, letter by letter
keys = "https://jenkins.acme.example/oidc/jwks"    # nothing is discovered
algorithms = ["RS256"]
"""

from __future__ import annotations

import os
from dataclasses import replace

from sealwright.artifact.section import Section
from sealwright.service.oidc import Algorithm, TokenIssuer, github, gitlab

GITLAB = "https://gitlab.com"


def issuer_of(section: Section, folder: str) -> TokenIssuer:
    """One table; MalformedConfiguration, UsageError for what would take more than it should. folder: of the file."""
    audience, ca_file = section.text("audience"), section.text("ca_file", "")
    kind = section.word("kind", ("github", "gitlab", "other"))
    if kind == "github":
        issuer = github(audience)
    elif kind == "gitlab":
        issuer = gitlab(audience, section.text("address", GITLAB))
    else:
        issuer = TokenIssuer(section.text("address"), audience, section.text("keys"), _algorithms(section))
    return replace(issuer, ca_file=os.path.join(folder, ca_file)) if ca_file else issuer


def _algorithms(section: Section) -> frozenset[Algorithm]:
    named = section.texts("algorithms") or (Algorithm.RS256.value,)
    try:
        return frozenset(map(Algorithm, named))
    except ValueError as cause:
        raise section.wrong("algorithms", "a list of " + ", ".join(f'"{one}"' for one in Algorithm)) from cause
