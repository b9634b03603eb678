"""Make a signing home: root, intermediate, signer and timestamp certificates, and a trust file for verifiers.

Without --token the keys are files: good for trying, and every verdict says so; no production trust file accepts them.
"""

from __future__ import annotations

import argparse

from sealwright.cli.arguments import add_json, add_pin_file, key_string, pin_of, timestamps_of

EXAMPLES = """examples:
  sealwright init home                                              a development home, keys in files
  sealwright init line3 --title "Line 3 releases" --organisation "ACME GmbH"
  sealwright init anna --person p-17                                Anna's own, whom the plant's trust file calls p-17
  sealwright init line3 --token pkcs11:token=line-3 --pin-file pin.txt      keys in a token
"""
KINDS = ("p256", "p384", "p521", "rsa3072", "rsa4096", "ed25519")


def configure(parser: argparse.ArgumentParser) -> None:
    """Where, for whom, and where the keys live."""
    parser.add_argument("folder", metavar="DIR", help="the new home; must not exist, or be empty")
    parser.add_argument("--title", metavar="TEXT", help="what the home is for and what its certificates are called")
    parser.add_argument("--organisation", metavar="TEXT", default="", help="named in the certificates")
    parser.add_argument(
        "--person",
        metavar="ID",
        help="whose home it is, by the id that the plant's trust file has (else release-engineer)",
    )
    parser.add_argument(
        "--token", metavar="KEY", type=key_string, help="pkcs11:token=… or tpm: that makes and keeps the keys"
    )
    parser.add_argument("--algorithm", choices=KINDS, default="p256", help="the kind of key")
    parser.add_argument(
        "--timestamp",
        metavar="URL|local|none",
        action="append",
        help="who proves the date of its signatures (else local: its own authority); repeat for a pool",
    )
    add_pin_file(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make it, and say what it is good for."""
    from datetime import UTC, datetime

    from sealwright.keys.key import KeyKind
    from sealwright.signing.init import DEFAULT_TITLE, ENGINEER, InitOptions, init_home

    options = InitOptions(
        now=datetime.now(UTC),
        title=args.title or DEFAULT_TITLE,
        organisation=args.organisation,
        token=args.token,
        kind=KeyKind(args.algorithm),
        pin=pin_of(args, args.token or ""),
        timestamp=timestamps_of(args.timestamp),
        person=ENGINEER if args.person is None else args.person,
    )
    home = init_home(args.folder, options)
    trust, anchors = home.path("trust.toml"), home.path("ca.pem")
    if args.json:
        from sealwright.cli.jsonout import line

        keys = [{"name": key.name, "purpose": key.purpose.value, "uri": home.uri(key)} for key in home.keys]
        print(line({"home": args.folder, "trust": trust, "ca": anchors, "development": home.development, "keys": keys}))
        return 0
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    folder = display(args.folder)
    print(say("init.made", home=folder, number=len(home.keys)))
    print("  " + (say("init.development") if home.development else say("init.token")))
    print("  " + say("init.trust", trust=display(trust)))
    print("  " + say("init.anchors", anchors=display(anchors)))
    print("  " + say("init.next", home=folder))
    return 0
