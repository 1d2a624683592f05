# SPDX-License-Identifier: Apache-2.0
"""The web process: the Flask application under gunicorn."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from cds_service.listen_config import StowConfig
from cds_service.web_config import WebConfig


class WebServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn without its command line.

    Parameters
    ----------
    make_app
        Called in each web process: connections are not shared across a fork.
    """

    def __init__(self, settings: WebConfig | StowConfig, make_app: Callable[[], Flask]) -> None:
        self._settings = settings
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        """Hand our settings to gunicorn."""
        settings: dict[str, Any] = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "workers": self._settings.processes,
            "threads": self._settings.threads,
            "worker_class": "gthread",
            "timeout": round(self._settings.request_timeout_s),
            "graceful_timeout": 10,
            "proc_name": "hcc-cds-web",
            # Requests carry patient data in their bodies only; still, nothing of them is logged here.
            "accesslog": None,
            "loglevel": "error",
            # Nobody may say on a client's behalf what was asked for: by default gunicorn believes whoever
            # calls from this machine, and so everybody behind a proxy that passes on unknown headers.
            "forwarded_allow_ips": "",
            "forwarder_headers": "",
            "control_socket_disable": True,
        }
        for key, value in settings.items():
            if key in self.cfg.settings:
                self.cfg.set(key, value)

    def load(self) -> Flask:
        """Return the application of this web process."""
        app = self._make_app()
        # What a process is built of stays; to look through it for garbage takes 0.15 s, amid a call.
        gc.collect()
        gc.freeze()
        return app
