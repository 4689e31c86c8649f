"""A picture of TensorBoard as a browser shows it, for the README: curves, pictures and sound.

    python tools/screenshots.py LOGS [--out docs/images/tensorboard.png]

LOGS is [train] log_path of a run, e.g. logs/run. Needs selenium, Chromium and chromedriver.
"""

import argparse
import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from PIL import Image
from selenium import webdriver

ROOT = Path(__file__).resolve().parent.parent
TABS = ("scalars&tagFilter=loss%7Crate", "images&tagFilter=spectrograms", "audio")
WIDTH, HEIGHT = 1000, 1100  # of a window in pixels
SHARE = 0.55  # of that in the picture
LOAD_SECONDS = 15  # for TensorBoard to draw a tab; nothing in the page says that it is done


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


def browser(width: int, height: int) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(option)
    options.add_argument(f"--window-size={width},{height}")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options, service)


def save(shots: list[Image.Image], path: Path) -> None:
    """Write pictures side by side."""
    small = [
        s.convert("RGB").resize((round(SHARE * s.width), round(SHARE * s.height))) for s in shots
    ]
    whole = Image.new("RGB", (sum(s.width for s in small), max(s.height for s in small)), "white")
    for k, shot in enumerate(small):
        whole.paste(shot, (k * shot.width, 0))
    whole.quantize(128).save(path, optimize=True)
    print(path)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("logs", type=Path)
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "tensorboard.png")
    args = p.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(args.logs)]
    board = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        wait_for(url, 120)
        driver = browser(WIDTH, HEIGHT)
        try:
            shots = []
            for tab in TABS:
                driver.get(f"{url}?darkMode=false#{tab}")
                driver.refresh()
                time.sleep(LOAD_SECONDS)
                shots.append(Image.open(io.BytesIO(driver.get_screenshot_as_png())))
            save(shots, args.out)
        finally:
            driver.quit()
    finally:
        board.terminate()
        board.wait()


if __name__ == "__main__":
    main()
