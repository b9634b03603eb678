"""Run a service in the foreground, until SIGTERM or Ctrl-C. What it prints and logs never holds a PIN."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sealwright.cli.arguments import add_action, add_home, add_json, add_pin_file, key_string, pin_of
from sealwright.cli.servefleet import configure_fleet
from sealwright.cli.servehawkbit import configure_hawkbit
from sealwright.cli.serveocsp import configure_ocsp
from sealwright.cli.servesigning import configure_signing
from sealwright.cli.servewitness import configure_witness

if TYPE_CHECKING:
    from sealwright.pki.clocks import ClockWatch
    from sealwright.pki.timestamp import LocalAuthority
    from sealwright.service.server import Log
    from sealwright.signing.home import EnrolledKey, Home
    from sealwright.signing.timestamping import TimestampDesk

EXAMPLES = """examples:
  sealwright serve tsa --home tsa-home                                 at 127.0.0.1:3161; the kernel says the clock is disciplined
  sealwright serve tsa --home tsa-home --listen 10.1.2.3:3161 --time-source sntp:ntp1.plant --time-source sntp:ntp2.plant
  sealwright serve tsa --home tsa-home --time-source none              a plant that sets its clock by hand
  sealwright serve tsa --home tsa-home --listen unix:/run/tsa/http --pin-file pin.txt --head /var/lib/tsa/head
  sealwright serve ocsp --home home                                    answers for the home's own authorities, at 127.0.0.1:2560
  sealwright serve ocsp --home home --listen 10.1.2.3:2560 --valid-hours 12
  sealwright serve ocsp --home home --key ocsp --issuer acme.pem --crl acme.crl      an authority whose register is not ours
  sealwright serve signing service.toml --check                        is everything there, and does every key open?
  sealwright serve signing service.toml
  sealwright serve witness witness.toml                                cosigns the checkpoints of others' logs
  sealwright serve fleet fleet.toml --check                            is everything there, and can the database be used?
  sealwright serve fleet fleet.toml                                    takes the reports of devices, and shows who runs what
  sealwright serve hawkbit hawkbit.toml --check                        is everything there, and does the repository hold?
  sealwright serve hawkbit hawkbit.toml                                offers releases to SWUpdate and RAUC clients of hawkBit
"""
NONE = "none"


def configure(parser: argparse.ArgumentParser) -> None:
    """The services."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _configure_tsa(commands)
    add_serving(configure_ocsp(commands, EXAMPLES), "127.0.0.1:2560")
    configure_signing(commands, EXAMPLES)
    configure_witness(commands, EXAMPLES)
    configure_fleet(commands, EXAMPLES)
    configure_hawkbit(commands, EXAMPLES)


def add_serving(parser: argparse.ArgumentParser, listen: str) -> None:
    """The options that every service has. listen: where it listens unless told otherwise."""
    parser.add_argument(
        "--listen", metavar="ADDRESS", default=listen, help=f"HOST:PORT (port 0: any), or unix:PATH (else {listen})"
    )
    parser.add_argument(
        "--access-log", metavar="FILE|none", help="append a JSON line for each request (else on stderr)"
    )
    add_pin_file(parser)
    add_json(parser)


def need_server() -> None:
    """UsageError where the packages of the services are not installed; they are an extra."""
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("uvicorn") is None or find_spec("httptools") is None:
        raise UsageError(
            "serve", "the HTTP server is not installed", "Install it with: pip install 'sealwright[service]'"
        )


def access_log(args: argparse.Namespace) -> Log:
    """Where the access lines go."""
    from sealwright.errors import OutputRefused
    from sealwright.service.server import json_log, no_log

    if args.access_log is None:
        return json_log()
    if args.access_log == NONE:
        return no_log
    try:
        return json_log(open(args.access_log, "a", encoding="ascii"))
    except OSError as cause:
        raise OutputRefused(
            args.access_log, f"it cannot be written ({cause.strerror})", "Name another file."
        ) from cause


def _configure_tsa(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tsa = add_action(commands, "tsa", "run a timestamp authority (RFC 3161 over HTTP)", EXAMPLES)
    add_home(tsa)
    tsa.add_argument(
        "--key", metavar="KEY", type=key_string, help="name of a key enrolled for timestamps (else the home's first)"
    )
    clock = tsa.add_argument_group("the clock", "no token is made while the clock cannot be shown to be right")
    clock.add_argument(
        "--time-source",
        metavar="SOURCE",
        action="append",
        help="what the clock is compared with (repeat): kernel (the default), sntp:HOST[:PORT], tsa:URL; or none",
    )
    clock.add_argument(
        "--max-drift", metavar="S", type=_seconds, default=1.0, help="seconds it may differ from them (else 1)"
    )
    clock.add_argument(
        "--max-silence", metavar="S", type=_seconds, default=3600.0, help="seconds without an answer (else 3600)"
    )
    tsa.add_argument(
        "--accuracy", metavar="S", type=_seconds, help="seconds that tokens promise (else --max-drift and one more)"
    )
    tsa.add_argument("--policy", metavar="OID", type=_oid, help="policy in the tokens (else Sealwright's own)")
    tsa.add_argument(
        "--head", metavar="FILE", help="remember here, outside the home and its backups, how far its journal went"
    )
    add_serving(tsa, "127.0.0.1:3161")
    tsa.set_defaults(run=run_tsa)


def run_tsa(args: argparse.Namespace) -> int:
    """Serve until told to stop; 1 where it stopped while it could make no tokens."""
    import asyncio

    from sealwright.envelope.tsp import purpose_problem
    from sealwright.errors import KeyRefused
    from sealwright.keys.backends import open_key
    from sealwright.log.journal import refuse_locked
    from sealwright.pki.oids import TIMESTAMP_POLICY
    from sealwright.pki.timestamp import LocalAuthority
    from sealwright.signing.home import TIMESTAMPS, KeyPurpose, open_home
    from sealwright.signing.standing import StandingWatch, check_standing
    from sealwright.signing.timestamping import TimestampDesk, check_head

    need_server()
    accuracy = _accuracy(args)
    watch = _watch(args)
    home = open_home(args.home)
    refuse_locked(home.folder)
    enrolled = home.key(args.key, KeyPurpose.TIMESTAMP)
    if problem := purpose_problem(enrolled.certificate):
        raise KeyRefused(f"key {enrolled.name}", problem, "Enrol one with a certificate for timestamps alone.")
    check_standing(home, enrolled, watch.now())
    check_head(home.path(TIMESTAMPS), args.head)  # before a PIN is asked for
    uri = home.uri(enrolled)
    key = open_key(uri, pin_of(args, uri), algorithm=enrolled.algorithm, expected=enrolled.public_key)
    authority = LocalAuthority(
        enrolled.certificate,
        enrolled.chain,
        key,
        watch.now,
        policy=args.policy or TIMESTAMP_POLICY,
        accuracy=timedelta(seconds=accuracy),
    )

    def open_desk(deliver: Any) -> TimestampDesk:
        name = str(enrolled.digest)
        standing = StandingWatch(home, enrolled).problem
        return TimestampDesk(
            home.path(TIMESTAMPS), authority, watch, name, deliver=deliver, head=args.head, standing=standing
        )

    try:
        return asyncio.run(_serve_tsa(args, home, enrolled, authority, watch, open_desk))
    finally:
        key.close()


async def _serve_tsa(
    args: argparse.Namespace,
    home: Home,
    enrolled: EnrolledKey,
    authority: LocalAuthority,
    watch: ClockWatch,
    open_desk: Any,
) -> int:
    from sealwright.service.server import Resource, json_log, parse_listen, serve
    from sealwright.service.timestamps import timestamp_routes
    from sealwright.texts.words import say

    routes: dict[str, Resource] = {}
    listen, log, access = parse_listen(args.listen), json_log(), access_log(args)
    async with timestamp_routes(authority, watch, open_desk, routes, log) as desk:
        await serve(
            routes,
            listen,
            announce=lambda address: _announce(args, home, enrolled, authority, watch, address),
            access=access,
            log=log,
        )
    report = desk.report()
    problem = report.problem or watch.problem()
    if not args.json:
        number = f"{report.issued:,}"
        print(
            say("serve.stopped-badly", number=number, why=problem) if problem else say("serve.stopped", number=number)
        )
    return 1 if problem else 0


def _announce(
    args: argparse.Namespace,
    home: Home,
    enrolled: EnrolledKey,
    authority: LocalAuthority,
    watch: ClockWatch,
    address: str,
) -> None:
    from cryptography import x509

    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    subject = x509.load_der_x509_certificate(enrolled.certificate).subject.rfc4514_string()
    sources = [source.name for source in watch.sources]
    if args.json:
        from sealwright.cli.jsonout import line

        told = {"service": "tsa", "address": address, "home": args.home, "subject": subject, "time_sources": sources}
        told["problem"] = watch.problem() or None
        print(line({**told, "policy": authority.policy, "accuracy_s": authority.accuracy.total_seconds()}), flush=True)
        return
    print(say("serve.tsa", home=display(home.title), address=display(address)))
    about = {"subject": display(subject), "algorithm": enrolled.algorithm.name, "provenance": enrolled.provenance}
    print(
        "  "
        + say("serve.tsa-key", policy=authority.policy, accuracy=f"{authority.accuracy.total_seconds():g}", **about)
    )
    if sources:
        print("  " + say("serve.tsa-clock", sources=display(", ".join(sources)), drift=f"{watch.max_drift_s:g}"))
    else:
        print("  " + say("serve.tsa-no-source"))
    if problem := watch.problem():
        print("  " + say("serve.tsa-stopped", problem=display(problem)))
    sys.stdout.flush()


def _watch(args: argparse.Namespace) -> ClockWatch:
    """The watch over the sources asked for; the kernel's word where none was named, nothing only where it was said."""
    from sealwright.errors import UsageError
    from sealwright.pki.clocks import ClockWatch, parse_source

    names = list(dict.fromkeys(args.time_source or ["kernel"]))
    if NONE in names and len(names) > 1:
        raise UsageError("--time-source none", "it stands beside others", "Name sources, or none.")
    sources = [parse_source(name) for name in names if name != NONE]
    return ClockWatch(sources, max_drift_s=args.max_drift, max_silence_s=args.max_silence)


def _accuracy(args: argparse.Namespace) -> float:
    """What tokens promise: the clock's limit, and the second to which genTime is cut."""
    from sealwright.errors import UsageError

    least = float(args.max_drift) + 1
    if args.accuracy is None:
        return least
    if args.accuracy < least:
        raise UsageError(
            f"--accuracy {args.accuracy:g}",
            f"the clock may be {args.max_drift:g} s off and tokens say whole seconds, so it can be no better than {least:g}",
            "Lower --max-drift, or promise less.",
        )
    return float(args.accuracy)


def _seconds(text: str) -> float:
    """More than zero and at most a day."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.001 to 86400")
    return value


def _oid(text: str) -> str:
    """A dotted object identifier."""
    from cryptography.x509 import ObjectIdentifier

    try:
        return ObjectIdentifier(text).dotted_string
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no object identifier, such as 1.3.6.1.4.1.99999.1") from None
