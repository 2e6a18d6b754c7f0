"""The controller as a process: a store, the planning loop, and the API on a Unix socket."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from outrider.api.app import create_app
from outrider.bootstrap.process import CannotRun, listen_for_root, run_until_stopped
from outrider.controller.loop import ControllerLoop
from outrider.controller.memory import ControllerMemory
from outrider.controller.service import ControllerService
from outrider.store.declared import DeclaredObjects
from outrider.store.sqlite import SqliteStore


def run_controller(state_dir: Path, socket: Path) -> int:
    """Run a controller with its state in ``state_dir`` and its API on ``socket``; returns the exit code."""
    return run_until_stopped(serve_controller(state_dir, socket))


async def serve_controller(state_dir: Path, socket: Path) -> None:
    """Serve until cancelled. Raises ``CannotRun`` or ``StoreError``."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        socket.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"cannot make {error.filename}: {error.strerror}") from error
    store = await SqliteStore.open(state_dir / "outrider.db")
    try:
        declared = DeclaredObjects(store)
        loop = ControllerLoop(ControllerMemory(store), declared)
        app = create_app(ControllerService(loop, declared))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(loop.run())
            tasks.create_task(_serve_api(app, socket))
    finally:
        await store.close()
        socket.unlink(missing_ok=True)


class _Server(uvicorn.Server):
    """Leaves signals to the process that hosts it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve_api(app: object, path: Path) -> None:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]  # FastAPI is an ASGI application; uvicorn's own type is a union of callables
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    with listen_for_root(path) as listening:
        try:
            await server.serve(sockets=[listening])
        finally:
            server.should_exit = True
