"""Speech by eSpeak NG, through ctypes.

eSpeak NG is free software under the GPL, version 3. The package ``espeakng-loader`` brings its
library and its voices as an extra of the demo; specmask neither needs it nor contains any of it.

Every call of :func:`speak` starts a process of its own, in which this file is the program. The
library keeps state that nothing can reset (the phase of a slow flutter of the pitch), so only a
fresh process says the same words with the same samples; one takes about 50 ms. It also runs in
the folder of the voices, because the library holds no path longer than 160 bytes and, under
Windows, none outside the system's code page.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the process that speaks needs neither, and starts the faster
    import numpy as np

# Of espeak-ng/speak_lib.h
SYNCHRONOUS = 2  # espeak_Synth returns when the last samples have been handed over
DONT_EXIT = 0x8000  # report a missing voice folder instead of ending the process
CHARS_UTF8 = 1
PARAMETERS = {"rate_wpm": 1, "volume": 2, "pitch": 3}
VOLUME = 60  # of the usual 100: the loudest voices would clip inside the library
SEED = 1  # of the breath and of the echoes

ON_SAMPLES = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)
SIGNATURES = {
    "espeak_Initialize": (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int),
    "espeak_SetSynthCallback": (ON_SAMPLES,),
    "espeak_SetVoiceByName": (ctypes.c_char_p,),
    "espeak_SetParameter": (ctypes.c_int, ctypes.c_int, ctypes.c_int),
    "espeak_ng_SetRandSeed": (ctypes.c_long,),
    "espeak_Synth": (
        ctypes.c_char_p,  # text
        ctypes.c_size_t,  # its bytes, the final zero included
        ctypes.c_uint,  # position to start at
        ctypes.c_int,  # unit of the position
        ctypes.c_uint,  # position to end at
        ctypes.c_uint,  # flags
        ctypes.POINTER(ctypes.c_uint),  # identifier of the message
        ctypes.c_void_p,  # user data
    ),
}


class SpeechError(Exception):
    """The library refused something; the text says what, in one line."""


def is_installed() -> bool:
    """Return whether the package that brings eSpeak NG is there."""
    return importlib.util.find_spec("espeakng_loader") is not None


def speak(
    texts: Sequence[str], voice: str, rate_wpm: int = 160, pitch: int = 50
) -> tuple[list[np.ndarray], int]:
    """Speak some texts, one after another, with one voice.

    The same arguments give the same samples, whatever was spoken before.

    Args:
        texts: what to say, each for a recording of its own.
        voice: language and variant, such as ``en-us``, ``en+f2`` or ``de+m1``.
        rate_wpm: speed in words per minute, 80 to 450.
        pitch: 0 to 99; 50 is the variant's own.

    Returns:
        float32 [samples] for each text, in [-1, 1), and the rate in Hz.

    Raises:
        UserError: if eSpeak NG is not installed, or refuses the voice.
    """
    import numpy as np

    from specmask.errors import UserError

    if not is_installed():
        raise UserError(
            "eSpeak NG, which makes the demo's speech, is not installed: "
            "pip install -r requirements.lock (or pip install espeakng-loader)"
        )
    request = {
        "texts": list(texts),
        "voice": voice,
        "parameters": {"rate_wpm": rate_wpm, "volume": VOLUME, "pitch": pitch},
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        input=json.dumps(request).encode(),
        capture_output=True,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").split("\n")
        reason = next((line for line in reversed(lines) if line), f"exit code {done.returncode}")
        raise UserError(f"eSpeak NG: {reason}; reinstall espeakng-loader, or use another voice")
    header, _, sound = done.stdout.partition(b"\n")
    facts = json.loads(header)
    samples = np.frombuffer(sound, np.int16).astype(np.float32) / np.float32(32768)
    return np.split(samples, np.cumsum(facts["lengths"])[:-1]), facts["rate_hz"]


def serve(request: dict) -> tuple[list[bytes], int]:
    """Speak what a request asks for, in this process.

    Returns:
        the samples of each text as bytes of int16, and the rate in Hz.

    Raises:
        SpeechError: if the library refuses something.
    """
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    for name, arguments in SIGNATURES.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = ctypes.c_int
    data = Path(espeakng_loader.get_data_path())
    os.chdir(data.parent)
    rate_hz = library.espeak_Initialize(SYNCHRONOUS, 0, data.name.encode(), DONT_EXIT)
    if rate_hz <= 0:
        raise SpeechError(f"cannot read the voices in {data}")
    set_voice(library, request["voice"], data / "voices" / "!v")
    for name, value in request["parameters"].items():
        if library.espeak_SetParameter(PARAMETERS[name], value, 0):
            raise SpeechError(f"{name} = {value} refused")
    library.espeak_ng_SetRandSeed(SEED)
    return [synthesize(library, text) for text in request["texts"]], rate_hz


def set_voice(library: ctypes.CDLL, voice: str, variants: Path) -> None:
    """Choose a voice; a variant that is not there is an error, not silently the plain voice."""
    _, _, variant = voice.partition("+")
    if variant and not (variants / variant).is_file():
        raise SpeechError(f"voice {voice}: no variant {variant}")
    if library.espeak_SetVoiceByName(voice.encode()):
        raise SpeechError(f"voice {voice}: no such language")


def synthesize(library: ctypes.CDLL, text: str) -> bytes:
    """Return what the library hands over for a text: bytes of int16."""
    blocks = []

    @ON_SAMPLES
    def keep(samples, count, events):  # the last call brings no samples
        if samples:
            blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # continue

    library.espeak_SetSynthCallback(keep)
    message = text.encode()
    if library.espeak_Synth(message, len(message) + 1, 0, 0, 0, CHARS_UTF8, None, None):
        raise SpeechError(f"cannot speak: {text}")
    return b"".join(blocks)


def main() -> int:
    """Answer the request on standard input: a line of JSON, then the samples as int16."""
    try:
        sounds, rate_hz = serve(json.load(sys.stdin))
    except (SpeechError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    header = {"rate_hz": rate_hz, "lengths": [len(sound) // 2 for sound in sounds]}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + b"".join(sounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
