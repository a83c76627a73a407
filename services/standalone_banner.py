"""What the terminal shows once everything answers."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://localhost:8080"
WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Start:
    """What a person needs to know about this start. `admin_token` is empty unless it was made just now."""

    url: str
    host: str
    program: str
    needs_key: bool
    data_dir: Path
    event_log_url: str
    clickhouse_url: str
    admin_token_file: Path | None
    admin_token: str = ""


def banner(start: Start) -> str:
    """The text, ending in a newline. Passwords inside URLs are cut."""
    url = start.url.replace("http://127.0.0.1:", "http://localhost:")
    if start.admin_token:
        token = f"{start.admin_token}   (made now; kept in {start.admin_token_file})"
    elif start.admin_token_file is not None:
        token = f"in {start.admin_token_file}"
    else:
        token = "from FINOPS_ADMIN_TOKEN"
    access = (
        "OpenAI-compatible, with a virtual key"
        if start.needs_key
        else "OpenAI-compatible, with any key or none"
    )
    elsewhere = "" if url == DEFAULT_URL else f" --url {url}"
    lines = [
        "",
        "  FinOps is running. Ctrl-C stops it; data stays.",
        "",
        f"  Dashboard    {url}",
        f"  Logs         {url}/logs",
        f"  API          {url}/v1   ({access})",
        f"  Data         {start.data_dir}",
        f"  Event log    {without_password(start.event_log_url)}",
        f"  Log store    {without_password(start.clickhouse_url)}",
        f"  Admin token  {token}",
        "  Models       demo/echo and demo/lorem answer without any provider key",
        "",
        f"  A key with a budget:   {start.program} keys create --name team-a --budget 5.00/1M{elsewhere}",
        "",
        "  Open WebUI: paste into its environment, with your virtual key",
        *(f"    {line}" for line in open_webui_block(url, start.host)),
        "",
    ]
    return "\n".join(lines) + "\n"


def open_webui_block(url: str, host: str) -> list[str]:
    """Environment lines for an Open WebUI on this computer, and a comment for one inside Docker."""
    base = f"{url}/v1"
    from_docker = base.replace("//localhost", "//host.docker.internal")
    reachable = host in WILDCARD_HOSTS
    hint = f"# inside Docker: {from_docker}" + (
        "" if reachable else " (and start FinOps with FINOPS_HOST=0.0.0.0)"
    )
    return [
        hint,
        f"OPENAI_API_BASE_URLS={base}",
        "OPENAI_API_KEYS=sk-fo-...",
        "ENABLE_OLLAMA_API=False",
        "ENABLE_FORWARD_USER_INFO_HEADERS=True",
    ]


def without_password(url: str) -> str:
    """`url` with the password between `:` and `@` replaced by stars."""
    scheme, separator, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    if not at:
        return url
    user, colon, _ = login.partition(":")
    return f"{scheme}{separator}{user}{colon}{'***' if colon else ''}@{place}"
