import os

from django.contrib.auth.models import Group, Permission, User
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from assets.models import Asset
from employees.models import Employee
from smoke.models import GROUP, SMOKE_KEY

_PERMISSIONS = (
    *("view_asset", "view_employee", "view_loan", "view_auditentry", "view_import"),
    *("add_loan", "add_import", "add_asset"),
)


class Command(BaseCommand):
    help = "Make or refresh user (password: $SMOKE_PASSWORD), employee and asset of the smoke test."

    @transaction.atomic
    def handle(self, *args, **options) -> None:
        password = os.environ.get("SMOKE_PASSWORD", "")
        if len(password) < 12:
            raise CommandError("SMOKE_PASSWORD is missing or short, but 12 characters are needed; set it.")
        group, _ = Group.objects.get_or_create(name=GROUP)
        user, created = User.objects.get_or_create(username="smoke")
        if not created and not user.groups.contains(group):
            raise CommandError('User "smoke" is somebody\'s, but the smoke test needs the name; rename it.')
        group.permissions.set(Permission.objects.filter(codename__in=_PERMISSIONS))
        user.groups.set([group])
        if not user.check_password(password):  # a hash is slow on purpose: no new one without need
            user.set_password(password)
        user.is_active, user.is_staff, user.is_superuser = True, False, False
        user.save()
        for model, key, name in ((Asset, "code", "Smoke asset"), (Employee, "number", "Smoke employee")):
            row, _ = model.objects.get_or_create({"name": name, "smoke": True}, **{key: SMOKE_KEY})
            if not row.smoke:
                raise CommandError(
                    f'{key} "{SMOKE_KEY}" is an ordinary row, but smoke data is needed; rename it.'
                )
        self.stdout.write("smoke user, employee and asset are there")
