"""Fills share a server's time with its clients, all of them together."""

from __future__ import annotations

from twistedkv.net.streaming import FILL_CLIENT_SHARE, Pace


def test_nobody_waits_while_no_client_is_answered() -> None:
    pace = Pace()
    assert pace.wait(10.0) == 0
    pace.made(10.0, 10.002, 0)
    assert pace.wait(10.002) == 0


def test_after_a_chunk_clients_that_were_answered_have_their_share_of_the_time() -> None:
    pace = Pace()
    pace.made(10.0, 10.5, 1)
    assert pace.wait(10.5) == 0.5 * FILL_CLIENT_SHARE
    assert pace.wait(10.5 + 0.5 * FILL_CLIENT_SHARE) == 0
    pace.made(20.0, 20.5, 1)  # nobody was answered since
    assert pace.wait(20.5) == 0


def test_the_share_is_of_all_fills_together() -> None:
    """Four fills, with clients that are always busy: no more time than one of them would take."""
    pace = Pace()
    now, spent = 0.0, 0.0
    for chunk in range(400):
        now += pace.wait(now)  # whichever fill is next
        began, now = now, now + 0.001
        spent += 0.001
        pace.made(began, now, chunk + 1)
    assert spent <= 1.01 * now / (1 + FILL_CLIENT_SHARE)
