"""The loop learns, logs, averages, validates; stopped and resumed, it ends bit for bit the same."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from pydantic import ValidationError

from audiform.errors import Cancelled, CheckpointError, ConfigError, TrainingError
from audiform.training.config import AverageConfig, TrainingConfig
from audiform.training.examples import BatchPlan, loaded
from audiform.training.folder import locked
from audiform.training.loop import Task, share_of_run, train
from audiform.training.schedule import ConstantSchedule
from audiform.training.state import read_state
from audiform.training.validation import LossValidator, Validation
from tests.training.states import assert_equal_states, log
from tests.training.tasks import Gains, NoiseExamples, gains_objective

CONFIG = TrainingConfig(
    seed=3,
    batch_size=4,
    learning_rate=0.05,
    schedule=ConstantSchedule(),
    max_steps=12,
    steps_per_epoch=5,
    averages=(AverageConfig(decay=0.9), AverageConfig(decay=0.5, every="epoch")),
    log_every_steps=2,
    num_workers=0,
    tensorboard=False,
)


def run(folder, *, resume=False, validate=True, on_progress=None, **changed):
    torch.manual_seed(0)
    validator = LossValidator(gains_objective, NoiseExamples(seed=1)) if validate else None
    return train(
        Task(Gains(), gains_objective, NoiseExamples(), validator),
        CONFIG.model_copy(update=changed),
        folder=folder,
        resume=resume,
        on_progress=on_progress,
    )


def test_the_loop_learns_logs_validates_and_averages(tmp_path):
    seen = []
    trained = run(tmp_path, max_steps=40, on_progress=seen.append)
    assert [now.step for now in seen] == list(range(1, 41))
    assert seen[-1].share == 1.0
    lines = log(tmp_path)
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(2, 41, 2))
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    validated = [line["step"] for line in lines if "validation" in line]
    assert validated == list(range(5, 41, 5))
    names = {"average-step-0.9", "average-epoch-0.5", "network"}
    assert set(lines[-1]["validation"]) == names
    best = min(
        (scores["loss"], name)
        for line in lines
        if "validation" in line
        for name, scores in line["validation"].items()
    )
    assert trained.candidate == best[1]
    assert trained.scores["loss"] == pytest.approx(best[0], rel=1e-6)
    assert trained.weights["logits"].argmax() == 0
    network = Gains()
    network.load_state_dict(trained.weights)
    scored = LossValidator(gains_objective, NoiseExamples(seed=1))(network.eval())
    assert scored.scores["loss"] == pytest.approx(trained.scores["loss"])


def test_what_is_handed_out_is_the_best_and_not_the_last(tmp_path):
    scores, seen = iter([1.0, 3.0, 2.0]), []

    def validator(network):
        seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return Validation({"sdr": next(scores)})

    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"averages": (), "best": "sdr"})
    task = Task(Gains(), gains_objective, NoiseExamples(), validator)
    trained = train(task, config, folder=tmp_path)
    assert [line["step"] for line in log(tmp_path) if "validation" in line] == [5, 10, 12]
    assert trained.scores == {"sdr": 3.0}
    assert all(torch.equal(seen[1][name], value) for name, value in trained.weights.items())
    assert not torch.equal(seen[2]["logits"], trained.weights["logits"])


def test_without_a_validation_the_first_average_is_handed_out(tmp_path):
    trained = run(tmp_path, validate=False)
    values = read_state(tmp_path / "state.pt")[2]["averages"]["average-step-0.9"]["values"]
    assert trained.candidate == "average-step-0.9"
    assert trained.scores is None
    assert all(torch.equal(trained.weights[name], value) for name, value in values.items())
    assert run(tmp_path / "plain", validate=False, averages=()).candidate == "network"


@pytest.mark.parametrize("changed", [{}, {"accumulate": 2}, {"num_workers": 2}], ids=str)
def test_a_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path, changed):
    run(tmp_path / "whole", **changed)
    for stop in (3, 7):

        def interrupt(now, stop=stop):
            if now.step == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(
                tmp_path / "parts",
                resume=stop > 3,
                save_every_steps=2,
                on_progress=interrupt,
                **changed,
            )
    run(tmp_path / "parts", resume=True, **changed)
    assert_equal_states(tmp_path / "whole", tmp_path / "parts")
    assert log(tmp_path / "whole") == log(tmp_path / "parts")


def test_workers_do_not_change_what_is_trained_on(tmp_path):
    run(tmp_path / "none")
    run(tmp_path / "two", num_workers=2)
    assert_equal_states(tmp_path / "none", tmp_path / "two")


def test_the_batch_of_a_step_is_a_function_of_its_number():
    """Shares of processes and parts, put together, are the batch of one process."""
    examples = NoiseExamples(draw_size=2)
    for plan in (BatchPlan(8, 2), BatchPlan(8, 2, num_processes=2), BatchPlan(8, 2, 2, 2)):
        parts: dict[int, list[torch.Tensor]] = {3: [], 4: []}
        for process in range(plan.num_processes):
            with loaded(examples, plan, process=process, first_step=3) as batches:
                for step in (3, 4):
                    parts[step] += [next(batches)["stems"] for _ in range(plan.accumulate)]
        for step, found in parts.items():
            expected = torch.cat(
                [examples(draw)["stems"] for draw in range(4 * step, 4 * step + 4)]
            )
            assert torch.equal(torch.cat(found), expected)


def test_a_worker_that_starts_afresh_makes_the_same_batches():
    examples, plan = NoiseExamples(), BatchPlan(4, 2)
    with loaded(examples, plan, num_workers=1, worker_start="spawn") as batches:
        for step in range(3):
            expected = torch.cat([examples(2 * step)["stems"], examples(2 * step + 1)["stems"]])
            assert torch.equal(next(batches)["stems"], expected)


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match="draws of 2 x 1 processes x 3 parts; choose a multiple of 6"
    ):
        run(tmp_path, accumulate=3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_the_state_is_saved_and_the_run_goes_on(tmp_path, number):
    def stop(now):
        if now.step == 4:
            os.kill(os.getpid(), number)

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Cancelled, match=r"after step 5.*--resume"):
        run(tmp_path / "parts", on_progress=stop)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert read_state(tmp_path / "parts" / "state.pt")[0].step == 5
    run(tmp_path / "parts", resume=True)
    run(tmp_path / "whole")
    assert_equal_states(tmp_path / "whole", tmp_path / "parts")


def test_a_second_run_in_a_folder_is_refused(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(ConfigError, match="holds a training run already; go on with --resume"):
        run(tmp_path)


def test_two_runs_at_once_in_a_folder_are_refused(tmp_path):
    with locked(tmp_path), pytest.raises(ConfigError, match="at this moment"):
        run(tmp_path)


def test_a_changed_setting_is_named(tmp_path):
    run(tmp_path, max_steps=2)
    with pytest.raises(
        ConfigError, match=r"training.learning_rate was 0.05, is 0.1; training.seed was 3, is 4"
    ):
        run(tmp_path, resume=True, learning_rate=0.1, seed=4)
    run(tmp_path, resume=True, max_steps=4, log_every_steps=1, num_workers=1)
    assert read_state(tmp_path / "state.pt")[0].step == 4


def test_an_unreadable_state_is_an_error(tmp_path):
    run(tmp_path, max_steps=2)
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="state cannot be read"):
        run(tmp_path, resume=True)
    torch.save({"network": {}}, state)
    with pytest.raises(CheckpointError, match="version 1"):
        run(tmp_path, resume=True)


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    run(tmp_path, max_steps=2)

    def fail(saved, part):
        part.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match="make room on the disk"):
        run(tmp_path, max_steps=4, resume=True)
    assert read_state(tmp_path / "state.pt")[0].step == 2
    assert not list(tmp_path.glob("*.part"))


def test_loading_a_state_runs_nothing_of_it(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "pwned"),))

    run(tmp_path, max_steps=2)
    torch.save({"version": 2, "counters": Hostile()}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError):
        run(tmp_path, resume=True)
    assert not (tmp_path / "pwned").exists()


def test_numbers_that_stop_being_finite_stop_the_run_with_the_last_state_kept(tmp_path):
    def objective(network, batch, generator):
        terms = gains_objective(network, batch, generator)
        broken = bool((batch["stems"] == poison).all(dim=(1, 2, 3)).any())
        return {**terms, "loss": terms["loss"] * (float("nan") if broken else 1.0)}

    poison = NoiseExamples()(2 * 6)["stems"][0]  # of step 7
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"save_every_steps": 2})
    with pytest.raises(TrainingError, match=r"step 7 is not finite: of the loss loss, .*logits"):
        train(Task(Gains(), objective, NoiseExamples()), config, folder=tmp_path)
    counters, _, saved = read_state(tmp_path / "state.pt")
    assert counters.step == 6
    assert all(torch.isfinite(value).all() for value in saved["module"].values())


def test_only_final_names_are_left(tmp_path):
    run(tmp_path, tensorboard=True)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"state.pt", "log.jsonl", "tensorboard"}


def test_a_run_needs_an_end():
    with pytest.raises(ValidationError, match="set max_steps, max_epochs or max_seconds"):
        TrainingConfig()


def test_the_share_is_the_larger_one():
    config = TrainingConfig(max_steps=10, max_seconds=100.0, max_epochs=4)
    assert share_of_run(config, step=5, epoch=1.0, seconds=10.0) == 0.5
    assert share_of_run(config, step=1, epoch=1.0, seconds=90.0) == 0.9
    assert share_of_run(config, step=1, epoch=3.0, seconds=0.0) == 0.75
    assert share_of_run(config, step=20, epoch=0.0, seconds=0.0) == 1.0
