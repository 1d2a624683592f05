# SPDX-License-Identifier: Apache-2.0
"""The step that joins what was measured with the model, on a real store and the bundle that comes with us."""

import runpy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from cds_service.config import parse_config
from cds_service.encoding import decode, encode
from cds_service.imaging import Measured
from cds_service.stages import Stages
from cds_service.store import Revision, Store
from dicom_listener.archive import Archive
from dicom_listener.instance import StoredInstance
from model.acquisition import AcquisitionFacts
from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Assessment, FeatureVector, NotComputed, NotComputedReason, Score
from model.errors import ReportNotConformant

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BUNDLE = load_bundle(demonstration_bundle_path())


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Two lesions, the index lesion with the features of a case of the reference cohort."""
    script = Path(request.config.rootpath) / "tests" / "data" / "report_example.py"
    example: Assessment = runpy.run_path(str(script))["assessment"]()
    typical = FeatureVector(
        names=BUNDLE.cohort.features,
        values=BUNDLE.cohort.vectors[len(BUNDLE.cohort.vectors) // 2],
        settings_digest=BUNDLE.identity.settings_digest,
    )
    first, *others = example.lesions
    return Measured(
        study=example.study,
        series=example.series,
        lesions=(replace(first, features=typical), *others),
        liver_stated=True,
        acquisition=AcquisitionFacts(
            slice_spacing_mm=2.5,
            slice_thickness_mm=None,
            pixel_spacing_mm=(0.75, 0.75),
            kvp=None,
            convolution_kernel="",
            magnetic_field_strength_t=None,
            manufacturer="",
            contrast_agent_stated=False,
            lossy_compressed=False,
            phase_hint="arterial",
        ),
        left_out=0,
        index_in_doubt=False,
        notes=(),
    )


def scored(store: Store, tmp_path: Path, measured: Measured) -> Assessment:
    study = measured.study.study_instance_uid
    instance = StoredInstance(
        study_instance_uid=study,
        series_instance_uid=measured.series.series_instance_uid,
        sop_instance_uid=measured.series.images[0].sop_instance_uid,
        sop_class_uid=measured.series.images[0].sop_class_uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        path=tmp_path / "received" / "a",
        sha256="aa",
    )
    store.received.record_instance(instance, received_at=NOW)
    opened = store.assessments.open_revision(study, owner="a", now=NOW)
    stages = Stages(
        config=parse_config({}, relative_to=tmp_path),
        store=store,
        archive=Archive(tmp_path),
        bundle=BUNDLE,
        pool=SimpleNamespace(),
        study_ref=lambda _uid: "ref",
        log=SimpleNamespace(),
        now=lambda: NOW,
    )
    return decode(Assessment, stages.score(encode(Revision, opened), encode(Measured, measured)))


def test_the_assessment_tells_how_many_outlines_were_left_out(store, tmp_path, measured):
    assessment = scored(store, tmp_path, replace(measured, left_out=2))

    assert (assessment.left_out, assessment.index_in_doubt) == (2, False)
    assert isinstance(assessment.score, Score)


def test_no_lesion_is_scored_while_a_larger_one_may_be_left_out(store, tmp_path, measured):
    assessment = scored(store, tmp_path, replace(measured, left_out=1, index_in_doubt=True))

    assert assessment.score == NotComputed(reason=NotComputedReason.INDEX_LESION)
    assert (assessment.left_out, assessment.index_in_doubt) == (1, True)


def test_the_phase_of_a_study_is_not_compared_with_a_model_of_phantoms(store, tmp_path, measured):
    assessment = scored(store, tmp_path, measured)

    assert isinstance(assessment.score, Score)
    assert assessment.score.acquisition.agreed == ("slice spacing 2.5 mm (the model allows 1.5 to 3 mm)",)
    assert assessment.score.acquisition.is_complete


def test_the_acquisition_that_was_measured_is_what_the_model_is_asked_about(store, tmp_path, measured):
    thick = replace(measured, acquisition=replace(measured.acquisition, slice_spacing_mm=5.0))

    assessment = scored(store, tmp_path, thick)

    assert isinstance(assessment.score, NotComputed)
    assert assessment.score.reason is NotComputedReason.ACQUISITION


def test_reports_that_fail_the_gate_keep_no_older_result_in_the_record(store, tmp_path, measured):
    first = scored(store, tmp_path, measured)
    logged = []

    def refuse(_work, _task):
        raise ReportNotConformant("PatientName: Doe^John")

    archive = Archive(tmp_path)
    archive.prepare()
    stages = Stages(
        config=parse_config(
            {"deliver": {"fhir_servers": [{"name": "ehr", "base_url": "https://ehr.example/fhir"}]}},
            relative_to=tmp_path,
        ),
        store=store,
        archive=archive,
        bundle=BUNDLE,
        pool=SimpleNamespace(run=refuse),
        study_ref=lambda _uid: "ref",
        log=SimpleNamespace(error=lambda event, **more: logged.append((event, more))),
        now=lambda: NOW,
    )
    study = first.study.study_instance_uid
    opened = Revision(study_instance_uid=study, revision=first.revision, created_at=first.created_at)

    stages.report(encode(Revision, opened), encode(Assessment, first))

    assert [each.kind for each in store.outbox.reports(study, first.revision)] == ["FHIR"]
    assert [event for event, _ in logged] == ["report_not_conformant"]
    assert "Doe" not in str(logged)
