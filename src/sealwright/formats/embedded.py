"""Which formats keep their signatures inside, how a file is known to be one, and the check of what `attach` wrote.

A format is one file and one line in `EMBEDDED`. A look at a file's first and last bytes costs every verification a few
microseconds, so only the format that these bytes speak of is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple, cast

from sealwright.artifact.source import OpenArtifact, open_artifact
from sealwright.envelope.cms import Signer, check_signer
from sealwright.errors import ChangedWhileRead, SealwrightError, UsageError
from sealwright.findings import reject
from sealwright.formats.format import Candidate, EmbeddedFormat, Found, Prepared, Sealed, Search, Slot
from sealwright.formats.sidecar import read_late_tokens

HEAD_BYTES = 8
MAX_TAIL_BYTES = 32


class Known(NamedTuple):
    """module, factory: where the format is; kind: of its signatures; head: what files of it begin with (empty: anything).

    tail: what stands `behind` bytes before their end; endings: of their names, in lower case (empty: any).
    """

    module: str
    factory: str
    kind: str
    head: bytes = b""
    tail: bytes = b""
    behind: int = 0
    endings: tuple[str, ...] = ()

    def fits(self, head: bytes, tail: bytes, path: str) -> bool:
        """Whether a file that begins and ends so and is called so could be of it."""
        if self.endings and not path.lower().endswith(self.endings):
            return False
        return head.startswith(self.head) and tail[: len(tail) - self.behind].endswith(self.tail)


EMBEDDED: dict[str, Known] = {
    "pe": Known("sealwright.formats.pe", "Pe", "authenticode", head=b"MZ"),
    "mcuboot": Known("sealwright.formats.mcuboot", "McuBoot", "mcuboot", head=bytes.fromhex("3db8f396")),
    "fit": Known("sealwright.formats.fit", "FitFormat", "fit", head=bytes.fromhex("d00dfeed")),
    # the file ends with the size of its CMS in 8 bytes, and RAUC reads none above 64 KiB
    "rauc": Known("sealwright.formats.rauc", "Rauc", "rauc", tail=bytes(5), behind=3),
    "swupdate": Known("sealwright.formats.swupdate", "SwUpdate", "swupdate", head=b"07070"),
    "jar": Known("sealwright.formats.jar", "JarFormat", "jar", head=b"PK\x03\x04"),
    "powershell": Known(
        "sealwright.formats.powershell",
        "PowerShell",
        "authenticode",
        endings=(".ps1", ".psm1", ".psd1", ".ps1xml", ".psc1", ".cdxml", ".mof"),
    ),
    "kmod": Known("sealwright.formats.kmod", "KernelModule", "kmod", head=b"\x7fELF"),
}
_CHANGED = ("SW-FILE-CHANGED", "SW-ARTIFACT-MALFORMED")
_TAILS = any(known.tail for known in EMBEDDED.values())


def embedded_format(name: str) -> EmbeddedFormat:
    """The format of that name."""
    known = EMBEDDED[name]
    return cast("Callable[[], EmbeddedFormat]", getattr(import_module(known.module), known.factory))()


def recognise(source: OpenArtifact) -> EmbeddedFormat | None:
    """The format whose signatures a file can hold, or None."""
    head = source.read_at(0, HEAD_BYTES)
    tail = source.read_at(max(0, source.size - MAX_TAIL_BYTES), MAX_TAIL_BYTES) if _TAILS else b""
    for name, known in EMBEDDED.items():
        if known.fits(head, tail, source.path):
            found = embedded_format(name)
            if found.recognises(source):
                return found
    return None


def recognised(path: str) -> EmbeddedFormat:
    """The same for a path; UsageError where it is of no such format."""
    with open_artifact(path) as source:
        found = recognise(source)
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
        name = search.source.path if search.source is not None else path
        finding = reject(cause.code, name.rpartition("/")[2], found=cause.what)
        broken = Candidate(
            name.rpartition("/")[2], Slot.MAKER, form.name, form.name, None, {}, None, findings=(finding,)
        )
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
    """The new file holds exactly this signature, and it fits the bytes that were written.

    Raises ChangedWhileRead where the artifact was changed after it was prepared, and what `check_signer` raises.
    """
    with open_artifact(path) as source:
        found = form.extract(path, Search(source=source, certificates=(sealed.certificate,)))
    for candidate in found.candidates:
        signers = candidate.envelope.signers if candidate.envelope is not None else ()
        for signer in signers:
            if isinstance(signer, Signer) and signer.signature == sealed.value:
                check_signer(signer, candidate.digests, candidate.kind, prepared.path)
                # what a signature covers by way of a list of digests; what it leaves out, a further one may cover
                for finding in candidate.findings:
                    if finding.code in _CHANGED:
                        raise ChangedWhileRead(prepared.path, finding.sentence, "Sign it again.")
                return
    raise ChangedWhileRead(prepared.path, "the signature is not found in what was written", "Sign it again.")
