"""CTranslate2 in RAM with int8 weights: rates of prefill and decode at some batches, as JSON lines.

Runs in an environment with ctranslate2, torch and transformers; knows nothing of Penstock. The
checkpoint (OPT) is converted into --data when it is not there yet. Prompts of a prefill differ;
decoding goes on from one prompt whose state CTranslate2 keeps, so that only decoding is timed.
"""

import json
import random
import time
from pathlib import Path

import ctranslate2
import rates
from ctranslate2.converters import TransformersConverter
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

_SPECIAL = {"<pad>": 1, "</s>": 2, "<unk>": 3}


def with_tokenizer(model: Path, folder: Path) -> Path:
    """The checkpoint beside a tokenizer of one word per id, which the converter asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in model.iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    size = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    words = {f"w{i}": i for i in range(size) if i not in _SPECIAL.values()} | _SPECIAL
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")),
        pad_token="<pad>",
        bos_token="</s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    tokenizer.save_pretrained(str(folder))
    return folder


def converted(model: Path, data: Path) -> Path:
    made = data / f"{model.name}-ct2-int8"
    if not (made / "model.bin").exists():
        source = with_tokenizer(model, data / f"{model.name}-with-tokenizer")
        converter = TransformersConverter(str(source), low_cpu_mem_usage=True)
        converter.convert(str(made), quantization="int8", force=True)
    return made


class Bench:
    """A generator and prompts of random words."""

    def __init__(self, folder: Path, prompt: int, threads: int) -> None:
        self.prompt = prompt
        self.chosen = random.Random(5)
        self.generator = ctranslate2.Generator(
            str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=threads
        )
        self.shared = self.words()

    def words(self) -> list[str]:
        return [f"w{self.chosen.randrange(4, 50000)}" for _ in range(self.prompt)]

    def seconds(self, prompts: list[list[str]], new: int, shared: bool) -> float:
        kept = {"static_prompt": self.shared, "cache_static_prompt": True} if shared else {}
        begin = time.monotonic()
        results = self.generator.generate_batch(
            prompts,
            max_length=new,
            min_length=new,
            sampling_topk=1,
            include_prompt_in_result=False,
            max_batch_size=0,
            **kept,
        )
        seconds = time.monotonic() - begin
        if any(len(result.sequences[0]) != new for result in results):
            raise SystemExit("CTranslate2 stopped before it had generated every token")
        return seconds

    def prefill(self, batch: int) -> float:
        prompts = [self.words() for _ in range(batch)]
        return batch * self.prompt / self.seconds(prompts, 1, shared=False)

    def decode(self, batch: int, new: int) -> float:
        last = [self.shared[-1:]] * batch
        first = self.seconds(last, 1, shared=True)
        return batch * new / (self.seconds(last, new + 1, shared=True) - first)


def main() -> None:
    arguments = rates.options(__doc__).parse_args()
    folder = converted(arguments.model, arguments.data)
    bench = Bench(folder, arguments.prompt, arguments.threads)
    bench.decode(1, 1)  # computes the shared prompt
    for _ in range(arguments.runs):
        for batch in arguments.prefill:
            rates.tell("prefill", batch, bench.prefill(batch))
        for batch in arguments.decode:
            rates.tell("decode", batch, bench.decode(batch, arguments.new))


if __name__ == "__main__":
    main()
