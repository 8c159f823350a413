// The bars: all that is drawn on canvas. A bar is divided in height as its time is divided: at work below, waits above.

const ROW = 28;
const BAR = 13;
const STACK = [1, 2, 0]; // from below: node, credit, source
let ink = {};

function readInk() {
  const style = getComputedStyle(document.documentElement);
  const names = "source node credit queue error text faint line ground first chunk strong brush".split(" ");
  ink = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  ink.font = `11px ${style.getPropertyValue("--sans")}`;
}

function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = ink.font;
  return pen;
}

function ticks(from, to, width) {
  const rough = (to - from) / Math.max(width / 96, 1);
  const base = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((one) => one * base >= rough) * base;
  const found = [];
  for (let index = Math.ceil(from / step - 1e-9); index * step <= to + step * 1e-9; index += 1) {
    found.push(index * step);
  }
  const scale = step < 0.001 ? [1e6, "µs"] : step < 0.1 ? [1e3, "ms"] : [1, "s"];
  const digits = Math.max(0, -Math.floor(Math.log10(step * scale[0]) + 1e-9));
  return found.map((at) => ({ at, says: `${(at * scale[0]).toFixed(Math.min(digits, 6))} ${scale[1]}` }));
}

// Sum up items per pixel, as differences, so that long ones cost no more than short ones.
function density(inside, from, to, width) {
  const sums = [0, 1, 2, 3].map(() => new Float64Array(width + 2));
  const scale = width / (to - from);
  const add = (kind, start, end, amount) => {
    const a = Math.max((start - from) * scale, 0);
    const b = Math.min((end - from) * scale, width);
    if (!(b > a) || !(amount > 0)) return;
    const [first, last] = [Math.floor(a), Math.floor(b)];
    const sum = sums[kind];
    const put = (x, much) => {
      sum[x] += much;
      sum[x + 1] -= much;
    };
    if (first === last) {
      put(first, (b - a) * amount);
      return;
    }
    put(first, (first + 1 - a) * amount); // what fills a part of a pixel counts as that part
    sum[first + 1] += amount;
    sum[last] -= amount;
    put(last, (b - last) * amount);
  };
  for (const item of inside) {
    const length = lengthOf(item) - within(idle, item);
    if (item.end < from || item.start > to || !(length > 0)) continue;
    if (item.timeline) {
      const { width: part, flat } = item.timeline;
      for (let at = 0; at < flat.length; at += 4) {
        const start = item.start + (at / 4) * part;
        for (const kind of STACK) add(kind, start, Math.min(start + part, item.end), flat[at + kind] / part);
      }
    } else {
      for (const kind of STACK) add(kind, item.start, item.end, Math.min(item.waits[kind] / length, 1));
    }
  }
  for (const sum of sums) for (let x = 1; x <= width; x += 1) sum[x] += sum[x - 1];
  let most = 0;
  for (let x = 0; x < width; x += 1) most = Math.max(most, sums[0][x] + sums[1][x] + sums[2][x]);
  return { sums, most };
}

function drawDensity(pen, inside, from, to, box) {
  const width = Math.max(Math.floor(box.width), 1);
  const { sums, most } = density(inside, from, to, width);
  if (!(most > 0)) return 0;
  const scale = box.height / Math.max(most, 1);
  for (const [order, kind] of STACK.entries()) {
    pen.fillStyle = ink[KINDS[kind]];
    for (let x = 0; x < width; x += 1) {
      if (!(sums[kind][x] > 1e-9)) continue;
      let below = 0;
      for (let under = 0; under < order; under += 1) below += Math.max(sums[STACK[under]][x], 0);
      const high = sums[kind][x] * scale;
      pen.fillRect(box.x + x, box.y + box.height - below * scale - high, 1, Math.max(high, 0.4));
    }
  }
  return most;
}

function hatch(pen, left, top, width, high, strong) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, high);
  pen.clip();
  pen.globalAlpha = strong ? 0.16 : 0.08;
  pen.fillStyle = ink.credit;
  pen.fillRect(left, top, width, high);
  pen.globalAlpha = strong ? 0.7 : 0.28;
  pen.strokeStyle = ink.credit;
  pen.lineWidth = 1;
  pen.beginPath();
  const step = strong ? 5 : 9;
  for (let x = Math.floor((left - high) / step) * step; x < left + width; x += step) {
    pen.moveTo(x, top + high);
    pen.lineTo(x + high, top);
  }
  pen.stroke();
  pen.restore();
}

// Where the run was paused: a hatched band behind all rows.
function drawPauses(pen, place, width, high) {
  for (const one of pauses) {
    const left = Math.max(place(one.start), 0);
    const right = Math.min(Math.max(place(one.end), place(one.start) + 1), width);
    if (right > left) hatch(pen, left, 0, right - left, high, false);
  }
}

// Over a bar: where nothing of it was at work, because the run was paused.
function drawIdle(pen, place, start, end, top, high, width) {
  for (const one of idle) {
    const left = Math.max(place(Math.max(one.start, start)), -20);
    const right = Math.min(place(Math.min(one.end, end)), width + 20);
    if (right <= left) continue;
    pen.fillStyle = ink.ground;
    pen.fillRect(left, top, right - left, high);
    hatch(pen, left, top, right - left, high, true);
  }
}

function drawBar(pen, item, y, place, width) {
  const [x0, x1] = [place(item.start), place(item.end)];
  const top = y + (ROW - BAR) / 2 - (item.type === "stream" ? 2 : 0);
  if (item.queued > 0) {
    const from = Math.max(place(item.start - item.queued), -4);
    pen.strokeStyle = ink.queue;
    pen.lineWidth = 1.5;
    pen.setLineDash([2, 3]);
    pen.beginPath();
    pen.moveTo(from, top + BAR / 2);
    pen.lineTo(Math.min(x0, width + 4), top + BAR / 2);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = ink.queue;
    if (from >= 0) pen.fillRect(from, top + 3, 1.5, BAR - 6);
  }
  if (x1 < 0 || x0 > width) drawAway(pen, x1 < 0 ? 2 : width - 2, top + BAR / 2, x1 < 0 ? 5 : -5);
  if (x1 < -12 || x0 > width + 12) return;
  const [left, right] = [Math.max(x0, -20), Math.min(Math.max(x1, x0 + 2), width + 20)];
  pen.save();
  pen.beginPath();
  pen.roundRect(left, top, right - left, BAR, Math.min(3, (right - left) / 2));
  pen.clip();
  const told = item.waits[0] + item.waits[1] + item.waits[2];
  pen.fillStyle = told > 0 || item.type === "group" ? ink.source : ink.queue;
  pen.fillRect(left, top, right - left, BAR);
  if (item.timeline) drawTimeline(pen, item, top, place, width);
  else if (told > 0) drawStack(pen, item.waits, left, right, top);
  drawIdle(pen, place, item.start, item.end, top, BAR, width);
  pen.restore();
  if (item.open) drawOpenEnd(pen, right, top);
  if (item.timeline) drawChunks(pen, item, top + BAR + 2, place, width);
  if (item.first !== undefined && item.first !== null) drawFirst(pen, place(item.start + item.first), top);
  for (const event of item.events) drawEvent(pen, event, place(event.at), top);
  if (item.error) drawError(pen, Math.min(right, Math.max(x1, x0 + 2)), top + BAR / 2);
  else if (item.status === "cancelled" || item.status === "expired") drawCut(pen, right, top);
}

function drawStack(pen, waits, left, right, top) {
  const sum = waits[0] + waits[1] + waits[2];
  let bottom = top + BAR;
  for (const kind of STACK) {
    const high = (BAR * waits[kind]) / sum;
    pen.fillStyle = ink[KINDS[kind]];
    if (high > 0) pen.fillRect(left, bottom - high, right - left, high);
    bottom -= high;
  }
}

function drawTimeline(pen, item, top, place, width) {
  const { width: part, flat } = item.timeline;
  for (let at = 0; at < flat.length; at += 4) {
    const start = item.start + (at / 4) * part;
    const [left, right] = [Math.round(place(start)), Math.round(place(Math.min(start + part, item.end)))];
    const waits = [flat[at], flat[at + 1], flat[at + 2]];
    if (right < 0 || left > width || !(waits[0] + waits[1] + waits[2] > 0)) continue;
    drawStack(pen, waits, Math.max(left, -20), Math.min(Math.max(right, left + 1), width + 20), top);
  }
}

function drawChunks(pen, item, top, place, width) {
  const { width: part, flat } = item.timeline;
  let most = 0;
  for (let at = 3; at < flat.length; at += 4) most = Math.max(most, flat[at]);
  if (!most) return;
  pen.fillStyle = ink.chunk;
  for (let at = 0; at < flat.length; at += 4) {
    const start = item.start + (at / 4) * part;
    const [left, right] = [place(start), place(Math.min(start + part, item.end))];
    if (!flat[at + 3] || right < 0 || left > width) continue;
    pen.globalAlpha = 0.2 + 0.8 * (flat[at + 3] / most);
    pen.fillRect(left, top, Math.max(right - left - (right - left > 3 ? 0.6 : 0), 0.8), 3);
  }
  pen.globalAlpha = 1;
}

function drawFirst(pen, x, top) {
  pen.fillStyle = ink.ground;
  pen.fillRect(x - 1.75, top - 2, 3.5, BAR + 3);
  pen.fillStyle = ink.first;
  pen.fillRect(x - 0.75, top - 2, 1.5, BAR + 3);
  pen.beginPath();
  pen.arc(x, top - 2, 2.5, 0, 7);
  pen.fill();
}

function drawEvent(pen, event, x, top) {
  pen.fillStyle = event.name === "retry" || event.name === "drop" ? ink.strong : ink.faint;
  pen.beginPath();
  if (event.name === "retry") {
    pen.moveTo(x - 4.5, top - 6);
    pen.lineTo(x + 4.5, top - 6);
    pen.lineTo(x, top + 1);
  } else {
    pen.arc(x, top - 3, 2, 0, 7);
  }
  pen.fill();
}

function drawError(pen, x, y) {
  pen.fillStyle = ink.ground;
  pen.beginPath();
  pen.arc(x, y, 7.5, 0, 7);
  pen.fill();
  pen.fillStyle = ink.error;
  pen.beginPath();
  pen.arc(x, y, 6, 0, 7);
  pen.fill();
  pen.strokeStyle = ink.ground;
  pen.lineWidth = 1.6;
  pen.beginPath();
  for (const [a, b] of [[-2.4, -2.4], [-2.4, 2.4]]) {
    pen.moveTo(x + a, y + b);
    pen.lineTo(x - a, y - b);
  }
  pen.stroke();
}

// Where a bar is not in sight: on which side it is.
function drawAway(pen, x, y, back) {
  pen.fillStyle = ink.queue;
  pen.globalAlpha = 0.6;
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + back, y - 3.5);
  pen.lineTo(x + back, y + 3.5);
  pen.fill();
  pen.globalAlpha = 1;
}

function drawCut(pen, x, top) {
  pen.fillStyle = ink.strong;
  pen.fillRect(x - 1, top - 2, 2, BAR + 4);
}

function drawOpenEnd(pen, x, top) {
  pen.fillStyle = ink.strong;
  pen.beginPath();
  pen.moveTo(x + 2, top + 1);
  pen.lineTo(x + 7, top + BAR / 2);
  pen.lineTo(x + 2, top + BAR - 1);
  pen.fill();
}

function drawPart(pen, item, y, place, width) {
  const [x0, x1] = [Math.max(place(item.start), -4), Math.min(place(item.end), width + 4)];
  if (x1 < 0 || x0 > width) return;
  const middle = y + ROW / 2;
  pen.fillStyle = ink.faint;
  pen.fillRect(x0, middle - 1, Math.max(x1 - x0, 1), 2);
  pen.fillRect(x0, middle - 4, 1.5, 8);
  if (!item.open) pen.fillRect(x1 - 1.5, middle - 4, 1.5, 8);
  if (item.open) drawOpenEnd(pen, x1 - 2, middle - BAR / 2);
  if (item.error) drawError(pen, x1, middle);
}

function drawGroup(pen, item, y, place, width) {
  const box = { x: 0, y: y + 4, width, height: ROW - 8 };
  const until = state.from + ((state.to - state.from) * width) / (place(state.to) - place(state.from));
  drawDensity(pen, item.inside, state.from, until, box);
  drawIdle(pen, place, item.start, item.end, box.y, box.height, width);
  for (const one of item.failed) {
    const x = place(one.end);
    if (x < -6 || x > width + 6) continue;
    pen.fillStyle = ink.error;
    pen.fillRect(x - 1, y + 3, 2, ROW - 6);
    pen.beginPath();
    pen.arc(x, y + 5, 2.6, 0, 7);
    pen.fill();
  }
}
