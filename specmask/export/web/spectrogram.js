// Levels, and spectrograms of recordings of any length: at most 900 columns, rows on the mel scale.

const COLUMNS = 900, ROWS = 192;
const WINDOW_SECONDS = 0.025, HOP_SECONDS = 0.01;
const FRAMES_PER_COLUMN = 8; // of long recordings not every frame is looked at

const toMel = (hz) => 1127 * Math.log1p(hz / 700);
const fromMel = (mel) => 700 * Math.expm1(mel / 1127);

// Mean power of samples in dBFS, at least -100.
const levelDb = (x) => 10 * Math.log10(x.reduce((sum, v) => sum + v * v, 0) / x.length + 1e-10);

// Powers of the Fourier transform of a power of two of real numbers: those of even and odd places are
// real and imaginary parts of a transform of half the size.
class Fft {
  constructor(size) {
    this.size = size;
    const half = (this.half = size / 2), angle = (_, k) => (-2 * Math.PI * k) / size;
    this.cos = Float64Array.from({ length: half }, angle).map(Math.cos);
    this.sin = Float64Array.from({ length: half }, angle).map(Math.sin);
    this.re = new Float64Array(half);
    this.im = new Float64Array(half);
    this.powers = new Float64Array(half + 1);
    this.place = new Uint32Array(half); // bits in reverse order
    for (let n = 1; n < half; n++) this.place[n] = (this.place[n >> 1] >> 1) | (n & 1 ? half >> 1 : 0);
  }

  // Transform x times a window that is not longer than the size.
  run(x, window) {
    const { half, re, im, place } = this;
    for (let n = 0; n < half; n++) {
      re[place[n]] = 2 * n < window.length ? x[2 * n] * window[2 * n] : 0;
      im[place[n]] = 2 * n + 1 < window.length ? x[2 * n + 1] * window[2 * n + 1] : 0;
    }
    for (let span = 1; span < half; span *= 2) this.stage(span);
    return this.split();
  }

  stage(span) {
    const { half, re, im, cos, sin } = this, step = half / span;
    for (let k = 0, at = 0; k < span; k++, at += step) {
      const c = cos[at], s = sin[at];
      for (let a = k; a < half; a += 2 * span) {
        const b = a + span, x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
        re[b] = re[a] - x; im[b] = im[a] - y;
        re[a] += x; im[a] += y;
      }
    }
  }

  split() {
    const { half, re, im, cos, sin, powers } = this;
    powers[0] = (re[0] + im[0]) ** 2;
    powers[half] = (re[0] - im[0]) ** 2;
    for (let k = 1; k < half; k++) {
      const a = re[k], b = im[k], c = re[half - k], d = im[half - k];
      const x = (b + d) / 2, y = (c - a) / 2; // of the odd places
      const real = (a + c) / 2 + x * cos[k] - y * sin[k], imaginary = (b - d) / 2 + x * sin[k] + y * cos[k];
      powers[k] = real * real + imaginary * imaginary;
    }
    return powers;
  }
}

// Takes a recording block by block; `columns` are Float32Array [ROWS] in dB, low frequencies first,
// a sine of full scale having 0 dB.
class Spectrogram {
  constructor(rate, frames) {
    this.hop = Math.max(1, Math.round(HOP_SECONDS * rate));
    const length = Math.max(2, Math.round(WINDOW_SECONDS * rate)), hops = Math.max(1, Math.ceil(frames / this.hop));
    this.perColumn = Math.ceil(hops / COLUMNS);
    this.width = Math.ceil(hops / this.perColumn);
    this.stride = Math.ceil(this.perColumn / FRAMES_PER_COLUMN);
    this.window = Float64Array.from({ length }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / length));
    this.fft = new Fft(2 ** Math.ceil(Math.log2(length)));
    this.rows = rows(rate, this.fft.size);
    this.queue = new Float32Array(0);
    this.start = 0; // of the queue, in samples of the recording
    this.frame = 0; // the next one
    this.column = new Float64Array(ROWS);
    this.count = 0; // of frames in the column
    this.done = 0; // columns
  }

  // Take samples of all channels and return the columns that are complete.
  feed(samples) {
    const old = this.queue, x = new Float32Array(old.length + samples[0].length);
    x.set(old);
    for (const channel of samples) for (let n = 0; n < channel.length; n++) x[old.length + n] += channel[n] / samples.length;
    const columns = [];
    let at = this.frame * this.hop - this.start;
    for (; at + this.window.length <= x.length; at = this.frame * this.hop - this.start) {
      this.add(x.subarray(at));
      const column = Math.floor(this.frame / this.perColumn), next = (column + 1) * this.perColumn;
      this.frame = Math.min(this.frame + this.stride, next);
      if (this.frame === next) columns.push(this.complete());
    }
    this.queue = x.slice(Math.min(at, x.length));
    this.start += Math.min(at, x.length);
    return columns;
  }

  // Return the last columns.
  flush() {
    const left = this.width - this.done, columns = this.feed([new Float32Array(this.window.length)]);
    if (this.count) columns.push(this.complete());
    return columns.slice(0, left); // frames behind the end are none
  }

  add(x) {
    const powers = this.fft.run(x, this.window);
    this.rows.forEach(([low, high], row) => {
      if (high - low < 1) { // narrower than a bin: between two
        const k = Math.floor(low), share = low - k;
        this.column[row] += (1 - share) * powers[k] + share * powers[k + 1];
        return;
      }
      let sum = 0;
      const [first, last] = [Math.ceil(low), Math.floor(high)];
      for (let k = first; k <= last; k++) sum += powers[k];
      this.column[row] += sum / (last - first + 1);
    });
    this.count++;
  }

  complete() {
    const scale = (4 / this.window.length) ** 2 / this.count; // the window's sum is half its length
    const column = Float32Array.from(this.column, (p) => 10 * Math.log10(p * scale + 1e-30));
    this.column.fill(0);
    this.count = 0;
    this.done++;
    return column;
  }
}

// Lowest and highest bin of every row.
function rows(rate, size) {
  const top = toMel(rate / 2), bin = (row) => (fromMel((top * row) / ROWS) * size) / rate;
  return Array.from({ length: ROWS }, (_, row) => [bin(row), Math.min(bin(row + 1), size / 2 - 1e-9)]);
}
