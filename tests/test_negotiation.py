import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_latentimg.negotiation import choose

FORMATS = ("avif", "webp", "jpeg")

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
)
SAFARI_14 = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
SAFARI_13 = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
NAVIGATION = "text/html,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (CHROME, "avif"),
        (FIREFOX, "avif"),
        (SAFARI, "avif"),
        (SAFARI_14, "webp"),
        (SAFARI_13, "jpeg"),
        (NAVIGATION, "avif"),
    ],
)
def test_choose__browsers(accept, expected):
    assert choose(accept, FORMATS, with_blob=True) == expected


@pytest.mark.parametrize("accept", [None, "", "*/*", "image/*", "image/*;q=0.1", "*/*, image/png"])
def test_choose__most_compatible_where_no_type_is_named(accept):
    assert choose(accept, FORMATS, with_blob=True) == "jpeg"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/avif;q=0.5, image/webp;q=0.9", "webp"),
        ("image/jpeg, image/webp, image/avif", "avif"),
        ("image/jpeg;q=1.0, image/webp;q=0.9", "jpeg"),
        ("image/webp, */*", "webp"),
        ("image/webp;q=0.5, */*", "jpeg"),
        ("image/webp;q=0.5, image/*;q=0.2", "webp"),
        ("*/*, image/*;q=0.2, image/webp;q=0.5", "webp"),
        (" Image/WebP ; Q=0.5 , image/AVIF;q=0.4", "webp"),
        ("image/avif;level=1;q=0.1, image/webp;q=0.2", "webp"),
    ],
)
def test_choose__by_quality_then_order(accept, expected):
    assert choose(accept, FORMATS, with_blob=False) == expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/avif;q=0, image/*", "jpeg"),
        ("image/jpeg;q=0, image/*", "webp"),
        ("image/jpeg;q=0.000, image/webp;q=0, */*", "avif"),
        ("image/*;q=0, */*, image/webp;q=0.1", "webp"),
    ],
)
def test_choose__never_what_is_excluded(accept, expected):
    assert choose(accept, FORMATS, with_blob=False) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "image/png", "image/jpeg;q=0", "*/*;q=0", "nonsense", ",;,=;q", ";q=1"]
)
def test_choose__nothing_acceptable(accept):
    assert choose(accept, FORMATS, with_blob=True) == "jpeg"


@pytest.mark.parametrize("quality", ["2", "-1", "nan", "inf", "", "high", "1e400"])
def test_choose__invalid_quality_counts_as_none_given(quality):
    accept = f"image/webp;q={quality}, image/avif;q=0.9"
    assert choose(accept, FORMATS, with_blob=False) == "webp"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("image/vnd.latentimg", "limg"),
        ("image/vnd.latentimg, image/avif", "limg"),
        ("image/avif, image/vnd.latentimg;q=0.9", "avif"),
        ("image/vnd.latentimg;q=0", "jpeg"),
    ],
)
def test_choose__blob(accept, expected):
    assert choose(accept, FORMATS, with_blob=True) == expected


def test_choose__blob_is_asked_for_but_a_source():
    assert choose("image/vnd.latentimg, image/webp;q=0.1", FORMATS, with_blob=False) == "webp"
    assert choose("image/vnd.latentimg", FORMATS, with_blob=False) == "jpeg"


def test_choose__field_with_other_formats():
    assert choose(CHROME, ("webp",), with_blob=False) == "webp"
    assert choose("image/avif", ("jpeg", "webp"), with_blob=False) == "webp"
    assert choose("image/webp, image/jpeg", ("jpeg", "webp"), with_blob=False) == "jpeg"


media_ranges = st.tuples(
    st.sampled_from(["image/avif", "image/webp", "image/jpeg", "image/*", "*/*", "image/png"]),
    st.sampled_from(["", ";q=0", ";q=0.5", ";q=1", ";q=nan", ";v=1;q=0.7"]),
).map("".join)


@given(st.lists(media_ranges).map(",".join) | st.text(), st.booleans())
def test_choose__any_header(accept, with_blob):
    chosen = choose(accept, FORMATS, with_blob=with_blob)
    assert chosen in FORMATS  # no generated header names the blob's type


@given(st.lists(media_ranges, unique_by=lambda media_range: media_range.split(";")[0]))
def test_choose__order_of_elements_makes_no_difference(ranges):
    chosen = choose(",".join(ranges), FORMATS, with_blob=False)
    assert chosen == choose(",".join(reversed(ranges)), FORMATS, with_blob=False)
