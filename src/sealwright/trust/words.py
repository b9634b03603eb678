"""A trust file's fingerprint as people compare it: SHA-256 in groups of four digits, and as sixteen pronounceable words.

Words are proquints (arXiv:0901.4016): sixteen bits each, consonant-vowel-consonant-vowel-consonant.
"""

from __future__ import annotations

from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import UsageError
from sealwright.trust.model import TrustFile

_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aiou"


def words(digest: Digest) -> str:
    """Sixteen words for a SHA-256 digest."""
    return "-".join(_word(int.from_bytes(digest.value[at : at + 2], "big")) for at in range(0, len(digest.value), 2))


def groups(digest: Digest) -> str:
    """Hexadecimal digits in groups of four."""
    text = digest.value.hex()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def read_fingerprint(text: str) -> Digest:
    """A fingerprint as hex (grouped or not, `sha256:` or not) or as words; UsageError for anything else."""
    plain = text.strip().lower().removeprefix("sha256:")
    digits = plain.replace(" ", "").replace(":", "")
    try:
        if len(digits) == 64:
            return Digest(HashName.SHA256, bytes.fromhex(digits))
        parts = plain.replace(" ", "-").split("-")
        return Digest(HashName.SHA256, b"".join(_number(part).to_bytes(2, "big") for part in parts))
    except ValueError as cause:
        raise UsageError(
            "--trust-fingerprint",
            "it is neither 64 hexadecimal digits nor 16 words",
            "Copy it from the card of your officer.",
        ) from cause


def card(trust: TrustFile) -> str:
    """The text of the card that an officer hands over with a trust file."""
    persons = ", ".join(sorted({key.person for key in trust.officers.keys}))
    lines = [
        f"Trust file {trust.id}, version {trust.version}",
        f"issued {trust.issued:%Y-%m-%d}, ends {trust.expires:%Y-%m-%d}"
        + (", TRIAL" if trust.stage == "trial" else ""),
        f"officers: {trust.officers.threshold} of {persons}",
        "",
        "fingerprint (SHA-256):",
        *(f"  {part}" for part in _split(groups(trust.digest), " ", 4)),
        "in words:",
        *(f"  {part}" for part in _split(words(trust.digest), "-", 4)),
    ]
    return "\n".join(lines)


def _split(text: str, separator: str, count: int) -> list[str]:
    parts = text.split(separator)
    return [separator.join(parts[at : at + count]) for at in range(0, len(parts), count)]


def _word(number: int) -> str:
    letters = []
    for shift, alphabet in ((12, _CONSONANTS), (10, _VOWELS), (6, _CONSONANTS), (4, _VOWELS), (0, _CONSONANTS)):
        letters.append(alphabet[(number >> shift) & (len(alphabet) - 1)])
    return "".join(letters)


def _number(word: str) -> int:
    if len(word) != 5:
        raise ValueError(word)
    number = 0
    for letter, alphabet in zip(word, (_CONSONANTS, _VOWELS, _CONSONANTS, _VOWELS, _CONSONANTS), strict=True):
        number = number * len(alphabet) + alphabet.index(letter)
    return number
