"""How a virtual key, as the admin API tells it, is shown to people."""

import json
from typing import Any


def budgets_text(key: dict[str, Any]) -> str:
    """`1.25 / 5.00 per 1M, ...` of a key as the admin API shows it."""
    return ", ".join(f"{b['settled']} / {b['limit']} per {_window(b)}" for b in key["budgets"]) or "no budget"


def key_rows(key: dict[str, Any]) -> list[list[str]]:
    """Everything that the admin API tells of a key, by name and value."""
    return [
        ["id", key["id"]],
        ["name", key["name"]],
        ["key", key["prefix"] + "…"],
        ["status", key["status"]],
        ["models", ", ".join(key["allowed_models"])],
        ["fallbacks", ", ".join(key["fallbacks"]) or "none"],
        ["expires", key["expires_at"] or "never"],
        ["team", key["team_id"] or "none"],
        *([f"budget {_window(budget)}", _budget_text(budget)] for budget in key["budgets"]),
        ["spent in all", _spend_text(key["spend"])],
        ["cost in usage", _yes_or_no(key["cost_in_usage"])],
        ["always send usage", _yes_or_no(key["always_send_usage"])],
        ["trust user headers", _yes_or_no(key["trust_user_headers"])],
        ["user jwt secret", "set" if key["has_user_jwt_secret"] else "none"],
        ["on unavailable", key["on_unavailable"]],
        ["metadata", json.dumps(key["metadata"], ensure_ascii=False) if key["metadata"] else "none"],
        ["managed by", "finops.yaml" if key["managed_by"] == "config" else key["managed_by"]],
        ["created", key["created_at"]],
    ]


def _budget_text(budget: dict[str, Any]) -> str:
    resets = f", resets {budget['resets_at']}" if budget["resets_at"] else ""
    return f"{budget['settled']} spent + {budget['reserved']} reserved of {budget['limit']}{resets}"


def _spend_text(spend: dict[str, Any]) -> str:
    requests = "request" if spend["requests"] == 1 else "requests"
    unpriced = f", {spend['unpriced']} of them unpriced" if spend["unpriced"] else ""
    return f"{spend['settled']} in {spend['requests']} {requests}{unpriced}"


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _window(budget: dict[str, Any]) -> str:
    rolling = " rolling" if budget.get("alignment") == "rolling" else ""
    return f"{budget['window']}{rolling}"
