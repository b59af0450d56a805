"""Every operator between two convolutions: scaled by any factors, each activation is what it was, times its factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import limits
from host_tools.model.topology import network_of
from tests.unit.host_tools.equalize.networks import (
    assert_law,
    canonical,
    feeds_of,
    observe_all,
    random_factors,
)
from tests.unit.host_tools.equalize.steps import ONE, TWO, Drawn, constants_of, conv, text_of

if TYPE_CHECKING:
    from host_tools.model import FloatModel


def one(step: str) -> FloatModel:
    net = Drawn(rng=np.random.default_rng(3))
    result = conv(net, ONE[step](net, conv(net, "x", kernel=3)))
    return canonical(text_of(net, [result]), **constants_of(net))


def two(step: str) -> FloatModel:
    net = Drawn(rng=np.random.default_rng(4))
    first = conv(net, "x", kernel=3)
    result = conv(net, TWO[step](net, first, net.op(f"Relu({conv(net, first)})")))
    return canonical(text_of(net, [result]), **constants_of(net))


MODELS = {**{f"one {step}": (one, step) for step in ONE}, **{f"two {step}": (two, step) for step in TWO}}


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("clips", ["bounded", "saturating"])
def test_any_factors_leave_what_a_step_computes(case: str, clips: str) -> None:
    make, step = MODELS[case]
    model = make(step)
    network, feeds = network_of(model.graph), feeds_of(model)
    channels = channels_of(network)
    factors = random_factors(channels)
    if clips == "saturating":
        low, high = limits(network, channels, observe_all(model, feeds), "saturating")
        factors = np.exp(np.clip(np.log(factors), low, high))
    assert_law(model, channels, factors, feeds, clips=clips)  # type: ignore[arg-type]
