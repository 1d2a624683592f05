# SPDX-License-Identifier: Apache-2.0
"""The bundle that comes with us: `demonstration.hccbundle`, made by `make model`."""
