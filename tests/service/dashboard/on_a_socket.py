"""An application served on a socket of loopback, as `twinloop serve` serves it, in a thread of this process."""

import threading

import uvicorn
from fastapi import FastAPI
from servers import free_port
from service.dashboard.chromium import awaited


class OnASocket:
    """Serves until `close`; `at` is where."""

    def __init__(self, app: FastAPI) -> None:
        port = free_port()
        self.at = f"http://127.0.0.1:{port}"
        config = uvicorn.Config(app, "127.0.0.1", port, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="served")
        self._thread.start()
        awaited(lambda: self._server.started)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
