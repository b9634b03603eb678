"""The tokens that a CI system gives its jobs, on the job's side: each is good once at the service, and none is ever shown.

| system | where a token comes from | how many |
| --- | --- | --- |
| GitHub | `ACTIONS_ID_TOKEN_REQUEST_URL`, asked by HTTPS with `ACTIONS_ID_TOKEN_REQUEST_TOKEN` | a new one for each call |
| GitLab | variables that `id_tokens` of the job names | as many as it names |
| Jenkins and others | variables, or files | as many as there are |

Two calls want a token: which keys there are, and asking. Waiting and fetching go by the ticket that the service answers with.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx

from sealwright.artifact.source import read_file
from sealwright.errors import ServiceUnavailable, UsageError

URL, SECRET = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
MAX_BYTES = 64 * 1024
MAX_TOKEN_BYTES = 8 * 1024
ANSWER_S = 30.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenSource(Protocol):
    """Where tokens come from."""

    def next(self) -> str:
        """A token that was not used; UsageError where there is none left, ServiceUnavailable where the CI system gives none."""
        ...

    def has_more(self) -> bool:
        """Whether there is one."""
        ...


class GivenTokens:
    """Tokens of variables and files. where: what each is called, for errors."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._left = [_checked(where, token) for where, token in tokens]

    def next(self) -> str:
        """The next one."""
        if not self._left:
            raise UsageError(
                "CI token", "each is good for one call, and none is left", "Give it one more: docs/ci/gitlab.md."
            )
        return self._left.pop(0)

    def has_more(self) -> bool:
        """As the protocol says."""
        return bool(self._left)


class GithubTokens:
    """A new token of the runner for each call. audience: of the service."""

    def __init__(self, url: str, secret: str, audience: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname or not _printable(secret):
            raise UsageError(
                URL, "it is no https address, or has no token", "Give the job `permissions: id-token: write`."
            )
        self._url = f"{url}{'&' if parts.query else '?'}audience={quote(audience, safe='')}"
        self._secret = secret

    def next(self) -> str:
        """Ask the runner's service for one."""
        try:
            with (
                httpx.Client(verify=ssl.create_default_context(), trust_env=False, timeout=ANSWER_S) as client,
                client.stream("GET", self._url, headers={"authorization": f"bearer {self._secret}"}) as answer,
            ):
                data = b""
                for block in answer.iter_bytes():
                    data += block
                    if len(data) > MAX_BYTES:
                        raise _unavailable("an answer without end")
            if answer.status_code != 200:
                raise _unavailable(f"it answers {answer.status_code}")
            value = json.loads(data)["value"]
        except (httpx.HTTPError, OSError) as cause:
            raise _unavailable(type(cause).__name__) from cause
        except (ValueError, KeyError, TypeError, RecursionError) as cause:
            raise _unavailable("it answers without a token") from cause
        return _checked("GitHub", str(value))

    def has_more(self) -> bool:
        """As the protocol says."""
        return True


def tokens_of(
    environment: Mapping[str, str], variables: Sequence[str], files: Sequence[str], audience: str
) -> TokenSource:
    """The tokens of this job: those that are named, else GitHub's. UsageError where there are none."""
    given = []
    for name in variables:
        if not environment.get(name):
            raise UsageError(
                f"--token-env {name}", "the job has no such variable", "Name it under `id_tokens` of the job."
            )
        given.append((name, environment[name]))
    given += [(path, read_file(path, MAX_TOKEN_BYTES).decode("ascii", "replace")) for path in files]
    if given:
        return GivenTokens(given)
    if URL in environment:
        return GithubTokens(environment[URL], environment.get(SECRET, ""), audience)
    raise UsageError(
        "ci sign",
        "this job has no token to show who it is",
        "Name it with --token-env or --token-file, or show a certificate with --client and --client-key.",
    )


def _checked(where: str, token: str) -> str:
    found = token.strip()
    if len(found) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(found):
        raise UsageError(where, "what is there is no token", "It is three parts of base64url with dots between them.")
    return found


def _printable(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


def _unavailable(what: str) -> ServiceUnavailable:
    return ServiceUnavailable("GitHub's tokens", what, "Run the job again.")
