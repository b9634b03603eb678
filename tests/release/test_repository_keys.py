"""Keys of a repository's roles: in files, tokens and TPMs, verified by the library of TUF's own clients, and for roles alone."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Targets

from kit.repository import home_in, make_home, now
from kit.tokens import TOKEN, make_token, softhsm, tpm
from sealwright.errors import KeyRefused, MalformedArtifact, UsageError
from sealwright.keys.key import KeyKind
from sealwright.keys.pin import Pin
from sealwright.log.journal import EntryType, read_history
from sealwright.release.rolekeys import Payload, RoleSigners, enrolled_role_key, prepared_role, read_role_key
from sealwright.signing.enrol import enrol, enrol_for
from sealwright.signing.home import JOURNAL, Home, KeyPurpose, open_home
from sealwright.signing.pipeline import Pipeline
from sealwright.signing.sign import Signed, SignOptions, sign_paths


def targets() -> Metadata[Targets]:
    return Metadata(Targets(version=3, expires=now() + timedelta(days=9)))


def signed_by(home: Home, name: str, pin: Pin | None = None) -> Metadata[Targets]:
    """A role signed by one key of a home, through securesystemslib's own way."""
    role = targets()
    key = enrolled_role_key(next(one for one in home.keys if one.name == name))
    with RoleSigners(home, pin, now) as signers:
        role.sign(signers.signer(key.keyid, "drives", 3))
    key.verify_signature(role.signatures[key.keyid], role.signed_bytes)
    return role


@pytest.mark.parametrize(
    "kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA3072, KeyKind.RSA3072_PSS, KeyKind.ED25519]
)
def test_every_kind_of_key_in_a_file_signs_what_tufs_library_verifies(tmp_path: Path, kind: KeyKind) -> None:
    home = home_in(tmp_path)
    enrol_for(home, "repository", "mine", None, now(), kind)
    home = open_home(home.folder)
    role = signed_by(home, "mine")
    key = enrolled_role_key(next(one for one in home.keys if one.name == "mine"))
    role.signed.version += 1
    with pytest.raises(UnverifiedSignatureError):
        key.verify_signature(role.signatures[key.keyid], role.signed_bytes)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.RSA3072, KeyKind.ED25519])
def test_a_key_in_a_token_signs_a_role(tmp_path: Path, kind: KeyKind) -> None:
    pin, before = softhsm(), os.environ["SOFTHSM2_CONF"]
    os.environ["SOFTHSM2_CONF"] = str(make_token(tmp_path, "line-1"))
    try:
        home = make_home(tmp_path / "home", (), TOKEN, pin)
        enrol_for(home, "repository", "mine", pin, now(), kind)
        signed_by(open_home(home.folder), "mine", pin)
    finally:
        os.environ["SOFTHSM2_CONF"] = before


def test_a_key_in_a_tpm_signs_a_role(tmp_path: Path) -> None:
    tpm()
    home = make_home(tmp_path / "home", ("mine",), "tpm:")
    assert next(one for one in home.keys if one.name == "mine").uri.startswith("tpm:")
    signed_by(home, "mine")


def test_each_signature_has_an_intent_and_a_result_in_the_journal(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    role = signed_by(home, "repo-root")
    (intent, result) = list(read_history(home.path(JOURNAL)))[-2:]
    assert (intent.type, result.type) == (EntryType.INTENT, EntryType.RESULT)
    assert intent.fields["construction"] == "tuf-metadata"
    assert (intent.fields["product"], intent.fields["version"]) == ("role drives", "3")
    assert result.fields["request"] == intent.fields["request"]
    assert len(role.signatures) == 1


def test_a_key_for_roles_signs_no_file_and_a_key_for_files_no_role(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    (tmp_path / "f").write_bytes(b"x")
    (answer,) = sign_paths([str(tmp_path / "f")], home, SignOptions(timestamp="none"))
    assert isinstance(answer, Signed)
    with pytest.raises(UsageError, match="enrolled for repository, not for artifact"):
        list(sign_paths([str(tmp_path / "f")], home, SignOptions(key="repo-root", timestamp="none")))
    signed_by(home, "repo-root")
    release = home.key(None, KeyPurpose.ARTIFACT)
    with pytest.raises(KeyRefused, match="enrolled for artifact, not for roles"):
        enrolled_role_key(release)
    with Pipeline(home, release, None) as pipeline, pytest.raises(KeyRefused, match="artifact, and this is a tuf"):
        pipeline.sign([prepared_role(Payload("drives", 3, targets().signed_bytes), release.algorithm)], now())


def test_somebody_elses_certificate_counts_only_for_roles(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    mine = next(one for one in home.keys if one.name == "repo-root")
    found = read_role_key(home.path("certificates", "repo-root.pem"))
    assert found.keyid == enrolled_role_key(mine).keyid
    with pytest.raises(KeyRefused, match="another construction"):
        read_role_key(home.path("certificates", "release.pem"))
    (tmp_path / "none.pem").write_text("hello")
    with pytest.raises(UsageError, match="no certificate and no public key"):
        read_role_key(str(tmp_path / "none.pem"))


def test_a_key_of_another_pki_is_enrolled_for_roles(tmp_path: Path) -> None:
    home, other = home_in(tmp_path), make_home(tmp_path / "other", ("theirs",))
    key = next(one for one in other.keys if one.name == "theirs")
    enrolled = enrol(
        home, "theirs", other.uri(key), KeyPurpose.REPOSITORY, other.path("certificates", "theirs.pem"), None
    )
    assert enrolled.construction.value == "tuf-metadata"
    signed_by(open_home(home.folder), "theirs")


@pytest.mark.parametrize(
    "data", [b"{}", b"[]", b"hello", b'{"_type":"targets"}', b'{"_type": "targets"}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_role_in_its_one_form_is_not_signed(tmp_path: Path, data: bytes) -> None:
    home = home_in(tmp_path)
    signed_by(home, "repo-root")
    with RoleSigners(home, None, now) as signers:
        for payload in (data, targets().signed_bytes + b" "):
            with pytest.raises(MalformedArtifact, match="cannot be signed as a role"):
                signers.sign(min(signers.ids), [Payload("drives", 3, payload)])


def test_a_key_string_alone_makes_no_signer(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    key = enrolled_role_key(next(one for one in home.keys if one.name == "repo-root"))
    with RoleSigners(home, None, now) as signers:
        signer = signers.signer(key.keyid, "drives", 3)
        assert isinstance(signer, Signer)
        assert signer.public_key == key
        with pytest.raises(ValueError, match="signs from its home"):
            type(signer).from_priv_key_uri("file:key.pem", key)
