"""What the tests share: people who may do things, and a database that may be emptied between tests."""

import io

from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase
from rest_framework.test import APIClient, APITestCase
from rest_framework_simplejwt.tokens import AccessToken

from assets.models import Asset
from employees.models import Employee

IN_MEMORY = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
GONE = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": "redis://127.0.0.1:1/0",  # nobody listens on port 1
        "OPTIONS": settings.CACHE_OPTIONS,
    }
}


def client_of(user: User) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


class Site(APITestCase):
    """A clerk who may do everything in the API, one asset, one employee."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.clerk = User.objects.create_user("clerk")
        cls.clerk.user_permissions.set(Permission.objects.all())
        cls.asset = Asset.objects.create(code="LAP-1", name="Laptop")
        cls.employee = Employee.objects.create(number="7", name="Ada")

    def setUp(self) -> None:
        self.enterContext(self.settings(CACHES=IN_MEMORY))
        cache.clear()
        self.client = client_of(self.clerk)

    def assign(self, **values: str):
        return self.client.post("/api/loans/", {"asset": "LAP-1", "employee": "7"} | values)


class CommittingTestCase(TransactionTestCase):
    """Tests that need real commits. Emptying the database afterwards needs the audit trigger disabled."""

    def _fixture_teardown(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_append_only")
            super()._fixture_teardown()
            cursor.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_append_only")


def smoke_user() -> User:
    call_command("smoke_user", stdout=io.StringIO())
    return User.objects.get(username="smoke")
