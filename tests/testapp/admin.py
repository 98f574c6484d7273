from django.contrib import admin

from .models import Product, Snapshot

admin.site.register([Product, Snapshot])
