from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import DefaultRouter
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from assets.views import AssetViewSet
from audit.views import AuditViewSet
from employees.views import EmployeeViewSet
from imports.views import ImportViewSet
from loans.views import LoanViewSet

router = DefaultRouter()
router.include_root_view = False
router.register("assets", AssetViewSet)
router.register("employees", EmployeeViewSet)
router.register("loans", LoanViewSet)
router.register("audit", AuditViewSet)
router.register("imports", ImportViewSet)

urlpatterns = [
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/", include(router.urls)),
]
