"""Projects of engineering tools in a survey: what is signed as a folder, and the exchange files that lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.manifests import manifest_pair
from kit.nodered import FILES, node_red_project
from kit.pki import Pki, p7s
from kit.surveys import looked, states
from kit.xmldocs import PLCOPEN, signed_by_xmlsec1
from sealwright.artifact.claims import Claims
from sealwright.plant.seen import LISTED
from sealwright.plant.signers import State

PKI = Pki.make()
INTEGRATOR, MAKER = PKI.leaf("integrator"), PKI.leaf("plc maker")
CLAIMS = Claims(product="oven-1 flows", version="1.4.0", generation=14)


def delivery(folder: Path) -> Path:
    """A signed Node-RED project, PLCopen XML with a signature inside and one with a signature beside it, and one of nobody's."""
    share = folder / "line-3"
    share.mkdir()
    manifest_pair(node_red_project(share), INTEGRATOR, CLAIMS)
    signed_by_xmlsec1(PLCOPEN.encode(), MAKER, folder / "pump.xml").rename(share / "pump.xml")
    (share / "mixer.xml").write_text(PLCOPEN)
    (share / "mixer.xml.p7s").write_bytes(p7s(MAKER, PLCOPEN.encode()))
    (share / "spare.xml").write_text(PLCOPEN.replace("Pump", "Spare"))
    return share


def test_a_signed_node_red_project_is_one_signed_folder_whose_files_are_listed_and_its_neighbours_go_by_themselves(
    tmp_path: Path,
) -> None:
    share = delivery(tmp_path)
    with looked(share) as spool:
        assert states(spool) == {LISTED: len(FILES), "intact": 2, "unsigned": 1}
        assert spool.counts.trees == 1
        signed = {path.removeprefix(f"{share}/"): rows for path, _, _, _, rows in spool.signed()}
        assert {path: rows[0]["format"] for path, rows in signed.items()} == {
            "oven-1": "manifest",
            "pump.xml": "xmldsig",
            "mixer.xml": "detached",
        }
        (project,) = signed["oven-1"]
        assert (project["product"], project["version"], project["generation"]) == ("oven-1 flows", "1.4.0", "14")
        assert {one.subject: one.files for one in spool.by_signer()} == {
            "CN=integrator,O=ACME": 1,
            "CN=plc maker,O=ACME": 2,
        }
        assert [(one.path, one.files) for one in spool.unsigned()] == [(str(share), 1)]


@pytest.mark.parametrize("name", FILES)
def test_one_changed_file_of_a_node_red_project_breaks_its_folder_and_names_it(tmp_path: Path, name: str) -> None:
    share = delivery(tmp_path)
    with (share / "oven-1" / name).open("a") as stream:
        stream.write(" ")
    with looked(share) as spool:
        (told,) = spool.told(State.BROKEN)
        assert (told.path, told.code) == (str(share / "oven-1"), "SW-TREE-FILE-CHANGED")
        assert name in told.why
        assert states(spool) == {"intact": 2, "unsigned": len(FILES) + 1}


def test_a_node_that_somebody_put_into_a_signed_project_is_not_listed_with_it(tmp_path: Path) -> None:
    """A package that nobody signed runs as soon as Node-RED starts."""
    share = delivery(tmp_path)
    added = share / "oven-1" / "node_modules" / "node-red-contrib-extra"
    added.mkdir(parents=True)
    (added / "index.js").write_text("module.exports = RED => {}\n")
    with looked(share) as spool:
        (told,) = spool.told(State.BROKEN)
        assert told.path == str(share / "oven-1")
        assert "node-red-contrib-extra/index.js" in told.why
        assert states(spool) == {"intact": 2, "unsigned": len(FILES) + 2}


def test_a_node_red_project_that_nobody_signed_is_unsigned_files(tmp_path: Path) -> None:
    node_red_project(tmp_path)
    with looked(tmp_path) as spool:
        assert states(spool) == {"unsigned": len(FILES)}
        assert spool.counts.trees == 0
