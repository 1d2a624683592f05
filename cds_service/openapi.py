# SPDX-License-Identifier: Apache-2.0
"""Our endpoints as an OpenAPI 3.1 document, served at `/openapi.json` and kept in `docs/openapi.json`."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from flask import Blueprint, Response, jsonify

from cds_service.feedback import Outcome
from cds_service.hook_request import Hook
from cds_service.hooks import SERVICE_ID, SPECIFICATION_VERSION
from cds_service.web_config import WebConfig

_Schema = dict[str, Any]


def openapi_page(url: str) -> Blueprint:
    """Return the page `/openapi.json`; it holds nothing of any patient and needs no token."""
    pages = Blueprint("openapi", __name__)
    document = openapi_document(url)

    @pages.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    return pages


def openapi_text() -> str:
    """Return the document as it is kept in `docs/openapi.json`, for a service at its default address."""
    return json.dumps(openapi_document(WebConfig().url), indent=2, ensure_ascii=False) + "\n"


def openapi_document(url: str) -> _Schema:
    """Return the document of a service that is reached at `url`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HCC-CDS",
            "version": version("hcc-cds"),
            "summary": "CDS Hooks: considerations for immunotherapy of liver cancer.",
            "description": (
                "Calls carry `Authorization: Bearer` with a JWT that the EHR signed for this call: `aud` is "
                "the URL that is called, `jti` is used once. Not for clinical use."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url}],
        "tags": [
            {"name": "cds-hooks", "description": "What EHRs call."},
            {"name": "pages", "description": "For people and machines; open to all."},
        ],
        "paths": {
            "/cds-services": {"get": _discovery()},
            "/cds-services/{id}": {"parameters": [_ref("parameters", "id")], "post": _service()},
            "/cds-services/{id}/feedback": {
                "parameters": [_ref("parameters", "id")],
                "post": _feedback(),
            },
            "/about": {
                "get": {
                    "operationId": "about",
                    "tags": ["pages"],
                    "summary": "What is checked, and on which grounds",
                    "security": [],
                    "parameters": [
                        {
                            "name": "rules",
                            "in": "query",
                            "description": "Version of the rules that a card rests on; others are not shown.",
                            "schema": {"type": "string"},
                        }
                    ],
                    "responses": {
                        **_refused("404"),
                        "200": {
                            "description": "A page.",
                            "content": {"text/html": {"schema": {"type": "string"}}},
                        },
                    },
                }
            },
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "tags": ["pages"],
                    "summary": "Whether the process answers",
                    "security": [],
                    "responses": {
                        "200": _json("It does.", _object({"status": {"const": "ok"}}, required=["status"]))
                    },
                }
            },
            "/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "tags": ["pages"],
                    "summary": "This document",
                    "security": [],
                    "responses": {"200": _json("It.", {"type": "object"})},
                }
            },
        },
        "security": [{"jwt": []}],
        "components": {
            "securitySchemes": {
                "jwt": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": 'CDS Hooks, "Trusting CDS Clients": ES384 or RS384, from a listed issuer.',
                }
            },
            "parameters": {
                "id": {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "`id` of the service, from the discovery.",
                    "schema": {"type": "string", "minLength": 1},
                    "example": SERVICE_ID,
                }
            },
            "responses": _refusals(),
            "schemas": _schemas(),
        },
    }


def _discovery() -> _Schema:
    return {
        "operationId": "discover",
        "tags": ["cds-hooks"],
        "summary": "Which services there are",
        "responses": {
            "200": _json("The services.", _ref("schemas", "Discovery")),
            **_refused("401", "429", "503"),
        },
    }


def _service() -> _Schema:
    return {
        "operationId": "callService",
        "tags": ["cds-hooks"],
        "summary": "Answer a hook with cards",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("schemas", "Request")}},
        },
        "responses": {
            "200": _json("Cards, perhaps none: there is nothing to say.", _ref("schemas", "Answer")),
            **_refused("400", "401", "404", "412", "413", "415", "429", "503"),
        },
    }


def _feedback() -> _Schema:
    return {
        "operationId": "sendFeedback",
        "tags": ["cds-hooks"],
        "summary": "Say what became of cards; the same again changes nothing",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("schemas", "Feedback")}},
        },
        "responses": {
            "200": {"description": "Taken. No body."},
            **_refused("400", "401", "404", "413", "415", "429", "503"),
        },
    }


_REFUSALS = {
    "400": "The body is no strict JSON, or a field is missing or of another kind; fields are named.",
    "401": "There is no valid token. Why not is not said.",
    "404": "There is no such service, or page.",
    "412": "Without what is named no useful card is possible, and it could not be fetched; an issue each.",
    "413": "The body is too large.",
    "415": "The body is not `application/json`, or it is compressed.",
    "429": "The client called too often.",
    "503": "The service cannot answer now.",
}


def _refusals() -> _Schema:
    refusals = {code: _json(text, _ref("schemas", "OperationOutcome")) for code, text in _REFUSALS.items()}
    refusals["401"]["headers"] = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}
    refusals["429"]["headers"] = {
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
    }
    return {f"refused{code}": each for code, each in refusals.items()}


def _refused(*codes: str) -> _Schema:
    return {code: _ref("responses", f"refused{code}") for code in codes}


def _schemas() -> dict[str, _Schema]:
    return {
        "Discovery": _object(
            {
                "services": {
                    "type": "array",
                    "items": _object(
                        {
                            "hook": {"enum": [hook.value for hook in Hook]},
                            "id": {"const": SERVICE_ID},
                            "title": _TEXT,
                            "description": _TEXT,
                            "version": {"const": SPECIFICATION_VERSION},
                            "prefetch": {"type": "object", "additionalProperties": _TEXT},
                            "usageRequirements": _TEXT,
                        },
                        required=["hook", "id", "description"],
                    ),
                }
            },
            required=["services"],
        ),
        "Request": _request(),
        "Answer": _object(
            {"cards": {"type": "array", "items": _ref("schemas", "Card"), "maxItems": 3}},
            required=["cards"],
        ),
        "Card": _card(),
        "Suggestion": _object(
            {
                "label": _TEXT,
                "uuid": _UUID,
                "isRecommended": {"type": "boolean"},
                "actions": {
                    "type": "array",
                    "items": _object(
                        {
                            "type": {"enum": ["create", "update", "delete"]},
                            "description": _TEXT,
                            "resource": {"type": "object"},
                            "resourceId": _TEXT,
                        },
                        required=["type", "description"],
                    ),
                },
            },
            required=["label"],
        ),
        "Coding": _object({"system": _TEXT, "code": _TEXT, "display": _TEXT}, required=["code"]),
        "Feedback": _feedback_schema(),
        "OperationOutcome": _object(
            {
                "resourceType": {"const": "OperationOutcome"},
                "issue": {
                    "type": "array",
                    "minItems": 1,
                    "items": _object(
                        {"severity": _TEXT, "code": _TEXT, "diagnostics": _TEXT},
                        required=["severity", "code"],
                    ),
                },
            },
            required=["resourceType", "issue"],
        ),
    }


def _request() -> _Schema:
    """A request, as strict as the specification; unknown fields and `extension` are tolerated."""
    return _object(
        {
            "hook": {"enum": [hook.value for hook in Hook]},
            "hookInstance": _UUID,
            "fhirServer": {
                "type": "string",
                "minLength": 1,
                "description": "Asked for what is missing, if the settings list it.",
            },
            "fhirAuthorization": {
                "type": "object",
                "description": "Transient: never stored, shared or logged; sent to `fhirServer` alone.",
            },
            "context": _object(
                {
                    "userId": {"type": "string", "minLength": 1},
                    "patientId": {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"},
                    "encounterId": {"type": "string"},
                    "draftOrders": {"type": "object", "description": "A FHIR Bundle."},
                    "selections": {"type": "array", "items": {"type": "string"}},
                    "dispatchedOrders": {
                        "description": "References to the orders, `MedicationRequest/1`; in 1.0 of the hook "
                        "one, as `order`.",
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "maxItems": 100,
                    },
                    "performer": {"type": "string"},
                    "fulfillmentTasks": {"type": "array", "items": {"type": "object"}},
                },
                required=["patientId"],
            )
            | {"description": "As each hook defines it; `userId` is required by all but order-dispatch."},
            "prefetch": {
                "type": "object",
                "description": "By key: a resource, a Bundle, or null for nothing on record.",
            },
            "extension": {"type": "object"},
        },
        required=["hook", "hookInstance", "context"],
    )


def _card() -> _Schema:
    return _object(
        {
            "uuid": _UUID,
            "summary": {"type": "string", "minLength": 1, "maxLength": 139},
            "indicator": {"enum": ["info", "warning", "critical"]},
            "detail": {"type": "string", "description": "GitHub-flavoured Markdown without HTML."},
            "source": _object(
                {"label": _TEXT, "url": _TEXT, "icon": _TEXT, "topic": _ref("schemas", "Coding")},
                required=["label"],
            ),
            "suggestions": {"type": "array", "minItems": 1, "items": _ref("schemas", "Suggestion")},
            "selectionBehavior": {"enum": ["at-most-one", "any"]},
            "overrideReasons": {"type": "array", "minItems": 1, "items": _ref("schemas", "Coding")},
            "links": {
                "type": "array",
                "minItems": 1,
                "items": _object(
                    {
                        "label": _TEXT,
                        "url": _TEXT,
                        "type": {"enum": ["absolute", "smart"]},
                        "appContext": _TEXT,
                        "autolaunchable": {"type": "boolean"},
                    },
                    required=["label", "url", "type"],
                ),
            },
        },
        required=["summary", "indicator", "source"],
    )


def _feedback_schema() -> _Schema:
    coding = _object(
        {"code": {"type": "string", "minLength": 1}, "system": {"type": "string"}}, required=["code"]
    )
    identifier = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^\\x00]*$"}
    return _object(
        {
            "feedback": {
                "type": "array",
                "maxItems": 1000,
                "items": _object(
                    {
                        "card": identifier,
                        "outcome": {"enum": [each.value for each in Outcome]},
                        "acceptedSuggestions": {
                            "type": "array",
                            "items": _object({"id": identifier}, required=["id"]),
                        },
                        "overrideReason": _object(
                            {"reason": coding, "userComment": {"type": "string", "minLength": 1}}
                        )
                        | {"anyOf": [{"required": ["reason"]}, {"required": ["userComment"]}]},
                        "outcomeTimestamp": {"type": "string", "format": "date-time"},
                    },
                    required=["card", "outcome", "outcomeTimestamp"],
                )
                | {
                    "if": {"properties": {"outcome": {"const": Outcome.ACCEPTED.value}}},
                    "then": {
                        "required": ["acceptedSuggestions"],
                        "properties": {"acceptedSuggestions": {"minItems": 1}},
                    },
                },
            }
        },
        required=["feedback"],
    )


_TEXT: _Schema = {"type": "string", "minLength": 1}
_UUID: _Schema = {"type": "string", "format": "uuid"}


def _object(properties: _Schema, *, required: list[str] | None = None) -> _Schema:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _ref(kind: str, name: str) -> _Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _json(description: str, schema: _Schema) -> _Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
