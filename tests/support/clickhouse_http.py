"""ClickHouse's HTTP interface in front of chDB: enough of a server for clickhouse-connect's async client.

Own process, for tests where Docker is not at hand:

    python -m tests.support.clickhouse_http --port 0 --path DIR

prints `listening on 127.0.0.1:PORT`. One query at a time; bodies uncompressed or gzip, lz4, zstd. `POST /admin/away`
makes it answer 503 until `POST /admin/back`: an overloaded server, for tests of outages.
"""

import argparse
import asyncio
import gzip
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chdb
from aiohttp import web
from clickhouse_connect.driver.compression import _zstd_decompress
from lz4 import frame as lz4_frame  # type: ignore[import-untyped]  # ships no types

_NOT_SETTINGS = frozenset(
    {
        "query",
        "database",
        "default_format",
        "compress",
        "decompress",
        "enable_http_compression",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "wait_end_of_query",
        "buffer_size",
        "client_protocol_version",
        "role",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "user",
        "password",
    }
)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
_INSERT = re.compile(r"^\s*INSERT\s+INTO\b", re.IGNORECASE)
_SETTINGS = re.compile(r"\bSETTINGS\b", re.IGNORECASE)
_READS = re.compile(r"^\s*(SELECT|WITH|SHOW|DESCRIBE|EXPLAIN|EXISTS)\b", re.IGNORECASE)
_CODE = re.compile(r"Code:\s*(\d+)")
_NAME = re.compile(r"^\w+$")


class Engine:
    """chDB on one thread: its handle takes one call at a time."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        path.mkdir(parents=True, exist_ok=True)
        self._connection = self._thread.submit(chdb.connect, str(path)).result()

    async def run(self, query: str, args: Mapping[str, str], body: bytes) -> tuple[bytes, str]:
        """The answer and its format. Raises RuntimeError with the engine's message."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, query, args, body)

    def _run(self, query: str, args: Mapping[str, str], body: bytes) -> tuple[bytes, str]:
        if database := args.get("database"):
            self._connection.query(f"USE `{database}`")
        settings = {name: value for name, value in args.items() if _is_setting(name)}
        parameters = {name[6:]: value for name, value in args.items() if name.startswith("param_")}
        if _INSERT.match(query):
            self._insert(query, settings, body)
            return b"", ""
        return self._select(query, args, settings, parameters)

    def _select(
        self, query: str, args: Mapping[str, str], settings: Mapping[str, str], parameters: Mapping[str, str]
    ) -> tuple[bytes, str]:
        found = _FORMAT.search(query)
        answer_format = found[1] if found else args.get("default_format", "TabSeparated")
        sql = query[: found.start()] if found else query
        if settings and _READS.match(sql):
            clause = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
            sql += f" {',' if _SETTINGS.search(sql) else 'SETTINGS'} {clause}"
        result = self._connection.query(sql, answer_format, params=dict(parameters))
        return bytes(result.bytes() or b""), answer_format

    def _insert(self, query: str, settings: Mapping[str, str], body: bytes) -> None:
        """The data comes after the query's first line, or as the whole body; chDB takes it from a file."""
        head, _, rest = query.encode("utf-8", "surrogateescape").partition(b"\n")
        data = rest + body if rest else body
        line = head.decode()
        found = _FORMAT.search(line)
        if not data or found is None:
            self._connection.query(query)
            return
        clause = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
        with tempfile.NamedTemporaryFile(suffix=".data") as file:
            file.write(data)
            file.flush()
            target = line[: found.start()].strip()
            parts = _SETTINGS.split(target)
            own = f"{parts[1].strip()}, " if len(parts) > 1 else ""
            settings_clause = f" SETTINGS {own}{clause}" if clause or own else ""
            self._connection.query(
                f"{parts[0].strip()} FROM INFILE {_quoted(file.name)}{settings_clause.rstrip(', ')} FORMAT {found[1]}"
            )


class Front:
    """The HTTP side. `path` names the engine's directory."""

    def __init__(self, path: Path) -> None:
        self._engine = Engine(path)
        self._away = False

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/admin/away", self._go_away)
        app.router.add_post("/admin/back", self._come_back)
        app.router.add_get("/ping", self._ping)
        app.router.add_route("*", "/", self._query)
        return app

    async def _go_away(self, _: web.Request) -> web.Response:
        self._away = True
        return web.Response()

    async def _come_back(self, _: web.Request) -> web.Response:
        self._away = False
        return web.Response()

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def _query(self, request: web.Request) -> web.Response:
        if self._away:
            return _failure(
                "Code: 202. DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)"
            )
        args = dict(request.query)
        body = b""
        if request.content_type.startswith("multipart/"):
            args |= {name: str(value) for name, value in (await request.post()).items()}
        else:
            try:
                body = _unpacked(await request.read(), request.headers.get("Content-Encoding", ""))
            except (RuntimeError, OSError) as error:  # the client gave up while it encoded
                return _failure(
                    f"Code: 33. DB::Exception: Cannot read all data: {error}. (CANNOT_READ_ALL_DATA)"
                )
        query = args.get("query", "")
        if not query:  # the body is the query, an INSERT's data following its first line
            query, body = body.decode("utf-8", "surrogateescape"), b""
        try:
            answer, answer_format = await self._engine.run(query, args, body)
        except RuntimeError as error:
            return _failure(str(error))
        headers = {"X-ClickHouse-Summary": json.dumps({"written_rows": "0"}), "X-ClickHouse-Timezone": "UTC"}
        if answer_format:
            headers["X-ClickHouse-Format"] = answer_format
        return web.Response(body=answer, headers=headers)


def _is_setting(name: str) -> bool:
    return name not in _NOT_SETTINGS and not name.startswith("param_") and bool(_NAME.match(name))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "lz4":
        return _unpacked_lz4(body)
    if encoding == "zstd":
        return bytes(_zstd_decompress(body))
    return body


def _unpacked_lz4(body: bytes) -> bytes:
    """Every frame of it: the client makes one per block, and decompressing stops after the first."""
    unpacked = bytearray()
    while body:
        frame = lz4_frame.LZ4FrameDecompressor()
        unpacked += frame.decompress(body)
        if not frame.eof:
            raise ValueError("the last frame of an lz4 body is cut off")
        body = frame.unused_data or b""
    return bytes(unpacked)


def _failure(message: str) -> web.Response:
    found = _CODE.search(message)
    code = found[1] if found else "1000"
    status = 503 if code == "202" else 404 if code in {"60", "81"} else 500
    text = message[message.find("Code:") :] if found else message
    return web.Response(status=status, text=text, headers={"X-ClickHouse-Exception-Code": code})


async def serve(path: Path, port: int) -> None:
    runner = web.AppRunner(Front(path).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    addresses: list[Any] = runner.addresses
    print(f"listening on 127.0.0.1:{addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface in front of chDB")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--path", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.path, arguments.port))
    except KeyboardInterrupt:
        pass
    sys.stdout.flush()
    os._exit(0)  # the engine's own threads would keep the process for seconds


if __name__ == "__main__":
    main()
