"""Print docs/findings.md: every finding and error code with its sentence and next step, from the one table in the code."""

from __future__ import annotations

from sealwright.texts import TEXTS

print("# Findings\n")
print(
    "Every code that a verdict or an error can carry. Codes are public and append-only: none is ever renamed, reused or"
)
print("given another meaning. `{subject}`, `{wanted}` and `{found}` are filled in. Written by `make findings`.\n")
print("| code | what it says | what to do |\n| --- | --- | --- |")
for code, text in sorted(TEXTS.items()):
    print(f"| `{code}` | {text.sentence} | {text.next_step} |")
