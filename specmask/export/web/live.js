// The microphone: live through the worklet, then kept as a recording.

let live = null; // {context, stream, node, volume, close, sound, stopped}
let asking = false; // for the microphone: of two clicks, the first one counts
const MICROPHONE_PROBLEMS = {
  NotFoundError: "No microphone was found; connect one",
  NotAllowedError: "The microphone is not allowed; allow it in the browser's address bar",
  NotReadableError: "The microphone does not open; end other programs that use it, or allow it in the system's settings",
};

async function startLive() {
  if (asking || live || !mayReplace()) return;
  asking = true;
  try {
    await askAndStart();
  } finally {
    asking = false;
  }
}

async function askAndStart() {
  const turn = opened;
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
    return problem(MICROPHONE_PROBLEMS[error.name] ?? `The microphone cannot be used: ${error.message}`);
  }
  const close = () => {
    for (const track of stream.getTracks()) track.stop();
    context.close();
  };
  try {
    await resumed;
    await context.audioWorklet.addModule(workletUrl);
    if (turn !== opened) return close(); // a file was opened since
    const node = new AudioWorkletNode(context, "specmask-live", { outputChannelCount: [1], processorOptions: { model, knobs: knobs() } });
    const volume = new GainNode(context, { gain: 0 });
    context.createMediaStreamSource(stream).connect(node).connect(volume).connect(context.destination);
    worker?.terminate();
    opened++; // a file that is still decoded does not take its place
    live = { context, stream, node, volume, close, sound: new Result({ rate: context.sampleRate, channels: 1, float: true, bytes: 4 }) };
    openLive(live);
  } catch (error) {
    close();
    if (live) endLive();
    problem(`The microphone cannot be processed: ${error.message}`);
  }
}

function openLive(own) {
  const { context, node, stream, sound } = own, rate = context.sampleRate;
  const spectra = { before: new Spectrogram(rate, LIVE_SECONDS * rate), after: new Spectrogram(rate, LIVE_SECONDS * rate) };
  openPictures(rate, spectra.before.width, true);
  $("axis").replaceChildren();
  $("name").replaceChildren("Microphone", chip(khz(rate)));
  $("listen").setAttribute("aria-pressed", "false");
  mode("live");
  sendKnobs();
  node.onprocessorerror = () => {
    problem("The model stopped in this browser");
    stopLive().catch((error) => problem(error.message)); // which keeps what was heard until now
  };
  node.port.onmessage = ({ data }) => {
    if (live !== own) return;
    if (data.delay) {
      const device = (context.baseLatency ?? 0) + (context.outputLatency ?? 0) + (stream.getAudioTracks()[0].getSettings().latency ?? 0);
      const delay = data.delay / rate;
      say(`Latency ${Math.round(1000 * (delay + device))} ms: ${Math.round(1000 * delay)} of the model, ${Math.round(1000 * device)} of this device.`);
    }
    if (data.noisy) {
      sound.add({ buffer: data.noisy, frames: data.noisy.length, limited: 0 });
      pictures.before.add(spectra.before.feed([data.noisy]));
      pictures.after.add(spectra.after.feed([data.enhanced]));
      setMeter("noisy", levelDb(data.noisy));
      setMeter("enhanced", levelDb(data.enhanced));
      setMeter("reduction", Math.max(0, data.reductionDb));
      $("time").textContent = clock(sound.frames / rate, 1);
    }
    if (data.stopped) own.stopped();
  };
}

function setMeter(name, value) {
  const meter = $(`meter-${name}`), calm = 0.7 * meter.value + 0.3 * value;
  meter.value = calm; // which keeps it within its bounds
  const sign = calm <= meter.min && meter.min < 0 ? "< " : calm >= meter.max ? "> " : "";
  meter.parentElement.querySelector("output").textContent = `${sign}${Math.round(meter.value)} dB`.replace("-", "−");
}

// Stop the microphone; what it has heard becomes the recording.
async function stopLive() {
  const own = live;
  if (!own || own.stopped) return; // the latter is stopping
  await new Promise((resolve) => {
    own.stopped = resolve;
    own.node.port.postMessage({ stop: true });
    setTimeout(resolve, 500);
  });
  own.close();
  const { frames, parts } = own.sound, layout = { ...own.sound.layout, frames };
  if (!frames) return endLive();
  live = null;
  const name = `Microphone ${new Date().toTimeString().slice(0, 5).replace(":", ".")}.wav`;
  const start = wavHeader(layout).byteLength, target = { ...layout, float: false, bytes: 2 };
  await openRecording({ name, blob: wavBlob(layout, parts), layout: { ...layout, start }, target, spoken: true, unsaved: true });
}

// Nothing was heard: what was open before is open again.
function endLive() {
  live = null;
  if (recording) openRecording(recording);
  else mode("");
}

function sendKnobs() { live?.node.port.postMessage({ knobs: knobs(), heard: player.heard }); }

function listen() {
  const on = $("listen").getAttribute("aria-pressed") !== "true";
  $("listen").setAttribute("aria-pressed", String(on));
  live.volume.gain.setTargetAtTime(Number(on), live.context.currentTime, 0.01);
}
