"""The tag for Jinja2 environments, in whatever delimiters they set.

Environment(extensions=["django_latentimg.jinja2.LatentImgExtension"])
{% latent_img product.photo, sizes="50vw", alt=product.title %}
"""

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from .markup import picture


class LatentImgExtension(Extension):
    """``latent_img`` with the arguments of ``django_latentimg.markup.picture``.

    Commas between the arguments may be left out, as in Django's templates.
    """

    tags = {"latent_img"}
    picture = staticmethod(picture)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        file = parser.parse_expression()
        options = []
        while parser.stream.current.type != "block_end":
            parser.stream.skip_if("comma")
            name = parser.stream.expect("name").value
            parser.stream.expect("assign")
            options.append(nodes.Keyword(name, parser.parse_expression(), lineno=line))
        call = self.call_method("picture", [file], options, lineno=line)
        return nodes.Output([call], lineno=line)
