"""Pictures of TensorBoard as a browser shows it, for docs/training.md and the README.

    python benchmarks/screenshots.py LOGS [--out docs/images]

LOGS is [train] log_path of a run, e.g. logs/run. Writes tensorboard-scalars.png, -images.png and
-audio.png. Needs selenium, Chromium and chromedriver.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from selenium import webdriver

ROOT = Path(__file__).resolve().parent.parent
TABS = {"scalars": "scalars", "images": "images", "audio": "audio"}
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


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("logs", type=Path)
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = p.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(args.logs)]
    board = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        wait_for(url, 120)
        driver = browser(1400, 900)
        try:
            for name, tab in TABS.items():
                driver.get(f"{url}?darkMode=false#{tab}")
                driver.refresh()
                time.sleep(LOAD_SECONDS)
                path = args.out / f"tensorboard-{name}.png"
                driver.save_screenshot(str(path))
                print(path)
        finally:
            driver.quit()
    finally:
        board.terminate()
        board.wait()


if __name__ == "__main__":
    main()
