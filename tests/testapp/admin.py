from django.contrib import admin

from django_latentimg.admin import thumbnail

from .models import Portrait, Product, Snapshot

admin.site.register([Product, Snapshot])


@admin.register(Portrait)
class PortraitAdmin(admin.ModelAdmin):
    list_display = ("words", thumbnail("photo"))
