from rest_framework import serializers

from assets.models import Asset
from employees.models import Employee
from loans.models import Loan


class _Visible(serializers.SlugRelatedField):
    """A row by its natural key, among those that the caller may see."""

    def get_queryset(self):
        return super().get_queryset().visible_to(self.context["request"].user)


class LoanSerializer(serializers.ModelSerializer):
    # No validator asks here whether the asset is lent already: between its answer and the insert another
    # request may come. The database decides, and the view turns its refusal into a 409.
    asset = _Visible(slug_field="code", queryset=Asset.objects.all())
    employee = _Visible(slug_field="number", queryset=Employee.objects.filter(active=True))
    status = serializers.ChoiceField(choices=["open", "returned"], read_only=True)

    class Meta:
        model = Loan
        fields = ["id", "asset", "employee", "status", "assigned_at", "returned_at"]
        validators = []
