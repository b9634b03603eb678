"""Starts Sealwright from this folder: nothing is installed, nothing is written, nothing of the machine's own packages is used.

Started as `python -I -S -B launch.py ARGUMENTS` by the launchers beside it, so no variable, no site folder and no .venv adds a
module. This file has to be readable by every Python, so that an old one can say what is missing.
"""

# ruff: noqa: B905, RUF005, UP031 -- an old Python reads neither of the newer ways

import os
import sys

OLDEST = (3, 11)


def folders(here):
    """The folders of modules for this system and this Python, in the order in which they are searched."""
    import sysconfig

    system = sysconfig.get_platform()
    names = ["any", system, "%s-cp%d%d" % ((system,) + sys.version_info[:2])]
    found = [os.path.join(here, "lib", name) for name in names]
    missing = [name for name, path in zip(names, found) if not os.path.isdir(path)]
    if missing:
        made_for = sorted(name for name in os.listdir(os.path.join(here, "lib")) if "-cp" in name)
        stop("this folder has no modules for %s. It has them for: %s." % (missing[-1], ", ".join(made_for)))
    return found


def stop(why):
    """Say why nothing can be done, and leave as a command does that cannot be meant."""
    sys.stderr.write("sealwright: %s\n" % why)
    sys.exit(2)


def main():
    """Put our folders in front and start the command."""
    if sys.version_info < OLDEST:
        stop("Python %d.%d or newer is needed, this is %s." % (OLDEST + (sys.version.split()[0],)))
    here = os.path.dirname(os.path.abspath(__file__))
    sys.dont_write_bytecode = True
    sys.path[:0] = folders(here)
    try:
        from sealwright.cli.main import script

        script()
    except ImportError as cause:
        stop(
            "a module cannot be loaded from this medium: %s. If it is mounted noexec, copy the folder to a disk and "
            "start it there; if a file is missing or damaged, check the folder against its manifest "
            "(HOW-TO-CHECK.txt)." % cause
        )


main()
