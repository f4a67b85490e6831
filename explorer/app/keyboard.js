// What only the page can do: hear single keys, remember whether they count, and set the size of all type.

const KEPT = "explorer-shortcuts" // in the browser's own store: it belongs to the person, not to what is shared
// A key typed here is text, or moves something.
const TYPES = "textarea, select, [contenteditable], input:not([type=checkbox], [type=radio]), [role=slider], " +
  "[role=combobox], [role=listbox], [role=menu], [role=dialog], [role=grid]"
// Space presses these, and the arrows move these, when the keyboard has brought the focus there.
const PRESSES = "button, a[href], input, summary, [role=button], [role=switch], [role=tab], [tabindex='0']"
const MOVES = "[type=radio], [role=tab], [tabindex='0']:not(button)"

// Sizes of what does not follow the root's: lessons and panes, and labels in figures, which the theme sets in the page.
const TEXTS = {"--explorer-prose": "21px", "--bokeh-font-size": "24px"}
const LABELS = {
  major_label_text_font_size: "19px", axis_label_text_font_size: "21px", label_text_font_size: "19px",
  title_text_font_size: "19px",
}
const before = new WeakMap() // labels' sizes at a desk

function label(document, presenting) {
  for (const part of document.all_models) {
    if (!/Axis$|Legend$|ColorBar$/.test(part.type)) continue
    const now = Object.fromEntries(Object.keys(LABELS).filter(name => name in part.properties).map(name => [name, part[name]]))
    if (presenting && Object.keys(now).some(name => now[name] !== LABELS[name])) {
      before.set(part, now)
      part.setv(Object.fromEntries(Object.keys(now).map(name => [name, LABELS[name]])))
    } else if (!presenting && before.has(part)) {
      part.setv(before.get(part))
      before.delete(part)
    }
  }
}

export function render({model, view}) {
  // One listener a page, however often it is drawn.
  window.explorerKeys?.abort()
  const listening = window.explorerKeys = new AbortController()
  let clicked = false // the focus is where the pointer left it
  const listen = (name, hear) => document.addEventListener(name, hear, {signal: listening.signal, capture: true})

  listen("pointerdown", () => { clicked = true })
  listen("keydown", event => {
    if (event.key === "Tab") clicked = false
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key
    if (!model.shortcuts && key !== "?") return
    if (!model.keys.includes(key) || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return
    const path = event.composedPath().filter(node => node instanceof Element)
    const within = kinds => path.some(node => node.matches(kinds))
    if (event.isComposing || within(TYPES)) return
    if (!clicked && ((key === " " && within(PRESSES)) || (key === "ArrowRight" && within(MOVES)))) return
    event.preventDefault()
    model.send_msg(key)
  })

  const resize = () => {
    const root = document.documentElement.style
    root.fontSize = model.presenting ? "150%" : ""
    for (const [name, size] of Object.entries(TEXTS))
      model.presenting ? root.setProperty(name, size) : root.removeProperty(name)
    label(view.model.document, model.presenting)
  }
  resize()
  model.on("presenting", resize)
  let waits = false
  const look = event => { // a figure came, or the theme has set its sizes anew
    if (waits || !model.presenting || event.kind !== "ModelChanged") return
    if (!(event.attr in LABELS) && !(event.value instanceof Object)) return
    waits = true
    setTimeout(() => { waits = false; label(view.model.document, model.presenting) })
  }
  view.model.document.on_change(look)
  listening.signal.addEventListener("abort", () => view.model.document?.remove_on_change(look))
  if (localStorage.getItem(KEPT) === "off") model.shortcuts = false
  model.on("shortcuts", () => localStorage.setItem(KEPT, model.shortcuts ? "on" : "off"))
  return document.createElement("span")
}
