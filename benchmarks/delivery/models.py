"""One table of photographs, with the field of the app that ``PEER`` names."""

import os

from django.db import models

from .peers import PEERS

Photo = type(
    "Photo",
    (models.Model,),
    {"__module__": __name__, **PEERS[os.environ["PEER"]].attributes()},
)
