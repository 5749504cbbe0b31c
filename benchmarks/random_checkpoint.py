"""Writes a checkpoint of OPT's or Llama's shape as published ones are: shards of 2 GB, 16-bit, a
tokenizer.

Values come from one pool of seeded normal numbers, read from a different place for every piece, so
that the disk is the limit. Like published files, tensors are not aligned to pages.

    python benchmarks/random_checkpoint.py opt-6.7b float16 FOLDER
"""

import argparse
import json
import shutil
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from penstock.engine.native import native_core

SHARD_BYTES = 2_000_000_000
_POOL_ELEMENTS = 32 << 20
_PIECE_ELEMENTS = 16 << 20
_DEVIATION = 0.02
_TOKENIZER_TEXT_BYTES = 12 << 20
_SAFETENSORS_NAME = {"float16": "F16", "bfloat16": "BF16"}


def model_config(name: str, dtype: str) -> dict[str, Any]:
    """config.json of the shape, with this dtype; refuses what is neither Llama nor pre-norm OPT."""
    config: dict[str, Any] = json.loads(native_core().dummy_config(name))
    plain = config["hidden_size"] == config.get("word_embed_proj_dim")
    if config["model_type"] != "llama" and not (config["model_type"] == "opt" and plain):
        raise SystemExit(f"{name}: only Llamas and OPT shapes without projections are written")
    return {**config, "torch_dtype": dtype}


def tensors_of(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes in the order of the published files."""
    return _llama_tensors(config) if config["model_type"] == "llama" else _opt_tensors(config)


def _llama_tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    rows, kv_rows = (
        config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads")
    )
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        for name, shape in (("q", rows), ("k", kv_rows), ("v", kv_rows)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (shape, hidden)
        yield f"{prefix}.self_attn.o_proj.weight", (hidden, rows)
        for name in ("gate", "up"):
            yield f"{prefix}.mlp.{name}_proj.weight", (ffn, hidden)
        yield f"{prefix}.mlp.down_proj.weight", (hidden, ffn)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}.{name}.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not config.get("tie_word_embeddings"):
        yield "lm_head.weight", (config["vocab_size"], hidden)


def _opt_tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, ffn = config["hidden_size"], config["ffn_dim"]
    yield "model.decoder.embed_tokens.weight", (config["vocab_size"], hidden)
    yield "model.decoder.embed_positions.weight", (config["max_position_embeddings"] + 2, hidden)
    linear = {f"self_attn.{name}_proj": (hidden, hidden) for name in ("k", "v", "q", "out")}
    linear |= {"fc1": (ffn, hidden), "fc2": (hidden, ffn)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.decoder.layers.{layer}"
        for name, shape in linear.items():
            yield f"{prefix}.{name}.weight", shape
            yield f"{prefix}.{name}.bias", shape[:1]
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            yield f"{prefix}.{name}.weight", (hidden,)
            yield f"{prefix}.{name}.bias", (hidden,)
    yield "model.decoder.final_layer_norm.weight", (hidden,)
    yield "model.decoder.final_layer_norm.bias", (hidden,)


def _coded(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "float16":
        return values.astype(np.float16).view(np.uint16)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)


class _Values:
    """Weights around 0 and norm gains around 1, coded."""

    def __init__(self, dtype: str, seed: int) -> None:
        self._random = np.random.Generator(np.random.SFC64(seed))
        self._dtype = dtype
        self._pool = np.empty(_POOL_ELEMENTS, np.uint16)
        for begin in range(0, _POOL_ELEMENTS, 1 << 20):
            self._pool[begin : begin + (1 << 20)] = self._fresh(1 << 20, 0.0)

    def _fresh(self, count: int, mean: float) -> np.ndarray:
        values = self._random.standard_normal(count, dtype=np.float32)
        return _coded(values * np.float32(_DEVIATION) + np.float32(mean), self._dtype)

    def pieces(self, name: str, elements: int) -> Iterator[np.ndarray]:
        if name.endswith("norm.weight"):
            yield self._fresh(elements, 1.0)
            return
        for begin in range(0, elements, _PIECE_ELEMENTS):
            count = min(_PIECE_ELEMENTS, elements - begin)
            at = int(self._random.integers(_POOL_ELEMENTS - count))
            yield self._pool[at : at + count]


def _shards(config: dict[str, Any]) -> list[dict[str, tuple[int, ...]]]:
    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in tensors_of(config):
        bytes_of = 2 * int(np.prod(shape))
        if size and size + bytes_of > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size += bytes_of
    return shards


def _write_shard(
    file: BinaryIO, shard: dict[str, tuple[int, ...]], dtype: str, values: _Values
) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shard.items():
        end = at + 2 * int(np.prod(shape))
        entry = {"dtype": _SAFETENSORS_NAME[dtype], "shape": list(shape), "data_offsets": [at, end]}
        header[name] = entry
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name, shape in shard.items():
        for piece in values.pieces(name, int(np.prod(shape))):
            file.write(piece.data)


def train_tokenizer(path: Path, vocabulary: int) -> None:
    """A byte-level BPE of about the model's vocabulary, trained on Python's own library."""
    from tokenizers import ByteLevelBPETokenizer

    texts, size = [], 0
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        texts.append(file.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
        if size > _TOKENIZER_TEXT_BYTES:
            break
    tokenizer = ByteLevelBPETokenizer()
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        texts, vocab_size=vocabulary, min_frequency=1, special_tokens=specials, show_progress=False
    )
    tokenizer.save(str(path))


def write_checkpoint(
    name: str, dtype: str, folder: Path, tell: Callable[[str], None] = print, seed: int = 1
) -> None:
    """Writes a named shape with a tokenizer; see ``write_model``."""
    if folder.exists():
        return
    config = model_config(name, dtype)
    extra = [lambda partial: train_tokenizer(partial / "tokenizer.json", config["vocab_size"] - 7)]
    write_model(config, folder, tell, seed, extra)


def write_model(
    config: dict[str, Any],
    folder: Path,
    tell: Callable[[str], None] = print,
    seed: int = 1,
    extra: Iterable[Callable[[Path], None]] = (),
) -> None:
    """Writes the folder, whole or not at all; one that stands is left alone.

    `extra` are called with the folder before it gets its name.
    """
    if folder.exists():
        return
    dtype = config["torch_dtype"]
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    values, shards = _Values(dtype, seed), _shards(config)
    weight_map: dict[str, str] = {}
    for index, shard in enumerate(shards, 1):
        file_name = f"model-{index:05d}-of-{len(shards):05d}.safetensors"
        with (partial / file_name).open("wb") as file:
            _write_shard(file, shard, dtype, values)
        weight_map |= dict.fromkeys(shard, file_name)
        tell(f"{folder.name}: {file_name}")
    total = sum(2 * int(np.prod(shape)) for _, shape in tensors_of(config))
    index_text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map})
    (partial / "model.safetensors.index.json").write_text(index_text, encoding="utf-8")
    (partial / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    for write in extra:
        write(partial)
    partial.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="opt-1.3b, opt-6.7b, llama-3.2-1b, llama-7b, ...")
    parser.add_argument("dtype", choices=sorted(_SAFETENSORS_NAME))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_checkpoint(arguments.name, arguments.dtype, arguments.folder)


if __name__ == "__main__":
    main()
