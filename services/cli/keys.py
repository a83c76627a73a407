"""`finops keys`: virtual keys, through the admin API of a running FinOps."""

from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

import typer

from services.cli.api import DEFAULT_URL, KEYS_PATH, AdminApi, AdminToken, AsJson, Url
from services.cli.key_text import budgets_text, key_rows
from services.cli.outcome import OneSentenceGroup
from services.cli.table import print_json, render_table
from services.cli.user_jwt_secret import UserJwtSecretEnv, UserJwtSecretPrompt, user_jwt_secret
from shared.errors import ConfigurationError
from shared.governance.money import usd_from_nanos
from shared.governance.notation import parse_budget

keys_app = typer.Typer(
    help="Virtual keys: who may spend how much on what.", no_args_is_help=True, cls=OneSentenceGroup
)


class Removal(NamedTuple):
    """What sets a field of a key, what takes its value away, and what the field holds then."""

    option: str
    no_option: str
    nothing: Any


REMOVALS: Final = {
    "budgets": Removal("--budget", "--no-budgets", []),
    "fallbacks": Removal("--fallback", "--no-fallbacks", []),
    "expires_at": Removal("--expires-at", "--no-expiry", None),
    "metadata": Removal("--metadata", "--no-metadata", {}),
    "user_jwt_secret": Removal("--user-jwt-secret-env or -prompt", "--no-user-jwt-secret", None),
}

Key = Annotated[str, typer.Argument(help="Id or name of a virtual key.")]
Budgets = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="LIMIT/WINDOW",
        help="US dollars per 1h, 1d, 1w, 1M, 1Y or lifetime: 5.00/1M, 1.00/1d/rolling. Repeatable.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--models", metavar="PATTERN", help="Models it may use: 'openai/*'. Repeatable."),
]
Fallbacks = Annotated[
    list[str] | None,
    typer.Option(
        "--fallback", metavar="MODEL", help="provider/model or route to try when a model fails. Repeatable."
    ),
]
ExpiresAt = Annotated[str | None, typer.Option(help="RFC 3339 time: 2027-01-01T00:00:00Z.")]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Your own notes. Repeatable.")
]
CostInUsage = Annotated[bool | None, typer.Option(help="Put the cost in US dollars into `usage` of answers.")]
AlwaysSendUsage = Annotated[
    bool | None, typer.Option(help="Send usage on every stream, asked for or not (good for Open WebUI).")
]
TrustUserHeaders = Annotated[
    bool | None, typer.Option(help="Believe X-OpenWebUI-User-* headers of callers with this key.")
]
OnUnavailable = Annotated[
    str | None, typer.Option(help="allow or deny requests while spend cannot be verified.")
]


@keys_app.command("create")
def create(
    name: Annotated[str, typer.Option(help="What people call it.")],
    budget: Budgets = None,
    models: Models = None,
    fallback: Fallbacks = None,
    expires_at: ExpiresAt = None,
    metadata: Metadata = None,
    cost_in_usage: CostInUsage = None,
    always_send_usage: AlwaysSendUsage = None,
    trust_user_headers: TrustUserHeaders = None,
    user_jwt_secret_env: UserJwtSecretEnv = None,
    user_jwt_secret_prompt: UserJwtSecretPrompt = False,
    on_unavailable: OnUnavailable = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
) -> None:
    """Make a virtual key and print it: the only time it is shown."""
    body = changes(
        name=name,
        budgets=budget,
        models=models,
        fallbacks=fallback,
        expires_at=expires_at,
        metadata=metadata,
        cost_in_usage=cost_in_usage,
        always_send_usage=always_send_usage,
        trust_user_headers=trust_user_headers,
        user_jwt_secret=user_jwt_secret(user_jwt_secret_env, user_jwt_secret_prompt),
        on_unavailable=on_unavailable,
    )
    with AdminApi(url, admin_token) as api:
        _show_new(api.call("POST", KEYS_PATH, body=body), as_json)


@keys_app.command("list")
def list_keys(as_json: AsJson = False, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """All virtual keys with their spend."""
    with AdminApi(url, admin_token) as api:
        keys = [key for page in api.pages(KEYS_PATH) for key in page]
    if as_json:
        print_json(keys)
        return
    rows = [
        [
            key["id"],
            key["name"],
            key["prefix"],
            key["status"],
            budgets_text(key),
            ", ".join(key["allowed_models"]),
        ]
        for key in keys
    ]
    typer.echo(render_table(["ID", "NAME", "KEY", "STATUS", "SPENT / BUDGET", "MODELS"], rows))


@keys_app.command("show")
def show(key: Key, as_json: AsJson = False, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """One virtual key with its budgets."""
    with AdminApi(url, admin_token) as api:
        _show(api.find_key(key), as_json)


@keys_app.command("rotate")
def rotate(key: Key, as_json: AsJson = False, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """Give a virtual key a new secret and print it; the old one stops working. Budgets and spend stay."""
    with AdminApi(url, admin_token) as api:
        found = api.find_key(key)
        _show_new(api.call("POST", f"{_path(found)}/rotate"), as_json)


@keys_app.command("revoke")
def revoke(key: Key, as_json: AsJson = False, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """Stop a virtual key for good. Its spend and logs stay."""
    with AdminApi(url, admin_token) as api:
        found = api.find_key(key)
        _show(api.call("POST", f"{_path(found)}/revoke"), as_json)


@keys_app.command("update")
def update(
    key: Key,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    budget: Budgets = None,
    no_budgets: Annotated[bool, typer.Option("--no-budgets", help="Remove all budgets.")] = False,
    models: Models = None,
    fallback: Fallbacks = None,
    no_fallbacks: Annotated[bool, typer.Option("--no-fallbacks", help="Remove all fallbacks.")] = False,
    expires_at: ExpiresAt = None,
    no_expiry: Annotated[bool, typer.Option("--no-expiry", help="Never expire.")] = False,
    metadata: Metadata = None,
    no_metadata: Annotated[bool, typer.Option("--no-metadata", help="Remove all notes.")] = False,
    cost_in_usage: CostInUsage = None,
    always_send_usage: AlwaysSendUsage = None,
    trust_user_headers: TrustUserHeaders = None,
    user_jwt_secret_env: UserJwtSecretEnv = None,
    user_jwt_secret_prompt: UserJwtSecretPrompt = False,
    no_user_jwt_secret: Annotated[
        bool, typer.Option("--no-user-jwt-secret", help="Remove the secret of user tokens.")
    ] = False,
    on_unavailable: OnUnavailable = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
) -> None:
    """Change what is given; the rest stays. --budget, --models, --fallback and --metadata replace their whole list."""
    removed = removals(
        budgets=no_budgets,
        fallbacks=no_fallbacks,
        expires_at=no_expiry,
        metadata=no_metadata,
        user_jwt_secret=no_user_jwt_secret,
    )
    body = changes(
        name=name,
        budgets=budget,
        models=models,
        fallbacks=fallback,
        expires_at=expires_at,
        metadata=metadata,
        cost_in_usage=cost_in_usage,
        always_send_usage=always_send_usage,
        trust_user_headers=trust_user_headers,
        user_jwt_secret=user_jwt_secret(user_jwt_secret_env, user_jwt_secret_prompt),
        on_unavailable=on_unavailable,
    )
    if both := removed.keys() & body.keys():
        options = " and ".join(REMOVALS[min(both)][:2])
        raise ConfigurationError(f"{options} cannot be given together.")
    if not body and not removed:
        raise ConfigurationError("Nothing to change: give at least one option.")
    with AdminApi(url, admin_token) as api:
        found = api.find_key(key)
        _show(api.call("PATCH", _path(found), body=body | removed | {"version": found["version"]}), as_json)


def changes(
    *, budgets: list[str] | None, models: list[str] | None, metadata: list[str] | None, **plain: Any
) -> dict[str, Any]:
    """The request body that says what was typed and nothing else. Raises ConfigurationError."""
    body = {field: value for field, value in plain.items() if value is not None}
    if budgets is not None:
        body["budgets"] = [budget_body(text) for text in budgets]
    if models is not None:
        body["allowed_models"] = models
    if metadata is not None:
        body["metadata"] = dict(_name_and_value(text) for text in metadata)
    return body


def removals(**flags: bool) -> dict[str, Any]:
    """The part of a request body that takes away what a field holds, for the fields whose flag was typed."""
    return {field: REMOVALS[field].nothing for field, is_typed in flags.items() if is_typed}


def budget_body(text: str) -> dict[str, str]:
    """`5.00/1M` as the admin API takes it. Raises ConfigurationError."""
    try:
        limit_nanos, window, alignment = parse_budget(text)
    except ValueError as error:
        raise ConfigurationError(f"--budget is wrong: {error}.") from error
    return {"limit": usd_from_nanos(limit_nanos), "window": window, "alignment": alignment}


def _name_and_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ConfigurationError(f"--metadata is wrong: {text!r} is not NAME=VALUE.")
    return name, value


def _path(key: dict[str, Any]) -> str:
    return f"{KEYS_PATH}/{quote(key['id'], safe='')}"


def _show_new(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    typer.echo(key["key"])
    typer.echo(f"Virtual key {key['name']} ({key['id']}): {budgets_text(key)}.", err=True)
    typer.echo("Keep the key now: it is stored as a hash and cannot be shown again.", err=True)


def _show(key: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    rows = key_rows(key)
    typer.echo(render_table(rows[0], rows[1:]))
