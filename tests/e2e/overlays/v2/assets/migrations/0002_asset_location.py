from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("assets", "0001_initial")]

    operations = [
        migrations.AddField("asset", "location", models.CharField(blank=True, max_length=80, null=True)),
    ]
