"""Show what is installed, which token answers, whether a home is in order, and what to fix.

What is merely not installed here is said and is fine.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_pin_file, key_string

if TYPE_CHECKING:
    from sealwright.cli.checkup import Check

EXAMPLES = """examples:
  sealwright doctor                    this machine: libraries, programs, tokens, TPM, clock
  sealwright doctor --home home        and a signing home: keys, certificates, trust file, journal
  sealwright doctor --json
  sealwright doctor --token pkcs11:token=line-1 --pin-file pin.txt      tries a token with throwaway keys
  sealwright doctor --token tpm: --out tpm-report.txt                   the same of the TPM, and a file
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The home to look at, and the form."""
    parser.add_argument("--home", metavar="DIR", help="look at this signing home too")
    parser.add_argument(
        "--module", metavar="FILE", action="append", default=[], help="a PKCS#11 module to try (repeat)"
    )
    parser.add_argument(
        "--token", metavar="URI", type=key_string, help="try this token with throwaway keys: pkcs11:token=NAME, or tpm:"
    )
    parser.add_argument("--out", metavar="FILE", help="write the report on the token there as well")
    parser.add_argument("--replace", action="store_true", help="replace FILE")
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Every check in turn, one line each."""
    from datetime import UTC, datetime

    if args.token is not None:
        from sealwright.cli.tokentrial import run_token  # only where a token is tried

        return run_token(args)
    from sealwright.cli.checkup import Standing, home_checks, machine_checks

    now = datetime.now(UTC)
    checks = list(machine_checks(now, args.module))
    if args.home is not None:
        checks += home_checks(args.home, now)
    for check in checks:
        _say(check, args)
    wrong = sum(check.standing is Standing.WRONG for check in checks)
    if not args.json:
        from sealwright.texts.words import say

        print(say("doctor.to-fix", number=wrong) if wrong else say("doctor.fine"))
    return 1 if wrong else 0


def _say(check: Check, args: argparse.Namespace) -> None:
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"check": check.name, "standing": check.standing.value, "found": check.found, "fix": check.fix}))
        return
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print(say(f"doctor.check.{check.standing.value}", name=display(check.name), found=display(check.found)))
    if check.fix:
        print(say("doctor.fix", fix=display(check.fix)))
