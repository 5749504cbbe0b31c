"""What a user may choose about the engine, checked, as one value."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from penstock.errors import InvalidArgumentError, MalformedError, NotFoundError
from penstock.machine.shipped import shipped_machine, shipped_machines
from penstock.util.config import cache_folder, named_machine_file
from penstock.util.engine_options import options_of
from penstock.util.sizes import parse_size, parse_sizes

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MAX_JSON_BYTES = 1 << 20
_MODEL = "the folder of a downloaded Hugging Face model, or dummy:NAME"


class EngineOptions(TypedDict, total=False):
    """The keyword options of :class:`penstock.LLM`; sizes are ``"4GiB"`` or bytes."""

    device: str
    host_memory: str | int | None
    device_memory: str | int | list[int] | list[str] | None
    disk: str | None
    disk_memory: str | int | None
    weights: str
    kv: str
    compute: str
    invariant: bool
    policy: str | dict[str, Any] | Path
    machine: str | dict[str, Any] | Path
    probe: bool
    throttle: str | dict[str, Any] | Path
    cache: str | None
    threads: int
    pin_threads: bool
    seed: int
    max_context: int
    special_tokens: bool


@dataclass(frozen=True)
class EngineSettings:
    """Sizes are bytes; 0 and "" mean "choose for me".

    ``policy``, ``machine`` and ``throttle`` are JSON text.

    Without ``machine`` this machine's own figures count. With ``probe`` they are measured where
    there are none yet, once for each machine and disk (see :mod:`penstock.engine.measured`).

    ``seed`` seeds sampling. ``special_tokens`` lets text prompts contain special tokens; otherwise
    ``</s>`` in a prompt is five characters like any others.

    With ``invariant`` a row's results do not depend on the rows beside it, by a bit. Without,
    ``compute="weight_only"`` may multiply many rows in another way that is expected to be faster:
    on GPUs from compute capability 8.0 on, where the machine has cuBLASLt. Elsewhere it changes
    nothing.

    With ``pin_threads`` each compute thread stays on one of the cores the process may use. It
    helps where nothing else runs there, and changes no result.
    """

    model: str
    device: str = "cpu"
    host_memory: int = 0
    device_memory: list[int] = field(default_factory=list)  # one for all, or one each
    disk: str = ""
    disk_memory: int = 0
    weights: str = "auto"
    kv: str = "auto"
    compute: str = "fast"
    invariant: bool = True
    policy: str = ""
    machine: str = ""
    probe: bool = True
    throttle: str = ""
    cache: str = ""
    threads: int = 0
    pin_threads: bool = False
    seed: int = 0
    max_context: int = 0
    special_tokens: bool = False

    @classmethod
    def make(cls, model: str | Path, **options: Unpack[EngineOptions]) -> EngineSettings:
        """Checks the options; a refused one is named in the InvalidArgumentError."""
        known = {f.name for f in dataclasses.fields(cls)} - {"model"}
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        for name in given:
            if name not in known:
                allowed = ", ".join(sorted(known))
                message = f"unknown option {name!r}; allowed: {allowed}"
                raise InvalidArgumentError(message, field=name, allowed=allowed)
        for name in (option.name for option in options_of("size")):
            given[name] = parse_size(given.get(name), name)
        given["device_memory"] = parse_sizes(given.get("device_memory"), "device_memory")
        for option in options_of("count"):
            given[option.name] = _count(option.name, given.get(option.name, 0), option.most)
        for option in options_of("text"):
            given[option.name] = _text(option.name, given.get(option.name, option.default))
        for name in (option.name for option in options_of("flag")):
            if not isinstance(given.get(name, False), bool):
                raise _refuse(name, given[name], "true or false")
        given["policy"] = json_text("policy", given.get("policy", ""))
        given["machine"] = machine_text(given.get("machine", "auto"))
        given["throttle"] = json_text("throttle", given.get("throttle", ""))
        check_disk(given["disk"], given["disk_memory"])
        name = _text("model", model)
        check_model(name)
        given["cache"] = cache_folder(name, given["cache"])
        return cls(model=name, **given)

    @property
    def is_dummy(self) -> bool:
        """Whether the weights are random ones of a known shape."""
        return self.model.startswith("dummy:")

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return dataclasses.asdict(self)


def _refuse(name: str, found: object, allowed: str) -> InvalidArgumentError:
    shown = repr(found)[:80]
    message = f"{name}: found {shown}, allowed: {allowed}"
    return InvalidArgumentError(message, field=name, found=shown, allowed=allowed)


def check_model(model: str) -> None:
    """Refuses what is neither the folder of a model nor a dummy; nothing is downloaded."""
    if model.startswith("dummy:"):
        return
    folder = Path(model)
    if not folder.is_dir():
        message = f"model: no folder {model!r:.200}; allowed: {_MODEL}"
    elif not (folder / "config.json").is_file():
        message = f"model: no config.json in {model!r:.200}; allowed: {_MODEL}"
    else:
        return
    raise NotFoundError(message, file=model, field="model", allowed=_MODEL)


def check_disk(disk: str, disk_memory: int) -> None:
    """Refuses a folder for spilled data that cannot be one, and one without the other."""
    if not disk:
        if disk_memory:
            message = "disk_memory: needs disk beside it, the folder that is written to"
            raise InvalidArgumentError(message, field="disk", allowed="a folder")
        return
    folder = Path(disk)
    if not folder.is_dir():
        raise NotFoundError(f"disk: no folder {disk!r}", file=disk, field="disk")
    if os.statvfs(folder).f_blocks == 0:
        message = f"disk: {disk} is no folder on a disk: its file system holds no data"
        raise InvalidArgumentError(message, file=disk, field="disk", found=disk)
    if not os.access(folder, os.W_OK):
        message = f"disk: the folder {disk} is not writable"
        raise InvalidArgumentError(message, file=disk, field="disk", found=disk)
    if disk_memory == 0:
        message = "disk: needs disk_memory beside it, the most bytes that may be written there"
        raise InvalidArgumentError(message, field="disk_memory", allowed="a size, as 100GiB")


def _count(name: str, value: object, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        raise _refuse(name, value, f"an integer, 0 to {limit}")
    return value


def _text(name: str, value: object) -> str:
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or "\0" in text or (name == "model" and not text):
        raise _refuse(name, value, "text")
    return text


def machine_text(value: str | dict[str, Any] | Path) -> str:
    """A machine given as "auto", a shipped name, JSON text, a dict or a path, as JSON text.

    A shipped name wins over a file of that name, which ``./NAME`` still reaches.
    """
    shipped = shipped_machine(value.strip()) if isinstance(value, str) else ""
    if shipped:
        return shipped
    try:
        return json_text("machine", value, named_machine_file())
    except NotFoundError as error:
        names = ", ".join(shipped_machines())
        allowed = f"{error.allowed}, or one of {names}"
        message = f"machine: no file {error.file!r}; allowed: {allowed}"
        raise NotFoundError(message, file=error.file, field="machine", allowed=allowed) from None


def json_text(name: str, value: str | dict[str, Any] | Path, auto: Path | None = None) -> str:
    """A policy, machine or throttle given as "auto", JSON text, a dict or a path, as JSON text.

    "auto" is the file `auto` where there is one, else "": the engine decides.
    """
    if isinstance(value, dict):
        return json.dumps(value)
    text = str(value).strip()
    if text.startswith("{"):
        return text
    if text in ("", "auto"):
        if auto is None or not auto.is_file():
            return ""
        path = auto
    else:
        path = Path(text)
    if not path.is_file():
        allowed = '"auto", JSON text or the path of a JSON file'
        message = f"{name}: no file {text!r}; allowed: {allowed}"
        raise NotFoundError(message, file=text, field=name, allowed=allowed)
    if path.stat().st_size > _MAX_JSON_BYTES:
        message = f"{path}: over {_MAX_JSON_BYTES} bytes, not a {name}"
        raise MalformedError(message, file=str(path))
    return path.read_text(encoding="utf-8")
