"""What is waiting or in work survives the driver, in its order and no more often than it was begun."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autoshrink.search.unfinished import Unfinished

events = st.lists(st.tuples(st.sampled_from(["begin", "end"]), st.sampled_from("abc")))


@given(first=events, second=events, torn=st.booleans())
def test_what_was_begun_and_not_ended_is_there_after_a_crash(tmp_path_factory, first, second, torn):
    path: Path = tmp_path_factory.mktemp("search") / "study.unfinished"
    wanted: Counter[str] = Counter()
    for sitting in (first, second):
        unfinished = Unfinished(path)
        unfinished.renew((str(params["key"]), params) for params in unfinished.earlier or ())
        for event, key in sitting:
            if event == "begin":
                unfinished.begin(key, {"key": key, "share": 0.5})
                wanted[key] += 1
            else:
                unfinished.end(key)
                wanted[key] = max(wanted[key] - 1, 0)
        if torn:
            path.write_text(path.read_text() + '["a", {"ke')
    assert Counter(str(params["key"]) for params in Unfinished(path).earlier or ()) == +wanted


def test_the_order_is_kept_and_a_new_search_has_nothing(tmp_path):
    unfinished = Unfinished(tmp_path / "study.unfinished")
    assert unfinished.earlier is None
    unfinished.renew([("b", {"x": 1}), ("a", {"x": 2})])
    unfinished.begin("c", {"x": None})
    assert Unfinished(tmp_path / "study.unfinished").earlier == [{"x": 1}, {"x": 2}, {"x": None}]
