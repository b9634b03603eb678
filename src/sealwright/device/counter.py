"""The generation floor in a TPM: an NV counter, which can only be incremented, by nobody and nothing turned back (TPM 2.0 part 1, 37.2.3).

A counter begins at a value that the TPM chooses; the agent keeps that value when it makes the counter (`base`), and the floor is how far it
was raised since. A disk that is put back to an older day still meets the newer counter. A counter that is missing, of another kind, or below
its own base is refused: the TPM was cleared or changed, and people have to look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sealwright.device.agentconfig import CounterConfig
from sealwright.errors import AgentDamaged, InstallFailed

MAX_STEPS = 10_000
_NEXT = "Have the TPM looked at; nothing is installed while its counter is unknown."


class Counter(Protocol):
    """A floor that only ever rises."""

    def floor(self) -> int:
        """How far it was raised."""
        ...

    def raise_to(self, floor: int) -> None:
        """Raise it; lower or equal changes nothing. AgentDamaged where it cannot be."""
        ...


@dataclass(frozen=True, slots=True)
class TpmCounter:
    """An NV counter of a TPM. base: its value when it was made."""

    config: CounterConfig
    base: int

    def floor(self) -> int:
        """The value above its base."""
        value = _with_tpm(self.config, lambda tpm: _value(tpm, self.config))
        if value < self.base:
            raise AgentDamaged(_name(self.config), f"it stands at {value}, below {self.base} where it began", _NEXT)
        return value - self.base

    def raise_to(self, floor: int) -> None:
        """Increment it one by one, at most 10,000 times."""
        here = self.floor()
        if floor - here > MAX_STEPS:
            raise AgentDamaged(
                _name(self.config), f"{floor - here} steps are too many", "Use smaller generations for `enforces`."
            )
        if floor > here:
            _with_tpm(self.config, lambda tpm: _increment(tpm, self.config, floor - here))


def make_counter(config: CounterConfig) -> int:
    """A new counter; its value. AgentDamaged where there is one already: whose it was nobody here knows."""
    return _with_tpm(config, lambda tpm: _made(tpm, config))


def _with_tpm(config: CounterConfig, work: Callable[[Any], int]) -> int:
    try:
        from tpm2_pytss import ESAPI, TSS2_Exception  # only where a counter is used
    except ImportError as cause:
        raise InstallFailed(
            _name(config), "tpm2-pytss is not installed", "Install sealwright[tpm], or remove [counter]."
        ) from cause
    try:
        with ESAPI(config.tcti) as tpm:
            return work(tpm)
    except TSS2_Exception as cause:
        raise AgentDamaged(_name(config), f"the TPM says: {cause}"[:200], _NEXT) from cause


def _made(tpm: Any, config: CounterConfig) -> int:
    from tpm2_pytss import ESYS_TR, TPM2_ALG, TPM2_NT, TPM2B_NV_PUBLIC, TPMA_NV, TPMS_NV_PUBLIC, TSS2_Exception

    try:
        tpm.tr_from_tpmpublic(config.index)
    except TSS2_Exception:
        pass
    else:
        raise AgentDamaged(
            _name(config),
            "there is one already, and the agent did not make it",
            "Name another index, or remove it knowingly.",
        )
    kind = TPM2_NT.COUNTER << TPMA_NV.TPM2_NT_SHIFT
    attributes = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA | kind
    public = TPM2B_NV_PUBLIC(
        nvPublic=TPMS_NV_PUBLIC(nvIndex=config.index, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=8)
    )
    handle = tpm.nv_define_space(b"", public, auth_handle=ESYS_TR.OWNER)
    tpm.nv_increment(handle, auth_handle=handle)
    return _value(tpm, config)


def _value(tpm: Any, config: CounterConfig) -> int:
    handle = _handle(tpm, config)
    return int.from_bytes(bytes(tpm.nv_read(handle, 8, auth_handle=handle)), "big")


def _increment(tpm: Any, config: CounterConfig, steps: int) -> int:
    handle = _handle(tpm, config)
    for _ in range(steps):
        tpm.nv_increment(handle, auth_handle=handle)
    return 0


def _handle(tpm: Any, config: CounterConfig) -> Any:
    from tpm2_pytss import TPM2_NT, TPMA_NV

    handle = tpm.tr_from_tpmpublic(config.index)
    public, _ = tpm.nv_read_public(handle)
    kind = (int(public.nvPublic.attributes) & TPMA_NV.TPM2_NT_MASK) >> TPMA_NV.TPM2_NT_SHIFT
    if kind != TPM2_NT.COUNTER:
        raise AgentDamaged(_name(config), "it is no counter", _NEXT)
    return handle


def _name(config: CounterConfig) -> str:
    return f"TPM counter {config.index:#010x}"
