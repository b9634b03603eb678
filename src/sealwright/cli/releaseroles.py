"""`release init`, `line`, `rotate`, `renew` and `sign`: who holds a repository's keys, and their signatures offline."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, period, pin_of
from sealwright.cli.asking import add_service
from sealwright.cli.releasemake import need_tuf, opened

if TYPE_CHECKING:
    from sealwright.keys.pin import Pin
    from sealwright.release.rolekeys import RoleKeys, RoleSigners
    from sealwright.release.roles import Holders
    from sealwright.release.staging import Staging
    from sealwright.release.thresholds import Standing
    from sealwright.service.serviceroles import ServiceRoles
    from sealwright.signing.home import Home

_KEY = "a key for roles: its name in --home, or a PEM file with somebody's certificate or public key (repeat)"


def configure(commands: argparse._SubParsersAction[argparse.ArgumentParser], examples: str) -> None:
    """The five actions."""
    init = add_action(commands, "init", "begin a repository: its root, its roles and their keys", examples)
    init.add_argument("desk", metavar="DIR", help="the staging folder to be made")
    add_home(init)
    for role in ("root", "targets"):
        init.add_argument(f"--{role}", metavar="KEY", action="append", required=True, help=f"signs {role}: {_KEY}")
        init.add_argument(
            f"--{role}-threshold", metavar="N", type=int, default=1, help="how many of them must (else 1)"
        )
    init.add_argument(
        "--online", metavar="KEY", action="append", required=True, help="signs snapshot and timestamp (repeat)"
    )
    init.add_argument(
        "--line", metavar="NAME", action="append", required=True, help="a product line, such as drives (repeat)"
    )
    init.add_argument(
        "--line-key", metavar="KEY", action="append", help="signs the lines (repeat; else those of targets)"
    )
    init.add_argument("--line-threshold", metavar="N", type=int, default=1, help="how many of them must (else 1)")
    init.add_argument(
        "--storage", metavar="PLACE", default="public",
        help="where it is published: a folder, from DIR, or s3://BUCKET/PREFIX?endpoint=URL (else DIR/public)",
    )  # fmt: skip
    init.add_argument(
        "--offline-days",
        metavar="N",
        type=int,
        default=400,
        help="how long root, targets and lines are good (else 400)",
    )
    init.add_argument("--snapshot-days", metavar="N", type=int, default=14, help="the same of the snapshot (else 14)")
    init.add_argument("--timestamp-days", metavar="N", type=int, default=7, help="the same of the timestamp (else 7)")
    line = add_action(commands, "line", "add a product line with keys of its own", examples)
    line.add_argument("desk", metavar="DIR", help="the staging folder")
    line.add_argument("line", metavar="LINE", help="its name, such as gateways")
    rotate = add_action(commands, "rotate", "give a role or line other keys, or another threshold", examples)
    rotate.add_argument("desk", metavar="DIR", help="the staging folder")
    rotate.add_argument("role", metavar="ROLE", help="root, targets, snapshot, timestamp or a line")
    for parser in (line, rotate):
        parser.add_argument("--key", metavar="KEY", action="append", required=True, help=f"all that sign it: {_KEY}")
        parser.add_argument("--threshold", metavar="N", type=int, default=1, help="how many of them must (else 1)")
        add_home(parser)
    renew = add_action(commands, "renew", "stage roles again as they are, so that they end later", examples)
    renew.add_argument("desk", metavar="DIR", help="the staging folder")
    renew.add_argument("roles", nargs="+", metavar="ROLE", help="root, targets or a line")
    sign = add_action(commands, "sign", "sign staged roles with the keys of a home", examples)
    sign.add_argument("desk", metavar="DIR", help="the staging folder")
    sign.add_argument("roles", nargs="*", metavar="ROLE", help="which (else every one that the keys may sign)")
    add_home(sign, required=False)
    add_role_service(sign)
    for parser, run in ((init, run_init), (line, run_line), (rotate, run_rotate), (renew, run_renew), (sign, run_sign)):
        if parser is not renew:
            add_pin_file(parser)
        add_json(parser)
        parser.set_defaults(run=run)


def run_init(args: argparse.Namespace) -> int:
    """Stage the first roles and sign what the home may."""
    need_tuf()
    from datetime import UTC, datetime, timedelta

    from sealwright.release.beginning import Roles, begin
    from sealwright.release.staging import Settings, Terms
    from sealwright.signing.home import open_home

    home = open_home(args.home)
    online = _holders(home, args.online, 1)
    lines = _holders(home, args.line_key or args.targets, args.line_threshold)
    terms = Terms(*(timedelta(days=days) for days in (args.offline_days, args.snapshot_days, args.timestamp_days)))
    who = Roles(
        _holders(home, args.root, args.root_threshold),
        _holders(home, args.targets, args.targets_threshold),
        online,
        online,
    )
    staging = begin(args.desk, Settings(args.storage, terms), who, dict.fromkeys(args.line, lines), datetime.now(UTC))
    return _sign_here(args, staging, ())


def run_line(args: argparse.Namespace) -> int:
    """Stage it and sign what the home may."""
    from datetime import UTC, datetime

    from sealwright.release.beginning import add_line
    from sealwright.signing.home import open_home

    staging = opened(args.desk)
    add_line(staging, args.line, _holders(open_home(args.home), args.key, args.threshold), datetime.now(UTC))
    return _sign_here(args, staging, ("targets", args.line))


def run_rotate(args: argparse.Namespace) -> int:
    """Stage it and sign what the home may."""
    from datetime import UTC, datetime

    from sealwright.release.beginning import hold
    from sealwright.signing.home import open_home

    staging = opened(args.desk)
    holders = _holders(open_home(args.home), args.key, args.threshold)
    return _sign_here(args, staging, hold(staging, args.role, holders, datetime.now(UTC)))


def run_renew(args: argparse.Namespace) -> int:
    """Stage them; nobody signs yet."""
    from datetime import UTC, datetime

    from sealwright.release.beginning import renew
    from sealwright.release.thresholds import standing_of

    staging = opened(args.desk)
    _say(args, [standing_of(staging, name) for name in renew(staging, args.roles, datetime.now(UTC))])
    return 0


def run_sign(args: argparse.Namespace) -> int:
    """Sign, and say who is still to sign."""
    from sealwright.errors import UsageError

    if (args.home is None) is (args.service is None):
        raise UsageError("--home", "roles are signed by a home or by a service", "Name one: --home or --service.")
    staging = opened(args.desk)
    unknown = [name for name in args.roles if name not in staging.staged_names]
    if unknown or not staging.staged_names:
        name = unknown[0] if unknown else args.desk
        raise UsageError(
            name, "it is not staged" if unknown else "nothing is staged", "`sealwright release status` lists what is."
        )
    if args.service is None:
        with signers_of(args) as signers:
            return _sign(args, staging, signers, args.roles)
    with roles_in_service(args) as roles:
        return _sign(args, staging, roles, args.roles)


def add_role_service(parser: argparse.ArgumentParser) -> None:
    """A service that holds the keys of roles."""
    service = parser.add_argument_group("a signing service that holds the keys")
    add_service(service, required=False)
    service.add_argument("--reason", metavar="TEXT", default="", help="why, for those who approve")
    service.add_argument("--wait", metavar="PERIOD", type=period, help="how long approvals may take (else 1h)")


@contextmanager
def roles_in_service(args: argparse.Namespace) -> Iterator[ServiceRoles]:
    """The keys of roles of --service; UsageError where it has none for who asks."""
    from datetime import timedelta

    from sealwright.cli.asking import client_of
    from sealwright.errors import UsageError
    from sealwright.service.serviceplace import ServicePlace
    from sealwright.service.serviceroles import ServiceRoles

    if args.pin_file is not None:
        raise UsageError("--pin-file", "the service has its own", "Leave it out.")
    wait_s = (timedelta(hours=1) if args.wait is None else args.wait).total_seconds()
    with client_of(args) as client:
        keys = ServiceRoles(ServicePlace(client, reason=args.reason, wait_s=wait_s))
        if not keys.ids:
            raise UsageError(
                args.service, "it has no key for roles of a repository", "Have one put into service.toml, [[key]]."
            )
        yield keys


def signers_of(args: argparse.Namespace) -> RoleSigners:
    """The keys of --home that sign roles; UsageError where it has none."""
    from sealwright.errors import UsageError

    signers = _signers_here(args)
    if not signers.ids:
        raise UsageError(
            args.home, "it has no key for roles of a repository", "Make one: `sealwright key enrol repository`."
        )
    return signers


def _signers_here(args: argparse.Namespace) -> RoleSigners:
    """The same of a home that begins something which others, or a service, may sign alone."""
    from sealwright.release.rolekeys import RoleSigners
    from sealwright.signing.home import open_home
    from sealwright.signing.stamps import utc_now

    home = open_home(args.home)
    return RoleSigners(home, _pin(args, home), utc_now)


def _pin(args: argparse.Namespace, home: Home) -> Pin | None:
    """One PIN for all: a home's keys for roles live in one place."""
    from sealwright.signing.home import KeyPurpose

    uris = [home.uri(key) for key in home.keys if key.purpose is KeyPurpose.REPOSITORY]
    return pin_of(args, uris[0]) if uris else None


def _sign(args: argparse.Namespace, staging: Staging, signers: RoleKeys, names: Sequence[str]) -> int:
    """0 where nobody else has to sign what was asked for, else 3."""
    from sealwright.release.thresholds import sign_staged

    standings = sign_staged(staging, signers, names)
    _say(args, standings)
    return 3 if any(one.missing for one in standings) else 0


def _sign_here(args: argparse.Namespace, staging: Staging, names: Sequence[str]) -> int:
    """With what the home has."""
    with _signers_here(args) as signers:
        return _sign(args, staging, signers, names)


def _holders(home: Home, named: Sequence[str], threshold: int) -> Holders:
    """Keys by their names in the home, else by their files."""
    from sealwright.release.rolekeys import enrolled_role_key, read_role_key
    from sealwright.release.roles import Holders

    known = {key.name: key for key in home.keys}
    keys = tuple(enrolled_role_key(known[one]) if one in known else read_role_key(one) for one in named)
    return Holders(keys, threshold)


def _say(args: argparse.Namespace, standings: Sequence[Standing]) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    bins = [one for one in standings if ".bin-" in one.role]
    for one in standings:
        if args.json:
            print(standing_line(one))
        elif one not in bins:
            print(display(standing_text(one)))
    if args.json:
        return
    if bins:
        print(say("release.bins", number=len(bins), missing=max(one.missing for one in bins)))
    if any(one.missing for one in standings):
        print("  " + display(say("release.next-others", desk=args.desk)))
    else:
        print("  " + display(say("release.next-publish", desk=args.desk)))


def standing_text(one: Standing) -> str:
    """How a staged role stands, for people."""
    from sealwright.texts.words import say

    what = {"role": one.role, "version": one.version, "ends": f"{one.expires:%Y-%m-%d}", "signed": len(one.signed)}
    return say("release.staged-missing", missing=one.missing, **what) if one.missing else say("release.staged", **what)


def standing_line(one: Standing) -> str:
    """The same for programs."""
    from sealwright.cli.jsonout import line, moment

    return line(
        {"role": one.role, "version": one.version, "expires": moment(one.expires), "signed": list(one.signed),
         "may_sign": list(one.open), "missing": one.missing}
    )  # fmt: skip
