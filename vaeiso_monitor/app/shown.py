"""What the web shows of the past and of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from vaeiso_monitor.bundle import beta_curve, facts_of, latents_of
from vaeiso_monitor.errors import BundleError, ConfigError, TransientError

if TYPE_CHECKING:
    from vaeiso_monitor.bundle import Bundle, BundleStore
    from vaeiso_monitor.lifecycle import AlertHistory
    from vaeiso_monitor.records import Schema
    from vaeiso_monitor.web import AlertQuery

_CURVE = "members"  # of a training report: long, and told in short by the curve over beta


class ShownAlerts:
    """The alerts of the history, while it is open."""

    def __init__(self) -> None:
        self._history: AlertHistory | None = None

    @contextmanager
    def open(self, history: AlertHistory) -> Iterator[None]:
        """Show ``history`` during the block."""
        self._history = history
        try:
            yield
        finally:
            self._history = None

    def page(self, query: AlertQuery) -> tuple[list[dict[str, Any]], int | None]:
        """Return alerts, newest first, and the cursor of the next page."""
        page = self._living.page(
            query.limit, query.before, query.severity, query.entity, query.verdict, query.since
        )
        return [alert.to_dict() for alert in page.alerts], page.older

    def get(self, alert_id: str) -> dict[str, Any] | None:
        """Return one alert by its id or a beginning that no other has."""
        found = self._living.get(alert_id)
        return None if found is None else found.to_dict()

    @property
    def _living(self) -> AlertHistory:
        if self._history is None:
            msg = "the daemon starts or stops: the alert history is not open"
            raise TransientError(msg)
        return self._history


class ShownModels:
    """The bundles of a store; ``schema`` is what one must fit to serve here.

    ``followed`` says whether anybody takes up what is promoted.
    """

    def __init__(self, store: BundleStore, schema: Schema, followed: Callable[[], bool]) -> None:
        self._store = store
        self._schema = schema
        self._followed = followed
        self._lock = Lock()
        self._known: dict[str, dict[str, Any]] = {}  # a bundle never changes, and loading one costs
        self._judged: tuple[list[str], dict[str, Any] | None] = ([], None)

    def all(self) -> list[dict[str, Any]]:
        """Return the facts of every bundle, newest first."""
        with self._lock, _stored():
            versions = self._store.versions()
            self._known = {name: self._known[name] for name in versions if name in self._known}
            serving = self._serving()
            return [self._facts(name) | {"serving": name == serving} for name in versions[::-1]]

    def get(self, version: str) -> dict[str, Any]:
        """Return all that is known of one bundle; LookupError, or BundleError where it broke."""
        with _stored():
            bundle = self._load(version)
            verdict, summary = self._store.verdict(bundle.version), bundle.summary
            training = {k: v for k, v in summary["training"].items() if k != _CURVE}
            return {
                **self._in_short(bundle),
                "serving": bundle.version == self._serving(),
                "threshold": bundle.threshold.state()[0],
                "latents": latents_of(summary),
                "isometry": {k: v for k, v in summary["isometry"].items() if k != "latents"},
                "beta_curve": beta_curve(summary["training"]),
                "training": training | {"training_set": summary.get("training_set")},
                "features": [feature.name for feature in bundle.encoder.features],
                "trained_with": summary.get("trained_with", {}),
                "verdict": verdict,
            }

    def last_verdict(self) -> dict[str, Any] | None:
        """Return the latest verdict of the gate, None where it never judged."""
        with self._lock, _stored():
            names = self._store.versions()
            if names != self._judged[0]:
                found = (self._store.verdict(name) for name in reversed(names))
                self._judged = names, next((v for v in found if v is not None), None)
            return self._judged[1]

    def promote(self, version: str) -> dict[str, Any]:
        """Let a bundle serve; LookupError, BundleError where it cannot, TransientError."""
        if not self._followed():
            msg = "the daemon serves no model yet, or stops"
            raise TransientError(msg)
        with _stored():
            bundle = self._load(version)
            if difference := bundle.differs_from(self._schema):
                msg = f"{bundle.version} does not fit the [schema] of the config: {difference}"
                raise BundleError(msg)
            before = self._serving()
            if before == bundle.version:
                return {"version": bundle.version, "words": f"{before} serves already"}
            self._store.promote(bundle.version)
        words = f"{bundle.version} serves within seconds instead of {before}"
        return {"version": bundle.version, "words": words}

    def _serving(self) -> str | None:
        try:
            return self._store.serving()
        except BundleError:  # a torn pointer, which the lifecycle writes anew
            return None

    def _load(self, version: str) -> Bundle:
        try:
            name = self._store.resolve(version)
        except BundleError as error:
            msg = f"the store holds no model, or several, called {version!r}"
            raise LookupError(msg) from error
        return self._store.load(name)

    def _facts(self, version: str) -> dict[str, Any]:
        if version not in self._known:
            try:
                self._known[version] = self._in_short(self._store.load(version))
            except BundleError as error:
                return {"version": version, "serving": False, "error": str(error)}
        return self._known[version]

    def _in_short(self, bundle: Bundle) -> dict[str, Any]:
        verdict = self._store.verdict(bundle.version) or {}
        sentence = verdict.get("sentence")
        return facts_of(bundle, verdict) | {"serving": False, "verdict_sentence": sentence}


@contextmanager
def _stored() -> Iterator[None]:
    """Let a disk that refuses, or a bundle that is deleted meanwhile, be a passing trouble."""
    try:
        yield
    except (ConfigError, OSError) as error:
        msg = f"the store cannot be used: {error}"
        raise TransientError(msg) from error
