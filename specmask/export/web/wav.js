// WAV files: layout, samples and header. Samples are one Float32Array per channel, full scale 1.
//
// A layout is {rate, channels, frames, float, bytes, start}: bytes per sample, start of the first
// one. Files are read piece by piece, so their length does not matter.

const PCM = 1, FLOAT = 3, EXTENSIBLE = 0xfffe;
const WAV_BYTES = 0xffff0000; // above it a WAV file becomes RF64, with 64-bit sizes

const bytesOf = async (blob, start, stop) => new DataView(await blob.slice(start, stop).arrayBuffer());
const ascii = (view, at, count) => {
  let text = "";
  for (let i = at; i < Math.min(at + count, view.byteLength); i++) text += String.fromCharCode(view.getUint8(i));
  return text;
};

// The layout of a WAV or RF64 file of whole numbers or floats, null of any other file.
async function wavLayout(blob) {
  const head = await bytesOf(blob, 0, 12);
  if (!["RIFF", "RF64", "BW64"].includes(ascii(head, 0, 4)) || ascii(head, 8, 4) !== "WAVE") return null;
  let layout = null, longSize = null;
  for (let at = 12; at + 8 <= blob.size; ) {
    const chunk = await bytesOf(blob, at, at + 48);
    const name = ascii(chunk, 0, 4), size = chunk.getUint32(4, true);
    if (!/^[ -~]{4}$/.test(name)) return null; // damaged: zeros would be empty chunks without end
    if (name === "ds64" && chunk.byteLength >= 24) longSize = Number(chunk.getBigUint64(16, true));
    if (name === "fmt " && chunk.byteLength >= 24) layout = format(chunk);
    if (name === "data") {
      if (!layout) return null;
      const rest = blob.size - at - 8, frame = layout.channels * layout.bytes;
      const known = size === 0xffffffff && longSize !== null ? longSize : size;
      // Programs that write into pipes do not know the size.
      const length = known === 0 || known > rest ? rest : known;
      return { ...layout, start: at + 8, frames: Math.floor(length / frame) };
    }
    at += 8 + size + (size % 2);
  }
  return null;
}

function format(chunk) {
  let tag = chunk.getUint16(8, true);
  if (tag === EXTENSIBLE && chunk.byteLength >= 34) tag = chunk.getUint16(32, true);
  const channels = chunk.getUint16(10, true), rate = chunk.getUint32(12, true);
  const bytes = chunk.getUint16(20, true) / channels;
  const known = tag === PCM ? [1, 2, 3, 4] : tag === FLOAT ? [4, 8] : [];
  return rate && known.includes(bytes) ? { rate, channels, bytes, float: tag === FLOAT } : null;
}

// {samples, replaced} of so many frames from one on; fewer at the end of the file.
async function readFrames(blob, layout, first, count) {
  const size = layout.channels * layout.bytes, start = layout.start + first * size;
  const frames = Math.max(0, Math.min(count, layout.frames - first));
  return decodeSamples(await blob.slice(start, start + frames * size).arrayBuffer(), layout);
}

// Samples, and how many of them were no finite numbers and are taken as zero.
function decodeSamples(buffer, { channels, bytes, float }) {
  const frames = Math.floor(buffer.byteLength / (channels * bytes)), view = new DataView(buffer);
  const at = {
    1: (i) => (view.getUint8(i) - 128) / 0x80,
    2: (i) => view.getInt16(i, true) / 0x8000,
    3: (i) => (view.getUint8(i) | (view.getInt16(i + 1, true) << 8)) / 0x800000,
    4: float ? (i) => view.getFloat32(i, true) : (i) => view.getInt32(i, true) / 0x80000000,
    8: (i) => view.getFloat64(i, true),
  }[bytes];
  const samples = Array.from({ length: channels }, (_, c) => {
    const x = new Float32Array(frames);
    for (let n = 0, i = c * bytes; n < frames; n++, i += channels * bytes) x[n] = at(i);
    return x;
  });
  return { samples, replaced: float ? samples.reduce((sum, x) => sum + zeroNonFinite(x), 0) : 0 };
}

// Make NaN and infinities zero, in place, and return how many they were.
function zeroNonFinite(x) {
  let count = 0;
  for (let n = 0; n < x.length; n++) if (!Number.isFinite(x[n])) { x[n] = 0; count++; }
  return count;
}

// The bytes of samples, and how many of them were above full scale and are limited.
function encodeSamples(samples, { bytes, float }) {
  const channels = samples.length, frames = samples[0].length;
  const buffer = new ArrayBuffer(frames * channels * bytes), view = new DataView(buffer);
  const full = 2 ** (8 * bytes - 1);
  const put = {
    1: (i, v) => view.setUint8(i, v + 128),
    2: (i, v) => view.setInt16(i, v, true),
    3: (i, v) => { view.setUint8(i, v & 255); view.setInt16(i + 1, v >> 8, true); },
    4: float ? (i, v) => view.setFloat32(i, v, true) : (i, v) => view.setInt32(i, v, true),
    8: (i, v) => view.setFloat64(i, v, true),
  }[bytes];
  let limited = 0;
  samples.forEach((x, c) => {
    for (let n = 0, i = c * bytes; n < frames; n++, i += channels * bytes) {
      if (float) { put(i, x[n]); continue; }
      if (x[n] > 1 || x[n] < -1) limited++;
      put(i, Math.max(-full, Math.min(full - 1, Math.round(x[n] * full))));
    }
  });
  return { buffer, limited };
}

// The header of a file of this layout (whose own start is not read).
function wavHeader({ rate, channels, frames, float, bytes }) {
  const size = frames * channels * bytes, long = size > WAV_BYTES;
  const view = new DataView(new ArrayBuffer(long ? 80 : 44));
  let at = 0;
  const text = (word) => { for (const letter of word) view.setUint8(at++, letter.charCodeAt(0)); };
  const number = (width, value) => {
    if (width === 2) view.setUint16(at, value, true);
    else if (width === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += width;
  };
  const whole = view.byteLength - 8 + size + (size % 2);
  text(long ? "RF64" : "RIFF"); number(4, long ? 0xffffffff : whole); text("WAVE");
  if (long) { text("ds64"); number(4, 28); number(8, whole); number(8, size); number(8, frames); number(4, 0); }
  text("fmt "); number(4, 16); number(2, float ? FLOAT : PCM); number(2, channels); number(4, rate);
  number(4, rate * channels * bytes); number(2, channels * bytes); number(2, 8 * bytes);
  text("data"); number(4, long ? 0xffffffff : size);
  return view.buffer;
}

// A WAV file from its encoded pieces.
function wavBlob(layout, pieces) {
  const size = layout.frames * layout.channels * layout.bytes;
  return new Blob([wavHeader(layout), ...pieces, new ArrayBuffer(size % 2)], { type: "audio/wav" });
}

// ---- other containers: what the browser's decoder does not say

// {rate, bytes} from the head of a file: its rate in Hz and bytes per sample worth keeping.
// Browsers decode to a rate that one asks for, so without it every file would be resampled.
async function containerFormat(blob) {
  let start = 0, view = await bytesOf(blob, 0, 4096);
  if (ascii(view, 0, 3) === "ID3") { // tags in front of MP3, at times of FLAC
    start = 10 + [6, 7, 8, 9].reduce((sum, i) => sum * 128 + view.getUint8(i), 0);
    view = await bytesOf(blob, start, start + 4096);
  }
  const magic = ascii(view, 0, 4);
  if (magic === "fLaC") return flac(view, 0);
  if (magic === "OggS" && view.byteLength > 64) {
    const at = 27 + view.getUint8(26), kind = ascii(view, at, 8);
    if (kind.slice(1, 7) === "vorbis") return { rate: view.getUint32(at + 12, true), bytes: 2 };
    if (kind.slice(1, 5) === "FLAC") return flac(view, at + 9);
    if (kind === "OpusHead") {
      const own = view.getUint32(at + 12, true);
      return { rate: [8000, 12000, 16000, 24000].find((r) => own && own <= r) ?? 48000, bytes: 2 };
    }
  }
  if (ascii(view, 4, 4) === "ftyp") return mp4(blob);
  return mp3(view);
}

function flac(view, at) {
  const rate = (view.getUint16(at + 18) << 4) | (view.getUint8(at + 20) >> 4);
  const bits = (((view.getUint8(at + 20) & 1) << 4) | (view.getUint8(at + 21) >> 4)) + 1;
  return { rate, bytes: bits > 16 ? 3 : 2 };
}

// MP3 begins with a frame, behind zeros at most, and the next one is where the first one ends: any
// other file has bytes that look like the header of a frame.
function mp3(view) {
  let at = 0;
  while (at < view.byteLength && !view.getUint8(at)) at++;
  const first = mp3Frame(view, at), next = first && mp3Frame(view, at + first.length);
  return next && next.rate === first.rate ? { rate: first.rate, bytes: 2 } : null;
}

// {rate, length} of a frame of layer III, the length in bytes; null where there is none.
function mp3Frame(view, at) {
  if (at + 4 > view.byteLength) return null;
  const word = view.getUint32(at), version = (word >> 19) & 3, layer = (word >> 17) & 3; // version 3: MPEG-1
  const rateIndex = (word >> 10) & 3, kbps = (version === 3 ? MPEG1_KBPS : MPEG2_KBPS)[(word >> 12) & 15];
  if (word >>> 21 !== 0x7ff || version === 1 || layer !== 1 || rateIndex === 3 || !kbps) return null;
  const rate = [44100, 48000, 32000][rateIndex] / { 3: 1, 2: 2, 0: 4 }[version], samples = version === 3 ? 1152 : 576;
  return { rate, length: Math.floor(((samples / 8) * 1000 * kbps) / rate) + ((word >> 9) & 1) };
}
const MPEG1_KBPS = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const MPEG2_KBPS = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

// The box mp4a with the rate is at the beginning or at the end of the file.
async function mp4(blob) {
  const part = 1 << 18;
  for (const start of [0, Math.max(0, blob.size - part)]) {
    const view = await bytesOf(blob, start, start + part), at = ascii(view, 0, part).indexOf("mp4a");
    if (at >= 0 && at + 32 <= view.byteLength) return { rate: view.getUint16(at + 28), bytes: 2 };
  }
  return null;
}
