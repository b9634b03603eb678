"""How often keys were used, as `audit keys` is told: by numbers, by the logs of key services and tokens, by the journal of a TPM."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sealwright.cli.arguments import add_home
from sealwright.cli.attestation import nonce_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sealwright.findings import Finding
    from sealwright.log.usage import TransitName, Use


class Vouched(NamedTuple):
    """Who vouches for the journal of a TPM. key: the attestation key's digest; begun: RFC 3339."""

    journal: str
    key: str
    begun: str


@dataclass(slots=True)
class Counted:
    """uses: by SHA-256 of SPKI; findings: of those who counted; vouched: of TPMs."""

    uses: dict[str, Use] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    vouched: list[Vouched] = field(default_factory=list)


def add_counts(parser: argparse.ArgumentParser) -> None:
    """Who says how often a key was used."""
    uses = parser.add_argument_group(
        "how often a key was used", "KEY: sha256:… of SPKI, or a file with its certificate"
    )
    uses.add_argument(
        "--counter",
        metavar="KEY=N",
        action="append",
        default=[],
        help="a number that an operator read: a counter, an HSM's own log (repeat)",
    )
    uses.add_argument(
        "--openbao", metavar="FILE", action="append", default=[], help="OpenBao's file audit log (repeat)"
    )
    uses.add_argument(
        "--transit",
        metavar="MOUNT/NAME[@V]=KEY",
        action="append",
        default=[],
        help="a key in its transit engine, with its version (repeat)",
    )
    uses.add_argument(
        "--cloudtrail",
        metavar="FILE",
        action="append",
        default=[],
        help="a log file of CloudTrail, gzip or not (repeat)",
    )
    uses.add_argument(
        "--kms", metavar="ARN=KEY", action="append", default=[], help="a key of AWS KMS in CloudTrail's files (repeat)"
    )
    uses.add_argument(
        "--yubihsm",
        metavar="FILE",
        action="append",
        default=[],
        help="a YubiHSM 2's log as yubihsm-shell printed it, in order (repeat)",
    )
    uses.add_argument(
        "--yubihsm-key", metavar="ID=KEY", action="append", default=[], help="a key in it by its object id (repeat)"
    )
    uses.add_argument(
        "--tpm", metavar="FILE", action="append", default=[], help="the journal of an audited TPM (repeat)"
    )
    uses.add_argument(
        "--tpm-key",
        metavar="KEY",
        action="append",
        default=[],
        help="of its keys these alone (repeat; else all of them)",
    )
    uses.add_argument(
        "--tpm-nonce", metavar="HEX", type=nonce_of, help="the challenge that the TPMs must have answered"
    )
    uses.add_argument(
        "--attestation-key", metavar="DIGEST", action="append", default=[], help="sha256:… of those that vouch (repeat)"
    )
    add_home(parser, required=False)


def counted(args: argparse.Namespace) -> Counted:
    """What was said of each key; UsageError for a key that was counted twice."""
    from sealwright.errors import UsageError

    found = Counted()
    _by_hand(args, found)
    _by_openbao(args, found)
    _by_tpm(args, found)
    _by_cloudtrail(args, found)
    _by_yubihsm(args, found)
    if not found.uses and args.home is None:
        raise UsageError(
            "audit keys", "nothing says how often a key was used", "Give --counter, --tpm, or --openbao and --transit."
        )
    return found


def not_counted(home: str, intents: Mapping[str, int], uses: Collection[str]) -> list[str]:
    """A line for each key of a home that the log has intents of, and nobody counted: why that is so, by where it lives."""
    from sealwright.artifact.names import display
    from sealwright.envelope.algorithms import key_digest
    from sealwright.keys.uri import scheme_of
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    lines = []
    for key in open_home(home).keys:
        digest = str(key_digest(key.public_key))
        if not intents.get(digest) or digest in uses:
            continue
        match scheme_of(key.uri):
            case "pkcs11":
                why = say("audit.why-token")
            case "tpm":
                why = say("audit.why-tpm")
            case "transit":
                why = say("audit.why-transit")
            case "awskms":
                why = say("audit.why-awskms")
            case _:
                why = say("audit.why-file")
        place = display(key.uri.partition("?")[0])
        lines.append(
            say("audit.no-counter", name=display(key.name), place=place, why=why, intents=f"{intents[digest]:,}")
        )
    return lines


def _by_hand(args: argparse.Namespace, found: Counted) -> None:
    from sealwright.errors import UsageError
    from sealwright.log.usage import Use

    for text in args.counter:
        named, _, number = text.rpartition("=")
        if not named or not (number.isascii() and number.isdigit()) or len(number) > 18:
            raise UsageError("--counter", f"{text[:100]} does not read KEY=N", "Write release.pem=1742.")
        key = _key(named)
        if key in found.uses:
            raise UsageError("--counter", f"{named[:100]} has two numbers", "Give the one of this time.")
        found.uses[key] = Use("by hand", int(number))


def _by_openbao(args: argparse.Namespace, found: Counted) -> None:
    from sealwright.errors import UsageError
    from sealwright.log.usage import Use, openbao_uses

    names = dict(map(_transit, args.transit))
    if bool(args.openbao) is not bool(names):
        raise UsageError("--openbao", "it goes with --transit, which says whose keys its are", "Give both, or neither.")
    uses = {key: Use("OpenBao", 0) for key in names.values()}
    for path in args.openbao:
        for key, count in openbao_uses(path, names, args.since, args.until).items():
            uses[key] = Use("OpenBao", uses[key].times + count)
    _take(found, uses, "--openbao")


def _by_tpm(args: argparse.Namespace, found: Counted) -> None:
    from sealwright.errors import UsageError
    from sealwright.findings import reject
    from sealwright.keys.auditlines import read_lines
    from sealwright.log.canonical import time_text
    from sealwright.log.commandaudit import check_command_audit
    from sealwright.log.usage import Use

    only = {_key(one) for one in args.tpm_key}
    if not args.tpm and (args.tpm_nonce or args.attestation_key or only):
        raise UsageError("--tpm", "nothing is said of a TPM's journal", "Give it, or leave the other options out.")
    for path in args.tpm:
        audited = check_command_audit(path, read_lines(path), args.since, args.until, args.tpm_nonce)
        counts = {key: Use("TPM", audited.uses[key]) for key in audited.keys if not only or key in only}
        _take(found, counts, "--tpm")
        found.findings += audited.findings
        vouches = str(audited.attestation_key)
        if args.attestation_key and vouches not in args.attestation_key:
            wanted = " or ".join(args.attestation_key)
            found.findings.append(reject("SW-AUDIT-TPM-OTHER", path, wanted=wanted, found=vouches))
        found.vouched.append(Vouched(path, vouches, time_text(audited.begun) if audited.begun else ""))
    if missing := only - found.uses.keys():
        raise UsageError("--tpm-key", f"{min(missing)} is in no journal", "Name a key that `key begin-audit` entered.")


def _by_cloudtrail(args: argparse.Namespace, found: Counted) -> None:
    from sealwright.errors import UsageError
    from sealwright.log.cloudtrail import cloudtrail_uses
    from sealwright.log.usage import Use

    names = {}
    for text in args.kms:
        arn, _, named = text.partition("=")
        if not arn.startswith("arn:") or ":key/" not in arn or not named:
            raise UsageError("--kms", f"{text[:100]} does not read ARN=KEY", "Write arn:aws:kms:…:key/…=release.pem.")
        names[arn] = _key(named)
    if bool(args.cloudtrail) is not bool(names):
        raise UsageError("--cloudtrail", "it goes with --kms, which says whose keys its are", "Give both, or neither.")
    counts = cloudtrail_uses(args.cloudtrail, names, args.since, args.until)
    _take(found, {key: Use("CloudTrail", counts[key]) for key in names.values()}, "--cloudtrail")


def _by_yubihsm(args: argparse.Namespace, found: Counted) -> None:
    from sealwright.errors import UsageError
    from sealwright.log.usage import Use
    from sealwright.log.yubihsm import yubihsm_uses

    names = {}
    for text in args.yubihsm_key:
        number, _, named = text.partition("=")
        if re.fullmatch(r"0x[0-9a-fA-F]{4}", number) is None or not named:
            raise UsageError("--yubihsm-key", f"{text[:100]} does not read ID=KEY", "Write 0x0065=release.pem.")
        names[int(number, 16)] = _key(named)
    if bool(args.yubihsm) is not bool(names):
        raise UsageError(
            "--yubihsm", "it goes with --yubihsm-key, which says whose keys its are", "Give both, or neither."
        )
    if names and (args.since or args.until):
        raise UsageError("--yubihsm", "its entries have no time", "Leave --since and --until out; choose its files.")
    collected = yubihsm_uses(args.yubihsm)
    found.findings += collected.findings
    _take(found, {key: Use("YubiHSM", collected.uses[id_]) for id_, key in names.items()}, "--yubihsm")


def _take(found: Counted, uses: Mapping[str, Use], option: str) -> None:
    from sealwright.errors import UsageError

    if twice := uses.keys() & found.uses.keys():
        raise UsageError(option, f"{min(twice)} is counted by another option too", "Leave one of both out.")
    found.uses.update(uses)


def _transit(text: str) -> tuple[TransitName, str]:
    from sealwright.errors import UsageError
    from sealwright.log.usage import TransitName

    place, _, named = text.partition("=")
    place, _, version = place.partition("@")
    mount, _, name = place.rpartition("/")
    if not (mount and name and named) or (
        version and not (version.isascii() and version.isdigit() and len(version) < 10)
    ):
        raise UsageError(
            "--transit", f"{text[:100]} does not read MOUNT/NAME@VERSION=KEY", "Write transit/release@1=release.pem."
        )
    return TransitName(mount, name, int(version or 0)), _key(named)


def _key(text: str) -> str:
    """The digest of a key as the log has it."""
    from sealwright.trust.intake import key_named

    return key_named(text)
