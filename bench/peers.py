"""The peers that are not part of the system: `model_signing`, in a virtual environment of its own (`make bench` fills it)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL_SIGNING = ROOT / ".venv-bench" / "bin" / "model_signing"


def model_signing(*arguments: str) -> list[str] | None:
    """The command, or None with a word on the terminal where `make bench` has not installed it."""
    if MODEL_SIGNING.exists():
        return [str(MODEL_SIGNING), *arguments]
    print("model_signing is not printed: `make bench` installs it into .venv-bench")
    return None
