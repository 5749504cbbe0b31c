"""What the driver itself reads of a Hugging Face folder: end-of-text ids and template variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.errors import MalformedError, NotFoundError
from penstock.util.strictjson import read_bytes, read_object

MAX_CONFIG_BYTES = 1 << 20
MAX_TEMPLATE_BYTES = 1 << 20
_SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


def eos_token_ids(folder: Path) -> list[int]:
    """End-of-text ids of generation_config.json (an id, a list, or absent); [] without the file."""
    path = folder / "generation_config.json"
    if not path.exists():
        return []
    found = read_object(path, MAX_CONFIG_BYTES).get("eos_token_id")
    ids = [] if found is None else found if isinstance(found, list) else [found]
    if len(ids) > 64 or not all(type(i) is int and 0 <= i < 1 << 31 for i in ids):
        message = f"{path}: eos_token_id: found {found!r:.80}, allowed: token ids"
        raise MalformedError(message, file=str(path), field="eos_token_id")
    return ids


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, or {} when the folder has none."""
    path = folder / "tokenizer_config.json"
    # Files that list every added token run to several hundred KB.
    return read_object(path, 16 * MAX_CONFIG_BYTES) if path.exists() else {}


def special_token_texts(config: dict[str, Any]) -> dict[str, str]:
    """The special tokens that chat templates may name, as text."""
    texts: dict[str, str] = {}
    for name in _SPECIALS:
        value = config.get(name)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            texts[name] = value
    return texts


def chat_template(folder: Path, config: dict[str, Any]) -> str | None:
    """The chat template: chat_template.jinja, else the one (named "default") in the config."""
    path = folder / "chat_template.jinja"
    if path.exists():
        raw = read_bytes(path, MAX_TEMPLATE_BYTES)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"{path}: not UTF-8", file=str(path)) from None
    found = config.get("chat_template")
    if isinstance(found, list):
        templates = {str(t.get("name")): t.get("template") for t in found if isinstance(t, dict)}
        if templates and "default" not in templates:
            names = ", ".join(templates)[:200]
            message = f"{folder}: no chat template is called default; there are: {names}"
            raise NotFoundError(message, file=str(folder), field="chat_template", found=names)
        found = templates.get("default")
    if found is None:
        return None
    if not isinstance(found, str) or len(found) > MAX_TEMPLATE_BYTES:
        where = str(folder / "tokenizer_config.json")
        raise MalformedError(f"{where}: chat_template is not a template", file=where)
    return found
