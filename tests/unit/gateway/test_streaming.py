"""The client's side of a stream: heartbeats while nothing comes, and nothing out of order for a client that is slow."""

import asyncio

from starlette.types import Message

from services.gateway.streaming import HEARTBEAT, StreamWriter
from tests.support.asgi import incoming_of
from tests.support.eventually import eventually

INTERVAL_S = 0.01


class SlowClient:
    """Takes a message only while it is `open`; `kinds` are those that it took."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.taken: list[Message] = []

    async def send(self, message: Message) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        self.taken.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.taken)


async def test_a_comment_is_sent_again_and_again_while_nothing_comes() -> None:
    client = SlowClient()
    client.open.set()
    writer = StreamWriter(incoming_of(client.send), (), INTERVAL_S)

    await eventually(lambda: client.body.count(HEARTBEAT) >= 3)
    await writer.close(b"data: [DONE]\n\n")

    assert [message["type"] for message in client.taken].count("http.response.start") == 1
    assert client.body.endswith(HEARTBEAT + b"data: [DONE]\n\n")
    assert client.taken[-1]["more_body"] is False


async def test_nothing_overtakes_the_status_line_of_a_client_that_is_slow() -> None:
    client = SlowClient()
    writer = StreamWriter(incoming_of(client.send), (), INTERVAL_S)
    writing = asyncio.ensure_future(writer.write(b"data: 1\n\n"))

    await asyncio.sleep(5 * INTERVAL_S)  # what must not happen in this time cannot be waited for
    assert client.waiting == 1
    client.open.set()
    await writing
    await writer.close()

    assert client.taken[0]["type"] == "http.response.start"
    assert client.body.startswith(b"data: 1\n\n")
