from django.db import models


class Tariff(models.Model):
    """Reference data: comes from `load_reference`, not from a migration."""

    code = models.CharField(max_length=20, unique=True)
    price = models.PositiveIntegerField()


class Heartbeat(models.Model):
    """A sign of life of the worker."""

    release = models.CharField(max_length=80)
    pid = models.PositiveIntegerField()
    at = models.DateTimeField(auto_now_add=True)
