# SPDX-License-Identifier: Apache-2.0
"""What guidelines and trials say of a regimen for this patient: pure rules on `PatientFacts`."""
