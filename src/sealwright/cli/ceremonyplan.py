"""`ca ceremony plan`: writing the plan that people review, or one that is filled, to rehearse with."""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_json, key_string
from sealwright.cli.ceremonyscreen import persons, plan_object

OPTIONAL = ("timestamp", "ocsp", "device-key")
USUAL = ("timestamp", "ocsp")
KINDS = ("p256", "p384", "p521", "rsa3072", "rsa4096", "ed25519")
DEVICE_KINDS = (*KINDS, "rsa3072-pss", "rsa4096-pss")
DEVICE_FORMATS = ("file", "mcuboot", "fit", "esp32")


def configure_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("plan", metavar="PLAN", help="the new file")
    plan.add_argument(
        "--example",
        action="store_true",
        help="a filled plan to rehearse with: officers and a witness get development homes beside it",
    )
    plan.add_argument("--title", metavar="TEXT", help="what the new home is for")
    plan.add_argument("--organisation", metavar="TEXT", help="named in the certificates (else the title)")
    plan.add_argument(
        "--officer",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="a person and their public key or certificate",
    )
    plan.add_argument("--threshold", metavar="M", type=int, default=0, help="how many of them must attend and sign")
    plan.add_argument(
        "--witness",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="somebody who watches, is no officer, and signs",
    )
    plan.add_argument(
        "--witness-threshold", metavar="M", type=int, default=0, help="how many witnesses must attend (else all)"
    )
    plan.add_argument("--root", metavar="NAME", help="common name of the root")
    plan.add_argument(
        "--intermediate",
        metavar="NAME",
        action="append",
        default=[],
        help="common name of an authority below it; the last one certifies what is below them",
    )
    plan.add_argument(
        "--cross-sign",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="the certificate of another root that the new one vouches for",
    )
    plan.add_argument(
        "--token",
        metavar="KEY",
        type=key_string,
        default="files",
        help="pkcs11:token=… or tpm: (else development files)",
    )
    plan.add_argument("--algorithm", choices=KINDS, default="p256", help="the kind of key")
    plan.add_argument(
        "--step", choices=OPTIONAL, action="append", help="beside both authorities and lists (else timestamp and ocsp)"
    )
    plan.add_argument("--device-format", choices=DEVICE_FORMATS, default="", help="what checks the device key")
    plan.add_argument("--device-algorithm", choices=DEVICE_KINDS, default="", help="the device key's kind")
    plan.add_argument(
        "--device-key",
        metavar="KEY",
        type=key_string,
        default="",
        help="a device key that was made before the ceremony",
    )
    copies = plan.add_mutually_exclusive_group()
    copies.add_argument("--accept-single-copy", metavar="REASON", default="", help="why one device key is enough")
    copies.add_argument(
        "--second-copy", action="store_true", help="a second copy will be shown when it is run (as usual)"
    )
    add_json(plan)
    plan.set_defaults(run=run_plan)


def run_plan(args: argparse.Namespace) -> int:
    """Write it."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import write_atomic
    from sealwright.signing.ceremonyplan import Draft, parse_plan, plan_text
    from sealwright.texts.words import say

    if args.example:
        return _example(args)
    _check_named(args)
    device = ("device_format", "device_algorithm", "device_key", "accept_single_copy", "second_copy")
    steps = {*(args.step or USUAL)} | ({"device-key"} if any(getattr(args, name) for name in device) else set())
    draft = Draft(
        title=args.title,
        organisation=args.organisation or args.title,
        root=args.root,
        intermediates=args.intermediate,
        officers=[_person("--officer", text) for text in args.officer],
        threshold=args.threshold,
        witnesses=[_person("--witness", text) for text in args.witness],
        witness_threshold=args.witness_threshold,
        cross_sign=[_other_root(text) for text in args.cross_sign],
        keys=args.token,
        algorithm=args.algorithm,
        steps=sorted(steps),
        device_format=args.device_format,
        device_algorithm=args.device_algorithm,
        device_key=args.device_key,
        accept_single_copy=args.accept_single_copy,
    )
    data = plan_text(draft).encode()
    write_atomic(args.plan, data)
    plan = parse_plan(data, args.plan)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(plan_object(plan) | {"path": args.plan}))
        return 0
    path = display(args.plan)
    print(
        say("ceremony.planned", title=plan.title, threshold=plan.officers.threshold, persons=persons(plan), path=path)
    )
    if 2 * plan.officers.threshold <= len({key.person for key in plan.officers.keys}):
        print("  " + say("ceremony.minority"))
    if plan.accept_single_copy:
        print("  " + say("ceremony.single-copy", reason=plan.accept_single_copy))
    print("  " + say("ceremony.planned-next", path=path))
    return 0


def _example(args: argparse.Namespace) -> int:
    """A rehearsal: plan, homes of those who attend, and what to type."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.signing.rehearsal import make_rehearsal
    from sealwright.texts.words import say

    rehearsal = make_rehearsal(args.plan, datetime.now(UTC))
    if args.json:
        from sealwright.cli.jsonout import line

        told = {"homes": list(rehearsal.homes), "next": list(rehearsal.commands)}
        print(line(plan_object(rehearsal.plan) | {"path": args.plan} | told))
        return 0
    print(say("ceremony.rehearsal", path=display(args.plan), homes=", ".join(display(one) for one in rehearsal.homes)))
    for command in rehearsal.commands:
        print("  " + command)
    return 0


def _check_named(args: argparse.Namespace) -> None:
    from sealwright.errors import UsageError

    for name in ("title", "officer", "threshold", "root", "intermediate"):
        if not getattr(args, name):
            raise UsageError(f"--{name}", "it is missing", "Name it, or see one that is filled with --example.")


def _person(option: str, text: str) -> tuple[str, str]:
    from sealwright.trust.intake import public_key_in, public_pem

    person, path = _named_file(option, text)
    return person, public_pem(public_key_in(path))


def _other_root(text: str) -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from sealwright.signing.enrol import read_certificates

    name, path = _named_file("--cross-sign", text)
    der, _ = read_certificates(path)
    return name, x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


def _named_file(option: str, text: str) -> tuple[str, str]:
    from sealwright.errors import UsageError

    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise UsageError(option, f"{text[:80]!r} is not ID=FILE", f"Write it like {option} eva=eva.pem")
    return name, path
