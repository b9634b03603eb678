"""Formats with their signature beside the new file: all of it is written, or nothing, and it is checked before it has a name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit.pki import NOW, Pki
from kit.trust import believed, judge, knowing
from sealwright.artifact.claims import Claims
from sealwright.artifact.output import OLD, FileRange, Output, Pair, replace_pairs, write_batch
from sealwright.cli.main import main
from sealwright.envelope.construct import asked_of_key, attributes_of, built
from sealwright.envelope.kinds import KINDS
from sealwright.errors import BadSignature, ChangedWhileRead, SealwrightError
from sealwright.formats.embedded import check_attached, embedded_format, files_beside
from sealwright.formats.format import Existing, Prepared, Sealed
from sealwright.formats.known import BESIDE, EMBEDDED
from sealwright.trust.verdict import Outcome

PKI = Pki.make()
SIGNERS = {name: PKI.leaf(name, construction=KINDS[EMBEDDED[name].kind].construction) for name in BESIDE}
TRUST = believed(PKI, certificate=knowing(*SIGNERS.values()))
DATA = bytes(range(256)) * 64
FORMATS = sorted(BESIDE)


def made(path: Path, form: str) -> tuple[Prepared, Sealed]:
    """A file prepared and signed to be called `out`, nothing written."""
    signer = SIGNERS[form]
    kind, algorithm = KINDS[EMBEDDED[form].kind], signer.signing.algorithm
    name = kind.digest_name(algorithm)
    prepared = embedded_format(form).prepare(str(path), (name,), Claims(), Existing.REFUSE, None)
    prepared = prepared._replace(name="out")
    attributes = attributes_of(signer.signing, kind, prepared.digests[name], NOW, prepared.name)
    value = signer.key.sign([asked_of_key(signer.signing, kind, prepared.digests[name], attributes)])[0]
    return prepared, Sealed(built(signer.signing, kind, attributes, value), value, signer.certificate, algorithm)


def outputs(out: Path, form: str, prepared: Prepared, sealed: Sealed) -> list[Output]:
    using = embedded_format(form)
    new = Output(
        str(out), using.attach(prepared, sealed), check=lambda path: check_attached(using, path, prepared, sealed)
    )
    return [new, *(Output(f"{out}{one.suffix}", one.data) for one in files_beside(form, prepared, sealed))]


def plain(folder: Path) -> Path:
    path = folder / "plain"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_what_changed_after_it_was_prepared_is_not_signed_and_nothing_is_left(tmp_path: Path, form: str) -> None:
    """A150."""
    path, out = plain(tmp_path), tmp_path / "out"
    prepared, sealed = made(path, form)
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises((ChangedWhileRead, BadSignature)):
        write_batch(outputs(out, form, prepared, sealed))
    assert os.listdir(tmp_path) == ["plain"]
    path.write_bytes(DATA)
    prepared, sealed = made(path, form)
    write_batch(outputs(out, form, prepared, sealed))
    assert judge(out, TRUST).outcome is Outcome.TRUSTED
    assert sorted(os.listdir(tmp_path)) == sorted(["plain", "out", *(f"out{ending}" for ending in BESIDE[form])])


@pytest.mark.parametrize("form", FORMATS)
def test_the_signature_gets_its_name_last(tmp_path: Path, form: str) -> None:
    prepared, sealed = made(plain(tmp_path), form)
    named = [Path(one.path).name for one in outputs(tmp_path / "out", form, prepared, sealed)]
    assert named == ["out", *(f"out{ending}" for ending in BESIDE[form])]


@pytest.mark.parametrize("form", FORMATS)
def test_a_prefix_of_what_is_written_never_verifies(tmp_path: Path, form: str) -> None:
    """A152: what a crash leaves while the files get their names."""
    prepared, sealed = made(plain(tmp_path), form)
    every = outputs(tmp_path / "out", form, prepared, sealed)
    for count in range(1, len(every)):
        write_batch(every[:count])
        assert judge(tmp_path / "out", TRUST).outcome is Outcome.REJECTED
        for one in every[:count]:
            os.unlink(one.path)
    write_batch(every)
    assert judge(tmp_path / "out", TRUST).outcome is Outcome.TRUSTED


@pytest.mark.parametrize("form", FORMATS)
def test_replaced_files_are_replaced_together(tmp_path: Path, form: str) -> None:
    path, out = plain(tmp_path), tmp_path / "out"
    first = outputs(out, form, *made(path, form))
    write_batch(first)
    (tmp_path / "newer").write_bytes(DATA[::-1])
    second = outputs(out, form, *made(tmp_path / "newer", form))
    for mixed in ([second[0], *first[1:]], [first[0], *second[1:]]):
        replace_pairs([Pair(tuple(Output(one.path, one.data) for one in mixed))])
        assert judge(out, TRUST).outcome is Outcome.REJECTED
    replace_pairs([Pair(tuple(second))])
    assert judge(out, TRUST).outcome is Outcome.TRUSTED
    assert not list(tmp_path.glob(f"*{OLD}"))


def test_somebody_elses_backups_of_an_output_stay_what_they_are(tmp_path: Path) -> None:
    """`firmware.bin.old` is a name that people give to what they want to keep (A171)."""
    path, home, out = plain(tmp_path), str(tmp_path / "home"), tmp_path / "out"
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "ima", "--home", home, "--algorithm", "p256"]) == 0
    signing = ["sign", str(path), "--home", home, "--format", "ima", "--out", str(out)]
    assert main(signing) == 0
    kept = {tmp_path / f"out{ending}": ending.encode() for ending in (".old", ".sig.old")}
    for backup, data in kept.items():
        backup.write_bytes(data)
    assert main(signing) == 1  # nothing is written over
    assert main([*signing, "--replace"]) == 0
    assert {backup: backup.read_bytes() for backup in kept} == kept
    assert out.read_bytes() == DATA
    assert not list(tmp_path.glob(f"*{OLD}"))


@pytest.mark.parametrize("taken", ["b.tsr", "b.sig", "b"])
@pytest.mark.parametrize("how", ["a file", "a link", "a folder"])
def test_what_is_in_the_way_of_one_output_stops_that_one_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], taken: str, how: str
) -> None:
    home, out = str(tmp_path / "home"), tmp_path / "out"
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "ima", "--home", home, "--algorithm", "p256"]) == 0
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(DATA)
    out.mkdir()
    match how:
        case "a file":
            (out / taken).write_bytes(b"mine")
        case "a link":
            (out / taken).symlink_to("nowhere")
        case "a folder":
            (out / taken).mkdir()
    signing = ["sign", *map(str, paths), "--home", home, "--format", "ima", "--out", str(out), "--timestamp", "local"]
    assert main(signing) == 1
    assert sorted(os.listdir(out)) == sorted(["a", "a.sig", "a.tsr", taken, "c", "c.sig", "c.tsr"])
    assert f"not signed {paths[1]}" in capsys.readouterr().err
    assert main(["verify", str(out / "a"), str(out / "c"), "--trust", f"{home}/trust.toml"]) == 0


def test_after_a_crash_the_old_timestamp_comes_back_with_its_signature(tmp_path: Path) -> None:
    """A152: all that was kept is put back, and then there is nothing to write over."""
    path, home, out = plain(tmp_path), str(tmp_path / "home"), tmp_path / "out"
    assert main(["init", home]) == 0
    assert main(["key", "enrol", "ima", "--home", home, "--algorithm", "p256"]) == 0
    signing = ["sign", str(path), "--home", home, "--format", "ima", "--out", str(out), "--timestamp", "local"]
    assert main(signing) == 0
    old = {ending: Path(f"{out}{ending}").read_bytes() for ending in (".tsr", "", ".sig")}
    for ending, data in old.items():
        Path(f"{out}{ending}{OLD}").write_bytes(data)
    Path(f"{out}.tsr").write_bytes(b"of the new signature")
    assert main(signing) == 1
    assert {ending: Path(f"{out}{ending}").read_bytes() for ending in old} == old
    assert not list(tmp_path.glob(f"*{OLD}"))


@pytest.mark.parametrize("form", FORMATS)
def test_the_kernel_copies_the_payload(tmp_path: Path, form: str) -> None:
    prepared, sealed = made(plain(tmp_path), form)
    first = embedded_format(form).attach(prepared, sealed)[0]
    assert first == FileRange(str(tmp_path / "plain"), 0, len(DATA))


@pytest.mark.parametrize("form", FORMATS)
def test_no_signature_serves_in_the_place_of_another(tmp_path: Path, form: str) -> None:
    path, out = plain(tmp_path), tmp_path / "out"
    write_batch(outputs(out, form, *made(path, form)))
    assert judge(out, TRUST).outcome is Outcome.TRUSTED
    signature = Path(f"{out}{BESIDE[form][-1]}").read_bytes()
    for ending in (".p7s", *(endings[-1] for name, endings in BESIDE.items() if name != form)):
        other = tmp_path / "other"
        other.write_bytes(out.read_bytes())
        if ending == ".roothash.p7s":
            Path(f"{other}.roothash").write_bytes(b"0" * 64)
        Path(f"{other}{ending}").write_bytes(signature)
        assert judge(other, TRUST).outcome is Outcome.REJECTED, ending
        for left in tmp_path.glob("other*"):
            left.unlink()


def test_nothing_is_written_over_the_file_that_is_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    assert main(["init", str(home)]) == 0
    assert main(["key", "enrol", "ima", "--home", str(home), "--algorithm", "p256"]) == 0
    signing = ["--home", str(home), "--format", "ima", "--replace", "--out"]
    for name, out in (("a", "a"), ("b.sig", "b")):
        (tmp_path / name).write_bytes(DATA)
        assert main(["sign", str(tmp_path / name), *signing, str(tmp_path / out)]) == 1
        assert "written over" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == DATA
    assert main(["sign", str(tmp_path / "b.sig"), *signing, str(tmp_path / "c")]) == 0


def test_what_cannot_be_written_whole_leaves_nothing(tmp_path: Path) -> None:
    prepared, sealed = made(plain(tmp_path), "fsverity")
    every = outputs(tmp_path / "out", "fsverity", prepared, sealed)
    (tmp_path / "out.fsverity.p7s").mkdir()  # the last of them cannot be written
    for how in (write_batch, lambda files: replace_pairs([Pair(tuple(files))])):
        with pytest.raises(SealwrightError):
            how(every)
        assert sorted(os.listdir(tmp_path)) == ["out.fsverity.p7s", "plain"]
