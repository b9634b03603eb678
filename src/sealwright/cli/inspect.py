"""Show what a file is: signatures inside it, signature, timestamp, log proof, certificate, revocation list, manifest, trust file, or plain content.

Nothing is judged: what is shown may be forged. `sealwright verify` judges.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_json, add_layout, layouts_of

if TYPE_CHECKING:
    from sealwright.artifact.source import OpenArtifact
    from sealwright.cli.describe import Description
    from sealwright.formats.layouttext import Layout

EXAMPLES = """examples:
  sealwright inspect drive.bin.p7s                 who signed, when by their own word, with which certificate
  sealwright inspect project.manifest trust.toml ca.pem
  sealwright inspect signed.efi                    its signatures, and which bytes they leave out
  sealwright inspect drive.hex                     its digest, and that of the memory image which it stands for
  sealwright inspect drive.bin.ers                 its archive timestamps: when, by whom, where in the file
  sealwright inspect drive.bin --json
  sealwright inspect signed.bin --layout acme.layout
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The paths and the form."""
    parser.add_argument("paths", nargs="+", metavar="FILE", help="file or folder to look at")
    add_layout(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Describe each path; 1 if one of them could not be read."""
    from sealwright.artifact.names import display
    from sealwright.errors import SealwrightError
    from sealwright.texts.words import say

    layouts = layouts_of(args)
    failed = 0
    for path in args.paths:
        try:
            description = look(path, layouts)
        except SealwrightError as cause:
            failed += 1
            if args.json:
                from sealwright.cli.jsonout import error_object, line

                print(line({"path": path, "judged": False, "error": error_object(cause)}))
            print(f"sealwright: {display(str(cause))}", file=sys.stderr)
            continue
        if args.json:
            from sealwright.cli.jsonout import line

            print(line({"path": path, "judged": False, **_object(description)}))
        else:
            print(f"{display(path)}: {display(description.kind)}")
            _print(description, "  ")
    if not args.json:
        print(say("inspect.not-judged"))
    return 1 if failed else 0


def look(path: str, layouts: tuple[Layout, ...] = ()) -> Description:
    """What lies at a path; SealwrightError where it cannot be read, or begins like a kind that it then is not."""
    from sealwright.artifact.digest import HashName
    from sealwright.artifact.source import open_artifact
    from sealwright.cli.describe import MAX_BYTES, Description, describe, inside, known_start
    from sealwright.formats.embedded import extract_embedded, recognise, signed_beside
    from sealwright.formats.format import Search
    from sealwright.texts.words import say

    if os.path.isdir(path):
        return Description(say("kind.folder"), tuple(_beside(path)))
    with open_artifact(path) as source:
        if source.size <= MAX_BYTES and known_start(source.read_at(0, 64)):
            description = describe(source.read(MAX_BYTES), os.path.basename(path))
            if description is not None:
                return description
        search = Search(source=source, layouts=layouts)
        forms = [form for form in (recognise(source, layouts), *signed_beside(path, search)) if form is not None]
        if forms:
            shown = [
                inside(extract_embedded(path, form, search)._replace(size=source.size), form.name) for form in forms
            ]
            parts = (*shown[0].parts, *shown[1:])
            return Description(shown[0].kind, (*shown[0].facts, *_beside(path)), parts)
        digest = source.digests((HashName.SHA256,))[HashName.SHA256]
        facts = [("size", say("fact.size", size=f"{source.size:,}")), ("digest", str(digest)), *_memory(source)]
    facts += _beside(path)
    return Description(say("kind.file"), tuple(facts))


def _memory(source: OpenArtifact) -> list[tuple[str, str]]:
    """The memory image that a file of records stands for: what a device holds of it, and what no signature of its text names."""
    from sealwright.artifact.digest import HashName
    from sealwright.errors import SealwrightError
    from sealwright.formats.hexfile import read_memory, syntax_of
    from sealwright.texts.words import say

    if (syntax := syntax_of(source)) is None:
        return []
    try:
        memory = read_memory(source, (HashName.SHA256,))
    except SealwrightError as cause:
        return [("format", syntax.value), ("memory image", say("fact.not-usable", why=cause.what))]
    shown = say(
        "fact.memory", start=f"{memory.start:#x}", end=f"{memory.end:#x}", size=f"{memory.size:,}", gaps=memory.gaps
    )
    return [
        ("format", syntax.value),
        ("memory image", shown),
        ("memory digest", str(memory.digests[HashName.SHA256])),
    ]


def _beside(path: str) -> list[tuple[str, str]]:
    """The signature files that lie beside an artifact."""
    from sealwright.formats.known import BESIDE
    from sealwright.formats.sidecar import MANIFEST_SUFFIX as SUFFIX
    from sealwright.formats.sidecar import PROOF_SUFFIXES, STATEMENT_SUFFIXES, SUFFIXES
    from sealwright.texts.words import say

    plain = path.rstrip("/" + os.sep) or path
    wanted = [".tsr", ".ers", SUFFIX + ".ers", SUFFIX, *SUFFIXES.values()]
    wanted += [SUFFIX + suffix for suffix in SUFFIXES.values()]
    wanted += [*PROOF_SUFFIXES.values(), *(SUFFIX + suffix for suffix in PROOF_SUFFIXES.values())]
    for statement in STATEMENT_SUFFIXES:
        wanted += [statement, f"{statement}.p7s", f"{statement}.tsr", f"{statement}.tlog-proof"]
    wanted += [ending for endings in BESIDE.values() for ending in endings]
    found = [os.path.basename(plain) + suffix for suffix in wanted if os.path.lexists(plain + suffix)]
    return [("beside it", ", ".join(found) or say("fact.no-signature"))]


def _print(description: Description, indent: str) -> None:
    from sealwright.artifact.names import display
    from sealwright.texts.listing import LABELS

    width = max((len(LABELS[name]) for name, _ in description.facts), default=0)
    for name, value in description.facts:
        print(f"{indent}{LABELS[name]:<{width}}  {display(value)}")
    for part in description.parts:
        print(f"{indent}{display(part.kind)}")
        _print(part, indent + "  ")


def _object(description: Description) -> dict[str, object]:
    facts = [{"name": name, "value": value} for name, value in description.facts]
    return {"kind": description.kind, "facts": facts, "parts": [_object(part) for part in description.parts]}
