"""The Panel app."""

from explorer.app.explorer import Explorer
from explorer.app.page import page

__all__ = ["Explorer", "page"]
