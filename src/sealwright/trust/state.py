"""What a verifier remembers between calls (`--state DIR`): floor, highest generation a product, newest trust version, and
the newest lists that take trust away (`deny.toml`, CRLs), so that an older one put in their place shows.

One JSON file, replaced atomically. It only grows: a lower floor, generation or version never replaces a higher one. It is
read before the judgement and written after an accepted one; a state that cannot be read or written is an error, because
a verifier that forgets would accept what it refused yesterday.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from sealwright.artifact.source import read_file_or_none
from sealwright.errors import MalformedTrust, OutputRefused, UsageError

FILE = "state.json"
MAX_STATE_BYTES = 1 << 20
MAX_FLOOR_STEP = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class State:
    """floor: newest proved time accepted; generations: by product; trust: highest version by trust file id.

    lists: highest version of the deny list by trust file and its version, and highest CRL number by issuer's key.
    """

    floor: datetime | None
    generations: Mapping[str, int]
    trust: Mapping[str, int]
    lists: Mapping[str, int] = field(default_factory=dict)

    def after(
        self,
        proved: datetime | None,
        product: str | None,
        generation: int | None,
        id_: str,
        version: int,
        lists: Mapping[str, int],
    ) -> State:
        """The state after an accepted judgement. A step of the floor over 400 days needs more than one source (RULES 4)."""
        floor, generations, trust = self.floor, dict(self.generations), dict(self.trust)
        if proved is not None and (floor is None or floor < proved <= floor + MAX_FLOOR_STEP):
            floor = proved
        if product is not None and generation is not None:
            generations[product] = max(generation, generations.get(product, 0))
        trust[id_] = max(version, trust.get(id_, 0))
        seen = dict(self.lists) | {name: max(number, self.lists.get(name, 0)) for name, number in lists.items()}
        return replace(self, floor=floor, generations=generations, trust=trust, lists=seen)


NOTHING = State(None, {}, {})


def read_state(folder: str) -> State:
    """The state kept in a folder; NOTHING if it has none yet. MalformedTrust if it is there and not readable as a state."""
    import json  # only callers with a state folder pay for it

    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise UsageError(folder, "it is not a folder", "Name a folder of its own with --state.")
    path = os.path.join(folder, FILE)
    data = read_file_or_none(path, MAX_STATE_BYTES)
    if data is None:
        return NOTHING
    try:
        value = json.loads(data, object_pairs_hook=_once)
        floor = datetime.fromisoformat(value["floor"]).astimezone(UTC) if value["floor"] else None
        generations = {str(k): int(v) for k, v in value["generations"].items()}
        trust = {str(k): int(v) for k, v in value["trust"].items()}
        lists = {str(k): int(v) for k, v in value.get("lists", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise MalformedTrust(
            path, "the verifier's state is damaged", "Restore it from a backup; do not delete it."
        ) from cause
    return State(floor, generations, trust, lists)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys come once: of two readers one might take the first and one the last (A079)."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def write_state(folder: str, state: State) -> None:
    """Replace the state atomically; OutputRefused if it cannot be made durable."""
    import json

    from sealwright.artifact.output import Replace, write_atomic  # a stateless verify writes nothing

    floor = state.floor.isoformat() if state.floor else ""
    value = {
        "floor": floor,
        "generations": dict(state.generations),
        "trust": dict(state.trust),
        "lists": dict(state.lists),
    }
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as cause:
        raise OutputRefused(
            folder, f"the folder cannot be made ({cause.strerror})", "Name another one with --state."
        ) from cause
    text = json.dumps(value, sort_keys=True, indent=1) + "\n"
    write_atomic(os.path.join(folder, FILE), text.encode(), replace=Replace.YES)
