"""How long a window's decision takes, for Prometheus."""

from types import SimpleNamespace

from twinloop.service.watching import Metrics


def test_the_duration_of_a_windows_decision_is_a_metric_of_its_own(make_platform, tmp_path, clock):
    platform = make_platform(tmp_path / "live.db")
    platform.prepare()
    metrics, runner = Metrics(platform), platform.runner
    runner.deciding = SimpleNamespace(window=lambda key, loop, state: (key, loop, state))
    runner.last_heard_s = clock()
    runner._plan(runner._next_window)
    assert runner._planning.result(60)[1:] == (runner.loop, runner.state)
    assert "twinloop_window_seconds_count 1.0" in metrics.written().decode()
    assert "window" not in runner.timing.last_s, "it is beside the slots"
