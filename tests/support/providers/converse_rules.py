"""What Converse refuses although its shapes allow it: by the documentation of those shapes."""

from typing import Any

import msgspec

from tests.support.providers.claude import check_closed, check_effort


def wrong_in_chat(params: dict[str, Any]) -> str:
    """What the service has against a request of these parameters; empty when it is good."""
    for at, message in enumerate(params["messages"]):
        kinds = {kind for block in message["content"] for kind in block}
        if "document" in kinds and "text" not in kinds:
            return f"messages.{at}.content: a document must come with a text"
    thinking = params.get("additionalModelRequestFields", {}).get("thinking", {})
    output = params.get("outputConfig", {})
    try:
        if "textFormat" in output:
            check_closed(msgspec.json.decode(output["textFormat"]["structure"]["jsonSchema"]["schema"]))
        for tool in params.get("toolConfig", {}).get("tools", ()):
            if tool.get("toolSpec", {}).get("strict"):
                check_closed(tool["toolSpec"]["inputSchema"]["json"])
        thinks = thinking.get("type") in ("enabled", "adaptive")
        check_effort(output.get("effort"), params.get("modelId", ""), thinks)
        limit = params.get("inferenceConfig", {}).get("maxTokens")
        if limit is not None and thinking.get("budget_tokens", 0) >= limit:
            return "thinking.budget_tokens must be less than maxTokens"
    except ValueError as wrong:
        return str(wrong)
    return ""
