"""Whatever is asked of hawkBit's device interface, as its OpenAPI document allows it or not: no 5xx, and answers as the document says.

Calls go over TLS to a real process, as a device, as another one, and as nobody.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kit.agents import Maker
from kit.hawkbit import HawkbitHouse, hawkbit_house, release_with, serving_hawkbit

EXAMPLES = 2000 if os.environ.get("SEALWRIGHT_FUZZ") == "long" else 12
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
NAMES = ("plc-1", "plc-2", None)


class Asked:
    """The service, its document, and a connection."""

    def __init__(self, house: HawkbitHouse) -> None:
        self.house = house
        self.session = requests.Session()
        self.session.verify = str(house.folder / "servers.pem")
        self.session.trust_env = False
        self.statuses: Counter[tuple[bool, int]] = Counter()
        document = self.session.get(f"{house.https}/openapi/openapi.json").json()
        self.schema = schemathesis.openapi.from_dict(document)
        self.schema.config.update(base_url=house.https)

    def operations(self) -> list[APIOperation]:
        return [one.ok() for one in self.schema.get_all_operations()]

    def ask(self, case: schemathesis.Case, name: str | None, device: str, number: int) -> None:
        """One call as somebody, of a device that there is where one is given."""
        if device and case.path_parameters:
            real = {"tenant": "acme", "controller": device, "number": number, "name": "system.swu"}
            case.path_parameters.update({key: real[key] for key in case.path_parameters})
        case.headers.pop("Authorization", None)
        if name is not None:
            case.headers["Authorization"] = f"TargetToken {self.house.tokens[name]}"
        answer = case.call(session=self.session, verify=self.session.verify, timeout=30)
        case.validate_response(answer, checks=CHECKS)
        assert "Traceback" not in answer.text
        own = name is not None and name == device
        assert own or case.operation.path == "/health" or answer.status_code >= 400
        self.statuses[own, answer.status_code // 100] += 1


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("hawkbit")
    maker = Maker.at(folder / "maker")
    maker.offer(release_with(maker, "1.0.0", 1, b"an archive"))
    house = hawkbit_house(folder / "house", maker)
    for name in NAMES[:2]:
        house.add(str(name))
    with serving_hawkbit(house):
        yield (one := Asked(house))
        assert '"event": "failed"' not in house.log
        assert one.statuses[True, 2]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_a_device_asks_is_answered_as_the_document_says(asked: Asked, mode: GenerationMode) -> None:
    for operation in asked.operations():
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # there is nothing to say wrongly

        @seed(7)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            name=st.sampled_from(NAMES),
            device=st.sampled_from(("plc-1", "plc-1", "")),
            number=st.sampled_from((1, 1, 2, 0, -1, 2**31, 2**70)),
        )
        def ask(case: schemathesis.Case, name: str | None, device: str, number: int) -> None:
            asked.ask(case, name, device, number)

        ask()
