"""Views: pure functions from records to HoloViews elements."""
