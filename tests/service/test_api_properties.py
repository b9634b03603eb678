"""Whatever is asked of a signing service's API, as its OpenAPI document allows it or not: no 5xx, no traceback, and answers as the document says.

Calls go over TLS to a real process, as somebody, as somebody of another tenant, and as nobody. `make fuzz-service` asks for longer.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator

import httpx
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

from kit.doors import ask_body, context, events
from kit.signingservice import House, house, running

EXAMPLES = 2000 if os.environ.get("SEALWRIGHT_FUZZ") == "long" else 80
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
OPEN = ("/health",)
NAMES = ("max", "stranger", None)


class Asked:
    """The service, its document, connections as each of those who ask, and real ids to put in paths."""

    def __init__(self, service: House) -> None:
        self.service = service
        self.authority = str(service.folder / "servers.pem")
        self.sessions = {name: self._session(name) for name in NAMES}
        self.statuses: Counter[tuple[str | None, int]] = Counter()
        self.ids = [self._asked("development"), self._asked("production")]
        document = self.sessions[None].get(f"{service.address}/openapi/openapi.json").json()
        self.document = document
        self.schema = schemathesis.openapi.from_dict(document)
        self.schema.config.update(base_url=service.address)

    def _session(self, name: str | None) -> requests.Session:
        session = requests.Session()
        session.verify = self.authority
        session.trust_env = False
        if name is not None:
            session.cert = tuple(map(str, self.service.identity(name)))  # type: ignore[assignment]
        return session

    def _asked(self, environment: str) -> str:
        with httpx.Client(verify=context(self.service, "max"), base_url=self.service.address) as client:
            headers = {"content-type": "application/json"}
            answer = client.post(
                "/v1/requests", content=ask_body(environment, environment=environment), headers=headers
            )
            return str(answer.json()["id"])

    def ask(self, case: schemathesis.Case, name: str | None, id_: str) -> None:
        """One call as somebody, of a request that there is where an id is given."""
        if id_ and "id_" in (case.path_parameters or {}):
            case.path_parameters["id_"] = id_
        if isinstance(case.body, dict) and isinstance(case.body.get("wait_s"), int):
            case.body["wait_s"] = min(case.body["wait_s"], 0)
        case.query.pop("wait_s", None)
        case.headers.pop("Authorization", None)  # schemathesis makes one up, and two proofs of who asks are none
        answer = case.call(session=self.sessions[name], verify=self.authority, timeout=30)
        case.validate_response(answer, checks=CHECKS)
        self.statuses[name, answer.status_code // 100] += 1
        assert "Traceback" not in answer.text
        assert name is not None or case.operation.path in OPEN or answer.status_code >= 400


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    made = house(tmp_path_factory.mktemp("house"))
    with running(made):
        yield (one := Asked(made))
        assert not [line for line in events(made) if line.get("event") == "failed"]
        assert one.statuses["max", 2]


def operations(asked: Asked) -> list[APIOperation]:
    return [one.ok() for one in asked.schema.get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_whatever_is_asked_is_answered_as_the_document_says(asked: Asked, mode: GenerationMode) -> None:
    for operation in operations(asked):
        if mode is GenerationMode.NEGATIVE and not any((operation.path_parameters, operation.query, operation.body)):
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
            id_=st.sampled_from([*asked.ids, ""]),
        )
        def ask(case: schemathesis.Case, name: str | None, id_: str) -> None:
            asked.ask(case, name, id_)

        ask()


def test_the_document_is_one_of_openapi_3_1_and_names_every_resource(asked: Asked) -> None:
    assert asked.document["openapi"].startswith("3.1")
    assert {"/v1/requests", "/v1/keys", "/health"} <= set(asked.document["paths"])
    assert asked.document["paths"]["/health"]["get"]["security"] == []
    problem = json.dumps(asked.document["paths"]["/v1/keys"]["get"]["responses"]["default"])
    assert "application/problem+json" in problem
    pages = asked.sessions[None].get(f"{asked.service.address}/openapi")
    assert "<script" not in pages.text
