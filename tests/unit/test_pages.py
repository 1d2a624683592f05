# SPDX-License-Identifier: Apache-2.0
"""The page of the rules that cards lead to."""

import re
from dataclasses import replace

import pytest
from flask import Flask

from cds_service.pages import about_page
from model.eligibility.criteria.catalogue import CRITERIA
from model.eligibility.criterion import RULES_VERSION
from model.eligibility.rulebook import RULE_BOOK, ThresholdChange, site_rule_book


def client(book=RULE_BOOK):
    app = Flask(__name__)
    app.register_blueprint(about_page(book))
    return app.test_client()


def test_each_criterion_has_its_place_by_its_identifier():
    page = client().get("/about").text

    assert re.findall(r'<h4 id="([^"]+)">([^:]+):', page) == [
        (each.identifier, each.identifier) for each in CRITERIA
    ]
    assert RULE_BOOK.digest in page
    assert "Not for clinical use before clinicians have signed it" in page


def test_the_page_shows_the_limits_of_the_site():
    book = site_rule_book(
        RULE_BOOK, thresholds=[ThresholdChange(criterion="R28", value=60.0, threshold="least")]
    )

    page = client(book).get("/about").text

    assert "Platelets are at least 60 ×10⁹/L" in page
    assert book.digest in page


def test_a_card_of_these_rules_finds_them_and_one_of_other_rules_finds_no_page():
    assert client().get(f"/about?rules={RULES_VERSION}").status_code == 200
    assert client().get("/about?rules=2020.01").status_code == 404
    assert client(replace(RULE_BOOK, version="2020.01")).get("/about?rules=2020.01").status_code == 200


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>"])
def test_words_of_the_settings_are_text_on_the_page(hostile):
    criterion = next(each for each in CRITERIA if not each.fixed)
    kept = tuple(each for each in RULE_BOOK.criteria if each is not criterion)
    book = replace(RULE_BOOK, criteria=kept, off=((criterion, hostile),))

    page = client(book).get("/about").text

    assert hostile not in page
    assert hostile.split(">")[0].replace("<", "&lt;") in page
