"""What is left of widgets that were closed: nothing."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from models import model, plain

import quantwidget as qw
from quantwidget import wire

WIDGETS = 100
MAPS, HELD = Path("/proc/self/maps"), Path("/proc/self/fd")
"""Where Linux tells what a process maps and holds open; elsewhere nothing is there."""


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(12)
    path = tmp_path / "m.safetensors"
    arrays = {f"l{number}.weight": rng.standard_normal((50, 60)).astype(np.float32) for number in range(10)}
    safetensors.numpy.save_file(arrays, path)
    return path


def ask(widget, op, **body):
    return widget._session.answer({"id": 1, "protocol": wire.PROTOCOL, "op": op, **body})[0]


def used(path):
    """Make a widget, use it and close it; returns nothing but ways to see whether it is there."""
    widget = qw.QuantWidget(path)
    widget._session.scan_for(60)
    while not ask(widget, "lint", tensor=0)["complete"]:
        pass
    ask(widget, "channels", tensor=0, axis=0, space="values")
    widget._handle_custom_msg({"id": 1, "protocol": wire.PROTOCOL, "op": "scan", "tensors": [0], "finer": 0}, [])
    left = [weakref.ref(widget), weakref.ref(widget.index), weakref.ref(widget._session)]
    widget.close()
    return left


def test_nothing_is_left_of_a_hundred_widgets_made_in_a_loop(path):
    for _ in range(3):
        used(path)
    gc.collect()
    threads = threading.active_count()
    tracemalloc.start()
    left = [reference for _ in range(WIDGETS) for reference in used(path)]
    gc.collect()
    # A thread ends a little after what it worked for.
    give_up = time.monotonic() + 20
    while threading.active_count() > threads + 4 and time.monotonic() < give_up:
        time.sleep(0.01)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [reference() for reference in left if reference() is not None] == []
    # Buffers that threads keep for their next reading; a hundred widgets that stay take more than 30 MB.
    assert held < 10_000_000
    assert threading.active_count() <= threads + 4


def test_no_file_stays_open_or_mapped(path):
    widget = qw.QuantWidget(path)
    widget._session.scan_for(60)
    assert widget._session.is_complete
    links = [link for link in HELD.glob("*") if link.is_symlink()]
    assert str(path) not in [str(link.resolve()) for link in links]
    assert not MAPS.exists() or str(path) not in MAPS.read_text()
    widget.close()


def test_a_closed_widget_leaves_the_index_to_whoever_has_it(path):
    index = qw.open_model(path)
    first, second = qw.QuantWidget(index), qw.QuantWidget(index)
    first.close()
    first.close()
    second._session.scan_for(60)
    assert second._session.is_complete
    assert index.tensors["l3.weight"].values().shape == (50, 60)
    second.close()


def test_two_widgets_on_one_index_do_not_know_of_each_other():
    rng = np.random.default_rng(13)
    index = model(*(plain(name, rng.standard_normal(1000).astype(np.float32)) for name in "ab"))
    first, second = qw.QuantWidget(index), qw.QuantWidget(index)
    first.select("b")
    first.range = (-1.0, 1.0)
    assert (second.selected, second.range) == ("a", None)
    replies = []

    def work(widget) -> None:
        replies.extend(ask(widget, "scan", tensors=[0, 1]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(widget,)) for widget in (first, second) for _ in range(2)]
    for thread in threads:
        thread.start()
    ask(first, "cancel")
    for thread in threads:
        thread.join()
    first.close()
    assert all(len(reply["sketches"]) == 2 for reply in replies)
    assert ask(second, "scan", tensors=[0])["sketches"] == replies[-1]["sketches"][:1]
    second.close()
