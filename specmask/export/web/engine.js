// Recordings through the network, as specmask/enhancement/streaming.py and highband.py do it,
// around specmask.c in WebAssembly.

// The memory of a WebAssembly instance, in floats.
class Heap {
  constructor(wasm) {
    this.api = new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports;
    this.top = this.api.__heap_base.value; // in bytes: nothing is given back
    this.view = new Float32Array(this.api.memory.buffer);
    this.tables = {};
  }

  // A view of all memory, new where it has grown.
  get floats() {
    if (!this.view.length) this.view = new Float32Array(this.api.memory.buffer);
    return this.view;
  }

  // The index of so many floats of zero, aligned to 16 bytes.
  allocate(count) {
    const start = (this.top + 15) & ~15;
    this.top = start + 4 * count;
    const missing = this.top - this.api.memory.buffer.byteLength;
    if (missing > 0) this.api.memory.grow(Math.ceil(missing / 65536));
    this.floats.fill(0, start / 4, this.top / 4);
    return start / 4;
  }

  // The index of a table that several share.
  table(name, count, fill) {
    if (!(name in this.tables)) fill((this.tables[name] = this.allocate(count)));
    return this.tables[name];
  }

  resample(x, y, count, table, taps, up, down, phase) {
    this.api.resample(4 * x, 4 * y, count, 4 * table, taps, up, down, phase);
  }
}

// The network on several channels with one mask for all (channels = linked of enhance.py), at its
// own rate and hop by hop: specmask.h.
class Network {
  constructor(heap, program, rate, channels) {
    this.heap = heap;
    this.api = heap.api;
    const at = 4 * heap.allocate(program.byteLength / 4);
    new Uint8Array(this.api.memory.buffer).set(new Uint8Array(program), at);
    const bytes = this.api.specmask_bytes(at, program.byteLength);
    if (!bytes) throw new Error("the model of this page is damaged");
    this.handles = Array.from({ length: channels }, () => this.api.specmask_create(at, program.byteLength, 4 * heap.allocate(bytes / 4)));
    for (const handle of this.handles) this.api.specmask_set_rate(handle, rate);
    this.list = heap.allocate(channels); // of the handles
    new Int32Array(this.api.memory.buffer).set(this.handles, this.list);
    this.hop = this.api.specmask_hop_length(this.handles[0]);
    this.latency = this.api.specmask_latency(this.handles[0]);
    this.rate = this.api.specmask_sample_rate(this.handles[0]);
    this.sound = this.handles.map(() => heap.allocate(this.hop));
    this.gain = heap.allocate(this.hop);
  }

  set({ mix, maxSuppressionDb, gainDb }) {
    for (const handle of this.handles) this.api.specmask_set(handle, mix, maxSuppressionDb, 10 ** (gainDb / 20));
  }

  // The hop that is in this.sound becomes the enhanced one, in this.gain comes its gain above the band.
  process() {
    const { api, handles, sound } = this;
    handles.forEach((handle, c) => api.specmask_analyse(handle, 4 * sound[c]));
    api.specmask_link(4 * this.list, handles.length);
    handles.forEach((handle, c) => api.specmask_synthesise(handle, 4 * sound[c], c ? 0 : 4 * this.gain));
  }
}

// A stream of one or more channels at any rate; blocks are one Float32Array per channel.
//
// model: {program, wasm} as ArrayBuffer. knobs: {mix, maxSuppressionDb, gainDb}.
class Enhancer {
  constructor(model, rate, channels, knobs, quality = HQ) {
    const heap = new Heap(model.wasm), queues = () => Array.from({ length: channels }, () => new Queue());
    this.network = new Network(heap, model.program, rate, channels);
    this.set(knobs);
    this.rate = rate;
    this.waiting = queues(); // at the model's rate, less than a hop
    this.toDrop = this.network.latency;
    this.modelIn = this.modelOut = 0;
    this.samplesIn = this.samplesOut = 0;
    this.same = rate === this.network.rate;
    if (this.same) return;
    const each = (from, to) => Array.from({ length: channels }, () => new Resampler(heap, from, to, quality));
    this.toModel = each(rate, this.network.rate);
    this.toInput = each(this.network.rate, rate);
    this.lowToInput = each(this.network.rate, rate);
    this.gainToInput = new Resampler(heap, this.network.rate, rate, SMOOTH);
    this.original = queues(); // what has gone in and not yet come out, at both rates
    this.low = queues();
    this.ready = { enhanced: queues(), low: queues(), gain: new Queue() }; // at the recording's rate
  }

  set(knobs) { this.network.set(knobs); }

  // Samples that have gone in and not come out yet.
  get lag() { return this.samplesIn - this.samplesOut; }

  // Take a block and return the samples that are ready, if any. NaN and infinities in it become zero:
  // one would stay in the network's state to the end.
  feed(block) {
    block.forEach(zeroNonFinite);
    this.samplesIn += block[0].length;
    return this.out(this.back(this.enhance(this.down(block))));
  }

  // End the stream and return the rest: then as many samples have come out as went in.
  flush() {
    const none = this.waiting.map(() => new Float32Array(0));
    const first = this.back(this.enhance(this.down(none, true)));
    const rest = this.back(this.enhance(none, true), true);
    return this.out(first.map((part, c) => joined([part, rest[c]])));
  }

  out(y) {
    const count = Math.min(this.lag, y[0].length);
    this.samplesOut += count;
    return y.map((channel) => channel.subarray(0, count));
  }

  // To the model's rate.
  down(x, last = false) {
    if (this.same) return x;
    return x.map((channel, c) => {
      this.original[c].push(channel);
      const y = convert(this.toModel[c], channel, last);
      this.low[c].push(y);
      return y;
    });
  }

  // Samples at the model's rate through the network: {sound, gain}.
  enhance(x, last = false) {
    const { network, waiting } = this, { hop, heap } = network;
    this.modelIn += x[0].length;
    waiting.forEach((queue, c) => queue.push(x[c]));
    const missing = last ? this.toDrop + this.modelIn - this.modelOut : 0;
    const frames = last ? Math.ceil(missing / hop) : Math.floor(waiting[0].length / hop);
    const sound = x.map(() => new Float32Array(frames * hop)), gain = new Float32Array(frames * hop);
    for (let at = 0; at < frames * hop; at += hop) {
      waiting.forEach((queue, c) => heap.floats.set(queue.take(hop), network.sound[c])); // zeros behind the end
      network.process();
      sound.forEach((y, c) => y.set(heap.floats.subarray(network.sound[c], network.sound[c] + hop), at));
      gain.set(heap.floats.subarray(network.gain, network.gain + hop), at);
    }
    const drop = Math.min(this.toDrop, frames * hop), stop = Math.min(frames * hop, drop + this.modelIn - this.modelOut);
    this.toDrop -= drop;
    this.modelOut += stop - drop;
    return { sound: sound.map((y) => y.subarray(drop, stop)), gain: gain.subarray(drop, stop) };
  }

  // Back to the recording's rate: enhanced + (1 + gain) (x − x'), with x' the input there and back.
  back({ sound, gain }, last = false) {
    if (this.same) return sound;
    const { ready } = this;
    sound.forEach((enhanced, c) => {
      ready.enhanced[c].push(convert(this.toInput[c], enhanced, last));
      ready.low[c].push(convert(this.lowToInput[c], this.low[c].take(enhanced.length), last));
    });
    ready.gain.push(convert(this.gainToInput, gain, last));
    const count = Math.min(ready.gain.length, ready.enhanced[0].length), above = ready.gain.take(count);
    return sound.map((_, c) => {
      const y = ready.enhanced[c].take(count), low = ready.low[c].take(count);
      const original = this.original[c].take(count); // zeros behind the end
      for (let n = 0; n < count; n++) y[n] += (1 + above[n]) * (original[n] - low[n]);
      return y;
    });
  }
}

const convert = (resampler, x, last) => (last ? joined([resampler.feed(x), resampler.flush()]) : resampler.feed(x));

// Samples in the order in which they come.
class Queue {
  constructor() {
    this.x = new Float32Array(1024);
    this.start = this.stop = 0;
  }

  get length() { return this.stop - this.start; }

  push(x) {
    if (this.stop + x.length > this.x.length) {
      const size = this.length + x.length;
      const room = size > this.x.length / 2 ? new Float32Array(2 * size) : this.x;
      room.set(this.x.subarray(this.start, this.stop));
      [this.x, this.start, this.stop] = [room, 0, this.length];
    }
    this.x.set(x, this.stop);
    this.stop += x.length;
  }

  // So many samples; zeros where there are none.
  take(count) {
    const y = new Float32Array(count), stop = Math.min(this.stop, this.start + count);
    y.set(this.x.subarray(this.start, stop));
    this.start = stop;
    return y;
  }
}
