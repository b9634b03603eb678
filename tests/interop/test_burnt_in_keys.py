"""RSA-2048 keys that boards have burnt in: they go on signing for MCUboot and U-Boot, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from kit.boards import FIRMWARE, imgtool
from kit.certs import DAY, NOW, Made, made
from kit.openssl import run
from kit.production import trusting
from kit.trust import RULE, codes, judge
from kit.uboot import KERNEL, compiled, fit, fit_check_sign
from sealwright.cli.main import main
from sealwright.pki.profiles import UPDATE_PACKAGE_SIGNING
from sealwright.trust.belief import Believed
from sealwright.trust.verdict import Outcome

ALWAYS = {"before": NOW - 3650 * DAY, "after": NOW + 36500 * DAY}
ROOT = made("board root", ca=True, **ALWAYS)


def imgtool_key(path: Path) -> Path:
    """A private key as boards' makers have them, with its public part beside it as PATH.pub."""
    for done, words in (
        imgtool("keygen", "-t", "rsa-2048", "-k", path),
        imgtool("getpub", "-k", path, "-e", "pem", "-o", f"{path}.pub"),
    ):
        assert done, words
    path.chmod(0o600)
    return path


def certified(key: Path) -> Made:
    """What a PKI that has known the boards for years issued."""
    leaf = made(
        "boards", ROOT, purposes=[UPDATE_PACKAGE_SIGNING], key=load_pem_private_key(key.read_bytes(), None), **ALWAYS
    )
    key.with_suffix(".crt").write_bytes(leaf.pem)
    return leaf


def enrolled(home: Path, key: Path, construction: str, name: str = "boards") -> int:
    return main(
        ["key", "import-certificate", str(key.with_suffix(".crt")), "--home", str(home), "--name", name,
         "--key", f"file:{key}", "--construction", construction]
    )  # fmt: skip


def knowing(*leaves: Made) -> Believed:
    """A plant that trusts its maker's PKI, whose certificates know nothing of ours."""
    anchor = {"name": "root", "environment": "test", "certificate": ROOT.pem.decode()}
    known = [{"certificate": leaf.pem.decode()} for leaf in leaves]
    return trusting(ROOT, anchor=[anchor], rule=[RULE | {"environment": "test"}], certificate=known)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    assert main(["init", str(home)]) == 0
    return home


def test_boards_that_know_a_2048_bit_key_get_images_signed_with_it(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, stranger = imgtool_key(tmp_path / "boot.pem"), imgtool_key(tmp_path / "other.pem")
    leaf = certified(key)
    capsys.readouterr()
    assert enrolled(home, key, "digest:mcuboot") == 0
    assert f"Next: sealwright sign FILE --home {home} --key boards --format mcuboot" in capsys.readouterr().out
    (tmp_path / "fw.bin").write_bytes(FIRMWARE)
    signed, said = tmp_path / "fw.signed.bin", ["--format", "mcuboot", "--version", "1.2.3", "--key", "boards"]
    assert main(["sign", str(tmp_path / "fw.bin"), "--home", str(home), *said, "--out", str(signed)]) == 0
    trust = knowing(leaf)
    public = f"{key}.pub"
    accepted, words = imgtool("verify", "-k", public, signed)
    assert accepted, words
    assert (codes(judge(signed, trust)), judge(signed, trust).outcome) == ([], Outcome.TRUSTED)
    assert not imgtool("verify", "-k", f"{stranger}.pub", signed)[0]
    assert judge(signed, knowing()).outcome is Outcome.REJECTED
    own = signed.read_bytes()
    for at in (0x210, len(own) - 20):
        signed.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not imgtool("verify", "-k", public, signed)[0], at
        assert judge(signed, trust).outcome is Outcome.REJECTED
    theirs = tmp_path / "theirs.bin"
    made_by_imgtool = ["-k", key, "--align", "4", "--version", "1.2.3", "--header-size", "0x200", "--pad-header"]
    assert imgtool("sign", *made_by_imgtool, "-S", "0x20000", tmp_path / "fw.bin", theirs)[0]
    assert judge(theirs, trust).outcome is Outcome.TRUSTED


def test_u_boot_that_knows_a_2048_bit_key_starts_what_it_signs(home: Path, tmp_path: Path) -> None:
    key, stranger = imgtool_key(tmp_path / "boot.pem"), imgtool_key(tmp_path / "other.pem")
    leaf, _ = certified(key), certified(stranger)
    for number, one in enumerate((key, stranger)):
        assert enrolled(home, one, "digest:fit", f"fit-{number}") == 0
    plain, signed, keys = fit(tmp_path), tmp_path / "signed.fit", []
    control = compiled(tmp_path, '/ { model = "u-boot"; };', "control")
    for name in ("fit-0", "fit-1"):
        keys.append(tmp_path / f"{name}.dtb")
        words = ["key", "control-tree", str(control), "--home", str(home), "--key", name, "--out", str(keys[-1])]
        assert main(words) == 0
    assert (
        main(["sign", str(plain), "--home", str(home), "--format", "fit", "--key", "fit-0", "--out", str(signed)]) == 0
    )
    trust = knowing(leaf)
    accepted, words = fit_check_sign(signed, keys[0])
    assert accepted, words
    assert "sha256,rsa2048" in words
    assert (codes(judge(signed, trust)), judge(signed, trust).outcome) == ([], Outcome.TRUSTED)
    assert not fit_check_sign(signed, keys[1])[0]
    own = signed.read_bytes()
    for at in (own.index(KERNEL) + 9, _value_at(own) + 9):
        signed.write_bytes(own[:at] + bytes([own[at] ^ 1]) + own[at + 1 :])
        assert not fit_check_sign(signed, keys[0])[0], at
        assert judge(signed, trust).outcome is Outcome.REJECTED


def _value_at(tree: bytes) -> int:
    """Where the signature is: the value of the one property of 256 bytes, behind its length and name."""
    return tree.index((256).to_bytes(4, "big")) + 8


def test_a_2048_bit_key_signs_nothing_but_for_boards(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = imgtool_key(tmp_path / "boot.pem")
    certified(key)
    for construction in ("cms-attributes", "cms-bare:kmod", "digest:layout", "digest:ima", "xmldsig"):
        assert enrolled(home, key, construction) != 0
        assert "RSA key of 2048 bits" in capsys.readouterr().err
    assert enrolled(home, key, "digest:mcuboot") == 0
    (tmp_path / "a.bin").write_bytes(b"firmware")
    assert main(["sign", str(tmp_path / "a.bin"), "--home", str(home), "--key", "boards"]) != 0
    assert not (tmp_path / "a.bin.p7s").exists()
    text = (home / "home.toml").read_text()
    (home / "home.toml").write_text(
        text.replace('"digest:mcuboot"', '"cms-attributes"').replace("-PSS", " PKCS#1 v1.5")
    )
    assert main(["sign", str(tmp_path / "a.bin"), "--home", str(home), "--key", "boards"]) != 0
    assert "RSA key of 2048 bits" in capsys.readouterr().err


def test_1024_bits_are_too_few_for_boards_as_well(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, key = imgtool_key(tmp_path / "boot.pem"), tmp_path / "short.pem"
    certified(good)
    assert enrolled(home, good, "digest:mcuboot") == 0
    assert run(["openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-keyout", key, "-out", key.with_suffix(".crt"),
                "-subj", "/CN=short"])[0]  # fmt: skip
    key.chmod(0o600)
    capsys.readouterr()
    assert enrolled(home, key, "digest:mcuboot", "short") != 0
    assert "RSA key of 1024 bits" in capsys.readouterr().err
