"""The OpenAPI document of the signing service, said as it is: what Litestar cannot know is added, what it says wrongly is taken out.

    app = Litestar(resources, openapi_config=configuration())
    describe(app)

1. Every refusal is a problem (RFC 9457), with whatever status: one `default` answer beside those that are no refusals.
2. Who asks is known by a client certificate or a token; what is open to everybody says so (`opt={OPEN: True}` of its handler).
3. The document is JSON alone: Litestar's pages for people would load programs from elsewhere.
"""

from __future__ import annotations

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    PathItem,
    Reference,
    Schema,
    SecurityScheme,
)
from msgspec.structs import fields

from sealwright import __version__
from sealwright.service.edge import PROBLEM
from sealwright.service.wire import Problem

PATH = "/openapi"
OPEN = "open"
_LITESTARS_OWN = "400"  # its own form of an error, which our handler replaces
_METHODS = ("get", "post", "put", "patch", "delete")


def configuration() -> OpenAPIConfig:
    """The document at `/openapi/openapi.json`."""
    schemes: dict[str, SecurityScheme | Reference] = {
        "certificate": SecurityScheme(type="mutualTLS", description="A client certificate of the register"),
        "token": SecurityScheme(type="http", scheme="bearer", description="A CI system's token, good once"),
    }
    return OpenAPIConfig(
        "Sealwright signing service",
        __version__,
        path=PATH,
        components=Components(security_schemes=schemes),
        security=[{"certificate": []}, {"token": []}],
        render_plugins=[JsonRenderPlugin()],
    )


def describe(app: Litestar) -> None:
    """Say all of this in an application's document."""
    document = app.openapi_schema
    open_paths = {route.path_format for route in app.routes if any(one.opt.get(OPEN) for one in route.route_handlers)}  # type: ignore[union-attr]
    problem = OpenAPIResponse(
        "A refusal", content={PROBLEM: OpenAPIMediaType(Reference("#/components/schemas/Problem"))}
    )
    document.components.schemas = {**(document.components.schemas or {}), "Problem": _problem()}
    for path, item in (document.paths or {}).items():
        for operation in _operations(item):
            responses = {**(operation.responses or {}), "default": problem}
            responses.pop(_LITESTARS_OWN, None)
            operation.responses = responses
            if path in open_paths:
                operation.security = []


def _operations(item: PathItem) -> list[Operation]:
    return [found for method in _METHODS if (found := getattr(item, method)) is not None]


def _problem() -> Schema:
    kinds = {str: OpenAPIType.STRING, int: OpenAPIType.INTEGER}
    return Schema(
        type=OpenAPIType.OBJECT,
        title="Problem",
        properties={one.encode_name: Schema(type=kinds[one.type]) for one in fields(Problem)},
        required=[one.encode_name for one in fields(Problem) if one.required],
    )
