"use strict";
// The map as the daemon laid it out (node/look/http_layout.c), drawn in the order of atlas/draw.c: by SVG, or, above
// SVG_PEERS, on a canvas. Texts come from strangers: they become text nodes or pixels, never markup.
const SVG_PEERS = 300;
const MARGIN = 24;

// 1 at rest, half a pixel more for each doubling above 1 KiB/s; weaker where links would cover too much (atlas/draw.c).
function linkWidth(bytes, ink) {
  let width = 1;
  for (; bytes > 1024 && width < 9; bytes /= 2) width += 0.5;
  return Math.max(0.6, width * ink);
}

// Width, opacity and arrows' heads of the sums, by their own ink (atlas_sums_width and its neighbours).
function sumsLook(ink) { return { width: Math.max(0.7, 2 * ink), opacity: Math.max(0.35, ink), head: Math.max(5, 10 * ink) }; }
function linkOpacity(scene) { return Math.max(0.2, 0.55 * scene.l.ink); }

// What a snapshot looks like by places in its list of peers, with the sums of one run, or of none.
function sceneOf(map, run) {
  const at = new Map(map.peers.map((p, i) => [p.id, i]));
  const l = map.layout;
  const site = new Array(map.peers.length);
  l.sites.forEach((s, k) => { for (let i = s.first; i < s.first + s.count; i++) site[i] = k; });
  const links = map.links.map((k) => ({ a: at.get(k.a), b: at.get(k.b), rtt: k.rtt_us, bytes: k.bytes_s }))
    .filter((k) => k.a !== undefined && k.b !== undefined);
  const tree = l.trees.find((t) => t.run === run), flows = tree ? tree.flows.map(([from, to, level]) => ({ from, to, level })) : [];
  return { map, l, at, site, links, flows, sums: sumsLook(tree ? tree.ink : 1) };
}

// Tells a pen what lies where, from below to above.
function draw(scene, pen) {
  const { map, l, site, links } = scene;
  const place = (i) => l.peers[i];
  const folded = (i) => l.sites[site[i]].folded;
  const inHost = (k) => map.peers[k.a].host === map.peers[k.b].host && site[k.a] === site[k.b];
  const middle = (s) => ({ x: s.x + s.width / 2, y: s.y + s.height / 2 });
  const own = (inside) => links.forEach((k) => {
    if (inHost(k) !== inside || (l.bundled && (site[k.a] !== site[k.b] || folded(k.a)))) return;
    pen.line(place(k.a), place(k.b), linkWidth(k.bytes, l.ink), "link", k);
  });
  l.bundles.forEach((b) => pen.line(middle(l.sites[b.a]), middle(l.sites[b.b]), linkWidth(b.bytes_s, l.ink), "link"));
  l.sites.forEach((s) => { if (s.drawn) pen.box(s, 9, "site"); });
  own(false);
  l.hosts.forEach((h) => { if (h.drawn && !folded(h.first)) pen.box(h, 5, "host"); });
  own(true);
  scene.flows.forEach((f) => pen.flow(place(f.from), place(f.to), f));
  l.sites.forEach((s) => {
    if (!s.drawn) return;
    pen.text(s.x + 8, s.y + 14, s.label, "name");
    if (!s.folded) return;
    const up = map.peers.slice(s.first, s.first + s.count).filter((p) => p.state === "alive").length;
    pen.text(s.x + 8, s.y + 36, `${s.count} peers, ${up} up`, "");
  });
  map.peers.forEach((p, i) => { if (!folded(i)) pen.peer(p, place(i)); });
}

function svgNew(name, attributes, className) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (className) node.setAttribute("class", className);
  return node;
}

// Everything lies in one group, so that moving it is one attribute.
class SvgPen {
  constructor(view) {
    this.root = svgNew("svg", { "aria-hidden": "true", focusable: "false" });
    this.head = this.root.appendChild(svgNew("marker", { id: "head", viewBox: "0 0 8 8", refY: 4, markerUnits: "userSpaceOnUse", orient: "auto" }));
    this.head.append(svgNew("path", { d: "M0 0L8 4L0 8z" }, "head"));
    this.all = this.root.appendChild(svgNew("g", {}));
    this.hot = null;
    view.replaceChildren(this.root);
  }
  show(scene) {
    this.scene = scene;
    this.marks = new Map();
    this.all.replaceChildren();
    this.all.style.setProperty("--link-opacity", linkOpacity(scene));
    this.all.style.setProperty("--sums-opacity", scene.sums.opacity);
    const { head } = scene.sums;  // its tip lies where a peer's mark begins
    for (const [name, value] of [["refX", 8 + 48 / head], ["markerWidth", head], ["markerHeight", head]]) this.head.setAttribute(name, value);
    draw(scene, this);
    this.hot = this.all.appendChild(svgNew("g", {}, "hot"));
  }
  add(node, into) { return (into || this.all).appendChild(node); }
  line(a, b, width, className, link) {
    const node = this.add(svgNew("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, "stroke-width": width }, className));
    if (!link) return;
    node.dataset.a = this.scene.map.peers[link.a].id;
    node.dataset.b = this.scene.map.peers[link.b].id;
  }
  flow(a, b, flow) {
    const node = this.add(svgNew("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, "stroke-width": this.scene.sums.width, "marker-end": "url(#head)" }, "flow"));
    node.dataset.from = this.scene.map.peers[flow.from].id;
    node.dataset.to = this.scene.map.peers[flow.to].id;
  }
  box(b, radius, className) { this.add(svgNew("rect", { x: b.x, y: b.y, width: b.width, height: b.height, rx: radius }, className)); }
  text(x, y, text, className, into) {
    this.add(svgNew("text", { x, y }, className), into).textContent = text;
  }
  peer(p, at) {
    const group = this.add(svgNew("g", {}, p.self ? "self" : ""));
    group.dataset.peer = p.id;
    const faint = !p.answered && p.state === "alive" ? " faint" : "";
    this.marks.set(p.id, this.add(svgNew("circle", { cx: at.x, cy: at.y, r: p.self ? 6 : 4.5 }, p.state + faint), group));
    this.text(at.x + 9, at.y + 4, at.label, "", group);
  }
  state(id, state) {
    const mark = this.marks && this.marks.get(id);
    if (mark && !mark.classList.contains(state)) mark.setAttribute("class", state);
  }
  light(lines, at) {
    if (!this.hot) return;
    this.hot.replaceChildren(...lines.map(([a, b]) => svgNew("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y, "stroke-width": 2 })));
    if (at) this.hot.append(svgNew("circle", { cx: at.x, cy: at.y, r: 9, "stroke-width": 2 }));
  }
  move(v) { this.all.setAttribute("transform", `translate(${v.x} ${v.y}) scale(${v.k})`); }
  theme() {}
}

// Drawn into a picture that reaches beyond the view; while the view moves, a frame is that picture moved, and when it
// rests, or what it shows changes, it is drawn anew.
const BEYOND = 0.25, REST_MS = 150;

class CanvasPen {
  constructor(view) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.back = document.createElement("canvas");
    this.g = this.back.getContext("2d");
    this.drawn = null;
    this.lines = [];
    this.theme();
    view.replaceChildren(this.canvas);
  }
  theme() {
    const style = getComputedStyle(document.documentElement);
    this.colors = {};
    for (const name of ["ground", "panel", "text", "dim", "rim", "link", "flow", "alive", "suspect", "dead", "left", "focus"])
      this.colors[name] = style.getPropertyValue("--" + name).trim();
    this.changed();
  }
  show(scene) { this.scene = scene; this.changed(); }
  changed() { this.drawn = null; this.again(); }
  state(id, state) {
    const i = this.scene ? this.scene.at.get(id) : undefined;
    if (i === undefined || this.scene.map.peers[i].state === state) return;
    this.scene.map.peers[i].state = state;
    this.changed();
  }
  light(lines, at) { this.lines = lines; this.spot = at; this.again(); }
  move(v) { this.v = v; this.again(); }
  again() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.paint(); });
  }
  render(w, h, dense) {
    const { g, back, v } = this, x = v.x + w * BEYOND, y = v.y + h * BEYOND, wide = w * (1 + 2 * BEYOND), high = h * (1 + 2 * BEYOND);
    back.width = Math.round(wide * dense);
    back.height = Math.round(high * dense);
    g.setTransform(dense * v.k, 0, 0, dense * v.k, dense * x, dense * y);
    this.seen = { left: -x / v.k - 140, top: -y / v.k - 20, right: (wide - x) / v.k + 20, bottom: (high - y) / v.k + 20 };
    draw(this.scene, this);
    this.drawn = { ...v, w, h, dense };
  }
  paint() {
    const { canvas, v } = this, dense = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (!this.scene || !v || !w || !h) return;
    if (canvas.width !== Math.round(w * dense) || canvas.height !== Math.round(h * dense)) {
      canvas.width = Math.round(w * dense);
      canvas.height = Math.round(h * dense);
    }
    const d = this.drawn, far = d && (Math.abs(v.x - d.x) > w * BEYOND || Math.abs(v.y - d.y) > h * BEYOND);
    if (!d || (far && v.k === d.k) || d.w !== w || d.h !== h || d.dense !== dense) this.render(w, h, dense);
    const { drawn } = this, f = v.k / drawn.k, g = canvas.getContext("2d");
    clearTimeout(this.rest);
    if (v.x !== drawn.x || v.y !== drawn.y || f !== 1) this.rest = setTimeout(() => this.changed(), REST_MS);
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.setTransform(f, 0, 0, f, dense * (v.x - (drawn.x + w * BEYOND) * f), dense * (v.y - (drawn.y + h * BEYOND) * f));
    g.drawImage(this.back, 0, 0);
    this.spotlight(g, dense);
  }
  spotlight(g, dense) {
    const { v } = this;
    g.setTransform(dense * v.k, 0, 0, dense * v.k, dense * v.x, dense * v.y);
    g.strokeStyle = this.colors.focus;
    g.lineWidth = 2;
    g.beginPath();
    for (const [a, b] of this.lines) { g.moveTo(a.x, a.y); g.lineTo(b.x, b.y); }
    if (this.spot) { g.moveTo(this.spot.x + 9, this.spot.y); g.arc(this.spot.x, this.spot.y, 9, 0, 7); }
    g.stroke();
  }
  line(a, b, width, name) {
    const { g } = this;
    g.globalAlpha = linkOpacity(this.scene);
    g.strokeStyle = this.colors[name];
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(a.x, a.y);
    g.lineTo(b.x, b.y);
    g.stroke();
  }
  flow(a, b) {
    const { g } = this, { width, opacity, head } = this.scene.sums;
    const far = Math.hypot(b.x - a.x, b.y - a.y) || 1, x = (b.x - a.x) / far, y = (b.y - a.y) / far;
    const tip = { x: b.x - 6 * x, y: b.y - 6 * y }, end = { x: tip.x - head * x, y: tip.y - head * y };
    g.globalAlpha = opacity;
    g.strokeStyle = g.fillStyle = this.colors.flow;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(a.x, a.y);
    g.lineTo(end.x, end.y);
    g.stroke();
    g.beginPath();
    g.moveTo(tip.x, tip.y);
    g.lineTo(end.x - head / 2 * y, end.y + head / 2 * x);
    g.lineTo(end.x + head / 2 * y, end.y - head / 2 * x);
    g.fill();
  }
  box(b, radius, name) {
    const { g } = this;
    g.globalAlpha = 1;
    g.fillStyle = name === "site" ? this.colors.panel : this.colors.ground;
    g.strokeStyle = this.colors.rim;
    g.lineWidth = 1;
    g.beginPath();
    g.roundRect(b.x, b.y, b.width, b.height, radius);
    g.fill();
    g.stroke();
  }
  text(x, y, text, name) {
    const { g } = this, { k } = this.v, small = k < 0.45;  // nobody could read it: sites' names alone, above their boxes
    if (small && name !== "name") return;
    g.globalAlpha = 1;
    g.fillStyle = name ? this.colors.dim : this.colors.text;
    g.font = `${small ? 11 / k : 12}px ui-monospace, monospace`;
    g.fillText(text, small ? x - 8 : x, small ? y - 14 - 4 / k : y);
  }
  peer(p, at) {
    const s = this.seen, { g } = this;
    if (at.x < s.left || at.x > s.right || at.y < s.top || at.y > s.bottom) return;
    g.globalAlpha = !p.answered && p.state === "alive" ? 0.45 : 1;
    g.fillStyle = this.colors[p.state];
    g.beginPath();
    g.arc(at.x, at.y, p.self ? 6 : 4.5, 0, 7);
    g.fill();
    this.text(at.x + 9, at.y + 4, at.label, "");
  }
}

// The view of it: moved by dragging and arrow keys, zoomed by buttons, keys, and the wheel where the view has the focus.
class MapView {
  constructor(view, tip, describe) {
    Object.assign(this, { view, tip, describe, pen: null, scene: null, v: { x: 0, y: 0, k: 1 }, touched: false, picked: null });
    view.addEventListener("keydown", (e) => this.key(e));
    view.addEventListener("wheel", (e) => this.wheel(e), { passive: false });
    view.addEventListener("pointerdown", (e) => { this.held = { x: e.clientX, y: e.clientY }; view.setPointerCapture(e.pointerId); view.classList.add("held"); });
    view.addEventListener("pointermove", (e) => this.pointer(e));
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => { this.held = null; view.classList.remove("held"); });
    view.addEventListener("pointerleave", () => this.hover(null));
    new ResizeObserver(() => (this.touched ? this.pen && this.pen.move(this.v) : this.fit())).observe(view);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.pen && this.pen.theme());
  }
  show(map, run) {
    const kind = map.peers.length > SVG_PEERS ? CanvasPen : SvgPen;
    if (!(this.pen instanceof kind)) this.pen = new kind(this.view);
    this.scene = sceneOf(map, run);
    this.pen.show(this.scene);
    if (this.touched) this.pen.move(this.v); else this.fit();
    this.light();
  }
  states(peers) { if (this.pen) for (const p of peers) this.pen.state(p.id, p.state); }
  fit() {
    if (!this.scene) return;
    const { l } = this.scene, w = this.view.clientWidth, h = this.view.clientHeight;
    const k = Math.min((w - 2 * MARGIN) / l.width, (h - 2 * MARGIN) / l.height, 2.4);
    this.v = { k, x: (w - l.width * k) / 2, y: (h - l.height * k) / 2 };
    this.touched = false;
    this.pen.move(this.v);
  }
  moveBy(x, y) { this.touched = true; this.v.x += x; this.v.y += y; if (this.pen) this.pen.move(this.v); }
  zoom(by, x = this.view.clientWidth / 2, y = this.view.clientHeight / 2) {
    const k = Math.min(8, Math.max(0.05, this.v.k * by)), f = k / this.v.k;
    this.v = { k, x: x - (x - this.v.x) * f, y: y - (y - this.v.y) * f };
    this.moveBy(0, 0);
  }
  do(what) { if (what === "in") this.zoom(1.3); else if (what === "out") this.zoom(1 / 1.3); else this.fit(); }
  key(e) {
    const step = 60, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (moves[e.key]) this.moveBy(...moves[e.key]);
    else if (e.key === "+" || e.key === "=") this.zoom(1.3);
    else if (e.key === "-") this.zoom(1 / 1.3);
    else if (e.key === "0") this.fit();
    else return;
    e.preventDefault();
  }
  wheel(e) {
    if (!e.ctrlKey && document.activeElement !== this.view) return;  // the page scrolls
    e.preventDefault();
    const box = this.view.getBoundingClientRect();
    this.zoom(Math.exp(-e.deltaY / 400), e.clientX - box.left, e.clientY - box.top);
  }
  pointer(e) {
    if (this.held) {
      this.moveBy(e.clientX - this.held.x, e.clientY - this.held.y);
      this.held = { x: e.clientX, y: e.clientY };
      return;
    }
    if (!this.scene) return;
    const box = this.view.getBoundingClientRect();
    const x = (e.clientX - box.left - this.v.x) / this.v.k, y = (e.clientY - box.top - this.v.y) / this.v.k;
    let best = null, least = 14 / Math.min(1, this.v.k);
    this.scene.l.peers.forEach((p, i) => {
      const far = Math.hypot(p.x - x, p.y - y);
      if (far < least) { least = far; best = i; }
    });
    this.hover(best, e);
  }
  hover(i, e) {
    this.tip.hidden = i === null;
    if (i !== null) {
      this.tip.textContent = this.describe(this.scene, i);
      const x = Math.min(e.clientX + 14, innerWidth - this.tip.offsetWidth - 8), y = Math.min(e.clientY + 14, innerHeight - this.tip.offsetHeight - 8);
      this.tip.style.transform = `translate(${Math.max(0, x)}px, ${Math.max(0, y)}px)`;
    }
    const id = i === null ? null : this.scene.map.peers[i].id;
    if (id !== this.hovered) { this.hovered = id; this.light(); }
  }
  // Shows a peer that was chosen in the table: its links, or its part of the sums, light up and it comes into view.
  pick(id) {
    this.picked = id;
    const at = this.scene && this.scene.l.peers[this.scene.at.get(id)];
    if (at) this.moveBy(this.view.clientWidth / 2 - this.v.x - at.x * this.v.k, this.view.clientHeight / 2 - this.v.y - at.y * this.v.k);
    this.light();
  }
  light() {
    if (!this.scene) return;
    const i = this.scene.at.get(this.hovered || this.picked), places = this.scene.l.peers;
    const { flows, links } = this.scene, of = flows.length ? flows.map((f) => ({ a: f.from, b: f.to })) : links;
    const lines = i === undefined ? [] : of.filter((k) => k.a === i || k.b === i).map((k) => [places[k.a], places[k.b]]);
    this.pen.light(lines, i === undefined ? null : places[i]);
  }
}
