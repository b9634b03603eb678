"""`doctor --token`: a token and a TPM are tried with throwaway keys, and nothing of them is left."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kit.tokens import PIN, another_token, softhsm, tpm
from sealwright.cli.main import main
from sealwright.errors import KeyUnavailable
from sealwright.keys import trial
from sealwright.keys.backends import create_key
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.keys.pkcs11 import TokenKey, list_token_keys
from sealwright.keys.trial import Result, try_token


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.keys.trial.SPEED_S", 0.05)
    monkeypatch.setattr("sealwright.keys.trial_tpm.SPEED_S", 0.05)


def test_a_token_that_keeps_its_keys_is_found_usable_and_left_as_it_was() -> None:
    pin = softhsm()
    token = another_token()
    own = create_key(f"{token};object=own", KeyKind.P256, pin)
    found = {one.name: one for one in try_token(token, pin)}
    assert [one.name for one in found.values() if one.standing is Result.WRONG] == []
    for name in (
        "p256: sign and verify", "p384: sign and verify", "p521: sign and verify", "rsa3072: sign and verify",
        "rsa3072-pss: sign and verify", "ed25519: sign and verify", "p256: reading the private key",
        "rsa3072: making it extractable", "session lost", "worker process killed", "two processes at once",
        "a key from outside (`key import`)", "cleaning up",
    ):  # fmt: skip
        assert found[name].standing is Result.WORKS, name
    assert found["p256: sign and verify"].rate > 100
    assert found["mechanism CKM_ML_DSA"].standing is Result.NO
    assert "the token signs it" in found["p256: a digest of another length"].found
    assert found["taking it out"].found.startswith("not tried")
    assert [key.uri for key in list_token_keys(token, pin)] == [own.uri]


def test_throwaway_keys_are_destroyed_also_when_the_trial_is_broken_off() -> None:
    pin, token = softhsm(), another_token()
    trying = try_token(token, pin)
    for one in trying:
        if one.name == "p384: make":
            break
    assert len(list_token_keys(token, pin)) == 2
    trying.close()
    assert list_token_keys(token, pin) == []


def test_a_key_that_could_not_be_destroyed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pin, token = softhsm(), another_token()
    monkeypatch.setattr(trial, "destroy_token_key", lambda *_: None)
    (cleaning,) = [one for one in try_token(token, pin, [KeyKind.P256]) if one.name == "cleaning up"]
    assert cleaning.standing is Result.WRONG
    assert trial.PREFIX in cleaning.found


def test_a_token_that_would_give_its_keys_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SoftHSM keeps its keys: what the worker would answer of another is put in its place."""
    pin, token = softhsm(), another_token()
    real = TokenKey.ask

    def leaks(self: TokenKey, question: dict[str, object]) -> dict[str, object]:
        answer = real(self, question)
        return {**answer, "read": "", "weaken": ""} if question["do"] == "probe" else answer

    monkeypatch.setattr(TokenKey, "ask", leaks)
    wrong = [one.name for one in try_token(token, pin, [KeyKind.P256]) if one.standing is Result.WRONG]
    assert wrong == ["p256: reading the private key", "p256: making it extractable"]


def test_a_wrong_pin_is_tried_once_and_a_missing_token_is_an_error() -> None:
    softhsm()
    token = another_token()
    tried: list[str] = []
    with pytest.raises(KeyUnavailable, match="tried once"):
        tried.extend(one.name for one in try_token(token, Pin("000000")))
    assert "p256: make" not in tried
    with pytest.raises(KeyUnavailable, match="not there"):
        list(try_token("pkcs11:token=nowhere", Pin(PIN)))


def test_the_report_is_printed_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    softhsm()
    monkeypatch.setattr(trial, "KINDS", [KeyKind.P256])
    token, pin, out = another_token(), tmp_path / "pin", tmp_path / "report.txt"
    pin.write_text(PIN)
    pin.chmod(0o600)
    asked = ["doctor", "--token", token, "--pin-file", str(pin)]
    assert main([*asked, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.endswith("Sealwright can use this token.\n")
    assert out.read_text().splitlines()[1:] == said.splitlines()
    assert main([*asked, "--out", str(out)]) == 1, "an older report is not written over"
    capsys.readouterr()
    assert main([*asked, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["standing"] for one in objects} == {"ok", "no"}
    assert main(["doctor", "--token", f"file:{out}"]) == 2


def test_a_tpm_is_tried_in_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tpm()
    assert main(["doctor", "--token", "tpm:", "--json"]) == 0
    found = {one["trial"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    for name in ("p256: sign and verify", "p384: sign and verify", "rsa3072: attestation", "a key bound to platform registers",
                 "a key from outside (`key import`)"):  # fmt: skip
        assert found[name]["standing"] == "ok", found[name]
    before = os.environ["TPM2TOOLS_TCTI"]
    try:
        os.environ["TPM2TOOLS_TCTI"] = "swtpm:host=127.0.0.1,port=1"
        assert main(["doctor", "--token", "tpm:"]) == 1
    finally:
        os.environ["TPM2TOOLS_TCTI"] = before
    assert "no TPM answers" in capsys.readouterr().err


def test_a_token_that_makes_no_key_is_not_called_usable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tpm2-pkcs11 without its own tools: it offers the mechanisms, and answers GeneralError when a key is made."""
    softhsm()
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    asked = ["doctor", "--token", another_token(), "--pin-file", str(pin)]
    monkeypatch.setattr(trial, "KINDS", [KeyKind.P256])
    assert main(asked) == 0
    capsys.readouterr()

    def fails(uri: str, *_: object) -> None:
        raise KeyUnavailable(uri, "the token answered GeneralError", "Ask its maker.")

    monkeypatch.setattr(trial, "create_token_key", fails)
    assert main(asked) == 1
    assert "cannot use this token" in capsys.readouterr().out


def test_a_key_that_the_token_made_while_the_trial_was_interrupted_is_destroyed_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pin, token = softhsm(), another_token()
    real = trial.create_token_key

    def interrupted(uri: str, kind: KeyKind, secret: Pin | None) -> None:
        real(uri, kind, secret)
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(trial, "create_token_key", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(try_token(token, pin, [KeyKind.P256]))
    assert list_token_keys(token, pin) == []
    create_key(f"{token};object={trial.PREFIX}killed", KeyKind.P256, pin)
    (cleaning,) = [one for one in try_token(token, pin, [KeyKind.P256]) if one.name == "cleaning up"]
    assert (cleaning.standing, "an earlier run left" in cleaning.found) == (Result.NO, True)
