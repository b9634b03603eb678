"""`key report`: the sheet of every key of a home, as text, JSON, CSV, Markdown or HTML."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_action, add_json, add_pin_file, pin_of

ENDINGS = (".md", ".html", ".htm", ".csv")


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The action."""
    sheet = add_action(commands, "report", "the sheet of every key: place, protection, users, use, copies", examples)
    sheet.add_argument("--home", metavar="DIR", required=True, help="the signing home")
    sheet.add_argument("--offline", action="store_true", help="open no key; what is checked then says: not checked")
    form = sheet.add_mutually_exclusive_group()
    add_json(form)
    form.add_argument("--csv", action="store_true", help="one line a key, for a spreadsheet")
    sheet.add_argument("--out", metavar="FILE", help="write it there, as the name ends: .html, .md or .csv")
    sheet.add_argument("--replace", action="store_true", help="replace FILE")
    add_pin_file(sheet)
    sheet.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> int:
    """Print it, or write it; exit code 1 where a key asked could not be checked, is not as declared, or wants something done."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Output, Replace, write_batch
    from sealwright.errors import UsageError
    from sealwright.signing.home import open_home
    from sealwright.signing.keyreport import Check, csv_text, html, markdown, report
    from sealwright.texts.words import say

    if args.out is not None and not args.out.lower().endswith(ENDINGS):
        raise UsageError(f"--out {args.out}", "its name does not say a form", f"End it with {', '.join(ENDINGS)}.")
    home, now = open_home(args.home), datetime.now(UTC)
    check = None if args.offline else Check(lambda uri: pin_of(args, uri), args.pin_file or "")
    rows = report(home, now, check)
    if args.out is not None:
        ending = args.out.lower().rpartition(".")[2]
        text = (
            csv_text(rows)
            if ending == "csv"
            else markdown(home.title, rows, now)
            if ending == "md"
            else html(home.title, rows, now)
        )
        write_batch([Output(args.out, text.encode())], replace=Replace.YES if args.replace else Replace.OFFERED)
    if args.json:
        from sealwright.cli.jsonout import line

        for row in rows:
            print(line(row.fields() | {"level": "attention" if row.attention else "fine"}))
    elif args.csv:
        print(csv_text(rows), end="")
    elif args.out is not None:
        print(say("report.wrote", path=display(args.out)))
    else:
        _print(home.title, rows, f"{now:%Y-%m-%d %H:%M} UTC")
    return 1 if any(row.attention for row in rows) else 0


def _print(title: str, rows, when: str) -> None:  # type: ignore[no-untyped-def]
    from sealwright.artifact.names import display
    from sealwright.signing.keyreport import LABELS
    from sealwright.texts.words import say

    print(say("report.title", title=display(title), time=when))
    for row in rows:
        print(display(row.name))
        for name, value in row.fields().items():
            if name != "name" and value not in ("", 0):
                print(say("report.line", label=LABELS[name] + ":", value=display(str(value))))
