"""By which key somebody approves, or says what an emergency was: one of their home, or a security key that is plugged in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_pin_file, pin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwright.service.client import Client
    from sealwright.signing.approval import Approval


def add_own_key(parser: argparse.ArgumentParser) -> None:
    """--home or --fido2, and what they want."""
    own = parser.add_mutually_exclusive_group()
    own.add_argument("--home", metavar="DIR", help="your own home, with a key enrolled for approvals")
    own.add_argument("--fido2", action="store_true", help="by your security key, which is plugged in")
    parser.add_argument("--key", metavar="NAME", help="which key of the home (else the first)")
    add_pin_file(parser)


def by_own_key(client: Client, args: argparse.Namespace) -> Callable[[bytes], Approval] | None:
    """How a request's bytes are approved, with everything that it needs looked at before; None where no key is named."""
    from datetime import UTC, datetime

    if args.fido2:
        return _by_security_key(client, args)
    if args.home is None:
        return None
    from sealwright.signing.approval import approve
    from sealwright.signing.home import KeyPurpose, open_home

    home = open_home(args.home)
    key = home.key(args.key, KeyPurpose.APPROVAL)
    return lambda data: approve(data, args.id, home, key, datetime.now(UTC), pin_of(args, home.uri(key)))


def _by_security_key(client: Client, args: argparse.Namespace) -> Callable[[bytes], Approval]:
    from sealwright.cli.securitykey import need_fido, touch_of
    from sealwright.errors import KeyRefused

    need_fido("--fido2")
    from sealwright.signing.securitykey import approved, attached, place_of

    place = place_of(args.service)
    known = [one.credential for one in client.credentials(args.id) if (one.rp, one.origin) == place]
    if not known:
        raise KeyRefused(
            "security key",
            f"the register has none of yours for {place.origin}",
            "Make it known: sealwright people enrol-key",
        )

    def sign(data: bytes) -> Approval:
        with attached() as device:
            return approved(device, data, place, known, touch_of(args))

    return sign
