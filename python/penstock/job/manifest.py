"""What the results of a job depend on, written before its first row and compared ever after.

Budgets, policy, threads and the place of files are left out: they change no result.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from penstock.errors import (
    CorruptError,
    JobChangedError,
    MalformedError,
    NotFoundError,
    StorageError,
)
from penstock.job.rows import RowDefaults
from penstock.job.scan import InputScan
from penstock.settings import EngineSettings
from penstock.util.outputfile import write_atomically
from penstock.util.strictjson import read_bytes, read_object

FORMAT = 1
_MAX_BYTES = 16 << 20
_MAX_MODEL_FILE_BYTES = 64 << 20
_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_MODEL_FILES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("chat_template.jinja", "model.safetensors.index.json"),
)
_SETTINGS = ("weights", "kv", "compute", "invariant", "seed", "max_context", "special_tokens")
_ENGINE = (
    *("family", "dtype", "weights", "kv", "compute", "invariant", "isa", "version", "build"),
    "max_context",
)
_PEOPLE = {
    "input": "the input file",
    "model": "the model",
    "settings": "the setting",
    "sampling": "the sampling parameter",
    "engine": "the engine's",
}


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output is."""
    return output.with_name(output.name + ".penstock-manifest.json")


def describe_job(
    scan: InputScan, settings: EngineSettings, defaults: RowDefaults
) -> dict[str, Any]:
    """The part of a manifest that is known before the engine runs."""
    return {
        "format": FORMAT,
        "input": {"size": scan.size, "sha256": scan.sha256},
        "model": _model(settings),
        "settings": {name: getattr(settings, name) for name in _SETTINGS},
        "sampling": {
            **defaults.text.to_json(),
            "max_tokens of chat rows": defaults.chat.max_tokens,
        },
    }


def describe_engine(description: dict[str, Any]) -> dict[str, Any]:
    """The part of a manifest that the engine tells: formats, instruction set, build."""
    return {name: description[name] for name in _ENGINE if name in description}


def job_digest(manifest: dict[str, Any]) -> bytes:
    """8 bytes that name the job of a manifest."""
    text = json.dumps(manifest, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=8).digest()


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Writes it atomically and durably."""
    write_atomically(path, json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a file; raises CorruptError when it is none."""
    try:
        manifest = read_object(path, _MAX_BYTES)
    except MalformedError as error:
        raise CorruptError(f"{error}; not a manifest of Penstock", file=str(path)) from None
    if manifest.get("format") != FORMAT:
        found = manifest.get("format")
        message = f"{path}: manifest format {found!r:.40}, allowed: {FORMAT}"
        raise JobChangedError(message, file=str(path), field="format")
    return manifest


def refuse_changes(before: dict[str, Any], now: dict[str, Any], output: Path) -> None:
    """Raises JobChangedError naming everything in `now` that was different `before`."""
    changes = []
    for part, current in now.items():
        then = before.get(part)
        if isinstance(current, dict) and isinstance(then, dict):
            names = sorted({*current, *then})
            changes += [
                _change(part, name, then.get(name), current.get(name))
                for name in names
                if then.get(name) != current.get(name)
            ]
        elif then != current:
            changes.append(f"{_PEOPLE.get(part, part)} changed")
    if changes:
        message = (
            f"{output}: this output was begun by another job: {'; '.join(changes)}. "
            "Restore that, choose another output, or start anew with --overwrite"
        )
        raise JobChangedError(message, file=str(output))


def _change(part: str, name: str, then: object, now: object) -> str:
    what = f"{_PEOPLE.get(part, part)} {name}".replace("the input file size", "the input's size")
    if part in ("input", "model"):
        return f"{_PEOPLE[part]} changed ({name})"
    return f"{what} was {_shown(then)} and is {_shown(now)}"


def _shown(value: object) -> str:
    return "the default" if value is None else json.dumps(value)[:80]


def _model(settings: EngineSettings) -> dict[str, Any]:
    if settings.is_dummy:
        return {"name": settings.model}
    folder = Path(settings.model)
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder", file=str(folder), field="model")
    digests: dict[str, Any] = {}
    for name in _MODEL_FILES:
        path = folder / name
        if path.exists():
            digests[name] = hashlib.sha256(read_bytes(path, _MAX_MODEL_FILE_BYTES)).hexdigest()
    for path in sorted(folder.glob("*.safetensors")):
        digests[path.name] = _shard(path)
    return digests


def _shard(path: Path) -> dict[str, Any]:
    """Size, time of change and the header's digest of one shard; its weights are not read."""
    try:
        with path.open("rb") as file:
            length = file.read(_HEADER_LENGTH_BYTES)
            count = min(int.from_bytes(length, "little"), _MAX_HEADER_BYTES)
            digest = hashlib.sha256(length + file.read(count)).hexdigest()
        status = path.stat()
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}", file=str(path)) from None
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "header": digest}
