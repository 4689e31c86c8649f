"""Notes of a training, each where it is due and nowhere else."""

import pytest
from helpers import make_run

from specmask.config.training import Train
from specmask.training import advice, checkpoint, runs
from specmask.training.state import Progress


def test_a_warm_up_as_long_as_the_training_is_noted():
    for warmup, noted in ((9, False), (10, True), (300, True)):
        train = Train(epochs=2, learning_rate=0.5, warmup_steps=warmup)
        assert bool(note := advice.long_warmup(train, steps=5)) == noted
    assert "warmup_steps = 300 is not over after all 10 steps" in note
    assert "learning_rate = 0.5" in note and "lower it, e.g. to 1," in note


def test_a_finished_run_says_how_to_train_on():
    train = Train(epochs=4, patience=3)
    assert "--set train.epochs=8" in advice.finished(train, Progress(epoch=4))
    assert "patience above 3" in advice.finished(train, Progress(epoch=3, stale=3))


@pytest.mark.parametrize("improvement_db, warned", [(-4.2, True), (2.0, False), (None, False)])
def test_weights_worse_than_the_noisy_input_are_reported(tmp_path, improvement_db, warned):
    folder = make_run(tmp_path)
    assert advice.weak_run(folder) == ""  # without a checkpoint nothing is known
    rows = [{"epoch": 1, "si_sdr_improvement": 9.0}, {"epoch": 2}]
    if improvement_db is not None:
        rows[1]["si_sdr_improvement"] = improvement_db
    progress = Progress(epoch=2, best_epoch=2, history=rows)
    checkpoint.save(runs.checkpoint_path(folder, 1), {}, vars(progress))
    assert ("lower the SI-SDR" in advice.weak_run(folder)) == warned
    assert not warned or "by 4.2 dB" in advice.weak_run(folder)
    whole = runs.checkpoint_path(folder, 1).read_bytes()
    runs.checkpoint_path(folder, 2).write_bytes(whole[: len(whole) // 2])  # of a full disk
    assert advice.weak_run(folder) == ""
