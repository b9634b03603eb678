"""Every format with its signature inside, changed, cut, filled with noise and spliced with the others (A168).

Each ends in a verdict or a typed error, soon. What is trusted has the bytes that were signed, every one, in their order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kit.mutate import LONG, changed, splices
from kit.signedfiles import MAKERS, TRUST, format_of
from kit.trust import judge
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import HashName
from sealwright.errors import SealwrightError
from sealwright.formats.embedded import embedded_format
from sealwright.formats.format import Coverage, Existing, Extent
from sealwright.trust.verdict import Outcome

SECONDS = 2.0
SHORT = 120


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


def hashed(data: bytes, coverage: Coverage) -> bytes:
    return b"".join(data[part.start : part.end] for part in coverage.ranges if part.extent is Extent.HASHED)


def mutants(name: str, samples: dict[str, Path]) -> Iterator[bytes]:
    dice, sample = random.Random(name), samples[name].read_bytes()
    others = [path.read_bytes() for other, path in samples.items() if other != name]
    found = [*changed(sample, dice), *splices(sample, others, dice)]
    yield from found if LONG else dice.sample(found, SHORT)


@pytest.mark.parametrize("name", MAKERS)
def test_a168_mutation_of_a_signed_file_is_trusted_only_where_nothing_signed_changed(
    samples: dict[str, Path], tmp_path: Path, name: str
) -> None:
    path, good = tmp_path / f"mutant{samples[name].suffix}", samples[name].read_bytes()
    path.write_bytes(good)
    first = judge(path, TRUST)
    assert first.outcome is Outcome.TRUSTED
    signed = hashed(good, first.coverage)
    for bad in mutants(name, samples):
        path.write_bytes(bad)
        started = time.monotonic()
        found = judge(path, TRUST)
        assert time.monotonic() - started < SECONDS
        assert found.outcome is not Outcome.TRUSTED or hashed(bad, found.coverage) == signed


@pytest.mark.parametrize("name", MAKERS)
def test_a168_mutation_of_a_signed_file_is_signed_again_and_stripped_or_refused(
    samples: dict[str, Path], tmp_path: Path, name: str
) -> None:
    path, form = tmp_path / f"mutant{samples[name].suffix}", embedded_format(format_of(name))
    for bad in mutants(name, samples):
        path.write_bytes(bad)
        started = time.monotonic()
        with suppress(SealwrightError):
            form.strip(str(path))
        with suppress(SealwrightError):
            form.prepare(str(path), (HashName.SHA256,), Claims(), Existing.REPLACE, None)
        assert time.monotonic() - started < SECONDS
