from django.apps import AppConfig, apps
from django.db.models import signals


class LatentImageConfig(AppConfig):
    name = "django_latentimg"
    label = "django_latentimg"
    verbose_name = "Latent images"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, lifecycle  # noqa: F401  (checks registers itself)

        # By sender: a receiver for all models would slow down every delete of the site.
        for model in apps.get_models(include_auto_created=True):
            if lifecycle.latent_fields(model):
                identity = f"latentimg.{model._meta.label_lower}"
                signals.post_save.connect(lifecycle.after_save, model, dispatch_uid=identity)
                signals.post_delete.connect(lifecycle.after_delete, model, dispatch_uid=identity)
