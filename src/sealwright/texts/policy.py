"""What policies say: why something is not allowed, what a rule demands, and the commands `policy ...`."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "policy.why-nothing": "no rule allows it",
    "policy.why-forbidden": "forbidden by {rules}",
    "policy.why-failed": "the rules could not be asked: {what}",
    "policy.why-no-follow-up": "no rule allows it as an emergency with a follow-up by officers",
}
