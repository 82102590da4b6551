from unittest import mock

from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from assets.models import Asset
from audit.models import AuditEntry
from loans.models import Loan
from tests.base import Site, client_of, smoke_user

PASSWORD = "a-long-password"


class SmokeTests(Site):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.dict("os.environ", SMOKE_PASSWORD=PASSWORD))
        self.smoke = client_of(smoke_user())

    def lend(self):
        return self.smoke.post("/api/loans/", {"asset": "SMOKE", "employee": "SMOKE"})

    def test_the_command_can_run_again_and_renews_the_password(self) -> None:
        before = User.objects.get(username="smoke").password
        smoke_user()
        self.assertEqual(User.objects.get(username="smoke").password, before)
        with mock.patch.dict("os.environ", SMOKE_PASSWORD="another-password"):
            self.assertTrue(smoke_user().check_password("another-password"))

    def test_it_logs_in_with_the_password(self) -> None:
        login = {"username": "smoke", "password": PASSWORD}
        self.assertEqual(self.client.post("/api/token/", login).status_code, 200)

    def test_without_a_password_there_is_no_user(self) -> None:
        with (
            mock.patch.dict("os.environ", SMOKE_PASSWORD=""),
            self.assertRaisesMessage(CommandError, "SMOKE_PASSWORD"),
        ):
            call_command("smoke_user")

    def test_it_takes_over_nobodys_user_and_no_ordinary_row(self) -> None:
        User.objects.get(username="smoke").groups.clear()
        with self.assertRaisesMessage(CommandError, 'User "smoke"'):
            smoke_user()

    def test_it_touches_smoke_rows_only(self) -> None:
        answer = self.smoke.post("/api/loans/", {"asset": "LAP-1", "employee": "7"})
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(self.assign(asset="SMOKE", employee="SMOKE").status_code, 400)
        self.assertEqual(self.smoke.post("/api/employees/", {"number": "8", "name": "n"}).status_code, 403)
        self.assertEqual(self.smoke.post("/api/assets/", {"code": "A", "name": "n"}).status_code, 201)
        self.assertTrue(Asset.objects.get(code="A").smoke)

    def test_its_loans_are_hidden_from_others_and_marked_in_the_audit_log(self) -> None:
        loan = self.lend().data["id"]
        self.assertEqual(self.client.get("/api/loans/").data["count"], 0)
        self.assertEqual(self.client.post(f"/api/loans/{loan}/return/").status_code, 404)
        self.assertTrue(AuditEntry.objects.get().smoke)

    def test_it_removes_its_own_loans_also_those_that_an_interrupted_run_left(self) -> None:
        self.assign()
        self.lend()
        self.assertEqual([self.smoke.delete("/api/loans/smoke/").status_code for _ in range(2)], [204, 204])
        self.assertEqual(Loan.objects.get().asset.code, "LAP-1")
        self.assertEqual(self.lend().status_code, 201)
        self.assertEqual(AuditEntry.objects.filter(action="loan.removed", smoke=True).count(), 1)
        self.assertEqual(Asset.objects.filter(smoke=True).count(), 1)
