"""Approvals by authenticators attacked (A114, A116, A118, A120, A126), with those of a real browser; each refusal after its accepted twin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorData,
    PublicKeyCredentialRpEntity,
)
from sqlalchemy import delete, select, update

from kit.authenticator import ORIGIN, RP, Credential, Page, browser_with_authenticator, one_form, unpadded
from kit.service import World, people_text, wanted, world
from sealwright.artifact.digest import Digest
from sealwright.errors import KeyCloned, RequestOver, RequestRefused, SealwrightError
from sealwright.signing.approval import Approval, Scheme, approvers
from sealwright.signing.people import parse_people
from sealwright.signing.tables import APPROVALS, SIGN_COUNTS, State
from sealwright.signing.webauthn import base64url, challenge_of, read_assertion, verified
from sealwright.signing.wish import Wish

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PERSON = '[[person]]\nid = "ida"\ntenant = "acme"\nroles = ["requester", "approver"]\n'


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_with_authenticator(tmp_path) as opened:
        yield opened


@pytest.fixture
def service(tmp_path: Path) -> Iterator[World]:
    made = world(tmp_path / "service" if (tmp_path / "service").mkdir() is None else tmp_path)
    yield made
    made.close()


def entered(service: World, *credentials: Credential) -> None:
    """Ida is in the register with authenticators and no other key."""
    text = people_text(service.persons, more=PERSON + "".join(one.entry for one in credentials))
    service.people = parse_people(text.encode(), "people.toml")


def asked(service: World, name: str = "p.bin", who: str = "max") -> tuple[str, bytes]:
    """A request for production, which two have to approve: its id and its bytes."""
    asking = service.requests.ask(service.principal(who), Wish("release", wanted([name], "production")))
    asking.recorded.result(10)
    return asking.id, asking.request.encoded()


def by(proof: bytes) -> Approval:
    return Approval(Scheme.WEBAUTHN, proof)


def approve(service: World, id_: str, proof: bytes, who: str = "ida") -> tuple[str, ...]:
    return service.requests.approve(service.principal(who), id_, by(proof)).approvals


def refused(service: World, id_: str, proof: bytes, match: str) -> None:
    """Nothing is taken in."""
    with pytest.raises(RequestRefused, match=match):
        approve(service, id_, proof)
    with service.store.read() as connection:
        assert connection.execute(select(APPROVALS.c.number).where(APPROVALS.c.request == id_)).all() == []


def altered(proof: bytes, **parts: bytes) -> bytes:
    """The same answer with other parts."""
    answer = json.loads(proof)
    answer["response"] |= {name: base64url(data) for name, data in parts.items()}
    return one_form(answer)


@pytest.mark.parametrize("algorithm", [-7, -8, -257])
def test_an_approval_by_a_browsers_authenticator_is_taken_and_another_library_agrees(
    page: Page, service: World, algorithm: int
) -> None:
    credential = page.register(algorithm=algorithm)
    entered(service, credential)
    id_, data = asked(service)
    proof = page.asserted(credential, challenge_of(data), verification="required")
    assert approve(service, id_, proof) == ("ida",)
    eva = service.principal("eva")
    after = service.requests.approve(eva, id_, service.approval("eva", data))
    assert (after.approvals, after.state) in [(("ida", "eva"), State.SIGNING), (("ida", "eva"), State.SIGNED)]
    server = Fido2Server(PublicKeyCredentialRpEntity(name="x", id=RP), verify_origin=lambda found: found == ORIGIN)
    own = AuthenticatorData(unpadded(credential.answer["response"]["authenticatorData"])).credential_data
    assert isinstance(own, AttestedCredentialData)
    _, state = server.authenticate_begin([own], "required", challenge_of(data))
    server.authenticate_complete(state, [own], AuthenticationResponse.from_dict(json.loads(proof)))


def test_a116_a118_an_assertion_for_another_request_or_service_approves_nothing(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    (one, data), (other, _) = asked(service), asked(service, "malware.bin")
    proof = page.asserted(credential, challenge_of(data))
    refused(service, other, proof, "another challenge")
    staging = data.replace(b'"service":"acme-signing"', b'"service":"acme-staging"')
    assert staging != data
    refused(service, one, page.asserted(credential, challenge_of(staging)), "another challenge")
    undivided = page.asserted(credential, Digest.of(data).value)  # without the domain's words
    refused(service, one, undivided, "another challenge")
    assert approve(service, one, proof) == ("ida",)


def test_a126_an_assertion_made_at_another_origin_or_in_a_strangers_frame_is_refused(
    page: Page, service: World
) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    for origin in (f"https://{RP}", f"https://{RP}:9443", f"https://evil.{RP}:8443"):
        refused(service, id_, page.asserted(credential, challenge_of(data), origin=origin), "it was made at")
    framed = page.asserted_in_a_frame(credential, challenge_of(data))
    assert b'"crossOrigin":true' in read_assertion(framed, "").client
    refused(service, id_, framed, "frame of another page")
    assert approve(service, id_, page.asserted(credential, challenge_of(data))) == ("ida",)


def test_an_assertion_for_another_relying_party_is_refused(page: Page, service: World) -> None:
    """The phisher's page has a credential of its own, which somebody has entered for this service."""
    phished = page.register("evil.example", "https://evil.example:8443")
    entered(service, replace(phished, rp=RP, origin=ORIGIN))
    id_, data = asked(service)
    refused(service, id_, page.asserted(phished, challenge_of(data)), "it was made at")
    entered(service, replace(phished, rp="evil.example"))
    credential = page.register("acme.example", ORIGIN)  # a wider one, which browsers allow at the same origin
    entered(service, replace(credential, rp=RP))
    refused(service, id_, page.asserted(credential, challenge_of(data)), f"another service than {RP}")
    true = page.register()
    entered(service, true)
    assert approve(service, id_, page.asserted(true, challenge_of(data))) == ("ida",)


def test_nobody_who_was_not_there_or_not_recognised_approves(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    page.call("WebAuthn.setResponseOverrideBits", authenticatorId=page.device, isBadUP=True)
    refused(service, id_, page.asserted(credential, challenge_of(data)), "nobody touched")
    page.call("WebAuthn.setResponseOverrideBits", authenticatorId=page.device, isBadUP=False, isBadUV=True)
    refused(service, id_, page.asserted(credential, challenge_of(data)), "did not verify who")
    page.call("WebAuthn.setResponseOverrideBits", authenticatorId=page.device, isBogusSignature=True)
    refused(service, id_, page.asserted(credential, challenge_of(data)), "not of the credential")
    page.call("WebAuthn.setResponseOverrideBits", authenticatorId=page.device)
    page.replaced(20, hasUserVerification=False, isUserVerified=False)
    refused(service, id_, page.asserted(credential, challenge_of(data)), "did not verify who")
    page.replaced(30)
    assert approve(service, id_, page.asserted(credential, challenge_of(data))) == ("ida",)


def test_a118_the_copy_of_an_authenticator_is_noticed_by_its_counter(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    (one, data), (two, again), (three, third) = (asked(service, name) for name in ("1.bin", "2.bin", "3.bin"))
    page.replaced(10)
    assert approve(service, one, page.asserted(credential, challenge_of(data))) == ("ida",)
    page.replaced(10)  # somebody took a copy before, and uses it now
    with pytest.raises(KeyCloned, match="its counter is 11 and was 11"):
        approve(service, two, page.asserted(credential, challenge_of(again)))
    page.replaced(3)
    refused(service, two, page.asserted(credential, challenge_of(again)), "its counter is 4")
    page.replaced(11)
    assert approve(service, two, page.asserted(credential, challenge_of(again))) == ("ida",)
    page.replaced(-1)  # one that begins to say zero
    refused(service, three, page.asserted(credential, challenge_of(third)), "its counter is 0")


def test_an_authenticator_that_never_counts_goes_on(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    for name in ("1.bin", "2.bin"):
        id_, data = asked(service, name)
        page.replaced(-1)
        assert approve(service, id_, page.asserted(credential, challenge_of(data))) == ("ida",)


def test_a118_an_assertion_is_used_once(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    proof = page.asserted(credential, challenge_of(data))
    assert approve(service, id_, proof) == ("ida",)
    with pytest.raises(RequestOver, match="approved it already"):
        approve(service, id_, proof)
    with (
        service.store.write() as connection
    ):  # who takes the approval out, and its count, does not get it in again unseen
        connection.execute(delete(APPROVALS).where(APPROVALS.c.request == id_))
    with pytest.raises(KeyCloned):
        approve(service, id_, proof)
    service.requests.withdraw(service.principal("max"), id_)
    with pytest.raises(RequestOver):
        approve(service, id_, proof)


def test_a114_nobody_approves_what_they_asked_for_by_an_authenticator(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service, who="ida")
    with pytest.raises(SealwrightError, match=r"themselves|your-own-request"):
        approve(service, id_, page.asserted(credential, challenge_of(data)))
    other, data = asked(service)
    assert approve(service, other, page.asserted(credential, challenge_of(data))) == ("ida",)


def test_a114_the_authenticator_of_somebody_else_approves_nothing(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    proof = page.asserted(credential, challenge_of(data))
    with pytest.raises(RequestRefused, match="none with which you approve"):
        approve(service, id_, proof, who="eva")  # Eva's session, Ida's key
    assert approve(service, id_, proof) == ("ida",)
    stranger = page.register()
    other, data = asked(service, "o.bin")
    refused(service, other, page.asserted(stranger, challenge_of(data)), "none with which you approve")


def test_a120_one_person_with_two_authenticators_is_one_person(page: Page, service: World) -> None:
    first, second = page.register(), page.register(algorithm=-8)
    entered(service, first, second)
    id_, data = asked(service)
    proofs = [page.asserted(one, challenge_of(data)) for one in (first, second)]
    register = service.people.approvers("acme", NOW)
    assert approvers(data, map(by, proofs), "max", register) == {"ida": Digest.of(proofs[0])}
    assert approve(service, id_, proofs[0]) == ("ida",)
    with pytest.raises(RequestOver, match="approved it already"):
        approve(service, id_, proofs[1])
    eva = service.principal("eva")
    assert service.requests.approve(eva, id_, service.approval("eva", data)).state is not State.WAITING


def test_a118_the_approval_of_somebody_who_left_counts_no_more(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    assert approve(service, id_, page.asserted(credential, challenge_of(data))) == ("ida",)
    people = service.people
    left = replace(people.persons["ida"], until=service.requests.clock() - timedelta(days=1))
    service.people = replace(people, persons={**people.persons, "ida": left})
    eva = service.principal("eva")
    assert service.requests.approve(eva, id_, service.approval("eva", data)).state is State.WAITING
    entered(service)  # or only the key was taken out
    assert service.requests.use(id_) is None
    service.people = people
    assert service.requests.use(id_) is not None


def test_an_approval_written_into_the_database_signs_nothing(page: Page, service: World) -> None:
    """The service verifies again when it signs: with the proof exchanged in its row, it refuses."""
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    proof = page.asserted(credential, challenge_of(data))
    approve(service, id_, proof)
    bad = altered(proof, signature=b"\x30\x06\x02\x01\x01\x02\x01\x01")
    with service.store.write() as connection:
        connection.execute(update(APPROVALS).where(APPROVALS.c.request == id_).values(proof=bad))
    with pytest.raises(SealwrightError):
        service.requests.approve(service.principal("eva"), id_, service.approval("eva", data))
    with service.store.write() as connection:
        connection.execute(update(APPROVALS).where(APPROVALS.c.person == "ida").values(proof=proof))
        connection.execute(update(SIGN_COUNTS).values(count=0))  # a watch, which decides nothing here
    assert service.requests.use(id_) is not None


def test_a_signature_for_another_algorithm_or_scheme_is_refused(page: Page, service: World) -> None:
    """The key decides the algorithm: nothing in the answer does (A021)."""
    credential, other = page.register(), page.register(algorithm=-257)
    entered(service, credential)
    id_, data = asked(service)
    proof, rsa = (page.asserted(one, challenge_of(data)) for one in (credential, other))
    crossed = json.loads(rsa) | {"id": credential.id, "rawId": credential.id}
    refused(service, id_, one_form(crossed), "not of the credential")
    with pytest.raises(RequestRefused):
        service.requests.approve(service.principal("ida"), id_, Approval(Scheme.CMS, proof))
    cms = service.approval("eva", data)
    with pytest.raises(RequestRefused, match="no answer of an authenticator"):
        service.requests.approve(service.principal("eva"), id_, by(cms.proof))
    assert approve(service, id_, proof) == ("ida",)


def test_a_registration_is_no_approval(page: Page, service: World) -> None:
    credential = page.register()
    entered(service, credential)
    id_, data = asked(service)
    good = page.asserted(credential, challenge_of(data))
    client = read_assertion(good, "").client.replace(b"webauthn.get", b"webauthn.create")
    refused(service, id_, altered(good, clientDataJSON=client), "no answer to the question")
    made = unpadded(credential.answer["response"]["authenticatorData"])
    refused(service, id_, altered(good, authenticatorData=made), "octets|answer of an authenticator")
    assert approve(service, id_, good) == ("ida",)


def test_every_single_octet_of_an_assertion_counts(page: Page) -> None:
    credential = page.register()
    text = '# sealwright people 1\ntenants = ["acme"]\n' + PERSON + credential.entry
    own = parse_people(text.encode(), "people.toml").webauthn_keys("ida", NOW)[0]
    proof = page.asserted(credential, challenge_of(b"request"))
    assertion = read_assertion(proof, "approval")
    assert verified(assertion, b"request", own, "approval") == 2
    for name in ("authenticator", "client", "signature"):
        whole: bytes = getattr(assertion, name)
        for at in range(len(whole)):
            for bit in (1, 32):
                wrong = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
                with pytest.raises(RequestRefused):
                    verified(replace(assertion, **{name: wrong}), b"request", own, "approval")
    for at in range(len(proof)):
        for cut in (proof[:at], proof[:at] + b" " + proof[at:]):
            with pytest.raises(RequestRefused):
                read_assertion(cut, "approval")
    for strange in (b"", b"{}", b"[" * 60000, b"null", proof * 2, proof.replace(b'"type"', b'"id":"","type"')):
        with pytest.raises(RequestRefused):
            read_assertion(strange, "approval")


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ('"crossOrigin":null', "frame"),
        ('"crossOrigin":0', "frame"),
        ('"crossOrigin":false,"crossOrigin":false', "cannot be read"),
        ('"crossOrigin":false,"topOrigin":"https://evil.example"', "frame"),
        ('"other":true', "frame"),
        ('"crossOrigin":false,"origin":"https://evil.example"', "cannot be read"),
        ('"crossOrigin":false,"deep":' + "[" * 1500, "cannot be read"),
    ],
)
def test_client_data_that_says_otherwise_is_refused_before_any_signature(page: Page, said: str, match: str) -> None:
    credential = page.register()
    text = '# sealwright people 1\ntenants = ["acme"]\n' + PERSON + credential.entry
    own = parse_people(text.encode(), "people.toml").webauthn_keys("ida", NOW)[0]
    good = read_assertion(page.asserted(credential, challenge_of(b"request")), "approval")
    assert verified(good, b"request", own, "approval")
    assert b'"crossOrigin":false' in good.client
    client = good.client.replace(b'"crossOrigin":false', said.encode())
    with pytest.raises(RequestRefused, match=match):
        verified(replace(good, client=client), b"request", own, "approval")


@pytest.mark.parametrize(
    ("flags", "match"), [(0x0D, "copied"), (0x1D, "copied"), (0x25, "flags are"), (0x85, "flags are")]
)
def test_a_key_that_can_be_copied_or_says_more_is_refused(page: Page, flags: int, match: str) -> None:
    credential = page.register()
    text = '# sealwright people 1\ntenants = ["acme"]\n' + PERSON + credential.entry
    own = parse_people(text.encode(), "people.toml").webauthn_keys("ida", NOW)[0]
    good = read_assertion(page.asserted(credential, challenge_of(b"request")), "approval")
    assert verified(good, b"request", own, "approval")
    data = good.authenticator[:32] + bytes([flags]) + good.authenticator[33:]
    with pytest.raises(RequestRefused, match=match):
        verified(replace(good, authenticator=data), b"request", own, "approval")
