"""`python -m sealwright` is the `sealwright` command."""

from __future__ import annotations

from sealwright.cli.main import script

if __name__ == "__main__":
    script()
