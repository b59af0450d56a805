"""A Grafana dashboard over a Prometheus that scrapes the page's ``/metrics``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
_HEIGHT = 8
_ONLY = 'artifact=~"$artifact"'
_EVERY = "$__rate_interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    title: str
    unit: str
    questions: tuple[tuple[str, str], ...]
    kind: str = "timeseries"


def _quantile(share: float) -> str:
    buckets = f"edgewright_inference_latency_seconds_bucket{{{_ONLY}}}"
    return f"histogram_quantile({share}, sum by (le, artifact) (rate({buckets}[{_EVERY}])))"


def _rate(name: str) -> str:
    return f"sum by (artifact) (rate({name}{{{_ONLY}}}[{_EVERY}]))"


_PANELS = (
    _Panel(title="Devices by status", unit="short", questions=(("edgewright_devices", "{{status}}"),)),
    _Panel(
        title="Latency p50, p95, p99",
        unit="s",
        questions=tuple(
            (_quantile(share), f"p{100 * share:.0f} {{{{artifact}}}}") for share in (0.5, 0.95, 0.99)
        ),
    ),
    _Panel(
        title="Latency of all inferences",
        unit="s",
        kind="heatmap",
        questions=(
            (
                f"sum by (le) (increase(edgewright_inference_latency_seconds_bucket{{{_ONLY}}}[{_EVERY}]))",
                "{{le}}",
            ),
        ),
    ),
    _Panel(
        title="Inferences a second",
        unit="ops",
        questions=((_rate("edgewright_inferences_total"), "{{artifact}}"),),
    ),
    _Panel(
        title="Share of inferences that fail",
        unit="percentunit",
        questions=(
            (
                f"{_rate('edgewright_inference_errors_total')} / ({_rate('edgewright_inferences_total')} + "
                f"{_rate('edgewright_inference_errors_total')})",
                "{{artifact}}",
            ),
        ),
    ),
    _Panel(
        title="Energy an inference",
        unit="joule",
        questions=(
            (
                f"{_rate('edgewright_inference_energy_joules_total')} / {_rate('edgewright_inferences_with_energy_total')}",
                "{{artifact}}",
            ),
        ),
    ),
    _Panel(
        title="Mean power", unit="watt", questions=((f"edgewright_power_watts{{{_ONLY}}}", "{{artifact}}"),)
    ),
    _Panel(
        title="Temperature, mean and hottest",
        unit="celsius",
        questions=(
            (f"edgewright_temperature_celsius{{{_ONLY}}}", "mean {{artifact}}"),
            (f"edgewright_temperature_max_celsius{{{_ONLY}}}", "hottest {{artifact}}"),
        ),
    ),
    _Panel(
        title="Throttled share",
        unit="percentunit",
        questions=((f"edgewright_throttled_ratio{{{_ONLY}}}", "{{artifact}}"),),
    ),
    _Panel(
        title="Devices that report, by artifact",
        unit="short",
        questions=((f"edgewright_reporting_devices{{{_ONLY}}}", "{{artifact}}"),),
    ),
    _Panel(
        title="Messages missing, agent starts",
        unit="short",
        questions=(
            (f"increase(edgewright_missing_messages_total{{{_ONLY}}}[{_EVERY}])", "missing {{artifact}}"),
            (f"increase(edgewright_agent_starts_total{{{_ONLY}}}[{_EVERY}])", "starts {{artifact}}"),
        ),
    ),
    _Panel(
        title="Age of the newest message",
        unit="s",
        questions=(("time() - edgewright_newest_message_timestamp_seconds", "age"),),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model: import it, and name the Prometheus when asked."""
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus that scrapes Edgewright's page",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "title": "Edgewright fleet",
        "uid": "edgewright-fleet",
        "tags": ["edgewright"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "artifact",
                    "label": "Artifact",
                    "type": "query",
                    "datasource": _SOURCE,
                    "query": "label_values(edgewright_inferences_total, artifact)",
                    "refresh": 2,
                    "multi": True,
                    "includeAll": True,
                    "current": {"text": "All", "value": "$__all"},
                }
            ]
        },
        "panels": [_panel(place, panel) for place, panel in enumerate(_PANELS)],
    }


def dashboard_bytes() -> bytes:
    """Return the dashboard as a file."""
    return (json.dumps(dashboard(), indent=2) + "\n").encode()


def _panel(place: int, panel: _Panel) -> dict[str, Any]:
    is_heatmap = panel.kind == "heatmap"
    return {
        "id": place + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {"x": 12 * (place % 2), "y": _HEIGHT * (place // 2), "w": 12, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"calculate": False, "yAxis": {"unit": panel.unit}} if is_heatmap else {},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "format": "heatmap" if is_heatmap else "time_series",
            }
            for number, (expression, legend) in enumerate(panel.questions)
        ],
    }
