import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_latentimg.names import SUFFIX_LENGTH, BlobName

blob_names = st.builds(
    BlobName,
    source=st.text(min_size=1),
    width=st.integers(1, 999_999),
    height=st.integers(1, 999_999),
    bytes=st.integers(1, 999_999_999),
    digest=st.text("0123456789abcdef", min_size=8, max_size=8),
    policy=st.text("0123456789abcdef", min_size=4, max_size=4),
)


def test_blob_name__as_the_format_says():
    name = "photos/llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg"
    assert BlobName.parse(name) == BlobName(
        "photos/llama.jpg", 1600, 1200, 5123, "3fa9c1d2", "b7e1"
    )
    assert str(BlobName.parse(name)) == name


@given(blob_names)
def test_blob_name__survives_the_round_trip(name: BlobName):
    assert BlobName.parse(str(name)) == name
    assert len(str(name)) - len(name.source) <= SUFFIX_LENGTH


@pytest.mark.parametrize(
    "name",
    [
        "",
        "photos/llama.jpg",
        "photos/llama.limg",
        ".1600x1200-5123.3fa9c1d2-b7e1.limg",
        "llama.jpg.0x1200-5123.3fa9c1d2-b7e1.limg",
        "llama.jpg.1600x1200-5123.3FA9C1D2-b7e1.limg",
        "llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg\n",
        "llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.LIMG",
        "llama.jpg.١x٢-5123.3fa9c1d2-b7e1.limg",
    ],
)
def test_blob_name__anything_else_is_a_source(name: str):
    assert BlobName.parse(name) is None


def test_blob_name__of_a_source_that_looks_like_a_blob():
    inner = "a.jpg.1x1-5123.00000000-0000.limg"
    parsed = BlobName.parse(f"{inner}.2x2-5123.11111111-1111.limg")
    assert parsed is not None
    assert parsed.source == inner
