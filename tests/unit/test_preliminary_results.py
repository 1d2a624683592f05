# SPDX-License-Identifier: Apache-2.0
"""A positive hepatitis test that is not final is told, and leaves it open whether there is an infection."""

from datetime import UTC, date, datetime, time

import pytest

from cds_service.suggestions import Suggester
from cds_service.texts import ENGLISH
from fhir_gateway import synthetic
from fhir_gateway.facts import patient_facts
from fhir_gateway.orders import Orderable
from fhir_gateway.systems import LOINC
from fhir_gateway.units import unit_converter
from model.eligibility.assess import Truth, assess
from model.eligibility.criterion import Severity
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, RegimenOrder
from model.patient_facts import SerologyTest

TODAY = date(2026, 11, 24)
DAY, DAY_BEFORE, DAY_AFTER = date(2026, 11, 20), date(2026, 11, 19), date(2026, 11, 21)
POSITIVE, NEGATIVE = "10828004", synthetic.NEGATIVE
ANTI_HCV, HCV_RNA, HBV_DNA = (LOINC, "16128-1"), (LOINC, "11259-9"), (LOINC, "29610-3")
CONVERTER = unit_converter()


def result(code, value=POSITIVE, *, on=DAY, status="preliminary"):
    name = f"{code[1]}-{on}-{status}"
    return synthetic.coded_result("p1", name, code, value, on=on) | {"status": status}


def record(*virology):
    prefetch = synthetic.record_of_hcc("p1", on=DAY) | {"virology": synthetic.bundle(*virology)}
    now = datetime.combine(TODAY, time(12), UTC)
    return patient_facts(prefetch, patient_id="p1", now=now, converter=CONVERTER)


def findings(facts):
    order = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB)
    return {each.criterion.identifier: each for each in assess(facts, order, today=TODAY).findings}


NEGATIVE_BEFORE = result(synthetic.HBSAG, NEGATIVE, on=DAY_BEFORE, status="final")
CORE_NEGATIVE = result(synthetic.ANTI_HBC, NEGATIVE, status="final")


@pytest.mark.parametrize("others", [(), (NEGATIVE_BEFORE,), (NEGATIVE_BEFORE, CORE_NEGATIVE)])
def test_a_preliminary_positive_hbsag_makes_hepatitis_b_unknown_with_its_day(others):
    facts = record(result(synthetic.HBSAG), *others)
    found = findings(facts)

    assert facts.result(SerologyTest.HBSAG) is None
    for identifier in ("R30", "R33"):
        assert (found[identifier].truth, found[identifier].severity) == (Truth.UNKNOWN, Severity.WARNING)
        assert "HBsAg preliminary positive on 2026-11-20" in "".join(map(str, found[identifier].reason))
        assert "Observation/5195-3-2026-11-20-preliminary" in found[identifier].sources
    assert "R32" not in found, "nothing says that it is past"
    assert found["R34"].truth is Truth.UNKNOWN
    unused = [each for each in facts.unused if each.name == "HBsAg"]
    assert any(each.reason == "it is not final" and each.source.on == DAY for each in unused)


def test_a_preliminary_positive_hbsag_asks_for_the_test_to_be_repeated():
    facts = record(result(synthetic.HBSAG), NEGATIVE_BEFORE, CORE_NEGATIVE)
    suggester = Suggester(patient_id="p1", facts=facts, texts=ENGLISH)

    assert Orderable.HBSAG in suggester.wanted(list(findings(facts).values()))


@pytest.mark.parametrize(
    "final",
    [
        result(synthetic.HBSAG, NEGATIVE, status="final"),
        result(synthetic.HBSAG, NEGATIVE, on=DAY_AFTER, status="corrected"),
    ],
)
def test_a_final_negative_result_that_takes_its_place_settles_it(final):
    facts = record(result(synthetic.HBSAG), final, CORE_NEGATIVE)

    assert facts.preliminary == ()
    assert findings(facts)["R33"].truth is Truth.MET
    assert "R30" not in findings(facts)


def test_a_final_positive_result_is_no_longer_in_doubt():
    facts = record(result(synthetic.HBSAG), result(synthetic.HBSAG, status="final"))

    assert findings(facts)["R33"].truth is Truth.MET


@pytest.mark.parametrize("virus", [{"status": "registered"}, {"status": "cancelled"}])
def test_what_is_only_registered_or_cancelled_says_nothing(virus):
    facts = record(result(synthetic.HBSAG) | virus, CORE_NEGATIVE)

    assert facts.preliminary == ()


def test_a_preliminary_negative_result_makes_nothing_known():
    facts = record(result(synthetic.HBSAG, NEGATIVE))

    assert facts.preliminary == ()
    assert findings(facts)["R33"].truth is Truth.UNKNOWN
    assert [each.reason for each in facts.unused if each.name == "HBsAg"] == ["it is not final"]


def test_preliminary_hbv_dna_beside_negative_hbsag_keeps_hepatitis_b_possible():
    facts = record(result(HBV_DNA), result(synthetic.HBSAG, NEGATIVE, status="final"), CORE_NEGATIVE)
    found = findings(facts)["R30"]

    assert (found.truth, found.severity) == (Truth.UNKNOWN, Severity.WARNING)
    assert "HBV DNA (qualitative) preliminary positive on 2026-11-20" in "".join(map(str, found.reason))


@pytest.mark.parametrize("code", [ANTI_HCV, HCV_RNA])
def test_a_preliminary_positive_test_on_hepatitis_c_keeps_it_possible(code):
    negative = result(ANTI_HCV, NEGATIVE, on=DAY_BEFORE, status="final")
    positive_b = result(synthetic.HBSAG, status="final")

    found = findings(record(result(code), negative, positive_b))["R34"]

    assert found.truth is Truth.UNKNOWN
    assert "preliminary positive on 2026-11-20" in "".join(map(str, found.reason))


def load(code, value, *, on=DAY, status="preliminary", comparator=None):
    observation = synthetic.laboratory_value("p1", f"{code}-{on}-{status}", code, value, "[IU]/mL", on=on)
    if comparator:
        observation["valueQuantity"]["comparator"] = comparator
    return observation | {"status": status}


HBV_LOAD, HCV_LOAD = "42595-9", "11011-4"
NEGATIVE_B = (result(synthetic.HBSAG, NEGATIVE, status="final"), CORE_NEGATIVE)


def test_a_preliminary_load_of_hbv_keeps_hepatitis_b_possible():
    facts = record(load(HBV_LOAD, 5000), *NEGATIVE_B)
    found = findings(facts)["R30"]

    assert (found.truth, found.severity) == (Truth.UNKNOWN, Severity.WARNING)
    assert "HBV DNA 5000 [IU]/mL, preliminary on 2026-11-20" in "".join(map(str, found.reason))
    assert found.sources[-1] == "Observation/42595-9-2026-11-20-preliminary"
    assert "R32" not in findings(facts)


@pytest.mark.parametrize(
    "loads",
    [
        (load(HBV_LOAD, 20, comparator="<"),),
        (load(HBV_LOAD, 5000), load(HBV_LOAD, 20, on=DAY_AFTER, status="final", comparator="<")),
        (load(HBV_LOAD, 5000) | {"status": "cancelled"},),
    ],
)
def test_a_load_that_was_not_detected_is_outdated_or_cancelled_says_nothing(loads):
    facts = record(*loads, *NEGATIVE_B)

    assert facts.preliminary_labs == ()
    assert "R30" not in findings(facts)


def test_a_preliminary_load_of_hcv_keeps_hepatitis_c_possible():
    antibody = result(ANTI_HCV, NEGATIVE, status="final")

    found = findings(record(load(HCV_LOAD, 7000), antibody, result(synthetic.HBSAG, status="final")))["R34"]

    assert found.truth is Truth.UNKNOWN
    assert "HCV RNA 7000 [IU]/mL, preliminary on 2026-11-20" in "".join(map(str, found.reason))
