"""File names of mixtures, written and read.

data_prep.py, MS-SNSD   clnsp12, noisy12_SNRdb_-3.00, noisy12_SNRdb_-3.00_clnsp12
NOIZEUS                 sp01, sp01_car_sn5
DNS-Challenge           clean_fileid_12, book_1_door_snr27_fileid_12
"""

import re
from dataclasses import dataclass

_SNR = r"(?P<snr>-?(?:inf|\d+(?:\.\d+)?))"
_MIXTURE_FILE = re.compile(
    rf"(?:clnsp(?P<clean>\d+)|noisy(?P<noisy>\d+)_SNRdb_{_SNR}(?:_clnsp\d+)?)\.wav"
)
_NOISY = {
    "MS-SNSD": re.compile(rf"(?:noisy.*_SNRdb_{_SNR}|.*)_(?P<clean>clnsp\d+)"),
    "NOIZEUS": re.compile(r"(?P<clean>sp\d+)_(?P<noise>.+)_sn(?P<snr>-?\d+)"),
    "DNS-Challenge": re.compile(r".*_(?P<clean>fileid_\d+)"),
}
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_ANY_SNR = re.compile(
    rf"(?<![a-z])snr(?:db)?[ _=]*(?P<named>{_NUMBER})(?!\d)"
    rf"|(?:^|[ _/])(?P<unit>{_NUMBER}) ?db(?![a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NoisyName:
    """Facts in the name of a noisy file.

    Attributes:
        scheme: MS-SNSD, NOIZEUS or DNS-Challenge.
        clean: name of its clean file, without folder and suffix.
        snr_db: None if the name has none that is known to be one.
        noise_type: empty if not known.
    """

    scheme: str
    clean: str
    snr_db: float | None = None
    noise_type: str = ""


def read_noisy(stem: str) -> NoisyName | None:
    """Return the facts in the name of a noisy file, or None if it follows no known scheme.

    Args:
        stem: name without folder and suffix.

    >>> read_noisy("noisy12_SNRdb_-3.00_clnsp12")
    NoisyName(scheme='MS-SNSD', clean='clnsp12', snr_db=-3.0, noise_type='')
    >>> read_noisy("sp01_car_sn5")
    NoisyName(scheme='NOIZEUS', clean='sp01', snr_db=5.0, noise_type='car')
    >>> read_noisy("book_1_door_snr27_fileid_12").clean
    'clean_fileid_12'
    """
    for scheme, pattern in _NOISY.items():
        match = pattern.fullmatch(stem)
        if match:
            found = match.groupdict()
            clean = ("clean_" if scheme == "DNS-Challenge" else "") + found["clean"]
            snr = found.get("snr")
            return NoisyName(scheme, clean, float(snr) if snr else None, found.get("noise", ""))
    return None


def read_snr(name: str) -> float | None:
    """Return the SNR in dB that a name contains with a unit or a prefix, or None.

    Args:
        name: with or without folders; ``snr5``, ``SNR_-2.5``, ``snr=0dB``, ``-5dB``, ``10 dB``.

    >>> read_snr("book_1_door_snr27_tl-32_fileid_12"), read_snr("-5dB/a"), read_snr("p232_001")
    (27.0, -5.0, None)
    """
    match = _ANY_SNR.search(name)
    return float(match["named"] or match["unit"]) if match else None


def mixture_files(index: int, snr_db: float, files_per_folder: int = 0) -> dict[str, str]:
    """Return the names of the three files of a mixture, by kind.

    Args:
        index: from 0; names count from 1.
        snr_db: may be infinite.
        files_per_folder: if not 0, the files are in numbered subfolders of so many mixtures.

    >>> mixture_files(11, -3)["NoisySpeech"]
    'noisy12_SNRdb_-3.00_clnsp12.wav'
    >>> mixture_files(11, -3, files_per_folder=10)["CleanSpeech"]
    '00001/clnsp12.wav'
    """
    n = index + 1
    folder = f"{index // files_per_folder:05d}/" if files_per_folder else ""
    noise = f"noisy{n}_SNRdb_{snr_db:.2f}"
    return {
        "CleanSpeech": f"{folder}clnsp{n}.wav",
        "Noise": f"{folder}{noise}.wav",
        "NoisySpeech": f"{folder}{noise}_clnsp{n}.wav",
    }


def mixture_index(name: str) -> int | None:
    """Return the index of the mixture that a file belongs to, or None for a file of another name.

    Args:
        name: without folder, with suffix.

    >>> mixture_index("noisy12_SNRdb_-3.00.wav")
    11
    """
    match = _MIXTURE_FILE.fullmatch(name)
    return int(match["clean"] or match["noisy"]) - 1 if match else None
