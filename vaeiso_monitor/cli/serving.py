"""The engine that a verb scores with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaeiso_monitor.errors import ConfigError

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Engine
    from vaeiso_monitor.settings import Settings


def engine_of(settings: Settings, version: str | None) -> Engine:
    """Return the bundle ``version``, or the one that serves, as ``run`` would use it.

    The ranges and policies of the config hold where its columns are the bundle's.
    """
    from vaeiso_monitor.bundle import BundleStore, Engine

    store = BundleStore(settings.store)
    bundle = store.current() if version is None else store.load(version)
    if bundle is None:
        msg = f"no bundle serves in {store.path} yet: `vaeiso-monitor train CONFIG` makes one"
        raise ConfigError(msg)
    fits = bundle.differs_from(settings.record_schema) is None
    return Engine(bundle, settings.torch_device(), settings.record_schema if fits else None)
