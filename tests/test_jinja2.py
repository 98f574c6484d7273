import pytest
from django.template import Context as DjangoContext
from django.template import Template
from jinja2 import Environment, TemplateSyntaxError, Undefined

from django_latentimg.jinja2 import LatentImgExtension
from django_latentimg.markup import picture

from .testapp.models import Portrait, Product

EXTENSION = "django_latentimg.jinja2.LatentImgExtension"
BLOB = "photos/llama.jpg.1600x1200-5123.3fa9c1d2-b7e1.limg"


@pytest.fixture
def product() -> Product:
    return Product(title="A <llama>", photo=BLOB)


def rendered(source: str, environment: dict[str, object] | None = None, **context: object) -> str:
    options = {"autoescape": True, "extensions": [EXTENSION], **(environment or {})}
    return Environment(**options).from_string(source).render(context)


def test_latent_img__design_card(product):
    delimiters = {"block_start_string": "<%", "block_end_string": "%>"}
    html = rendered("<% latent_img product.photo %>", delimiters, product=product)
    assert html == picture(product.photo)
    assert html.startswith("<picture>")


@pytest.mark.parametrize(
    "source",
    [
        '{% latent_img product.photo, sizes="50vw", alt=product.title, class="x", data_id=3 %}',
        '{% latent_img product.photo sizes="50vw" alt=product.title class="x" data_id=3 %}',
        '{%- latent_img product.photo,\n sizes="50vw" alt=product.title\n class="x", data_id=3 -%}',
        '{% latent_img product["photo"] sizes="50" ~ "vw" alt=product.title|string'
        ' class="x" if product else "y" data_id=1 + 2 %}',
    ],
)
def test_latent_img__arguments(product, source):
    options = {"class": "x", "data_id": 3}
    assert rendered(source, product=product) == picture(
        product.photo, sizes="50vw", alt="A <llama>", **options
    )


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        (
            {"block_start_string": "<%", "block_end_string": "%>"},
            '<% latent_img product.photo, class="x", alt="y" %>',
        ),
        (
            {"block_start_string": "<%", "block_end_string": "%>"},
            '<%- latent_img product.photo class="x" alt="y" -%>',
        ),
        (
            {"block_start_string": "((*", "block_end_string": "*))"},
            '((* latent_img product.photo, class="x", alt="y" *))',
        ),
        ({"line_statement_prefix": "#"}, '# latent_img product.photo class="x" alt="y"'),
    ],
)
def test_latent_img__delimiters(product, environment, source):
    expected = picture(product.photo, alt="y", **{"class": "x"})
    assert rendered(source, environment, product=product) == expected


@pytest.mark.parametrize("autoescape", [True, False])
def test_latent_img__escapes_once_whatever_autoescape(product, autoescape):
    html = rendered(
        "{% latent_img product.photo alt=product.title %}",
        {"autoescape": autoescape},
        product=product,
    )
    assert 'alt="A &lt;llama&gt;"' in html


def test_latent_img__in_a_loop(product):
    html = rendered(
        "{% for photo in photos %}{% latent_img photo %}{% endfor %}", photos=[product.photo] * 3
    )
    assert html == picture(product.photo) * 3


@pytest.mark.parametrize("product", [None, Product(), Undefined()])
def test_latent_img__nothing_to_show(product):
    source = "[{% latent_img (product or none) and product.photo, alt='x' %}]"
    assert rendered(source, product=product) == "[]"
    assert rendered("[{% latent_img missing %}]") == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "product.photo,",
        "product.photo, 3",
        "product.photo alt",
        "product.photo alt=",
        "a,, b=1",
    ],
)
def test_latent_img__syntax_error_names_the_line(arguments):
    with pytest.raises(TemplateSyntaxError) as caught:
        rendered(f"\n\n{{% latent_img {arguments} %}}")
    assert caught.value.lineno == 3


def test_latent_img__error_while_rendering_names_the_line(product):
    with pytest.raises(ValueError, match="321") as caught:
        rendered("\n\n{% latent_img product.photo widths=[321] %}", product=product)
    lines = [(entry.name, entry.lineno + 1) for entry in caught.traceback]  # counts from 0
    assert ("top-level template code", 3) in lines


def test_latent_img__django_backend(product):
    from django.template.backends.jinja2 import Jinja2

    backend = Jinja2(
        {
            "NAME": "jinja2",
            "DIRS": [],
            "APP_DIRS": True,
            "OPTIONS": {"extensions": [LatentImgExtension]},
        }
    )
    template = backend.from_string("{% latent_img product.photo class='x' %}")
    assert template.render({"product": product}) == picture(product.photo, css_class="x")


@pytest.mark.parametrize(
    "tag",
    [
        'latent_img p.photo ratio="1/1" priority=true',
        "latent_img p.photo client=true",
        "latent_client",
        "latent_client service_worker=true",
        'latent_preload p.photo sizes="50vw"',
        'latent_url p.photo width=100 base="https://shop.example"',
        'latent_srcset p.photo format="webp" base="https://shop.example"',
    ],
)
def test_tags__give_the_same_as_in_djangos_templates(tag):
    portrait = Portrait(photo="p.jpg.800x600-5123.01234567-0123.limg", words="A llama")
    source = f"{{% {tag.replace('true', 'True')} %}}"
    expected = Template("{% load latentimg %}" + source).render(DjangoContext({"p": portrait}))
    assert rendered(f"{{% {tag} %}}", p=portrait) == expected


def test_tags__art_direction():
    portrait = Portrait(photo="p.jpg.800x600-5123.01234567-0123.limg")
    crops = "(max-width: 40em) 1/1, 16/9"
    html = rendered(f"{{% latent_picture p.photo, crops='{crops}' %}}", p=portrait)
    assert html == picture(portrait.photo, crops=crops)


def test_latent_url__by_the_request(rf):
    portrait = Portrait(photo="p.jpg.800x600-5123.01234567-0123.limg")
    html = rendered("{% latent_url p.photo %}", p=portrait, request=rf.get("/"))
    assert html == f"http://testserver{portrait.photo.url}"
