"""Write, check, try, explain, compare and change the policies by which the signing service decides.

A folder of policies is rules in Cedar (`*.cedar`) and settings (`*.toml`): docs/policy.md. Exit code 1 where something is not as it should be.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json
from sealwright.cli.policychange import configure_change

if TYPE_CHECKING:
    from datetime import tzinfo

    from sealwright.signing.policyquestion import Question

EXAMPLES = """examples:
  sealwright policy init policies                              good policies to begin with
  sealwright policy check policies                             can they be used, and is anything in them dangerous?
  sealwright policy test policies policies/tests/small-company.toml     who may do what, as a table says it?
  sealwright policy explain policies --who anna --roles requester --action sign --environment production --approvals 1
  sealwright policy diff policies policies.new                 what would be allowed that is not allowed now?
  sealwright policy diff policies policies.new --json
  sealwright policy change policies --previous former --service-id acme-signing --origin log.acme.example/signing --edition 7 --requester p3 --out policies.changes
  sealwright policy approve policies.changes/7.change policies --previous former --home olga --person olga --table policies/tests/small-company.toml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_init(commands)
    check = add_action(
        commands,
        "check",
        "read policies as the service does, and say what in them is dangerous (exit code 1)",
        EXAMPLES,
    )
    _add_folder(check)
    add_json(check)
    check.set_defaults(run=run_check)
    test = add_action(
        commands, "test", "try a table of who may do what; exit code 1 where the answer is another", EXAMPLES
    )
    _add_folder(test)
    test.add_argument("table", metavar="TABLE", nargs="+", help="tables of cases, CSV or TOML")
    add_json(test)
    test.set_defaults(run=run_test)
    _configure_explain(commands)
    diff = add_action(
        commands,
        "diff",
        "say what new policies allow that the old ones do not; exit code 1 if they are weaker, 3 if it is not decided",
        EXAMPLES,
    )
    diff.add_argument("old", metavar="OLD", help="the folder that is used now")
    diff.add_argument("new", metavar="NEW", help="the folder to come")
    add_json(diff)
    diff.set_defaults(run=run_diff)
    configure_change(commands, EXAMPLES)


def _configure_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = add_action(commands, "init", "write the policies of a small company, with a table of tests", EXAMPLES)
    init.add_argument("folder", metavar="FOLDER", help="a new folder")
    init.add_argument(
        "--repository", metavar="NAME", default="", help="of CI, as its token names it (acme/drive-firmware)"
    )
    init.add_argument("--builder", metavar="ID", default="", help="of CI, as the build provenance names it")
    init.add_argument("--builder-key", metavar="FILE", help="the key that signs its build provenance, PEM")
    init.add_argument(
        "--zone", metavar="ZONE", default="UTC", help="of office hours and freezes (Europe/Berlin; default UTC)"
    )
    init.set_defaults(run=run_init)


def _configure_explain(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = add_action(
        commands, "explain", "say which rule decides a question, and what would have to change", EXAMPLES
    )
    _add_folder(explain)
    explain.add_argument("--who", metavar="ID", required=True, help="a person or machine")
    explain.add_argument("--action", dest="act", required=True, choices=_ACTIONS, help="what it wants to do")
    for flag, words in _FLAGS.items():
        explain.add_argument(f"--{flag}", action="store_true", help=words)
    for option, (metavar, words) in _OPTIONS.items():
        explain.add_argument(f"--{option}", metavar=metavar, default="", help=words)
    explain.add_argument("--environment", choices=_ENVIRONMENTS, default="", help="of the artifact")
    explain.add_argument("--provenance", choices=_PROVENANCES, default="", help="of the key")
    add_json(explain)
    explain.set_defaults(run=run_explain)


# written out: the enums live in modules that the other commands do not load at start (compared by a test)
_ACTIONS = (
    "request",
    "approve",
    "prepare",
    "withdraw",
    "sign",
    "read",
    "read-log",
    "manage-keys",
    "change-policy",
    "break-glass",
    "operate",
)
_ENVIRONMENTS = ("production", "test", "development")
_PROVENANCES = ("hardware-attested", "hardware-claimed", "hardware-imported", "service-held", "development")
_FLAGS = {
    "machine": "it is a machine",
    "claims-signed": "product and version are read from signed bytes",
    "second-prepare": "a second one came to the same digest",
    "uploaded": "the service prepared every file itself to the same digest",
    "emergency": "it is called an emergency",
}
_OPTIONS = {
    "roles": ("ROLES", "its roles, with commas"),
    "person": ("ID", "who answers for a machine"),
    "claims": ("CLAIMS", "of its CI token: NAME=VALUE, with commas"),
    "tenant": ("NAME", "its tenant"),
    "of": ("NAME", "the artifact's tenant (else the same)"),
    "key": ("NAME", "the key"),
    "format": ("FORMAT", "of the artifact, or the statement's kind"),
    "product": ("NAME", "of the artifact"),
    "version": ("TEXT", "of the artifact"),
    "hardware": ("NAMES", "of the artifact, with commas"),
    "count": ("N", "how many artifacts (default 1)"),
    "approvals": ("N", "approvals by distinct others"),
    "officers": ("N", "how many of them are officers"),
    "prepares": ("N", "second prepares by distinct others"),
    "requester": ("ID", "the person whose request it is, for approve and withdraw"),
    "builder": ("ID", "of a verified build provenance"),
    "build-type": ("URI", "of the same"),
    "source": ("REPOSITORY", "that it names"),
    "source-ref": ("REF", "its tag or branch"),
    "used-hour": ("N", "how many it had signed in an hour"),
    "used-day": ("N", "and in a day"),
    "product-hour": ("N", "how many of the product were signed in an hour"),
    "product-day": ("N", "and in a day"),
    "at": ("TIME", "when (default now; without a zone by that of the settings)"),
}


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the folder of policies")


def need_cedar() -> None:
    """UsageError where the service's packages are not installed; they are an extra."""
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("cedarpy") is None:
        raise UsageError("policy", "cedarpy is not installed", "Install it with: pip install 'sealwright[service]'")


def run_init(args: argparse.Namespace) -> int:
    """Write the folder, whole or not at all."""
    import os

    from sealwright.artifact.folders import new_folder
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.signing.builder import builder_pem
    from sealwright.signing.policyexample import TABLE, Company, example
    from sealwright.signing.policysettings import MAX_BYTES
    from sealwright.texts.words import say

    key = "" if args.builder_key is None else builder_pem(read_file(args.builder_key, MAX_BYTES), args.builder_key)
    files = example(Company(args.repository, args.builder, args.zone, key))
    with new_folder(args.folder) as building:
        os.mkdir(os.path.join(building, os.path.dirname(TABLE)))
        for name, text in files.items():
            write_atomic(os.path.join(building, name), text.encode())
    print(say("policy.init-made", folder=display(args.folder)))
    if not args.repository:
        print(say("policy.init-no-ci"))
    print(say("policy.init-next", folder=display(args.folder), table=display(os.path.join(args.folder, TABLE))))
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Read them, and look for dangers."""
    need_cedar()
    from datetime import UTC, datetime

    from sealwright.cli.policylines import check_lines, check_object
    from sealwright.signing.policy import place_problem, read_policies
    from sealwright.signing.policycheck import Level, concerns

    policies = read_policies(args.folder)
    found = concerns(policies, datetime.now(UTC))
    place = place_problem(policies.folder)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(check_object(policies, found, place)))
    else:
        print("\n".join(check_lines(policies, found, place)))
    return 1 if any(one.level is Level.DANGER for one in found) else 0


def run_test(args: argparse.Namespace) -> int:
    """Try every case of every table."""
    need_cedar()
    from sealwright.artifact.source import read_file
    from sealwright.cli.policylines import case_object, test_lines
    from sealwright.signing.policy import read_policies
    from sealwright.signing.policycase import MAX_BYTES, read_table, run_case

    policies = read_policies(args.folder)
    tables = [read_table(read_file(path, MAX_BYTES), path, policies.settings.zone) for path in args.table]
    outcomes = [run_case(policies, case) for table in tables for case in table.cases]
    if args.json:
        from sealwright.cli.jsonout import line

        for outcome in outcomes:
            print(line(case_object(outcome)))
    else:
        print("\n".join(test_lines(policies, outcomes, [table.usual for table in tables])))
    return 0 if all(outcome.as_expected for outcome in outcomes) else 1


def run_explain(args: argparse.Namespace) -> int:
    """Ask one question and take the answer apart; 1 where it is refused."""
    need_cedar()
    from sealwright.cli.policylines import explain_lines, explain_object
    from sealwright.signing.policy import read_policies

    policies = read_policies(args.folder)
    question, said = _question(args, policies.settings.zone)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(explain_object(policies, question)))
    else:
        print("\n".join(explain_lines(policies, question, said)))
    return 0 if policies.decide(question).allowed else 1


def _question(args: argparse.Namespace, zone: tzinfo) -> tuple[Question, tuple[tuple[str, str], ...]]:
    """The question of the options, and those of them that say something about the artifact and the circumstances."""
    from datetime import UTC, datetime

    from sealwright.errors import UsageError
    from sealwright.signing.policycase import WHO, read_question

    fields = {"who": args.who, "action": args.act}
    fields |= {name.replace("-", "_"): "yes" for name in _FLAGS if getattr(args, name.replace("-", "_"))}
    texts = (*_OPTIONS, "environment", "provenance")
    fields |= {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in texts}
    fields["at"] = fields["at"] or datetime.now(UTC).isoformat()
    question = read_question(fields, "explain", zone, UsageError)
    hidden = {*WHO, "action", *(() if args.at else ("at",))}
    return question, tuple((name, text) for name, text in fields.items() if text and name not in hidden)


def run_diff(args: argparse.Namespace) -> int:
    """Compare two folders."""
    need_cedar()
    from sealwright.cli.policylines import diff_lines, diff_object
    from sealwright.signing.policy import read_policies
    from sealwright.signing.policydiff import Direction, compare

    old, new = read_policies(args.old), read_policies(args.new)
    comparison = compare(old, new)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(diff_object(old, new, comparison)))
    else:
        print("\n".join(diff_lines(old, new, comparison)))
    return {Direction.NOT_WEAKER: 0, Direction.WEAKER: 1, Direction.UNDECIDED: 3}[comparison.direction]
