from django.core.management.base import BaseCommand

from inventory.models import Tariff


class Command(BaseCommand):
    help = "Load the tariffs."

    def handle(self, *args, **options) -> None:
        for code, price in (("standard", 100), ("reduced", 60)):
            Tariff.objects.update_or_create({"price": price}, code=code)
        self.stdout.write("2 tariffs loaded")
