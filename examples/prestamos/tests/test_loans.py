from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from assets.models import Asset
from audit.models import AuditEntry
from employees.models import Employee
from loans.models import Loan
from tests.base import CommittingTestCase, Site, client_of


class LoanTests(Site):
    def test_an_asset_is_lent_and_returned(self) -> None:
        made = self.assign()
        self.assertEqual((made.status_code, made.data["status"]), (201, "open"))
        ended = self.client.post(f"/api/loans/{made.data['id']}/return/")
        self.assertEqual((ended.status_code, ended.data["status"]), (200, "returned"))
        self.assertEqual(self.assign().status_code, 201)

    def test_a_lent_asset_is_refused(self) -> None:
        self.assign()
        self.assertEqual(self.assign().status_code, 409)
        self.assertEqual(AuditEntry.objects.count(), 1)

    def test_a_loan_is_returned_once(self) -> None:
        address = f"/api/loans/{self.assign().data['id']}/return/"
        self.assertEqual([self.client.post(address).status_code for _ in range(2)], [200, 409])

    def test_nobody_lends_what_is_not_there_or_to_whom_has_left(self) -> None:
        Employee.objects.create(number="8", name="Bob", active=False)
        self.assertIn("asset", self.assign(asset="nothing").data)
        self.assertIn("employee", self.assign(employee="8").data)

    def test_the_database_itself_refuses_a_second_open_loan(self) -> None:
        Loan.objects.create(asset=self.asset, employee=self.employee)
        with self.assertRaisesMessage(IntegrityError, "one_open_loan_per_asset"), transaction.atomic():
            Loan.objects.create(asset=self.asset, employee=self.employee)

    def test_the_database_itself_refuses_a_return_before_the_loan(self) -> None:
        before = timezone.now() - timedelta(hours=1)
        with self.assertRaisesMessage(IntegrityError, "returned_after_assigned"), transaction.atomic():
            Loan.objects.create(asset=self.asset, employee=self.employee, returned_at=before)

    def test_loans_are_found_by_asset_and_state(self) -> None:
        self.assign()
        for query, count in (("asset__code=LAP-1&open=true", 1), ("open=false", 0), ("asset__code=X", 0)):
            self.assertEqual(self.client.get(f"/api/loans/?{query}").data["count"], count, query)

    def test_an_ordinary_loan_cannot_be_removed(self) -> None:
        made = self.assign()
        self.assertEqual(self.client.delete(f"/api/loans/{made.data['id']}/").status_code, 405)
        self.assertEqual(self.client.delete("/api/loans/smoke/").status_code, 403)


class ConcurrentLoanTests(CommittingTestCase):
    def at_once(self, request) -> list[int]:
        clerk = User.objects.create_superuser("clerk")
        start = Barrier(8)

        def one(number: int) -> int:
            try:
                start.wait(10)
                return request(client_of(clerk)).status_code
            finally:
                connection.close()

        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(one, range(8)))

    def setUp(self) -> None:
        self.asset = Asset.objects.create(code="LAP-1", name="Laptop")
        self.employee = Employee.objects.create(number="7", name="Ada")

    def test_of_eight_assignments_at_once_one_wins(self) -> None:
        loan = {"asset": "LAP-1", "employee": "7"}
        statuses = self.at_once(lambda client: client.post("/api/loans/", loan))
        self.assertEqual(statuses, [201] + [409] * 7)
        self.assertEqual((Loan.objects.count(), AuditEntry.objects.count()), (1, 1))

    def test_of_eight_returns_at_once_one_wins(self) -> None:
        loan = Loan.objects.create(asset=self.asset, employee=self.employee)
        statuses = self.at_once(lambda client: client.post(f"/api/loans/{loan.pk}/return/"))
        self.assertEqual(statuses, [200] + [409] * 7)
        self.assertEqual(AuditEntry.objects.filter(action="loan.returned").count(), 1)
