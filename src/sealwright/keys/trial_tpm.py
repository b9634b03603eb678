"""`doctor --token tpm:`: the TPM is tried with throwaway keys in a folder that is removed again.

Nothing is written into the TPM's own memory: no handle is made persistent, no counter, no platform register is changed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from sealwright.errors import SealwrightError
from sealwright.keys.attestation import check_attestation
from sealwright.keys.file import generate
from sealwright.keys.key import KeyKind, Provenance
from sealwright.keys.tpm import Tpm, create_tpm_key, import_tpm_key, open_tpm_key
from sealwright.keys.trial import Result, Trial, asked

KINDS = (KeyKind.P256, KeyKind.P384, KeyKind.RSA3072)
SPEED_S = 0.5
NONCE = bytes(32)
# TPM 2.0 Library, part 2, table "TPM_PT": numbers that the binding has no names for
VENDOR_STRINGS = (0x106, 0x107, 0x108, 0x109)
FIRMWARE_VERSIONS = (0x10B, 0x10C)
FREE_SLOTS = 0x207


def try_tpm() -> Generator[Trial]:
    """Everything in turn; KeyUnavailable where no TPM answers."""
    yield from _about()
    folder = tempfile.mkdtemp(prefix="sealwright-doctor-")
    try:
        for kind in KINDS:
            yield from _kind(os.path.join(folder, f"{kind}.tss"), kind)
        yield _platform(os.path.join(folder, "bound.tss"))
        yield _import(os.path.join(folder, "imported.tss"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    yield Trial("cleaning up", Result.WORKS, "throwaway keys removed; nothing was stored in the TPM")


def _about() -> Iterator[Trial]:
    tpm = Tpm("tpm:")
    try:
        yield Trial("TPM", Result.WORKS, f"{_texts(tpm)}, firmware {_firmware(tpm)}")
        api = tpm.api
        counted, allowed = _property(tpm, api.TPM2_PT.LOCKOUT_COUNTER), _property(tpm, api.TPM2_PT.MAX_AUTH_FAIL)
        said = f"{counted} of {allowed} wrong authorisations counted"
        locked = bool(allowed) and counted >= allowed
        yield Trial(
            "lockout", Result.NO if locked else Result.WORKS, said,
            "Sealwright's own keys take no part in it; others are locked until the TPM recovers." if locked else "",
        )  # fmt: skip
        slots = _property(tpm, FREE_SLOTS)
        yield Trial(
            "free slots for keys", Result.WORKS, str(slots),
            "Without a resource manager run one signing process at a time." if slots <= 3 else "",
        )  # fmt: skip
    finally:
        tpm.close()


def _kind(path: str, kind: KeyKind) -> Iterator[Trial]:
    try:
        began = time.monotonic()
        info = create_tpm_key(path, kind)
    except SealwrightError as cause:
        yield Trial(f"{kind}: make", Result.NO, cause.what, f"No {kind} keys can be made there.")
        return
    yield Trial(f"{kind}: make", Result.WORKS, f"in {time.monotonic() - began:.1f} s, {info.provenance}")
    try:
        with closing(open_tpm_key(f"tpm:{path}")) as key:
            key.sign(asked(kind.algorithm, 1))
            began, done = time.monotonic(), 0
            while (took := time.monotonic() - began) < SPEED_S:
                done += len(key.sign(asked(kind.algorithm, 1)))
            yield Trial(f"{kind}: sign and verify", Result.WORKS, f"{done / took:,.1f} a second", rate=done / took)
            signer = check_attestation(key.certify(NONCE), info.public_key, NONCE, path)
            yield Trial(f"{kind}: attestation", Result.WORKS, f"by {signer}")
        # a new connection: what happens after a restart of the service
        open_tpm_key(f"tpm:{path}").close()
    except SealwrightError as cause:
        yield Trial(f"{kind}: sign", Result.NO, cause.what, f"Do not enrol {kind} keys of this TPM.")


def _platform(path: str) -> Trial:
    name = "a key bound to platform registers"
    try:
        create_tpm_key(path, KeyKind.P256, "sha256:16")
        with closing(open_tpm_key(f"tpm:{path}")) as key:
            key.sign(asked(KeyKind.P256.algorithm, 1))
    except SealwrightError as cause:
        return Trial(name, Result.NO, cause.what, "Do not use --pcrs there.")
    return Trial(name, Result.WORKS, "made and signed with, register 16 unchanged")


def _import(path: str) -> Trial:
    name = "a key from outside (`key import`)"
    try:
        info = import_tpm_key(path, generate(KeyKind.P256))
        with closing(open_tpm_key(f"tpm:{path}")) as key:
            key.sign(asked(info.algorithm, 1))
    except SealwrightError as cause:
        return Trial(name, Result.NO, cause.what, "Existing keys cannot be brought into this TPM.")
    good = info.provenance is Provenance.HARDWARE_IMPORTED
    return Trial(name, Result.WORKS if good else Result.WRONG, f"taken in as {info.provenance}")


def _property(tpm: Tpm, which: Any) -> int:
    try:
        _, data = tpm.context.get_capability(tpm.api.TPM2_CAP.TPM_PROPERTIES, which, 1)
        return int(data.data.tpmProperties.tpmProperty[0].value)
    except (tpm.api.TSS2_Exception, RuntimeError, IndexError):
        return 0


def _texts(tpm: Tpm) -> str:
    """The maker, and its own words: four octets in each number."""
    maker = _property(tpm, tpm.api.TPM2_PT.MANUFACTURER).to_bytes(4, "big").decode("ascii", "replace").strip("\0 ")
    words = b"".join(_property(tpm, one).to_bytes(4, "big") for one in VENDOR_STRINGS)
    return " ".join(f"{maker} {words.decode('ascii', 'replace').replace(chr(0), '')}".split())


def _firmware(tpm: Tpm) -> str:
    first, second = (_property(tpm, one) for one in FIRMWARE_VERSIONS)
    return f"{first >> 16}.{first & 0xFFFF}.{second >> 16}.{second & 0xFFFF}"
