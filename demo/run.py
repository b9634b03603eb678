"""One plant's story: real firmware signed by a key in a token, shipped, checked offline, and its altered twins refused.

Run by `make demo`; safe to repeat; writes only to demo-out/. BYTE=offset (decimal or 0x...) chooses the byte of the firmware that is altered.
Every step is a command you can type yourself, and beside it stands the command of an independent program.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import tomllib
from pathlib import Path

from devices import LAYOUT, devices
from stage import OUT, TABLE, Expect, chapter, openssl, run, say, step, tool

from sealwright.artifact.digest import Digest
from sealwright.envelope.cms import Profile, Signer, read_envelope
from sealwright.trust.toml import toml_text

PIN = "471147"


FIRMWARE = {
    "u-boot.bin": Path("/usr/lib/u-boot/qemu_arm/u-boot.bin"),
    "opensbi.bin": Path("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"),
    "seabios.bin": Path("/usr/share/seabios/bios-256k.bin"),
}


def main() -> int:
    """Tell the story; 1 if anything came out otherwise than told."""
    started = time.monotonic()
    chosen = byte()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    os.chdir(OUT)
    opening()
    tokens()
    ship()
    check()
    devices()
    refuse(chosen)
    return closing(time.monotonic() - started)


def byte() -> int:
    """The offset that the watcher chose."""
    try:
        return int(os.environ.get("BYTE", "4711"), 0)
    except ValueError:
        sys.exit("demo: BYTE is the offset of one byte of the firmware. Try: make demo BYTE=0x1000")


def opening() -> None:
    """Who is who."""
    say(
        "The Nordhof bakery, line 3. Its drives come from Acme Drives. Saturday at ten, new firmware goes in.",
        "Nobody at the bakery wants to install what Acme did not build, or what the bakery has not tested.",
        "SoftHSM stands here for a hardware token, and the timestamp authority runs beside it: nothing of this is certified.",
    )


def tokens() -> None:
    """Two houses, each with its own token; the bakery's trust file names both."""
    chapter("1. Keys that cannot leave their token")
    Path("tokens").mkdir()
    Path("softhsm2.conf").write_text(
        f"directories.tokendir = {OUT}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(OUT / "softhsm2.conf")
    Path("pin").write_text(PIN + "\n")
    Path("pin").chmod(0o600)
    for label in ("acme", "bakery"):
        tool(
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--pin",
            PIN,
            "--so-pin",
            "87654321",
            quiet=True,
        )
    run(
        "init",
        "acme-home",
        "--title",
        "Acme",
        "--organisation",
        "Acme Drives",
        "--token",
        "pkcs11:token=acme",
        "--pin-file",
        "pin",
    )
    run(
        "init",
        "bakery-home",
        "--title",
        "Nordhof",
        "--organisation",
        "Nordhof bakery",
        "--token",
        "pkcs11:token=bakery",
        "--pin-file",
        "pin",
    )
    run("key", "list", "--token", "pkcs11:token=acme", "--pin-file", "pin", lines=4)
    trust_file()
    run("trust", "sign", "trust.toml", "--home", "bakery-home", "--person", "officer", "--pin-file", "pin")
    run("trust", "check", "trust.toml", lines=8)


def trust_file(deny: str = "") -> None:
    """The bakery's one root of trust: Acme's firmware, drive firmware only with the bakery's own signature, its backups."""
    bakery = tomllib.loads(Path("bakery-home/trust.toml").read_text())
    acme = tomllib.loads(Path("acme-home/trust.toml").read_text())
    people = [*bakery["person"], {**acme["person"][2], "id": "acme-release"}]
    maker = {"slot": "maker", "anchors": ["Acme"], "purposes": ["updatePackageSigning"]}
    plant = {"slot": "plant", "anchors": ["Nordhof"], "purposes": ["updatePackageSigning"]}
    common = {"environment": "production", "timestamp": "required", "contact": "Mia Brandt, automation, phone 4711"}
    parts = {
        **{name: bakery[name] for name in ("id", "version", "issued", "expires", "officers", "recovery")},
        "title": "Nordhof bakery, line 3",
        "person": people,
        "anchor": [
            {"name": name, "environment": "production", "certificate": Path(home, "ca.pem").read_text()}
            for name, home in (("Acme", "acme-home"), ("Nordhof", "bakery-home"))
        ],
        "authority": [
            {"name": f"{name} timestamps", "anchor": Path(home, "ca.pem").read_text()}
            for name, home in (("Acme", "acme-home"), ("Nordhof", "bakery-home"))
        ],
        "layout": [{"name": "acme-boot", "digest": str(Digest.of(LAYOUT.encode())), "text": LAYOUT}],
        "rule": [
            {"name": "boot firmware", "formats": ["detached"], "signer": [maker], **common},
            {
                "name": "drive firmware",
                "products": ["VX-200 drive"],
                "minimum_generation": 7,
                "signer": [maker, plant],
                **common,
            },
            # no date can be in a bare signature, and no device asks for one
            {
                "name": "panels and devices",
                "formats": ["msi", "verity", "layout"],
                "signer": [{**maker, "purposes": ["updatePackageSigning", "codeSigning"]}],
                "environment": "production",
                "contact": common["contact"],
            },
            {"name": "our backups", "formats": ["manifest"], "signer": [{**plant, "slot": "maker"}], **common},
        ],
    }
    Path("trust.toml").write_text(toml_text("# sealwright trust 1", parts))
    if deny:
        entry = {
            "version": 1,
            "trust": bakery["id"],
            "deny": [{"key": deny, "reason": "Acme's signing laptop was stolen"}],
        }
        Path("deny.toml").write_text(toml_text("# sealwright deny 1", entry))


def ship() -> None:
    """The maker signs, the plant signs what it tested and what it backs up."""
    chapter("2. Acme signs and ships; the bakery signs what it tested")
    Path("stick").mkdir()
    for name, source in FIRMWARE.items():
        shutil.copy(source, f"stick/{name}")
    shutil.copy(zephyr(), "stick/zephyr.hex")
    Path("stick/oven.json").write_text(
        '[{"id": "oven1", "type": "inject", "topic": "proofing/temperature", "payload": "38"}]\n'
    )
    acme = ["--home", "acme-home", "--pin-file", "pin"]
    run("sign", "stick/u-boot.bin", "stick/seabios.bin", "stick/zephyr.hex", "stick/oven.json", *acme)
    run("sign", "stick/opensbi.bin", "--product", "VX-200 drive", "--version", "4.7.1", "--generation", "7", *acme)
    backup = Path("backup-line-3")
    (backup / "plc").mkdir(parents=True)
    (backup / "hmi").mkdir()
    (backup / "plc" / "main.xml").write_text(
        '<project xmlns="http://www.plcopen.org/xml/tc6_0201"><types/></project>\n'
    )
    (backup / "hmi" / "screens.json").write_text('{"screens": ["overview", "proofing"]}\n')
    (backup / "recipes.csv").write_text("name,temperature\nrye,230\nwheat,210\n")
    run("sign", "backup-line-3", "--home", "bakery-home", "--pin-file", "pin")


def zephyr() -> Path:
    """A real Zephyr image from its package."""
    import importlib.util

    spec = importlib.util.find_spec("zephyr_4_4_0_hci_uart_nrf52dk_default")
    if spec is None or spec.origin is None:
        raise SystemExit("the Zephyr sample package is missing: run make install")
    return Path(spec.origin).parent / "firmware.hex"


def check() -> None:
    """Everybody checks offline, with our program and with others."""
    chapter("3. Checked at the line, without any network")
    step(
        "everything Acme signed for the line",
        0,
        "stick/u-boot.bin",
        "stick/seabios.bin",
        "stick/zephyr.hex",
        "stick/oven.json",
    )
    tool(*openssl("stick/u-boot.bin", "acme-home/ca.pem"))
    (signer,) = read_envelope(Path("stick/u-boot.bin.p7s").read_bytes(), Profile.OURS, "u-boot.bin.p7s").signers
    if isinstance(signer, Signer):
        Path("token.der").write_bytes(signer.tokens[0])
        Path("value.bin").write_bytes(signer.signature)
    print("   (the timestamp token and the signature value, taken out of u-boot.bin.p7s, for OpenSSL's own check)")
    tool(
        "openssl", "ts", "-verify", "-token_in", "-in", "token.der", "-data", "value.bin", "-CAfile", "acme-home/ca.pem"
    )
    step("the backup of line 3, to restore", 0, "backup-line-3", "--purpose", "restore")
    tool("sha256sum", "-c", "--strict", "--quiet", "../backup-line-3.manifest", cwd="backup-line-3")
    step("drive firmware before the bakery tested it", 1, "stick/opensbi.bin")
    tool(*openssl("stick/opensbi.bin", "bakery-home/ca.pem", slot=".plant"), expect=Expect.REFUSES)
    run("sign", "stick/opensbi.bin", "--as", "plant", "--home", "bakery-home", "--pin-file", "pin")
    step("the same after the bakery signed it too", 0, "stick/opensbi.bin", "--product", "VX-200 drive")
    tool(*openssl("stick/opensbi.bin", "bakery-home/ca.pem", slot=".plant"))


def refuse(chosen: int) -> None:
    """What must not be installed, each with its reason."""
    chapter("5. What is refused, and why")
    good = Path("stick/u-boot.bin").read_bytes()
    offset = chosen % len(good)
    Path("altered").mkdir()
    Path("altered/u-boot.bin").write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
    shutil.copy("stick/u-boot.bin.p7s", "altered/u-boot.bin.p7s")
    step(f"byte {offset} altered", 1, "altered/u-boot.bin")
    tool(*openssl("altered/u-boot.bin", "acme-home/ca.pem"), expect=Expect.REFUSES)
    shutil.copytree("backup-line-3", "altered/backup-line-3")
    shutil.copy("backup-line-3.manifest", "altered/")
    shutil.copy("backup-line-3.manifest.p7s", "altered/")
    Path("altered/backup-line-3/hmi/autorun.cmd").write_text("calc\n")
    Path("altered/backup-line-3/recipes.csv").write_text("name,temperature\nrye,290\nwheat,210\n")
    step("an extra file and a changed recipe in the backup", 1, "altered/backup-line-3", "--purpose", "restore")
    sums = ("sha256sum", "-c", "--strict", "--quiet", "../backup-line-3.manifest")
    tool(*sums, cwd="altered/backup-line-3", expect=Expect.REFUSES)
    shutil.copy("stick/seabios.bin", "altered/unsigned.bin")
    step("no signature at all", 1, "altered/unsigned.bin")
    tool(*openssl("altered/unsigned.bin", "acme-home/ca.pem"), expect=Expect.REFUSES)
    step("right file, wrong drive", 1, "stick/opensbi.bin", "--product", "VX-900 drive")
    tool("grep", "-x", "#! claim product VX-900%20drive", "stick/opensbi.bin.manifest", expect=Expect.REFUSES)
    shutil.copy("stick/opensbi.bin", "altered/opensbi.bin")
    old = ["--product", "VX-200 drive", "--version", "4.6.0", "--generation", "6"]
    run("sign", "altered/opensbi.bin", *old, "--home", "acme-home", "--pin-file", "pin", lines=1)
    run("sign", "altered/opensbi.bin", "--as", "plant", "--home", "bakery-home", "--pin-file", "pin", lines=1)
    step("an old generation, properly signed by both", 1, "altered/opensbi.bin")
    tool(*openssl("altered/opensbi.bin.manifest", "acme-home/ca.pem"), expect=Expect.CANNOT_SEE)
    run("init", "dev-home", "--title", "Acme lab", lines=1)
    shutil.copy("stick/seabios.bin", "altered/seabios.bin")
    run("sign", "altered/seabios.bin", "--home", "dev-home", lines=1)
    step("signed with a development key", 1, "altered/seabios.bin")
    tool(*openssl("altered/seabios.bin", "acme-home/ca.pem"), expect=Expect.REFUSES)
    step("a clock at 1970", 3, "stick/u-boot.bin", "--at", "1970-01-01T00:00:00Z")
    tool(*openssl("stick/u-boot.bin", "acme-home/ca.pem"), "-attime", "0", expect=Expect.REFUSES)
    revoke()


def revoke() -> None:
    """One officer's deny list takes the trust away from a key."""
    seen = tomllib.loads(Path("acme-home/trust.toml").read_text())["person"][2]["keys"][0]
    trust_file(deny=seen)
    run("trust", "sign", "trust.toml", "--home", "bakery-home", "--person", "officer", "--pin-file", "pin", lines=1)
    run("trust", "sign", "deny.toml", "--home", "bakery-home", "--person", "officer", "--pin-file", "pin", lines=1)
    step("Acme's key is on the deny list", 1, "stick/u-boot.bin")
    tool(*openssl("stick/u-boot.bin", "acme-home/ca.pem"), expect=Expect.CANNOT_SEE)


def closing(seconds: float) -> int:
    """The table, and the minutes it took."""
    chapter("6. What you saw")
    width = max(len(what) for what, _, _ in TABLE)
    for what, wanted, found in TABLE:
        print(f"   {what:<{width}}  {found}" + ("" if wanted == found else f"   <-- expected {wanted}"))
    wrong = sum(wanted != found for _, wanted, found in TABLE)
    print(
        f"\n{len(TABLE)} checks, {wrong} not as told, {seconds / 60:.1f} minutes. Everything is in {OUT}; try it yourself."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
