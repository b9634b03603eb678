"""The process in which uploaded files are prepared: what it comes to, and what it may not do (A128)."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.errors import MalformedArtifact
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Existing
from sealwright.formats.registry import detached
from sealwright.service import apart
from sealwright.service.apart import prepared_apart
from sealwright.signing.items import Item, item_of
from sealwright.signing.preparing import differences

WORKER = "import sys; sys.path.insert(0, sys.argv[1]); from sealwright.service.prepareworker import _bound; _bound({seconds}); "


def asked_for(path: Path) -> Item:
    return item_of(detached().prepare(str(path), (HashName.SHA256, HashName.SHA512), Claims(), None))


def made(tmp_path: Path, data: bytes = b"firmware") -> Path:
    path = tmp_path / "drive.bin"
    path.write_bytes(data)
    return path


def test_it_comes_to_what_its_file_is(tmp_path: Path) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    assert differences(item, prepared_apart(str(path), item, 8)) == []
    path.write_bytes(b"FIRMWARE")
    differs = differences(item, prepared_apart(str(path), item, 8))
    assert [one.what for one in differs] == ["artifact"]


def test_it_prepares_formats_whose_signature_is_inside(tmp_path: Path) -> None:
    path = tmp_path / "update.ps1"
    path.write_text("Write-Output 1\r\n")
    prepared = embedded_format("powershell").prepare(str(path), (HashName.SHA256,), Claims(), Existing.REFUSE, None)
    item = item_of(prepared._replace(name="signed.ps1"))
    assert differences(item, prepared_apart(str(path), item, 16)) == []
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MalformedArtifact):
        prepared_apart(str(path), item, 3)


@pytest.mark.parametrize(
    "what",
    [
        "import os; os.abort()",
        "sys.stdout.write('+{}')",
        "b = b'+' + bytes(1 << 20)\nwhile True: sys.stdout.buffer.write(b)",
        "while True: pass",
        "bytes(4 << 30)",
        "open('file', 'wb').write(b'x')",
        "import os; [os.open('/dev/null', 0) for _ in range(100)]",
    ],
)
def test_one_that_ends_otherwise_came_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    assert prepared_apart(str(path), item, 8).line == item.line
    monkeypatch.setattr(apart, "BEGIN", WORKER.format(seconds=2) + "\n" + what)
    with pytest.raises(MalformedArtifact, match="gave no answer"):
        prepared_apart(str(path), item, 8)


def test_it_has_nothing_of_the_services_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path)
    item = asked_for(path)
    monkeypatch.setenv("PGPASSWORD", "secret")
    monkeypatch.setattr(apart, "BEGIN", "import os, sys; sys.stdout.write('-' + ' '.join(os.environ))")
    with pytest.raises(MalformedArtifact) as told:
        prepared_apart(str(path), item, 8)
    assert set(told.value.what.split()) <= {"LC_ALL", "LC_CTYPE"}
