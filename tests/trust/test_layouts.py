"""`[[layout]]` of the trust file: which descriptions of makers' headers a verifier reads, and that it reads no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.layouts import DRIVE, METER, PLC, drive_image, layout, named, sign_layout
from kit.pki import NOW, Pki
from kit.trust import OFFICER, RULE, judge, knowing, trust_bytes, trust_parts, write_trust
from sealwright.artifact.digest import Digest
from sealwright.envelope.kinds import Construction
from sealwright.errors import MalformedTrust, SealwrightError
from sealwright.trust.belief import load_trust
from sealwright.trust.bundle import install_bundle
from sealwright.trust.toml import Toml
from sealwright.trust.trustfile import parse_trust
from sealwright.trust.verdict import Outcome

PKI = Pki.make()
BOOT = PKI.leaf("boot key", construction=Construction.LAYOUT)


def entry(text: str, **changes: Toml) -> dict[str, Toml]:
    """A [[layout]] without its text."""
    said: dict[str, Toml] = {"name": layout(text).name, "digest": str(Digest.of(text.encode()))}
    return said | changes


def parsed(*layouts: Toml, **changes: Toml) -> object:
    return parse_trust(trust_bytes(trust_parts(PKI, layout=list(layouts), **changes)), "trust.toml")


def image(folder: Path) -> Path:
    plain = folder / "plain.bin"
    plain.write_bytes(drive_image())
    return sign_layout(plain, BOOT, folder / "drive.bin", DRIVE)


def beside(folder: Path, *layouts: Toml, **files: str) -> Path:
    """A signed trust file with layouts, and files in trust.d."""
    path = write_trust(folder, trust_parts(PKI, layout=list(layouts), certificate=knowing(BOOT)), olga=OFFICER)
    (folder / "trust.d").mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / "trust.d" / f"{name}.layout").write_text(text)
    folder.chmod(0o700)
    return path


@pytest.mark.parametrize("inline", [True, False], ids=["in the file", "in trust.d"])
def test_a_layout_counts_by_the_digest_that_the_trust_file_names(tmp_path: Path, inline: bool) -> None:
    folder = tmp_path / "trust"
    path = beside(folder, *(named(DRIVE) if inline else [entry(DRIVE)]), **({} if inline else {"any-name": DRIVE}))
    believed = load_trust(str(path))
    assert [one.name for one in believed.layouts] == ["acme-drive"]
    assert judge(image(tmp_path), believed).outcome is Outcome.TRUSTED


def test_a_layout_that_nobody_named_is_not_read(tmp_path: Path) -> None:
    """A108: what lies in trust.d adds nothing by itself."""
    path = beside(tmp_path / "trust", *named(METER), acme=DRIVE, noise="# sealwright layout 1\nnothing")
    believed = load_trust(str(path))
    assert [one.name for one in believed.layouts] == ["zeta-meter"]
    verdict = judge(image(tmp_path), believed)
    assert [finding.code for finding in verdict.findings][:1] == ["SW-SIGNATURE-MISSING"]


def test_an_altered_layout_is_not_the_one_that_is_named(tmp_path: Path) -> None:
    altered = DRIVE.replace("at = 20", "at = 28")
    assert load_trust(str(beside(tmp_path / "good", entry(DRIVE), drive=DRIVE))).layouts
    with pytest.raises(MalformedTrust, match=r"no file in trust\.d has its digest"):
        load_trust(str(beside(tmp_path / "bad", entry(DRIVE), drive=altered)))


@pytest.mark.parametrize(
    ("layouts", "why"),
    [
        ([{**named(DRIVE)[0], "digest": "sha256:" + "0" * 64}], "`digest` must be that of the text"),  # type: ignore[dict-item]
        ([{**named(DRIVE)[0], "name": "other"}], "`name` must be the name in its text, acme-drive"),  # type: ignore[dict-item]
        ([{"name": "x", "digest": str(Digest.of(b"x")), "text": "x"}], "the first line is not"),
        ([{"name": "x"}], "`digest` must be"),
        ([*named(DRIVE), entry(DRIVE, name="second")], "digest is used twice"),
        ([*named(DRIVE), entry(PLC, name="acme-drive")], "name is used twice"),
        ([entry(DRIVE, path="acme.layout")], "unknown key `path`"),
    ],
)
def test_a_section_that_does_not_fit_its_text_is_refused(layouts: list[Toml], why: str) -> None:
    assert parsed(*named(DRIVE, PLC))
    with pytest.raises(MalformedTrust, match=why):
        parsed(*layouts)


def test_two_layouts_of_one_magic_are_refused(tmp_path: Path) -> None:
    twin = DRIVE.replace('"acme-drive"', '"acme-twin"').replace("at = 20", "at = 28")
    longer = twin.replace("[[part]]", '[[magic]]\nat = 26\nbytes = "01 00"\n[[part]]', 1)
    assert load_trust(str(beside(tmp_path / "good", *named(DRIVE, PLC)))).layouts
    for other in (twin, longer):
        with pytest.raises(MalformedTrust, match="its magic is that of acme-drive, or part of it"):
            load_trust(str(beside(tmp_path / "bad", *named(DRIVE, other))))


def test_rules_name_layouts_that_exist() -> None:
    rule = {**RULE, "formats": ["layout:acme-drive", "layout"]}
    assert parsed(*named(DRIVE), rule=[rule])
    with pytest.raises(MalformedTrust, match=r"there is no \[\[layout\]\] for layout:acme-drive"):
        parsed(rule=[rule])
    with pytest.raises(MalformedTrust, match=r"`formats` must be some of .*layout:NAME"):
        parsed(*named(DRIVE), rule=[{**RULE, "formats": ["mcuboot:acme-drive"]}])


def test_an_installed_trust_file_has_its_layouts_beside_it(tmp_path: Path) -> None:
    path = beside(tmp_path / "stick", entry(DRIVE), drive=DRIVE)
    place = tmp_path / "installed"
    place.mkdir(mode=0o700)
    install_bundle(str(path), str(place), parse_trust(path.read_bytes(), "trust.toml"), NOW)
    assert (place / "trust.d" / "drive.layout").read_text() == DRIVE
    for name in ("trust.toml", "trust.toml.olga.p7s"):
        (place / name).write_bytes((path.parent / name).read_bytes())
    assert load_trust(str(place / "trust.toml")).layouts


def test_a_layout_too_large_or_not_readable_refuses_the_trust_file(tmp_path: Path) -> None:
    path = beside(tmp_path / "trust", entry(DRIVE), drive=DRIVE)
    assert load_trust(str(path)).layouts
    (tmp_path / "trust" / "trust.d" / "drive.layout").write_text(DRIVE + "#" * 65536)
    with pytest.raises(SealwrightError, match="at most 65536 are read"):
        load_trust(str(path))
