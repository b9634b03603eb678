"""A witness of others' logs over HTTP (C2SP tlog-witness), and `witness.toml`, which says whose.

    # sealwright witness 1
    name = "witness.acme.example/1"          # what its cosignatures are called
    listen = "127.0.0.1:8444"
    home = "home"                            # with its key; paths are relative to this file
    key = "witness"                          # of the home, enrolled for `log`
    pin_file = "witness.pin"                 # where its token wants one
    folder = "seen"                          # the newest checkpoint of each log, and the evidence of forks

    [tls]                                    # else plain HTTP, for a front end
    certificate = "server.pem"
    key = "server.key"

    [[log]]
    key = "log.other.example/7+2d5a1f3e+AWn0..."

`POST /add-checkpoint` is `log/witness.py`'s; `GET /HASH/checkpoint`, by SHA-256 of a log's origin in hexadecimal, shows the newest
checkpoint of it that this witness cosigned. Everything else of a home's key is refused: a witness's key signs for one name alone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sealwright.artifact.section import Complaint, Section, read_toml
from sealwright.artifact.source import read_file
from sealwright.envelope.kinds import CHECKPOINT
from sealwright.envelope.verifierkey import NoteType, VerifierKey, parse_verifier_key
from sealwright.errors import MalformedConfiguration, OutputRefused
from sealwright.keys.backends import open_key
from sealwright.keys.pin import Pin
from sealwright.log.note import KeySigner
from sealwright.log.witness import ADD_CHECKPOINT, MAX_BODY, PLAIN, Witness
from sealwright.service.server import Answer, Listen, Request, Resource, parse_listen, plain
from sealwright.service.tls import TlsFiles
from sealwright.signing.home import KeyPurpose, open_home

FIRST_LINE = "# sealwright witness 1"
WITNESS = Complaint(MalformedConfiguration, 1 << 20, "Correct it; `sealwright serve witness FILE --check` reads it.")


@dataclass(frozen=True, slots=True)
class WitnessConfiguration:
    """What the file says, paths made absolute. pin_file: "" where the key wants none; tls: None for plain HTTP; logs: keys by their origin."""

    name: str
    listen: Listen
    home: str
    key: str
    pin_file: str
    folder: str
    tls: TlsFiles | None
    logs: Mapping[str, tuple[VerifierKey, ...]]


def read_witness(path: str) -> WitnessConfiguration:
    """Read a file; MalformedConfiguration naming section, key and what is wanted, Unreadable, UsageError for an address."""
    top = read_toml(read_file(path, WITNESS.limit_bytes), path, FIRST_LINE, WITNESS)
    at = os.path.dirname(os.path.abspath(path))

    def log_key(section: Section) -> VerifierKey:
        try:
            return parse_verifier_key(section.text("key"), NoteType.LOG)
        except ValueError as cause:
            raise section.wrong("key", f"the key of a log, NAME+ID+KEY: {cause}") from cause

    def tls_files(section: Section) -> TlsFiles:
        files = TlsFiles(os.path.join(at, section.text("certificate")), os.path.join(at, section.text("key")))
        section.done()
        return files

    pin_file = top.text("pin_file", "")
    keys = cast("tuple[VerifierKey, ...]", top.each("log", log_key))
    if not keys:
        raise top.wrong("log", "a list with the key of at least one log")
    configuration = WitnessConfiguration(
        name=top.name("name"),
        listen=parse_listen(top.text("listen")),
        home=os.path.join(at, top.text("home")),
        key=top.name("key"),
        pin_file=os.path.join(at, pin_file) if pin_file else "",
        folder=os.path.join(at, top.text("folder")),
        tls=tls_files(top.table("tls")) if top.has("tls") else None,
        logs={key.name: tuple(one for one in keys if one.name == key.name) for key in keys},
    )
    top.done()
    return configuration


@contextmanager
def opened_witness(configuration: WitnessConfiguration) -> Iterator[Witness]:
    """Open its key and make its folder; raises what refuses."""
    home = open_home(configuration.home)
    enrolled = home.key(configuration.key, KeyPurpose.LOG, CHECKPOINT)
    with ExitStack() as stack:
        pin = Pin.from_file(configuration.pin_file) if configuration.pin_file else None
        key = open_key(home.uri(enrolled), pin, algorithm=enrolled.algorithm, expected=enrolled.public_key)
        stack.callback(key.close)
        try:
            os.makedirs(configuration.folder, mode=0o700, exist_ok=True)
        except OSError as cause:
            raise OutputRefused(
                configuration.folder, f"it cannot be made ({cause.strerror})", "Name another."
            ) from cause
        signer = KeySigner(configuration.name, NoteType.WITNESS, key)
        yield Witness(configuration.folder, signer, configuration.logs)


class AddCheckpoint:
    """POST a question. The answer is after the state is durable."""

    methods = ("POST",)
    types = ()
    max_body = MAX_BODY

    def __init__(self, witness: Witness, clock: Callable[[], datetime]) -> None:
        self._witness = witness
        self._clock = clock

    async def answer(self, request: Request) -> Answer:
        """A cosignature, or why not."""
        found = await asyncio.to_thread(self._witness.add_checkpoint, request.body, self._clock())
        return Answer(found.status, found.body, found.type)


class Seen:
    """GET what was cosigned of a log."""

    methods = ("GET",)
    types = ()
    max_body = 0

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def answer(self, request: Request) -> Answer:
        """The checkpoint, with the witness's line."""
        name, _, rest = request.tail.decode("ascii", "replace").partition("/")
        note = await asyncio.to_thread(self._witness.checkpoint, name) if rest == "checkpoint" else None
        if note is None:
            return plain(404, "there is no such resource")
        return Answer(200, note, PLAIN, ((b"cache-control", b"no-cache"),))


def routes(witness: Witness, clock: Callable[[], datetime]) -> dict[str, Resource]:
    """Its resources."""
    return {f"/{ADD_CHECKPOINT}": AddCheckpoint(witness, clock), "/": Seen(witness)}
