# SPDX-License-Identifier: Apache-2.0
"""How criteria are judged on the facts of a patient, a module for each theme."""
