"""What a request for signatures binds: its lines, its one form, and approvals of exactly its bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealwright.artifact.claims import Claims
from sealwright.artifact.digest import Digest, HashName
from sealwright.errors import LimitExceeded, RequestRefused
from sealwright.formats.format import Coverage, Prepared
from sealwright.log.canonical import canonical_json, read_canonical
from sealwright.log.merkle import leaf_hash, root_of
from sealwright.signing.approval import Approval, Scheme, approve, approvers, key_of
from sealwright.signing.enrol import enrol_for
from sealwright.signing.home import Home, KeyPurpose, open_home
from sealwright.signing.init import InitOptions, init_home, signed_text
from sealwright.signing.items import Item, item_of, prepared_of, root_of_items
from sealwright.signing.request import SigningRequest, new_nonce, read_request

_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def prepared(name: str = "drive.bin", content: bytes | None = None, **changes: object) -> Prepared:
    digest = Digest.of(content or name.encode())
    form = "manifest" if content is not None else "detached"
    kind = "manifest" if content is not None else "file"
    one = Prepared(form, kind, f"/build/{name}", {HashName.SHA256: digest}, content, 7, Coverage.whole(7), Claims())
    return one._replace(**changes)


def request(**changes: object) -> SigningRequest:
    one = SigningRequest(
        service="acme",
        origin="log.acme.example",
        nonce=new_nonce(),
        requester="p1",
        tenant="acme",
        root=root_of_items([item_of(prepared()).line]),
        count=1,
        format="detached",
        kind="file",
        construction="cms-attributes",
        key=Digest.of(b"key"),
        policy=Digest.of(b"policy"),
        claims=Claims("drive", "1.2", 7, ("r1", "r2"), "production"),
        not_before=NOW,
        expires=NOW + timedelta(hours=8),
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def test_what_was_prepared_comes_back_as_it_was_sent() -> None:
    for one in (prepared(), prepared("m", b"# sealwright manifest"), prepared(name="x.xml")):
        back = prepared_of(item_of(one), "item 1")
        assert (back.format, back.kind, back.digests, back.content, back.claims, back.size, back.name) == (
            one.format,
            one.kind,
            one.digests,
            one.content,
            one.claims,
            one.size,
            one.name,
        )
        assert back.path == one.path.rpartition("/")[2]


def test_no_folder_of_the_client_leaves_its_machine() -> None:
    assert b"build" not in item_of(prepared()).line


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": "teapot"}, "not known"),
        ({"format": "pe", "kind": "file"}, "not signed as"),
        ({"kind": "trust"}, "not signed as"),
        ({"kind": "approval"}, "not signed as"),
        ({"artifact": ()}, "no list of digests"),
        ({"artifact": ("sha1:" + "00" * 20,)}, "not a digest"),
        ({"artifact": (str(Digest.of(b"1")), str(Digest.of(b"2")))}, "two digests"),
        ({"artifact": (str(Digest.of(b"1", HashName.SHA384)), str(Digest.of(b"1")))}, "not in their order"),
        ({"content": str(Digest.of(b"other"))}, "not the one"),
        ({"size": -1}, "octets"),
        ({"file": "a\nb"}, "printable"),
        ({"file": ""}, "printable"),
        ({"generation": 7}, "generation"),
        ({"attributes": "31"}, "no field"),
    ],
)
def test_a_line_that_says_anything_else_is_refused(change: dict[str, object], what: str) -> None:
    item = item_of(prepared())
    assert prepared_of(item, "item 1").format == "detached"
    fields = {**read_canonical(item.line), **change}
    with pytest.raises(RequestRefused, match=what):
        prepared_of(Item(canonical_json(fields), None), "item 1")  # type: ignore[arg-type]


def test_content_that_is_not_the_one_named_is_refused() -> None:
    item = item_of(prepared("m", b"content"))
    assert prepared_of(item, "m").content == b"content"
    for content in (b"contenT", None, b""):
        with pytest.raises(RequestRefused, match="not the one that it names"):
            prepared_of(Item(item.line, content), "m")
    with pytest.raises(LimitExceeded):
        prepared_of(Item(item.line, bytes(1 << 20 | 1)), "m")


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=70), st.data())
def test_the_root_is_the_one_of_the_standard(lines: list[bytes], data: st.DataObject) -> None:
    """By the recursion of RFC 9162 section 2.1.1, which nothing of ours uses."""

    def mth(leaves: list[bytes]) -> bytes:
        from hashlib import sha256

        if len(leaves) == 1:
            return sha256(b"\x00" + leaves[0]).digest()
        split = 1 << (len(leaves) - 1).bit_length() - 1
        return sha256(b"\x01" + mth(leaves[:split]) + mth(leaves[split:])).digest()

    assert root_of_items(lines) == mth(lines)
    if len(lines) == 2:
        assert root_of(leaf_hash(lines[0]), 0, 2, [leaf_hash(lines[1])]) == root_of_items(lines)
    at = data.draw(st.integers(0, len(lines) - 1))
    changed = [*lines[:at], lines[at] + b"x", *lines[at + 1 :]]
    assert root_of_items(changed) != root_of_items(lines)


def test_a_request_has_one_form_and_is_called_by_its_digest() -> None:
    for one in (request(), request(provenance=Digest.of(b"p"), reason=Digest.of(b"r"), emergency=True)):
        assert read_request(one.encoded(), "request") == one
        assert one.id == Digest.of(one.encoded()).value.hex()
    assert request().id != request().id  # another nonce


@pytest.mark.parametrize(
    "change",
    [
        {"type": "sealwright/request/2"},
        {"extra": "1"},
        {"root": "00"},
        {"count": 0},
        {"count": 100_001},
        {"nonce": "AB" * 16},
        {"nonce": ""},
        {"key": "md5:00"},
        {"expires": "tomorrow"},
        {"emergency": "no"},
        {"generation": 7},
    ],
)
def test_anything_else_is_no_request(change: dict[str, object]) -> None:
    data = request().encoded()
    assert read_request(data, "request")
    with pytest.raises(RequestRefused):
        read_request(canonical_json({**read_canonical(data), **change}), "request")  # type: ignore[arg-type]


def test_every_flipped_byte_of_a_request_is_another_request_or_none() -> None:
    one = request()
    data = one.encoded()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert read_request(changed, "request") != one
        except RequestRefused:
            continue


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Home]:
    found = {}
    for name in ("eva", "jan"):
        folder = tmp_path_factory.mktemp("approvers") / name
        init_home(str(folder), InitOptions(datetime.now(UTC), name, "ACME"))
        enrol_for(open_home(str(folder)), "approval", "approval", None, datetime.now(UTC))
        found[name] = open_home(str(folder))
    return found


def approved(data: bytes, home: Home) -> Approval:
    return approve(data, "request", home, home.key(None, KeyPurpose.APPROVAL), datetime.now(UTC))


def test_an_approval_is_of_exactly_one_request(homes: dict[str, Home], tmp_path: Path) -> None:
    one, other = request().encoded(), request().encoded()
    approval = approved(one, homes["eva"])
    own = Digest.of(homes["eva"].key(None, KeyPurpose.APPROVAL).public_key.public_bytes(*_SPKI))
    assert key_of(one, approval, "approval") == own
    (tmp_path / "request").write_bytes(one)
    (tmp_path / "request.p7s").write_bytes(approval.proof)
    from kit.openssl import cms_verify

    assert cms_verify(tmp_path / "request.p7s", tmp_path / "request", Path(homes["eva"].path("ca.pem")))[0]
    for wrong in (other, one[:-1], b""):
        with pytest.raises(RequestRefused, match="no approval of this request"):
            key_of(wrong, approval, "approval")
    for at in range(0, len(approval.proof), 7):
        flipped = approval.proof[:at] + bytes([approval.proof[at] ^ 4]) + approval.proof[at + 1 :]
        try:
            assert key_of(one, Approval(Scheme.CMS, flipped), "approval") == own  # where nothing is signed there
        except RequestRefused:
            continue


def test_a_signature_of_another_kind_approves_nothing(homes: dict[str, Home]) -> None:
    """An officer signs trust files: his signature over a request's bytes as one of those is no approval."""
    data, home = request().encoded(), homes["eva"]
    officer = home.key(None, KeyPurpose.TRUST)
    proof = signed_text(data, "trust", "request", home, officer, datetime.now(UTC), None)
    with pytest.raises(RequestRefused, match="no approval"):
        key_of(data, Approval(Scheme.CMS, proof), "approval")


@dataclass
class Known:
    """Persons by their keys, nobody with an authenticator."""

    keys: dict[Digest, str]

    def cms(self, key: Digest) -> str | None:
        return self.keys.get(key)

    def webauthn(self, credential: bytes) -> None:
        return None


def test_a_person_counts_once_and_the_requester_never(homes: dict[str, Home]) -> None:
    data = request().encoded()
    eva, jan = (approved(data, homes[name]) for name in ("eva", "jan"))
    keys = {key_of(data, one, "approval"): name for one, name in ((eva, "eva"), (jan, "jan"))}
    known = Known(keys)
    assert approvers(data, [eva, jan], "max", known).keys() == {"eva", "jan"}
    assert approvers(data, [eva, eva], "max", known).keys() == {"eva"}
    both_of_eva = Known(dict.fromkeys(keys, "eva"))
    assert approvers(data, [eva, jan], "max", both_of_eva).keys() == {"eva"}
    assert approvers(data, [eva, jan], "eva", known).keys() == {"jan"}
    assert approvers(data, [eva, jan], "max", Known({})) == {}  # who left counts no more
    with pytest.raises(RequestRefused):
        approvers(data, [eva, Approval(Scheme.CMS, jan.proof[:-1])], "max", known)
