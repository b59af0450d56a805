"""Rollouts: planning, orders, jobs, and why each is where it is."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated

from fastapi import FastAPI, Query, Request

from host_tools.errors import ConflictError
from host_tools.fleet.carrying_out import counts_of, members_of
from host_tools.fleet.records.jobs import Job, JobResult, JobState
from host_tools.fleet.records.rollouts import ENDED_ROLLOUTS, Rollout, RolloutState
from host_tools.fleet.rollout.explanation import explain
from host_tools.fleet.rollout.plan_file import MOST_STAGES, check_plan
from host_tools.fleet.serve import patterns
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.answers.rollouts import ExplanationAnswer, JobAnswer, RolloutAnswer
from host_tools.fleet.serve.asked import (
    AfterName,
    InDevice,
    InRollout,
    InStage,
    Limit,
    OrderAsked,
    RolloutAsked,
)
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT

ORDERS_BY_PATH = ("submit", "approve", "pause", "resume", "abort", "rollback", "retry")
_Group = Annotated[str | None, Query(pattern=patterns.NAME)]
_Stage = Annotated[int | None, Query(ge=0, lt=MOST_STAGES)]


def add_rollout_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""
    _add_reading(app, fleet)
    _add_jobs(app, fleet)
    _add_planning(app, fleet)
    for order in ORDERS_BY_PATH:
        _add_order(app, fleet, order)


def _add_reading(app: FastAPI, fleet: Fleet) -> None:
    @app.get(f"{ROOT}/rollouts", response_model=Page[RolloutAnswer])
    def list_rollouts(
        group: _Group = None, state: RolloutState | None = None, after: AfterName = "", limit: Limit = 100
    ) -> object:
        with fleet.store.reading() as book:
            found = book.rollouts.page(group=group, state=state, after=after, limit=limit + 1)
        shown = [_flat(one) for one in found]
        return page_of(RolloutAnswer, shown, limit=limit, key="id")

    @app.get(f"{ROOT}/rollouts/{{rollout}}", response_model=RolloutAnswer)
    def get_rollout(rollout: InRollout) -> RolloutAnswer:
        with fleet.store.reading() as book:
            return _flat(book.rollouts.get(rollout))

    @app.get(f"{ROOT}/rollouts/{{rollout}}/explain", response_model=ExplanationAnswer)
    def explain_rollout(rollout: InRollout) -> object:
        with fleet.store.reading() as book:
            found = book.rollouts.get(rollout)
            explained = explain(
                found,
                counts_of(book, found),
                book.rollouts.findings(rollout),
                book.now_seconds,
                members_of(book, found),
            )
            unsigned = book.effects.find("publish", found.plan.group)
        if unsigned is not None and unsigned.failure and json.loads(unsigned.document)["rollout"] == rollout:
            told = f"devices are not told yet: what the group shall run cannot be signed, and is tried again: {unsigned.failure}"
            explained = replace(explained, next_step=f"{told}\n{explained.next_step}")
        return ExplanationAnswer.model_validate(
            {
                name: getattr(explained, name)
                for name in (
                    "rollout",
                    "release",
                    "group",
                    "members",
                    "state",
                    "reason",
                    "next_step",
                    "stages",
                    "gates",
                )
            }
            | {"words": explained.text()}
        )


def _add_jobs(app: FastAPI, fleet: Fleet) -> None:
    @app.get(f"{ROOT}/rollouts/{{rollout}}/jobs", response_model=Page[JobAnswer])
    def list_jobs(
        rollout: InRollout,
        stage: _Stage = None,
        state: JobState | None = None,
        result: JobResult | None = None,
        after: AfterName = "",
        limit: Limit = 100,
    ) -> object:
        with fleet.store.reading() as book:
            book.rollouts.get(rollout)
            found = book.jobs.page(
                rollout, stage=stage, state=state, result=result, after=after, limit=limit + 1
            )
        return page_of(JobAnswer, found, limit=limit, key="device")

    @app.get(f"{ROOT}/rollouts/{{rollout}}/jobs/{{device}}", response_model=JobAnswer)
    def get_job(rollout: InRollout, device: InDevice) -> Job:
        with fleet.store.reading() as book:
            return book.jobs.get(rollout, device)


def _add_planning(app: FastAPI, fleet: Fleet) -> None:
    @app.post(f"{ROOT}/rollouts", response_model=RolloutAnswer, status_code=201)
    def plan_rollout(request: Request, asked: RolloutAsked) -> RolloutAnswer:
        plan = asked.record()
        check_plan(plan)
        with fleet.store.reading() as book:
            standing = book.rollouts.count() - book.rollouts.count(ENDED_ROLLOUTS)
            require_room(standing, fleet.limits.open_rollouts, "rollouts that have not ended")
        return _flat(fleet.service.create(plan, actor=caller_of(request).actor))

    @app.post(f"{ROOT}/rollouts/{{rollout}}/stages/{{stage}}/approve", response_model=RolloutAnswer)
    def approve_stage(
        request: Request, rollout: InRollout, stage: InStage, asked: OrderAsked
    ) -> RolloutAnswer:
        with fleet.store.reading() as book:
            found = book.rollouts.get(rollout)
        asks = [place for place, one in enumerate(found.stages) if one.state == "awaiting_approval"]
        if asks[:1] != [stage]:
            waits = f"stage {asks[0]} does" if asks else "none does"
            raise ConflictError(f"rollout {rollout}: stage {stage} does not await approval; {waits}.")
        done = fleet.service.order(
            rollout,
            "approve_stage",
            actor=caller_of(request).actor,
            revision=found.revision if asked.revision is None else asked.revision,
        )
        return _flat(done)


def _add_order(app: FastAPI, fleet: Fleet, order: str) -> None:
    @app.post(
        f"{ROOT}/rollouts/{{rollout}}/{order}", response_model=RolloutAnswer, operation_id=f"{order}_rollout"
    )
    def give_order(request: Request, rollout: InRollout, asked: OrderAsked) -> RolloutAnswer:
        actor = caller_of(request).actor
        return _flat(fleet.service.order(rollout, order, actor=actor, revision=asked.revision))


def _flat(rollout: Rollout) -> RolloutAnswer:
    """Return a rollout as it is told, its id in front."""
    return RolloutAnswer.model_validate(
        {
            "id": rollout.plan.id,
            "plan": rollout.plan,
            "previous": dict(rollout.previous),
            **{
                name: getattr(rollout, name)
                for name in (
                    "state",
                    "stages",
                    "reason",
                    "created_by",
                    "created_seconds",
                    "changed_seconds",
                    "revision",
                )
            },
        }
    )
