"""The generated parts of docs/ are as the code would write them."""

import re

from tests.reference import configuration
from tests.test_docs import page

PAGE = page("configuration.md")


def test_the_keys_of_the_configuration_are_generated():
    assert configuration(PAGE) == PAGE, "make reference"


def test_a_wrong_default_a_lost_key_and_a_key_too_many_are_mended():
    row = "| `max_bundles` | integer, >= 2 | `20` |"
    assert row in PAGE
    whole = configuration(PAGE)
    assert configuration(PAGE.replace(row, "| `max_bundles` | text | `7` |")) == whole
    surplus = PAGE.replace(row, f"| `gone` | text | none | It is gone. |\n{row}")
    assert configuration(surplus) == whole
    lost = re.sub(r"\| `max_bundles`.*\n", "", PAGE)
    assert "| `max_bundles` | integer, >= 2 | `20` | TO BE WRITTEN |" in configuration(lost)
