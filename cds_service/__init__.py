# SPDX-License-Identifier: Apache-2.0
"""The plugin: settings, state, the durable pipeline, CDS Hooks and the command line."""
