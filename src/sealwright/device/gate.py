"""The run gate: a script is judged and started from one sealed copy, so that what was verified is what runs.

1. The file is read once into memory that nobody can change; signature, text and declarations are judged on that copy.
2. The verdict is that of `verify` for the purpose `run`; whatever is not trusted does not run, whichever mode its rule has.
   Every byte must be signed: a shell would run what stands in a comment of signed XML. What PowerShell skips alone need not be.
3. What runs it is said by something signed: its text, a manifest with its name, a signature of PowerShell's own. A file that was
   renamed, from notes.txt to notes.sh, has its signature still and is no script.
4. Interpreter, its arguments and its environment are those of the trust file. The program must be one that only root can change.
5. The start is counted where the script declares a number of runs, then this process becomes the interpreter.

What the interpreter loads besides (modules, sourced files, other programs) is not looked at.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, NoReturn

from sealwright.artifact.digest import Digest, HashName
from sealwright.artifact.sealed import SealedCopy
from sealwright.artifact.source import open_artifact
from sealwright.device.declaration import Declaration, read_declaration
from sealwright.device.marked import Unclear
from sealwright.device.runs import count, started
from sealwright.device.script import FIRST_LINES, Script, read_script
from sealwright.errors import OutputRefused, SealwrightError
from sealwright.findings import Finding, reject
from sealwright.formats import manifest, powershell
from sealwright.formats.format import Extent
from sealwright.trust.belief import Believed
from sealwright.trust.interpreters import ARGUMENTS, SCRIPT, Interpreter
from sealwright.trust.verdict import Outcome, Verdict
from sealwright.trust.verify import Request, Verifier

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Judged(NamedTuple):
    """verdict: with all that the gate found; interpreter: None where it must not run; program: the file it was found to be."""

    verdict: Verdict
    interpreter: Interpreter | None
    declaration: Declaration
    program: str = ""


def judge(copy: SealedCopy, believed: Believed, request: Request, arguments: list[str]) -> Judged:
    """Whether a script may run here and now with these arguments. Raises only for an unusable state folder."""
    path = copy.artifact.path
    verdict = Verifier(believed, request).verify_opened(copy.artifact)
    if verdict.outcome is not Outcome.TRUSTED:
        return Judged(_with(verdict, _other_line_ends(copy, believed, request)), None, Declaration())
    script, findings = read_script(path, copy.data)
    if script is None or findings:
        return Judged(_with(verdict, findings), None, Declaration())
    name = os.path.basename(path)
    if loose := _not_signed(verdict):
        return Judged(_with(verdict, (reject("SW-PART-UNSIGNED", name, found=loose),)), None, Declaration())
    interpreter = next((one for one in believed.trust.interpreters if one.kind == script.kind), None)
    if interpreter is None:
        missing = reject("SW-RUN-INTERPRETER-MISSING", name, found=script.kind)
        return Judged(_with(verdict, (missing,)), None, Declaration())
    declaration, found = _declared(script, name)
    found = found or tuple(_renamed(script, declaration, verdict, name))
    found += tuple(_limits(declaration, verdict, name, copy, request.state))
    program = os.path.realpath(interpreter.path)
    found += tuple(_unsafe(interpreter, program))
    if SCRIPT not in interpreter.arguments and copy.data.startswith((b"\xff\xfe", b"\xfe\xff")):
        found += (reject("SW-RUN-TEXT", name, found=f"it is UTF-16, which {script.kind} does not read from its input"),)
    if arguments and ARGUMENTS not in interpreter.arguments:
        found += (reject("SW-RUN-ARGUMENTS", name, found=interpreter.kind),)
    return Judged(_with(verdict, found), None if found else interpreter, declaration, program)


def counted(judged: Judged, copy: SealedCopy, state: str | None) -> bool:
    """Count the start, durably; False where another process took the last one meanwhile."""
    most = judged.declaration.runs
    if most is None:
        return True
    if state is None:
        raise ValueError("a number of runs is judged with a state folder")
    return count(state, _counted_as(copy), most, judged.verdict.times.judged)


def become(interpreter: Interpreter, program: str, copy: SealedCopy, arguments: list[str]) -> NoReturn:
    """Replace this process by the interpreter with the copy; OutputRefused where the system refuses to.

    program: the file that was judged; where the links of the interpreter's path lead by now does not matter.
    """
    if sys.platform != "linux":
        raise AssertionError("there are no sealed copies on other systems")
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and int(name) != copy.descriptor:
                with suppress(OSError):  # the listing's own descriptor is gone by now
                    os.set_inheritable(int(name), False)
        if SCRIPT in interpreter.arguments:
            os.set_inheritable(copy.descriptor, True)
        else:
            os.dup2(copy.descriptor, 0)
        os.chdir(interpreter.folder)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        command = [interpreter.path, *interpreter.command(copy.name, arguments)]
        os.execve(program, command, environment(interpreter))
    except OSError as cause:
        raise OutputRefused(
            interpreter.path, f"it cannot be started ({cause.strerror})", "Correct [[interpreter]] in the trust file."
        ) from cause


def environment(interpreter: Interpreter) -> dict[str, str]:
    """The whole environment of a script: fixed search path, the account's own folder, UTF-8, and what the trust file keeps."""
    name, home = _account()
    made = {"PATH": PATH, "HOME": home, "USER": name, "LOGNAME": name, "LANG": "C.UTF-8"}
    return made | {name: os.environ[name] for name in interpreter.environment if name in os.environ}


def _with(verdict: Verdict, found: tuple[Finding, ...]) -> Verdict:
    """What the gate found comes first: it is the more exact reason."""
    worse = verdict.with_findings(found)
    return worse._replace(findings=found + verdict.findings)


def _other_line_ends(copy: SealedCopy, believed: Believed, request: Request) -> tuple[Finding, ...]:
    """The finding that an editor changed the line ends and nothing else, where that is so."""
    plain = copy.data.replace(b"\r\n", b"\n")
    for signed, was, now in ((plain, "LF", "CRLF"), (plain.replace(b"\n", b"\r\n"), "CRLF", "LF")):
        if signed == copy.data:
            continue
        with SealedCopy(copy.artifact.path, signed) as other:
            verifier = Verifier(believed, replace(request, state=None))
            if verifier.verify_opened(other.artifact).outcome is Outcome.TRUSTED:
                return (reject("SW-RUN-LINE-ENDS", os.path.basename(copy.artifact.path), was, now),)
    return ()


def _not_signed(verdict: Verdict) -> str:
    """Bytes that an interpreter would read and nobody signed, in words; "" where there are none."""
    skips = powershell.NAME in verdict.format.split("+")
    fine = {Extent.HASHED, Extent.SIGNATURE} if skips else {Extent.HASHED}
    for part in verdict.coverage.ranges:
        if part.extent not in fine:
            return f"what stands from byte {part.start} to {part.end}"
    return ""


def _declared(script: Script, name: str) -> tuple[Declaration, tuple[Finding, ...]]:
    try:
        return read_declaration(script), ()
    except Unclear as cause:
        return Declaration(), (reject("SW-RUN-DECLARATION", name, found=str(cause)),)


def _renamed(script: Script, declared: Declaration, verdict: Verdict, name: str) -> Iterator[Finding]:
    """A refusal where the kind is that of the file's name alone, and no signature that counted covers the name."""
    formats = verdict.format.split("+")
    if script.has_first_line or declared.kind or manifest.NAME in formats:
        return
    if script.kind != "powershell" or powershell.NAME not in formats:
        yield reject("SW-RUN-KIND-UNSIGNED", name, FIRST_LINES[script.kind], script.kind)


def _limits(
    declared: Declaration, verdict: Verdict, name: str, copy: SealedCopy, state: str | None
) -> Iterator[Finding]:
    host = os.uname().nodename
    own = {host.lower(), host.lower().partition(".")[0]}
    if declared.hosts and not own & {one.lower() for one in declared.hosts}:
        yield reject("SW-RUN-HOST", name, ", ".join(declared.hosts), host)
    if declared.accounts and (account := _account()[0]) not in declared.accounts:
        yield reject("SW-RUN-ACCOUNT", name, ", ".join(declared.accounts), account)
    if outside := declared.outside(verdict.times.judged):
        yield reject("SW-RUN-WINDOW", name, outside, f"{verdict.times.judged:%A %Y-%m-%d %H:%M} UTC")
    if declared.runs is None:
        return
    if state is None:
        yield reject("SW-RUN-COUNT", name, f"{declared.runs}", "nobody counts; give a folder for that with --state")
    elif (done := started(state, _counted_as(copy))) >= declared.runs:
        yield reject("SW-RUN-COUNT", name, f"{declared.runs}", f"it was started {done} times")


def _counted_as(copy: SealedCopy) -> Digest:
    """What starts are counted for: the file, or a PowerShell text without the signature in it, which anybody can write anew
    without breaking it (A005)."""
    if powershell.PowerShell().recognises(copy.artifact):
        with suppress(SealwrightError):  # what is no such text is signed beside it, whole
            return powershell.read_layout(copy.artifact).digest(HashName.SHA256)
    return Digest.of(copy.data)


def _account() -> tuple[str, str]:
    """Name and home of the account; of one that has no entry, as in containers, its number, which no name looks like."""
    import pwd

    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:
        return f"#{os.geteuid()}", "/"
    return account.pw_name, account.pw_dir


def _unsafe(interpreter: Interpreter, path: str) -> Iterator[Finding]:
    """What is wrong with the program: not there, changed, or such that others than root could change it. path: without links."""
    try:
        if interpreter.digest is not None:
            with open_artifact(path) as source:
                found = source.digests((interpreter.digest.algorithm,))[interpreter.digest.algorithm]
            if found != interpreter.digest:
                yield reject("SW-RUN-INTERPRETER-UNSAFE", interpreter.path, found=f"its digest is {found}")
        for one in (path, interpreter.path):
            while True:
                about = os.stat(one)
                others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                if about.st_uid != 0 or (others and not about.st_mode & stat.S_ISVTX):
                    yield reject(
                        "SW-RUN-INTERPRETER-UNSAFE", interpreter.path, found=f"others than root can change {one}"
                    )
                    return
                if one == "/":
                    break
                one = os.path.dirname(one)
        if not os.access(path, os.X_OK):
            yield reject("SW-RUN-INTERPRETER-UNSAFE", interpreter.path, found="this user may not execute it")
    except OSError as cause:
        yield reject("SW-RUN-INTERPRETER-UNSAFE", interpreter.path, found=f"{cause.strerror}".lower())
    except SealwrightError as cause:
        yield reject("SW-RUN-INTERPRETER-UNSAFE", interpreter.path, found=cause.what)
