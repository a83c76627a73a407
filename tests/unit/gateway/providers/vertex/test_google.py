"""What a secret of Google's may be, and what is no such thing."""

from pathlib import Path
from typing import Any

import google.oauth2.credentials
import msgspec
import pytest
from google.auth import aws, external_account_authorized_user, identity_pool, impersonated_credentials

from services.gateway.providers.tokens import TokenRefused
from services.gateway.providers.vertex.google import GoogleCredential, load, project_of


@pytest.mark.parametrize(
    "secret",
    [
        "{",
        '{"type":"service_account"}',
        '{"type":"magic"}',
        "/no/such/file",
        "[]",
        '{"type":"impersonated_service_account"}',
    ],
)
async def test_a_secret_that_is_no_key_is_refused(secret: str) -> None:
    with pytest.raises(TokenRefused):
        await GoogleCredential(secret).fetch()


async def test_a_secret_may_be_the_path_of_a_key(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"type":"magic"}')
    with pytest.raises(TokenRefused, match="type"):
        await GoogleCredential(str(key)).fetch()


SOURCE = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
POOL = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    "token_url": "https://sts.googleapis.com/v1/token",
}
IMPERSONATED = (
    "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
    "gateway@acme-1.iam.gserviceaccount.com:generateAccessToken"
)


@pytest.mark.parametrize(
    ("info", "kind"),
    [
        (SOURCE, google.oauth2.credentials.Credentials),
        (
            {
                **POOL,
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "credential_source": {"file": "/var/run/token"},
            },
            identity_pool.Credentials,
        ),
        (
            {
                **POOL,
                "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
                "credential_source": {
                    "environment_id": "aws1",
                    "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
                },
            },
            aws.Credentials,
        ),
        (
            {
                **SOURCE,
                "type": "external_account_authorized_user",
                "token_url": "https://sts.googleapis.com/v1/oauthtoken",
            },
            external_account_authorized_user.Credentials,
        ),
        (
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": IMPERSONATED,
                "source_credentials": SOURCE,
            },
            impersonated_credentials.Credentials,
        ),
    ],
)
def test_every_kind_of_key_that_google_hands_out_is_read(info: Any, kind: type) -> None:
    assert type(load(msgspec.json.encode(info).decode(), None)) is kind


@pytest.mark.parametrize(
    ("secret", "project"), [('{"project_id":"p"}', "p"), ("{", ""), ('{"project_id":1}', ""), ("/path", "")]
)
def test_the_project_of_a_key(secret: str, project: str) -> None:
    assert project_of(secret) == project
