# SPDX-License-Identifier: Apache-2.0
"""Uncompressed zip files in memory: one content, one sequence of bytes, and no zip bombs."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

from model.errors import ModelBundleError

_MAXIMUM_MEMBERS = 64


def stored_zip(members: Mapping[str, bytes]) -> bytes:
    """Return an uncompressed zip of `members`, sorted and undated: one content, one sequence of bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return buffer.getvalue()


def read_stored_zip(data: bytes, *, maximum_size: int) -> dict[str, bytes]:
    """Return the members of an uncompressed zip; nothing is unpacked to disk.

    Raises
    ------
    ModelBundleError
        It is no zip, is compressed, encrypted or too large, or names a member twice.
    """
    if len(data) > maximum_size:
        raise ModelBundleError(f"larger than {maximum_size} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > _MAXIMUM_MEMBERS or len({each.filename for each in entries}) != len(entries):
                raise ModelBundleError("too many members, or one of them twice")
            # Without compression a member cannot be larger than the file: no zip bombs.
            if any(each.compress_type != zipfile.ZIP_STORED for each in entries):
                raise ModelBundleError("a member is compressed")
            if sum(each.file_size for each in entries) > maximum_size:
                raise ModelBundleError(f"larger than {maximum_size} bytes")
            return {each.filename: archive.read(each) for each in entries}
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        struct.error,
    ) as error:
        raise ModelBundleError("not a readable zip") from error
