from django.db import migrations, models

from django_latentimg.fields import LatentImageField
from django_latentimg.operations import AddCompanionField, AlterToLatentImage


class Migration(migrations.Migration):
    dependencies = [("moving", "0001_initial")]

    operations = [
        AddCompanionField(
            "page", "photo_width", models.PositiveIntegerField(null=True, editable=False)
        ),
        AddCompanionField(
            "page", "photo_height", models.PositiveIntegerField(null=True, editable=False)
        ),
        AddCompanionField(
            "page",
            "photo_placeholder",
            models.TextField(blank=True, editable=False, db_default=""),
        ),
        AlterToLatentImage(
            "page",
            "photo",
            LatentImageField(
                upload_to="pages/",
                width_field="photo_width",
                height_field="photo_height",
                placeholder_field="photo_placeholder",
            ),
        ),
    ]
