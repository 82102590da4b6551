from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("assets", "0002_asset_location")]

    operations = [migrations.RenameField("asset", "location", "site")]
