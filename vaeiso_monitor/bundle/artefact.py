"""A bundle: one immutable artefact that is trained, stored, promoted and served as a whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from vaeiso_monitor.detect import Threshold
from vaeiso_monitor.errors import BundleError
from vaeiso_monitor.model import VAE, ScoringConfig
from vaeiso_monitor.records import Encoder, Schema

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

FORMAT = 1
_DOCUMENT = "bundle.json"
_ARRAYS = "arrays.safetensors"
_MANIFEST = "manifest.json"
_PARTS = ("encoder", "model", "threshold")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Schema, encoder, weights and threshold that belong together, and how they came about.

    ``summary`` is JSON-able: the training report, the records used, the isometry at training time
    and the versions of what trained it. ``version`` is ``<UTC time>-<short hash of the content>``.
    """

    schema: Schema
    encoder: Encoder
    model: VAE
    threshold: Threshold
    scoring: ScoringConfig
    summary: dict[str, Any]
    created: datetime
    version: str

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
    ) -> Bundle:
        """Give the parts their time and their name; from here on nothing changes."""
        created = datetime.now(UTC).replace(microsecond=0)
        unnamed = cls(schema, encoder, model, threshold, scoring, summary, created, "")
        digest = hashlib.sha256()
        for content in unnamed._contents().values():
            digest.update(content)
        version = f"{created:%Y%m%dT%H%M%SZ}-{digest.hexdigest()[:8]}"
        return cls(schema, encoder, model, threshold, scoring, summary, created, version)

    def _contents(self) -> dict[str, bytes]:
        states = {part: getattr(self, part).state() for part in _PARTS}
        document = {
            "format": FORMAT,
            "created": self.created.isoformat(),
            "schema": self.schema.state()[0],
            "scoring": asdict(self.scoring),
            "summary": self.summary,
            **{part: meta for part, (meta, _) in states.items()},
        }
        arrays: dict[str, np.ndarray[Any, Any]] = {
            f"{part}/{name}": value
            for part, (_, parts) in states.items()
            for name, value in parts.items()
        }
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
        manifest = {
            "format": FORMAT,
            "version": self.version,
            "sha256": {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()},
        }
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and verify a bundle; raise BundleError when anything is missing or altered."""
        try:
            manifest = json.loads((folder / _MANIFEST).read_text())
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
            return cls._from_contents(contents, manifest["version"])
        except OSError as error:
            msg = f"{folder} is not a bundle: {error.strerror or error} ({error.filename})"
            raise BundleError(msg) from error
        except (ValueError, KeyError, TypeError) as error:
            msg = f"{folder} is not a valid bundle: {type(error).__name__}: {error}"
            raise BundleError(msg) from error

    @classmethod
    def _from_contents(cls, contents: dict[str, bytes], version: str) -> Bundle:
        document = json.loads(contents[_DOCUMENT])
        arrays = load_arrays(contents[_ARRAYS])

        def part(name: str) -> dict[str, np.ndarray[Any, Any]]:
            prefix = f"{name}/"
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        return cls(
            schema=Schema.from_state(document["schema"], {}),
            encoder=Encoder.from_state(document["encoder"], part("encoder")),
            model=VAE.from_state(document["model"], part("model")),
            threshold=Threshold.from_state(document["threshold"], part("threshold")),
            scoring=ScoringConfig(**_known(ScoringConfig, document["scoring"])),
            summary=document["summary"],
            created=datetime.fromisoformat(document["created"]),
            version=version,
        )

    @property
    def isometry_healthy(self) -> bool | None:
        """The verdict on the isometry when the bundle was trained; None where none was taken."""
        verdict = self.summary.get("isometry", {}).get("healthy")
        return verdict if isinstance(verdict, bool) else None

    @property
    def importance_ratios(self) -> dict[int, float]:
        """Share of each meaningful latent in the sum of importances (Eq. 22), by its index."""
        latents = self.summary.get("isometry", {}).get("latents", [])
        shares = {item["latent"]: item["importance"] for item in latents if item["meaningful"]}
        total = sum(shares.values()) or 1.0
        return {index: importance / total for index, importance in shares.items()}

    def differs_from(self, schema: Schema) -> str | None:
        """Say in words why records of ``schema`` cannot be scored by this bundle, or None."""
        mine, theirs = self.schema, schema
        for kind in ("numbers", "categories"):
            if getattr(mine, kind) != getattr(theirs, kind):
                gone = sorted(set(getattr(mine, kind)) - set(getattr(theirs, kind)))
                new = sorted(set(getattr(theirs, kind)) - set(getattr(mine, kind)))
                return f"{kind} differ: only in the bundle {gone}, only in the config {new}"
        return None


def _known(config: type, values: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(config)}
    if unknown := set(values) - names:
        msg = f"unknown keys {sorted(unknown)}"
        raise BundleError(msg)
    return msgspec.to_builtins(values)  # type: ignore[no-any-return]
