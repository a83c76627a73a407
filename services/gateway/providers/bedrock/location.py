"""Where a request to Bedrock goes: its region, its address, how its model is called there, and what guards it."""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote

from services.gateway.providers.port import Target
from shared.governance.model import Provider

Service = Literal["bedrock-runtime", "bedrock", "bedrock-agent-runtime"]

DEFAULT_REGION: Final = "us-east-1"
SIGNING_NAME: Final = "bedrock"
"""All three services are signed under this one name."""

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-\d{1,2}")
_REGION_IN_HOST: Final = re.compile(r"\.([a-z]{2}(?:-[a-z]+){1,2}-\d{1,2})\.")
_ARN: Final = re.compile(r"arn:aws[a-z-]*:[a-z]+:([a-z0-9-]+):")
_PLACEHOLDER: Final = "{region}"


@dataclass(frozen=True, slots=True)
class Place:
    """One model in one region."""

    region: str
    model: str
    """An id, an inference profile or an ARN, without our region in front of it."""
    base_url: str

    def url(self, service: Service, path: str) -> str:
        """`path` stands as it is, already escaped. An address of one's own that names no service serves all."""
        return self.base_url.replace("bedrock-runtime", service, 1) + path

    def model_url(self, action: str) -> str:
        """The model is one segment of the path, however many slashes and colons an ARN has."""
        return self.url("bedrock-runtime", f"/model/{quote(self.model, safe='-._~')}/{action}")

    @property
    def arn(self) -> str:
        """The model where only an ARN will do."""
        if self.model.startswith("arn:"):
            return self.model
        partition = "aws-cn" if self.region.startswith("cn-") else "aws"
        if self.region.startswith("us-gov-"):
            partition = "aws-us-gov"
        return f"arn:{partition}:bedrock:{self.region}::foundation-model/{self.model}"


def place_of(target: Target) -> Place:
    """The region stands, in this order, before the model (`eu-west-1/...`), in its ARN, or is the provider's own."""
    model = target.model_on_wire
    head, slash, rest = model.partition("/")
    if slash and _REGION.fullmatch(head):
        region, model = head, rest
    else:
        arn = _ARN.match(model)
        region = arn[1] if arn is not None and arn[1] else region_of(target.provider)
    return Place(region, model, _base_url(target.provider, region))


def region_of(provider: Provider) -> str:
    """The provider's option, else the one in its address, else us-east-1."""
    found = _REGION_IN_HOST.search(provider.base_url)
    return provider.options.get("region") or (found[1] if found is not None else DEFAULT_REGION)


def guardrail_of(provider: Provider) -> tuple[str, str] | None:
    """The identifier and version of the guardrail that the operator puts on all that is said."""
    identifier = provider.options.get("guardrail_identifier")
    return (identifier, provider.options.get("guardrail_version", "DRAFT")) if identifier else None


def _base_url(provider: Provider, region: str) -> str:
    base_url = provider.base_url.rstrip("/")
    if _PLACEHOLDER in base_url:
        base_url = base_url.replace(_PLACEHOLDER, region)
        return f"{base_url}.cn" if region.startswith("cn-") else base_url
    found = _REGION_IN_HOST.search(base_url)
    if found is not None and base_url.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return base_url.replace(found[1], region, 1)
    return base_url
