"""What a secret of Google's may be, and what is no such thing."""

from pathlib import Path

import pytest

from services.gateway.providers.tokens import TokenRefused
from services.gateway.providers.vertex.google import GoogleCredential, project_of


@pytest.mark.parametrize(
    "secret", ["{", '{"type":"service_account"}', '{"type":"magic"}', "/no/such/file", "[]"]
)
async def test_a_secret_that_is_no_key_is_refused(secret: str) -> None:
    with pytest.raises(TokenRefused):
        await GoogleCredential(secret).fetch()


async def test_a_secret_may_be_the_path_of_a_key(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text('{"type":"magic"}')
    with pytest.raises(TokenRefused, match="type"):
        await GoogleCredential(str(key)).fetch()


@pytest.mark.parametrize(
    ("secret", "project"), [('{"project_id":"p"}', "p"), ("{", ""), ('{"project_id":1}', ""), ("/path", "")]
)
def test_the_project_of_a_key(secret: str, project: str) -> None:
    assert project_of(secret) == project
