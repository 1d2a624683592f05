# SPDX-License-Identifier: Apache-2.0
"""The page that a card leads to: what is checked, on which grounds, and what is not."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from flask import Blueprint, render_template_string, request
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from werkzeug.exceptions import NotFound

from cds_service.rules_page import rules_page
from model.eligibility.rulebook import RULE_BOOK, RuleBook
from model.patient_facts import RecordWindows

_ABOUT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>HCC-CDS: what is checked</title>
<style>
  body { font: 16px/1.5 sans-serif; max-width: 50em; margin: 1em auto; padding: 0 1em; }
  h4:target { background: #ffd; outline: .4em solid #ffd; }
  table { border-collapse: collapse; }
  th, td { border: 1px solid #999; padding: .2em .6em; text-align: left; }
</style>
<p>Displays guideline- and trial-based considerations for systemic therapy of adults with hepatocellular
carcinoma, computed from the patient's record with all inputs shown.</p>
{{ rules }}
</html>
"""

_CRITERION_HEADING, _CHAPTER_HEADING = "h4", "h2"


def about_page(book: RuleBook = RULE_BOOK, windows: RecordWindows | None = None) -> Blueprint:
    """Return the page `/about`, for the rules in use, and `/about?rules=VERSION`, which cards lead to.

    It holds nothing of any patient and needs no token. A card of older rules leads to a page that is not
    there any more rather than to rules that it does not rest on.
    """
    pages = Blueprint("pages", __name__)

    @functools.cache
    def rules() -> Markup:
        # When somebody asks: it takes as long as all else that the application is built of.
        return Markup(_rendered(rules_page(book, windows)))  # noqa: S704 - rendered without raw HTML

    @pages.get("/about")
    def about() -> str:
        if request.args.get("rules", book.version) != book.version:
            raise NotFound
        return render_template_string(_ABOUT, rules=rules())

    return pages


def _rendered(markdown: str) -> str:
    """Return `markdown` as HTML in which `#R10` is the place of the criterion R10.

    Chapters have their words as places, such as `#under-treatment`.
    """
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(markdown)
    _name_places(tokens)
    return str(renderer.renderer.render(tokens, renderer.options, {}))


def _name_places(tokens: Sequence[Token]) -> None:
    for heading, words in itertools.pairwise(tokens):
        if heading.type == "heading_open" and heading.tag == _CRITERION_HEADING:
            heading.attrSet("id", words.content.split(":")[0])
        elif heading.type == "heading_open" and heading.tag == _CHAPTER_HEADING:
            heading.attrSet("id", "-".join(words.content.lower().split()))
