"""The archive of a courier: regular files by their headers, and everything else refused before it is read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwright.errors import MalformedArtifact, SealwrightError
from sealwright.release.couriertar import END, Member, member_header, members, padding

LONG = "courier-a-1/" + "x" * 200 + "/" + "ö" * 60


def archive(*files: tuple[str, bytes]) -> bytes:
    return b"".join(member_header(name.encode(), len(data)) + data + padding(len(data)) for name, data in files) + END


GOOD = archive(("courier-a-1/courier.toml", b"text"), (LONG, b"y" * 600), ("courier-a-1.manifest", b""))


def read(folder: Path, data: bytes) -> list[Member]:
    path = folder / "a.courier"
    path.write_bytes(data)
    with path.open("rb") as file:
        return list(members(file, "a.courier"))


def test_tar_reads_what_we_write_and_we_read_what_tar_writes(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as found:
        assert [one.name for one in found.getmembers()] == ["courier-a-1/courier.toml", LONG, "courier-a-1.manifest"]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as written:
            for name, data in (("courier-a-1/courier.toml", b"text"), (LONG, b"y" * 600)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                written.addfile(info, io.BytesIO(data))
        got = read(tmp_path, out.getvalue())
        assert [one.name.decode() for one in got] == ["courier-a-1/courier.toml", LONG]
        assert [out.getvalue()[one.start : one.start + one.size] for one in got] == [b"text", b"y" * 600]


def _special(kind: bytes) -> Callable[[], bytes]:
    def made() -> bytes:
        info = tarfile.TarInfo("courier-a-1/x")
        info.type = kind
        info.linkname = "/etc/passwd"
        return info.tobuf() + END

    return made


def _huge_header() -> bytes:
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = 1 << 20
    return info.tobuf() + b"\0" * (1 << 20) + END


@pytest.mark.parametrize(
    "data",
    [
        _special(tarfile.SYMTYPE)(),
        _special(tarfile.LNKTYPE)(),
        _special(tarfile.CHRTYPE)(),
        _special(tarfile.DIRTYPE)(),
        _special(tarfile.FIFOTYPE)(),
        _special(tarfile.GNUTYPE_SPARSE)(),
        archive(("/etc/passwd", b"x")),
        archive(("courier-a-1/../../x", b"x")),
        archive(("courier-a-1/x", b"x"), ("courier-a-1/x", b"y")),
        archive(("courier-a-1/x\n", b"x")),
        GOOD[:700],
        _huge_header(),
        b"",
        b"no archive at all" * 100,
    ],
)
def test_what_is_no_courier_is_refused(tmp_path: Path, data: bytes) -> None:
    assert len(read(tmp_path, GOOD)) == 3
    with pytest.raises(MalformedArtifact):
        read(tmp_path, data)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 600)
)
def test_any_mutation_is_refused_or_stays_inside_the_file(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    changed = bytes(data[: len(data) - cut])
    folder = tmp_path_factory.getbasetemp()
    try:
        found = read(folder, changed)
    except SealwrightError:
        return
    assert all(0 <= one.start <= one.start + one.size <= len(changed) for one in found)
