// The recording: read, decoded, enhanced by the worker, saved.

// {name, blob, layout, target, spoken, unsaved}: spoken into the microphone, unsaved: in no file yet
let recording = null;
let result = null; // the one that is heard
let worker = null;
let opened = 0; // files so far: of two, the later one counts

async function open(file) {
  if (live) return say("The microphone is recording: stop it first, then open the file.");
  if (!mayReplace()) return;
  const turn = ++opened;
  problem("");
  try {
    const found = await readRecording(file);
    if (turn === opened) await openRecording(found);
  } catch (error) {
    if (turn === opened) problem(error.message);
  }
  if (turn === opened || live) busy("");
}

// Whether another recording may take the place of this one.
function mayReplace() {
  return !recording?.unsaved || confirm("The recording of the microphone is not saved. Go on without it?");
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
  player.open({ before: { read: async (first, count) => (await readFrames(blob, layout, first, count)).samples }, after: { read: readResult } }, layout.rate, layout.frames);
  $("name").replaceChildren(recording.name, ...[khz(layout.rate), channelWords(layout.channels), clock(seconds)].map(chip));
  drawAxis(seconds);
  mode("file");
  enhance();
}

// Frames of the result; those that are not yet there are waited for unless it has failed.
async function readResult(first, count) {
  const stop = Math.min(first + count, recording.layout.frames);
  while (result.frames < stop && !result.failed) await result.more;
  result.blob ??= new Blob(result.parts);
  return (await readFrames(result.blob, { ...result.layout, frames: result.frames, start: 0 }, first, count)).samples;
}

// What the worker has made. Large pieces are given to the browser, which keeps them where it likes.
class Result {
  constructor(layout) {
    Object.assign(this, { layout, pieces: [], newest: [], bytes: 0, frames: 0, limited: 0, complete: false, failed: false });
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
  worker.onerror = () => failed(`${name}: this browser cannot run the model`);
  worker.onmessage = ({ data }) => {
    if (data.error) return failed(`${name}: ${data.error}`);
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
  ended(`${notes.join(". ")}.`);
  made.complete = true;
  result = made;
  if (swapped) player.seek(player.seconds); // from here on the new one
  offer("Save as WAV", wavBlob(made.layout, made.parts), made.layout, `${name.replace(/\.[^.]*$/, "")}-enhanced.wav`);
}

// What was enhanced before stays, and so does the sound of the microphone.
function failed(text) {
  const { blob, layout, name, spoken } = recording;
  worker.terminate();
  problem(text);
  ended("Not enhanced.");
  result.failed = true;
  result.announce(); // to who waits for it
  if (result.complete) show($("save"), true);
  else if (spoken) offer("Save the original", blob, layout, name);
}

function offer(text, blob, layout, name) {
  const save = $("save");
  URL.revokeObjectURL(save.href);
  Object.assign(save, { textContent: text, href: URL.createObjectURL(blob), download: name });
  save.title = `${khz(layout.rate)}, ${channelWords(layout.channels)}, ${sampleWords(layout)}`;
  show(save, true);
}

function ended(text) {
  say(text);
  $("pace").textContent = "";
  show($("progress"), false);
}

function say(text) { $("status").textContent = text; }
