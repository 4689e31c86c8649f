"""The listening page: its choices by hand, and the whole of it in a browser."""

import math
import re
import shutil
import time

import numpy as np
import pytest
import soundfile as sf
from helpers import SCORE_ROWS, embedded, make_row, noisy_bursts, tone, write_audio

import evaluate as script
from specmask.evaluation import page, pairing, report, scoring, word_errors

RATE = 16000


# ---------------------------------------------------------------- choosing


def scored(*values: float) -> list[dict]:
    return [make_row(file=f"f{i}", si_sdr=float(v)) for i, v in enumerate(values)]


def test_a_third_each_of_worst_middle_and_best():
    found = page.choose(scored(5, 0, 9, 3, 7, 1, 8, 2, 6, 4, math.nan), 3)
    assert found == {"f1": "among the worst", "f9": "median", "f2": "among the best"}
    assert list(page.choose(scored(*range(9)), 5)) == ["f0", "f1", "f3", "f4", "f8"]


@pytest.mark.parametrize("count", range(1, 12))
def test_as_many_as_wanted(count):
    assert len(page.choose(scored(*range(10)), count)) == min(count, 10)


def test_few_files_are_all_there_and_some_by_hand():
    assert page.choose(scored(2, 1), 5) == {"f1": "", "f0": ""}
    assert page.choose(scored(3, 2, 1), 0, ["f1"]) == {"f1": "chosen by hand"}


# ---------------------------------------------------------------- the folder


def test_the_folder_holds_all_files_of_the_page(data, capsys, monkeypatch):
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    name = "noisy2_SNRdb_0.00_clnsp2"
    assert script.main([*arguments, "--set", "evaluate.page_files=1", "--listen", name]) == 0
    folder = data / "report"
    found = embedded(folder)
    assert [f["name"] for f in found["files"]][-1] == name and len(found["files"]) == 2
    assert found["files"][-1]["why"] == "chosen by hand" and found["files"][-1]["speaker"] == "anna"
    used = set()
    for file in found["files"]:
        assert [s["name"] for s in file["signals"]] == ["noisy", "wiener", "enhanced", "clean"]
        for signal in file["signals"]:
            used |= {signal[k] for k in ("audio", "image", "mask") if k in signal}
    assert used == {f"page/{p.name}" for p in (folder / "page").iterdir()}
    first = found["files"][-1]["signals"]
    assert np.array_equal(
        sf.read(folder / first[2]["audio"])[0], sf.read(data / "enhanced" / f"{name}.wav")[0]
    )
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert set(found["metrics"]) >= {"si_sdr", "pesq_wb", "stoi"}
    monkeypatch.setattr(scoring, "score_items", None)  # a wrong name is reported before the work
    assert script.main([*arguments, "--listen", "noisy2"]) == 2
    line = "--listen noisy2: not among the files, for example noisy1_SNRdb_-3.00_clnsp1"
    assert line in capsys.readouterr().err
    assert used == {f"page/{p.name}" for p in (folder / "page").iterdir()}
    monkeypatch.undo()
    (folder / "page" / "1000-0.wav").touch()  # of a report of more than 1,000 files
    assert script.main([*arguments, "--set", "evaluate.page_files=0"]) == 0
    assert not list((folder / "page").iterdir()) and embedded(folder)["files"] == []


def test_names_cannot_break_the_page(data):
    nasty = "</script><b>'\""
    rows = [make_row(system=nasty, file="a", noise=nasty, si_sdr=1.0), *SCORE_ROWS]
    content = report.summary(rows, nasty, {})
    path = page.write(data / "r", rows, content, [], 0)
    text = path.read_text(encoding="utf-8")
    assert nasty not in text and "<b>" not in text
    assert embedded(data / "r")["systems"][0] == nasty


def test_a_file_that_one_system_lacks(data):
    """The page shows the others; a report of a file that nobody has leaves it out."""
    name = "noisy2_SNRdb_0.00_clnsp2"
    other = data / "other"
    shutil.copytree(data / "enhanced", other)
    (other / f"{name}.wav").write_text("no audio")
    arguments = ["--config", str(data / "config.ini"), "--system", f"other={other}"]
    assert script.main([*arguments, "--listen", name]) == 0
    (shown,) = [f for f in embedded(data / "report")["files"] if f["name"] == name]
    assert [s["name"] for s in shown["signals"]] == ["noisy", "enhanced", "clean"]
    (data / "CleanSpeech_testing" / "clnsp2.wav").write_text("no audio")
    assert script.main([*arguments, "--listen", name]) == 0
    assert name not in [f["name"] for f in embedded(data / "report")["files"]]


def test_nothing_of_others_is_removed_or_replaced(data, capsys):
    keep = data / "report" / "page" / "my notes.wav"
    write_audio(keep, np.zeros(9))
    arguments = ["--config", str(data / "config.ini")]
    assert script.main(arguments) == 0 and script.main(arguments) == 0
    assert keep.is_file()
    for name in ("index.html", "summary.json", "scores.csv", "words.csv"):
        (data / name).write_text("mine, all mine")
        assert script.main([*arguments, "--out", str(data)]) == 2
        assert f"{name}: not made by an evaluation" in capsys.readouterr().err
        assert (data / name).read_text() == "mine, all mine"
        (data / name).unlink()


def test_files_of_different_rates_play_at_their_own_speed(data):
    """Without references nothing demands one rate: all are written at the highest."""
    name = "noisy2_SNRdb_0.00_clnsp2"
    folders = {}
    for rate in (RATE, 3 * RATE, 2 * RATE):
        folders[f"at {rate}"] = data / str(rate)
        write_audio(data / str(rate) / f"{name}.wav", np.tile(tone(1000, 0.5, rate), 2), rate)
    items = pairing.items(None, folders)
    rows = scoring.score_items(items, ["loudness"], 1)
    page.write(data / "r", rows, report.summary(rows, "", {}), items, 1)
    (file,) = embedded(data / "r")["files"]
    assert file["seconds"] == 1 and file["khz"] == 24
    for signal in file["signals"]:
        x, rate = sf.read(data / "r" / signal["audio"])
        assert (len(x), rate) == (3 * RATE, 3 * RATE)
        assert np.abs(np.fft.rfft(x)).argmax() == 1000  # Hz, as it lasts 1 s


def test_an_snr_that_only_another_system_has_is_in_the_chart(data):
    rows = [make_row(system="main", snr=0.0, si_sdr=1.0)]
    rows += [make_row(system="other", file=f"f{s}", snr=s, si_sdr=s) for s in (5.0, -5.0)]
    page.write(data / "r", rows, report.summary(rows, "", {}), [], 0)
    assert embedded(data / "r")["snrs"] == ["-5 dB", "0 dB", "5 dB"]


def test_words_on_the_page(data):
    pytest.importorskip("jiwer", reason="extra asr is not installed")
    items = pairing.items(
        data / "CleanSpeech_testing", {"enhanced": data / "enhanced"}, data / "NoisySpeech_testing"
    )
    rows = scoring.evaluate(
        data / "CleanSpeech_testing",
        {"enhanced": data / "enhanced"},
        data / "NoisySpeech_testing",
        workers=1,
        names=["si_sdr"],
    )
    answers = iter(["one two", None, "one"])

    def recogniser(samples, rate):
        text = next(answers)
        return text.upper() if text else text  # None has no upper case: a failure

    spoken = word_errors.recognise(items, {"clnsp2": "ONE TWO"}, recogniser)
    content = report.summary(rows, "", {"words": word_errors.summary(spoken)})
    name = "noisy2_SNRdb_0.00_clnsp2"
    path = page.write(data / "r", rows, content, items, 3, words=spoken)
    files = {f["name"]: f for f in embedded(data / "r")["files"]}
    assert files[name]["words"] == {
        "said": "ONE TWO",
        "count": 2,
        "heard": [
            {"system": "noisy", "heard": None, "errors": 2},
            {"system": "enhanced", "heard": "ONE", "errors": 1},
            {"system": "clean", "heard": "ONE TWO", "errors": 0},
        ],
    }
    assert [f["words"] for n, f in files.items() if n != name] == [None, None]
    text = path.read_text(encoding="utf-8")
    assert "<td>50.0</td>" in text and '<th scope="col">at 0 dB</th>' in text


# ---------------------------------------------------------------- in a browser


SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
# Without these it looks for updates at every start.
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("needs chromium and chromedriver on the path")
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in (*SWITCHES, *QUIET):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def until(condition, seconds: float = 20) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_page_in_a_browser(data, browser):
    for i, length in ((1, 4), (2, 1), (3, 1)):  # long enough to switch while it plays
        stem = f"{i}_SNRdb_" + ["-3.00", "0.00", "6.00"][i - 1]
        for folder, name, level in (
            ("CleanSpeech_testing", f"clnsp{i}", 0),
            ("NoisySpeech_testing", f"noisy{stem}_clnsp{i}", 0.02),
            ("enhanced", f"noisy{stem}_clnsp{i}", 0.01),
        ):
            write_audio(data / folder / f"{name}.wav", np.tile(noisy_bursts(i, level), length))
    assert script.main(["--config", str(data / "config.ini")]) == 0
    browser.get((data / "report" / "index.html").as_uri())

    from selenium.webdriver.common.keys import Keys

    def all_of(selector):
        return browser.find_elements("css selector", selector)

    def seconds():
        return float(all_of("article .time")[0].text.split()[0])

    def shown():
        return [a.find_element("tag name", "h3").text.split()[0] for a in all_of("article")
                if a.is_displayed()]  # fmt: skip

    assert len(shown()) == 3 and all_of("#curves svg") and all_of("#boxes svg")
    until(lambda: browser.execute_script(
        "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"))  # fmt: skip

    # filter and sort
    select = "document.getElementById('filter').elements"
    change = ".dispatchEvent(new Event('input', {bubbles: true}))"
    browser.execute_script(f"{select}.noise.value = 'rain'; {select}.noise{change}")
    assert len(shown()) == 2 and all_of("#found")[0].text == "2 of 3 files"
    browser.execute_script(
        f"{select}.noise.value = ''; {select}.sort.value = 'snr';{select}.noise{change}"
    )
    assert [n.split("_")[2] for n in shown()] == ["-3.00", "0.00", "6.00"]
    browser.execute_script(f"{select}.falling.checked = true; {select}.noise{change}")
    assert [n.split("_")[2] for n in shown()] == ["6.00", "0.00", "-3.00"]
    browser.execute_script(f"{select}.falling.checked = false; {select}.noise{change}")

    # a place chosen before anything was loaded survives a switch
    body = browser.find_element("tag name", "body")
    browser.execute_script("const c = cards[0]; c.skip(1); c.hear(1); c.hear(2); c.hear(0)")
    until(lambda: seconds() == 1)
    body.send_keys(Keys.ARROW_LEFT)
    until(lambda: seconds() == 0)

    # play, switch at the same position, pause
    browser.execute_script(
        "document.querySelector('article').scrollIntoView({behavior: 'instant', block: 'center'})"
    )
    play = all_of("article .play")[0]
    play.click()
    until(lambda: seconds() > 0.5)
    before, image = seconds(), all_of("article .view img")[0].get_attribute("src")
    browser.execute_script("document.activeElement.blur()")
    body.send_keys("2")
    pressed = [
        b.get_attribute("aria-pressed") for b in all_of("article:first-child .controls button")
    ]
    assert pressed[1:] == ["false", "true", "false"]
    assert all_of("article .view img")[0].get_attribute("src") != image
    until(lambda: seconds() > before)
    assert play.get_attribute("aria-label") == "pause"
    body.send_keys(" ")
    assert play.get_attribute("aria-label") == "play"
    stopped = seconds()
    assert before <= stopped < 4
    body.send_keys("3")
    until(lambda: abs(seconds() - stopped) <= 0.1)

    # another metric, another file, and nothing to complain about
    chart = all_of("#curves")[0].get_attribute("innerHTML")
    browser.execute_script("document.querySelectorAll('#metric button')[3].click()")
    assert all_of("#curves")[0].get_attribute("innerHTML") != chart
    body.send_keys("j")
    assert "current" in all_of("article")[1].get_attribute("class")
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def test_blind_test_in_a_browser(data, browser):
    """Names, pictures and scores are hidden; votes are kept and written as CSV; levels match."""
    for k, path in enumerate(sorted((data / "enhanced").iterdir())):
        write_audio(path, (1, 0.5, 0.25)[k] * sf.read(path)[0])
    arguments = ["--config", str(data / "config.ini"), "--baseline", "wiener"]
    assert script.main(arguments) == 0
    browser.get((data / "report" / "index.html").as_uri())
    run = browser.execute_script
    levels = "return cards[0].file.signals.map((s, i) => [s.level, cards[0].volumes()[i]])"
    heard = run(levels)
    matched = [level + 20 * math.log10(volume) for level, volume in heard]
    assert max(matched) - min(matched) < 0.1 and max(v for _, v in heard) == 1
    run("document.getElementById('filter').elements.blind.click()")
    first = browser.find_element("css selector", "article")
    names = [b.text for b in first.find_elements("css selector", ".controls button")][1:]
    assert names == ["A", "B", "C", "reference"]
    text = first.text + browser.find_element("css selector", "#files").text
    assert "wiener" not in text and "enhanced" not in text
    assert run("return getComputedStyle(document.querySelector('article img')).display") == "none"
    run("document.querySelectorAll('.vote button')[1].click()")
    ((file, vote),) = run("return Object.entries(votes).map(([f, v]) => [f, v.vote])")
    assert vote in ("noisy", "wiener", "enhanced")
    lines = run("return votesAsCsv()").splitlines()
    assert lines[0] == "file,vote,among,time" and lines[1].startswith(f'"{file}","{vote}",')
    browser.refresh()
    run("document.getElementById('filter').elements.match.click()")
    assert {volume for _, volume in run(levels)} == {1}
    assert "Your vote: " + vote in browser.find_element("css selector", "#files").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


@pytest.mark.parametrize("width", [360, 1200])
def test_page_fits_the_screen(data, browser, width):
    assert script.main(["--config", str(data / "config.ini")]) == 0
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 740, "deviceScaleFactor": 1, "mobile": width < 500})  # fmt: skip
    browser.get((data / "report" / "index.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
