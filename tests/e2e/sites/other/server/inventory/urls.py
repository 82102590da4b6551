from django.urls import path

from inventory.views import start

urlpatterns = [path("", start)]
