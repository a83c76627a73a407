"""Only what a route knows may stand in a query: a filter that is misspelt must not answer with everything."""

from typing import cast

from fastapi import Request
from fastapi.routing import APIRoute

from services.budget.errors import ApiError
from shared.web.paths import wrong_parameter


def only_known_parameters(request: Request) -> None:
    """A dependency of all routes. Raises ApiError (400) for a parameter that is unknown, or given twice."""
    route = cast(APIRoute, request.scope["route"])
    known = {parameter.alias for parameter in route.dependant.query_params}
    found = wrong_parameter(request.query_params.multi_items(), known)
    if found is not None:
        name, problem = found
        code = "unknown_parameter" if name not in known else "invalid_value"
        raise ApiError(400, code, f"`{name}` {problem}.", param=name)
