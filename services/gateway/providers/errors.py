"""What can go wrong between a client's body and a provider's answer.

    FinOpsError
    ├── BadRequest       the client's body is wrong; nothing was sent
    ├── Unsupported      the provider does not have this operation; nothing was sent
    └── UpstreamError    the provider answered with an error

Transport faults are `UpstreamFault` in `services/gateway/upstream/port.py`.
"""

from shared.errors import FinOpsError


class BadRequest(FinOpsError):
    """The client's body is malformed. `param` names the field at fault, if there is one."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class Unsupported(FinOpsError):
    """The provider's type does not have this operation."""

    code = "unsupported_operation"


class UpstreamError(FinOpsError):
    """An error that a provider answered with, in OpenAI's terms.

    `status` is the provider's HTTP status; 502 for an error inside an answer that began with 200 and names
    no status itself. `retryable`: another attempt, credential or provider may succeed. `of_model`: it says
    nothing of the provider's other models: this one gave no answer that is one, or nobody could say where it is.
    """

    code = "provider_error"
    """What it is called where the provider gave no code: the table's name for it."""

    def __init__(
        self,
        *,
        status: int,
        message: str,
        code: str = "",
        type: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        retryable: bool = False,
        of_model: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.upstream_code = code
        """The provider's own code; empty where it gave none. Never the gateway's stable `code`."""
        self.type = type or "upstream_error"
        self.param = param
        self.retry_after_s = retry_after_s
        self.retryable = retryable
        self.of_model = of_model
