"""The admin API as the commands use it. Whatever goes wrong becomes CommandFailed with a sentence."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Annotated, Any, Final, Self
from urllib.parse import quote

import httpx
import typer

from services.cli.environment import URL_VARIABLE, find_admin_token
from services.cli.outcome import CommandFailed

DEFAULT_URL: Final = "http://localhost:8080"
TIMEOUT_S: Final = 30.0
KEYS_PATH: Final = "/api/virtual-keys"
LOGS_PATH: Final = "/api/logs"

Url = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="Where FinOps answers.")]
AdminToken = Annotated[
    str,
    typer.Option(
        "--admin-token",
        envvar="FINOPS_ADMIN_TOKEN",
        show_default=False,
        help="Default: the one in the data directory.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class AdminApi:
    """A session with one running FinOps. Use as a context manager."""

    def __init__(self, url: str, admin_token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            base_url=self._url,
            headers={"authorization": f"Bearer {find_admin_token(admin_token)}"},
            timeout=TIMEOUT_S,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that a call answers. Raises CommandFailed."""
        answer = self._send(method, path, query, body)
        if answer.is_error:
            raise CommandFailed(_reason(answer))
        return _object(answer)

    def pages(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[list[dict[str, Any]]]:
        """The pages of a list, one call each. Raises CommandFailed."""
        asked = dict(query or {})
        while True:
            page = self.call("GET", path, query=asked)
            yield page["items"]
            cursor = page.get("next_cursor")
            if not cursor:
                return
            asked["cursor"] = cursor

    def find_key(self, id_or_name: str) -> dict[str, Any]:
        """The virtual key with this id or, when there is exactly one, this name. Raises CommandFailed."""
        answer = self._send("GET", f"{KEYS_PATH}/{quote(id_or_name, safe='')}", None, None)
        if answer.status_code != httpx.codes.NOT_FOUND:
            if answer.is_error:
                raise CommandFailed(_reason(answer))
            return _object(answer)
        named = [key for page in self.pages(KEYS_PATH) for key in page if key["name"] == id_or_name]
        if not named:
            raise CommandFailed(f"No virtual key has the id or name {id_or_name!r}.")
        if len(named) > 1:
            ids = ", ".join(key["id"] for key in named)
            raise CommandFailed(f"{len(named)} virtual keys are named {id_or_name!r}; use an id: {ids}.")
        return named[0]

    def _send(
        self, method: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        try:
            return self._client.request(method, path, params=query, json=body)
        except httpx.HTTPError as error:
            raise CommandFailed(
                f"FinOps does not answer at {self._url} ({error}); start it with `finops up` or give --url."
            ) from error


def _object(answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
    except ValueError as error:
        raise CommandFailed(f"{answer.url} does not answer like FinOps: is --url right?") from error
    if not isinstance(value, dict):
        raise CommandFailed(f"{answer.url} does not answer like FinOps: is --url right?")
    return value


def _reason(answer: httpx.Response) -> str:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"{answer.url} answered {answer.status_code} {answer.reason_phrase}."
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return f"{message} The admin token was refused."
    return message
