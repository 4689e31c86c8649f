// Resampling by a rational factor: windowed sinc, polyphase, linear phase, aligned to the sample.

// Share of the lower rate's band that passes, and attenuation of what would alias. HQ is as soxr's
// (the default of enhance.py); the delay of LIVE is a fifth of that.
const HQ = { passband: 0.9136, rejectionDb: 120 };
const LIVE = { passband: 0.8, rejectionDb: 80 };
const SMOOTH = { passband: 0.5, rejectionDb: 80 }; // for signals far below the band's end
const PIECE = 4096; // samples that are taken at a time

// Modified Bessel function of the first kind, order 0.
function bessel(x) {
  let sum = 1, term = 1;
  for (let k = 1; term > 1e-12 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

// A stream from one rate to another: y(k) = Σ x(n) h(k M / L − n) with
// h(t) = c sinc(c t) Kaiser(t), c in the middle between the ends of pass and stop band.
class Resampler {
  constructor(heap, rateIn, rateOut, { passband, rejectionDb }) {
    let [divisor, rest] = [rateIn, rateOut];
    while (rest) [divisor, rest] = [rest, divisor % rest];
    this.up = rateOut / divisor; // L
    this.down = rateIn / divisor; // M
    const band = Math.min(1, rateOut / rateIn);
    const width = (rejectionDb - 7.95) / (2.285 * Math.PI * (1 - passband)) / 2 / band; // half the window
    this.half = Math.ceil(width / 2) * 2; // input samples before and behind: 4 n taps
    this.heap = heap;
    this.table = heap.table(`${this.up}/${this.down}/${passband}`, 2 * this.half * this.up, (table) =>
      this.fill(table, width, (band * (1 + passband)) / 2, 0.1102 * (rejectionDb - 8.7)));
    const piece = Math.max(PIECE, this.half + 1); // that of flush is the longer one above 725 kHz
    this.x = heap.allocate(2 * this.half + this.down + piece);
    this.y = heap.allocate(Math.ceil((piece * this.up) / this.down) + 2);
    this.samplesIn = this.samplesOut = 0;
    this.first = 1 - this.half; // the sample of the input that x begins with
    this.length = this.half - 1; // of x: zeros before the first sample
    heap.floats.fill(0, this.x, this.x + this.length);
  }

  // The taps of every phase, their sum 1.
  fill(table, width, cutoff, beta) {
    const count = 2 * this.half, taps = new Float64Array(count), scale = bessel(beta);
    for (let phase = 0; phase < this.up; phase++) {
      let sum = 0;
      for (let n = 0; n < count; n++) {
        const t = n - this.half + 1 - phase / this.up, u = t / width, c = Math.PI * cutoff * t;
        const window = Math.abs(u) < 1 ? bessel(beta * Math.sqrt(1 - u * u)) / scale : 0;
        sum += taps[n] = (c ? Math.sin(c) / c : 1) * window;
      }
      for (let n = 0; n < count; n++) this.heap.floats[table + phase * count + n] = taps[n] / sum;
    }
  }

  // Take samples and return those that are ready.
  feed(x) {
    const parts = [];
    for (let at = 0; at < x.length; at += PIECE) {
      const piece = x.subarray(at, at + PIECE);
      this.samplesIn += piece.length;
      parts.push(this.push(piece, Math.floor(((this.samplesIn - this.half - 1) * this.up) / this.down) + 1));
    }
    return joined(parts);
  }

  // Return the rest: as many samples have come out then as the input lasts, rounded up.
  flush() {
    return this.push(new Float32Array(this.half + 1), Math.ceil((this.samplesIn * this.up) / this.down));
  }

  push(piece, total) {
    const { heap, up, down, half } = this, count = Math.max(0, total - this.samplesOut);
    heap.floats.set(piece, this.x + this.length);
    this.length += piece.length;
    const place = this.samplesOut * down; // in 1 / L of an input sample
    const start = Math.floor(place / up) - half + 1 - this.first;
    heap.resample(this.x + start, this.y, count, this.table, 2 * half, up, down, place % up);
    this.samplesOut += count;
    const used = Math.min(this.length, Math.floor((this.samplesOut * down) / up) - half + 1 - this.first);
    heap.floats.copyWithin(this.x, this.x + used, this.x + this.length);
    this.first += used;
    this.length -= used;
    return heap.floats.slice(this.y, this.y + count);
  }
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}
