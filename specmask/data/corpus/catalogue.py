"""Where known corpora lie, under which licence, and how large they are."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Attributes:
        url: where it lies.
        size: in bytes, about; 0 if not known. The server's own number is the one that counts.
        md5: as published; empty if none is known.
        folder: below the corpus's own folder, where it is unpacked.
    """

    url: str
    size: int = 0
    md5: str = ""
    folder: str = "."

    @property
    def name(self) -> str:
        """File name."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Corpus:
    """What a name stands for."""

    title: str
    licence: str
    home: str
    archives: tuple[Archive, ...]
    use: str  # options of the INI file, with {} for the folder


_SLR12 = "https://www.openslr.org/resources/12"
_EDINBURGH = "https://datashare.ed.ac.uk/bitstream/handle/10283/2791"
_DALLAS = "https://ecs.utdallas.edu/loizou/speech/noizeus"
_LIBRISPEECH = {  # MD5 from md5sum.txt beside the archives, sizes rounded
    "dev-clean": (338e6, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": (314e6, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": (347e6, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": (329e6, "fb5a50374b501bb3bac4815ee91d3135"),
    "train-clean-100": (6.39e9, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": (23e9, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": (31e9, "d1a0fd59409feb2c614ce4d30c387708"),
}
_NOIZEUS_NOISES = (
    "airport", "babble", "car", "exhibition", "restaurant", "station", "street", "train",
)  # fmt: skip


def _corpora() -> dict[str, Corpus]:
    found = {
        f"librispeech-{part}": Corpus(
            f"LibriSpeech {part}",
            "CC BY 4.0, V. Panayotov et al.; name the source",
            "https://www.openslr.org/12",
            (Archive(f"{_SLR12}/{part}.tar.gz", int(size), md5),),
            f"clean_{'train' if 'train' in part else 'test'}_path = {{}}/LibriSpeech/{part}",
        )
        for part, (size, md5) in _LIBRISPEECH.items()
    }
    found["ms-snsd"] = Corpus(
        "Microsoft Scalable Noisy Speech Dataset",
        "mixed, by source: speech ODbL (PTDB-TUG) and the Edinburgh licence, noise CC0 (Freesound) "
        "and CC BY-SA 3.0 (DEMAND); see its README",
        "https://github.com/microsoft/MS-SNSD",
        (Archive("https://github.com/microsoft/MS-SNSD/archive/refs/heads/master.zip"),),
        "clean_train_path = {}/MS-SNSD-master/clean_train; noise_train_path = "
        "{}/MS-SNSD-master/noise_train; clean_test and noise_test beside them",
    )
    found["esc-50"] = Corpus(
        "ESC-50, 2,000 environmental sounds",
        "CC BY-NC 3.0, K. J. Piczak (ESC-10: CC BY 3.0); not for commercial use",
        "https://github.com/karolpiczak/ESC-50",
        (
            Archive(
                "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip", int(646e6)
            ),
        ),
        "noise_train_path = {}/ESC-50-master",
    )
    found["voicebank-demand"] = Corpus(
        "VoiceBank+DEMAND, 28 speakers",
        "CC BY 4.0, C. Valentini-Botinhao, University of Edinburgh",
        "https://datashare.ed.ac.uk/handle/10283/2791",
        tuple(
            Archive(f"{_EDINBURGH}/{name}.zip")
            for name in (
                "clean_trainset_28spk_wav", "noisy_trainset_28spk_wav", "clean_testset_wav",
                "noisy_testset_wav", "logfiles", "testset_txt",
            )
        ),
        "clean_train_path = {}; clean_test_path = {}",
    )  # fmt: skip
    found["noizeus"] = Corpus(
        "NOIZEUS, 30 sentences in 8 noises",
        "free for research, cite Hu and Loizou 2007; do not redistribute in a product",
        "https://ecs.utdallas.edu/loizou/speech/noizeus/",
        (
            Archive(f"{_DALLAS}/clean.zip"),
            *(
                Archive(f"{_DALLAS}/{noise}_{snr}dB.zip", folder=f"noisy/{noise}")
                for noise in _NOIZEUS_NOISES
                for snr in (0, 5, 10, 15)
            ),
        ),
        "clean_train_path = {}; sample_rate = 8000",
    )
    return found


CORPORA = _corpora()
