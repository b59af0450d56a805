"""Draws ``docs/images/heat.svg`` from the simulation that the policy is proven with: ``python tests/unit/device_agent/heat/heat_plot.py``."""

from __future__ import annotations

from math import exp
from pathlib import Path

from heating import RULES, Device, run

IMAGE = Path(__file__).parents[4] / "docs" / "images" / "heat.svg"
WIDTH, HEIGHT, LEFT, TOP = 860, 300, 52, 16
MINUTES, LOW, HIGH = 60.0, 20.0, 100.0
NAMES = {"variant": "smaller variant", "slow": "fewer frames", "pause": "pause"}


def svg() -> str:
    device = Device(tau_seconds=90.0, full=70.0, variant=55.0, slow=33.0, noise=0.5)
    course = run(device, hours=MINUTES / 60.0, seed=1)
    free = [
        (at * 2.0, device.room + device.full * (1.0 - exp(-at * 2.0 / device.tau_seconds)))
        for at in range(1_800)
    ]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 120} {TOP + HEIGHT + 48}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for step in RULES.steps:
        y = _y(step.celsius)
        lines.append(f'<path d="M{LEFT} {y}h{WIDTH}" stroke="#b33" stroke-dasharray="5 4"/>')
        lines.append(f'<text x="{LEFT + WIDTH + 6}" y="{y + 4}" fill="#b33">{NAMES[step.measure]}</text>')
    lines += [
        f'<text x="{LEFT - 8}" y="{_y(celsius) + 4}" text-anchor="end">{celsius} °C</text>'
        for celsius in range(20, 101, 20)
    ]
    lines += [
        f'<text x="{_x(minute * 60)}" y="{TOP + HEIGHT + 20}" text-anchor="middle">{minute} min</text>'
        for minute in range(0, 61, 10)
    ]
    lines.append(_line(free, "#999", "without a policy"))
    lines.append(_line(list(zip(course.seconds, course.celsius, strict=True)), "#06c", "with it"))
    for now, change in course.changes:
        colour = "#b33" if change.kind == "hotter" else "#080"
        lines.append(f'<path d="M{_x(now)} {TOP + HEIGHT}v-8" stroke="{colour}" stroke-width="3"/>')
    lines.append(
        f'<text x="{LEFT}" y="{TOP + HEIGHT + 40}">A simulated device (time constant 90 s, sensor noise 0.5 °C): grey without '
        "a policy, blue with it; marks: measures taken (red) and lifted (green).</text>"
    )
    return "\n".join([*lines, "</svg>", ""])


def _line(points: list[tuple[float, float]], colour: str, title: str) -> str:
    path = " ".join(f"{_x(now)},{_y(celsius)}" for now, celsius in points[::3])
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" points="{path}"><title>{title}</title></polyline>'


def _x(seconds: float) -> float:
    return round(LEFT + seconds / (60.0 * MINUTES) * WIDTH, 1)


def _y(celsius: float) -> float:
    return round(TOP + (HIGH - celsius) / (HIGH - LOW) * HEIGHT, 1)


if __name__ == "__main__":
    IMAGE.write_text(svg(), encoding="utf-8")
