"""What is read by its difference from another signature is exactly what reading it in full finds, right or wrong."""

from __future__ import annotations

import random

import pytest

from kit.mutate import flips
from kit.pki import NOW, Pki, p7s, token
from sealwright.envelope import cms
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.envelope.cms_write import add_token
from sealwright.envelope.shape import MAX_LENGTHS, MAX_OF_ONE_LENGTH, Shapes
from sealwright.errors import SealwrightError
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


@pytest.fixture(scope="module", params=["plain", "stamped", "token"])
def sample(request: pytest.FixtureRequest) -> tuple[bytes, Profile]:
    """A signature, one with a timestamp, and the timestamp; Ed25519 and RSA have fixed lengths, so that shapes fit."""
    pki = Pki.make()
    stamp = pki.tsa(kind=KeyKind.RSA3072)
    plain = p7s(pki.leaf(kind=KeyKind.ED25519), b"firmware")
    (signer,) = read_envelope(plain, Profile.OURS, "sample").signers
    assert isinstance(signer, Signer)
    stamped = token(stamp, signer.signature)
    if request.param == "token":
        return stamped, Profile.FOREIGN_TOKEN
    return add_token(plain, signer.signature, stamped, "sample") if request.param == "stamped" else plain, Profile.OURS


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
