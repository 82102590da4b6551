import os

from django.contrib.auth.models import Group, Permission, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from assets.models import Asset
from employees.models import Employee
from smoke.models import GROUP

_PERMISSIONS = ("view_asset", "view_employee", "view_loan", "add_loan", "view_auditentry")


class Command(BaseCommand):
    help = "Make or refresh the controlled user, employee and asset of the smoke test. Password: $SMOKE_PASSWORD."

    @transaction.atomic
    def handle(self, *args, **options) -> None:
        password = os.environ.get("SMOKE_PASSWORD", "")
        if len(password) < 12:
            raise CommandError(
                "SMOKE_PASSWORD has fewer than 12 characters, but it opens a login; set a longer one."
            )
        group, _ = Group.objects.get_or_create(name=GROUP)
        user, created = User.objects.get_or_create(username="smoke")
        if not created and not user.groups.contains(group):
            raise CommandError(
                'The user "smoke" is somebody\'s, but the smoke test needs that name; rename them.'
            )
        group.permissions.set(Permission.objects.filter(codename__in=_PERMISSIONS))
        user.groups.set([group])
        if not user.check_password(password):  # also true of a fresh user; a hash is slow, so not for nothing
            user.set_password(password)
        user.is_active, user.is_staff, user.is_superuser = True, False, False
        user.save()
        for model, key, name in ((Asset, "code", "Smoke asset"), (Employee, "number", "Smoke employee")):
            row, _ = model.objects.get_or_create({"name": name, "smoke": True}, **{key: "SMOKE"})
            if not row.smoke:
                raise CommandError(
                    f'{key} "SMOKE" is an ordinary row, but the smoke test needs it; rename that one.'
                )
        self.stdout.write("smoke user, employee and asset are there")
