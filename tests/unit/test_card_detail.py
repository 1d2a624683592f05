# SPDX-License-Identifier: Apache-2.0
"""The detail of a card: read in ten seconds, nothing said twice, nothing that reads as its opposite."""

import importlib.util
import json
import re
from dataclasses import fields, is_dataclass, replace
from datetime import date, timedelta
from enum import Enum
from itertools import count
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import pytest
from flask import Flask
from markdown_it import MarkdownIt

from cds_service.pages import about_page
from model.eligibility.assess import assess
from model.eligibility.criterion import RULES_VERSION
from model.eligibility.finding import Finding, Quoted, Truth
from model.eligibility.monitoring import MONITORING
from model.eligibility.rulebook import RULE_BOOK, ThresholdChange, site_rule_book
from model.patient_facts import BloodPressureFact, PatientFacts, Source

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

RULES = f"https://cds.example/about?rules={RULES_VERSION}"


def finding(identifier, truth, headline="a headline", reason=("A reason.",), **more):
    criterion = RULE_BOOK.criterion(identifier)
    return Finding(criterion=criterion, truth=truth, headline=headline, reason=reason, **more)


def details(*findings):
    """Return the details of the cards on `findings` alone."""
    made = example.decision(example.SETTLED)
    eligibility = replace(made.eligibility, findings=findings)
    return [card["detail"] for card in example.cards(replace(made, eligibility=eligibility))]


def test_a_finding_is_a_bold_headline_its_reason_its_entries_and_one_source_behind_a_link():
    detail, _info = details(
        finding(
            "R28",
            Truth.NOT_MET,
            "platelets low",
            ("Too few.",),
            sources=("Observation/inr", "Observation/he"),
        )
    )

    line = next(each for each in detail.splitlines() if each.startswith("- "))
    assert line.startswith(
        "- **Platelets low.** Too few. From Observation/inr, Observation/he (2026-11-20). "
        f"*[R28](<{RULES}#R28>) {RULE_BOOK.criterion('R28').statement} (randomised trial: "
    )


def test_what_is_said_by_the_headline_is_not_said_again():
    detail, _info = details(
        finding("R28", Truth.NOT_MET, "score B", ("Score B.",)),
        finding("R29", Truth.NOT_MET, "score B", ("Score B: this would decide it.",)),
    )

    assert "**Score B.** *[R28]" in detail
    assert "**Score B.** This would decide it. *[R29]" in detail


def test_the_first_letter_of_a_reason_is_left_as_it_is():
    detail, _info = details(finding("R28", Truth.NOT_MET, "a grade", ("mALBI grade 2b.",)))

    assert "**A grade.** mALBI grade 2b." in detail


def test_what_is_unknown_comes_with_what_to_do_and_without_a_limit_that_decides_nothing_yet():
    detail, _info = details(finding("R61", Truth.UNKNOWN, "no record of body weight"))

    assert "**No record of body weight.** A reason. To do: record the body weight. *[R61]" in detail
    assert RULE_BOOK.criterion("R61").statement not in detail


def test_silence_that_only_informs_is_one_line_of_topics():
    (detail,) = details(
        *(finding(each, Truth.UNKNOWN, silent=True) for each in ("R12", "R40")),
        finding("R17", Truth.UNKNOWN, "dose of aspirin not known", sources=("MedicationRequest/1",)),
    )

    topics = "; ".join(RULE_BOOK.criterion(each).topic for each in ("R12", "R40"))
    assert f"**Nothing on record, which is no negative** (2): {topics}\n" in detail
    assert "- **Dose of aspirin not known.**" in detail, "what is not silence is told in full"


def test_what_is_only_to_be_done_is_one_line():
    (detail,) = details(*(finding(each, Truth.UNKNOWN, "not known") for each in ("R06", "R08")))

    asks = "; ".join(f"{RULE_BOOK.criterion(each).ask} ({each})" for each in ("R06", "R08"))
    assert f"**Not known, and to do** (2): {asks}\n" in detail
    assert "Nothing on record" not in detail


def test_what_is_met_is_one_line_of_names_that_does_not_read_as_its_opposite():
    (detail,) = details(finding("R51", Truth.MET), finding("R16", Truth.MET))

    against = "nothing speaks against treatment in R51 ascites; R16 anticoagulation"
    assert f"**Met** (2): {against}\n" in detail


def test_not_met_and_unknown_come_before_what_is_silent_and_met():
    (detail,) = details(
        finding("R51", Truth.MET),
        finding("R12", Truth.UNKNOWN, silent=True),
        finding("R17", Truth.UNKNOWN, "dose of aspirin not known", sources=("MedicationRequest/1",)),
        finding("R53", Truth.NOT_MET, "ALBI grade 2"),
    )

    places = [detail.index(each) for each in ("**Not met**", "**Unknown**", "**Nothing on", "**Met**")]
    assert places == sorted(places)


@pytest.mark.parametrize("name", example.VARIANTS)
def test_a_card_is_read_in_a_minute(name):
    score = "INVESTIGATIONAL"

    for card in example.written(**example.VARIANTS[name]):
        seen = " ".join(re.sub("<[^>]+>", " ", MarkdownIt().enable("table").render(card["detail"])).split())

        assert len(seen) < (3000 if score in seen or card["indicator"] != "info" else 2300)


def test_words_of_the_record_beside_what_is_met_are_shown_escaped():
    reason = ("Recorded.", Quoted(text="<b>*x*</b>"))

    (detail,) = details(finding("R01", Truth.MET, "HCC", reason))

    assert r"- **HCC.** Recorded.&lt;b&gt;\*x\*&lt;/b&gt;" in detail


def test_many_entries_are_counted_and_not_all_listed():
    sources = tuple(f"Condition/{number}" for number in range(9))

    detail, _info = details(finding("R28", Truth.NOT_MET, sources=sources))

    assert "Condition/5, +3." in detail
    assert "Condition/6" not in detail


def test_ten_findings_stay_short():
    patient = replace(
        example.facts(albumin=2.7, ascites=None), serology=(), dipstick=None, encephalopathy=None
    )

    warning, _info = example.written(patient)

    assert len(re.findall(r"^- \*\*", warning["detail"], re.MULTILINE)) >= 5
    assert len(warning["detail"]) < 4000


def test_what_is_to_be_watched_under_any_regimen_is_behind_a_link_to_where_it_stands():
    detail = example.written(example.SETTLED)[-1]["detail"]
    app = Flask("rules")
    app.register_blueprint(about_page())

    page = app.test_client().get(f"/about?rules={RULES_VERSION}").text

    assert f"[what to watch under treatment](<{RULES}#under-treatment>)" in detail
    _before, chapter = page.split('id="under-treatment"')
    for each in MONITORING:
        assert each.text.split(";")[0].split("(")[0] in chapter
    assert "No order of preference is meant" in detail


@pytest.mark.parametrize("launch", ["", "https://smart.example/launch"])
def test_links_lead_to_the_rules_and_where_configured_to_an_app_that_is_told_nothing_of_the_patient(launch):
    (card,) = example.written(example.SETTLED, patient_id="SECRET-1", smart_launch_url=launch)

    rules, *smart = card["links"]

    assert rules == {"label": "What is checked, and on which grounds", "url": RULES, "type": "absolute"}
    assert [each["url"] for each in smart] == ([launch] if launch else [])
    for each in smart:
        assert each["type"] == "smart"
        assert json.loads(each["appContext"]) == {"card": card["uuid"], "rules": RULES_VERSION}


def test_limits_of_the_site_stand_in_the_statement_and_change_the_digest():
    book = site_rule_book(RULE_BOOK, thresholds=[ThresholdChange(criterion="R10", value=90.0)])
    made = example.decision(example.SETTLED)
    eligibility = assess(example.SETTLED, example.WHOLE, today=example.TODAY, book=book)

    detail = example.cards(replace(made, eligibility=eligibility))[-1]["detail"]

    assert f"[R10](<{RULES}#R10>) {book.criterion('R10').statement}" in detail
    assert "90 days" in book.criterion("R10").statement
    assert book.digest[:12] in detail


def _filled(hint, numbers):
    """Return a value of that type: one of everything in it, and every source another day."""
    if get_origin(hint) is UnionType:
        hint = get_args(hint)[0]
    if hint is Source:
        number = next(numbers)
        return Source(reference=f"Any/{number}", on=date(2026, 1, 1) + timedelta(days=number), status="")
    if get_origin(hint) in (tuple, frozenset):
        return get_origin(hint)(_filled(each, numbers) for each in get_args(hint) if each is not Ellipsis)
    if hint is BloodPressureFact:
        return hint(systolic_mmhg=120.0, diastolic_mmhg=80.0, source=_filled(Source, numbers))
    if is_dataclass(hint):
        return hint(**{name: _filled(each, numbers) for name, each in get_type_hints(hint).items()})
    if issubclass(hint, Enum):
        return next(iter(hint))
    return date(2026, 1, 1) if hint is date else hint(1)


def test_the_day_is_told_of_whatever_part_of_the_record_decided():
    numbers = count()
    facts = _filled(PatientFacts, numbers)
    sources = tuple(f"Any/{number}" for number in range(next(numbers)))
    made = replace(example.decision(example.SETTLED), facts=facts)

    assert len(sources) > len(fields(PatientFacts)) / 2
    for number, source in enumerate(sources):
        told = finding("R28", Truth.NOT_MET, sources=(source,))
        eligibility = replace(made.eligibility, findings=(told,))
        detail = example.cards(replace(made, eligibility=eligibility))[0]["detail"]

        assert f"From {source} ({date(2026, 1, 1) + timedelta(days=number)})." in detail
