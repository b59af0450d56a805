"""Sketches of inputs in every store: the answer over any axes is that of all values together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from device_agent.contract.manifest import PayloadTensor
from device_agent.contract.telemetry.codec import decode, encode
from device_agent.contract.telemetry.measurements import InputWindow
from device_agent.contract.telemetry.message import Envelope
from device_agent.telemetry.input_sketch import InputSketcher
from device_agent.telemetry.input_values import bucket_of
from host_tools.review.ingest.batching import Collector, joined
from host_tools.review.ingest.rows import rows_of
from host_tools.review.store.telemetry_store import Retention
from host_tools.review.store.windows import Level, Selection
from tests.unit.host_tools.review.store.opened_stores import STORES, Opener
from tests.unit.host_tools.review.store.stored_messages import DIGESTS, EPOCH

ALL = Selection(start=EPOCH - 60.0, end=EPOCH + 7200.0)
TENSOR = PayloadTensor(name="x", shape=(1, 50), dtype="float32", scale=None, zero_point=None, source_name="image",
                       source_axes=(0, 1))  # fmt: skip


def window(frames: list[np.ndarray], *, seq: int, time: float, artifact: str) -> InputWindow:
    sketcher = InputSketcher(1)
    sketcher.begin([TENSOR, dataclasses.replace(TENSOR, source_name="other")])
    for number, frame in enumerate(frames):
        sketcher.take([frame, 1e6 + frame], number)
    count, inputs = sketcher.close_window()
    envelope = Envelope(
        time=time, boot_id="b", seq=seq, uptime_seconds=time - EPOCH, clock="synced", artifact=artifact
    )
    return decode(
        InputWindow, encode(InputWindow(envelope=envelope, frame_count=count, inputs=inputs)), where="test"
    )


@pytest.mark.parametrize("opened", STORES)
def test_merged_sketches_are_those_of_all_values(opened: Opener) -> None:
    chance = np.random.default_rng(5)
    values: dict[tuple[str, str, int], list[np.ndarray]] = {}
    with opened() as store:
        for _ in range(2):  # the second time nothing is new
            collector = Collector()
            for device in ("a", "b"):
                for seq in range(1, 5):
                    artifact, time = DIGESTS[seq % 2], EPOCH + 1500.0 * seq
                    chance = np.random.default_rng([seq, ord(device)])
                    frames = [chance.normal(seq, 2.0, (1, 50)).astype(np.float32) for _ in range(3)]
                    values[device, artifact, int(time // 3600 * 3600)] = [
                        *values.get((device, artifact, int(time // 3600 * 3600)), [])[: 3 * 4],
                        *frames,
                    ]
                    message = window(frames, seq=seq, time=time, artifact=artifact)
                    collector.add(device, rows_of(message, name="input"), received=time + 1, retained=False)
            store.write(joined([collector.take()]))
            if not _:
                first = {key: list(frames) for key, frames in values.items()}
        for by in ((), ("device",), ("device", "artifact", "time")):
            found = store.inputs(ALL, level=Level.HOUR, by=by)
            places = [tuple(("device", "artifact", "time").index(axis) for axis in by)][0]
            groups: dict[tuple[object, ...], list[np.ndarray]] = {}
            for key, frames in first.items():
                groups.setdefault(tuple(key[place] for place in places), []).extend(frames)
            assert found.name.tolist() == ["image", "other"] * len(groups)
            for row, name in enumerate(found.name.tolist()):
                whole = np.concatenate(groups[tuple(key[row] for key in found.keys)], axis=None).astype(
                    np.float64
                )
                whole = whole if name == "image" else (1e6 + whole.astype(np.float32)).astype(np.float64)
                assert (found.values[row], found.frames[row]) == (len(whole), len(whole) // 50)
                assert found.mean[row] == pytest.approx(whole.mean(), rel=1e-6)
                assert found.deviation[row] == pytest.approx(whole.std(), rel=2e-2)
                assert (found.minimum[row], found.maximum[row]) == (whole.min(), whole.max())
                assert found.buckets[row].tolist() == np.bincount(bucket_of(whole), minlength=129).tolist()
                assert np.isnan(found.saturated[row])
        assert store.devices()[0].missing == 0
        store.retain(Retention(messages_days=0.0), now=EPOCH + 86400.0)
        assert not len(store.inputs(ALL, level=Level.HOUR, by=()).name)
