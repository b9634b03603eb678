"""Tokens joined from parts that were encoded once are, octet for octet, those of the slow way."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.pki import NOW, Pki
from sealwright.artifact.digest import Digest, HashName
from sealwright.envelope.cms_write import assemble, signed_attributes
from sealwright.envelope.kinds import TIMESTAMP
from sealwright.envelope.tsp import Failure, read_token, rejection_bytes, tst_info
from sealwright.envelope.tsp_write import Certificates, TokenMaker
from sealwright.keys.key import KeyKind
from sealwright.pki.oids import TIMESTAMP_POLICY

PKI = Pki.make()
AUTHORITIES = [PKI.tsa(kind=kind) for kind in (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072, KeyKind.ED25519)]
NUMBERS = st.integers(-(2**512) + 1, 2**512 - 1)
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))


@given(
    signer=st.sampled_from(AUTHORITIES),
    name=st.sampled_from(list(HashName)),
    serial=st.integers(1, 2**159),
    nonce=st.none() | NUMBERS,
    times=st.lists(TIMES, min_size=1, max_size=3),
    accuracy=st.integers(1, 86_400_000),
)
def test_the_fast_way_writes_what_the_slow_way_writes(
    signer: object, name: HashName, serial: int, nonce: int | None, times: list[datetime], accuracy: int
) -> None:
    signing, width = signer.signing, timedelta(milliseconds=accuracy)  # type: ignore[attr-defined]
    maker = TokenMaker(signing, TIMESTAMP_POLICY, width)
    imprint = Digest.of(b"x", name)
    for naive in times:
        now = naive.replace(tzinfo=NOW.tzinfo)
        draft = maker.draft(imprint, serial, now, nonce)
        info = tst_info(imprint, policy=TIMESTAMP_POLICY, serial=serial, gen_time=now, accuracy=width, nonce=nonce)
        attributes = signed_attributes(signing, TIMESTAMP, Digest.of(info, signing.algorithm.digest), now)
        assert (draft.info, draft.attributes) == (info, attributes)
        slow = assemble(signing, TIMESTAMP, attributes, b"signature", content=info)
        assert maker.token(draft, b"signature", Certificates.INCLUDED) == slow


def test_a_token_without_certificates_holds_none() -> None:
    signer = AUTHORITIES[0]
    maker = TokenMaker(signer.signing, TIMESTAMP_POLICY, timedelta(seconds=1))
    draft = maker.draft(Digest.of(b"x"), 1, NOW, None)
    value = signer.key.sign([maker.to_be_signed(draft)])[0]
    assert read_token(maker.token(draft, value, Certificates.INCLUDED), "t").serial == 1
    assert signer.certificate not in maker.token(draft, value, Certificates.LEFT_OUT)


@pytest.mark.parametrize(
    ("failure", "bits"),
    [
        (Failure.BAD_ALG, "03020780"),
        (Failure.BAD_REQUEST, "03020520"),
        (Failure.BAD_DATA_FORMAT, "03020204"),
        (Failure.TIME_NOT_AVAILABLE, "0303010002"),
        (Failure.UNACCEPTED_POLICY, "0303000001"),
        (Failure.UNACCEPTED_EXTENSION, "030407000080"),
        (Failure.SYSTEM_FAILURE, "03050600000040"),
    ],
)
def test_a_failure_is_its_bit_and_no_zeros_behind_it(failure: Failure, bits: str) -> None:
    assert rejection_bytes("no", failure).endswith(bytes.fromhex(bits))
