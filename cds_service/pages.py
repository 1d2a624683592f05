# SPDX-License-Identifier: Apache-2.0
"""The page that a card's source leads to: what is checked, on which grounds, and what is not."""

from __future__ import annotations

from flask import Blueprint, render_template_string

from model.eligibility.regimens import CHECKED, CRITERIA, NOT_CHECKED, REGIMENS, RULES_VERSION

_ABOUT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>HCC-CDS: what is checked</title>
<h1>HCC-CDS: what is checked</h1>
<p>Displays guideline- and trial-based considerations for systemic therapy of adults with hepatocellular
carcinoma, computed from the patient's record with all inputs shown. The software does not select, order or
exclude treatment. Not for clinical use: clinicians have not signed off rules {{ version }}.</p>
<h2>Regimens</h2>
<ul>{% for regimen in regimens %}<li>{{ regimen.name }}: {{ regimen.trial }}</li>{% endfor %}</ul>
<h2>Criteria</h2>
<table>
<thead><tr><th>Rule<th>Criterion<th>If not met<th>If unknown<th>Basis<th>Strength<th>Certainty</thead>
<tbody>
{% for each in criteria %}<tr><td>{{ each.identifier }}<td>{{ each.statement }}<td>{{ each.not_met }}
<td>{{ each.unknown }}<td>{{ each.basis }}<td>{{ each.strength }}<td>{{ each.certainty }}
{% endfor %}</tbody>
</table>
<p>Certainty: S, read at the source; MC, well known but not read there; —, our own design.</p>
<h2>Scope</h2>
<p>Checked: {{ checked | join(", ") }}.</p>
<p><strong>Not checked by this version:</strong> {{ not_checked | join(", ") }}.</p>
</html>
"""


def about_page() -> Blueprint:
    """Return the page `/about`; it holds nothing of any patient and needs no token."""
    pages = Blueprint("pages", __name__)

    @pages.get("/about")
    def about() -> str:
        return render_template_string(
            _ABOUT,
            version=RULES_VERSION,
            regimens=REGIMENS,
            criteria=CRITERIA,
            checked=CHECKED,
            not_checked=NOT_CHECKED,
        )

    return pages
