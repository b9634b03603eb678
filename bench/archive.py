"""Evidence records: verifying a file with one of four timestamps, and renewing many files with one timestamp.

    .venv/bin/python bench/archive.py

Peers, in the same run: `openssl ts -verify` of the record's four timestamps, a process each; and one `openssl ts -verify` for each
file, which is what proofs without a hash tree would cost to make and to check, were the authority for free.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from kit.archive import Story, day, stamp  # noqa: E402
from kit.pki import p7s  # noqa: E402
from sealwright.envelope.tsp import read_token  # noqa: E402
from sealwright.signing.proofs import Renewal, renew  # noqa: E402
from sealwright.trust.verify import Request, Verifier  # noqa: E402

FILES = 2000
ROUNDS = 5


def best(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The shortest of some runs, seconds."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    """Print the figures and ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        story = Story(folder).grown()
        at = day(2046)
        verifier = Verifier(story.trust(at), Request(clock=at))
        ours = best(lambda: verifier.verify(str(story.file)), 50)
        commands = []
        eras = (story.tsa_2026, story.tsa_2031, story.tsa_2036, story.tsa_2044)
        for number, (link, (pki, _)) in enumerate(zip(story.read().links, eras, strict=True)):
            token, anchors = folder / f"{number}.der", folder / f"{number}.pem"
            token.write_bytes(link.token)
            anchors.write_text(pki.root.pem)
            imprint = read_token(link.token, "link").imprint.value.hex()
            words = ["openssl", "ts", "-verify", "-token_in", "-in", str(token), "-CAfile", str(anchors)]
            commands.append([*words, "-no_check_time", "-digest", imprint])

        def theirs() -> None:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True)

        peer = best(theirs)
        print(
            f"verify with 4 timestamps: {ours * 1e3:.2f} ms; openssl ts -verify of them: {peer * 1e3:.1f} ms; {peer / ours:.1f} x"
        )
        many = folder / "many"
        many.mkdir()
        signer = story.maker.leaf("many")
        for number in range(FILES):
            (many / f"{number}.bin").write_bytes(b"%d" % number)
            (many / f"{number}.bin.p7s").write_bytes(p7s(signer, b"%d" % number))
        then = day(2027)
        asked = Renewal(story.trust(then), then, None)
        whole = best(lambda: list(renew([str(many)], asked, stamp(story.tsa_2026[1], then))), 1)
        one = best(lambda: subprocess.run(commands[0], check=True, capture_output=True))
        print(
            f"renew {FILES} files: {whole / FILES * 1e3:.2f} ms a file; one openssl ts -verify: {one * 1e3:.1f} ms; {one * FILES / whole:.1f} x"
        )


if __name__ == "__main__":
    main()
