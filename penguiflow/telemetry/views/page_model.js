// The model: records of the trace as items, items as a tree of rows, and what of it is shown.

const raw = JSON.parse(document.getElementById("trace").textContent);
const KINDS = ["source", "node", "credit"];
const SAYS = { source: "waits for input", node: "at work", credit: "waits for its consumer" };
const MANY = 8; // attempts of one node in a part: more of them are one row, until it is opened

const named = (index) => (index === null ? "" : raw.names[index]);
const failure = (index) => {
  if (index === null) return null;
  const [kind, text, causes, where] = raw.errors[index];
  return { kind, text, causes, where };
};
const spanOf = (start, length) => ({
  start,
  open: length === null,
  end: length === null ? Math.max(raw.seconds, start) : start + length,
});

const parts = raw.parts.map(([part, flow, caller, start, length, status, error], index) => ({
  type: "part", id: `p${index}`, part, node: flow, flow, caller, status, error: failure(error),
  ...spanOf(start, length), queued: 0, events: [], children: [], waits: null,
}));

const steps = raw.steps.map((row, index) => {
  const [part, step, node, attempt, stream, start, length, queued, status, source, own, credit, error, events] = row;
  return {
    type: "step", id: `s${index}`, part, step, node: named(node), attempt, stream: named(stream), status,
    ...spanOf(start, length), queued, waits: [source, own, credit], error: failure(error), children: [],
    events: events.map(([at, name, said]) => ({ at, name, said })),
  };
});

const streams = raw.streams.map((row, index) => {
  const [part, step, node, attempt, stream, start, length, status, source, own, credit, ...more] = row;
  const [chunks, bytes, gaps, drops, first, timeline, error] = more;
  return {
    type: "stream", id: `t${index}`, part, step, node: named(node), attempt, stream: named(stream), status,
    ...spanOf(start, length), queued: 0, waits: [source, own, credit], chunks, bytes, gaps, drops, first,
    timeline: timeline && { width: timeline[0], flat: timeline[1] }, error: failure(error), events: [], children: [],
  };
});

const pauses = raw.pauses.map(([start, length]) => spanOf(start, length));
const idle = raw.idle.map(([start, length]) => spanOf(start, length)); // of these, when no code was at work
const within = (spans, item) => spans.reduce(
  (sum, one) => sum + Math.max(Math.min(one.end, item.end) - Math.max(one.start, item.start), 0), 0);

const whole = [...parts, ...steps, ...streams].reduce((end, item) => Math.max(end, item.end), raw.seconds) || 1e-3;
const items = new Map();

// What is drawn where many are summed up: streams, and steps that have none.
const leaves = [];

function buildTree() {
  const attempts = new Map();
  for (const step of steps) {
    const key = `${step.part}:${step.step}`;
    if (attempts.has(key)) attempts.get(key).push(step);
    else attempts.set(key, [step]);
  }
  const tops = new Map(parts.map((part) => [part.part, part]));
  if (!tops.size) {
    const run = {
      type: "part", id: "p0", part: 0, node: "run", flow: "run", caller: null, status: "", error: null,
      start: 0, end: whole, open: false, queued: 0, events: [], children: [], waits: null,
    };
    parts.push(run);
    tops.set(0, run);
  }
  const root = parts[0];
  const topOf = (part) => tops.get(part) || root;
  const giver = (part, step, attempt, at) => {
    const tried = attempts.get(`${part}:${step}`);
    if (!tried) return null;
    return tried.find((one) => one.attempt === attempt) || tried.findLast((one) => one.start <= at) || tried[0];
  };
  for (const stream of streams) {
    (giver(stream.part, stream.step, stream.attempt, stream.start) || topOf(stream.part)).children.push(stream);
    leaves.push(stream);
  }
  for (const step of steps) {
    topOf(step.part).children.push(step);
    if (!step.children.length) leaves.push(step);
  }
  const tree = [root];
  for (const part of parts.slice(1)) {
    const from = part.caller && giver(part.caller[0], part.caller[1], -1, part.start);
    // a caller inside of what it calls is damage: then the part stands by itself
    let up = from;
    for (let hops = 0; up && hops < 1000; hops += 1) {
      const above = topOf(up.part);
      up = above === part ? (part.stray = true, null) : above.from;
    }
    if (from && !part.stray) {
      part.from = from;
      from.children.push(part);
    } else tree.push(part);
  }
  for (const part of parts) gatherRows(part);
  for (const item of [...steps, ...streams, ...parts]) items.set(item.id, item);
  return tree;
}

function gatherRows(part) {
  const byNode = new Map();
  for (const item of part.children) {
    const key = `${item.type}:${item.node}`;
    if (byNode.has(key)) byNode.get(key).push(item);
    else byNode.set(key, [item]);
  }
  const rows = [];
  for (const [key, group] of byNode) {
    if (group.length <= MANY) {
      rows.push(...group);
      continue;
    }
    const id = `g${part.id}:${key}`;
    const inside = group.flatMap((item) => (item.children.some((one) => one.type === "stream")
      ? item.children.filter((one) => one.type === "stream") : [item]));
    const row = {
      type: "group", id, part: part.part, node: group[0].node, of: group[0].type, children: group, inside, queued: 0,
      start: group.reduce((start, one) => Math.min(start, one.start), Infinity),
      end: group.reduce((end, one) => Math.max(end, one.end), 0), events: [], error: null,
      failed: group.filter((one) => one.error), open: group.some((one) => one.open), status: "",
      waits: [0, 1, 2].map((kind) => group.reduce((sum, one) => sum + one.waits[kind], 0)),
    };
    for (const item of group) item.group = row;
    items.set(id, row);
    group.sort((a, b) => a.start - b.start);
    rows.push(row);
  }
  rows.sort((a, b) => a.start - b.start || a.end - b.end);
  for (const row of rows) row.up = part;
  part.children = rows;
}

const state = { from: 0, to: whole, filter: "", select: null, opened: new Set(), closed: new Set() };
const tree = buildTree();

const isOpened = (item) => (item.type === "group" ? state.opened.has(item.id) : !state.closed.has(item.id));

function flatten() {
  const wanted = state.filter.trim().toLowerCase();
  const fits = (item) => !wanted || item.node.toLowerCase().includes(wanted)
    || (item.stream || "").toLowerCase().includes(wanted);
  const rows = [];
  let found = 0;
  const visit = (item, depth) => {
    const at = rows.length;
    const fit = fits(item);
    rows.push({ item, depth });
    let any = false;
    // what is closed is looked into all the same, to know whether something of it fits
    for (const child of item.children) any = visit(child, depth + 1) || any;
    if (item.type !== "part" && item.type !== "group" && fit) found += 1;
    if (!fit && !any) rows.length = at;
    else if (!isOpened(item)) rows.length = at + 1;
    return fit || any;
  };
  for (const item of tree) visit(item, 0);
  return { rows, found };
}

// Open all that a row stands in.
function reveal(item) {
  const seen = new Set();
  for (let up = item; up && !seen.has(up); ) {
    seen.add(up);
    if (up.group) state.opened.add(up.group.id);
    const above = up.from || parentOf(up);
    if (above) state.closed.delete(above.id);
    up = above;
  }
}

function parentOf(item) {
  if (item.type === "stream") {
    const giver = steps.find((one) => one.children.includes(item));
    if (giver) return giver;
  }
  return item.type === "part" ? null : parts.find((one) => one.part === item.part);
}

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (size < 0.00995) return `${(value * 1e3).toFixed(1)} ms`;
  if (size < 0.995) return `${(value * 1e3).toFixed(0)} ms`;
  return `${value.toFixed(size < 9.95 ? 2 : size < 99.95 ? 1 : 0)} s`;
}

const lengthOf = (item) => Math.max(item.end - item.start, 0);
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

// -- the part of the address that says what is shown

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const zoom = /^([\d.e]+)-([\d.e]+)$/.exec((given.get("zoom") || "").trim());
  const [from, to] = zoom ? [Number(zoom[1]), Number(zoom[2])] : [0, whole];
  const valid = from >= 0 && to > from && Number.isFinite(to);
  [state.from, state.to] = valid ? [Math.min(from, whole), Math.min(to, whole)] : [0, whole];
  if (!(state.to > state.from)) [state.from, state.to] = [0, whole];
  state.filter = given.get("filter") || "";
  const select = given.get("select") || "";
  state.select = items.get(/^\d+$/.test(select) ? `s${select}` : select) || null;
  for (const id of (given.get("open") || "").split(",")) if (items.has(id)) state.opened.add(id);
  if (state.select) reveal(state.select);
}

function writeHash() {
  const said = [];
  const short = (value) => String(Number(value.toPrecision(6)));
  if (state.from > 0 || state.to < whole) said.push(`zoom=${short(state.from)}-${short(state.to)}`);
  if (state.filter) said.push(`filter=${encodeURIComponent(state.filter)}`);
  if (state.select) said.push(`select=${encodeURIComponent(state.select.id)}`);
  const opened = [...state.opened].filter((id) => items.has(id));
  if (opened.length) said.push(`open=${encodeURIComponent(opened.join(","))}`);
  try {
    history.replaceState(null, "", said.length ? `#${said.join("&")}` : location.pathname + location.search);
  } catch {
    // where a page may not have an address of its own, it works without
  }
}
