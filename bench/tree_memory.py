"""Memory for the manifest of a tree of 1,000,000 files, a file: beyond the program itself, and with the manifest's text.

Usage: tree_memory.py [files]. The files are empty, in folders of 100, with names of 21 bytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

OURS = """
import resource, sys
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.artifact.manifest import manifest_bytes
from sealwright.artifact.tree import manifest_of_tree
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = most()
manifest = manifest_of_tree(sys.argv[1], HashName.SHA256, Claims())
built, count = most(), len(manifest.files)
text = manifest_bytes(manifest)
print(f"{count:,} files: {(built - before) / count:.0f} bytes a file, with the manifest's text {(most() - before) / count:.0f}")
"""


def main() -> None:
    """Print the bytes a file."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="tree-memory-") as root:
        for number in range(count):
            folder = os.path.join(root, f"d{number // 100:05}")
            if number % 100 == 0:
                os.mkdir(folder)
            os.close(os.open(os.path.join(folder, f"f{number:011}.c"), os.O_CREAT | os.O_WRONLY))
        subprocess.run([sys.executable, "-c", OURS, root], check=True)


if __name__ == "__main__":
    main()
