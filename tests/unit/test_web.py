# SPDX-License-Identifier: Apache-2.0
"""What a web process does before its first call."""

import gc

from flask import Flask

from cds_service.web import WebServer
from cds_service.web_config import WebConfig


def test_what_a_process_is_built_of_is_no_longer_looked_through_for_garbage():
    built = []

    def make_app():
        app = Flask(__name__)
        built.append(app)
        return app

    assert not gc.get_freeze_count()
    try:
        app = WebServer(WebConfig(), make_app).load()

        assert [app] == built
        assert gc.get_freeze_count() > 1000
        assert not any(each is app for each in gc.get_objects())
    finally:
        gc.unfreeze()
