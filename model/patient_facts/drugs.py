# SPDX-License-Identifier: Apache-2.0
"""Drugs that matter to the rules, why they matter, and which of them are taken or were."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model.patient_facts.laboratory import Quantity
from model.patient_facts.sources import Source


class DrugRole(StrEnum):
    """Why a drug matters here."""

    CHECKPOINT_INHIBITOR = "immune checkpoint inhibitor"
    ANTI_ANGIOGENIC = "anti-angiogenic drug"
    ANTICOAGULANT = "anticoagulant"
    DIURETIC = "diuretic"
    ENCEPHALOPATHY_DRUG = "drug against hepatic encephalopathy"
    HBV_ANTIVIRAL = "antiviral against hepatitis B"
    BETA_BLOCKER = "non-selective beta-blocker"
    ANTIPLATELET = "antiplatelet drug"
    CORTICOSTEROID = "corticosteroid"
    IMMUNOSUPPRESSANT = "immunosuppressant"


class Drug(StrEnum):
    """Ingredients that are recognised, by their international nonproprietary names.

    The members that begin with OTHER stand for a drug of which only the group is told, as by an ATC code.
    """

    ATEZOLIZUMAB = "atezolizumab"
    DURVALUMAB = "durvalumab"
    TREMELIMUMAB = "tremelimumab"
    NIVOLUMAB = "nivolumab"
    IPILIMUMAB = "ipilimumab"
    PEMBROLIZUMAB = "pembrolizumab"
    TISLELIZUMAB = "tislelizumab"
    TORIPALIMAB = "toripalimab"
    SINTILIMAB = "sintilimab"
    CAMRELIZUMAB = "camrelizumab"
    PENPULIMAB = "penpulimab"
    OTHER_CHECKPOINT_INHIBITOR = "another checkpoint inhibitor"
    BEVACIZUMAB = "bevacizumab"
    RAMUCIRUMAB = "ramucirumab"
    LENVATINIB = "lenvatinib"
    SORAFENIB = "sorafenib"
    REGORAFENIB = "regorafenib"
    CABOZANTINIB = "cabozantinib"
    RIVOCERANIB = "rivoceranib"
    ANLOTINIB = "anlotinib"
    OTHER_ANTI_ANGIOGENIC = "another anti-angiogenic drug"
    WARFARIN = "warfarin"
    PHENPROCOUMON = "phenprocoumon"
    ACENOCOUMAROL = "acenocoumarol"
    APIXABAN = "apixaban"
    RIVAROXABAN = "rivaroxaban"
    DABIGATRAN = "dabigatran"
    EDOXABAN = "edoxaban"
    ENOXAPARIN = "enoxaparin"
    DALTEPARIN = "dalteparin"
    TINZAPARIN = "tinzaparin"
    NADROPARIN = "nadroparin"
    CERTOPARIN = "certoparin"
    FONDAPARINUX = "fondaparinux"
    HEPARIN = "heparin"
    ARGATROBAN = "argatroban"
    BIVALIRUDIN = "bivalirudin"
    OTHER_ANTICOAGULANT = "another anticoagulant"
    SPIRONOLACTONE = "spironolactone"
    EPLERENONE = "eplerenone"
    FUROSEMIDE = "furosemide"
    TORSEMIDE = "torsemide"
    BUMETANIDE = "bumetanide"
    AMILORIDE = "amiloride"
    TRIAMTERENE = "triamterene"
    HYDROCHLOROTHIAZIDE = "hydrochlorothiazide"
    CHLORTHALIDONE = "chlorthalidone"
    INDAPAMIDE = "indapamide"
    XIPAMIDE = "xipamide"
    METOLAZONE = "metolazone"
    OTHER_DIURETIC = "another diuretic"
    LACTULOSE = "lactulose"
    LACTITOL = "lactitol"
    RIFAXIMIN = "rifaximin"
    ORNITHINE_ASPARTATE = "ornithine aspartate"
    ENTECAVIR = "entecavir"
    TENOFOVIR_DISOPROXIL = "tenofovir disoproxil"
    TENOFOVIR_ALAFENAMIDE = "tenofovir alafenamide"
    LAMIVUDINE = "lamivudine"
    ADEFOVIR = "adefovir"
    TELBIVUDINE = "telbivudine"
    OTHER_HBV_ANTIVIRAL = "another antiviral against hepatitis B"
    PROPRANOLOL = "propranolol"
    NADOLOL = "nadolol"
    CARVEDILOL = "carvedilol"
    ASPIRIN = "aspirin"
    CLOPIDOGREL = "clopidogrel"
    TICAGRELOR = "ticagrelor"
    PRASUGREL = "prasugrel"
    OTHER_ANTIPLATELET = "another inhibitor of platelet aggregation"
    PREDNISONE = "prednisone"
    PREDNISOLONE = "prednisolone"
    METHYLPREDNISOLONE = "methylprednisolone"
    DEXAMETHASONE = "dexamethasone"
    HYDROCORTISONE = "hydrocortisone"
    BUDESONIDE = "budesonide"
    OTHER_CORTICOSTEROID = "another corticosteroid"
    TACROLIMUS = "tacrolimus"
    CICLOSPORIN = "ciclosporin"
    MYCOPHENOLATE = "mycophenolate"
    SIROLIMUS = "sirolimus"
    EVEROLIMUS = "everolimus"
    AZATHIOPRINE = "azathioprine"
    INFLIXIMAB = "infliximab"
    ADALIMUMAB = "adalimumab"
    VEDOLIZUMAB = "vedolizumab"
    USTEKINUMAB = "ustekinumab"
    RITUXIMAB = "rituximab"
    METHOTREXATE = "methotrexate"
    LEFLUNOMIDE = "leflunomide"
    OTHER_IMMUNOSUPPRESSANT = "another immunosuppressant"

    @property
    def role(self) -> DrugRole:
        """Why this drug matters here."""
        return _ROLES[self]


_DRUGS = {
    DrugRole.CHECKPOINT_INHIBITOR: (
        Drug.ATEZOLIZUMAB,
        Drug.DURVALUMAB,
        Drug.TREMELIMUMAB,
        Drug.NIVOLUMAB,
        Drug.IPILIMUMAB,
        Drug.PEMBROLIZUMAB,
        Drug.TISLELIZUMAB,
        Drug.TORIPALIMAB,
        Drug.SINTILIMAB,
        Drug.CAMRELIZUMAB,
        Drug.PENPULIMAB,
        Drug.OTHER_CHECKPOINT_INHIBITOR,
    ),
    DrugRole.ANTI_ANGIOGENIC: (
        Drug.BEVACIZUMAB,
        Drug.RAMUCIRUMAB,
        Drug.LENVATINIB,
        Drug.SORAFENIB,
        Drug.REGORAFENIB,
        Drug.CABOZANTINIB,
        Drug.RIVOCERANIB,
        Drug.ANLOTINIB,
        Drug.OTHER_ANTI_ANGIOGENIC,
    ),
    DrugRole.ANTICOAGULANT: (
        Drug.WARFARIN,
        Drug.PHENPROCOUMON,
        Drug.ACENOCOUMAROL,
        Drug.APIXABAN,
        Drug.RIVAROXABAN,
        Drug.DABIGATRAN,
        Drug.EDOXABAN,
        Drug.ENOXAPARIN,
        Drug.DALTEPARIN,
        Drug.TINZAPARIN,
        Drug.NADROPARIN,
        Drug.CERTOPARIN,
        Drug.FONDAPARINUX,
        Drug.HEPARIN,
        Drug.ARGATROBAN,
        Drug.BIVALIRUDIN,
        Drug.OTHER_ANTICOAGULANT,
    ),
    DrugRole.DIURETIC: (
        Drug.SPIRONOLACTONE,
        Drug.EPLERENONE,
        Drug.FUROSEMIDE,
        Drug.TORSEMIDE,
        Drug.BUMETANIDE,
        Drug.AMILORIDE,
        Drug.TRIAMTERENE,
        Drug.HYDROCHLOROTHIAZIDE,
        Drug.CHLORTHALIDONE,
        Drug.INDAPAMIDE,
        Drug.XIPAMIDE,
        Drug.METOLAZONE,
        Drug.OTHER_DIURETIC,
    ),
    DrugRole.ENCEPHALOPATHY_DRUG: (
        Drug.LACTULOSE,
        Drug.LACTITOL,
        Drug.RIFAXIMIN,
        Drug.ORNITHINE_ASPARTATE,
    ),
    DrugRole.HBV_ANTIVIRAL: (
        Drug.ENTECAVIR,
        Drug.TENOFOVIR_DISOPROXIL,
        Drug.TENOFOVIR_ALAFENAMIDE,
        Drug.LAMIVUDINE,
        Drug.ADEFOVIR,
        Drug.TELBIVUDINE,
        Drug.OTHER_HBV_ANTIVIRAL,
    ),
    DrugRole.BETA_BLOCKER: (Drug.PROPRANOLOL, Drug.NADOLOL, Drug.CARVEDILOL),
    DrugRole.ANTIPLATELET: (
        Drug.ASPIRIN,
        Drug.CLOPIDOGREL,
        Drug.TICAGRELOR,
        Drug.PRASUGREL,
        Drug.OTHER_ANTIPLATELET,
    ),
    DrugRole.CORTICOSTEROID: (
        Drug.PREDNISONE,
        Drug.PREDNISOLONE,
        Drug.METHYLPREDNISOLONE,
        Drug.DEXAMETHASONE,
        Drug.HYDROCORTISONE,
        Drug.BUDESONIDE,
        Drug.OTHER_CORTICOSTEROID,
    ),
    DrugRole.IMMUNOSUPPRESSANT: (
        Drug.TACROLIMUS,
        Drug.CICLOSPORIN,
        Drug.MYCOPHENOLATE,
        Drug.SIROLIMUS,
        Drug.EVEROLIMUS,
        Drug.AZATHIOPRINE,
        Drug.INFLIXIMAB,
        Drug.ADALIMUMAB,
        Drug.VEDOLIZUMAB,
        Drug.USTEKINUMAB,
        Drug.RITUXIMAB,
        Drug.METHOTREXATE,
        Drug.LEFLUNOMIDE,
        Drug.OTHER_IMMUNOSUPPRESSANT,
    ),
}
_ROLES = {drug: role for role, drugs in _DRUGS.items() for drug in drugs}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveDrug:
    """A recognised drug on the patient's current medication list."""

    drug: Drug
    source: Source
    daily_dose: Quantity | None = None
    """In mg per day, where one plain dosage states it; None where it cannot be told."""
    is_systemic: bool | None = None
    """By its route: False for skin, eye, lung, joint ...; None where no route that we know is stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastDrug:
    """A recognised drug that was ordered before and is so no longer, or a dose that was given."""

    drug: Drug
    source: Source
    was_given: bool = False
    """Whether the record says that a dose was given (MedicationAdministration), and not only ordered."""
