// The panel: all that is known of one row, in words and numbers. Whatever is in a trace goes in as text.

function make(tag, look, words) {
  const made = document.createElement(tag);
  if (look) made.className = look;
  if (words !== undefined) made.textContent = words;
  return made;
}

function facts(pairs) {
  const list = make("dl", "numbers");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    const pair = make("div");
    pair.append(make("dt", "", name), make("dd", "", String(value)));
    list.append(pair);
  }
  return list;
}

function waitsOf(item) {
  const sum = item.waits[0] + item.waits[1] + item.waits[2];
  const box = make("div", "waits");
  if (!(sum > 0)) {
    box.append(make("p", "note", item.open ? "Where its time goes is said when it ends." : "It took no time."));
    return box;
  }
  const bar = make("div", "split");
  bar.setAttribute("aria-hidden", "true");
  const list = make("dl", "numbers");
  KINDS.forEach((kind, index) => {
    const share = item.waits[index] / sum;
    const piece = make("i", kind);
    piece.style.flexGrow = String(share);
    if (share > 0) bar.append(piece);
    const pair = make("div");
    const name = make("dt");
    name.append(make("i", `swatch ${kind}`), document.createTextNode(SAYS[kind]));
    const value = make("dd", "", seconds(item.waits[index]));
    value.append(make("span", "share", `${(100 * share).toFixed(0)} %`));
    pair.append(name, value);
    list.append(pair);
  });
  box.append(bar, list);
  return box;
}

function errorOf(error) {
  const box = make("div", "trouble");
  box.append(make("h3", "", error.kind), make("p", "words", error.text));
  if (error.causes.length) {
    const list = make("ol", "causes");
    for (const cause of error.causes) list.append(make("li", "", cause));
    box.append(make("h4", "", "caused by"), list);
  }
  if (error.where) box.append(make("h4", "", "raised at"), make("code", "where", error.where));
  return box;
}

function eventsOf(item) {
  const box = make("div", "events");
  box.append(make("h3", "", item.events.length === 1 ? "1 event" : `${item.events.length} events`));
  for (const event of item.events.slice(0, 100)) {
    const one = make("div", "event");
    const head = make("p", "");
    head.append(make("b", "", event.name), make("span", "share", `at ${seconds(event.at)}`));
    one.append(head);
    const said = Object.entries(event.said);
    if (said.length) {
      one.append(facts(said.map(([name, value]) => [
        name, typeof value === "string" ? value : JSON.stringify(value),
      ])));
    }
    box.append(one);
  }
  return box;
}

function chunksOf(item) {
  const { width, flat } = item.timeline;
  const picture = make("div", "spark");
  picture.setAttribute("role", "img");
  let most = 0;
  for (let at = 3; at < flat.length; at += 4) most = Math.max(most, flat[at]);
  picture.setAttribute("aria-label", `chunks over time, at most ${most} in ${seconds(width)}`);
  for (let at = 3; at < flat.length; at += 4) {
    const bar = make("i");
    bar.style.height = `${most ? Math.max((100 * flat[at]) / most, flat[at] ? 6 : 0) : 0}%`;
    picture.append(bar);
  }
  const box = make("div");
  box.append(make("h3", "", `chunks, per ${seconds(width)}`), picture);
  return box;
}

const TITLES = {
  part: (item) => (item.caller ? "called flow" : "run"),
  group: (item) => `${item.children.length.toLocaleString("en")} ${item.of}s`,
  step: (item) => `step ${item.step}${item.attempt > 1 ? `, attempt ${item.attempt}` : ""}`,
  stream: (item) => `stream${item.attempt > 1 ? `, attempt ${item.attempt}` : ""}`,
};

function numbersOf(item) {
  const length = lengthOf(item);
  const pairs = [
    [item.open ? "so far" : "took", seconds(length)],
    ["began at", seconds(item.start)],
    ["ended at", item.open ? "still open" : seconds(item.end)],
    ["outcome", item.open ? "under way" : item.status],
  ];
  if (item.queued > 0) pairs.push(["queued", seconds(item.queued)]);
  if (within(pauses, item) > 0) pairs.push(["run paused", seconds(within(pauses, item))]);
  if (item.type === "step" && item.stream) pairs.push(["works on stream", item.stream]);
  if (item.type === "stream") {
    pairs.push(
      ["stream", item.stream],
      ["first chunk", item.first === null ? "none came" : `after ${seconds(item.first)}`],
      ["chunks", item.chunks.toLocaleString("en")],
      ["rate", length > 0 && item.chunks ? `${(item.chunks / length).toPrecision(3)} per second` : null],
      ["bytes", item.bytes === null ? null : item.bytes.toLocaleString("en")],
      ["gaps", item.gaps || null],
      ["dropped", item.drops || null],
    );
  }
  if (item.type === "group") pairs.push(...summed(item));
  if (item.type === "part" && item.caller) pairs.push(["called by", `step ${item.caller[1]}`]);
  return facts(pairs);
}

function summed(group) {
  const lengths = group.children.map(lengthOf).sort((a, b) => a - b);
  const at = (share) => seconds(lengths[Math.min(Math.floor(share * lengths.length), lengths.length - 1)]);
  const queued = group.children.reduce((most, one) => Math.max(most, one.queued), 0);
  return [
    ["median", at(0.5)], ["95 % within", at(0.95)], ["longest", at(1)],
    ["queued at most", queued > 0 ? seconds(queued) : null], ["failed", group.failed.length || null],
  ];
}

function fillPanel(panel, item) {
  panel.replaceChildren();
  if (!item) {
    panel.append(make("p", "note", "Choose a row to see its numbers."));
    return;
  }
  const head = make("div", "head");
  const names = make("div");
  names.append(make("p", "eyebrow", TITLES[item.type](item)), make("h2", "", item.node));
  const close = make("button", "close", "×");
  close.type = "button";
  close.setAttribute("aria-label", "close details");
  close.addEventListener("click", () => choose(null));
  head.append(names, close);
  panel.append(head);
  if (item.error) panel.append(errorOf(item.error));
  panel.append(numbersOf(item));
  if (item.waits) panel.append(waitsOf(item));
  if (item.timeline && item.chunks) panel.append(chunksOf(item));
  if (item.type === "group" && item.failed.length) {
    for (const one of item.failed.slice(0, 5)) {
      const jump = make("button", "jump", `step ${one.step}: ${one.error.kind}`);
      jump.type = "button";
      jump.addEventListener("click", () => choose(one, true));
      panel.append(jump);
    }
  }
  if (item.events.length) panel.append(eventsOf(item));
}
