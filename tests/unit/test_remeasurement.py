# SPDX-License-Identifier: Apache-2.0
"""A lesion measured again under perturbations, and the spread of its score."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from cds_service.config import ImageConfig, parse_config
from cds_service.encoding import encode, outcome_from_json
from cds_service.stages import Stages, image_limits
from cds_service.store import Revision, Store
from dicom_listener.archive import Archive
from dicom_listener.lesions import read_lesions
from dicom_listener.measurement import measure_study
from dicom_listener.remeasurement import measure_again
from dicom_listener.selection import select
from dicom_listener.series import instance_at
from dicom_listener.synthetic import SyntheticStudy, write_ct_series, write_segmentation
from dicom_listener.volume import read_volume
from model.bundle import demonstration_bundle_path, load_bundle
from model.domain import Assessment, Modality, RejectionReason, Score, derived_uid
from model.errors import RejectedStudy
from model.extraction_settings import CT_SETTINGS, MR_SETTINGS
from model.perturbation import drawn, extract_perturbed
from model.training.phantom import LesionModel, phantom

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BUNDLE = load_bundle(demonstration_bundle_path())
LIMITS = image_limits(ImageConfig())
SETTINGS = {Modality.CT: CT_SETTINGS, Modality.MR: MR_SETTINGS}
UID = derived_uid("remeasurement")
LESION = LesionModel(
    centre_mm=(-80.0, 0.0, 0.0),
    diameter_mm=28.0,
    irregularity=0.1,
    contrast_hu=-28.0,
    texture_sd_hu=11.0,
    texture_length_mm=3.0,
)


@pytest.fixture(scope="module")
def instances(tmp_path_factory):
    """A CT of the liver like those that the demonstration model was made from, with its lesion."""
    folder = tmp_path_factory.mktemp("study")
    made = phantom(
        3, shape=(40, 96, 96), spacing_mm=(0.8, 0.8, 2.0), centre_mm=LESION.centre_mm, lesions=(LESION,)
    )
    slices = write_ct_series(
        folder,
        made.volume,
        study=SyntheticStudy(study_instance_uid=UID, started_at=NOW, patient_id="P"),
        series_instance_uid=f"{UID}1",
    )
    outline = write_segmentation(folder, slices, made.lesions, series_instance_uid=f"{UID}2")
    return tuple(instance_at(each) for each in (*slices, outline))


@pytest.fixture(scope="module")
def lesion(instances):
    measured = measure_study(instances, limits=LIMITS, settings=SETTINGS, default_issuer="X")
    return measured.lesions[0]


@pytest.fixture
def store(engine, tmp_path):
    opened = Store(engine, tmp_path.parent)  # files of the study lie beside
    yield opened
    opened.close()


def again(instances, source, count=3):
    return measure_again(
        instances,
        limits=LIMITS,
        settings=SETTINGS,
        source=source,
        names=BUNDLE.manifest.features,
        count=count,
    )


def test_perturbations_move_the_features_a_little_and_the_same_way_each_time(instances, lesion):
    first, second = (again(instances, lesion.source) for _ in range(2))

    names = BUNDLE.manifest.features
    plain = np.array(lesion.features.select(names))
    moved = np.array([each.select(names) for each in first]) / plain - 1.0
    assert first == second
    assert len(first) == 3
    assert (np.abs(moved).max(axis=1) > 1e-6).all()
    assert np.abs(moved[:, names.index("original_shape_Sphericity")]).max() < 0.1


def test_what_is_kept_of_the_image_is_all_that_perturbations_look_at(instances, lesion):
    selection = select(instances, LIMITS)
    whole = read_volume(selection.series)
    (mask,) = (each.lesion.mask for each in read_lesions(selection, LIMITS.lesion_rule).lesions)

    expected = tuple(
        extract_perturbed(whole, mask, CT_SETTINGS, each, names=BUNDLE.manifest.features)
        for each in drawn(3, seed=20250)
    )

    assert again(instances, lesion.source) == expected


def test_a_lesion_that_is_not_there_any_more_is_told(instances, lesion):
    with pytest.raises(RejectedStudy) as rejection:
        again(instances, replace(lesion.source, number=9))

    assert rejection.value.reason is RejectionReason.FAULT


def assess(instances, store, folder, **settings):
    """Take a study through the steps and return the stages, the revision and the outcome, published."""
    for instance in instances:
        store.received.record_instance(instance, received_at=NOW)
    opened = encode(Revision, store.assessments.open_revision(UID, owner="a", now=NOW))
    archive = Archive(folder)
    archive.prepare()
    stages = Stages(
        config=parse_config({"assess": settings}, relative_to=folder),
        store=store,
        archive=archive,
        bundle=BUNDLE,
        pool=SimpleNamespace(run=lambda work, task: work(task)),
        study_ref=lambda _uid: "ref",
        log=SimpleNamespace(info=lambda *_, **__: None),
        now=lambda: NOW,
    )
    selected = stages.select(opened)
    outcome = stages.score(opened, stages.measure(opened, selected))
    stages.publish(opened, outcome)
    return stages, (opened, selected, outcome)


def test_the_spread_of_the_score_is_kept_after_the_result_is_out(instances, store, tmp_path):
    stages, step = assess(instances, store, tmp_path, perturbations=4)
    before = store.assessments.outcome(UID)

    stages.spread(*step)
    stages.spread(*step)  # as after the worker was killed

    after = store.assessments.outcome(UID)
    assert isinstance(before, Assessment)
    assert isinstance(before.score, Score)
    assert before.spread is None
    assert replace(after, spread=None) == before
    assert (after.spread.perturbations, after.spread.scored) == (4, 4)
    assert 0.0 <= after.spread.lowest < after.spread.highest <= 1.0
    assert 0.0 < after.spread.standard_deviation < 0.5


def test_without_perturbations_no_pixel_is_looked_at_again(instances, store, tmp_path):
    stages, step = assess(instances, store, tmp_path, perturbations=0)
    stages._pool = None

    stages.spread(*step)

    assert store.assessments.outcome(UID).spread is None


def test_a_result_from_before_spreads_were_kept_is_read(instances, store, tmp_path):
    assess(instances, store, tmp_path)
    document = encode(Assessment, store.assessments.outcome(UID))
    del document["spread"]

    assert outcome_from_json(json.dumps(document)) == store.assessments.outcome(UID)


def test_a_score_that_is_known_once_has_no_spread(lesion):
    assert BUNDLE.spread([lesion.features], perturbations=5) is None
    assert BUNDLE.spread([], perturbations=5) is None
