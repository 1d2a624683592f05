# SPDX-License-Identifier: Apache-2.0
"""Links of a card: the rule book's page for anybody, and a SMART app where one is configured."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cds_service.texts import Texts
from model.eligibility.criterion import RULES_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CardLinks:
    """Where a card may lead to."""

    about_url: str
    """Absolute URL of the page that says what is checked, and on which grounds."""
    smart_launch_url: str = ""
    """Launch URL of a SMART app that shows the explanation in the patient's context; '' for none."""

    @property
    def rules_url(self) -> str:
        """The same for these very rules: what a card rests on is still told when newer ones are in use."""
        return f"{self.about_url}?rules={RULES_VERSION}"

    def of(self, card_uuid: str, texts: Texts) -> list[dict[str, str]]:
        """Return `links` of the card; `appContext` names the card and holds nothing of the patient."""
        links = [
            {"label": texts.say("What is checked, and on which grounds"), "url": self.rules_url}
            | {"type": "absolute"}
        ]
        if self.smart_launch_url:
            context = json.dumps({"card": card_uuid, "rules": RULES_VERSION})
            links.append(
                {
                    "label": texts.say("Full explanation for this patient"),
                    "url": self.smart_launch_url,
                    "type": "smart",
                    "appContext": context,
                }
            )
        return links
