// The page: one stream of what changes (/api/v1/events), each kind of it drawn into its section.
const $ = (id) => document.getElementById(id);
const now = { status: null, peers: [], map: null, runs: [], run: "", rounds: new Map(), log: [], sort: "name", down: false, rows: 30 };
const PEER_ROWS = 500, FIRST_MS = 300, LINK_ROWS = 1000, LOG_ROWS = 64, ROUNDS_KEPT = 2000, RETRY_MS = 5000, LARGE = 60;

// ---- words ----

function el(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  if (className) node.className = className;
  return node;
}

// What a stranger chose to be called: isolated, so that its letters can't turn what stands around it.
function named(text) {
  const node = el("bdi", text);
  node.title = text;
  return node;
}

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let k = 0;
  for (; n >= 1000 && k < units.length - 1; n /= 1000) k++;
  return `${k && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[k]}`;
}

function count(n) { return Number(n).toLocaleString("en"); }
function rtt(us) { return us ? (us < 1000 ? `${us} µs` : `${(us / 1000).toFixed(us < 10000 ? 1 : 0)} ms`) : "–"; }
function plural(n, word) { return `${count(n)} ${word}${n === 1 ? "" : "s"}`; }
function loss(x) { return x === null || x === undefined ? "–" : x.toFixed(3); }

function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

// How long ago: daemon and browser share a clock.
function since(time) { return time ? span(Math.max(0, (Date.now() - Date.parse(time)) / 1000)) : "–"; }

// Sets a text only where it differs, so that a screen reader is told of changes alone.
function say(node, text) { if (node.textContent !== text) node.textContent = text; }

function facts(list, pairs) {
  const key = JSON.stringify(pairs);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...pairs.map(([what, value]) => {
    const group = el("div");
    group.append(el("dt", what), el("dd", value));
    return group;
  }));
}

// ---- health ----

function health(text, state) {
  say($("health"), text);
  $("health").dataset.state = state;
}

function showStatus() {
  const s = now.status, n = s.problems.length;
  say($("mesh"), s.mesh_name);
  document.title = `${n ? `(${n}) ` : ""}${s.mesh_name} – mycel`;
  $("self").replaceChildren(named(s.name), ` · ${s.role} · ${s.id.slice(0, 8)} · port ${s.port} · ${s.device} · version ${s.version}`);
  health(s.state !== "up" ? s.state : n ? plural(n, "problem") : "Healthy", s.healthy ? "good" : "bad");
  facts($("facts"), [["others up", `${count(s.peers_up)} of ${count(s.peers_known)}`], ["sent", bytes(s.tx_bytes)],
    ["received", bytes(s.rx_bytes)], ["memory used", `${bytes(s.memory_used_bytes)} of ${bytes(s.memory_bytes)}`],
    ["refused", count(s.refused)], ["up for", span(s.uptime_s)]]);
  const key = JSON.stringify(s.problems);
  $("problems").hidden = n === 0;
  if ($("problem-list").dataset.key === key) return;
  $("problem-list").dataset.key = key;
  $("problem-list").replaceChildren(...s.problems.map((p) => {
    const item = el("li");
    const who = el("strong");
    who.append(named(p.peer || "This peer"));
    item.append(who, ": ", el("span", p.cause), p.remedy ? el("p", `Remedy: ${p.remedy}`, "dim") : "");
    return item;
  }));
}

// ---- peers ----

const COLUMNS = [
  ["name", "Name", "", (p) => p.name], ["state", "State", "", (p) => p.state], ["role", "Role", "wide", (p) => p.role],
  ["site", "Site", "middling", (p) => p.site], ["path", "Path", "wide", (p) => p.path],
  ["rtt_us", "Round trip", "number", (p) => (p.rtt_us === null ? Infinity : p.rtt_us)],
  ["tx_bytes", "Sent", "number middling", (p) => p.tx_bytes], ["rx_bytes", "Received", "number middling", (p) => p.rx_bytes],
  ["since", "In this state", "wide", (p) => p.since || ""],
];

function makeColumns() {
  $("columns").replaceChildren(...COLUMNS.map(([key, title, className]) => {
    const cell = el("th", null, className), button = el("button", title);
    cell.scope = "col";
    cell.dataset.key = key;
    button.type = "button";
    button.addEventListener("click", () => {
      now.down = now.sort === key && !now.down;
      now.sort = key;
      showPeers();
    });
    cell.append(button);
    return cell;
  }));
}

function rowOf(p) {
  const row = el("tr"), head = el("th"), button = el("button");
  row.dataset.peer = p.id;
  head.scope = "row";
  button.type = "button";
  button.append(named(p.name));
  button.addEventListener("click", () => view.pick(p.id));
  head.append(button);
  row.append(head, ...COLUMNS.slice(1).map(([, , className]) => el("td", null, className)));
  fillRow(row, p);
  return row;
}

function fillRow(row, p) {
  const cells = row.children;
  say(cells[0].firstChild.firstChild, p.name);
  if (cells[1].dataset.state !== p.state) {
    cells[1].dataset.state = p.state;
    cells[1].replaceChildren(el("span", null, `dot ${p.state}`), p.state);
  }
  [p.role, p.site, p.path, rtt(p.rtt_us), p.self ? "–" : bytes(p.tx_bytes), p.self ? "–" : bytes(p.rx_bytes), since(p.since)].forEach((text, i) => say(cells[i + 2], text));
}

// Rows are kept by id: focus and selection outlive an update.
function showPeers() {
  const column = COLUMNS.find((c) => c[0] === now.sort), value = column[3], wanted = $("find").value.toLowerCase();
  for (const cell of $("columns").children) {
    if (cell.dataset.key === now.sort) cell.setAttribute("aria-sort", now.down ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
  }
  const found = now.peers.filter((p) => !wanted || [p.name, p.id, p.site, p.state].some((t) => t.toLowerCase().includes(wanted)));
  found.sort((a, b) => {
    const x = value(a), y = value(b), order = x < y ? -1 : x > y ? 1 : a.name < b.name ? -1 : 1;
    return now.down ? -order : order;
  });
  const shown = found.slice(0, now.rows), kept = new Map([...$("rows").children].map((r) => [r.dataset.peer, r]));
  shown.forEach((p, i) => {
    let row = kept.get(p.id);
    if (row) fillRow(row, p); else row = rowOf(p);
    kept.delete(p.id);
    if ($("rows").children[i] !== row) $("rows").insertBefore(row, $("rows").children[i] || null);
  });
  kept.forEach((row) => row.remove());
  $("more").hidden = shown.length === now.peers.length;
  say($("more"), shown.length < found.length ? `${count(found.length - shown.length)} more; find them by name, id, site or state` : `${count(found.length)} of ${count(now.peers.length)}`);
}

// ---- map ----

function describe(scene, i) {
  const p = scene.map.peers[i], mine = scene.links.filter((k) => k.a === i || k.b === i);
  const lines = [p.name, `${p.state}${p.site ? `, ${p.site}` : ""}${p.self ? ", this peer" : ""}`, plural(mine.length, "link")];
  for (const d of p.devices) lines.push(d.name + (d.busy_percent === null ? "" : `, ${d.busy_percent} % busy`));
  if (!p.answered && p.state === "alive") lines.push("did not tell its links");
  const sums = new Set(scene.flows.filter((f) => f.from === i).map((f) => scene.map.peers[f.to].name));
  if (sums.size) lines.push(`sends sums to ${[...sums].slice(0, 4).join(", ")}${sums.size > 4 ? ` and ${sums.size - 4} more` : ""}`);
  return lines.join("\n");
}

// The map of many gets the whole width.
function widen(peers) { document.body.classList.toggle("large", peers.length > LARGE); }

function showMap() {
  const map = now.map;
  if (!map.layout) return;
  const newer = new Map(now.peers.map((p) => [p.id, p.state]));  // told every other second, maps are seldomer
  for (const p of map.peers) p.state = newer.get(p.id) || p.state;
  showTrees();
  view.show(map, now.run);
  const of = {}, sites = new Set(map.peers.map((p) => p.site).filter(Boolean));
  for (const p of map.peers) of[p.state] = (of[p.state] || 0) + 1;
  const silent = map.peers.filter((p) => p.state === "alive" && !p.answered).length;
  say($("map-text"), `${plural(map.peers.length, "peer")}${sites.size ? ` on ${plural(sites.size, "site")}` : ""}, ${plural(map.links.length, "link")}` +
    `${silent ? `; ${plural(silent, "peer")} did not tell theirs` : ""}. Distance is the square root of the round trip, width the traffic.`);
  const key = JSON.stringify([of, now.run]);
  if ($("legend").dataset.key !== key) {
    $("legend").dataset.key = key;
    $("legend").replaceChildren(...["alive", "suspect", "dead", "left"].filter((s) => of[s]).map((s) => {
      const item = el("li");
      item.append(el("span", null, `dot ${s}`), `${count(of[s])} ${s}`);
      return item;
    }));
    if (now.run) {
      const item = el("li");
      item.append(el("span", "→", "arrow"), "sums of the round");
      $("legend").append(item);
    }
  }
  showSums();
  showLinks();
}

// Which run's sums lie over the links. A run that has ended has none: the choice falls back to no run.
function showTrees() {
  const { trees } = now.map.layout, models = new Map(now.runs.map((r) => [r.id, r.model]));
  if (!trees.some((t) => t.run === now.run)) now.run = "";
  const choices = [["", "no run"], ...trees.map((t) => [t.run, `${t.run.slice(0, 8)} ${models.get(t.run) || ""}`])];
  $("trees").hidden = trees.length === 0;
  if ($("tree").dataset.key !== JSON.stringify(choices)) {
    $("tree").dataset.key = JSON.stringify(choices);
    $("tree").replaceChildren(...choices.map(([value, text]) => {
      const choice = el("option", text);
      choice.value = value;
      return choice;
    }));
  }
  $("tree").value = now.run;
}

// The same in words: who sums, level by level, and who sends to it.
function showSums() {
  const { flows, map } = view.scene, groups = new Map();
  for (const f of flows) {
    const key = f.level * map.peers.length + f.to;
    groups.set(key, [...(groups.get(key) || []), f]);
  }
  $("sum-details").hidden = flows.length === 0;
  say($("sum-text"), flows.length ? `${plural(new Set(flows.map((f) => f.from)).size, "peer")} send sums to ${count(new Set(flows.map((f) => f.to)).size)}` : "");
  const order = [...groups.keys()].sort((a, b) => a - b), key = JSON.stringify(order.map((k) => [k, ...groups.get(k).map((f) => map.peers[f.from].name)]));
  if ($("sums").dataset.key === key) return;
  $("sums").dataset.key = key;
  $("sums").replaceChildren(...order.map((k) => {
    const list = groups.get(k), item = el("li");
    item.append(`level ${list[0].level}: `, named(map.peers[list[0].to].name), " sums for ");
    list.forEach((f, i) => item.append(i ? ", " : "", named(map.peers[f.from].name)));
    return item;
  }));
}

function showLinks() {
  const map = now.map;
  if (!map) return;
  say($("link-count"), plural(map.links.length, "link"));
  if (!$("link-details").open) return;
  const names = new Map(map.peers.map((p) => [p.id, p.name]));
  const order = [...map.links].sort((a, b) => b.bytes_s - a.bytes_s).slice(0, LINK_ROWS);
  $("link-rows").replaceChildren(...order.map((k) => {
    const row = el("tr"), head = el("th"), other = el("td");
    head.scope = "row";
    head.append(named(names.get(k.a) || k.a.slice(0, 8)));
    other.append(named(names.get(k.b) || k.b.slice(0, 8)));
    row.append(head, other, el("td", rtt(k.rtt_us), "number"), el("td", k.bytes_s ? `${bytes(k.bytes_s)}/s` : "–", "number"));
    return row;
  }));
}

// ---- runs ----

// A curve over rounds: `series` of [class, [[round, loss]..]], and levels drawn across.
function curve(series, levels) {
  const all = series.flatMap((s) => s[1]), ys = [...all.map((p) => p[1]), ...levels];
  const first = Math.min(...all.map((p) => p[0])), last = Math.max(...all.map((p) => p[0]), first + 1);
  const low = Math.min(...ys), high = Math.max(...ys, low + 1e-9), x = (r) => ((r - first) / (last - first)) * 300, y = (v) => 96 - ((v - low) / (high - low)) * 92;
  const box = el("div", null, "curve"), axis = el("div", null, "axis"), svg = svgNew("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img" });
  const told = series.filter((s) => s[1].length).map(([name, p]) => `${name === "train" ? "training" : "held-out"} loss from ${loss(p[0][1])} at round ${p[0][0]} to ${loss(p[p.length - 1][1])} at round ${p[p.length - 1][0]}`);
  svg.setAttribute("aria-label", `Curve: ${told.join("; ")}`);
  for (const level of levels) svg.append(svgNew("path", { d: `M0 ${y(level)}H300` }, "base"));
  for (const [name, points] of series) svg.append(svgNew("path", { d: points.map((p, i) => `${i ? "L" : "M"}${x(p[0]).toFixed(1)} ${y(p[1]).toFixed(1)}`).join("") }, name));
  axis.append(el("span", loss(high)), el("span", loss(low)));
  const key = el("p");
  key.append(el("span", null, "key"), "training ", el("span", null, "key val"), "held-out ");
  if (levels.length) key.append(el("span", null, "key base"), "counting letters ");
  key.append(`· rounds ${count(first)} to ${count(last)}`);
  box.append(axis, svg, key);
  return box;
}

function showRuns() {
  if (!now.runs.length) return;
  const key = JSON.stringify(now.runs.map((r) => ({ ...r, age_s: 0 })));
  if ($("run-list").dataset.key === key) return;
  $("run-list").dataset.key = key;
  $("run-list").replaceChildren(...[...now.runs].sort((a, b) => (a.created < b.created ? 1 : -1)).map((r) => {
    const box = el("article", null, "run"), head = el("div", null, "head"), bar = el("progress"), list = el("dl");
    head.append(el("h3", r.id.slice(0, 8)), el("span", r.state === "running" ? r.stage : r.state, r.waiting ? "wait" : ""), el("span", `${r.model}, ${count(r.parameters)} parameters`, "dim"));
    bar.max = r.rounds;
    bar.value = r.round;
    bar.setAttribute("aria-label", "rounds closed");
    facts(list, [["round", `${count(r.round)} of ${count(r.rounds)}`], ["loss", loss(r.loss)], ["held-out loss", loss(r.val_loss)],
      ["tokens", count(r.tokens)], ["tokens/s", count(Math.round(r.tokens_per_s || 0))], ["peers", count(r.peers)], ["sent", bytes(r.bytes_sent)]]);
    box.append(head, bar);
    if (r.waiting) box.append(el("p", `Waits${r.waiting.peer ? ` for ${r.waiting.peer}` : ""}: ${r.waiting.cause}. ${r.waiting.remedy}`, "wait"));
    box.append(list);
    const rounds = now.rounds.get(r.id) || [], train = rounds.filter((p) => p.loss !== null).map((p) => [p.round, p.loss]);
    const val = rounds.filter((p) => p.val_loss !== null).map((p) => [p.round, p.val_loss]);
    if (train.length > 1) box.append(curve([["train", train], ["val", val]], r.baselines ? [r.baselines.trigram] : []));
    return box;
  }));
}

// Rounds come one by one with `runs`; those from before, or missed, are fetched.
async function takeRuns(runs) {
  now.runs = runs;
  for (const r of runs) {
    const known = now.rounds.get(r.id) || [], last = known.length ? known[known.length - 1].round : 0;
    if (r.round <= last) continue;
    if (r.round === last + 1) {
      known.push({ round: r.round, loss: r.loss, val_loss: r.val_loss });
      now.rounds.set(r.id, known.slice(-ROUNDS_KEPT));
      continue;
    }
    try {
      const answer = await fetch(`/api/v1/runs/${r.id}`);
      if (answer.ok) now.rounds.set(r.id, (await answer.json()).history.filter((p) => p.round > 0));
      $("run-list").dataset.key = "";
    } catch (e) { /* the stream will say that the daemon is gone */ }
  }
  showRuns();
}

// ---- events ----

// Peers by their names, runs and hashes by their first digits.
function short(value) {
  if (!/^[0-9a-f]{64}$/.test(value)) return value;
  const peer = now.peers.find((p) => p.id === value);
  return peer ? peer.name : value.slice(0, 8);
}

function showLog() {
  $("event-list").replaceChildren(...[...now.log].reverse().map((e) => {
    const rest = Object.entries(e).filter(([k]) => k !== "time" && k !== "event").map(([k, v]) => `${k}=${short(v)}`).join(" ");
    const item = el("li", null, /^(problem\.|disk\.failed|device\.lost|round\.diverged)/.test(e.event) ? "bad" : "");
    const time = el("time", new Date(e.time).toLocaleTimeString("en-GB"));
    time.dateTime = e.time;
    item.append(time, ` ${e.event} `, named(rest));
    return item;
  }));
}

// ---- the stream ----

const view = new MapView($("view"), $("tip"), describe);
let stream = null, retry = 0, logAsked = false;

const take = {
  status(s) { now.status = s; showStatus(); },
  peers(s) {
    now.peers = s.peers;
    widen(s.peers);
    view.states(s.peers);
    showPeers();
    if (now.rows < PEER_ROWS) setTimeout(() => { now.rows = PEER_ROWS; showPeers(); }, FIRST_MS);  // the map goes first
  },
  map(s) { now.map = s; widen(s.peers); showMap(); },
  runs(s) { takeRuns(s.runs); },
  log(e) {
    now.log.push(e);
    now.log = now.log.slice(-LOG_ROWS);
    if (!logAsked) requestAnimationFrame(() => { logAsked = false; showLog(); });
    logAsked = true;
  },
};

function listen() {
  clearTimeout(retry);
  if (stream) stream.close();
  now.log = [];
  stream = new EventSource("/api/v1/events");
  for (const kind in take) stream.addEventListener(kind, (e) => take[kind](JSON.parse(e.data)));
  stream.addEventListener("open", () => { now.log = []; });
  stream.addEventListener("error", () => {
    const refused = stream.readyState === EventSource.CLOSED;
    health(refused ? "Not connected: too many pages are open, or the peer is stopping" : "Not connected: the peer does not answer", "bad");
    if (refused) retry = setTimeout(listen, RETRY_MS);
  });
}

// A page that nobody sees costs the daemon nothing.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) listen();
  else if (stream) { stream.close(); stream = null; clearTimeout(retry); }
});
document.querySelector(".tools").addEventListener("click", (e) => { if (e.target.dataset.do) view.do(e.target.dataset.do); });
$("find").addEventListener("input", showPeers);
$("tree").addEventListener("change", () => { now.run = $("tree").value; showMap(); });
$("link-details").addEventListener("toggle", showLinks);
makeColumns();
listen();
