"""Closed forms against the schedulers of PyTorch, which count steps one by one."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.optim import lr_scheduler

from audiform.training.schedule import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    OneCycleSchedule,
    Position,
    Schedule,
    StepSchedule,
)

STEPS, STEPS_PER_EPOCH = 200, 10


def factors(schedule):
    return [
        schedule.factor(Position(step=n, epoch=n / STEPS_PER_EPOCH, share=n / STEPS))
        for n in range(STEPS)
    ]


def reference(make, *, each=1):
    """Return the rates of one of PyTorch's schedulers that is stepped every ``each`` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for step in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % each == 0:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make", "each"),
    [
        (CosineSchedule(final_factor=0.1),
         lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.1), 1),
        (LinearSchedule(final_factor=0.2),
         lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=STEPS), 1),
        (StepSchedule(every_epochs=3, decay=0.5),
         lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5), STEPS_PER_EPOCH),
        (ExponentialSchedule(decay=0.9),
         lambda o: lr_scheduler.ExponentialLR(o, 0.9 ** (1 / STEPS_PER_EPOCH)), 1),
    ],
    ids=["cosine", "linear", "step", "exponential"],
)  # fmt: skip
def test_equals_pytorchs(schedule, make, each):
    assert factors(schedule) == pytest.approx(reference(make, each=each), abs=1e-6)


def test_one_cycle_is_pytorchs_but_for_a_step():
    """PyTorch reaches its ends one step earlier: it counts steps between, not steps."""
    rates = reference(
        lambda o: lr_scheduler.OneCycleLR(o, 1.0, STEPS, div_factor=15, final_div_factor=100)
    )
    found = factors(OneCycleSchedule())
    assert found == pytest.approx(rates, abs=math.pi / 2 / (0.3 * STEPS) * 1.1)
    assert found[0] == pytest.approx(1 / 15)
    assert max(found) == found[60] == 1.0
    end = OneCycleSchedule().factor(Position(step=STEPS, epoch=20.0, share=1.0))
    assert end == pytest.approx(1 / 1500)


def test_warmup_by_share_then_the_shape_over_the_rest():
    found = factors(CosineSchedule(warmup_share=0.1))
    assert found.index(max(found)) == 20
    assert found[10] == pytest.approx(0.5)
    assert found[20] == 1.0
    assert found[110] == pytest.approx(0.5)
    assert found[0] > 0


def test_warmup_by_steps():
    found = factors(ConstantSchedule(warmup_steps=4))
    assert found[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_a_schedule_is_read_by_its_kind():
    read = TypeAdapter(Schedule).validate_python
    assert read({"kind": "step", "every_epochs": 2}) == StepSchedule(every_epochs=2)
    for schedule in (CosineSchedule(warmup_share=0.2), OneCycleSchedule(), ConstantSchedule()):
        assert read(schedule.model_dump()) == schedule
    with pytest.raises(ValidationError):
        read({"kind": "constant", "final_factor": 0.5})
