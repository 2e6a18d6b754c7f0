"""Controller and the local agent in one process: the embedded default.

They share the process and nothing else: the agent reaches the controller over its socket as any other agent would.
"""

import asyncio
from pathlib import Path

from outrider.bootstrap.agent import AgentOptions, serve_agent
from outrider.bootstrap.controller import serve_controller
from outrider.bootstrap.process import run_until_stopped


def run_up(state_dir: Path, socket: Path, agent: AgentOptions) -> int:
    """Run both until stopped; returns the exit code."""
    return run_until_stopped(_serve(state_dir, socket, agent))


async def _serve(state_dir: Path, socket: Path, agent: AgentOptions) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_controller(state_dir, socket))
        tasks.create_task(serve_agent(agent))
