"""List, create, show, certify and attest keys. Key strings: `pkcs11:` (RFC 7512), `tpm:PATH`, `transit:https://…` (Vault, OpenBao),
`awskms:arn:…`, `file:PATH` (development)."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from sealwright.cli import attestation, keyaudit, keyimport, keyreport
from sealwright.cli.arguments import FORMATS, add_action, add_home, add_json, add_pin_file, key_string, pin_of

if TYPE_CHECKING:
    from sealwright.keys.key import KeyInfo
    from sealwright.signing.home import EnrolledKey

EXAMPLES = """examples:
  sealwright key list --home home
  sealwright key list --token pkcs11:token=line-1 --pin-file pin.txt
  sealwright key create 'pkcs11:token=line-1;object=release' --algorithm p256 --pin-file pin.txt
  sealwright key csr 'pkcs11:token=line-1;object=release' --subject 'CN=Release 2026,O=ACME' > release.csr
  sealwright key import-certificate release.pem --home home --name line-1 --key 'pkcs11:token=line-1;object=release'
  sealwright key enrol mcuboot --home home                           a new key for a format with rules of its own
  sealwright key control-tree u-boot.dtb --home home --key fit --out control.dtb      U-Boot trusts this key from now on
  sealwright key enrol kmod --home home --name modules-2026 --algorithm rsa4096
  sealwright key import-certificate boot.pem --home home --name boot --construction digest:mcuboot --key file:boot.key
  sealwright key import-certificate --own-authority --home home --name line-2 --key 'pkcs11:token=line-1;object=line-2'
  sealwright key import boot.pem --home home --name boot --construction digest:mcuboot --copies 'laptop of Eva, until 2026-12-01'
  sealwright key import old.p12 --token pkcs11:token=line-1 --name old --password-file pass.txt --pin-file pin.txt
  sealwright key destroyed boot --home home --copy 'laptop of Eva, until 2026-12-01' --how 'disk erased and shredded'
  sealwright key check vendor.pem request.csr trust.toml           weak, published, or sharing a prime with another
  sealwright key check --home home --known-keys blacklist.RSA-2048 and which files such a key signed
  sealwright key report --home home --pin-file pin.txt --out keys.html
  sealwright key report --home home --offline --csv
  sealwright key show release --home home
  sealwright key create tpm:release.tss --pcrs sha256:0,7
  sealwright key attest tpm:release.tss --nonce 5eed... --out release.attestation       it lives in that TPM
  sealwright key check-attestation release.attestation --certificate release.pem --nonce 5eed...
  sealwright key begin-audit tpm:release.tss --journal tpm.audit                         its uses are written down from here on
  sealwright key attest-uses tpm:release.tss --nonce 5eed...                             and the TPM vouches for all of them
"""
KINDS = ("p256", "p384", "p521", "rsa3072", "rsa3072-pss", "rsa4096", "rsa4096-pss", "ed25519", "ml-dsa-44",
         "ml-dsa-65", "ml-dsa-87")  # fmt: skip
CONSTRUCTIONS = (
    "cms-attributes",
    "cms-bare:kmod",
    "digest:mcuboot",
    "digest:fit",
    "cms-bare:uefi-variable",
    "digest:layout",
    "cms-bare:verity",
    "cms-bare:fsverity",
    "digest:ima",
    "digest:esp32",
    "xmldsig",
)
ROLES = ("file", "configuration", "timestamp", "ocsp", "approval", "backup", "record", "report", "log", "repository")
PURPOSES = (
    "artifact",
    "timestamp",
    "trust",
    "certificates",
    "ocsp",
    "approval",
    "backup",
    "record",
    "report",
    "log",
    "repository",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """The commands."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = add_action(commands, "list", "the keys enrolled in a home, or those in a token", EXAMPLES)
    where = listing.add_mutually_exclusive_group(required=True)
    where.add_argument("--home", metavar="DIR", help="a signing home")
    where.add_argument(
        "--token", metavar="URI", type=key_string, help="a token, such as pkcs11:token=line-1, or a key service"
    )
    add_pin_file(listing)
    add_json(listing)
    listing.set_defaults(run=run_list)
    create = add_action(commands, "create", "create a key that never leaves its token, TPM or file", EXAMPLES)
    create.add_argument("key", metavar="KEY", type=key_string, help="key string that says where")
    create.add_argument(
        "--algorithm", choices=KINDS, metavar="KIND", default="p256", help=f"one of {', '.join(KINDS)} (else p256)"
    )
    create.add_argument("--pcrs", metavar="SET", help="bind a TPM's key to platform registers, such as sha256:0,7")
    add_pin_file(create)
    add_json(create)
    create.set_defaults(run=run_create)
    show = add_action(commands, "show", "open a key and show what its backend says of it", EXAMPLES)
    show.add_argument(
        "key", metavar="KEY", type=key_string, help="key string, or with --home the name of an enrolled key"
    )
    show.add_argument("--home", metavar="DIR", help="the signing home that enrolled it")
    add_pin_file(show)
    add_json(show)
    show.set_defaults(run=run_show)
    take = add_action(commands, "import-certificate", "enrol a key with the certificate a PKI issued for it", EXAMPLES)
    take.add_argument(
        "file", metavar="FILE", nargs="?", help="PEM: the key's certificate, then its path without the root"
    )
    take.add_argument(
        "--own-authority", action="store_true", help="it has no certificate: the home's authority issues one"
    )
    add_home(take)
    take.add_argument("--key", metavar="KEY", type=key_string, required=True, help="key string of the certified key")
    take.add_argument("--name", metavar="NAME", required=True, help="what it is called in the home")
    take.add_argument(
        "--construction",
        choices=CONSTRUCTIONS,
        metavar="KIND",
        default=CONSTRUCTIONS[0],
        help="the one thing its signatures are made for: cms-attributes (files, folders, every format signed with CMS; "
        f"the default), or what one format alone reads: {', '.join(CONSTRUCTIONS[1:])}",
    )
    take.add_argument("--purpose", choices=PURPOSES, default="artifact", help="the one thing it is for")
    keyimport.add_known(take)
    add_pin_file(take)
    add_json(take)
    take.set_defaults(run=run_import)
    _configure_enrol(commands)
    _configure_control_tree(commands)
    attestation.configure(commands, EXAMPLES)
    keyaudit.configure(commands, EXAMPLES)
    keyimport.configure(commands, EXAMPLES, CONSTRUCTIONS)
    keyreport.configure(commands, EXAMPLES)
    csr = add_action(commands, "csr", "print a certificate request for an existing PKI", EXAMPLES)
    csr.add_argument("key", metavar="KEY", type=key_string, help="key string")
    csr.add_argument("--subject", metavar="NAME", required=True, help="RFC 4514, such as CN=Release 2026,O=ACME")
    add_pin_file(csr)
    csr.set_defaults(run=run_csr)


def _configure_enrol(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from sealwright.formats.known import EMBEDDED

    names = (*EMBEDDED, "uefi-variable", *ROLES)
    make = add_action(commands, "enrol", "make a key for a format, certified by the home's own authority", EXAMPLES)
    make.epilog = f"{make.epilog}\n{FORMATS}  uefi-variable   updates of Secure Boot's variables (PK, KEK, db, dbx)\n"
    make.epilog += "  file, configuration                   plain files and folders; configurations and recipes\n"
    make.epilog += "  timestamp, ocsp, approval, backup     a house's own services, its approvers, its backups\n"
    make.epilog += "  record                                a station's records of what it verified\n"
    make.epilog += "  repository                            a role of a release repository (docs/release.md)\n"
    make.add_argument("format", choices=names, metavar="FORMAT", help=f"one of {', '.join(names)}")
    add_home(make)
    make.add_argument("--name", metavar="NAME", help="what it is called in the home (else the format's name)")
    make.add_argument(
        "--algorithm",
        choices=KINDS,
        metavar="KIND",
        help=f"one of {', '.join(KINDS)} that the format's verifiers read (else what most of them read)",
    )
    add_pin_file(make)
    add_json(make)
    make.set_defaults(run=run_enrol)


def _configure_control_tree(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tree = add_action(commands, "control-tree", "put a key as required into U-Boot's control tree", EXAMPLES)
    tree.add_argument("file", metavar="FILE", help="the device tree that is built into U-Boot")
    add_home(tree)
    tree.add_argument("--key", metavar="NAME", required=True, help="name of an enrolled key for FIT images")
    tree.add_argument("--out", metavar="OUT", required=True, help="the new tree; the old one is not changed")
    tree.add_argument("--replace", action="store_true", help="replace what is already there")
    add_json(tree)
    tree.set_defaults(run=run_control_tree)


def run_list(args: argparse.Namespace) -> int:
    """One line a key."""
    from sealwright.artifact.names import display
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    if args.token is not None:
        return _list_token(args)
    home = open_home(args.home)
    for key in home.keys:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line(_enrolled_object(key, home.uri(key))))
        else:
            print(say("key.enrolled", uri=display(key.uri), **_about(key)))
    return 0


def _list_token(args: argparse.Namespace) -> int:
    """The private keys in a token, and why one may not sign."""
    from sealwright.artifact.names import display
    from sealwright.keys.backends import list_keys
    from sealwright.texts.words import say

    keys = list_keys(args.token, pin_of(args, args.token))
    for key in keys:
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"name": key.label, "uri": key.uri, "provenance": key.provenance, "problem": key.problem}))
        else:
            seen = {"name": display(key.label), "provenance": key.provenance, "uri": display(key.uri)}
            refused = say("key.in-token-refused", problem=display(key.problem), **seen)
            print(refused if key.problem else say("key.in-token", **seen))
    if not keys and not args.json:
        print(say("key.none-in-token"))
    return 0


def run_create(args: argparse.Namespace) -> int:
    """Create it and say where it is."""
    from sealwright.errors import UsageError
    from sealwright.keys.backends import create_key
    from sealwright.keys.key import KeyKind

    if args.pcrs is not None:
        from sealwright.keys.tpm import create_tpm_key
        from sealwright.keys.uri import path_of, scheme_of

        if scheme_of(args.key) != "tpm":
            raise UsageError("--pcrs", "only a TPM has platform registers", "Name a tpm: key string, or leave it out.")
        info = create_tpm_key(path_of(args.key), KeyKind(args.algorithm), args.pcrs)
    else:
        info = create_key(args.key, KeyKind(args.algorithm), pin_of(args, args.key))
    _say(info, args)
    if not args.json:
        from sealwright.artifact.names import display
        from sealwright.texts.words import say

        print("  " + say("key.created-next", uri=display(args.key)))
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Open it (which checks it) and show what was found."""
    from sealwright.keys.backends import open_key

    if args.home is None:
        opened = open_key(args.key, pin_of(args, args.key))
    else:
        from sealwright.signing.home import open_home

        home = open_home(args.home)
        enrolled = named(home.keys, args.key)
        uri = home.uri(enrolled)
        opened = open_key(
            uri,
            pin_of(args, uri),
            algorithm=enrolled.algorithm,
            expected=enrolled.public_key,
            construction=enrolled.construction,
        )
    try:
        _say(opened.info, args)
    finally:
        opened.close()
    return 0


def run_enrol(args: argparse.Namespace) -> int:
    """Make, certify and enrol it, and say what its verifiers need."""
    import os
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.keys.key import KeyKind
    from sealwright.signing.enrol import enrol_for
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home = open_home(args.home)
    name, kind = args.name or args.format, KeyKind(args.algorithm) if args.algorithm else None
    pin = pin_of(args, home.keys[0].uri)
    key = enrol_for(home, args.format, name, pin, datetime.now(UTC), kind)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_enrolled_object(key, home.uri(key))))
        return 0
    print(say("key.imported", uri=display(key.uri), **_about(key)))
    beside = home.path("trust.d", f"{key.name}.pem")
    if args.format in ROLES[2:]:
        return 0
    if args.format != "uefi-variable" and os.path.exists(beside):
        print("  " + say("key.enrolled-beside", path=display(beside)))
    print("  " + _next(key, display(args.home), args.format))
    return 0


def _next(key: EnrolledKey, home: str, form: str = "") -> str:
    """What to type to sign with a new key. form: a format, else the first that wants signatures of its construction."""
    from sealwright.envelope.kinds import KINDS, Construction
    from sealwright.formats.known import EMBEDDED
    from sealwright.texts.words import say

    names = {"home": home, "name": key.name}
    if key.construction is Construction.UEFI_VARIABLE:
        return say("key.enrolled-next-variable", **names)
    if form in ("", *ROLES) and key.construction is Construction.CMS_ATTRIBUTES:
        return say("key.imported-next", **names)
    form = form or next(one for one, known in EMBEDDED.items() if KINDS[known.kind].construction is key.construction)
    return say("key.enrolled-next", format="layout --layout FILE.layout" if form == "layout" else form, **names)


def run_control_tree(args: argparse.Namespace) -> int:
    """Write the tree with the key in it."""
    from sealwright.artifact.names import display
    from sealwright.artifact.output import Output, Replace, write_batch
    from sealwright.envelope.kinds import Construction
    from sealwright.errors import KeyRefused
    from sealwright.formats.control_tree import with_required_key
    from sealwright.formats.fit_tree import key_name
    from sealwright.signing.home import open_home
    from sealwright.texts.words import say

    home = open_home(args.home)
    key = named(home.keys, args.key)
    if key.construction is not Construction.FIT:
        raise KeyRefused(
            f"key {key.name}",
            f"it is enrolled for {key.construction}, not for FIT images",
            "Make one with `sealwright key enrol fit`.",
        )
    parts = with_required_key(args.file, key.certificate, key.algorithm)
    write_batch([Output(args.out, parts)], replace=Replace.YES if args.replace else Replace.OFFERED)
    name = key_name(key.certificate)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line({"path": args.out, "key": key.name, "node": f"/signature/key-{name}"}))
        return 0
    print(say("key.required", path=display(args.out), name=display(key.name), node=f"/signature/key-{name}"))
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Enrol the key for one purpose, after finding that the certificate is its own."""
    from datetime import UTC, datetime

    from sealwright.artifact.names import display
    from sealwright.envelope.kinds import Construction
    from sealwright.errors import UsageError
    from sealwright.signing.enrol import enrol, enrol_certified
    from sealwright.signing.home import KeyPurpose, open_home
    from sealwright.texts.words import say

    if (args.file is None) is not args.own_authority:
        raise UsageError(
            "key import-certificate", "FILE and --own-authority stand for one another", "Give one of them."
        )
    home = open_home(args.home)
    pin, construction, purpose = pin_of(args, args.key), Construction(args.construction), KeyPurpose(args.purpose)
    known = keyimport.known_of(args)
    if args.own_authority:
        if purpose is not KeyPurpose.ARTIFACT:
            raise UsageError(
                f"--purpose {purpose}", "the home's authority certifies keys for artifacts", "Leave it out."
            )
        key = enrol_certified(home, args.name, args.key, pin, datetime.now(UTC), construction, known)
    else:
        key = enrol(home, args.name, args.key, purpose, args.file, pin, construction, known)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(_enrolled_object(key, home.uri(key))))
        return 0
    print(say("key.imported", uri=display(key.uri), **_about(key)))
    if key.purpose is KeyPurpose.ARTIFACT:
        print("  " + _next(key, display(args.home)))
    return 0


def run_csr(args: argparse.Namespace) -> int:
    """Print the request in PEM."""
    from sealwright.keys.backends import open_key
    from sealwright.pki.request import certificate_request

    key = open_key(args.key, pin_of(args, args.key))
    try:
        sys.stdout.write(certificate_request(key, args.subject).decode())
    finally:
        key.close()
    return 0


def named(keys: tuple[EnrolledKey, ...], name: str) -> EnrolledKey:
    """The enrolled key of that name or key string."""
    from sealwright.errors import UsageError

    for key in keys:
        if name in (key.name, key.uri):
            return key
    raise UsageError(
        f"key {name}", "it is not enrolled in this home", "See `sealwright key list`, or leave out --home."
    )


def _say(info: KeyInfo, args: argparse.Namespace) -> None:
    from sealwright.artifact.names import display
    from sealwright.envelope.algorithms import key_digest
    from sealwright.texts.words import say

    digest = str(key_digest(info.public_key))
    if args.json:
        from sealwright.cli.jsonout import line

        print(
            line(
                {
                    "uri": info.uri,
                    "key": digest,
                    "algorithm": info.algorithm.name,
                    "provenance": info.provenance.value,
                    "location": info.location,
                    "attributes": dict(info.attributes),
                }
            )
        )
        return
    print(display(info.uri))
    print("  " + display(info.location))
    print("  " + say("key.kind", algorithm=info.algorithm.name, provenance=info.provenance))
    print("  " + say("key.digest", digest=digest))
    for name, value in info.attributes:
        print("  " + say("key.attribute", name=display(name), value=display(value)))


def _about(key: EnrolledKey) -> dict[str, str]:
    from sealwright.artifact.names import display

    return {
        "name": display(key.name),
        "purpose": key.purpose.value,
        "algorithm": key.algorithm.name,
        "provenance": key.provenance.value,
    }


def _enrolled_object(key: EnrolledKey, uri: str) -> dict[str, object]:
    from sealwright.envelope.algorithms import key_digest

    return {
        "name": key.name,
        "uri": uri,
        "purpose": key.purpose.value,
        "construction": key.construction.value,
        "algorithm": key.algorithm.name,
        "provenance": key.provenance.value,
        "key": str(key_digest(key.public_key)),
    }
