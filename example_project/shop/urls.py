from django.urls import path

from . import views

app_name = "shop"

urlpatterns = [
    path("", views.prints, name="prints"),
    path("prints/<int:pk>/<slug:slug>/", views.product, name="product"),
    path("prints/<int:pk>/state.json", views.state, name="state"),
    path("sell/", views.sell, name="sell"),
    path("numbers/", views.numbers, name="numbers"),
]
