"""The house: nothing committed names a registry or a machine, and what the documents say is true."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.pki import Pki, person_key
from kit.trust import public_pem
from sealwright.cli.arguments import FORMATS
from sealwright.cli.exits import EXITS
from sealwright.cli.main import COMMANDS, parser_of
from sealwright.cli.trustsections import EXAMPLES as SECTION_EXAMPLES
from sealwright.formats.known import EMBEDDED
from sealwright.texts import TEXTS
from sealwright.trust.trustfile import parse_trust

ROOT = Path(__file__).resolve().parent.parent
HOSTS = re.compile(
    r"pypi\.org|pythonhosted|npmjs|debian\.org|ubuntu\.com|files\.python|index-url|/work/|/tmp/brief", re.IGNORECASE
)
EXEMPT = {"tests/test_house.py", "LICENSE"}


def committed() -> list[str]:
    """Every file of the repository."""
    said = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in said.splitlines() if name not in EXEMPT and (ROOT / name).is_file()]


def test_nothing_committed_names_a_registry_or_a_place_of_one_machine() -> None:
    found = [
        f"{name}: {line.strip()[:100]}"
        for name in committed()
        for line in (ROOT / name).read_text(errors="replace").splitlines()
        if HOSTS.search(line)
    ]
    assert found == []


def test_every_requirement_is_pinned_with_a_hash() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text()
        pins = re.findall(r"^[a-zA-Z0-9][^\s;]*", text, re.MULTILINE)
        assert pins
        assert all("==" in pin for pin in pins)
        assert "--hash=sha256:" in text


def test_every_finding_is_documented() -> None:
    written = (ROOT / "docs" / "findings.md").read_text()
    made = subprocess.run(
        [sys.executable, "scripts/findings.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert written == made, "run `make findings`"


def test_every_code_in_the_source_has_its_sentence() -> None:
    used = set()
    for path in (ROOT / "src").rglob("*.py"):
        used |= set(re.findall(r"\"(SW-[A-Z0-9-]*[A-Z0-9])\"", path.read_text()))
    assert used - set(TEXTS) == set()
    for code, text in TEXTS.items():
        assert text.sentence, code
        assert text.next_step, code


def test_scripts_download_nothing_themselves() -> None:
    for name in committed():
        if name.startswith(("scripts/", "demo/", ".ci/")) or name == "Makefile":
            assert not re.search(r"\b(curl|wget)\b", (ROOT / name).read_text()), name


@pytest.mark.parametrize("page", ["docs/library.md"])
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    (tmp_path / "page.py").write_text("\n".join(blocks))
    subprocess.run([sys.executable, "page.py"], cwd=tmp_path, check=True, timeout=120)


def test_the_trust_file_of_the_documentation_is_one() -> None:
    text = (ROOT / "docs" / "trust-file.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    acme, plant = Pki.make("Acme"), Pki.make("Plant")
    people = {name: person_key() for name in ("eva", "safe")}
    fill = {f"{{public {name}}}": public_pem(key) for name, key in people.items()}
    fill |= {"{certificate acme}": acme.root.pem, "{certificate plant}": plant.root.pem}
    fill |= {f"{{key {name}}}": person_key().key_digest for name in ("acme", "plant", "stolen", "old")}
    for name, value in fill.items():
        example = example.replace(name, value)
    trust = parse_trust(example.encode(), "docs/trust-file.md")
    assert trust.minimums == {"VX-200 drive": 7}
    assert [rule.name for rule in trust.rules] == ["drive firmware"]


def printed_commands() -> Iterator[tuple[str, str]]:
    """Every `sealwright …` that a document or a help page tells to type, without the remark behind it."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for line in page.read_text().splitlines():
            for part in re.findall(r"`(sealwright [a-z]+ [^`]*)`", line) + line.strip().lstrip("$ ").split("; "):
                if re.match(r"sealwright [a-z]", part) and (line.startswith(("    ", "|")) or "`" not in line):
                    yield page.name, re.split(r"\s+#|\s*[>|] ", part)[0]
    for name in COMMANDS:
        for line in importlib.import_module(f"sealwright.cli.{name.replace('-', '')}").EXAMPLES.splitlines()[1:]:
            if line.startswith("  sealwright"):
                yield f"{name} --help", re.split(r"\s{2,}| > ", line.strip())[0]


@pytest.mark.parametrize(("page", "command"), list(printed_commands()))
def test_every_command_that_is_printed_can_be_typed(page: str, command: str) -> None:
    words = [word for word in shlex.split(command) if word not in ("...", "…")]
    parser_of(COMMANDS).parse_args(["5eed" if word == "5eed..." else word for word in words[1:]])


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command that has no actions of its own."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for one in below:
        for child in one.choices.values():
            yield from leaves(child)
    if not below:
        yield parser


@pytest.mark.parametrize("command", list(leaves(parser_of(COMMANDS))), ids=lambda one: one.prog)
def test_every_help_ends_with_an_example_and_with_what_the_exit_codes_say(command: argparse.ArgumentParser) -> None:
    told = command.format_help()
    assert "examples:" in told
    assert "exit codes:" in told


def test_the_page_of_exit_codes_says_what_the_helps_say() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text().partition("## Command by command")[2]
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.*?) \| (.*?)\s*\|$", page, re.MULTILINE)
    assert rows == [(name, exits.done, exits.refused, exits.open) for name, exits in EXITS.items()]
    known = {one.prog.removeprefix("sealwright ") for one in leaves(parser_of(COMMANDS))}
    assert {name for name, *_ in rows} <= known


@pytest.mark.parametrize("kind", SECTION_EXAMPLES)
def test_the_example_of_a_section_can_be_typed(kind: str) -> None:
    parser_of(COMMANDS).parse_args(["trust", "add", "trust.toml", *shlex.split(SECTION_EXAMPLES[kind])])


def test_help_and_documents_list_every_format() -> None:
    listed = re.findall(r"^  ([a-z0-9-]+)  ", FORMATS, re.MULTILINE)
    assert listed == list(EMBEDDED)
    readme = (ROOT / "README.md").read_text()
    for page in sorted((ROOT / "docs" / "formats").glob("*.md")):
        assert f"docs/formats/{page.name}" in readme


def test_links_between_documents_lead_somewhere() -> None:
    for name in committed():
        if not name.endswith(".md"):
            continue
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            if "://" not in target:
                assert ((ROOT / name).parent / target).exists(), f"{name} -> {target}"
