"""`verify --record`: the same judgement with a record of each verdict, which is durable before the verdict is printed.

A folder or key that cannot be used at all is a wrong command (exit code 2, or 1 from the key); one that fails on the way refuses the verdict.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.cli.verify import Answer
    from sealwright.plant.recorder import Recorder
    from sealwright.trust.belief import Believed
    from sealwright.trust.verify import Request


def recorded_answers(
    args: argparse.Namespace, believed: Believed, request: Request, recorder: Recorder, use: Callable[..., Answer]
) -> Iterator[Answer]:
    """One answer a path, as without records. A few are recorded one by one, many in batches."""
    from sealwright.artifact.progress import TerminalProgress
    from sealwright.cli.verify import FEW
    from sealwright.plant.recorder import BATCH, recorded
    from sealwright.trust.verify import Verifier, artifacts

    many = len(args.paths) > FEW or args.recursive
    verifier, found = Verifier(believed, request), artifacts(args.paths, request)
    with TerminalProgress("checking", unit="files" if many else "MB") as progress:
        for one in recorded(verifier, found, recorder, BATCH if many else 1, None if many else progress):
            if many:
                progress.advance(1)
            text, outcome = use(one.verdict, record=one.path)
            if text:
                progress.close()
            yield text, outcome


def recorder_of(args: argparse.Namespace) -> Recorder:
    """Where the records of a command go, and who signs them; UsageError for what cannot be meant, and what the home raises."""
    from sealwright import __version__
    from sealwright.errors import UsageError
    from sealwright.plant.recorder import Recorder, unsigned
    from sealwright.plant.records import IDENTIFIER, Asserted, Station

    for option, value in (("--person", args.person), ("--change", args.change)):
        if value and not IDENTIFIER.fullmatch(value):
            raise UsageError(
                option, "it is no id", "Give at most 64 letters, digits and . _ : / # -, beginning with one."
            )
    station = Station(platform.node() or "unknown", _account(), __version__)
    asserted = Asserted(args.person, args.change)
    if args.station_home is None:
        if args.station_key is not None:
            raise UsageError("--station-key", "it is a key of no home", "Name the home with --station-home.")
        _say_first(args.record)
        return Recorder(args.record, station, asserted, unsigned)
    from sealwright.cli.arguments import pin_of
    from sealwright.plant.stationkey import StationKey, enrolled_for_records  # key backends, only where a key is used
    from sealwright.signing.home import open_home

    home = open_home(args.station_home)
    enrolled = enrolled_for_records(home, args.station_key)
    key = StationKey(home, enrolled, pin_of(args, home.uri(enrolled)))
    _say_first(args.record)
    return Recorder(args.record, Station(station.host, station.account, __version__, key.digest), asserted, key.sign)


def _say_first(folder: str) -> None:
    """Where there is no record yet, which may be a share that is not mounted."""
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    with suppress(OSError):  # what cannot be read cannot be written either, which the verdict says
        if not os.listdir(folder):
            print(say("record.first", folder=display(folder)), file=sys.stderr)


def _account() -> str:
    """The account's number: names are of persons, and the machine's own register says whose number it is (DESIGN, Person)."""
    return f"uid:{os.getuid()}" if hasattr(os, "getuid") else "unknown"
