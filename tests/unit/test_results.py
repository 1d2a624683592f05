# SPDX-License-Identifier: Apache-2.0
"""What an outcome writes to a record: the same codes as in our DICOM reports, and no score in disguise."""

import json
import runpy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import CodedConcept
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dicom_listener.reports import codes
from fhir_gateway import result_terms as terms
from fhir_gateway.result_document import PATIENT, ResultDocument, ResultKeys, with_references
from fhir_gateway.results import WrittenDocument, result_document
from model.domain import (
    Code,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    PatientKey,
    Rejection,
    RejectionReason,
    Score,
    derived_uid,
)
from model.features import FEATURE_NAMES, definition

_EXAMPLE = runpy.run_path(str(Path(__file__).parents[1] / "data" / "report_example.py"))
assessment = _EXAMPLE["assessment"]
SPEAKING = (ModelStatus.RESEARCH, ModelStatus.VALIDATED)
ABSENT = NotComputed(reason=NotComputedReason.ACQUISITION, detail="slice spacing")


def written(outcome: Any, *, preliminary: bool = True, documents: Any = ()) -> ResultDocument:
    return result_document(outcome, documents, preliminary=preliminary)


def of_type(document: ResultDocument, resource_type: str) -> list[dict[str, Any]]:
    return [
        each.resource
        for each in (*document.shared, *document.parts, document.report)
        if each.resource_type == resource_type
    ]


def risk(outcome: Any, **how: Any) -> dict[str, Any]:
    (only,) = of_type(written(outcome, **how), "RiskAssessment")
    return only


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(each)


@pytest.mark.parametrize("preliminary", [True, False])
@pytest.mark.parametrize("score", [_EXAMPLE["SCORE"], ABSENT], ids=["score", "no score"])
def test_a_demonstration_model_puts_no_figure_of_its_own_into_the_record(
    score: Score | NotComputed, preliminary: bool
) -> None:
    document = written(assessment(score=score), preliminary=preliminary)

    (assessed,) = of_type(document, "RiskAssessment")
    assert assessed["status"] in ("preliminary", "cancelled")
    assert "prediction" not in assessed
    assert assessed["code"]["coding"][0]["code"] == "SCORE-DEMO"
    assert assessed["meta"]["security"] == [terms.TEST_DATA]
    assert "NO CLINICAL MEANING" in assessed["note"][0]["text"]
    text = json.dumps([document.report.resource, assessed, *of_type(document, "Device")])
    for figure in ("0.714", "71.4", "0.58", "0.83", "percentile 64"):
        assert figure not in text
    assert "NO CLINICAL MEANING" in document.report.resource["conclusion"]


@pytest.mark.parametrize("status", SPEAKING)
def test_a_score_has_its_interval_with_a_unit_its_words_and_its_limits(status: ModelStatus) -> None:
    assessed = risk(assessment(status=status))

    (prediction,) = assessed["prediction"]
    bounds = [prediction["probabilityRange"][end] for end in ("low", "high")]
    assert [(each["value"], each["code"]) for each in bounds] == [(58.0, "%"), (83.0, "%")]
    assert "Score 0.714 (0.580 to 0.830" in prediction["rationale"]
    assert prediction["qualitativeRisk"]["text"] == "cannot say high or low"
    notes = " ".join(each["text"] for each in assessed["note"])
    assert "INVESTIGATIONAL" in notes
    assert "anti-angiogenic" in notes
    assert "Do not use alone" in notes


@pytest.mark.parametrize("status", ModelStatus)
@pytest.mark.parametrize("reason", NotComputedReason)
def test_the_absence_of_a_score_is_a_cancelled_assessment_with_its_reason(
    status: ModelStatus, reason: NotComputedReason
) -> None:
    assessed = risk(assessment(score=NotComputed(reason=reason), status=status))

    assert assessed["status"] == "cancelled"
    assert "prediction" not in assessed
    assert any(reason.explanation in each["text"] for each in assessed["note"])


def test_a_suspended_model_that_once_scored_is_not_written_as_a_validated_one() -> None:
    assessed = risk(assessment(score=ABSENT, status=ModelStatus.SUSPENDED))

    assert assessed["code"]["coding"][0]["code"] == "SCORE-RESEARCH"


@pytest.mark.parametrize(
    ("preliminary", "revision", "status"),
    [(True, 1, "preliminary"), (True, 2, "preliminary"), (False, 1, "final"), (False, 2, "amended")],
)
def test_the_report_says_how_final_it_is(preliminary: bool, revision: int, status: str) -> None:
    document = written(assessment(status=ModelStatus.RESEARCH, revision=revision), preliminary=preliminary)

    assert document.report.resource["status"] == status
    assert {each["status"] for each in of_type(document, "Observation")} == {
        "preliminary" if preliminary else "final"
    }


def test_each_lesion_is_a_group_of_its_measurements_and_names_where_it_lies() -> None:
    document = written(assessment())

    groups = [each for each in of_type(document, "Observation") if "hasMember" in each]
    assert [each["code"]["text"] for each in groups] == [
        "Lesion 1 of 2 measured, the index lesion (the largest that was measured)",
        "Lesion 2 of 2 measured",
    ]
    names = {each.name: each.resource["code"]["text"] for each in document.parts if "code" in each.resource}
    for group in groups:
        assert [names[member["reference"]] for member in group["hasMember"]] == [
            "Volume",
            "Long axis",
            "Short axis",
            "Area",
            "Radiomics features",
        ]
        assert group["bodySite"]["coding"][0] == terms.coding("http://snomed.info/sct", "10200004", "Liver")
    assert document.report.resource["result"] == [
        {"reference": each.name} for each in document.parts if "hasMember" in each.resource
    ]


def test_measurements_have_ucum_units_and_the_values_of_the_assessment() -> None:
    outcome = assessment()

    observations = of_type(written(outcome), "Observation")

    lesion = outcome.lesions[0]
    found = {each["code"]["text"]: each.get("valueQuantity") for each in observations[:5]}
    assert {name: (each["value"], each["code"]) for name, each in found.items() if each} == {
        "Volume": (lesion.volume_mm3, "mm3"),
        "Long axis": (lesion.planar.long_axis.length_mm, "mm"),
        "Short axis": (lesion.planar.short_axis.length_mm, "mm"),
        "Area": (lesion.planar.area_mm2, "mm2"),
    }
    features = observations[4]["component"]
    assert len(features) == len(FEATURE_NAMES)
    for component, value in zip(features, lesion.features.values, strict=True):
        assert component["valueQuantity"]["value"] == pytest.approx(value, rel=1e-8)
        assert component["valueQuantity"]["system"] == "http://unitsofmeasure.org"


_SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "IBSI": "urn:oid:1.2.840.10008.2.16.13",
}


def same(ours: dict[str, Any], dicom: CodedConcept) -> bool:
    (coding,) = ours["coding"]
    scheme = dicom.scheme_designator
    system = (
        f"urn:oid:{derived_uid('coding scheme', codes.PRIVATE_SCHEME)}"
        if scheme == codes.PRIVATE_SCHEME
        else _SYSTEMS[scheme]
    )
    return (coding["system"], coding["code"]) == (system, dicom.value)


def test_codes_are_those_of_the_dicom_reports() -> None:
    assert same(terms.LONG_AXIS, codes.long_axis())
    assert same(terms.SHORT_AXIS, codes.short_axis())
    assert same(terms.MASS, codes.finding())
    for status in ModelStatus:
        assert same(terms.score(status), codes.score(status))
    for modality in ("CT", "MR"):
        for name in (*FEATURE_NAMES, "log-sigma-1-0-mm-3D_glcm_Contrast"):
            defined = definition(name, modality)
            assert same(terms.feature(defined), codes.feature(defined.name, defined.title, defined.ibsi_code))


@pytest.mark.parametrize(
    "site",
    [
        None,
        Code(value="T-62000", scheme="SRT", meaning="Liver"),
        Code(value="1", scheme="99LOCAL", meaning="Liver"),
        Code(value="10200004", scheme="SCT", meaning=""),
    ],
)
def test_a_site_in_a_scheme_that_fhir_does_not_know_is_left_out(site: Code | None) -> None:
    document = written(assessment(site=site))

    assert all("bodySite" not in each for each in of_type(document, "Observation"))
    assert all("location" not in each for each in of_type(document, "BodyStructure"))


def test_every_reference_is_to_something_that_is_written_before() -> None:
    documents = [WrittenDocument(kind="SR-A", title="Findings", sop_instance_uid="1.2.3")]

    document = written(assessment(status=ModelStatus.RESEARCH), documents=documents)

    known = {PATIENT, document.study["reference"]}
    assert document.provenance is not None
    for each in (*document.shared, *document.parts, document.report, document.provenance):
        asked = {found["reference"] for found in walk(each.resource) if "reference" in found}
        assert asked <= known, each.resource_type
        known.add(each.name)


def test_no_resource_holds_free_text_from_outside_or_who_the_patient_is() -> None:
    document = written(assessment(status=ModelStatus.RESEARCH))

    resources = json.dumps([each.resource for each in (*document.shared, *document.parts, document.report)])
    for told in ("Mr Label", "P-0001", "1960", "TEST"):
        assert told not in resources.replace("HTEST", "")


def test_the_same_outcome_is_the_same_document_and_is_read_back() -> None:
    first = written(assessment(status=ModelStatus.RESEARCH))
    second = written(assessment(status=ModelStatus.RESEARCH))

    assert first.to_json() == second.to_json()
    assert ResultDocument.from_json(first.to_json()) == first


def test_a_file_of_another_version_is_refused() -> None:
    other = written(assessment()).to_json().replace(b'"format": 1', b'"format": 2')

    with pytest.raises(ValueError, match="another version"):
        ResultDocument.from_json(other)


def test_revisions_share_the_report_and_lesions_and_nothing_else() -> None:
    first, second = (written(assessment(revision=revision)) for revision in (1, 2))

    assert first.report.identifier == second.report.identifier
    assert [each.name for each in first.shared] == [each.name for each in second.shared]
    assert not {each.name for each in first.parts} & {each.name for each in second.parts}


def test_the_result_of_another_patient_is_another_result_of_the_same_study() -> None:
    outcome = assessment()
    other = replace(outcome.study.patient, key=PatientKey(patient_id="P-0002", issuer="TEST"))

    first = written(outcome)
    second = written(replace(outcome, study=replace(outcome.study, patient=other)))

    assert first.keys.study == second.keys.study
    assert first.keys.report != second.keys.report
    assert not {each.name for each in first.shared[2:]} & {each.name for each in second.shared[2:]}


def test_a_withdrawal_says_why_and_writes_no_part() -> None:
    outcome = assessment()
    rejected = Rejection(
        study=outcome.study,
        revision=2,
        created_at=outcome.created_at,
        reason=RejectionReason.THICKNESS,
        detail="6 mm",
        software_version="0.1.0",
    )

    document = written(rejected)

    assert document.replaces_only
    assert (document.shared, document.parts, document.provenance) == ((), (), None)
    assert document.report.resource["status"] == "cancelled"
    assert RejectionReason.THICKNESS.explanation in document.report.resource["conclusion"]
    assert document.report.identifier == written(outcome).report.identifier


def test_the_narrative_is_escaped() -> None:
    document = written(replace(assessment(), notes=("slices <2> & more",)))

    assert "<p>Image quality: slices &lt;2&gt; &amp; more.</p>" in document.report.resource["text"]["div"]


def test_a_resource_that_is_not_r4_is_a_defect_that_shows() -> None:
    outcome = assessment()
    broken = replace(outcome, model=replace(outcome.model, name=""))

    with pytest.raises(ValidationError):
        written(broken)


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.text(max_size=4), max_size=4))
def test_references_are_replaced_wherever_they_stand_and_nothing_else_is(names: dict[str, str]) -> None:
    resource = {"a": [{"reference": name} for name in names], "b": {"text": list(names)}}

    replaced = with_references(resource, names)

    assert replaced == {"a": [{"reference": each} for each in names.values()], "b": {"text": list(names)}}


def test_a_reference_that_stands_for_nothing_leaves_the_identifier() -> None:
    reference = {"reference": "urn:uuid:x", "identifier": {"value": "1"}}

    assert with_references({"a": reference}, {"urn:uuid:x": None}) == {"a": {"identifier": {"value": "1"}}}


def test_keys_tell_nothing_of_the_study_and_differ_for_each_part() -> None:
    outcome = assessment()
    keys = ResultKeys.of(outcome.study, 1)

    assert outcome.study.study_instance_uid not in f"{keys}"
    assert len({keys.part("a"), keys.part("b"), keys.study, keys.report, keys.assessment}) == 5
