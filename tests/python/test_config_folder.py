"""Folders whose config.json and tensors do not belong together, or ask for what is not done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import penstock
import pytest
from penstock import LLM
from safetensors.numpy import load_file, save_file

Tensors = dict[str, numpy.ndarray]
Edit = Callable[[dict[str, Any], Tensors], None]

LAYERS, HIDDEN, VOCAB = 2, 48, 80
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "dtype": "float32",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "intermediate_size": 72,
    "vocab_size": VOCAB,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
}
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        EMBEDDING: (VOCAB, HIDDEN),
        HEAD: (VOCAB, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        stem = f"model.layers.{layer}."
        for name, rows in (("q", 48), ("k", 16), ("v", 16)):
            shapes[f"{stem}self_attn.{name}_proj.weight"] = (rows, HIDDEN)
            shapes[f"{stem}self_attn.{name}_proj.bias"] = (rows,)
        shapes[f"{stem}self_attn.o_proj.weight"] = (HIDDEN, 48)
        shapes[f"{stem}mlp.gate_proj.weight"] = shapes[f"{stem}mlp.up_proj.weight"] = (72, HIDDEN)
        shapes[f"{stem}mlp.down_proj.weight"] = (HIDDEN, 72)
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{stem}{name}.weight"] = (HIDDEN,)
    return shapes


def _write(folder: Path, edit: Edit | None = None) -> Path:
    random = numpy.random.default_rng(7)
    tensors = {
        name: random.standard_normal(shape, dtype=numpy.float32) / 4
        for name, shape in _shapes().items()
    }
    config: dict[str, Any] = dict(CONFIG)
    if edit:
        edit(config, tensors)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def _logits(folder: Path) -> numpy.ndarray:
    with LLM(folder, device="cpu", host_memory="512MiB", threads=1) as llm:
        return llm.logits([5, 3, 17])


def _config(**changes: Any) -> Edit:
    return lambda config, tensors: config.update(changes)


def _drop(name: str) -> Edit:
    return lambda config, tensors: tensors.__delitem__(name)


def _put(name: str, *shape: int) -> Edit:
    return lambda config, tensors: tensors.update({name: numpy.ones(shape, numpy.float32)})


REFUSED = {
    "CF02-architecture": (
        _config(architectures=["MambaForCausalLM"], model_type="mamba"),
        ("unsupported", "OPTForCausalLM (opt), LlamaForCausalLM (llama)"),
    ),
    "CF03-layers": (_config(num_hidden_layers=0), ("malformed", "1 to 4096")),
    "CF07-unknown-key": (_config(residual_multiplier=0.2), ("unsupported", "residual_multiplier")),
    "CF08-no-head": (_drop(HEAD), ("malformed", "missing: lm_head.weight [80, 48]")),
    "CF08-two-heads": (_config(tie_word_embeddings=True), ("malformed", HEAD)),
    "CF09-vocabulary": (
        _config(vocab_size=VOCAB + 1),
        ("malformed", f"{EMBEDDING} is [80, 48], config.json makes it [81, 48]"),
    ),
    "CF09-bias": (
        _drop("model.layers.1.self_attn.k_proj.bias"),
        ("malformed", "missing: model.layers.1.self_attn.k_proj.bias [16]"),
    ),
    "CF09-missing-layer": (
        _config(num_hidden_layers=3),
        ("malformed", "missing: model.layers.2.input_layernorm.weight [48]"),
    ),
    "CF09-extra-layer": (
        _config(num_hidden_layers=1),
        ("malformed", "no use for these tensors: model.layers.1.input_layernorm.weight"),
    ),
    "CF09-extra-bias": (
        _put("model.layers.0.self_attn.o_proj.bias", HIDDEN),
        ("malformed", "no use for these tensors: model.layers.0.self_attn.o_proj.bias"),
    ),
    "CF09-norm-shape": (
        _put("model.norm.weight", 1, HIDDEN),
        ("malformed", "model.norm.weight is [1, 48], config.json makes it [48]"),
    ),
    "CF12-quantised": (
        _config(quantization_config={"quant_method": "awq"}),
        ("unsupported", "already quantised"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(name: str, tmp_path: Path) -> None:
    """Each with its code, and a message that says what is wrong where."""
    edit, (code, part) = REFUSED[name]
    folder = _write(tmp_path / "model", edit)
    with pytest.raises(penstock.PenstockError) as caught:
        _logits(folder)
    assert caught.value.code == code
    assert part in str(caught.value)
    assert str(folder) in str(caught.value)


def test_without_config(tmp_path: Path) -> None:
    """CF01: the file is not there."""
    folder = _write(tmp_path / "model")
    (folder / "config.json").unlink()
    with pytest.raises(penstock.PenstockError, match=r"config\.json") as caught:
        _logits(folder)
    assert caught.value.code == "not_found"


def test_a_tied_head_may_be_stored_twice(tmp_path: Path) -> None:
    """CF08: both tensors, equal byte for byte, are one."""

    def tie(config: dict[str, Any], tensors: Tensors) -> None:
        config["tie_word_embeddings"] = True
        tensors[HEAD] = tensors[EMBEDDING].copy()

    twice = _write(tmp_path / "twice", tie)
    once = _write(tmp_path / "once", tie)
    tensors = load_file(once / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if k != HEAD}, once / "model.safetensors")
    assert numpy.array_equal(_logits(twice), _logits(once))


def test_code_in_the_folder_is_not_run(tmp_path: Path) -> None:
    """CF13: auto_map is ignored and the module it names never imported."""
    plain = _logits(_write(tmp_path / "plain"))
    folder = _write(tmp_path / "model", _config(auto_map={"AutoModelForCausalLM": "evil.Model"}))
    trap = tmp_path / "sprung"
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w').close()\n")
    assert numpy.array_equal(_logits(folder), plain)
    assert not trap.exists()


def test_a_huge_context_is_refused_by_the_plan(tmp_path: Path) -> None:
    """CF14: the sizes multiply without overflow; what does not fit is said with its numbers."""
    folder = _write(tmp_path / "model", _config(max_position_embeddings=1 << 24))
    with LLM(folder, host_memory="256MiB", threads=1, max_context=1 << 24) as llm:
        params = penstock.SamplingParams(max_tokens=(1 << 24) - 8, temperature=0)
        with pytest.raises(penstock.PenstockError) as caught:
            llm.generate([[5, 3, 17]], params)
    assert caught.value.code in ("budget", "invalid_argument")
    assert any(char.isdigit() for char in str(caught.value))
