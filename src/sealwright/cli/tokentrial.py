"""`doctor --token`: the compatibility report of one token or TPM, printed as it is made, and written for the record."""

from __future__ import annotations

import argparse
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

from sealwright.cli.arguments import pin_of

if TYPE_CHECKING:
    from sealwright.keys.trial import Trial


def run_token(args: argparse.Namespace) -> int:
    """One line a trial; exit code 1 where the token must not be used, or no key of it signs."""
    from datetime import UTC, datetime

    from sealwright import __version__
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Output, Replace, refuse_taken, write_batch
    from sealwright.keys.trial import Result
    from sealwright.texts.words import say

    replace = Replace.YES if args.replace else Replace.OFFERED
    if args.out is not None:
        refuse_taken(args.out, replace)
    now = datetime.now(UTC)
    lines: list[str] = [f"Sealwright {__version__}, {now:%Y-%m-%d %H:%M} UTC: {args.token}"]
    trials: list[Trial] = []
    with closing(_trials(args)) as trying:  # broken off, the throwaway keys are destroyed all the same
        for trial in trying:
            trials.append(trial)
            said = say(f"doctor.tried.{trial.standing.value}", name=display(trial.name), found=display(trial.found))
            lines += [said, *([say("doctor.means", meaning=display(trial.meaning))] if trial.meaning else [])]
            if args.json:
                print(_object(trial), flush=True)
            else:
                print("\n".join(lines[-2:] if trial.meaning else lines[-1:]), flush=True)
    wrong = sum(trial.standing is Result.WRONG for trial in trials)
    signs = any(trial.rate for trial in trials)
    able = all(trial.standing is Result.WORKS for trial in trials if trial.name.endswith((": make", "sign and verify")))
    words = ("fine" if able else "partly") if signs else "none"
    lines.append(say("doctor.token-refused", number=wrong) if wrong else say(f"doctor.token.{words}"))
    if not args.json:
        print(lines[-1])
    if args.out is not None:
        write_batch([Output(args.out, ("\n".join(lines) + "\n").encode())], replace=replace)
    return 0 if signs and not wrong else 1


def _trials(args: argparse.Namespace) -> Generator[Trial]:
    from sealwright.errors import UsageError
    from sealwright.keys.uri import scheme_of

    scheme = scheme_of(args.token)
    if scheme == "tpm":
        from sealwright.keys.trial_tpm import try_tpm

        return try_tpm()
    if scheme in ("transit", "awskms"):
        raise UsageError(
            args.token,
            "no throwaway keys are made in a key service, where they could not be destroyed at once",
            "See `sealwright key list --token …`, and `sealwright key show` for one key.",
        )
    if scheme != "pkcs11":
        raise UsageError(args.token, "only tokens and TPMs are tried", "Name pkcs11:token=NAME or tpm:.")
    from sealwright.keys.trial import try_token

    return try_token(args.token, pin_of(args, args.token))


def _object(trial: Trial) -> str:
    from sealwright.cli.jsonout import line

    return line(
        {
            "trial": trial.name,
            "standing": trial.standing.value,
            "found": trial.found,
            "meaning": trial.meaning,
            "per_second": round(trial.rate, 1) if trial.rate else None,
        }
    )
