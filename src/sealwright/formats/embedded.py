"""Which formats keep their signatures inside, or beside in a place of their own; how they are known; the check of what was made.

A format is one file and one line in `EMBEDDED`. A look at a file's first and last bytes costs every verification a few
microseconds, so only the format that these bytes speak of is imported. One with its signature beside is known by that file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from sealwright.artifact.source import OpenArtifact, open_artifact, read_file_or_none
from sealwright.envelope.cms import Signer, check_signer
from sealwright.errors import ChangedWhileRead, SealwrightError, UsageError
from sealwright.findings import Severity, reject
from sealwright.formats.format import (
    BesideFormat,
    Candidate,
    Companion,
    EmbeddedFormat,
    Found,
    Prepared,
    Sealed,
    Search,
    Slot,
)
from sealwright.formats.sidecar import MAX_ENVELOPE_BYTES, read_late_tokens

if TYPE_CHECKING:
    from sealwright.formats.layouttext import Layout

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

    def fits(self, head: bytes, tail: bytes, path: str) -> bool:
        """Whether a file that begins and ends so and is called so could be of it."""
        if self.described or self.beside or (self.endings and not path.lower().endswith(self.endings)):
            return False
        return head.startswith(self.head) and tail[: len(tail) - self.behind].endswith(self.tail)


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
}
BESIDE = {name: known.beside for name, known in EMBEDDED.items() if known.beside}
_TAILS = any(known.tail for known in EMBEDDED.values())


def embedded_format(name: str, layouts: Collection[Layout] = ()) -> EmbeddedFormat:
    """The format of that name. layouts: what it is described by, where it is."""
    known = EMBEDDED[name]
    if known.described:
        from sealwright.formats.layout import LayoutFormat  # few files are of any (start-up time)

        return LayoutFormat(tuple(layouts))
    return cast("Callable[[], EmbeddedFormat]", getattr(import_module(known.module), known.factory))()


def recognise(source: OpenArtifact, layouts: Collection[Layout] = ()) -> EmbeddedFormat | None:
    """The format whose signatures a file can hold, or None; what somebody has described comes before what is known here."""
    if layouts:
        from sealwright.formats.layout import LayoutFormat

        if (described := LayoutFormat(tuple(layouts))).recognises(source):
            return described.fitting(source)
    head = source.read_at(0, HEAD_BYTES)
    tail = source.read_at(max(0, source.size - MAX_TAIL_BYTES), MAX_TAIL_BYTES) if _TAILS else b""
    for name, known in EMBEDDED.items():
        if known.fits(head, tail, source.path):
            found = embedded_format(name)
            if found.recognises(source):
                return found
    return None


def signed_beside(path: str, search: Search) -> list[EmbeddedFormat]:
    """The formats whose signature lies beside a file, or that the signature asked for is of by its name."""
    return [embedded_format(name) for name, endings in BESIDE.items() if _lies_beside(path, endings[-1], search)]


def extract_beside(path: str, search: Search) -> list[Found]:
    """The signatures that `signed_beside` is about."""
    found = []
    for form in signed_beside(path, search):
        looked = search if search.signature is None else search._replace(delivered=_delivered(form, search.signature))
        found.append(extract_embedded(path, form, looked))
    return found


def files_beside(name: str, prepared: Prepared, sealed: Sealed) -> tuple[Companion, ...]:
    """What a format writes beside the new file, the signature last; nothing where it is inside."""
    if name not in BESIDE:
        return ()
    return cast("BesideFormat", embedded_format(name)).beside(prepared, sealed)


def recognised(path: str, layouts: Collection[Layout] = ()) -> EmbeddedFormat:
    """The same for a path; UsageError where it is of no such format."""
    with open_artifact(path) as source:
        found = recognise(source, layouts)
    if found is None:
        raise UsageError(
            path,
            "it is of no format that keeps its signature inside",
            f"Sign it with a signature beside it, or name its format: {', '.join(EMBEDDED)}.",
        )
    return found


def extract_embedded(path: str, form: EmbeddedFormat, search: Search) -> Found:
    """The signatures inside. A file that cannot be read as its format is one candidate that never counts, with the reason."""
    try:
        return with_late_tokens(form.extract(path, search), path, search)
    except ChangedWhileRead:
        raise
    except SealwrightError as cause:
        name = (search.source.path if search.source is not None else path).rpartition("/")[2]
        about = cause.subject.rpartition("/")[2]  # the file, or one that lies beside it
        finding = reject(cause.code, about if about.startswith(f"{name}.") else name, found=cause.what)
        broken = Candidate(name, Slot.MAKER, form.name, form.name, None, {}, None, findings=(finding,))
        return Found(path, 0, (broken,), None)


def with_late_tokens(found: Found, path: str, search: Search) -> Found:
    """The timestamps that lie beside the file, for each of its signatures."""
    tokens, findings = read_late_tokens(path, search) if found.candidates else ((), ())
    if not tokens and not findings:
        return found
    late = [
        candidate._replace(late_tokens=tokens, findings=(*candidate.findings, *findings))
        for candidate in found.candidates
    ]
    return found._replace(candidates=tuple(late))


def check_attached(form: EmbeddedFormat, path: str, prepared: Prepared, sealed: Sealed) -> None:
    """The new file holds exactly this signature, or will have it beside it, and it fits the bytes that were written.

    Raises ChangedWhileRead where the artifact was changed after it was prepared, and what `check_signer` raises.
    """
    with open_artifact(path) as source:
        delivered = files_beside(form.name, prepared, sealed)
        found = form.extract(path, Search(source=source, certificates=(sealed.certificate,), delivered=delivered))
    for candidate in found.candidates:
        signers = candidate.envelope.signers if candidate.envelope is not None else ()
        for signer in signers:
            if isinstance(signer, Signer) and signer.signature == sealed.value:
                check_signer(signer, candidate.digests, candidate.kind, prepared.path)
                _check_no_refusal(candidate, prepared.path)
                return
    raise ChangedWhileRead(prepared.path, "the signature is not found in what was written", "Sign it again.")


def _check_no_refusal(candidate: Candidate, path: str) -> None:
    """Where the signature is over a statement about the bytes (a root hash, a list), the bytes that were written are as it says.

    A part that nobody signed yet is no contradiction: a FIT is signed configuration by configuration.
    """
    for finding in candidate.findings:
        if finding.severity is Severity.REJECT and finding.code != "SW-PART-UNSIGNED":
            raise ChangedWhileRead(path, finding.sentence, "Sign it again.")


def _lies_beside(path: str, ending: str, search: Search) -> bool:
    return search.sees(path + ending) if search.signature is None else search.signature.endswith(ending)


def _delivered(form: EmbeddedFormat, signature: str) -> tuple[Companion, ...]:
    """A named signature, and what lies beside it in place of beside the artifact."""
    endings = BESIDE[form.name]
    stem = signature.removesuffix(endings[-1])
    read = {ending: read_file_or_none(stem + ending, MAX_ENVELOPE_BYTES) for ending in endings}
    return tuple(Companion(ending, data) for ending, data in read.items() if data is not None)
