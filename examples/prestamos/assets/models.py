from django.db import models

from smoke.models import SmokeMarked


class Asset(SmokeMarked):
    """Something that can be lent."""

    code = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    category = models.CharField(max_length=60, blank=True)

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.code
