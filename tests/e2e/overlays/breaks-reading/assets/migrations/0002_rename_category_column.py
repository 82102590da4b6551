from django.db import migrations, models


class Migration(migrations.Migration):
    """A column gets another name by SQL: what that does to older code, Django cannot say."""

    dependencies = [("assets", "0001_initial")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE assets_asset RENAME COLUMN category TO kind",
                    "ALTER TABLE assets_asset RENAME COLUMN kind TO category",
                )
            ],
            state_operations=[
                migrations.AlterField(
                    "asset", "category", models.CharField(blank=True, db_column="kind", max_length=60)
                )
            ],
        )
    ]
