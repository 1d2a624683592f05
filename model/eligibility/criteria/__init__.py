# SPDX-License-Identifier: Apache-2.0
"""The criteria of the rule book as data, a module for each theme; `model.eligibility.rulebook` joins them."""
