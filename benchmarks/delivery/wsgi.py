"""The site for a server: ``gunicorn benchmarks.delivery.wsgi``; ``FOLDER`` as for a task."""

import os
from pathlib import Path

from django.core.wsgi import get_wsgi_application

from .site import configure

configure(Path(os.environ["FOLDER"]))
application = get_wsgi_application()
