# SPDX-License-Identifier: Apache-2.0
"""Making model bundles: phantoms, training, evaluation."""
