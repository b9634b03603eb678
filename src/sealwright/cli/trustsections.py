"""The sections that `trust add` and `trust remove` know: the options of each kind, and how one is written into a draft."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from sealwright.artifact.grade import Grade
from sealwright.artifact.permit import PermitKind
from sealwright.cli.arguments import rfc3339

if TYPE_CHECKING:
    from sealwright.trust.draft import Draft
    from sealwright.trust.toml import Toml


def _anchor_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--name", metavar="TEXT", required=True, help="what rules call it")
    parser.add_argument("--environment", choices=("production", "test", "development"), required=True)
    parser.add_argument("--public", action="store_true", help="a public CA: counts only in rules that name the signer")


def _anchor(draft: Draft, args: argparse.Namespace) -> list[str]:
    der = _certificate(args)
    entry = {"name": args.name, "environment": args.environment, "certificate": _pem(der)}
    draft.add(("anchor",), entry | ({"public": True} if args.public else {}))
    return _compare(der)


def _plain_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)


def _plain_certificates(section: str) -> Callable[[Draft, argparse.Namespace], list[str]]:
    def add(draft: Draft, args: argparse.Namespace) -> list[str]:
        from sealwright.trust.intake import certificates_in

        said = []
        for der in certificates_in(args.certificate):
            draft.add((section,), {"certificate": _pem(der)})
            said += _compare(der)
        return said

    return add


def _authority_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--name", metavar="TEXT", required=True, help="what people call it")
    parser.add_argument("--key", metavar="KEY", help="only this key of it (digest, or file with key or certificate)")
    parser.add_argument(
        "--last-token", metavar="TIME", type=rfc3339, help="its last token that counts, once it has ended"
    )


def _authority(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import key_named

    der = _certificate(args)
    entry: dict[str, Toml] = {"name": args.name, "anchor": _pem(der)}
    entry |= {"key": key_named(args.key)} if args.key else {}
    draft.add(("authority",), entry | _time("last_token", args.last_token))
    return _compare(der)


def _person_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="a short name that never changes; one that is there is changed")
    parser.add_argument("--organisation", metavar="TEXT", help="whose person it is (needed for a new one)")
    parser.add_argument("--role", metavar="TEXT", action="append", default=[], help="what they do (may come again)")
    parser.add_argument(
        "--key", metavar="KEY", action="append", default=[], help="digest, or file with key or certificate"
    )
    parser.add_argument(
        "--certificate", metavar="CERT", action="append", default=[], help="digest, or certificate file"
    )
    parser.add_argument("--from", dest="since", metavar="TIME", type=rfc3339, help="what they sign counts from then")
    parser.add_argument(
        "--until", metavar="TIME", type=rfc3339, help="the day they leave: later proved signatures count not"
    )


def _person(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.intake import certificate_named, key_named

    lists = {
        "roles": args.role,
        "keys": [key_named(one) for one in args.key],
        "certificates": [certificate_named(one) for one in args.certificate],
    }
    times: dict[str, Toml] = _time("from", args.since) | _time("until", args.until)
    people = [entry.get("id") for entry in draft.values.get("person", [])]
    if args.id not in people:
        if not args.organisation:
            raise UsageError(args.id, "a new person needs an organisation", "Add --organisation TEXT.")
        entry: dict[str, Toml] = {"id": args.id, "organisation": args.organisation}
        draft.add(("person",), entry | {key: value for key, value in lists.items() if value} | times)
        return [say("trust-edit.person", id=args.id)]
    at = people.index(args.id)
    old = draft.values["person"][at]
    if args.organisation:
        times["organisation"] = args.organisation
    times |= {
        key: [*old.get(key, []), *(v for v in value if v not in old.get(key, []))]
        for key, value in lists.items()
        if value
    }
    for key, value in times.items():
        draft.set(("person",), at, key, value)
    return [say("trust-edit.person-changed", id=args.id)]


def _officer_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("person", metavar="ID", help="a person of the file")
    parser.add_argument("--key", metavar="FILE", required=True, help="their public key or certificate")
    parser.add_argument("--threshold", metavar="N", type=int, help="how many of them sign from now on")
    parser.add_argument("--recovery", action="store_true", help="a sealed recovery key instead")


def _officer(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.envelope.algorithms import key_digest
    from sealwright.texts.words import say
    from sealwright.trust.intake import public_key_in, public_pem

    key, section = public_key_in(args.key), "recovery" if args.recovery else "officers"
    draft.add((section, "key"), {"person": args.person, "key": public_pem(key)})
    if args.threshold is not None:
        draft.set((section,), 0, "threshold", args.threshold)
    return [say("trust-edit.key", digest=key_digest(key))]


def _crl_options(parser: argparse.ArgumentParser) -> None:
    _certificate_argument(parser)
    parser.add_argument("--min-number", metavar="N", type=int, help="the oldest list number that counts")
    parser.add_argument(
        "--max-age", metavar="PURPOSE=AGE", action="append", default=[], help="such as install=30d (may come again)"
    )


def _crl(draft: Draft, args: argparse.Namespace) -> list[str]:
    der = _certificate(args)
    entry: dict[str, Toml] = {"issuer": _pem(der)}
    if args.min_number is not None:
        entry["min_number"] = args.min_number
    if args.max_age:
        entry["max_age"] = {purpose: age for purpose, _, age in (one.partition("=") for one in args.max_age)}
    draft.add(("crl",), entry)
    return _compare(der)


def _note_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("vkey", metavar="VKEY", help="the line NAME+ID+KEY that its operator publishes")
    parser.add_argument("--name", metavar="TEXT", required=True, help="what people call it")


def _note(section: str) -> Callable[[Draft, argparse.Namespace], list[str]]:
    def add(draft: Draft, args: argparse.Namespace) -> list[str]:
        draft.add((section,), {"name": args.name, "vkey": args.vkey})
        return []

    return add


def _rule_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what verdicts call it")
    parser.add_argument("--environment", choices=("production", "test", "development"), required=True)
    for name, words in (
        ("anchor", "whose certificates count"),
        ("purpose", "what the signer's certificate must be for, such as updatePackageSigning"),
        ("subject", "the signer's exact subject (RFC 4514)"),
        ("person", "who must sign"),
        ("product", "the products it speaks of (none: any)"),
        ("format", "the formats it speaks of (none: any)"),
        ("hardware", "the hardware it speaks of"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", action="append", default=[], help=f"{words} (may come again)")
    parser.add_argument("--count", metavar="N", type=int, default=1, help="how many distinct signers")
    for name, words in (
        ("plant", "the anchor of the plant's signers, who must accept it too"),
        ("plant-person", "who may sign for the plant"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", action="append", default=[], help=f"{words} (may come again)")
    parser.add_argument(
        "--plant-count", metavar="N", type=int, default=1, help="how many (0: they sign receiving records, and no more)"
    )
    parser.add_argument(
        "--grade",
        choices=tuple(Grade),
        action="append",
        default=[],
        help="receiving records that stand in for a maker's signature (may come again)",
    )
    parser.add_argument("--timestamp", choices=("required", "optional"), default="optional")
    parser.add_argument("--fresh-for", metavar="AGE", help="how old the trust file may be to install, such as 90d")
    parser.add_argument("--grace", metavar="AGE", help="how much longer with a warning")
    parser.add_argument("--contact", metavar="TEXT", help="whom to call, for those who are refused")


def _rule(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.cli.trusttext import sentence

    signer: dict[str, Toml] = {"slot": "maker", "anchors": args.anchor}
    lists = {"purposes": args.purpose, "subjects": args.subject, "persons": args.person}
    signer |= {key: value for key, value in lists.items() if value} | ({"count": args.count} if args.count != 1 else {})
    makers_sign = args.anchor or len(signer) > 2 or not args.grade  # else the receiving records alone count
    signers: list[Toml] = [signer] if makers_sign else []
    if args.plant:
        plant: dict[str, Toml] = {"slot": "plant", "anchors": args.plant, "persons": args.plant_person}
        counted = {"count": args.plant_count} if args.plant_count != 1 else {}
        signers.append({key: value for key, value in plant.items() if value} | counted)
    entry: dict[str, Toml] = {"name": args.name, "environment": args.environment}
    lists = {"grades": args.grade, "products": args.product, "formats": args.format, "hardware": args.hardware}
    entry |= {key: value for key, value in lists.items() if value} | {"timestamp": args.timestamp}
    words = {"fresh_for": args.fresh_for, "grace": args.grace, "contact": args.contact}
    entry |= {key: value for key, value in words.items() if value}
    draft.add(("rule",), entry | {"signer": signers})
    draft.checked()
    return [sentence(draft.trust.rules[-1])]


def _permit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what verdicts call it")
    parser.add_argument(
        "--kind",
        dest="permit_kinds",
        choices=tuple(PermitKind),
        action="append",
        required=True,
        help="which permits (may come again)",
    )
    for name, words in (
        ("person", "who may sign them"),
        ("product", "the products that they may be for (none: any)"),
        ("rule", "the rules that they may be for (none: any)"),
        ("follow-up", "break-glass: who may look at it afterwards"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", action="append", default=[], help=f"{words} (may come again)")
    parser.add_argument("--threshold", metavar="N", type=int, default=1, help="how many different persons sign one")
    parser.add_argument("--longest", metavar="AGE", required=True, help="how long one may count, such as 12h")


def _permit(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.cli.trusttext import permit_sentence

    entry: dict[str, Toml] = {"name": args.name, "kinds": args.permit_kinds, "persons": args.person}
    entry |= {"threshold": args.threshold, "longest": args.longest}
    lists = {"products": args.product, "rules": args.rule, "follow_up": args.follow_up}
    draft.add(("permit",), entry | {key: value for key, value in lists.items() if value})
    draft.checked()
    return [permit_sentence(draft.trust.permits[-1])]


def _deny_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("key", "certificate", "artifact", "serial", "product"))
    parser.add_argument(
        "thing", metavar="THING", help="a digest, a file with the key or certificate, a serial, a product"
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, in words that the plant understands")
    parser.add_argument(
        "--since", metavar="TIME", type=rfc3339, help="key, certificate: what is proved older still counts"
    )
    parser.add_argument("--format", metavar="NAME", help="artifact: of this format only")
    parser.add_argument("--below", metavar="N", type=int, help="product: every generation below")
    parser.add_argument("--issuer", metavar="CERT", help="serial: its issuer's certificate")


def _deny(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import certificate_named, key_named

    thing = {"key": key_named, "certificate": certificate_named}.get(args.what, str)(args.thing)
    entry: dict[str, Toml] = {args.what: thing}
    if args.issuer is not None:
        from sealwright.trust.intake import certificate_in

        entry["issuer"] = _pem(certificate_in(args.issuer))
    entry |= {"format": args.format} if args.format else {}
    entry |= {"below": args.below} if args.below is not None else {}
    draft.add(("deny",), entry | _time("since", args.since) | {"reason": args.reason})
    return [f"{args.what} {thing}"]


def _evidence_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("key", metavar="KEY", help="digest, or file with key or certificate")
    parser.add_argument(
        "--provenance",
        choices=("hardware-attested", "hardware-claimed", "hardware-imported", "service-held"),
        required=True,
    )
    parser.add_argument("--reason", metavar="TEXT", help="why (needed for hardware-imported and service-held)")
    parser.add_argument(
        "--review",
        metavar="TIME",
        type=rfc3339,
        help="when to look again (needed for hardware-imported and service-held)",
    )


def _evidence(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.trust.intake import key_named

    entry: dict[str, Toml] = {"key": key_named(args.key), "provenance": args.provenance}
    entry |= {"reason": args.reason} if args.reason else {}
    draft.add(("evidence",), entry | _time("review", args.review))
    return [str(entry["key"])]


def _minimum_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("product", metavar="PRODUCT")
    parser.add_argument("generation", metavar="GENERATION", type=int, help="the lowest that may be installed")


def _minimum(draft: Draft, args: argparse.Namespace) -> list[str]:
    draft.set(("minimum",), 0, args.product, args.generation)
    return []


def _repository_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "root", metavar="ROOT", help="its 1.root.json, or the SHA-256 of that as `sha256:…`; nothing else is followed"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="of a further one, such as the plant's own beside the maker's (default: the one)"
    )


def _repository(draft: Draft, args: argparse.Namespace) -> list[str]:
    from sealwright.errors import UsageError
    from sealwright.texts.words import say
    from sealwright.trust.repositoryroot import read_first_root, root_digest
    from sealwright.trust.words import groups

    said = []
    if args.root.startswith("sha256:"):
        digest = root_digest(args.root)
    else:
        root = read_first_root(args.root)
        digest = root.digest
        said.append(say("trust-edit.root", keys=root.keys, threshold=root.threshold))
    named = {one["name"]: one["root"] for one in draft.values.get("repository", [])}
    before = draft.values.get("tuf_root") if args.name is None else named.get(args.name)
    if before not in (None, str(digest)):
        raise UsageError(
            args.file,
            f"it names another repository, {before}",
            f"If it is to change: sealwright trust remove {args.file} repository {args.name or before}",
        )
    if args.name is None:
        draft.set((), 0, "tuf_root", str(digest))
    elif before is None:
        draft.add(("repository",), {"name": args.name, "root": str(digest)})
    return [*said, say("trust-edit.compare-root"), "  " + groups(digest)]


Options = Callable[[argparse.ArgumentParser], None]


Change = Callable[["Draft", argparse.Namespace], "list[str]"]


KINDS: dict[str, tuple[str, Options, Change]] = {
    "anchor": ("a certificate where paths end: a maker's root, as its maker gave it", _anchor_options, _anchor),
    "intermediate": ("certificates that signatures leave out", _plain_options, _plain_certificates("intermediate")),
    "certificate": (
        "certificates of signers whose signatures carry none",
        _plain_options,
        _plain_certificates("certificate"),
    ),
    "authority": ("whose timestamps count", _authority_options, _authority),
    "person": ("a person, or more about one (`--until` when they leave)", _person_options, _person),
    "officer": ("who signs the next versions", _officer_options, _officer),
    "crl-issuer": ("whose revocation lists must be there", _crl_options, _crl),
    "log": ("a signing log's key", _note_options, _note("log")),
    "witness": ("the key of one who watches logs", _note_options, _note("witness")),
    "rule": ("who may sign what; it begins in mode audit", _rule_options, _rule),
    "repository": (
        "the repository that devices get releases from, by its first root",
        _repository_options,
        _repository,
    ),
    "permit": ("who may let one device do what the rules refuse", _permit_options, _permit),
    "deny": ("what is refused from now on", _deny_options, _deny),
    "evidence": ("where a key lives, when its certificate does not say", _evidence_options, _evidence),
    "minimum": ("the lowest generation of a product", _minimum_options, _minimum),
}

EXAMPLES: dict[str, str] = {
    "anchor": "anchor maker.pem --name acme --environment production",
    "intermediate": "intermediate acme-signing-ca.pem",
    "certificate": "certificate module-signer.pem",
    "authority": 'authority tsa-root.pem --name "acme timestamps"',
    "person": 'person p-17 --organisation "Nordhof bakery" --certificate anna.pem',
    "officer": "officer mia --key mia.pem --threshold 2",
    "crl-issuer": "crl-issuer acme-root.pem --max-age install=30d",
    "log": "log log.example+5d1b3f5c+AQ --name log.example",
    "witness": "witness witness.example+5d1b3f5c+AQ --name witness.example",
    "rule": 'rule "drive firmware" --environment production --anchor acme --purpose updatePackageSigning',
    "permit": 'permit "night shift" --kind break-glass --person p-17 --longest 12h --follow-up p-3 --follow-up p-4',
    "repository": "repository desk/public/metadata/1.root.json",
    "deny": 'deny key stolen.pem --reason "laptop stolen on 3 May"',
    "evidence": "evidence cima.pem --provenance hardware-claimed",
    "minimum": 'minimum "VX-200 drive" 7',
}


# Where each section's entries lie, and the keys by which one of them is called.
NAMED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "anchor": (("anchor",), ("name",)),
    "intermediate": (("intermediate",), ()),
    "certificate": (("certificate",), ()),
    "authority": (("authority",), ("name",)),
    "person": (("person",), ("id",)),
    "officer": (("officers", "key"), ("person",)),
    "recovery": (("recovery", "key"), ("person",)),
    "crl-issuer": (("crl",), ()),
    "log": (("log",), ("name",)),
    "witness": (("witness",), ("name",)),
    "rule": (("rule",), ("name",)),
    "permit": (("permit",), ("name",)),
    "deny": (("deny",), ("key", "certificate", "artifact", "product", "serial")),
    "evidence": (("evidence",), ("key",)),
    "minimum": (("minimum",), ()),
    "repository": (("repository",), ("name", "root")),
}


def _certificate_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERT", help="the certificate: PEM, DER or PKCS#7")


def _certificate(args: argparse.Namespace) -> bytes:
    from sealwright.trust.intake import certificate_in

    return certificate_in(args.certificate)


def _pem(der: bytes) -> str:
    from sealwright.trust.intake import pem_of

    return pem_of(der)


def _compare(der: bytes) -> list[str]:
    """What two people read to each other over the telephone."""
    from sealwright.artifact.digest import Digest
    from sealwright.texts.words import say
    from sealwright.trust.certificate import display_name, load_certificate
    from sealwright.trust.words import groups

    loaded = load_certificate(der, "certificate")
    start, end = (f"{one:%Y-%m-%d}" for one in (loaded.not_valid_before_utc, loaded.not_valid_after_utc))
    said = [say("trust-edit.subject", subject=display_name(loaded.subject), start=start, end=end)]
    if loaded.subject != loaded.issuer:
        said.append(say("trust-edit.issuer", issuer=display_name(loaded.issuer)))
    return [*said, say("trust-edit.compare"), "  " + groups(Digest.of(der))]


def _time(key: str, time: datetime | None) -> dict[str, Toml]:
    return {} if time is None else {key: time.replace(microsecond=0)}
