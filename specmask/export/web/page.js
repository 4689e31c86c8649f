// The page: a recording or the microphone on one stage, before and after.

const $ = (id) => document.getElementById(id);
const show = (element, shown) => { element.hidden = !shown; };
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const clock = (seconds, digits = 0) => {
  const whole = digits ? seconds : Math.round(seconds), hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60, rest = (whole % 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};
const khz = (rate) => `${+(rate / 1000).toFixed(3)} kHz`;
const channelWords = (count) => ({ 1: "mono", 2: "stereo" }[count] ?? `${count} channels`);
const sampleWords = ({ float, bytes }) => `${8 * bytes} bit${float ? " float" : ""}`;

// ---- model and scripts, all of them in the page

const page = JSON.parse($("model").textContent);
const binary = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt))
const SIMD = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]);
const simd = !/[?&]scalar/.test(location.search) && WebAssembly.validate(SIMD);
const model = { program: binary(page.program), wasm: binary(simd ? page.simd : page.scalar) };
$("runtime").textContent = `WebAssembly ${simd ? "with" : "without"} SIMD`;

const script = (id) => $("sound").textContent + $(id).textContent;
const workerUrl = URL.createObjectURL(new Blob([script("worker")], { type: "text/javascript" }));
// Chromium loads no worklet from a blob where the page is a file.
const workletUrl = `data:text/javascript;charset=utf-8,${encodeURIComponent(script("worklet"))}`;

// ---- pictures of before and after

const RANGE_DB = 80;
const HEAT = [[6, 4, 15], [52, 16, 92], [132, 34, 110], [212, 72, 66], [249, 155, 48], [252, 250, 205]]; // as evaluate.py's
const PALETTE = Array.from({ length: 256 }, (_, i) => {
  const place = (i / 255) * (HEAT.length - 1), k = Math.min(HEAT.length - 2, Math.floor(place));
  return HEAT[k].map((v, c) => v + (place - k) * (HEAT[k + 1][c] - v));
});

class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.open(1);
  }

  open(width, scrolls = false) {
    Object.assign(this, { width, scrolls, columns: [], loudestDb: LIVE_LOUDEST_DB });
    Object.assign(this.canvas, { width, height: ROWS }); // which clears it
  }

  add(columns) {
    for (const column of columns) {
      this.columns.push(column);
      let x = this.columns.length - 1;
      if (this.scrolls && x >= this.width) {
        this.context.drawImage(this.canvas, -1, 0);
        this.columns.shift();
        x = this.width - 1;
      }
      this.draw(column, x);
    }
  }

  draw(column, x) {
    const image = this.context.createImageData(1, ROWS);
    for (let row = 0; row < ROWS; row++) {
      const share = 1 + (column[row] - this.loudestDb) / RANGE_DB;
      const colour = PALETTE[Math.round(255 * Math.max(0, Math.min(1, share)))], at = 4 * (ROWS - 1 - row);
      image.data.set(colour, at);
      image.data[at + 3] = 255;
    }
    this.context.putImageData(image, x, 0);
  }

  // The level of the lightest colour.
  scaleTo(loudestDb) {
    if (Math.abs(loudestDb - this.loudestDb) < 0.1) return;
    this.loudestDb = loudestDb;
    this.columns.forEach((column, x) => this.draw(column, x));
  }
}

const LIVE_LOUDEST_DB = -20, LIVE_SECONDS = 9;
const pictures = { before: new Picture($("picture-before")), after: new Picture($("picture-after")) };

function openPictures(rate, width, scrolls) {
  for (const picture of Object.values(pictures)) picture.open(width, scrolls);
  const top = toMel(rate / 2), marks = [500, 1000, 2000, 4000, 8000, 16000].filter((hz) => toMel(hz) < 0.96 * top);
  for (const scale of document.querySelectorAll(".scale")) {
    scale.replaceChildren(...marks.map((hz) => {
      const mark = document.createElement("span");
      mark.textContent = hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`;
      mark.style.bottom = `${(100 * toMel(hz)) / top}%`;
      return mark;
    }));
  }
}

function drawAxis(seconds) {
  const step = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400].find((s) => seconds / s <= 7);
  const marks = [];
  for (let t = 0; t <= seconds; t += step) {
    const mark = document.createElement("span");
    mark.textContent = clock(t, step < 1 ? 1 : 0);
    mark.style.left = `${(100 * t) / seconds}%`;
    if (t > 0.97 * seconds) mark.className = "end";
    marks.push(mark);
  }
  $("axis").replaceChildren(...marks);
}

// ---- the recording and its result

let recording = null; // {name, blob, layout, target}
let result = null; // the one that is heard
let worker = null;

function problem(text) {
  $("problem").textContent = text;
  show($("problem"), Boolean(text));
}

function busy(text) {
  $("drop").textContent = text || "Drop a recording here";
  document.body.classList.toggle("busy", Boolean(text));
}

let opened = 0; // files so far: of two, the later one counts

async function open(file) {
  const turn = ++opened;
  problem("");
  try {
    await stopLive(false);
    const found = await readRecording(file);
    if (turn === opened) await openRecording(found);
  } catch (error) {
    if (turn === opened) problem(error.message);
  }
  if (turn === opened) busy("");
}

// A WAV file as it is; what else the browser can decode as a WAV file of floats at its own rate.
async function readRecording(file) {
  const name = file.name || "Recording";
  if (!file.size) throw new Error(`${name}: the file is empty`);
  let layout = await wavLayout(file);
  if (layout) {
    if (!layout.frames) throw new Error(`${name}: holds no sound`);
    return { name, blob: file, layout, target: layout };
  }
  const format = await containerFormat(file).catch(() => null); // damaged
  busy(`Decoding ${name} …`);
  let sound;
  try {
    sound = await decode(await file.arrayBuffer(), format?.rate);
  } catch {
    throw new Error(`${name}: this browser cannot decode it; convert it to WAV, FLAC, MP3 or Ogg`);
  }
  layout = { rate: sound.sampleRate, channels: sound.numberOfChannels, frames: sound.length, float: true, bytes: 4 };
  if (!layout.frames) throw new Error(`${name}: holds no sound`);
  const pieces = [];
  for (let at = 0; at < sound.length; at += 1 << 20) {
    const samples = Array.from({ length: layout.channels }, (_, c) => sound.getChannelData(c).subarray(at, at + (1 << 20)));
    pieces.push(new Blob([encodeSamples(samples, layout).buffer]));
  }
  const blob = wavBlob(layout, pieces);
  return { name, blob, layout: await wavLayout(blob), target: { ...layout, float: false, bytes: format?.bytes ?? 2 } };
}

// Decode at the file's own rate, so that the browser does not resample it.
function decode(content, rate) {
  let context;
  try {
    context = new OfflineAudioContext(1, 1, rate ?? 48000);
  } catch {
    context = new OfflineAudioContext(1, 1, 48000); // a rate that the browser does not have
  }
  return context.decodeAudioData(content);
}

async function openRecording(found) {
  recording = found;
  const { layout, blob } = recording, seconds = layout.frames / layout.rate;
  result = null;
  player.open({ before: { read: (first, count) => readFrames(blob, layout, first, count) }, after: { read: readResult } }, layout.rate, layout.frames);
  $("name").replaceChildren(recording.name, ...[khz(layout.rate), channelWords(layout.channels), clock(seconds)].map(chip));
  drawAxis(seconds);
  mode("file");
  enhance();
}

function chip(text) {
  const element = document.createElement("span");
  element.className = "chip";
  element.textContent = text;
  return element;
}

// Frames of the result; those that are not yet there are waited for.
async function readResult(first, count) {
  const stop = Math.min(first + count, recording.layout.frames);
  while (result.frames < stop) await result.more;
  result.blob ??= new Blob(result.parts);
  return readFrames(result.blob, { ...result.layout, frames: result.frames, start: 0 }, first, count);
}

// What the worker has made. Large pieces are given to the browser, which keeps them where it likes.
class Result {
  constructor(layout) {
    Object.assign(this, { layout, pieces: [], newest: [], bytes: 0, frames: 0, limited: 0, complete: false });
    this.announce();
  }

  announce() {
    this.arrived?.();
    this.more = new Promise((resolve) => { this.arrived = resolve; });
  }

  add({ buffer, frames, limited }) {
    this.newest.push(buffer);
    this.bytes += buffer.byteLength;
    if (this.bytes > PIECE_BYTES) {
      this.pieces.push(new Blob(this.newest));
      Object.assign(this, { newest: [], bytes: 0 });
    }
    this.blob = null;
    this.frames += frames;
    this.limited += limited;
    this.announce();
  }

  get parts() { return [...this.pieces, ...this.newest]; }
}
const PIECE_BYTES = 1 << 20; // Chromium keeps small ones in the page's own memory

// Enhance the recording; what was heard before is heard until the new result is complete.
function enhance() {
  worker?.terminate();
  worker = new Worker(workerUrl);
  const { layout, target, blob, name } = recording, seconds = layout.frames / layout.rate, started = performance.now();
  const made = new Result(target), old = result;
  if (!old?.complete) result = made;
  old?.announce(); // to who waits for it
  show($("save"), false);
  show($("progress"), true);
  let loudestDb = -Infinity, drawn = false;
  worker.onerror = () => problem(`${name}: this browser cannot run the model`);
  worker.onmessage = ({ data }) => {
    if (data.error) return problem(`${name}: ${data.error}`);
    const took = (performance.now() - started) / 1000;
    if (data.done) return complete(made, took, data.replaced);
    if (!drawn) openPictures(layout.rate, data.width, false);
    drawn = true;
    made.add(data);
    for (const column of data.before) for (const level of column) loudestDb = Math.max(loudestDb, level);
    for (const side of ["before", "after"]) {
      pictures[side].scaleTo(loudestDb);
      pictures[side].add(data[side]);
    }
    const share = made.frames / layout.frames;
    $("progress").value = share;
    $("pace").textContent = made.frames ? `${Math.floor(100 * share)} %, ${speed(made.frames / layout.rate / took)} real time` : "";
  };
  worker.postMessage({ blob, layout, target, model, knobs: knobs() });
  say(`Enhancing ${clock(seconds)} …`);
}

const speed = (factor) => `${factor < 10 ? factor.toFixed(1) : Math.round(factor)} ×`;

function complete(made, seconds, replaced) {
  const { layout, name } = recording, long = layout.frames / layout.rate, swapped = result !== made;
  const notes = [`Enhanced in ${seconds.toFixed(1)} s, ${speed(long / seconds)} real time`];
  if (made.limited) notes.push(`${plural(made.limited, "sample")} above full scale limited: turn the gain down`);
  if (replaced) notes.push(`${plural(replaced, "sample")} of the file were not numbers and count as zero`);
  say(`${notes.join(". ")}.`);
  $("pace").textContent = "";
  show($("progress"), false);
  made.complete = true;
  result = made;
  if (swapped) player.seek(player.seconds); // from here on the new one
  URL.revokeObjectURL($("save").href);
  $("save").href = URL.createObjectURL(wavBlob(made.layout, made.parts));
  $("save").download = `${name.replace(/\.[^.]*$/, "")}-enhanced.wav`;
  $("save").title = `${khz(layout.rate)}, ${channelWords(layout.channels)}, ${sampleWords(made.layout)}`;
  show($("save"), true);
}

function say(text) { $("status").textContent = text; }

// ---- player: what is heard, where it stands

const player = new Player(() => {
  $("play").classList.toggle("playing", player.playing);
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  for (const side of ["before", "after"]) $(`hear-${side}`).setAttribute("aria-pressed", String(player.heard === side));
  $("stage").dataset.heard = player.heard;
  tick();
});

function tick() {
  if (!recording || live) return;
  const seconds = player.seconds, total = recording.layout.frames / recording.layout.rate;
  $("head").style.left = `${(100 * seconds) / total}%`;
  $("time").textContent = `${clock(seconds, 1)} / ${clock(total, 1)}`;
  $("view").setAttribute("aria-valuemax", total.toFixed(1));
  $("view").setAttribute("aria-valuenow", seconds.toFixed(1));
  $("view").setAttribute("aria-valuetext", `${clock(seconds, 1)} of ${clock(total, 1)}`);
  if (player.playing) requestAnimationFrame(tick);
}

function seek(seconds) {
  if (live || !recording) return;
  const { rate, frames } = recording.layout, ready = result.frames < frames ? Math.max(0, result.frames / rate - 1) : frames / rate;
  player.seek(Math.min(seconds, ready)); // not beyond what is enhanced
}

function toggle() {
  if (live || !recording) return;
  if (player.playing) player.pause();
  else player.play().catch((error) => { player.pause(); problem(`This browser does not play: ${error.message}`); });
}

function hear(side) {
  player.hear(side);
  sendKnobs();
}

// ---- knobs, as [enhance] in config.ini

const form = $("knobs").elements;
const NO_LIMIT = 43; // of the slider; from 42 dB on nobody hears what is left

function knobs() {
  const limit = Number(form.limit.value);
  return { mix: form.mix.value / 100, maxSuppressionDb: limit === NO_LIMIT ? 200 : limit, gainDb: Number(form.gain.value) };
}

function setKnobs({ mix, max_suppression_db: limit, post_gain_db: gain }) {
  for (const [input, value] of [[form.mix, 100 * mix], [form.limit, Math.min(NO_LIMIT, limit)], [form.gain, gain]]) {
    input.min = Math.min(input.min, value);
    input.max = Math.max(input.max, value);
    if (value % 1) input.step = "any";
    input.defaultValue = input.value = value;
  }
  writeKnobs();
}

function writeKnobs() {
  const { mix, maxSuppressionDb, gainDb } = knobs();
  const texts = { mix: `${+(100 * mix).toFixed(1)} %`, limit: maxSuppressionDb === 200 ? "none" : `${maxSuppressionDb} dB`, gain: `${gainDb > 0 ? "+" : ""}${gainDb} dB`.replace("-", "−") };
  for (const [name, text] of Object.entries(texts)) {
    form[name].previousElementSibling.textContent = text;
    form[name].setAttribute("aria-valuetext", text);
  }
  const changed = Object.keys(texts).some((name) => form[name].value !== form[name].defaultValue);
  $("knobs").querySelector("[type=reset]").disabled = !changed;
}

function knobsChanged() {
  writeKnobs();
  if (live) sendKnobs();
  else if (recording) enhance();
}

$("knobs").addEventListener("input", () => { writeKnobs(); sendKnobs(); });
$("knobs").addEventListener("change", knobsChanged);
$("knobs").addEventListener("reset", () => setTimeout(knobsChanged)); // after the values
setKnobs(page.knobs);

// ---- microphone

let live = null; // {context, stream, node, volume, sound}

async function startLive() {
  problem("");
  const devices = navigator.mediaDevices;
  if (!devices?.getUserMedia || !window.AudioWorkletNode) {
    return problem("The microphone is not available here: browsers give it to pages from https, localhost or a file");
  }
  player.pause();
  const context = new AudioContext({ latencyHint: "interactive" }); // while the click counts as a gesture
  const resumed = resume(context);
  resumed.catch(() => {}); // is awaited below
  let stream;
  try {
    // As it is: without the browser's own processing.
    stream = await devices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 } });
  } catch (error) {
    context.close();
    return problem(error.name === "NotFoundError" ? "No microphone was found; connect one" : "The microphone is not allowed; allow it in the browser's address bar");
  }
  try {
    await resumed;
    await context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(context, "specmask-live", { outputChannelCount: [1], processorOptions: { model, knobs: knobs() } });
    const volume = new GainNode(context, { gain: 0 });
    context.createMediaStreamSource(stream).connect(node).connect(volume).connect(context.destination);
    worker?.terminate();
    live = { context, stream, node, volume, sound: new Result({ rate: context.sampleRate, channels: 1, float: true, bytes: 4 }) };
    openLive();
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    context.close();
    live = null;
    problem(`The microphone cannot be processed: ${error.message}`);
  }
}

function openLive() {
  const { context, node, stream } = live, rate = context.sampleRate;
  const spectra = { before: new Spectrogram(rate, LIVE_SECONDS * rate), after: new Spectrogram(rate, LIVE_SECONDS * rate) };
  openPictures(rate, spectra.before.width, true);
  $("axis").replaceChildren();
  $("name").replaceChildren("Microphone", chip(khz(rate)));
  $("listen").setAttribute("aria-pressed", "false");
  mode("live");
  sendKnobs();
  node.onprocessorerror = () => problem("The model stopped in this browser");
  node.port.onmessage = ({ data }) => {
    if (!live) return;
    if (data.delay) {
      const device = (context.baseLatency ?? 0) + (context.outputLatency ?? 0) + (stream.getAudioTracks()[0].getSettings().latency ?? 0);
      const own = data.delay / rate;
      say(`Latency ${Math.round(1000 * (own + device))} ms: ${Math.round(1000 * own)} of the model, ${Math.round(1000 * device)} of this device.`);
    }
    if (data.noisy) {
      live.sound.add({ buffer: data.noisy, frames: data.noisy.length, limited: 0 });
      pictures.before.add(spectra.before.feed([data.noisy]));
      pictures.after.add(spectra.after.feed([data.enhanced]));
      setMeter("noisy", levelDb(data.noisy));
      setMeter("enhanced", levelDb(data.enhanced));
      setMeter("reduction", Math.max(0, data.reductionDb));
      $("time").textContent = clock(live.sound.frames / rate, 1);
    }
    if (data.stopped) live.stopped();
  };
}

function setMeter(name, value) {
  const meter = $(`meter-${name}`), calm = 0.7 * meter.value + 0.3 * value;
  meter.value = calm; // which keeps it within its bounds
  const sign = calm <= meter.min && meter.min < 0 ? "< " : calm >= meter.max ? "> " : "";
  meter.parentElement.querySelector("output").textContent = `${sign}${Math.round(meter.value)} dB`.replace("-", "−");
}

// Stop the microphone; what it has heard becomes the recording if it is kept.
async function stopLive(keep) {
  if (!live) return;
  const { context, stream, node } = live;
  await new Promise((resolve) => {
    live.stopped = resolve;
    node.port.postMessage({ stop: true });
    setTimeout(resolve, 500);
  });
  const { frames, parts } = live.sound, layout = { ...live.sound.layout, frames };
  live = null;
  for (const track of stream.getTracks()) track.stop();
  context.close();
  if (!keep || !frames) return;
  const blob = wavBlob(layout, parts), name = `Microphone ${new Date().toTimeString().slice(0, 5).replace(":", ".")}.wav`;
  await openRecording({ name, blob, layout: await wavLayout(blob), target: { ...layout, float: false, bytes: 2 } });
}

function sendKnobs() { live?.node.port.postMessage({ knobs: knobs(), heard: player.heard }); }

function listen() {
  const on = $("listen").getAttribute("aria-pressed") !== "true";
  $("listen").setAttribute("aria-pressed", String(on));
  live.volume.gain.setTargetAtTime(Number(on), live.context.currentTime, 0.01);
}

// ---- what is shown, and what one does

function mode(name) {
  document.body.dataset.mode = name;
  const file = name === "file";
  show($("stage"), true);
  show($("knobs"), true);
  show(document.querySelector(".keys"), true);
  for (const id of ["play", "axis", "head"]) show($(id), file);
  for (const id of ["listen", "meters", "stop"]) show($(id), !file);
  if (!file) for (const id of ["save", "progress"]) show($(id), false);
  $("view").tabIndex = file ? 0 : -1;
  $(file ? "play" : "listen").focus({ preventScroll: true }); // so that the space bar plays
}

$("choose").onclick = () => $("file").click();
$("file").onchange = () => { if ($("file").files[0]) open($("file").files[0]); $("file").value = ""; };
$("microphone").onclick = startLive;
$("stop").onclick = () => stopLive(true).catch((error) => problem(error.message));
$("listen").onclick = listen;
$("play").onclick = toggle;
$("hear-before").onclick = () => hear("before");
$("hear-after").onclick = () => hear("after");

$("view").onpointerdown = (event) => {
  if (!recording || live) return;
  const place = ({ clientX }) => {
    const box = $("view").getBoundingClientRect();
    return (Math.max(0, Math.min(1, (clientX - box.left) / box.width)) * recording.layout.frames) / recording.layout.rate;
  };
  seek(place(event));
};

let drags = 0; // of nested elements: leaving a child is not leaving the page
const files = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragenter", (event) => { if (files(event)) { drags++; document.body.classList.add("dragging"); } });
addEventListener("dragleave", (event) => { if (files(event) && !--drags) document.body.classList.remove("dragging"); });
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  drags = 0;
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
});

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || (!recording && !live)) return;
  const slider = target.closest?.("input");
  if (key.toLowerCase() === "b") hear(player.heard === "after" ? "before" : "after");
  else if (key === " " && !target.closest?.("button, a, summary")) toggle();
  else if (key === "ArrowLeft" && !slider) seek(player.seconds - (event.shiftKey ? 10 : 1));
  else if (key === "ArrowRight" && !slider) seek(player.seconds + (event.shiftKey ? 10 : 1));
  else if (key === "Home" && target === $("view")) seek(0);
  else return;
  event.preventDefault();
});
