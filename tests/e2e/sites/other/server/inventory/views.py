from django.core.cache import cache
from django.http import HttpRequest, HttpResponse

from inventory.models import Tariff


def start(request: HttpRequest) -> HttpResponse:
    """Answers 500 until `load_reference` has run."""
    price = cache.get_or_set("standard", lambda: Tariff.objects.get(code="standard").price, 5)
    return HttpResponse(f"<h1>Tariffs</h1><p>standard: {price}</p>")
