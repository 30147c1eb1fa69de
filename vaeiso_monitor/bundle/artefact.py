"""A bundle: one immutable artefact that is trained, stored, promoted and served as a whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from vaeiso_monitor.bundle.extremes import Extremes
from vaeiso_monitor.bundle.meaning import moved_by
from vaeiso_monitor.bundle.reference_inputs import InputReference
from vaeiso_monitor.bundle.reference_isometry import IsometryReference
from vaeiso_monitor.bundle.sample import sample_from_state, sample_state
from vaeiso_monitor.detect import Threshold
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model import VAE, ScoringConfig
from vaeiso_monitor.records import Encoder, Schema

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from vaeiso_monitor.types import Records

FORMAT = 1
_DOCUMENT = "bundle.json"
_ARRAYS = "arrays.safetensors"
_MANIFEST = "manifest.json"
_PARTS = ("encoder", "model", "threshold")
_OPTIONAL: dict[str, type[IsometryReference | InputReference | Extremes]] = {
    "extremes": Extremes,
    "isometry_reference": IsometryReference,
    "input_reference": InputReference,
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Schema, encoder, weights and threshold that belong together, and how they came about.

    ``summary`` is JSON-able: the training report, the records used, the isometry at training time
    and the versions of what trained it. ``version`` is ``<UTC time>-<short hash of the content>``.
    ``sample`` holds records that training held out, and the references what drift is measured
    against; ``extremes`` is what distance from the middle costs. They are None in bundles of
    earlier versions.
    """

    schema: Schema
    encoder: Encoder
    model: VAE
    threshold: Threshold
    scoring: ScoringConfig
    summary: dict[str, Any]
    created: datetime
    version: str
    sample: Records | None = None
    isometry_reference: IsometryReference | None = None
    input_reference: InputReference | None = None
    extremes: Extremes | None = None

    @classmethod
    def seal(
        cls,
        *,
        schema: Schema,
        encoder: Encoder,
        model: VAE,
        threshold: Threshold,
        scoring: ScoringConfig,
        summary: dict[str, Any],
        sample: Records | None = None,
        isometry_reference: IsometryReference | None = None,
        input_reference: InputReference | None = None,
        extremes: Extremes | None = None,
        created: datetime | None = None,
    ) -> Bundle:
        """Give the parts their time and their name; from here on nothing changes."""
        created = (created or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        # JSON has no NaN, which the curve of a member that diverged is full of: it becomes null
        summary = json.loads(json.dumps(summary), parse_constant=lambda _: None)
        parts = (schema, encoder, model, threshold, scoring, summary)
        references = (isometry_reference, input_reference)
        unnamed = cls(*parts, created, "", sample, *references, extremes)
        return replace(unnamed, version=_version(created, unnamed._contents()))

    def _contents(self) -> dict[str, bytes]:
        known = [part for part in _OPTIONAL if getattr(self, part) is not None]
        states = {part: getattr(self, part).state() for part in (*_PARTS, *known)}
        document = {
            "format": FORMAT,
            "created": self.created.isoformat(),
            "schema": self.schema.state()[0],
            "scoring": asdict(self.scoring),
            "summary": self.summary,
            **{part: meta for part, (meta, _) in states.items()},
        }
        sample, numbers = sample_state(self.sample)
        if sample is not None:  # a bundle without one keeps the hash that it had
            document["sample"] = sample
        arrays: dict[str, np.ndarray[Any, Any]] = {
            f"{part}/{name}": value
            for part, (_, parts) in states.items()
            for name, value in parts.items()
        }
        arrays |= {f"sample/{name}": value for name, value in numbers.items()}
        return {
            _DOCUMENT: json.dumps(document, indent=1, sort_keys=True, allow_nan=False).encode(),
            _ARRAYS: save_arrays(arrays),
        }

    def save(self, folder: Path) -> None:
        """Write the bundle into ``folder``, which must be new; the manifest is written last."""
        folder.mkdir(parents=True)
        contents = self._contents()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / _MANIFEST).write_bytes(_manifest(self.version, contents))

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and verify a bundle; raise BundleError when anything is missing or altered."""
        try:
            listed = (folder / _MANIFEST).read_bytes()
            manifest = json.loads(listed)
            contents = {name: (folder / name).read_bytes() for name in (_DOCUMENT, _ARRAYS)}
            if manifest["format"] != FORMAT:
                msg = (
                    f"{folder} has bundle format {manifest['format']}, this version reads {FORMAT}"
                )
                raise BundleError(msg)
            for name, content in contents.items():
                if hashlib.sha256(content).hexdigest() != manifest["sha256"][name]:
                    msg = f"{folder / name} does not match its hash in {_MANIFEST}"
                    raise BundleError(msg)
            bundle = cls._from_contents(contents)
        except OSError as error:
            msg = f"{folder} is not a bundle: {error.strerror or error} ({error.filename})"
            raise BundleError(msg) from error
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{folder} is not a valid bundle: {type(error).__name__}: {error}"
            raise BundleError(msg) from error
        if _manifest(bundle.version, contents) != listed:
            msg = f"{folder / _MANIFEST} does not describe the bundle {bundle.version}"
            raise BundleError(msg)
        return bundle

    @classmethod
    def _from_contents(cls, contents: dict[str, bytes]) -> Bundle:
        document = json.loads(contents[_DOCUMENT])
        created = datetime.fromisoformat(document["created"])
        arrays = load_arrays(contents[_ARRAYS])

        def part(name: str) -> dict[str, np.ndarray[Any, Any]]:
            prefix = f"{name}/"
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        references: dict[str, Any] = {
            name: kind.from_state(document[name], part(name))
            for name, kind in _OPTIONAL.items()
            if name in document
        }
        bundle = cls(
            schema=Schema.from_state(document["schema"], {}),
            encoder=Encoder.from_state(document["encoder"], part("encoder")),
            model=VAE.from_state(document["model"], part("model")),
            threshold=Threshold.from_state(document["threshold"], part("threshold")),
            scoring=ScoringConfig(**_known(ScoringConfig, document["scoring"])),
            summary=document["summary"],
            created=created,
            version=_version(created, contents),
            sample=sample_from_state(document.get("sample"), part("sample")),
            **references,
        )
        if bundle.extremes is not None:
            bundle.extremes.require_width(bundle.encoder.width)
        return bundle

    @property
    def isometry_healthy(self) -> bool | None:
        """The verdict on the isometry when the bundle was trained; None where none was taken."""
        verdict = self.summary.get("isometry", {}).get("healthy")
        return verdict if isinstance(verdict, bool) else None

    @property
    def mode_shares(self) -> list[float]:
        """Share of normal operation that each operating mode has; empty without a mixture."""
        shares: list[float] = self.model.prior.shares().flatten().tolist()
        return shares

    @property
    def importance_ratios(self) -> dict[int, float]:
        """Share of each meaningful latent in the sum of importances (Eq. 22), by its index."""
        latents = self.summary.get("isometry", {}).get("latents", [])
        shares = {item["latent"]: item["importance"] for item in latents if item["meaningful"]}
        total = sum(shares.values()) or 1.0
        return {index: importance / total for index, importance in shares.items()}

    @property
    def moved_features(self) -> dict[int, tuple[str, ...]]:
        """Names of the features that each latent moves, most first, by its index."""
        return {
            index: moved_by(loadings)
            for index, loadings in enumerate(self.summary.get("loadings", []))
        }

    def differs_from(self, schema: Schema) -> str | None:
        """Say in words why records of ``schema`` cannot be scored by this bundle, or None."""
        for mine, theirs in (
            (self.schema.number_columns, schema.number_columns),
            (self.schema.category_columns, schema.category_columns),
        ):
            ours = [f"{column.name} ({column.kind})" for column in mine]
            yours = [f"{column.name} ({column.kind})" for column in theirs]
            gone = [name for name in ours if name not in yours]
            new = [name for name in yours if name not in ours]
            if gone or new:
                only = {"only the bundle has": gone, "only the config has": new}
                return "; ".join(f"{where} {', '.join(n)}" for where, n in only.items() if n)
            if ours != yours:
                return f"the order of the columns differs: the bundle has {', '.join(ours)}"
        return None


def _version(created: datetime, contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256(b"".join(contents.values()))
    return f"{created:%Y%m%dT%H%M%SZ}-{digest.hexdigest()[:8]}"


def _manifest(version: str, contents: dict[str, bytes]) -> bytes:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return json.dumps({"format": FORMAT, "version": version, "sha256": hashes}, indent=1).encode()


def _known(config: type, values: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(config)}
    if unknown := set(values) - names:
        msg = f"unknown keys {sorted(unknown)}"
        raise BundleError(msg)
    return msgspec.to_builtins(values)  # type: ignore[no-any-return]
