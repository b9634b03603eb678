"""The fleet in numbers as one page of HTML, for whoever has a browser and a certificate: no script, no picture, nothing from elsewhere.

Products and versions come from devices, and a device may be taken over: every text is made visible (`display`), then escaped, and stands
between tags. The page's policy, in a header and in the page itself, is the second wall: a browser runs and loads nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from html import escape

from sealwright.artifact.names import display
from sealwright.service.fleetwire import Status
from sealwright.texts.words import say

TYPE = "text/html; charset=utf-8"
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; border-bottom: 2px solid #444; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .15rem .8rem .15rem 0; overflow-wrap: anywhere; }
th { font-weight: normal; color: #555; } td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } h2 { break-after: avoid; } }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_IN_PAGE = POLICY.partition("; frame-ancestors")[0]  # which only a header can say
Cell = str | int


def page(status: Status, now: datetime) -> bytes:
    """The page of one moment."""
    return "".join(_parts(status, now)).encode()


def _parts(status: Status, now: datetime) -> Iterator[str]:
    title = escape(say("fleet.html.title"))
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_IN_PAGE}">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
    numbers = {name: f"{getattr(status, name):,}" for name in ("devices", "silent", "never", "retired")}
    yield f"<p>{escape(say('fleet.total', **numbers, hours=status.silent_hours))}</p>\n"
    yield f"<p>{now:%Y-%m-%d %H:%M} UTC</p>\n"
    yield from _table(
        say("fleet.runs"),
        ("product", "version", "generation", "group", "channel"),
        ((one.devices, one.product, one.version, one.generation, one.group, one.channel) for one in status.runs),
    )
    yield from _table(
        say("fleet.behind"),
        ("product", "group", "generation", "offered"),
        ((one.devices, one.product, one.group, one.generation, one.wanted) for one in status.behind),
    )
    yield from _table(
        say("fleet.withdrawn"),
        ("product", "version", "generation", "advisory"),
        ((one.devices, one.product, one.version, one.generation, one.advisory) for one in status.withdrawn),
    )
    yield from _table(
        say("fleet.troubles"),
        ("outcome", "code", "product", "version", "generation"),
        ((one.devices, one.outcome, one.code, one.product, one.version, one.generation) for one in status.troubles),
    )
    yield from _table(
        say("fleet.used"), ("kind", "digest"), ((one.devices, one.kind, one.digest) for one in status.used)
    )
    yield "</body>\n</html>\n"


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """A table whose first column is the number of devices; nothing where there are no rows."""
    lines = ["".join(_cell(cell) for cell in row) for row in rows]
    if lines:
        heads = "".join(f"<th>{escape(name)}</th>" for name in ("devices", *names))
        yield f"<h2>{escape(title)}</h2>\n<table>\n<tr>{heads}</tr>\n"
        yield from (f"<tr>{line}</tr>\n" for line in lines)
        yield "</table>\n"


def _cell(value: Cell) -> str:
    if isinstance(value, int):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(display(value))}</td>"
