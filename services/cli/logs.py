"""`finops logs`: the request log of a running FinOps."""

import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Annotated, Any, Final

import typer

from services.cli.api import DEFAULT_URL, LOGS_PATH, AdminApi, AdminToken, AsJson, Url
from services.cli.outcome import OneSentenceGroup

logs_app = typer.Typer(help="The request log.", no_args_is_help=True, cls=OneSentenceGroup)

PAGE: Final = 100
MOST_PAGES: Final = 50
REMEMBERED: Final = 20_000


class Unseen:
    """Picks the entries not shown before. A long request appears late, below newer ones: ids decide, not places."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._remembered = remembered

    def pick(self, newest_first: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The new ones, oldest first."""
        fresh = []
        for item in newest_first:
            if item["request_id"] not in self._seen:
                self._seen[item["request_id"]] = None
                fresh.append(item)
        while len(self._seen) > self._remembered:
            self._seen.popitem(last=False)
        return fresh[::-1]


@logs_app.command("tail")
def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=PAGE, help="Entries to begin with.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", "-f", help="Go on with new entries.")
    ] = True,
    interval_s: Annotated[float, typer.Option("--interval", min=0.2, help="Seconds between looks.")] = 1.0,
    model: Annotated[str | None, typer.Option(help="Only this model.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this virtual key (id).")] = None,
    status: Annotated[str | None, typer.Option(help="success, error, cancelled or abandoned.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
) -> None:
    """Print the newest requests and follow the log. Ctrl-C ends it."""
    given = {"model": model, "virtual_key": key, "status": status}
    query = {"limit": str(PAGE)} | {name: value for name, value in given.items() if value is not None}
    unseen = Unseen()
    with AdminApi(url, admin_token) as api:
        first = api.call("GET", LOGS_PATH, query=query)["items"]
        unseen.pick(first[lines:])
        _print(unseen.pick(first[:lines]), as_json)
        while follow:
            time.sleep(interval_s)
            _print(_news(api, query, unseen), as_json)


def _news(api: AdminApi, query: dict[str, str], unseen: Unseen) -> list[dict[str, Any]]:
    """Everything new: further pages are asked for while a whole page was new."""
    news: list[dict[str, Any]] = []
    for number, page in enumerate(api.pages(LOGS_PATH, query), start=1):
        fresh = unseen.pick(page)
        news = fresh + news
        if len(fresh) < len(page) or number == MOST_PAGES:
            break
    return news


def _print(items: list[dict[str, Any]], as_json: bool) -> None:
    for item in items:
        typer.echo(json.dumps(item, ensure_ascii=False) if as_json else log_line(item))


def log_line(item: dict[str, Any]) -> str:
    """One entry on one line."""
    model = "/".join(part for part in (item["provider"], item["model"]) if part) or "-"
    cost = "unpriced" if item["cost"] is None else f"${item['cost']}"
    tokens = f"{item['prompt_tokens']}+{item['completion_tokens']} tokens"
    parts = [
        item["started_at"],
        f"{item['http_status']} {item['status']}",
        model,
        item["virtual_key_name"] or item["virtual_key_id"],
        tokens,
        cost,
        f"{item['latency_ms']} ms",
        item["error_code"] or "",
    ]
    return "  ".join(part for part in parts if part)
