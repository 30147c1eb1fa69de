"""``check``: what is wrong with a config, and what ``run`` would do with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaeiso_monitor.cli.options import ConfigArgument, JsonOption
from vaeiso_monitor.errors import BundleError, VaeisoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vaeiso_monitor.settings import Settings


def check(
    config: ConfigArgument,
    connect: Annotated[
        bool, typer.Option("--connect", help="Try the source and every sink as well.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a config: name every wrong key with its line, and say what `run` would do.

    Exits with 2 when the config is wrong or does not fit the serving bundle, with 1 when that is
    damaged or --connect finds a peer that does not answer.
    """
    from vaeiso_monitor import settings

    loaded = settings.load(config)
    plan = _plan(loaded)
    plan["bundle"], code = _bundle(loaded)
    if connect:
        tried = dict(_try(name, attempt) for name, attempt in _peers(loaded))
        plan["connect"] = tried
        code = code or int(not all(result["ok"] for result in tried.values()))
    if as_json:
        print(json.dumps(plan, indent=2))
    else:
        print(f"{config} is valid. run would {'fail' if code else 'do this'}:")
        for name, words in plan.items():
            _print(name, words)
    if code:
        raise typer.Exit(code)


def _print(name: str, words: Any) -> None:
    if isinstance(words, dict):
        for peer, result in words.items():
            print(f"  {peer:14} {'ok  ' if result['ok'] else 'FAIL'} {result['message']}")
        return
    print(f"  {name.replace('_', ' '):14} {words}")


def _plan(settings: Settings) -> dict[str, Any]:
    schema = settings.record_schema
    columns = f"{len(schema.numbers)} numbers and booleans, {len(schema.categories)} categories"
    labels = ", ".join(
        f"{role} {getattr(schema, role)}"
        for role in ("key", "time", "entity")
        if getattr(schema, role)
    )
    server = settings.server
    return {
        "source": _describe(settings.source),
        "schema": f"{columns}{'; ' if labels else ''}{labels}",
        "bundle": "",
        "alert_budget": f"{settings.threshold.alert_budget:g} of normal records",
        "alerts": "; ".join(_describe(sink) for sink in settings.alerts.sinks),
        "dead_letters": "; ".join(_describe(sink) for sink in settings.dead_letters.sinks),
        "server": _served(settings) if server.enabled else "none",
        "device": str(settings.torch_device()),
    }


def _served(settings: Settings) -> str:
    server = settings.server
    scheme = "http" if server.tls_cert_file is None else "https"
    tokens = {
        "read": server.read_token_file or server.read_token_env,
        "write": server.write_token_file or server.write_token_env,
    }
    named = " and ".join(right for right, token in tokens.items() if token)
    guard = f"a token to {named}" if named else "for this machine alone"
    return f"{scheme}://{server.host}:{server.port}, {guard}"


def _describe(config: Any) -> str:
    for key in ("path", "topics", "topic", "where", "format"):
        value = getattr(config, key, None)
        if value:
            shown = ", ".join(value) if isinstance(value, tuple) else value
            return f"{config.type} ({shown})"
    return str(config.type)


def _bundle(settings: Settings) -> tuple[str, int]:
    """Return what run would serve, in words, and the exit code that it would end with."""
    from vaeiso_monitor.bundle import BundleStore

    try:
        bundle = BundleStore(settings.store).current()
    except BundleError as error:
        return f"DAMAGED: {error}; `models promote` another", 1
    if bundle is None:
        count = settings.cold_start.min_records
        return f"none yet: collect {count:,} records, train on them, then score all, these too", 0
    if difference := bundle.differs_from(settings.record_schema):
        return f"{bundle.version} does NOT fit [schema]: {difference}", 2
    return f"{bundle.version}, alert line {bundle.threshold.nats:.2f} nats", 0


def _peers(settings: Settings) -> list[tuple[str, Callable[[], str]]]:
    from vaeiso_monitor.sinks import open_sink
    from vaeiso_monitor.sources import open_source

    limit = settings.record_schema.max_record_bytes
    peers = [("source", lambda: _checked(open_source(settings.source, max_record_bytes=limit)))]
    for what, sinks in (
        ("alerts", settings.alerts.sinks),
        ("dead letters", settings.dead_letters.sinks),
    ):
        for number, sink in enumerate(sinks):
            name = what if len(sinks) == 1 else f"{what} {number + 1}"
            peers.append((name, lambda sink=sink: _checked(open_sink(sink))))  # type: ignore[misc]
    return peers


def _checked(peer: Any) -> str:
    try:
        return str(peer.check())
    finally:
        peer.close()


def _try(name: str, attempt: Callable[[], str]) -> tuple[str, dict[str, Any]]:
    try:
        return name, {"ok": True, "message": attempt()}
    except VaeisoError as error:
        return name, {"ok": False, "message": str(error)}
