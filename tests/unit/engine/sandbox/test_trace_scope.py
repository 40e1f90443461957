"""Where it can be seen which files a command opens, decided over a container's mounts."""

from __future__ import annotations

import pytest

from rondel.engine.sandbox.bwrap import Bind, BwrapMount, Kernel, Memory, Overlay
from rondel.engine.sandbox.trace_scope import TraceScope, trace_scope_of

ROOT = Overlay("/", ("/l/1", "/l/2"), "/u", "/w")
DEV = Kernel("/dev", "dev")


def own(path: str) -> Overlay:
    return Overlay(path, ("/l/1",), "/u", "/w")


def scope(*mounts: BwrapMount, folder: str = "/work", apart: tuple[str, ...] = ()) -> TraceScope:
    return trace_scope_of(folder, (ROOT, DEV, *mounts), apart)


def test_a_folder_of_the_root_is_seen() -> None:
    assert scope() == TraceScope(folder="/work")


@pytest.mark.parametrize("path", ["/work", "/", "/workshop", "/work/sub"])
def test_overlays_are_the_containers_own(path: str) -> None:
    assert scope(own(path)) == TraceScope(folder="/work")


@pytest.mark.parametrize("folder", ["/work", "/"])
def test_what_is_shared_below_is_left_out_and_makes_it_unknown(folder: str) -> None:
    found = scope(Bind("/work/cache", "/host", readonly=False), folder=folder)
    assert "/work/cache" in found.skipped
    assert found.unknown.startswith("/work/cache is mounted")
    assert found.seen


def test_what_is_shared_beside_makes_no_difference() -> None:
    assert scope(Bind("/workshop", "/host"), Bind("/dvc/cache", "/host")) == TraceScope(folder="/work")


@pytest.mark.parametrize("shared", [Bind("/work", "/host"), Bind("/", "/host"), Overlay("/work", ("/l/1",))])
def test_a_folder_in_what_is_shared_cannot_be_seen(shared: BwrapMount) -> None:
    found = scope(shared)
    assert not found.seen
    assert found.unknown


def test_an_overlay_above_a_shared_folder_is_seen() -> None:
    assert scope(Bind("/work", "/host"), own("/work/own"), folder="/work/own").seen


def test_read_only_layers_that_are_merged_are_the_containers_own() -> None:
    assert scope(Overlay("/work", ("/l/1", "/l/2"))) == TraceScope(folder="/work")


def test_secrets_and_memory_are_left_out_and_change_nothing() -> None:
    found = scope(Bind("/work/key", "/s/1"), Memory("/work/tmp"), apart=("/work/key",))
    assert found == TraceScope(folder="/work", skipped=frozenset({"/work/key", "/work/tmp"}))


@pytest.mark.parametrize("mount", [own("/dev"), Bind("/dev/null", "/host")])
def test_a_container_that_cannot_be_held_is_not_traced(mount: BwrapMount) -> None:
    found = scope(mount)
    assert not found.seen
    assert "/dev" in found.unknown
