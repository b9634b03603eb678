"""The table of the formats that keep their signatures inside a file, or beside it in a place of their own, and how files of them are known.

A format is one file and one line in `EMBEDDED`. A look at a file's first and last bytes costs every verification a few
microseconds, so only the format that these bytes speak of is imported. One with its signature beside is known by that file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sealwright.artifact.source import OpenArtifact

HEAD_BYTES = 8
MAX_TAIL_BYTES = 32


class Known(NamedTuple):
    """module, factory: where the format is; kind: of its signatures; head: what files of it begin with (empty: anything), or one of these.

    tail: what stands `behind` bytes before their end; endings: of their names, in lower case (empty: any); described: by
    layouts, so that nothing is known of them here; timeless: the devices that verify it ask for no certificate's dates (EDK2, the
    Linux kernel) or know only keys; beside: endings of the files that lie beside and hold the signature, it last; empty where it
    is inside.
    """

    module: str
    factory: str
    kind: str
    head: bytes | tuple[bytes, ...] = b""
    tail: bytes = b""
    behind: int = 0
    endings: tuple[str, ...] = ()
    described: bool = False
    timeless: bool = False
    beside: tuple[str, ...] = ()


EMBEDDED: dict[str, Known] = {
    "pe": Known("sealwright.formats.pe", "Pe", "authenticode", head=b"MZ", timeless=True),
    "mcuboot": Known("sealwright.formats.mcuboot", "McuBoot", "mcuboot", head=bytes.fromhex("3db8f396"), timeless=True),
    "esp32": Known("sealwright.formats.esp32", "Esp32", "esp32", head=b"\xe9", timeless=True),
    "fit": Known("sealwright.formats.fit", "FitFormat", "fit", head=bytes.fromhex("d00dfeed"), timeless=True),
    # the file ends with the size of its CMS in 8 bytes, and RAUC reads none above 64 KiB
    "rauc": Known("sealwright.formats.rauc", "Rauc", "rauc", tail=bytes(5), behind=3),
    "swupdate": Known("sealwright.formats.swupdate", "SwUpdate", "swupdate", head=b"07070"),
    "msi": Known("sealwright.formats.msi", "Msi", "authenticode", head=bytes.fromhex("d0cf11e0a1b11ae1")),
    "cab": Known("sealwright.formats.cab", "Cab", "authenticode", head=b"MSCF"),
    "jar": Known("sealwright.formats.jar", "JarFormat", "jar", head=b"PK\x03\x04"),
    "powershell": Known(
        "sealwright.formats.powershell",
        "PowerShell",
        "authenticode",
        endings=(".ps1", ".psm1", ".psd1", ".ps1xml", ".psc1", ".cdxml", ".mof"),
    ),
    "kmod": Known("sealwright.formats.kmod", "KernelModule", "kmod", head=b"\x7fELF", timeless=True),
    "layout": Known("sealwright.formats.layout", "LayoutFormat", "layout", described=True, timeless=True),
    "verity": Known(
        "sealwright.formats.verity",
        "VerityFormat",
        "verity",
        beside=(".roothash", ".roothash.p7s"),
        timeless=True,
    ),
    "fsverity": Known("sealwright.formats.fsverity", "FsVerity", "fsverity", beside=(".fsverity.p7s",), timeless=True),
    "ima": Known("sealwright.formats.ima", "Ima", "ima", beside=(".sig",), timeless=True),
    "xmldsig": Known("sealwright.formats.xmldsig", "XmlDsig", "xmldsig", head=(b"<", b"\xef\xbb\xbf<")),
    "xmldsig-detached": Known(
        "sealwright.formats.xmldetached", "XmlDetached", "xmldsig-detached", beside=(".xmldsig",)
    ),
}
BESIDE = {name: known.beside for name, known in EMBEDDED.items() if known.beside}
_INSIDE = {name: known for name, known in EMBEDDED.items() if not known.described and not known.beside}
_BY_ENDING = tuple(ending for known in _INSIDE.values() for ending in known.endings)
_BY_TAIL = [(known.tail, known.behind) for known in _INSIDE.values() if known.tail]
_BY_HEAD = tuple(
    head
    for known in _INSIDE.values()
    if not known.tail and not known.endings
    for head in (known.head if isinstance(known.head, tuple) else (known.head,))
)
_TELLING = tuple((name, known.head, known.tail, known.behind, known.endings) for name, known in _INSIDE.items())
_TAILS = any(known.tail for known in EMBEDDED.values())


def ends_of(source: OpenArtifact) -> tuple[bytes, bytes]:
    """The first bytes of a file and its last ones, as far as a format is known by them."""
    tail = source.read_at(max(0, source.size - MAX_TAIL_BYTES), MAX_TAIL_BYTES) if _TAILS else b""
    return source.read_at(0, HEAD_BYTES), tail


def fitting(head: bytes, tail: bytes, path: str) -> list[str]:
    """The names of the formats of which a file that begins and ends so and is called so could be, in the table's order."""
    lower = path.lower()
    return [
        name
        for name, begins, ends, behind, endings in _TELLING
        if head.startswith(begins)
        and (not ends or tail.endswith(ends, 0, max(0, len(tail) - behind)))
        and (not endings or lower.endswith(endings))
    ]


def may_be_signed_inside(source: OpenArtifact) -> bool:
    """Whether a format speaks for a file at first sight."""
    head, tail = ends_of(source)
    return bool(fitting(head, tail, source.path))


def could_be_signed_inside(head: bytes, tail: bytes, path: str) -> bool:
    """Whether a file that begins and ends so is worth a look at all. A survey asks it of every file, so it is quick and says yes too often.

    head, tail: as of `ends_of`, or longer; of a small file all its bytes.
    """
    if head.startswith(_BY_HEAD) or path.lower().endswith(_BY_ENDING):
        return True
    for end, behind in _BY_TAIL:  # noqa: SIM110 (a generator would take as long as all the rest)
        if tail.endswith(end, 0, max(0, len(tail) - behind)):
            return True
    return False
