from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("django_latentimg", "0002_discarded"),
    ]

    operations = [
        migrations.AlterField(
            model_name="compression",
            name="state",
            field=models.CharField(
                choices=[
                    ("started", "started"),
                    ("compressed", "compressed"),
                    ("replaced", "replaced or deleted meanwhile"),
                    ("failed", "failed"),
                    ("restored", "an ordinary file again"),
                ],
                default="started",
                max_length=10,
            ),
        ),
    ]
