"""`policy change` and `policy approve`: other policies for a signing service, written down as a change that officers sign.

Both show what differs: what the new policies allow that the former do not, and each case of a table that has another answer. Whoever
approves does so for the folders that they looked at, and for nothing else.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, pin_of
from sealwright.cli.asking import agreed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwright.signing.policy import Policies
    from sealwright.signing.policyquestion import Question

DEFAULT_DAYS = 14


def configure_change(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """Both commands."""
    change = add_action(commands, "change", "write a change of policies for officers to approve", examples)
    _add_folders(change)
    change.add_argument("--service-id", metavar="ID", required=True, help="`id` of the service's configuration")
    change.add_argument("--origin", metavar="NAME", required=True, help="`origin` of it: what its log is called")
    change.add_argument(
        "--edition", metavar="N", type=int, required=True, help="one more than that of the policies that count"
    )
    change.add_argument(
        "--requester", metavar="ID", required=True, help="the person who answers for it, who is none of its approvers"
    )
    change.add_argument("--out", metavar="DIR", required=True, help="the folder of changes (policies.changes)")
    change.add_argument(
        "--days", metavar="N", type=int, default=DEFAULT_DAYS, help="how long it may be used (default 14, at most 30)"
    )
    add_json(change)
    change.set_defaults(run=run_change)
    approve = add_action(commands, "approve", "approve a change of policies by an officer's own key", examples)
    approve.add_argument("change", metavar="CHANGE", help="the change, such as policies.changes/7.change")
    _add_folders(approve)
    add_home(approve)
    approve.add_argument("--key", metavar="NAME", help="which of its keys for approvals (else the first)")
    approve.add_argument("--person", metavar="ID", required=True, help="your id in the register, for the file's name")
    approve.add_argument("--yes", action="store_true", help="approve without being asked")
    add_pin_file(approve)
    add_json(approve)
    approve.set_defaults(run=run_approve)


def _add_folders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="the policies to come")
    parser.add_argument("--previous", metavar="FORMER", required=True, help="a folder with those that count now")
    parser.add_argument(
        "--table", metavar="TABLE", action="append", default=[], help="show each of its cases with another answer"
    )


def run_change(args: argparse.Namespace) -> int:
    """Show what differs and write the change; nothing is written where none is needed."""
    import os
    from datetime import UTC, datetime, timedelta

    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.cli.policy import need_cedar
    from sealwright.errors import OutputRefused, UsageError
    from sealwright.signing.policy import read_policies
    from sealwright.signing.policychange import CHANGE, MAX_VALID, Change, needs_no_approval, read_change
    from sealwright.signing.request import new_nonce
    from sealwright.texts.words import say

    need_cedar()
    if not 1 <= args.days <= MAX_VALID.days:
        raise UsageError("--days", f"{args.days} days", f"At most {MAX_VALID.days}, at least 1.")
    if args.edition < 2:
        raise UsageError(
            "--edition", f"{args.edition}", "The first edition needs nobody's approval; a change is 2 or more."
        )
    old, new = read_policies(args.previous), read_policies(args.folder)
    if needs_no_approval(old, new) or old.digest == new.digest:
        _tell(args, old, new, {"needed": False, "change": None})
        if not args.json:
            print(say("policy.change-not-needed", folder=display(args.folder)))
        return 0
    now = datetime.now(UTC).replace(microsecond=0)
    change = Change(
        args.service_id, args.origin, new_nonce(), args.requester, args.edition,
        old.digest, new.digest, now, now + timedelta(days=args.days),
    )  # fmt: skip
    path = os.path.join(args.out, f"{args.edition}{CHANGE}")
    data = change.encoded()
    read_change(data, path)
    try:
        os.makedirs(args.out, exist_ok=True)
    except OSError as cause:
        raise OutputRefused(args.out, f"it cannot be made ({cause.strerror})", "Name another folder.") from cause
    write_atomic(path, data)
    _tell(args, old, new, {"needed": True, "change": path})
    if not args.json:
        about = {"change": display(path), "folder": display(args.folder), "former": display(args.previous)}
        print(say("policy.change-written", edition=args.edition, until=f"{change.expires:%Y-%m-%d %H:%M} UTC", **about))
        print(say("policy.change-next", **about))
    return 0


def run_approve(args: argparse.Namespace) -> int:
    """Show what differs, ask, sign; 1 where the answer is no."""
    import os
    import re
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.artifact.source import read_file
    from sealwright.cli.policy import need_cedar
    from sealwright.errors import PolicyChangeRefused, UsageError
    from sealwright.signing.approval import approve
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.signing.policy import read_policies
    from sealwright.signing.policychange import APPROVAL, CHANGE, MAX_CHANGE_BYTES, read_change
    from sealwright.texts.words import say

    need_cedar()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", args.person):
        raise UsageError("--person", f"{args.person[:40]!r} is no id of a register", "Write it as people.toml has it.")
    data = read_file(args.change, MAX_CHANGE_BYTES)
    change, now = read_change(data, args.change), datetime.now(UTC)
    old, new = read_policies(args.previous), read_policies(args.folder)
    for policies, wanted in ((old, change.previous), (new, change.policy)):
        if policies.digest != wanted:
            what = f"it is about {wanted}, and {policies.folder.path} is {policies.digest}"
            raise PolicyChangeRefused(args.change, what, "Look at those that it is about, or have it made anew.")
    if now > change.expires:
        what = f"it was good until {change.expires:%Y-%m-%d %H:%M} UTC"
        raise PolicyChangeRefused(args.change, what, "Have it made anew.")
    if args.person == change.requester:
        raise PolicyChangeRefused(args.change, f"{args.person} asks for it, and nobody approves that", "Ask another.")
    home = open_home(args.home)
    key = home.key(args.key, KeyPurpose.APPROVAL)
    path = f"{args.change.removesuffix(CHANGE)}.{args.person}{APPROVAL}"
    if not args.json:
        about = {"service": display(change.service), "origin": display(change.origin), "who": display(change.requester)}
        until = f"{change.expires:%Y-%m-%d %H:%M} UTC"
        print(say("policy.approve-about", edition=change.edition, until=until, **about))
        _tell(args, old, new, {})
        sys.stdout.flush()
    if not args.yes and not agreed():
        print(say("approve.left"), file=sys.stderr)
        return 1
    approval = approve(data, os.path.basename(args.change), home, key, now, pin_of(args, home.uri(key)))
    write_atomic(path, approval.proof)
    if args.json:
        _tell(args, old, new, {"approval": path})
    else:
        print(say("policy.approve-done", path=display(path)))
    return 0


def _tell(args: argparse.Namespace, old: Policies, new: Policies, more: dict[str, object]) -> None:
    """What differs, as lines or as one object."""
    from sealwright.cli.policylines import diff_lines, diff_object
    from sealwright.signing.policydiff import compare

    comparison = compare(old, new)
    differing = list(_differing(args.table, old, new))
    if args.json:
        from sealwright.cli.jsonout import line

        cases = [{"case": where, "before": before, "now": after} for where, before, after in differing]
        print(line({**diff_object(old, new, comparison), "cases": cases, **more}))
        return
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    print("\n".join(diff_lines(old, new, comparison)))
    for where, before, after in differing:
        print(display(say("policy.change-case", where=where, before=before, after=after)))


def _differing(tables: list[str], old: Policies, new: Policies) -> Iterator[tuple[str, str, str]]:
    """The cases with another answer: where and what they are, the former answer, the new one."""
    from sealwright.artifact.source import read_file
    from sealwright.signing.policycase import MAX_BYTES, read_table

    for path in tables:
        for case in read_table(read_file(path, MAX_BYTES), path, new.settings.zone).cases:
            before, after = (_answer(one, case.question) for one in (old, new))
            if before != after:
                said = " ".join(f"{name}={text}" for name, text in case.said)
                who, action = case.question.principal.id, case.question.action
                yield f"{case.where}: {who} {action} {said}".rstrip(), before, after


def _answer(policies: Policies, question: Question) -> str:
    """Allowed or refused, and with how many approvals it would be."""
    from sealwright.signing.policycase import needed_text
    from sealwright.texts.words import say

    answer = say("policy.allowed") if policies.decide(question).allowed else say("policy.refused")
    return say("policy.change-answer", answer=answer, needed=needed_text(policies.needed(question)))
