import time
from unittest import mock

from assets import catalogue
from tests.base import GONE, Site, client_of, smoke_user


class CatalogueTests(Site):
    def read(self, address: str = "/api/assets/") -> str:
        answer = self.client.get(address)
        self.assertEqual(answer.status_code, 200)
        return answer["X-Cache"]

    def test_the_second_read_comes_from_the_cache(self) -> None:
        self.assertEqual([self.read(), self.read()], ["miss", "hit"])
        self.assertEqual(self.read(f"/api/assets/{self.asset.pk}/"), "miss")

    def test_a_change_is_seen_at_once(self) -> None:
        self.read()
        with self.captureOnCommitCallbacks(execute=True):
            self.client.patch(f"/api/assets/{self.asset.pk}/", {"name": "Notebook"})
        self.assertEqual(self.client.get("/api/assets/").data["results"][0]["name"], "Notebook")

    def test_an_answer_that_a_change_overtakes_is_not_kept(self) -> None:
        def overtaken() -> str:
            catalogue.changed()
            return "old"

        self.assertEqual(catalogue.read("x", overtaken), ("old", "miss"))
        self.assertEqual(catalogue.read("x", lambda: "new"), ("new", "miss"))

    def test_two_releases_at_once_do_not_share_answers(self) -> None:
        self.read()
        with self.settings(RELEASE="next"):
            self.assertEqual(self.read(), "miss")

    def test_smoke_rows_and_others_do_not_mix(self) -> None:
        with mock.patch.dict("os.environ", SMOKE_PASSWORD="a-long-password"):
            smoke = client_of(smoke_user())
        seen = [[row["code"] for row in c.get("/api/assets/").data["results"]] for c in (self.client, smoke)]
        self.assertEqual(seen, [["LAP-1"], ["SMOKE"]])

    def test_without_its_cache_the_site_answers_from_the_database(self) -> None:
        self.addCleanup(setattr, catalogue, "_paused_until", 0.0)
        with self.settings(CACHES=GONE), self.assertLogs("prestamos.catalogue", "WARNING") as logs:
            started = time.monotonic()
            self.assertEqual({self.read() for _ in range(20)}, {"bypass"})
            with self.captureOnCommitCallbacks(execute=True):
                made = self.client.post("/api/assets/", {"code": "A", "name": "n"})
            self.assertEqual(made.status_code, 201)
        self.assertLess(time.monotonic() - started, 2)
        self.assertEqual(len(logs.records), 1, "one warning, not one for each read")

    def test_what_is_cached_is_plain_data(self) -> None:
        serializer = catalogue.JSONSerializer()
        self.assertEqual(serializer.loads(serializer.dumps({"a": [1, None]})), {"a": [1, None]})
