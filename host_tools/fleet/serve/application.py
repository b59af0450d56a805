"""The fleet's interface as one application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from device_agent import __version__
from host_tools.fleet.ddi.door import DdiSettings
from host_tools.fleet.ddi.endpoints import add_ddi
from host_tools.fleet.serve.admission import Admission, GuardedRoute, endpoint_of
from host_tools.fleet.serve.audit import add_audit_endpoints
from host_tools.fleet.serve.body_limit import BodyLimit
from host_tools.fleet.serve.claims import add_claim_endpoints
from host_tools.fleet.serve.context import Fleet
from host_tools.fleet.serve.ddi_tokens import add_ddi_token_endpoints
from host_tools.fleet.serve.devices import add_device_endpoints
from host_tools.fleet.serve.drift import add_drift_endpoints
from host_tools.fleet.serve.events import add_event_endpoints
from host_tools.fleet.serve.groups import add_group_endpoints
from host_tools.fleet.serve.limits import Limits
from host_tools.fleet.serve.overview import add_overview_endpoints
from host_tools.fleet.serve.page import add_page
from host_tools.fleet.serve.pins import add_pin_endpoints
from host_tools.fleet.serve.problems import Problem, add_problems, documented
from host_tools.fleet.serve.releases import add_release_endpoints
from host_tools.fleet.serve.roles import NEEDED, ROOT
from host_tools.fleet.serve.rollouts import add_rollout_endpoints
from host_tools.fleet.serve.tokens import add_token_endpoints
from host_tools.fleet.service import FleetService

_DESCRIPTION = """Devices, groups, releases, rollouts and the audit of a fleet. Times are Unix seconds; refusals are problems (RFC 9457).

Every request but `/health` shows a token: `Authorization: Bearer TOKEN`. Lists come in pages: ask again with `after` = `next`."""


def application(
    service: FleetService, *, limits: Limits | None = None, ddi: DdiSettings | None = None
) -> FastAPI:
    """Return the interface of a fleet.

    Args:
        service: Carries out orders; its rounds are somebody else's to make.
        limits: What is allowed.
        ddi: With what devices are served that poll over hawkBit's DDI; None: they are not.
    """
    fleet = Fleet(store=service.store, service=service, limits=limits or Limits())
    app = FastAPI(
        title="Edgewright fleet",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{ROOT}/openapi.json",
        responses=documented(),
    )
    app.router.route_class = GuardedRoute
    app.state.admission = Admission(service.store, fleet.limits)
    app.add_middleware(BodyLimit, limits=fleet.limits)
    add_problems(app)
    for add in (
        add_overview_endpoints,
        add_device_endpoints,
        add_group_endpoints,
        add_drift_endpoints,
        add_pin_endpoints,
        add_claim_endpoints,
        add_release_endpoints,
        add_rollout_endpoints,
        add_audit_endpoints,
        add_event_endpoints,
        add_token_endpoints,
        add_ddi_token_endpoints,
    ):
        add(app, fleet)
    if ddi is not None:
        add_ddi(app, fleet, ddi)
    add_page(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return the description, with problems, the token, and the role that each endpoint needs."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        components = schema.setdefault("components", {})
        components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for route in app.routes:
            if not isinstance(route, APIRoute) or not route.include_in_schema:
                continue
            endpoint = endpoint_of(route)
            operation = schema["paths"][route.path][endpoint.partition(" ")[0].lower()]
            if endpoint in NEEDED:
                operation["security"] = [{"token": []}]
                operation["description"] = f"Needs the role {NEEDED[endpoint]}."
        app.openapi_schema = schema
    return app.openapi_schema
