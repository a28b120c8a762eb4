"""YAML that a YAML parser reads as what was written."""

import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grafana.yaml_text import yaml_text

TEXT = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"), include_characters="\n"), max_size=30
)
SCALAR = st.none() | st.booleans() | st.integers() | TEXT
KEY = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda word: word.lower() not in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)
DOCUMENT = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(KEY, DOCUMENT, min_size=1, max_size=4))
def test_what_is_written_is_read(document):
    assert yaml.safe_load(yaml_text(document)) == document


def test_sql_is_a_block():
    text = yaml_text(
        {"rules": [{"sql": "SELECT 1\n  AND $__timeFilter(start)", "for": "2m", "none": [], "paused": True}]}
    )
    assert text == (
        'rules:\n  - sql: |-\n      SELECT 1\n        AND $__timeFilter(start)\n    for: "2m"\n    none: '
        "[]\n    paused: true\n"
    )
