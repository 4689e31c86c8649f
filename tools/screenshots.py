"""Pictures for the documentation, as a browser shows them.

    python tools/screenshots.py logs/run                  # tensorboard.png
    python tools/screenshots.py report                    # report-desktop.png and three more
    python tools/screenshots.py docs/sounds/noisy.flac    # web.png

Of [train] log_path of a run: curves, pictures and sound in TensorBoard. Of a folder of evaluate.py:
its page. Of a recording: the page of export.py --format web with the default model, which enhances
it; on a wide screen in light colours, on a narrow one in dark. They are written into docs/images,
or --out. Needs selenium, Chromium and chromedriver.
"""

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).resolve().parent.parent
TABS = ("scalars&tagFilter=loss%7Crate", "images&tagFilter=spectrograms", "audio")
WIDTH, HEIGHT = 1000, 1100  # of a window in pixels
SHARE = 0.55  # of that in the picture
REPORT = {  # picture: width, height, scale, dark, what is at the top
    "desktop": (1240, 1450, 1, False, "header"),
    "dark": (1240, 1000, 0.8, True, "#charts"),
    "blind": (1240, 760, 0.8, False, "#listen"),
    "phone": (390, 844, 1.5, False, "article"),
}
WEB = ((1060, 930, 1, False, "after"), (390, 930, 1, True, "before"))  # ..., what is heard
GAP = 24  # pixels between the two
LOAD_SECONDS = 15  # for TensorBoard to draw a tab; nothing in the page says that it is done
ENHANCE_SECONDS = 60  # for a recording to be enhanced


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(option)
    options.add_argument(f"--window-size={WIDTH},{HEIGHT}")
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def emulate(driver: webdriver.Chrome, width: int, height: int, scale: float, dark: bool) -> None:
    """Set the screen, narrow ones as those of phones, and its colours."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def shot(driver: webdriver.Chrome) -> Image.Image:
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def save(shots: list[Image.Image], path: Path, colours: int, gap: int = 0) -> None:
    """Write pictures side by side."""
    size = sum(s.width for s in shots) + gap * (len(shots) - 1), max(s.height for s in shots)
    whole = Image.new("RGB", size, "white")
    left = 0
    for picture in shots:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    whole.quantize(colours).save(path, optimize=True)
    print(path)


def tensorboard(logs: Path, out: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    board = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        wait_for(url, 120)
        with browser() as driver:
            shots = []
            for tab in TABS:
                driver.get(f"{url}?darkMode=false#{tab}")
                driver.refresh()
                time.sleep(LOAD_SECONDS)
                full = shot(driver)
                shots.append(full.resize((round(SHARE * full.width), round(SHARE * full.height))))
            save(shots, out / "tensorboard.png", 128)
    finally:
        board.terminate()
        board.wait()


def report(folder: Path, out: Path) -> None:
    with browser() as driver:
        for name, (width, *screen, top) in REPORT.items():
            emulate(driver, width, *screen)
            driver.get((folder / "index.html").resolve().as_uri())
            if name == "blind":
                driver.execute_script("document.querySelector('[name=blind]').click()")
            driver.execute_script(
                "document.documentElement.style.scrollBehavior = 'auto';"
                f"document.querySelector('{top}').scrollIntoView()"
            )
            time.sleep(1)
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            if wide > width:
                print(f"{name}: the page is {wide} pixels wide, the window {width}")
            save([shot(driver)], out / f"report-{name}.png", 256)


def web(recording: Path, out: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from specmask.enhancement import enhancer, runtimes
    from specmask.export import program, web_page

    model = enhancer.PRETRAINED / "default.onnx"
    made, description = program.from_onnx(model), runtimes.load(model).description
    with tempfile.TemporaryDirectory() as folder, browser() as driver:
        page = web_page.write(made, description, Path(folder)) / "index.html"
        driver.get(page.as_uri())
        driver.find_element("id", "file").send_keys(str(recording.resolve()))
        end = time.monotonic() + ENHANCE_SECONDS
        while not driver.find_element("id", "save").is_displayed():
            assert time.monotonic() < end, driver.find_element("id", "problem").text
            time.sleep(0.1)
        shots = []
        for *screen, side in WEB:
            emulate(driver, *screen)
            place = "0.4 * recording.layout.frames / player.rate"
            driver.execute_script(f"document.activeElement.blur(); hear('{side}'); seek({place})")
            time.sleep(0.5)  # colours fade
            shots.append(shot(driver))
    save(shots, out / "web.png", 192, GAP)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("source", type=Path, help="logs of a run, folder of a report, or a recording")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = p.parse_args()
    if args.source.is_file():
        web(args.source, args.out)
    elif (args.source / "index.html").is_file():
        report(args.source, args.out)
    else:
        tensorboard(args.source, args.out)


if __name__ == "__main__":
    main()
