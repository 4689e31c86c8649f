// Worklet: the microphone through the network; the page gets meters and the sound of both.

const TRIAL_SECONDS = 1.5; // of silence, to measure the largest lag of a stream
const REPORT_SECONDS = 0.04, FADE_SECONDS = 0.006;

class Live extends AudioWorkletProcessor {
  constructor({ processorOptions: { model, knobs } }) {
    super();
    this.enhancer = new Enhancer(model, sampleRate, 1, knobs, LIVE);
    this.ready = new Queue();
    // Delayed by the largest lag of the stream, there is always a block ready.
    const silence = new Float32Array(128);
    let delay = 0;
    for (let n = 0; n < TRIAL_SECONDS * sampleRate; n += 128) {
      this.enhancer.feed([silence]);
      delay = Math.max(delay, this.enhancer.lag);
    }
    this.ready.push(new Float32Array(delay - this.enhancer.lag));
    this.delayed = new Queue(); // the input as late as the output
    this.delayed.push(new Float32Array(delay));
    this.noisy = new Queue(); // since the last report
    this.dry = new Queue();
    this.enhanced = new Queue();
    this.wet = 1; // share of the enhanced sound that is heard
    this.heard = 1; // where it goes
    this.running = true;
    this.port.onmessage = ({ data }) => {
      if (data.knobs) this.enhancer.set(data.knobs);
      if (data.heard) this.heard = Number(data.heard === "after");
      if (data.stop) {
        this.report();
        this.running = false;
        this.port.postMessage({ stopped: true });
      }
    };
    this.port.postMessage({ delay });
  }

  process([input], [[output]]) {
    const x = new Float32Array(output.length); // without a source there is silence
    for (const channel of input) for (let n = 0; n < x.length; n++) x[n] += channel[n] / input.length;
    this.delayed.push(x);
    this.ready.push(this.enhancer.feed([x])[0]);
    const dry = this.delayed.take(x.length), y = this.ready.take(x.length), step = 1 / (FADE_SECONDS * sampleRate);
    for (let n = 0; n < y.length; n++) {
      this.wet += Math.max(-step, Math.min(step, this.heard - this.wet));
      output[n] = dry[n] + this.wet * (y[n] - dry[n]);
    }
    this.noisy.push(x);
    this.dry.push(dry);
    this.enhanced.push(y);
    if (this.noisy.length >= REPORT_SECONDS * sampleRate) this.report();
    return this.running;
  }

  report() {
    if (!this.noisy.length) return;
    const [noisy, dry, enhanced] = [this.noisy, this.dry, this.enhanced].map((queue) => queue.take(queue.length));
    const reductionDb = levelDb(dry) - levelDb(enhanced);
    this.port.postMessage({ noisy, enhanced, reductionDb }, [noisy.buffer, enhanced.buffer]);
  }
}
registerProcessor("specmask-live", Live);
