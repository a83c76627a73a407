"""A background task neither outlives its owner nor dies unseen."""

import asyncio

import pytest

from services.budget.supervised import supervised


async def test_leaving_stops_the_task_and_waits_for_its_last_work() -> None:
    stopping = asyncio.Event()
    story: list[str] = []

    async def run() -> None:
        await stopping.wait()
        story.append("finished")

    async with supervised(run, stopping.set, name="t"):
        story.append("body")

    assert story == ["body", "finished"]


async def test_a_failure_cancels_the_body_and_comes_out() -> None:
    async def run() -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError, match="broken"):
        async with supervised(run, lambda: None, name="t"):
            await asyncio.Event().wait()

    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_a_failure_while_leaving_comes_out_too() -> None:
    stopping = asyncio.Event()

    async def run() -> None:
        await stopping.wait()
        raise LookupError("broken")

    with pytest.raises(LookupError):
        async with supervised(run, stopping.set, name="t"):
            pass


async def test_an_error_of_the_body_is_not_hidden() -> None:
    stopping = asyncio.Event()

    async def run() -> None:
        await stopping.wait()

    with pytest.raises(ValueError, match="body"):
        async with supervised(run, stopping.set, name="t"):
            raise ValueError("body")
