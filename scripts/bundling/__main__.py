"""Make the offline bundle of what is committed: wheels, a folder that runs from a stick, parts list, signed manifest.

Without --home it is signed with a development key, which says so. Exit code: 0 made, 1 not made, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bundling import bundle
from bundling.signed import Signer, development, signed
from bundling.source import uncommitted, unpacked
from sealwright.errors import SealwrightError

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Make it beside its place, sign it, rename it."""
    parser = argparse.ArgumentParser(prog="bundling", description=__doc__)
    parser.add_argument("--out", metavar="DIR", type=Path, default=ROOT / "dist", help="where the bundle goes (dist)")
    parser.add_argument("--cache", metavar="DIR", type=Path, default=ROOT / ".cache" / "bundle", help="fetched wheels")
    parser.add_argument("--revision", metavar="REV", default="HEAD", help="the commit to make it of (HEAD)")
    parser.add_argument("--home", metavar="DIR", type=Path, help="the signing home (else a development home)")
    parser.add_argument("--key", metavar="KEY", default="", help="its key (else its first)")
    parser.add_argument("--pin-file", metavar="FILE", default="", help="file with the token's PIN")
    args = parser.parse_args()
    try:
        return _make(args)
    except SealwrightError as cause:
        print(f"bundle: {cause}", file=sys.stderr)
        return 1


def _make(args: argparse.Namespace) -> int:
    if args.revision == "HEAD" and (changed := uncommitted(ROOT)):
        print(f"bundle: {len(changed)} uncommitted files are not in it, such as {changed[0]}", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=args.out) as making:
        commit = Path(making, "commit")
        commit.mkdir()
        source = unpacked(ROOT, args.revision, commit)
        folder = Path(making, bundle.name_of(source))
        bundle.made(source, folder, args.cache)
        signed(
            source, folder, Signer(args.home, args.key, args.pin_file) if args.home else development(source, args.cache)
        )
        place = args.out / folder.name
        for ending in ("", *bundle.BESIDE):
            _replace(folder.with_name(folder.name + ending), place.with_name(place.name + ending))
    size = subprocess.run(["du", "-sh", place], capture_output=True, text=True, check=True).stdout.split()[0]
    print(
        f"{os.path.relpath(place)}: {size}, of commit {source.commit[:12]}; to check it: {place.name}/HOW-TO-CHECK.txt"
    )
    return 0


def _replace(new: Path, old: Path) -> None:
    if old.is_dir():
        shutil.rmtree(old)
    new.replace(old)


if __name__ == "__main__":
    sys.exit(main())
