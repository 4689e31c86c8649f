// Worker: a recording enhanced block by block, and the spectrograms of both.

const BLOCK_SECONDS = 2;

// job: {blob, layout, target (layout of the result), model, knobs}
onmessage = async ({ data: { blob, layout, target, model, knobs } }) => {
  try {
    const { rate, channels, frames } = layout, count = Math.ceil(BLOCK_SECONDS * rate);
    const enhancer = new Enhancer(model, rate, channels, knobs);
    const before = new Spectrogram(rate, frames), after = new Spectrogram(rate, frames);
    let replaced = 0; // samples of the file
    const send = (noisy, y) => {
      y.forEach(zeroNonFinite); // samples near the largest float overflow
      const { buffer, limited } = encodeSamples(y, target);
      postMessage({
        buffer, frames: y[0].length, limited, width: before.width,
        before: noisy ? before.feed(noisy) : before.flush(),
        after: noisy ? after.feed(y) : [...after.feed(y), ...after.flush()],
      }, [buffer]);
    };
    for (let at = 0; at < frames; at += count) {
      const noisy = await readFrames(blob, layout, at, count);
      replaced += noisy.replaced;
      send(noisy.samples, enhancer.feed(noisy.samples));
    }
    send(null, enhancer.flush());
    postMessage({ done: true, replaced });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
