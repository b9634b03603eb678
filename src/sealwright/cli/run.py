"""Run a script only if it is signed, from a sealed copy of exactly the bytes that were verified.

It is judged for the purpose `run`; the interpreter, its arguments and its environment are those of [[interpreter]] in the trust
file. What it is written in is said by its first line: `#!/bin/sh`, or a comment such as `-- sealwright-run: kind = sql`. Its name
says it only where a signed manifest holds the name. What the script declares of its hosts, accounts, times and number of runs is
kept as well (docs/running.md).
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_trust, rfc3339

if TYPE_CHECKING:
    from sealwright.artifact.sealed import SealedCopy
    from sealwright.device.gate import Judged
    from sealwright.trust.belief import Believed
    from sealwright.trust.verify import Request

EXAMPLES = """examples:
  sealwright run --trust trust.toml rotate.sh --keep 7                runs it with its own options behind its name
  sealwright run --trust trust.toml --check rotate.sh                 says whether it would run
  sealwright run --trust trust.toml --state /var/lib/sealwright/run patch.py      counts runs, refuses to go back
  sealwright run --trust trust.toml --ssh /srv/scripts                in authorized_keys: what was asked for, from this folder
"""
NOT_RUN = 126
MAX_COMMAND = 32_768


def configure(parser: argparse.ArgumentParser) -> None:
    """The options stand in front of the script; what is behind it is the script's."""
    parser.add_argument("script", nargs="?", metavar="SCRIPT", help="the script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="its arguments")
    add_trust(parser, "the trust file that decides")
    parser.add_argument("--signature", metavar="FILE", help="use this signature file only")
    parser.add_argument(
        "--state", metavar="DIR", help="remember here what was accepted and how often scripts were started"
    )
    parser.add_argument("--hardware", metavar="TEXT", default="", help="the hardware it is meant for")
    parser.add_argument("--product", metavar="TEXT", default="", help="the product it is meant for")
    parser.add_argument("--line", metavar="TEXT", default="", help="the production line it is meant for")
    parser.add_argument(
        "--ssh", metavar="FOLDER", help="take script and arguments from SSH_ORIGINAL_COMMAND; only from here"
    )
    parser.add_argument("--check", action="store_true", help="only judge, and print the verdict")
    parser.add_argument("--at", metavar="TIME", type=rfc3339, help="with --check: as if it were this time")
    parser.add_argument(
        "--details", action="store_true", help="with --check: keys, certificates, digests and codes as well"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Judge, then become the interpreter; every error on the way means that nothing was started."""
    from sealwright.errors import SealwrightError, UsageError

    if not args.check and (args.at is not None or args.json or args.details):
        raise UsageError("--at, --json, --details", "they go with --check", "Add --check, or leave them out.")
    try:
        path, arguments = _asked(args)
        return _run(args, path, arguments)
    except UsageError:
        raise
    except SealwrightError as cause:
        from sealwright.cli.main import failed

        code = failed(cause, args.json)
        _record("refused", args.script or args.ssh or "", str(cause))
        return code if args.check else NOT_RUN


def _run(args: argparse.Namespace, path: str, arguments: list[str]) -> int:
    from sealwright.artifact.sealed import sealed_copy
    from sealwright.device.gate import judge
    from sealwright.device.script import MAX_BYTES
    from sealwright.trust.verdict import Outcome, Purpose
    from sealwright.trust.verify import Request

    request = Request(
        clock=datetime.now(UTC),
        purpose=Purpose.RUN,
        at=args.at,
        signature=args.signature,
        state=args.state,
        hardware=args.hardware,
        product=args.product,
        line=args.line,
    )
    believed = _believed(args, request)
    with sealed_copy(path, MAX_BYTES) as copy:
        judged = judge(copy, believed, request, arguments)
        if args.check:
            _show(args, judged)
            return judged.verdict.outcome.exit_code
        if judged.verdict.outcome is not Outcome.TRUSTED or judged.interpreter is None:
            return _refused(judged)
        return _start(args, judged, copy, arguments)


def _start(args: argparse.Namespace, judged: Judged, copy: SealedCopy, arguments: list[str]) -> int:
    from sealwright.device.gate import become, counted
    from sealwright.findings import reject

    if judged.interpreter is None:
        raise AssertionError("only what may run is started")
    if not counted(judged, copy, args.state):
        name = os.path.basename(copy.artifact.path)
        late = reject("SW-RUN-COUNT", name, f"{judged.declaration.runs}", "another start was the last one")
        return _refused(judged._replace(verdict=judged.verdict.with_findings((late,))))
    signers = ", ".join(one.person or one.subject for one in judged.verdict.signers if one.accepted)
    _record("started", judged.verdict.path, f"{judged.interpreter.path}, signed by {signers}")
    sys.stdout.flush()
    sys.stderr.flush()
    return become(judged.interpreter, judged.program, copy, arguments)


def _refused(judged: Judged) -> int:
    """Said on stderr: standard output is the script's."""
    from sealwright.cli.render import Detail, deciding_clause, verdict_text

    sys.stderr.write(verdict_text(judged.verdict, Detail.PLAIN))
    _record("refused", judged.verdict.path, deciding_clause(judged.verdict))
    return NOT_RUN


def _show(args: argparse.Namespace, judged: Judged) -> None:
    from sealwright.cli.render import Detail, deciding_clause, verdict_text

    if args.json:
        from sealwright.cli.jsonout import verdict_line

        print(verdict_line(judged.verdict, deciding_clause(judged.verdict)))
    else:
        sys.stdout.write(verdict_text(judged.verdict, Detail.FULL if args.details else Detail.PLAIN))


def _believed(args: argparse.Namespace, request: Request) -> Believed:
    from sealwright.trust.belief import load_trust

    installed = None
    if request.state is not None:
        from sealwright.cli.trustinstall import installed_in

        installed = installed_in(request.state)
    return load_trust(args.trust, fingerprint=args.trust_fingerprint, installed=installed)


def _asked(args: argparse.Namespace) -> tuple[str, list[str]]:
    """The script and its arguments, from the command line or from the SSH client, who names a file of one folder and no more."""
    from sealwright.errors import UsageError

    if args.ssh is None:
        if args.script is None:
            raise UsageError("run", "no script is named", "Name it behind the options.")
        return args.script, args.arguments
    if args.script is not None:
        raise UsageError(args.script, "with --ssh the client names the script", "Leave it out.")
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    if len(command) > MAX_COMMAND:
        raise UsageError("SSH_ORIGINAL_COMMAND", "it is too long", f"At most {MAX_COMMAND} characters are read.")
    try:
        words = shlex.split(command)
    except ValueError as cause:
        raise UsageError("SSH_ORIGINAL_COMMAND", f"it cannot be read ({cause})", "Quote it as for a shell.") from cause
    if not words:
        raise UsageError("SSH_ORIGINAL_COMMAND", "no script is named", "Call it as `ssh HOST SCRIPT ARGS`.")
    if "/" in words[0] or words[0].startswith("."):
        raise UsageError(words[0], "it is not the plain name of a script", "Name a file of the folder for scripts.")
    return os.path.join(args.ssh, words[0]), words[1:]


def _record(what: str, path: str, why: str) -> None:
    """One line in the system's log; a system without one is no reason to stop."""
    from sealwright.artifact.names import display

    try:
        import syslog
    except ImportError:
        return
    syslog.openlog("sealwright", syslog.LOG_PID, syslog.LOG_AUTHPRIV)
    level = syslog.LOG_NOTICE if what == "started" else syslog.LOG_WARNING
    syslog.syslog(level, f"{what} {display(path)}: {display(why)}")
    syslog.closelog()
