"""Taking things away: the link to this very state, pictures, tables, the experiment, a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import downloads
from explorer.app.session import Session

COPY = """
if (navigator.clipboard) navigator.clipboard.writeText(window.location.href)
else window.prompt('Copy this link:', window.location.href)
"""
"""A browser lends its clipboard to pages of this machine and to encrypted ones only."""
PICTURE = """
const found = []
const walk = view => {
  const box = view.el ? view.el.getBoundingClientRect() : {width: 0}
  if (view.model.type === 'Figure') { if (box.width > 0) found.push(view) }
  else for (const child of view.children ? view.children() : view.child_views || []) walk(child)
}
for (const view of Bokeh.index.roots) walk(view)
found.forEach(async (view, place) => {
  const blob = await view.export(KIND).to_blob()
  const link = document.createElement('a')
  link.href = URL.createObjectURL(blob)
  link.download = `optimizer-explorer${found.length > 1 ? '-' + (place + 1) : ''}.` + KIND
  link.click()
  URL.revokeObjectURL(link.href)
})
"""


class Share:
    """Buttons under a fold.  `view()` names the view that is shown, `panel_of()` is its layout; `complain` is told
    when there is nothing to take away yet."""

    def __init__(
        self,
        session: Session,
        view: Callable[[], str],
        panel_of: Callable[[], Any],
        complain: Callable[[str], None],
    ) -> None:
        self._session, self._view, self._complain = session, view, complain
        link = pmui.Button(label="Copy link", icon="link", variant="outlined", size="small", margin=(6, 4))
        link.js_on_click(code=COPY)
        pictures = [self._picture(kind) for kind in ("png", "svg")]
        files = [
            self._file("CSV", "csv", lambda: downloads.csv(session, view())),
            self._file("Parquet", "parquet", lambda: downloads.parquet(session, view())),
            self._file("NetCDF (everything)", "nc", lambda: downloads.netcdf(session)),
            self._file("Page (HTML)", "html", lambda: downloads.page(panel_of(), f"Optimizer Explorer: {view()}")),
        ]
        self.panel = pmui.FlexBox(link, *pictures, *files, sizing_mode="stretch_width")

    def _picture(self, kind: str) -> pmui.Button:
        button = pmui.Button(label=kind.upper(), icon="image", variant="outlined", size="small", margin=(6, 4))
        button.js_on_click(code=PICTURE.replace("KIND", f"'{kind}'"))
        return button

    def _file(self, label: str, ending: str, make: Callable[[], Any]) -> pn.widgets.Widget:
        def made() -> Any:
            try:
                return make()
            except ValueError as error:
                self._complain(str(error))
                return None

        return pmui.FileDownload(
            label=label,
            callback=made,
            filename=f"optimizer-explorer.{ending}",
            variant="outlined",
            size="small",
            margin=(6, 4),
        )
