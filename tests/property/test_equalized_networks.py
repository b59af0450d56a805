"""Random networks, random factors: the scaled network computes what the other computes, and so does the one with the best factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from host_tools.equalize import equalize
from host_tools.equalize.channels import channels_of
from host_tools.equalize.factors import best_factors, limits
from host_tools.model.export import export_onnx
from host_tools.model.reference import FloatRunner
from host_tools.model.topology import network_of
from targets import catalog
from tests.unit.host_tools.equalize.networks import (
    assert_law,
    canonical,
    feeds_of,
    observe_all,
    random_factors,
)
from tests.unit.host_tools.equalize.steps import ONE, TWO, Drawn, constants_of, conv, text_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from host_tools.model import FloatModel

WEIGHTED = ("conv", "conv3", "grouped", "depthwise", "deconv", "grouped deconv")


@st.composite
def networks(draw: DrawFn) -> FloatModel:
    """A graph of up to ten steps, a third of them with weights; what nothing reads, and at times what is read, is an output."""
    net = Drawn(rng=np.random.default_rng(draw(st.integers(0, 999))))
    net.live.append(conv(net, "x", kernel=3))  # an input's channels have no factors
    for _ in range(draw(st.integers(1, 9))):
        a = draw(st.sampled_from(net.live[-3:]))
        step = draw(st.sampled_from(["weighted", "one", "one", "two"]))
        if step == "two":
            b = draw(st.sampled_from(net.live))
            net.live.append(TWO[draw(st.sampled_from(sorted(TWO)))](net, a, b))
        else:
            menu = WEIGHTED if step == "weighted" else sorted(ONE)
            net.live.append(ONE[draw(st.sampled_from(menu))](net, a))
    net.live.append(conv(net, net.live[-1]))
    text = "\n".join(net.lines)
    unread = [name for name in net.live[1:] if f"({name}," not in text and f"{name})" not in text]
    extra = draw(st.sampled_from([None, None, *net.live[1:]]))
    outputs = dict.fromkeys([*unread, *([extra] if extra else [])])
    return canonical(text_of(net, list(outputs)), **constants_of(net))


LAW = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


@LAW
@given(networks(), st.integers(0, 999))
def test_any_factors_leave_what_a_network_computes(model: FloatModel, seed: int) -> None:
    channels = channels_of(network_of(model.graph))
    event(f"factors: {min(channels.count - 1, 10)}")
    assert_law(model, channels, random_factors(channels, seed), feeds_of(model, 2, seed))


@LAW
@given(networks(), st.integers(0, 999))
def test_factors_within_the_limits_leave_what_a_network_with_fixed_clips_computes(
    model: FloatModel, seed: int
) -> None:
    network = network_of(model.graph)
    channels, feeds = channels_of(network), feeds_of(model, 2, seed)
    low, high = limits(network, channels, observe_all(model, feeds), "saturating")
    assert (low <= 0).all()
    assert (high >= 0).all()
    shares = np.random.default_rng(seed).uniform(0, 1, channels.count)
    factors = np.exp(np.clip(low, -1.5, 0) * (1 - shares) + np.clip(high, 0, 1.5) * shares)
    assert_law(model, channels, factors, feeds, clips="saturating")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from(sorted(catalog.ids())), st.sampled_from(["bounded", "saturating"]))
def test_the_best_factors_leave_what_a_network_computes(model: FloatModel, target: str, clips) -> None:  # type: ignore[no-untyped-def]
    feeds = feeds_of(model, 3)
    statistics, profile, network = observe_all(model, feeds), catalog.load(target), network_of(model.graph)
    channels = channels_of(network)
    found = best_factors(network, channels, statistics, profile, clips=clips, weight_share=1.0)
    assert np.isfinite(found.values).all()
    assert (found.values > 0).all()
    assert found.values[0] == 1.0
    assert found.decibels >= 0
    made = equalize(model, statistics, profile, clips=clips)
    if profile.scale.kind == "power_of_two":
        assert (
            made.decibels >= found.decibels - 0.1
        )  # and as much more as whole tensors gain within their octaves
    else:
        assert made.decibels == (found.decibels if made.model is not model else 0.0)
    again = equalize(model, statistics, profile, clips=clips)
    assert again.model.digest == made.model.digest
    assert export_onnx(again.model) == export_onnx(made.model)
    original, scaled = FloatRunner(model, threads=1), FloatRunner(made.model, threads=1)
    for feed in feeds:
        expected, got = original.run(feed), scaled.run(feed)
        for name, array in expected.items():
            np.testing.assert_allclose(got[name], array, atol=1e-4 * max(1.0, float(np.abs(array).max())))
