"""A Llama checkpoint as a GGUF file, for llama.cpp: gguf_file.py MODEL OUT bf16|f16.

Without a tokenizer (token ids go in), bf16 values as they are or as fp16. Runs in an environment
with gguf and numpy; knows nothing of Penstock.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

_PARTS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_FILE_TYPES = {
    "bf16": (gguf.LlamaFileType.MOSTLY_BF16, gguf.GGMLQuantizationType.BF16),
    "f16": (gguf.LlamaFileType.MOSTLY_F16, gguf.GGMLQuantizationType.F16),
}


def tensors(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and raw 16-bit values."""
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if entry["dtype"] != "BF16":
                raise SystemExit(f"{path}: {name} is {entry['dtype']}; only BF16 is converted")
            begin, end = entry["data_offsets"]
            raw = np.fromfile(path, np.uint16, (end - begin) // 2, offset=8 + size + begin)
            yield name, raw.reshape(entry["shape"])


def their_name(name: str) -> str:
    base = name.removesuffix(".weight")
    if base in _WHOLE:
        return f"{_WHOLE[base]}.weight"
    _, _, layer, part = base.split(".", 3)
    return f"blk.{layer}.{_PARTS[part]}.weight"


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rotary pairs side by side, as llama.cpp wants them, from halves."""
    halves = rows.reshape(heads, 2, -1, rows.shape[-1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def widened(rows: np.ndarray) -> np.ndarray:
    """bf16 bits as fp32."""
    return (rows.astype(np.uint32) << 16).view(np.float32)


def describe(writer: gguf.GGUFWriter, config: dict[str, Any], kind: str) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(_FILE_TYPES[kind][0])
    writer.add_tokenizer_model("none")


def main() -> None:
    folder, out, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(out, "llama", use_temp_file=False)
    describe(writer, config, kind)
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, raw in tensors(folder):
        rows = raw
        for part, count in heads.items():
            if part in name:
                rows = interleaved(raw, count)
        if rows.ndim == 1:  # gains in fp32
            writer.add_tensor(their_name(name), widened(rows))
            continue
        values = widened(rows).astype(np.float16) if kind == "f16" else np.ascontiguousarray(rows)
        bytes_of = values.view(np.uint8)
        stored = _FILE_TYPES[kind][1]
        writer.add_tensor(their_name(name), bytes_of, raw_shape=bytes_of.shape, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
