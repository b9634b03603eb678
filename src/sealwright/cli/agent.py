"""The agent of a device: it takes releases from a repository or a stick, verifies its own copy, and installs it with a way back.

What the device is, where its releases come from and how they are installed says /etc/sealwright/agent.toml (docs/agent.md).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.device.agent import Agent
    from sealwright.device.agentconfig import AgentConfig
    from sealwright.device.reported import Reporter
    from sealwright.device.round import Doing, Round, Seams
    from sealwright.release.channels import Named
    from sealwright.trust.verdict import Verdict

EXAMPLES = """examples:
  sealwright agent check                                   is something newer offered to this device?
  sealwright agent check --configuration --config agent.toml         only reads the file
  sealwright agent install --dry-run                       fetch, verify, say what would happen
  sealwright agent install                                 the same, then asks, then installs; in the window, where there is one
  sealwright agent install --yes --now                     without asking, outside the window too
  sealwright agent install --again                         also a release that failed here before
  sealwright agent status --json                           what is installed, kept, on its way, refused
  sealwright agent rollback                                back to the release before, as far as the floor allows
  sealwright agent install --permit 6.permit --now         what a permit lets this device do for some hours (docs/permits.md)
  sealwright agent run                                     as a service: a round every hour, in the window, with consent
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(commands, "check", "ask the repository whether something newer is offered", EXAMPLES)
    check.add_argument("--configuration", action="store_true", help="only read agent.toml")
    _add_common(check)
    check.set_defaults(run=run_check)
    install = add_action(commands, "install", "fetch, verify and install what is offered", EXAMPLES)
    install.add_argument("--yes", action="store_true", help="do not ask")
    install.add_argument("--now", action="store_true", help="outside the maintenance window too")
    install.add_argument("--again", action="store_true", help="at once, and also what failed here before")
    _add_permit(install)
    install.add_argument("--dry-run", action="store_true", help="fetch and verify, install nothing")
    _add_common(install)
    install.set_defaults(run=run_install)
    status = add_action(commands, "status", "what is installed, and what today's trust file says of it", EXAMPLES)
    _add_common(status)
    status.set_defaults(run=run_status)
    rollback = add_action(commands, "rollback", "go back to the release before", EXAMPLES)
    rollback.add_argument("--yes", action="store_true", help="do not ask")
    _add_permit(rollback)
    _add_common(rollback)
    rollback.set_defaults(run=run_rollback)
    daemon = add_action(commands, "run", "a round every hour or so, until it is stopped", EXAMPLES)
    daemon.add_argument("--rounds", metavar="N", type=int, default=0, help="end after so many rounds")
    _add_common(daemon)
    daemon.set_defaults(run=run_daemon)


def _add_permit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--permit", metavar="FILE", action="append", default=[], help="a permit for this device (repeat)"
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    from sealwright.cli.agentlines import DEFAULT_CONFIG

    parser.add_argument("--config", metavar="FILE", default=DEFAULT_CONFIG, help=f"agent.toml (else {DEFAULT_CONFIG})")
    add_json(parser)


def run_check(args: argparse.Namespace) -> int:
    """Code 3 where something newer is offered."""
    from sealwright.cli.agentlines import say_config
    from sealwright.device.agent import agent_at
    from sealwright.device.round import Doing

    config = _config(args)
    if args.configuration:
        say_config(config, args.json)
        return 0
    with agent_at(config) as agent:
        return _round(agent, args, Doing.CHECK)


def run_install(args: argparse.Namespace) -> int:
    """Code 3 where it waits for somebody, for the window or for the next boot."""
    from sealwright.device.agent import agent_at
    from sealwright.device.round import Doing

    doing = Doing.NOW if args.now else Doing.INSTALL
    doing = Doing.AGAIN if args.again else doing
    config = _config(args)
    with agent_at(config, _seams(args, config)) as agent:
        return _round(agent, args, Doing.DRY_RUN if args.dry_run else doing)


def run_rollback(args: argparse.Namespace) -> int:
    """Code 1 where it is refused, or the release does not work."""
    from sealwright.cli.agentlines import code_of, say_round
    from sealwright.device.agent import agent_at
    from sealwright.texts.words import say

    config = _config(args)
    with agent_at(config, _seams(args, config)) as agent:
        previous = agent.state.previous
        if previous is not None and not args.yes and not _asked(previous.release):
            print(say("agent.asked-no"))
            return 3
        done = agent.roll_back()
        say_round(agent.config, done, args.json)
        return code_of(done)


def run_status(args: argparse.Namespace) -> int:
    """Code 1 where what is installed would be refused for running, or somebody has to look at something."""
    from sealwright.cli.agentlines import say_status
    from sealwright.device.agent import looking_at

    agent = looking_at(_config(args))
    return say_status(agent, agent.running(), args.json)


def run_daemon(args: argparse.Namespace) -> int:
    """Rounds in children; the process that waits between them loads little."""
    from sealwright.device.daemon import run_rounds
    from sealwright.texts.words import say

    config = _config(args)
    minutes = int(config.interval.total_seconds()) // 60
    print(say("agent.running", device=config.device, minutes=minutes), file=sys.stderr, flush=True)
    code = run_rounds(config.interval.total_seconds(), lambda: _one_round(args), args.rounds)
    print(say("agent.stopping"), file=sys.stderr)
    return code


def _one_round(args: argparse.Namespace) -> int:
    """A round of the service: agent.toml is read again, and an error is said and tried again next time."""
    from sealwright.cli.agentlines import code_of, say_round
    from sealwright.cli.main import failed
    from sealwright.device.agent import agent_at, consented
    from sealwright.device.round import Doing, Seams
    from sealwright.errors import SealwrightError

    try:
        config = _config(args)
        with agent_at(config, Seams(None, _reporter(args, config))) as agent:
            done = agent.round(Doing.INSTALL, consented(config))
            say_round(config, done, args.json)
            return code_of(done)
    except SealwrightError as cause:
        return failed(cause, args.json)


def _round(agent: Agent, args: argparse.Namespace, doing: Doing) -> int:
    from sealwright.cli.agentlines import code_of, say_round

    def consent(offered: Named, _: Verdict) -> bool:
        return bool(args.yes) or _asked(offered)

    done: Round = agent.round(doing, consent)
    say_round(agent.config, done, args.json)
    return code_of(done)


def _seams(args: argparse.Namespace, config: AgentConfig) -> Seams:
    from sealwright.device.permitted import permits_of
    from sealwright.device.round import Seams

    return Seams(permits_of(args.permit), _reporter(args, config))


def _reporter(args: argparse.Namespace, config: AgentConfig) -> Reporter | None:
    """What reports, where agent.toml wants it; what it could not do is said beside the round's own words."""
    if config.report is None:
        return None
    from sealwright.cli.main import failed
    from sealwright.device.reported import Reporter

    return Reporter(config, config.report, lambda cause: failed(cause, args.json))


def _asked(release: Named) -> bool:
    """Ask whoever sits there; nobody sits at a pipe."""
    from sealwright.texts.words import say

    if not sys.stdin.isatty():
        return False
    print(say("agent.ask", version=release.version, generation=release.generation), end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _config(args: argparse.Namespace) -> AgentConfig:
    from sealwright.device.agentconfig import load_config

    return load_config(args.config)
