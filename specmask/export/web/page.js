// The page: one stage for a recording or the microphone, before and after. The other scripts come
// before it (PAGE in web_page.py).

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

// ---- player: what is heard, and where

const player = new Player(() => {
  $("play").classList.toggle("playing", player.playing);
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  for (const side of ["before", "after"]) $(`hear-${side}`).setAttribute("aria-pressed", String(player.heard === side));
  $("stage").dataset.heard = player.heard;
  tick();
}, (error) => problem(`The recording does not play: ${error.message}`));

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
  const { rate, frames } = recording.layout, ready = result.frames < frames && !result.failed ? Math.max(0, result.frames / rate - 1) : frames / rate;
  player.seek(Math.min(seconds, ready)); // not beyond what is enhanced
}

function toggle() {
  if (live || !recording) return;
  if (player.playing) player.pause();
  else player.start();
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

// ---- what is shown, and what one does

// name: file, live, or "" where nothing is open.
function mode(name) {
  if (name) document.body.dataset.mode = name;
  else delete document.body.dataset.mode;
  const file = name === "file";
  for (const element of [$("stage"), $("knobs"), document.querySelector(".keys")]) show(element, Boolean(name));
  for (const id of ["play", "axis", "head"]) show($(id), file);
  for (const id of ["listen", "meters", "stop"]) show($(id), !file);
  if (!file) for (const id of ["save", "progress"]) show($(id), false);
  $("view").tabIndex = file ? 0 : -1;
  // The space bar plays, or stops; it never opens the loudspeaker beside a microphone.
  $({ file: "play", live: "stop" }[name] ?? "microphone").focus({ preventScroll: true });
}

$("choose").onclick = () => $("file").click();
$("file").onchange = () => { if ($("file").files[0]) open($("file").files[0]); $("file").value = ""; };
$("microphone").onclick = startLive;
$("stop").onclick = () => stopLive().catch((error) => problem(error.message));
$("listen").onclick = listen;
$("save").addEventListener("click", () => { recording.unsaved = false; });
addEventListener("beforeunload", (event) => { if (live || recording?.unsaved) event.preventDefault(); });
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
