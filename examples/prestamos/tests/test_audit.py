from unittest import mock

from django.db import IntegrityError, connection, transaction

from assets.models import Asset
from audit.models import AuditEntry
from loans.models import Loan
from tests.base import CommittingTestCase, Site


class AuditTests(Site):
    def test_each_change_is_recorded_with_who_and_which_request(self) -> None:
        self.client.post("/api/assets/", {"code": "A", "name": "n"}, headers={"X-Request-ID": "abc-1"})
        made = self.assign()
        self.client.post(f"/api/loans/{made.data['id']}/return/")
        entries = self.client.get("/api/audit/").data["results"]
        self.assertEqual(
            [entry["action"] for entry in entries], ["loan.returned", "loan.assigned", "asset.created"]
        )
        self.assertEqual({entry["actor"] for entry in entries}, {"clerk"})
        self.assertEqual(entries[-1]["request_id"], "abc-1")
        self.assertEqual(entries[0]["detail"], {"asset": "LAP-1", "employee": "7"})

    def test_a_change_whose_entry_cannot_be_written_does_not_happen(self) -> None:
        self.client.raise_request_exception = False
        with mock.patch.object(AuditEntry.objects, "record", side_effect=RuntimeError):
            self.assertEqual(self.assign().status_code, 500)
            self.assertEqual(self.client.post("/api/assets/", {"code": "A", "name": "n"}).status_code, 500)
        self.assertEqual((Loan.objects.count(), Asset.objects.count()), (0, 1))

    def test_the_api_only_reads_it(self) -> None:
        for method in (self.client.post, self.client.put, self.client.patch, self.client.delete):
            self.assertEqual(method("/api/audit/").status_code, 405)

    def test_the_database_itself_refuses_to_change_it(self) -> None:
        self.assign()
        for statement in (
            "UPDATE audit_log SET actor = 'nobody'",
            "DELETE FROM audit_log",
            "TRUNCATE audit_log",
        ):
            with (
                self.subTest(statement),
                self.assertRaisesMessage(IntegrityError, "append-only"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)
        self.assertEqual(AuditEntry.objects.get().actor, "clerk")


class AuditTransactionTests(CommittingTestCase):
    def test_an_entry_outside_of_a_transaction_is_refused(self) -> None:
        asset = Asset.objects.create(code="A", name="n")
        with self.assertRaises(transaction.TransactionManagementError):
            AuditEntry.objects.record("asset.created", asset, actor=mock.Mock())
