# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: valid, kept in docs, and what the service really does."""

import json

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from cds_service.openapi import openapi_document, openapi_text

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    missing_required_header,
    unsupported_method,
)


def test_the_document_is_a_valid_openapi_3_1_document():
    OpenAPIV31SpecValidator(openapi_document("https://cds.example")).validate()


def test_the_document_in_docs_is_the_one_that_is_served(repository, ehr):
    documented = (repository / "docs" / "openapi.json").read_text(encoding="utf-8")

    assert documented == openapi_text(), "run `make format`"
    served = ehr.start(base_url="").client.get("/openapi.json")
    assert served.json == json.loads(documented)


def test_every_endpoint_of_the_application_is_described(ehr):
    described = {
        (path.replace("{id}", "<service_id>"), method.upper())
        for path, item in openapi_document("")["paths"].items()
        for method in item
        if method != "parameters"
    }
    app = ehr.start().client.application

    routed = {
        (rule.rule, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"OPTIONS", "HEAD"}
        if rule.endpoint.partition(".")[0] in ("cds_hooks", "pages", "openapi", "health")
    }

    assert described == routed


OPERATIONS = [
    ("GET", "/cds-services"),
    ("POST", "/cds-services/{id}"),
    ("POST", "/cds-services/{id}/feedback"),
    ("GET", "/about"),
    ("GET", "/healthz"),
    ("GET", "/openapi.json"),
]


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_service_keeps_to_its_document_whatever_is_sent(ehr, method, path, mode):
    app = ehr.start(development_without_jwt=True, base_url="").client.application

    def from_this_machine(environ, start_response):
        return app(environ | {"REMOTE_ADDR": "127.0.0.1"}, start_response)

    operation = schemathesis.openapi.from_wsgi("/openapi.json", from_this_machine)[path][method]
    statuses = set()

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case):
        if mode is GenerationMode.POSITIVE and "{id}" in path:
            case.path_parameters = {"id": "hcc-immunotherapy"}
        statuses.add(case.call_and_validate(checks=CHECKS).status_code)

    try:
        call()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE
        assert method == "GET", "nothing is sent that could be wrong"
    if mode is GenerationMode.POSITIVE:
        # A record that is made up at random is a valid request that lacks what a card needs.
        assert (412 if path == "/cds-services/{id}" else 200) in statuses


def schema_of(name):
    document = openapi_document("https://cds.example")
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_the_schema_of_feedback_says_what_the_service_says():
    validator = jsonschema.Draft202012Validator(schema_of("Feedback"))
    item = {"card": "c", "outcome": "overridden", "outcomeTimestamp": "2026-11-24T12:00:00Z"}

    assert validator.is_valid({"feedback": [item]})
    assert not validator.is_valid({"feedback": [item | {"outcome": "accepted"}]})
    assert not validator.is_valid({"feedback": [item | {"overrideReason": {}}]})
    assert validator.is_valid({"feedback": [item | {"overrideReason": {"userComment": "why"}}]})
