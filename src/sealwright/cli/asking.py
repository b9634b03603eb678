"""How commands name a signing service, and as whom they ask it; and how they ask whoever approves."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.service.client import Client


def add_service(parser: argparse._ActionsContainer, *, required: bool) -> None:
    """--service and what the connection wants; nothing of it comes from the environment."""
    parser.add_argument("--service", metavar="URL", required=required, help="the signing service, https://HOST:PORT")
    parser.add_argument("--service-ca", metavar="FILE", help="the authorities of the service's certificate, PEM")
    parser.add_argument("--client", metavar="FILE", help="your TLS certificate for it, PEM")
    parser.add_argument("--client-key", metavar="FILE", help="the key of that certificate, PEM")


def need_client() -> None:
    """UsageError where the client's packages are not installed; they are an extra."""
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("httpx") is None or find_spec("msgspec") is None:
        raise UsageError(
            "--service", "the client's packages are not installed", "Install them: pip install 'sealwright[service]'"
        )


def need_options(args: argparse.Namespace, *names: str) -> None:
    """UsageError for the first that is missing."""
    from sealwright.errors import UsageError

    for name in names:
        if getattr(args, name) is None:
            option = "--" + name.replace("_", "-")
            raise UsageError("--service", f"it wants {option} too", f"Name the file with {option}.")


def client_of(args: argparse.Namespace) -> Client:
    """A client as the options say; UsageError where one is missing, or the packages for it."""
    need_client()
    from sealwright.service.client import Address, Client

    need_options(args, "service_ca", "client", "client_key")
    return Client(Address(args.service, args.client, args.client_key, args.service_ca))


def agreed() -> bool:
    """Whether somebody at a terminal types yes."""
    from sealwright.texts.words import say

    return sys.stdin.isatty() and input(say("approve.ask")).strip().lower() == "yes"
