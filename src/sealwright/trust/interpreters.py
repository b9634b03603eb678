"""`[[interpreter]]` of the trust file: what runs a signed script, with which arguments and environment, and where.

    [[interpreter]]
    kind = "python"
    path = "/usr/bin/python3"
    arguments = ["-I", "{script}", "{arguments}"]      # the default of its kind
    environment = ["TZ"]                               # kept of the caller's; nothing else is

`{script}` is the sealed copy that was verified; without it the script comes on standard input. `{arguments}` are those of the
caller; without it there may be none, because for a client of databases or a playbook they would be more than data.
"""

from __future__ import annotations

import posixpath
import re
from typing import NamedTuple

from sealwright.artifact.digest import Digest
from sealwright.artifact.section import Section

SCRIPT, ARGUMENTS = "{script}", "{arguments}"
DEFAULTS: dict[str, tuple[str, ...]] = {
    "sh": (SCRIPT, ARGUMENTS),
    "bash": ("--noprofile", "--norc", SCRIPT, ARGUMENTS),
    "python": ("-I", SCRIPT, ARGUMENTS),
    "powershell": ("-NoProfile", "-NonInteractive", "-Command", "-"),
    "node": ("--preserve-symlinks-main", SCRIPT, ARGUMENTS),
    "ansible": (SCRIPT,),
    "sql": (),
}
MAX_ARGUMENTS = 64
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
# what makes an interpreter or the loader run other code, or another file than the one it is told
_POWERFUL = re.compile(
    r"(LD|DYLD|PYTHON|PERL|RUBY|NODE|NPM|BASH|GCONV|GLIBC|ANSIBLE|POWERSHELL|PSMODULE|DOTNET|CORECLR|COMPLUS|MALLOC)_?.*"
    r"|(OPENSSL|SSLKEYLOG|_?JAVA|JDK|XDG|GIT|LIBMYSQL|MYSQL|TERMINFO|LOCPATH|NLSPATH)_?.*|PGSYSCONFDIR|PGSERVICE|TE?MP"
    r"|ENV|IFS|PS[1-4]|SHELLOPTS|CDPATH|GLOBIGNORE|PROMPT_COMMAND|PATH|HOME|TMPDIR|EDITOR|VISUAL|PAGER|LESSOPEN|PSQLRC|PGSERVICEFILE"
)


class Interpreter(NamedTuple):
    """path: of the program; environment: names kept of the caller's; folder: where it runs; digest: of the program, or None."""

    kind: str
    path: str
    arguments: tuple[str, ...]
    environment: tuple[str, ...]
    folder: str
    digest: Digest | None

    def command(self, script: str, arguments: list[str]) -> list[str]:
        """The arguments the program is started with, without its own name."""
        made: list[str] = []
        for one in self.arguments:
            made += [script] if one == SCRIPT else arguments if one == ARGUMENTS else [one]
        return made


def interpreter(section: Section) -> Interpreter:
    """One `[[interpreter]]`; MalformedTrust naming the key."""
    kind = section.word("kind", tuple(DEFAULTS))
    arguments = section.texts("arguments") if section.has("arguments") else DEFAULTS[kind]
    found = Interpreter(
        kind=kind,
        path=section.text("path"),
        arguments=arguments,
        environment=section.texts("environment"),
        folder=section.text("folder", "/"),
        digest=section.digest("digest") if section.has("digest") else None,
    )
    for key, path in (("path", found.path), ("folder", found.folder)):
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise section.wrong(key, "an absolute path without `.`, `..` or a slash too many")
    if not arguments:
        raise section.wrong("arguments", f"given for {kind}: they say what the script is run against")
    wrong = [one for one in arguments if ("{" in one or "}" in one) and one not in (SCRIPT, ARGUMENTS)]
    if wrong or len(arguments) > MAX_ARGUMENTS:
        raise section.wrong("arguments", f"texts without braces, or {SCRIPT} and {ARGUMENTS}, at most {MAX_ARGUMENTS}")
    if ARGUMENTS in arguments and arguments.index(ARGUMENTS) < len(arguments) - 1:
        raise section.wrong("arguments", f"with {ARGUMENTS} as the last one")
    if ARGUMENTS in arguments and (SCRIPT not in arguments):
        raise section.wrong("arguments", f"with {SCRIPT} in front of {ARGUMENTS}: else they would be the interpreter's")
    for name in found.environment:
        if not _NAME.fullmatch(name) or _POWERFUL.fullmatch(name):
            raise section.wrong("environment", f"names of variables that cannot make it run other code; {name} could")
    return found
