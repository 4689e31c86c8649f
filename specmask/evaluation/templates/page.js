"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const colour = (system) => `var(--c${data.systems.indexOf(system) % 8})`;
const digits = (metric) => data.metrics[metric].digits;
const show = (value, metric) => (value === null || value === undefined ? "–" : value.toFixed(digits(metric)));

// ---- charts

const WIDTH = innerWidth < 600 ? 340 : 520, HEIGHT = 300, LEFT = 46, RIGHT = 12, TOP = 12, BOTTOM = 34;
const svg = (tag, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

function ticks(low, high) {
  const rough = (high - low || 1) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step / 1e6; v += step) found.push(v);
  return { found, places: Math.max(0, -Math.floor(Math.log10(step))) };
}

function frame(values, label, bottom = BOTTOM) {
  const real = values.filter((v) => v !== null), spread = Math.max(...real) - Math.min(...real) || 1;
  const low = Math.min(...real) - 0.06 * spread, high = Math.max(...real) + 0.06 * spread;
  const y = (v) => TOP + (HEIGHT - TOP - bottom) * (high - v) / (high - low);
  const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  const { found, places } = ticks(low, high);
  for (const v of found) {
    chart.append(svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(v), y2: y(v) }));
    chart.append(svg("text", { x: LEFT - 6, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(places)));
  }
  return { chart, y };
}

function curves(metric) {
  const lines = data.systems.map((s) => [s, data.curves[metric]?.[s] ?? []]).filter(([, l]) => l.length);
  if (!lines.length) return make("p", { className: "hint", textContent: "The SNR of these files is not known." });
  const labels = data.snrs, step = (WIDTH - LEFT - RIGHT) / labels.length;
  const x = (label) => LEFT + step * (labels.indexOf(label) + 0.5);
  const { chart, y } = frame(lines.flatMap(([, l]) => l.flatMap((p) => [p.low, p.high, p.mean])), `${data.metrics[metric].label} by SNR`);
  const every = Math.ceil(labels.length * 50 / (WIDTH - LEFT - RIGHT));
  labels.forEach((label, i) => i % every || chart.append(svg("text", { x: x(label), y: HEIGHT - 12, "text-anchor": "middle" }, label)));
  lines.forEach(([system, points], i) => {
    const shift = (i - (lines.length - 1) / 2) * 3, stroke = colour(system);
    const path = points.map((p, k) => `${k ? "L" : "M"}${x(p.label) + shift},${y(p.mean)}`).join("");
    chart.append(svg("path", { d: path, fill: "none", style: `stroke:${stroke}`, "stroke-width": 2.2 }));
    for (const p of points) {
      if (p.low !== null) chart.append(svg("line", { x1: x(p.label) + shift, x2: x(p.label) + shift, y1: y(p.low), y2: y(p.high), style: `stroke:${stroke}`, "stroke-width": 1.5, opacity: 0.6 }));
      const dot = svg("circle", { cx: x(p.label) + shift, cy: y(p.mean), r: 4, style: `fill:${stroke}` });
      dot.append(svg("title", {}, `${system}, ${p.label}: ${show(p.mean, metric)}`));
      chart.append(dot);
    }
  });
  const legend = make("div", { className: "legend" }, ...lines.map(([system]) => {
    const dot = make("i", { className: "dot" });
    dot.style.setProperty("--c", colour(system));
    return make("span", {}, dot, system.replaceAll("_", " "));
  }));
  return make("div", {}, chart, legend);
}

function boxes(metric) {
  const all = data.systems.map((s) => [s, data.boxes[metric]?.[s]]).filter(([, b]) => b);
  if (!all.length) return make("p", { className: "hint", textContent: "Nothing was scored." });
  const step = (WIDTH - LEFT - RIGHT) / all.length, half = Math.min(30, step / 3);
  const longest = Math.max(...all.flatMap(([s]) => s.split("_")).map((word) => word.length)) * 6.5;
  const slanted = longest > step, low = slanted ? 78 : BOTTOM; // names that would touch
  const { chart, y } = frame(all.flatMap(([, b]) => b), `${data.metrics[metric].label} over all files`, low);
  all.forEach(([system, [least, q1, median, q3, most]], i) => {
    const x = LEFT + step * (i + 0.5), style = `stroke:${colour(system)};fill:${colour(system)}`;
    const group = svg("g", { style, "stroke-width": 2 });
    group.append(svg("line", { x1: x, x2: x, y1: y(least), y2: y(most) }));
    group.append(svg("rect", { x: x - half, width: 2 * half, y: y(q3), height: Math.max(1, y(q1) - y(q3)), "fill-opacity": 0.18, rx: 3 }));
    group.append(svg("line", { x1: x - half, x2: x + half, y1: y(median), y2: y(median), "stroke-width": 3.5 }));
    group.append(svg("title", {}, `${system}: median ${show(median, metric)}`));
    chart.append(group);
    const name = system.split("_"), top = HEIGHT - low + 14;
    if (slanted) chart.append(svg("text", { x: x + 4, y: top, "text-anchor": "end", transform: `rotate(-40 ${x + 4} ${top})` }, name.join(" ")));
    else name.forEach((word, k) => chart.append(svg("text", { x, y: top + 13 * k, "text-anchor": "middle" }, word)));
  });
  return chart;
}

function chooseMetric(metric) {
  for (const button of document.querySelectorAll("#metric button")) button.ariaPressed = String(button.value === metric);
  document.getElementById("curves").replaceChildren(curves(metric));
  document.getElementById("boxes").replaceChildren(boxes(metric));
}
const metrics = Object.keys(data.metrics);
document.getElementById("metric").append(...metrics.map((metric) =>
  make("button", { type: "button", value: metric, textContent: data.metrics[metric].label, onclick: () => chooseMetric(metric) })));
if (metrics.length) chooseMetric(metrics[0]);

// ---- players: one audio element per signal; switching keeps the position

let current = null;
const settings = document.getElementById("filter").elements;
const shuffle = (list) => {
  for (let i = list.length - 1; i > 0; i--) {
    const k = Math.floor(Math.random() * (i + 1));
    [list[i], list[k]] = [list[k], list[i]];
  }
  return list;
};
const STORE = `specmask votes ${location.pathname}`;
let votes = {};
try { votes = JSON.parse(localStorage.getItem(STORE)) ?? {}; } catch { /* a browser without storage */ }
function keepVote(file, vote, among) {
  votes[file] = { vote, among, time: new Date().toISOString() };
  try { localStorage.setItem(STORE, JSON.stringify(votes)); } catch { /* kept until the page is closed */ }
  document.getElementById("download").hidden = false;
}
function votesAsCsv() {
  const quote = (text) => `"${String(text).replaceAll('"', '""')}"`;
  const rows = Object.entries(votes).map(([file, v]) => [file, v.vote, v.among.join(" "), v.time].map(quote).join(","));
  return ["file,vote,among,time", ...rows, ""].join("\n");
}
document.getElementById("download").hidden = !Object.keys(votes).length;
document.getElementById("download").onclick = () => {
  const link = make("a", { href: URL.createObjectURL(new Blob([votesAsCsv()], { type: "text/csv" })), download: "votes.csv" });
  link.click();
  URL.revokeObjectURL(link.href);
};
const cards = data.files.map(card);
for (const box of [settings.blind, settings.match]) box.addEventListener("change", () => cards.forEach((c) => c.arm()));

function words({ said, count, heard }) {
  const line = (name, text, note) => make("tr", {}, make("th", { textContent: name.replaceAll("_", " ") }), make("td", { className: "text", textContent: text }), make("td", { textContent: note }));
  const rows = heard.map((h) => line(h.system, h.heard ?? "(the recogniser failed)", `${h.errors} of ${count} wrong`));
  return make("div", { className: "wide words" }, make("table", {}, make("tbody", {}, line("said", said, ""), ...rows)));
}

function card(file) {
  const names = file.signals.map((s) => s.name);
  const audios = file.signals.map((s) => make("audio", { src: s.audio, preload: "none" }));
  const softest = Math.min(...file.signals.map((s) => s.level));
  const shuffled = shuffle(names.map((_, i) => i).filter((i) => names[i] !== "clean"));
  const reference = names.indexOf("clean");
  let order = names.map((_, i) => i); // positions of the buttons
  const state = { heard: Math.max(0, names.indexOf("noisy")), masks: false, waiting: null };
  const image = make("img", { alt: "", draggable: false }), head = make("div", { className: "head" });
  const wave = svg("svg", { class: "wave", viewBox: "0 -1 400 2", preserveAspectRatio: "none" });
  const line = svg("path", { fill: "currentColor" });
  wave.append(line);
  const play = make("button", { type: "button", className: "play", textContent: "▶", ariaLabel: "play" });
  const time = make("span", { className: "time" }), about = make("span");
  const box = make("input", { type: "checkbox" });
  const maskLabel = make("label", {}, box, " gain of the enhancer");
  const buttons = names.map((_, position) => make("button", { type: "button", title: `key ${position + 1}`, onclick: () => hear(order[position]) }));
  const vote = make("p", { className: "vote", hidden: true });
  const view = make("div", { className: "view" }, wave, image, head);

  function draw() {
    const signal = file.signals[state.heard], mask = state.masks && signal.mask;
    image.src = mask || signal.image;
    image.alt = `${mask ? "Gain over time and frequency" : "Spectrogram"} of ${signal.name}`;
    line.setAttribute("d", signal.wave);
    buttons.forEach((b, position) => {
      b.ariaPressed = String(order[position] === state.heard);
      b.textContent = label(order[position]);
    });
    about.textContent = mask ? `gain from −30 dB (dark) to 0 dB (light), 0 to ${file.khz} kHz` : `0 to ${file.khz} kHz, 80 dB from dark to light`;
    maskLabel.hidden = !signal.mask;
  }
  // ---- blind test: the order is random, and names, pictures and scores are hidden
  const letter = (i) => String.fromCharCode(65 + shuffled.indexOf(i));
  const label = (i) => (!settings.blind.checked ? names[i].replaceAll("_", " ") : i === reference ? "reference" : letter(i));
  function arm() {
    const blind = settings.blind.checked;
    order = blind ? [...shuffled, ...(reference < 0 ? [] : [reference])] : names.map((_, i) => i);
    self.element.classList.toggle("blind", blind);
    audios.forEach((a, i) => (a.volume = settings.match.checked ? 10 ** ((softest - file.signals[i].level) / 20) : 1));
    vote.hidden = !blind && !votes[file.name];
    if (blind) {
      vote.replaceChildren("Which is best? ", ...shuffled.map((i) => make("button", { type: "button", textContent: letter(i), ariaPressed: String(votes[file.name]?.vote === names[i]), onclick: () => choose(i) })));
      pause();
      state.heard = order[0];
    } else if (votes[file.name]) vote.textContent = `Your vote: ${votes[file.name].vote.replaceAll("_", " ")}`;
    draw();
  }
  function choose(i) {
    keepVote(file.name, names[i], shuffled.map((k) => names[k]));
    arm();
    hear(i);
  }
  const position = () => state.waiting ?? audios[state.heard].currentTime;
  function tick() {
    const at = position(), playing = !audios[state.heard].paused;
    head.style.left = `${100 * Math.min(1, at / file.seconds)}%`;
    time.textContent = `${at.toFixed(1)} / ${file.seconds.toFixed(1)} s`;
    play.textContent = playing ? "❚❚" : "▶";
    play.ariaLabel = playing ? "pause" : "play";
    if (playing) requestAnimationFrame(tick);
  }
  async function start() {
    focus();
    for (const other of cards) if (other !== self) other.pause();
    try { await audios[state.heard].play(); } catch (error) { if (error.name !== "AbortError") time.textContent = "cannot be played"; }
    tick();
  }
  function pause() { for (const a of audios) a.pause(); tick(); }
  function hear(i) {
    if (i >= audios.length) return;
    focus();
    const before = audios[state.heard], playing = !before.paused && !before.ended, at = position();
    before.pause();
    state.heard = i;
    move(at);
    draw();
    if (playing) start(); else tick();
  }
  function move(seconds) {
    const a = audios[state.heard], at = Math.max(0, Math.min(seconds, file.seconds));
    state.waiting = a.readyState ? null : at;
    if (a.readyState) a.currentTime = at;
    else { a.preload = "auto"; a.load(); }
    tick();
  }
  function focus() {
    if (current === self) return;
    current?.element.classList.remove("current");
    current = self;
    self.element.classList.add("current");
  }
  play.onclick = () => (audios[state.heard].paused ? start() : pause());
  box.onchange = () => { state.masks = box.checked; draw(); };
  view.onclick = (event) => { focus(); const r = view.getBoundingClientRect(); move(file.seconds * (event.clientX - r.left) / r.width); };
  for (const a of audios) {
    for (const event of ["ended", "seeked", "playing"]) a.addEventListener(event, tick);
    a.addEventListener("loadedmetadata", () => {
      if (a === audios[state.heard] && state.waiting !== null) move(state.waiting);
    });
  }

  const title = make("h3", {}, file.name);
  for (const text of [file.label, file.noise.replaceAll("_", " "), file.speaker && `speaker ${file.speaker}`]) if (text) title.append(make("span", { className: "chip", textContent: text }));
  if (file.why) title.append(make("span", { className: "chip why", textContent: file.why }));
  const table = make("table", {}, make("thead", {}, make("tr", {}, make("th", { textContent: "" }), ...metrics.map((m) => make("th", { textContent: data.metrics[m].label })))));
  table.append(make("tbody", {}, ...Object.entries(file.scores).map(([system, row]) => {
    const dot = make("i", { className: "dot" });
    dot.style.setProperty("--c", colour(system));
    return make("tr", {}, make("th", {}, dot, system.replaceAll("_", " ")), ...metrics.map((m) => make("td", { textContent: show(row[m], m) })));
  })));
  const spoken = file.words ? [words(file.words)] : [];
  const element = make("article", { tabIndex: -1 }, title,
    make("div", { className: "controls" }, play, ...buttons, time), view, vote,
    make("div", { className: "below" }, about, maskLabel), make("div", { className: "wide" }, table), ...spoken);
  const self = { file, element, play: start, pause, hear, arm, volumes: () => audios.map((a) => a.volume), at: (position) => order[position], focus, toggle: () => play.onclick(), skip: (s) => move(position() + s) };
  arm();
  tick();
  return self;
}

// ---- filter, sort, keys

const form = document.getElementById("filter").elements;
const list = document.getElementById("files");
const distinct = (key) => [...new Set(data.files.map((f) => f[key]).filter((v) => v !== null && v !== ""))];
const fill = (select, entries) => {
  select.append(...entries.map(([value, text]) => make("option", { value, textContent: text })));
  select.closest("label").hidden = entries.length < 2;
};
const labels = data.files.filter((f) => f.label).sort((a, b) => a.snr - b.snr).map((f) => f.label);
fill(form.snr, [["", "all"], ...[...new Set(labels)].map((v) => [v, v])]);
fill(form.noise, [["", "all"], ...distinct("noise").sort().map((v) => [v, v.replaceAll("_", " ")])]);
fill(form.speaker, [["", "all"], ...distinct("speaker").sort().map((v) => [v, v])]);
fill(form.sort, [["", "worst to best"], ["name", "name"], ["snr", "SNR"], ...metrics.map((m) => [`m:${m}`, data.metrics[m].label])]);

function key(file) {
  const by = form.sort.value;
  if (by.startsWith("m:")) return file.scores[data.main]?.[by.slice(2)] ?? null;
  return by ? file[by] ?? null : file.rank;
}
function arrange() {
  const wanted = (f) => (!form.snr.value || f.label === form.snr.value) && (!form.noise.value || f.noise === form.noise.value) && (!form.speaker.value || f.speaker === form.speaker.value);
  const sign = form.falling.checked ? -1 : 1;
  cards.sort((a, b) => {
    const p = key(a.file), q = key(b.file);
    if (p === null || q === null) return (p === null) - (q === null); // without a figure: last
    return sign * (p < q ? -1 : p > q ? 1 : 0);
  });
  for (const c of cards) {
    c.element.hidden = !wanted(c.file);
    if (c.element.hidden) c.pause();
  }
  list.append(...cards.map((c) => c.element));
  const count = cards.filter((c) => !c.element.hidden).length;
  document.getElementById("found").textContent = `${count} of ${cards.length} files`;
}
document.getElementById("filter").addEventListener("input", arrange);
arrange();

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, summary, a")) return;
  const seen = cards.filter((c) => !c.element.hidden), at = seen.indexOf(current);
  if (!seen.length) return;
  const here = at < 0 ? seen[0] : current;
  const go = (to) => { const next = seen[Math.max(0, Math.min(seen.length - 1, to))]; next.focus(); next.element.scrollIntoView({ block: "nearest" }); };
  if (event.key === " ") { if (event.target.closest("button")) return; here.toggle(); }
  else if (/^[1-9]$/.test(event.key)) here.hear(here.at(Number(event.key) - 1) ?? Infinity);
  else if (event.key === "ArrowLeft") here.skip(-1);
  else if (event.key === "ArrowRight") here.skip(1);
  else if (event.key === "j") go(at + 1);
  else if (event.key === "k") go(at - 1);
  else return;
  event.preventDefault();
});
