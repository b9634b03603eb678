"""The files of a log over HTTP: one connection that stays, no redirect, a bound on every answer."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from sealwright.errors import UsageError
from sealwright.log.source import Got

TIMEOUT_S = 30


class Web:
    """A server of files, by a URL; used by one thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(url[:200], "it is no URL of a log", "Write https://HOST/PATH.")
        import ssl  # only where a log is read over a network: each command can be imported on every system

        self._connection = (
            http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        )

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
