"""Train the byte-level BPE tokenizer of the small models and encode the corpus.

Writes the tokenizer files that transformers reads into every folder given, and the whole
corpus as one array of 16-bit token ids (<s> document </s>, documents shuffled).
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
BOS, EOS = 0, 2
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] | trim }}\n\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def train(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer that puts <s> in front of every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    return tokenizer


def tokenizer_config(max_length: int, with_chat: bool) -> dict:
    """The contents of tokenizer_config.json."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "added_tokens_decoder": {
            str(index): {
                "content": token,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for index, token in enumerate(SPECIALS)
        },
    }
    if with_chat:
        config["chat_template"] = CHAT_TEMPLATE
    return config


def save(tokenizer: Tokenizer, folder: str, max_length: int, with_chat: bool) -> None:
    """Write the tokenizer and generation files of one model folder."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    roles = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": 1}
    contents = {
        "tokenizer_config.json": tokenizer_config(max_length, with_chat),
        "special_tokens_map.json": roles,
        "generation_config.json": generation,
    }
    for name, value in contents.items():
        (path / name).write_text(json.dumps(value, indent=2) + "\n")


def encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """All documents as one array of token ids."""
    parts = []
    for encoding in tokenizer.encode_batch(texts):
        parts.append(np.array(encoding.ids + [EOS], dtype=np.uint16))
    return np.concatenate(parts)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True, help="JSON lines of make_corpus.py")
    parser.add_argument("--tokens", required=True, help="output file for the token array (.npy)")
    parser.add_argument("--folders", nargs="+", required=True, help="model folders")
    parser.add_argument("--vocab-size", type=int, default=4096)
    parser.add_argument("--max-length", type=int, default=512)
    return parser.parse_args()


def main() -> None:
    """Train, save, encode, and print the counts."""
    options = parse_arguments()
    with open(options.corpus, encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]
    random.Random(1).shuffle(texts)
    tokenizer = train(texts, options.vocab_size)
    for folder in options.folders:
        save(tokenizer, folder, options.max_length, with_chat="llama" in Path(folder).name)
    ids = encode(tokenizer, texts)
    np.save(options.tokens, ids)
    letters = sum(map(len, texts))
    print(f"{tokenizer.get_vocab_size()} tokens in the vocabulary, {len(ids)} in the corpus")
    print(f"{letters / len(ids):.2f} characters per token")


if __name__ == "__main__":
    main()
