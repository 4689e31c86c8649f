"""The web page: its scripts under Node, and all of it in a browser."""

import base64
import json
import os
import shutil
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from helpers import ROOT, error_db, speechlike, white_noise

import specmask
from specmask.enhancement import enhancer, runtimes
from specmask.export import check, program, web_page

WEB = ROOT / "specmask" / "export" / "web"
NATIVE = ROOT / "specmask" / "export" / "native"
MODEL_RATE = 16000
EDGE = 300  # samples at both ends, where soxr's filters begin and end otherwise


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of the default model."""
    path = enhancer.PRETRAINED / "default.onnx"
    description = runtimes.load(path).description
    folder = tmp_path_factory.mktemp("web")
    return web_page.write(program.from_onnx(path), description, folder) / "index.html"


@pytest.fixture(scope="module")
def model():
    return specmask.load()


def noisy_speech(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """Float32 [samples, channels]; the second channel is softer, later and has its own noise."""
    rng = np.random.default_rng(rate)
    x = speechlike(rng, seconds, rate)
    columns = [0.8**c * np.roll(x, 20 * c) + 0.3 * white_noise(len(x), c) for c in range(channels)]
    return np.stack(columns, axis=1)


def node() -> str:
    return shutil.which("node") or pytest.skip("needs node on the path")


# ---------------------------------------------------------------- scripts under Node

LOAD = """
const fs = require("fs");
const [dir, wasm] = [%s, fs.readFileSync(%s)];
const read = (name) => fs.readFileSync(`${dir}/${name}`);
const floats = (name) => new Float32Array(Uint8Array.from(read(name)).buffer);
const save = (name, x) => fs.writeFileSync(`${dir}/${name}`, new Uint8Array(x.buffer ?? x));
%s
(async () => console.log(JSON.stringify(await work())))();
"""


def run_script(work: str, folder: Path, wasm: str = "specmask.wasm"):
    """Run a JavaScript function ``work`` beside the page's scripts; return what it returns."""
    scripts = [(WEB / name).read_text(encoding="utf-8") for name in web_page.SOUND]
    places = json.dumps(str(folder)), json.dumps(str(NATIVE / wasm))
    text = LOAD % (*places, "\n".join([*scripts, work]))
    done = subprocess.run([node(), "-"], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


RESAMPLE = """
const work = () => {
  const heap = new Heap(wasm), x = floats("x"), half = [];
  for (const [a, b] of %s) {
    for (const size of [1000, 4099]) {
      const r = new Resampler(heap, a, b, HQ), y = [];
      for (let at = 0; at < x.length; at += size) y.push(r.feed(x.subarray(at, at + size)));
      save(`y${a}-${b}-${size}`, joined([...y, r.flush()]));
      half.push(r.half);
    }
  }
  return half;
};
"""


@pytest.mark.parametrize("wasm", ["specmask.wasm", "specmask_scalar.wasm"])
def test_resampler_is_that_of_enhance(wasm, tmp_path):
    """White noise: soxr's HQ but for the flank of the filter; inside the band to -70 dB."""
    rates = [(48000, 16000), (44100, 16000), (16000, 44100), (8000, 16000), (16000, 8000)]
    x = white_noise(48000)
    x.tofile(tmp_path / "x")
    run_script(RESAMPLE % json.dumps(rates), tmp_path, wasm)
    for a, b in rates:
        parts = [np.fromfile(tmp_path / f"y{a}-{b}-{n}", np.float32) for n in (1000, 4099)]
        assert np.array_equal(*parts) and len(parts[0]) == -(-len(x) * b // a)
        wanted = soxr.resample(x, a, b, quality="HQ")
        inner = slice(EDGE, len(wanted) - EDGE)
        assert error_db(parts[0][inner], wanted[inner]) < -45
        band = [np.fft.rfft(y[inner] * np.hanning(len(y[inner]))) for y in (wanted, parts[0])]
        inside = np.arange(len(band[0])) * b / len(wanted[inner]) < 0.44 * min(a, b)
        assert error_db(*(z[inside].view(float) for z in band[::-1])) < -70


def test_the_end_of_a_stream_of_very_high_rate(tmp_path):
    """Against the sum itself, where the filter is longer than a piece; memory behind stays."""
    code = """const work = () => {
      let error = 0;
      for (const length of [50000, 53000, 57343]) {
        const heap = new Heap(wasm), r = new Resampler(heap, 768000, 16000, HQ);
        const behind = heap.allocate(1000);
        heap.floats.fill(1, behind, behind + 1000);
        const x = Float32Array.from({ length }, (_, n) => Math.sin(n * n)), taps = 2 * r.half;
        const y = joined([r.feed(x), r.flush()]);
        for (let k = 0; k < y.length; k += 7) {
          let sum = 0;
          for (let n = 0; n < taps; n++)
            sum += heap.floats[r.table + n] * (x[48 * k - r.half + 1 + n] ?? 0);
          error = Math.max(error, Math.abs(y[k] - sum));
        }
        for (const v of heap.floats.subarray(behind, behind + 1000))
          error = Math.max(error, Math.abs(v - 1));
      }
      return error;
    };"""
    assert run_script(code, tmp_path) < 1e-5


WAV = """
const work = async () => {
  const found = {};
  for (const name of fs.readdirSync(dir)) {
    const blob = new Blob([read(name)]), layout = (found[name] = await wavLayout(blob));
    if (!layout) continue;
    const samples = Array.from({ length: layout.channels }, () => []), pieces = [];
    for (let at = 0; at < layout.frames; at += 37) {
      const { samples: x } = await readFrames(blob, layout, at, 37);
      x.forEach((channel, c) => samples[c].push(...channel));
      pieces.push(encodeSamples(x, layout).buffer);
    }
    save(name + ".f32", Float32Array.from(samples.flat()));
    save(name + ".out", await wavBlob(layout, pieces).arrayBuffer());
  }
  return found;
};
"""
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def test_wav_files_are_read_and_written_exactly(tmp_path):
    rng = np.random.default_rng(0)
    for channels in (1, 2, 5):
        x = rng.uniform(-1, 1, (101, channels))
        for kind in ("WAV", "WAVEX", "RF64"):
            for subtype in SUBTYPES:
                name = f"{kind}-{subtype}-{channels}.wav"
                sf.write(tmp_path / name, x, 11127, subtype, format=kind)
    sf.write(tmp_path / "ulaw.wav", x, 8000, "ULAW")
    whole = (tmp_path / "WAV-PCM_16-2.wav").read_bytes()
    # What a program writes into a pipe, and a file that was cut.
    endless = whole[:40] + b"\xff\xff\xff\xff" + whole[44:]
    (tmp_path / "endless.wav").write_bytes(endless)
    (tmp_path / "cut.wav").write_bytes(whole[:-7])
    (tmp_path / "zeros.wav").write_bytes(whole[:12] + bytes(20_000_000))
    found = run_script(WAV, tmp_path)
    assert found.pop("ulaw.wav") is None  # goes through the browser's decoder
    assert found.pop("zeros.wav") is None  # at once
    assert found.pop("endless.wav")["frames"] == 101 and found.pop("cut.wav")["frames"] == 99
    assert len(found) == 54
    for name, layout in found.items():
        wanted, rate = sf.read(tmp_path / name, dtype="float32", always_2d=True)
        assert (rate, *wanted.shape) == (layout["rate"], layout["frames"], layout["channels"])
        samples = np.fromfile(tmp_path / f"{name}.f32", np.float32).reshape(-1, len(wanted)).T
        assert np.array_equal(samples, wanted), name
        info = sf.info(tmp_path / f"{name}.out")
        assert info.subtype == name.split("-")[1]
        again, _ = sf.read(tmp_path / f"{name}.out", dtype="float32", always_2d=True)
        assert np.array_equal(again, wanted), name


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers_are_zero_and_counted(subtype, tmp_path):
    x = noisy_speech(0.1, 16000, 2)
    x[[3, 40, 1000], [0, 1, 0]] = np.nan, np.inf, -np.inf
    sf.write(tmp_path / "x.wav", x, 16000, subtype)
    code = """const work = async () => {
      const blob = new Blob([read("x.wav")]), layout = await wavLayout(blob);
      const { samples, replaced } = await readFrames(blob, layout, 0, layout.frames);
      save("y", joined(samples));
      return replaced;
    };"""
    assert run_script(code, tmp_path) == 3
    found = np.fromfile(tmp_path / "y", np.float32).reshape(2, -1).T
    assert np.array_equal(found, np.where(np.isfinite(x), x, 0).astype(np.float32))


def test_long_files_have_the_header_of_rf64(tmp_path):
    code = """const work = async () => {
      const layout = { rate: 48000, channels: 2, bytes: 3, float: false, frames: 800e6 };
      save("head", wavHeader(layout));
      return encodeSamples([Float32Array.of(2, -2, 1, 0)], { bytes: 2, float: false }).limited;
    };"""
    assert run_script(code, tmp_path) == 2  # above full scale; 1 itself is not
    head = (tmp_path / "head").read_bytes()
    assert head[:4] == b"RF64" and head[12:16] == b"ds64" and len(head) == 80
    size = 800_000_000 * 6
    assert [int.from_bytes(head[i : i + 8], "little") for i in (20, 28, 36)] == [
        size + 72, size, 800_000_000]  # fmt: skip


def test_rates_of_other_containers_are_found(tmp_path):
    x = white_noise(24000)
    cases = [
        ("flac", "FLAC", "PCM_16"),
        ("flac", "FLAC", "PCM_24"),
        ("mp3", "MP3", "MPEG_LAYER_III"),
    ]
    cases += [("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS")]
    wanted = {}
    for suffix, kind, subtype in cases:
        for rate in (16000, 48000) if subtype == "OPUS" else (11025, 16000, 44100, 48000):
            name = f"{subtype}-{rate}.{suffix}"
            sf.write(tmp_path / name, x, rate, subtype, format=kind)
            wanted[name] = [rate, 3 if subtype == "PCM_24" else 2]
    tagged = b"ID3\x04\x00\x00\x00\x00\x02\x01" + bytes(257)
    mp3 = (tmp_path / "MPEG_LAYER_III-44100.mp3").read_bytes()
    (tmp_path / "tagged.mp3").write_bytes(tagged + mp3)
    wanted["tagged.mp3"] = [44100, 2]
    other = {"text.txt": b"no sound at all"}
    rng = np.random.default_rng(0)
    for n in range(100):  # with bytes that look like a header of MP3
        payload = rng.bytes(5000)
        other[f"{n}.webm"] = b"\x1a\x45\xdf\xa3" + payload
        other[f"{n}.aac"] = b"\xff\xf1\x50\x80\x2e\x7f\xfc" + payload
        other[f"{n}.aiff"] = b"FORM\0\0\x13\x90AIFF" + payload
        other[f"{n}.wav"] = b"RIFF\x90\x13\0\0WAVE" + payload
    for name, content in other.items():
        (tmp_path / name).write_bytes(content)
    code = """const work = async () => {
      const found = {};
      for (const name of fs.readdirSync(dir)) {
        const format = await containerFormat(new Blob([read(name)]));
        found[name] = format && [format.rate, format.bytes];
      }
      return found;
    };"""
    assert run_script(code, tmp_path) == wanted | dict.fromkeys(other)


def test_spectrogram_is_the_mean_power_of_its_frames(tmp_path):
    """Against NumPy: a long recording, in columns of several frames."""
    rate, rows = 8000, 192
    x = white_noise(30 * rate)
    x.tofile(tmp_path / "x")
    code = """const work = () => {
      const x = floats("x"), s = new Spectrogram(8000, x.length), columns = [], size = 777;
      for (let at = 0; at < x.length; at += size)
        columns.push(...s.feed([x.subarray(at, at + size)]));
      columns.push(...s.flush());
      save("y", joined(columns));
      return [s.width, columns.length, s.perColumn, s.stride];
    };"""
    assert run_script(code, tmp_path) == [750, 750, 4, 1]
    found = np.fromfile(tmp_path / "y", np.float32).reshape(-1, rows)
    window, hop = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200), 80
    padded = np.pad(x, (0, 200))
    frames = np.stack([padded[t * hop : t * hop + 200] for t in range(3000)]) * window
    power = np.abs(np.fft.rfft(frames, 256) * 2 / window.sum()) ** 2
    power = power.reshape(750, 4, -1).mean(1)
    mel = np.linspace(0, 1127 * np.log1p(4000 / 700), rows + 1)
    edges = 700 * np.expm1(mel / 1127) * 256 / rate
    for row in range(rows):
        low, high = edges[row], edges[row + 1]
        if high - low < 1:
            k = int(low)
            wanted = power[:, k] * (k + 1 - low) + power[:, k + 1] * (low - k)
        else:
            wanted = power[:, int(np.ceil(low)) : int(min(high, 128 - 1e-9)) + 1].mean(1)
        np.testing.assert_allclose(found[:-2, row], 10 * np.log10(wanted)[:-2], atol=1e-3)


# ---------------------------------------------------------------- the engine under Node


@pytest.mark.parametrize("kind", ["simd", "scalar"])
@pytest.mark.parametrize("rate, channels, bound_db", [
    (16000, 1, -110), (16000, 2, -110), (44100, 2, -45), (48000, 1, -45), (8000, 1, -45),
])  # fmt: skip
def test_engine_is_enhance(page, model, kind, rate, channels, bound_db):
    """Aligned, of the same length; other rates to the flank of the resampler's filter."""
    x = noisy_speech(1.3, rate, channels)
    x[-1] = np.nan  # taken as zero
    found = web_page.enhance_in_node(page.parent, x, rate, kind)
    wanted = specmask.enhance(np.nan_to_num(x), rate, model)
    assert found.shape == wanted.shape
    assert error_db(found, wanted) < bound_db
    ends = 0 if rate == MODEL_RATE else EDGE
    # two resamplers, and a network that answers to their difference
    bound = 1e-5 if rate == MODEL_RATE else 0.02 * np.abs(wanted).max()
    assert np.abs(found - wanted)[ends : len(found) - ends].max() < bound


def test_the_parity_report_has_the_page(page, model, tmp_path, monkeypatch):
    node()
    sf.write(tmp_path / "noisy.wav", noisy_speech(1, 48000), 48000)
    (row,) = check.compare([page.parent], model, [tmp_path / "noisy.wav"], [None])
    assert row.name == "web" and row.difference < 1e-5 and row.megabytes < 1
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = check.compare([page.parent], model, [tmp_path / "noisy.wav"], [None])
    assert row.name == "web (not compared: no node)" and row.difference is None


# ---------------------------------------------------------------- in a browser

SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
# Without these it looks for updates at every start.
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update")
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> Path:
    """A folder of noisy recordings, and one for the microphone."""
    folder = tmp_path_factory.mktemp("recordings")
    sf.write(folder / "mono.wav", 0.5 * noisy_speech(2, 16000), 16000)
    sf.write(folder / "stereo.wav", 0.5 * noisy_speech(2.1, 44100, 2), 44100, "PCM_24")
    sf.write(folder / "stereo.flac", 0.5 * noisy_speech(2.1, 44100, 2), 44100, "PCM_24")
    sf.write(folder / "microphone.wav", 0.5 * noisy_speech(4, 48000), 48000)
    (folder / "no sound.txt").write_text("no sound at all")
    (folder / "cut.flac").write_bytes(b"fLaC\0")
    sf.write(folder / "empty.wav", np.zeros((0, 1)), 16000)
    return folder


@pytest.fixture(scope="module")
def browser(recordings, tmp_path_factory):
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs chromium and chromedriver on the path")
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    captured = f"--use-file-for-fake-audio-capture={recordings / 'microphone.wav'}"
    for word in (*SWITCHES, *QUIET, *MICROPHONE, captured):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(shutil.which("chromedriver")))
    driver.profile = driver.capabilities["chrome"]["userDataDir"]
    driver.downloads = tmp_path_factory.mktemp("downloads")
    behaviour = {"behavior": "allow", "downloadPath": str(driver.downloads)}
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    yield driver
    driver.quit()


@pytest.fixture
def quiet(browser):
    """The test leaves no message in the console, and makes no request but for the page itself."""
    browser.get_log("browser"), browser.get_log("performance")
    yield
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events
            if e["method"] == "Network.requestWillBeSent"]  # fmt: skip
    asked = [url for url in sent if not url.startswith(("blob:", "data:"))]
    assert asked == [browser.current_url]


def until(condition, seconds: float = 60):
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def part(browser, name: str):
    return browser.find_element("id", name)


DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([bytes], arguments[1]));
document.getElementById("save").hidden = true;
dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
"""


def drop(browser, path: Path) -> None:
    content = base64.b64encode(path.read_bytes()).decode()
    browser.execute_script(DROP, content, path.name)


def saved(browser, name: str) -> Path:
    """Save the result and return the file."""
    until(lambda: part(browser, "save").is_displayed() or part(browser, "problem").text)
    part(browser, "save").click()
    path = browser.downloads / name
    until(path.is_file)
    return path


@pytest.mark.usefixtures("quiet")
def test_a_dropped_recording_is_enhanced_and_saved(page, model, browser, recordings):
    browser.get(page.as_uri())
    for name in ("mono.wav", "stereo.wav", "stereo.flac"):
        source = recordings / name
        drop(browser, source)
        path = saved(browser, f"{source.stem}-enhanced.wav")
        found, rate = sf.read(path, always_2d=True)
        x, wanted_rate = sf.read(source, dtype="float32", always_2d=True)
        wanted = specmask.enhance(x, wanted_rate, model)
        assert (rate, found.shape) == (wanted_rate, wanted.shape), name
        assert sf.info(path).subtype == sf.info(source).subtype
        ends = 0 if name == "mono.wav" else EDGE
        assert np.abs(found - wanted)[ends : len(found) - ends].max() < 1e-3, name
        path.unlink()
    assert "real time" in part(browser, "status").text and not part(browser, "problem").text


def seconds(browser) -> float:
    return float(part(browser, "view").get_attribute("aria-valuenow"))


# The player in a context that renders as fast as it can: no machine is too slow for it.
RENDER = """
const done = arguments[0], { resume } = OfflineAudioContext.prototype;
const { frames } = recording.layout;
window.AudioContext = class extends OfflineAudioContext {
  constructor({ sampleRate }) { super(2, frames + sampleRate / 2, sampleRate); }
  resume() { return Promise.resolve(); }
};
(async () => {
  player.play();
  while (player.nodes.size < 6) await new Promise((resolve) => setTimeout(resolve, 20));
  const { context } = player;
  for (const time of [0.512, 1.28]) {
    context.suspend(time).then(() => {
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "b", bubbles: true }));
      resume.call(context);
    });
  }
  const sound = await context.startRendering();
  done([0, 1].map((c) => Array.from(sound.getChannelData(c))));
})();
"""


def test_switching_keeps_the_sample(page, browser, recordings):
    """Before and after are heard in turn, each sample at its place."""
    browser.get(page.as_uri())
    drop(browser, recordings / "stereo.wav")
    result, _ = sf.read(saved(browser, "stereo-enhanced.wav"), dtype="float32")
    source, rate = sf.read(recordings / "stereo.wav", dtype="float32")
    heard = np.array(browser.execute_async_script(RENDER), np.float32).T
    start = int(np.argmax(np.abs(heard[:, 0]) > 0))
    assert start - 1323 in (0, 1)  # 30 ms; the first sample is faded to nothing
    heard, fade = heard[1323 : 1323 + len(source)], round(0.02 * rate)
    turns = [0, *(round(t * rate) - 1323 for t in (0.512, 1.28)), len(source)]
    for side, first, last in zip((result, source, result), turns[:-1], turns[1:], strict=True):
        place = slice(first + fade, last - 128)  # the browser switches every 128 samples
        np.testing.assert_allclose(heard[place], side[place], atol=1e-5)
    until(lambda: part(browser, "play").get_attribute("aria-label") == "Play")  # the end
    assert float(part(browser, "view").get_attribute("aria-valuenow")) == 0


@pytest.mark.usefixtures("quiet")
def test_knobs_and_keys(page, model, browser, recordings):
    browser.get(page.as_uri())
    drop(browser, recordings / "mono.wav")
    until(lambda: part(browser, "save").is_displayed())
    assert browser.switch_to.active_element == part(browser, "play")
    script = """const form = document.getElementById("knobs");
      [form.mix.value, form.limit.value, form.gain.value] = [80, 12, -3];
      form.mix.dispatchEvent(new Event("change", { bubbles: true }));"""
    browser.execute_script(script)
    x, rate = sf.read(recordings / "mono.wav", dtype="float32")
    found, _ = sf.read(saved(browser, "mono-enhanced.wav"))
    knobs = {"mix": 0.8, "max_suppression_db": 12, "post_gain_db": -3}
    assert np.abs(found - specmask.enhance(x, rate, specmask.load(knobs=knobs))).max() < 1e-3
    from selenium.webdriver.common.keys import Keys

    body = browser.find_element("tag name", "body")

    body.send_keys(Keys.ARROW_RIGHT)
    assert seconds(browser) == 1
    body.send_keys(Keys.ARROW_LEFT)
    assert seconds(browser) == 0
    body.send_keys(" ")
    until(lambda: seconds(browser) > 0)  # it plays
    body.send_keys(" b")
    assert part(browser, "hear-before").get_attribute("aria-pressed") == "true"
    assert part(browser, "play").get_attribute("aria-label") == "Play"
    browser.execute_script("seek(0)")
    # Keys of the sliders are their own.
    part(browser, "knobs").find_element("name", "gain").send_keys(Keys.ARROW_RIGHT)
    assert seconds(browser) == 0


def test_what_is_no_sound_is_one_line(page, browser, recordings):
    browser.get(page.as_uri())
    decoded = "cannot decode it; convert it to"
    cases = {"no sound.txt": decoded, "cut.flac": decoded, "empty.wav": "holds no sound"}
    for name, text in cases.items():
        drop(browser, recordings / name)
        found = until(lambda: part(browser, "problem").text)
        assert found.startswith(f"{name}: ") and text in found and "\n" not in found
        browser.execute_script("problem('')")
    drop(browser, recordings / "mono.wav")  # and it goes on
    until(lambda: part(browser, "save").is_displayed())


COLLECT = """
window.collected = { noisy: [], enhanced: [] };
const { port } = live.node, show = port.onmessage;
port.onmessage = (event) => {
  for (const side of ["noisy", "enhanced"]) collected[side].push(...(event.data[side] ?? []));
  show(event);
};
"""


@pytest.mark.usefixtures("quiet")
def test_microphone(page, model, browser):
    """The stream is that of the whole recording, late by what is shown; then it is kept."""
    browser.get(page.as_uri())
    part(browser, "microphone").click()
    until(lambda: "Latency" in part(browser, "status").text or part(browser, "problem").text)
    latency_ms = int(part(browser, "status").text.split(": ")[1].split()[0])
    browser.execute_script(COLLECT)
    part(browser, "listen").click()
    until(
        lambda: browser.execute_script("return collected.noisy.length > 3 * live.sound.layout.rate")
    )
    meters = [m.text for m in browser.find_elements("css selector", "#meters output")]
    assert all(text.endswith(" dB") for text in meters)
    rate = browser.execute_script("return live.sound.layout.rate")
    found = browser.execute_script("return collected")
    noisy, enhanced = (np.array(found[s], np.float32) for s in ("noisy", "enhanced"))
    wanted = specmask.enhance(noisy, rate, model)
    late = round(latency_ms * rate / 1000)
    inner = slice(rate, 2 * rate)  # of a stream that had begun before
    errors = {lag: error_db(enhanced[inner.start + lag : inner.stop + lag], wanted[inner])
              for lag in range(late - rate // 1000, late + rate // 1000)}  # fmt: skip
    assert min(errors.values()) < -20  # the live resampler has a wide flank, for its short delay
    part(browser, "stop").click()
    until(lambda: part(browser, "save").is_displayed())
    path = saved(browser, browser.execute_script("return document.getElementById('save').download"))
    kept, kept_rate = sf.read(path)
    assert kept_rate == rate and len(kept) > 3 * rate


COUNT = """
const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
window.asked = 0;
devices.getUserMedia = (what) => { asked++; return ask(what); };
$("microphone").click();
$("microphone").click();
"""


def test_speech_is_not_lost(page, browser, recordings):
    """A second click, a dropped file, a model that fails: the recording stays."""
    from selenium.webdriver.support import expected_conditions
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get(page.as_uri())
    body, drop_one = browser.find_element("tag name", "body"), recordings / "mono.wav"
    browser.execute_script("window.good = model.program, model.program = new ArrayBuffer(64)")
    part(browser, "microphone").click()  # its model does not start
    until(lambda: part(browser, "problem").text == "The model stopped in this browser")
    until(lambda: part(browser, "microphone").is_displayed())
    assert not part(browser, "stage").is_displayed()

    browser.execute_script("model.program = good")
    browser.execute_script(COUNT)
    until(lambda: browser.execute_script("return live && live.sound.frames > 4096"))
    assert browser.execute_script("return asked") == 1
    assert browser.switch_to.active_element == part(browser, "stop")
    drop(browser, drop_one)
    assert "stop it first" in part(browser, "status").text
    assert body.get_attribute("data-mode") == "live"

    browser.execute_script(
        "model.program = new ArrayBuffer(64), $('stop').click(), $('stop').click()"
    )
    until(lambda: part(browser, "save").is_displayed())
    assert part(browser, "save").text == "Save the original"
    assert part(browser, "problem").text.endswith("the model of this page is damaged")
    assert part(browser, "status").text == "Not enhanced."
    assert not part(browser, "progress").is_displayed()
    name = browser.execute_script("return recording.name")
    # It is in no file yet: nothing takes its place without a question.
    browser.execute_script("setTimeout(startLive)")
    WebDriverWait(browser, 60).until(expected_conditions.alert_is_present()).dismiss()
    assert browser.execute_script("return recording.name") == name
    original, rate = sf.read(saved(browser, name))
    layout = browser.execute_script("return recording.layout")
    assert (rate, len(original)) == (layout["rate"], layout["frames"]) and original.any()

    browser.execute_script("model.program = good")
    x, rate = sf.read(drop_one)
    x[[7, 70]] = np.nan, np.inf
    sf.write(recordings / "no numbers.wav", x, rate, "FLOAT")
    drop(browser, recordings / "no numbers.wav")
    assert np.isfinite(sf.read(saved(browser, "no numbers-enhanced.wav"))[0]).all()
    assert "2 samples of the file" in part(browser, "status").text
    # A file that has gone.
    browser.execute_script("player.sides.before.read = () => Promise.reject(new Error('gone'))")
    browser.execute_script("player.playing = true, seek(1)")
    until(lambda: part(browser, "problem").text == "The recording does not play: gone")
    assert part(browser, "play").get_attribute("aria-label") == "Play"


def test_from_a_server(page, browser, recordings):
    """It asks for nothing but itself, and works without SIMD."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=page.parent))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/?scalar")
        drop(browser, recordings / "mono.wav")
        until(lambda: part(browser, "save").is_displayed())
        assert part(browser, "runtime").get_attribute("textContent").endswith("without SIMD")
    finally:
        server.shutdown()
    assert asked == ["/?scalar"]


def memory(browser) -> int:
    """Resident bytes of the page's process, the largest of Chromium's renderers."""
    largest = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"--type=renderer" in command and browser.profile.encode() in command:
                pages = int((process / "statm").read_text().split()[1])
                largest = max(largest, pages * os.sysconf("SC_PAGE_SIZE"))
        except OSError:
            continue  # has ended
    return largest


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_memory_of_a_long_recording(page, browser, tmp_path):
    """Sixty megabytes of result are made while the page's memory stays."""
    x = np.tile(noisy_speech(10, MODEL_RATE), (60, 1))
    sf.write(tmp_path / "long.wav", x, MODEL_RATE, "DOUBLE")
    browser.get(page.as_uri())
    part(browser, "file").send_keys(str(tmp_path / "long.wav"))
    until(lambda: float(part(browser, "progress").get_attribute("value")) > 0.2, 600)
    before = memory(browser)
    until(lambda: part(browser, "save").is_displayed(), 1200)
    assert before > 0 and memory(browser) - before < 30e6


def test_the_page_is_small_and_names_no_other_place(page):
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < 1_000_000
    assert [p.name for p in page.parent.iterdir()] == ["index.html"]
    assert "http:" not in text and "https:" not in text and "connect-src 'none'" in text
