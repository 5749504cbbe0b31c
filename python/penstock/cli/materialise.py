"""Writes ``dummy:NAME`` as a Hugging Face folder: real shapes, seeded random weights.

Memory stays small: tensors are made and written in pieces, shard by shard.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from penstock.engine.native import Core, native_core
from penstock.errors import InvalidArgumentError, UnsupportedError, engine_errors
from penstock.util.outputfile import storage_error, write_atomically

SHARD_BYTES = 2 << 30
_PIECE_ELEMENTS = 8 << 20
_ALIGNMENT = 4096
_STANDARD_DEVIATION = 0.02


@dataclass(frozen=True)
class TensorShape:
    """One tensor of the checkpoint; ``is_gain`` marks norm weights, which lie around 1."""

    name: str
    shape: tuple[int, ...]
    is_gain: bool

    @property
    def elements(self) -> int:
        """Their product."""
        return math.prod(self.shape)


def materialise(
    model: str, folder: Path, seed: int = 1, core: Core | None = None
) -> dict[str, Any]:
    """Writes config.json and shards of 16-bit weights; returns folder, tensors and bytes."""
    chosen: Any = core or native_core()
    if not model.startswith("dummy:"):
        message = f"materialise: found {model!r:.80}, allowed: dummy:NAME"
        raise InvalidArgumentError(message, field="model", found=model)
    name = model.removeprefix("dummy:")
    with engine_errors():
        config = json.loads(chosen.dummy_config(name))
        tensors = [_tensor(*entry) for entry in chosen.dummy_weights(name)]
    dtype = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16")
    if dtype not in ("bfloat16", "float16"):
        raise UnsupportedError(f"materialise: dtype {dtype}", field="dtype", found=dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, "cannot be made", error) from None
    shards = list(_shards(tensors))
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards):
        file = f"model-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        _write_shard(folder / file, shard, dtype, seed)
        weight_map.update({tensor.name: file for tensor in shard})
    total = 2 * sum(tensor.elements for tensor in tensors)
    contents = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_atomically(folder / "model.safetensors.index.json", json.dumps(contents).encode())
    write_atomically(folder / "config.json", json.dumps(config, indent=1).encode())
    return {"folder": str(folder), "shards": len(shards), "tensors": len(tensors), "bytes": total}


def _tensor(name: str, shape: list[int]) -> TensorShape:
    is_gain = len(shape) == 1 and "norm" in name and name.endswith("weight")
    return TensorShape(name, tuple(shape), is_gain)


def _shards(tensors: list[TensorShape]) -> Iterator[list[TensorShape]]:
    shard: list[TensorShape] = []
    size = 0
    for tensor in tensors:
        if shard and size + 2 * tensor.elements > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += 2 * tensor.elements
    if shard:
        yield shard


def _write_shard(path: Path, shard: list[TensorShape], dtype: str, seed: int) -> None:
    header: dict[str, Any] = {}
    at = 0
    for tensor in shard:
        end = at + 2 * tensor.elements
        spelled = "BF16" if dtype == "bfloat16" else "F16"
        header[tensor.name] = {
            "dtype": spelled,
            "shape": list(tensor.shape),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % _ALIGNMENT)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for tensor in shard:
                _write_tensor(file, tensor, dtype, seed)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise storage_error(path, "writing failed", error) from None


def _write_tensor(file: BinaryIO, tensor: TensorShape, dtype: str, seed: int) -> None:
    import numpy as np

    key = hashlib.blake2b(tensor.name.encode(), digest_size=8).digest()
    random = np.random.Generator(np.random.SFC64([seed, int.from_bytes(key, "little")]))
    for begin in range(0, tensor.elements, _PIECE_ELEMENTS):
        count = min(_PIECE_ELEMENTS, tensor.elements - begin)
        values = random.standard_normal(count, dtype=np.float32)
        values *= np.float32(_STANDARD_DEVIATION)
        if tensor.is_gain:
            values += np.float32(1)
        if dtype == "float16":
            file.write(values.astype(np.float16).data)
        else:
            file.write((values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).data)
