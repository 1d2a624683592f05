# SPDX-License-Identifier: Apache-2.0
"""Everything that speaks FHIR R4."""
