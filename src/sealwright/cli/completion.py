"""Print the completion script of a shell; sourcing it makes the shell complete commands, options and file names."""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  sealwright completion bash > /etc/bash_completion.d/sealwright
  sealwright completion zsh  > "${fpath[1]}/_sealwright"
  source <(sealwright completion bash)                        for this shell only
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The shell's name."""
    parser.add_argument("shell", choices=("bash", "zsh"), help="the shell to complete in")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode  # only this command needs it

    print(shellcode(["sealwright"], shell=args.shell))
    return 0
