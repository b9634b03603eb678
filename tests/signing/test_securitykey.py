"""A security key at the command line: made known, entered by the officer, and used to approve, through the real CTAP client."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fido2.ctap import CtapError
from fido2.hid import CtapHidDevice

from kit.securitykey import SoftKey
from sealwright.cli.main import main
from sealwright.errors import KeyRefused, KeyUnavailable, RequestRefused, UsageError
from sealwright.keys.pin import Pin
from sealwright.signing.approval import approver_of
from sealwright.signing.people import People, parse_people
from sealwright.signing.securitykey import Place, Touch, approved, attached, place_of, registered

NOW = datetime(2026, 11, 1, tzinfo=UTC)
URL = "https://sign.acme.example:8443"
PLACE = Place("sign.acme.example", URL)
REGISTER = '# sealwright people 1\ntenants = ["acme"]\n\n[[person]]\nid = "p9"\ntenant = "acme"\nroles = ["approver"]\n'


def with_pin(text: str | None, touched: list[str] | None = None) -> Touch:
    return Touch(
        lambda: None if text is None else Pin(text), lambda: (touched if touched is not None else []).append("x")
    )


def enrolled(key: SoftKey, folder: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    """By the two commands, one of the owner and one of the officer."""
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([key]))
    (folder / "pin").write_text("1234\n")
    (folder / "pin").chmod(0o600)
    (folder / "people.toml").write_text(REGISTER)
    out = str(folder / "p9-key.toml")
    assert main(["people", "enrol-key", out, "--service", URL, "--pin-file", str(folder / "pin")]) == 0
    assert main(["people", "add", str(folder / "people.toml"), "approval-key", "p9", out]) == 0
    return parse_people((folder / "people.toml").read_bytes(), "people.toml")


def test_an_enrolled_key_approves_what_it_is_shown_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = SoftKey()
    people = enrolled(key, tmp_path, monkeypatch)
    said = capsys.readouterr().out
    known = people.webauthn_keys("p9", NOW)[0]
    assert str(known.key) in said
    assert "attestation: none" in said
    assert said.count(str(known.key)) == 2, "the owner and the officer are shown the same digest"
    assert known.aaguid == "01234567-89ab-cdef-0123-456789abcdef"
    assert known.origin == URL
    touched: list[str] = []
    approval = approved(key, b"request", PLACE, [known.credential], with_pin("1234", touched))
    assert touched
    register = people.approvers("acme", NOW)
    found = approver_of(b"request", approval, register, "approval")
    assert found is not None
    assert (found.person, found.key) == ("p9", known.key)
    with pytest.raises(RequestRefused, match="another challenge"):
        approver_of(b"another", approval, register, "approval")


def test_a_wrong_pin_is_tried_once_and_nobody_to_ask_for_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SoftKey()
    credential = enrolled(key, tmp_path, monkeypatch).webauthn_keys("p9", NOW)[0].credential
    key.tries = 0
    with pytest.raises(KeyRefused, match="the PIN is wrong"):
        approved(key, b"request", PLACE, [credential], with_pin("9999"))
    assert key.tries == 1
    with pytest.raises(KeyRefused, match="PIN"):
        approved(key, b"request", PLACE, [credential], with_pin(None))
    assert key.tries == 1
    assert approved(key, b"request", PLACE, [credential], with_pin("1234"))


def test_a_key_answers_no_service_of_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftKey()
    credential = enrolled(key, tmp_path, monkeypatch).webauthn_keys("p9", NOW)[0].credential
    assert approved(key, b"request", PLACE, [credential], with_pin("1234"))
    with pytest.raises(KeyRefused, match="none of the credentials"):
        approved(key, b"request", place_of("https://evil.example:8443"), [credential], with_pin("1234"))
    with pytest.raises(KeyRefused, match="none of the credentials"):
        approved(key, b"request", PLACE, [credential[::-1]], with_pin("1234"))


def test_a_key_whose_credentials_are_copied_is_not_enrolled() -> None:
    assert registered(SoftKey(), PLACE, with_pin("1234")).credential
    with pytest.raises(KeyRefused, match="can be copied"):
        registered(SoftKey(backed_up=True), PLACE, with_pin("1234"))


def test_no_key_and_two_keys_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftKey()
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([key]))
    assert attached() is key
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([]))
    with pytest.raises(KeyUnavailable, match="none is plugged in"):
        attached()
    monkeypatch.setattr(CtapHidDevice, "list_devices", lambda: iter([SoftKey(), SoftKey()]))
    with pytest.raises(UsageError, match="2 are plugged in"):
        attached()


@pytest.mark.parametrize("code", [CtapError.ERR.PIN_BLOCKED, CtapError.ERR.USER_ACTION_TIMEOUT, CtapError.ERR.OTHER])
def test_whatever_a_key_answers_is_a_refusal_in_words(code: CtapError.ERR, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SoftKey()

    def refuses(asked: object) -> object:
        raise CtapError(code)

    credential = registered(key, PLACE, with_pin("1234")).credential
    monkeypatch.setattr(key, "_assert", refuses)
    with pytest.raises(KeyRefused):
        approved(key, b"request", PLACE, [credential], with_pin("1234"))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://sign.acme.example", "https://sign.acme.example"),
        ("https://sign.acme.example:443/", "https://sign.acme.example"),
        ("https://SIGN.acme.example:8443", URL),
    ],
)
def test_origins_are_written_as_browsers_write_them(url: str, origin: str) -> None:
    assert place_of(url) == Place("sign.acme.example", origin)


@pytest.mark.parametrize("url", ["http://sign.acme.example", "https://127.0.0.1:8443", "https://[::1]:8443", "sign"])
def test_a_service_that_is_called_by_a_number_has_no_security_keys(url: str) -> None:
    with pytest.raises(UsageError, match="host's name"):
        place_of(url)
