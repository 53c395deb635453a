// Small tools for a page that is patched in place: nodes are kept, only what differs is written.

export const $ = (selector, within = document) => within.querySelector(selector);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function write(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

export function mark(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/* One row for each item, by key: `make(row)` builds it once, `fill(row, item)` writes its figures.
   Rows hold still while somebody is in the table. */
export function rows(body, items, key, make, fill) {
  const known = (body.known ??= new Map());
  const now = new Set();
  const still = body.matches(":hover") || body.contains(document.activeElement);
  let before = null;
  for (const item of items) {
    const name = key(item);
    now.add(name);
    let row = known.get(name);
    if (!row) {
      row = el("tr");
      make(row, item);
      known.set(name, row);
      if (still) body.append(row);
    }
    row.item = item;
    fill(row, item);
    if (!still || !row.isConnected) {
      const place = before ? (before.beside ?? before).nextSibling : body.firstChild;
      if (place !== row) {
        body.insertBefore(row, place);
        if (row.beside) row.after(row.beside);
      }
      before = row;
    }
  }
  for (const [name, row] of known) {
    if (!now.has(name)) {
      row.beside?.remove();
      row.remove();
      known.delete(name);
    }
  }
}

export function cells(row, ...classes) {
  row.cells_ = classes.map((each) => {
    const cell = el("td", each ? { class: each } : {});
    row.append(cell);
    return cell;
  });
  return row.cells_;
}

/* Show the table where there are rows, else the words that stand for it. */
export function emptied(section, items, words) {
  show($("table", section), items.length > 0);
  const empty = $(".empty", section);
  if (empty) {
    show(empty, items.length === 0);
    if (words) write(empty, words);
  }
}
