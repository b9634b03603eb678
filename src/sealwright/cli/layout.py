"""Check a layout, the description of firmware under a header of its maker's own: what it says in words, and what an image is by it.

Nothing is judged: `sealwright verify` judges, by the layouts that the trust file names.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sealwright.cli.arguments import add_action, add_json

if TYPE_CHECKING:
    from sealwright.formats.layoutplaced import Placed
    from sealwright.formats.layouttext import Layout, Part

EXAMPLES = """examples:
  sealwright layout check acme.layout                        is it one, and what does it say?
  sealwright layout check acme.layout image.bin              which bytes are signed, what they claim, how openssl checks it
  sealwright layout check acme.layout image.bin --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The one action."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = add_action(
        commands, "check", "read a layout, and an image by it; exit code 1 where either is wrong", EXAMPLES
    )
    check.add_argument("file", metavar="LAYOUT", help="the layout, a text that begins with `# sealwright layout 1`")
    check.add_argument("image", metavar="IMAGE", nargs="?", help="a file of it, signed or not")
    add_json(check)
    check.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Say what the layout says, then what the image is."""
    from sealwright.artifact.source import open_artifact, read_file
    from sealwright.formats.format import Coverage
    from sealwright.formats.layout import check_image
    from sealwright.formats.layoutplaced import is_signed
    from sealwright.formats.layouttext import MAX_BYTES, Role, parse_layout

    layout = parse_layout(read_file(args.file, MAX_BYTES), args.file)
    said: dict[str, object] = {"path": args.file, "judged": False, **_layout_object(layout)}
    lines = _layout_lines(args.file, layout)
    if args.image is not None:
        from sealwright.cli.jsonout import claims_object
        from sealwright.cli.layoutcommands import commands

        with open_artifact(args.image) as source:
            placed, claims = check_image(layout, source)
            signed = is_signed(source, placed)
            start, end = placed.span(Role.SIGNATURE) or (0, 0)
            shell = commands(args.image, placed, source.read_at(start, end - start)) if signed else []
        coverage: Coverage = placed.coverage
        said["image"] = {
            "path": args.image,
            "size": placed.size,
            "signed": signed,
            "claims": claims_object(claims),
            "coverage": [
                {"start": one.start, "end": one.end, "extent": one.extent.value, "reason": one.reason}
                for one in coverage.ranges
            ],
            "commands": shell,
        }
        lines += _image_lines(args.image, placed, claims_object(claims), shell)
    if args.json:
        from sealwright.cli.jsonout import line

        print(line(said))
    else:
        print("\n".join(lines))
    return 0


def _layout_object(layout: Layout) -> dict[str, object]:
    return {
        "name": layout.name,
        "title": layout.title,
        "digest": str(layout.text_digest),
        "hash": layout.digest.value,
        "scheme": layout.scheme.value,
        "encoding": layout.encoding.value,
        "parts": [
            {"from": str(part.start), "to": str(part.end), "is": part.role.value, "reason": part.reason}
            for part in layout.parts
        ],
        "claims": [{"claim": one.claim, "at": str(one.spot.at), "field": str(one.field)} for one in layout.claims],
    }


def _layout_lines(path: str, layout: Layout) -> list[str]:
    from sealwright.artifact.names import display
    from sealwright.formats.layoutvalue import algorithm_of
    from sealwright.texts.words import say

    lines = [
        say("layout.head", path=display(path), title=display(layout.title), name=layout.name),
        "  " + say("layout.digest", digest=layout.text_digest),
        "  " + say("layout.rule", name=layout.name),
    ]
    lines += ["  " + say("layout.magic", at=one.spot.at, data=one.data.hex(" ")) for one in layout.magic]
    for length in layout.lengths:
        words = {"name": length.name, "number": length.number, "at": length.spot.at, "unit": length.unit}
        lines.append("  " + (say("layout.length", **words) if length.unit == 1 else say("layout.length-unit", **words)))
    lines += ["  " + say("layout.part", start=part.start, end=part.end, what=_what(part)) for part in layout.parts]
    signature = {"algorithm": algorithm_of(layout).name, "encoding": layout.encoding, "size": layout.signature_bytes}
    lines.append("  " + say("layout.signature", **signature))
    if layout.payload_digest is not None:
        spot, name = layout.payload_digest
        lines.append("  " + say("layout.payload-digest", digest=name, at=spot.at))
    lines += ["  " + say("layout.claim", claim=one.claim, at=one.spot.at, field=one.field) for one in layout.claims]
    lines += ["  " + say("layout.constant", at=at, data=data.hex(" ")) for at, data in layout.constants]
    lines += ["  " + say("layout.run", start=run.start, end=run.end, byte=f"{run.byte:#04x}") for run in layout.runs]
    return [display(one) for one in lines]


def _what(part: Part) -> str:
    from sealwright.formats.layouttext import Role
    from sealwright.texts.words import say

    match part.role:
        case Role.FILL:
            what = say("layout.part.fill", byte=f"{part.byte:#04x}")
        case Role.UNCOVERED:
            what = say("layout.part.uncovered", reason=part.reason)
        case Role.PAYLOAD:
            what = say("layout.part.payload")
        case Role.STORED_DIGEST:
            what = say("layout.part.stored")
        case Role.SIGNATURE:
            what = say("layout.part.signature")
        case Role.HASHED:
            what = say("layout.part.hashed")
    if part.hashed_as is None:
        return what
    return say("layout.hashed-as", what=what, byte=f"{part.hashed_as:#04x}")


def _image_lines(path: str, placed: Placed, claims: dict[str, object], shell: list[str]) -> list[str]:
    from sealwright.artifact.names import display
    from sealwright.texts.words import say

    lines = [say("layout.image", path=display(path), size=f"{placed.size:,}", name=placed.layout.name)]
    for one in placed.coverage.ranges:
        words = {"start": one.start, "end": one.end, "extent": one.extent, "reason": one.reason}
        lines.append("  " + (say("details.covered-reason", **words) if one.reason else say("details.covered", **words)))
    for name, value in claims.items():
        if value not in (None, [], ()):
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            lines.append("  " + say("layout.says", claim=name, value=display(shown)))
    if not shell:
        return [*lines, "  " + say("layout.unsigned")]
    return [*lines, say("layout.by-hand"), *("  " + display(one) for one in shell)]
