"""What is read by its difference from another signature is exactly what reading it in full finds, right or wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kit.inside import sign_inside
from kit.mutate import flips
from kit.pki import NOW, Pki, p7s, token
from kit.pki import Signer as Made
from sealwright.artifact.source import open_artifact
from sealwright.envelope import cms
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.envelope.cms_write import add_token
from sealwright.envelope.shape import MAX_LENGTHS, MAX_OF_ONE_LENGTH, Shapes
from sealwright.errors import SealwrightError
from sealwright.formats.powershell import read_layout
from sealwright.keys.key import KeyKind


def found(data: bytes, profile: Profile) -> object:
    """What reading says: the envelope with its broken signers in words, or the error in words."""
    try:
        envelope = read_envelope(data, profile, "test.p7s")
    except SealwrightError as cause:
        return type(cause), str(cause)
    signers = [one if isinstance(one, Signer) else (type(one.reason), str(one.reason)) for one in envelope.signers]
    return envelope._replace(signers=()), signers


def in_full(data: bytes, profile: Profile) -> object:
    """The same with nothing known before."""
    cms._SHAPES.forget()
    return found(data, profile)


@pytest.fixture(scope="module", params=["plain", "stamped", "token", "authenticode"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Profile]:
    """A signature, one with a timestamp, the timestamp, and one of a script; Ed25519 and RSA have fixed lengths, so that shapes fit."""
    pki = Pki.make()
    stamp = pki.tsa(kind=KeyKind.RSA3072)
    if request.param == "authenticode":
        script = tmp_path_factory.mktemp("script")
        return signed_script(script, pki.leaf(kind=KeyKind.RSA3072), stamp, b"one"), Profile.FOREIGN_AUTHENTICODE
    plain = p7s(pki.leaf(kind=KeyKind.ED25519), b"firmware")
    (signer,) = read_envelope(plain, Profile.OURS, "sample").signers
    assert isinstance(signer, Signer)
    stamped = token(stamp, signer.signature)
    if request.param == "token":
        return stamped, Profile.FOREIGN_TOKEN
    return add_token(plain, signer.signature, stamped, "sample") if request.param == "stamped" else plain, Profile.OURS


def signed_script(folder: Path, signer: Made, stamp: Made, words: bytes) -> bytes:
    """The CMS of a script with a timestamp."""
    plain = folder / f"{words.decode()}.ps1"
    plain.write_bytes(b"Write-Host '%s'\r\n" % words)
    out = sign_inside(plain, signer, folder / f"signed-{plain.name}", "powershell", tsa=stamp)
    with open_artifact(out) as source:
        return read_layout(source).signature


def test_every_flipped_bit_is_found_as_in_full(sample: tuple[bytes, Profile]) -> None:
    data, profile = sample
    for bit in (0x01, 0x20, 0x80):
        for at, changed in flips(data, bit=bit):
            wanted = in_full(changed, profile)
            cms._SHAPES.forget()
            found(data, profile)
            assert found(changed, profile) == wanted, (at, bit)


def test_parts_of_itself_written_anywhere_are_found_as_in_full(sample: tuple[bytes, Profile]) -> None:
    data, profile = sample
    dice = random.Random(1)
    for _ in range(3000):
        size = dice.choice((1, 2, 13, 32, 64))
        source, at = dice.randrange(len(data) - size), dice.randrange(len(data) - size)
        changed = data[:at] + data[source : source + size] + data[at + size :]
        wanted = in_full(changed, profile)
        cms._SHAPES.forget()
        found(data, profile)
        assert found(changed, profile) == wanted, (source, at, size)


def test_a_second_file_of_one_signer_is_read_by_its_shape() -> None:
    pki = Pki.make()
    leaf = pki.leaf(kind=KeyKind.ED25519)
    first, second = p7s(leaf, b"one"), p7s(leaf, b"two")
    cms._SHAPES.forget()
    assert cms._SHAPES.read(Profile.OURS, second) is None
    envelope = read_envelope(first, Profile.OURS, "one.p7s")
    by_shape = cms._SHAPES.read(Profile.OURS, second)
    assert by_shape is not None
    (one,), (two,) = envelope.signers, by_shape.signers
    assert isinstance(one, Signer)
    assert isinstance(two, Signer)
    assert one.digest != two.digest
    assert two.claimed_time == NOW
    assert found(second, Profile.OURS) == in_full(second, Profile.OURS)


def test_a_second_script_of_one_signer_is_read_by_its_shape(tmp_path: Path) -> None:
    pki = Pki.make()
    signer, stamp = pki.leaf(kind=KeyKind.RSA3072), pki.tsa(kind=KeyKind.RSA3072)
    first = signed_script(tmp_path, signer, stamp, b"one")
    made = (
        signed_script(tmp_path, signer, stamp, b"two") for _ in range(20)
    )  # a serial number may be an octet shorter
    cms._SHAPES.forget()
    one = read_envelope(first, Profile.FOREIGN_AUTHENTICODE, "one.ps1")
    second = next(data for data in made if cms._SHAPES.read(Profile.FOREIGN_AUTHENTICODE, data) is not None)
    two = cms._SHAPES.read(Profile.FOREIGN_AUTHENTICODE, second)
    assert two is not None
    assert two.content != one.content
    assert found(second, Profile.FOREIGN_AUTHENTICODE) == in_full(second, Profile.FOREIGN_AUTHENTICODE)


def test_what_is_nested_in_a_signature_is_not_lost_to_a_shape(tmp_path: Path) -> None:
    pki = Pki.make()
    stamped = signed_script(tmp_path, pki.leaf(kind=KeyKind.RSA3072), pki.tsa(kind=KeyKind.RSA3072), b"one")
    stamp_type, nested_type = bytes.fromhex("2b060104018237030301"), bytes.fromhex("2b060104018237020401")
    data = stamped.replace(stamp_type, nested_type)
    cms._SHAPES.forget()
    for _ in range(2):
        assert len(read_envelope(data, Profile.FOREIGN_AUTHENTICODE, "one.ps1").nested) == 1
        assert not read_envelope(stamped, Profile.FOREIGN_AUTHENTICODE, "one.ps1").nested


def test_a_shape_of_one_profile_says_nothing_in_another() -> None:
    pki = Pki.make()
    data = p7s(pki.leaf(kind=KeyKind.ED25519), b"one")
    assert read_envelope(data, Profile.OURS, "one.p7s").signers
    assert cms._SHAPES.read(Profile.FOREIGN_CMS, data) is None


def test_what_is_kept_stays_bounded() -> None:
    pki = Pki.make()
    data = p7s(pki.leaf(kind=KeyKind.ED25519), b"one")
    envelope = read_envelope(data, Profile.OURS, "one.p7s")
    (signer,) = envelope.signers
    assert isinstance(signer, Signer)
    shapes = Shapes()
    for number in range(200):
        shapes.learn(number, data, envelope, signer)
        shapes.learn(0, data, envelope, signer)
    assert len(shapes._known) <= MAX_LENGTHS
    assert all(len(kept) <= MAX_OF_ONE_LENGTH for kept in shapes._known.values())
