# SPDX-License-Identifier: Apache-2.0
"""What a database column or a workflow step gives back."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from cds_service.encoding import decode_outcome, encode, outcome_from_json, outcome_to_json
from model.domain import Assessment, NotComputed, NotComputedReason, Outcome, Rejection, RejectionReason


@pytest.fixture
def assessment(request: pytest.FixtureRequest) -> Assessment:
    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    made = runpy.run_path(str(script))["assessment"]()
    assert isinstance(made, Assessment)
    return made


def test_an_outcome_comes_back_as_it_was(assessment: Assessment) -> None:
    doubtful = replace(
        assessment,
        score=NotComputed(reason=NotComputedReason.INDEX_LESION),
        left_out=2,
        index_in_doubt=True,
    )
    rejected = Rejection(
        study=assessment.study,
        revision=3,
        created_at=assessment.created_at,
        reason=RejectionReason.NO_LESION,
        detail="none",
        software_version="1",
    )

    for outcome in (assessment, doubtful, rejected):
        assert outcome_from_json(outcome_to_json(outcome)) == outcome
        assert decode_outcome(encode(Outcome, outcome)) == outcome


def test_an_assessment_stored_before_it_told_of_outlines_and_checks_is_still_read(
    assessment: Assessment,
) -> None:
    stored = json.loads(outcome_to_json(assessment))
    del stored["left_out"], stored["index_in_doubt"], stored["score"]["acquisition"]
    for lesion in stored["lesions"]:
        del lesion["planar"]["outline"], lesion["source"]["series_instance_uid"]

    read = outcome_from_json(json.dumps(stored))

    assert isinstance(read, Assessment)
    assert (read.left_out, read.index_in_doubt) == (0, False)
    assert read.score == replace(assessment.score, acquisition=None)
    assert read.index_lesion.planar == replace(assessment.index_lesion.planar, outline=())
    assert read.index_lesion.source == replace(assessment.index_lesion.source, series_instance_uid="")
