// Player of two recordings of the same length, sample by sample together: one is heard.

const CHUNK_SECONDS = 1, AHEAD_SECONDS = 2.5, FADE_SECONDS = 0.006, RESUME_SECONDS = 5;

class Player {
  constructor(onChange, onError) {
    Object.assign(this, { onChange, onError });
    this.heard = "after";
    this.nodes = new Set();
    this.run = 0; // number of the present playback; what an earlier one still reads is dropped
    this.playing = false;
    this.at = 0; // frame of the pause, or of the start
  }

  // sides: {before, after}, each with read(first, count) -> samples per channel.
  open(sides, rate, frames) {
    this.stop();
    if (this.rate !== rate) {
      this.context?.close();
      this.context = null;
    }
    Object.assign(this, { sides, rate, frames, at: 0 });
    this.onChange();
  }

  connect() { // browsers want a gesture before this
    try {
      this.context = new AudioContext({ sampleRate: this.rate }); // blocks fit together without a click
    } catch {
      this.context = new AudioContext(); // a rate that the browser does not have
    }
    this.fader = this.context.createGain(); // so that nothing clicks where it begins and stops
    this.fader.connect(this.context.destination);
    this.gains = {};
    for (const side of ["before", "after"]) {
      this.gains[side] = this.context.createGain();
      this.gains[side].gain.value = Number(side === this.heard);
      this.gains[side].connect(this.fader);
    }
  }

  get frame() {
    if (!this.playing || this.begun === null) return this.at;
    const now = this.at + (this.context.currentTime - this.begun) * this.rate;
    return Math.max(this.at, Math.min(this.frames, now));
  }

  get seconds() { return this.frame / this.rate; }

  start() {
    this.play().catch((error) => { this.pause(); this.onError(error); });
  }

  async play() {
    if (!this.context) this.connect();
    if (this.at >= this.frames) this.at = 0;
    this.playing = true;
    this.begun = null;
    this.onChange();
    const run = ++this.run;
    await resume(this.context);
    for (let next = this.at; run === this.run && next < this.frames; ) {
      const ahead = this.begun === null ? 0 : this.begun + (next - this.at) / this.rate - this.context.currentTime;
      if (ahead > AHEAD_SECONDS) {
        await new Promise((resolve) => setTimeout(resolve, 200));
        continue;
      }
      const count = Math.ceil(CHUNK_SECONDS * this.rate), { before, after } = this.sides;
      const [x, y] = await Promise.all([before.read(next, count), after.read(next, count)]);
      if (run !== this.run) return;
      const now = this.context.currentTime;
      if (this.begun === null || this.begun + (next - this.at) / this.rate < now) { // the start, or too late
        this.at = next;
        this.begun = Math.ceil((now + 0.03) * this.rate) / this.rate; // on a sample: nothing is interpolated
        this.fade(1, this.begun);
      }
      const time = this.begun + (next - this.at) / this.rate;
      this.schedule(x, time, "before");
      this.schedule(y, time, "after");
      next += x[0].length;
    }
    while (run === this.run && this.frame < this.frames) await new Promise((resolve) => setTimeout(resolve, 50));
    if (run === this.run) this.seek(0, false);
  }

  schedule(samples, time, side) {
    if (!samples[0].length) return; // not enhanced yet
    const buffer = this.context.createBuffer(samples.length, samples[0].length, this.rate);
    samples.forEach((x, c) => buffer.copyToChannel(x, c));
    const node = this.context.createBufferSource();
    node.buffer = buffer;
    node.connect(this.gains[side]);
    node.onended = () => this.nodes.delete(node);
    this.nodes.add(node);
    node.start(time);
  }

  pause() {
    this.at = Math.round(this.frame);
    this.stop();
    this.onChange();
  }

  stop() {
    this.playing = false;
    this.run++;
    if (!this.context) return;
    this.fade(0, this.context.currentTime);
    for (const node of this.nodes) node.stop(this.context.currentTime + 4 * FADE_SECONDS);
    this.nodes.clear();
  }

  fade(gain, time) { this.fader.gain.setTargetAtTime(gain, time, FADE_SECONDS / 3); }

  seek(seconds, playing = this.playing) {
    this.stop();
    this.at = Math.max(0, Math.min(this.frames, Math.round(seconds * this.rate)));
    if (playing) this.start();
    else this.onChange();
  }

  hear(side) {
    this.heard = side;
    if (this.context) {
      for (const [name, { gain }] of Object.entries(this.gains)) {
        gain.setTargetAtTime(Number(name === side), this.context.currentTime, FADE_SECONDS / 3);
      }
    }
    this.onChange();
  }
}

// Browsers without a sound device wait for ever.
async function resume(context) {
  const late = new Promise((resolve) => setTimeout(resolve, RESUME_SECONDS * 1000, "late"));
  if ((await Promise.race([context.resume(), late])) === "late") throw new Error("its sound device does not start");
}
