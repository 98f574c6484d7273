import pytest
from django.core.signing import BadSignature
from hypothesis import given
from hypothesis import strategies as st

from django_latentimg.links import PictureUrl, offered, rendition_url, unsign
from tests.testapp.models import Product

NAME = "photos/llama.jpg"


def signature_of(url: str) -> str:
    return url.removeprefix("/img/").partition("/")[0]


def test_rendition_url__carries_label_width_name_and_format():
    url = rendition_url("testapp.product.photo", NAME, 320, "avif")
    assert url.startswith("/img/testapp.product.photo:")
    assert url.endswith("/320/photos/llama.jpg.avif")
    assert unsign(signature_of(url), NAME) == ("testapp.product.photo", None, None)


def test_rendition_url__without_format_is_the_negotiated_one():
    assert rendition_url("testapp.product.photo", NAME, 640, None).endswith("/640/photos/llama.jpg")


def test_unsign__refuses_the_signature_of_another_name():
    url = rendition_url("testapp.product.photo", NAME, 320, "avif")
    with pytest.raises(BadSignature):
        unsign(signature_of(url), "private/passport.jpg")


def test_unsign__refuses_another_label():
    signature = signature_of(rendition_url("testapp.product.photo", NAME, 320, "avif"))
    with pytest.raises(BadSignature):
        unsign(signature.replace("product", "snapshot"), NAME)


@pytest.mark.parametrize("name", ["a b/ü?#%25.jpg", "x/0/y.jpg", "0/0/0"])
def test_picture_url__quotes_names(name: str, client):
    url = PictureUrl.sign("testapp.product.photo", name)
    resolved = client.get(url.rendition(320, None))
    # Found its way through quoting and routing to a file that is not there.
    assert resolved.status_code == 410
    assert b"picture" in resolved.content


test_picture_url__quotes_names = pytest.mark.django_db(test_picture_url__quotes_names)


@given(st.lists(st.integers(1, 4000), min_size=1, unique=True), st.integers(1, 4000))
def test_offered__never_scales_up(widths: list[int], natural: int):
    offers = offered(widths, natural)
    assert offers
    assert all(requested in widths and real <= natural for requested, real in offers)
    reals = [real for _, real in offers]
    assert reals == sorted(set(reals))
    assert max(reals) == min(natural, max(widths))


def test_offered__all_of_unknown_size():
    assert offered((320, 640), None) == [(320, 320), (640, 640)]


def test_offered__small_picture_once():
    assert offered((320, 640, 960), 500) == [(320, 320), (640, 500)]
    assert offered((320, 640, 960), 320) == [(320, 320)]


def test_field_file__srcset_has_real_widths():
    product = Product(photo="a.jpg.500x400-5123.00000000-0000.limg")
    candidates = product.photo.srcset("webp").split(", ")
    assert [candidate.split()[1] for candidate in candidates] == ["320w", "500w"]
    assert candidates[1].split()[0].endswith("/640/a.jpg.500x400-5123.00000000-0000.limg.webp")
