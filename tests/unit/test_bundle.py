# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import io
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from model.acquisition import AcquisitionFacts, AcquisitionLimits, ContrastPhase, Range
from model.applicability import ReferenceCohort, ReferenceLimits
from model.bundle import (
    Bundle,
    BundleContents,
    Reference,
    bundle_bytes,
    demonstration_bundle_path,
    demonstration_private_key,
    load_bundle,
    read_bundle,
    read_public_key,
    write_bundle,
)
from model.classifier import calibrate
from model.domain import FeatureVector, Modality, ModelStatus, NotComputed, NotComputedReason, Score
from model.errors import ConfigError, ModelBundleError
from model.manifest import Declaration, Evidence, FeatureStability
from model.radiomics import CT_SETTINGS, MR_SETTINGS
from model.stored_zip import stored_zip

NAMES = (
    "original_shape_Sphericity",
    "original_firstorder_Mean",
    "original_glcm_Contrast",
    "original_shape_MeshVolume",
)
SITE_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MEMBERS = ("MODEL_CARD.md", "classifier.skops", "manifest.json", "reference.json", "signature.ed25519")


def cases(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    high = np.arange(count) % 2
    return rng.normal(size=(count, 4)) + high[:, None], high


def evidence(**changes: object) -> Evidence:
    fields = {
        "measure": "AUC",
        "endpoint": "objective response",
        "value": 0.75,
        "interval": (0.66, 0.83),
        "interval_level": 0.95,
        "interval_method": "DeLong",
        "chance": 0.5,
        "better": "higher",
        "cohort": "another hospital",
        "test_kind": "external",
        "cases": 120,
        "cases_high": 40,
    }
    return Evidence.model_validate(fields | changes)


def declaration(**changes: object) -> Declaration:
    fields = {
        "name": "test model",
        "version": "1.2.3",
        "status": ModelStatus.RESEARCH,
        "modality": Modality.CT,
        "features": NAMES,
        "higher_means": "drawn from the higher Gaussian",
        "settings": CT_SETTINGS,
        "conformal_alpha": 0.1,
        "acquisition": AcquisitionLimits(
            phase=ContrastPhase.PORTAL_VENOUS, slice_spacing_mm=Range(lowest=0.5, highest=3.0)
        ),
        "reference": ReferenceLimits(range_margin=0.1, tail_probability=0.001),
        "evidence": (),
    }
    return Declaration(**(fields | changes))


def contents(pipeline: object = None, **changes: object) -> BundleContents:
    vectors, high = cases(1, 60)
    unseen, truth = cases(2, 40)
    svm = make_pipeline(StandardScaler(), SVC()).fit(vectors, high)
    return BundleContents(
        declaration=declaration(**changes),
        pipeline=svm if pipeline is None else pipeline,
        reference=Reference(
            cohort=ReferenceCohort(
                description="drawn",
                features=NAMES,
                vectors=tuple(tuple(row) for row in vectors.tolist()),
                decision_values=tuple(svm.decision_function(vectors).tolist()),
            ),
            calibration=calibrate(
                svm.decision_function(unseen).tolist(), truth.astype(bool).tolist(), replicates=100, seed=1
            ),
        ),
        model_card="# Model card\n\nOf a test.\n",
    )


@pytest.fixture(scope="module")
def signed() -> bytes:
    return bundle_bytes(contents(), SITE_KEY)


def read(data: bytes) -> Bundle:
    return read_bundle(data, trusted_keys=(SITE_KEY.public_key(),))


def members_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def replaced(data: bytes, **changes: bytes) -> bytes:
    """The same bundle with other members, their digests and signature not renewed."""
    return stored_zip(members_of(data) | changes)


def resigned(data: bytes, changes: dict[str, bytes], manifest: dict[str, object] | None = None) -> bytes:
    """The same bundle with other members or manifest fields, digests and signature renewed by the site."""
    members = members_of(data) | changes
    document = json.loads(members["manifest.json"]) | (manifest or {})
    document["members"] = {name: hashlib.sha256(members[name]).hexdigest() for name in document["members"]}
    members["manifest.json"] = json.dumps(document).encode()
    members["signature.ed25519"] = SITE_KEY.sign(members["manifest.json"])
    return stored_zip(members)


def measured(*values: float, **changes: object) -> FeatureVector:
    vector = FeatureVector(names=NAMES, values=values, settings_digest=CT_SETTINGS.digest)
    return dataclasses.replace(vector, **changes)


def acquisition(**changes: object) -> AcquisitionFacts:
    facts = AcquisitionFacts(
        slice_spacing_mm=2.5,
        slice_thickness_mm=2.5,
        pixel_spacing_mm=(0.75, 0.75),
        kvp=120.0,
        convolution_kernel="B30f",
        magnetic_field_strength_t=None,
        manufacturer="",
        contrast_agent_stated=True,
        lossy_compressed=False,
        phase_hint="portal venous",
    )
    return dataclasses.replace(facts, **changes)


def score(bundle: Bundle, vector: FeatureVector, **changes: object) -> Score | NotComputed:
    circumstances = {
        "modality": Modality.CT,
        "acquisition": acquisition(),
        "liver_stated": True,
        "index_in_doubt": False,
        "suspended": False,
    }
    return bundle.score(vector, **(circumstances | changes))


# --- what a bundle says -----------------------------------------------------------------------------------


def test_what_was_written_is_what_loads(tmp_path):
    path = tmp_path / "models" / "test.hccbundle"

    written = write_bundle(path, contents(), SITE_KEY)
    loaded = load_bundle(path, trusted_keys=(SITE_KEY.public_key(),))

    assert loaded.manifest == written.manifest
    assert loaded.identity.name == "test model"
    assert loaded.identity.version == "1.2.3"
    assert loaded.identity.status is ModelStatus.RESEARCH
    assert loaded.identity.settings_digest == CT_SETTINGS.digest
    assert (
        loaded.identity.bundle_digest
        == hashlib.sha256(members_of(path.read_bytes())["manifest.json"]).hexdigest()
    )
    assert loaded.settings == CT_SETTINGS
    assert loaded.model_card.startswith("# Model card")
    assert [each.name for each in path.parent.iterdir()] == ["test.hccbundle"]


def test_equal_contents_are_equal_bytes(signed):
    assert bundle_bytes(contents(), SITE_KEY) == signed


def test_the_signature_can_be_checked_by_anybody_over_the_manifest_alone(signed):
    members = members_of(signed)

    SITE_KEY.public_key().verify(members["signature.ed25519"], members["manifest.json"])

    assert set(members) == set(MEMBERS)


def test_contents_that_would_not_load_are_not_written(tmp_path):
    vectors, high = cases(1, 60)
    other = make_pipeline(StandardScaler(), SVC(C=0.01)).fit(vectors, high)

    with pytest.raises(ModelBundleError, match="other values"):
        write_bundle(tmp_path / "test.hccbundle", contents(other), SITE_KEY)

    assert list(tmp_path.iterdir()) == []


# --- what does not load -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("position", [0, 17, -2])
def test_one_altered_byte_in_any_member_is_refused(signed, name, position):
    content = bytearray(members_of(signed)[name])
    content[position] ^= 1

    with pytest.raises(ModelBundleError):
        read(replaced(signed, **{name: bytes(content)}))


def test_no_altered_byte_of_the_file_changes_what_loads(signed):
    digest = read(signed).digest
    rng = np.random.default_rng(3)

    for position in rng.integers(len(signed), size=300):
        altered = bytearray(signed)
        altered[position] ^= int(rng.integers(1, 256))
        try:
            loaded = read(bytes(altered))
        except ModelBundleError:
            continue
        # Only what the zip says beside its members (a date, an attribute) may differ.
        assert loaded.digest == digest
        assert members_of(bytes(altered)) == members_of(signed)


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_truncated_file_is_refused(signed, length):
    with pytest.raises(ModelBundleError):
        read(signed[:length])


def test_an_unsigned_bundle_is_refused(signed):
    members = members_of(signed)
    del members["signature.ed25519"]

    with pytest.raises(ModelBundleError, match="not signed"):
        read(stored_zip(members))
    with pytest.raises(ModelBundleError, match="signed by no key"):
        read(replaced(signed, **{"signature.ed25519": b""}))


def test_a_bundle_signed_by_a_key_that_is_not_trusted_is_refused(signed):
    stranger = Ed25519PrivateKey.from_private_bytes(bytes(32))

    with pytest.raises(ModelBundleError, match="no key that is trusted"):
        read_bundle(signed, trusted_keys=())
    with pytest.raises(ModelBundleError, match="no key that is trusted"):
        read_bundle(signed, trusted_keys=(stranger.public_key(),))


@pytest.mark.parametrize("status", [ModelStatus.RESEARCH, ModelStatus.VALIDATED, ModelStatus.SUSPENDED])
def test_the_demonstration_key_vouches_for_nothing_but_a_demonstration(status):
    key = demonstration_private_key()
    data = bundle_bytes(contents(status=status, evidence=(evidence(),)), key)

    with pytest.raises(ModelBundleError, match="demonstration bundles only"):
        read_bundle(data, trusted_keys=())
    with pytest.raises(ModelBundleError, match="demonstration bundles only"):
        read_bundle(data, trusted_keys=(key.public_key(),))


def test_an_extra_member_is_refused_even_with_a_path_that_leads_elsewhere(signed):
    for name in ("notes.txt", "../outside", "/etc/passwd", "MODEL_CARD.md/"):
        with pytest.raises(ModelBundleError, match="members"):
            read(replaced(signed, **{name: b"x"}))


def test_a_member_that_comes_twice_is_refused(signed):
    buffer = io.BytesIO(signed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr("reference.json", b"{}")

    with pytest.raises(ModelBundleError, match="twice"):
        read(buffer.getvalue())


def test_a_compressed_member_is_refused_before_it_is_unpacked(signed):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members_of(signed).items():
            archive.writestr(name, content if name != "reference.json" else b"\0" * 50_000_000)

    with pytest.raises(ModelBundleError, match="compressed"):
        read(buffer.getvalue())


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "large.hccbundle"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 10**12)

    with pytest.raises(ModelBundleError, match="larger"):
        load_bundle(path)


def test_a_missing_file_is_an_error_that_names_no_more_than_the_cause(tmp_path):
    with pytest.raises(ModelBundleError, match="No such file"):
        load_bundle(tmp_path / "none.hccbundle")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", "hcc-cds-bundle/2"),
        ("status", "excellent"),
        ("features", list(NAMES[:3])),
        ("conformal_alpha", 1.5),
        ("surprise", 1),
        ("conformal_alpha", float("nan")),
    ],
)
def test_a_manifest_of_another_form_is_refused_though_signed(signed, field, value):
    with pytest.raises(ModelBundleError, match="manifest"):
        read(resigned(signed, {}, {field: value}))


def test_the_stability_of_the_features_stands_in_the_manifest_where_it_was_measured(signed):
    stability = FeatureStability(
        demanded=0.75, lower_limits=(0.81, 0.9, 0.76, 0.88), confidence=0.95, perturbations=10, lesions=60
    )

    bundle = read(bundle_bytes(contents(stability=stability), SITE_KEY))

    assert bundle.manifest.stability == stability
    # Bundles without it have the bytes that they had before there was such a thing.
    assert b"stability" not in members_of(signed)["manifest.json"]
    assert read(signed).manifest.stability is None


@pytest.mark.parametrize(
    ("lower_limits", "complaint"),
    [((0.81, 0.9, 0.74, 0.88), "less stable"), ((0.81, 0.9, 0.8), "each of the four")],
)
def test_a_stability_that_the_features_do_not_have_is_refused(lower_limits, complaint):
    with pytest.raises(ValueError, match=complaint):
        declaration(
            stability={
                "demanded": 0.75,
                "lower_limits": lower_limits,
                "confidence": 0.95,
                "perturbations": 10,
                "lesions": 60,
            }
        )


def test_settings_that_do_not_have_the_stated_digest_are_refused_though_signed(signed):
    with pytest.raises(ModelBundleError, match="another version of the feature extraction"):
        read(resigned(signed, {}, {"settings_digest": "0" * 64}))


def test_a_reference_cohort_of_other_features_is_refused_though_signed(signed):
    with pytest.raises(ModelBundleError, match="other features"):
        read(resigned(signed, {}, {"features": list(reversed(NAMES))}))


# --- the classifier's types -------------------------------------------------------------------------------


def skops_of(*steps: object) -> bytes:
    vectors, high = cases(1, 60)
    return skops.io.dumps(make_pipeline(*steps).fit(vectors, high))


def test_a_classifier_that_would_call_the_operating_system_is_refused_though_signed(signed):
    class_that_runs = skops.io.dumps(
        make_pipeline(FunctionTransformer(func=os.system), StandardScaler(), SVC())
    )

    with pytest.raises(ModelBundleError, match="not trusted"):
        read(resigned(signed, {"classifier.skops": stored_zip(members_of(class_that_runs))}))


def test_types_that_skops_itself_trusts_are_refused_when_no_svm_needs_them(signed):
    data = skops_of(StandardScaler(), LogisticRegression())
    assert skops.io.get_untrusted_types(data=data) == []

    with pytest.raises(ModelBundleError, match="not trusted"):
        read(resigned(signed, {"classifier.skops": data}))


@pytest.mark.parametrize(
    "steps",
    [
        (SVC(),),
        (StandardScaler(), StandardScaler(), SVC()),
        (StandardScaler(), SVC(kernel="poly")),
        (SVC(), StandardScaler()),
    ],
)
def test_trusted_types_in_another_arrangement_are_refused(signed, steps):
    pipeline = make_pipeline(*steps)
    if isinstance(steps[-1], SVC):
        pipeline.fit(*cases(1, 60))

    with pytest.raises(ModelBundleError, match="no scaled linear or RBF SVM"):
        read(resigned(signed, {"classifier.skops": skops.io.dumps(pipeline)}))


def test_a_loader_that_does_not_belong_to_its_type_is_refused(signed):
    members = members_of(members_of(signed)["classifier.skops"])
    schema = members["schema.json"].replace(b'"__loader__": "TupleNode"', b'"__loader__": "ReduceNode"', 1)

    with pytest.raises(ModelBundleError, match="not trusted"):
        read(resigned(signed, {"classifier.skops": stored_zip(members | {"schema.json": schema})}))


def test_a_classifier_that_is_no_skops_file_is_refused(signed):
    for content in (b"", b"\x80\x04.", stored_zip({"schema.json": b"{}"}), stored_zip({"../x.npy": b""})):
        with pytest.raises(ModelBundleError):
            read(resigned(signed, {"classifier.skops": content}))


def test_another_svm_of_the_right_form_is_refused_because_it_gives_other_answers(signed):
    with pytest.raises(ModelBundleError, match="other values"):
        read(resigned(signed, {"classifier.skops": skops_of(StandardScaler(), SVC(C=0.5))}))


# --- scores and their absence -----------------------------------------------------------------------------


def test_a_lesion_within_all_limits_is_scored(signed):
    result = score(read(signed), measured(0.6, 0.4, 0.5, 0.5))

    assert isinstance(result, Score)
    assert len(result.contributions) == 4
    assert result.interval[0] <= result.probability <= result.interval[1]


def test_features_are_taken_by_name_not_by_position(signed):
    vector = measured(1.2, 0.4, -0.5, 0.1)
    turned = FeatureVector(
        names=(*reversed(NAMES), "original_glcm_Idn"),
        values=(*reversed(vector.values), 5.0),
        settings_digest=vector.settings_digest,
    )

    assert score(read(signed), turned) == score(read(signed), vector)


@pytest.mark.parametrize(
    ("reason", "circumstances"),
    [
        (NotComputedReason.SUSPENDED, {"suspended": True}),
        (NotComputedReason.MODALITY, {"modality": Modality.MR}),
        (NotComputedReason.NOT_LIVER, {"liver_stated": False}),
        (NotComputedReason.INDEX_LESION, {"index_in_doubt": True}),
        (NotComputedReason.ACQUISITION, {"acquisition": acquisition(slice_spacing_mm=5.0)}),
        (NotComputedReason.ACQUISITION, {"acquisition": acquisition(phase_hint="arterial")}),
    ],
)
def test_circumstances_that_forbid_a_score_give_their_reason(signed, reason, circumstances):
    result = score(read(signed), measured(0.5, 0.5, 0.5, 0.5), **circumstances)

    assert isinstance(result, NotComputed)
    assert result.reason is reason


def test_a_score_says_which_limits_of_the_acquisition_were_checked_and_which_were_not(signed):
    stated = score(read(signed), measured(0.5, 0.5, 0.5, 0.5))
    silent = score(read(signed), measured(0.5, 0.5, 0.5, 0.5), acquisition=acquisition(phase_hint=""))

    assert stated.acquisition.is_complete
    assert any("contrast phase portal venous" in each for each in stated.acquisition.agreed)
    assert silent.acquisition.not_stated == ("contrast phase (the model was made for portal venous)",)


def test_a_bundle_that_calls_itself_suspended_loads_and_never_scores():
    bundle = read(bundle_bytes(contents(status=ModelStatus.SUSPENDED), SITE_KEY))

    result = score(bundle, measured(0.5, 0.5, 0.5, 0.5))

    assert result == NotComputed(reason=NotComputedReason.SUSPENDED)


def test_a_vector_measured_with_other_settings_is_not_scored(signed):
    result = score(read(signed), measured(0.5, 0.5, 0.5, 0.5, settings_digest=MR_SETTINGS.digest))

    assert result == NotComputed(reason=NotComputedReason.SETTINGS)


def test_a_missing_feature_is_named(signed):
    vector = FeatureVector(names=NAMES[:3], values=(0.5, 0.5, 0.5), settings_digest=CT_SETTINGS.digest)

    result = score(read(signed), vector)

    assert result == NotComputed(reason=NotComputedReason.FEATURES, detail="original_shape_MeshVolume")


def test_a_lesion_outside_the_reference_cohort_is_not_scored_and_the_feature_is_named(signed):
    result = score(read(signed), measured(0.5, 40.0, 0.5, 0.5))

    assert isinstance(result, NotComputed)
    assert result.reason is NotComputedReason.OUTSIDE_REFERENCE
    assert "original_firstorder_Mean is 40" in result.detail


def test_suspension_comes_before_every_other_reason(signed):
    result = score(
        read(signed),
        measured(0.5, 40.0, 0.5, 0.5, settings_digest="0" * 64),
        suspended=True,
        modality=Modality.MR,
        liver_stated=False,
    )

    assert result == NotComputed(reason=NotComputedReason.SUSPENDED)


# --- evidence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "supported"),
    [
        ((evidence(),), True),
        ((evidence(test_kind="prospective"),), True),
        (
            (evidence(measure="hazard ratio", chance=1.0, value=1.5, interval=(1.1, 2.0)),),
            True,
        ),
        (
            (evidence(better="lower", chance=0.25, value=0.2, interval=(0.15, 0.24)),),
            True,
        ),
        ((), False),
        ((evidence(test_kind="held-out"),), False),
        ((evidence(test_kind="cross-validation"),), False),
        ((evidence(interval=(0.5, 0.83)),), False),
        ((evidence(value=0.3, interval=(0.2, 0.4)),), False),
        ((evidence(), evidence(value=0.55, interval=(0.45, 0.65))), False),
    ],
)
def test_only_a_model_whose_external_evidence_excludes_chance_may_be_called_validated(
    signed, known, supported
):
    claimed = resigned(
        signed, {}, {"status": "validated", "evidence": [each.model_dump(mode="json") for each in known]}
    )

    if supported:
        assert read(claimed).identity.status is ModelStatus.VALIDATED
    else:
        with pytest.raises(ModelBundleError, match="validated, without external evidence"):
            read(claimed)


@pytest.mark.parametrize("status", sorted(set(ModelStatus) - {ModelStatus.VALIDATED}))
def test_a_model_that_does_not_claim_to_be_validated_needs_no_evidence(status):
    assert declaration(status=status, evidence=()).status is status


def test_evidence_that_contradicts_itself_cannot_be_written():
    with pytest.raises(ValueError, match="outside its interval"):
        evidence(value=0.9)
    with pytest.raises(ValueError, match="more cases"):
        evidence(cases_high=121)


# --- keys -------------------------------------------------------------------------------------------------


def pem(key: object) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_public_key_is_read_from_pem(tmp_path: Path):
    path = tmp_path / "site.pem"
    path.write_bytes(pem(SITE_KEY.public_key()))

    assert read_public_key(path) == SITE_KEY.public_key()


def test_a_file_without_an_ed25519_key_is_a_configuration_error(tmp_path: Path):
    other, garbage = tmp_path / "x25519.pem", tmp_path / "garbage.pem"
    other.write_bytes(pem(X25519PrivateKey.from_private_bytes(bytes(32)).public_key()))
    garbage.write_bytes(b"no key")

    for path in (other, garbage, tmp_path / "missing.pem"):
        with pytest.raises(ConfigError):
            read_public_key(path)


# --- the bundle that comes with us ------------------------------------------------------------------------


def test_the_bundle_that_comes_with_us_says_in_every_place_that_it_is_a_demonstration():
    bundle = load_bundle(demonstration_bundle_path())

    assert bundle.identity.status is ModelStatus.DEMONSTRATION
    assert "nothing about a patient" in bundle.identity.higher_means
    assert "no clinical meaning" in bundle.model_card
    assert "phantoms only, no clinical meaning" in bundle.evidence[0].cohort
    assert bundle.manifest.acquisition.phase is None
    assert demonstration_bundle_path().stat().st_size < 500_000


def test_the_demonstration_is_better_than_chance_on_held_out_phantoms_and_not_perfect():
    (auc,) = load_bundle(demonstration_bundle_path()).evidence

    assert auc.excludes_chance
    assert auc.value < 0.95
    assert auc.cases >= 60
