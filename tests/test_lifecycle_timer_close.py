"""The end of the clock: it waits for what runs, and what runs may plan what comes next."""

import threading
import time

import pytest

from vaeiso_monitor.lifecycle.schedule import Timer


class Heard:
    def scheduler_alive(self, alive):
        self.alive = alive

    def job_failed(self, name):
        raise AssertionError(name)


@pytest.mark.parametrize("end", ["plan", "cancel"])
def test_a_job_that_plans_while_the_clock_ends_does_not_hold_it_up(end):
    heard = Heard()
    timer = Timer(heard)
    began, closing, done = threading.Event(), threading.Event(), threading.Event()

    def job():
        began.set()
        closing.wait(10)
        time.sleep(0.1)  # the library is within its shutdown by now
        if end == "plan":
            timer.at(time.time() + 3600, "next", done.set)
        else:
            timer.cancel("next")
        done.set()

    timer.at(0, "next", job)
    timer.start()
    assert began.wait(10)
    closer = threading.Thread(target=timer.close, daemon=True)
    closer.start()
    closing.set()
    closer.join(20)
    assert not closer.is_alive()
    assert done.is_set()
    assert not timer.alive
    assert heard.alive is False
