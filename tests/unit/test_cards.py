# SPDX-License-Identifier: Apache-2.0
"""Cards: reasons first, unknown apart from not met, imaging last, nothing from outside unescaped."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from fhir.resources.R4B.servicerequest import ServiceRequest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.identity import NoImaging
from cds_service.markdown import escaped
from model.domain import (
    ModelStatus,
)
from model.eligibility.criterion import RULES_VERSION
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, NOT_CHECKED, RegimenOrder
from model.patient_facts import (
    Diagnosis,
    DiagnosisStatus,
    OtherCancer,
    SignFact,
    SignGrade,
    Unused,
)

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

DURVALUMAB_BEVACIZUMAB = example.DURVALUMAB_BEVACIZUMAB
HALF = example.HALF
SETTLED = example.SETTLED
VARIANTS = example.VARIANTS
source = example.source
facts = example.facts
written = example.written
assessment = example.assessment


def empties(value):
    if isinstance(value, dict):
        return [e for child in value.values() for e in empties(child)] + ([] if value else [value])
    if isinstance(value, list):
        return [e for child in value for e in empties(child)] + ([] if value else [value])
    return [value] if value in (None, "") else []


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
def test_the_first_card_lists_what_was_not_checked_and_no_card_passes_for_complete(name):
    first, *others = written(**VARIANTS[name])

    assert f"**Not checked by this version:** {NOT_CHECKED[0]}" in first["detail"]
    assert NOT_CHECKED[-1] in first["detail"]
    for card in others:
        assert "**Not everything is checked by this version;**" in card["detail"]
    for card in (first, *others):
        assert "not signed off by clinicians" in card["detail"]


def test_where_nothing_is_to_be_acted_on_one_info_card_does_not_sound_like_an_all_clear():
    (card,) = written(SETTLED)

    assert card["indicator"] == "info"
    assert re.fullmatch(
        r"No exclusion found in available data; \d+ of \d+ criteria not known – Atezolizumab \+ bevacizumab",
        card["summary"],
    )
    assert "| albumin | 4.1 g/dL | 2026-11-20 | 1 | Observation/albumin (final) |" in card["detail"]
    assert "eligible" not in json.dumps(card).lower()


def test_order_select_is_silent_where_nothing_is_to_be_acted_on_and_no_score_shows():
    recorded = replace(SETTLED, gaps=("1 Observation could not be read",))
    lacking = replace(SETTLED, dipstick=None)

    assert written(SETTLED, silent_when_met=True) == []
    assert len(written(SETTLED)) == 1, "when it is signed, what is not known is told"
    assert len(written(SETTLED, silent_when_met=True, imaging=assessment())) == 1
    assert len(written(recorded, silent_when_met=True)) == 1
    assert len(written(lacking, silent_when_met=True)) == 2
    assert len(written(SETTLED, silent_when_met=True, order=HALF)) == 1
    assert len(written(SETTLED, silent_when_met=True, order=None)) == 1, "whoever looks is told"


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

    (suggestion,) = [each for each in warning["suggestions"] if "laboratory" in each["label"]]
    (action,) = suggestion["actions"]
    assert action["type"] == "create"
    assert ServiceRequest.model_validate(action["resource"]).subject.reference == "Patient/p1"
    assert action["resource"]["code"]["coding"][0]["code"] == "1751-7"


def test_nothing_is_suggested_for_what_no_order_can_tell():
    warning, _info = written(replace(SETTLED, ascites=None))

    assert "state whether there is ascites" in warning["detail"]
    assert "suggestions" not in warning


def test_no_order_is_suggested_on_two_cards_of_one_answer():
    answer = written(facts(albumin=None, ascites=None))

    orders = [
        action["resource"]["code"]["coding"][0]["code"]
        for card in answer
        for suggestion in card["suggestions"]
        for action in suggestion["actions"]
    ]
    assert len(answer) == 2
    assert len(set(orders)) == len(orders)
    assert {"1751-7", "76009000", "5195-3", "1834-1"} <= set(orders)


def test_patient_view_suggests_nothing_as_nothing_is_being_ordered():
    (card,) = written(facts(albumin=None), order=None)

    assert "suggestions" not in card


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

    card, _info = written(facts(unused=(unused,), gaps=("1 Observation could not be read",)))

    assert "albumin: it has no unit (Observation/x (final), 2026-11-20)" in card["detail"]
    assert "1 Observation could not be read" in card["detail"]


# -- text from outside -----------------------------------------------------------------------------

_HOSTILE = "<img src=x onerror=alert(1)> [click](javascript:alert(1)) ![x](http://e) **b** | www.evil.example"


def test_record_text_is_escaped_on_the_card():
    other = OtherCancer(
        meaning="secondary malignancy of the liver", text=_HOSTILE, source=source("Condition/m")
    )

    (warning, _info) = written(facts(hcc=Diagnosis(status=DiagnosisStatus.REFUTED), other_cancers=(other,)))

    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(warning["detail"])
    assert "<img" not in html
    assert set(re.findall(r'href="([^"#]*)', html)) == {"https://cds.example/about?rules=" + RULES_VERSION}
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

    _warning, card = written(facts(other_cancers=others))

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
    *_, card = written(order=DURVALUMAB_BEVACIZUMAB, imaging=assessment())

    assert card["summary"] == "No criteria for this combination – Durvalumab + bevacizumab"
    assert card["indicator"] == "info"
    assert "0.62" not in card["detail"]
    assert "what to watch under treatment" not in card["detail"]


def test_an_order_that_may_be_anothers_is_warned_of():
    warning, _info = written(order=RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True))

    assert warning["summary"].startswith("Cannot be assessed: whose order it is, is not certain;")
    assert warning["summary"].endswith(" more – Atezolizumab + bevacizumab")


def test_a_summary_drops_whole_headlines_and_never_half_of_one():
    patient = facts(ascites=None, hcc=Diagnosis(status=DiagnosisStatus.CONFLICTING), drugs_complete=False)
    order = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB, subject_in_doubt=True)

    warning, _info = written(patient, order=order)

    assert len(warning["summary"]) < 140
    assert "…" not in warning["summary"]
    assert "whose order it is, is not certain; " in warning["summary"]
    assert re.search(r"; \d more – Atezolizumab \+ bevacizumab$", warning["summary"])


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
