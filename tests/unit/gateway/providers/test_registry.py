"""Which client serves which provider type."""

from services.gateway.providers.demo.client import DemoClient
from services.gateway.providers.registry import Channels
from shared.catalogue.provider_types import PROVIDER_TYPES
from tests.support.targets import no_files


def test_the_demo_never_touches_the_network() -> None:
    network, demo = DemoClient(), DemoClient()
    channels = Channels(
        network=network,
        demo=demo,
        azure=network,
        aws=network,
        vertex=network,
        huggingface=network,
        files=no_files,
    )

    served_by_demo = {kind.name for kind in PROVIDER_TYPES.values() if channels.client_for(kind) is demo}

    assert served_by_demo == {"demo"}
    assert all(
        channels.channel_for(kind).adapter is channels.adapter_for(kind) for kind in PROVIDER_TYPES.values()
    )
