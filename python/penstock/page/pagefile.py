"""The page as a file: what can go wrong is told before anything is planned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import InvalidArgumentError, NotFoundError
from penstock.outputfile import write_atomically
from penstock.page.layout import plan_page
from penstock.strictjson import read_object

_MAX_REPORT_BYTES = 64 << 20


@dataclass(frozen=True)
class PageFile:
    """Where the page goes, and the report that it shows beside the plan."""

    path: Path
    report: dict[str, Any] | None

    def write(self, plan: dict[str, Any]) -> None:
        """Writes the page of a plan, atomically."""
        write_atomically(self.path, plan_page(plan, self.report).encode())


def open_page(html: Path | None, report: Path | None) -> PageFile | None:
    """The file to write, None for no page; raises PenstockError where it could not be written."""
    if html is None:
        if report is not None:
            raise InvalidArgumentError(
                "report: needs --html, the page it goes into", field="report"
            )
        return None
    if not html.parent.is_dir():
        message = f"html: no folder {str(html.parent)!r} for {html.name}"
        raise NotFoundError(message, field="html", file=str(html.parent))
    if html.is_dir():
        raise InvalidArgumentError(f"html: {html} is a folder", field="html", file=str(html))
    if report is None:
        return PageFile(html, None)
    if html.resolve() == report.resolve():
        raise InvalidArgumentError(f"html: {html} is the report", field="html", file=str(html))
    return PageFile(html, read_object(report, _MAX_REPORT_BYTES))
