import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import Range, Recipe, Setting, Source, Space, SpecError, Step

words = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda word: word not in ("kind", "optional", "name")
)
# PyYAML folds these three line breaks into spaces.
text = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=10)
scalars = (
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | text
)
settings = st.builds(
    lambda kind, params: Setting.model_validate({"kind": kind, **params}),
    words,
    st.dictionaries(words, scalars, max_size=4),
)
recipes = st.builds(
    lambda steps: Recipe(steps=tuple(steps)), st.lists(settings, max_size=4, unique_by=lambda step: step.kind)
)


@st.composite
def ranges(draw):
    numbers = draw(st.sampled_from([st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)]))
    low, high = sorted(draw(st.lists(numbers, min_size=2, max_size=2, unique=True)))
    log = draw(st.booleans()) and low > 0
    step = draw(st.none() | numbers.filter(lambda x: 0 < x <= high - low)) if not log and high - low >= 1 else None
    return Range(low=low, high=high, log=log, step=step)


params = scalars | st.lists(scalars, min_size=1, max_size=4) | ranges()
steps = st.builds(
    lambda kind, optional, given: Step.model_validate({"kind": kind, "optional": optional, **given}),
    words, st.booleans(), st.dictionaries(words, params, max_size=4),
)  # fmt: skip
spaces = st.builds(
    lambda name, steps: Space(name=name, steps=tuple(steps)),
    text.filter(str.isprintable), st.lists(steps, min_size=1, max_size=4, unique_by=lambda step: step.kind),
)  # fmt: skip


def read_back(document):
    return type(document).parse(yaml.safe_load(document.to_yaml()) or {}, Source("again.yaml"))


def types_of(document):
    return [[type(value) for value in step.params.values()] for step in document.steps]


@given(recipes)
def test_a_recipe_is_written_and_read_back(recipe):
    again = read_back(recipe)
    assert again == recipe
    assert again.key == recipe.key
    assert types_of(again) == types_of(recipe)


@given(spaces)
def test_a_space_is_written_and_read_back(space):
    again = read_back(space)
    assert again == space
    assert types_of(again) == types_of(space)


@given(recipes, st.randoms())
def test_the_key_of_a_recipe_does_not_depend_on_the_order_of_its_settings(recipe, random):
    def shuffled(setting):
        items = list(setting.params.items())
        random.shuffle(items)
        return Setting.model_validate({**dict(items), "kind": setting.kind})

    assert Recipe(steps=tuple(map(shuffled, recipe.steps))).key == recipe.key


@given(recipes, recipes)
def test_different_recipes_have_different_keys(one, other):
    def content(recipe):
        return [
            (step.kind, sorted((name, repr(value)) for name, value in step.params.items())) for step in recipe.steps
        ]

    assert (one.key == other.key) == (content(one) == content(other))


def test_the_key_depends_on_kind_name_value_and_order_of_steps():
    def key(*steps):
        return Recipe.parse({"steps": list(steps)}, Source("r.yaml")).key

    a, b = {"kind": "a", "x": 1}, {"kind": "b"}
    keys = [
        key(),
        key(a),
        key(b),
        key(a, b),
        key(b, a),
        key({"kind": "a", "x": 2}),
        key({"kind": "a", "y": 1}),
        key({"kind": "a", "x": None}),
    ]
    assert len(set(keys)) == len(keys)


def test_the_key_is_the_same_in_every_process_and_version():
    # Stored artifacts and resumed searches are found by it.
    recipe = Recipe.parse({"steps": [{"kind": "low_rank", "rank_ratio": 0.4}]}, Source("r.yaml"))
    assert recipe.key == "ba3d005cb645"


def test_a_recipe_is_described_on_one_line():
    recipe = Recipe.parse({"steps": [{"kind": "a", "ratio": 0.123456, "on": True}, {"kind": "b"}]}, Source("r.yaml"))
    assert recipe.describe() == "a(ratio=0.123, on=True) → b()"
    assert Recipe().describe() == "original"
    assert recipe.setting("b") == Setting(kind="b")
    assert recipe.setting("c") is None


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"kind": "a", "x": [1]}], "r.yaml: steps[0].x: must be one plain value in a recipe, not a list"),
        (
            [{"kind": "a", "x": {"low": 1, "high": 2}}],
            "r.yaml: steps[0].x: must be one plain value in a recipe, not keys and values",
        ),
        ([{"kind": "a", "x": float("nan")}], "r.yaml: steps[0].x: must be one plain value in a recipe, not nan"),
        (
            [{"kind": "a"}, {"kind": "a"}],
            "r.yaml: steps[1].kind: 'a' stands twice: a technique is used once in a recipe",
        ),
        ([{"kind": ""}], "r.yaml: steps[0].kind: must be text that is not empty, not ''"),
        (["a"], "r.yaml: steps[0]: must be keys and values, not 'a'"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong(steps, says):
    with pytest.raises(SpecError) as caught:
        Recipe.parse({"steps": steps}, Source("r.yaml"))
    assert str(caught.value) == says


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"low": 2, "high": 1}, "'low' (2) must be below 'high' (1)"),
        ({"low": 1, "high": 1}, "'low' (1) must be below 'high' (1)"),
        ({"low": 0, "high": 1, "log": True}, "a range with 'log' must start above zero"),
        ({"low": 1, "high": 8, "log": True, "step": 1}, "a range has either 'log' or 'step'"),
        ({"low": 1, "high": 8, "step": 0}, "'step' must be above zero and no more than 7"),
        ({"low": 1, "high": 8, "step": 8}, "'step' must be above zero and no more than 7"),
        ({"low": True, "high": 8}, "must be a number, not true"),
    ],
)
def test_a_wrong_range_says_what_is_wrong(data, says):
    with pytest.raises(SpecError) as caught:
        Space.parse({"steps": [{"kind": "a", "x": data}]}, Source("s.yaml"))
    assert says in str(caught.value)
    assert str(caught.value).startswith("s.yaml: steps[0].x")


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        ({"low": 1, "high": 8}, True),
        ({"low": 1, "high": 8, "step": 2}, True),
        ({"low": 1, "high": 8.0}, False),
        ({"low": 1.0, "high": 8}, False),
        ({"low": 1, "high": 8, "step": 0.5}, False),
    ],
)
def test_only_whole_ends_make_a_range_of_whole_numbers(data, whole):
    assert Range.model_validate(data).whole is whole


def test_a_step_lists_the_values_of_a_setting():
    step = Step.model_validate(
        {"kind": "a", "fixed": 3, "nothing": None, "choice": [1, "b"], "range": {"low": 0, "high": 1}}
    )
    assert step.values("fixed") == (3,)
    assert step.values("nothing") == (None,)
    assert step.values("choice") == (1, "b")
    assert step.values("range") == ()
    assert step.values("absent") == ()
