# SPDX-License-Identifier: Apache-2.0
"""What a card says from imaging: last of all, and never more than is known."""

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cds_service.identity import NoImaging
from cds_service.imaging_block import imaging_block
from model.domain import (
    ModelStatus,
    NotComputed,
    NotComputedReason,
    Rejection,
    RejectionReason,
)
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, RegimenOrder
from model.patient_facts import (
    Diagnosis,
    DiagnosisStatus,
)

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

TODAY = example.TODAY
WHOLE = example.WHOLE
DURVALUMAB_BEVACIZUMAB = example.DURVALUMAB_BEVACIZUMAB
STRIDE = example.STRIDE
HALF = example.HALF
facts = example.facts
written = example.written
study = example.study
assessment = example.assessment


def block(imaging, order=WHOLE, hcc=DiagnosisStatus.CONFIRMED, **more):
    return imaging_block(imaging, order, facts=facts(hcc=Diagnosis(status=hcc), **more), today=TODAY)


def test_a_demonstration_score_is_marked_as_meaningless_and_carries_its_origin():
    text = block(assessment())

    assert "DEMONSTRATION MODEL – this number has no clinical meaning" in text
    assert "INVESTIGATIONAL – for research / MDT discussion only" in text
    assert "Score 0.62 (0.41 to 0.80, 90 % bootstrap)" in text
    assert "bundle aaaaaaaaaaaa" in text
    assert "software 0.1.0" in text
    assert "AUC" not in text
    assert "demo &lt;b&gt;" in text


def test_published_figures_are_never_shown_as_ours():
    text = block(assessment(status=ModelStatus.RESEARCH))

    assert "INVESTIGATIONAL" in text
    assert "for the authors' own model and not for this one" in text
    assert "own performance: not yet evaluated" in text


@pytest.mark.parametrize(
    ("imaging", "order", "reason"),
    [
        (NoImaging.NO_STUDY, WHOLE, "Score not computed, because no study of this patient"),
        (NoImaging.NO_IDENTIFIER, WHOLE, "Score not computed, because the patient has no identifier"),
        (NoImaging.DISAGREES, WHOLE, "Imaging result withheld: identity does not agree"),
        (NoImaging.NO_BIRTH_DATE, WHOLE, "Imaging result withheld: identity cannot be confirmed"),
        (
            assessment(score=NotComputed(reason=NotComputedReason.ACQUISITION, detail="4 mm <i>")),
            WHOLE,
            "Score not computed, because the acquisition lies outside the model's limits (4 mm &lt;i&gt;)",
        ),
        (assessment(status=ModelStatus.SUSPENDED), WHOLE, "because the model is suspended"),
        (assessment(), HALF, "it speaks only of the whole pair, and bevacizumab"),
        (assessment(), DURVALUMAB_BEVACIZUMAB, "no criteria for the combination that is ordered"),
        (assessment(), STRIDE, "it was not studied for this regimen"),
        (
            assessment(),
            RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True),
            "it is not certain whose order this is",
        ),
        (
            assessment(),
            None,
            "is shown with an order of such a regimen until 2027-01-01",
        ),
        (assessment(study_date=TODAY - timedelta(days=43)), WHOLE, "more than 42 days old (2026-10-12)"),
        (assessment(study_date=None), WHOLE, "the date of the scan is not known"),
        (assessment(study_date=TODAY + timedelta(days=9)), WHOLE, "dated in the future"),
    ],
)
def test_where_no_score_may_show_the_reason_stands_in_its_place(imaging, order, reason):
    text = block(imaging, order)

    assert reason in text
    assert "0.62" not in text


@pytest.mark.parametrize(
    ("imaging", "hcc", "reason"),
    [
        (
            assessment(study_date=TODAY - timedelta(days=43)),
            DiagnosisStatus.CONFIRMED,
            "Score not shown, because the scan is more than 42 days old",
        ),
        (
            assessment(score=NotComputed(reason=NotComputedReason.FEATURES, detail="")),
            DiagnosisStatus.CONFIRMED,
            "Score not computed, because a feature",
        ),
        (
            assessment(status=ModelStatus.SUSPENDED),
            DiagnosisStatus.CONFIRMED,
            "Score not shown, because the model is suspended",
        ),
        (assessment(), DiagnosisStatus.UNSTATED, "Score not shown, because it speaks only of hepatocell"),
    ],
)
def test_patient_view_promises_no_score_that_an_order_would_not_show(imaging, hcc, reason):
    text = block(imaging, None, hcc)

    assert reason in text
    assert "is shown with an order" not in text


@pytest.mark.parametrize("status", [s for s in DiagnosisStatus if s is not DiagnosisStatus.CONFIRMED])
@pytest.mark.parametrize("order", [WHOLE, None])
def test_no_score_shows_for_a_patient_without_confirmed_hcc(status, order):
    text = block(assessment(), order, status)

    assert "0.62" not in text
    kind = DiagnosisStatus.OTHER_KIND
    assert ("fibrolamellar, mixed or sarcomatoid" if status is kind else "no confirmed and active") in text


def test_the_diagnosis_of_the_record_decides_on_the_card_whether_a_score_shows():
    refuted = facts(hcc=Diagnosis(status=DiagnosisStatus.REFUTED))

    assert "Score 0.62" in json.dumps(written(imaging=assessment()))
    assert "Score 0.62" not in json.dumps(written(refuted, imaging=assessment()))


def test_outlined_and_measured_lesions_are_counted_apart():
    whole = block(assessment())
    lacking = block(assessment(left_out=2))

    assert "1 outlined lesion, 1 measured; the largest that was measured has 23.4 mL" in whole
    assert "3 outlined lesions, 1 measured" in lacking
    assert "in doubt" not in whole + lacking


def test_a_doubtful_index_lesion_is_said_to_be_doubtful():
    absent = NotComputed(reason=NotComputedReason.INDEX_LESION, detail="")

    text = block(assessment(score=absent, left_out=1, index_in_doubt=True))

    assert "Whether it is the index lesion is in doubt" in text
    assert "Score not computed, because the index lesion is in doubt" in text


def test_a_score_names_its_percentile_by_the_cases_it_stands_among_and_what_was_not_checked():
    text = block(assessment())

    assert "percentile 71 among the model's calibration cases" in text
    assert "cannot say high or low" in text
    assert "reference cohort" not in text
    assert "Not checked: systemic therapy before" in text
    assert "Not checked: systemic" not in block(assessment(), past_drugs_complete=True)


def test_a_scan_of_42_days_still_informs():
    assert "Score 0.62" in block(assessment(study_date=TODAY - timedelta(days=42)))


def test_a_rejected_study_is_not_computed_with_its_coded_reason():
    rejection = Rejection(
        study=study(),
        revision=1,
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        reason=RejectionReason.NO_LESION,
        detail="0 segments",
        software_version="0.1.0",
    )

    text = block(rejection)

    assert "Score not computed, because the study was not assessed (study of 2026-11-20)" in text
    assert "send a SEG or RTSTRUCT" in text
    assert "(IMG-SEG)" in text


@pytest.mark.parametrize("imaging", [NoImaging.DISAGREES, NoImaging.NO_BIRTH_DATE])
def test_withheld_imaging_reveals_nothing(imaging):
    assert "2026" not in block(imaging)


def test_dicom_identifiers_are_on_no_card():
    assert "SECRET" not in json.dumps(written(imaging=assessment()))
