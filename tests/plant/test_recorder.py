"""Judging for a record: the same verdict as without one, and the digest of the very bytes that were judged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.pki import NOW, Pki
from kit.signedfiles import MAKERS, TRUST
from kit.trust import believed, signed_file
from sealwright.artifact.digest import Digest
from sealwright.artifact.progress import Progress
from sealwright.artifact.source import OpenArtifact
from sealwright.plant.recorder import judge
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome
from sealwright.trust.verify import Request, Verifier


def verifier(trust: Believed) -> Verifier:
    return Verifier(trust, Request(clock=NOW))


@pytest.mark.parametrize("form", sorted(MAKERS))
def test_the_verdict_is_the_one_without_a_record(form: str, tmp_path: Path) -> None:
    path = MAKERS[form](tmp_path)
    for outcome in (Outcome.TRUSTED, Outcome.REJECTED):
        plain = verifier(TRUST).verify(str(path))
        judged = judge(verifier(TRUST), str(path), None, None)
        assert judged.verdict == plain
        assert plain.outcome is outcome
        assert judged.file == Digest.of(path.read_bytes())
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])


def test_what_is_exchanged_between_judging_and_digesting_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path leads to another file meanwhile: the digest is still of the one that was judged. Written into, it is refused."""
    pki = Pki.make()
    path = signed_file(tmp_path, pki.leaf())
    good = path.read_bytes()
    true = Verifier.verify_opened

    def renamed_over(self: Verifier, source: OpenArtifact, progress: Progress | None = None):  # type: ignore[no-untyped-def]
        found = true(self, source, progress)
        (tmp_path / "evil.bin").write_bytes(b"evil")
        os.replace(tmp_path / "evil.bin", path)
        return found

    def written_into(self: Verifier, source: OpenArtifact, progress: Progress | None = None):  # type: ignore[no-untyped-def]
        found = true(self, source, progress)
        with path.open("r+b") as file:
            file.write(b"evil")
        source._digests.clear()  # as of a format that did not hash the whole file
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "verify_opened", renamed_over)
        judged = judge(verifier(believed(pki)), str(path), None, None)
        assert (judged.verdict.outcome, judged.file) == (Outcome.TRUSTED, Digest.of(good))
    path.write_bytes(good)
    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "verify_opened", written_into)
        judged = judge(verifier(believed(pki)), str(path), None, None)
        assert (judged.verdict.outcome, judged.file) == (Outcome.REJECTED, None)
        assert judged.verdict.findings[-1].code == "SW-FILE-CHANGING"
    path.write_bytes(good)
    judged = judge(verifier(believed(pki)), str(path), None, None)
    assert (judged.verdict.outcome, judged.file) == (Outcome.TRUSTED, Digest.of(good))
