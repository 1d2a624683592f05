# SPDX-License-Identifier: Apache-2.0
"""The rule book: what it carries, what a site may change in it, and the page that is signed."""

import tomllib

import pytest
from click.testing import CliRunner

from cds_service.cli import hcc_cds
from cds_service.config import Config, load_config
from cds_service.rules_page import rules_page
from model.eligibility.assess import Quoted, Truth, assess
from model.eligibility.criterion import Response, Severity, Strength
from model.eligibility.finding import silent
from model.eligibility.regimens import ATEZOLIZUMAB_BEVACIZUMAB, RegimenOrder
from model.eligibility.rulebook import RULE_BOOK, SwitchedOff, ThresholdChange, site_rule_book
from model.errors import ConfigError
from tests.clinical.records import TODAY, facts_of

ORDER = RegimenOrder(regimen=ATEZOLIZUMAB_BEVACIZUMAB)


def finding(identifier, facts, book=RULE_BOOK):
    found = [
        f
        for f in assess(facts, ORDER, today=TODAY, book=book).findings
        if f.criterion.identifier == identifier
    ]
    return found[0] if found else None


def said(found):
    return "".join(part.text if isinstance(part, Quoted) else part for part in found.reason)


def test_every_criterion_carries_what_a_reviewer_needs():
    for each in RULE_BOOK.criteria:
        assert all((each.statement, each.topic, each.fact, each.citations)), each.identifier
        assert each.ask or each.unknown is Severity.INFO, each.identifier
        assert (each.graver is None) == (each.graver_when == ""), each.identifier
        assert "{" not in each.statement + each.graver_when, each.identifier
        assert not each.statement.endswith("."), each.identifier
        assert len({limit.name for limit in each.thresholds}) == len(each.thresholds), each.identifier


def test_what_is_outside_a_trial_is_never_called_a_contraindication():
    words = " ".join([rules_page(RULE_BOOK), *(each.statement for each in RULE_BOOK.criteria)]).lower()

    # Said where ASCO names what to give when the combinations are contraindicated, and to deny it.
    allowed = ("it does not say that the\n  regimen is contraindicated", "combinations are contraindicated")
    for each in allowed:
        words = words.replace(each, "")
    assert "contraindicat" not in words


def test_only_labels_guidelines_trials_and_choices_of_safety_stop_a_regimen():
    stopping = [each for each in RULE_BOOK.criteria if each.not_met is Severity.CRITICAL]

    assert {"R02", "R11", "R12", "R18", "R20b", "R22", "R23", "R25", "R26", "R27", "R28", "R30", "R40"} <= {
        each.identifier for each in stopping
    }
    assert {each.strength for each in stopping} <= {Strength.LABEL, Strength.GUIDELINE, Strength.TRIAL}


@pytest.mark.parametrize("identifier", ["R04", "R10", "R24", "R33"])
def test_what_must_be_known_first_is_a_warning_when_it_is_not(identifier):
    assert RULE_BOOK.criterion(identifier).unknown is Severity.WARNING


@pytest.mark.parametrize("identifier", ["R08", "R53", "R63", "R70", "R71"])
def test_what_only_informs_stays_information(identifier):
    criterion = RULE_BOOK.criterion(identifier)

    assert criterion.response is Response.INFO
    assert criterion.graver is None
    assert criterion.unknown is Severity.INFO


def test_the_digest_is_the_same_every_time_and_changes_with_a_limit_and_with_a_criterion_off():
    again = site_rule_book(RULE_BOOK)
    other_limit = site_rule_book(RULE_BOOK, thresholds=[ThresholdChange(criterion="R28", value=50)])
    without = site_rule_book(RULE_BOOK, off=[SwitchedOff(criterion="R63")])

    assert again.digest == RULE_BOOK.digest
    assert len({RULE_BOOK.digest, other_limit.digest, without.digest}) == 3


def test_silence_is_told_of_the_criterion_in_use():
    published = RULE_BOOK.criterion("R28")
    changes = [ThresholdChange(criterion="R28", value=50)]
    in_use = site_rule_book(RULE_BOOK, thresholds=changes).criterion("R28")

    assert silent(published).criterion is published
    assert silent(in_use).criterion is in_use
    assert silent(in_use, complete=False) != silent(in_use)


def test_a_limit_of_the_site_decides_and_the_finding_says_so():
    facts = facts_of(["HCC confirmed and active", "platelets 60 10*9/L"])
    book = site_rule_book(RULE_BOOK, thresholds=[ThresholdChange(criterion="R28", value=55)])

    assert finding("R28", facts).truth is Truth.NOT_MET
    changed = finding("R28", facts, book)
    assert changed.truth is Truth.MET
    assert "Limit set by this site: 55 ×10⁹/L instead of 75 ×10⁹/L" in said(changed)
    assert changed.criterion.statement == "Platelets are at least 55 ×10⁹/L"
    assert book.changes == ("R28: least is 55 ×10⁹/L instead of 75 ×10⁹/L",)


def test_a_named_limit_is_the_one_that_changes():
    facts = facts_of(["HCC confirmed and active", "platelets 45 10*9/L"])
    book = site_rule_book(
        RULE_BOOK, thresholds=[ThresholdChange(criterion="R28", threshold="stop below", value=40)]
    )

    assert finding("R28", facts).severity is Severity.CRITICAL
    assert finding("R28", facts, book).severity is Severity.WARNING


def test_a_window_of_the_site_decides():
    facts = facts_of(["HCC confirmed and active", "procedures known", "endoscopy 200 days ago"])
    book = site_rule_book(RULE_BOOK, thresholds=[ThresholdChange(criterion="R10", value=365)])

    assert finding("R10", facts).truth is Truth.UNKNOWN
    assert finding("R10", facts, book).truth is Truth.MET


def test_a_criterion_that_is_off_is_not_asked_and_the_card_is_told():
    facts = facts_of(["HCC confirmed and active"])
    book = site_rule_book(
        RULE_BOOK, off=[SwitchedOff(criterion="R24", reason="urine is tested in the ward before each dose")]
    )

    assert finding("R24", facts, book) is None
    told = finding("D05", facts, book)
    assert (told.truth, told.severity) == (Truth.NOT_MET, Severity.INFO)
    assert "R24 (test of urine for protein: urine is tested in the ward before each dose)" in said(told)
    assert finding("D05", facts) is None


def test_a_criterion_that_is_off_and_does_not_concern_the_order_is_not_mentioned():
    book = site_rule_book(RULE_BOOK, off=[SwitchedOff(criterion="R62")])

    assert finding("D05", facts_of(["HCC confirmed and active"]), book) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"off": [SwitchedOff(criterion="R99")]}, "R99 is no criterion"),
        ({"off": [SwitchedOff(criterion="R63"), SwitchedOff(criterion="R63")]}, "named twice"),
        ({"off": [SwitchedOff(criterion="R01", reason="why not")]}, "R01 cannot be switched off"),
        ({"off": [SwitchedOff(criterion="D02", reason="why not")]}, "D02 cannot be switched off"),
        ({"off": [SwitchedOff(criterion="R40")]}, "R40 concerns safety and needs a reason"),
        ({"off": [SwitchedOff(criterion="R10", reason="  ")]}, "R10 concerns safety and needs a reason"),
        ({"thresholds": [ThresholdChange(criterion="R99", value=1)]}, "R99 is no criterion"),
        ({"thresholds": [ThresholdChange(criterion="R40", value=1)]}, "R40 has no limit"),
        (
            {"thresholds": [ThresholdChange(criterion="R28", threshold="most", value=1)]},
            "R28 has no limit of the name most",
        ),
        ({"thresholds": [ThresholdChange(criterion="R28", value=0)]}, "needs a number above 0"),
        ({"thresholds": [ThresholdChange(criterion="R28", value=float("nan"))]}, "needs a number above 0"),
        ({"thresholds": [ThresholdChange(criterion="R28", value=1)] * 2}, "is set twice"),
    ],
)
def test_a_change_that_does_not_fit_the_rule_book_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        site_rule_book(RULE_BOOK, **changes)


SETTINGS = """
[rules]
off = ["R63", "R24"]
reasons = [{ criterion = "R24", reason = "tested in the ward" }]

[[rules.thresholds]]
criterion = "R28"
value = 50
"""


def test_the_settings_make_the_sites_rule_book():
    book = Config.model_validate(tomllib.loads(SETTINGS)).rules.book()

    assert book.criterion("R28").threshold().value == 50
    assert [each.identifier for each, _ in book.off] == ["R63", "R24"]


@pytest.mark.parametrize(
    "text",
    [
        '[rules]\noff = ["R98"]\n',
        '[rules]\noff = ["R24"]\n',
        '[rules]\nreasons = [{ criterion = "R24", reason = "x" }]\n',
        '[[rules.thresholds]]\ncriterion = "R28"\nvalue = -1\n',
        '[[rules.thresholds]]\ncriterion = "R40"\nvalue = 3\n',
    ],
)
def test_settings_that_do_not_fit_the_rule_book_are_refused_at_start(tmp_path, text):
    file = tmp_path / "site.toml"
    file.write_text(text)

    with pytest.raises(ConfigError, match="rules"):
        load_config(file)


def test_the_page_has_every_criterion_with_its_sources_and_every_regimen():
    page = rules_page(RULE_BOOK)

    for each in RULE_BOOK.criteria:
        assert f"#### {each.identifier}: {each.topic}\n\n**{each.statement}.**" in page
        for citation in each.citations:
            assert str(citation) in page
        for limit in each.thresholds:
            assert f'Limit "{limit.name}": {limit}' in page
    for regimen in RULE_BOOK.regimens:
        assert f"### {regimen.name}\n" in page
    assert RULE_BOOK.digest in page
    assert RULE_BOOK.version in page


def test_the_page_says_what_the_site_changed(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text(SETTINGS)

    page = CliRunner().invoke(hcc_cds, ["--config", str(file), "rules"], catch_exceptions=False).output

    assert "- R28: least is 50 ×10⁹/L instead of 75 ×10⁹/L\n" in page
    assert "- R24 is switched off: tested in the ward\n" in page
    assert "- R63 is switched off\n" in page
    assert RULE_BOOK.digest not in page


def test_the_page_is_compared_with_a_file(tmp_path):
    file = tmp_path / "rules.md"
    file.write_text(rules_page(RULE_BOOK), encoding="utf-8")

    assert CliRunner().invoke(hcc_cds, ["rules", "--check", str(file)]).exit_code == 0
    file.write_text("something else", encoding="utf-8")
    with pytest.raises(ConfigError, match="make format"):
        CliRunner().invoke(hcc_cds, ["rules", "--check", str(file)], catch_exceptions=False)
