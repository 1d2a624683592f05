# SPDX-License-Identifier: Apache-2.0
"""The SVM on disk: a skops file of a pinned form, with the same bytes for the same model."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from model.errors import ModelBundleError
from model.stored_zip import read_stored_zip, stored_zip

if TYPE_CHECKING:
    # Two seconds of imports that only a process which scores should pay for.
    from sklearn.pipeline import Pipeline

FEATURE_COUNT = 4
"""The published biomarker is an SVM of four radiomics features (doi 10.1186/s12967-025-07627-4)."""

TRUSTED_NODES = frozenset(
    {
        ("builtins.dict", "DictNode"),
        ("builtins.list", "ListNode"),
        ("builtins.str", "JsonNode"),
        ("builtins.str", "TypeNode"),
        ("builtins.tuple", "TupleNode"),
        ("numpy.float64", "NdArrayNode"),
        ("numpy.ndarray", "NdArrayNode"),
        ("sklearn.pipeline.Pipeline", "ObjectNode"),
        ("sklearn.preprocessing._data.StandardScaler", "ObjectNode"),
        ("sklearn.svm._classes.SVC", "ObjectNode"),
    }
)
"""Every type that a classifier may hold, with the skops node that may build it.

skops itself trusts whatever scikit-learn and NumPy define; a scaler and an SVM need no more than this.
"""

TRUSTED_TYPES = tuple(sorted({name for name, _ in TRUSTED_NODES}))
"""The same as a list of names, for the manifest."""

MAXIMUM_SIZE = 8 * 1024 * 1024
"""Bytes of the file and of all that it unpacks to; a four-feature SVM takes some 40 kB."""

_SCHEMA = "schema.json"
_MEMBER = re.compile(r"schema\.json|\d{1,20}\.npy")


def dump_svm(pipeline: Pipeline) -> bytes:
    """Return `pipeline` as a skops file whose bytes depend on nothing but the model.

    skops names arrays by memory address and dates its members; both are replaced.
    """
    import skops.io

    members = read_stored_zip(skops.io.dumps(pipeline), maximum_size=MAXIMUM_SIZE)
    schema = json.loads(members[_SCHEMA])
    renamed: dict[str, str] = {}
    for node in _nodes(schema):
        # `__id__` lets several nodes share one object, which a scaler and an SVM never do.
        node.pop("__id__", None)
        if "file" in node:
            node["file"] = renamed.setdefault(str(node["file"]), f"{len(renamed)}.npy")
    files = {new: members[old] for old, new in renamed.items()}
    return stored_zip({_SCHEMA: json.dumps(schema, indent=1).encode(), **files})


def load_svm(data: bytes) -> Pipeline:
    """Return the pipeline in a skops file: a scaler and a binary SVM of four features.

    Raises
    ------
    ModelBundleError
        The file is damaged, or holds a type or a form that is not pinned here.
    """
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io.exceptions import UntrustedTypesFoundException

    members = read_stored_zip(data, maximum_size=MAXIMUM_SIZE)
    if _SCHEMA not in members or not all(_MEMBER.fullmatch(name) for name in members):
        raise ModelBundleError("the classifier is no skops file")
    try:
        schema = json.loads(members[_SCHEMA])
        _refuse_unknown_types(schema)
        with warnings.catch_warnings():
            # Whether another scikit-learn still computes the same is decided by the bundle's known answers.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            pipeline = skops.io.loads(data, trusted=[])
    except UntrustedTypesFoundException as error:
        raise ModelBundleError("the classifier holds types that are not trusted") from error
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, RecursionError) as error:
        raise ModelBundleError("the classifier cannot be read") from error
    return _of_pinned_form(pipeline)


def _nodes(value: object) -> Iterator[dict[str, object]]:
    """Return every node of a skops schema."""
    if isinstance(value, dict):
        if "__class__" in value or "__loader__" in value:
            yield value
        for each in value.values():
            yield from _nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def _refuse_unknown_types(schema: object) -> None:
    found = {
        (f"{node.get('__module__')}.{node.get('__class__')}", str(node.get("__loader__")))
        for node in _nodes(schema)
    }
    if unknown := found - TRUSTED_NODES:
        raise ModelBundleError(f"the classifier holds {len(unknown)} types that are not trusted")


def _of_pinned_form(pipeline: object) -> Pipeline:
    """Return the pipeline if it scales four features, then tells low (0) from high (1)."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    match pipeline:
        case Pipeline(steps=[(_, StandardScaler()), (_, SVC() as svc)]):
            if (
                getattr(svc, "n_features_in_", None) == FEATURE_COUNT
                and np.array_equal(getattr(svc, "classes_", ()), (0, 1))
                and svc.kernel in {"linear", "rbf"}
            ):
                return pipeline
    raise ModelBundleError("the classifier is no scaled linear or RBF SVM of four features")
