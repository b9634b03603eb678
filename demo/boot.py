"""The firmware's own answer: a machine with Secure Boot enrolled from our variables starts what we signed, and nothing else.

Run by `make demo-boot`; about a minute. The firmware is OVMF in QEMU, with an emulated processor; its serial lines are shown.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE / "tests"))

from kit.ovmf import HELLO, Boot, boot, enrolled  # noqa: E402  the machine is that of the tests

SEALWRIGHT = HERE / ".venv" / "bin" / "sealwright"
TOLD = ("BdsDxe: ", "HelloWorld", "Enrolling", "Failed")


def sealwright(folder: Path, *words: str) -> None:
    """One command, shown and run in the demo's folder."""
    print(f"$ sealwright {' '.join(words)}")
    done = subprocess.run([str(SEALWRIGHT), *words], cwd=folder, capture_output=True, text=True, check=False)
    print("  " + done.stdout.strip().replace("\n", "\n  "))
    if done.returncode:
        sys.exit(done.stderr)


def tell(what: str, wanted: bool, done: Boot) -> bool:
    """The firmware's lines, and whether it did what was wanted."""
    print(f"\n-- {what}")
    for line in done.words.splitlines():
        if line.strip().startswith(TOLD) and "Shell" not in line:
            print(f"   firmware: {line.strip()}")
    as_told = done.reached is wanted
    said = "STARTED" if done.reached else "REFUSED by the firmware"
    print(f"   => {said}" + ("" if as_told else "   NOT AS TOLD"))
    return as_told


def main() -> int:
    """0 where the firmware did what it should."""
    folder = Path(tempfile.mkdtemp(prefix="sealwright-boot-"))
    try:
        return _run(folder)
    finally:
        shutil.rmtree(folder)


def _run(folder: Path) -> int:
    sealwright(folder, "init", "home", "--algorithm", "rsa3072")
    for name in ("pk", "kek"):
        sealwright(folder, "key", "enrol", "uefi-variable", "--home", "home", "--name", name)
    for variable, certificate, key in (("PK", "pk", "pk"), ("KEK", "kek", "pk"), ("db", "release", "kek")):
        sealwright(folder, "secure-boot", "list", "--certificate", f"home/certificates/{certificate}.pem", "--owner",
                   "plant.example", "--out", f"{variable}.esl")  # fmt: skip
        sealwright(folder, "secure-boot", "sign", f"{variable}.esl", "--variable", variable, "--home", "home", "--key", key,
                   "--out", f"{variable}.auth")  # fmt: skip
    shutil.copy(HELLO, folder / "hello.efi")
    sealwright(folder, "sign", "hello.efi", "--home", "home", "--format", "pe", "--out", "signed.efi")
    print("\n-- the firmware, in setup mode, takes PK, KEK and db from the signed updates and restarts")
    variables = enrolled(folder, *(folder / f"{name}.auth" for name in ("PK", "KEK", "db")))
    print("   => enrolled; its own boot menu, which nobody signed, is refused from now on")
    data = bytearray((folder / "signed.efi").read_bytes())
    data[0x3000] ^= 1
    (folder / "altered.efi").write_bytes(bytes(data))
    good = [
        tell(f"{name} as boot program", wanted, _boot(folder, folder / name, variables))
        for name, wanted in (("signed.efi", True), ("hello.efi", False), ("altered.efi", False))
    ]
    print(f"\n{len(good)} boots, {good.count(False)} not as told")
    return 0 if all(good) else 1


def _boot(folder: Path, program: Path, variables: Path) -> Boot:
    own = Path(shutil.copy(variables, folder / "own.fd"))
    return boot(folder, {"EFI/BOOT/BOOTX64.EFI": program}, own, "HelloWorld")


if __name__ == "__main__":
    sys.exit(main())
