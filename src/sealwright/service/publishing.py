"""What a signing service publishes beside signatures, as `service.toml` says it: its log, trust files, and who witnesses the log.

public_log = true                        # the log's files for everybody; else for those whom a policy allows `read-log`
trust = "trust"                          # a folder: its files are handed out as they are
cosignatures = 2                         # without so many witnesses no checkpoint is published

[[witness]]
url = "https://witness.example/acme"     # before `/add-checkpoint`
key = "witness.example+7d5a1f3e+BGmq..."
authority = "witness-ca.pem"             # the only authority for its TLS certificate, else the system's
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from sealwright.artifact.section import Section
from sealwright.envelope.verifierkey import NoteType, VerifierKey, parse_verifier_key

MAX_WITNESSES = 16


@dataclass(frozen=True, slots=True)
class WitnessEntry:
    """A witness that is asked. url: before `/add-checkpoint`; key: whose cosignatures count; authority: a PEM file, "" for the system's."""

    url: str
    key: VerifierKey
    authority: str = ""


@dataclass(frozen=True, slots=True)
class Publishing:
    """public_log: whether everybody may read the log; trust: a folder, "" for none; cosignatures: how many of `witnesses` are needed."""

    public_log: bool = False
    trust: str = ""
    cosignatures: int = 0
    witnesses: tuple[WitnessEntry, ...] = ()


def read_publishing(top: Section, folder: str) -> Publishing:
    """Read it from the top of the file. folder: to which paths are relative. Raises MalformedConfiguration."""

    def witness(section: Section) -> WitnessEntry:
        url = section.text("url")
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise section.wrong("url", "a URL like https://HOST/PATH")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise section.wrong("url", "https, unless the witness is on this machine")
        try:
            key = parse_verifier_key(section.text("key"), NoteType.WITNESS)
        except ValueError as cause:
            raise section.wrong("key", f"the key of a witness, NAME+ID+KEY: {cause}") from cause
        authority = section.text("authority", "")
        return WitnessEntry(url, key, os.path.join(folder, authority) if authority else "")

    trust = top.text("trust", "")
    witnesses = cast("tuple[WitnessEntry, ...]", top.each("witness", witness))
    if len(witnesses) > MAX_WITNESSES or len({one.key.name for one in witnesses}) != len(witnesses):
        raise top.wrong("witness", f"at most {MAX_WITNESSES} witnesses with different names")
    cosignatures = top.number("cosignatures", 1) if witnesses else 0
    if cosignatures > len(witnesses):
        raise top.wrong("cosignatures", f"at most {len(witnesses)}, as many as there are witnesses")
    return Publishing(
        public_log=top.flag("public_log"),
        trust=os.path.join(folder, trust) if trust else "",
        cosignatures=cosignatures,
        witnesses=witnesses,
    )
