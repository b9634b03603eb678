"""Certificates made to cost time or memory: each ends within 2 s and 64 MiB, measured in a process of its own (A110)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kit.certs import DAY, NOW, Made, chain, made, odd_name, rebuilt, tlv

_PROGRAM = """
import sys, time
from sealwright.errors import SealwrightError
from sealwright.trust.path import Path, PathCache, Strictness
from sealwright.trust.revocation import CrlTable
from sealwright.trust.certificate import load_certificate
from datetime import UTC, datetime
from pathlib import Path as File
now = datetime(2026, 11, 1, 12, tzinfo=UTC)
folder = File(sys.argv[1])
def read(kind):
    return [one.read_bytes() for one in sorted(folder.glob(kind + ".*"))]
def peak():
    # not ru_maxrss: that begins with the parent's
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
def judge(leaf, bag, anchors):
    try:
        found = PathCache().find(load_certificate(leaf, "leaf"), [], bag, anchors, now, Strictness.FOREIGN)
        return "path" if isinstance(found, Path) else found.reason
    except SealwrightError as cause:
        return "refused: " + cause.what
judge(read("warm")[0], [], read("warm")[1:])
before = peak()
started = time.process_time()
said = judge(read("leaf")[0], read("bag"), read("anchor"))
taken = time.process_time() - started
print(taken, (peak() - before) / 1024, said[:300], sep="|")
"""


def _measured(folder: Path, leaf: Made, bag: list[Made], anchors: list[Made], within: float = 2) -> str:
    """What is said of it, after it kept to time and memory."""
    plain = chain()
    below = made("warm", plain.root)
    for kind, every in (("warm", [below, plain.root]), ("leaf", [leaf]), ("bag", bag), ("anchor", anchors)):
        for number, one in enumerate(every):
            (folder / f"{kind}.{number:03}").write_bytes(one.der)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    taken, grown, said = done.stdout.strip().split("|", 2)
    assert float(taken) < within, said
    assert float(grown) < 64, said
    return said


def test_a110_a_plain_chain_is_accepted_by_the_same_measure(tmp_path: Path) -> None:
    one = chain()
    assert _measured(tmp_path, one.leaf, [one.ca], [one.root]) == "path"


def test_a110_thirty_two_certificates_of_one_name_and_one_key(tmp_path: Path) -> None:
    root = made("root", ca=True)
    ca = made("CA", root, ca=True)
    twins = [made("CA", ca, ca=True, key=ca.key) for _ in range(31)]
    assert _measured(tmp_path, made("signer", ca), [*twins, ca], [root]) == "path"


@pytest.mark.parametrize("reaches", [True, False])
def test_a110_a_mesh_in_which_everybody_certified_everybody(tmp_path: Path, reaches: bool) -> None:
    root, lost = made("root", ca=True), made("root", ca=True)
    nodes = [made(f"CA {number}", ca=True) for number in range(6)]
    mesh = [
        made(f"CA {a}", other, ca=True, key=one.key)
        for a, one in enumerate(nodes)
        for other in nodes
        if other is not one
    ]
    out = made("CA 5", root, ca=True, key=nodes[5].key)
    said = _measured(tmp_path, made("signer", nodes[0]), [*mesh, out][-32:], [root if reaches else lost])
    assert (said == "path") is reaches, said


@pytest.mark.parametrize("why", ["the anchor has another key", "the anchor refuses every one of them"])
def test_a110_layers_of_equal_names_multiply_to_no_end(tmp_path: Path, why: str) -> None:
    ended = NOW - DAY if why.endswith("them") else NOW + DAY
    root = made("root", ca=True, after=ended)
    layers: list[list[Made]] = [[root]]
    key = ec.generate_private_key(ec.SECP256R1())
    for level in range(6):
        layers.append([made(f"layer {level}", layers[-1][0], ca=True, key=key, without="aki ski") for _ in range(5)])
    every = [one for layer in layers[1:] for one in layer]
    wrong = made("root", ca=True)
    anchor = root if why.endswith("them") else wrong
    said = _measured(
        tmp_path, made("signer", layers[-1][0], without="aki"), every, [anchor], within=0.3
    )  # 1 s without the bounds of the search
    assert ("expired" if why.endswith("them") else "leads to") in said


@pytest.mark.parametrize("count", [200, 3000])
def test_a110_permitted_names_times_names_to_be_permitted(tmp_path: Path, count: int) -> None:
    trees = x509.NameConstraints([x509.DNSName(f"n{number}.example") for number in range(count)], None)
    names = x509.SubjectAlternativeName([x509.DNSName(f"a.n{count - 1}.example") for number in range(count)])
    root = made("root", ca=True)
    ca = made("CA", root, ca=True, extra=[(trees, True)])
    said = _measured(tmp_path, made("signer", ca, extra=[(names, False)]), [ca], [root])
    assert said == "path" if count == 200 else said != "path", said


def test_a110_a_tree_of_policies_that_maps_each_to_each(tmp_path: Path) -> None:
    oids = [x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.7.{number}") for number in range(24)]
    policies = x509.CertificatePolicies([x509.PolicyInformation(oid, None) for oid in oids])
    pairs = b"".join(tlv(0x30, b"".join(asn1.encode_der(oid) for oid in (a, b))) for a in oids for b in oids)
    mapping = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), tlv(0x30, pairs))
    demand = x509.PolicyConstraints(0, None)
    above = root = made("root", ca=True)
    bag = []
    for level in range(5):
        above = made(f"CA {level}", above, ca=True, extra=[(policies, False), (mapping, False), (demand, True)])
        bag.append(above)
    _measured(tmp_path, made("signer", above, extra=[(policies, False)]), bag, [root])


@pytest.mark.parametrize("size", [100_000, 60_000])
def test_a110_a_name_of_a_hundred_thousand_letters(tmp_path: Path, size: int) -> None:
    long = odd_name(0x0C, b"n" * size)
    root, key = made("root", ca=True), ec.generate_private_key(ec.SECP256R1())
    ca = Made(x509.load_der_x509_certificate(rebuilt(made("CA", root, ca=True, key=key), root.key, subject=long)), key)
    _measured(tmp_path, made("signer", ca), [ca], [root])


@pytest.mark.parametrize(("bits", "exponent"), [(16384, 65537), (16384, 0), (4096, 0)])
def test_a110_rsa_keys_and_exponents_without_measure(tmp_path: Path, bits: int, exponent: int) -> None:
    root, small = made("root", ca=True), ec.generate_private_key(ec.SECP256R1())
    number = (1 << bits) - 12345
    exponent = exponent or (1 << (bits - 1)) + 1
    integers = b"".join(tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big")) for value in (number, exponent))
    spki = tlv(0x30, bytes.fromhex("300d06092a864886f70d0101010500") + tlv(3, b"\x00" + tlv(0x30, integers)))
    fat = rebuilt(made("CA", root, ca=True, key=small), root.key, key=spki)
    ca = Made(x509.load_der_x509_certificate(fat), small)
    sign = rsa.generate_private_key(65537, 2048)
    leaf = made("signer", ca, signed_by=sign, without="aki")
    assert _measured(tmp_path, leaf, [ca], [root]) != "path"
    for place in tmp_path.glob("*.*"):
        place.unlink()
    assert _measured(tmp_path, leaf, [], [ca]) != "path"
