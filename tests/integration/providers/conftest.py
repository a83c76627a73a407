"""All providers behind one gateway, and the fixture by which a test says what it found."""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.support.conformance.collector import record
from tests.support.providers.street import Street, running_street


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def street(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    async with running_street(tmp_path_factory.mktemp("street")) as street:
        yield street


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Callable[[str, str, str], None]:
    """`cell(provider, feature, outcome)`: see tests/support/conformance."""
    return lambda provider, feature, outcome: record(request, provider, feature, outcome)
