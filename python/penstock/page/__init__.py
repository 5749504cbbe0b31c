"""One page that shows a plan, and a run beside it: HTML that needs nothing but itself."""

from penstock.page.layout import plan_page

__all__ = ["plan_page"]
