# SPDX-License-Identifier: Apache-2.0
"""What we say about images and patients, and how it is computed."""
