"""Arguments that several commands share: times, the signing home, the PIN's source."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.artifact.claims import Claims
    from sealwright.formats.layouttext import Layout
    from sealwright.keys.pin import Pin
    from sealwright.signing.home import Home


def rfc3339(text: str) -> datetime:
    """A time with its zone, as RFC 3339 writes it (`2026-11-01T12:00:00Z`); argparse shows the complaint."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time with a zone, such as 2026-11-01T12:00:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range") from None


def period(text: str) -> timedelta:
    """A period such as `30d`, `12h` or `2y`; argparse shows the complaint."""
    found = re.fullmatch(r"([0-9]{1,5})([mhdwy])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no period, such as 15m, 12h, 60d, 8w or 2y")
    return timedelta(minutes=int(found[1]) * {"m": 1, "h": 60, "d": 1440, "w": 7 * 1440, "y": 365 * 1440}[found[2]])


def key_string(text: str) -> str:
    """A key's name or key string; one with a PIN in it is refused without being repeated (A129)."""
    if "pin-value" in text.lower():
        raise argparse.ArgumentTypeError(
            "a PIN stands in it, where every process list shows it; use --pin-file or pin-source=file:PATH"
        )
    return text


FORMATS = """
formats (how each is signed and checked: docs/formats):
  pe          bootloaders, drivers, EFI programs, other Windows programs
  mcuboot     firmware of microcontrollers for MCUboot (Zephyr and others)
  esp32       firmware of Espressif's chips, Secure Boot V2
  fit         kernels and device trees for U-Boot
  rauc        RAUC update bundles
  swupdate    SWUpdate archives
  msi         Windows Installer packages and patches
  cab         cabinets
  jar         JAR and ZIP archives
  powershell  PowerShell scripts and modules
  kmod        Linux kernel modules
  layout      firmware under a maker's own header, described in a --layout file
  verity      dm-verity images
  fsverity    files with fs-verity
  ima         files of Linux with IMA, or a whole tree of them
  xmldsig     XML documents
  xmldsig-detached  any file, with an XML signature beside it
"""


def add_action(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, words: str, examples: str, under: str = ""
) -> argparse.ArgumentParser:
    """One action of a command, such as `trust sign`; its help ends with its own examples out of the command's.

    under: of an action of an action, such as `ca ceremony run`, the words between, with a space behind.
    """
    own = [line for line in examples.splitlines() if re.match(rf"  sealwright [\w-]+ {re.escape(under + name)} ", line)]
    epilog = "\n".join(["examples:", *own]) if own else ""
    return commands.add_parser(name, help=words, description=words[:1].upper() + words[1:] + ".", epilog=epilog)


def add_home(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """--home, always named: no environment variable and no current folder chooses keys."""
    parser.add_argument("--home", metavar="DIR", required=required, help="the signing home (made by `sealwright init`)")


def add_pin_file(parser: argparse._ActionsContainer) -> None:
    """--pin-file; a PIN is never an argument."""
    parser.add_argument(
        "--pin-file", metavar="FILE", help="file with the token's PIN, readable by you alone (else you are asked)"
    )


def add_json(parser: argparse._ActionsContainer, default: bool | str = False) -> None:
    """--json; default: what it is when it is not given."""
    parser.add_argument("--json", action="store_true", default=default, help="one JSON object a line instead of text")


def add_trust(parser: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """--trust and --trust-fingerprint. what: which trust file."""
    parser.add_argument("--trust", metavar="FILE", required=required, help=f"{what}; the file, not its folder")
    parser.add_argument("--trust-fingerprint", metavar="TEXT", help="its fingerprint from the card, hex or words")


def add_record(parser: argparse.ArgumentParser) -> None:
    """--record, and who signs the record."""
    record = parser.add_argument_group("installation record")
    record.add_argument(
        "--record", metavar="DIR", help="write a record of each verdict into this folder, which must be there"
    )
    record.add_argument("--station-home", metavar="HOME", help="the home whose key signs the records")
    record.add_argument("--station-key", metavar="NAME", help="which key of it (else its first for records)")
    record.add_argument("--person", metavar="ID", default="", help="who does this: an id, not a name; recorded as said")
    record.add_argument("--change", metavar="ID", default="", help="the change or ticket this is for; recorded as said")
    add_pin_file(record)


def timestamps_of(named: list[str] | None) -> tuple[str, ...]:
    """The authorities of --timestamp for a home; UsageError for what is none."""
    from sealwright.errors import UsageError

    names = tuple(named or ("local",))
    if names not in (("local",), ("none",)) and not all(one.startswith(("http://", "https://")) for one in names):
        raise UsageError("--timestamp", f"{', '.join(names)[:100]} is no pool", "Name URLs, or local or none alone.")
    return names


def add_layout(parser: argparse.ArgumentParser) -> None:
    """--layout."""
    parser.add_argument("--layout", metavar="FILE", help="the description of the firmware's own header (format layout)")


def add_claims(parser: argparse.ArgumentParser) -> None:
    """What is said of an artifact; --version here is the artifact's, the program's own is `sealwright --version`."""
    claims = parser.add_argument_group("claims, signed in a manifest")
    claims.add_argument("--product", metavar="TEXT", help="the product it is for")
    claims.add_argument("--version", metavar="TEXT", help="its version, as text")
    claims.add_argument("--generation", metavar="N", type=int, help="whole number that grows with each release")
    claims.add_argument("--hardware", metavar="TEXT", action="append", default=[], help="hardware it fits (repeat)")
    claims.add_argument("--environment", metavar="TEXT", help="production, test or development")


def claims_of(args: argparse.Namespace) -> Claims:
    """What the options claim."""
    from sealwright.artifact.claims import Claims

    return Claims(args.product, args.version, args.generation, tuple(args.hardware), args.environment)


def layouts_of(args: argparse.Namespace) -> tuple[Layout, ...]:
    """The layout of --layout, if it is given; MalformedLayout where the file is none."""
    if args.layout is None:
        return ()
    from sealwright.artifact.source import read_file
    from sealwright.formats.layouttext import MAX_BYTES, parse_layout  # few files have one

    return (parse_layout(read_file(args.layout, MAX_BYTES), args.layout),)


def layouts_known(home: Home | None, args: argparse.Namespace) -> tuple[Layout, ...]:
    """The one of --layout, else those that the home's trust file names; none where that cannot be read, as `doctor` says."""
    import os

    from sealwright.errors import SealwrightError
    from sealwright.signing.home import TRUST

    if args.layout is not None or home is None or not os.path.exists(home.path(TRUST)):
        return layouts_of(args)
    from sealwright.trust.belief import load_trust

    try:
        return load_trust(home.path(TRUST)).layouts
    except SealwrightError:
        return ()


def pin_of(args: argparse.Namespace, uri: str) -> Pin | None:
    """The PIN for a key string: of --pin-file, of the service manager's credential, or typed where a token wants one."""
    from sealwright.keys.pin import Pin, ask_pin, credential_pin  # signing commands only

    if args.pin_file is not None:
        return Pin.from_file(args.pin_file)
    found = credential_pin()
    if found is not None or not uri.startswith("pkcs11:") or "pin-source=" in uri:
        return found
    return ask_pin(uri)
