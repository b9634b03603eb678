"""What happens on an alarm beside the exit code: a program of the operator's is run, or a URL is told.

The program gets no argument, no shell and nothing of the environment but PATH. On its standard input, and at the URL as a body, are lines
of JSON: each alarm, then the summary, as `--json` prints them. What a log says is in them as data alone.
"""

from __future__ import annotations

import os
import subprocess

from sealwright.cli.jsonout import line
from sealwright.errors import AlarmUndelivered, UsageError

ALARM_S = 30
_BY_HAND = "Tell the people who are responsible yourself: there is an alarm."


class Hook:
    """Whom an alarm is told. program: a path; url: https, or http to this machine; ca: the only authorities for it, None for the system's."""

    def __init__(self, program: str | None, url: str | None, ca: str | None) -> None:
        if program is not None and not os.access(program, os.X_OK):
            raise UsageError("--alarm-run", f"{program[:200]} is no program that can be run", "Name it by its path.")
        if url is not None and not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise UsageError("--alarm-url", "it is no https URL", "Write https://HOST/PATH.")
        self._program = program
        self._url = url
        self._ca = ca
        self._alarms: list[dict[str, object]] = []

    def hear(self, alarm: dict[str, object]) -> None:
        """Remember it for `tell`."""
        self._alarms.append(alarm)

    def tell(self) -> None:
        """Tell what was heard; nothing where that is nothing. Raises AlarmUndelivered."""
        if not self._alarms:
            return
        body = "".join(line(one) + "\n" for one in self._alarms).encode()
        if self._program is not None:
            _run(self._program, body)
        if self._url is not None:
            _post(self._url, self._ca, body)


def _run(program: str, body: bytes) -> None:
    try:
        done = subprocess.run(
            [os.path.abspath(program)],
            input=body,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            timeout=ALARM_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise AlarmUndelivered(program, f"it could not be run to its end ({type(cause).__name__})", _BY_HAND) from cause
    if done.returncode:
        raise AlarmUndelivered(program, f"it ended with {done.returncode}", _BY_HAND)


def _post(url: str, ca: str | None, body: bytes) -> None:
    import http.client  # only where there is an alarm

    from sealwright.cli.logweb import connected

    connection, path = connected(url, ca)
    host = url.split("/")[2]
    try:
        connection.request("POST", path, body, {"Content-Type": "application/x-ndjson"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as cause:
        raise AlarmUndelivered(host, f"no answer ({type(cause).__name__})", _BY_HAND) from cause
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise AlarmUndelivered(host, f"it answered {status}", _BY_HAND)
