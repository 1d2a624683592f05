# SPDX-License-Identifier: Apache-2.0
"""What every process is built on."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from cds_service.build import CurrentOutcomes
from cds_service.config import parse_config
from cds_service.receiving import build_scp
from model.domain import Assessment, NotComputed, NotComputedReason, PatientKey, Score
from model.errors import ConfigError

KEY = PatientKey(patient_id="0042", issuer="HOSPITAL")


@pytest.fixture
def assessment(request: pytest.FixtureRequest) -> Assessment:
    import runpy

    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    made = runpy.run_path(str(script))["assessment"]()
    assert isinstance(made, Assessment)
    assert isinstance(made.score, Score)
    return made


def test_a_model_that_was_suspended_since_shows_no_score(assessment: Assessment) -> None:
    digest = assessment.model.bundle_digest

    shown = CurrentOutcomes(lambda _keys: assessment, [digest]).current([KEY])
    others = CurrentOutcomes(lambda _keys: assessment, ["another"]).current([KEY])

    assert shown == replace(assessment, score=NotComputed(reason=NotComputedReason.SUSPENDED))
    assert others == assessment


def test_a_listener_for_the_world_must_name_its_peers(tmp_path: Path) -> None:
    shared = SimpleNamespace(config=parse_config({"listen": {"host": "0.0.0.0"}}, relative_to=tmp_path))

    with pytest.raises(ConfigError, match=r"listen\.peers"):
        build_scp(shared)
