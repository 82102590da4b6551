"""The controlled corner in which a release is tried: its rows are marked, and only its user sees them."""

from typing import Self

from django.contrib.auth.models import AnonymousUser, User
from django.db import models

SMOKE_KEY = "SMOKE"  # code of the asset and number of the employee that are always there for it
GROUP = "smoke"  # the controlled user is whoever is in it; `manage.py smoke_user` makes both


def is_smoke_user(user: User | AnonymousUser) -> bool:
    return user.groups.filter(name=GROUP).exists()


class SmokeQuerySet(models.QuerySet):
    def visible_to(self, user: User | AnonymousUser) -> Self:
        return self.filter(smoke=is_smoke_user(user))


class SmokeMarked(models.Model):
    smoke = models.BooleanField(default=False, editable=False)

    objects = SmokeQuerySet.as_manager()

    class Meta:
        abstract = True
