"""The C++ example builds from the installed package and gives the tokens that Python gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from penstock import LLM, SamplingParams

EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"
HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE, VOCAB = 48, 2, 6, 2, 80, 101
NEW_TOKENS = 12
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": INTERMEDIATE,
    "vocab_size": VOCAB,
    "max_position_embeddings": 256,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}


def tensor_shapes():
    """Names and shapes of the checkpoint's tensors."""
    kv = HIDDEN // HEADS * KV_HEADS
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "lm_head.weight": (VOCAB, HIDDEN)}
    shapes["model.norm.weight"] = (HIDDEN,)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        for name, rows in (("q", HIDDEN), ("k", kv), ("v", kv), ("o", HIDDEN)):
            shapes[f"{prefix}.self_attn.{name}_proj.weight"] = (rows, HIDDEN)
        shapes[f"{prefix}.mlp.gate_proj.weight"] = (INTERMEDIATE, HIDDEN)
        shapes[f"{prefix}.mlp.up_proj.weight"] = (INTERMEDIATE, HIDDEN)
        shapes[f"{prefix}.mlp.down_proj.weight"] = (HIDDEN, INTERMEDIATE)
        shapes[f"{prefix}.input_layernorm.weight"] = (HIDDEN,)
        shapes[f"{prefix}.post_attention_layernorm.weight"] = (HIDDEN,)
    return shapes


def write_safetensors(path, shapes):
    random = np.random.default_rng(20)
    header, data = {}, b""
    for name, shape in shapes.items():
        values = random.standard_normal(shape, dtype=np.float32)
        values = 1 + values / 10 if len(shape) == 1 else values / 4
        raw = values.astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    write_safetensors(folder / "model.safetensors", tensor_shapes())
    return folder


def run(*command):
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The example, built against the package this Python has installed."""
    build = tmp_path_factory.mktemp("build")
    result = run(sys.executable, "-m", "penstock", "--cmakedir")
    assert result.returncode == 0, result.stderr
    package = f"-Dpenstock_DIR={result.stdout.strip()}"
    settings = (package, "-DCMAKE_BUILD_TYPE=Release")
    configured = run("cmake", "-S", str(EXAMPLE), "-B", str(build), *settings)
    assert configured.returncode == 0, configured.stdout + configured.stderr
    built = run("cmake", "--build", str(build))
    assert built.returncode == 0, built.stdout + built.stderr
    return build / "generate"


def expected_tokens(model, prompt):
    params = SamplingParams(max_tokens=NEW_TOKENS, temperature=0.0)
    with LLM(model) as llm:
        return llm.generate([prompt], params)[0].token_ids


@pytest.mark.parametrize("host_bytes", [0, 64 << 20])
def test_example_gives_the_tokens_of_the_python_package(program, model, host_bytes):
    prompts = [[7], [3, 90, 17, 55, 1], list(range(1, 40))]
    answers = []
    for prompt in prompts:
        result = run(program, str(model), str(host_bytes), str(NEW_TOKENS), *map(str, prompt))
        assert result.returncode == 0, result.stderr
        answers.append([int(token) for token in result.stdout.split()])
        assert answers[-1] == expected_tokens(model, prompt)
    assert all(len(answer) == NEW_TOKENS for answer in answers)
    assert answers[0] != answers[1] != answers[2]


def test_example_reports_errors_of_the_engine(program, model, tmp_path):
    missing = run(program, str(tmp_path / "none"), "0", "4", "1")
    assert missing.returncode == 1
    assert "not_found" in missing.stderr and "none" in missing.stderr
    unknown = run(program, str(model), "0", "4", str(VOCAB))
    assert unknown.returncode == 1
    assert "invalid_argument" in unknown.stderr


def test_example_refuses_a_wrong_command_line(program, model):
    for wrong in (["0", "4"], ["0", "4", "x"], ["0", "four", "1"], ["-1", "4", "1"]):
        result = run(program, str(model), *wrong)
        assert result.returncode == 2
        assert "usage" in result.stderr
