"""Our `dataclass` gives what the standard one gives."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from kling_batch import structs


@structs.dataclass(frozen=True, slots=True)
class Ours:
    name: str
    size: int = 3
    tags: list[str] = structs.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    name: str
    size: int = 3
    tags: list[str] = dataclasses.field(default_factory=list)


@structs.dataclass(slots=True)
class Open:
    name: str
    seen: list[str] = structs.field(default_factory=list)

    def __post_init__(self) -> None:
        self.seen.append(self.name)


def test_it_is_made_compared_and_shown_as_the_standard_one():
    assert repr(Ours("a", tags=["x"])) == repr(Standard("a", tags=["x"])).replace(
        "Standard", "Ours"
    )
    assert Ours("a") == Ours("a", 3, [])
    assert Ours("a") != Ours("b")
    assert Ours("a") != Standard("a")
    assert Ours("a").tags is not Ours("a").tags
    assert structs.replace(Ours("a"), size=4) == Ours("a", 4)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Ours()
    with pytest.raises(TypeError, match="unexpected keyword argument 'nme'"):
        Ours(nme="a")


def test_frozen_ones_are_read_only_and_hashed_others_are_neither():
    value = Ours("a", tags=())
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del value.name
    assert hash(value) == hash(Ours("a", tags=()))
    assert not hasattr(value, "__dict__")
    one = Open("a")
    one.name = "b"
    assert (one.name, one.seen) == ("b", ["a"])
    with pytest.raises(AttributeError):
        one.other = 1
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_the_standard_module_takes_them_for_its_own():
    value = Ours("a", tags=["x"])
    assert dataclasses.is_dataclass(value)
    assert dataclasses.replace(value, name="b") == Ours("b", 3, ["x"])
    assert dataclasses.asdict(value) == {"name": "a", "size": 3, "tags": ["x"]}
    ours, standard = dataclasses.fields(Ours), dataclasses.fields(Standard)
    assert [(f.name, f.type, f.default) for f in ours] == [
        (f.name, f.type, f.default) for f in standard
    ]


@pytest.mark.parametrize("value", [Ours("a", tags=["x"]), Open("a")])
def test_they_are_copied_and_pickled(value):
    assert copy.deepcopy(value).name == "a"
    assert pickle.loads(pickle.dumps(value)).name == "a"
