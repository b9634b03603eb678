"""HOW-TO-CHECK.txt as a person types it, with OpenSSL and coreutils alone, and Sealwright beside them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kit.bundles import Bundle, other_value, replace
from sealwright.cli.main import main


def typed(bundle: Bundle) -> list[str]:
    """The answers to the page's commands, in turn; stops where one fails."""
    page = (bundle.folder / "HOW-TO-CHECK.txt").read_text()
    commands = re.findall(r"^ +\$ (.*)$", page, re.MULTILINE)
    assert len(commands) == 6
    answers = []
    for command in commands:
        done = subprocess.run(["bash", "-c", command], cwd=bundle.folder.parent, capture_output=True, text=True)
        if done.returncode:
            break
        answers.append(done.stdout + done.stderr)
    return answers


def whole(bundle: Bundle) -> bool:
    """What the page says must be seen was seen."""
    answers = typed(bundle)
    if len(answers) < 6:
        return False
    _, signature, sums, listed, found, _ = answers
    return "CMS Verification successful" in signature and sums == "" and listed.strip() == found.strip()


def one_byte_more(bundle: Bundle) -> None:
    page = bundle.folder / "sbom.cdx.json"
    replace(page, page.read_bytes() + b" ")


def one_module_more(bundle: Bundle) -> None:
    (bundle.folder / "portable" / "lib" / "any" / "argparse.py").write_text("")


def one_file_less(bundle: Bundle) -> None:
    (bundle.folder / "install.sh").unlink()


def a_link_in_place_of_a_file(bundle: Bundle) -> None:
    (bundle.folder / "link").symlink_to("install.sh")


def another_list(bundle: Bundle) -> None:
    manifest = bundle.beside(".manifest")
    replace(manifest, manifest.read_bytes().replace(b"claim version ", b"claim version 9"))


def another_signature(bundle: Bundle) -> None:
    other_value(bundle.beside(".manifest.p7s"))


def signed_by_another(bundle: Bundle) -> None:
    home = bundle.folder.parent / "home"
    assert main(["init", str(home)]) == 0
    bundle.beside(".manifest").unlink()
    bundle.beside(".manifest.p7s").unlink()
    assert main(["sign", str(bundle.folder), "--home", str(home), "--product", "Sealwright"]) == 0


def judged(bundle: Bundle) -> int:
    return main(["verify", str(bundle.folder), "--trust", str(bundle.trust), "--product", "Sealwright"])


ALTERED = (
    one_byte_more,
    one_module_more,
    one_file_less,
    a_link_in_place_of_a_file,
    another_list,
    another_signature,
    signed_by_another,
)


@pytest.mark.parametrize("alter", ALTERED)
def test_the_page_refuses_what_verify_refuses(alter: Callable[[Bundle], None], bundle: Bundle, tmp_path: Path) -> None:
    carried = bundle.carried(tmp_path)
    assert whole(carried)
    assert judged(carried) == 0
    alter(carried)
    assert not whole(carried)
    assert judged(carried) == 1


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_medium_that_keeps_no_modes_is_still_whole(mode: int, bundle: Bundle, tmp_path: Path) -> None:
    """FAT shows one mode for all files; the launcher is started with `sh` there."""
    subprocess.run(["cp", "-r", *bundle.folder.parent.glob(bundle.folder.name + "*"), tmp_path], check=True)
    carried = Bundle(tmp_path / bundle.folder.name)
    for path in carried.folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
    assert whole(carried)
    assert judged(carried) == 0
    launcher = carried.folder / "portable" / "sealwright"
    assert subprocess.run(["sh", launcher, "--version"], capture_output=True).stdout == b"sealwright 0.1.0\n"


def test_the_fingerprint_is_that_of_the_certificate_which_signed(bundle: Bundle) -> None:
    answers = typed(bundle)
    der = subprocess.run(
        ["openssl", "x509", "-in", bundle.trust.with_name("ca.pem"), "-outform", "DER"], capture_output=True
    )
    digest = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout.split()[0].decode()
    assert answers[0].strip().endswith(":".join(re.findall("..", digest.upper())))
    claims = ["#! claim product Sealwright", "#! claim version 0.1.0", "#! claim generation 1000"]
    assert answers[5].splitlines() == claims
