"""Small random checkpoints, made by transformers, of every family in odd shapes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import transformers

CLASSES = {
    "opt": (transformers.OPTConfig, transformers.OPTForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}


@dataclass(frozen=True)
class Case:
    """One checkpoint and the prompts it is tried with."""

    name: str
    family: str
    config: dict[str, Any]
    prompt_lengths: tuple[int, ...] = (70, 33, 1)
    old_spelling: bool = False  # config.json with rope_theta, rope_scaling and torch_dtype
    seed: int = 0  # chosen so that no step of the reference is near a tie
    dtypes: tuple[str, ...] = field(default=())  # 16-bit copies to try as well

    def prompts(self) -> list[list[int]]:
        """Token ids, the same at each run."""
        generator = torch.Generator().manual_seed(1000 + self.seed)
        vocab = self.config["vocab_size"]
        return [
            torch.randint(0, vocab, (length,), generator=generator).tolist()
            for length in self.prompt_lengths
        ]


def _opt(name: str, hidden: int, heads: int, **more: Any) -> Case:
    options = {key: more.pop(key) for key in tuple(more) if key in Case.__dataclass_fields__}
    config = {
        "vocab_size": 320,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_hidden_layers": 3,
        "ffn_dim": 200,
        "max_position_embeddings": 400,
        "word_embed_proj_dim": hidden,
        **more,
    }
    return Case(name, "opt", config, **options)


def _rotary(name: str, hidden: int, heads: int, kv_heads: int, **more: Any) -> Case:
    options = {key: more.pop(key) for key in tuple(more) if key in Case.__dataclass_fields__}
    config = {
        "vocab_size": 320,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": 3,
        "intermediate_size": 200,
        "max_position_embeddings": 512,
        **more,
    }
    return Case(name, name.split("-")[0], config, **options)


def _rope(kind: str, old_spelling: bool = False, seed: int = 0, **parameters: Any) -> Case:
    parameters = {"rope_type": kind, "rope_theta": 5000.0, **parameters}
    name = f"llama-rope-{kind}" + ("-old" if old_spelling else "")
    case = _rotary(name, 96, 3, 1, head_dim=64, rope_parameters=parameters, seed=seed)
    return replace(case, old_spelling=old_spelling)


_LONG = (300, 33, 1)
_SHORT_FACTOR = [1 + 0.02 * i for i in range(32)]
_LONG_FACTOR = [1 + 0.5 * i for i in range(32)]

CASES = [
    _opt("opt-tied", 96, 6, dtypes=("bfloat16", "float16")),
    _opt(
        "opt-gelu-64", 192, 3, ffn_dim=333, activation_function="gelu", prompt_lengths=_LONG, seed=2
    ),
    _opt("opt-128-untied", 384, 3, tie_word_embeddings=False),
    _opt(
        *("opt-post-projection-80", 160, 2),
        do_layer_norm_before=False,
        word_embed_proj_dim=48,
        seed=3,
        dtypes=("bfloat16", "float16"),
    ),
    _opt(
        "opt-projection",
        96,
        6,
        word_embed_proj_dim=120,
        ffn_dim=100,
        max_position_embeddings=90,
    ),
    _opt(
        *("opt-bare", 112, 7),
        vocab_size=331,
        enable_bias=False,
        layer_norm_elementwise_affine=False,
        _remove_final_layer_norm=True,
    ),
    _rotary("llama-gqa-64", 96, 6, 2, head_dim=64, seed=1, dtypes=("bfloat16", "float16")),
    _rotary(
        *("llama-80-tied", 160, 5, 1), head_dim=80, intermediate_size=333, tie_word_embeddings=True
    ),
    _rotary(
        *("llama-128-bias", 192, 3, 3),
        head_dim=128,
        attention_bias=True,
        mlp_bias=True,
        prompt_lengths=_LONG,
    ),
    _rotary(
        *("llama-own-head_dim", 84, 7, 7),
        vocab_size=331,
        max_position_embeddings=90,  # as many as the longest row has
        old_spelling=True,
        rope_parameters={"rope_theta": 9e4},
    ),
    _rope("linear", factor=3.0),
    _rope("linear", True, factor=3.0),
    _rope("dynamic", factor=2.5, seed=1),
    _rope("yarn", factor=4.0, original_max_position_embeddings=32),
    _rope(
        *("yarn", True, 1),
        factor=8.0,
        original_max_position_embeddings=64,
        mscale=0.7,
        mscale_all_dim=1.3,
        truncate=False,
    ),
    _rope(
        "longrope",
        original_max_position_embeddings=128,
        short_factor=_SHORT_FACTOR,
        long_factor=_LONG_FACTOR,
    ),
    _rope(
        "llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=32,
    ),
    _rotary("mistral-window", 96, 6, 2, head_dim=64, sliding_window=19, dtypes=("bfloat16",)),
    _rotary("mistral-window-long", 160, 2, 2, sliding_window=41, prompt_lengths=_LONG, seed=1),
    _rotary("mistral-no-window", 160, 5, 1, head_dim=80, sliding_window=None, seed=3),
    _rotary("qwen2-tied", 96, 3, 1, tie_word_embeddings=True, dtypes=("bfloat16", "float16")),
    _rotary(
        *("qwen2-window-from-layer", 320, 5, 5),
        use_sliding_window=True,
        sliding_window=23,
        max_window_layers=1,
        prompt_lengths=_LONG,
    ),
    _rotary("qwen2-80", 240, 3, 3, intermediate_size=100, old_spelling=True),
    _rotary("qwen3-128", 96, 3, 1, head_dim=128, tie_word_embeddings=True, dtypes=("bfloat16",)),
    _rotary("qwen3-bias-80", 100, 5, 5, head_dim=80, attention_bias=True, prompt_lengths=_LONG),
    _rotary(
        *("qwen3-layer-types", 96, 6, 3),
        head_dim=64,
        use_sliding_window=True,
        sliding_window=11,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
]


def _fill(model: torch.nn.Module, seed: int) -> None:
    """Weights of a size that keeps every layer at work and the logits apart."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            noise = noise * 0.2 + (1.0 if name.endswith("norm.weight") else 0.0)
        elif "embed" in name:
            noise = noise * 3 / parameter.shape[1] ** 0.5
        else:
            # The mean of an activation would drown what tells tokens apart.
            gain = 0.6 if "fc2" in name or "down_proj" in name else 1.5
            noise = noise * gain / parameter.shape[1] ** 0.5
        parameter.data.copy_(noise)


def _write_old_spelling(path: Path) -> None:
    config = json.loads(path.read_text())
    parameters = dict(config.pop("rope_parameters"))
    config["rope_theta"] = parameters.pop("rope_theta")
    kind = parameters.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **parameters}
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config))


def write_checkpoint(case: Case, folder: Path, dtype: str = "float32") -> None:
    """A Hugging Face folder without tokenizer."""
    config_class, model_class = CLASSES[case.family]
    config = config_class(**case.config, bos_token_id=1, eos_token_id=2)
    model = model_class(config)
    _fill(model, case.seed)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    if case.old_spelling:
        _write_old_spelling(folder / "config.json")
