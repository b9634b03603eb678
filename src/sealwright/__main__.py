"""`python -m sealwright` is the `sealwright` command."""

from __future__ import annotations

import sys

from sealwright.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
