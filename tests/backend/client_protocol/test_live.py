"""The table of live requests: two indexes that always agree, and nothing kept of who has nothing."""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from roost.backend.client_protocol.active_requests import ActiveRequest, ActiveRequests, Stage
from roost.gateway.api import ConnectionOperations, Peer

ANN, BOB = b"a" * 16, b"b" * 16
LINKS = cast(ConnectionOperations, None)
OLD, NEW = Peer(LINKS, 7, 1), Peer(LINKS, 7, 2)


def live(client: bytes = ANN, request: str = "r1", peer: Peer = OLD, stage: Stage = Stage.ACCEPTED) -> ActiveRequest:
    return ActiveRequest(client, request, peer, stage=stage)


def test_a_replaced_request_cannot_drop_its_successor() -> None:
    table, first, second = ActiveRequests(), live(), live(peer=NEW)
    table.add(first)
    table.add(second)
    assert not table.drop(first)
    assert table.find(ANN, "r1") is second
    assert table.drop(second)
    assert not table.drop(second)


def test_a_lost_connection_takes_only_what_waited_on_it() -> None:
    table, old, new, other = ActiveRequests(), live(request="r1"), live(request="r2", peer=NEW), live(BOB)
    for each in (old, new, other):
        table.add(each)
    assert table.drop_peer(ANN, OLD) == [old]
    assert table.of(ANN) == [new]
    assert table.of(BOB) == [other]


def test_only_requests_that_are_known_and_wait_count_as_open() -> None:
    table = ActiveRequests()
    for number, stage in enumerate(Stage):
        table.add(live(request=f"r{number}", stage=stage))
    unsure = live(request="resumed")
    unsure.counts = False
    table.add(unsure)
    assert (table.open_count(ANN), table.count(ANN)) == (2, len(Stage) + 1)
    assert table.open_count(BOB) == table.count(BOB) == 0


CALLS = st.tuples(
    st.sampled_from(["add", "drop", "gone"]),
    st.sampled_from([ANN, BOB]),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from([OLD, NEW]),
)


@given(st.lists(CALLS, max_size=30))
def test_both_indexes_agree_and_nothing_is_left_behind(calls: list[tuple[str, bytes, str, Peer]]) -> None:
    table, model = ActiveRequests(), dict[tuple[bytes, str], ActiveRequest]()
    for call, client, request, peer in calls:
        if call == "add":
            model[client, request] = live(client, request, peer)
            table.add(model[client, request])
        elif call == "drop":
            found = table.find(client, request)
            assert found is model.pop((client, request), None)
            assert found is None or table.drop(found)
        else:
            gone = {one.request for one in table.drop_peer(client, peer)}
            expected = {key for key, one in model.items() if key[0] == client and one.peer == peer}
            assert gone == {request for _, request in expected}
            for key in expected:
                del model[key]
        assert len(table) == len(model)
        for who in (ANN, BOB):
            assert {one.request for one in table.of(who)} == {request for owner, request in model if owner == who}
    for one in list(model.values()):
        table.drop(one)
    assert not table._of_client
