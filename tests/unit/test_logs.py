# SPDX-License-Identifier: Apache-2.0
"""Logs carry what is on the allow-list, and nothing of patients."""

import io
import json
import logging
import warnings
from pathlib import Path

import pytest

from cds_service.logs import StudyRef, UnknownLogKeyError, configure_logs, load_study_ref


@pytest.fixture(autouse=True)
def _warnings_as_before():
    with warnings.catch_warnings():
        yield


def test_a_key_that_is_not_on_the_list_is_dropped() -> None:
    stream = io.StringIO()
    log = configure_logs(level="info", process="test", stream=stream)

    log.info("instance_stored", count=3, patient_name="Doe^Jane")
    line = json.loads(stream.getvalue())

    assert line["count"] == 3
    assert line["process"] == "test"
    assert "patient_name" not in line
    assert "Doe" not in stream.getvalue()


def test_a_key_that_is_not_on_the_list_raises_where_tests_ask_for_it() -> None:
    log = configure_logs(level="info", process="test", stream=io.StringIO(), strict=True)

    with pytest.raises(UnknownLogKeyError):
        log.info("instance_stored", patient_name="Doe^Jane")


def test_libraries_that_quote_values_are_silent(capfd: pytest.CaptureFixture) -> None:
    configure_logs(level="debug", process="test", stream=io.StringIO())

    logging.getLogger("pydicom").error("Invalid value for VR DA: '12/31/1960'")
    logging.getLogger("pynetdicom.acse").error("Doe^Jane")
    warnings.warn("The string 'Doe' is unlikely to represent the intended person name", stacklevel=1)

    assert capfd.readouterr() == ("", "")


def test_a_study_has_the_same_reference_in_every_process_and_another_elsewhere(tmp_path: Path) -> None:
    here, again = load_study_ref(tmp_path), load_study_ref(tmp_path)

    assert here("1.2.3") == again("1.2.3")
    assert here("1.2.3") != here("1.2.4")
    assert here("1.2.3") != StudyRef(b"another installation")("1.2.3")
    assert (tmp_path / "study-ref.key").stat().st_mode & 0o077 == 0
