"""What commands that use a security key ask for: the packages for it, a PIN, a finger."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwright.signing.securitykey import Touch


def need_fido(option: str) -> None:
    """UsageError where the packages for security keys are not installed."""
    from importlib.util import find_spec

    from sealwright.errors import UsageError

    if find_spec("fido2") is None:
        raise UsageError(
            option, "the packages for security keys are not installed", "Install them: pip install 'sealwright[fido]'"
        )


def touch_of(args: argparse.Namespace) -> Touch:
    """The PIN of --pin-file or typed, and a line where it waits for a finger."""
    from sealwright.keys.pin import Pin, ask_pin
    from sealwright.signing.securitykey import Touch
    from sealwright.texts.words import say

    def pin() -> Pin | None:
        return Pin.from_file(args.pin_file) if args.pin_file is not None else ask_pin("the security key")

    return Touch(pin, lambda: print(say("securitykey.touch"), file=sys.stderr))
