"""The vendor's program that loads a device: fixed words, no shell, a program that nobody but root could have changed.

    Tool(("/opt/vendor/load", "--port", "usb0", "{file}"), digest=None)

`{file}` and `{folder}` stand for the component's path in the private copy, `{serial}` for the device; each is a whole word. The program is
digested before it is started. Where the system does not say who may write it (Windows), its digest has to be named instead.
It is started in its own folder, so that nothing is looked for where somebody happens to stand (A156), and without the variables by which a
loader takes other libraries.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.names import display
from sealwright.artifact.source import open_artifact
from sealwright.errors import HandoverRefused, UsageError
from sealwright.plant.installation import ToolUsed
from sealwright.trust.place import UNKNOWN, changeable_because

FILE, FOLDER, SERIAL = "{file}", "{folder}", "{serial}"
MAX_WORDS = 64
_OTHER_LIBRARIES = ("LD_", "DYLD_")


@dataclass(frozen=True, slots=True)
class Tool:
    """words: the program's path from the root and its arguments; digest: of the program, where exactly one is meant."""

    words: tuple[str, ...]
    digest: Digest | None = None

    def __post_init__(self) -> None:
        program, *arguments = self.words
        if not os.path.isabs(program) or len(self.words) > MAX_WORDS:
            raise UsageError(display(program[:100]), "it is no path from the root", "Write the program's whole path.")
        marks = (FILE, FOLDER, SERIAL)
        if inside := [one for one in self.words if one not in marks and any(mark in one for mark in marks)]:
            raise UsageError(
                display(inside[0][:100]), "a mark stands inside a word", "Give {file} or {folder} as a word of its own."
            )
        if not {FILE, FOLDER} & {*arguments}:
            raise UsageError(
                display(program[:100]),
                "it is not told what to load",
                "Put {file} or {folder} among its arguments, or hand it over with --by-hand.",
            )

    def checked(self) -> ToolUsed:
        """The program as it lies there; HandoverRefused where it cannot be relied on."""
        program = self.words[0]
        why = changeable_because(program)
        if why == UNKNOWN and self.digest is not None:
            why = ""
        with open_artifact(program) as source:
            found = source.digests((HashName.SHA256,))[HashName.SHA256]
        if not why and self.digest not in (None, found):
            why = f"its digest is {found}"
        if why:
            step = "Have it installed by root or an administrator; name its digest with --tool-digest."
            raise HandoverRefused(display(program), f"the program cannot be relied on: {why}", step)
        return ToolUsed(program, found)

    def run(self, part: str, serial: str) -> int:
        """Start it with a part of the copy, wait, and give its exit code; HandoverRefused where it cannot be started."""
        marks = {FOLDER if os.path.isdir(part) else FILE: part, SERIAL: serial}
        words = [marks.get(word, word) for word in self.words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_OTHER_LIBRARIES)}
        try:
            # the words are the operator's, the program root's
            return subprocess.run(words, cwd=os.path.dirname(words[0]), env=environment, check=False).returncode
        except OSError as cause:
            why = cause.strerror or "the system does not say why"
            raise HandoverRefused(
                display(words[0]), f"it cannot be started ({why})", "See whether it may be executed."
            ) from cause

    def refuse_other(self, part: str) -> None:
        """UsageError where the tool wants a file and the component is a folder, or the other way round."""
        wanted = FOLDER if os.path.isdir(part) else FILE
        if other := ({FILE, FOLDER} - {wanted}) & {*self.words}:
            raise UsageError(
                display(os.path.basename(part)), f"it is none for {min(other)}", f"Give {wanted} to the tool."
            )
