"""What the plant itself wrote beside its files: a survey says whose it is, and counts as unsigned what nothing binds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kit.manifests import manifest_pair
from kit.pki import p7s
from kit.records import text_of, write
from kit.statements import Plant, accept, receive, receiving_of
from kit.surveys import looked, states
from sealwright.artifact.acceptance import Report
from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest
from sealwright.artifact.receiving import Evidence, receiving_bytes
from sealwright.plant.seen import BELONGING, LISTED
from sealwright.plant.signers import State
from sealwright.plant.spool import Spool

PLANT = Plant()
PROOF = b"c2sp.org/tlog-proof@v1\n"
DER = b"\x30\x03abc"
TWO = ("p-1", "p-2")


def accepted(folder: Path) -> Path:
    """A maker's signed file that the plant accepted by a report, with all that renews and proves the signatures."""
    path = folder / "drive.bin"
    path.write_bytes(b"firmware")
    (folder / "drive.bin.p7s").write_bytes(p7s(PLANT.release, b"firmware"))
    (folder / "FAT report.pdf").write_bytes(b"passed")
    report = Report(b"FAT report.pdf", Digest.of(b"passed").value)
    accept(path, PLANT.anna, reports=(report,), beside=(report.name,))
    for name in ("drive.bin.tlog-proof", "drive.bin.plant.tlog-proof"):
        (folder / name).write_bytes(PROOF)
    for name in ("drive.bin.ers", "drive.bin.tsr", "drive.bin.2.tsr"):
        (folder / name).write_bytes(DER)
    return path


def received(folder: Path) -> Path:
    """A file and a folder that came unsigned, each with what two persons know of it."""
    path, project = folder / "old.bin", folder / "project"
    path.write_bytes(b"unsigned")
    project.mkdir()
    (project / "main.st").write_bytes(b"VAR")
    for one in (path, project):
        receive(one, PLANT.anna, PLANT.bert, persons=TWO)
        (folder / f"{one.name}.received.manifest.ers").write_bytes(DER)
        (folder / f"{one.name}.received.manifest.tsr").write_bytes(DER)
    return path


def belonging(spool: Spool, folder: Path) -> dict[str, tuple[str, str, bool]]:
    """Whose each file is, as what, and whether that is bound."""
    cut = len(str(folder)) + 1
    return {one.path[cut:]: (one.owner[cut:], one.kind, one.bound) for one in spool.belonging()}


def unsigned(spool: Spool) -> int:
    return states(spool).get("unsigned", 0)


def test_what_belongs_to_an_accepted_file_is_said_and_none_of_it_is_an_unsigned_product(tmp_path: Path) -> None:
    accepted(tmp_path)
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 1, BELONGING: 1}
        assert belonging(spool, tmp_path) == {
            "FAT report.pdf": ("drive.bin", "report", True),
            "drive.bin.plant.manifest": ("drive.bin", "acceptance", True),
            "drive.bin.ers": ("drive.bin", "evidence-record", False),
            "drive.bin.tlog-proof": ("drive.bin", "log-proof", False),
            "drive.bin.plant.tlog-proof": ("drive.bin", "log-proof", False),
            "drive.bin.tsr": ("drive.bin", "timestamp", False),
            "drive.bin.2.tsr": ("drive.bin", "timestamp", False),
        }


def test_the_evidence_of_received_files_and_folders_belongs_to_them_and_the_folders_files_are_listed(
    tmp_path: Path,
) -> None:
    received(tmp_path)
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 1, BELONGING: 2, LISTED: 1}
        assert spool.counts.trees == 1
        assert belonging(spool, tmp_path) == {
            f"{name}{ending}": (name, kind, bound)
            for name in ("old.bin", "project")
            for ending, kind, bound in (
                (".received/mail.eml", "evidence", True),
                (".received.manifest", "receiving", True),
                (".received.manifest.ers", "evidence-record", False),
                (".received.manifest.tsr", "timestamp", False),
            )
        }


def test_a_signed_folders_proofs_and_acceptance_are_the_folders(tmp_path: Path) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "rye.csv").write_bytes(b"230")
    manifest_pair(folder, PLANT.release, Claims(product="recipes"))
    accept(folder, PLANT.anna)
    (tmp_path / "recipes.manifest.tlog-proof").write_bytes(PROOF)
    (tmp_path / "recipes.manifest.ers").write_bytes(DER)
    with looked(tmp_path) as spool:
        assert states(spool) == {LISTED: 1}
        assert belonging(spool, tmp_path) == {
            "recipes.plant.manifest": ("recipes", "acceptance", True),
            "recipes.manifest.tlog-proof": ("recipes", "log-proof", False),
            "recipes.manifest.ers": ("recipes", "evidence-record", False),
        }


def _other_content(folder: Path) -> None:
    (folder / "old.bin.received" / "mail.eml").write_bytes(b"It is not ours. Kind regards")


def _one_more(folder: Path) -> None:
    (folder / "old.bin.received" / "setup.exe").write_bytes(b"MZ")


def _another_report(folder: Path) -> None:
    (folder / "FAT report.pdf").write_bytes(b"failed")


def _a_link(folder: Path) -> None:
    """It would be followed by nobody else."""
    mail = folder / "old.bin.received" / "mail.eml"
    mail.rename(folder / "mail.eml")
    mail.symlink_to("../mail.eml")


@pytest.mark.parametrize("change", [_other_content, _one_more, _another_report, _a_link])
def test_what_claims_to_be_evidence_and_is_bound_by_nothing_is_unsigned(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    accepted(tmp_path)
    received(tmp_path)
    with looked(tmp_path) as spool:
        assert unsigned(spool) == 0
    change(tmp_path)
    with looked(tmp_path) as spool:
        assert unsigned(spool) == 1


def _unsigned_record(path: Path) -> None:
    path.with_name(f"{path.name}.received.manifest.p7s").unlink()


def _anothers_signature(path: Path) -> None:
    signature = path.with_name(f"{path.name}.received.manifest.p7s")
    signature.write_bytes(p7s(PLANT.anna, b"something else", kind="receiving"))


def _record_about_other_bytes(path: Path) -> None:
    path.write_bytes(b"changed!")


@pytest.mark.parametrize("change", [_unsigned_record, _anothers_signature, _record_about_other_bytes])
def test_a_record_that_nobody_signed_or_that_does_not_hold_hides_nothing(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """Else whoever writes a text beside a file makes his own files belong to it (A066)."""
    path = tmp_path / "old.bin"
    path.write_bytes(b"unsigned")
    receive(path, PLANT.anna)
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 1, BELONGING: 1}
    change(path)
    with looked(tmp_path) as spool:
        assert BELONGING not in states(spool)
        assert unsigned(spool) >= 1
        assert "old.bin.received/mail.eml" not in belonging(spool, tmp_path)


def test_evidence_with_the_name_of_a_signature_is_no_signature_and_hides_no_more_than_other_evidence(
    tmp_path: Path,
) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(b"unsigned")
    record = receiving_of(path)
    old = b"an old signature"
    (tmp_path / "old.bin.received" / "old.bin.p7s").write_bytes(old)
    kept = Evidence("signature", b"old.bin.p7s", Digest.of(old).value, len(old))
    text = receiving_bytes(replace(record, evidence=(*record.evidence, kept)))
    (tmp_path / "old.bin.received.manifest").write_bytes(text)
    with looked(tmp_path) as spool:
        assert unsigned(spool) == 2  # and what it is about cannot be judged
    (tmp_path / "old.bin.received.manifest.p7s").write_bytes(p7s(PLANT.anna, text, kind="receiving"))
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 1, BELONGING: 2}


def test_a_proof_whose_file_is_gone_is_a_file_like_any_other(tmp_path: Path) -> None:
    accepted(tmp_path).unlink()
    with looked(tmp_path) as spool:
        assert BELONGING not in states(spool)
        assert not belonging(spool, tmp_path)


def test_installation_records_are_told_by_their_own_kind_and_draft_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    write(folder, 3, PLANT.anna)
    write(tmp_path / "unsigned records", 2)
    with looked(tmp_path) as spool:
        assert states(spool) == {"intact": 3, "unsigned": 2}
        (signer,) = spool.by_signer()
        assert [(one.what, one.number) for one in signer.formats] == [("record", 3)]
    text_of(folder, 2).write_bytes(text_of(folder, 2).read_bytes().replace(b"trusted", b"rejected"))
    with looked(tmp_path) as spool:
        (told,) = spool.told(State.BROKEN)
        assert (told.path, told.code) == (str(text_of(folder, 2)), "SW-FILE-CHANGED")


def test_a_file_that_only_begins_like_a_record_is_judged_as_a_record(tmp_path: Path) -> None:
    """No signature serves for another kind, in either direction (RULES 1)."""
    for name, kind, state in (("a", "record", State.INTACT), ("b", "file", State.BROKEN), ("c", "trust", State.BROKEN)):
        data = b"# sealwright record 1\nrm -rf /\n"
        (tmp_path / name).write_bytes(data)
        (tmp_path / f"{name}.p7s").write_bytes(p7s(PLANT.release, data, kind=kind))
        with looked(tmp_path / name) as spool:
            assert states(spool) == {state.value: 1}
