"""Groups."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI, Request, Response

from device_agent.contract.telemetry.message import Scalar
from host_tools.fleet.placing import check_selector
from host_tools.fleet.records.devices import Group
from host_tools.fleet.rollout.members import in_words
from host_tools.fleet.serve.admission import caller_of
from host_tools.fleet.serve.answers.answer import Page, page_of
from host_tools.fleet.serve.answers.devices import GroupAnswer
from host_tools.fleet.serve.asked import AfterName, GroupAsked, GroupEdit, InGroup, Limit
from host_tools.fleet.serve.context import Fleet, require_room
from host_tools.fleet.serve.roles import ROOT


def _told(group: Group) -> dict[str, Scalar]:
    return {} if group.selector is None else {"selector": in_words(group.selector)}


def add_group_endpoints(app: FastAPI, fleet: Fleet) -> None:
    """Add the endpoints."""

    @app.get(f"{ROOT}/groups", response_model=Page[GroupAnswer])
    def list_groups(after: AfterName = "", limit: Limit = 100) -> object:
        with fleet.store.reading() as book:
            found = book.groups.page(after=after, limit=limit + 1)
        return page_of(GroupAnswer, found, limit=limit, key="name")

    @app.get(f"{ROOT}/groups/{{group}}", response_model=GroupAnswer)
    def get_group(group: InGroup) -> Group:
        with fleet.store.reading() as book:
            return book.groups.get(group)

    @app.post(f"{ROOT}/groups", response_model=GroupAnswer, status_code=201)
    def add_group(request: Request, asked: GroupAsked) -> Group:
        with fleet.store.writing() as book:
            require_room(book.groups.count(), fleet.limits.groups, "groups")
            selector = None if asked.selector is None else asked.selector.record()
            if selector is not None:
                check_selector(book, asked.name, selector)
            group = Group(
                name=asked.name, note=asked.note, selector=selector, created_seconds=book.now_seconds
            )
            book.groups.add(group)
            book.note(caller_of(request).actor, "group.add", f"group/{group.name}", _told(group))
        fleet.service.wake()
        return group

    @app.patch(f"{ROOT}/groups/{{group}}", response_model=GroupAnswer)
    def change_group(request: Request, group: InGroup, asked: GroupEdit) -> Group:
        with fleet.store.writing() as book:
            before = book.groups.get(group)
            selector = before.selector
            if "selector" in asked.model_fields_set:  # left out it stays; null takes it away
                selector = None if asked.selector is None else asked.selector.record()
                if selector is not None:
                    check_selector(book, group, selector)
            note = before.note if asked.note is None else asked.note
            edited = replace(before, note=note, selector=selector)
            book.groups.put(edited)
            told = _told(edited)
            if before.selector is not None and selector != before.selector:
                told = {"selector": "none", **told, "selector_before": in_words(before.selector)}
            book.note(caller_of(request).actor, "group.edit", f"group/{group}", told)
        fleet.service.wake()
        return edited

    @app.delete(f"{ROOT}/groups/{{group}}", response_class=Response, status_code=204)
    def remove_group(request: Request, group: InGroup) -> Response:
        with fleet.store.writing() as book:
            book.groups.remove(group)
            book.ddi_tokens.remove("gateway", group)
            book.note(caller_of(request).actor, "group.remove", f"group/{group}")
        return Response(status_code=204)
