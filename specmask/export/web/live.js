// The microphone: live through the worklet, then kept as a recording.

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
