"""Speed of the web page of export.py in Chromium, beside LiteRT in Python on the same recordings.

    python benchmarks/web.py [--recording docs/sounds/noisy.flac] [--seconds 60]

Prints processor time per second of audio, the lesser of two alternating runs: of all of the page
(decoding, network, resampling, both spectrograms, encoding), with SIMD and without, and of
specmask.enhance. Needs selenium, Chromium and chromedriver.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import soundfile as sf  # noqa: E402
import soxr  # noqa: E402
from selenium import webdriver  # noqa: E402

import specmask  # noqa: E402
from specmask.enhancement import enhancer, runtimes  # noqa: E402
from specmask.export import program, web_page  # noqa: E402

CASES = ((16000, 1), (48000, 1), (44100, 2))  # rate in Hz, channels
REPEATS = 2


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--no-first-run"):
        options.add_argument(option)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.execute_cdp_cmd("Performance.enable", {})
    return driver


def process_seconds(driver: webdriver.Chrome) -> float:
    """Return the processor time of the page's process."""
    metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "ProcessTime")


def page_seconds(driver: webdriver.Chrome, path: Path) -> float:
    """Return the processor time in which the page enhances a file."""
    driver.execute_script("document.getElementById('save').hidden = true")
    started = process_seconds(driver)
    driver.find_element("id", "file").send_keys(str(path))
    while not driver.find_element("id", "save").is_displayed():
        if message := driver.find_element("id", "problem").text:
            raise SystemExit(message)
        time.sleep(0.5)
    return process_seconds(driver) - started


def python_seconds(x: np.ndarray, rate: int, model: enhancer.Enhancer) -> float:
    started = time.process_time()
    specmask.enhance(x, rate, model)
    return time.process_time() - started


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--recording", type=Path, default=ROOT / "docs" / "sounds" / "noisy.flac")
    p.add_argument("--seconds", type=float, default=60)
    args = p.parse_args()
    samples, recorded_rate = sf.read(args.recording, dtype="float32", always_2d=True)
    repeats = int(np.ceil(args.seconds * recorded_rate / len(samples)))
    long = np.tile(samples[:, 0], repeats)[: round(args.seconds * recorded_rate)]
    model, step = specmask.load(runtime="litert"), enhancer.PRETRAINED / "default.onnx"
    with tempfile.TemporaryDirectory() as folder:
        made, description = program.from_onnx(step), runtimes.load(step).description
        page = (web_page.write(made, description, Path(folder)) / "index.html").as_uri()
        driver = browser()
        try:
            print(f"{'rate':>8s}{'channels':>10s}{'page':>8s}{'no SIMD':>9s}{'LiteRT':>8s}")
            for rate, channels in CASES:
                x = np.repeat(soxr.resample(long, recorded_rate, rate)[:, None], channels, axis=1)
                path = Path(folder) / f"{rate}.wav"
                sf.write(path, x, rate)
                rows = []
                for _ in range(REPEATS):
                    row = []
                    for search in ("", "?scalar"):
                        driver.get(page + search)
                        row.append(page_seconds(driver, path))
                    rows.append([*row, python_seconds(x, rate, model)])
                best = np.min(rows, axis=0) / args.seconds
                cells = "".join(f"{v:{w}.4f}" for v, w in zip(best, (8, 9, 8), strict=True))
                print(f"{rate:8d}{channels:10d}{cells}", flush=True)
        finally:
            driver.quit()


if __name__ == "__main__":
    main()
