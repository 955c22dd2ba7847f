"""History frames keep what twins knew, exactly, and nobody who was not there."""

import numpy as np

from twinloop.service.live import KindPicture, read_frame, write_frame


def test_a_frame_comes_back_as_it_was():
    rng = np.random.default_rng(5)
    slot = np.array([[3, -1, 5, 0, 1], [1, 1, 1, 1, 1], [2, 2, 2, 2, 2]], np.int32)
    value = rng.normal(size=(3, 5)).astype(np.float32)
    nothing = np.full_like(value, np.nan)
    revision = np.array([4, 5, 6], np.int32)
    active = np.array([True, False, True])
    kind = KindPicture("cells", ("a", "b", ""), active, value, slot, revision, nothing, nothing, nothing)
    frame = read_frame(write_frame(kind), 5)
    assert frame.ids == ["a"]
    assert frame.revision.tolist() == [4]
    assert frame.slot.tolist() == [slot[0].tolist()]
    np.testing.assert_array_equal(frame.value[0], np.where(slot[0] >= 0, value[0], np.nan))
