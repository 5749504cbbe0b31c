"""Held-out perplexity and sample continuations of a model folder, computed in bf16."""

import argparse
import math
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

PROMPTS = [
    "The database server",
    "If the file does not exist,",
    "This function returns",
    "When you want to install a new package, you",
    "Note that",
]


def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, length: int
) -> tuple[float, int, float]:
    """Perplexity over windows that share no tokens, each led by <s>; tokens; bits per byte."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    total = 0.0
    for at in range(0, len(ids), length - 1):
        row = torch.tensor([[tokenizer.bos_token_id, *ids[at : at + length - 1]]])
        with torch.no_grad():
            logits = model(input_ids=row).logits[0, :-1].float()
        total += cross_entropy(logits, row[0, 1:], reduction="sum").item()
    return math.exp(total / len(ids)), len(ids), total / math.log(2) / len(text.encode())


def continuation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    options: argparse.Namespace,
) -> str:
    """The prompt with a continuation: greedy, or sampled where a temperature is given."""
    inputs = tokenizer(prompt, return_tensors="pt")
    settings = {"do_sample": False}
    if options.temperature > 0:
        settings = {"do_sample": True, "temperature": options.temperature, "top_p": 0.9, "top_k": 0}
    output = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        max_new_tokens=options.new_tokens,
        **settings,
    )
    return tokenizer.decode(output[0], skip_special_tokens=True)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="model folder")
    parser.add_argument("--text", required=True, help="held-out text")
    parser.add_argument("--length", type=int, default=256, help="window, <s> included")
    parser.add_argument("--new-tokens", type=int, default=60)
    parser.add_argument("--temperature", type=float, default=0.7, help="0 is greedy")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Print the perplexity, then one continuation per prompt."""
    options = parse_arguments()
    torch.manual_seed(options.seed)
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.bfloat16).eval()
    text = Path(options.text).read_text(encoding="utf-8")
    value, count, bits = perplexity(model, tokenizer, text, options.length)
    print(f"perplexity {value:.2f} over {count} tokens, {bits:.3f} bits per byte")
    for prompt in PROMPTS:
        print("---", continuation(model, tokenizer, prompt, options), sep="\n")


if __name__ == "__main__":
    main()
