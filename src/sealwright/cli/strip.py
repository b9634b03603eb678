"""Write a file without the signatures inside it, as it was before it was signed as far as its format permits.

A PE program keeps the zero bytes that a signer put behind it, and its checksum is made anew.
"""

from __future__ import annotations

import argparse
import sys

from sealwright.cli.arguments import add_json, add_layout, layouts_of

EXAMPLES = """examples:
  sealwright strip signed.efi --out plain.efi
  sealwright strip *.efi --out unsigned/                      each under its own name
  sealwright strip signed.bin --layout acme.layout --out image.bin
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The files, and where the new ones go."""
    parser.add_argument("paths", nargs="+", metavar="FILE", help="file with signatures inside")
    parser.add_argument("--out", metavar="OUT", required=True, help="the new file, or an existing folder")
    add_layout(parser)
    parser.add_argument("--replace", action="store_true", help="replace results that are already there")
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Strip each file; 1 if one of them could not be."""
    import os

    from sealwright.artifact.names import display
    from sealwright.artifact.output import Replace
    from sealwright.cli.jsonout import error_object, line
    from sealwright.errors import SealwrightError, UsageError
    from sealwright.signing.strip import strip
    from sealwright.texts.words import say

    layouts = layouts_of(args)
    into = os.path.isdir(args.out)
    if not into and len(args.paths) > 1:
        raise UsageError(args.out, "there is no such folder", "Create it, or strip one file at a time.")
    failed = 0
    for path in args.paths:
        target = os.path.join(args.out, os.path.basename(path)) if into else args.out
        try:
            strip(path, target, Replace.YES if args.replace else Replace.OFFERED, layouts)
        except SealwrightError as cause:
            failed += 1
            if args.json:
                print(line({"path": path, "outcome": "not-stripped", "findings": [error_object(cause)]}))
            print(say("strip.refused", path=display(path), why=display(str(cause))), file=sys.stderr)
            continue
        if args.json:
            print(line({"path": path, "outcome": "stripped", "outputs": [target]}))
        else:
            print(say("strip.done", path=display(path), target=display(target)))
    return 1 if failed else 0
