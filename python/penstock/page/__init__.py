"""One page that shows a plan, and a run beside it: HTML that needs nothing but itself."""

from penstock.page.layout import plan_page
from penstock.page.pagefile import PageFile, open_page

__all__ = ["PageFile", "open_page", "plan_page"]
