# SPDX-License-Identifier: Apache-2.0
"""`python -m cds_service`: the same as the command `hcc-cds`."""

from cds_service.cli import main

main()
