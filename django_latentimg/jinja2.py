"""The tags for Jinja2 environments, in whatever delimiters they set.

Environment(extensions=["django_latentimg.jinja2.LatentImgExtension"])
{% latent_img product.photo, sizes="50vw", alt=product.title %}
"""

from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context

from . import markup


class LatentImgExtension(Extension):
    """The tags of ``templatetags/latentimg.py``, with the arguments that they have there.

    All but the picture go by name. Commas between the arguments may be left out, as in Django's
    templates.
    """

    tags = {
        "latent_img",
        "latent_picture",
        "latent_preload",
        "latent_url",
        "latent_srcset",
        "latent_client",
    }

    latent_img = latent_picture = staticmethod(markup.picture)
    latent_preload = staticmethod(markup.preload)
    latent_client = staticmethod(markup.client)

    @staticmethod
    def latent_url(file: Any, context: Context, base: str = "", **options: Any) -> str:
        return markup.url(file, absolute=markup.absolute(context.get("request"), base), **options)

    @staticmethod
    def latent_srcset(file: Any, context: Context, base: str = "", **options: Any) -> str:
        absolute = markup.absolute(context.get("request"), base)
        return markup.srcset(file, absolute=absolute, **options)

    def parse(self, parser: Parser) -> nodes.Node:
        token = next(parser.stream)
        line = token.lineno
        pictures = [] if token.value == "latent_client" else [parser.parse_expression()]
        options = []
        while parser.stream.current.type != "block_end":
            parser.stream.skip_if("comma")
            name = parser.stream.expect("name").value
            parser.stream.expect("assign")
            options.append(nodes.Keyword(name, parser.parse_expression(), lineno=line))
        if token.value in ("latent_url", "latent_srcset"):
            options.append(nodes.Keyword("context", nodes.ContextReference(), lineno=line))
        call = self.call_method(token.value, pictures, options, lineno=line)
        return nodes.Output([call], lineno=line)
