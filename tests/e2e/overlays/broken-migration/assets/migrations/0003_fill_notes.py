from django.db import migrations


class Migration(migrations.Migration):
    """Fails in the database, after 0002 has been applied: there is no column named remark."""

    dependencies = [("assets", "0002_asset_note")]

    operations = [migrations.RunSQL("UPDATE assets_asset SET note = remark", migrations.RunSQL.noop)]
