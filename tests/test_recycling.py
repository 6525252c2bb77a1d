from __future__ import annotations

import threading

import numpy as np
import pytest

from quantwidget.recycling import KEPT, LARGEST, SMALLEST, recycled

SIZE = 4 * SMALLEST


def address(array):
    return array.__array_interface__["data"][0]


def on_a_new_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_memory_is_used_again_once_nobody_looks_at_it():
    def two_places():
        first = recycled(SIZE)
        place = address(first)
        del first
        return place, address(recycled(SIZE))

    one, other = on_a_new_thread(two_places)
    assert one == other


@pytest.mark.parametrize(
    "held",
    [
        lambda array: array,
        lambda array: array[7:],
        lambda array: array.view(np.float32).reshape(-1, 16).T,
        lambda array: array.data,
        lambda array: np.ndarray((4,), np.uint8, buffer=array.data),
    ],
    ids=["itself", "slice", "view", "memoryview", "array of its buffer"],
)
def test_memory_that_somebody_looks_at_is_left_alone(held):
    def both():
        kept = held(recycled(SIZE))
        np.asarray(kept)[...] = 1
        for _ in range(2 * KEPT):
            recycled(SIZE)[:] = 0
        return np.asarray(kept).copy()

    assert (on_a_new_thread(both) == 1).all()


def test_many_arrays_at_once_are_all_different():
    arrays = on_a_new_thread(lambda: [recycled(SIZE) for _ in range(3 * KEPT)])
    assert len({address(array) for array in arrays}) == len(arrays)


def test_a_small_array_does_not_hold_a_large_one():
    def base_size():
        recycled(LARGEST)
        return recycled(SMALLEST).base.size

    assert on_a_new_thread(base_size) <= 2 * SMALLEST


@pytest.mark.parametrize("nbytes", [0, 1, SMALLEST - 1, SMALLEST, LARGEST, LARGEST + 1])
def test_every_size_is_given(nbytes):
    array = recycled(nbytes)
    assert (array.dtype, array.shape) == (np.uint8, (nbytes,))
    assert array.flags.writeable


def test_threads_share_no_memory():
    mine = address(recycled(SIZE))
    assert on_a_new_thread(lambda: address(recycled(SIZE))) != mine
