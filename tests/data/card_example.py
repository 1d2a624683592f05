# SPDX-License-Identifier: Apache-2.0
"""Patients, orders and assessments that tests write cards from."""

from datetime import UTC, date, datetime

from cds_service.cards import Decision, cards
from cds_service.identity import NoImaging
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
    OutlineSource,
    Patient,
    PatientKey,
    PlanarMeasurement,
    Score,
    Study,
)
from model.eligibility.assess import assess
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, Regimen, RegimenOrder
from model.patient_facts import (
    Analyte,
    Days,
    Diagnosis,
    DiagnosisStatus,
    DipstickFact,
    DipstickGrade,
    Drug,
    LabFact,
    PatientFacts,
    Person,
    ProcedureFact,
    ProcedureKind,
    ProcedureStatus,
    Quantity,
    SerologyFact,
    SerologyResult,
    SerologyTest,
    SignFact,
    SignGrade,
    Source,
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
        "procedures_complete": True,
        "person": Person(birth_date=date(1960, 2, 3)),
    }
    return PatientFacts(**(known | more))


SETTLED = facts(
    procedures=(
        ProcedureFact(
            kind=ProcedureKind.UPPER_ENDOSCOPY,
            status=ProcedureStatus.DONE,
            performed=Days(first=SEEN, last=SEEN),
            source=source("Procedure/egd"),
        ),
    ),
    dipstick=DipstickFact(grade=DipstickGrade.NEGATIVE, source=source("Observation/strip")),
    serology=tuple(
        SerologyFact(test=test, result=SerologyResult.NEGATIVE, source=source(f"Observation/{test.name}"))
        for test in (SerologyTest.HBSAG, SerologyTest.ANTI_HBC, SerologyTest.ANTI_HCV)
    ),
)
"""Nothing that warns when it is not known is missing."""


def decision(patient_facts=None, order=WHOLE, imaging=NoImaging.NO_STUDY, patient_id="p1", **more):
    """Return what the cards are written from; `more` are other fields of it."""
    patient_facts = patient_facts or facts()
    known = {
        "patient_id": patient_id,
        "facts": patient_facts,
        "order": order,
        "eligibility": assess(patient_facts, order, today=TODAY),
        "imaging": imaging,
        "today": TODAY,
        "about_url": "https://cds.example/about",
        "smart_launch_url": "https://smart.example/launch",
    }
    return Decision(**(known | more))


def written(*args, **more):
    """Return the cards of such a decision."""
    return cards(decision(*args, **more))


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
