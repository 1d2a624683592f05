# SPDX-License-Identifier: Apache-2.0
"""The model bundle that the settings name; apart from `build`, for only the worker needs the libraries."""

from __future__ import annotations

from collections.abc import Mapping

from cds_service.config import Config
from model.bundle import Bundle, demonstration_bundle_path, load_bundle, read_public_key
from model.domain import Modality
from model.radiomics import CT_SETTINGS, MR_SETTINGS, ExtractionSettings


def load_configured_bundle(config: Config) -> Bundle:
    """Read the model bundle that the settings name, or the demonstration bundle.

    Raises
    ------
    ConfigError
        A trusted key cannot be read.
    ModelBundleError
        The bundle is not to be trusted.
    """
    keys = [read_public_key(path) for path in config.model.trusted_keys]
    return load_bundle(config.model.bundle or demonstration_bundle_path(), trusted_keys=keys)


def extraction_settings(bundle: Bundle) -> Mapping[Modality, ExtractionSettings]:
    """How each modality is measured: as the bundle says for its own, as we do without one for the other."""
    return {
        Modality.CT: CT_SETTINGS,
        Modality.MR: MR_SETTINGS,
        bundle.settings.modality: bundle.settings,
    }
