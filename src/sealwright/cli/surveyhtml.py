"""A survey as one page of HTML that needs nothing else: no script, no picture, no font, no network; readable when printed.

Every text is escaped twice, for the screen before it comes here and for HTML here, and stands between tags, never in one. Should one get
past that, the page's policy is the second wall: a browser runs no script, loads nothing, sends no form, and takes no style but this one,
which the policy names by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from sealwright.cli.surveyreport import Item, Limits, Section, sections, size_text, states
from sealwright.plant.spool import Spool
from sealwright.texts.words import say

LIMITS = Limits(signers=1000, others=1000)
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #1b1b1b; background: #fff; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 2px solid #444; }
p.warning { border-left: .4rem solid #b36b00; background: #fff6e5; padding: .6rem 1rem; }
p.incomplete { border-left: .4rem solid #a40000; background: #fdecec; padding: .6rem 1rem; font-weight: bold; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .15rem .6rem .15rem 0; }
th { font-weight: normal; color: #555; white-space: nowrap; width: 8rem; } td { overflow-wrap: anywhere; }
td.number { text-align: right; white-space: nowrap; width: 7rem; font-variant-numeric: tabular-nums; }
article { border-top: 1px solid #ccc; padding: .5rem 0; break-inside: avoid; } article h3 { font-size: 1rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
#broken h3, .broken, .unreadable { color: #a40000; } #weak h3, .weak { color: #8a4b00; } nav a { margin-right: 1rem; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } nav { display: none; } h2 { break-after: avoid; } a { color: inherit; } }
"""
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}';"
    " base-uri 'none'; form-action 'none'"
)


def page(
    spool: Spool, paths: Sequence[str], now: datetime, seconds: float, rules: Sequence[str] | None
) -> Iterator[str]:
    """The page in pieces. paths: as they may be shown."""
    every = list(sections(spool, now, LIMITS, rules))
    counts = spool.counts
    heading = escape(say("survey.html.heading"))
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{heading}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{heading}</h1>\n"
    )
    took = say(
        "survey.took",
        files=f"{counts.total:,}",
        folders=f"{counts.folders:,}",
        size=size_text(counts.size),
        seconds=f"{seconds:,.1f}",
    )
    yield "<table>\n"
    for path in paths:
        yield _row(say("survey.html.paths"), path)
    yield _row(say("survey.html.time"), f"{now:%Y-%m-%d %H:%M} UTC")
    yield f"</table>\n<p>{escape(took)}</p>\n"
    yield f'<p class="warning">{escape(say("survey.warning"))}</p>\n'
    if counts.unread:
        yield f'<p class="incomplete">{escape(say("survey.incomplete", number=f"{counts.unread:,}"))}</p>\n'
    yield "<table>\n"
    for state, number, words in states(spool):
        yield f'<tr class="{state}"><td class="number">{number:,}</td><td>{escape(words)}</td></tr>\n'
    yield f'</table>\n<nav aria-label="{escape(say("survey.html.contents"))}">\n'
    for one in every:
        yield f'<a href="#{one.name}">{escape(one.title)}</a>\n'
    yield "</nav>\n"
    for one in every:
        yield from _section(one)
    yield "</body>\n</html>\n"


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}">\n<h2>{escape(section.title)}</h2>\n'
    number = 0
    for item in section.items:
        number += 1
        yield _article(item)
    if not number:
        yield f"<p>{escape(say('survey.none'))}</p>\n"
    elif number < section.number and section.name != "unsigned":
        yield f"<p>{escape(say('survey.more', number=f'{section.number - number:,}'))}</p>\n"
    yield "</section>\n"


def _article(item: Item) -> str:
    rows = "".join(_row(fact.label, fact.value) for fact in item.facts)
    return f"<article><h3>{escape(item.head)}</h3><table>\n{rows}</table></article>\n"


def _row(label: str, value: str) -> str:
    return f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>\n"
