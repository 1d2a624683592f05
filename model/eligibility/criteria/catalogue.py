# SPDX-License-Identifier: Apache-2.0
"""Every criterion, in the order in which findings are told."""

from __future__ import annotations

from model.eligibility.criteria import bleeding, general, immune, liver, order, regimen, vascular

CRITERIA = (
    *order.CRITERIA,
    *liver.CRITERIA,
    *bleeding.CRITERIA,
    *vascular.CRITERIA,
    *immune.CRITERIA,
    *general.CRITERIA,
    *regimen.CRITERIA,
)
