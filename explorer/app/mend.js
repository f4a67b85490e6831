// What Material's parts lack or have wrong for people without a pointer, or without a screen.  Roles and names: the parts
// live in shadow roots, and come and go, so every root is looked at when something in it changes.

const MENDS = {
  // A description's icon is a span with a name: without a role, the name counts for nothing.
  "span[aria-label]:not([role])": part => part.setAttribute("role", "img"),
  // The sidebar's edge, which a pointer drags.
  "div[aria-label='Resize sidebar']:not([role])": part => part.setAttribute("role", "separator"),
  // A select's list has the role of a list, its entries that of a menu.
  "[role=listbox] > [role=menuitem]": part => {
    part.setAttribute("role", "option")
    part.setAttribute("aria-selected", part.classList.contains("Mui-selected"))
  },
  "[role=progressbar]:not([aria-label])": part => part.setAttribute("aria-label", "Busy"),
  // More and less of a number.
  ".MuiInputAdornment-root button:not([aria-label])": part => {
    const last = part.closest(".MuiInputAdornment-positionEnd") !== null
    part.setAttribute("aria-label", last ? "More" : "Less")
  },
}

function mend(root) {
  for (const [parts, how] of Object.entries(MENDS)) root.querySelectorAll(parts).forEach(how)
}

const watched = new WeakSet()

function watch(root) {
  if (watched.has(root)) return
  watched.add(root)
  mend(root)
  within(root)
  new MutationObserver(changes => {
    mend(root)
    for (const {addedNodes} of changes) addedNodes.forEach(within)
  }).observe(root, {childList: true, subtree: true})
}

function within(node) {
  if (node.shadowRoot) watch(node.shadowRoot)
  node.querySelectorAll?.("*").forEach(element => { if (element.shadowRoot) watch(element.shadowRoot) })
}

// Panel's selects open when they are clicked, and only then: here by the keys, too, that open a list.
function open(event) {
  const [part] = event.composedPath()
  if (!["Enter", " ", "ArrowDown", "ArrowUp"].includes(event.key) || !(part instanceof Element)) return
  if (!part.matches("[role=combobox][aria-haspopup=listbox][aria-expanded=false]:not(input)")) return
  event.preventDefault()
  part.click()
}

export function render() {
  if (!window.explorerMends) { // once a page
    window.explorerMends = true
    const attach = Element.prototype.attachShadow
    Element.prototype.attachShadow = function(how) {
      const root = attach.call(this, how)
      watch(root)
      return root
    }
    watch(document)
    document.addEventListener("keydown", open)
  }
  return document.createElement("span")
}
