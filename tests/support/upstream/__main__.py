"""`python -m tests.support.upstream --port 0`: serves until it is stopped; its first line is its base URL."""

import argparse
import asyncio
import signal

from tests.support.upstream.app import MockUpstream
from tests.support.upstream.run import BACKLOG, bound_socket, server_for


async def serve(port: int, models: tuple[str, ...]) -> None:
    server = server_for(MockUpstream(models) if models else MockUpstream())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    with bound_socket(port=port) as listener:
        listener.listen(BACKLOG)  # whoever reads the address below may connect at once
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        await server.serve(sockets=[listener])


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.support.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--models", default="", help="ids to list, separated by commas")
    options = parser.parse_args()
    models = tuple(filter(None, options.models.split(",")))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(options.port, models))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform; the mock is only slower without it
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
