"""The files of a log over HTTP: one connection that stays, no redirect, a bound on every answer."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from sealwright.errors import UsageError
from sealwright.log.source import Got

TIMEOUT_S = 30


def connected(
    url: str, ca: str | None = None, certificate: str | None = None, key: str | None = None
) -> tuple[http.client.HTTPConnection, str]:
    """A connection to a URL's server, not opened yet, and the URL's path with its query.

    ca: a PEM file with the only authorities, None for the system's; certificate, key: of the client, PEM files. Raises UsageError.
    """
    parts = urlsplit(url)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in ("http", "https") or not host or parts.fragment or parts.username:
        raise UsageError(url[:200], "it is no URL of a log", "Write https://HOST/PATH.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S), path
    import ssl  # only where a log is read over a network: each command can be imported on every system

    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as cause:
        raise UsageError(
            host, f"its certificates cannot be read ({cause})"[:200], "Check --ca, --client and --client-key."
        ) from cause
    return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context), path


class Web:
    """A server of files, by a URL; used by one thread. The rest as `connected` has it."""

    def __init__(self, url: str, ca: str | None = None, certificate: str | None = None, key: str | None = None) -> None:
        if "?" in url:
            raise UsageError(url[:200], "it is no URL of a log", "Write https://HOST/PATH.")
        self._connection, _ = connected(url, ca, certificate, key)

    def get(self, url: str, limit_bytes: int) -> Got:
        """One file, of the same server; OSError where there is no answer."""
        for last in (False, True):
            try:
                self._connection.request("GET", urlsplit(url).path, headers={"Accept-Encoding": "identity"})
                answer = self._connection.getresponse()
                body = answer.read(limit_bytes + 1)
                if answer.read(1):
                    self._connection.close()  # what is too long is not read to its end
                return Got(answer.status, body)
            except http.client.HTTPException as cause:
                self._connection.close()
                if last:
                    raise OSError(f"no answer ({type(cause).__name__})") from cause
            except OSError:  # a connection that the server closed while it was idle is opened once more
                self._connection.close()
                if last:
                    raise
        raise AssertionError("one of both has left")
