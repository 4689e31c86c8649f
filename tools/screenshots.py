"""Pictures for the documentation, as a browser shows it: TensorBoard, or the page of a report.

    python tools/screenshots.py LOGS [--out docs/images]
    python tools/screenshots.py REPORT [--out docs/images]

LOGS is [train] log_path of a run, e.g. logs/run: curves, pictures and sound in tensorboard.png.
REPORT is a folder of evaluate.py: report-desktop.png, -dark.png, -blind.png and -phone.png. Needs
selenium, Chromium and chromedriver.
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
REPORT = {  # picture: width, height, scale, dark, what is at the top
    "desktop": (1240, 1450, 1, False, "header"),
    "dark": (1240, 1000, 0.8, True, "#charts"),
    "blind": (1240, 760, 0.8, False, "#listen"),
    "phone": (390, 844, 1.5, False, "article"),
}
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


def tensorboard(logs: Path, out: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
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
            save(shots, out / "tensorboard.png")
        finally:
            driver.quit()
    finally:
        board.terminate()
        board.wait()


def report(folder: Path, out: Path) -> None:
    driver = browser(WIDTH, HEIGHT)
    try:
        for name, (width, height, scale, dark, top) in REPORT.items():
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            size = {"width": width, "height": height, "deviceScaleFactor": scale}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride", {**size, "mobile": width < 600}
            )
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
            shot = Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")
            path = out / f"report-{name}.png"
            shot.quantize(256).save(path, optimize=True)
            print(path)
    finally:
        driver.quit()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder", type=Path)
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    args = p.parse_args()
    if (args.folder / "index.html").is_file():
        report(args.folder, args.out)
    else:
        tensorboard(args.folder, args.out)


if __name__ == "__main__":
    main()
