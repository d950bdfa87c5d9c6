"""The simulated storm: nobody is lost in it, and ours is ahead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.compare.simulation import ASK_S, HELD_SHARE, ROOM, Scene, Simulation, capacities
from bench.compare.strategies import CHOOSERS, OURS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("rule", CHOOSERS)
def test_every_client_that_comes_is_in_exactly_once(rule: str) -> None:
    scene = Scene(gateways=7, replicas=2, beat_s=1.0, clients=3000)
    storm = Simulation(scene, CHOOSERS[rule](scene))
    held = int(storm.load.sum())
    outcome = storm.run()
    came = int(storm.load.sum()) - held
    assert 0.95 * scene.clients < came < scene.clients  # a few never use their ticket
    assert (storm.load <= storm.capacity).all()
    assert outcome.all_in_s > ASK_S


def test_the_same_seed_gives_the_same_storm_and_another_one_does_not() -> None:
    scenes = [Scene(5, 2, 1.0, 2000, seed) for seed in (1, 1, 2)]
    first, again, other = (Simulation(scene, CHOOSERS[OURS](scene)).run() for scene in scenes)
    assert first == again
    assert first != other


def test_there_is_room_for_all() -> None:
    scene = Scene(gateways=30, replicas=1, beat_s=1.0, clients=10_000)
    assert capacities(scene).sum() == pytest.approx(scene.clients * (1 + HELD_SHARE) * ROOM, rel=0.01)


@pytest.mark.parametrize("replicas", [1, 5])
@pytest.mark.parametrize("beat_s", [0.2, 10.0])
def test_ours_is_more_even_than_each_of_the_others_whatever_replicas_and_beats(replicas: int, beat_s: float) -> None:
    scene = Scene(gateways=20, replicas=replicas, beat_s=beat_s, clients=20_000)
    peaks = {rule: Simulation(scene, make(scene)).run().peak for rule, make in CHOOSERS.items()}
    assert peaks[OURS] < 1.02
    assert peaks[OURS] < min(peak for rule, peak in peaks.items() if rule != OURS)


def test_it_writes_table_json_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--clients", "2000", "--gateways", "3,5", "--replicas", "1,2", "--beats-s", "1"]
    main(["choice", *size, "--json", str(tmp_path / "choice.json")])
    assert "verdict: passed" in capsys.readouterr().out
    found = json.loads((tmp_path / "choice.json").read_text())
    assert [(row["gateways"], row["replicas"]) for row in found["rows"]] == [(3, 1), (3, 2), (5, 1), (5, 2)]
    assert (tmp_path / "choice.png").read_bytes().startswith(b"\x89PNG")
