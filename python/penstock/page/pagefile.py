"""The page as a file: what can go wrong is found before anything is planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError, NotFoundError
from penstock.page.layout import plan_page
from penstock.util.outputfile import write_atomically
from penstock.util.strictjson import read_object

_MAX_REPORT_BYTES = 64 << 20
_MAX_TRACE_BYTES = 512 << 20


@dataclass(frozen=True)
class PageFile:
    """Where the page goes, and the report and trace that it shows beside the plan."""

    path: Path
    report: dict[str, Any] | None
    trace: dict[str, Any] | None

    def write(self, plan: dict[str, Any], start: datetime | None = None) -> None:
        """Writes the page of a plan, atomically. `start`: when the job may begin; now if None."""
        begin = start if start is not None else datetime.now(timezone.utc)
        write_atomically(self.path, plan_page(plan, self.report, self.trace, begin).encode())


def open_page(
    html: Path | None, report: Path | None = None, trace: Path | None = None
) -> PageFile | None:
    """The file to write, None for no page; raises PenstockError where it could not be written."""
    beside = [("report", report, _MAX_REPORT_BYTES), ("trace", trace, _MAX_TRACE_BYTES)]
    given = [(name, path, most) for name, path, most in beside if path is not None]
    if html is None:
        for name, _, _ in given:
            message = f"{name}: needs --html, the page it goes into"
            raise InvalidArgumentError(message, field=name)
        return None
    if not html.parent.is_dir():
        message = f"html: no folder {str(html.parent)!r} for {html.name}"
        raise NotFoundError(message, field="html", file=str(html.parent))
    if html.is_dir():
        raise InvalidArgumentError(f"html: {html} is a folder", field="html", file=str(html))
    for name, path, _ in given:
        if html.resolve() == path.resolve():
            message = f"html: {html} is the {name}"
            raise InvalidArgumentError(message, field="html", file=str(html))
    read = {name: read_object(path, most) for name, path, most in given}
    return PageFile(html, read.get("report"), read.get("trace"))
