# SPDX-License-Identifier: Apache-2.0
"""Reading attributes of objects that others wrote: missing, malformed or lying ones are expected.

Values are converted by pydicom when they are first touched, so that a malformed one
raises there and not when the file is read: everything taken from a data set is taken
inside `untrusted`.
"""

from __future__ import annotations

import errno
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_listener.encoded import DataSetTooLarge, MalformedDataSet, inflated, split_file
from dicom_listener.syntaxes import TRANSFER_SYNTAXES
from model.domain import RejectionReason, is_uid
from model.errors import ArchiveUnavailable, HccCdsError, RejectedStudy

_LARGEST_INFLATED_BYTES = 2**30
"""A multi-frame image of 2,000 slices of 512 KiB is as large."""


@contextmanager
def untrusted(reason: RejectionReason, subject: str) -> Iterator[None]:
    """Reject with `reason` when what the body reads of an object from outside cannot be read.

    Raises
    ------
    RejectedStudy
        With `reason`, `subject` and the kind of fault; never its text, which quotes values.
    RejectedStudy
        With the reason FAULT, when the file is gone.
    ArchiveUnavailable
        The file itself cannot be read: our fault, and it may pass.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's warnings quote values
            yield
    except HccCdsError:
        raise
    except FileNotFoundError:
        # No other attempt brings it back.
        raise RejectedStudy(RejectionReason.FAULT, "a file of the archive is gone") from None
    except OSError as error:
        # EINVAL: a length or an offset that no file can have. None: pydicom's own, for an element cut short.
        if error.errno in (errno.EINVAL, None):
            raise RejectedStudy(reason, f"{subject} cannot be read") from None
        raise ArchiveUnavailable("an archived instance cannot be read") from error
    except Exception as error:  # noqa: BLE001  the parsers name no base of what broken input makes them raise
        raise RejectedStudy(reason, f"{subject} cannot be read ({type(error).__name__})") from None


def require_readable_syntax(transfer_syntax_uid: str, subject: str) -> None:
    """Raise RejectedStudy if `transfer_syntax_uid` is none that we read."""
    if transfer_syntax_uid not in TRANSFER_SYNTAXES:
        known = transfer_syntax_uid if is_uid(transfer_syntax_uid) else "unknown"
        raise RejectedStudy(RejectionReason.SYNTAX, f"{subject}: transfer syntax {known}")


def require_bounded(path: Path, transfer_syntax_uid: str, reason: RejectionReason, subject: str) -> None:
    """Raise RejectedStudy if the file at `path` is deflated and becomes too large when it is not.

    pydicom inflates the whole data set before it reads the first element.
    """
    if transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        return
    with untrusted(reason, subject):
        try:
            data, _ = split_file(path.read_bytes())
            inflated(data, maximum_bytes=_LARGEST_INFLATED_BYTES)
        except (DataSetTooLarge, MalformedDataSet):
            raise RejectedStudy(
                reason, f"{subject} is not deflated, or too large when it is inflated"
            ) from None


def read_header(path: Path, keywords: Sequence[str] | None = None) -> Dataset:
    """Return the data set in `path` without its pixel data, or only `keywords` of it."""
    return dcmread(path, stop_before_pixels=True, specific_tags=list(keywords) if keywords else None)


def text(dataset: Dataset, keyword: str) -> str:
    """Return attribute `keyword` as text without padding; '' when missing or empty."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        return "\\".join(str(each) for each in value).strip()
    return str(value).strip()


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of attribute `keyword`, in capitals and without padding."""
    value = text(dataset, keyword)
    return tuple(each.strip().upper() for each in value.split("\\")) if value else ()


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return attribute `keyword` as a finite number, of several the first; None when missing or empty."""
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return None
    if not math.isfinite(float(value)):
        raise ValueError("not finite")
    return float(value)


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the `count` finite numbers of attribute `keyword`; None when missing or empty."""
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, MultiValue) and not len(value)):
        return None
    found = tuple(float(each) for each in value)
    if len(found) != count or not all(math.isfinite(each) for each in found):
        raise ValueError("wrong number of values")
    return found


def uid(dataset: Dataset, keyword: str) -> str:
    """Return attribute `keyword` when it is a UID, else ''."""
    value = text(dataset, keyword)
    return value if is_uid(value) else ""


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of sequence `keyword`; none when it is missing or empty."""
    value = dataset.get(keyword)
    return list(value) if value else []
