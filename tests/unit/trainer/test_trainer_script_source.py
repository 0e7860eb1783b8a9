"""What is read in a script before it runs."""

import pytest
from linnet_trainer.scripts.source import Script

_HEAD = "def build_model(input_shape, class_count):\n    return None\n"


@pytest.mark.parametrize(
    ("body", "resumes"),
    [
        ("    model.fit(x, initial_epoch=settings.initial_epoch)\n", True),
        ("    begun = settings.initial_epoch\n    model.fit(x, initial_epoch=begun)\n", True),
        ("    model.fit(x, initial_epoch=0)\n", False),
        ("    # initial_epoch is not looked at\n    model.fit(x)\n", False),
        ("    print('initial_epoch')\n", False),
    ],
)
def test_a_fit_resumes_if_it_asks_where_to_begin(body: str, resumes: bool) -> None:
    """An argument with a number, a word in a comment or in a text does not."""
    source = _HEAD + "def fit(model, x, settings):\n" + body
    assert Script(source).resumes is resumes
    assert Script(_HEAD).resumes is False
