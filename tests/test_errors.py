import pickle

import pytest

from pullback import errors


@pytest.mark.parametrize("name", [n for n in dir(errors) if n.endswith("Error")])
def test_every_error_has_three_parts_and_survives_a_process_border(name):
    error = getattr(errors, name)(wanted="a", got="b", hint="c")
    assert str(error) == "a; got b; c"
    assert isinstance(error, errors.PullbackError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.wanted, again.got, again.hint) == ("a", "b", "c")


def test_warnings_are_user_warnings():
    assert issubclass(errors.NotConvergedWarning, UserWarning)
    assert issubclass(errors.TransportWarning, UserWarning)
