from typing import ClassVar

from django import forms

from .models import Product


class SellForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Product
        fields = ("photo", "title", "price", "credit", "description")
        widgets: ClassVar[dict[str, forms.Widget]] = {
            "photo": forms.FileInput(attrs={"accept": "image/*"}),
            "price": forms.NumberInput(attrs={"inputmode": "decimal", "min": "1"}),
            "description": forms.Textarea(attrs={"rows": 3}),
        }
        help_texts: ClassVar[dict[str, str]] = {
            "photo": "JPEG, PNG, WebP, AVIF: whatever your camera or telephone makes.",
            "credit": "Optional; shown beside the print.",
        }
