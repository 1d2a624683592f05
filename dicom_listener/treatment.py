# SPDX-License-Identifier: Apache-2.0
"""Whether texts say that a lesion was treated locally: its tissue is none that models were trained on.

Words are hints, so that they keep a score back and nothing else.
"""

from __future__ import annotations

import re
import unicodedata

_TREATMENT = re.compile(
    r"\b(?:(?:(?:d[ce]m|deb|c) ?)?tace|chemoemboli\w*|chimioemboli\w*|quimioemboli\w*|emboli[sz]\w*"
    r"|lipiodol\w*|tare|sirt|y ?90|radioemboli\w*|ablat\w*|ablac\w*|ablaz\w*|rfa|mwa|cryoabl\w*"
    r"|sbrt|treated|lr ?tr|posttreatment|post ?(?:treatment|therap\w*|proced\w*|interv\w*))\b"
)
_NOT_DONE = re.compile(
    r"\b(?:no|not|non|without|never|un|before|pre|prior to|planning|plan|planned|for|candidate|consider"
    r"|eligib\w*|vor|keine?|ohne|avant|sans|antes|sin|senza|prima di)\W+(?:\w+\W+){0,2}?$"
)
"""Right before the word: 'pre TACE', 'no prior ablation', 'for RFA'."""


def names_treatment(label: str) -> bool:
    """Whether `label` names a local treatment that is not said to be planned or absent."""
    decomposed = unicodedata.normalize("NFKD", label.casefold())
    plain = "".join(each for each in decomposed if not unicodedata.combining(each))
    words = re.sub(r"[_\-/]+", " ", plain)
    return any(not _NOT_DONE.search(words[: found.start()]) for found in _TREATMENT.finditer(words))
