# SPDX-License-Identifier: Apache-2.0
"""What a card suggests to order, so that what is unknown becomes known. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cds_service.texts import Texts
from fhir_gateway.orders import CODES, Coding, Orderable, service_request
from model.eligibility.assess import Finding, Truth
from model.eligibility.criterion import Severity
from model.patient_facts import (
    Analyte,
    DiagnosisStatus,
    PatientFacts,
    SerologyFact,
    SerologyResult,
    SerologyTest,
)

_UUID_NAMESPACE = uuid.UUID("b9f322cb-f202-5a23-8c23-fac4fd9552ae")


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def stable_uuid(*content: object) -> str:
    """Return the uuid that always belongs to `content`, so that feedback can be joined to what was shown."""
    return str(uuid.uuid5(_UUID_NAMESPACE, _CANONICAL.encode(content)))


class Group(StrEnum):
    """What is ordered together, by one click; members are the labels of the suggestions."""

    ENDOSCOPY = "Order endoscopy: {names}"
    HEPATITIS = "Order hepatitis serology: {names}"
    URINE = "Order urine tests: {names}"
    PERFORMANCE = "Order: {names}"
    BLOOD = "Order laboratory tests: {names}"


_GROUPS = {
    Orderable.ENDOSCOPY: Group.ENDOSCOPY,
    Orderable.HBSAG: Group.HEPATITIS,
    Orderable.ANTI_HBC: Group.HEPATITIS,
    Orderable.HBV_DNA: Group.HEPATITIS,
    Orderable.HCV_ANTIBODY: Group.HEPATITIS,
    Orderable.HCV_RNA: Group.HEPATITIS,
    Orderable.URINE_PROTEIN: Group.URINE,
    Orderable.URINE_PROTEIN_24H: Group.URINE,
    Orderable.ECOG: Group.PERFORMANCE,
}
"""Everything else is `Group.BLOOD`."""

_CHILD_PUGH = (Orderable.BILIRUBIN, Orderable.ALBUMIN, Orderable.INR)

_RESOLVES: Mapping[str, tuple[Orderable, ...]] = {
    # Which orders answer a criterion of the rule book that is unknown. Ascites and encephalopathy are not
    # here: there is no code for an order that would tell them, so the card asks for them in words.
    "R02": _CHILD_PUGH,
    "R03": _CHILD_PUGH,
    "R04": _CHILD_PUGH,
    "R05": (Orderable.ECOG,),
    "R06": (Orderable.ECOG,),
    "R10": (Orderable.ENDOSCOPY,),
    "R24": (Orderable.URINE_PROTEIN,),
    "R28": (Orderable.PLATELETS,),
    "R29": (Orderable.INR,),
    "R31": (Orderable.HBV_DNA,),
    "R33": (Orderable.HBSAG, Orderable.ANTI_HBC),
    "R34": (Orderable.HCV_ANTIBODY,),
    "R52a": (Orderable.BILIRUBIN,),
    "R52b": (Orderable.AST,),
    "R52c": (Orderable.ALT,),
    "R52d": (Orderable.ALBUMIN,),
    "R52e": (Orderable.HAEMOGLOBIN,),
    "R52f": (Orderable.NEUTROPHILS,),
    "R52g": (Orderable.CREATININE,),
    "R52i": (Orderable.ALP,),
    "R53": (Orderable.BILIRUBIN, Orderable.ALBUMIN),
    "G01": (Orderable.AFP,),
}

_QUANTIFIED = ("R21", "R22")
"""Criteria on how much protein there is, once a test strip shows much."""

_MUCH_PROTEIN = 2
"""Crosses of a test strip from which a quantity is asked for (rule book R21)."""

_BASELINE = (Orderable.AST, Orderable.ALT, Orderable.ALP, Orderable.CREATININE, Orderable.TSH, Orderable.AFP)
"""Clinical reference 1.15: before the first cycle of a checkpoint inhibitor; AFP to compare with later."""

_ANALYTES = {
    Orderable.BILIRUBIN: Analyte.BILIRUBIN,
    Orderable.ALBUMIN: Analyte.ALBUMIN,
    Orderable.INR: Analyte.INR,
    Orderable.PLATELETS: Analyte.PLATELETS,
    Orderable.HAEMOGLOBIN: Analyte.HAEMOGLOBIN,
    Orderable.NEUTROPHILS: Analyte.NEUTROPHILS,
    Orderable.CREATININE: Analyte.CREATININE,
    Orderable.AST: Analyte.AST,
    Orderable.ALT: Analyte.ALT,
    Orderable.ALP: Analyte.ALP,
    Orderable.AFP: Analyte.AFP,
    Orderable.TSH: Analyte.TSH,
    Orderable.HBV_DNA: Analyte.HBV_DNA,
    Orderable.HCV_RNA: Analyte.HCV_RNA,
    Orderable.URINE_PROTEIN_24H: Analyte.URINE_PROTEIN_24H,
}

_TESTS = {
    Orderable.HBSAG: SerologyTest.HBSAG,
    Orderable.ANTI_HBC: SerologyTest.ANTI_HBC,
    Orderable.HCV_ANTIBODY: SerologyTest.ANTI_HCV,
    Orderable.HCV_RNA: SerologyTest.HCV_RNA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggester:
    """Writes the suggestions of the cards of one answer."""

    patient_id: str
    facts: PatientFacts
    texts: Texts
    drafted: frozenset[Coding] = frozenset()
    """What the clinician is ordering already."""

    def wanted(self, findings: Sequence[Finding], *, baseline: bool = False) -> dict[Orderable, bool]:
        """Return what `findings` ask to order, and whether it is recommended.

        Recommended is what a finding that warns cannot be settled without; the rest only informs.

        Parameters
        ----------
        baseline
            Also what is to be known before a first cycle.
        """
        wanted: dict[Orderable, bool] = {}
        for finding in findings:
            if finding.truth is Truth.MET:
                continue
            for orderable in self._asked_by(finding):
                if not self._is_settled(orderable):
                    grave = finding.severity is not Severity.INFO
                    wanted[orderable] = wanted.get(orderable, False) or grave
        # Without any laboratory value the record was hardly sent, and its baseline may well be there.
        for orderable in _BASELINE if baseline and self.facts.labs else ():
            if not self._is_settled(orderable):
                wanted.setdefault(orderable, False)
        return wanted

    def suggestions(self, wanted: Mapping[Orderable, bool]) -> list[dict[str, Any]]:
        """Return `wanted` as suggestions, one for what is ordered together, complete drafts in each."""
        groups: dict[Group, list[Orderable]] = {}
        for orderable in wanted:
            groups.setdefault(_GROUPS.get(orderable, Group.BLOOD), []).append(orderable)
        return [
            self._suggestion(group, orderables, is_recommended=any(wanted[each] for each in orderables))
            for group, orderables in groups.items()
        ]

    def _suggestion(
        self, group: Group, orderables: Sequence[Orderable], *, is_recommended: bool
    ) -> dict[str, Any]:
        say, reason = self.texts.say, self._reason()
        names = {each: say(each.value) for each in orderables}
        label = say(group.value, names=", ".join(names.values()))
        actions = [
            {
                "type": "create",
                "description": say("Order {name}", name=name),
                "resource": service_request(each, patient_id=self.patient_id, reason=reason, words=name),
            }
            for each, name in names.items()
        ]
        suggestion: dict[str, Any] = {"label": label, "uuid": stable_uuid(self.patient_id, label, actions)}
        # Several may be recommended: cds-resp-1 limits that for `at-most-one`, and our cards say `any`.
        return suggestion | ({"isRecommended": True} if is_recommended else {}) | {"actions": actions}

    def _reason(self) -> str:
        """Return the Condition that the orders are for: confirmed, and with an id to refer to."""
        hcc = self.facts.hcc
        if hcc.status is not DiagnosisStatus.CONFIRMED:
            return ""
        return next((each.reference for each in hcc.sources if "/" in each.reference), "")

    def _asked_by(self, finding: Finding) -> tuple[Orderable, ...]:
        """Return what to order on `finding`, which is not met or unknown."""
        identifier, facts = finding.criterion.identifier, self.facts
        if identifier in _QUANTIFIED:
            much = facts.dipstick is not None and facts.dipstick.grade.pluses >= _MUCH_PROTEIN
            return (Orderable.URINE_PROTEIN_24H,) if much else ()
        if finding.truth is Truth.NOT_MET:
            return ()
        if identifier == "R30":
            # Whether an antiviral is taken no test can tell; whether there is virus, in spite of a surface
            # antigen that was not found or is not certain, its DNA does.
            surface = facts.result(SerologyTest.HBSAG)
            in_doubt = surface is not None and surface.result is not SerologyResult.POSITIVE
            return (Orderable.HBV_DNA,) if in_doubt else ()
        if identifier == "R34":
            hcv = facts.result(SerologyTest.ANTI_HCV)
            if hcv is not None and hcv.result is SerologyResult.POSITIVE:
                return (Orderable.HCV_RNA,)
        return _RESOLVES.get(identifier, ())

    def _is_settled(self, orderable: Orderable) -> bool:
        return CODES[orderable] in self.drafted or _is_known(self.facts, orderable)


def without(wanted: Mapping[Orderable, bool], given: AbstractSet[Orderable]) -> dict[Orderable, bool]:
    """Return `wanted` less what another card of the answer suggests already."""
    return {orderable: grave for orderable, grave in wanted.items() if orderable not in given}


def _is_known(facts: PatientFacts, orderable: Orderable) -> bool:
    if (analyte := _ANALYTES.get(orderable)) is not None and facts.lab(analyte) is not None:
        return True
    if (test := _TESTS.get(orderable)) is not None and _is_answered(facts.result(test)):
        return True
    if orderable is Orderable.ECOG:
        return facts.ecog is not None
    return orderable is Orderable.URINE_PROTEIN and facts.dipstick is not None


def _is_answered(fact: SerologyFact | None) -> bool:
    """Whether a test has an answer that counts; what contradicts itself or is unclear is to be repeated."""
    return fact is not None and fact.result in _ANSWERS and not fact.is_outdated


_ANSWERS = (SerologyResult.POSITIVE, SerologyResult.NEGATIVE)
