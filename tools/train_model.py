"""Train one small OPT or Llama model from scratch on a CPU, within a time budget.

The learning rate follows a cosine over the share of the budget that has been used, so the run
ends annealed whenever its time is up. A pause (a gap of more than 20 s between two steps) does
not count. The state is saved every few minutes and picked up again on a restart.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

PAUSE = 20.0
SPECIAL_IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


@dataclass
class Clock:
    """Counts un-paused seconds against a budget and a hard limit of wall time."""

    budget: float
    wall_limit: float
    used: float = 0.0

    def __post_init__(self) -> None:
        """Start counting now."""
        self.start = self.last = time.monotonic()

    def tick(self) -> float:
        """Account for the step that just ended and return the share of time used, 0 to 1."""
        now = time.monotonic()
        gap = now - self.last
        self.last = now
        if gap <= PAUSE:
            self.used += gap
        wall_left = self.wall_limit - (now - self.start)
        end = min(self.budget, self.used + wall_left)
        return 1.0 if end <= self.used else self.used / end


def build_model(options: argparse.Namespace) -> torch.nn.Module:
    """A randomly initialised model of the requested family."""
    torch.manual_seed(options.seed)
    shared = {
        "vocab_size": 4096,
        "hidden_size": options.hidden,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        **SPECIAL_IDS,
    }
    if options.family == "opt":
        config = OPTConfig(
            ffn_dim=options.ffn,
            word_embed_proj_dim=options.hidden,
            do_layer_norm_before=True,
            activation_function="relu",
            dropout=0.0,
            attention_dropout=0.0,
            **shared,
        )
        return OPTForCausalLM(config)
    config = LlamaConfig(
        intermediate_size=options.ffn,
        num_key_value_heads=options.kv_heads,
        hidden_act="silu",
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        **shared,
    )
    return LlamaForCausalLM(config)


def make_optimizer(model: torch.nn.Module, options: argparse.Namespace) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": options.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.99), eps=1e-8, fused=True)


def rate(share: float, step: int, options: argparse.Namespace) -> float:
    """Linear warm-up over steps, then a cosine over the share of the budget used."""
    warm = min(1.0, (step + 1) / options.warmup)
    return options.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def batches(
    tokens: np.ndarray, options: argparse.Namespace, first_step: int
) -> Iterator[torch.Tensor]:
    """Endless batches of packed windows; every epoch shifts the windows and reshuffles them."""
    step, epoch = 0, 0
    length = options.length
    while True:
        draw = np.random.default_rng([options.seed, epoch])
        offset = int(draw.integers(length))
        count = (len(tokens) - offset - 1) // length
        order = draw.permutation(count)
        for at in range(0, count - options.batch + 1, options.batch):
            step += 1
            if step <= first_step:
                continue
            starts = offset + order[at : at + options.batch] * length
            rows = [tokens[start : start + length + 1] for start in starts]
            yield torch.from_numpy(np.stack(rows).astype(np.int64))
        epoch += 1


def loss_of(model: torch.nn.Module, rows: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Mean next-token loss of a batch of windows, each one token longer than the input."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rows: torch.Tensor,
    options: argparse.Namespace,
) -> float:
    """One optimiser step; returns the loss."""
    loss = loss_of(model, rows, options.bf16)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def save_state(
    path: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: dict[str, float],
) -> None:
    """Write the training state so that a crash never leaves a broken file."""
    part = path.with_suffix(".part")
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), **progress}
    torch.save(state, part)
    part.replace(path)


def load_state(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Pick up a saved state; returns the step and the seconds used."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["used"]


def export(model: torch.nn.Module, folder: str) -> None:
    """Save the model in bf16, leaving the folder's generation settings as they are."""
    settings = Path(folder) / "generation_config.json"
    kept = settings.read_text() if settings.exists() else None
    model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="50MB")
    if kept is not None:
        settings.write_text(kept)


def run(options: argparse.Namespace) -> None:
    """The training loop."""
    torch.set_num_threads(1)
    tokens = np.load(options.tokens, mmap_mode="r")
    model = build_model(options).train()
    optimizer = make_optimizer(model, options)
    state = Path(options.state)
    step, used = load_state(state, model, optimizer)
    size = sum(p.numel() for p in model.parameters())
    print(f"{options.family}: {size} parameters, {len(tokens)} tokens, step {step}", flush=True)
    clock = Clock(options.minutes * 60, options.wall_minutes * 60, used)
    saved, share, mean, per_step = clock.used, clock.tick(), None, options.batch * options.length
    for rows in batches(tokens, options, step):
        for group in optimizer.param_groups:
            group["lr"] = rate(share, step, options)
        loss = train_step(model, optimizer, rows, options)
        step += 1
        share = clock.tick()
        mean = loss if mean is None else 0.98 * mean + 0.02 * loss
        if step % options.report == 0:
            left = clock.used * (1 / share - 1) / 60
            seen = step * per_step
            print(f"step {step} seen {seen} loss {mean:.3f} left {left:.1f} min", flush=True)
        done = share >= 1.0 or step == options.max_steps
        if done or clock.used - saved > options.save_every * 60:
            saved = clock.used
            save_state(state, model, optimizer, {"step": step, "used": clock.used})
        if done:
            break
    print(f"done: {step} steps, {step * per_step} tokens, {clock.used / 60:.1f} min, {mean:.3f}")
    export(model, options.out)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=["opt", "llama"])
    parser.add_argument("--tokens", required=True, help="token array of train_tokenizer.py")
    parser.add_argument("--out", required=True, help="model folder")
    parser.add_argument("--state", required=True, help="file for the training state")
    parser.add_argument("--minutes", type=float, default=60, help="un-paused training time")
    parser.add_argument("--wall-minutes", type=float, default=1e6, help="limit, pauses included")
    parser.add_argument("--save-every", type=float, default=4, help="minutes between states")
    parser.add_argument("--max-steps", type=int, default=-1)
    parser.add_argument("--report", type=int, default=50, help="steps between reports")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=2)
    parser.add_argument("--ffn", type=int, default=512)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="bf16 autocast")
    return parser.parse_args()


if __name__ == "__main__":
    run(parse_arguments())
