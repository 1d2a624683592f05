# SPDX-License-Identifier: Apache-2.0
"""The model bundle: one signed file that holds a model and all that is known of it.

An uncompressed zip of five members: `manifest.json`, `classifier.skops`,
`reference.json`, `MODEL_CARD.md`, and `signature.ed25519` over the bytes of the
manifest, which holds the SHA-256 of the others. Nothing of a bundle is interpreted
before its signature is verified.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from model.acquisition import AcquisitionFacts, check_acquisition
from model.applicability import ReferenceCohort, outside_reference
from model.classifier import Calibration, Classifier
from model.domain import (
    FeatureVector,
    Modality,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    Score,
    ScoreSpread,
)
from model.errors import ConfigError, ModelBundleError
from model.manifest import FORMAT, Declaration, Evidence, Manifest, canonical_json
from model.radiomics import ExtractionSettings
from model.stored_zip import read_stored_zip, stored_zip
from model.svm_file import MAXIMUM_SIZE, TRUSTED_TYPES, dump_svm, load_svm

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MANIFEST, SIGNATURE = "manifest.json", "signature.ed25519"
CLASSIFIER, REFERENCE, MODEL_CARD = "classifier.skops", "reference.json", "MODEL_CARD.md"

_MEMBERS = frozenset({MANIFEST, SIGNATURE, CLASSIFIER, REFERENCE, MODEL_CARD})

_MAXIMUM_BUNDLE_SIZE = 2 * MAXIMUM_SIZE
"""Bytes: a classifier, and as much again for a large reference cohort."""

_FEWEST_FOR_SPREAD = 2
_KNOWN_ANSWER_TOLERANCE = 1e-6
"""Of decision values, whose scale is 1 at the margin: rounding passes, another model does not."""

_Parsed = TypeVar("_Parsed", bound=BaseModel)

_DEMONSTRATION_SEED = b"HCC-CDS demonstration key: public by nature, vouches for nothing"


class Reference(BaseModel):
    """`reference.json`: the cases that the model stands on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: ReferenceCohort
    """Cases that the SVM was fitted on."""
    calibration: Calibration
    """Cases that it had not seen."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BundleContents:
    """What a bundle is made from."""

    declaration: Declaration
    pipeline: Pipeline
    reference: Reference
    model_card: str
    """Markdown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundle:
    """A verified model bundle, ready to score."""

    manifest: Manifest
    digest: str
    """SHA-256 of the manifest's bytes, hexadecimal."""
    classifier: Classifier
    cohort: ReferenceCohort
    model_card: str

    @property
    def identity(self) -> ModelIdentity:
        """What stands with every figure of this model."""
        return ModelIdentity(
            name=self.manifest.name,
            version=self.manifest.version,
            bundle_digest=self.digest,
            status=self.manifest.status,
            settings_digest=self.manifest.settings_digest,
            higher_means=self.manifest.higher_means,
        )

    @property
    def settings(self) -> ExtractionSettings:
        """How lesions must be measured for this model."""
        return self.manifest.settings

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """What is known of the model's performance."""
        return self.manifest.evidence

    def score(
        self,
        vector: FeatureVector,
        *,
        modality: Modality,
        acquisition: AcquisitionFacts,
        liver_stated: bool,
        index_in_doubt: bool,
        suspended: bool,
    ) -> Score | NotComputed:
        """Return the score of a measured lesion, or the first reason why there is none.

        Parameters
        ----------
        acquisition
            Of the measured series.
        liver_stated
            Whether the lesion's finding site, or its segment, says that it lies in the liver.
        index_in_doubt
            Whether a larger lesion may have been left out, or another outline of this one differs.
        suspended
            Whether the site has suspended this bundle, whatever it says of itself.
        """
        manifest = self.manifest
        missing = [name for name in manifest.features if name not in vector.names]
        modality_read = f"the model reads {manifest.modality.value}"
        for applies, reason, detail in (
            (suspended or manifest.status is ModelStatus.SUSPENDED, NotComputedReason.SUSPENDED, ""),
            (modality is not manifest.modality, NotComputedReason.MODALITY, modality_read),
            (vector.settings_digest != manifest.settings_digest, NotComputedReason.SETTINGS, ""),
            (bool(missing), NotComputedReason.FEATURES, ", ".join(missing)),
            (index_in_doubt, NotComputedReason.INDEX_LESION, ""),
            (not liver_stated, NotComputedReason.NOT_LIVER, ""),
        ):
            if applies:
                return NotComputed(reason=reason, detail=detail)
        checks = check_acquisition(manifest.acquisition, acquisition)
        if isinstance(checks, NotComputed):
            return checks
        if outside := outside_reference(self.cohort, manifest.reference, vector):
            return outside
        return replace(self.classifier.score(vector), acquisition=checks)

    def spread(self, vectors: Sequence[FeatureVector], *, perturbations: int) -> ScoreSpread | None:
        """Return how far the score moves among `vectors` of one lesion; None if fewer than two give one."""
        probabilities = [
            self.classifier.score(each).probability
            for each in vectors
            if set(self.manifest.features) <= set(each.names)
        ]
        if len(probabilities) < _FEWEST_FOR_SPREAD:
            return None
        return ScoreSpread(
            perturbations=perturbations,
            scored=len(probabilities),
            lowest=min(probabilities),
            highest=max(probabilities),
            standard_deviation=statistics.stdev(probabilities),
        )


def bundle_bytes(contents: BundleContents, private_key: Ed25519PrivateKey) -> bytes:
    """Return the bundle of `contents`, signed: equal contents and key, equal bytes."""
    members = {
        CLASSIFIER: dump_svm(contents.pipeline),
        REFERENCE: canonical_json(contents.reference),
        MODEL_CARD: contents.model_card.encode(),
    }
    manifest = canonical_json(
        Manifest(
            **dict(contents.declaration),
            format=FORMAT,
            settings_digest=contents.declaration.settings.digest,
            members={name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
            trusted_types=TRUSTED_TYPES,
            software={
                name: version(name) for name in ("numpy", "pyradiomics-bhklab", "scikit-learn", "skops")
            },
        )
    )
    return stored_zip({**members, MANIFEST: manifest, SIGNATURE: private_key.sign(manifest)})


def write_bundle(path: Path, contents: BundleContents, private_key: Ed25519PrivateKey) -> Bundle:
    """Write a signed bundle to `path` and return it as it will load.

    Raises
    ------
    ModelBundleError
        The contents do not make a bundle that loads; nothing is written.
    """
    data = bundle_bytes(contents, private_key)
    bundle = read_bundle(data, trusted_keys=(private_key.public_key(),))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.partial")
    temporary.write_bytes(data)
    os.replace(temporary, path)  # noqa: PTH105 - says what it is: atomic
    return bundle


def load_bundle(path: Path, *, trusted_keys: Sequence[Ed25519PublicKey] = ()) -> Bundle:
    """Return the bundle at `path`; see `read_bundle`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_BUNDLE_SIZE + 1)
    except OSError as error:
        raise ModelBundleError(f"the model bundle cannot be read: {error.strerror}") from error
    return read_bundle(data, trusted_keys=trusted_keys)


def read_bundle(data: bytes, *, trusted_keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """Return the bundle in `data`.

    Parameters
    ----------
    trusted_keys
        Keys that may vouch for a model, besides the demonstration key, which vouches for
        demonstration bundles only: everybody has its private half.

    Raises
    ------
    ModelBundleError
        Unsigned, signed by nobody known, altered, of unknown form or types, or it computes
        something else here than where it was made.
    """
    members = read_stored_zip(data, maximum_size=_MAXIMUM_BUNDLE_SIZE)
    if SIGNATURE not in members:
        raise ModelBundleError("the model bundle is not signed")
    if members.keys() != _MEMBERS:
        raise ModelBundleError("the model bundle does not have exactly the members it should have")
    signer = _signer(members[MANIFEST], members[SIGNATURE], trusted_keys)
    manifest = _parsed(Manifest, members[MANIFEST])
    if signer == demonstration_public_key() and manifest.status is not ModelStatus.DEMONSTRATION:
        raise ModelBundleError("the demonstration key vouches for demonstration bundles only")
    if manifest.settings_digest != manifest.settings.digest:
        raise ModelBundleError("the model bundle was made for another version of the feature extraction")
    digests = {name: hashlib.sha256(members[name]).hexdigest() for name in _MEMBERS - {MANIFEST, SIGNATURE}}
    if manifest.members != digests:
        raise ModelBundleError("a member of the model bundle was altered")
    reference = _parsed(Reference, members[REFERENCE])
    classifier = Classifier(
        pipeline=load_svm(members[CLASSIFIER]),
        features=manifest.features,
        background=np.asarray(reference.cohort.vectors, dtype=np.float64),
        calibration=reference.calibration,
        alpha=manifest.conformal_alpha,
    )
    _require_known_answers(classifier, reference.cohort)
    return Bundle(
        manifest=manifest,
        digest=hashlib.sha256(members[MANIFEST]).hexdigest(),
        classifier=classifier,
        cohort=reference.cohort,
        model_card=members[MODEL_CARD].decode(),
    )


def _signer(manifest: bytes, signature: bytes, trusted_keys: Sequence[Ed25519PublicKey]) -> Ed25519PublicKey:
    for key in (demonstration_public_key(), *trusted_keys):
        try:
            key.verify(signature, manifest)
        except InvalidSignature:
            continue
        return key
    raise ModelBundleError("the model bundle is signed by no key that is trusted, or was altered")


def _parsed(kind: type[_Parsed], data: bytes) -> _Parsed:
    try:
        return kind.model_validate_json(data, strict=True)
    except ValidationError as error:
        problems = sorted({_problem(each) for each in error.errors(include_input=False)})
        raise ModelBundleError(f"{kind.__name__.lower()} of the bundle: {', '.join(problems)}") from error


def _problem(error: ErrorDetails) -> str:
    """Return where the error is, and what it is when a rule of ours says so: never a value."""
    place = ".".join(str(part) for part in error["loc"])
    said = str(error["ctx"]["error"]) if error["type"] == "value_error" else ""
    return ": ".join(each for each in (place, said) if each) or "it"


def _require_known_answers(classifier: Classifier, cohort: ReferenceCohort) -> None:
    """Raise ModelBundleError unless the SVM says here of the reference cohort what it said when made."""
    if cohort.features != classifier.features:
        raise ModelBundleError("the reference cohort has other features than the model")
    computed = classifier.decision_values(classifier.background)
    if not np.allclose(computed, cohort.decision_values, rtol=0.0, atol=_KNOWN_ANSWER_TOLERANCE):
        raise ModelBundleError("the classifier computes other values here than where it was made")


def demonstration_private_key() -> Ed25519PrivateKey:
    """Return the key of demonstration bundles, the same everywhere so that anybody can make one again."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(_DEMONSTRATION_SEED).digest())


def demonstration_public_key() -> Ed25519PublicKey:
    """Return the key that verifies demonstration bundles."""
    return demonstration_private_key().public_key()


def demonstration_bundle_path() -> Path:
    """Return where the demonstration bundle that comes with us is."""
    return Path(str(importlib.resources.files("model.artifacts") / "demonstration.hccbundle"))


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the Ed25519 public key in a PEM file.

    Raises
    ------
    ConfigError
        There is no such key in it.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds a public key that is not Ed25519")
    return key
