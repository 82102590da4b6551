import io
import tempfile
import zipfile
from pathlib import Path
from unittest import mock

from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from openpyxl import Workbook

from assets.models import Asset
from audit.models import AuditEntry
from employees.models import Employee
from imports.models import Import
from tests.base import Site, client_of, smoke_user


def workbook(*rows: tuple) -> SimpleUploadedFile:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return SimpleUploadedFile("assets.xlsx", content.getvalue())


class ImportTests(Site):
    def setUp(self) -> None:
        super().setUp()
        self.media = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(self.settings(MEDIA_ROOT=self.media))

    def upload(self, *rows: tuple, kind: str = "assets"):
        return self.client.post(f"/api/imports/{kind}/", {"file": workbook(*rows)}, format="multipart")

    def faults(self, *rows: tuple) -> list[tuple]:
        answer = self.upload(*rows)
        self.assertEqual(answer.status_code, 400)
        self.assertEqual((Asset.objects.count(), Import.objects.count()), (1, 0))
        self.assertEqual(list(self.media.rglob("*.xlsx")), [])
        return [(e["row"], e["column"], e["field"], e["message"]) for e in answer.data["errors"]]

    def test_assets_are_imported_and_the_workbook_is_kept(self) -> None:
        answer = self.upload(("Name", "Code"), ("Phone", "PH-1"), (None, None), ("Number", 1001))
        self.assertEqual((answer.status_code, answer.data["rows"]), (201, 2))
        self.assertEqual(set(Asset.objects.values_list("code", flat=True)), {"LAP-1", "PH-1", "1001"})
        self.assertEqual(len(list(self.media.rglob("*.xlsx"))), 1)
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.action, entry.detail), ("assets.imported", {"code": ["PH-1", "1001"]}))

    def test_employees_are_imported(self) -> None:
        header = ("number", "name", "email", "active")
        answer = self.upload(header, ("8", "Bob", "bob@example.org", False), kind="employees")
        self.assertEqual(answer.status_code, 201, answer.data)
        self.assertFalse(Employee.objects.get(number="8").active)

    def test_one_fault_and_nothing_is_saved(self) -> None:
        faults = self.faults(
            ("code", "name", "category"),
            ("A", "fine"),
            ("B", None),
            ("LAP-1", "again"),
            (" A ", "twice", "x" * 61),
        )
        self.assertEqual([fault[:3] for fault in faults], [
            (3, "B", "name"),
            (4, "A", "code"),
            (5, "C", "category"),
            (5, "A", "code"),
        ])  # fmt: skip
        self.assertEqual(faults[0][3], "This field is required.")
        self.assertEqual(faults[3][3], "The same as in row 2.")

    def test_faults_of_the_header_name_their_column(self) -> None:
        faults = self.faults(("code", "colour", "code"), ("A", "red", "A"))
        self.assertEqual(
            [fault[:3] for fault in faults], [(1, "B", None), (1, "C", "code"), (1, None, "name")]
        )

    def test_an_empty_sheet_and_too_many_rows_are_refused(self) -> None:
        self.assertEqual(self.faults(("code", "name"))[0][3], "The sheet has no rows.")
        rows = [(f"A{number}", "n") for number in range(5001)]
        self.assertEqual(self.faults(("code", "name"), *rows)[0][3], "The sheet has more than 5000 rows.")

    def test_what_is_no_workbook_is_refused(self) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("readme.txt", "no workbook")
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr("xl/workbook.xml", bytes(65 * 1024 * 1024))
        for content, message in (
            (b"code,name\nA,n\n", "Not an Excel workbook (.xlsx)."),
            (archive.getvalue(), "Not an Excel workbook (.xlsx)."),
            (bomb.getvalue(), "The workbook is too big."),
        ):
            file = SimpleUploadedFile("a.xlsx", content)
            answer = self.client.post("/api/imports/assets/", {"file": file}, format="multipart")
            self.assertEqual((answer.status_code, answer.data["errors"][0]["message"]), (400, message))

    def test_who_may_not_add_assets_may_not_import_them(self) -> None:
        reader = User.objects.create_user("reader")
        reader.user_permissions.set(Permission.objects.filter(codename__in=["add_import", "view_import"]))
        self.client = client_of(reader)
        self.assertEqual(self.upload(("code", "name"), ("A", "n")).status_code, 403)

    def test_what_the_smoke_user_imports_is_hidden_and_can_be_removed_whole(self) -> None:
        self.upload(("code", "name"), ("PH-1", "Phone"))
        with mock.patch.dict("os.environ", SMOKE_PASSWORD="a-long-password"):
            clerk, self.client = self.client, client_of(smoke_user())
        self.assertEqual(self.upload(("code", "name"), ("S-1", "of the smoke test")).status_code, 201)
        seen = [row["code"] for row in clerk.get("/api/assets/").data["results"]]
        self.assertEqual(seen, ["LAP-1", "PH-1"])
        self.assertEqual(clerk.delete("/api/imports/smoke/").status_code, 403)
        for _ in range(2):
            self.assertEqual(self.client.delete("/api/imports/smoke/").status_code, 204)
        self.assertEqual(set(Asset.objects.values_list("code", flat=True)), {"LAP-1", "PH-1", "SMOKE"})
        self.assertEqual(Import.objects.get().imported_by, "clerk")
        self.assertEqual(len(list(self.media.rglob("*.xlsx"))), 1)
        self.assertTrue(AuditEntry.objects.get(action="import.removed").smoke)
