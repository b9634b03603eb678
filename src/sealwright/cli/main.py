"""The command line: one table of commands, one way from an error to an exit code.

    0 done, or yes   1 not done, or no   2 the command cannot mean what was asked   3 open (`exits.py`)   130 Ctrl-C

Only the module of the command that was asked for is imported, and each imports the heavy rooms inside its functions:
a cold `verify` on a panel PC should not wait for the code that signs.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from sealwright import __version__
from sealwright.artifact.names import display
from sealwright.errors import SealwrightError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141
MAX_COLUMNS = 100

COMMANDS = {
    "verify": "check files and folders offline, and say what to do",
    "survey": "see who signed what in a folder, share or stick, without a trust file",
    "sign": "sign files and folders",
    "ci": "sign in a CI job by a signing service, and check build provenance",
    "approve": "approve what somebody asks a signing service for, by your own key",
    "confirm": "prepare your own copies of what a signing service is asked for, and sign that they are the same",
    "follow-up": "look at an emergency of a signing service afterwards, as an officer",
    "record": "list, check and export the installation records that verify --record wrote",
    "permit": "let one device do for some hours what its trust file refuses, by the word of persons named for it",
    "accept": "accept for the plant what its maker signed",
    "stamp": "add timestamps to signatures that are made already",
    "renew-proofs": "renew the proofs of signatures before they age (evidence records, RFC 4998)",
    "station": "check sticks: judge everything on one, write what is allowed onto a clean one",
    "handover": "load a device that runs no agent: verified private copy, vendor's tool, read-back, record",
    "agent": "keep a device at the newest release that its own trust file allows",
    "courier": "carry releases, trust and reports over an air gap",
    "strip": "write a file without the signatures inside it",
    "receive": "write and sign how a file that came unsigned was received",
    "run": "run a script if it is signed, from a sealed copy of what was verified",
    "init": "make a signing home: keys, certificates, a trust file",
    "inspect": "show what a file, signature, token, certificate or manifest is, without judging it",
    "key": "list, create, show, certify and attest keys",
    "cert": "issue, renew, replace, suspend and revoke certificates; see what ends when",
    "released": "write down where signed files went: a portal, a stick, an update server",
    "release": "make releases, keep a repository of them, offer them to devices by channel",
    "ca": "revocation lists, cross-signing, and requests to an authority above",
    "trust": "make, change, compare, sign, install and watch trust files; revocation bundles",
    "secure-boot": "make, sign and show the variables of Secure Boot: PK, KEK, db, dbx",
    "layout": "check the description of firmware under a maker's own header, and an image by it",
    "log": "check, watch and export the log of a signing service; prove that an entry is in it",
    "audit": "compare how often a key was used with what the log of a signing service says",
    "people": "keep the register of who speaks to the signing service",
    "policy": "write, check, try and compare the rules by which the signing service decides",
    "fleet": "keep the register of devices; see who runs what, who is behind, and whom a revocation would touch",
    "report": "show the reports that devices signed, and send them to the fleet's service",
    "serve": "run a service: a timestamp authority, an OCSP responder, a signing service",
    "service": "back up a signing service while it serves, check and restore its backups",
    "home": "back up, restore and unlock a signing home; write down how far it went",
    "doctor": "show what is installed, which token answers, what to fix",
    "completion": "print the shell's completion script",
}

EXAMPLES = """examples:
  sealwright init home                                        a development home to try things with
  sealwright sign firmware.bin --home home                    writes firmware.bin.p7s
  sealwright verify firmware.bin --trust home/trust.toml      says whether it may be installed
  sealwright COMMAND --help                                   the options of one command, with examples
"""


class Help(argparse.RawDescriptionHelpFormatter):
    """argparse asks for the terminal's width at every option, through `shutil`, which costs each start 4 ms."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_columns())


class Parser(argparse.ArgumentParser):
    """argparse without guesses at abbreviated options, whose complaints are safe to show."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Help, allow_abbrev=False, **options)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What an action does not know nobody above it knows: the complaint names that action, not the whole program."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"it does not know {' '.join(unknown)}")
        return found, unknown

    def format_help(self) -> str:
        """The help, and what the exit codes say."""
        from sealwright.cli.exits import exits_text  # only where help is asked for

        return f"{super().format_help()}\n{exits_text(self.prog.partition(' ')[2], self._subparsers is not None)}"

    def error(self, message: str) -> NoReturn:
        """The usage, the complaint and where the examples are; exit code 2."""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {display(message)}. `{self.prog} --help` shows examples.\n")


def script() -> NoReturn:
    """The installed command. It collects garbage rarely and leaves without Python's teardown: a fifth of a cold `verify`.

    Nothing waits for that teardown: files, tokens and worker processes are closed where they are used.
    """
    gc.set_threshold(50_000, 20, 100)
    _open_closed_streams()
    try:
        code = main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 2
    except OSError:  # what went wrong could not even be said
        code = 1
    except KeyboardInterrupt:  # once more, while the first one was being said
        code = INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or BROKEN_PIPE
        except KeyboardInterrupt:
            code = INTERRUPTED
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer with its exit code; argparse leaves by SystemExit 0 or 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show is escaped, never an error
            stream.reconfigure(errors="backslashreplace")
    if argv is None:  # as a program we say everything ourselves; libraries' remarks on odd certificates help nobody
        warnings.simplefilter("ignore")
    json_wanted = "--json" in arguments
    try:
        if "_ARGCOMPLETE" in os.environ:
            from argcomplete import autocomplete

            autocomplete(parser_of(COMMANDS))
        asked = parser_of([arguments[0]] if arguments and arguments[0] in COMMANDS else COMMANDS)
        chosen = asked.parse_args(arguments)
        code = int(chosen.run(chosen))
        sys.stdout.flush()
    except SealwrightError as cause:
        return failed(cause, json_wanted)
    except KeyboardInterrupt:
        print("sealwright: interrupted; no output is half-written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as cause:
        _drop_output()
        print(f"sealwright: {display(str(cause.filename or 'output'))}: {cause.strerror}.", file=sys.stderr)
        return 1
    return code


def failed(cause: SealwrightError, json_wanted: bool) -> int:
    """Say what went wrong, on stderr and where asked as JSON; the exit code."""
    if json_wanted:
        from sealwright.cli.jsonout import error_line

        print(error_line(cause), flush=True)
    print(f"sealwright: {display(str(cause))}", file=sys.stderr)
    return 2 if isinstance(cause, UsageError) else 1


def parser_of(names: Sequence[str] | dict[str, str]) -> Parser:
    """The parser with the options of the commands named; building all of them would cost each `verify` its start."""
    parser = Parser(
        prog="sealwright",
        description="Code signing for operational technology: sign firmware, software, configurations and backups; "
        "verify them offline.",
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"sealwright {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name in names:
        module = _module(name)
        command = commands.add_parser(
            name,
            help=COMMANDS[name],
            description=module.__doc__.strip() if module.__doc__ else "",
            epilog=module.EXAMPLES,
        )
        module.configure(command)
    return parser


def _module(name: str) -> ModuleType:
    return import_module(f"sealwright.cli.{name.replace('-', '')}")


def _columns() -> int:
    try:
        return min(os.get_terminal_size(1).columns, MAX_COLUMNS) - 2
    except OSError:
        return MAX_COLUMNS


def _open_closed_streams() -> None:
    """A stream that the caller closed is /dev/null: else the next file opened, such as the journal, would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _drop_output() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
