"""A picture of the web page of export.py for the documentation: desktop and, dark, phone.

    python tools/web_picture.py [--recording docs/sounds/noisy.flac] [--out docs/images/web.png]

Needs selenium, Chromium and chromedriver.
"""

import argparse
import base64
import io
import shutil
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver

from specmask.enhancement import enhancer, runtimes
from specmask.export import program, web_page

ROOT = Path(__file__).resolve().parent.parent
# Width and height in CSS pixels, scheme, what is heard.
VIEWS = ((1060, 930, "light", "after"), (390, 930, "dark", "before"))
SCALE = 1
SECONDS = 60  # for a recording to be enhanced
GAP = 24  # pixels between the pictures


def browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(option)
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def picture(driver: webdriver.Chrome, view: tuple[int, int, str, str]) -> Image.Image:
    """Return the page as a device shows it."""
    width, height, scheme, side = view
    metrics = {"width": width, "height": height, "deviceScaleFactor": SCALE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics | {"mobile": width < 600})
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    place = "0.4 * recording.layout.frames / player.rate"
    driver.execute_script(f"document.activeElement.blur(); hear('{side}'); seek({place})")
    time.sleep(0.5)  # colours fade
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {})["data"]
    return Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--recording", type=Path, default=ROOT / "docs" / "sounds" / "noisy.flac")
    p.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "web.png")
    args = p.parse_args()
    model = enhancer.PRETRAINED / "default.onnx"
    made, description = program.from_onnx(model), runtimes.load(model).description
    with tempfile.TemporaryDirectory() as folder:
        page = web_page.write(made, description, Path(folder)) / "index.html"
        driver = browser()
        try:
            driver.get(page.as_uri())
            driver.find_element("id", "file").send_keys(str(args.recording.resolve()))
            end = time.monotonic() + SECONDS
            while not driver.find_element("id", "save").is_displayed():
                assert time.monotonic() < end, driver.find_element("id", "problem").text
                time.sleep(0.1)
            shots = [picture(driver, view) for view in VIEWS]
        finally:
            driver.quit()
    size = sum(s.width for s in shots) + GAP * (len(shots) - 1), max(s.height for s in shots)
    whole = Image.new("RGB", size, "white")
    left = 0
    for shot in shots:
        whole.paste(shot, (left, 0))
        left += shot.width + GAP
    whole.quantize(192).save(args.out, optimize=True)
    print(args.out)


if __name__ == "__main__":
    main()
