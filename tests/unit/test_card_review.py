# SPDX-License-Identifier: Apache-2.0
"""What reviewers found on the cards: treatment beside the regimen, orders in doubt, other diseases."""

from datetime import UTC, date, datetime

import pytest

from cds_service.config import IdentifierSystemConfig, IdentityConfig
from cds_service.hook_request import parse_request
from cds_service.hooks import CardWriter
from fhir_gateway import synthetic
from fhir_gateway.other_drugs import names_other_drugs_only
from fhir_gateway.terminology import RXNORM, SNOMED
from fhir_gateway.units import UnitConverter
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

P = "p1"
MRN = "urn:oid:1.2.3"
BORN = date(1960, 2, 3)
SEEN = date(2026, 11, 20)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BASE = "https://ehr.example/fhir"
PAIR = synthetic.atezolizumab_bevacizumab(P)
UNKNOWN = synthetic.medication_request(P, "x", ("urn:local", "1"), text="Wundermittel")
ICD10_WHO = "http://hl7.org/fhir/sid/icd-10"
HYPERTENSION = synthetic.condition(P, "z", (SNOMED, "38341003"))


def scored():
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
    return Assessment(
        study=Study(
            study_instance_uid="1.2.3",
            study_date=SEEN,
            patient=Patient(key=PatientKey(patient_id="4711", issuer="HOSPITAL"), birth_date=BORN, sex=None),
        ),
        revision=1,
        created_at=NOW,
        series=MeasuredSeries(
            series_instance_uid="1.2.3.1",
            frame_of_reference_uid="1.2.3.2",
            modality=Modality.CT,
            images=(image,),
            spacing_mm=(0.8, 0.8, 2.5),
            segmentation_series_instance_uid="1.2.3.3",
        ),
        lesions=(lesion,),
        score=Score(
            probability=0.62,
            interval=(0.41, 0.8),
            interval_method="90 % bootstrap",
            conformal_set=("high", "low"),
            reference_percentile=71.0,
            contributions=(),
        ),
        model=ModelIdentity(
            name="demo",
            version="1.0",
            bundle_digest="a" * 64,
            status=ModelStatus.DEMONSTRATION,
            settings_digest="d" * 64,
            higher_means="more texture",
        ),
        software_version="0.1.0",
    )


class Outcomes:
    def current(self, _keys):
        return scored()


def answer(*, orders=PAIR, hook="order-sign", draft=None, server=None, **prefetch):
    writer = CardWriter(
        outcomes=Outcomes(),
        identity=IdentityConfig(identifier_systems=(IdentifierSystemConfig(system=MRN, issuer="HOSPITAL"),)),
        converter=UnitConverter(),
        about_url="https://cds.example/about",
    )
    record = synthetic.record_of_hcc(P, on=SEEN, identifiers=[(MRN, "4711")], birth_date=BORN)
    request = synthetic.hook_request(hook, P, record | prefetch, orders=orders)
    if draft is not None:
        request["context"]["draftOrders"] = draft
    if server is not None:
        request["fhirServer"] = server
    return writer.answer(parse_request(request), now=NOW)


def text_of(written):
    return "\n".join(card["summary"] + "\n" + card["detail"] for card in written)


def without(resource, *keys):
    return {key: value for key, value in resource.items() if key not in keys}


def cut(*resources):
    return synthetic.bundle(*resources) | {"link": [{"relation": "next", "url": "https://ehr.example/2"}]}


# -- treatment beside the regimen --------------------------------------------------------------------


def test_the_pair_alone_shows_the_score():
    written = answer()

    assert "Score 0.62" in text_of(written)
    assert "Beside the regimen" not in text_of(written)


@pytest.mark.parametrize("drug", ["lenvatinib", "sorafenib", "nivolumab", "tremelimumab", "ramucirumab"])
def test_another_drug_of_a_regimen_on_the_list_is_named_and_no_score_shows(drug):
    taken = synthetic.medication_request(P, "l", ("urn:local", "1"), status="active", text=drug)
    text = text_of(answer(medications=synthetic.bundle(taken)))

    assert f"also on the medication list: {drug} (MedicationRequest/l (active))" in text
    assert (
        f"Score not shown, because it speaks only of the pair, and the medication list also holds {drug}"
        in text
    )
    assert f"Also on the medication list: {drug} – Atezolizumab + bevacizumab" in text
    assert "Score 0.62" not in text
    assert "No exclusion found" not in text


@pytest.mark.parametrize("other", [UNKNOWN, without(UNKNOWN, "intent"), UNKNOWN | {"status": 5}, None])
def test_an_order_that_cannot_be_told_is_said_and_no_score_shows(other):
    text = text_of(answer(draft=synthetic.bundle(*PAIR, other)))

    assert "an order could not be read or names a drug that is not known" in text
    assert "Score 0.62" not in text
    assert "Score not shown" in text


@pytest.mark.parametrize(
    "name", ["sunitinib", "axitinib", "novelmab", "novelimab", "noveltinib 4 mg capsule"]
)
def test_a_stem_of_cancer_drugs_makes_no_drug_harmless(name):
    order = synthetic.medication_request(P, "x", ("urn:local", "1"), text=name)

    assert not names_other_drugs_only(name)
    assert "Score 0.62" not in text_of(answer(orders=(*PAIR, order)))


def test_a_kinase_inhibitor_told_by_atc_alone_is_not_taken_for_harmless():
    order = synthetic.medication_request(P, "x", ("http://www.whocc.no/atc", "L01EX01"))

    assert "Score 0.62" not in text_of(answer(orders=(*PAIR, order)))


# -- references --------------------------------------------------------------------------------------


def by_reference(identifier, reference, **more):
    order = synthetic.medication_request(P, identifier, (RXNORM, "1"), **more)
    return without(order, "medicationCodeableConcept") | {"medicationReference": {"reference": reference}}


def medication(identifier, code):
    return {
        "resourceType": "Medication",
        "id": identifier,
        "code": {"coding": [{"system": RXNORM, "code": code}]},
    }


@pytest.mark.parametrize(
    ("prefix", "by_full_url"),
    [("Medication/", False), (f"{BASE}/Medication/", False), ("urn:uuid:", False), ("urn:uuid:e-", True)],
)
def test_ordered_medications_are_found_by_every_kind_of_reference(prefix, by_full_url):
    entries = [{"resource": by_reference(each, f"{prefix}{each}")} for each in ("a", "b")]
    for each, code in (("a", "1792776"), ("b", "253337")):
        entry = {"resource": medication(each, code)}
        entries.append(entry | {"fullUrl": f"{prefix}{each}"} if by_full_url else entry)
    draft = {"resourceType": "Bundle", "type": "collection", "entry": entries}

    assert "Score 0.62" in text_of(answer(draft=draft, server=f"{BASE}/"))


def test_an_absolute_reference_to_another_server_is_not_this_servers_medication():
    orders = [
        *(by_reference(each, f"https://else.example/fhir/Medication/{each}") for each in ("a", "b")),
        medication("a", "1792776"),
        medication("b", "253337"),
    ]

    (card,) = answer(orders=orders, server=BASE)

    assert card["indicator"] == "warning"
    assert "an order could not be read or" in card["summary"]


@pytest.mark.parametrize("reference", [f"{BASE}/Medication/m", "urn:uuid:e-m", "urn:uuid:m"])
def test_medications_of_the_list_are_found_by_every_kind_of_reference(reference):
    listed = synthetic.bundle(by_reference("l", reference, status="active"))
    listed["entry"].append({"fullUrl": "urn:uuid:e-m", "resource": medication("m", "495881")})

    assert "also on the medication list: sorafenib" in text_of(answer(medications=listed, server=BASE))


# -- orders and records in doubt ---------------------------------------------------------------------


@pytest.mark.parametrize("orders", [PAIR, PAIR[:1], PAIR[1:]])
def test_incomplete_conditions_without_hcc_are_said_with_the_pair_or_half_of_it(orders):
    written = answer(orders=orders, conditions=cut(HYPERTENSION))

    assert written[0]["indicator"] == "warning"
    assert "HCC is not among the conditions that could be read" in written[0]["summary"]


def test_half_of_the_pair_stays_silent_when_all_conditions_were_read_and_none_is_hcc():
    assert answer(orders=PAIR[1:], conditions=synthetic.bundle(HYPERTENSION)) == []


def test_an_order_without_a_status_is_doubted_and_not_passed_over():
    written = answer(orders=[without(each, "status") for each in PAIR])

    assert written[0]["indicator"] == "warning"
    assert "whether it is being ordered, is not certain" in written[0]["summary"]
    assert "Score not shown, because it is not certain whether this is being ordered" in text_of(written)


# -- other diseases ----------------------------------------------------------------------------------


def cancer(code, **more):
    return synthetic.condition(P, "c", (ICD10_WHO, code), text="Bronchial carcinoma", **more)


def test_the_pair_for_a_cancer_of_another_organ_is_no_warning():
    written = answer(conditions=synthetic.bundle(cancer("C34.1")))

    assert [card["indicator"] for card in written] == ["info"]
    assert written[0]["summary"].startswith("HCC is not recorded, another cancer is")
    assert "Bronchial carcinoma" in written[0]["detail"]
    assert "carcinoma were not applied" in written[0]["detail"]
    assert "what to watch under treatment" not in written[0]["detail"]


@pytest.mark.parametrize(
    "conditions",
    [
        synthetic.bundle(HYPERTENSION),
        cut(cancer("C34.1")),
        synthetic.bundle(cancer("C34.1", clinical="resolved")),
        synthetic.bundle(cancer("C44.3")),
        synthetic.bundle(cancer("C78.7")),
        synthetic.bundle(cancer("C34.1"), synthetic.condition(P, "l", (ICD10_WHO, "C22.9"))),
        synthetic.bundle(cancer("C34.1"), synthetic.condition(P, "h", synthetic.HCC, verification="refuted")),
    ],
)
def test_the_pair_without_hcc_still_warns_where_no_other_disease_explains_it(conditions):
    assert answer(conditions=conditions)[0]["indicator"] == "warning"


# -- ordinary names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "insulin isophane 70 UNT/ML / insulin, regular, human 30 UNT/ML Injectable Suspension [Humulin]",
        "NDA020503 200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler",
        "nitroglycerin 0.4 MG/ACTUAT Mucosal Spray",
        "epoetin alfa 4000 UNT/ML Injection [Epogen]",
        "alendronic acid 10 MG Oral Tablet",
        "Penicillin V Potassium 250 MG Oral Tablet",
        "sodium fluoride 0.0272 MG/MG Oral Gel",
        "Galantamine 4 MG Oral Tablet",
        "Abuse-Deterrent 12 HR oxycodone hydrochloride 10 MG Extended Release Oral Tablet",
        "ondansetron (ZOFRAN) 4 mg tablet",
        "docusate sodium (COLACE) 100 mg capsule",
        "multivitamin tablet",
        "aspirin 81 mg EC tablet",
        "pantoprazole (PROTONIX) 40 mg EC tablet",
        "cholecalciferol (vitamin D3) 25 mcg (1,000 unit) tablet",
        "carvedilol (COREG) 6.25 mg tablet",
        "sodium chloride 0.9 % flush 10 mL",
        "entecavir (BARACLUDE) 0.5 mg tablet",
        "acetaminophen (TYLENOL) 325 mg tablet",
        "pen needle, diabetic 32 gauge",
        "losartan (COZAAR) 50 mg tablet",
        "levothyroxine (SYNTHROID) 50 mcg tablet",
        "magnesium oxide 400 mg tablet",
        "Pantoprazol 40 mg magensaftresistente Tablette",
        "Bisoprolol-ratiopharm 5 mg Filmtabletten",
        "Ramipril 1A Pharma 5 mg",
        "Metoprolol succinat AL 95 mg Retardtabletten",
    ],
)
def test_ordinary_names_are_known_to_be_none_of_the_rules(name):
    assert names_other_drugs_only(name)


@pytest.mark.parametrize(
    "name",
    [
        "ramipril (DELIX PLUS) 5 mg",
        "candesartan (Blopress comp)",
        "Losartan 100/25 mg tablet",
        "Ramipril 5 mg/25 mg",
        "Losartan V",
        "Wundermittel (losartan)",
        "(COZAAR) 50 mg tablet",
        "Losartan comp ratiopharm 50 mg",
        "lactulose syrup",
        "rifaximin (XIFAXAN) 550 mg tablet",
        "furosemide (LASIX) 40 mg tablet",
        "apixaban (ELIQUIS) 5 mg tablet",
        "heparin flush",
    ],
)
def test_no_name_that_may_hold_a_drug_of_the_rules_becomes_harmless(name):
    assert not names_other_drugs_only(name)
