"""Approvers' keys in a token and in a TPM: made and used by the command line, and counted by the service as any other."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kit.house import Backend, House
from kit.openssl import cms_verify
from sealwright.cli.main import main
from sealwright.envelope.algorithms import key_digest
from sealwright.errors import RequestRefused
from sealwright.keys.key import Provenance
from sealwright.keys.pin import Pin
from sealwright.signing.approval import approve, approver_of
from sealwright.signing.home import KeyPurpose, open_home
from sealwright.signing.people import parse_people

NOW = datetime(2026, 11, 1, tzinfo=UTC)
REGISTER = '# sealwright people 1\ntenants = ["acme"]\n\n[[person]]\nid = "p9"\ntenant = "acme"\nroles = ["approver"]\n'


@pytest.mark.parametrize("backend", [Backend.TOKEN, Backend.TPM])
def test_a_key_in_hardware_approves_and_openssl_reads_it(tmp_path: Path, backend: Backend) -> None:
    house = House.make(tmp_path, backend)
    assert main(["key", "enrol", "approval", "--home", str(house.home), "--name", "approval", *house.pin]) == 0
    (tmp_path / "people.toml").write_text(REGISTER)
    certificate = str(house.home / "certificates" / "approval.pem")
    assert main(["people", "add", str(tmp_path / "people.toml"), "approval-key", "p9", certificate]) == 0
    register = parse_people((tmp_path / "people.toml").read_bytes(), "people.toml").approvers("acme", NOW)
    home = open_home(str(house.home))
    key = home.key(None, KeyPurpose.APPROVAL)
    assert key.provenance is Provenance.HARDWARE_CLAIMED
    pin = Pin.from_file(str(house.pin_file)) if house.pin else None
    approval = approve(b"request", "request", home, key, datetime.now(UTC), pin)
    found = approver_of(b"request", approval, register, "approval")
    assert found is not None
    assert (found.person, found.key) == ("p9", key_digest(key.public_key))
    with pytest.raises(RequestRefused):
        approver_of(b"another", approval, register, "approval")
    (tmp_path / "request").write_bytes(b"request")
    (tmp_path / "request.p7s").write_bytes(approval.proof)
    assert cms_verify(tmp_path / "request.p7s", tmp_path / "request", house.home / "ca.pem")[0]
