import django.core.validators
from django.db import migrations, models

import django_latentimg.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Product",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=80)),
                ("description", models.TextField(blank=True, max_length=600)),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=2,
                        max_digits=7,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="price in euros",
                    ),
                ),
                (
                    "credit",
                    models.CharField(blank=True, max_length=160, verbose_name="photographer"),
                ),
                (
                    "photo",
                    django_latentimg.fields.LatentImageField(
                        height_field="photo_height",
                        placeholder_field="photo_placeholder",
                        upload_to="photos/",
                        verbose_name="photograph",
                        width_field="photo_width",
                    ),
                ),
                ("photo_width", models.PositiveIntegerField(editable=False, null=True)),
                ("photo_height", models.PositiveIntegerField(editable=False, null=True)),
                ("photo_placeholder", models.TextField(default="", editable=False)),
            ],
            options={
                "ordering": ("pk",),
            },
        ),
    ]
