# SPDX-License-Identifier: Apache-2.0
"""A site says how old a fact of the record may be, and the cards follow."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from cds_service.app import create_app
from cds_service.config import parse_config
from cds_service.logs import configure_logs
from cds_service.record_config import RecordConfig
from fhir_gateway import synthetic
from model.errors import ConfigError
from model.patient_facts import DEFAULT_WINDOWS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERVICE = "/cds-services/hcc-immunotherapy"


class NoStudies:
    def current(self, _keys):
        return None


@pytest.fixture
def detail(tmp_path, records):
    def ask(settings):
        config = parse_config(
            {"web": {"development_without_jwt": True}, "record": settings}, relative_to=tmp_path
        )
        log = configure_logs(level="info", process="web", stream=io.StringIO(), strict=True)
        client = create_app(
            config, outcomes=NoStudies(), seen_tokens=None, records=records, now=lambda: NOW, log=log
        ).test_client()
        record = synthetic.record_of_hcc("p1", on=NOW.date() - timedelta(days=10))
        request = synthetic.hook_request(
            "order-sign", "p1", record, orders=synthetic.atezolizumab_bevacizumab("p1")
        )
        return "\n".join(card["detail"] for card in client.post(SERVICE, json=request).json["cards"])

    return ask


def test_the_settings_begin_with_the_windows_of_the_reference():
    assert RecordConfig().windows() == DEFAULT_WINDOWS


@pytest.mark.parametrize("name", RecordConfig.model_fields)
def test_each_setting_sets_its_window_alone(name):
    windows = RecordConfig(**{name: 3}).windows()

    changed = {
        each
        for each in RecordConfig.model_fields
        if getattr(windows, each.removesuffix("_days"))
        != getattr(DEFAULT_WINDOWS, each.removesuffix("_days"))
    }
    assert changed == {name}
    assert getattr(windows, name.removesuffix("_days")) == timedelta(days=3)


def test_a_narrower_window_makes_a_value_too_old_on_the_card(detail):
    assert "it is older than" not in detail({})
    assert "it is older than 7 days" in detail({"liver_function_days": 7})


@pytest.mark.parametrize("settings", [{"liver_function_days": 0}, {"liver_function": 7}, {"blood_days": 1.5}])
def test_a_window_of_nothing_and_an_unknown_name_are_refused(tmp_path, settings):
    with pytest.raises(ConfigError):
        parse_config({"record": settings}, relative_to=tmp_path)
