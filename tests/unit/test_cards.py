# SPDX-License-Identifier: Apache-2.0
"""Cards: reasons first, unknown apart from not met, imaging last, nothing from outside unescaped."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.cards import Decision, cards
from cds_service.identity import NoImaging
from cds_service.imaging_block import imaging_block
from cds_service.markdown import escaped
from model.domain import (
    Assessment,
    Axis,
    FeatureVector,
    ImageReference,
    MeasuredLesion,
    MeasuredSeries,
    Modality,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    OutlineSource,
    Patient,
    PatientKey,
    PlanarMeasurement,
    Rejection,
    RejectionReason,
    Score,
    Study,
)
from model.eligibility.assess import assess
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, Regimen, RegimenOrder
from model.patient_facts import (
    Analyte,
    Diagnosis,
    DiagnosisStatus,
    Drug,
    LabFact,
    OtherCancer,
    PatientFacts,
    Quantity,
    SignFact,
    SignGrade,
    Source,
    Unused,
)

TODAY = date(2026, 11, 24)
SEEN = date(2026, 11, 20)
WHOLE = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB)
DURVALUMAB_BEVACIZUMAB = RegimenOrder(
    regimen=Regimen(
        name="durvalumab + bevacizumab",
        drugs=frozenset({Drug.DURVALUMAB, Drug.BEVACIZUMAB}),
        trial="",
    )
)
STRIDE = RegimenOrder(
    regimen=Regimen(
        name="durvalumab + tremelimumab",
        drugs=frozenset({Drug.DURVALUMAB, Drug.TREMELIMUMAB}),
        trial="HIMALAYA",
    )
)
HALF = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, absent=frozenset({Drug.BEVACIZUMAB}))


def source(reference):
    return Source(reference=reference, on=SEEN, status="final")


def facts(albumin=4.1, ascites=SignGrade.NONE, **more):
    values = {
        Analyte.BILIRUBIN: (0.9, "mg/dL"),
        Analyte.ALBUMIN: (albumin, "g/dL"),
        Analyte.INR: (1.1, "1"),
    }
    known = {
        "hcc": Diagnosis(status=DiagnosisStatus.CONFIRMED, sources=(source("Condition/hcc"),)),
        "labs": tuple(
            LabFact(
                analyte=analyte,
                quantity=Quantity(value=value, unit=unit),
                source=source(f"Observation/{analyte.name.lower()}"),
            )
            for analyte, (value, unit) in values.items()
            if value is not None
        ),
        "ascites": ascites and SignFact(grade=ascites, source=source("Observation/ascites")),
        "encephalopathy": SignFact(grade=SignGrade.NONE, source=source("Observation/he")),
        "drugs_complete": True,
    }
    return PatientFacts(**(known | more))


def written(patient_facts=None, order=WHOLE, imaging=NoImaging.NO_STUDY, patient_id="p1"):
    patient_facts = patient_facts or facts()
    return cards(
        Decision(
            patient_id=patient_id,
            facts=patient_facts,
            order=order,
            eligibility=assess(patient_facts, order),
            imaging=imaging,
            today=TODAY,
            about_url="https://cds.example/about",
        )
    )


def study(study_date=SEEN):
    return Study(
        study_instance_uid="1.2.3",
        study_date=study_date,
        patient=Patient(
            key=PatientKey(patient_id="SECRET-ID", issuer="SECRET-ISSUER"), birth_date=None, sex=None
        ),
    )


def assessment(status=ModelStatus.DEMONSTRATION, score=None, study_date=SEEN, **more):
    image = ImageReference(sop_class_uid="1.2", sop_instance_uid="1.2.3.4")
    axis = Axis(start=(0.5, 0.5), end=(9.5, 0.5), length_mm=41.0)
    lesion = MeasuredLesion(
        number=1,
        tracking_uid="1.2.3.9",
        source=OutlineSource(
            sop_class_uid="1.2",
            sop_instance_uid="1.2.5",
            series_instance_uid="1.2.6",
            number=1,
            label="x",
            algorithm_type="MANUAL",
        ),
        finding_site=None,
        volume_mm3=23400.0,
        planar=PlanarMeasurement(image=image, long_axis=axis, short_axis=axis, area_mm2=500.0),
        features=FeatureVector(names=(), values=(), settings_digest="d" * 64),
    )
    model = ModelIdentity(
        name="demo <b>",
        version="1.0",
        bundle_digest="a" * 64,
        status=status,
        settings_digest="d" * 64,
        higher_means="more of the phantom's texture",
    )
    known = {
        "study": study(study_date),
        "revision": 1,
        "created_at": datetime(2026, 11, 21, tzinfo=UTC),
        "series": MeasuredSeries(
            series_instance_uid="1.2.3.1",
            frame_of_reference_uid="1.2.3.2",
            modality=Modality.CT,
            images=(image,),
            spacing_mm=(0.8, 0.8, 2.5),
            segmentation_series_instance_uid="1.2.3.3",
        ),
        "lesions": (lesion,),
        "score": score
        or Score(
            probability=0.62,
            interval=(0.41, 0.8),
            interval_method="90 % bootstrap",
            conformal_set=("high", "low"),
            reference_percentile=71.0,
            contributions=(),
        ),
        "model": model,
        "software_version": "0.1.0",
    }
    return Assessment(**(known | more))


def empties(value):
    if isinstance(value, dict):
        return [e for child in value.values() for e in empties(child)] + ([] if value else [value])
    if isinstance(value, list):
        return [e for child in value for e in empties(child)] + ([] if value else [value])
    return [value] if value in (None, "") else []


VARIANTS = {
    "all met": {},
    "ascites unknown": {"patient_facts": facts(ascites=None)},
    "class B": {"patient_facts": facts(albumin=2.7, ascites=SignGrade.MILD)},
    "grave and unknown": {
        "patient_facts": facts(
            albumin=2.7,
            ascites=SignGrade.SEVERE,
            hcc=Diagnosis(status=DiagnosisStatus.UNCONFIRMED),
            labs=facts(albumin=2.7).labs[1:],
        )
    },
    "nothing known": {"patient_facts": PatientFacts(hcc=Diagnosis(status=DiagnosisStatus.CONFLICTING))},
    "no order": {"order": None},
    "half": {"order": HALF},
    "another pair": {"order": DURVALUMAB_BEVACIZUMAB},
    "whose order": {"order": RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True)},
    "scored": {"imaging": assessment()},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_card_keeps_the_specification(name):
    answer = written(**VARIANTS[name])

    assert 1 <= len(answer) <= 3
    assert len({card["indicator"] for card in answer}) == len(answer)
    for card in answer:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"]
        assert card["source"]["url"].startswith("https://")
        assert {"system", "code"} <= card["source"]["topic"].keys()
        assert all(reason["display"] for reason in card["overrideReasons"])
        assert ("suggestions" in card) is ("selectionBehavior" in card)
        assert empties(card) == []
        json.dumps(card)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_card_says_what_was_not_checked(name):
    for card in written(**VARIANTS[name]):
        assert "Not checked by this version:** varices and endoscopy" in card["detail"]
        assert "hepatitis B" in card["detail"]


def test_all_met_is_one_info_card_that_does_not_sound_like_an_all_clear():
    (card,) = written()

    assert card["indicator"] == "info"
    assert card["summary"].startswith("No exclusion found in available data (diagnosis and Child-Pugh only)")
    assert "| albumin | 4.1 g/dL | 2026-11-20 | 1 | Observation/albumin (final) |" in card["detail"]
    assert "eligible" not in json.dumps(card).lower()


def test_child_pugh_b_warns_first_and_imaging_comes_in_the_last_card():
    warning, info = written(facts(albumin=2.7, ascites=SignGrade.MILD), imaging=assessment())

    assert warning["indicator"] == "warning"
    assert warning["summary"].startswith("Outside the trial population: Child-Pugh B (8 points)")
    assert "**Not met**" in warning["detail"]
    assert "Imaging" not in warning["detail"]
    assert "No exclusion" not in info["summary"]
    assert info["detail"].index("Score 0.62") > info["detail"].index("**Met**")


def test_unknown_is_told_apart_with_what_would_resolve_it():
    warning, _info = written(facts(albumin=None, ascites=None))

    assert warning["summary"].startswith("Cannot be assessed: Child-Pugh A to B (5 to 9 points)")
    assert "**Unknown**" in warning["detail"]
    assert "**Not met**" not in warning["detail"]
    assert "state whether there is ascites" in warning["detail"]


def test_a_missing_laboratory_value_can_be_ordered_from_the_card():
    warning, _info = written(facts(albumin=None))

    (suggestion,) = warning["suggestions"]
    (action,) = suggestion["actions"]
    assert action["type"] == "create"
    assert ServiceRequest.model_validate(action["resource"]).subject.reference == "Patient/p1"
    assert action["resource"]["code"]["coding"][0]["code"] == "1751-7"


def test_nothing_is_suggested_for_what_no_order_can_tell():
    warning, _info = written(facts(ascites=None))

    assert "suggestions" not in warning


def test_child_pugh_c_is_critical_only_where_the_drug_is_ordered():
    patient = facts(
        albumin=2.5,
        ascites=SignGrade.SEVERE,
        labs=facts(albumin=2.5).labs,
        encephalopathy=SignFact(grade=SignGrade.SEVERE, source=source("Observation/he")),
    )

    ordered = written(patient)
    viewed = written(patient, order=None)

    assert ordered[0]["indicator"] == "critical"
    assert "Child-Pugh C (11 points)" in ordered[0]["summary"]
    assert [card["indicator"] for card in viewed] == ["info"]
    assert "Child-Pugh C (11 points)" in viewed[0]["summary"]


@pytest.mark.parametrize(
    "imaging", [NoImaging.NO_STUDY, assessment(), assessment(status=ModelStatus.VALIDATED)]
)
@pytest.mark.parametrize("name", ["all met", "ascites unknown", "class B"])
def test_imaging_changes_neither_severity_nor_wording(name, imaging):
    with_imaging = written(**(VARIANTS[name] | {"imaging": imaging}))
    without = written(**VARIANTS[name])

    told = [(card["indicator"], card["summary"]) for card in with_imaging]
    assert told == [(card["indicator"], card["summary"]) for card in without]


def test_the_same_content_has_the_same_uuid_and_another_patient_another():
    assert written()[0]["uuid"] == written()[0]["uuid"]
    assert written()[0]["uuid"] != written(patient_id="p2")[0]["uuid"]
    assert written()[0]["uuid"] != written(facts(albumin=4.0))[0]["uuid"]


def test_what_was_left_out_is_told():
    unused = Unused(name="albumin", reason="it has no unit", source=source("Observation/x"))

    (card,) = written(facts(unused=(unused,), gaps=("1 Observation could not be read",)))

    assert "albumin: it has no unit (Observation/x (final), 2026-11-20)" in card["detail"]
    assert "1 Observation could not be read" in card["detail"]


# -- imaging ---------------------------------------------------------------------------------------


def block(imaging, order=WHOLE, hcc=DiagnosisStatus.CONFIRMED):
    return imaging_block(imaging, order, hcc=hcc, today=TODAY)


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
            "is shown with an order of atezolizumab + bevacizumab until 2027-01-01",
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
    assert "no confirmed and active entry" in text


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
    assert "Not checked: whether the lesion was treated locally before the scan" in text


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


# -- text from outside -----------------------------------------------------------------------------

_HOSTILE = "<img src=x onerror=alert(1)> [click](javascript:alert(1)) ![x](http://e) **b** | www.evil.example"


def test_record_text_is_escaped_on_the_card():
    other = OtherCancer(
        meaning="secondary malignancy of the liver", text=_HOSTILE, source=source("Condition/m")
    )

    (warning, _info) = written(facts(hcc=Diagnosis(status=DiagnosisStatus.REFUTED), other_cancers=(other,)))

    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(warning["detail"])
    assert "<img" not in html
    assert "<a " not in html
    assert "onerror=alert(1)&gt;" in html


def test_every_cancer_is_named_however_long_the_words_of_the_record_are():
    others = tuple(
        OtherCancer(meaning=meaning, text=text, source=source(f"Condition/{number}"))
        for number, (meaning, text) in enumerate(
            [
                ("another primary liver cancer", "x" * 500),
                ("liver cancer, type not stated", "y" * 500),
                ("secondary malignancy of the liver", "colon"),
                ("secondary malignancy of the liver", "colon"),
            ]
        )
    )

    (card,) = written(facts(other_cancers=others))

    assert "another primary liver cancer (xxx" in card["detail"]
    assert "liver cancer, type not stated (yyy" in card["detail"]
    assert card["detail"].count("secondary malignancy of the liver (colon)") == 1
    assert "x" * 80 not in card["detail"]


def test_drugs_that_are_not_recognised_are_named_escaped_short_and_not_without_end():
    names = (_HOSTILE, "z" * 500, *(f"drug {number}" for number in range(20)))

    (card,) = written(facts(drugs_complete=False, unrecognised_drugs=names), order=None)

    assert "medication list, not recognised: &lt;img" in card["detail"]
    assert "<img" not in card["detail"]
    assert "z" * 60 not in card["detail"]
    assert "drug 7; and 12 more" in card["detail"]


def test_another_pair_has_its_own_name_and_is_not_judged_by_criteria_of_ours():
    (card,) = written(order=DURVALUMAB_BEVACIZUMAB, imaging=assessment())

    assert card["summary"] == "No criteria for this combination – Durvalumab + bevacizumab"
    assert card["indicator"] == "info"
    assert "atezolizumab" not in json.dumps(card).lower()
    assert "IMbrave150" not in card["detail"]
    assert "Checked: nothing." in card["detail"]
    assert "0.62" not in card["detail"]


def test_an_order_that_may_be_anothers_is_warned_of():
    warning, _info = written(order=RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True))

    assert warning["summary"] == (
        "Cannot be assessed: whose order it is, is not certain – Atezolizumab + bevacizumab"
    )


def test_a_summary_drops_whole_headlines_and_never_half_of_one():
    patient = facts(ascites=None, hcc=Diagnosis(status=DiagnosisStatus.CONFLICTING), drugs_complete=False)
    order = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True)

    warning, _info = written(patient, order=order)

    assert len(warning["summary"]) < 140
    assert "…" not in warning["summary"]
    assert "whose order it is, is not certain; HCC is recorded with contradicting" in warning["summary"]
    assert "1 more" in warning["summary"]


@given(text=st.text(max_size=300))
def test_escaped_text_is_one_line_of_text_and_nothing_else(text):
    renderer = MarkdownIt("gfm-like", {"html": True, "linkify": False})

    (opening, inline, closing) = renderer.parse(f"x {escaped(text)}")

    assert (opening.type, closing.type) == ("paragraph_open", "paragraph_close")
    assert {child.type for child in inline.children} <= {"text", "text_special"}


@given(text=st.text(alphabet="htpsw:/. @Wx", max_size=40))
def test_escaped_text_holds_nothing_that_is_linked_by_itself(text):
    result = escaped(text).lower()

    assert "://" not in result
    assert "www." not in result
    assert "@" not in result.replace("\\@", "")
