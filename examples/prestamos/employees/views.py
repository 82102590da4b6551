from audit.views import AuditedViewSet
from employees.models import Employee
from employees.serializers import EmployeeSerializer


class EmployeeViewSet(AuditedViewSet):
    queryset = Employee.objects.all()
    serializer_class = EmployeeSerializer
    filterset_fields = ["number", "active"]
