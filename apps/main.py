"""`panel serve apps/main.py`: the explorer as a page."""

from explorer.app import page

page().servable()
