"""`resource.claims_signed` is true of claims that are read from signed bytes, whatever content somebody sends along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kit.service import World, signed, world
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import PolicyRefused, RequestRefused
from sealwright.formats.format import Coverage, Existing, Prepared
from sealwright.formats.manifest import ManifestFormat
from sealwright.formats.powershell import PowerShell
from sealwright.log.reader import read_entries
from sealwright.signing.items import item_of
from sealwright.signing.wish import Wish, claims_are_signed

POLICY = """
@id("everybody-asks") permit (principal, action == Action::"request", resource);
@id("signed-claims") permit (principal, action == Action::"sign", resource) when { resource.claims_signed };
"""
CLAIMS = Claims(product="drive", version="7", generation=7, environment="production")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = world(tmp_path_factory.mktemp("service"), policy=POLICY)
    yield made
    made.close()


def manifest(folder: Path, name: str) -> Prepared:
    (folder / name).write_bytes(name.encode())
    return ManifestFormat().prepare(str(folder / name), [HashName.SHA256], CLAIMS)


def detached(content: bytes | None) -> Prepared:
    digests = {HashName.SHA256: Digest.of(b"firmware")}
    return Prepared("detached", "file", "f.bin", digests, content, 8, Coverage.whole(8), CLAIMS)


def ask(service: World, *prepared: Prepared) -> int:
    wish = Wish("release", [item_of(one) for one in prepared])
    return len(signed(service.requests.ask(service.principal("max"), wish)))


def test_manifests_with_their_content_are_signed_and_none_without_it_comes_along(
    service: World, tmp_path: Path
) -> None:
    one, other = manifest(tmp_path, "one.bin"), manifest(tmp_path, "other.bin")
    assert ask(service, one, other) == 2
    blind = other._replace(content=None)
    refused: Sequence[tuple[Sequence[Prepared], type[Exception], str]] = [
        ((blind,), PolicyRefused, "policy"),
        ((one, blind), RequestRefused, "others without"),
        ((blind, one), RequestRefused, "others without"),
    ]
    for prepared, error, said in refused:
        with pytest.raises(error, match=said):
            ask(service, *prepared)


def test_content_that_nobody_reads_makes_no_claim_a_signed_one(service: World) -> None:
    with pytest.raises(PolicyRefused):
        ask(service, detached(None))
    with pytest.raises(RequestRefused, match="nobody reads the content of a file"):
        ask(service, detached(b"firmware"))


def test_a_program_whose_signed_bytes_name_no_product_claims_it_without_a_signature(
    service: World, tmp_path: Path
) -> None:
    (tmp_path / "setup.ps1").write_bytes(b"Write-Output 1\r\n")
    script = PowerShell().prepare(str(tmp_path / "setup.ps1"), [HashName.SHA256], Claims(), Existing.REFUSE, None)
    assert claims_are_signed([script])
    assert ask(service, script) == 1
    forged = script._replace(claims=CLAIMS)
    assert not claims_are_signed([forged])
    with pytest.raises(PolicyRefused):
        ask(service, forged)


def test_the_log_says_asserted_of_claims_that_are_the_askers_word(tmp_path: Path) -> None:
    (tmp_path / "service").mkdir()
    service = world(tmp_path / "service")
    (tmp_path / "setup.ps1").write_bytes(b"Write-Output 1\r\n")
    script = PowerShell().prepare(str(tmp_path / "setup.ps1"), [HashName.SHA256], Claims(), Existing.REFUSE, None)
    for prepared in (
        manifest(tmp_path, "one.bin"),
        manifest(tmp_path, "two.bin")._replace(content=None),
        script._replace(claims=CLAIMS),
    ):
        service.requests.ask(service.principal("max"), Wish("release", [item_of(prepared)])).recorded.result(10)
    with service.requests.store.read() as connection:
        size, name = service.requests.writer.head.size, service.requests.writer.key.name
        written = [json.loads(one) for one in read_entries(connection, 0, size, name)]
    service.close()
    assert [one["claimed"] for one in written if one["type"] == "request"] == ["signed-bytes", "asserted", "asserted"]
