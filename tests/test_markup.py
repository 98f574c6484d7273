import json
import re
from html.parser import HTMLParser

import pytest
from django.contrib.staticfiles import finders
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template import Context, Template
from django.urls import resolve
from django.utils.safestring import SafeString

from django_latentimg import links, markup
from django_latentimg.conf import conf
from django_latentimg.markup import as_data, picture, preload, srcset, url

from .conftest import image_bytes
from .conftest import picture as photograph
from .testapp.models import Portrait, Product, Snapshot

BLOB = "photos/llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg"
PLACEHOLDER = "data:image/webp;base64,UklGRiIAAABXRUJQVlA4+/="


class Elements(HTMLParser):
    """All start tags of a piece of HTML with their attributes, none given twice."""

    def __init__(self, html: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        self.found.append((tag, dict(attributes)))


def elements(html: str) -> list[tuple[str, dict[str, str | None]]]:
    return Elements(html).found


def img(html: str) -> dict[str, str | None]:
    tag, attributes = elements(html)[-1]
    assert tag == "img"
    return attributes


def candidates(srcset: str) -> list[tuple[str, str]]:
    return [tuple(candidate.split(" ")) for candidate in srcset.split(", ")]


@pytest.fixture
def product() -> Product:
    return Product(title="Llama", photo=BLOB, photo_placeholder=PLACEHOLDER)


@pytest.fixture
def unreachable(monkeypatch):
    """Every use of a storage fails."""

    class Unreachable:
        def __getattr__(self, name):
            raise AssertionError(f"storage.{name}")

    for model in (Product, Snapshot):
        monkeypatch.setattr(model._meta.get_field("photo"), "storage", Unreachable())
    monkeypatch.setitem(storages._storages, conf.RENDITION_STORAGE, Unreachable())


# The elements


def test_picture__blob(product):
    html = picture(product.photo, sizes="50vw", alt="A llama")
    assert isinstance(html, SafeString)
    assert [tag for tag, _ in elements(html)] == ["picture", "source", "source", "img"]
    _, (_, avif), (_, webp), (_, image) = elements(html)
    assert (avif["type"], webp["type"]) == ("image/avif", "image/webp")
    assert avif["sizes"] == webp["sizes"] == image["sizes"] == "50vw"
    for format, attributes in (("avif", avif), ("webp", webp), ("jpeg", image)):
        assert attributes["srcset"] == product.photo.srcset(format)
    assert [width for _, width in candidates(avif["srcset"])] == [
        "320w",
        "640w",
        "960w",
        "1280w",
        "1600w",
    ]
    assert image["src"] == product.photo.url
    assert (image["width"], image["height"]) == ("1600", "1200")
    assert image["alt"] == "A llama"
    assert image["loading"] == "lazy"
    assert image["decoding"] == "async"
    assert image["style"] == f"background:url({PLACEHOLDER}) center/cover no-repeat"
    assert "class" not in image
    assert "fetchpriority" not in image
    assert html.endswith("></picture>")


def test_picture__every_url_leads_to_the_view_of_this_picture(product):
    name = BLOB
    for tag, attributes in elements(picture(product.photo)):
        for link, _ in candidates(attributes.get("srcset") or "") if tag != "picture" else ():
            match = resolve(link)
            assert match.view_name == "django_latentimg:rendition"
            stored, _, _format = match.kwargs["path"].rpartition(".")
            assert stored == name
            signed = links.unsign(match.kwargs["signature"], stored)
            assert signed == links.Signed("testapp.product.photo")


def test_picture__smaller_than_the_smallest_width():
    product = Product(photo="a.png.96x64-5123.01234567-0123.limg")
    image = img(picture(product.photo))
    assert candidates(image["srcset"]) == [(image["src"], "96w")]
    assert "/320/" in image["src"]
    assert (image["width"], image["height"]) == ("96", "64")


def test_picture__source_with_columns():
    product = Product(photo="photos/llama.jpg", photo_width=700, photo_height=500)
    image = img(picture(product.photo))
    assert (image["width"], image["height"]) == ("700", "500")
    assert [width for _, width in candidates(image["srcset"])] == ["320w", "640w", "700w"]


def test_picture__source_without_columns(unreachable):
    (_, _), (_, webp), (_, image) = elements(picture(Snapshot(photo="snaps/llama.jpg").photo))
    assert [width for _, width in candidates(webp["srcset"])] == ["100w", "200w"]
    assert "width" not in image
    assert "height" not in image
    assert "style" not in image


@pytest.mark.parametrize("file", [None, "", Product().photo, Product(photo=None).photo])
def test_picture__nothing_for_an_empty_field(file):
    assert picture(file) == ""


# The options


def test_picture__alt_is_never_missing(product):
    assert img(picture(product.photo))["alt"] == ""


@pytest.mark.parametrize("name", ["css_class", "class"])
def test_picture__class(product, name):
    assert img(picture(product.photo, **{name: "wide photo"}))["class"] == "wide photo"


def test_picture__both_classes(product):
    image = img(picture(product.photo, css_class="wide", **{"class": "photo"}))
    assert image["class"] == "wide photo"


def test_picture__first_of_a_page(product):
    image = img(picture(product.photo, loading="eager", fetchpriority="high"))
    assert (image["loading"], image["fetchpriority"]) == ("eager", "high")


def test_picture__without_loading(product):
    assert "loading" not in img(picture(product.photo, loading=""))


@pytest.mark.parametrize("widths", [(320, 640), [640, 320], "320 640", "320,640", iter((320, 640))])
def test_picture__widths(product, widths):
    html = picture(product.photo, widths=widths)
    for _, attributes in elements(html)[1:]:
        assert [width for _, width in candidates(attributes["srcset"])] == ["320w", "640w"]
    assert "/640/" in img(html)["src"]


@pytest.mark.parametrize("nothing", [None, (), ""])
def test_picture__no_widths_are_all_widths(product, nothing):
    assert picture(product.photo, widths=nothing) == picture(product.photo)


@pytest.mark.parametrize("widths", [(320, 321), "wide", [0]])
def test_picture__width_that_the_field_does_not_have(product, widths):
    with pytest.raises(ValueError, match=r"321|wide|0"):
        picture(product.photo, widths=widths)


def test_picture__further_attributes(product):
    html = picture(
        product.photo,
        data_id=3,
        aria_hidden="true",
        itemprop="image",
        hidden=True,
        draggable=None,
        inert=False,
        decoding="sync",
    )
    image = img(html)
    assert image["data-id"] == "3"
    assert image["aria-hidden"] == "true"
    assert image["itemprop"] == "image"
    assert image["hidden"] is None
    assert image["decoding"] == "sync"
    assert not {"draggable", "inert"} & image.keys()


def test_picture__style_follows_the_placeholder(product):
    style = img(picture(product.photo, style="object-fit:cover"))["style"]
    assert style.startswith("background:url(data:")
    assert style.endswith(" no-repeat;object-fit:cover")


def test_picture__style_without_placeholder():
    product = Product(photo=BLOB)
    assert img(picture(product.photo, style="color:red"))["style"] == "color:red"


@pytest.mark.parametrize(
    "placeholder",
    [
        "data:image/webp;base64,AA);background:url(//example.com/x",
        "https://example.com/x.webp",
        "data:text/html;base64,AAAA",
        "nonsense",
    ],
)
def test_picture__placeholder_that_is_none(placeholder):
    assert "style" not in img(picture(Product(photo=BLOB, photo_placeholder=placeholder).photo))


EVIL = "\"'><script>alert(1)</script>&amp;"


@pytest.mark.parametrize(
    "option", ["alt", "sizes", "css_class", "loading", "fetchpriority", "style", "data_x", "class"]
)
def test_picture__values_are_escaped(product, option):
    html = picture(product.photo, **{option: EVIL})
    attribute = {"css_class": "class", "data_x": "data-x"}.get(option, option)
    assert [tag for tag, _ in elements(html)] == ["picture", "source", "source", "img"]
    assert img(html)[attribute].endswith(EVIL)


def test_picture__names_are_escaped():
    product = Product(photo="photos/\"><script>'&.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg")
    html = picture(product.photo)
    assert [tag for tag, _ in elements(html)] == ["picture", "source", "source", "img"]
    assert img(html)["src"] == product.photo.url


@pytest.mark.parametrize("name", ["", "on load", "x=1", "a>b", 'a"', "a/b"])
def test_picture__impossible_attribute_name(product, name):
    with pytest.raises(ValueError, match="attribute"):
        picture(product.photo, **{name: "1"})


# Where and how large


def test_picture__fixed_width_by_density(product):
    image = img(picture(product.photo, width=300))
    assert [density for _, density in candidates(image["srcset"])] == ["1.067x", "2.133x", "3.2x"]
    assert "sizes" not in image
    assert (image["width"], image["height"]) == ("300", "225")


def test_picture__fixed_width_of_a_small_picture():
    product = Product(photo="a.png.500x100-5123.01234567-0123.limg")
    image = img(picture(product.photo, width="300"))
    assert [density for _, density in candidates(image["srcset"])] == ["1.067x", "1.667x"]


@pytest.mark.parametrize(
    ("sizes", "options", "expected"),
    [
        ("auto", {}, "auto, 100vw"),
        ("auto, (min-width: 60em) 33vw, 90vw", {}, "auto, (min-width: 60em) 33vw, 90vw"),
        ("auto, 50vw", {"loading": "eager"}, "50vw"),
        ("AUTO", {"priority": True}, "100vw"),
    ],
)
def test_picture__sizes_that_the_browser_finds_out(product, sizes, options, expected):
    for tag, attributes in elements(picture(product.photo, sizes=sizes, **options)):
        assert tag == "picture" or attributes["sizes"] == expected


def test_picture__priority(product):
    image = img(picture(product.photo, priority=True))
    assert (image["loading"], image["fetchpriority"]) == ("eager", "high")
    image = img(picture(product.photo, priority=True, loading="", fetchpriority=""))
    assert not {"loading", "fetchpriority"} & image.keys()


def test_preload__is_what_the_picture_asks_for_first(product):
    for options in ({"sizes": "50vw"}, {"width": 300}, {"widths": "320 640"}):
        ((tag, link),) = elements(preload(product.photo, **options))
        _, (_, avif), *_ = elements(picture(product.photo, priority=True, **options))
        assert tag == "link"
        assert (link["rel"], link["as"], link["type"]) == ("preload", "image", "image/avif")
        assert link["imagesrcset"] == avif["srcset"]
        assert link.get("imagesizes") == avif.get("sizes")
        assert link["fetchpriority"] == "high"
    assert preload(None) == ""


# Parts


@pytest.fixture
def portrait() -> Portrait:
    return Portrait(
        photo="p.jpg.800x600-5123.01234567-0123.limg", focus=[0.25, 0.5], words="A llama"
    )


def test_picture__ratio(portrait):
    _, (_, webp), (_, image) = elements(picture(portrait.photo, ratio="1/1"))
    assert [width for _, width in candidates(webp["srcset"])] == ["100w", "200w", "400w"]
    assert (image["width"], image["height"]) == ("600", "600")
    assert all("@25,50" in link and "x1-1/" in link for link, _ in candidates(image["srcset"]))
    assert image["srcset"] == portrait.photo.srcset("jpeg", ratio="1/1")


def test_picture__art_direction(portrait):
    html = picture(portrait.photo, crops="(max-width: 40em) 1/1, 16/9", sizes="50vw")
    _, *sources, (_, image) = elements(html)
    assert [(s.get("media"), s["type"], s.get("width"), s.get("height")) for _, s in sources] == [
        ("(max-width: 40em)", "image/webp", "600", "600"),
        ("(max-width: 40em)", "image/jpeg", "600", "600"),
        (None, "image/webp", None, None),
    ]
    assert (image["width"], image["height"]) == ("800", "450")
    assert all("x1-1/" in link for _, s in sources[:2] for link, _ in candidates(s["srcset"]))
    assert all("x16-9/" in link for link, _ in candidates(image["srcset"]))


@pytest.mark.parametrize(
    "crops", ["wide", "16/9 (max-width: 1em)", "1/1, 16/9", "(max-width: 1em) 1/1", "16/9,"]
)
def test_picture__art_direction_that_makes_no_sense(portrait, crops):
    with pytest.raises(ValueError, match=r"ratio|condition"):
        picture(portrait.photo, crops=crops)


def test_picture__ratio_that_the_field_does_not_have(portrait):
    with pytest.raises(ValueError, match="2/1"):
        picture(portrait.photo, ratio="2/1")


@pytest.mark.parametrize("focus", [None, "middle", [0.5], [2, 0], [None, 1], {"x": 1}, ["nan", 1]])
def test_focus__is_the_middle_where_nothing_sensible_is_said(focus):
    assert Portrait(photo="p.jpg", focus=focus).photo.focus == (50, 50)


# Words


def test_picture__alt_from_the_row(portrait):
    assert img(picture(portrait.photo))["alt"] == "A llama"
    assert img(picture(portrait.photo, alt=""))["alt"] == ""
    assert img(picture(portrait.photo, alt="Another"))["alt"] == "Another"


# What is seen until it has arrived


def test_picture__placeholders(product):
    product.photo_placeholder = f"{PLACEHOLDER}#a1b2c3"
    image = img(picture(product.photo))
    assert image["style"] == f"background:url({PLACEHOLDER}) center/cover no-repeat"
    assert img(picture(product.photo, placeholder="colour"))["style"] == "background:#a1b2c3"
    assert "style" not in img(picture(product.photo, placeholder="none"))
    with pytest.raises(ValueError, match="tartan"):
        picture(product.photo, placeholder="tartan")


def test_picture__no_inline_style_where_the_policy_forbids_it(product, settings):
    settings.LATENTIMG = {**settings.LATENTIMG, "INLINE_STYLE": False}
    for kind in ("picture", "colour"):
        assert "style" not in img(picture(product.photo, placeholder=kind))


# Single URLs


def test_url__for_mails_and_previews(product):
    assert url(product.photo) == product.photo.url
    assert url(product.photo, width=640) == product.photo.rendition(640, "jpeg").url
    assert (
        url(product.photo, width="700", format="webp") == product.photo.rendition(960, "webp").url
    )
    assert url(product.photo, width=5000) == product.photo.url
    assert url(None) == srcset(None) == ""


def test_latent_url__is_absolute(product, rf):
    expected = product.photo.rendition(1280, "jpeg").url
    html = rendered("{% latent_url p.photo width=1200 %}", p=product, request=rf.get("/"))
    assert html == f"http://testserver{expected}"
    html = rendered("{% latent_url p.photo width=1200 base='https://shop.example/' %}", p=product)
    assert html == f"https://shop.example{expected}"
    with pytest.raises(ValueError, match="base"):
        rendered("{% latent_url p.photo %}", p=product)


def test_latent_srcset__is_absolute(product, rf):
    html = rendered("{% latent_srcset p.photo format='webp' %}", p=product, request=rf.get("/"))
    expected = product.photo.srcset("webp").replace("/img/", "http://testserver/img/")
    assert html == expected


def test_url_prefix__stands_before_every_url(product, settings, rf):
    settings.LATENTIMG = {**settings.LATENTIMG, "URL_PREFIX": "https://cdn.example"}
    for tag, attributes in elements(picture(product.photo)):
        if tag != "picture":
            links_ = [link for link, _ in candidates(attributes["srcset"])]
            assert all(link.startswith("https://cdn.example/img/") for link in links_)
    html = rendered("{% latent_url p.photo %}", p=product, request=rf.get("/"))
    assert html == product.photo.url
    assert html.startswith("https://cdn.example/img/")


def test_latent_picture(portrait):
    crops = "(max-width: 40em) 1/1, 16/9"
    html = rendered(f"{{% latent_picture p.photo '{crops}' sizes='50vw' %}}", p=portrait)
    assert html == picture(portrait.photo, crops=crops, sizes="50vw")
    assert portrait.photo.picture(crops=crops, sizes="50vw") == html


def test_latent_preload(portrait):
    html = rendered("{% latent_preload p.photo sizes='50vw' ratio='1/1' %}", p=portrait)
    assert html == preload(portrait.photo, sizes="50vw", ratio="1/1")


# For front ends


def test_as_data(product):
    product.photo_placeholder = PLACEHOLDER
    data = json.loads(json.dumps(as_data(product.photo, absolute="https://shop.example{}".format)))
    assert (data["width"], data["height"], data["alt"]) == (1600, 1200, "")
    assert data["src"] == f"https://shop.example{product.photo.url}"
    assert [source["type"] for source in data["sources"]] == [
        "image/avif",
        "image/webp",
        "image/jpeg",
    ]
    for source, format in zip(data["sources"], ("avif", "webp", "jpeg"), strict=True):
        plain = source["srcset"].replace("https://shop.example", "")
        assert plain == product.photo.srcset(format)
    assert data["placeholder"] == PLACEHOLDER
    assert data["blob"].endswith(".limg.limg")
    assert resolve(data["blob"].removeprefix("https://shop.example"))


def test_as_data__of_a_source_and_of_nothing():
    data = as_data(Snapshot(photo="snaps/llama.jpg").photo)
    assert (data["width"], data["placeholder"], data["blob"]) == (None, None, None)
    assert as_data(Product().photo) is None


def test_rest_framework__field(product, rf):
    from rest_framework import serializers

    from django_latentimg.rest_framework import LatentImageField

    class ProductSerializer(serializers.ModelSerializer):
        photo = LatentImageField()

        class Meta:
            model = Product
            fields = ("title", "photo")

    data = ProductSerializer(product, context={"request": rf.get("/")}).data
    assert data["photo"] == as_data(product.photo, absolute="http://testserver{}".format)
    assert ProductSerializer(Product()).data["photo"] is None
    upload = SimpleUploadedFile("llama.png", image_bytes(photograph()))
    serializer = ProductSerializer(data={"title": "Llama", "photo": upload})
    assert serializer.is_valid(), serializer.errors
    broken = SimpleUploadedFile("llama.png", b"<svg/>")
    assert not ProductSerializer(data={"title": "Llama", "photo": broken}).is_valid()


# Its price


PAGE = Template(
    "{% load latentimg %}{% for product in products %}"
    "{% latent_img product.photo alt=product.title %}{% endfor %}"
)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "columns", [{"photo": BLOB}, {"photo": "llama.jpg", "photo_width": 700, "photo_height": 500}]
)
def test_page__no_query_and_no_storage_call(django_assert_num_queries, unreachable, columns):
    columns |= {"photo_placeholder": PLACEHOLDER}
    Product.objects.bulk_create(Product(title=f"{n}", **columns) for n in range(50))
    products = list(Product.objects.all())
    with django_assert_num_queries(0):
        html = PAGE.render(Context({"products": products}))
    assert html.count("<img") == html.count("background:url(") == 50


@pytest.mark.django_db
def test_page__no_storage_call_without_columns(django_assert_num_queries, unreachable):
    Snapshot.objects.bulk_create(Snapshot(photo=f"snaps/{n}.jpg") for n in range(50))
    snapshots = list(Snapshot.objects.all())
    with django_assert_num_queries(0):
        html = PAGE.render(Context({"products": snapshots}))
    assert html.count("<img") == 50


def test_page__signs_each_picture_once(monkeypatch, product):
    reversed_names = []
    reverse = links.reverse
    monkeypatch.setattr(
        links,
        "reverse",
        lambda name, **options: reversed_names.append(name) or reverse(name, **options),
    )
    picture(product.photo)
    assert reversed_names == ["django_latentimg:rendition"]


# The tag


def rendered(source: str, **context: object) -> str:
    return Template("{% load latentimg %}" + source).render(Context(context))


def test_latent_img(product):
    html = rendered(
        '{% latent_img product.photo sizes="50vw" alt=product.title class="photo" data_id=3 %}',
        product=product,
    )
    options = {"class": "photo", "data_id": 3}
    assert html == picture(product.photo, sizes="50vw", alt="Llama", **options)


def test_latent_img__all_options(product):
    html = rendered(
        '{% latent_img product.photo loading="eager" fetchpriority="high" widths="320 640" %}',
        product=product,
    )
    assert html == picture(product.photo, loading="eager", fetchpriority="high", widths=(320, 640))


def test_latent_img__as_variable(product):
    html = rendered("{% latent_img product.photo as tag %}[{{ tag }}]", product=product)
    assert html == f"[{picture(product.photo)}]"


@pytest.mark.parametrize("autoescape", ["on", "off"])
def test_latent_img__escapes_once_whatever_autoescape(product, autoescape):
    product.title = EVIL
    html = rendered(
        f"{{% autoescape {autoescape} %}}"
        "{% latent_img product.photo alt=product.title %}{% endautoescape %}",
        product=product,
    )
    assert img(html)["alt"] == EVIL


@pytest.mark.parametrize("product", [None, Product()])
def test_latent_img__nothing_to_show(product):
    assert rendered("[{% latent_img product.photo alt='x' %}]", product=product) == "[]"


def test_latent_img__numbers_are_not_localised(settings, product):
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    assert img(rendered("{% latent_img p.photo %}", p=product))["width"] == "1600"


# Pictures that browsers decode


def test_picture__client__names_the_blob(product):
    html = picture(product.photo, client=True)
    (tag, attributes), *rest = elements(html)
    assert (tag, attributes) == ("picture", {"data-latent": product.photo.blob_url})
    assert html.partition(">")[2] == picture(product.photo).partition(">")[2]
    assert rest


def test_picture__client__costs_no_storage_call(product, unreachable):
    assert "data-latent" in picture(product.photo, client=True)


@pytest.mark.parametrize("options", [{"priority": True}, {"loading": "eager"}, {"loading": ""}])
def test_picture__client__what_is_not_lazy_is_downloaded(product, options):
    assert picture(product.photo, client=True, **options) == picture(product.photo, **options)


def test_picture__client__sources_and_parts_have_no_blob_to_decode():
    source = Product(photo="photos/llama.jpg").photo
    assert picture(source, client=True) == picture(source)
    portrait = Portrait(photo=BLOB).photo
    for part in ({"ratio": "1/1"}, {"crops": "(max-width: 40em) 1/1, 16/9"}):
        assert picture(portrait, client=True, **part) == picture(portrait, **part)
    assert picture(portrait, client=True) != picture(portrait)


def test_client__tells_whose_decoder_the_page_wants(settings):
    settings.LATENTIMG = settings.LATENTIMG | {"MODEL": "compact"}
    ((_, attributes),) = elements(markup.client())
    assert attributes["data-space"] == "compact1"


def test_client__is_a_script_among_static_files():
    assert elements(markup.client()) == [
        ("script", {"src": "/static/django_latentimg/client/loader.js"})
    ]
    assert markup.client().endswith("</script>")


def test_client__tells_where_the_service_worker_is(client):
    ((_, attributes),) = elements(markup.client(service_worker=True))
    response = client.get(attributes["data-service-worker"])
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/javascript"
    assert response.headers["Service-Worker-Allowed"] == "/"
    assert response.headers["Cache-Control"] == "no-cache"
    module = re.fullmatch(r'import "(.+)";\n', response.text)
    assert finders.find(module[1].removeprefix("/static/"))
