"""One process that answers on a listening socket, which it may share with others, and that can leave unnoticed."""

from __future__ import annotations

import asyncio
import signal
import socket

import uvicorn

from tools.serving.app import GatewayApp
from tools.serving.slow_headers import TimedHeaders

SHUTDOWN_SECONDS = 10
KEEP_ALIVE_SECONDS = 5
"""A connection on which nothing is asked for so long is closed."""
DRAIN = signal.SIGUSR1
_DRAIN_SECONDS = KEEP_ALIVE_SECONDS + SHUTDOWN_SECONDS


def serve(app: GatewayApp, listener: socket.socket) -> None:
    """Answers until SIGTERM or SIGINT, or until DRAIN and the last of its callers has gone elsewhere."""
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=TimedHeaders,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    _Server(config, app).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's shutdown closes idle connections at once, and a caller may just then be sending on one.

    Draining takes no new connections, has each caller told at its next answer that the connection closes, and shuts
    down when none is left. Idle ones end by the keep-alive time, as they do on any day.
    """

    def __init__(self, config: uvicorn.Config, app: GatewayApp) -> None:
        super().__init__(config)
        self._app = app
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(DRAIN, self._drain)

    def _drain(self) -> None:
        if self._leaving is None:
            self._app.draining = True
            for server in self.servers:
                server.close()  # in this process; what waits in the queue of the socket is for the others
            self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _DRAIN_SECONDS
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.05)
        self.should_exit = True
