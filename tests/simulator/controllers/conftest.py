"""Tests here are coroutines; each gets a cluster of its own that starts and stops within milliseconds."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from straw_cluster import Cluster

TEST_TIMEOUT = 30.0


@pytest.fixture
def cluster() -> Cluster:
    """Started by the hook below, inside the test's event loop."""
    return Cluster()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in names}

    async def run() -> None:
        async with asyncio.timeout(TEST_TIMEOUT):
            started = arguments.get("cluster")
            if started is None:
                await pyfuncitem.obj(**arguments)
                return
            async with started:
                await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True
