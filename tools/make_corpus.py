"""Build the training corpus and the held-out text from installed manuals.

Reads HTML, Info, POD, man and text files and Python docstrings below the given folders,
keeps the paragraphs that are English prose, drops repeated ones, and writes one JSON string
(a document) per line. Whole documents of the freely licensed sources named by --heldout-from
are set apart until the held-out size is reached; they never appear in the corpus.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator, Set
from pathlib import Path

from corpus_text import read_document

SKIPPED_PARTS = {
    "_sources",
    "_static",
    "locale",
    "test",
    "tests",
    "site-packages",
    "python3.11.info.gz",  # repeats the HTML pages
}
Document = tuple[Path, list[str]]


def list_files(roots: list[str]) -> list[Path]:
    """All candidate files below the roots, in a stable order that ignores folders' order."""
    seen, files = set(), []
    for root in roots:
        for path in Path(root).rglob("*"):
            if SKIPPED_PARTS.intersection(path.parts) or not path.is_file():
                continue
            real = path.resolve()
            if real not in seen:
                seen.add(real)
                files.append(path)
    return sorted(files, key=order_key)


def order_key(path: Path) -> str:
    """A hash of the last parts of a path: a shuffle that is the same everywhere."""
    return hashlib.sha256("/".join(path.parts[-4:]).encode()).hexdigest()


def read_all(files: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Pairs of path and paragraphs, for the files that hold any prose."""
    for path in files:
        try:
            paragraphs = read_document(path)
        except (OSError, EOFError):
            continue
        if paragraphs:
            yield path, paragraphs


def split_documents(
    documents: list[Document], markers: list[str], heldout_bytes: int
) -> tuple[list[Document], list[Document]]:
    """Set whole documents apart until heldout_bytes are reached; the rest is for training."""
    heldout, training, size = [], [], 0
    for path, paragraphs in documents:
        length = sum(map(len, paragraphs))
        wanted = path.suffix == ".html" and any(marker in str(path) for marker in markers)
        if wanted and size < heldout_bytes and 2000 <= length <= 20000:
            heldout.append((path, paragraphs))
            size += length
        else:
            training.append((path, paragraphs))
    return heldout, training


def word_runs(line: str, length: int = 6) -> set[str]:
    """The runs of that many words in a paragraph, without case, digits and punctuation."""
    words = re.findall("[a-z]+", line.lower())
    return {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)}


def drop_repeats(
    documents: list[Document], heldout_runs: Set[str] = frozenset()
) -> list[tuple[Path, str]]:
    """Keep the first occurrence of every paragraph, and none close to a held-out one."""
    kept, seen = [], set()
    for path, paragraphs in documents:
        fresh = []
        for line in paragraphs:
            letters = "".join(filter(str.isalpha, line.lower()))
            key = hashlib.blake2b(letters.encode(), digest_size=12).digest()
            runs = word_runs(line) if heldout_runs else set()
            if key not in seen and 3 * len(runs & heldout_runs) <= len(runs):
                seen.add(key)
                fresh.append(line)
        if fresh:
            kept.append((path, "\n\n".join(fresh)))
    return kept


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="+", help="folders with manuals")
    parser.add_argument("--out", required=True, help="training documents, JSON lines")
    parser.add_argument("--heldout", required=True, help="held-out text")
    parser.add_argument("--heldout-bytes", type=int, default=200_000)
    parser.add_argument("--heldout-from", nargs="*", default=["python3", "postgresql", "django"])
    return parser.parse_args()


def main() -> None:
    """Write both files and print their sizes."""
    options = parse_arguments()
    documents = list(read_all(list_files(options.roots)))
    heldout, training = split_documents(documents, options.heldout_from, options.heldout_bytes)
    heldout = drop_repeats(heldout)
    runs = set().union(*(word_runs(line) for _, text in heldout for line in text.split("\n\n")))
    training = drop_repeats(training, runs)
    Path(options.heldout).write_text("\n\n\n".join(text for _, text in heldout) + "\n")
    with open(options.out, "w", encoding="utf-8") as out:
        for _, text in training:
            out.write(json.dumps(text) + "\n")
    for name, part in (("held out", heldout), ("training", training)):
        print(f"{name}: {len(part)} documents, {sum(len(text) for _, text in part)} bytes")
    for path, text in heldout:
        print("  held out:", "/".join(path.parts[-3:]), len(text))


if __name__ == "__main__":
    main()
