// The page: rows and bars follow the state, and the state follows wheel, pointer, keys and the address.

const byId = (id) => document.getElementById(id);
const [scroll, tall, layer, labels, bars] = ["scroll", "tall", "layer", "labels", "bars"].map(byId);
const [overview, ruler, panel, filter] = ["overview", "ruler", "panel", "filter"].map(byId);
const INSET = 12; // room on the right for marks at the end of all
const LEAST = Math.max(whole * 1e-6, 1e-6);
let rows = [];
let hover = null;
let waiting = false;

function later() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    draw();
  });
}

function refresh() {
  const { rows: shown, found } = flatten();
  rows = shown;
  byId("count").textContent = state.filter
    ? `${found.toLocaleString("en")} of ${(steps.length + streams.length).toLocaleString("en")}`
    : `${count(steps.length, "step")}, ${count(streams.length, "stream")}`;
  if (filter.value !== state.filter) filter.value = state.filter;
  const high = Math.min(rows.length * ROW, Math.max(window.innerHeight * 0.66, 260));
  tall.style.height = `${Math.max(rows.length, 1) * ROW}px`;
  scroll.style.height = `${Math.max(high, ROW)}px`;
  layer.style.height = `${Math.max(high, ROW)}px`;
  for (const box of document.querySelectorAll("[data-node]")) {
    box.classList.toggle("chosen", Boolean(state.filter) && box.dataset.node === state.filter);
  }
}

function draw() {
  const [width, high] = [bars.parentElement.clientWidth - labels.offsetWidth, scroll.clientHeight];
  if (width <= 0) return;
  const first = Math.max(Math.floor(scroll.scrollTop / ROW), 0);
  const last = Math.min(first + Math.ceil(high / ROW) + 1, rows.length);
  drawLabels(first, last);
  const pen = prepare(bars, width, high);
  const scale = (width - INSET) / (state.to - state.from);
  const place = (at) => (at - state.from) * scale;
  const marks = ticks(state.from, state.to, width);
  drawPauses(pen, place, width, high);
  pen.fillStyle = ink.line;
  for (const { at } of marks) pen.fillRect(Math.round(place(at)), 0, 1, high);
  for (let index = first; index < last; index += 1) {
    const { item } = rows[index];
    const y = index * ROW - scroll.scrollTop;
    if (item === state.select) {
      pen.fillStyle = ink.brush;
      pen.fillRect(0, y, width, ROW);
    }
    if (item.type === "part") drawPart(pen, item, y, place, width);
    else if (item.type === "group") drawGroup(pen, item, y, place, width);
    else drawBar(pen, item, y, place, width);
  }
  if (hover !== null) {
    pen.fillStyle = ink.faint;
    pen.fillRect(Math.round(hover), 0, 1, high);
  }
  drawRuler(width, marks, place);
  drawOverview(width);
}

function drawRuler(width, marks, place) {
  const pen = prepare(ruler, width, 22);
  pen.fillStyle = ink.text;
  pen.textBaseline = "middle";
  for (const { at, says } of marks) {
    const x = Math.round(place(at));
    pen.fillStyle = ink.line;
    pen.fillRect(x, 15, 1, 7);
    pen.fillStyle = ink.text;
    const half = pen.measureText(says).width / 2;
    pen.fillText(says, Math.min(Math.max(x - half, 1), width - 2 * half - 1), 8);
  }
  if (hover === null) return;
  const says = seconds(state.from + (hover / (width - INSET)) * (state.to - state.from));
  const wide = pen.measureText(says).width + 10;
  const x = Math.min(Math.max(hover - wide / 2, 0), width - wide);
  pen.fillStyle = ink.strong;
  pen.beginPath();
  pen.roundRect(x, 0, wide, 17, 4);
  pen.fill();
  pen.fillStyle = ink.ground;
  pen.fillText(says, x + 5, 9);
}

function drawOverview(width) {
  const pen = prepare(overview, width, 38);
  const inner = width - INSET;
  drawDensity(pen, leaves, 0, whole, { x: 0, y: 3, width: inner, height: 32 });
  drawIdle(pen, (at) => (at / whole) * inner, 0, whole, 0, 38, inner);
  const [a, b] = [(state.from / whole) * inner, (state.to / whole) * inner];
  if (a <= 0.5 && b >= inner - 0.5) return;
  pen.fillStyle = ink.ground;
  pen.globalAlpha = 0.72;
  pen.fillRect(0, 0, a, 38);
  pen.fillRect(b, 0, width - b, 38);
  pen.globalAlpha = 1;
  pen.strokeStyle = ink.strong;
  pen.lineWidth = 1;
  pen.strokeRect(Math.round(a) + 0.5, 0.5, Math.max(Math.round(b - a), 3) - 1, 37);
}

function drawLabels(first, last) {
  const made = [];
  for (let index = first; index < last; index += 1) made.push(labelOf(rows[index], index));
  labels.replaceChildren(...made);
  const active = made.find((one) => one.getAttribute("aria-selected") === "true");
  if (active) scroll.setAttribute("aria-activedescendant", active.id);
  else scroll.removeAttribute("aria-activedescendant");
}

function labelOf({ item, depth }, index) {
  const row = make("div", `row ${item.type}${item.error ? " wrong" : ""}`);
  row.id = `row-${index}`;
  row.dataset.index = String(index);
  row.setAttribute("role", "treeitem");
  row.setAttribute("aria-level", String(depth + 1));
  row.setAttribute("aria-selected", String(item === state.select));
  row.setAttribute("aria-posinset", String(index + 1));
  row.setAttribute("aria-setsize", String(rows.length));
  row.style.top = `${index * ROW - scroll.scrollTop}px`;
  row.style.paddingLeft = `${10 + Math.min(depth, 8) * 14}px`;
  const fold = make("span", "fold", item.children.length ? (isOpened(item) ? "▾" : "▸") : "");
  if (item.children.length) row.setAttribute("aria-expanded", String(isOpened(item)));
  const name = make("span", "name", item.type === "stream" && item.stream ? item.stream : item.node);
  name.title = item.node + (item.stream ? ` · ${item.stream}` : "");
  row.append(fold, name);
  if (item.group) row.append(make("span", "tag", `${item.step}`));
  if (item.attempt > 1) row.append(make("span", "tag", `attempt ${item.attempt}`));
  if (item.type === "group") row.append(make("span", "tag", `× ${item.children.length.toLocaleString("en")}`));
  if (item.type === "part" && item.caller) row.append(make("span", "tag", "called"));
  if (item.type === "stream") row.append(make("span", "tag", count(item.chunks, "chunk")));
  row.append(make("span", "took", seconds(lengthOf(item))));
  return row;
}

// -- what changes the state

function zoomTo(from, to) {
  let length = Math.min(Math.max(to - from, LEAST), whole);
  if (!Number.isFinite(length)) length = whole;
  state.from = Math.min(Math.max(from, 0), whole - length);
  state.to = state.from + length;
  writeHash();
  later();
}

function zoomBy(factor, share = 0.5) {
  const length = state.to - state.from;
  const at = state.from + share * length;
  zoomTo(at - share * length * factor, at + (1 - share) * length * factor);
}

const panBy = (share) => {
  const length = state.to - state.from;
  const from = Math.min(Math.max(state.from + share * length, 0), whole - length);
  zoomTo(from, from + length);
};

function choose(item, show = false) {
  state.select = item;
  if (item && show) {
    reveal(item);
    refresh();
    keepInSight();
  }
  fillPanel(panel, item);
  document.body.classList.toggle("with-panel", Boolean(item));
  writeHash();
  later();
}

function keepInSight() {
  const index = rows.findIndex((row) => row.item === state.select);
  if (index < 0) return;
  const [top, bottom] = [index * ROW, (index + 1) * ROW];
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (bottom > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = bottom - scroll.clientHeight;
}

// Scroll to the first row that is in sight on the time axis.
function findInView() {
  if (state.from <= 0 && state.to >= whole) return;
  const within = ({ item }) => item.type !== "part" && item.type !== "group" && item.end >= state.from
    && item.start <= state.to;
  const index = rows.findIndex(within);
  if (index > 2 && index * ROW > scroll.clientHeight) scroll.scrollTop = (index - 2) * ROW;
}

function fold(item, open = !isOpened(item)) {
  if (!item.children.length) return;
  const [set, on] = item.type === "group" ? [state.opened, open] : [state.closed, !open];
  if (on) set.add(item.id);
  else set.delete(item.id);
  refresh();
  if (on && item.type === "group" && scroll.scrollTop === 0) findInView();
  writeHash();
  later();
}

function filterBy(words) {
  state.filter = words;
  scroll.scrollTop = 0;
  refresh();
  writeHash();
  later();
}

function zoomToItem(item) {
  const length = Math.max(lengthOf(item) + item.queued, LEAST);
  zoomTo(item.start - item.queued - length * 0.08, item.end + length * 0.08);
}

function step(by) {
  const at = rows.findIndex((row) => row.item === state.select);
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  if (!rows[next]) return;
  choose(rows[next].item);
  keepInSight();
}

const KEYS = {
  "+": () => zoomBy(0.6), "=": () => zoomBy(0.6), "-": () => zoomBy(1 / 0.6), 0: () => zoomTo(0, whole),
  ArrowLeft: () => panBy(-0.15), ArrowRight: () => panBy(0.15), ArrowUp: () => step(-1), ArrowDown: () => step(1),
  PageUp: () => step(-15), PageDown: () => step(15), Home: () => step(-rows.length), End: () => step(rows.length),
  " ": () => state.select && fold(state.select),
  Enter: () => state.select && (state.select.type === "group" ? fold(state.select) : zoomToItem(state.select)),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (state.filter) filterBy("");
    else choose(null);
    scroll.focus({ preventScroll: true });
    return;
  }
  if (event.target === filter || (event.target.closest && event.target.closest("button, [data-node]"))) return;
  if (event.key === "/") {
    event.preventDefault();
    filter.focus();
    return;
  }
  const inTree = event.target === scroll || event.target === document.body;
  if (!inTree || !Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  KEYS[event.key]();
}

function onWheel(event, always) {
  const box = bars.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - box.left) / (box.width - INSET), 0), 1);
  if (always || event.ctrlKey || event.metaKey || event.altKey) {
    event.preventDefault();
    zoomBy(Math.exp(Math.min(Math.max(event.deltaY, -240), 240) * 0.004), share);
  } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    panBy((event.deltaX || event.deltaY) / box.width);
  }
}

function rowAt(event) {
  const y = event.clientY - scroll.getBoundingClientRect().top + scroll.scrollTop;
  return rows[Math.floor(y / ROW)];
}

function followBars() {
  let held = null;
  bars.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    held = { x: event.clientX, from: state.from, to: state.to, moved: false };
    bars.setPointerCapture(event.pointerId);
  });
  bars.addEventListener("pointermove", (event) => {
    hover = event.clientX - bars.getBoundingClientRect().left;
    if (held && (held.moved || Math.abs(event.clientX - held.x) > 3)) {
      held.moved = true;
      const moved = ((held.x - event.clientX) / bars.clientWidth) * (held.to - held.from);
      const from = Math.min(Math.max(held.from + moved, 0), whole - (held.to - held.from));
      zoomTo(from, from + held.to - held.from);
    }
    later();
  });
  bars.addEventListener("pointerup", (event) => {
    const row = held && !held.moved && rowAt(event);
    held = null;
    if (row) choose(row.item);
  });
  bars.addEventListener("pointerleave", () => {
    hover = null;
    later();
  });
  bars.addEventListener("dblclick", (event) => {
    const row = rowAt(event);
    if (row) zoomToItem(row.item);
  });
}

function followOverview() {
  let from = null;
  const at = (event) => {
    const box = overview.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / (box.width - INSET), 0), 1) * whole;
  };
  overview.addEventListener("pointerdown", (event) => {
    from = at(event);
    overview.setPointerCapture(event.pointerId);
  });
  overview.addEventListener("pointermove", (event) => {
    if (from !== null && Math.abs(at(event) - from) > whole * 0.004) {
      zoomTo(Math.min(from, at(event)), Math.max(from, at(event)));
    }
  });
  overview.addEventListener("pointerup", () => {
    from = null;
  });
  overview.addEventListener("dblclick", () => zoomTo(0, whole));
}

function begin() {
  readInk();
  readHash();
  refresh();
  choose(state.select);
  if (state.select) keepInSight();
  else findInView();
  draw();
  followBars();
  followOverview();
  scroll.addEventListener("scroll", later, { passive: true });
  scroll.addEventListener("wheel", (event) => onWheel(event, false), { passive: false });
  document.querySelector(".scale").addEventListener("wheel", (event) => onWheel(event, true), { passive: false });
  // no "click": there is none where the rows are drawn anew between the button's down and its up
  labels.addEventListener("pointerup", (event) => {
    const row = event.button === 0 && rowAt(event);
    if (row && event.target.className === "fold") fold(row.item);
    else if (row) choose(row.item);
  });
  labels.addEventListener("dblclick", (event) => rowAt(event) && fold(rowAt(event).item));
  document.addEventListener("keydown", onKey);
  filter.addEventListener("input", () => filterBy(filter.value));
  byId("in").addEventListener("click", () => zoomBy(0.5));
  byId("out").addEventListener("click", () => zoomBy(2));
  byId("all").addEventListener("click", () => zoomTo(0, whole));
  for (const box of document.querySelectorAll("[data-node]")) {
    const toggle = () => filterBy(state.filter === box.dataset.node ? "" : box.dataset.node);
    box.addEventListener("click", toggle);
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
  }
  window.addEventListener("hashchange", () => {
    readHash();
    refresh();
    choose(state.select);
    if (state.select) keepInSight();
    else findInView();
  });
  new ResizeObserver(() => {
    refresh();
    later();
  }).observe(byId("chart"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readInk();
    later();
  });
  document.documentElement.dataset.rows = String(rows.length);
  document.documentElement.dataset.ready = performance.now().toFixed(0);
}

begin();
