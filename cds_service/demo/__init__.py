# SPDX-License-Identifier: Apache-2.0
"""`hcc-cds demo`: one made-up study and record through the real service, peers and all."""
