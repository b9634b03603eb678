"""What a signer asks of a file that its format has no place for: claims without a field, a second signature where one is read."""

from __future__ import annotations

from sealwright.artifact.claims import Claims
from sealwright.errors import UsageError
from sealwright.formats.format import Existing


def refuse_claims(path: str, claims: Claims, why: str) -> None:
    """UsageError for any claim. why: what the format lacks."""
    if claims:
        raise UsageError(path, why, "Sign it without them, then sign the result again with a manifest.")


def refuse_second(path: str, signed: bool, existing: Existing) -> None:
    """UsageError for an artifact that is signed, unless its signer said what becomes of the signatures in it."""
    if signed and existing is Existing.REFUSE:
        raise UsageError(path, "it is signed already", "Use --add to sign beside it, or --replace to remove it.")


def refuse_but_one(path: str, signed: bool, existing: Existing, why: str) -> None:
    """The same where one signature is all that a file holds. why: who reads only one."""
    if signed and existing is Existing.REFUSE:
        raise UsageError(path, "it is signed already", "Use --replace to remove the old signature.")
    if existing is Existing.ADD:
        raise UsageError(path, why, "Use --replace, or sign beside the file.")
