"""Behind an edge that ends TLS and asks by another host name, as Azure Front Door before App Service does."""

import tempfile
from unittest import mock

from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from django.http import HttpRequest, JsonResponse
from django.test import Client, SimpleTestCase
from django.urls import path
from redis.connection import SSLConnection

from config import environment, urls
from tests.test_ops import PRODUCTION

PUBLIC, SITE, VERIFY = "shop.example", "app-1.azurewebsites.net", "verify-1.azurefd.net"


def address(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"address": request.build_absolute_uri("/next"), "secure": request.is_secure()})


urlpatterns = [path("address/", address), *urls.urlpatterns]


class EdgeTests(SimpleTestCase):
    """`X-Forwarded-Host` is what the client asked for, `Host` the name of the site."""

    def setUp(self) -> None:
        self.enterContext(
            self.settings(
                ROOT_URLCONF=__name__,
                ALLOWED_HOSTS=[PUBLIC, SITE, VERIFY],
                USE_X_FORWARDED_HOST=True,
                SECURE_SSL_REDIRECT=True,
            )
        )

    def ask(self, path: str, *, host: str = SITE, **headers: str):
        return Client().get(path, headers={"Host": host, **headers})

    def test_links_lead_to_the_public_address(self) -> None:
        for asked in (PUBLIC, VERIFY):
            answer = self.ask("/address/", **{"X-Forwarded-Host": asked, "X-Forwarded-Proto": "https"})
            self.assertEqual(answer.json(), {"address": f"https://{asked}/next", "secure": True})

    def test_a_host_that_the_edge_does_not_serve_is_refused(self) -> None:
        answer = self.ask("/address/", **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"})
        self.assertEqual(answer.status_code, 400)

    def test_plain_http_is_sent_to_the_public_address(self) -> None:
        answer = self.ask("/address/", **{"X-Forwarded-Host": PUBLIC, "X-Forwarded-Proto": "http"})
        self.assertEqual((answer.status_code, answer["Location"]), (301, f"https://{PUBLIC}/address/"))

    def test_the_platform_pings_a_process_by_its_own_address(self) -> None:
        self.assertEqual(self.ask("/healthz/", host="169.254.130.3:8000").status_code, 200)
        self.assertEqual(self.ask("/address/", host="169.254.130.3:8000").status_code, 400)

    def test_static_files_say_that_an_edge_may_keep_them(self) -> None:
        with tempfile.TemporaryDirectory() as folder, self.settings(STATIC_ROOT=folder):
            call_command("collectstatic", interactive=False, verbosity=0)
            client = Client()
            page = client.get("/api/docs/", headers={"Host": SITE, "X-Forwarded-Proto": "https"})
            style = next(word for word in page.content.decode().split('"') if word.endswith(".css"))
            answer = client.get(style, headers={"Host": SITE, "X-Forwarded-Proto": "https"})
            self.assertEqual(answer.status_code, 200)
            self.assertIn("public, immutable", answer["Cache-Control"])


class AddressTests(SimpleTestCase):
    def read(self, **variables: str) -> dict:
        with mock.patch.dict("os.environ", {**PRODUCTION, **variables}, clear=True):
            return environment.read()

    def test_the_database_is_reached_by_tls_where_its_url_says_so(self) -> None:
        url = "postgres://app:word@psql.postgres.database.azure.com:5432/app?sslmode=require"
        self.assertEqual(self.read(DATABASE_URL=url)["DATABASE"]["OPTIONS"]["sslmode"], "require")

    def test_the_cache_is_reached_by_tls_where_its_url_says_so(self) -> None:
        url = "rediss://:k%2Fey%3D@amr.westeurope.redis.azure.net:10000/0?ssl_cert_reqs=required"
        backend = RedisCache(self.read(REDIS_URL=url)["REDIS_URL"], {})
        pool = backend._cache._get_connection_pool(write=True)
        self.assertIs(pool.connection_class, SSLConnection)
        self.assertEqual(pool.connection_kwargs["password"], "k/ey=")
        self.assertEqual((pool.connection_kwargs["port"], pool.connection_kwargs["db"]), (10000, 0))
        self.assertEqual(pool.connection_kwargs["ssl_cert_reqs"], "required")
